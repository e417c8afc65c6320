"""Answers are remembered as long as was said, and no more of them than there is room for."""

from hypothesis import given
from hypothesis import strategies as st

from einthoven.clock import VirtualClock
from einthoven.runtime.kept_answers import KeptAnswers


@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3000), st.floats(0, 20)), max_size=60),
)
def test_the_newest_that_fit_are_remembered_until_their_time_is_over(
    steps: list[tuple[int, int, float]],
) -> None:
    """Against a list that is looked through from its end."""
    clock = VirtualClock()
    kept: KeptAnswers[int, int] = KeptAnswers(clock, max_bytes=5000, keep_s=30.0)
    put: list[tuple[int, int, int, float]] = []
    for number, (name, size, pause_s) in enumerate(steps):
        clock.advance(pause_s)
        kept.put(name, number, size)
        put = [one for one in put if one[0] != name]
        put.append((name, number, size + 512, clock.now_s()))
        room, remembered = 5000, {}
        for key, value, total, at_s in reversed(put):
            room -= total
            if room < 0:
                break
            if at_s + 30.0 > clock.now_s():
                remembered[key] = value
        put = put[-len(remembered) :] if remembered else []
        assert {key: kept.get(key) for key in range(6) if kept.get(key) is not None} == remembered
