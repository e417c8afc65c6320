"""The evaluation against cases counted by hand, and laws that any evaluation keeps."""

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.cli import run
from einthoven.evaluation import (
    CLASS_MAPS,
    Labels,
    RateScore,
    Share,
    beat_table,
    labels_of,
    pair_beats,
    rate_score,
    run_table,
    score_episodes,
)
from einthoven.evaluation.beats import ROWS
from einthoven.evaluation.report import compare, report_of
from einthoven.records import Annotations, read_annotations

FS = 100.0
END = 100_000
NONE = np.empty((0, 2), np.int64)


def side(
    beats: dict[int, str] | list[int],
    *,
    vf: list[tuple[int, int]] | None = None,
    af: list[tuple[int, int]] | None = None,
    shutdown: list[tuple[int, int]] | None = None,
) -> Labels:
    told = beats if isinstance(beats, dict) else dict.fromkeys(beats, "N")
    return Labels(
        np.array(sorted(told), np.int64),
        np.array([told[k] for k in sorted(told)], "U1"),
        *(np.array(spans or [], np.int64).reshape(-1, 2) for spans in (vf, af, shutdown)),
    )


def table(reference: Labels, test: Labels, start_s: float = 0.0):
    return beat_table(reference, test, fs=FS, start_s=start_s, end=END)


def test_pairing_is_one_to_one_and_prefers_the_closer_beat() -> None:
    assert pair_beats(np.array([100]), np.array([60, 104]), 54) == [(0, 1)]
    assert pair_beats(np.array([100, 150]), np.array([140]), 54) == [(1, 0)]
    assert pair_beats(np.array([100, 110]), np.array([106, 111]), 54) == [(0, 0), (1, 1)]
    assert pair_beats(np.array([100]), np.array([155]), 54) == []
    assert pair_beats(np.array([100]), np.array([154]), 54) == [(0, 0)]
    assert pair_beats(np.array([], int), np.array([1]), 54) == []


def test_classes_missed_and_invented_beats_have_their_cells() -> None:
    reference = side({1000: "N", 1100: "V", 1200: "S", 1300: "F", 1400: "V"})
    test = side({1001: "N", 1102: "N", 1199: "S", 1301: "V", 1600: "V"})
    found = table(reference, test)
    cell = {(ROWS[i], ROWS[j].lower()): int(n) for (i, j), n in np.ndenumerate(found.counts) if n}
    assert cell == {("N", "n"): 1, ("V", "n"): 1, ("S", "s"): 1, ("F", "v"): 1, ("V", "o"): 1, ("O", "v"): 1}
    assert found.qrs() == (4, 1, 1)
    assert found.veb() == (0, 2, 1), "F called V is neither right nor wrong"
    assert found.sveb() == (1, 0, 0)
    assert found.veb_fpr() == pytest.approx(1 / 3)


def test_f_called_s_is_an_error_and_q_called_s_is_not() -> None:
    found = table(side({1000: "F", 1100: "Q"}), side({1000: "S", 1100: "S"}))
    assert found.sveb() == (0, 0, 1)


def test_the_border_lets_a_pair_across_and_forgives_a_lone_beat_just_after() -> None:
    assert table(side([1005]), side([995]), start_s=10.0).qrs() == (1, 0, 0)
    assert table(side([]), side([1010]), start_s=10.0).qrs() == (0, 0, 0)
    assert table(side([]), side([1015]), start_s=10.0).qrs() == (0, 0, 1)
    assert table(side([995]), side([1005]), start_s=10.0).qrs() == (0, 0, 0)


def test_beats_in_the_references_fibrillation_do_not_count() -> None:
    reference = side([500, 2000], vf=[(900, 1500)])
    assert table(reference, side([500, 1000, 1100, 2000])).qrs() == (2, 0, 0)
    assert table(side([500, 1000, 2000]), side([500, 2000], vf=[(900, 1500)])).qrs() == (2, 1, 0)


def test_what_is_missed_in_shutdown_is_missed_and_told_apart() -> None:
    """As bxb: x is a beat missed in the test's shutdown, X a beat invented in the reference's."""
    found = table(side([500, 1000, 2000]), side([500, 2000, 950], shutdown=[(900, 1500)]))
    assert found.qrs() == (2, 1, 1)
    assert found.counts[ROWS.index("N"), ROWS.index("X")] == 1
    assert found.counts[ROWS.index("O"), ROWS.index("N")] == 1, "one's own shutdown excuses nothing"
    assert found.missed_in_shutdown() == 1
    assert found.shutdown_s == 6.0
    found = table(side([500], shutdown=[(900, 1500)]), side([500, 950]))
    assert found.counts[ROWS.index("X"), ROWS.index("N")] == 1
    assert (found.qrs(), found.shutdown_s) == ((1, 0, 1), 0.0)


