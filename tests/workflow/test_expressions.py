"""The small languages inside a workflow, against the vectors of their description and against plain
arithmetic.
"""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.workflow.expressions import (
    Block,
    MalformedExpression,
    OutOfRange,
    Replicate,
    Split,
    chunk_count,
    chunk_of,
    parse_bound,
    parse_constant,
    parse_distribution,
    parse_element_index,
    parse_plan,
    parse_resource,
    parse_timestamp,
    select,
)
from einthoven.workflow.sources import Files, MalformedSource, Reference, parse_source


@pytest.mark.parametrize(
    ("count", "text", "sizes", "starts"),
    [
        (11, "BLOCK(5)", [5, 5, 1], [0, 5, 10]),
        (11, "BLOCK(5,2)", [5, 5, 5], [0, 3, 6]),
        (12, "BLOCK(5,2)", [5, 5, 5, 3], [0, 3, 6, 9]),
        (5, "block( 5 , 2 )", [5], [0]),
        (1, "BLOCK(10,8)", [1], [0]),
        (0, "BLOCK(3)", [], []),
        (0, "SPLIT(3)", [], []),
        (5, "SPLIT(4)", [2, 2, 1], [0, 2, 4]),
        (1440, "BLOCK(122,2)", [122] * 11 + [120], [120 * k for k in range(12)]),
    ],
)
def test_chunks_are_those_of_the_language(count: int, text: str, sizes: list[int], starts: list[int]) -> None:
    how = parse_distribution(text)
    assert isinstance(how, Block | Split)
    elements = list(range(count))
    chunks = [chunk_of(how, elements, k) for k in range(chunk_count(how, count, 0))]
    assert [len(one) for one in chunks] == sizes
    assert [one[0] for one in chunks] == starts


def test_a_block_of_one_is_the_element_and_every_other_block_a_list() -> None:
    assert chunk_of(Block(1), ["a", "b"], 1) == "b"
    assert chunk_of(Block(2), ["a", "b", "c"], 1) == ["c"]


@given(st.integers(1, 200), st.integers(1, 20), st.data())
def test_blocks_cover_every_element_and_overlap_as_much_as_they_say(
    count: int, size: int, data: st.DataObject
) -> None:
    how = Block(size, data.draw(st.integers(0, size - 1)))
    chunks = [chunk_of(how, list(range(count)), k) for k in range(chunk_count(how, count, 0))]
    listed = [one if isinstance(one, list) else [one] for one in chunks]
    assert sorted({element for one in listed for element in one}) == list(range(count))
    for before, after in itertools.pairwise(listed):
        assert len(before) == size
        assert before[size - how.overlap :] == after[: how.overlap]


@given(st.integers(0, 200), st.integers(1, 30))
def test_a_split_loses_nothing_and_has_no_more_pieces_than_asked_for(count: int, pieces: int) -> None:
    how = Split(pieces)
    chunks = [chunk_of(how, list(range(count)), k) for k in range(chunk_count(how, count, 0))]
    assert [element for one in chunks for element in one] == list(range(count))
    assert len(chunks) <= pieces
    assert all(chunks)


def test_a_replicate_has_as_many_chunks_as_it_says() -> None:
    assert chunk_count(Replicate(3), 7, 12) == 3
    assert chunk_count(Replicate(), 7, 12) == 12


@pytest.mark.parametrize(
    "text",
    [
        "BLOCK",
        "BLOCK()",
        "BLOCK(0)",
        "BLOCK(*)",
        "BLOCK(2,2)",
        "BLOCK(2,3)",
        "BLOCK(1,2,3)",
        "SPLIT(0)",
        "SPLIT(2,1)",
        "REPLICATE(0)",
        "REPLICATE(1,1)",
        "CYCLE(2)",
        "BLOCK(-1)",
        "BLOCK(1.5)",
        "",
    ],
)
def test_a_malformed_distribution_is_refused(text: str) -> None:
    with pytest.raises(MalformedExpression):
        parse_distribution(text)


@pytest.mark.parametrize(
    ("elements", "text", "chosen"),
    [
        ([10, 11, 12, 13, 14, 15], "1:3", [11, 12, 13]),
        ([10, 11, 12, 13, 14, 15], "5,0:2", [15, 10, 11, 12]),
        ([10, 11, 12, 13, 14, 15], "4:0:-2", [14, 12, 10]),
        ([10, 11, 12, 13, 14, 15], "::3", [10, 13]),
        ([10, 11, 12, 13, 14, 15], "3:", [13, 14, 15]),
        ([10, 11, 12, 13, 14, 15], ":1", [10, 11]),
        ([10, 11, 12], "::-1", [12, 11, 10]),
        (list(range(10)), "0:4,7,9:1:-2", [0, 1, 2, 3, 4, 7, 9, 7, 5, 3, 1]),
        ([], "::", []),
    ],
)
def test_an_index_selects_with_the_end_among_them(elements: list[int], text: str, chosen: list[int]) -> None:
    assert select(parse_element_index(text), elements, {}) == chosen


