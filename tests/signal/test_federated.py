"""Learning together without showing rows: laws of the messages, of the merge and of what is refused."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.errors import DestinationUnavailable, InputInvalid
from einthoven.signal.classes import pack_model
from einthoven.signal.federated import (
    LEAST_BEATS,
    LEAST_OF_KIND,
    PROTOCOL,
    Coordinator,
    Count,
    Counted,
    Learn,
    Learned,
    Measured,
    Plan,
    Site,
    answer,
    answer_packed,
    learn_together,
    merged,
    site_of,
)
from einthoven.signal.learning import LEARNER, SHAPE, fit
from einthoven.signal.morphology import FEATURES

PLAN = Plan(rounds=3, networks=1)


def some_rows(seed: int = 0, count: int = 2400, records: int = 4) -> tuple[Any, Any, Any]:
    """Classes that lie apart in some columns."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, count, p=[0.7, 0.12, 0.12, 0.06])
    features = rng.normal(size=(count, len(FEATURES))).astype(np.float32)
    features[:, :4] += 2.0 * np.eye(4, dtype=np.float32)[labels]
    return features, labels.astype(np.int64), rng.integers(0, records, count)


def three_sites() -> dict[str, Site]:
    return {name: site_of(*some_rows(seed)) for seed, name in enumerate("abc")}


def questioned(coordinator: Coordinator, sites: dict[str, Site]) -> dict[str, bytes]:
    question = msgspec.msgpack.encode(coordinator.question)
    return {name: answer_packed(site, question) for name, site in sites.items()}


def at_learning(sites: dict[str, Site], plan: Plan = PLAN) -> Coordinator:
    """A coordinator that has counted and measured."""
    coordinator = Coordinator(plan)
    coordinator.receive(questioned(coordinator, sites))
    coordinator.receive(questioned(coordinator, sites))
    return coordinator


def model_of(coordinator: Coordinator) -> bytes:
    return pack_model(coordinator.ensemble(), "x")


@settings(max_examples=6)
@given(
    rounds=st.integers(1, 20),
    networks=st.integers(1, 2),
    seed=st.integers(0, 5),
    count=st.integers(LEAST_BEATS, 3000),
)
def test_one_site_learns_in_rounds_what_training_in_one_place_gives_bit_for_bit(
    rounds: int, networks: int, seed: int, count: int
) -> None:
    rows = some_rows(seed, count)
    plan = Plan(rounds=rounds, networks=networks, seed=seed)
    alone = learn_together(plan, {"here": site_of(*rows)})
    assert model_of(alone) == pack_model(fit(*rows, seed=seed, networks=networks), "x")


def test_it_does_not_matter_who_answers_first() -> None:
    sites = three_sites()
    backwards = dict(reversed(sites.items()))
    assert model_of(learn_together(PLAN, sites)) == model_of(learn_together(PLAN, backwards))


