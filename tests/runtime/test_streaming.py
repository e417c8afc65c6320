"""Recordings played as streams on a virtual clock: what is sent is analysed, and alerts fire in time."""

import numpy as np
import pytest

from einthoven.clock import VirtualClock
from einthoven.errors import InputInvalid
from einthoven.runtime.streaming import Analysed, Player
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.testing.builders import a_recording


def ward(names: tuple[str, ...], seed: int = 1) -> dict[str, VirtualPatient]:
    return {name: VirtualPatient(seed + n, SCENES[name]) for n, name in enumerate(names)}


def play(player: Player, seconds: float) -> list[Analysed]:
    return [happening for happening in player.play(seconds) if isinstance(happening, Analysed)]


@pytest.mark.parametrize("segment_s", [2.0, 5.0, 10.0])
def test_the_demonstrations_alerts_fire_within_forty_seconds(segment_s: float) -> None:
    clock = VirtualClock()
    patients = ward(("vt_to_vf", "atrial_fibrillation", "pauses", "noise_only", "healthy"), seed=1905)
    player = Player(patients, clock, clock.advance, segment_s=segment_s)
    raised: dict[str, set[str]] = {name: set() for name in patients}
    for happening in play(player, 40):
        for change in happening.changes:
            raised[happening.patient].add(change.alert.condition)
    assert {"ventricular_fibrillation", "ventricular_tachycardia"} & raised["vt_to_vf"]
    assert "atrial_fibrillation" in raised["atrial_fibrillation"]
    assert raised["pauses"] == {"pause"}
    assert raised["noise_only"] == set()
    assert raised["healthy"] == set()
    summary = player.summary()
    assert summary.sent == summary.counts.received == summary.counts.analysed > 0
    assert summary.lost == 0


def test_segments_are_sent_when_they_are_due_and_patients_do_not_come_together() -> None:
    clock = VirtualClock()
    player = Player(ward(("healthy", "ectopy")), clock, clock.advance, segment_s=2.0)
    sent = [(happening.patient, round(happening.at_s, 1)) for happening in play(player, 7)]
    assert sent[:4] == [("healthy", 2.0), ("ectopy", 3.0), ("healthy", 4.0), ("ectopy", 5.0)]


def test_speed_makes_the_clock_run_less() -> None:
    clock = VirtualClock()
    player = Player(ward(("healthy",)), clock, clock.advance, segment_s=30.0, speed=60.0)
    assert len(play(player, 10.1)) == 20


def test_a_recording_ends_and_its_last_segment_is_short() -> None:
    clock = VirtualClock()
    recording = a_recording(seed=2, duration_s=65)
    player = Player({"p": recording}, clock, clock.advance, segment_s=30.0)
    happenings = play(player, 1000)
    assert [h.receipt.sequence for h in happenings] == [0, 1, 2]
    assert happenings[-1].receipt.findings.until == recording.info.samples


def test_the_window_shows_the_newest_signal_in_millivolts() -> None:
    clock = VirtualClock()
    patient = VirtualPatient(1, SCENES["healthy"])
    player = Player({"p": patient}, clock, clock.advance)
    play(player, 8.0)
    window = player.window("p", 6.0)
    assert window.size == 750
    np.testing.assert_allclose(window[-10:], patient.read(990, 1000)[0] / 200)


@pytest.mark.parametrize(("segment_s", "speed"), [(0.0, 1.0), (61.0, 1.0), (2.0, 0.0)])
def test_settings_out_of_range_are_refused(segment_s: float, speed: float) -> None:
    clock = VirtualClock()
    with pytest.raises(InputInvalid):
        Player({}, clock, clock.advance, segment_s=segment_s, speed=speed)


def test_no_patients_end_at_once() -> None:
    clock = VirtualClock()
    player = Player({}, clock, clock.advance)
    assert play(player, 10) == []
    assert player.summary().latency_p50_ms is None
