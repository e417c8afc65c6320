"""Which files a recording is made of."""

from pathlib import Path

from einthoven.records.files import beside, open_file
from einthoven.records.header import Header, read_header
from einthoven.records.opening import header_of

__all__ = ["recording_files"]


def recording_files(path: str | Path) -> tuple[Path, ...]:
    """The files that must be together for a recording to be read; the first is the one to open.

    ``path`` names it as for `open_recording`. Of a WFDB record these are its header and its signal files, and
    those of its segments.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable, ReferenceRefused : see `open_recording`.
    """
    path = Path(path)
    header = header_of(path)
    if header is None:
        open_file(path).close()
        return (path,)
    found = read_header(header)
    files = {header: None, **dict.fromkeys(_signals(found, header))}
    for segment in found.segments:
        if segment.name != "~":
            inner = beside(header, f"{segment.name}.hea")
            files[inner] = None
            files.update(dict.fromkeys(_signals(read_header(inner), inner)))
    for file in files:
        open_file(file).close()
    return tuple(files)


def _signals(header: Header, path: Path) -> list[Path]:
    return [beside(path, line.file) for line in header.signals if line.file != "~"]
