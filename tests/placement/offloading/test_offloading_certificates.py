"""A certificate is read as it was written, holds, and shows every number that was altered."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from einthoven.errors import InputInvalid
from einthoven.placement.offloading import (
    METHODS,
    THREE_STATIONS,
    Certificate,
    Instance,
    certify,
    draw,
    plan,
    prepare,
    problem_digest,
    read_certificate,
    verify_certificate,
    write_certificate,
)
from einthoven.placement.offloading.certificate import digest_of
from einthoven.placement.offloading.feasibility import is_feasible


@pytest.fixture(scope="module")
def tight(a_tight_one) -> Instance:
    made: Instance = a_tight_one(8, 3)
    return made


@pytest.fixture(scope="module")
def certificate(tight: Instance) -> Certificate:
    return certify(tight, plan(tight))


@pytest.mark.parametrize("is_json", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_written_is_read_bit_for_bit_and_holds(tight, method, is_json) -> None:
    made = certify(tight, plan(tight, method=method))
    data = write_certificate(made, is_json=is_json)
    again = read_certificate(data)
    assert again == made
    assert write_certificate(again, is_json=is_json) == data
    assert verify_certificate(again) == ()


@pytest.mark.parametrize("allocation", ["balanced", "stretched", "cheapest"])
def test_every_allocation_and_values_can_be_certified(a_tight_one, allocation) -> None:
    for seed in range(3):
        instance = a_tight_one(12, seed, has_values=True)
        assert verify_certificate(certify(instance, plan(instance, allocation=allocation))) == ()


def test_with_caps_too(tight) -> None:
    instance = prepare(
        capacities=tight.capacities,
        paths=tight.paths,
        works=tight.demands,
        owners=tight.owners,
        caps=np.where(tight.demands > 0, 4 * tight.demands, np.inf),
    )
    made = certify(instance, plan(instance))
    assert verify_certificate(read_certificate(write_certificate(made))) == ()


def numbers(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all numbers, truths and words in a document."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from numbers(value, (*path, key))
    elif isinstance(tree, list):
        for place, value in enumerate(tree):
            yield from numbers(value, (*path, place))
    elif tree is not None:
        yield path


def altered(tree: Any, path: tuple[Any, ...]) -> Any:
    copy = msgspec.json.decode(msgspec.json.encode(tree))
    at = copy
    for step in path[:-1]:
        at = at[step]
    old = at[path[-1]]
    if isinstance(old, bool):
        at[path[-1]] = not old
    elif isinstance(old, int):
        at[path[-1]] = old + 1
    elif isinstance(old, float):
        at[path[-1]] = math.nextafter(old, math.inf)
    else:
        at[path[-1]] = old + "x"
    return copy


def test_any_number_or_word_that_is_altered_is_found(certificate) -> None:
    """Even the last bit of one: by the digest, or because it is no certificate any more."""
    document = msgspec.json.decode(write_certificate(certificate))
    places = list(numbers(document))
    assert len(places) > 300
    for path in places:
        data = msgspec.json.encode(altered(document, path))
        try:
            found = read_certificate(data)
        except InputInvalid:
            continue
        assert verify_certificate(found), path


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("worths",), []),
        (("plan", "accepted", 0), 10**6),
        (("plan", "options", 0), -1),
        (("instance", "paths", 0), 2**70),
        (("instance", "kinds", 0), 300),
        (("instance", "owners"), []),
        (("plan", "shares"), [1.0]),
        (("dual", "vectors"), [[1.0]]),
    ],
)
def test_a_certificate_of_nonsense_is_refused_and_breaks_nothing(certificate, path, value) -> None:
    document = msgspec.json.decode(write_certificate(certificate))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    try:
        found = read_certificate(msgspec.json.encode(document))
    except InputInvalid:
        return
    assert verify_certificate(found)


def test_a_claim_that_is_altered_with_care_is_found_by_arithmetic(a_tight_one) -> None:
    """The digest is made anew each time, so only what is computed can tell."""
    instance = a_tight_one(16, 3)
    document = msgspec.json.decode(write_certificate(certify(instance, plan(instance))))
    claims = [
        ("plan", "least_utilisation"),
        ("plan", "value"),
        ("plan", "cost"),
        ("plan", "bound"),
        ("plan", "shares", 0),
        ("plan", "prices", document["instance"]["paths"][document["plan"]["options"][0] * 3]),
        ("plan", "utilisations", 0),
        ("acceptance",),
        ("relaxed_bound",),
        ("dual", "weights", 0),
        ("worths", 0),
        ("reasons", 0, "take"),
        ("reasons", 0, "more"),
        ("reasons", 0, "later_s"),
    ]
    for path in claims:
        for factor in (0.98, 1.02):
            copy = msgspec.json.decode(msgspec.json.encode(document))
            at = copy
            for step in path[:-1]:
                at = at[step]
            if at[path[-1]] in (None, 0.0):
                continue
            at[path[-1]] *= factor
            forged = msgspec.convert(copy, Certificate)
            forged = msgspec.structs.replace(forged, digest=digest_of(forged))
            flaws = verify_certificate(forged)
            # A bound that is lowered but not below what whole values allow is still one.
            is_bound = path == ("plan", "bound") and factor < 1
            assert flaws or is_bound, (path, factor)
            assert not any("digest" in flaw for flaw in flaws)


def test_another_problem_has_another_digest(tight, certificate) -> None:
    assert certificate.problem == problem_digest(tight)
    other = dataclasses.replace(tight, capacities=tight.capacities * 1.001)
    assert problem_digest(other) != certificate.problem


def test_every_remedy_heals(a_tight_one) -> None:
    """More of a resource, a later deadline, another request out: each is enough, and hardly less is not."""
    healed = {"more": 0, "later": 0, "instead": 0}
    for seed in range(4):
        instance = a_tight_one(14, seed)
        made = plan(instance)
        for reason in certify(instance, made).reasons:
            if reason.why == "never":
                continue
            together = np.append(made.options, reason.option)
            request = instance.requests.index(reason.request)
            if reason.more is not None:
                healed["more"] += 1
                for part, fits in ((1e-6, True), (-1e-4, False)):
                    capacities = instance.capacities.copy()
                    capacities[instance.resources.index(reason.resource)] *= (1 + reason.more) * (1 + part)
                    assert is_feasible(dataclasses.replace(instance, capacities=capacities), together) == fits
            if reason.later_s is not None:
                healed["later"] += 1
                slack_s = instance.slacks_s[reason.option]
                for part, fits in ((1e-5, True), (-1e-3, False)):
                    demands = instance.demands.copy()
                    demands[reason.option] *= slack_s / (slack_s + reason.later_s * (1 + part))
                    assert is_feasible(dataclasses.replace(instance, demands=demands), together) == fits
            if reason.instead:
                healed["instead"] += 1
                gone = int(np.flatnonzero(made.accepted == instance.requests.index(reason.instead))[0])
                kept = np.delete(made.options, gone)
                assert any(
                    is_feasible(instance, np.append(kept, one)) for one in instance.options_of(request)
                )
    assert min(healed.values()) >= 5


def test_it_says_in_words_how_good_it_is_and_why_each_was_refused() -> None:
    instance = draw(THREE_STATIONS, 40, 40_000).instance
    says = certify(instance, plan(instance)).says()
    assert says[0] == "34 of 40 requests are accepted (85.0 %)."
    assert says[1] == "No plan is worth more, by the dual."
    assert "radio-1" in says[3]
    assert says[4].startswith(
        "request-8 at core would take 1.19 times what is left. 5 % more of radio-1 or a"
    )
    first_come = certify(instance, plan(instance, method="fcfs")).says()
    assert "does not know" in first_come[1]
    assert any("given anew" in line for line in first_come)


def test_whoever_never_had_a_chance_is_told_so() -> None:
    instance = prepare(
        capacities=[10.0],
        paths=[[0], [0], [0]],
        works=[[13.0], [1.0], [5.0]],
        owners=[0, 1, 3],
        slacks_s=[1.0, -1.0, 1.0],
        count=4,
        requests=["long", "late", "nowhere", "fine"],
    )
    made = certify(instance, plan(instance))
    assert [one.why for one in made.reasons] == ["never"] * 3
    assert made.reasons[0].says == "long would take 1.3 times its slack even alone."
    assert "no option" in made.reasons[1].says
    assert verify_certificate(read_certificate(write_certificate(made))) == ()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"{", b"\xff\x00", b"[1]", b'{"version": 1}', b"\x80", "{é".encode("latin-1")]
)
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(InputInvalid):
        read_certificate(data)


def test_a_certificate_whose_problem_is_none_is_told(certificate) -> None:
    broken = msgspec.structs.replace(certificate.instance, capacities=(0.0,) * 13)
    assert any("problem in it is none" in one for one in verify_certificate(replaced(certificate, broken)))
    short = msgspec.structs.replace(certificate.instance, demands=certificate.instance.demands[:-1])
    assert any("do not fit together" in one for one in verify_certificate(replaced(certificate, short)))
    other = msgspec.structs.replace(certificate, version=2)
    with pytest.raises(InputInvalid, match="version 2"):
        read_certificate(write_certificate(other))


def replaced(certificate: Certificate, instance: Any) -> Certificate:
    return msgspec.structs.replace(certificate, instance=instance)
