"""Segments by time, without an index by time."""

from hypothesis import given
from hypothesis import strategies as st

from einthoven.server.streams import CLOCK_S, segments_of
from einthoven.storage import open_database

DAY_NS = CLOCK_S * 10**9
BIG_NS = 2**62
TABLE = (
    "INSERT INTO streams (id, org, device, patient, lead, fs, gain, baseline, start_ns, next_sequence, "
    "next_position, version, waiting, seen_ns, skew_ns, state) "
    "VALUES (?, ?, ?, ?, 'ECG', 125, 200, 0, 0, 0, 0, 1, 0, 0, 0, ?)"
)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3 * DAY_NS), st.integers(0, DAY_NS)), max_size=25),
    st.integers(0, 20 * DAY_NS),
    st.integers(0, 20 * DAY_NS),
    st.integers(1, 7),
)
def test_every_segment_of_a_span_is_found_once(tmp_path_factory, steps, from_ns, until_ns, limit) -> None:
    """Clocks go on by up to three days from segment to segment, and are wrong by up to one."""
    database = open_database(str(tmp_path_factory.mktemp("streams") / "einthoven.db"))
    database.migrate()
    expected = []
    connection = database.connect()
    with connection.writing() as statements:
        for stream in (1, 2):
            statements.run(TABLE, (stream, "main", f"d{stream}", "p", b""))
            sequence, true_ns = 0, DAY_NS
            for step, passed_ns, wrong_ns in steps:
                sequence, true_ns = sequence + step, true_ns + passed_ns
                start_ns = true_ns - wrong_ns
                statements.run(
                    "INSERT INTO segments "
                    "(stream, sequence, status, start_ns, received_ns, samples, digest, is_last) "
                    "VALUES (?, ?, 'late', ?, 0, 0, 0, 0)",
                    (stream, sequence, start_ns),
                )
                if from_ns <= start_ns < until_ns:
                    expected.append((stream, sequence))
    found, after = [], (0, -1)
    with connection.reading() as statements:
        while True:
            page = segments_of(
                statements, "main", "p", from_ns=from_ns, until_ns=until_ns, after=after, limit=limit
            )
            found += [(one.stream, one.sequence) for one in page]
            if len(page) < limit:
                break
            after = found[-1]
        everything = segments_of(
            statements, "main", "p", from_ns=0, until_ns=BIG_NS, after=(0, -1), limit=1000
        )
    connection.close()
    assert found == expected
    assert len(everything) == 2 * len(steps)
