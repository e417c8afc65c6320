"""Webhooks reach a real receiver, signed; what goes wrong there is tried again, and goes nowhere else."""

import ipaddress
import json
import pickle
import socket
import ssl

import msgspec
import pytest
import standardwebhooks
import trustme
from hypothesis import given
from hypothesis import strategies as st

from einthoven.alerts import AlertRules, Contact, DeliveryPolicy, Notification, Rung, notify
from einthoven.clock import SystemClock, VirtualClock
from einthoven.errors import DeliveryFailed, InputInvalid
from einthoven.server.delivery import Dispatcher
from einthoven.server.delivery.addresses import AddressGuard
from einthoven.server.delivery.webhook import WebhookChannel
from einthoven.server.delivery.webhook_signing import new_secret, sign_webhook, verify_webhook
from einthoven.testing.alerts import a_raised_alert
from einthoven.testing.loop import in_loop
from einthoven.testing.outbox import MemoryOutbox, a_notification
from einthoven.testing.receivers import HANGS, WebhookReceiver, a_webhook_receiver

HERE = AddressGuard.of_this_machine()
SECOND_NS = 1_000_000_000


def an_alert_for(url: str) -> Notification:
    rules = AlertRules(ladder=(Rung((Contact("webhook", url),)),))
    (notification,) = notify(a_raised_alert(rules, at_s=15), rules)
    return notification


def a_free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Ward:
    """An outbox, a dispatcher and a webhook channel on a clock that moves when it is told to."""

    def __init__(
        self, receiver: WebhookReceiver, *, timeout_s: float = 5.0, tls=None, **policy: float
    ) -> None:
        self.clock = VirtualClock(1_700_000_000 * SECOND_NS)
        self.outbox = MemoryOutbox()
        self.channel = WebhookChannel(self.clock, receiver.secrets, guard=HERE, tls=tls)
        self.dispatcher = Dispatcher(
            self.outbox,
            {"webhook": self.channel},
            self.clock,
            policy=DeliveryPolicy(jitter=0, **policy),
            timeout_s=timeout_s,
        )

    async def sends(self, url: str, name: str = "1") -> None:
        content = an_alert_for(url).content
        made_ns = self.clock.utc_ns()
        await self.outbox.add([a_notification(name, address=url, content=content, created_ns=made_ns)])
        await self.dispatcher.deliver_due()

    async def waits(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.dispatcher.deliver_due()

    @property
    def reasons(self) -> list[str]:
        return [failure.reason for failure in self.outbox.failures]


@in_loop
async def test_a_receiver_gets_a_signed_cloud_event_about_a_pseudonym() -> None:
    async with a_webhook_receiver() as receiver:
        channel = WebhookChannel(SystemClock(), receiver.secrets, guard=HERE, source="/ward")
        notification = an_alert_for(receiver.url)
        receipt = await channel.send(notification)
        await channel.close()
    assert (receipt.notification_id, receipt.reference) == (notification.id, "HTTP 200")
    (event,) = receiver.events
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": notification.id,
        "source": "/ward",
        "type": "einthoven.alert.raised.v1",
        "time": "1970-01-01T00:00:15.000Z",
        "datacontenttype": "application/json",
        "subject": "p-1",
        "partitionkey": notification.alert_id,
        "sequence": "000001",
    }
    assert data["kind"] == "alert"
    assert (data["condition"], data["mark"], data["isTechnical"]) == ("asystole", "***", False)
    assert (data["onset"], data["end"]) == ("1970-01-01T00:00:10.000Z", None)


@in_loop
async def test_a_receiver_that_fails_is_tried_again_after_longer_and_longer_waits() -> None:
    async with a_webhook_receiver() as receiver:
        ward = Ward(receiver)
        receiver.behaviours = [500, 503, 302]
        await ward.sends(receiver.url)
        for wait_s in (1, 2, 4):
            await ward.waits(wait_s - 0.01)
            await ward.waits(0.01)
        await ward.channel.close()
    assert receiver.ids == ["msg_1"] * 4
    assert receiver.taken == ["msg_1"]
    assert ward.reasons == [f"the receiver answered {status}." for status in (500, 503, 302)]
    assert [receipt.reference for receipt in ward.outbox.receipts] == ["HTTP 200"]


