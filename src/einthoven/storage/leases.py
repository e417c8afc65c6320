"""Jobs that only one process at a time does, wherever it runs: whoever holds the lease."""

from einthoven.storage.database import Connection

__all__ = ["give_back", "take_lease"]


def take_lease(connection: Connection, job: str, holder: str, now_ns: int, for_s: float) -> bool:
    """Take or prolong the lease of a job; whether ``holder`` has it now.

    A holder that dies loses it when the time is over. Clocks of several machines must agree to well within
    ``for_s``.
    """
    until_ns = now_ns + round(for_s * 1e9)
    with connection.reading() as statements:
        rows = statements.rows("SELECT holder, until_ns FROM leases WHERE job = ?", (job,))
    if rows and rows[0][0] != holder and rows[0][1] >= now_ns:
        return False
    if rows and rows[0][0] == holder and rows[0][1] - now_ns > round(for_s * 5e8):
        return True  # more than half of it is left; writing waits for the disk
    with connection.writing() as statements:
        taken = statements.run(
            "INSERT INTO leases (job, holder, until_ns) VALUES (?, ?, ?) "
            "ON CONFLICT (job) DO UPDATE SET holder = excluded.holder, until_ns = excluded.until_ns "
            "WHERE leases.holder = excluded.holder OR leases.until_ns < ?",
            (job, holder, until_ns, now_ns),
        )
    return taken == 1


def give_back(connection: Connection, holder: str, job: str | None = None) -> None:
    """Let others have a job that ``holder`` holds; all of them when None."""
    which, values = ("", (holder,)) if job is None else (" AND job = ?", (holder, job))
    with connection.writing() as statements:
        statements.run(f"DELETE FROM leases WHERE holder = ?{which}", values)  # noqa: S608 - fixed texts
