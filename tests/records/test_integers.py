"""A list of integers in JSON."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid
from einthoven.records.integers import parse_integers


@given(
    values=st.lists(st.integers(-32768, 32767)), separators=st.sampled_from([(",", ":"), (" ,\n\t ", ":")])
)
def test_integers_are_those_that_python_reads(values: list[int], separators: tuple[str, str]) -> None:
    text = json.dumps(values, separators=separators)
    for padded in (text, f"{text} \r\n", text.replace("[", "[ ").replace("]", " ]")):
        found = parse_integers(padded.encode(), "samples")
        assert found.dtype == np.int16
        assert found.tolist() == values


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("[1,2.5]", 1),
        ("[1,2,1e3]", 2),
        ("[32768]", 0),
        ("[0,-32769]", 1),
        ("[100000]", 0),
        ("[1,null]", 1),
        ('["1"]', 0),
        ("[1,[2]]", 1),
        ("[true]", 0),
        ("[{}]", 0),
    ],
)
def test_an_item_that_is_none_is_named(text: str, item: int) -> None:
    with pytest.raises(InputInvalid, match=f"item {item} is not an integer"):
        parse_integers(text.encode(), "samples")


@pytest.mark.parametrize("text", ["1", "null", "{}", '"[1]"', ""])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(InputInvalid, match="not a list"):
        parse_integers(text.encode(), "samples")
