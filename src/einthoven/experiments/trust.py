"""What trust costs: a segment sealed and pseudonymised, an entry in the ledger, a ledger verified."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

import msgspec

from einthoven.clock import SystemClock
from einthoven.continuum import Region
from einthoven.experiments.evidence import a_movement, timed_us
from einthoven.experiments.segments import segment_contents
from einthoven.runtime import ledgers
from einthoven.runtime.secret_files import keep_payload_key
from einthoven.server import accounts
from einthoven.server.payload_opening import PayloadOpening
from einthoven.server.payload_tables import add_key
from einthoven.server.wire import SEALED_AS, Sender
from einthoven.storage import Database, open_database
from einthoven.trust.consent import Consent
from einthoven.trust.entries import write_entry
from einthoven.trust.envelopes import ENVELOPE_BYTES, DeviceKey, Opener, PayloadKey, Sealer
from einthoven.trust.exports import verify_export
from einthoven.trust.notes import SigningKey
from einthoven.trust.policy import Question, decide, read_policy
from einthoven.trust.pseudonyms import PseudonymKey
from einthoven.trust.replay import ReplayWindow

__all__ = ["AppendRate", "LedgerCost", "SegmentCost", "TrustCosts", "bench_trust"]

_ROUNDS: Final = 15
_CALLS: Final = 200
_SESSIONS: Final = 20
_PROOFS: Final = 200
_BATCHES: Final = ((1, 200), (100, 20_000), (1000, 100_000))
_CHECKPOINT_EVERY: Final = 64
_POLICY: Final = """
version = 1
[functions]
bdc = ["samples", "pseudonymised"]
[[rules]]
name = "site"
data = ["samples"]
tiers = ["local", "edge"]
[[rules]]
name = "cloud"
data = ["pseudonymised"]
labels = ["eu"]
[[rules]]
name = "abroad"
verdict = "deny"
data = ["samples", "pseudonymised"]
labels = ["us"]
"""


class SegmentCost(msgspec.Struct, frozen=True):
    """One 30-s segment, µs: the best of fifteen rounds of 200, and what a usual one of them took."""

    payload_bytes: int
    envelope_bytes: int
    """What an envelope is longer."""
    pseudonymise_us: float
    """Patient and device, and the shift of the dates, with nothing remembered."""
    seal_us: float
    both_us: float
    """The two together."""
    both_median_us: float
    open_us: float
    """And the window moved."""
    service_open_us: float
    """Opened by the service, before it is decoded; of a session that it knows."""
    service_session_us: float
    """The same of a session that it does not know, with the thread that does it."""
    session_us: float
    """To begin a session at the device."""
    decide_us: float
    """Whether the data policy lets it go."""


class AppendRate(msgspec.Struct, frozen=True):
    """Entries in transactions of one size, each on disk before the next."""

    batch: int
    entries: int
    per_s: float


class LedgerCost(msgspec.Struct, frozen=True):
    """A ledger in SQLite on this disk; what is appended, in the database that was asked for."""

    database: Literal["sqlite", "postgresql"]
    """Where it was appended."""
    append: list[AppendRate]
    entries: int
    """Of the ledger that is verified."""
    checkpoints: int
    export_mb: float
    verify_s: float
    verify_per_s: float
    prove_us: float
    """To prove one entry."""
    checkpoint_us: float
    """To sign and keep a checkpoint; beside the disk."""
    entry_us: float
    """To make an entry and its bytes."""


class TrustCosts(msgspec.Struct, frozen=True):
    """All of it."""

    segment: SegmentCost
    ledger: LedgerCost


def bench_trust(
    entries: int, told: Callable[[str], None] = lambda _: None, url: str | None = None
) -> TrustCosts:
    """Measure both.

    Parameters
    ----------
    entries : of the ledger that is exported and verified, with a checkpoint for each 64
    url : of the database that is appended to, in organisations of its own; none is SQLite on this disk
    """
    told("a segment")
    segment = _segment()
    with tempfile.TemporaryDirectory(prefix="einthoven-trust-") as folder:
        return TrustCosts(segment, _ledger(Path(folder), entries, told, url))


def _segment() -> SegmentCost:
    (payload,) = segment_contents(1, "msgpack")
    site, device = PayloadKey.made(), PayloadKey.made()
    key = PseudonymKey.of(bytes(range(32)), "main", "research", 1)
    sealer = Sealer("d-1", device, site.public)
    opener = Opener([site], [DeviceKey("d-1", device.public)])
    numbers = iter(range(10**9))

    def pseudonymise() -> None:
        key.pseudonym("MRN-0017")
        key.pseudonym("SN-4711", "device")
        key.shift_ns("MRN-0017", 365)

    def both() -> None:
        pseudonymise()
        sealer.seal(next(numbers), payload)

    pseudonymise_us, _ = _timed(pseudonymise)
    seal_us, _ = _timed(lambda: sealer.seal(next(numbers), payload))
    both_us, both_median_us = _timed(both)
    window = ReplayWindow()
    envelopes = (sealer.seal(number, payload) for number in numbers)

    def prepared() -> Iterator[bytes]:
        for _ in range(_ROUNDS):
            yield from [next(envelopes) for _ in range(_CALLS)]

    waiting = list(prepared())

    def open_one() -> None:
        nonlocal window
        window = opener.open(waiting.pop(0), window).window

    open_us, _ = _timed(open_one)
    service_open_us, service_session_us = asyncio.run(_in_service(payload))
    session_us, _ = _timed(lambda: Sealer("d-1", device, site.public), calls=20)
    policy = read_policy(_POLICY)
    region = Region(name="cloud", kind="inline", tier="core", labels=("eu",))
    consent = Consent(id="c", patient="p-1", version=1, status="active", base="permit", given_ns=0)
    asked = Question(function="bdc", region=region, purpose="treatment", consent=consent, now_ns=1)
    decide_us, _ = _timed(lambda: decide(policy, asked))
    return SegmentCost(
        payload_bytes=len(payload),
        envelope_bytes=ENVELOPE_BYTES,
        pseudonymise_us=pseudonymise_us,
        seal_us=seal_us,
        both_us=both_us,
        both_median_us=both_median_us,
        open_us=open_us,
        service_open_us=service_open_us,
        service_session_us=service_session_us,
        session_us=session_us,
        decide_us=decide_us,
    )


async def _in_service(payload: bytes) -> tuple[float, float]:
    """µs that a worker takes to open an envelope, of a known and of a new session: the best of the rounds."""
    clock, device = SystemClock(), PayloadKey.made()
    sender = Sender("main", 1, "p-1", "d-1")
    sealed = bytes([SEALED_AS["msgpack"]]) + payload
    known, fresh = [], []
    with tempfile.TemporaryDirectory(prefix="einthoven-payloads-") as name:
        folder = Path(name)
        database = open_database(str(folder / "einthoven.db"))
        database.migrate()
        site = keep_payload_key(folder, clock.utc_ns(), passphrase="")
        with closing(database.connect()) as connection, connection.writing() as statements:
            accounts.ensure_main(statements, 0)
            add_key(statements, "main", "d-1", device.public, by="bench", now_ns=0)
        payloads = PayloadOpening(database, clock, folder)
        sealer = Sealer("d-1", device, site.public)
        await payloads.open(sender, sealer.seal(0, sealed))
        for number in range(_ROUNDS):
            first = 1 + number * _CALLS
            envelopes = [sealer.seal(sequence, sealed) for sequence in range(first, first + _CALLS)]
            began_s = clock.now_s()
            for envelope in envelopes:
                await payloads.open(sender, envelope)
            known.append(1e6 * (clock.now_s() - began_s) / _CALLS)
            others = [Sealer("d-1", device, site.public).seal(0, sealed) for _ in range(_SESSIONS)]
            began_s = clock.now_s()
            for envelope in others:
                await payloads.open(sender, envelope)
            fresh.append(1e6 * (clock.now_s() - began_s) / _SESSIONS)
        payloads.close()
    return round(min(known), 1), round(min(fresh), 1)


def _timed(what: Callable[[], object], calls: int = _CALLS) -> tuple[float, float]:
    best_us, median_us = timed_us(what, calls, _ROUNDS)
    return round(best_us, 2), round(median_us, 2)


def _ledger(folder: Path, entries: int, told: Callable[[str], None], url: str | None) -> LedgerCost:
    rates, key = [], SigningKey.made("bench.example")
    for batch, count in _BATCHES:
        told(f"entries in transactions of {batch}")
        database = _database(url or str(folder / f"append-{batch}.db"))
        rates.append(_appended(database, batch, max(batch, min(count, entries)), key))
    told(f"a ledger of {entries} entries")
    database = _database(str(folder / "verify.db"))
    with closing(database.connect()) as connection:
        with connection.writing() as statements:
            ledgers.create(statements, "main", key, by="bench", now_ns=0)
        for start in range(0, entries, 64 * _CHECKPOINT_EVERY):
            stop = min(start + 64 * _CHECKPOINT_EVERY, entries)
            with connection.writing() as statements:
                for at in range(start, stop, _CHECKPOINT_EVERY):
                    batch_of = [a_movement(one) for one in range(at, min(at + _CHECKPOINT_EVERY, stop))]
                    ledgers.append(statements, "main", batch_of)
                    ledgers.checkpoint(statements, "main", [key], at + 1)
        checkpoint_us = _checkpoint_us(database, key)
        export = folder / "export"
        told("its export")
        with connection.reading() as statements, export.open("wb") as file:
            for piece in ledgers.export(statements, "main"):
                file.write(piece)
            began_s = time.perf_counter()
            for at in range(_PROOFS):
                ledgers.prove_inclusion(statements, "main", at * entries // _PROOFS)
            prove_us = 1e6 * (time.perf_counter() - began_s) / _PROOFS
    told("verifying it")
    began_s = time.perf_counter()
    with export.open("rb") as file:
        report = verify_export(file, keys=[key.verifying])
    verify_s = time.perf_counter() - began_s
    entry_us, _ = _timed(lambda: write_entry(a_movement(7)))
    return LedgerCost(
        database="postgresql" if url and url.startswith("postgres") else "sqlite",
        append=rates,
        entries=report.entries,
        checkpoints=report.checkpoints,
        export_mb=round(export.stat().st_size / 1e6, 1),
        verify_s=round(verify_s, 2),
        verify_per_s=round(report.entries / verify_s),
        prove_us=round(prove_us, 1),
        checkpoint_us=checkpoint_us,
        entry_us=entry_us,
    )


def _database(url: str) -> Database:
    database = open_database(url)
    database.migrate()
    return database


def _appended(database: Database, batch: int, count: int, key: SigningKey) -> AppendRate:
    """Entries made, encoded, hashed and on disk; a checkpoint at the end."""
    org = f"bench-{uuid4().hex[:12]}"
    with closing(database.connect()) as connection:
        with connection.writing() as statements:
            ledgers.create(statements, org, key, by="bench", now_ns=0)
        began_s = time.perf_counter()
        for start in range(0, count, batch):
            made = [a_movement(one) for one in range(start, start + batch)]
            with connection.writing() as statements:
                ledgers.append(statements, org, made)
        with connection.writing() as statements:
            ledgers.checkpoint(statements, org, [key], 1)
        per_s = count / (time.perf_counter() - began_s)
    return AppendRate(batch, count, round(per_s))


def _checkpoint_us(database: Database, key: SigningKey) -> float:
    """One entry and its checkpoint beyond one entry, in one transaction."""
    with closing(database.connect()) as connection, connection.writing() as statements:
        spent_s = []
        for number in range(_PROOFS):
            ledgers.append(statements, "main", [a_movement(number)])
            began_s = time.perf_counter()
            ledgers.checkpoint(statements, "main", [key], 1)
            spent_s.append(time.perf_counter() - began_s)
    return round(1e6 * statistics.median(spent_s), 1)
