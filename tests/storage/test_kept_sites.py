"""What site managers keep, in both databases."""

from einthoven.storage import Database
from einthoven.storage.sites import (
    NodeToken,
    add_happenings,
    add_node_token,
    add_wish,
    end_wish,
    forget_happenings,
    happenings_of,
    keep_site,
    node_token,
    outcome_of,
    read_site,
    remove_node_token,
    tell_status,
    waiting_wishes,
)


def test_who_kept_an_older_term_keeps_nothing(database: Database) -> None:
    connection = database.connect()
    with connection.writing() as statements:
        assert read_site(statements, "ward") is None
        assert keep_site(statements, "ward", None, 1, b"first")
        assert not keep_site(statements, "ward", None, 1, b"another's first")
        assert keep_site(statements, "ward", 1, 1, b"second")
        assert keep_site(statements, "ward", 1, 2, b"of the next in office")
        assert not keep_site(statements, "ward", 1, 1, b"of the one before")
        tell_status(statements, "ward", 1, b"old", 5)
        tell_status(statements, "ward", 2, b"new", 6)
    with connection.reading() as statements:
        kept = read_site(statements, "ward")
    assert (kept.term, kept.content, kept.status, kept.status_ns) == (2, b"of the next in office", b"new", 6)
    connection.close()


def test_wishes_wait_in_order_and_are_answered_once(database: Database) -> None:
    connection = database.connect()
    with connection.writing() as statements:
        first = add_wish(statements, "ward", 1, b"a")
        second = add_wish(statements, "ward", 2, b"b")
        add_wish(statements, "home", 2, b"c")
        assert [one.content for one in waiting_wishes(statements, "ward")] == [b"a", b"b"]
        assert outcome_of(statements, first) is None
        end_wish(statements, first, "")
        end_wish(statements, first, "too late")
        assert outcome_of(statements, first) == ""
        assert [one.id for one in waiting_wishes(statements, "ward")] == [second]
        add_wish(statements, "ward", 2 * 24 * 3600 * 10**9, b"d")
        assert outcome_of(statements, first) == "", "it is forgotten, and so there is nothing against it"
    connection.close()


def test_a_token_is_good_until_it_is_used_or_over(database: Database) -> None:
    connection = database.connect()
    token = NodeToken(site="ward", public=b"key", node="pi", content=b"terms", expires_ns=10)
    with connection.writing() as statements:
        add_node_token(statements, token, 1)
        assert node_token(statements, "ward", b"key", 10) == token
        assert node_token(statements, "ward", b"key", 11) is None
        assert node_token(statements, "home", b"key", 5) is None
        remove_node_token(statements, "ward", b"key")
        assert node_token(statements, "ward", b"key", 5) is None
    connection.close()


def test_what_happened_is_remembered_for_a_while(database: Database) -> None:
    connection = database.connect()
    with connection.writing() as statements:
        for at_ns in range(5):
            add_happenings(statements, "ward", at_ns, [bytes([at_ns]), b"x"])
        assert happenings_of(statements, "ward", 3) == [(3, b"x"), (4, b"\4"), (4, b"x")]
        forget_happenings(statements, "ward", 4)
        assert happenings_of(statements, "ward", 9) == [(4, b"\4"), (4, b"x")]
    connection.close()