def test_false_positive_rates_are_of_what_was_called_something() -> None:
    """A missed beat was called nothing: it is no true negative."""
    reference = side({1000: "N", 1100: "N", 1200: "N", 1300: "S", 1400: "V", 1500: "F", 1600: "Q", 1700: "N"})
    test = side({1000: "N", 1100: "S", 1200: "V", 1300: "S", 1400: "V", 1500: "V", 1600: "S", 1800: "S"})
    found = table(reference, test)
    # V: one N called V; right not to say V: N as n, N as s, S as s, Q as s, nothing as s.
    assert found.veb_fpr() == pytest.approx(1 / 6)
    # S: an N and nothing called S; right not to say S: N as n, N as v, V as v, F as v. Q as s is neither.
    assert found.sveb_fpr() == pytest.approx(2 / 6)
    assert table(side([]), side([])).sveb_fpr() is None


def test_rr_error_is_of_intervals_paired_at_both_ends() -> None:
    found = table(side([1000, 1100, 1200, 1300]), side([1000, 1102, 1200, 1300]))
    assert found.rr_error_ms == pytest.approx(10 * np.sqrt((4 + 4 + 0) / 3))
    assert table(side([1000]), side([1000])).rr_error_ms is None


def test_rr_error_leaves_out_what_fibrillation_or_shutdown_breaks() -> None:
    beats, shifted = [1000, 1100, 2000, 2100], [1000, 1101, 2005, 2105]
    for broken in ({"vf": [(1200, 1900)]}, {"shutdown": [(1200, 1900)]}):
        found = table(side(beats), side(shifted, **broken))
        assert found.rr_intervals == 2
        assert found.rr_error_ms == pytest.approx(10 * np.sqrt(1 / 2))
        assert table(side(beats, **broken), side(shifted)).rr_intervals == 2


def test_errors_of_many_records_are_pooled() -> None:
    one = table(side([1000, 1100, 1200]), side([1000, 1104, 1200]))
    other = table(side([1000, 1100]), side([1000, 1100]))
    assert (one + other).rr_error_ms == pytest.approx(10 * np.sqrt((16 + 16 + 0) / 3))


def test_averages_are_means_of_the_records_that_have_the_figure() -> None:
    records = {
        "exact": compare(side(regular(100, 12)), side(regular(100, 12)), fs=FS, start_s=0.0, end=END),
        "fast": compare(side(regular(100, 10)), side(regular(80, 9)), fs=FS, start_s=0.0, end=END),
        "silent": compare(side([]), side([]), fs=FS, start_s=0.0, end=END),
    }
    report = report_of(records)
    assert report.average_errors["hr_error_bpm"] == pytest.approx((0 + 15) / 2)
    assert report.gross.rates.error_bpm == pytest.approx(np.sqrt(15**2 / 5)), "gross is pooled"
    assert report.average_errors["veb_fpr"] == 0.0


def test_within_spans_only_their_own_beats_count() -> None:
    reference, test = side([1000, 1100, 1200, 1300, 1400]), side([1000, 1104, 1210, 1350, 1500])
    spans = np.array([[1090, 1205], [1390, 1600]])
    found = beat_table(reference, test, fs=FS, start_s=0.0, end=END, within=spans)
    assert found.qrs() == (2, 1, 1), "a pair belongs where its reference beat lies"
    assert found.rr_intervals == 1


def regular(rr: int, count: int, first: int = 1000) -> list[int]:
    return [first + rr * k for k in range(count)]


def rates(reference: Labels, test: Labels, start_s: float = 0.0) -> RateScore:
    return rate_score(reference, test, fs=FS, start_s=start_s, end=END)


def test_heart_rate_error_is_against_the_nearest_measurement() -> None:
    """Eight intervals of 1 s are 60 beats/min, of 0.8 s 75: an error of 15, a quarter of the reference."""
    score = rates(side(regular(100, 10)), side(regular(80, 9)))
    assert (score.count, score.references) == (1, 2)
    assert score.error_bpm == pytest.approx(15)
    assert score.error_percent == pytest.approx(25)
    assert rates(side(regular(100, 12)), side(regular(100, 12))).error_bpm == 0.0


