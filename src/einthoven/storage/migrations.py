"""The tables, as numbered steps that only go forward.

A step once released is never edited. ``{id}``, ``{bytes}`` and ``{double}`` are what the two databases spell
differently.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from functools import cache
from typing import Final

from einthoven.errors import InputInvalid

__all__ = ["MIGRATIONS", "SQLITE", "SQLITE_COLUMNS", "refuse_newer", "refuse_other", "spelled"]

_STREAMS: Final = """
CREATE TABLE streams (
    id {id},
    org TEXT NOT NULL,
    device TEXT NOT NULL,
    patient TEXT NOT NULL,
    lead TEXT NOT NULL,
    fs {double} NOT NULL,
    gain {double} NOT NULL,
    baseline INTEGER NOT NULL,
    start_ns BIGINT NOT NULL,
    next_sequence BIGINT NOT NULL,
    next_position BIGINT NOT NULL,
    version BIGINT NOT NULL,
    waiting BIGINT NOT NULL,
    seen_ns BIGINT NOT NULL,
    skew_ns BIGINT NOT NULL,
    is_over INTEGER NOT NULL DEFAULT 0,
    told INTEGER NOT NULL DEFAULT 0,
    region TEXT NOT NULL DEFAULT '',
    refused TEXT NOT NULL DEFAULT '',
    state {bytes} NOT NULL,
    UNIQUE (org, device)
);
CREATE INDEX streams_patient ON streams (org, patient);
CREATE INDEX streams_waiting ON streams (seen_ns) WHERE waiting > 0;
CREATE TABLE segments (
    stream BIGINT NOT NULL REFERENCES streams (id),
    sequence BIGINT NOT NULL,
    status TEXT NOT NULL,
    start_ns BIGINT NOT NULL,
    received_ns BIGINT NOT NULL,
    samples INTEGER NOT NULL,
    digest BIGINT NOT NULL,
    is_last INTEGER NOT NULL,
    answer {bytes},
    object BIGINT,
    place BIGINT,
    PRIMARY KEY (stream, sequence)
){tight};
CREATE TABLE journal (
    stream BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    received_ns BIGINT NOT NULL,
    block {bytes} NOT NULL,
    PRIMARY KEY (stream, sequence)
){tight};
CREATE INDEX journal_received ON journal (received_ns);
CREATE TABLE gaps (
    stream BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (stream, first)
){tight};
CREATE TABLE objects (
    id {id},
    name TEXT NOT NULL UNIQUE,
    org TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    segments INTEGER NOT NULL,
    made_ns BIGINT NOT NULL
);
CREATE TABLE leases (
    job TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until_ns BIGINT NOT NULL
)
"""

_ACCOUNTS: Final = """
CREATE TABLE orgs (
    org TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    access TEXT NOT NULL DEFAULT 'open'
);
CREATE TABLE users (
    id {id},
    org TEXT NOT NULL REFERENCES orgs (org),
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    patient TEXT,
    hash TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    UNIQUE (org, name)
);
CREATE TABLE tokens (
    id {id},
    org TEXT NOT NULL REFERENCES orgs (org),
    digest {bytes} NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    user_id BIGINT,
    patient TEXT,
    device TEXT,
    label TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    expires_ns BIGINT,
    revoked_ns BIGINT,
    used_ns BIGINT
);
CREATE INDEX tokens_org ON tokens (org, id);
CREATE INDEX tokens_user ON tokens (org, user_id);
CREATE TABLE epochs (
    name TEXT PRIMARY KEY,
    version BIGINT NOT NULL
);
INSERT INTO epochs (name, version) VALUES ('senders', 0);
CREATE TABLE audit (
    id {id},
    org TEXT NOT NULL,
    at_ns BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX audit_subject ON audit (org, action, subject, at_ns);
CREATE INDEX audit_org ON audit (org, id)
"""

_ALERTS: Final = """
CREATE TABLE alert_rules (
    org TEXT NOT NULL,
    patient TEXT NOT NULL,
    version BIGINT NOT NULL,
    content {bytes} NOT NULL,
    PRIMARY KEY (org, patient, version)
);
INSERT INTO epochs (name, version) VALUES ('alert_rules', 0);
CREATE TABLE alerts (
    org TEXT NOT NULL,
    patient TEXT NOT NULL,
    condition TEXT NOT NULL,
    about TEXT NOT NULL,
    number BIGINT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    steps BIGINT NOT NULL,
    urgency INTEGER NOT NULL,
    is_open INTEGER NOT NULL,
    raised_ns BIGINT NOT NULL,
    due_ns BIGINT,
    content {bytes} NOT NULL,
    PRIMARY KEY (org, patient, condition, about, number)
);
CREATE INDEX alerts_due ON alerts (due_ns);
CREATE INDEX alerts_open ON alerts (org, is_open, urgency, raised_ns);
CREATE TABLE alert_episodes (
    org TEXT NOT NULL,
    patient TEXT NOT NULL,
    condition TEXT NOT NULL,
    about TEXT NOT NULL,
    onset_ns BIGINT NOT NULL,
    end_ns BIGINT,
    alert_id TEXT NOT NULL,
    PRIMARY KEY (org, patient, condition, about, onset_ns)
);
CREATE TABLE alert_steps (
    org TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    at_ns BIGINT NOT NULL,
    content {bytes} NOT NULL,
    PRIMARY KEY (org, alert_id, number)
);
CREATE TABLE alert_changes (
    id {id},
    org TEXT NOT NULL,
    patient TEXT NOT NULL,
    at_ns BIGINT NOT NULL,
    content {bytes} NOT NULL
);
CREATE INDEX alert_changes_org ON alert_changes (org, id);
CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    org TEXT NOT NULL,
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    step BIGINT NOT NULL,
    urgency INTEGER NOT NULL,
    created_ns BIGINT NOT NULL,
    content {bytes} NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_ns BIGINT NOT NULL,
    holder TEXT NOT NULL,
    ended_ns BIGINT,
    result TEXT NOT NULL
);
CREATE INDEX outbox_due ON outbox (state, next_ns);
CREATE INDEX outbox_lane ON outbox (org, channel, address, alert_id, step) WHERE state = 'waiting';
CREATE INDEX outbox_over ON outbox (alert_id, ended_ns) WHERE state <> 'waiting';
CREATE TABLE channel_health (
    org TEXT NOT NULL,
    channel TEXT NOT NULL,
    content {bytes} NOT NULL,
    PRIMARY KEY (org, channel)
)
"""

_RUNS: Final = """
CREATE TABLE runs (
    number {id},
    id TEXT NOT NULL UNIQUE,
    org TEXT NOT NULL,
    workflow TEXT NOT NULL,
    mode TEXT NOT NULL,
    document {bytes} NOT NULL,
    inputs {bytes} NOT NULL,
    options {bytes} NOT NULL,
    state TEXT NOT NULL,
    began_ns BIGINT NOT NULL,
    ended_ns BIGINT,
    outcome {bytes}
);
CREATE INDEX runs_org ON runs (org, number);
CREATE INDEX runs_going ON runs (number) WHERE state = 'going';
CREATE TABLE invocations (
    run BIGINT NOT NULL REFERENCES runs (number),
    path TEXT NOT NULL,
    is_failure INTEGER NOT NULL,
    ended_ns BIGINT NOT NULL,
    took_ns BIGINT NOT NULL,
    entry {bytes} NOT NULL,
    PRIMARY KEY (run, path)
){tight}
"""

_RECORDINGS: Final = """
CREATE TABLE uploads (
    number {id},
    id TEXT NOT NULL UNIQUE,
    org TEXT NOT NULL,
    owner TEXT NOT NULL,
    filename TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    received BIGINT NOT NULL,
    parts INTEGER NOT NULL,
    state TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    expires_ns BIGINT NOT NULL
);
CREATE INDEX uploads_content ON uploads (org, owner, sha256);
CREATE INDEX uploads_expiring ON uploads (expires_ns) WHERE state <> 'whole';
CREATE TABLE upload_parts (
    upload BIGINT NOT NULL REFERENCES uploads (number),
    first BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    object TEXT NOT NULL,
    PRIMARY KEY (upload, first)
){tight};
CREATE TABLE recordings (
    number {id},
    id TEXT NOT NULL UNIQUE,
    org TEXT NOT NULL,
    patient TEXT NOT NULL,
    device TEXT NOT NULL,
    read_as TEXT NOT NULL,
    asked_ns BIGINT NOT NULL,
    start_ns BIGINT,
    lead TEXT,
    fs {double},
    samples BIGINT,
    hours INTEGER,
    remarks TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    files {bytes} NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    run TEXT,
    result TEXT,
    published BIGINT,
    code TEXT NOT NULL,
    error TEXT NOT NULL,
    is_tidy INTEGER NOT NULL,
    created_ns BIGINT NOT NULL,
    began_ns BIGINT,
    ended_ns BIGINT,
    UNIQUE (org, patient, device, digest, read_as, asked_ns)
);
CREATE INDEX recordings_org ON recordings (org, number);
CREATE INDEX recordings_patient ON recordings (org, patient, number);
CREATE INDEX recordings_due ON recordings (number) WHERE is_tidy = 0;
CREATE INDEX recordings_unpublished ON recordings (number) WHERE state = 'done' AND published IS NULL;
CREATE TABLE reports (
    org TEXT NOT NULL,
    recording TEXT NOT NULL,
    version INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    object TEXT NOT NULL,
    by_user TEXT NOT NULL,
    at_ns BIGINT NOT NULL,
    conclusion TEXT NOT NULL,
    PRIMARY KEY (org, recording, version)
)
"""

_VIEWS: Final = """
CREATE TABLE view_sources (
    id {id},
    org TEXT NOT NULL,
    patient TEXT NOT NULL,
    device TEXT NOT NULL,
    stream BIGINT UNIQUE,
    recording BIGINT UNIQUE,
    start_ns BIGINT,
    until_ns BIGINT,
    generation BIGINT NOT NULL,
    newest BIGINT,
    through BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX view_sources_patient ON view_sources (org, patient);
CREATE TABLE view_days (
    source BIGINT NOT NULL REFERENCES view_sources (id),
    generation BIGINT NOT NULL,
    day BIGINT NOT NULL,
    through BIGINT NOT NULL,
    segments BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    made_ns BIGINT NOT NULL,
    reach_ns BIGINT NOT NULL,
    base {bytes} NOT NULL,
    ended {bytes} NOT NULL,
    edges {bytes} NOT NULL,
    hours {bytes} NOT NULL,
    going_on {bytes} NOT NULL,
    parts {bytes} NOT NULL,
    carried {bytes} NOT NULL,
    minutes {bytes} NOT NULL,
    PRIMARY KEY (source, generation, day)
);
CREATE TABLE view_live (
    source BIGINT PRIMARY KEY REFERENCES view_sources (id),
    version BIGINT NOT NULL,
    through BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    carried {bytes} NOT NULL,
    minutes {bytes} NOT NULL,
    ended {bytes} NOT NULL,
    going_on {bytes} NOT NULL
);
CREATE TABLE view_due (
    stream BIGINT NOT NULL,
    day BIGINT NOT NULL,
    since_ns BIGINT NOT NULL,
    PRIMARY KEY (stream, day)
){tight};
CREATE INDEX view_due_since ON view_due (since_ns);
CREATE TABLE view_waste (
    name TEXT PRIMARY KEY,
    since_ns BIGINT NOT NULL
);
CREATE TABLE function_versions (
    name TEXT PRIMARY KEY,
    content {bytes} NOT NULL
)
"""

_LEDGERS: Final = """
CREATE TABLE ledgers (
    org TEXT PRIMARY KEY,
    origin TEXT NOT NULL,
    size BIGINT NOT NULL,
    peaks {bytes} NOT NULL,
    signed BIGINT NOT NULL,
    tiled BIGINT NOT NULL
);
CREATE TABLE ledger_batches (
    org TEXT NOT NULL REFERENCES ledgers (org),
    first BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    content {bytes} NOT NULL,
    PRIMARY KEY (org, first)
);
CREATE TABLE ledger_tiles (
    org TEXT NOT NULL,
    level INTEGER NOT NULL,
    number BIGINT NOT NULL,
    hashes {bytes} NOT NULL,
    root {bytes} NOT NULL,
    PRIMARY KEY (org, level, number)
);
CREATE TABLE ledger_checkpoints (
    org TEXT NOT NULL,
    size BIGINT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (org, size)
){tight};
CREATE TABLE ledger_cosignatures (
    org TEXT NOT NULL,
    size BIGINT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (org, size, signature)
){tight};
CREATE TABLE ledger_keys (
    org TEXT NOT NULL,
    number INTEGER NOT NULL,
    signing_key TEXT NOT NULL,
    after_size BIGINT NOT NULL,
    until_size BIGINT,
    PRIMARY KEY (org, number)
){tight};
CREATE TABLE ledger_others (
    org TEXT NOT NULL,
    origin TEXT NOT NULL,
    keys TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (org, origin)
){tight};
CREATE TABLE ledger_chains (
    org TEXT PRIMARY KEY,
    chain_id BIGINT NOT NULL,
    contract TEXT NOT NULL,
    registered BIGINT NOT NULL
);
CREATE TABLE ledger_anchors (
    org TEXT NOT NULL,
    chain_id BIGINT NOT NULL,
    contract TEXT NOT NULL,
    size BIGINT NOT NULL,
    root {bytes} NOT NULL,
    tx TEXT NOT NULL,
    block BIGINT NOT NULL,
    at_s BIGINT NOT NULL,
    gas BIGINT NOT NULL,
    fee_wei TEXT NOT NULL,
    PRIMARY KEY (org, chain_id, contract, size)
){tight};
CREATE TABLE ledger_transactions (
    org TEXT PRIMARY KEY,
    chain_id BIGINT NOT NULL,
    deed TEXT NOT NULL,
    size BIGINT NOT NULL,
    nonce BIGINT NOT NULL,
    hashes TEXT NOT NULL,
    raw {bytes} NOT NULL,
    sent_ns BIGINT NOT NULL
)
"""

_SITES: Final = """
CREATE TABLE sites (
    site TEXT PRIMARY KEY,
    term BIGINT NOT NULL,
    content {bytes} NOT NULL,
    status {bytes} NOT NULL,
    status_ns BIGINT NOT NULL
);
CREATE TABLE site_happenings (
    id {id},
    site TEXT NOT NULL,
    at_ns BIGINT NOT NULL,
    content {bytes} NOT NULL
);
CREATE INDEX site_happenings_site ON site_happenings (site, id);
CREATE TABLE site_wishes (
    id {id},
    site TEXT NOT NULL,
    asked_ns BIGINT NOT NULL,
    content {bytes} NOT NULL,
    outcome TEXT
);
CREATE INDEX site_wishes_waiting ON site_wishes (site, id) WHERE outcome IS NULL;
CREATE TABLE node_tokens (
    site TEXT NOT NULL,
    public {bytes} NOT NULL,
    node TEXT NOT NULL,
    content {bytes} NOT NULL,
    expires_ns BIGINT NOT NULL,
    PRIMARY KEY (site, public)
){tight}
"""

_DATA_POLICY: Final = """
CREATE TABLE consents (
    org TEXT NOT NULL,
    patient TEXT NOT NULL,
    version BIGINT NOT NULL,
    at_ns BIGINT NOT NULL,
    account TEXT NOT NULL,
    resource {bytes} NOT NULL,
    PRIMARY KEY (org, patient, version)
){tight};
CREATE TABLE data_decisions (
    org TEXT NOT NULL,
    patient TEXT NOT NULL,
    function TEXT NOT NULL,
    region TEXT NOT NULL,
    said TEXT NOT NULL,
    PRIMARY KEY (org, patient, function, region)
){tight};
CREATE TABLE data_movements (
    org TEXT NOT NULL,
    patient TEXT NOT NULL,
    region TEXT NOT NULL,
    tier TEXT NOT NULL,
    data TEXT NOT NULL,
    since_ns BIGINT NOT NULL,
    content_bytes BIGINT NOT NULL,
    PRIMARY KEY (org, patient, region, tier, data)
){tight};
CREATE INDEX data_movements_since ON data_movements (since_ns)
"""

_GRANTS: Final = """
CREATE TABLE grants (
    number {id},
    id TEXT NOT NULL UNIQUE,
    org TEXT NOT NULL REFERENCES orgs (org),
    patient TEXT NOT NULL,
    account TEXT NOT NULL,
    role TEXT NOT NULL,
    data INTEGER NOT NULL,
    basis TEXT NOT NULL,
    since_ns BIGINT NOT NULL,
    until_ns BIGINT,
    revoked_ns BIGINT,
    given_by TEXT NOT NULL,
    given_role TEXT NOT NULL,
    reason TEXT NOT NULL,
    case_number TEXT NOT NULL,
    why TEXT NOT NULL,
    is_told INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX grants_patient ON grants (org, patient, number);
CREATE INDEX grants_account ON grants (org, account);
CREATE INDEX grants_role ON grants (org, role) WHERE role <> '';
CREATE INDEX grants_told ON grants (number) WHERE is_told = 1
"""

_PAYLOADS: Final = """
CREATE TABLE payload_keys (
    org TEXT NOT NULL REFERENCES orgs (org),
    key_id TEXT NOT NULL,
    device TEXT NOT NULL,
    public_key {bytes} NOT NULL,
    since_ns BIGINT NOT NULL,
    retired_ns BIGINT,
    PRIMARY KEY (org, key_id)
);
CREATE INDEX payload_keys_device ON payload_keys (org, device);
INSERT INTO epochs (name, version) VALUES ('payload-keys', 0);
CREATE TABLE payload_windows (
    stream BIGINT PRIMARY KEY REFERENCES streams (id),
    highest BIGINT NOT NULL,
    seen {bytes} NOT NULL
)
"""

MIGRATIONS: Final[tuple[str, ...]] = (
    _STREAMS,
    _ACCOUNTS,
    _ALERTS,
    _RUNS,
    _RECORDINGS,
    _VIEWS,
    _LEDGERS,
    _SITES,
    _DATA_POLICY,
    _GRANTS,
    _PAYLOADS,
)
"""What each version adds to the one before; the version of a database is how many were performed."""


SQLITE: Final = {
    "{id}": "INTEGER PRIMARY KEY",
    "{bytes}": "BLOB",
    "{double}": "REAL",
    "{tight}": " WITHOUT ROWID",
}
"""How SQLite spells them."""
SQLITE_COLUMNS: Final = (
    "SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'"
)


def refuse_newer(version: int) -> None:
    """A database of a newer program is left alone."""
    if version > len(MIGRATIONS):
        raise InputInvalid(
            f"the database has version {version}; this program knows up to {len(MIGRATIONS)}.",
            where="database",
            remedy="Use the newer program.",
        )


def refuse_other(found: Iterable[tuple[str, str]]) -> None:
    """A database whose tables a state of development made that was never released is left alone.

    Parameters
    ----------
    found : its tables and their columns
    """
    seen = frozenset(found)
    for table in sorted({name for name, _ in _columns()}):
        if {one for one in seen if one[0] == table} != {one for one in _columns() if one[0] == table}:
            raise InputInvalid(
                f"the table {table} is not as this program makes it: another state of development made it.",
                where="database",
                remedy="Use the program that made it, or begin a new database.",
            )


@cache
def _columns() -> frozenset[tuple[str, str]]:
    """What all steps make."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for step in MIGRATIONS:
            for sql in spelled(step, SQLITE):
                connection.execute(sql)
        return frozenset(connection.execute(SQLITE_COLUMNS).fetchall())


def spelled(step: str, spelling: dict[str, str]) -> list[str]:
    """The statements of one migration, as one database spells them."""
    for word, meaning in spelling.items():
        step = step.replace(word, meaning)
    return [sql.strip() for sql in step.split(";") if sql.strip()]