def test_the_merge_is_the_mean_by_weight() -> None:
    """Of two sites one of which weighs three times as much."""
    sites = three_sites()
    coordinator = at_learning(sites)
    asked = coordinator.question
    assert isinstance(asked, Learn)
    measured = answered(sites, "a", Measured)
    heavy = msgspec.structs.replace(
        measured,
        heads=tuple(
            msgspec.structs.replace(one, weights=tuple(3 * w for w in one.weights)) for one in measured.heads
        ),
    )
    zeros, ones = (
        Learned(
            number=0, heads=tuple(np.full(len(one.learners) // 4, v, "<f4").tobytes() for one in asked.heads)
        )
        for v in (0.0, 1.0)
    )
    found = merged(asked, {"a": measured, "b": heavy}, {"a": zeros, "b": ones})
    for head in found.heads:
        np.testing.assert_array_equal(np.frombuffer(head.learners, "<f4"), np.float32(0.75))
    assert found.number == 1


def answered(sites: dict[str, Site], name: str, kind: type) -> Any:
    coordinator = Coordinator(PLAN)
    for _ in range(3):
        content = questioned(coordinator, sites)
        found = msgspec.msgpack.decode(content[name], type=Counted | Measured | Learned)
        if isinstance(found, kind):
            return found
        coordinator.receive(content)
    raise AssertionError(kind)


@settings(max_examples=6)
@given(count=st.integers(LEAST_BEATS, 6000), records=st.integers(3, 30))
def test_the_size_of_a_message_does_not_depend_on_the_rows(count: int, records: int) -> None:
    """Whole numbers are written short or long; nothing else differs."""
    known, other = three_sites()["a"], site_of(*some_rows(7, count, records))
    coordinator = Coordinator(PLAN)
    while not coordinator.is_done:
        content = questioned(coordinator, {"known": known, "other": other})
        assert abs(len(content["known"]) - len(content["other"])) < 64
        coordinator.receive(content)
    assert len(content["known"]) < 4 * LEARNER * PLAN.networks * 4000


def test_a_site_says_nothing_of_few_rows_few_patients_or_a_rare_kind() -> None:
    features, labels, records = some_rows()
    for rows in (some_rows(0, LEAST_BEATS - 1), (features, labels, records % 2)):
        with pytest.raises(InputInvalid, match="gives nothing"):
            site_of(*rows)
    labels[labels == 3] = 0
    labels[: LEAST_OF_KIND - 1] = 3
    counted = answer(site_of(features, labels, records), Count())
    assert isinstance(counted, Counted)
    assert counted.heads[0].kinds[2] == 0
    told = features[labels != 3]
    assert [sum(head.kinds) for head in counted.heads] == [head.rows for head in counted.heads]
    assert counted.heads[0].rows == told.shape[0]
    np.testing.assert_allclose(
        counted.heads[0].sums, told[:, SHAPE.columns].sum(axis=0), rtol=1e-4, atol=1e-3
    )


def test_a_beat_that_is_seen_in_several_ways_counts_once() -> None:
    features, labels, records = some_rows(0, 2 * LEAST_BEATS)
    assert site_of(features, labels, records, rows_of_beat=2)
    with pytest.raises(InputInvalid, match="gives nothing"):
        site_of(features, labels, records, rows_of_beat=3)
    labels[labels == 3] = 0
    labels[: 2 * LEAST_OF_KIND - 1] = 3
    counted = answer(site_of(features, labels, records, rows_of_beat=2), Count())
    assert isinstance(counted, Counted)
    assert counted.heads[0].kinds[2] == 0


def test_a_site_that_misses_a_round_is_left_out_of_it_and_comes_back() -> None:
    sites = three_sites()
    coordinator = at_learning(sites)
    coordinator.receive(questioned(coordinator, {name: sites[name] for name in "ab"}))
    coordinator.receive(questioned(coordinator, sites))
    coordinator.receive(questioned(coordinator, {"c": sites["c"]}))
    assert coordinator.taken == [("a", "b"), ("a", "b", "c"), ("c",)]
    assert coordinator.is_done


def test_who_was_not_counted_does_not_take_part() -> None:
    sites = three_sites()
    coordinator = at_learning({name: sites[name] for name in "ab"})
    coordinator.receive(questioned(coordinator, sites))
    assert coordinator.taken == [("a", "b")]


def with_numbers(change: Callable[[Any], None]) -> Callable[[Learned], Learned]:
    def poison(learned: Learned) -> Learned:
        flat = np.frombuffer(learned.heads[0], "<f4").reshape(1, LEARNER, SHAPE.parameters).copy()
        change(flat)
        return msgspec.structs.replace(learned, heads=(flat.tobytes(), learned.heads[1]))

    return poison


def _set(index: Any, value: float) -> Callable[[Any], None]:
    return lambda flat: flat.__setitem__(index, value)


POISONS = {
    "not a number": with_numbers(_set((0, 0, 3), math.nan)),
    "infinite": with_numbers(_set((0, 1, 3), math.inf)),
    "far beyond a step": with_numbers(_set((0, 0), 10.0)),
    "a negative second moment": with_numbers(_set((0, 2, 5), -1.0)),
    "too short": lambda one: msgspec.structs.replace(one, heads=(one.heads[0][:-4], one.heads[1])),
    "heads changed over": lambda one: msgspec.structs.replace(one, heads=one.heads[::-1]),
    "of another round": lambda one: msgspec.structs.replace(one, number=2),
    "of another version": lambda one: msgspec.structs.replace(one, version=PROTOCOL + 1),
}


@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
def test_a_poisoned_answer_is_refused_and_the_others_are_merged(poison: Any) -> None:
    sites = three_sites()
    clean, poisoned = at_learning(sites), at_learning(sites)
    answers = questioned(clean, sites)
    clean.receive({name: answers[name] for name in "ac"})
    bad = msgspec.msgpack.encode(poison(msgspec.msgpack.decode(answers["b"], type=Learned)))
    poisoned.receive({**answers, "b": bad})
    assert [(one.site, one.stage) for one in poisoned.refused] == [("b", "learned")]
    assert model_of(clean) == model_of(poisoned)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 0},
        {"rows": -5},
        {"kinds": (1, 2)},
        {"kinds": (-1, 2, 3)},
        {"sums": (math.nan,) * len(SHAPE.columns)},
        {"sums": (1e30,) * len(SHAPE.columns)},
        {"sums": (1.0,)},
    ],
    ids=str,
)
def test_poisoned_counts_are_refused(change: dict[str, Any]) -> None:
    sites = three_sites()
    coordinator = Coordinator(PLAN)
    answers = questioned(coordinator, sites)
    good = msgspec.msgpack.decode(answers["a"], type=Counted)
    bad = msgspec.structs.replace(
        good, heads=(msgspec.structs.replace(good.heads[0], **change), good.heads[1])
    )
    coordinator.receive({**answers, "a": msgspec.msgpack.encode(bad)})
    assert [one.site for one in coordinator.refused] == ["a"]


@given(content=st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused_on_both_sides(content: bytes) -> None:
    coordinator = Coordinator(PLAN)
    with pytest.raises(DestinationUnavailable):
        coordinator.receive({"a": content})
    with pytest.raises(InputInvalid):
        answer_packed(SITE, content)


SITE = site_of(*some_rows())


def test_a_site_refuses_what_is_not_of_its_perceptrons() -> None:
    asked = at_learning({"a": SITE}).question
    assert isinstance(asked, Learn)
    head = asked.heads[0]
    for bad in (
        msgspec.structs.replace(asked, number=PLAN.rounds),
        msgspec.structs.replace(asked, version=PROTOCOL + 1),
        msgspec.structs.replace(asked, plan=Plan(rounds=3, networks=2)),
        *(
            msgspec.structs.replace(asked, heads=(msgspec.structs.replace(head, **change), asked.heads[1]))
            for change in (
                {"learners": head.learners[4:]},
                {"mean": (math.nan, *head.mean[1:])},
                {"spread": (0.0, *head.spread[1:])},
                {"scales": (-1.0,)},
            )
        ),
    ):
        with pytest.raises(InputInvalid):
            answer(SITE, bad)


def test_nothing_is_learnt_before_the_first_round() -> None:
    with pytest.raises(InputInvalid, match="nothing was learnt"):
        Coordinator(PLAN).ensemble()
    with pytest.raises(InputInvalid, match="rounds"):
        Coordinator(Plan(rounds=0))
