"""The outbox in memory keeps the laws that every outbox keeps."""

import pytest

from einthoven.testing.loop import in_loop
from einthoven.testing.outbox import OUTBOX_LAWS, MemoryOutbox, check_outbox


@pytest.mark.parametrize("law", OUTBOX_LAWS, ids=lambda law: law.__name__)
@in_loop
async def test_the_outbox_in_memory_keeps_the_law(law) -> None:
    await check_outbox(MemoryOutbox(), law)


def test_every_law_says_what_it_is() -> None:
    assert all(law.__doc__ for law in OUTBOX_LAWS)
