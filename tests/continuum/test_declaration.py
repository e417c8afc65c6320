"""`continuum.toml`: what is declared is read as it was meant, and what is wrong is said where it is."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.continuum import (
    KINDS,
    TIERS,
    Continuum,
    Price,
    Region,
    drain_region,
    read_continuum,
    remove_region,
    write_region,
)
from einthoven.errors import InputInvalid

TEXT = """# Ours
currency = "CHF"

[regions.here]   # the cellar
kind = "pool"
slots = 2
labels = ["eu"]

[regions.frankfurt]
# the first one
kind = "http"
address = "https://ecg.example.org"
place = "eu-central"
slots = 1000
rtt_s = 0.012
[regions.frankfurt.price]
per_invocation = 4e-7   # Google, 2025
billing_step_s = 0.1

[regions.spare]
kind = "nats"
address = "nats://127.0.0.1:4222"
"""

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
AMOUNTS = st.floats(0, 1e6, allow_nan=False)
ADDRESS = {"http": "https://x.example", "nats": "nats://x:4222", "ray": "ray://x:10001"}


@st.composite
def regions(draw: st.DrawFn) -> Region:
    kind = draw(st.sampled_from(KINDS))
    return Region(
        name=draw(NAMES),
        kind=kind,
        address=ADDRESS.get(kind, ""),
        tier=draw(st.sampled_from(TIERS)),
        place=draw(st.text(max_size=12)),
        labels=tuple(draw(st.lists(NAMES, max_size=3))),
        slots=draw(st.integers(1, 1_000_000)),
        functions=tuple(draw(st.lists(NAMES, max_size=3))),
        rtt_s=draw(AMOUNTS),
        bandwidth_mb_s=draw(st.one_of(st.just(math.inf), st.floats(1e-3, 1e5))),
        price=Price(**{field: draw(AMOUNTS) for field in Price.__struct_fields__}),
        token_file=draw(st.text(max_size=8)),
        is_draining=draw(st.booleans()),
    )


@pytest.mark.parametrize(
    "more",
    [
        {"address": "https://x.example/{function}"},
        {"address": "https://x.example/{function}/{function}", "functions": ("a",)},
        {"address": "https://x.example/{function}", "functions": ("a",), "is_one_function": True},
        {"address": "https://x.example", "is_one_function": True},
        {"address": "https://x.example", "functions": ("a", "b"), "is_one_function": True},
        {"kind": "nats", "address": "nats://{function}:4222", "functions": ("a",)},
        {"kind": "nats", "address": "nats://x:4222", "functions": ("a",), "is_one_function": True},
    ],
)
def test_an_address_of_single_functions_needs_their_names(more: dict[str, Any]) -> None:
    with pytest.raises(InputInvalid) as caught:
        Region(**{"name": "x", "kind": "http", **more})
    assert caught.value.where in ("address", "is_one_function")
    assert "unction" in caught.value.remedy


def test_what_only_some_kinds_have_is_written_and_read() -> None:
    for more in (
        {"kind": "ray", "resource": "edge"},
        {"address": "https://x.example", "ca_file": "/etc/ca.pem"},
        {"kind": "nats", "address": "tls://x:4222", "ca_file": "/etc/ca.pem"},
        {"kind": "pool", "slots": 3, "longest_s": 2.5, "warm": 3, "idle_s": 60.0, "cold_s": 0.5},
        {"address": "https://{function}-x.run.app", "functions": ("a", "b")},
        {"address": "https://x.on.aws/", "functions": ("a",), "is_one_function": True},
    ):
        region = Region(**{"name": "x", "kind": "http", **more})
        assert read_continuum(write_region(region)) == Continuum(regions=(region,))


@pytest.mark.parametrize(
    ("where", "more"),
    [
        ("resource", {"kind": "pool", "resource": "edge"}),
        ("ca_file", {"kind": "pool", "ca_file": "/etc/ca.pem"}),
        ("warm", {"warm": 2, "slots": 1}),
        ("warm", {"warm": -1}),
        ("idle_s", {"idle_s": 0.0}),
        ("cold_s", {"cold_s": -1.0}),
        ("longest_s", {"longest_s": 0.0}),
    ],
)
def test_what_a_region_cannot_have_is_said_where_it_is(where: str, more: dict[str, Any]) -> None:
    with pytest.raises(InputInvalid) as caught:
        Region(**{"name": "x", "kind": "inline", **more})
    assert caught.value.where == where


@given(region=regions())
def test_what_is_written_is_read_as_the_same(region: Region) -> None:
    assert read_continuum(write_region(region)) == Continuum(regions=(region,))


def test_a_file_says_what_there_is() -> None:
    continuum = read_continuum(TEXT)
    assert continuum.currency == "CHF"
    assert [one.name for one in continuum.regions] == ["here", "frankfurt", "spare"]
    assert continuum.region("frankfurt").price == Price(per_invocation=4e-7, billing_step_s=0.1)
    with pytest.raises(InputInvalid, match="here, frankfurt, spare"):
        continuum.region("paris")


def test_all_that_is_wrong_is_said_at_once_each_with_its_place() -> None:
    text = """
        currency = "euro"
        colour = "red"
        [regions.one]
        kind = "telephone"
        [regions.two]
        kind = "http"
        address = "ftp://x"
        [regions.three]
        kind = "pool"
        slots = 0
        [regions.four]
        kind = "pool"
        price = { per_call = 1 }
        [regions.five]
        kind = "pool"
        slots = "many"
        [regions.Six]
        kind = "pool"
        [regions.seven]
        kind = "http"
        address = "https://user:secret@x"
    """
    with pytest.raises(InputInvalid) as caught:
        read_continuum(text, "my.toml")
    said = str(caught.value)
    for part in (
        "my.toml: ",
        "colour: nobody knows this key",
        "currency: three capital letters",
        "regions.one.kind: ",
        "regions.two.address: ",
        "regions.three.slots: there are 0 slots",
        "regions.four.price: ",
        "regions.five.slots: expected `int`, got `str`",
        "regions.Six.name: ",
        "regions.seven.address: the address holds a user or a password",
    ):
        assert part in said, part
    assert "secret" not in said


@pytest.mark.parametrize(
    "text", ["[regions", "regions = 3", "[regions]\nx = 3", "x" * 2_000_000, "a = " + "[" * 5000]
)
def test_nonsense_is_an_error_that_says_so(text: str) -> None:
    with pytest.raises(InputInvalid):
        read_continuum(text)


def test_a_region_is_removed_and_all_else_stays_as_it_was_written() -> None:
    after = remove_region(TEXT, "frankfurt")
    assert "Google" not in after
    assert after == TEXT[: TEXT.index("[regions.frankfurt]")] + TEXT[TEXT.index("[regions.spare]") :]
    with pytest.raises(InputInvalid, match="no region 'paris'"):
        remove_region(TEXT, "paris")


def test_a_region_is_drained_and_taken_back() -> None:
    for name in ("here", "frankfurt", "spare"):
        drained = drain_region(TEXT, name)
        assert read_continuum(drained).region(name).is_draining
        assert drain_region(drained, name) == drained
        assert drain_region(drained, name, is_draining=False) == TEXT


def test_a_file_that_is_written_otherwise_is_left_to_its_writer() -> None:
    text = 'regions = { here = { kind = "pool" } }\n'
    assert read_continuum(text).region("here").slots == 1
    for change in (remove_region, drain_region):
        with pytest.raises(InputInvalid, match="by hand"):
            change(text, "here")


def test_prices_round_times_up_to_the_billing_step() -> None:
    price = Price(per_invocation=1.0, per_gb_s=10.0, per_egress_gb=100.0, billing_step_s=0.1)
    assert price.of_call(0.101, 1024, 0) == pytest.approx(1 + 10 * 0.2)
    assert price.of_call(0.3, 512, 10_000_000) == pytest.approx(1 + 10 * 0.3 / 2 + 1)
    assert Price(per_gb_s=1.0, billing_step_s=0.0).of_call(0.123, 1024, 0) == pytest.approx(0.123)
    with pytest.raises(InputInvalid, match="0 or more"):
        Price(per_gb_s=-1.0)
