"""A Ray cluster, or those of its nodes that have a resource, as a region: each call is a task.

Ray is an extra (``einthoven[ray]``), and a process is connected to one cluster at most, which all its regions
share. The workers need this package in the version that calls them.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache, partial
from importlib.util import find_spec
from queue import SimpleQueue
from types import ModuleType
from typing import Any, Final, TypeVar

from einthoven.errors import InputInvalid
from einthoven.runtime.conducting import FunctionUnknown, InvocationBroke
from einthoven.runtime.hosted import Hosted, perform
from einthoven.runtime.region_port import Answer, Call, CallEncoding, Probed
from einthoven.workflow import Break

__all__ = ["RayRegion"]

_Found = TypeVar("_Found")
_SHARE: Final = 0.001
"""How much of its resource a call takes; the processors bound how many there are."""
_LOOK_S: Final = 1.0
_SILENT_S: Final = 5.0
_CONNECT_S: Final = 60.0
_GRACE_S: Final = 2.0
"""A task that is still there so long after it was cancelled ends with its worker."""


class RayRegion:
    """Invocations as tasks of a Ray cluster; see `RegionPort`. It belongs to one event loop.

    Parameters
    ----------
    address : of the cluster: ``host:6379``, ``ray://host:10001``, ``auto`` for the one of this machine;
        empty: one of its own, with as many processors as ``slots``, that ends with the region.
    resource : the region is the nodes that were started with this resource; None: all nodes.
    slots : calls at one time; the rest wait within their own time.
    node_ip : this machine's address as the cluster knows it, where it has several.

    Raises
    ------
    InputInvalid : Ray is not installed.
    """

    def __init__(
        self,
        hosted: Hosted,
        *,
        slots: int,
        address: str = "",
        resource: str | None = None,
        node_ip: str | None = None,
    ) -> None:
        if find_spec("ray") is None:
            raise InputInvalid(
                "a Ray region needs Ray, which is not installed.",
                where="regions",
                remedy="Run: pip install 'einthoven[ray]'.",
            )
        self._hosted = hosted
        self._address = address
        self._resource = resource
        self._count = slots
        self._slots = asyncio.Semaphore(slots)
        self._node_ip = node_ip
        self._connecting: asyncio.Future[ModuleType] | None = None
        self._remote: Any = None
        self._under_way: set[_Attempt] = set()
        self._watching: asyncio.Task[None] | None = None
        self._is_closed = False

    async def invoke(self, call: Call) -> Answer:
        """See `RegionPort`."""
        try:
            async with asyncio.timeout(call.timeout_s), self._slots:
                return await self._performed(await self._connected(), call)
        except TimeoutError:
            raise InvocationBroke("timeout", f"no answer within {call.timeout_s:g} s") from None

    async def probe(self) -> Probed:
        """See `RegionPort`; asks the cluster which nodes are alive, and no worker."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                ray = await self._connected()
            cpus = await self._live_cpus(ray)
        except TimeoutError:
            raise InvocationBroke("timeout", "the cluster does not answer") from None
        if cpus < 1:
            raise InvocationBroke("transport", "no node of the region is alive")
        return Probed(functions=self._hosted.functions, slots=min(self._count, cpus))

    async def close(self) -> None:
        """See `RegionPort`; a cluster that was there before stays."""
        if self._is_closed:
            return
        self._is_closed = True
        for attempt in tuple(self._under_way):
            self._give_up(attempt)
        self._break("the region is closed")
        if self._watching is not None:
            self._watching.cancel()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            await asyncio.wait([connecting])
            if connecting.exception() is None:
                await asyncio.wrap_future(_aside("calls").call(_release))

    async def _connected(self) -> ModuleType:
        if self._is_closed:
            raise InvocationBroke("transport", "the region is closed")
        if self._connecting is None or (self._connecting.done() and self._connecting.exception() is not None):
            hold = partial(_hold, self._address, self._node_ip, self._count)
            self._connecting = asyncio.wrap_future(_aside("calls").call(hold))
        return await asyncio.shield(self._connecting)

    async def _performed(self, ray: ModuleType, call: Call) -> Answer:
        if self._remote is None:
            wanted = {} if self._resource is None else {self._resource: _SHARE}
            self._remote = ray.remote(max_retries=0, num_cpus=1, resources=wanted, name="einthoven")(_perform)
        attempt = _Attempt(asyncio.get_running_loop())
        self._under_way.add(attempt)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch(ray))
        _aside("calls").call(partial(attempt.begin, self._remote, self._hosted, call))
        try:
            return await attempt.answer
        except asyncio.CancelledError:
            self._give_up(attempt)
            raise
        finally:
            self._under_way.discard(attempt)

    def _give_up(self, attempt: "_Attempt") -> None:
        """The worker is asked to stop; a kernel cannot be interrupted, so later it is made to."""
        _aside("calls").call(attempt.cancel)
        stop = partial(attempt.cancel, force=True)
        asyncio.get_running_loop().call_later(_GRACE_S, _aside("calls").call, stop)

    def _break(self, why: str) -> None:
        for attempt in tuple(self._under_way):
            attempt.settle(InvocationBroke("transport", why))

    async def _watch(self, ray: ModuleType) -> None:
        """Ray keeps a task waiting for ever where no node can take it, or the cluster's head is gone."""
        while self._under_way:
            await asyncio.sleep(_LOOK_S)
            try:
                if not await self._live_cpus(ray):
                    self._break("no node of the region is alive")
            except TimeoutError:
                self._break("the cluster does not answer")
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody will answer
                self._break(f"the cluster cannot be asked ({type(error).__name__})")

    async def _live_cpus(self, ray: ModuleType) -> int:
        async with asyncio.timeout(_SILENT_S):
            nodes = await asyncio.wrap_future(_aside("looks").call(ray.nodes))
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        return int(sum(has.get("CPU", 0) for has in alive if not self._resource or has.get(self._resource)))


