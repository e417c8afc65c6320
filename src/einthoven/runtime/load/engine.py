"""The engine: performs requests over keep-alive connections, and believes no answer that it has not read.

Open loop: each request is sent when the plan says, whatever became of those before, and its latency counts
from that moment, so that a service that stalls is charged for everybody who had to wait (G. Tene,
"coordinated omission"). Closed loop: each connection sends the next request as soon as it has an answer.

Segments of one device stay in order: a request waits until those before it that carry the same device have
their final answers. A request that found no answer, or was told to come later, is sent again with the same
sequence numbers, until the run ends; the service sees from them what it has already.
"""

import asyncio
import gc
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator
from itertools import chain
from typing import Final

from einthoven.errors import DestinationUnavailable
from einthoven.runtime.load.answers import judge, oddity, read_answers, read_full, read_problem
from einthoven.runtime.load.connection import Connection
from einthoven.runtime.load.deliveries import Bodies, Delivery, Request
from einthoven.runtime.load.histogram import Histogram
from einthoven.runtime.load.report import Counts, Report, Second
from einthoven.runtime.load.target import Target

__all__ = ["LoadRun", "Watch"]

Watch = Callable[[Second, Counts], None]

_AT_ONCE: Final = 500
"""Requests admitted before answers are read again."""
_TICK_S: Final = 0.001
"""The event loop's timers go by milliseconds."""
_SWEEP_S: Final = 0.1
_LEAVE_S: Final = 0.5
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 5.0
_LONGEST_RETRY_AFTER_S: Final = 60.0
_OK: Final = (200, 202, 207)
_LATER: Final = (429, 503)


class _Pending:
    """A request on its way."""

    __slots__ = ("attempts", "blocked", "deliveries", "due_s", "sent_s")

    def __init__(self, due_s: float, deliveries: tuple[Delivery, ...]) -> None:
        self.due_s = due_s
        self.deliveries = deliveries
        self.blocked = 0
        self.attempts = 0
        self.sent_s = 0.0


