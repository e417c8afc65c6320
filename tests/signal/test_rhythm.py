"""Each rhythm rule, on beats written down by hand."""

import numpy as np
import pytest

from einthoven.errors import InputInvalid
from einthoven.signal.atrial import P_SHAPE
from einthoven.signal.quality import FIBRILLATION, LEAD_OFF, LOST, NOISE, SCORE_LEAST, SCORE_SHIFT
from einthoven.signal.rhythm import BeatColumns, RhythmState, fold, open_episodes
from einthoven.signal.rules import (
    GUARDS,
    KINDS,
    ORDERED,
    RANGES,
    RULES,
    Criteria,
    criteria_of,
    guard_of,
)

CODES = {"N": 0, "S": 1, "V": 2, "F": 3, "Q": 4}
CALM = 1 | SCORE_LEAST << SCORE_SHIFT
"""A second of grade 1 that looks nothing like fibrillation."""
WILD = 1 | FIBRILLATION | 176 << SCORE_SHIFT
DOUBTFUL = 1 | 152 << SCORE_SHIFT
SINUS_P = (-4, -14, 6, 2)
"""The shape of an ordinary P wave."""


class Story:
    """Beats told one after the other, then folded."""

    def __init__(self) -> None:
        self.at_s: list[float] = []
        self.classes: list[int] = []
        self.p_wave: list[int] = []
        self.p_shape: list[tuple[int, ...]] = []
        self.agreement: list[int] = []
        self.confidences: list[int] = []
        self.cells: dict[int, int] = {}
        self.chance = np.random.default_rng(0)

    def beats(
        self, classes: str, rr_s: float, *, p_wave: int = 90, agreement: int = 95, confidence: int = 99
    ) -> "Story":
        for kind in classes:
            self.at_s.append((self.at_s[-1] if self.at_s else 0.0) + rr_s)
            self.classes.append(CODES[kind])
            self.p_wave.append(p_wave)
            self.p_shape.append(SINUS_P if p_wave > 50 else tuple(self.chance.integers(-9, 10, 4)))
            self.agreement.append(agreement)
            self.confidences.append(confidence)
        return self

    def pause(self, seconds: float) -> "Story":
        """The next beat comes so much later than it would."""
        self.at_s.append(self.at_s[-1] + seconds)
        self.classes.append(0)
        self.p_wave.append(90)
        self.p_shape.append(SINUS_P)
        self.agreement.append(95)
        self.confidences.append(99)
        return self

    def cell(self, first_s: int, last_s: int, byte: int) -> "Story":
        for second in range(first_s, last_s):
            self.cells[second] = byte
        return self

    def told(
        self, until_s: float | None = None, criteria: Criteria | None = None
    ) -> dict[str, list[tuple[float, float | None]]]:
        """Episodes by kind: onset and end in s; end None for those that go on."""
        end_s = until_s if until_s is not None else (self.at_s[-1] if self.at_s else 0) + 0.1
        grid = np.rint(np.array(self.at_s) * 125).astype(np.int64)
        cells = np.array([self.cells.get(second, CALM) for second in range(int(end_s))], np.uint16)
        beats = BeatColumns(
            grid,
            np.array(self.classes, np.uint8),
            np.array(self.confidences, np.uint8),
            np.array(self.agreement, np.uint8),
            np.array(self.p_wave, np.int8),
            np.array(self.p_shape, np.int8).reshape(-1, P_SHAPE),
        )
        state, self.polished, ended = fold(
            RhythmState.at(0), beats, cells, int(end_s * 125), criteria or Criteria()
        )
        episodes: dict[str, list[tuple[float, float | None]]] = {}
        self.sureness: dict[str, tuple[int, int]] = {}
        for kind, onset, end, confidence, grade in zip(*ended, strict=True):
            episodes.setdefault(KINDS[kind], []).append((onset / 125, end / 125))
            self.sureness[KINDS[kind]] = (confidence, grade)
        for going in open_episodes(state):
            episodes.setdefault(going.kind, []).append((going.onset / 125, None))
            self.sureness[going.kind] = (going.confidence, going.grade)
        return episodes


