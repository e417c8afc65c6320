"""Silence has no beats: the most important result."""

import numpy as np

from einthoven.runtime.batch import analyse_source
from einthoven.simulation import Noise, Period, Scene, VirtualPatient


def test_no_beat_is_found_in_silence_and_each_silence_is_one_asystole() -> None:
    """Thirty patients, 40 s each, with the electrode's own noise, wander and breathing."""
    scene = Scene("a", "", (Period("sinus", 20, 60), Period("asystole", 40)), (Noise("wander", 0.06),))
    false = episodes = 0
    for seed in range(30):
        findings = analyse_source(VirtualPatient(seed, scene, duration_s=60))
        assert findings is not None
        at_s = findings.beats.positions / 125
        false += int(np.count_nonzero((at_s > 21.5) & (at_s < 60)))
        episodes += sum(episode.kind == "asystole" for episode in findings.episodes)
    assert (false, episodes) == (0, 30)
