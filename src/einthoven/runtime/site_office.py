"""Where a site manager sits: what nodes say over NATS and what people wish in the database goes to it.

Of all that share a database one at a time is in office: it holds a lease and has kept its term. Whoever finds
that its term is not the last one any more, or that its lease is over, leaves office before it says another
word. What cannot be kept is not said.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from einthoven.continuum import Tier
from einthoven.edge.matching import WhyNot
from einthoven.edge.messages import FromNode
from einthoven.edge.nanoservices import Nanoservice
from einthoven.edge.nodes import NodeLoad
from einthoven.edge.site_events import (
    Deploy,
    Drain,
    Enrol,
    Forget,
    Govern,
    Heard,
    Keep,
    ManagerCommand,
    ManagerEvent,
    NodeStanding,
    Remove,
    Scale,
    Tell,
    TellAll,
    Ticked,
)
from einthoven.edge.site_manager import SiteManager
from einthoven.edge.site_state import Happening, HappeningKind, SiteState
from einthoven.errors import EinthovenError, RecordingNotFound
from einthoven.runtime.nats_link import NatsLink, Unreached
from einthoven.runtime.nats_opening import connected
from einthoven.runtime.node_link import (
    ALL,
    ENROLS,
    MANAGER,
    PIECE_BYTES,
    JoinAnswer,
    JoinAsked,
    PieceAsked,
    opened,
    sealed,
    subject_of,
    subject_of_node,
    who_says,
)
from einthoven.storage import Connection, Database, ObjectStore
from einthoven.storage.leases import give_back, take_lease
from einthoven.storage.sites import (
    add_happenings,
    end_wish,
    forget_happenings,
    keep_site,
    node_token,
    read_site,
    remove_node_token,
    tell_status,
    waiting_wishes,
)
from einthoven.trust.policy import Policy

if TYPE_CHECKING:
    from einthoven.runtime.nats_connection import Msg, NatsConnection

__all__ = ["NodeTerms", "SiteOffice", "SiteStatus", "Wish", "program_name", "read_state"]

_LOG: Final = logging.getLogger("einthoven.nodes")
_LEASE_S: Final = 6.0
_LOOK_S: Final = 0.1
_TICK_S: Final = 0.25
_STATUS_S: Final = 0.25
_STATUS_MOST_S: Final = 10.0
"""Load alone is told no more often: what the database is on may be a memory card."""
_AGAIN_S: Final = 1.0
_FORGET_S: Final = 3600.0
_REMEMBERED_NS: Final = 90 * 24 * 3600 * 10**9
_GRAVE: Final[frozenset[HappeningKind]] = frozenset({"failed", "failing", "rolled-back", "unplaced"})
"""What somebody may want to look at."""


class NodeTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says of the node that it is for."""

    tier: Tier = "local"
    labels: tuple[str, ...] = ()


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants: exactly one of these."""

    deploy: Nanoservice | None = None
    remove: str = ""
    scale: tuple[str, int] | None = None
    drain: str = ""
    resume: str = ""
    forget: str = ""

    @property
    def event(self) -> ManagerEvent:
        """For the manager."""
        if self.deploy is not None:
            return Deploy(self.deploy)
        if self.scale is not None:
            return Scale(*self.scale)
        if self.remove:
            return Remove(self.remove)
        if self.forget:
            return Forget(self.forget)
        return Drain(self.drain or self.resume, is_draining=bool(self.drain))


class SiteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a site was lately."""

    nodes: tuple[NodeStanding, ...] = ()
    unplaced: dict[str, dict[str, WhyNot]] = {}


class _OutOfOffice(Exception):
    """Another is, or may be."""


def program_name(digest: str) -> str:
    """Under which a program lies in the object store."""
    return f"programs/{digest}"


def read_state(content: bytes) -> SiteState:
    """What a site manager kept."""
    return msgspec.msgpack.decode(content, type=SiteState)


