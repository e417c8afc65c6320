"""What a host of functions counts, in Prometheus' text format (0.0.4). Nothing of a question is in a label.

By itself: Prometheus' own client would be a tenth of the time in which a host starts.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["CONTENT_TYPE", "FUNCTION_METRICS", "FunctionMetrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class _Described(NamedTuple):
    kind: str
    about: str


FUNCTION_METRICS: Final = {
    "einthoven_function_calls_total": _Described(
        "counter", "Calls by function and what became of them: answered, replayed, or why there is no answer."
    ),
    "einthoven_function_seconds": _Described(
        "histogram", "How long functions took that were called and answered, without waiting for a slot."
    ),
    "einthoven_function_slots_busy": _Described("gauge", "Slots that are taken."),
    "einthoven_function_slots": _Described("gauge", "Slots that there are."),
}


class FunctionMetrics:
    """Of one host; each is a name of the page docs/reference/metrics.md."""

    def __init__(self, slots: int) -> None:
        self.busy = 0
        self._slots = slots
        self._calls: dict[tuple[str, str], int] = {}
        self._seconds: dict[str, list[int]] = {}
        self._sums_s: dict[str, float] = {}

    def called(self, function: str, outcome: str) -> None:
        """A call has ended; both words are of small closed sets."""
        self._calls[function, outcome] = self._calls.get((function, outcome), 0) + 1

    def took(self, function: str, busy_s: float) -> None:
        """A function was performed."""
        counts = self._seconds.setdefault(function, [0] * (len(_SECONDS) + 1))
        counts[bisect_left(_SECONDS, busy_s)] += 1
        self._sums_s[function] = self._sums_s.get(function, 0.0) + busy_s

    def exposition(self) -> bytes:
        """All of it as text."""
        lines = []
        for name, described in FUNCTION_METRICS.items():
            lines += [f"# HELP {name} {described.about}", f"# TYPE {name} {described.kind}"]
            lines += [f"{name}{said}" for said in self._samples(name)]
        return "\n".join([*lines, ""]).encode()

    def _samples(self, name: str) -> Iterator[str]:
        match name:
            case "einthoven_function_calls_total":
                for (function, outcome), count in self._calls.items():
                    yield f'{{function="{function}",outcome="{outcome}"}} {count}'
            case "einthoven_function_seconds":
                for function, counts in self._seconds.items():
                    total = 0
                    for most_s, count in zip((*map(str, _SECONDS), "+Inf"), counts, strict=True):
                        total += count
                        yield f'_bucket{{function="{function}",le="{most_s}"}} {total}'
                    yield f'_sum{{function="{function}"}} {self._sums_s[function]}'
                    yield f'_count{{function="{function}"}} {total}'
            case "einthoven_function_slots_busy":
                yield f" {self.busy}"
            case _:
                yield f" {self._slots}"