def test_heart_rate_errors_are_the_root_of_the_mean_square() -> None:
    """One extra beat: seven measurements of 8 intervals in 7 s (68.6/min), the rest exact."""
    beats = regular(100, 40)
    score = rates(side(beats), side([*beats, 2050]))
    wrong = 60 * 8 / 7 - 60
    at_extra = 60 * 8 / 7.5 - 60
    # The measurements that end on the extra beat and on the eighth beat after it span 7.5 s.
    assert score.count == 33
    assert score.error_bpm == pytest.approx(np.sqrt((7 * wrong**2 + 2 * at_extra**2) / 33))


def test_heart_rate_is_not_measured_across_fibrillation_or_shutdown() -> None:
    beats = regular(100, 30)
    assert rates(side(beats), side(beats)).count == 22
    assert rates(side(beats, vf=[(2240, 2260)]), side(beats)).count == 5 + 9
    assert rates(side(beats), side(beats, shutdown=[(2240, 2260)])).count == 5 + 9
    assert rates(side(beats), side(beats), start_s=30.0).count == 10
    none = rates(side(beats), side([]))
    assert (none.error_bpm, none.error_percent) == (None, None)


RUN = {1000 + 80 * k: "V" for k in range(4)}


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        (2, 2, ("couplets", 1, 0, 1, 0)),
        (2, 1, ("couplets", 0, 1, 0, 0)),
        (4, 3, ("short_runs", 1, 0, 1, 0)),
        (4, 2, ("short_runs", 0, 1, 0, 0)),
        (7, 6, ("long_runs", 1, 0, 1, 0)),
        (7, 5, ("long_runs", 0, 1, 0, 0)),
    ],
)
def test_runs_are_found_by_their_own_length(
    truth: int, found: int, expected: tuple[str, int, int, int, int]
) -> None:
    beats = [1000 + 80 * k for k in range(12)]
    reference = side({b: "V" if k < truth else "N" for k, b in enumerate(beats)})
    test = side({b: "V" if k < found else "N" for k, b in enumerate(beats)})
    runs = run_table(reference, test, fs=FS, start_s=0.0, end=END)
    kind, *counts = expected
    assert [runs.found[kind], runs.missed[kind], runs.right[kind], runs.wrong[kind]] == counts


def test_finding_more_than_there_is_costs_the_longer_class() -> None:
    beats = [1000 + 80 * k for k in range(12)]
    reference = side({b: "V" if k < 2 else "N" for k, b in enumerate(beats)})
    test = side({b: "V" if k < 7 else "N" for k, b in enumerate(beats)})
    runs = run_table(reference, test, fs=FS, start_s=0.0, end=END)
    assert (runs.found["couplets"], runs.missed["couplets"]) == (1, 0)
    assert runs.wrong["long_runs"] == 1


def test_fibrillation_counts_as_a_long_run() -> None:
    reference = side([500], vf=[(1000, 2000)])
    test = side({500: "N", **{1100 + 50 * k: "V" for k in range(8)}})
    runs = run_table(reference, test, fs=FS, start_s=0.0, end=END)
    assert (runs.found["long_runs"], runs.right["long_runs"]) == (1, 1)


def test_episodes_are_found_by_touch_and_timed_by_overlap() -> None:
    score = score_episodes(
        np.array([[1000, 2000], [5000, 6000]]),
        np.array([[1500, 2500], [1900, 1950], [8000, 9000]]),
        fs=FS,
        start_s=0.0,
        end=END,
    )
    assert (score.found, score.missed, score.right, score.wrong) == (1, 1, 2, 1)
    assert (score.reference_s, score.test_s) == (20.0, 20.5)
    assert score.both_s == 5.5


def test_an_episode_begun_in_the_learning_period_counts_from_its_end() -> None:
    score = score_episodes(np.array([[0, 2000]]), np.array([[0, 900]]), fs=FS, start_s=10.0, end=END)
    assert (score.found, score.missed, score.wrong, score.reference_s) == (0, 1, 0, 10.0)


BEATS = st.dictionaries(st.integers(0, 20_000), st.sampled_from("NSVFQ"), max_size=60)


@given(BEATS)
def test_a_side_against_itself_is_perfect(beats: dict[int, str]) -> None:
    labels = side(beats, af=[(500, 900)], vf=[(30_000, 31_000)])
    found = report_of({"r": compare(labels, labels, fs=FS, start_s=0.0, end=END)})
    for share in found.gross.shares().values():
        assert share.se in {None, 100.0}
        assert share.ppv in {None, 100.0}
    assert (found.gross.beats.counts == np.diag(np.diag(found.gross.beats.counts))).all()
    assert found.gross.episode_shares()["atrial_fibrillation"]["duration"] == Share(100.0, 100.0, 100.0)
    assert not any(found.gross.runs.missed.values())
    assert not any(found.gross.runs.wrong.values())