def normal(seconds: float = 40.0, rr_s: float = 0.8) -> Story:
    return Story().beats("N" * round(seconds / rr_s), rr_s)


def test_normal_rhythm_has_no_episode() -> None:
    assert normal().told() == {}


@pytest.mark.parametrize(
    ("gap_s", "kinds"),
    [(2.9, set()), (3.0, {"pause"}), (3.9, {"pause"}), (4.1, {"asystole"}), (4.8, {"asystole"})],
)
def test_a_silence_is_a_pause_from_three_seconds_and_asystole_from_four(
    gap_s: float, kinds: set[str]
) -> None:
    told = normal(20).pause(gap_s).beats("N" * 20, 0.8).told()
    assert set(told) == kinds
    for onset_s, end_s in (span for spans in told.values() for span in spans):
        assert onset_s == pytest.approx(20.0)
        assert end_s == pytest.approx(20.0 + gap_s, abs=0.008)


def test_asystole_is_told_before_it_ends() -> None:
    assert normal(20).told(until_s=26) == {"asystole": [(20.0, None)]}


def test_asystole_at_the_very_beginning_is_told() -> None:
    assert Story().told(until_s=6) == {"asystole": [(0.0, None)]}


@pytest.mark.parametrize("byte", [3 | NOISE, 3 | LEAD_OFF, 3 | LOST])
def test_a_silence_that_cannot_be_read_is_not_asystole(byte: int) -> None:
    story = normal(20).pause(8).beats("N" * 20, 0.8).cell(22, 27, byte | SCORE_LEAST << SCORE_SHIFT)
    assert "asystole" not in story.told()
    assert "pause" not in story.told()


@pytest.mark.parametrize(
    ("run", "rr_s", "kind"),
    [
        ("VV", 0.4, None),
        ("VVV", 0.4, "ventricular_run"),
        ("VVVV", 0.4, "ventricular_run"),
        ("VVVVV", 0.4, "ventricular_tachycardia"),
        ("VVVVVVVV", 0.7, "ventricular_run"),
    ],
)
def test_ventricular_runs_by_length_and_rate(run: str, rr_s: float, kind: str | None) -> None:
    told = normal(20).beats(run, rr_s).beats("N" * 20, 0.8).told()
    found = {k: v for k, v in told.items() if k.startswith("ventricular")}
    if kind is None:
        assert found == {}
    else:
        ((onset_s, end_s),) = found[kind]
        assert onset_s == pytest.approx(20 + rr_s, abs=0.02)
        assert end_s == pytest.approx(20 + len(run) * rr_s, abs=0.02)
        assert set(found) == {kind}


def test_a_run_that_becomes_a_tachycardia_is_one_episode() -> None:
    told = normal(20).beats("V" * 12, 0.35).beats("N" * 20, 0.8).told()
    assert len(told["ventricular_tachycardia"]) == 1
    assert "ventricular_run" not in told


@pytest.mark.parametrize(("rr_s", "expected"), [(1.6, True), (1.45, False)])
def test_extreme_bradycardia_is_under_forty_over_five_beats(rr_s: float, expected: bool) -> None:
    assert ("extreme_bradycardia" in normal(20).beats("N" * 6, rr_s).told()) is expected


@pytest.mark.parametrize(
    ("beats", "rr_s", "expected"), [(30, 0.40, True), (10, 0.40, False), (30, 0.45, False)]
)
def test_extreme_tachycardia_is_over_140_over_seventeen_beats(
    beats: int, rr_s: float, expected: bool
) -> None:
    assert ("extreme_tachycardia" in normal(20).beats("N" * beats, rr_s).told()) is expected


def test_slow_and_fast_rhythms_over_thirty_seconds() -> None:
    assert "bradycardia" in normal(60, 1.3).told()
    assert "bradycardia" not in normal(60, 1.1).told()
    assert "tachycardia" in normal(60, 0.48).told()
    assert "tachycardia" not in normal(60, 0.52).told()
    assert "tachycardia" not in normal(20).beats("N" * 20, 0.48).told()


def test_a_narrow_tachycardia_needs_thirty_seconds() -> None:
    assert "supraventricular_tachycardia" in normal(20).beats("S" * 100, 0.35).told()
    assert "supraventricular_tachycardia" not in normal(20).beats("S" * 60, 0.35).told()


