"""What went to regions, entered into the ledger in sums: one entry for a patient, a region and a while.

An entry for each half minute of ECG would say no more. The decision that let it go is entered before it goes.
"""

from typing import Final

from einthoven.continuum import Tier
from einthoven.server.ledger_entries import could_enter
from einthoven.storage.consents import Movement, due_movements, end_movements, orgs_with_movements
from einthoven.storage.database import Connection
from einthoven.trust.entries import DataMoved

__all__ = ["HERE", "Movements"]

HERE: Final = "here"
"""What the entry calls this service, which is no region."""
_AT_ONCE: Final = 1000


class Movements:
    """A job.

    Parameters
    ----------
    after_s : so long what goes is summed.
    tier : where this service stands.
    """

    def __init__(self, *, after_s: float, tier: Tier) -> None:
        self._after_ns = round(after_s * 1e9)
        self._tier = tier

    def enter(self, connection: Connection, now_ns: int) -> int:
        """Enter the sums that are old enough; how many. What a ledger does not take is summed on."""
        before_ns = now_ns - self._after_ns
        with connection.reading() as statements:
            orgs = orgs_with_movements(statements, before_ns)
        return sum(self._enter(connection, org, before_ns, now_ns) for org in orgs)

    def _enter(self, connection: Connection, org: str, before_ns: int, now_ns: int) -> int:
        with connection.writing() as statements:
            due = due_movements(statements, org, before_ns, _AT_ONCE)
            if not could_enter(statements, org, [self._entry(one, now_ns) for one in due]):
                return 0
            end_movements(statements, due)
        return len(due)

    def _entry(self, one: Movement, now_ns: int) -> DataMoved:
        return DataMoved(
            at_ns=now_ns,
            patient=one.patient,
            data=one.data,
            from_region=HERE,
            from_tier=self._tier,
            to_region=one.region,
            to_tier=one.tier,
            purpose="treatment",
            content_bytes=one.content_bytes,
            digest="",
        )
