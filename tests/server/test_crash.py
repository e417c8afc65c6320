"""Whatever is killed, at any moment, under load: nothing acknowledged is lost, no alert is doubled."""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from gateways import SCENES_USED, Sender, by_the_book, cut, named

from einthoven.alerts import Alert, AlertRules, Contact, Rung, sign
from einthoven.server import accounts, alert_tables
from einthoven.server.keys import signing_keys
from einthoven.server.running import RunningService
from einthoven.storage import Connection, open_database

KILLS = 25 if os.environ.get("EINTHOVEN_EXAMPLES") == "thorough" else 6
SEGMENTS = 14 * KILLS


def kill_one(service: RunningService, choose: random.Random) -> str:
    """SIGKILL a worker, or now and then the supervisor, which is then started again."""
    workers = service.workers()
    if not workers or choose.random() < 0.25:
        service.process.kill()
        service.restart()
        return "supervisor"
    os.kill(choose.choice(workers), signal.SIGKILL)
    return "worker"


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    database = open_database(database_url)
    database.migrate()
    found = database.connect()
    yield found
    found.close()


def test_kill_minus_nine_of_anything_loses_nothing_and_doubles_no_alert(
    tmp_path: Path, database_url: str, connection: Connection
) -> None:
    ladder = AlertRules(ladder=(Rung((Contact("nobody"),)),))
    with connection.writing() as statements:
        accounts.add_organisation(statements, "main", "", 0)
        _, token = accounts.issue(statements, "main", "gateway", now_ns=0)
        keys = signing_keys(tmp_path)
        alert_tables.add_rules(
            statements, sign(ladder, account="dr", role="clinician", at_ns=0, keys=keys, key="1")
        )
    patients = [cut(number, SEGMENTS) for number in range(len(SCENES_USED))]
    service = RunningService(tmp_path, database=database_url)
    senders = [Sender(service, token, segments[0].patient, segments) for segments in patients]
    for sender in senders:
        sender.start()
    choose = random.Random(1905)
    killed: list[str] = []
    while any(sender.is_alive() for sender in senders):
        time.sleep(choose.uniform(0.3, 2.0))
        if len(killed) < KILLS:
            killed.append(kill_one(service, choose))
    assert service.stop() == 0
    assert len(killed) == KILLS, "the load was over before all were killed"
    assert {"worker", "supervisor"} <= set(killed)

    with connection.reading() as statements:
        kept = statements.rows(
            "SELECT device, sequence, COUNT(*) FROM segments JOIN streams ON id = stream GROUP BY 1, 2"
        )
        samples = statements.rows("SELECT COUNT(*) FROM journal")
        rows = statements.rows("SELECT content FROM alerts")
        told = statements.rows(
            "SELECT alert_id, step, COUNT(*) FROM outbox WHERE alert_id <> '' GROUP BY 1, 2"
        )
    assert sorted(kept) == sorted((s.device, s.sequence, 1) for segments in patients for s in segments)
    assert samples == [(len(patients) * SEGMENTS,)]
    expected_alerts: list[Alert] = []
    for sender, segments in zip(senders, patients, strict=True):
        answers, alerts = by_the_book(segments)
        expected_alerts += alerts
        for mine, answer in zip(sender.answers, answers, strict=True):
            theirs = json.loads(msgspec.json.encode(answer))
            assert {**mine, "status": "analysed"} == theirs
    everything = [msgspec.msgpack.decode(row[0], type=Alert) for row in rows]
    alerts_kept = [alert for alert in everything if alert.patient]  # not that nobody could be told
    assert named(alerts_kept) == named(expected_alerts)
    assert {row[2] for row in told} == {1}
    assert {row[0] for row in told} == {alert.id for alert in alerts_kept}
