"""One format into another: what cannot be carried is known, and said, before anything is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np

from einthoven.errors import InputInvalid
from einthoven.records.annotation import Annotations, read_annotations, write_annotations
from einthoven.records.edf_writing import plan_edf, write_planned
from einthoven.records.ishne import plan_ishne, write_ishne
from einthoven.records.opening import OpenRecording, header_of
from einthoven.records.text_writing import write_csv, write_json
from einthoven.records.writing import names_read, write_recording
from einthoven.signal.recording import RecordingSource, missing

__all__ = ["FORMATS_OUT", "Conversion", "annotations_with", "plan_conversion"]

Format = Literal["wfdb", "edf", "bdf", "csv", "json", "ishne"]
FORMATS_OUT: Final[dict[str, Format]] = {
    "": "wfdb",
    ".hea": "wfdb",
    ".dat": "wfdb",
    ".edf": "edf",
    ".bdf": "bdf",
    ".csv": "csv",
    ".json": "json",
    ".ecg": "ishne",
}
"""What the ending of a file's name asks for; a WFDB record is named by its stem."""
_SPAN: Final = 2**16
_LONGEST_AUX: Final = 254


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """One conversion, ready to be performed."""

    format: Format
    files: tuple[Path, ...]
    """The files that will be there."""
    removed: tuple[Path, ...] = ()
    """Files that are there, and would be taken for a part of the new ones."""
    losses: tuple[str, ...]
    """What the new files cannot hold, in sentences."""
    annotations: int
    """How many are carried."""
    perform: Callable[[], None]
    """Write the files; each appears whole."""


def annotations_with(path: Path, source: OpenRecording) -> Annotations | None:
    """The annotations that come with a recording: in its own file, or in ``NAME.atr`` beside a header."""
    found = source.annotations()
    header = header_of(path)
    if found is None and header is not None and header.with_suffix(".atr").is_file():
        found = read_annotations(header.with_suffix(".atr"))
    return found if found is not None and len(found) else None


def plan_conversion(source: RecordingSource, path: Path, annotations: Annotations | None) -> Conversion:
    """How a recording is written to ``path``, in the format of the name's ending.

    Raises
    ------
    InputInvalid : an ending of no format that is written, or samples that the format does not hold.
    """
    kind = FORMATS_OUT.get(path.suffix.lower())
    if kind is None:
        raise InputInvalid(
            f"{path.suffix!r} is the ending of no format that is written.",
            where=str(path),
            remedy="Use .edf, .bdf, .ecg, .csv, .json, or the stem of a WFDB record without any.",
        )
    if kind == "edf" or kind == "bdf":
        plan = _to_edf(source, path, annotations, 16 if kind == "edf" else 24)
    elif kind == "wfdb":
        plan = _to_wfdb(source, path.with_suffix(""), annotations)
    elif kind == "ishne":
        plan = _to_ishne(source, path, annotations)
    else:
        plan = _to_text(source, path, annotations, kind)
    moved = annotations.moved if annotations is not None and plan.annotations else 0
    said = f"{moved} annotations lay between two samples and are taken at the nearest."
    return msgspec.structs.replace(plan, losses=(*plan.losses, said)) if moved else plan


def _to_edf(
    source: RecordingSource, path: Path, annotations: Annotations | None, bits: Literal[16, 24]
) -> Conversion:
    plan = plan_edf(source, annotations, bits)
    return Conversion(
        format="edf" if bits == 16 else "bdf",
        files=(path,),
        losses=plan.losses,
        annotations=0 if annotations is None else len(annotations),
        perform=lambda: write_planned(path, source, plan),
    )


def _to_ishne(source: RecordingSource, path: Path, annotations: Annotations | None) -> Conversion:
    losses = list(plan_ishne(source).losses)
    if annotations is not None:
        losses.append(f"ISHNE files have no place for annotations; {len(annotations)} are left out.")

    def perform() -> None:
        write_ishne(path, source)

    return Conversion(format="ishne", files=(path,), losses=tuple(losses), annotations=0, perform=perform)