@given(BEATS, BEATS)
def test_exchanging_the_sides_exchanges_missed_and_invented(a: dict[int, str], b: dict[int, str]) -> None:
    one, other = table(side(a), side(b)).qrs(), table(side(b), side(a)).qrs()
    assert one[0] + one[1] == len(a)
    # At the very border a lone test beat is forgiven, a lone reference beat is not.
    forgiven_b = sum(beat < 15 for beat in b)
    forgiven_a = sum(beat < 15 for beat in a)
    assert len(b) - forgiven_b <= one[0] + one[2] <= len(b)
    assert len(a) - forgiven_a <= other[0] + other[2] <= len(a)


@given(BEATS, st.integers(-15, 15))
def test_a_shift_within_the_window_changes_nothing_for_beats_far_apart(
    beats: dict[int, str], shift: int
) -> None:
    apart = {100 + 50 * k: kind for k, kind in enumerate(beats.values())}
    found = table(side(apart), side({b + shift: kind for b, kind in apart.items()}))
    assert found.qrs() == (len(apart), 0, 0)
    assert np.trace(found.counts) == len(apart)


@given(BEATS)
def test_an_empty_side_finds_nothing_and_divides_by_nothing(beats: dict[int, str]) -> None:
    assert table(side(beats), side([])).qrs() == (0, len(beats), 0)
    assert Share.of(0, 0, 0) == Share(None, None, None)
    report = report_of({"r": compare(side([]), side([]), fs=FS, start_s=0.0, end=END)})
    assert report.jk is None
    assert report.average["qrs"].se is None


def test_annotations_are_read_in_the_standards_terms() -> None:
    marks = Annotations(
        samples=np.array([0, 10, 20, 30, 40, 50, 60, 70, 80]),
        symbols=("+", "N", "j", "+", "[", "]", "~", "~", "+"),
        aux=("(N", "", "", "(AFIB", "", "", "", "", "(AFL"),
        subtypes=(0, 0, 0, 0, 0, 0, 0x30, 0, 0),
    )
    bxb = labels_of(marks, 100, CLASS_MAPS["bxb"])
    assert bxb.classes.tolist() == ["N", "S"]
    assert labels_of(marks, 100, CLASS_MAPS["de-chazal"]).classes.tolist() == ["N", "N"]
    assert bxb.atrial_fibrillation.tolist() == [[30, 80]]
    assert bxb.fibrillation.tolist() == [[40, 50]]
    assert bxb.shutdown.tolist() == [[60, 70]]


def test_the_totals_of_the_database_are_the_published_ones(data) -> None:
    """An evaluation program that does not arrive at these totals is wrong."""
    for name, kinds in (
        ("bxb", {"N": 74_695, "S": 2_745, "V": 5_900, "F": 623, "Q": 15}),
        ("de-chazal", {"N": 74_938, "S": 2_502, "V": 5_900, "F": 623, "Q": 15}),
    ):
        totals = np.zeros((7, 7), np.int64)
        for record in (data / "mitdb" / "RECORDS").read_text().split():
            if record not in {"102", "104", "107", "217"}:
                marks = read_annotations(data / "mitdb" / f"{record}.atr")
                labels = labels_of(marks, 650_000, CLASS_MAPS[name])
                totals += beat_table(labels, labels, fs=360.0, end=650_000).counts
        assert {row: int(totals[ROWS.index(row)].sum()) for row in "NSVFQ"} == kinds


def test_the_command_prints_a_table_and_the_promised_keys(data, capsys) -> None:
    words = ["bench", "ec57", "--data", str(data), "--records", "119,207", "--workers", "1"]
    assert run(words) == 0
    page = capsys.readouterr().out
    assert "non-standard" in page
    assert "Gross" in page
    figures = {}
    for mode in ("stream", "whole", "isolated"):
        assert run([*words, "--json", "--mode", mode]) == 0
        figures[mode] = json.loads(capsys.readouterr().out)
        keys = {"protocol", "gross", "average", "records", "jk", "confusion", "machine", "version"}
        assert set(figures[mode]) == keys
        assert set(figures[mode]["records"]) == {"119", "207"}
        assert figures[mode]["gross"]["qrs"]["se"] > 95
    for name in ("gross", "average", "records", "confusion"):
        assert figures["stream"][name] == figures["whole"][name], "a stream is the whole"
    assert run(["bench", "ec57", "--data", str(data), "--database", "nothing"]) == 2
    msgspec.json.encode(figures)
