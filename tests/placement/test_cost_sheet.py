"""A sheet of costs and risks: sums can be followed by hand, a failure takes away what hangs on it."""

import pytest

from einthoven.continuum import Continuum, example, read_continuum
from einthoven.errors import InputInvalid
from einthoven.placement.cost_sheet import Sheet, cost_sheet, without
from einthoven.placement.offloading import plan
from einthoven.placement.offloading.options import Problem
from einthoven.placement.offloading.plans import Plan

YEAR_S = 365.25 * 86_400
SMALL = """
currency = "CHF"

[regions.frankfurt]
kind = "http"
address = "https://ecg.example.org"
slots = 10
price = { per_invocation = 1e-6, per_gb_s = 2e-5, per_egress_gb = 0.1, billing_step_s = 0.1 }

[sites.ward]
tier = "local"
compute = "1 Mcycle/s"
busy_power = "5 W"
idle_power = "2 W"

[sites.cloud]
tier = "core"
region = "frankfurt"
slot_compute = "2 Gcycle/s"

[links.backhaul]
between = ["ward", "cloud"]
rate = "10 Mbit/s"
latency = "10 ms"
energy = "100 nJ/bit"

[requests.alarm]
site = "ward"
input = "40 kbit"
output = "8 kbit"
work = "300 Mcycle"
deadline = "1 s"
count = 3

[prices]
per_kwh = 0.2
per_staff_hour = 60
kg_co2_per_kwh = 0.5

[devices.monitors]
site = "ward"
count = 3
price = 1000
life_years = 5
upkeep_per_year = 10
power = "4 W"

[tariffs.backhaul]
per_year = 100
per_gb = 2

[loads.alarm]
every = "10 s"
memory_mb = 1024

[staff.rounds]
minutes = 30
times_per_year = 100
people = 2

[failures.backhaul]
times_per_year = 6
repair = "30 min"
staff_minutes = 20
"""


def planner(problem: Problem) -> Plan:
    return plan(problem.instance, method="ldg", allocation="cheapest")


def sheet_of(text: str) -> Sheet:
    return cost_sheet(read_continuum(text), planner)


@pytest.fixture(scope="module")
def small() -> Sheet:
    return sheet_of(SMALL)


@pytest.fixture(scope="module")
def hospital() -> Sheet:
    return sheet_of(example())


def line(sheet: Sheet, kind: str, item: str) -> float:
    return next(one.per_year for one in sheet.costs if (one.kind, one.item) == (kind, item))


def test_each_line_is_what_comes_out_by_hand(small: Sheet) -> None:
    """Three alarms every 10 s, all in the cloud, for the ward is too slow for them."""
    calls = 3 * YEAR_S / 10
    assert [(one.request, one.asked, one.accepted) for one in small.requests] == [("alarm", 3, 3)]
    assert small.requests[0].per_year == pytest.approx(calls)
    assert line(small, "devices", "monitors") == 3 * (200 + 10)
    assert line(small, "links", "backhaul") == pytest.approx(100 + 2 * calls * 48e3 / 8e9)
    # 0.15 s are billed as 0.2, with a gigabyte
    assert line(small, "cloud", "frankfurt") == pytest.approx(calls * (1e-6 + 2e-5 * 0.2 + 0.1 * 1000 / 1e9))
    assert line(small, "staff", "rounds") == 2 * 50 * 60
    assert line(small, "repairs", "backhaul") == 6 * 20
    hours = YEAR_S / 3600
    energy = {one.item: (one.static_kwh, one.dynamic_kwh) for one in small.energy}
    assert energy["ward"] == pytest.approx((2 * hours / 1000, 0))
    assert energy["monitors"] == pytest.approx((12 * hours / 1000, 0))
    assert energy["backhaul"] == pytest.approx((0, calls * 48e3 * 1e-7 / 3.6e6))
    assert line(small, "energy", "ward") == pytest.approx(0.2 * 2 * hours / 1000)
    assert (small.currency, small.purchase) == ("CHF", 3000)
    assert small.kg_co2_per_year == pytest.approx(0.5 * small.kwh_per_year)


def test_what_is_done_once_is_in_no_year(small: Sheet) -> None:
    moved = sheet_of(SMALL.replace("people = 2", "people = 2\ntimes_at_start = 4\nper_hour = 30"))
    assert moved.transition == 4 * 2 * 0.5 * 30
    assert line(moved, "staff", "rounds") == line(small, "staff", "rounds") / 2
    assert small.transition == 0


def test_sums_are_the_sums_of_their_lines(small: Sheet, hospital: Sheet) -> None:
    for sheet in (small, hospital):
        assert sheet.per_year == pytest.approx(sum(one.per_year for one in sheet.costs))
        kinds = {one.kind for one in sheet.costs}
        assert sheet.per_year == pytest.approx(sum(sheet.of_kind(kind) for kind in kinds))
        total = sum(one.static_kwh + one.dynamic_kwh for one in sheet.energy)
        assert sheet.kwh_per_year == pytest.approx(total)


