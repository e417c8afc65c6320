"""The batch beside its peers: the same findings, and a peer that is not there has a row that says so."""

from contextlib import contextmanager

import pytest

from einthoven.errors import InputInvalid
from einthoven.experiments import peers


def test_a_peer_that_is_not_installed_has_a_row_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"nobody": ("einthoven-nobody", lambda *_: None)}
    monkeypatch.setattr(peers, "PEERS", absent)
    said: list[str] = []
    ours, nobody = peers.bench_peers(0.5, 1, said.append)
    assert (ours.ratio, ours.identical, ours.reason) == (1.0, True, None)
    assert ours.makespan_s is not None
    assert ours.makespan_s > 0
    assert (nobody.makespan_s, nobody.ratio, nobody.version) == (None, None, None)
    assert nobody.reason == "einthoven-nobody is not installed"
    assert said[0] == "starting einthoven, journaled"


def test_chunk_by_chunk_the_functions_find_what_the_workflow_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the peers call, called here."""

    @contextmanager
    def in_turn(_, recording, hours, workers):
        yield peers._timed(lambda: peers.parts_of(str(recording), hours, 0, 24))

    monkeypatch.setattr(peers, "PEERS", {"in turn": ("einthoven", in_turn)})
    _, in_turn_run = peers.bench_peers(0.5, 1, lambda _: None)
    assert in_turn_run.identical


def test_chunks_of_less_than_a_minute_are_refused() -> None:
    with pytest.raises(InputInvalid, match="at least 60 s"):
        peers.bench_peers(0.1, 1, lambda _: None)
