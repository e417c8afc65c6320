"""Errors say what, where and what to do, carry a code, and cross process borders whole."""

import inspect
import pickle

import pytest

from einthoven import errors
from einthoven.errors import EinthovenError, RecordingUnreadable

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EinthovenError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_fault_and_a_code_of_its_own(kind: type[EinthovenError]) -> None:
    assert kind.fault in {"caller", "peer", "ours"}
    assert kind.code == "error" or kind.code not in {other.code for other in KINDS if other is not kind}


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_pickling(kind: type[EinthovenError]) -> None:
    error = kind("something is wrong.", where="here", remedy="Do that.")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert again.as_dict() == error.as_dict()


def test_the_sentence_names_the_place_first_and_the_remedy_last() -> None:
    error = RecordingUnreadable("the file is cut off.", where="a.dat", remedy="Get it again.")
    assert str(error) == "a.dat: the file is cut off. Get it again."
    assert error.as_dict() == {
        "code": "recording-unreadable",
        "fault": "caller",
        "what": "the file is cut off.",
        "where": "a.dat",
        "remedy": "Get it again.",
    }


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    for kind in KINDS:
        assert kind.__name__ in (errors.__doc__ or ""), f"{kind.__name__} is missing in the docstring"
