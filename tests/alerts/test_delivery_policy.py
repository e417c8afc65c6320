"""How often and how far apart a delivery is tried."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.alerts import DeliveryPolicy, Failure, Receipt, next_attempt_ns
from einthoven.errors import InputInvalid
from einthoven.testing.alerts import SECOND_NS


def waits_s(policy: DeliveryPolicy, name: str = "msg_1") -> list[float]:
    """Attempts until it is given up."""
    waits, at_ns = [], 0
    while True:
        again_ns = next_attempt_ns(policy, Failure(name, at_ns, "500"), attempts=len(waits) + 1, created_ns=0)
        if again_ns is None:
            return waits
        waits.append((again_ns - at_ns) / SECOND_NS)
        at_ns = again_ns


def test_waits_double_up_to_the_longest_and_end_after_a_day() -> None:
    waits = waits_s(DeliveryPolicy(jitter=0))
    assert waits[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert sum(waits) <= 86_400 < sum(waits) + 300


def test_jitter_is_seeded() -> None:
    policy = DeliveryPolicy(give_up_s=1000)
    assert waits_s(policy) == waits_s(policy) != waits_s(policy, "msg_2")
    assert waits_s(policy) != waits_s(DeliveryPolicy(give_up_s=1000, seed=1))


def test_a_receivers_wish_is_respected_up_to_the_longest_wait() -> None:
    policy = DeliveryPolicy(jitter=0)
    for asked_s, waited_s in ((30, 30), (0.1, 1), (9999, 300)):
        failure = Failure("m", 0, "429", retry_after_s=asked_s)
        assert next_attempt_ns(policy, failure, attempts=1, created_ns=0) == waited_s * SECOND_NS


def test_what_is_refused_for_good_is_not_tried_again() -> None:
    failure = Failure("m", 0, "410", is_permanent=True)
    assert next_attempt_ns(DeliveryPolicy(), failure, attempts=1, created_ns=0) is None


@given(
    st.integers(1, 10_000),
    st.floats(0.01, 10),
    st.floats(1, 10),
    st.floats(0, 0.99),
    st.floats(0, 1e6) | st.none(),
)
def test_a_wait_is_never_longer_than_the_longest(
    attempts: int, first_s: float, factor: float, jitter: float, asked_s: float | None
) -> None:
    policy = DeliveryPolicy(first_s=first_s, factor=factor, most_s=60, jitter=jitter, give_up_s=1e9)
    failure = Failure("m", 0, "x", retry_after_s=asked_s)
    again_ns = next_attempt_ns(policy, failure, attempts=attempts, created_ns=0)
    assert again_ns is not None
    assert first_s * (1 - jitter) * 0.999 <= again_ns / SECOND_NS <= 60.001


@pytest.mark.parametrize("facts", [{"first_s": 0}, {"most_s": 0.5}, {"factor": 0.9}, {"jitter": 1.0}])
def test_a_policy_that_makes_no_sense_is_refused(facts: dict) -> None:
    with pytest.raises(InputInvalid):
        DeliveryPolicy(**facts)


def test_what_receivers_say_is_cut_and_harmless() -> None:
    assert Receipt("m", 0, "a\x1b[31m\nb" + "x" * 999).reference.startswith("a [31m b")
    assert len(Failure("m", 0, "x" * 999).reason) == 200
