"""Anchors beside the service: the newest checkpoint now and then, where the account's key is.

A chain that does not answer holds nothing up: it is logged, and tried again. A chain that says that the
ledger was another is a technical alert of high priority, which goes on until the two agree.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from einthoven.alerts import receive, watch_ledger
from einthoven.clock import SystemClock
from einthoven.errors import DatabaseUnavailable, EinthovenError, LedgerTampered
from einthoven.server import alert_tables
from einthoven.server.desk import Desk, Raised
from einthoven.server.ledger_entries import keep_steps
from einthoven.server.logs import place_of
from einthoven.server.settings import Settings
from einthoven.storage.anchors import chains
from einthoven.storage.database import Connection

if TYPE_CHECKING:
    from einthoven.runtime.anchors import Anchoring

__all__ = ["LOOKS_EVERY_S", "AnchorKeeper"]

_LOG: Final = logging.getLogger("einthoven.anchors")
LOOKS_EVERY_S: Final = 15.0
"""How often a transaction that is on its way is looked after."""
_AGAIN_NS: Final = 60 * 10**9
_NS: Final = 1e9


class AnchorKeeper:
    """A job that anchors ledgers; for one thread of its own.

    Parameters
    ----------
    committed : told what became of alerts, once it is on disk.
    """

    def __init__(self, settings: Settings, desk: Desk, committed: Callable[[Raised], None]) -> None:
        self._settings = settings
        self._desk = desk
        self._committed = committed
        self._due_ns: dict[str, int] = {}
        self._is_waiting: dict[str, bool] = {}

    def anchor(self, connection: Connection, now_ns: int) -> int:
        """Go on with what is on its way, and anchor the ledgers whose turn it is."""
        if not self._settings.chain_url:
            return 0
        with connection.reading() as statements:
            orgs = chains(statements)
        for org in orgs:
            is_due = now_ns >= self._due_ns.get(org, 0)
            if is_due or self._is_waiting.get(org, True):
                self._anchor(connection, org, now_ns, may_anchor=is_due)
        return 0

    def _anchor(self, connection: Connection, org: str, now_ns: int, *, may_anchor: bool) -> None:
        again_ns = _AGAIN_NS
        try:
            anchoring = self._anchoring(org)
            if anchoring is None:
                return
            step = anchoring.step(connection, may_anchor=may_anchor)
            self._is_waiting[org] = step.is_waiting
            again_ns = round(self._settings.anchor_every_s * _NS)
            if step.done and not step.is_waiting:
                _LOG.info("a ledger is anchored")
            if step.is_compared:
                self._tell(connection, org, now_ns, is_whole=True)
        except DatabaseUnavailable:
            raise
        except LedgerTampered as error:
            _LOG.error("the chain contradicts a ledger: %s", error.what, extra={"code": error.code})
            self._tell(connection, org, now_ns, is_whole=False)
        except EinthovenError as error:
            _LOG.warning("a ledger was not anchored: %s", error.what, extra={"code": error.code})
        except (TypeError, ValueError, KeyError) as error:
            _LOG.error("a ledger was not anchored", extra=place_of(error))
        if may_anchor:
            self._due_ns[org] = now_ns + again_ns

    def _anchoring(self, org: str) -> "Anchoring | None":
        """Where the account's key is; elsewhere somebody else does it."""
        try:
            from einthoven.runtime.anchors import Anchoring  # noqa: PLC0415 - an extra
            from einthoven.runtime.json_rpc import Chain  # noqa: PLC0415 - an extra
            from einthoven.runtime.secret_files import secret_named  # noqa: PLC0415 - an extra
        except ImportError:
            _LOG.error("a ledger is to be anchored, and the extra chain is not installed")
            return None
        folder: Path = self._settings.folder
        account, consents = (secret_named(folder, kind, org) for kind in ("chain", "consents"))
        if account is None or consents is None:
            return None
        return Anchoring(
            Chain(self._settings.chain_url),
            org,
            SystemClock(),
            account=account,
            consents=consents,
            contract=self._settings.chain_contract,
            confirmations=self._settings.chain_confirmations,
        )

    def _tell(self, connection: Connection, org: str, now_ns: int, *, is_whole: bool) -> None:
        with connection.writing() as statements:
            self._desk.look(statements)
            rules = self._desk.rules(statements, org, "")
            known = alert_tables.load_patient(statements, org, "", ())
            sightings = watch_ledger(known, is_whole=is_whole, at_ns=now_ns, by="chain")
            known = alert_tables.load_patient(statements, org, "", sightings)
            changes = receive(known, sightings, rules, now_ns)
            alert_tables.store(statements, changes, rules)
            keep_steps(statements, changes)
        self._committed(Raised(tuple(changes)))
