"""Jobs that only one process at a time does, wherever it runs: whoever holds the lease."""

from einthoven.storage.database import Connection

__all__ = ["give_back", "take_lease"]


def take_lease(connection: Connection, job: str, holder: str, now_ns: int, for_s: float) -> bool:
    """Take or prolong the lease of a job; whether ``holder`` has it now.

    A holder that dies loses it when the time is over. Clocks of several machines must agree to well within
    ``for_s``.
    """
    until_ns = now_ns + round(for_s * 1e9)
    with connection.writing() as statements:
        taken = statements.run(
            "INSERT INTO leases (job, holder, until_ns) VALUES (?, ?, ?) "
            "ON CONFLICT (job) DO UPDATE SET holder = excluded.holder, until_ns = excluded.until_ns "
            "WHERE leases.holder = excluded.holder OR leases.until_ns < ?",
            (job, holder, until_ns, now_ns),
        )
    return taken == 1


def give_back(connection: Connection, holder: str) -> None:
    """Let others have all that ``holder`` holds."""
    with connection.writing() as statements:
        statements.run("DELETE FROM leases WHERE holder = ?", (holder,))
