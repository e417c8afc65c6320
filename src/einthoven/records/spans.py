"""Which samples of which leads a read asks for; the one rule of every reader."""

from einthoven.errors import InputInvalid
from einthoven.signal.recording import RecordingInfo

__all__ = ["clipped", "rows_of"]


def clipped(info: RecordingInfo, start: int, stop: int) -> tuple[int, int]:
    """The span ``start`` to ``stop``, samples, as far as it lies in the recording; never negative."""
    start = min(max(0, start), info.samples)
    return start, min(max(start, stop), info.samples)


def rows_of(info: RecordingInfo, lead: int | None) -> tuple[int, ...]:
    """The leads that a read gives: one, or all when ``lead`` is None.

    Raises
    ------
    InputInvalid : the recording has no such lead.
    """
    if lead is None:
        return tuple(range(len(info.leads)))
    if not 0 <= lead < len(info.leads):
        raise InputInvalid(
            f"there is no lead {lead}; the recording has {len(info.leads)}.",
            where=info.name,
            remedy="Count leads from 0.",
        )
    return (lead,)
