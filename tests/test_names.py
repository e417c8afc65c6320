"""What things may be called."""

import pytest

from einthoven.errors import InputInvalid
from einthoven.names import is_organisation, is_pseudonym
from einthoven.simulation.bank import Names


@pytest.mark.parametrize("name", ["p-1", "A.b_c-9", "0", "x" * 64])
def test_a_pseudonym_is_letters_digits_and_few_signs(name: str) -> None:
    assert is_pseudonym(name)


@pytest.mark.parametrize("name", ["", ".", "..", "-x", ".x", "a/b", "a b", "p\n", "ü", "x" * 65])
def test_no_pseudonym_is_a_path_an_option_or_more_than_a_line(name: str) -> None:
    assert not is_pseudonym(name)


@pytest.mark.parametrize(("name", "is_one"), [("main", True), ("ward-7", True), ("-a", False), ("A", False)])
def test_an_organisation_is_small_letters_and_digits(name: str, is_one: bool) -> None:
    assert is_organisation(name) == is_one


def test_a_run_has_a_name_that_the_service_takes() -> None:
    with pytest.raises(InputInvalid, match="letter or digit first"):
        Names(run=".ward")