def test_an_index_may_be_known_at_run_time_only() -> None:
    index = parse_element_index("a/b:c/d")
    assert index.references == (Reference("a", "b"), Reference("c", "d"))
    values = {Reference("a", "b"): 1, Reference("c", "d"): 2}
    assert select(index, ["x", "y", "z"], values) == ["y", "z"]


@pytest.mark.parametrize("text", ["6", "0:6", "7:", "3:9:2"])
def test_an_index_out_of_range_is_an_error(text: str) -> None:
    with pytest.raises(OutOfRange):
        select(parse_element_index(text), [1, 2, 3, 4, 5, 6], {})


@pytest.mark.parametrize("text", ["", "a", "-1", "1:2:0", "1:2:3:4", "-1:2", "1,,2", "1.5"])
def test_a_malformed_index_is_refused(text: str) -> None:
    with pytest.raises(MalformedExpression):
        parse_element_index(text)


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("12", "number", 12),
        ("-2.5e3", "number", -2500.0),
        ("true", "boolean", True),
        ("null", "null", None),
        ('{"a": [1]}', "object", {"a": [1]}),
        ("[1, 2]", "array", [1, 2]),
        ("[]", "collection", []),
        ("12", "string", "12"),
        ("s3://bucket/key", "file", "s3://bucket/key"),
    ],
)
def test_a_constant_is_read_by_its_type(text: str, type_: str, value: object) -> None:
    found = parse_constant(text, type_)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("x", "number"),
        ("true", "number"),
        ("NaN", "number"),
        ("1", "boolean"),
        ("[1]", "object"),
        ("{}", "array"),
        ("", "null"),
        ("[" * 5000, "array"),
    ],
)
def test_a_constant_of_another_type_is_refused(text: str, type_: str) -> None:
    with pytest.raises(MalformedExpression):
        parse_constant(text, type_)


def test_a_bound_is_a_whole_number_or_a_reference() -> None:
    assert parse_bound(" 3.0 ") == 3
    assert parse_bound("a/b") == Reference("a", "b")
    for text in ("2.5", "a", "", "1e3"):
        with pytest.raises(MalformedExpression):
            parse_bound(text)


def test_a_resource_may_name_its_language() -> None:
    assert parse_resource("java:https://bdc.example.org/").language == "java"
    assert parse_resource("c#:arn:aws:lambda:eu:0:function:x").address == "arn:aws:lambda:eu:0:function:x"
    assert parse_resource("tcp://host:1").language is None
    assert [parse_resource(one).family for one in ("http://h/", "arn:a:b", "nats://h/s")] == [
        "http",
        "arn",
        "uri",
    ]
    for text in ("", "java:", "example.org", "https://"):
        with pytest.raises(MalformedExpression):
            parse_resource(text)


def test_a_plan_may_lack_its_last_semicolon_and_its_deployments_are_left_out() -> None:
    plan = parse_plan("0.9999;https://a.example.org/##GOOGLE_europe-west2_512;https://b.example.org/")
    assert plan.availability == 0.9999
    assert [one.address for one in plan.resources] == ["https://a.example.org/", "https://b.example.org/"]
    for text in ("", "0.9", "2;https://a.example.org/;", "x;https://a.example.org/;", "0.9;nonsense;"):
        with pytest.raises(MalformedExpression):
            parse_plan(text)


def test_a_time_without_a_zone_is_utc() -> None:
    assert parse_timestamp("2026-01-01 00:00:00.500") == parse_timestamp("2026-01-01T01:00:00.500+01:00")
    with pytest.raises(MalformedExpression):
        parse_timestamp("tomorrow")


def test_a_source_is_one_or_several_references() -> None:
    assert parse_source("a/b") == parse_source("[a/b]")
    assert parse_source(" a/b , c/d/0/e ,NULL").alternatives == (  # type: ignore[union-attr]
        Reference("a", "b"),
        Reference("c", "d", ("0", "e")),
        None,
    )
    assert parse_source("s3://x/y, https://z/") == Files(("s3://x/y", "https://z/"))


@pytest.mark.parametrize("text", ["", "a", "a/", "/b", "a//b", "a/b,", "NULL", "a b/c", "[a/b", "a/b/"])
def test_a_malformed_source_is_refused(text: str) -> None:
    with pytest.raises(MalformedSource):
        parse_source(text)
