"""How a run went, and how it goes: values for people, programs and other processes."""

import msgspec

from einthoven.runtime.load.histogram import Percentiles

__all__ = ["Counts", "Report", "Second"]


class Counts(msgspec.Struct, frozen=True):
    """Segments, by what became of them; a deliberate repeat is counted in ``repeats`` alone."""

    planned: int = 0
    """Due so far."""
    sent: int = 0
    """At least once."""
    answered: int = 0
    """With a final answer, good or bad."""
    analysed: int = 0
    accepted: int = 0
    """Durable, to be analysed later."""
    duplicates: int = 0
    """Sent again by us after an answer was lost; the service had it already."""
    late: int = 0
    """Kept, for the batch layer to analyse."""
    refused: int = 0
    """For good: retrying cannot help."""
    wrong: int = 0
    """Answered by something that is no answer to it."""
    repeats: int = 0
    """Sent a second time on purpose, and answered rightly."""
    retries: int = 0
    """Requests sent again."""
    odd: int = 0
    """Of the answers looked at wholly: with findings that cannot be."""
    checked: int = 0
    """Answers looked at wholly."""

    @property
    def kept(self) -> int:
        """Segments that the service says it has."""
        return self.analysed + self.accepted + self.duplicates + self.late

    @property
    def lost(self) -> int:
        """Segments that were due and that the service does not say it has."""
        return self.planned - self.kept


class Second(msgspec.Struct, frozen=True):
    """One second of a run."""

    at_s: int
    """Since the start."""
    sent: int
    answered: int
    errors: int
    waiting: int
    """Due, and not answered yet."""
    p50_ms: float | None
    p99_ms: float | None


class Report(msgspec.Struct, frozen=True):
    """How a run went."""

    destination: str
    mode: str
    """``open``: by the plan's schedule. ``closed``: as fast as answers come."""
    encoding: str
    connections: int
    elapsed_s: float
    counts: Counts
    lost: int
    """Segments that were due and that the service does not say it has."""
    is_whole: bool
    """Nothing was lost, nothing was answered wrongly."""
    errors: dict[str, int]
    """By kind; those that a retry mended too."""
    sent_per_s: float
    answered_per_s: float
    latency_ms: Percentiles
    """From when a request was meant to be sent until its final answer."""
    service_ms: Percentiles
    """From when it was really sent, the last time, until its answer."""
    send_lag_ms: Percentiles
    """How much later than meant a request was first sent: for want of a connection, or by this program."""
    bytes_sent: int
    bytes_received: int
    cpu_us_per_segment: float | None
    """Processor time of this process for each segment answered."""
    timeline: tuple[Second, ...]
