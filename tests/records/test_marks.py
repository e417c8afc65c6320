"""Findings as annotations: beats, rhythm, and where the analysis says that it does not analyse."""

from pathlib import Path

import msgspec
import numpy as np
import wfdb

from einthoven.evaluation import CLASS_MAPS, beat_table, labels_of
from einthoven.records import annotations_of, open_recording, read_annotations, write_annotations
from einthoven.records.marks import SHUTDOWN, shutdown_spans
from einthoven.runtime.batch import analyse_source
from einthoven.signal.findings import Episode, Findings
from einthoven.signal.quality import FIBRILLATION, NOISE
from einthoven.signal.recording import recording_from_mv
from einthoven.simulation import SCENES, VirtualPatient

FS = 250.0
BAD = 3 | NOISE


def findings_of(cells: dict[int, int], beats: list[int], *episodes: Episode) -> Findings:
    """A minute of quiet findings, these cells and beats (seconds) apart."""
    quiet = analyse_source(recording_from_mv("quiet", np.zeros(60 * 250), FS))
    assert quiet is not None
    graded = np.ones(60, np.uint8)
    for second, cell in cells.items():
        graded[second] = cell
    columns = {
        name: np.zeros(len(beats), column.dtype)
        for name, column in msgspec.structs.asdict(quiet.beats).items()
    }
    columns["grid"] = np.array(beats, np.int64) * 125 + 60
    columns["positions"] = columns["grid"] * 2
    return msgspec.structs.replace(
        quiet,
        beats=type(quiet.beats)(**columns),
        quality=msgspec.structs.replace(quiet.quality, cells=graded),
        episodes=episodes,
    )


def test_unreadable_seconds_without_a_beat_are_shutdown() -> None:
    found = findings_of({10: BAD, 11: BAD, 12: BAD, 20: 2}, [5, 15])
    assert shutdown_spans(found) == [(10 * 250, 13 * 250)]


def test_a_second_with_a_claimed_beat_is_never_shut_down() -> None:
    found = findings_of(dict.fromkeys(range(10, 15), BAD), [12])
    assert shutdown_spans(found) == [(10 * 250, 12 * 250), (13 * 250, 15 * 250)]
    assert shutdown_spans(findings_of({10: BAD}, [10])) == []


def test_fibrillation_is_analysed_however_rough() -> None:
    assert shutdown_spans(findings_of({10: BAD | FIBRILLATION}, [])) == []


def test_shutdown_is_marked_as_the_reference_tool_reads_it() -> None:
    """The end right after the beginning: a beat or another mark between would end it there."""
    found = findings_of(
        dict.fromkeys(range(10, 20), BAD),
        [5, 30],
        Episode("bradycardia", 12 * 250, 14 * 250, "low"),
        Episode("bradycardia", 20 * 250, 21 * 250, "low"),
    )
    marks = annotations_of(found)
    told = list(zip((marks.samples / FS).tolist(), marks.symbols, marks.subtypes, strict=True))
    assert [row for row in told if 8 < row[0] < 25] == [
        (10.0, "~", SHUTDOWN),
        (12.0, "~", 0),
        (12.0, "+", 0),
        (12.0, "~", SHUTDOWN),
        (14.0, "~", 0),
        (14.0, "+", 0),
        (14.0, "~", SHUTDOWN),
        (20.0, "~", 0),
        (20.0, "+", 0),
        (21.0, "+", 0),
    ]
    read = labels_of(marks, 60 * 250, CLASS_MAPS["bxb"])
    assert (read.shutdown / FS).tolist() == [[10, 12], [12, 14], [14, 20]]


def test_a_lead_that_falls_off_is_shut_down_and_readable_ecg_is_not() -> None:
    patient = VirtualPatient(7, SCENES["healthy"], fs=FS, duration_s=60.4)
    info = patient.info
    ecg_mv = (patient.read(0, info.samples, 0)[0] - float(info.leads[0].baseline)) / info.leads[0].gain
    whole = analyse_source(recording_from_mv("whole", ecg_mv, FS))
    ecg_mv = ecg_mv.copy()
    ecg_mv[50 * 250 :] = 0.0
    off = analyse_source(recording_from_mv("off", ecg_mv, FS))
    assert whole is not None
    assert off is not None
    assert shutdown_spans(whole) == []
    ((begin, end),) = shutdown_spans(off)
    assert 50 * 250 <= begin <= 53 * 250
    assert end == info.samples, "no further than the recording"


def test_the_oracle_reads_the_marks(tmp_path: Path) -> None:
    found = findings_of({10: BAD, 11: BAD, 30: BAD}, [5, 15])
    write_annotations(tmp_path / "r.ein", annotations_of(found))
    theirs = wfdb.rdann(str(tmp_path / "r"), "ein")
    noise = [
        (int(sample) // 250, int(subtype))
        for sample, symbol, subtype in zip(theirs.sample, theirs.symbol, theirs.subtype, strict=True)
        if symbol == "~"
    ]
    assert noise == [(10, SHUTDOWN), (12, 0), (30, SHUTDOWN), (31, 0)]


def test_shutdown_excuses_nothing(data: Path) -> None:
    """Record 116 has seconds in which its lead drops out: beats missed there are missed, and told apart."""
    with open_recording(data / "mitdb" / "116") as source:
        findings = analyse_source(source)
        end = source.info.samples
    assert findings is not None
    reference = labels_of(read_annotations(data / "mitdb" / "116.atr"), end, CLASS_MAPS["bxb"])
    test = labels_of(annotations_of(findings), end, CLASS_MAPS["bxb"])
    silent = msgspec.structs.replace(test, shutdown=np.empty((0, 2), np.int64))
    marked, unmarked = (beat_table(reference, side, fs=360.0, end=end) for side in (test, silent))
    for statistic in ("qrs", "veb", "sveb"):
        assert getattr(marked, statistic)() == getattr(unmarked, statistic)()
    assert marked.shutdown_s > 0 == unmarked.shutdown_s
    assert marked.missed_in_shutdown() >= unmarked.missed_in_shutdown() == 0
