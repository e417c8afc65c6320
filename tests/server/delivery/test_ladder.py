"""From a sighting to somebody who answers: alerts, outbox, dispatcher and clock together, on virtual time."""

from einthoven.alerts import (
    Alert,
    AlertRules,
    Change,
    ChannelHealth,
    Contact,
    PathPolicy,
    PatientAlerts,
    Receipt,
    Rung,
    Sighting,
    acknowledge,
    delivered,
    notify,
    pass_time,
    receive,
    watch_channel,
)
from einthoven.clock import VirtualClock
from einthoven.errors import DeliveryFailed
from einthoven.server.delivery import Dispatcher, Due
from einthoven.testing.alerts import a_sighting
from einthoven.testing.loop import in_loop
from einthoven.testing.outbox import MemoryOutbox

RULES = AlertRules(
    ladder=(
        Rung((Contact("pager", "nurse"),)),
        Rung((Contact("mail", "physician"),)),
        Rung((Contact("mail", "chief"),)),
    )
)


class Recorder:
    """A channel that can be down, and remembers whom it told what."""

    def __init__(self) -> None:
        self.is_down = False
        self.told: list[tuple[str, str]] = []

    async def send(self, notification) -> Receipt:
        if self.is_down:
            raise DeliveryFailed("the receiver did not answer.")
        self.told.append((notification.address, notification.content.what))
        return Receipt(notification.id, 0, "ok")

    async def close(self) -> None:
        pass


class Ward(MemoryOutbox):
    """What the service keeps in a database: alerts, outbox and health, changed together."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.known = {patient: PatientAlerts("main", patient) for patient in ("p-1", "")}
        self.health = ChannelHealth("main", "pager")
        self.pager, self.mail = Recorder(), Recorder()
        self.dispatcher = Dispatcher(self, {"pager": self.pager, "mail": self.mail}, self.clock)

    async def sees(self, *sightings: Sighting, patient: str = "p-1") -> None:
        await self.keep(receive(self.known[patient], sightings, RULES, self.clock.utc_ns()))

    async def keep(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            patient = change.alert.patient
            self.known[patient] = self.known[patient].after((change,))
            await self.add(notify(change, RULES))

    async def done(self, due: Due, receipt: Receipt) -> None:
        await super().done(due, receipt)
        notification = due.notification
        if notification.channel == "pager":
            self.health = self.health.after_receipt(self.clock.utc_ns())
        alert = self.alert(notification.alert_id)
        at_ns = self.clock.utc_ns()
        await self.keep(delivered(alert, RULES, at_ns, rung=notification.rung, receipt=receipt.reference))

    async def failed(self, due: Due, failure, again_ns) -> None:
        await super().failed(due, failure, again_ns)
        if due.notification.channel == "pager":
            self.health = self.health.after_failure(self.clock.utc_ns())

    def alert(self, name: str) -> Alert:
        return next(one for known in self.known.values() for one in known.alerts if one.id == name)

    async def lives(self, seconds: int) -> None:
        """Second by second: the clock's steps, what is watched, deliveries."""
        for _ in range(seconds):
            at_ns = self.clock.utc_ns()
            for known in tuple(self.known.values()):
                for alert in known.alerts:
                    await self.keep(pass_time(alert, RULES, at_ns))
            whole = self.known[""]
            await self.sees(*watch_channel(whole, self.health, PathPolicy(), at_ns), patient="")
            await self.dispatcher.deliver_due()
            self.clock.advance(1)


@in_loop
async def test_nobody_answers_and_each_rung_is_told_once_in_its_time() -> None:
    ward = Ward()
    await ward.sees(a_sighting(0))
    await ward.lives(60)
    assert (ward.pager.told, ward.mail.told) == ([("nurse", "raised")], [])
    await ward.lives(60)
    assert ward.mail.told == [("physician", "escalated")]
    await ward.lives(600)
    assert ward.pager.told == [("nurse", "raised")]
    assert ward.mail.told == [("physician", "escalated"), ("chief", "escalated")]


@in_loop
async def test_somebody_answers_and_nobody_else_is_told() -> None:
    ward = Ward()
    await ward.sees(a_sighting(0))
    await ward.lives(30)
    (alert,) = ward.known["p-1"].alerts
    await ward.keep((acknowledge(alert, RULES, ward.clock.utc_ns(), by="nurse"),))
    await ward.lives(600)
    assert (ward.pager.told, ward.mail.told) == ([("nurse", "raised")], [])


@in_loop
async def test_a_rung_that_cannot_be_reached_is_left_early_and_the_broken_path_is_told() -> None:
    """No receipt within 20 s: the physician is told; that the pager is broken is told by mail."""
    ward = Ward()
    ward.pager.is_down = True
    await ward.sees(a_sighting(0))
    await ward.lives(22)
    assert ward.mail.told == [("physician", "raised"), ("physician", "escalated")]
    (broken,) = ward.known[""].alerts
    assert (broken.condition, broken.priority, broken.state.is_active) == (
        "alert_path_broken",
        "medium",
        True,
    )
    ward.pager.is_down = False
    await ward.lives(200)
    assert ward.pager.told == [("nurse", "raised")], "late, but it is told"
    assert not ward.known[""].alerts[0].state.is_active