def _to_wfdb(source: RecordingSource, stem: Path, annotations: Annotations | None) -> Conversion:
    kept, losses = (None, []) if annotations is None else _as_mit(annotations, source.info.fs)
    if source.info.start_ns is not None and source.info.start_ns % 1000:
        losses.append("The start is written to the microsecond.")
    names = zip(source.info.leads, names_read(source.info), strict=True)
    losses += [
        f"The name of lead {lead.name!r} is written as {read}." for lead, read in names if lead.name != read
    ]
    wfdb_format = _narrowest(source)

    marks = stem.with_name(f"{stem.name}.atr")
    removed = (marks,) if kept is None and marks.exists() else ()

    def perform() -> None:
        for one in removed:
            one.unlink(missing_ok=True)
        write_recording(stem, source, wfdb_format=wfdb_format)
        if kept is not None:
            write_annotations(marks, kept)

    endings = (".hea", ".dat", *(() if kept is None else (".atr",)))
    files = tuple(stem.with_name(f"{stem.name}{ending}") for ending in endings)
    return Conversion(
        format="wfdb",
        files=files,
        removed=removed,
        losses=tuple(losses),
        annotations=0 if kept is None else len(kept),
        perform=perform,
    )


def _narrowest(source: RecordingSource) -> Literal[16, 24, 32]:
    """The WFDB format of fewest bits, 16 at least, that holds all counts beside its mark of a missing one."""
    most = 0
    for start in range(0, source.info.samples, _SPAN):
        counts = source.read(start, start + _SPAN)
        known = counts[counts != missing(counts.dtype)].astype(np.int64)
        most = max(most, int(np.abs(known).max(initial=0)))
    return 16 if most < 2**15 else 24 if most < 2**23 else 32


def _as_mit(annotations: Annotations, fs: float) -> tuple[Annotations, list[str]]:
    """The annotations as an annotation file takes them, and what that costs."""
    texts = tuple(_as_aux(text) for text in annotations.aux)
    losses = []
    changed = sum(new != old for new, old in zip(texts, annotations.aux, strict=True))
    if changed:
        losses.append(
            f"{changed} texts of annotations are shortened to {_LONGEST_AUX} letters, "
            "with ? for letters that are not of Latin-1."
        )
    early = int(np.count_nonzero(annotations.samples < 0))
    if early:
        losses.append(f"{early} annotations before the first sample are left out.")
    columns = {
        name: tuple(column[early:]) if column else ()
        for name, column in (
            ("symbols", annotations.symbols),
            ("aux", texts),
            ("subtypes", annotations.subtypes),
            ("channels", annotations.channels),
            ("nums", annotations.nums),
        )
    }
    counted = None if annotations.fs == fs else annotations.fs
    return Annotations(annotations.samples[early:], fs=counted, **columns), losses  # type: ignore[arg-type]


def _as_aux(text: str) -> str:
    return text.encode("latin-1", "replace")[:_LONGEST_AUX].decode("latin-1").rstrip("\0")


def _to_text(
    source: RecordingSource, path: Path, annotations: Annotations | None, kind: Literal["csv", "json"]
) -> Conversion:
    info, losses = source.info, []
    if annotations is not None:
        losses.append(f"{kind.upper()} has no place for annotations; {len(annotations)} are left out.")
    if kind == "json":
        if info.start_ns is not None and info.start_ns % 1000:
            losses.append("The start is written to the microsecond.")
    else:
        scales = ", ".join(f"{lead.name} {lead.gain:g} from {lead.baseline}" for lead in info.leads)
        losses.append(
            f"CSV says neither the rate ({info.fs!r} Hz) nor gains and baselines (counts per mV: {scales})."
        )
        if info.start_ns is not None:
            losses.append("CSV does not say when the recording starts.")
    write = write_json if kind == "json" else write_csv
    return Conversion(
        format=kind, files=(path,), losses=tuple(losses), annotations=0, perform=lambda: write(path, source)
    )
