"""The outbox as a table keeps the laws of every outbox, and tells the alert of its receipt."""

import pytest

from einthoven.server.sql_outbox import SqlOutbox
from einthoven.storage import Database
from einthoven.testing.loop import in_loop
from einthoven.testing.outbox import OUTBOX_LAWS, check_outbox


@pytest.mark.parametrize("law", OUTBOX_LAWS, ids=lambda law: law.__name__)
@in_loop
async def test_the_outbox_as_a_table_keeps_the_law(law, database: Database) -> None:
    outbox = SqlOutbox(database, {"1": b"k" * 32})
    try:
        await check_outbox(outbox, law)
    finally:
        outbox.close()
