"""Which reader a path asks for."""

from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import msgspec

from einthoven.errors import RecordingNotFound, RecordingUnreadable
from einthoven.records.annotation import Annotations
from einthoven.records.edf import EdfRecording
from einthoven.records.edf_header import is_edf
from einthoven.records.files import open_file, read_span
from einthoven.records.ishne import IshneRecording, is_ishne
from einthoven.records.spans import clipped, rows_of
from einthoven.records.text import agreed, is_text, open_csv, read_json
from einthoven.records.wfdb import open_wfdb
from einthoven.signal.recording import Counts, Recording, RecordingInfo

__all__ = ["Described", "OpenRecording", "header_of", "open_recording"]

_SIGNALS: Final = {".dat", ".mat", ".hea"}
_BINARY: Final = {".edf", ".bdf", ".ecg"}
"""Files of these names that hold rows of numbers are read as such; nothing else is taken for text."""


class OpenRecording(Protocol):
    """A recording source that holds files until it is closed."""

    @property
    def info(self) -> RecordingInfo:
        """See `einthoven.signal.recording.RecordingSource`."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the file has and the recording has not, in sentences; never who the patient is."""
        ...

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:
        """See `einthoven.signal.recording.RecordingSource`."""
        ...

    def annotations(self) -> Annotations | None:
        """The annotations in the same file; None for formats that have none."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller says of a file that does not describe itself; None for what it is to say itself."""

    fs: float | None = None
    """Sampling rate, Hz."""
    gain: float | None = None
    """Counts per mV."""
    baseline: int | None = None
    """Count at 0 mV."""

    def opened(self, path: Path) -> OpenRecording:
        """A recording, open; raises as `open_recording` does."""
        return open_recording(path, fs=self.fs, gain=self.gain, baseline=self.baseline)


class _InMemory:
    """A recording that was read whole, behind the same seam."""

    def __init__(self, recording: Recording, remarks: tuple[str, ...]) -> None:
        self.remarks = remarks
        self.info = recording.info
        self._recording = recording

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:
        """See `einthoven.signal.recording.RecordingSource`."""
        rows_of(self.info, lead)
        return self._recording.read(*clipped(self.info, start, stop), lead)

    def annotations(self) -> None:
        """The format has none."""

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_recording(
    path: str | Path, *, fs: float | None = None, gain: float | None = None, baseline: int | None = None
) -> OpenRecording:
    """Open a recording; use it as a context manager.

    ``path`` names a WFDB record by its stem, header or signal file, an EDF, BDF or ISHNE file, a text file
    of integers (one sample a row), or a JSON file; what the file holds counts more than its suffix. ``fs``
    (Hz), ``gain`` (counts per mV) and ``baseline`` (counts) describe files that do not describe themselves:
    CSV, and JSON without these fields, which are else taken to be 125 Hz, 200 counts per mV and 0. They must
    not contradict a file.

    Raises
    ------
    RecordingNotFound : no such file.
    RecordingUnreadable : the message says what is wrong, where, and what to do.
    ReferenceRefused : a header that points outside its folder.
    InputInvalid : a sampling rate or gain that cannot be, or that is not the file's own.
    """
    path = Path(path)
    header = header_of(path)
    if header is not None:
        return _agreeing(open_wfdb(header), fs, gain, baseline, header)
    with open_file(path) as file:
        beginning = read_span(file, 0, 4096, str(path))
    if is_edf(beginning):
        return _agreeing(EdfRecording(path), fs, gain, baseline, path)
    if is_ishne(beginning):
        return _agreeing(IshneRecording(path), fs, gain, baseline, path)
    if path.suffix.lower() in _BINARY and not is_text(beginning):
        raise RecordingUnreadable(
            f"the file does not begin as {path.suffix} files do." if beginning else "the file is empty.",
            where=str(path),
            remedy="Get the file again.",
        )
    begins = beginning.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if begins in {b"{", b"["} or path.suffix.lower() == ".json":
        return _InMemory(*read_json(path, fs, gain, baseline))
    return open_csv(path, fs, gain, baseline)


def header_of(path: Path) -> Path | None:
    """The header of the WFDB record that a path names; None when it names none.

    Raises
    ------
    RecordingNotFound : it names nothing at all.
    """
    if not path.name or path.name == "..":
        raise RecordingNotFound("the path names no file.", where=str(path), remedy="Name a recording.")
    suffix = path.suffix.lower()
    if suffix == ".hea":
        return path
    header = path.with_name(f"{path.stem}.hea") if suffix in _SIGNALS else path.with_name(f"{path.name}.hea")
    return header if (suffix in _SIGNALS or not _is_file(path)) and _is_file(header) else None


def _agreeing(
    source: OpenRecording, fs: float | None, gain: float | None, baseline: int | None, path: Path
) -> OpenRecording:
    """The same, unless what the caller says is not what its header says."""
    try:
        agreed("sampling rate", fs, source.info.fs, path)
        for lead in source.info.leads:
            agreed("gain", gain, lead.gain, path)
            agreed("baseline", baseline, lead.baseline, path)
    except BaseException:
        source.close()
        raise
    return source


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
