"""A patient's way: the lungs' model, the controller, and nodes that go along without a gap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einthoven.experiments.treatment_path import SECONDS, Path, shunt_at, travelled, treated
from einthoven.simulation.oxygenation import (
    ControllerState,
    Disturbances,
    disturbances,
    dosed,
    saturation_pct,
)

ALWAYS = tuple("mask" if at_s >= 2400 else "" for at_s in range(SECONDS))
NOBODY = ("",) * SECONDS
STILL = Disturbances.none(SECONDS)
EVERYTHING = {"silent_s": (0, 0), "cut_s": (0, 0)}


@pytest.fixture(scope="module")
def path() -> Path:
    return travelled(1)


@pytest.mark.parametrize(
    ("fraction", "shunt", "expected"),
    [
        (0.21, 0.06, 96.286), (0.21, 0.16, 93.182), (0.21, 0.26, 89.075), (0.21, 0.30, 87.077),
        (0.36, 0.26, 92.697), (0.51, 0.26, 94.532), (0.66, 0.26, 96.179), (0.66, 0.30, 94.303),
    ],
)  # fmt: skip
def test_saturation_follows_from_what_is_breathed_and_what_passes_by(fraction, shunt, expected) -> None:
    assert saturation_pct(fraction, shunt) == pytest.approx(expected, abs=0.005)


@given(st.floats(0.21, 0.66), st.floats(0.02, 0.45), st.floats(0.001, 0.05))
def test_more_oxygen_helps_and_a_greater_shunt_harms(fraction: float, shunt: float, more: float) -> None:
    assert saturation_pct(fraction + more, shunt) >= saturation_pct(fraction, shunt)
    assert saturation_pct(fraction, shunt + more) <= saturation_pct(fraction, shunt)


def test_without_noise_the_patient_goes_as_worked_out_by_hand() -> None:
    found = treated(ALWAYS, STILL, **EVERYTHING)
    for at_s, saturation, flow in (
        (2399, 87.077, 0.0), (2430, 90.724, 10.134), (2460, 94.843, 15.0), (2520, 94.082, 3.750),
        (2700, 93.275, 6.700), (3000, 93.816, 8.007), (3600, 93.987, 8.435), (3899, 92.520, 10.662),
        (3960, 94.884, 11.370), (4500, 94.067, 8.636), (5400, 94.411, 3.861), (6300, 94.149, 0.669),
        (7199, 94.000, 0.587),
    ):  # fmt: skip
        assert found.saturation_pct[at_s] == pytest.approx(saturation, abs=0.005), at_s
        assert found.flow_l_min[at_s] == pytest.approx(flow, abs=0.005), at_s


def test_over_eight_patients_the_figures_are_those_that_were_worked_out() -> None:
    seeds = [disturbances(seed, SECONDS) for seed in range(8)]
    nobody = [treated(NOBODY, also, **EVERYTHING) for also in seeds]
    dosing = [treated(ALWAYS, also, **EVERYTHING) for also in seeds]
    assert np.mean([one.share_pct(92, 96) for one in nobody]) == pytest.approx(27.0, abs=0.1)
    assert np.mean([one.below_s(88) for one in nobody]) == pytest.approx(959, abs=1)
    shares = [one.share_pct(92, 96) for one in dosing]
    assert np.mean(shares) == pytest.approx(86.0, abs=0.1)
    assert (min(shares), max(shares)) == (pytest.approx(82.2, abs=0.1), pytest.approx(88.5, abs=0.1))
    assert np.mean([one.litres for one in dosing]) == pytest.approx(515, abs=1)
    assert np.mean([one.below_s(88) for one in dosing]) == pytest.approx(31, abs=1)
    assert np.mean([one.until_safe_s for one in dosing]) == pytest.approx(40, abs=1)


@settings(max_examples=200)
@given(st.floats(0, 15), st.floats(0, 15), st.floats(0, 100))
def test_a_dose_is_bounded_and_the_valve_moves_no_faster_than_it_may(summed, flow, mean) -> None:
    after = dosed(ControllerState(summed, flow), mean)
    assert 0 <= after.flow_l_min <= 15
    assert 0 <= after.summed <= 15
    assert -0.25 - 1e-9 <= after.flow_l_min - flow <= 0.5 + 1e-9


def test_services_go_along_and_two_never_dose_at_once(path: Path) -> None:
    assert path.most_acting == 1
    assert path.misplaced == 0
    assert list(dict.fromkeys(node for node in path.doses if node)) == ["mask", "high-flow"]
    assert path.doses[2399] == ""
    assert path.gaps_s[0] < 2.0, "from the mask's arrival to the first dose"
    assert max(path.gaps_s[1:]) <= 2.0, "no gap of more than two periods"
    took_s = dict(path.extended)
    assert set(took_s) == {
        "spo2-read", "ecg-rhythm", "deterioration", "o2-control", "ecg12-view",
        "icu-view", "ward-alarms", "pump-watch", "ehr-sync",
    }  # fmt: skip
    assert max(took_s.values()) < 2.0


def test_the_patient_is_as_well_as_under_a_controller_that_is_always_there(path: Path) -> None:
    also = disturbances(3, SECONDS)
    ours, best = treated(path.doses, also), treated(ALWAYS, also)
    assert ours.share_pct(92, 96) >= 80
    assert ours.share_pct(92, 96) == pytest.approx(best.share_pct(92, 96), abs=1.0)
    assert ours.readings == ours.delivered == SECONDS - 20, "none lost but those that were never taken"


def test_a_controller_that_begins_anew_costs_what_its_state_was_worth(path: Path) -> None:
    around = slice(3900, 4200)
    kept = treated(path.doses, STILL).saturation_pct[around]
    lost = treated(path.doses, STILL, hands_over=False).saturation_pct[around]
    assert (kept < 92).sum() == 0
    assert (lost < 92).sum() > 10
    assert lost.min() < kept.min()


def test_the_patient_worsens_is_carried_and_recovers() -> None:
    assert shunt_at(0) == shunt_at(600) == 0.06
    assert shunt_at(1800) == pytest.approx(0.26)
    assert shunt_at(2400) == pytest.approx(0.30)
    assert shunt_at(7199) == pytest.approx(0.16)