def test_what_computes_takes_power_as_long_as_it_computes() -> None:
    """Three alarms of 100 Mcycle every 10 s are 30 Mcycle/s, a twentieth of the ward."""
    text = SMALL.replace('compute = "1 Mcycle/s"', 'compute = "600 Mcycle/s"').replace(
        "300 Mcycle", "100 Mcycle"
    )
    sheet = sheet_of(text)
    at_ward = next(one for one in sheet.energy if one.item == "ward")
    cloud = line(sheet, "cloud", "frankfurt")
    computed_there = 3 - round(cloud / (YEAR_S / 10 * (1e-6 + 2e-5 * 0.1 + 1e-7)))
    assert computed_there > 0
    assert at_ward.dynamic_kwh == pytest.approx(3 * computed_there * 10 / 600 * YEAR_S / 3.6e6)


def test_a_failure_takes_what_hangs_on_it_and_says_how_long(small: Sheet) -> None:
    lost = {
        one.part: (one.kind, dict(one.lost), one.hours_per_year, one.lost_hours_per_year)
        for one in small.failures
    }
    assert lost == {
        "ward": ("site", {"alarm": 3}, None, None),
        "cloud": ("site", {"alarm": 3}, None, None),
        "backhaul": ("link", {"alarm": 3}, 3.0, 9.0),
    }


def test_a_second_way_makes_a_failure_harmless() -> None:
    spare = '[links.spare]\nbetween = ["ward", "cloud"]\ntech = "lte"\n\n[links.backhaul]'
    found = {one.part: dict(one.lost) for one in sheet_of(SMALL.replace("[links.backhaul]", spare)).failures}
    assert (found["backhaul"], found["spare"], found["cloud"]) == ({}, {}, {"alarm": 3})


def test_notes_say_what_in_the_file_they_come_from(small: Sheet, hospital: Sheet) -> None:
    because = {one.rule: one.because for one in small.notes}
    assert "frankfurt" in because["GDPR Chapter V"]
    assert "alarm" in because["GDPR Art. 25"]
    kept = sheet_of(SMALL.replace("slots = 10", 'slots = 10\nlabels = ["eu"]'))
    assert "GDPR Chapter V" not in {one.rule for one in kept.notes}
    assert "oxygen" in {one.rule: one.because for one in hospital.notes}["MDR Art. 22, IEC 60601-1"]
    assert "ward-alarm" not in {one.rule: one.because for one in hospital.notes}["GDPR Art. 25"]


def test_what_is_not_declared_is_in_no_sum_and_is_named(small: Sheet) -> None:
    assert small.undeclared == ("failures: how often these fail: ward, cloud",)
    bare = sheet_of(SMALL[: SMALL.index("[prices]")])
    assert bare.per_year == 0
    assert {one.split(":")[0] for one in bare.undeclared} == {
        "loads.alarm",
        "failures",
        "prices.per_kwh",
        "devices",
        "tariffs",
        "staff",
    }


def test_more_than_there_is_of_a_site_is_said() -> None:
    """In time one by one is not the same as all day long."""
    assert sheet_of(SMALL.replace('every = "10 s"', 'every = "10 ms"')).overloaded == ("cloud",)


@pytest.mark.parametrize("name", ["ward", "ambulance", "mast-north", "data-centre", "between-masts", "south"])
def test_without_a_part_nothing_refers_to_it(name: str) -> None:
    whole = read_continuum(example())
    left = without(whole, name)
    names = {one.name for one in left.sites}
    assert names == {one.name for one in whole.sites} - {name}
    assert all(names.issuperset(one.between) for one in left.links)
    assert name not in {one.name for one in left.links}
    assert all(one.site in names for one in left.cells)
    airs = {one.name for one in left.cells}
    assert name not in airs
    assert all((one.site or one.cell) in names | airs for one in left.requests)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('monitors]\nsite = "ward"', 'monitors]\nsite = "cellar"', "there is no site 'cellar'"),
        ("[tariffs.backhaul]", "[tariffs.road]", "there is no link or cell 'road'"),
        ("[loads.alarm]", "[loads.siren]", "there is no request 'siren'"),
        ("[failures.backhaul]", "[failures.moon]", "there is no site or link or cell 'moon'"),
        ("life_years = 5", "life_years = 0", "devices.monitors.life_years: it must be more than 0"),
        ("minutes = 30", "minutes = -1", "staff.rounds.minutes: the amount is -1"),
        ('every = "10 s"', "every = 10", "loads.alarm.every: 10 has no unit"),
        ("per_kwh = 0.2", "per_kw = 0.2", "prices: object contains unknown field `per_kw`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where_it_is(before: str, after: str, words: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        read_continuum(SMALL.replace(before, after))
    assert words in caught.value.what


def test_all_flaws_are_said_at_once() -> None:
    text = SMALL.replace("[loads.alarm]", "[loads.siren]").replace("minutes = 30", "minutes = -1")
    with pytest.raises(InputInvalid) as caught:
        read_continuum(text)
    assert "siren" in caught.value.what
    assert "staff.rounds.minutes" in caught.value.what


def test_nothing_of_it_needs_to_be_declared() -> None:
    continuum = read_continuum(SMALL[: SMALL.index("[prices]")])
    assert isinstance(continuum, Continuum)
    tables = (continuum.devices, continuum.tariffs, continuum.loads, continuum.staff, continuum.failures)
    assert not any(tables)
