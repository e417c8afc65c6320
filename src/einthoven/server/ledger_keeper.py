"""Ledgers beside the service: checkpoints where the key is, and verifying the whole now and then.

What does not verify is a technical alert of high priority, which goes on until it does.
"""

import logging
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from einthoven.alerts import Change, receive, watch_ledger
from einthoven.errors import DatabaseUnavailable, EinthovenError
from einthoven.server import alert_tables
from einthoven.server.desk import Desk, Raised
from einthoven.server.ledger_entries import keep_steps, ledgers_here
from einthoven.server.logs import place_of
from einthoven.storage.database import Connection, Statements
from einthoven.trust.batching import Batching, BatchLimits

__all__ = ["LedgerKeeper"]

_LOG: Final = logging.getLogger("einthoven.ledgers")


class LedgerKeeper:
    """Jobs that sign checkpoints and verify ledgers; each for one thread of its own.

    Parameters
    ----------
    folder : where the keys are.
    committed : told what became of alerts, once it is on disk.
    """

    def __init__(
        self, folder: Path, desk: Desk, committed: Callable[[Raised], None], limits: BatchLimits | None = None
    ) -> None:
        self._folder = folder
        self._desk = desk
        self._committed = committed
        self._limits = limits
        self._batches: dict[str, Batching] = {}

    def sign(self, connection: Connection, now_ns: int) -> int:
        """A checkpoint of each ledger that grew by enough, or long enough ago, where its key is."""
        with connection.reading() as statements:
            grown = statements.rows("SELECT org, origin, size - signed FROM ledgers WHERE size > signed")
        for org, origin, waiting in grown:
            batch = self._batches.setdefault(org, Batching(self._limits))
            if batch.appended(max(0, waiting - batch.waiting), now_ns / 1e9):
                self._sign(connection, org, origin, now_ns)
                batch.closed(batch.waiting, now_ns / 1e9)
        return 0

    def _sign(self, connection: Connection, org: str, origin: str, now_ns: int) -> None:
        ledgers = ledgers_here()
        if ledgers is None:
            return
        from einthoven.runtime.secret_files import ledger_keys  # noqa: PLC0415 - an extra

        try:
            keys = ledger_keys(self._folder, org, origin)
            if keys:
                with connection.writing() as statements:
                    ledgers.checkpoint(statements, org, keys, now_ns)
        except EinthovenError as error:
            _LOG.error("a checkpoint could not be signed: %s", error.what, extra={"code": error.code})

    def verify(self, connection: Connection, now_ns: int) -> int:
        """Whether each ledger is what was signed; where one is not, an alert that goes on until it is.

        Where the ledger's key is, the ledger must be there, and signed with it.
        """
        ledgers = ledgers_here()
        if ledgers is None:
            return 0
        found: dict[str, bool] = {}
        keys = self._keys()
        with connection.reading() as statements:
            orgs = {str(row[0]) for row in statements.rows("SELECT org FROM ledgers")}
        for org in sorted(orgs | keys.keys()):
            with connection.reading() as statements:
                found[org] = _is_whole(ledgers, statements, org, keys.get(org, ()))
        changes: list[Change] = []
        with connection.writing() as statements:
            self._desk.look(statements)
            for org, is_whole in found.items():
                rules = self._desk.rules(statements, org, "")
                known = alert_tables.load_patient(statements, org, "", ())
                sightings = watch_ledger(known, is_whole=is_whole, at_ns=now_ns)
                known = alert_tables.load_patient(statements, org, "", sightings)
                these = receive(known, sightings, rules, now_ns)
                alert_tables.store(statements, these, rules)
                changes += these
            keep_steps(statements, changes)
        self._committed(Raised(tuple(changes)))
        return 0

    def _keys(self) -> Mapping[str, Sequence[bytes]]:
        """Public halves of the keys that are here, by organisation; of those that cannot be opened, none."""
        from einthoven.runtime.secret_files import public_ledger_keys  # noqa: PLC0415 - an extra

        try:
            return public_ledger_keys(self._folder)
        except EinthovenError as error:
            _LOG.error("ledgers are verified without their keys: %s", error.what, extra={"code": error.code})
            return {}


def _is_whole(ledgers: types.ModuleType, statements: Statements, org: str, publics: Sequence[bytes]) -> bool:
    try:
        ledgers.verify_kept(statements, org, ledgers.verifying_keys(statements, org, publics))
    except DatabaseUnavailable:
        raise
    except EinthovenError as error:
        _LOG.error("a ledger does not verify: %s", error.what, extra={"code": error.code})
        return False
    except (TypeError, ValueError) as error:
        _LOG.error("a ledger cannot be read", extra=place_of(error))
        return False
    return True
