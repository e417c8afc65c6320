"""The outbox as a table keeps the laws of every outbox, and tells the alert of its receipt."""

import pytest

from einthoven.alerts import Receipt
from einthoven.server.sql_outbox import SqlOutbox, forget_heartbeats
from einthoven.storage import Database
from einthoven.testing.loop import in_loop
from einthoven.testing.outbox import OUTBOX_LAWS, a_notification, check_outbox


@pytest.mark.parametrize("law", OUTBOX_LAWS, ids=lambda law: law.__name__)
@in_loop
async def test_the_outbox_as_a_table_keeps_the_law(law, database: Database) -> None:
    outbox = SqlOutbox(database, {"1": b"k" * 32})
    try:
        await check_outbox(outbox, law)
    finally:
        outbox.close()


@in_loop
async def test_heart_beats_that_were_told_are_forgotten_and_nothing_else_is(database: Database) -> None:
    outbox = SqlOutbox(database, {"1": b"k" * 32})
    try:
        await outbox.add([a_notification("beat", alert_id=""), a_notification("alert")])
        for due in await outbox.claim(1, lease_s=60.0, limit=9, most_each=9, full=frozenset()):
            await outbox.done(due, Receipt(due.notification.id, at_ns=5, reference=""))
        await outbox.add([a_notification("waiting", alert_id="")])
    finally:
        outbox.close()
    connection = database.connect()
    kept = []
    for before_ns in (5, 6):
        with connection.writing() as statements:
            forget_heartbeats(statements, before_ns)
            kept.append([row[0] for row in statements.rows("SELECT id FROM outbox ORDER BY id")])
    connection.close()
    assert kept == [["msg_alert", "msg_beat", "msg_waiting"], ["msg_alert", "msg_waiting"]]