@in_loop
async def test_a_receiver_that_hangs_is_given_up_for_now() -> None:
    async with a_webhook_receiver() as receiver:
        ward = Ward(receiver, timeout_s=0.1)
        receiver.behaviours = [HANGS]
        await ward.sends(receiver.url)
        assert ward.reasons == ["no answer within 0.1 s"]
        await ward.waits(1)
        await ward.channel.close()
    assert receiver.taken == ["msg_1"]


@in_loop
async def test_the_channels_own_time_out_is_a_failure_too() -> None:
    async with a_webhook_receiver() as receiver:
        receiver.behaviours = [HANGS]
        channel = WebhookChannel(SystemClock(), receiver.secrets, guard=HERE, timeout_s=0.1)
        with pytest.raises(DeliveryFailed, match="did not answer"):
            await channel.send(an_alert_for(receiver.url))
        await channel.close()


@in_loop
async def test_a_receiver_that_is_down_gets_everything_when_it_is_up_in_order() -> None:
    port = a_free_port()
    receiver = WebhookReceiver()
    url = f"http://127.0.0.1:{port}/hook"
    ward = Ward(receiver)
    lane = {
        "alert_id": "alt_9",
        "address": url,
        "content": an_alert_for(url).content,
        "created_ns": ward.clock.utc_ns(),
    }
    await ward.outbox.add([a_notification(str(n), step=n, **lane) for n in range(1, 4)])
    await ward.dispatcher.deliver_due()
    await ward.waits(1)
    assert ward.reasons == ["the receiver did not answer (ClientConnectorError)."] * 2
    async with a_webhook_receiver(receiver, port=port):
        await ward.waits(2)
        await ward.channel.close()
    assert receiver.taken == ["msg_1", "msg_2", "msg_3"]
    assert len(ward.outbox.receipts) == 3


@in_loop
async def test_what_is_never_taken_becomes_a_dead_letter_that_says_why() -> None:
    async with a_webhook_receiver() as receiver:
        ward = Ward(receiver, give_up_s=10)
        receiver.behaviours = [500] * 20
        await ward.sends(receiver.url)
        for _ in range(20):
            await ward.waits(1)
        await ward.channel.close()
    (letter,) = await ward.outbox.dead_letters("main")
    assert (letter.attempts, letter.failure.reason) == (4, "the receiver answered 500.")
    assert receiver.ids == ["msg_1"] * 4


@in_loop
async def test_gone_is_for_good_and_too_many_requests_for_as_long_as_it_says() -> None:
    async with a_webhook_receiver() as receiver:
        ward = Ward(receiver)
        receiver.behaviours = [410, 429]
        receiver.answers = {"retry-after": "Tue, 14 Nov 2023 22:14:00 GMT"}
        await ward.sends(receiver.url, "gone")
        await ward.sends(receiver.url, "busy")
        assert [one.notification.id for one in await ward.outbox.dead_letters("main")] == ["msg_gone"]
        await ward.waits(39)
        assert receiver.taken == []
        await ward.waits(1)
        await ward.channel.close()
    assert receiver.taken == ["msg_busy"]


@in_loop
async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with a_webhook_receiver(tls=tls) as receiver:
        wary, knowing = Ward(receiver), Ward(receiver, tls=trusting)
        await wary.sends(receiver.url)
        assert wary.reasons == ["the receiver's certificate is not valid."]
        assert receiver.ids == []
        await knowing.sends(receiver.url)
        assert receiver.taken == ["msg_1"]
        await wary.channel.close()
        await knowing.channel.close()


@in_loop
async def test_a_certificate_of_another_host_is_refused() -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("other.example").configure_cert(tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with a_webhook_receiver(tls=tls) as receiver:
        ward = Ward(receiver, tls=trusting)
        await ward.sends(receiver.url)
        assert ward.reasons == ["the receiver's certificate is not valid."]
        await ward.channel.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/hook",
        "https://127.0.0.1/hook",
        "https://[::1]/hook",
        "https://[::ffff:10.0.0.1]/hook",
        "https://[64:ff9b::10.0.0.1]/hook",
        "https://[2002:a00:1::]/hook",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest/meta-data",
        "https://192.168.0.1",
        "https://0.0.0.0/",
        "https://[fd00::1]/",
        "https://224.0.0.1/",
        "https://user:word@example.org/",
        "https://example.org:99999/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://",
        "",
        "nonsense",
    ],
)
@in_loop
async def test_the_services_own_network_is_out_of_bounds(url: str) -> None:
    channel = WebhookChannel(SystemClock(), lambda _org, _url: (new_secret(),))
    with pytest.raises(DeliveryFailed) as caught:
        await channel.send(an_alert_for(url))
    assert caught.value.is_permanent
    await channel.close()


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.0.0.1"])
@in_loop
async def test_a_name_that_leads_inside_is_not_followed(host: str) -> None:
    """Whatever the name says, it is the address that is connected to that counts."""
    async with a_webhook_receiver() as receiver:
        url = receiver.url.replace("127.0.0.1", host)
        guard = AddressGuard(allows_http=True)
        channel = WebhookChannel(SystemClock(), receiver.secrets, guard=guard)
        with pytest.raises(DeliveryFailed):
            await channel.send(an_alert_for(url))
        await channel.close()
    assert receiver.ids == []


