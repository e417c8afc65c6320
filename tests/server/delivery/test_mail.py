"""Mail reaches a real server, encrypted, and names nobody."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme
from aiosmtpd.smtp import SMTP

from einthoven.alerts import AlertRules, Contact, Heartbeat, Notification, Rung, notify
from einthoven.clock import VirtualClock
from einthoven.errors import DeliveryFailed
from einthoven.server.delivery.mail import MailChannel, MailServer, mail_of
from einthoven.testing.alerts import a_raised_alert
from einthoven.testing.loop import in_loop
from einthoven.testing.outbox import a_notification

AUTHORITY = trustme.CA()


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


class Postbox:
    """What a mail server took, and what it says of a mailbox or a message."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.says_of_mailbox = "250 OK"
        self.says_of_mail = "250 2.0.0 queued as 7B2"

    async def handle_RCPT(self, _server, _session, envelope, address, _options) -> str:  # noqa: N802
        if self.says_of_mailbox.startswith("2"):
            envelope.rcpt_tos.append(address)
        return self.says_of_mailbox

    async def handle_DATA(self, _server, session, envelope) -> str:  # noqa: N802
        assert session.ssl is not None, "encrypted, or not at all"
        self.mails.append(envelope.content)
        return self.says_of_mail


@asynccontextmanager
async def a_mail_server(postbox: Postbox) -> AsyncIterator[MailServer]:
    """A server on loopback that takes mail after STARTTLS only."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(tls)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(postbox, tls_context=tls, require_starttls=True, hostname="test", loop=loop),
        "127.0.0.1",
        0,
    )
    async with server:
        yield MailServer("127.0.0.1", server.sockets[0].getsockname()[1])


def a_channel(server: MailServer, tls: ssl.SSLContext | None = None) -> MailChannel:
    return MailChannel(
        VirtualClock(),
        server,
        sender="alerts@example.org",
        link="https://ward.example.org/",
        tls=tls or trusting(),
        timeout_s=3,
    )


def an_alert(**facts) -> Notification:
    rules = AlertRules(ladder=(Rung((Contact("mail", "dr@example.org"),)),))
    return notify(a_raised_alert(rules, **facts), rules)[0]


@in_loop
async def test_a_mail_says_what_and_where_to_look_and_keeps_the_servers_receipt() -> None:
    postbox = Postbox()
    async with a_mail_server(postbox) as server:
        receipt = await a_channel(server).send(an_alert())
    assert receipt.reference == "2.0.0 queued as 7B2"
    (mail,) = postbox.mails
    for words in (
        b"Subject: *** Asystole: p-1, raised",
        b"To: dr@example.org",
        b"Auto-Submitted: auto-generated",
        b"https://ward.example.org/alerts/alt_",
        b"not a medical device",
    ):
        assert words in mail


@in_loop
async def test_a_server_that_nobody_vouches_for_is_given_nothing() -> None:
    postbox = Postbox()
    async with a_mail_server(postbox) as server:
        with pytest.raises(DeliveryFailed) as caught:
            await a_channel(server, ssl.create_default_context()).send(an_alert())
    assert not caught.value.is_permanent
    assert postbox.mails == []


@in_loop
async def test_a_server_without_encryption_is_given_nothing() -> None:
    loop = asyncio.get_running_loop()
    postbox = Postbox()
    plain = await loop.create_server(lambda: SMTP(postbox, hostname="test", loop=loop), "127.0.0.1", 0)
    async with plain:
        server = MailServer("127.0.0.1", plain.sockets[0].getsockname()[1])
        with pytest.raises(DeliveryFailed):
            await a_channel(server).send(an_alert())
    assert postbox.mails == []


@pytest.mark.parametrize(
    ("mailbox", "mail", "is_permanent"),
    [
        ("550 no such mailbox", "", True),
        ("450 try later", "", False),
        ("250 OK", "554 refused", True),
        ("250 OK", "451 try later", False),
    ],
)
@in_loop
async def test_what_a_server_refuses_is_for_good_or_for_now(
    mailbox: str, mail: str, is_permanent: bool
) -> None:
    postbox = Postbox()
    postbox.says_of_mailbox, postbox.says_of_mail = mailbox, mail
    async with a_mail_server(postbox) as server:
        with pytest.raises(DeliveryFailed) as caught:
            await a_channel(server).send(an_alert())
    assert caught.value.is_permanent is is_permanent
    assert "example.org" not in str(caught.value)


@in_loop
async def test_a_server_that_is_down_is_tried_again() -> None:
    with pytest.raises(DeliveryFailed) as caught:
        await a_channel(MailServer("127.0.0.1", 9)).send(an_alert())
    assert not caught.value.is_permanent


def test_the_same_notification_is_the_same_message_and_an_alert_one_conversation() -> None:
    one = mail_of(an_alert(), sender="a@example.org", link="https://x")
    assert one["Message-ID"] == f"<{an_alert().id}@example.org>"
    assert one["References"] == f"<{an_alert().alert_id}@example.org>"
    assert one["Importance"] == "high"


def test_a_technical_alert_is_marked_as_one() -> None:
    mail = mail_of(
        an_alert(condition="device_silent", priority="low", is_technical=True, about="d-1"),
        sender="a@example.org",
        link="https://x",
    )
    assert mail["Subject"] == "(t) * Device silent (d-1): p-1, raised"
    assert mail["Importance"] is None


def test_a_heart_beat_says_what_its_absence_means() -> None:
    beat = a_notification(address="dr@example.org", content=Heartbeat("main", 60.0, "noon"))
    mail = mail_of(beat, sender="a@example.org", link="https://x")
    assert "If these mails stop, it does not." in mail.get_content()


@pytest.mark.parametrize("address", ["", "nobody", "a@b, c@d", "a@b\nBcc: c@d", "<a@b>"])
def test_what_is_no_mailbox_is_refused_for_good(address: str) -> None:
    with pytest.raises(DeliveryFailed) as caught:
        mail_of(a_notification(address=address), sender="a@example.org", link="https://x")
    assert caught.value.is_permanent