def test_bigeminy_and_trigeminy_need_three_repeats() -> None:
    assert "bigeminy" in normal(20).beats("NVNVNV", 0.7).beats("NN", 0.8).told()
    assert "bigeminy" not in normal(20).beats("VNV", 0.7).beats("NN", 0.8).told()
    assert "trigeminy" in normal(20).beats("NNVNNVNNVNNV", 0.7).beats("NN", 0.8).told()
    assert "trigeminy" not in normal(20).beats("NNVNNVNN", 0.7).beats("NN", 0.8).told()


def irregular(p_wave: int, count: int = 80, *, after_s: float = 30) -> Story:
    rng = np.random.default_rng(1)
    story = normal(after_s) if after_s else Story()
    for rr_s in rng.lognormal(np.log(0.7), 0.2, count):
        story.beats("N", float(rr_s), p_wave=p_wave)
    return story


def test_irregular_without_p_waves_is_atrial_fibrillation() -> None:
    ((onset_s, end_s),) = irregular(5, 120).told()["atrial_fibrillation"]
    assert abs(onset_s - 30) < 15
    assert end_s is None


def test_thirty_seconds_of_it_are_enough_at_the_beginning() -> None:
    story = irregular(5, after_s=0)
    assert story.told(until_s=31)["atrial_fibrillation"] == [(pytest.approx(story.at_s[0], abs=0.01), None)]
    confidence, grade = story.sureness["atrial_fibrillation"]
    assert confidence > 50
    assert grade == 1


def test_irregular_with_p_waves_is_not() -> None:
    assert "atrial_fibrillation" not in irregular(90).told()


def test_regular_without_p_waves_is_not() -> None:
    assert "atrial_fibrillation" not in Story().beats("N" * 150, 0.8, p_wave=5).told()


def test_atrial_fibrillation_ends_when_the_rhythm_is_regular_again() -> None:
    ((_, end_s),) = irregular(5, 120).beats("N" * 120, 0.8).told()["atrial_fibrillation"]
    assert end_s is not None


@pytest.mark.parametrize("count", [16, 24, 32, 40])
def test_atrial_fibrillation_of_which_a_stream_begins_ends_where_it_ends(count: int) -> None:
    story = irregular(5, count, after_s=0)
    last_s = story.at_s[-1]
    ((_, end_s),) = story.beats("N" * 80, 0.8).told()["atrial_fibrillation"]
    assert abs(end_s - last_s) < 10


def test_early_beats_in_atrial_fibrillation_are_not_called_supraventricular() -> None:
    story = irregular(5, 120).beats("S", 0.4, p_wave=5).beats("N" * 3, 0.7, p_wave=5)
    story.told()
    assert story.polished[-4] == CODES["N"]
    story = normal(40).beats("S", 0.5).beats("N" * 3, 0.8)
    story.told()
    assert story.polished[-4] == CODES["S"]


def test_beats_that_resemble_nothing_are_unknown_and_alarm_nobody() -> None:
    story = normal(20).beats("V" * 30, 0.35, agreement=10)
    told = story.told()
    assert "ventricular_tachycardia" not in told
    assert "extreme_tachycardia" not in told
    assert (story.polished[-20:] == CODES["Q"]).all()


def test_fibrillation_is_told_from_the_scores_of_eight_seconds_and_ends_without_them() -> None:
    told = Story().beats("N", 1).cell(5, 7, WILD).told(until_s=30)
    assert "ventricular_fibrillation" not in told, "two windows are not eight seconds"
    ((onset_s, end_s),) = Story().beats("N", 1).cell(5, 15, WILD).told(until_s=40)["ventricular_fibrillation"]
    assert 4 <= onset_s <= 8
    assert end_s is not None
    assert 15 <= end_s <= 21
    story = Story().beats("N", 1).cell(5, 12, WILD).cell(14, 20, WILD)
    assert len(story.told(until_s=40)["ventricular_fibrillation"]) == 1, "a short doubt does not make two"


