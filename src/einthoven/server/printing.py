"""The report of a recording that the service keeps, from its files and what was found."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from einthoven.errors import Conflict, EinthovenError
from einthoven.functions import in_sequence
from einthoven.reports import Heading, gather
from einthoven.reports.pages import print_report
from einthoven.runtime.batch import lead_number
from einthoven.runtime.ecg_functions import Reading
from einthoven.runtime.joined_findings import findings_in, joined_in
from einthoven.signal.findings import Findings
from einthoven.storage import ObjectStore
from einthoven.storage.received import ReceivedFiles
from einthoven.storage.recordings import KeptRecording

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["forget_left_behind", "print_recording", "room_in"]


def print_recording(one: KeptRecording, store: ObjectStore, folder: Path, heading: Heading) -> bytes:
    """The PDF.

    Parameters
    ----------
    store : the service's. folder : where files are for as long as they are read.

    Raises
    ------
    Conflict : it is not analysed.
    InputInvalid : reportlab is not installed.
    ObjectDamaged, StoreUnavailable : see `ObjectStore`.
    """
    if one.state != "done" or one.result is None:
        raise Conflict(
            f"there is no report; the recording is {one.state}.",
            where="recording",
            remedy="Ask for its state until it is done.",
        )
    findings = _findings(one.result, store)
    with room_in(folder) as aside:
        files = ReceivedFiles(store)
        for file in one.files:
            files.copy_to(one.org, file.sha256, aside / file.name)
        about = one.read_as
        reading = Reading(str(aside), 0, about.fs, about.gain, about.baseline)
        try:
            with reading.opened(one.files[0].name) as source:
                lead = lead_number(source.info, one.lead)
                report = gather(source, lead, findings, heading, remarks=source.remarks)
        except EinthovenError as error:  # it may name a path of ours
            raise type(error)(error.what, where="recording", remedy=error.remedy) from None
    return print_report(msgspec.structs.replace(report, name=one.id, start_ns=one.start_ns))


@contextmanager
def room_in(folder: Path) -> Iterator[Path]:
    """A folder of one's own in a folder, for as long as it is used."""
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder, is_alone=False), tempfile.TemporaryDirectory(prefix="report-", dir=folder) as aside:
        yield Path(aside)


def forget_left_behind(folder: Path) -> None:
    """Remove what killed processes left; nothing while another one of this machine has its room there."""
    if fcntl is not None and folder.is_dir():
        with suppress(BlockingIOError), _lock(folder, is_alone=True):
            for left in folder.iterdir():
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _lock(folder: Path, *, is_alone: bool) -> Iterator[None]:
    """A lock that ends with its process; alone or not at all, or together with others."""
    with ExitStack() as stack:
        if fcntl is not None:
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if is_alone else fcntl.LOCK_SH)
        yield


def _findings(result: str, store: ObjectStore) -> Findings:
    whole = joined_in(result, store)
    parts = in_sequence(list(findings_in(whole, store)))
    return msgspec.structs.replace(
        parts,
        first=whole.first,
        until=whole.until,
        heart_rate=whole.heart_rate,
        variability=whole.variability,
    )