@in_loop
async def test_a_name_that_leads_to_a_network_that_is_allowed_is_followed() -> None:
    async with a_webhook_receiver() as receiver:
        channel = WebhookChannel(SystemClock(), receiver.secrets, guard=HERE)
        await channel.send(an_alert_for(receiver.url.replace("127.0.0.1", "localhost")))
        await channel.close()
    assert len(receiver.taken) == 1


@given(st.ip_addresses())
def test_only_public_addresses_are_allowed_unless_named(address) -> None:
    if AddressGuard().allows(str(address)):
        assert address.is_global
    assert AddressGuard([str(ipaddress.ip_network(address))]).allows(str(address)) or address.version == 6


@in_loop
async def test_a_receiver_without_a_secret_gets_nothing() -> None:
    async with a_webhook_receiver() as receiver:
        channel = WebhookChannel(SystemClock(), lambda _org, _url: (), guard=HERE)
        with pytest.raises(DeliveryFailed, match="no signing secret"):
            await channel.send(an_alert_for(receiver.url))
        await channel.close()
    assert receiver.ids == []


@given(st.binary(max_size=200), st.text("abc_-09", min_size=1, max_size=40))
def test_the_reference_library_accepts_our_signatures(body: bytes, message_id: str) -> None:
    secret = new_secret()
    now_s = SystemClock().utc_ns() // SECOND_NS
    payload = json.dumps({"data": body.hex()}).encode()
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": sign_webhook((new_secret(), secret), message_id, now_s, payload),
    }
    standardwebhooks.Webhook(secret).verify(payload, headers)
    assert verify_webhook((secret,), headers, payload, at_s=now_s) == message_id


def test_what_is_altered_old_or_from_elsewhere_is_not_verified() -> None:
    secret = new_secret()
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": "1000",
        "Webhook-Signature": sign_webhook((secret,), "msg_1", 1000, b"{}"),
    }
    assert verify_webhook((new_secret(), secret), headers, b"{}", at_s=1299) == "msg_1"
    for changed, body, at_s, used in (
        ({}, b"{ }", 1000, secret),
        ({}, b"{}", 1301, secret),
        ({}, b"{}", 699, secret),
        ({}, b"{}", 1000, new_secret()),
        ({"Webhook-Id": "msg_2"}, b"{}", 1000, secret),
        ({"Webhook-Timestamp": "1001"}, b"{}", 1000, secret),
        ({"Webhook-Timestamp": "soon"}, b"{}", 1000, secret),
        ({"Webhook-Signature": "v1,ü"}, b"{}", 1000, secret),
        ({"Webhook-Signature": ""}, b"{}", 1000, secret),
    ):
        with pytest.raises(InputInvalid):
            verify_webhook((used,), {**headers, **changed}, body, at_s=at_s)
    with pytest.raises(InputInvalid):
        verify_webhook((secret,), {}, b"{}", at_s=1000)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_AAAA", "whsec_!!", "no"])
def test_a_weak_secret_is_refused(secret: str) -> None:
    with pytest.raises(InputInvalid, match="new_secret"):
        sign_webhook((secret,), "msg_1", 0, b"")


def test_a_failure_crosses_process_borders_with_its_facts() -> None:
    error = pickle.loads(pickle.dumps(DeliveryFailed("no.", retry_after_s=5.0, is_permanent=True)))  # noqa: S301
    assert (error.retry_after_s, error.is_permanent) == (5.0, True)
    assert msgspec.json.encode(error.as_dict())