def test_beats_like_the_patients_own_speak_against_fibrillation() -> None:
    sick = normal(20).beats("V" * 100, 0.2, agreement=20).cell(22, 40, DOUBTFUL)
    assert "ventricular_fibrillation" in sick.told()
    well = normal(60).cell(22, 40, DOUBTFUL)
    assert "ventricular_fibrillation" not in well.told()


def test_technical_conditions_need_their_time() -> None:
    story = normal(200)
    assert story.cell(20, 26, 3 | LEAD_OFF).told()["lead_off"] == [(20.0, 26.0)]
    assert "lead_off" not in normal(200).cell(20, 24, 3 | LEAD_OFF).told()
    assert normal(200).cell(20, 26, 3 | LOST).told()["gap"] == [(20.0, 26.0)]
    assert normal(200).cell(20, 90, 3 | NOISE).told()["noise"] == [(20.0, 90.0)]
    assert "noise" not in normal(200).cell(20, 70, 3 | NOISE).told()


def test_criteria_change_the_rules() -> None:
    story = normal(20).pause(2.2).beats("N" * 20, 0.8)
    assert "pause" in story.told(criteria=Criteria(pause_s=2.0))
    assert "pause" not in story.told()


def test_every_kind_has_a_rule_with_a_source_and_the_most_urgent_come_first() -> None:
    order = ["high", "medium", "low", "technical", "none"]
    assert tuple(RULES) == KINDS
    for rule in RULES.values():
        assert rule.title
        assert rule.rule
        assert rule.source in {"C15", "Holter", "ours", "EC57"}
        assert rule.priority in order
    assert RULES[KINDS[0]].priority == "high"


@pytest.mark.parametrize(
    ("limit", "value", "story", "kind"),
    [
        ("pause_s", 2.0, normal(20).pause(2.2).beats("N" * 20, 0.8), "pause"),
        ("asystole_s", 3.5, normal(20).pause(3.7).beats("N" * 20, 0.8), "asystole"),
        ("vt_beats", 4, normal(20).beats("VVVV", 0.4).beats("N" * 20, 0.8), "ventricular_tachycardia"),
        ("vt_bpm", 80, normal(20).beats("V" * 8, 0.7).beats("N" * 20, 0.8), "ventricular_tachycardia"),
        ("run_beats", 2, normal(20).beats("VV", 0.4).beats("N" * 20, 0.8), "ventricular_run"),
        ("run_beats", 2, normal(20).beats("SS", 0.5).beats("N" * 20, 0.8), "supraventricular_run"),
        ("extreme_bradycardia_bpm", 45, normal(20).beats("N" * 6, 1.4), "extreme_bradycardia"),
        ("extreme_bradycardia_beats", 3, normal(20).beats("N" * 4, 1.6), "extreme_bradycardia"),
        ("extreme_tachycardia_bpm", 130, normal(20).beats("N" * 30, 0.45), "extreme_tachycardia"),
        ("extreme_tachycardia_beats", 8, normal(20).beats("N" * 10, 0.4), "extreme_tachycardia"),
        ("bradycardia_bpm", 60, normal(60, 1.1), "bradycardia"),
        ("tachycardia_bpm", 100, normal(60, 0.55), "tachycardia"),
        ("rate_s", 10, normal(20).beats("N" * 30, 0.48), "tachycardia"),
        ("svt_bpm", 120, normal(20).beats("N" * 100, 0.45), "supraventricular_tachycardia"),
        ("svt_s", 10, normal(20).beats("S" * 60, 0.35), "supraventricular_tachycardia"),
        ("bigeminy_repeats", 2, normal(20).beats("NVNV", 0.7).beats("NN", 0.8), "bigeminy"),
        ("trigeminy_repeats", 2, normal(20).beats("NNVNNV", 0.7).beats("NN", 0.8), "trigeminy"),
        ("lead_off_s", 3, normal(60).cell(20, 24, 3 | LEAD_OFF), "lead_off"),
        ("gap_s", 3, normal(60).cell(20, 24, 3 | LOST), "gap"),
        ("noise_s", 30, normal(90).cell(20, 60, 3 | NOISE), "noise"),
        ("agreement_least", 0.05, normal(20).beats("V" * 30, 0.35, agreement=10), "ventricular_tachycardia"),
        ("af_score", -20, irregular(90), "atrial_fibrillation"),
        ("fibrillation_score", -9, normal(60).cell(22, 40, DOUBTFUL), "ventricular_fibrillation"),
    ],
)
def test_each_limit_moves_its_rule(limit: str, value: float, story: Story, kind: str) -> None:
    extra = {limit: value} | ({limit + "_end": -20.0, limit: -9.0} if limit.endswith("_score") else {})
    assert kind not in story.told()
    assert kind in story.told(criteria=Criteria(**extra))


