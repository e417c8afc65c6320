"""A strip with the reference's beats above and the test's below; what they do not agree on is coloured."""

from typing import Final

from einthoven.evaluation.mistakes import MistakeKind, Strip, StripBeat
from einthoven.pictures.paper import PULSE_MM, Paper, height_for
from einthoven.pictures.svg import INK, MUTED, Svg

__all__ = ["MISTAKE_COLOURS", "MISTAKE_WORDS", "clock", "draw_strip"]

MISTAKE_COLOURS: Final[dict[MistakeKind, str]] = {"missed": "#b3122a", "extra": "#b85c00", "class": "#5b2da8"}
MISTAKE_WORDS: Final[dict[MistakeKind, str]] = {
    "missed": "missed",
    "extra": "not a beat",
    "class": "other class",
}
_ABOVE_MM: Final = 9.0
_BELOW_MM: Final = 9.5
_SIDE_MM: Final = 8.0
STRIP_SECONDS: Final = 10.0


def clock(seconds: float) -> str:
    """Time from the start of the recording, h:mm:ss.s."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 10:02d}.{rest % 10}"


def draw_strip(strip: Strip, name: str) -> Svg:
    """Ten seconds at 25 mm/s and 10 mm/mV, at its true size."""
    height = height_for(strip.ecg_mv)
    svg = Svg(_SIDE_MM + PULSE_MM + STRIP_SECONDS * 25 + _SIDE_MM, _ABOVE_MM + height + _BELOW_MM)
    paper = Paper(svg, _SIDE_MM, _ABOVE_MM, seconds=STRIP_SECONDS, height_mm=height, name=name)
    extra = [beat for beat in strip.test if beat.mistake == "extra"]
    for beat in (*strip.reference, *extra):
        if beat.mistake is not None:
            paper.band(beat.at_s, MISTAKE_COLOURS[beat.mistake])
    paper.trace(strip.ecg_mv, strip.fs)
    paper.scale_words()
    svg.text(0, _ABOVE_MM - 2, "ref", 2.8, fill=MUTED)
    svg.text(0, paper.bottom_mm + 4, "test", 2.8, fill=MUTED)
    for beats, y, word_y in (
        (strip.reference, _ABOVE_MM - 2.0, _ABOVE_MM - 5.6),
        (strip.test, paper.bottom_mm + 4.0, paper.bottom_mm + 7.4),
    ):
        for beat in beats:
            _label(svg, paper, beat, y, word_y)
    for beat in strip.reference:
        if beat.mistake == "missed":
            _sign(svg, paper.x(beat.at_s), paper.bottom_mm + 4.0, "○", "missed")
    for beat in extra:
        _sign(svg, paper.x(beat.at_s), _ABOVE_MM - 2.0, "×", "extra")
    return svg


def _label(svg: Svg, paper: Paper, beat: StripBeat, y: float, word_y: float) -> None:
    x = paper.x(beat.at_s)
    colour = INK if beat.mistake is None else MISTAKE_COLOURS[beat.mistake]
    svg.text(x, y, beat.label, 3.4, fill=colour, anchor="middle", bold=beat.mistake is not None)
    if beat.mistake is not None and not (beat.mistake == "class" and y > paper.bottom_mm):
        svg.text(x, word_y, MISTAKE_WORDS[beat.mistake], 2.1, fill=colour, anchor="middle")


def _sign(svg: Svg, x: float, y: float, sign: str, kind: MistakeKind) -> None:
    """What stands where the other side has no beat."""
    svg.text(x, y, sign, 3.4, fill=MISTAKE_COLOURS[kind], anchor="middle", bold=True)
