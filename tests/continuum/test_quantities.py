"""Quantities: what is written with its unit is read exactly, and nothing else is guessed at."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.continuum.quantities import DIMENSIONS, Dimension, read_quantity, write_quantity
from einthoven.errors import InputInvalid

KINDS = st.sampled_from(list(DIMENSIONS.values()))
NUMBERS = st.floats(0, allow_infinity=False, allow_nan=False)


@given(dimension=KINDS, value=NUMBERS)
def test_what_is_written_is_read_as_the_same_number(dimension: Dimension, value: float) -> None:
    assert read_quantity(write_quantity(value, dimension), dimension) == value


@given(dimension=KINDS, digits=st.integers(1, 999), power=st.integers(-9, 12))
def test_what_is_read_is_written_as_it_was(dimension: Dimension, digits: int, power: int) -> None:
    """What people write, one to three digits and the right prefix, comes out as it went in."""
    written = write_quantity(float(f"{digits}e{power}"), dimension)
    assert write_quantity(read_quantity(written, dimension), dimension) == written


@pytest.mark.parametrize(
    ("written", "dimension", "value"),
    [
        ("20 MHz", "frequency", 20e6),
        ("300 Mbit/s", "rate", 300e6),
        ("1 MB/s", "rate", 8e6),
        ("20 Gcycle/s", "compute", 20e9),
        ("5 ms", "time", 0.005),
        ("0.3ms", "time", 0.0003),
        ("2 min", "time", 120.0),
        ("250 µs", "time", 0.00025),
        ("250 us", "time", 0.00025),
        ("40 kbit", "data", 40e3),
        ("5 kB", "data", 40e3),
        ("2 W", "power", 2.0),
        ("200 mW", "power", 0.2),
        ("50 nJ/bit", "energy for a bit", 5e-8),
        ("4e8 cycle", "work", 4e8),
        ("16 GB", "storage", 16e9),
        ("16 GiB", "storage", 16 * 2**30),
        ("-3.5 dB", "ratio", -3.5),
    ],
)
def test_a_quantity_is_read_into_base_units(written: str, dimension: str, value: float) -> None:
    assert read_quantity(written, DIMENSIONS[dimension]) == value


def test_examples_of_every_dimension_are_of_it_alone() -> None:
    """But for data, which may be given in bytes as storage is."""
    for one in DIMENSIONS.values():
        assert math.isfinite(read_quantity(one.example, one))
        for other in DIMENSIONS.values():
            if other is not one and (one.name, other.name) != ("storage", "data"):
                with pytest.raises(InputInvalid):
                    read_quantity(one.example, other)


@pytest.mark.parametrize(
    ("written", "dimension", "said"),
    [
        ("300 Mbit/s", "frequency", '"300 Mbit/s" is a quantity of rate; frequency is wanted, like "20 MHz"'),
        ("20 GHz", "compute", "is a quantity of frequency"),
        (20, "time", "20 has no unit"),
        ("20", "time", "has no unit"),
        ("ms", "time", "is not a quantity"),
        ("5 parsec", "time", "a unit that nobody knows"),
        ("5 Mmin", "time", "a unit that nobody knows"),
        ("5 kGiB", "storage", "a unit that nobody knows"),
        ("5 kdB", "ratio", "a unit that nobody knows"),
        ("-5 ms", "time", "is negative"),
        ("1e999 s", "time", "is too large"),
        ("nan s", "time", "is not a quantity"),
        (True, "time", "a bool is not a quantity"),
        (["5 ms"], "time", "a list is not a quantity"),
        ("5 " + "x" * 5000, "time", "…"),
    ],
)
def test_what_is_no_such_quantity_is_refused_with_an_example(
    written: object, dimension: str, said: str
) -> None:
    with pytest.raises(InputInvalid) as caught:
        read_quantity(written, DIMENSIONS[dimension], "sites.ward.compute")
    assert said in str(caught.value)
    assert str(caught.value).startswith("sites.ward.compute: ")
    assert DIMENSIONS[dimension].example in str(caught.value)
    assert len(str(caught.value)) < 400


@given(written=st.text(), dimension=KINDS)
def test_any_text_is_a_quantity_or_a_typed_error(written: str, dimension: Dimension) -> None:
    try:
        value = read_quantity(written, dimension)
    except InputInvalid:
        return
    assert value >= dimension.least
    assert math.isfinite(value)
