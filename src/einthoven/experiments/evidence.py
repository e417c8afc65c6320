"""What evidence of one message costs on this machine, with the code that is used: alone, or in a log."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from einthoven.errors import InputInvalid
from einthoven.storage import open_database
from einthoven.trust.entries import DataMoved, write_entry
from einthoven.trust.merkle import Frontier, leaf_hashes

if TYPE_CHECKING:
    from einthoven.trust.notes import SigningKey

__all__ = ["EvidenceCost", "a_movement", "evidence_cost", "timed_us"]

_ROUNDS: Final = 7
_CALLS: Final = 64
_TRANSACTIONS: Final = 15


class EvidenceCost(msgspec.Struct, frozen=True, kw_only=True):
    """µs; the best of several rounds, but for ``kept_us``, a median."""

    sign_us: float
    """One message, by itself."""
    verify_us: float
    append_us: float
    """One entry: its leaf, and its part in the growth of the tree."""
    checkpoint_us: float
    """To write and sign one."""
    verify_checkpoint_us: float
    kept_us: float
    """One entry in the ledger's database, on disk, with its share of a checkpoint: what is really used."""

    @property
    def chain_us(self) -> float:
        """One message that is signed and verified by itself."""
        return self.sign_us + self.verify_us

    def log_us(self, leaves: int) -> float:
        """One message of a log: an append each at both ends, and its share of the checkpoint."""
        return 2 * self.append_us + (self.checkpoint_us + self.verify_checkpoint_us) / leaves


def evidence_cost() -> EvidenceCost:
    """Measure it.

    Raises
    ------
    InputInvalid : cryptography is not installed.
    """
    if find_spec("cryptography") is None:
        raise InputInvalid(
            "cryptography is not installed.", where="einthoven", remedy="pip install 'einthoven[trust]'"
        )
    from einthoven.trust.checkpoints import Checkpoint, print_checkpoint, sign_checkpoint  # noqa: PLC0415
    from einthoven.trust.notes import SigningKey, signed  # noqa: PLC0415

    key = SigningKey.made("measured.example")
    entries = [a_movement(number) for number in range(_CALLS)]
    contents = [write_entry(one) for one in entries]
    frontier = Frontier().grown(leaf_hashes(contents))
    checkpoint = Checkpoint("measured.example", frontier.size, frontier.root, 1_764_000_000_000_000_000)
    text = contents[0].decode() + "\n"
    message, note = signed(text, [key]), sign_checkpoint(checkpoint, [key])
    printed = print_checkpoint(checkpoint)

    def best_us(what: Callable[[], object]) -> float:
        return timed_us(what, _CALLS, _ROUNDS)[0]

    return EvidenceCost(
        sign_us=best_us(lambda: signed(text, [key])),
        verify_us=best_us(lambda: key.verifying.verifies(text, message.signatures[0])),
        append_us=best_us(lambda: frontier.grown(leaf_hashes(contents))) / _CALLS,
        checkpoint_us=best_us(lambda: sign_checkpoint(checkpoint, [key])),
        verify_checkpoint_us=best_us(lambda: key.verifying.verifies(printed, note.signatures[0])),
        kept_us=_kept_us(entries, key),
    )


def _kept_us(entries: Sequence[DataMoved], key: "SigningKey") -> float:
    """Transactions of so many entries and their checkpoint, one after the other; the median."""
    from einthoven.runtime import ledgers  # noqa: PLC0415 - needs cryptography

    with tempfile.TemporaryDirectory(prefix="einthoven-evidence-") as folder:
        database = open_database(str(Path(folder) / "ledger.db"))
        database.migrate()
        with closing(database.connect()) as connection:
            with connection.writing() as statements:
                ledgers.create(statements, "main", key, by="measured", now_ns=0)
            took_s = []
            for number in range(_TRANSACTIONS):
                began_s = time.perf_counter()
                with connection.writing() as statements:
                    ledgers.append(statements, "main", entries)
                    ledgers.checkpoint(statements, "main", [key], number + 1)
                took_s.append(time.perf_counter() - began_s)
    return 1e6 * statistics.median(took_s) / len(entries)


def timed_us(what: Callable[[], object], calls: int, rounds: int) -> tuple[float, float]:
    """The best and the median of rounds of so many calls, µs a call."""
    took_us = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        for _ in range(calls):
            what()
        took_us.append(1e6 * (time.perf_counter() - began_s) / calls)
    return min(took_us), statistics.median(took_us)


def a_movement(number: int) -> DataMoved:
    """An entry of usual size."""
    return DataMoved(
        at_ns=1_764_000_000_000_000_000 + number,
        patient=f"p1-mzxw6ytb{number % 1000:04d}",
        data="pseudonymised",
        from_region="ward",
        from_tier="local",
        to_region="hospital",
        to_tier="edge",
        purpose="treatment",
        content_bytes=2400,
        digest=f"{number:064x}",
    )