class SiteOffice:
    """One process that is, or would be, a site's manager.

    Parameters
    ----------
    key : the site's.
    holder : this process, among those that share the database.
    policy : says what policy is in force; asked again and again. One that cannot be read changes nothing:
        what runs at a patient is not stopped for that. None: data may go anywhere.
    ready : called when it takes office.
    told : hears what happened, once it is kept.
    """

    def __init__(
        self,
        site: str,
        link: NatsLink,
        database: Database,
        store: ObjectStore,
        key: Ed25519PrivateKey,
        *,
        holder: str,
        policy: Callable[[], Policy | None] | None = None,
        ready: Callable[[], None] | None = None,
        told: Callable[[Happening], None] = lambda _: None,
    ) -> None:
        self._told = told
        self._site = site
        self._link = link
        self._database = database
        self._store = store
        self._key = key
        self._holder = holder
        self._policy_now = policy
        self._policy: Policy | None = None
        self._ready = ready
        self._job = f"site-{site}"
        self._is_stopping = asyncio.Event()
        self._connection: NatsConnection | None = None
        self._database_connection: Connection | None = None
        self._manager: SiteManager | None = None
        self._term: int | None = None
        self._held_until_s = 0.0
        self._publics: dict[str, bytes] = {}
        self._forgotten: dict[str, bytes] = {}
        """Keys of those that are still told that they belong here no more."""
        self._status = b""
        self._status_due_s = 0.0
        self._is_lost = asyncio.Event()

    def stop(self) -> None:
        """Leave office; nodes go on without."""
        self._is_stopping.set()

    async def run(self) -> None:
        """Be in office whenever nobody else is, until `stop`."""
        while not self._is_stopping.is_set():
            try:
                # Whoever reaches no server holds nobody up who does.
                reached = await self._connected()
                if reached is None:
                    break
                self._connection = reached
                with closing(self._database.connect()) as connection:
                    self._database_connection = connection
                    if self._hold():
                        await self._serve(reached)
            except _OutOfOffice:
                _LOG.info("another site manager is in office")
            except EinthovenError as error:
                _LOG.warning("the site manager failed: %s", error.what, extra={"code": error.code})
            except Unreached:
                _LOG.warning("the site manager lost its NATS servers")
            finally:
                self._manager = None
                await self._let_go()
            await self._pause(_AGAIN_S)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_stopping.wait(), seconds)

    # ---------------------------------------------------------------- being in office

    @property
    def _tables(self) -> Connection:
        assert self._database_connection is not None  # noqa: S101 - for the type checker
        return self._database_connection

    def _hold(self) -> bool:
        """Take or prolong the lease."""
        began_s = time.monotonic()
        if not take_lease(self._tables, self._job, self._holder, time.time_ns(), _LEASE_S):
            return False
        # The lease may be prolonged as late as when half of it is over.
        self._held_until_s = began_s + _LEASE_S / 2
        return True

    def _check(self) -> None:
        if time.monotonic() >= self._held_until_s and not self._hold():
            raise _OutOfOffice

    async def _serve(self, connection: "NatsConnection") -> None:
        try:
            begun = self._take_office().begin(int(time.time()))
            for command in begun:
                if isinstance(command, Keep):  # before anybody is heard
                    self._keep(command)
            subscribed = ((MANAGER, self._hear), (ENROLS, self._enrol), ("program", self._give_piece))
            for what, heard in subscribed:
                await connection.subscribe(subject_of(self._site, what), self._safely(heard))
            await connection.flush()
            await self._perform([one for one in begun if not isinstance(one, Keep)])
            if self._ready is not None:
                self._ready()
            await self._work()
        finally:
            self._manager = None
            give_back(self._tables, self._holder, self._job)

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> "NatsConnection | None":
        """None: it is to stop."""

        async def closed() -> None:
            self._is_lost.set()

        self._is_lost.clear()
        opening = asyncio.ensure_future(
            connected(self._link, name=f"einthoven-site-{self._site}", lost=lambda: None, closed=closed)
        )
        stopping = asyncio.ensure_future(self._is_stopping.wait())
        try:
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
            return opening.result() if opening.done() else None
        finally:
            stopping.cancel()
            if not opening.done():
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)

    def _take_office(self) -> SiteManager:
        with self._tables.reading() as statements:
            kept = read_site(statements, self._site)
        state = SiteState(site=self._site) if kept is None else read_state(kept.content)
        self._term = None if kept is None else kept.term
        self._look_at_policy()
        manager = self._manager = SiteManager(state, time.monotonic(), self._policy)
        self._learn_keys(state)
        self._status = b""
        return manager

    async def _work(self) -> None:
        tick_s = status_s = forget_s = 0.0
        up_s = time.monotonic()
        while not self._is_stopping.is_set():
            if self._connection is not None and self._connection.is_up:
                up_s = time.monotonic()
            if self._is_lost.is_set() or time.monotonic() - up_s > _LEASE_S:
                raise Unreached
            await self._pause(_LOOK_S)
            self._check()
            await self._grant_wishes()
            now_s = time.monotonic()
            if now_s >= tick_s:
                tick_s = now_s + _TICK_S
                if self._look_at_policy() and self._policy is not None:
                    await self._receive(Govern(self._policy))
                await self._receive(Ticked())
            if now_s >= status_s:
                status_s = now_s + _STATUS_S
                self._tell_status()
            if now_s >= forget_s:
                forget_s = now_s + _FORGET_S
                with self._tables.writing() as statements:
                    forget_happenings(statements, self._site, time.time_ns() - _REMEMBERED_NS)

    def _look_at_policy(self) -> bool:
        """Whether another one is in force."""
        found = None if self._policy_now is None else self._policy_now()
        if found is None or found == self._policy:
            return False
        self._policy = found
        return True

    async def _receive(self, event: ManagerEvent) -> None:
        if self._manager is None:
            raise _OutOfOffice
        self._check()
        await self._perform(self._manager.receive(event, time.monotonic()))

    async def _perform(self, commands: Sequence[ManagerCommand]) -> None:
        for command in commands:
            match command:
                case Keep():
                    self._keep(command)
                case Tell(node, message):
                    await self._say(subject_of_node(self._site, node), node, message)
                case TellAll(message):
                    await self._say(subject_of(self._site, ALL), ALL, message)

    async def _say(self, subject: str, to: str, message: object) -> None:
        if self._connection is not None:
            with suppress(Unreached):  # whoever does not hear it asks again
                await self._connection.publish(
                    subject, sealed(self._key, self._site, MANAGER, to, message), {}
                )

    def _keep(self, command: Keep) -> None:
        state = command.state
        with self._tables.writing() as statements:
            content = msgspec.msgpack.encode(state)
            if not keep_site(statements, self._site, self._term, state.term, content):
                self._manager = None
                raise _OutOfOffice
            add_happenings(
                statements, self._site, time.time_ns(), map(msgspec.json.encode, command.happenings)
            )
        self._term = state.term
        self._learn_keys(state)
        for one in command.happenings:
            level = logging.WARNING if one.kind in _GRAVE else logging.INFO
            _LOG.log(level, "%s", one.kind, extra=msgspec.to_builtins(one))
            self._told(one)

    def _learn_keys(self, state: SiteState) -> None:
        self._publics = {one.name: one.public for one in state.nodes}
        self._forgotten = {one.name: one.public for one in state.forgotten}

    def _tell_status(self) -> None:
        if self._manager is None or self._term is None:
            return
        status = SiteStatus(nodes=self._manager.standings(time.monotonic()), unplaced=self._manager.unplaced)
        quiet = tuple(
            msgspec.structs.replace(
                node,
                heard_s=None,
                load=NodeLoad(),
                instances=tuple(msgspec.structs.replace(one, busy=0.0) for one in node.instances),
            )
            for node in status.nodes
        )
        seen = msgspec.msgpack.encode(msgspec.structs.replace(status, nodes=quiet))
        if seen != self._status or time.monotonic() >= self._status_due_s:
            self._status, self._status_due_s = seen, time.monotonic() + _STATUS_MOST_S
            written = msgspec.msgpack.encode(status)
            with self._tables.writing() as statements:
                tell_status(statements, self._site, self._term, written, time.time_ns())

    async def _grant_wishes(self) -> None:
        with self._tables.reading() as statements:
            wishes = waiting_wishes(statements, self._site)
        for one in wishes:
            outcome = ""
            try:
                await self._receive(msgspec.msgpack.decode(one.content, type=Wish).event)
            except msgspec.MsgspecError:
                outcome = "it was written by another version"
            except EinthovenError as error:
                if error.fault != "caller":
                    raise
                outcome = str(error)
            with self._tables.writing() as statements:
                end_wish(statements, one.id, outcome)

    # ---------------------------------------------------------------- what nodes ask

    def _safely(self, heard: "Callable[[Msg], Awaitable[None]]") -> "Callable[[Msg], Awaitable[None]]":
        """Whoever is not in office any more, or cannot keep what it decides, gives up its connection."""

        async def hear(message: "Msg") -> None:
            try:
                await heard(message)
            except (_OutOfOffice, EinthovenError):
                self._manager = None
                self._is_lost.set()

        return hear

    async def _hear(self, message: "Msg") -> None:
        node = who_says(message.data)
        public = self._publics.get(node) or self._forgotten.get(node)
        if public is None:
            return
        said: FromNode | None = opened(public, self._site, node, MANAGER, message.data, FromNode)
        if said is not None:
            await self._receive(Heard(node, said))

    async def _enrol(self, message: "Msg") -> None:
        node = who_says(message.data)
        public = self._public_of_newcomer(message.data)
        if public is None or not message.reply:
            return
        asked: JoinAsked | None = opened(public, self._site, node, ENROLS, message.data, JoinAsked)
        if asked is None:
            return
        answer = await self._joined(asked)
        if self._connection is not None:
            await self._connection.publish(
                message.reply, sealed(self._key, self._site, MANAGER, node, answer), {}
            )

    @staticmethod
    def _public_of_newcomer(message: bytes) -> bytes | None:
        """It says itself what its key is; the token proves it."""
        try:
            _, content, _ = msgspec.msgpack.decode(message, type=tuple[str, bytes, bytes])
            return msgspec.msgpack.decode(content, type=JoinAsked).public
        except msgspec.MsgspecError:
            return None

    async def _joined(self, asked: JoinAsked) -> JoinAnswer:
        assert self._manager is not None  # noqa: S101
        known = next((one for one in self._manager.state.nodes if one.name == asked.node), None)
        if known is not None and known.public == asked.public:  # the answer was lost
            return JoinAnswer(public=asked.public, tier=known.tier, labels=known.labels)
        with self._tables.reading() as statements:
            token = node_token(statements, self._site, asked.token, time.time_ns())
        proven: bytes | None = opened(asked.token, self._site, asked.node, ENROLS, asked.proof, bytes)
        if token is None or token.node != asked.node or proven != asked.public:
            return JoinAnswer(public=asked.public, refused="the token is not good, or was used")
        terms = msgspec.msgpack.decode(token.content, type=NodeTerms)
        try:
            await self._receive(Enrol(asked.node, asked.public, terms.tier, terms.labels))
        except EinthovenError as error:
            if error.fault != "caller":
                raise
            return JoinAnswer(public=asked.public, refused=error.what)
        with self._tables.writing() as statements:
            remove_node_token(statements, self._site, asked.token)
        return JoinAnswer(public=asked.public, tier=terms.tier, labels=terms.labels)

    async def _give_piece(self, message: "Msg") -> None:
        node = who_says(message.data)
        public = self._publics.get(node)
        if public is None or not message.reply or self._connection is None:
            return
        asked: PieceAsked | None = opened(public, self._site, node, "program", message.data, PieceAsked)
        if asked is None or asked.offset < 0 or len(asked.program) != 2 * hashlib.sha256().digest_size:
            return
        try:
            piece = await asyncio.to_thread(
                self._store.read, program_name(asked.program), asked.offset, PIECE_BYTES
            )
        except RecordingNotFound:
            piece = b""
        except EinthovenError as error:
            _LOG.warning("a program could not be read: %s", error.what, extra={"code": error.code})
            return
        await self._connection.publish(message.reply, piece, {})
