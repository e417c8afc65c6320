"""Each rhythm rule, on beats written down by hand."""

import numpy as np
import pytest

from einthoven.signal.quality import FIBRILLATION, LEAD_OFF, LOST, NOISE
from einthoven.signal.rhythm import RhythmState, fold, open_episodes
from einthoven.signal.rules import KINDS, RULES, Criteria

CODES = {"N": 0, "S": 1, "V": 2, "F": 3, "Q": 4}


class Story:
    """Beats told one after the other, then folded."""

    def __init__(self) -> None:
        self.at_s: list[float] = []
        self.classes: list[int] = []
        self.p_wave: list[int] = []
        self.agreement: list[int] = []
        self.cells: dict[int, int] = {}

    def beats(self, classes: str, rr_s: float, *, p_wave: int = 90, agreement: int = 95) -> "Story":
        for kind in classes:
            self.at_s.append((self.at_s[-1] if self.at_s else 0.0) + rr_s)
            self.classes.append(CODES[kind])
            self.p_wave.append(p_wave)
            self.agreement.append(agreement)
        return self

    def pause(self, seconds: float) -> "Story":
        """The next beat comes so much later than it would."""
        self.at_s.append(self.at_s[-1] + seconds)
        self.classes.append(0)
        self.p_wave.append(90)
        self.agreement.append(95)
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
        cells = np.array([self.cells.get(second, 1) for second in range(int(end_s))], np.uint8)
        state, self.polished, ended = fold(
            RhythmState.at(0),
            grid,
            np.array(self.classes, np.uint8),
            np.array(self.agreement, np.uint8),
            np.array(self.p_wave, np.int8),
            cells,
            int(end_s * 125),
            criteria or Criteria(),
        )
        episodes: dict[str, list[tuple[float, float | None]]] = {}
        for kind, onset, end in zip(*ended, strict=True):
            episodes.setdefault(KINDS[kind], []).append((onset / 125, end / 125))
        for kind, onset in open_episodes(state):
            episodes.setdefault(kind, []).append((onset / 125, None))
        return episodes


def normal(seconds: float = 40.0, rr_s: float = 0.8) -> Story:
    return Story().beats("N" * round(seconds / rr_s), rr_s)


def test_normal_rhythm_has_no_episode() -> None:
    assert normal().told() == {}


@pytest.mark.parametrize(
    ("gap_s", "kinds"), [(2.9, set()), (3.0, {"pause"}), (3.9, {"pause"}), (4.8, {"asystole"})]
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
    story = normal(20).pause(8).beats("N" * 20, 0.8).cell(22, 27, byte)
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
    assert "tachycardia" in normal(60, 0.55).told()
    assert "tachycardia" not in normal(60, 0.65).told()
    assert "tachycardia" not in normal(20).beats("N" * 20, 0.55).told()


def test_a_narrow_tachycardia_needs_thirty_seconds() -> None:
    assert "supraventricular_tachycardia" in normal(20).beats("S" * 100, 0.35).told()
    assert "supraventricular_tachycardia" not in normal(20).beats("S" * 60, 0.35).told()


def test_bigeminy_and_trigeminy_need_three_repeats() -> None:
    assert "bigeminy" in normal(20).beats("NVNVNV", 0.7).beats("NN", 0.8).told()
    assert "bigeminy" not in normal(20).beats("VNV", 0.7).beats("NN", 0.8).told()
    assert "trigeminy" in normal(20).beats("NNVNNVNNVNNV", 0.7).beats("NN", 0.8).told()
    assert "trigeminy" not in normal(20).beats("NNVNNVNN", 0.7).beats("NN", 0.8).told()


def irregular(p_wave: int, count: int = 80) -> Story:
    rng = np.random.default_rng(1)
    story = normal(30)
    for rr_s in rng.lognormal(np.log(0.7), 0.2, count):
        story.beats("N", float(rr_s), p_wave=p_wave)
    return story


def test_irregular_without_p_waves_is_atrial_fibrillation() -> None:
    ((onset_s, end_s),) = irregular(5).told()["atrial_fibrillation"]
    assert abs(onset_s - 30) < 15
    assert end_s is None


def test_irregular_with_p_waves_is_not() -> None:
    assert "atrial_fibrillation" not in irregular(90).told()


def test_atrial_fibrillation_ends_when_the_rhythm_is_regular_again() -> None:
    ((_, end_s),) = irregular(5).beats("N" * 60, 0.8).told()["atrial_fibrillation"]
    assert end_s is not None


def test_early_beats_in_atrial_fibrillation_are_not_called_supraventricular() -> None:
    story = irregular(5).beats("S", 0.4, p_wave=5).beats("N" * 3, 0.7, p_wave=5)
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


def test_fibrillation_needs_three_windows_and_ends_after_four_without() -> None:
    wild = 1 | FIBRILLATION
    assert "ventricular_fibrillation" not in Story().beats("N", 1).cell(5, 7, wild).told(until_s=30)
    told = Story().beats("N", 1).cell(5, 12, wild).told(until_s=30)
    assert told["ventricular_fibrillation"] == [(5.0, 15.0)]
    told = Story().beats("N", 1).cell(5, 9, wild).cell(11, 15, wild).told(until_s=30)
    assert told["ventricular_fibrillation"] == [(5.0, 18.0)], "a short doubt does not make two episodes"


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
