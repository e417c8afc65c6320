"""Sites, links, cells and requests are read as they were meant, and what is wrong is said where it is."""

from typing import get_args

import pytest

from einthoven.continuum import LINK_PRESETS, TIERS, Tech, drain_region, read_continuum, remove_region
from einthoven.continuum.references import snr_db_of
from einthoven.errors import Conflict, InputInvalid

TEXT = """
[regions.frankfurt]
kind = "http"
address = "https://ecg.example.org"
slots = 40

[sites.ward]
tier = "local"
compute = "6 Gcycle/s"
one_request = "1.5 Gcycle/s"
memory = "4 GB"
busy_power = "7 W"
idle_power = "3 W"
is_stable = false
capabilities = ["spo2"]

[sites.mast]
tier = "edge"
compute = "20 Gcycle/s"

[sites.cloud]
tier = "core"
region = "frankfurt"
slot_compute = "2.5 Gcycle/s"

[[links]]
between = ["ward", "mast"]
tech = "wifi"
rate = "80 Mbit/s"

[[links]]
between = ["ward", "mast"]
tech = "ble"

[[links]]
between = ["mast", "cloud"]
rate = "300 Mbit/s"
latency = "15 ms"
energy = "20 nJ/bit"

[cells.air]
site = "mast"
bandwidth = "20 MHz"
snr = { near = "22 dB", far = "-1.5 dB" }

[requests.alarm]
cell = "air"
snr = "far"
input = "40 kbit"
output = "2 kbit"
work_per_bit = "300 cycle/bit"
deadline = "300 ms"
value = 10
count = 4
highest_tier = "edge"

[requests.report]
site = "ward"
input = "960 kbit"
work = "900 Mcycle"
deadline = "1 s"
"""


def test_a_file_says_what_sites_there_are_and_what_joins_them() -> None:
    continuum = read_continuum(TEXT)
    ward = continuum.site("ward")
    assert (ward.tier, ward.cycles_per_s, ward.one_request_cycles_per_s) == ("local", 6e9, 1.5e9)
    assert (ward.memory_bytes, ward.busy_w, ward.idle_w, ward.is_stable) == (4e9, 7.0, 3.0, False)
    assert [one.name for one in continuum.links] == ["ward-mast", "ward-mast-2", "mast-cloud"]
    assert continuum.links[2].joules_per_bit == 2e-8
    alarm, report = continuum.requests
    assert snr_db_of(alarm, continuum.cell("air")) == -1.5
    assert (alarm.work_cycles, report.work_cycles) == (12e6, 9e8)
    assert [alarm.may_be_seen_at(tier) for tier in TIERS] == [True, True, False]


def test_a_link_is_what_its_technology_presets_unless_it_says_otherwise() -> None:
    wifi, ble, _ = read_continuum(TEXT).links
    assert (wifi.bits_per_s, wifi.latency_s, wifi.is_duplex) == (80e6, 0.003, False)
    assert (ble.bits_per_s, ble.latency_s) == (0.7e6, 0.015)
    assert set(LINK_PRESETS) == set(get_args(Tech))
    for tech in LINK_PRESETS:
        sites = '[sites.a]\ntier = "local"\n[sites.b]\ntier = "edge"\n'
        (link,) = read_continuum(f'{sites}[links.x]\nbetween = ["a", "b"]\ntech = "{tech}"').links
        assert link.bits_per_s > 0
        assert link.latency_s > 0


def test_a_site_that_is_a_region_computes_what_its_slots_do() -> None:
    continuum = read_continuum(TEXT)
    assert continuum.cycles_per_s(continuum.site("cloud")) == 40 * 2.5e9
    assert continuum.cycles_per_s(continuum.site("mast")) == 20e9
    drained = read_continuum(drain_region(TEXT, "frankfurt"))
    assert drained.cycles_per_s(drained.site("cloud")) == 0.0
    with pytest.raises(Conflict, match="cloud"):
        remove_region(TEXT, "frankfurt")