def _perform(
    hosted: Hosted, function: str, encoding: CallEncoding, key: str, timeout_s: float, content: bytes
) -> tuple[bytes, float] | tuple[Break, str, float | None, bool]:
    """What a worker does. Nothing is raised, since Ray would print it."""
    call = Call(function=function, content=content, encoding=encoding, key=key, timeout_s=timeout_s)
    try:
        answer = perform(hosted, call)
    except InvocationBroke as broke:
        return broke.kind, broke.message, broke.retry_after_s, isinstance(broke, FunctionUnknown)
    return answer.content, answer.busy_s


class _Attempt:
    """One task, from its beginning until somebody knows how it ended. `answer` is of the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ref: Any = None
        self._is_given_up = False
        self.answer: asyncio.Future[Answer] = loop.create_future()

    def begin(self, remote: Any, hosted: Hosted, call: Call) -> None:
        """Hand it to Ray: in a thread, since large contents are copied, and a cluster may be slow."""
        if self._is_given_up:
            return
        try:
            # By itself, what is larger than 100 kB goes through shared memory.
            ref = remote.remote(hosted, call.function, call.encoding, call.key, call.timeout_s, call.content)
            self._ref = ref
            ref.future().add_done_callback(self._ended)
        except Exception as error:  # noqa: BLE001 - Ray raises what it likes
            self._tell(_why(error))

    def cancel(self, force: bool = False) -> None:
        """Nobody waits for it any more; in the thread that began it."""
        self._is_given_up = True
        ref = self._ref
        if ref is not None:
            import ray  # noqa: PLC0415 - an extra

            ray.cancel(ref, force=force)

    def settle(self, end: Answer | InvocationBroke) -> None:
        """Say how it ended; the first time counts."""
        if self.answer.done():
            return
        if isinstance(end, Answer):
            self.answer.set_result(end)
        else:
            self.answer.set_exception(end)

    def _ended(self, told: "Future[Any]") -> None:
        error = told.exception()
        self._ref = None
        if error is not None:
            self._tell(_why(error))
            return
        gave = told.result()
        if len(gave) == 2:
            self._tell(Answer(content=gave[0], busy_s=gave[1]))
        else:
            *why, is_unknown = gave
            self._tell(FunctionUnknown(gave[1]) if is_unknown else InvocationBroke(*why))

    def _tell(self, end: Answer | InvocationBroke) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.settle, end)


def _why(error: BaseException) -> InvocationBroke:
    from ray import exceptions  # noqa: PLC0415 - an extra

    lost = (
        exceptions.LocalRayletDiedError,
        exceptions.NodeDiedError,
        exceptions.ObjectLostError,
        exceptions.TaskCancelledError,
        exceptions.TaskUnschedulableError,
        exceptions.WorkerCrashedError,
        ConnectionError,
    )
    kind: Break = "transport" if isinstance(error, lost) else "server"
    return InvocationBroke(kind, f"the task was lost or could not run ({type(error).__name__})")


# -------------------------------------------------------------------- this process's connection


class _Aside:
    """A thread that calls one thing after the other, and keeps no process from ending.

    It never ends: what Ray starts is killed with the thread that started it.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def call(self, function: Callable[[], _Found]) -> "Future[_Found]":
        """What the function will give."""
        found: Future[_Found] = Future()
        self._calls.put((found, function))
        return found

    def _run(self) -> None:
        while True:
            found, function = self._calls.get()
            if not found.set_running_or_notify_cancel():
                continue
            try:
                found.set_result(function())
            except BaseException as error:  # noqa: BLE001 - whoever waits is told
                found.set_exception(error)
            del found, function


@lru_cache(maxsize=2)
def _aside(name: str) -> _Aside:
    return _Aside(f"ray-{name}")


class _Held:
    """How often the connection that we made is held; only seen in the thread ``calls``."""

    regions = 0
    address = ""


def _hold(address: str, node_ip: str | None, slots: int) -> ModuleType:
    # A process must not end because a cluster did, and nobody else is told that it is used.
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "1000000000")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # noqa: PLC0415 - an extra

    if ray.is_initialized():
        if _Held.regions and address != _Held.address:
            raise InvocationBroke("refused", "this process is connected to another Ray cluster")
        _Held.regions += bool(_Held.regions)
        return ray
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if not address:
        quiet |= {"num_cpus": slots, "include_dashboard": False}
    if node_ip is not None:
        quiet["_node_ip_address"] = node_ip
    try:
        ray.init(address=address or "local", logging_level=logging.ERROR, **quiet)
    except Exception as error:  # noqa: BLE001 - its text names addresses and passwords
        name = type(error).__name__
        raise InvocationBroke("transport", f"the Ray cluster cannot be reached ({name})") from None
    _Held.regions, _Held.address = 1, address
    return ray


def _release() -> None:
    if _Held.regions:
        _Held.regions -= 1
        if not _Held.regions:
            import ray  # noqa: PLC0415 - an extra

            ray.shutdown()
