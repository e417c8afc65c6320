"""What others have published, as condensed figures with their sources."""

import csv
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

__all__ = [
    "LoadTest",
    "article",
    "health_blockedge",
    "health_blockedge_continuum",
    "load_tests",
    "local_edge",
]

_HERE: Final = "einthoven.experiments.published"


class LoadTest(msgspec.Struct, frozen=True, kw_only=True):
    """One load test of Cloud Run, five minutes long."""

    length_s: int
    """ECG in each request."""
    target_per_s: float
    """Requests that were to be sent."""
    requests: int
    throughput_per_s: float
    """Answers, failures included."""
    ok_per_s: float
    error_pct: float
    p50_ms: float
    """Percentiles are over all answers."""
    p95_ms: float
    p99_ms: float
    flag: str = ""
    """Why the run is to be taken with care; empty: it is not."""

    @property
    def is_steady(self) -> bool:
        """Whether its rate means something."""
        return self.flag != "long-run"


@cache
def load_tests() -> tuple[LoadTest, ...]:
    """All of them, by length and load."""
    text = files(_HERE).joinpath("load-tests.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple(msgspec.convert(row, LoadTest, strict=False) for row in rows)


@cache
def article() -> dict[str, Any]:
    """The article's figures, by experiment."""
    return tomllib.loads(files(_HERE).joinpath("article.toml").read_text(encoding="utf-8"))


@cache
def health_blockedge() -> dict[str, Any]:
    """The study of evidence at the edge: its published ranges, and the parameters that we take for it."""
    text = files(_HERE).joinpath("health-blockedge.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def local_edge() -> dict[str, Any]:
    """The prototype of nanoservices: its published ranges, and the phases that we take for it."""
    return tomllib.loads(files(_HERE).joinpath("local-edge.toml").read_text(encoding="utf-8"))


def health_blockedge_continuum() -> str:
    """Sites and links of that study, for one patient, as a `continuum.toml`."""
    return files(_HERE).joinpath("health-blockedge-continuum.toml").read_text(encoding="utf-8")