class LoadRun:
    """One run; `perform` it once.

    Parameters
    ----------
    requests : in the order in which they are due.
    watch : told every second.
    backlog : requests held in memory at once; more stay in the plan, and their latency goes on counting.
    """

    def __init__(
        self,
        target: Target,
        requests: Iterator[Request],
        bodies: Bodies,
        watch: Watch | None = None,
        *,
        backlog: int = 20_000,
    ) -> None:
        self._target = target
        self._requests = requests
        self._bodies = bodies
        self._watch = watch
        self._backlog = backlog
        self._next: Request | None = None
        self._heads: dict[str | None, bytes] = {}
        self._queues: dict[int, deque[_Pending] | None] = {}
        """The devices of admitted requests, and who waits for each."""
        self._ready: deque[_Pending] = deque()
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._opening = 0
        self._in_flight: dict[Connection, _Pending] = {}
        self._outstanding = 0
        self._is_held = False
        self._is_over = False
        self._is_stopped = False
        self._ends_s = math.inf if target.duration_s is None else target.duration_s
        """When everything should have been sent."""
        self._connect_pause_s = 0.0
        self._began_s = 0.0
        self._ended_s = 0.0
        self._cpu_s = 0.0
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._done = asyncio.Event()
        self._tls = target.tls()
        self._count: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._latency, self._service, self._lag = Histogram(), Histogram(), Histogram()
        self._this_second = Histogram()
        self._second_from = (0, 0, 0)
        self._timeline: list[Second] = []
        self._bytes_sent = 0
        self._bytes_received = 0
        self._answers_seen = 0

    # The run as a whole.

    async def perform(self) -> Report:
        """Send everything and wait for the answers.

        Raises
        ------
        DestinationUnavailable : nobody answers there at the start.
        """
        self._loop = asyncio.get_running_loop()
        self._idle.append(await self._first_connection())
        await asyncio.gather(*(self._open() for _ in range(self._target.connections - 1)))
        gc.collect()
        gc.freeze()
        self._began_s, self._cpu_s = time.perf_counter(), time.process_time()
        if not self._is_stopped:
            self._next = next(self._requests, None)
        sweeper = asyncio.create_task(self._sweep())
        try:
            self._pump()
            await self._done.wait()
        finally:
            sweeper.cancel()
            self._ended_s = time.perf_counter()
            self._cpu_s = time.process_time() - self._cpu_s
            gc.unfreeze()
            if self._timer is not None:
                self._timer.cancel()
            for task in self._tasks:
                task.cancel()
            await self._close()
        self._count_unsent()
        self._tell_second()
        return self.report()

    async def _close(self) -> None:
        """Take leave of the service; over TLS that takes a while."""
        for connection in tuple(self._all):
            connection.close()
        until_s = self.now_s() + _LEAVE_S
        while self._all and self.now_s() < until_s:
            await asyncio.sleep(_TICK_S)
        for connection in tuple(self._all):
            connection.abort("closed")

    def stop(self) -> None:
        """Send nothing more; wait for answers. A second call ends at once."""
        if self._is_stopped:
            self._done.set()
        self._is_stopped = True
        self._next = None
        self._end_schedule()

    def now_s(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._began_s

    def counts(self) -> Counts:
        """So far."""
        return Counts(**self._count)

    def report(self) -> Report:
        """How it went."""
        counts = self.counts()
        elapsed_s = max((self._ended_s or time.perf_counter()) - self._began_s, 1e-6)
        segments = counts.answered + counts.repeats
        return Report(
            destination=self._target.destination,
            mode="closed" if self._target.is_closed else "open",
            encoding=self._target.encoding,
            connections=self._target.connections,
            elapsed_s=round(elapsed_s, 3),
            counts=counts,
            lost=counts.lost,
            is_whole=counts.lost == 0 and counts.wrong == 0 and counts.odd == 0,
            errors=dict(sorted(self._errors.items())),
            sent_per_s=round((counts.sent + counts.repeats) / elapsed_s, 1),
            answered_per_s=round(segments / elapsed_s, 1),
            latency_ms=self._latency.percentiles_ms(),
            service_ms=self._service.percentiles_ms(),
            send_lag_ms=self._lag.percentiles_ms(),
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received + sum(one.bytes_received for one in self._all),
            cpu_us_per_segment=round(1e6 * self._cpu_s / segments, 1) if segments else None,
            timeline=tuple(self._timeline),
        )

    # The schedule.

    def _pump(self) -> None:
        """Admit what is due, and come again when the next is."""
        self._timer = None
        if self._target.is_closed:
            self._refill()
            self._dispatch()
            return
        now_s = self.now_s()
        for _ in range(_AT_ONCE):
            request = self._next
            if request is None:
                self._end_schedule()
                break
            if request.due_s > now_s:
                delay_s = max(_TICK_S, request.due_s - now_s)
                self._timer = self._loop.call_later(delay_s, self._pump)
                break
            if self._outstanding >= self._backlog:
                self._is_held = True
                break
            self._admit(request.due_s, request.deliveries)
            self._next = next(self._requests, None)
        else:
            self._timer = self._loop.call_soon(self._pump)
        self._dispatch()

    def _refill(self) -> None:
        """Closed loop: as many requests as connections."""
        while self._outstanding < self._target.connections and not self._is_over:
            now_s = self.now_s()
            limit_s = self._target.duration_s
            if self._next is None or (limit_s is not None and now_s >= limit_s):
                self._next = None
                self._end_schedule()
                return
            self._admit(now_s, self._next.deliveries)
            self._next = next(self._requests, None)

    def _end_schedule(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._ends_s = self.now_s()
        if not self._outstanding:
            self._done.set()

    def _count_unsent(self) -> None:
        """What was due and never sent, because the service was too slow; a closed loop has no end of it."""
        if not self._is_stopped and not self._target.is_closed and self._next is not None:
            for request in chain((self._next,), self._requests):
                self._count["planned"] += sum(one.kind != "repeat" for one in request.deliveries)

    def _admit(self, due_s: float, deliveries: tuple[Delivery, ...]) -> None:
        pending = _Pending(due_s, deliveries)
        self._outstanding += 1
        queues = self._queues
        for device in {one.stream for one in deliveries} if len(deliveries) > 1 else (deliveries[0].stream,):
            if device in queues:
                waiting = queues[device]
                if waiting is None:
                    waiting = queues[device] = deque()
                waiting.append(pending)
                pending.blocked += 1
            else:
                queues[device] = None
        for one in deliveries:
            if one.kind != "repeat":
                self._count["planned"] += 1
        if not pending.blocked:
            self._ready.append(pending)

    def _release(self, deliveries: tuple[Delivery, ...], still: tuple[Delivery, ...] = ()) -> None:
        """These have their final answers: who waited for their devices may go, but for those of ``still``."""
        queues = self._queues
        devices = {one.stream for one in deliveries} if len(deliveries) > 1 else (deliveries[0].stream,)
        if still:
            devices = set(devices) - {one.stream for one in still}
        for device in devices:
            waiting = queues[device]
            if not waiting:
                del queues[device]
                continue
            following = waiting.popleft()
            following.blocked -= 1
            if not following.blocked:
                self._ready.append(following)

    # Sending.

    def _dispatch(self) -> None:
        idle, ready = self._idle, self._ready
        while ready and idle:
            connection = idle.popleft()
            if connection in self._all and not connection.is_ending:
                self._send(connection, ready.popleft())
        if ready and not idle:
            missing = self._target.connections - len(self._all) - self._opening
            for _ in range(min(missing, len(ready) - self._opening)):
                self._start(self._open())

    def _send(self, connection: Connection, pending: _Pending) -> None:
        deliveries = pending.deliveries
        token = self._bodies.token(deliveries[0])
        head = self._heads.get(token)
        if head is None:
            head = self._heads[token] = self._target.head(self._bodies.media_type, token)
        body = self._bodies.body(deliveries)
        content = b"%b%d\r\n\r\n%b" % (head, len(body), body)
        now_s = pending.sent_s = self.now_s()
        if not pending.attempts:
            if self._target.is_closed:
                pending.due_s = now_s  # it waited for its turn, not for the service
            self._lag.record(now_s - pending.due_s, len(deliveries))
            for one in deliveries:
                if one.kind != "repeat":
                    self._count["sent"] += 1
        else:
            self._count["retries"] += 1
        pending.attempts += 1
        self._bytes_sent += len(content)
        self._in_flight[connection] = pending
        connection.send(content)

    def _again(self, pending: _Pending, after_s: float) -> None:
        """Send it again after a while; its devices wait."""
        self._loop.call_later(max(after_s, _TICK_S), self._ready_again, pending)

    def _ready_again(self, pending: _Pending) -> None:
        self._ready.appendleft(pending)
        self._dispatch()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> Connection:
        async with asyncio.timeout(self._target.timeout_s):
            _, connection = await self._loop.create_connection(
                lambda: Connection(self), self._target.host, self._target.port, ssl=self._tls
            )
        self._all.add(connection)
        return connection

    async def _first_connection(self) -> Connection:
        try:
            return await self._connect()
        except OSError as error:
            raise DestinationUnavailable(
                f"nobody takes connections there ({type(error).__name__}).",
                where=self._target.destination,
                remedy="Start the service, or correct the address.",
            ) from error

    async def _open(self) -> None:
        """One more connection; after a failure the next attempt waits longer and longer."""
        self._opening += 1
        try:
            await asyncio.sleep(self._connect_pause_s)
            connection = await self._connect()
        except OSError:
            self._errors["connect"] += 1
            self._connect_pause_s = min(max(2 * self._connect_pause_s, _FIRST_PAUSE_S), 1.0)
        else:
            self._connect_pause_s = 0.0
            self._idle.append(connection)
        finally:
            self._opening -= 1
        if self._began_s:
            self._dispatch()

    # Answers.

    def answered(self, connection: Connection) -> None:
        """See `Owner`: read the answer, and send what is next."""
        pending = self._in_flight.pop(connection)
        self._idle.append(connection)
        status, body = connection.status, connection.body
        if status in _OK:
            self._read(pending, body)
        elif status in _LATER:
            self._errors[f"status-{status}"] += 1
            self._again(pending, _seconds(connection.retry_after))
        elif status >= 500:
            self._errors[f"status-{status}"] += 1
            self._again(pending, _pause_s(pending.attempts))
        else:
            problem = read_problem(body, self._target.encoding)
            code = problem.code if problem.code != "unknown" else f"status-{status}"
            for one in pending.deliveries:
                self._finish(one, "refused", f"refused-{code}")
            self._conclude(pending, pending.deliveries)
        if self._target.is_closed:
            self._refill()
        elif self._is_held and self._outstanding <= self._backlog // 2:
            self._is_held = False
            self._pump()
        self._dispatch()

    def _read(self, pending: _Pending, body: bytes) -> None:
        deliveries, encoding = pending.deliveries, self._target.encoding
        items = read_answers(body, encoding, len(deliveries))
        if items is None:
            for one in deliveries:
                self._finish(one, "wrong", "wrong-body")
            self._conclude(pending, deliveries)
            return
        is_resent, may_accept = pending.attempts > 1, self._target.prefers_async
        final, again = [], []
        for item, one in zip(items, deliveries, strict=True):
            verdict = judge(item, one, self._bodies.sequence(one), is_resent=is_resent, may_accept=may_accept)
            if verdict.outcome == "again":
                again.append(one)
                self._errors[verdict.error] += 1
            else:
                final.append(one)
                self._finish(one, verdict.outcome, verdict.error)
        self._answers_seen += 1
        if self._answers_seen % self._target.check_every == 0:
            self._look_closely(body, len(deliveries))
        if final:
            self._conclude(pending, tuple(final), tuple(again))
        if again:
            pending.deliveries = tuple(again)
            self._again(pending, _pause_s(pending.attempts))

    def _look_closely(self, body: bytes, count: int) -> None:
        answers = read_full(body, self._target.encoding, count)
        self._count["checked"] += count
        if answers is None:
            self._count["odd"] += count
            self._errors["odd-shape"] += count
            return
        for answer in answers:
            found = oddity(answer) if answer is not None else ""
            if found:
                self._count["odd"] += 1
                self._errors[f"odd-{found}"] += 1

    def _finish(self, delivery: Delivery, outcome: str, error: str) -> None:
        """One delivery has its final answer."""
        count = self._count
        if error:
            self._errors[error] += 1
        if delivery.kind == "repeat":
            count["repeats" if outcome in ("duplicate", "late", "accepted", "analysed") else "wrong"] += 1
            return
        count["answered"] += 1
        if outcome == "analysed":
            count["analysed"] += 1
        else:
            count[_COUNTERS[outcome]] += 1

    def _conclude(
        self, pending: _Pending, final: tuple[Delivery, ...], still: tuple[Delivery, ...] = ()
    ) -> None:
        """Count the time of deliveries that are done, and let the next go."""
        now_s = self.now_s()
        self._latency.record(now_s - pending.due_s, len(final))
        self._this_second.record(now_s - pending.due_s, len(final))
        self._service.record(now_s - pending.sent_s, len(final))
        self._release(final, still)
        if not still:
            self._outstanding -= 1
            if self._is_over and not self._outstanding:
                self._done.set()

    def broken(self, connection: Connection, reason: str) -> None:
        """See `Owner`: what was on its way is sent again on another connection."""
        self._all.discard(connection)
        self._bytes_received += connection.bytes_received
        pending = self._in_flight.pop(connection, None)
        if pending is not None and not self._done.is_set():
            self._errors[reason] += 1
            self._again(pending, _pause_s(pending.attempts))

    # Time.

    async def _sweep(self) -> None:
        """Give up connections that do not answer; tell each second; end the wait for the last answers."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now_s = self.now_s()
            for connection, pending in tuple(self._in_flight.items()):
                if now_s - pending.sent_s > self._target.timeout_s:
                    connection.abort("timeout")
            if int(now_s) > len(self._timeline):
                self._tell_second()
            if self._target.is_closed and not self._is_over:
                self._refill()
            if now_s - self._ends_s > self._target.drain_s:
                self._done.set()

    def _tell_second(self) -> None:
        counts = self.counts()
        now = (
            counts.sent + counts.repeats,
            counts.answered + counts.repeats,
            sum(self._errors.values()),
        )
        sent, answered, errors = (a - b for a, b in zip(now, self._second_from, strict=True))
        self._second_from = now
        spread = self._this_second.percentiles_ms()
        second = Second(
            at_s=len(self._timeline) + 1,
            sent=sent,
            answered=answered,
            errors=errors,
            waiting=max(0, counts.planned - counts.answered),
            p50_ms=spread.p50,
            p99_ms=spread.p99,
        )
        self._this_second = Histogram()
        self._timeline.append(second)
        if self._watch is not None:
            self._watch(second, counts)


_COUNTERS: Final = {
    "accepted": "accepted",
    "duplicate": "duplicates",
    "late": "late",
    "refused": "refused",
    "wrong": "wrong",
}


def _pause_s(attempts: int) -> float:
    return min(_FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 10), _LONGEST_PAUSE_S)


def _seconds(retry_after: bytes) -> float:
    """What Retry-After asks for; a second when it gives no number."""
    try:
        return min(max(float(retry_after), 0.0), _LONGEST_RETRY_AFTER_S)
    except ValueError:
        return 1.0
