"""A node at work: the agent's commands performed with processes, a folder and NATS.

Loaded by ``einthoven node``, which must be small: nothing here imports an array.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from einthoven.edge.agent import NodeAgent
from einthoven.edge.agent_events import (
    AgentCommand,
    AgentEvent,
    Connected,
    End,
    Fetch,
    Fetched,
    FetchFailed,
    Hold,
    KeepOrders,
    Kill,
    Leaving,
    Measured,
    Say,
    Start,
    Stop,
    TimePassed,
    Told,
)
from einthoven.edge.messages import FromManager, FromNode, Orders
from einthoven.edge.nodes import NodeDescription
from einthoven.errors import EinthovenError, TokenInvalid
from einthoven.runtime.nats_link import NatsLink, Unreached
from einthoven.runtime.nats_opening import connected
from einthoven.runtime.node_folder import Membership, NodeFolder
from einthoven.runtime.node_link import (
    ALL,
    ENROLS,
    MANAGER,
    PIECE_BYTES,
    JoinAnswer,
    JoinAsked,
    JoinToken,
    PieceAsked,
    opened,
    sealed,
    subject_of,
    subject_of_node,
)
from einthoven.runtime.node_machine import LoadMeter
from einthoven.runtime.node_processes import InstanceProcesses

if TYPE_CHECKING:
    from einthoven.runtime.nats_connection import Msg, NatsConnection

__all__ = ["NodeService", "join_site"]

_LOG: Final = logging.getLogger("einthoven.node")
_TICK_S: Final = 0.1
_MEASURE_S: Final = 1.0
_AGAIN_S: Final = 1.0
_ANSWER_S: Final = 2.0
_PIECE_ATTEMPTS: Final = 5
_PROGRAM_MAX_BYTES: Final = 256 * 2**20


async def join_site(link: NatsLink, token: JoinToken, folder: NodeFolder) -> Membership:
    """Let the site's manager know this node, once; waits until there is one.

    Raises
    ------
    TokenInvalid : the manager does not take the token.
    """
    key = folder.key()
    public = key.public_key().public_bytes_raw()
    proof = sealed(token.key, token.site, token.node, ENROLS, public)
    asked = JoinAsked(
        node=token.node, public=public, token=token.key.public_key().public_bytes_raw(), proof=proof
    )
    message = sealed(key, token.site, token.node, ENROLS, asked)
    connection = await _connected(link, token.node)
    try:
        while True:
            content = await _answer(connection, subject_of(token.site, ENROLS), message)
            answer: JoinAnswer | None = (
                None
                if content is None
                else opened(token.manager, token.site, MANAGER, token.node, content, JoinAnswer)
            )
            if answer is not None and answer.public == public:
                break
    finally:
        await connection.close()
    if answer.refused:
        raise TokenInvalid(
            f"the site manager does not take this node: {answer.refused}.",
            where="token",
            remedy="Make another with: einthoven nodes enrol NAME.",
        )
    member = Membership(
        site=token.site,
        node=token.node,
        manager=token.manager,
        tier=answer.tier,
        labels=answer.labels,
    )
    folder.join(member)
    return member


class NodeService:
    """One node.

    Parameters
    ----------
    link : nearby servers first.
    """

    def __init__(
        self, folder: NodeFolder, link: NatsLink, member: Membership, description: NodeDescription
    ) -> None:
        self._folder = folder
        self._link = link
        self._member = member
        self._description = description
        self._key: Ed25519PrivateKey = folder.key()
        self._connection: NatsConnection | None = None
        self._agent: NodeAgent | None = None
        self._processes: InstanceProcesses | None = None
        self._sealed_orders = b""
        self._outgoing: asyncio.Queue[FromNode] = asyncio.Queue()
        self._fetching: set[asyncio.Task[None]] = set()
        self._is_over = asyncio.Event()
        self._failed: Exception | None = None
        """Why it cannot go on; whoever started it is told."""
        self._gone = asyncio.Event()

    def leave(self) -> None:
        """Go, when others have taken over."""
        self._tell(Leaving())

    async def run(self, ready: Callable[[], None] | None = None) -> None:
        """Be a node until `leave` has come to its end.

        Parameters
        ----------
        ready : called when what was on disk goes on; the manager need not be there.
        """
        orders = self._folder.orders(self._member)
        processes = InstanceProcesses(self._folder, self._link, self._tell)
        self._processes = processes
        wanted = {} if orders is None else {one.id: one for one in orders.assignments}
        self._agent = NodeAgent(
            self._member.node,
            secrets.randbits(62),
            self._description,
            time.monotonic(),
            orders=orders,
            running=processes.adopt(wanted),
            programs=self._folder.programs(),
        )
        background: list[asyncio.Task[None]] = []
        over: asyncio.Task[Any] = asyncio.ensure_future(self._is_over.wait())
        try:
            self._perform(self._agent.begin(time.monotonic()))
            background += [asyncio.ensure_future(one) for one in (self._stay(), self._send(), self._tick())]
            if ready is not None:
                ready()
            await asyncio.wait((over, *background), return_when=asyncio.FIRST_COMPLETED)
            if self._failed is not None:
                raise self._failed
            for task in background:
                if task.done():
                    task.result()
            await self._say_the_last()
        finally:
            ending: tuple[asyncio.Task[Any], ...] = (over, *background, *self._fetching)
            for one in ending:
                one.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            processes.close()
            await self._let_go()

    # ---------------------------------------------------------------- the agent

    def _tell(self, event: AgentEvent) -> None:
        if self._agent is None or self._failed is not None:
            return
        try:
            self._perform(self._agent.receive(event, time.monotonic()))
        except Exception as error:  # noqa: BLE001 - the agent knows what was not done: begin anew from the disk
            self._failed = error
            self._is_over.set()

    def _perform(self, commands: Sequence[AgentCommand]) -> None:
        assert self._processes is not None  # noqa: S101 - for the type checker
        for command in commands:
            match command:
                case Say(message):
                    self._outgoing.put_nowait(message)
                case KeepOrders():
                    self._folder.keep_orders(self._sealed_orders)
                case Fetch(program):
                    task = asyncio.ensure_future(self._fetch(program))
                    self._fetching.add(task)
                    task.add_done_callback(self._fetching.discard)
                case Start(assignment):
                    _LOG.info("start", extra={"service": assignment.service.name, "id": assignment.id})
                    self._processes.start(assignment)
                case Hold(id_, until_s):
                    self._processes.hold(id_, until_s)
                case Stop(id_):
                    self._processes.stop(id_)
                case Kill(id_):
                    self._processes.kill(id_)
                case End():
                    self._is_over.set()

    async def _tick(self) -> None:
        meter, measured_s = LoadMeter(), time.monotonic()
        assert self._processes is not None  # noqa: S101 - for the type checker
        while True:
            await asyncio.sleep(_TICK_S)
            self._processes.look()
            now_s = time.monotonic()
            if now_s - measured_s >= _MEASURE_S:
                measured_s = now_s
                self._tell(Measured(meter.load(), self._processes.busy()))
            self._tell(TimePassed())

    # ---------------------------------------------------------------- the manager

    async def _stay(self) -> None:
        """Hear the manager, and again whenever the servers have closed the connection for good."""
        while True:
            self._gone.clear()
            try:
                connection = await _connected(self._link, self._member.node, self._closed)
                self._connection = connection
                site = self._member.site
                await connection.subscribe(subject_of_node(site, self._member.node), self._hear)
                await connection.subscribe(subject_of(site, ALL), self._hear_all)
                await connection.flush()
                self._tell(Connected())
                await self._gone.wait()
            except (Unreached, EinthovenError) as error:
                _LOG.warning("the NATS servers refuse this node (%s)", type(error).__name__)
            await self._let_go()
            await asyncio.sleep(_AGAIN_S)

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _closed(self) -> None:
        self._gone.set()

    async def _hear(self, message: "Msg") -> None:
        self._take(message.data, self._member.node)

    async def _hear_all(self, message: "Msg") -> None:
        self._take(message.data, ALL)

    def _take(self, message: bytes, to: str) -> None:
        said: FromManager | None = opened(
            self._member.manager, self._member.site, MANAGER, to, message, FromManager
        )
        if said is None:
            return
        if isinstance(said, Orders):
            self._sealed_orders = message
        self._tell(Told(said))

    async def _send(self) -> None:
        while True:
            await self._publish(await self._outgoing.get())

    async def _publish(self, message: FromNode) -> None:
        if self._connection is None:
            return
        content = sealed(self._key, self._member.site, self._member.node, MANAGER, message)
        with suppress(Unreached):  # it is said again
            await self._connection.publish(subject_of(self._member.site, MANAGER), content, {})

    async def _say_the_last(self) -> None:
        while not self._outgoing.empty():
            await self._publish(self._outgoing.get_nowait())
        if self._connection is not None:
            with suppress(Unreached):
                await self._connection.flush()

    # ---------------------------------------------------------------- programs

    async def _fetch(self, program: str) -> None:
        try:
            content = await self._brought(program)
            is_right = content is not None and self._folder.keep_program(program, content)
        except EinthovenError as error:
            self._tell(FetchFailed(program, error.what))
            return
        if is_right:
            self._tell(Fetched(program))
        else:
            self._tell(FetchFailed(program, "its program could not be brought"))

    async def _brought(self, program: str) -> bytes | None:
        pieces: list[bytes] = []
        offset = 0
        while offset <= _PROGRAM_MAX_BYTES:
            piece = await self._piece(PieceAsked(program=program, offset=offset))
            if piece is None:
                return None
            pieces.append(piece)
            offset += len(piece)
            if len(piece) < PIECE_BYTES:
                return b"".join(pieces)
        return None

    async def _piece(self, asked: PieceAsked) -> bytes | None:
        message = sealed(self._key, self._member.site, self._member.node, "program", asked)
        for _ in range(_PIECE_ATTEMPTS):
            connection = self._connection
            if connection is None:
                return None
            answer = await _answer(connection, subject_of(self._member.site, "program"), message)
            if answer is not None:
                return answer
        return None


async def _connected(
    link: NatsLink, node: str, closed: Callable[[], Awaitable[None]] | None = None
) -> "NatsConnection":
    async def nothing() -> None:
        """It is tried again by whoever waits."""

    return await connected(
        link,
        name=f"einthoven-node-{node}",
        lost=lambda: None,
        closed=closed or nothing,
    )


async def _answer(connection: "NatsConnection", subject: str, message: bytes) -> bytes | None:
    """What is answered to a question; None if nothing is, for a while."""
    answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def hear(found: "Msg") -> None:
        is_nobody = not found.data and bool(found.headers) and "Status" in (found.headers or {})
        if not is_nobody and not answered.done():
            answered.set_result(found.data)

    inbox = connection.new_inbox()
    try:
        subscription = await connection.subscribe(inbox, hear)
        await connection.publish(subject, message, {}, inbox)
        return await asyncio.wait_for(answered, _ANSWER_S)
    except TimeoutError:
        return None
    except Unreached:
        await asyncio.sleep(_AGAIN_S)
        return None
    finally:
        with suppress(Unreached, UnboundLocalError):
            await connection.drain(subscription)
