"""Recordings analysed by many hands: the same findings as by one, and an error stops nobody else."""

from pathlib import Path

import numpy as np
import pytest

from einthoven.errors import InputInvalid, RecordingUnreadable
from einthoven.records import open_recording, write_recording
from einthoven.runtime.batch import analyse_files, analyse_source, lead_number, plan
from einthoven.testing.builders import a_recording
from einthoven.testing.memory import peak_mb_of


@pytest.fixture(scope="module")
def stems(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("records")
    for seed in (1, 2, 3):
        write_recording(folder / f"r{seed}", a_recording(seed=seed, duration_s=500, fs=250.0))
    return [folder / f"r{seed}" for seed in (1, 2, 3)]


def test_two_workers_find_what_one_finds(stems: list[Path]) -> None:
    jobs = [plan(stem, chunk_s=120) for stem in stems]
    steps: list[str] = []
    many = {o.job.path: o.findings for o in analyse_files(jobs, 2, lambda job: steps.append(job.info.name))}
    assert len(steps) == sum(len(job.chunks) for job in jobs) == 15
    for stem in stems:
        with open_recording(stem) as source:
            alone = analyse_source(source)
        assert many[stem].episodes == alone.episodes
        np.testing.assert_array_equal(many[stem].beats.positions, alone.beats.positions)
        np.testing.assert_array_equal(many[stem].beats.classes, alone.beats.classes)


@pytest.mark.parametrize("workers", [1, 2])
def test_one_that_fails_is_reported_and_the_others_go_on(
    stems: list[Path], tmp_path: Path, workers: int
) -> None:
    write_recording(tmp_path / "bad", a_recording(seed=9, duration_s=300))
    jobs = [plan(tmp_path / "bad", chunk_s=60), *(plan(stem, chunk_s=120) for stem in stems)]
    (tmp_path / "bad.dat").write_bytes(b"cut off")
    outcomes = list(analyse_files(jobs, workers))
    assert len(outcomes) == 4
    failed = [o for o in outcomes if o.error is not None]
    assert [o.job.info.name for o in failed] == ["bad"]
    assert isinstance(failed[0].error, RecordingUnreadable)
    assert all(o.findings is not None for o in outcomes if o.error is None)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_empty_recording_has_no_findings_and_no_error(
    tmp_path: Path, stems: list[Path], workers: int
) -> None:
    (tmp_path / "empty.csv").write_text("")
    outcomes = list(analyse_files([plan(tmp_path / "empty.csv"), plan(stems[0], chunk_s=120)], workers))
    empty = next(o for o in outcomes if o.job.info.name == "empty")
    assert (empty.findings, empty.error) == (None, None)


def test_a_lead_is_found_by_name_or_number() -> None:
    info = a_recording().info
    assert lead_number(info, None) == lead_number(info, "MLII") == lead_number(info, "0") == 0
    for wrong in ("V9", "1", "-1", ""):
        with pytest.raises(InputInvalid, match="the recording has MLII"):
            lead_number(info, wrong)


def test_chunks_under_a_minute_are_refused(stems: list[Path]) -> None:
    for chunk_s in (59.0, 0.0, -5.0, float("nan")):
        with pytest.raises(InputInvalid, match="at least 60 s"):
            plan(stems[0], chunk_s=chunk_s)


def test_two_days_of_two_leads_are_analysed_under_300_mb(tmp_path: Path) -> None:
    """48 h at 125 Hz and two leads, stitched; the whole process, compiled kernels and all."""
    piece = a_recording(seed=4, duration_s=3600).counts[0]
    counts = np.tile(np.stack([piece, piece]), 48)
    header = "long 2 125 21600000\n" + 2 * "long.dat 16 200(0)/mV 16 0 0 0 0 I\n"
    (tmp_path / "long.hea").write_text(header)
    np.ascontiguousarray(counts.T, "<i2").tofile(tmp_path / "long.dat")
    del counts
    script = (
        "from pathlib import Path\n"
        "from einthoven.runtime.batch import analyse_files, plan\n"
        f"(outcome,) = analyse_files([plan(Path({str(tmp_path / 'long')!r}))], 1)\n"
        "assert outcome.error is None and len(outcome.findings.beats) > 100_000\n"
    )
    assert peak_mb_of(script) < 300
