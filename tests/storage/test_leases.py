"""One holder for each job."""

from einthoven.storage import Database
from einthoven.storage.leases import give_back, take_lease

SECOND_NS = 10**9


def test_a_lease_belongs_to_the_first_until_it_ends_or_is_given_back(database: Database) -> None:
    connection = database.connect()
    now = 1000 * SECOND_NS
    assert take_lease(connection, "seal", "a", now, 10)
    assert not take_lease(connection, "seal", "b", now + 9 * SECOND_NS, 10)
    assert take_lease(connection, "seal", "a", now + 9 * SECOND_NS, 10)
    assert not take_lease(connection, "seal", "b", now + 12 * SECOND_NS, 10)
    assert take_lease(connection, "seal", "b", now + 20 * SECOND_NS, 10)
    assert take_lease(connection, "other", "a", now, 10)
    give_back(connection, "b")
    assert take_lease(connection, "seal", "a", now + 21 * SECOND_NS, 10)
    connection.close()
