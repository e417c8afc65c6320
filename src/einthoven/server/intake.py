"""Between the many requests of a worker and its one engine: a bounded queue, taken in batches.

While one batch is being written, the next one gathers; so the busier the worker, the more segments share the
cost of a commit. What does not fit is refused before anything of it is accepted. Segments whose sender waits
for findings go first; those that were only to be accepted, and what is still to be analysed of them, fill the
rest.
"""

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from einthoven.clock import Clock
from einthoven.errors import DefectError, EinthovenError, Overloaded
from einthoven.server.engine import Engine, Outcome
from einthoven.server.logs import place_of
from einthoven.server.metrics import METRICS
from einthoven.server.tracing import NO_TRACES, Spans
from einthoven.server.wire import Arrival

__all__ = ["Intake", "IntakeCounts", "status_word"]

_LOG: Final = logging.getLogger("einthoven.intake")
_IDLE_S: Final = 0.5
"""How long the engine rests when nothing waits, before it looks for work that others left."""
_ENOUGH: Final = 3
"""More than so many gain little by waiting for another."""
_SHARE: Final = 4
"""Of so many batches one at least is of segments that can wait."""


class IntakeCounts(msgspec.Struct):
    """What a worker has done since it started."""

    received: int = 0
    done: int = 0
    refused: int = 0
    failed: int = 0
    batches: int = 0
    worked_off: int = 0
    busy_s: float = 0.0


class _Waiting(msgspec.Struct, eq=False):
    """One request's segments and who waits for them."""

    arrivals: Sequence[Arrival]
    future: asyncio.Future[list[Outcome]]


class Intake:
    """The queue and the thread that empties it.

    Parameters
    ----------
    engine : makes the engine, called in the thread that will use it.
    limit : most segments that may wait.
    batch : most segments in one transaction.
    gather_s : an engine that was idle waits so long for others after the first segment; a transaction of one
        costs nearly twice as much as one of three.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        clock: Clock,
        *,
        limit: int = 2048,
        batch: int = 64,
        gather_s: float = 0.0,
        spans: Spans = NO_TRACES,
    ) -> None:
        self._spans = spans
        self._make = engine
        self._clock = clock
        self._limit = limit
        self._batch = batch
        self._gather_s = gather_s
        self._urgent: deque[_Waiting] = deque()
        self._patient: deque[_Waiting] = deque()
        self._size = 0
        self._wake = threading.Condition()
        self._is_stopping = False
        self._loop = asyncio.get_running_loop()
        self.counts = IntakeCounts()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Segments that wait now."""
        return self._size

    @property
    def is_alive(self) -> bool:
        """Whether the engine still takes work."""
        return self._thread.is_alive() and not self._is_stopping

    async def submit(self, arrivals: Sequence[Arrival]) -> list[Outcome]:
        """What becomes of these segments; waits until all of them are on disk.

        Raises
        ------
        Overloaded : they do not fit; none of them was accepted.
        """
        future: asyncio.Future[list[Outcome]] = self._loop.create_future()
        with self._wake:
            if not self.is_alive:
                raise Overloaded(
                    "the service is stopping.", where="service", remedy="Send it again in a moment."
                )
            if self._size + len(arrivals) > self._limit and self._size:
                self.counts.refused += len(arrivals)
                raise Overloaded(
                    "more segments are waiting than fit.",
                    where="service",
                    remedy="Send it again in a moment.",
                )
            self._size += len(arrivals)
            self.counts.received += len(arrivals)
            queue = self._urgent if arrivals[0].mode == "answer" else self._patient
            queue.append(_Waiting(arrivals, future))
            self._wake.notify()
        return await future

    def stop(self, timeout_s: float) -> bool:
        """Finish what waits, take nothing more; whether that was done in time."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        engine = self._make()
        try:
            self._serve(engine)
        finally:
            engine.close()

    def _serve(self, engine: Engine) -> None:
        number = 0
        while True:
            requests = self._take(patient_first=number % _SHARE == _SHARE - 1)
            number += 1
            if requests:
                self._perform(engine, requests)
            if not requests or number % _SHARE == 0:
                try:
                    self.counts.worked_off += engine.work_off(self._batch)
                except EinthovenError:
                    self.counts.failed += 1
                except Exception as error:  # noqa: BLE001 - the worker lives on
                    _LOG.error("waiting segments could not be analysed", extra=place_of(error))
                    self.counts.failed += 1
            if not requests and self._is_stopping:
                return

    def _take(self, *, patient_first: bool) -> list[_Waiting]:
        queues = (self._patient, self._urgent) if patient_first else (self._urgent, self._patient)
        with self._wake:
            if not self._size and not self._is_stopping:
                self._wake.wait(_IDLE_S)
                self._wake.wait_for(self._has_enough, self._gather_s)
            taken: list[_Waiting] = []
            size = 0
            for queue in queues:
                while queue and (not taken or size + len(queue[0].arrivals) <= self._batch):
                    request = queue.popleft()
                    size += len(request.arrivals)
                    taken.append(request)
            self._size -= size
            METRICS.waiting.set(self._size)
            return taken

    def _has_enough(self) -> bool:
        return not 0 < self._size < _ENOUGH or self._is_stopping

    def _perform(self, engine: Engine, requests: list[_Waiting]) -> None:
        began_s = self._clock.now_s()
        arrivals = [arrival for request in requests for arrival in request.arrivals]
        try:
            with self._spans.batch(len(arrivals)):
                outcomes: Sequence[Outcome] = engine.process(arrivals)
        except EinthovenError as error:
            _LOG.warning("a batch was not accepted", extra={"code": error.code, "count": len(arrivals)})
            outcomes = [error] * len(arrivals)
            self.counts.failed += len(arrivals)
        except Exception as error:  # noqa: BLE001 - the worker lives on; the request gets the news
            _LOG.error("a batch failed", extra=place_of(error))
            if len(requests) > 1:  # one of them is to blame; the others are not to suffer for it
                for request in requests:
                    self._perform(engine, [request])
                return
            outcomes = [DefectError("these segments could not be processed.")] * len(arrivals)
            self.counts.failed += len(arrivals)
        spent_s = self._clock.now_s() - began_s
        self.counts.batches += 1
        self.counts.done += len(arrivals)
        self.counts.busy_s += spent_s
        METRICS.batch.observe(len(arrivals))
        METRICS.commit.observe(spent_s)
        for status, number in Counter(map(status_word, outcomes)).items():
            METRICS.segments.labels(status).inc(number)
        self._loop.call_soon_threadsafe(_answer, requests, outcomes)


def status_word(outcome: Outcome) -> str:
    """What became of a segment, as a label."""
    return "refused" if isinstance(outcome, EinthovenError) else outcome.status


def _answer(requests: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
    place = 0
    for request in requests:
        end = place + len(request.arrivals)
        if not request.future.done():
            request.future.set_result(list(outcomes[place:end]))
        place = end