def test_all_that_is_wrong_with_sites_is_said_at_once_each_with_its_place() -> None:
    text = """
        [sites.one]
        tier = "edge"
        compute = "20 GHz"
        memory = 16
        colour = "red"
        [sites.two]
        tier = "cloud"
        [sites.three]
        tier = "core"
        region = "nowhere"
        slot_compute = "1 Gcycle/s"
        [sites.four]
        tier = "core"
        region = "nowhere"
        [links.a]
        between = ["one", "mars"]
        tech = "5g"
        [links.b]
        between = ["one", "two"]
        [links.c]
        between = ["one", "one"]
        tech = "5g"
        [links.d]
        between = ["one", "two"]
        tech = "carrier-pigeon"
        rate = "1 bit/s"
        [cells.air]
        site = "mars"
        bandwidth = "5 ms"
        [cells.sky]
        site = "two"
        bandwidth = "20 MHz"
        snr = { near = 22 }
        [cells.sea]
        site = "two"
        bandwidth = "20 MHz"
        snr = { near = "22 dB" }
        [requests.r]
        site = "one"
        cell = "sea"
        input = "1 kbit"
        work = "1 Mcycle"
        deadline = "1 s"
        [requests.s]
        cell = "sea"
        snr = "remote"
        input = "1 kbit"
        work = "1 Mcycle"
        deadline = "1 s"
        [requests.t]
        site = "one"
        input = "1 kbit"
        deadline = "1 kbit"
        [requests.u]
        site = "mars"
        input = "1 kbit"
        work = "1 Mcycle"
        deadline = "1 s"
        [requests.v]
        site = "one"
        input = "1 kbit"
        work = "1 Mcycle"
        work_per_bit = "1 cycle/bit"
        deadline = "1 s"
        count = 0
        [sites.five]
        tier = "core"
        [requests.w]
        site = "five"
        input = "1 kbit"
        work = "1 Mcycle"
        deadline = "1 s"
        highest_tier = "edge"
    """
    with pytest.raises(InputInvalid) as caught:
        read_continuum(text, "my.toml")
    said = str(caught.value)
    for part in (
        'sites.one.compute: "20 GHz" is a quantity of frequency',
        "sites.one.memory: 16 has no unit",
        "sites.one: object contains unknown field `colour`",
        "sites.two.tier: invalid enum value 'cloud'",
        "sites.three.region: there is no region 'nowhere'",
        "sites.four.slot_compute: ",
        "links.a.between: there is no site 'mars'; there are one, two, three, four, five",
        "links.b: object missing required field `rate`",
        "links.c.between: it joins a site with itself",
        "links.d.tech: invalid enum value",
        'cells.air.bandwidth: "5 ms" is a quantity of time',
        "cells.sky.snr.near: 22 has no unit",
        "requests.r.site: it begins at a `site` or in a `cell`",
        "requests.s.snr: ",
        "a name of the cell's `snr`: near",
        'requests.t.deadline: "1 kbit" is a quantity of data',
        "requests.u.site: there is no site 'mars'",
        "requests.w.highest_tier: it begins at 'five', whose tier is core",
        "requests.v.work: either `work` or `work_per_bit`",
    ):
        assert part in said, part


@pytest.mark.parametrize(
    "text", ["links = 3", "links = [3]", "[[links]]\nbetween = 3", "sites = 3", "[sites]\nx = 3", "[[sites]]"]
)
def test_nonsense_in_place_of_sites_is_an_error_that_says_so(text: str) -> None:
    with pytest.raises(InputInvalid):
        read_continuum(text)


def test_links_of_a_list_have_names_that_nobody_else_has() -> None:
    ends = [["a", "b"], ["a", "b-2"], ["a", "b"], ["a", "b"]]
    sites = "".join(f"[sites.{one}]\ntier = 'edge'\n" for one in ("a", "b", "b-2"))
    links = "".join(f"[[links]]\nbetween = {one}\nrate = '1 Mbit/s'\n" for one in ends)
    names = [one.name for one in read_continuum(sites + links).links]
    assert names == ["a-b", "a-b-2", "a-b-3", "a-b-4"]


def test_a_name_is_that_of_one_part_and_of_one_request() -> None:
    air = '[sites.air]\ntier = "edge"\n[cells.air]\nsite = "air"\nbandwidth = "1 MHz"\n'
    with pytest.raises(InputInvalid, match=r"cells\.air: sites has a part of this name already"):
        read_continuum(air)
    one = 'site = "gw"\ninput = "1 kbit"\nwork = "1 Mcycle"\ndeadline = "1 s"\n'
    classes = f'[sites.gw]\ntier = "edge"\n[requests.al]\n{one}count = 9\n[requests.al-9]\n{one}'
    with pytest.raises(InputInvalid, match=r"requests\.al-9: that is what request 9 of 'al' is called"):
        read_continuum(classes)
    assert len(read_continuum(classes.replace("count = 9", "count = 8")).requests) == 2