def test_limits_come_from_toml_and_the_rest_stay() -> None:
    found = criteria_of("pause_s = 2.5\nvt_beats = 4\n")
    assert found == Criteria(pause_s=2.5, vt_beats=4.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pause_s = 0.2", "pause_s is 0.2; it must lie in 1 to 20"),
        ("pause_s = nan", "pause_s"),
        ("pauses = 2", "pauses"),
        ("pause_s = 'long'", "pause_s"),
        ("pause_s = ", "TOML"),
        ("pause_s = 5", "pause_s is 5; it must be less than asystole_s, which is 4"),
        ("bradycardia_bpm = 90\ntachycardia_bpm = 80", "bradycardia_bpm"),
    ],
)
def test_a_wrong_limit_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(InputInvalid, match=words.replace("(", r"\(")):
        criteria_of(text)


@pytest.mark.parametrize("limit", sorted(RANGES))
def test_every_limit_has_a_range_that_holds_its_default_and_is_kept(limit: str) -> None:
    least, most = RANGES[limit]
    assert least <= getattr(Criteria(), limit) <= most
    for value in (least - 0.5, most + 0.5):
        with pytest.raises(InputInvalid, match=limit):
            Criteria(**{limit: value})


def test_every_field_has_a_range_and_every_order_names_fields() -> None:
    assert set(RANGES) == set(Criteria.__struct_fields__)
    for low, high in ORDERED:
        assert getattr(Criteria(), low) < getattr(Criteria(), high)


@pytest.mark.parametrize(
    ("kind", "confidence", "grade", "action"),
    [
        ("ventricular_fibrillation", 99, 1, None),
        ("ventricular_fibrillation", 99, 3, "doubt"),
        ("asystole", 95, 1, None),
        ("asystole", 40, 1, "doubt"),
        ("asystole", 95, 3, "doubt"),
        ("pause", 95, 2, None),
        ("pause", 95, 3, "hold"),
        ("pause", 40, 1, "hold"),
        ("ventricular_tachycardia", 70, 1, None),
        ("ventricular_tachycardia", 40, 1, "doubt"),
        ("ventricular_tachycardia", 70, 3, "hold"),
        ("ventricular_run", 50, 1, "hold"),
        ("ventricular_run", 60, 1, None),
        ("lead_off", 100, 3, None),
        ("noise", 100, 3, None),
    ],
)
def test_the_guards_as_a_table(kind: str, confidence: int, grade: int, action: str | None) -> None:
    guard = guard_of(kind, confidence, grade)  # type: ignore[arg-type]
    assert (guard.action if guard else None) == action
    assert guard is None or guard.reason


def test_every_guard_says_why_and_names_kinds_that_exist() -> None:
    for guard in GUARDS:
        assert guard.reason
        assert set(guard.kinds) <= set(KINDS)


def test_a_run_is_as_sure_as_its_beats() -> None:
    sure = normal(20).beats("VVVV", 0.4, confidence=90).beats("N" * 20, 0.8)
    sure.told()
    unsure = normal(20).beats("VVVV", 0.4, confidence=50).beats("N" * 20, 0.8)
    unsure.told()
    assert sure.sureness["ventricular_run"][0] > 80
    assert unsure.sureness["ventricular_run"][0] < 50


def test_an_episode_has_the_grade_under_which_it_was_decided() -> None:
    story = normal(60).beats("VVVV", 0.4).beats("N" * 20, 0.8).cell(58, 62, 2 | SCORE_LEAST << SCORE_SHIFT)
    story.told()
    assert story.sureness["ventricular_run"][1] == 2
