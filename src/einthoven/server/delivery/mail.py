"""E-mail: a short text that names a pseudonym and a link, over SMTP with STARTTLS."""

import asyncio
import ssl
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Literal

import aiosmtplib
import msgspec

from einthoven.alerts import AlertMessage, Notification, Receipt
from einthoven.clock import Clock
from einthoven.errors import DeliveryFailed

__all__ = ["MailChannel", "MailServer", "mail_of"]


class MailServer(msgspec.Struct, frozen=True):
    """Where mail is handed in."""

    host: str
    port: int = 587
    encryption: Literal["starttls", "tls", "none"] = "starttls"
    """``none`` is for a server on this machine."""
    user: str = ""
    password: str = ""


class MailChannel:
    """Mails to the mailbox that is a contact's address.

    Parameters
    ----------
    sender : the mailbox it comes from
    link : of the web application; an alert lies at ``LINK/alerts/ID``
    tls : what certificates are believed; the system's by default
    connections : to the server at once
    """

    def __init__(
        self,
        clock: Clock,
        server: MailServer,
        *,
        sender: str,
        link: str,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 10.0,
        connections: int = 8,
    ) -> None:
        self._clock = clock
        self._free = asyncio.Semaphore(connections)
        self._server = server
        self._sender = sender
        self._link = link.rstrip("/")
        self._tls = tls
        self._timeout_s = timeout_s

    async def send(self, notification: Notification) -> Receipt:
        """See `Channel`."""
        message = mail_of(notification, sender=self._sender, link=self._link)
        server = self._server
        try:
            async with self._free:
                _, said = await aiosmtplib.send(
                    message,
                    hostname=server.host,
                    port=server.port,
                    start_tls=server.encryption == "starttls",
                    use_tls=server.encryption == "tls",
                    tls_context=self._tls,
                    username=server.user or None,
                    password=server.password or None,
                    timeout=self._timeout_s,
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            code = error.recipients[0].code if error.recipients else 0
            raise _failed(f"the server refused the mailbox ({code})", is_permanent=code >= 500) from None
        except aiosmtplib.SMTPAuthenticationError as error:
            raise _failed(f"the server refused our account ({error.code})") from None
        except aiosmtplib.SMTPResponseException as error:
            raise _failed(f"the server answered {error.code}", is_permanent=error.code >= 500) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _failed(f"the server did not take it ({type(error).__name__})") from None
        return Receipt(notification.id, self._clock.utc_ns(), said)

    async def close(self) -> None:
        """See `Channel`."""


def mail_of(notification: Notification, *, sender: str, link: str) -> EmailMessage:
    """The message. The same notification is the same ``Message-ID``.

    Raises
    ------
    DeliveryFailed : the address is no mailbox; for good.
    """
    message = EmailMessage()
    try:
        message["To"] = Address(addr_spec=notification.address)
    except (ValueError, IndexError, AttributeError, HeaderParseError):
        raise _failed("the address is no mailbox", is_permanent=True) from None
    content = notification.content
    is_alert = isinstance(content, AlertMessage)
    message["From"] = sender
    message["Subject"] = _subject(content) if isinstance(content, AlertMessage) else "Einthoven: heart-beat"
    message["Message-ID"] = f"<{notification.id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    if is_alert:
        # All mails of one alert are one conversation.
        message["References"] = f"<{notification.alert_id}@{sender.rpartition('@')[2]}>"
    if isinstance(content, AlertMessage) and content.priority == "high" and not content.is_technical:
        message["Importance"] = "high"
    message.set_content(_text(content, link) if isinstance(content, AlertMessage) else _beat(content.at))
    return message


def _subject(content: AlertMessage) -> str:
    about = f" ({content.about})" if content.about else ""
    patient = f": {content.patient}" if content.patient else ""
    return f"{content.mark} {content.title}{about}{patient}, {content.what}"


def _text(content: AlertMessage, link: str) -> str:
    lines = [
        f"{content.title} {content.mark}",
        "",
        *([f"Patient   {content.patient}"] if content.patient else []),
        *([f"Concerns  {content.about}"] if content.about else []),
        f"Onset     {content.onset}" + (" (found late)" if content.is_late else ""),
        f"End       {content.end or 'goes on'}",
        f"Episodes  {content.episodes}",
        *([f"Note      {content.reason}"] if content.reason else []),
        "",
        f"{link}/alerts/{content.alert_id}",
        "",
        "Einthoven is not a medical device. Alerts can be late, wrong or missing.",
        "",
    ]
    return "\n".join(lines)


def _beat(at: str) -> str:
    return f"The alert path worked at {at}. If these mails stop, it does not.\n"


def _failed(what: str, *, is_permanent: bool = False) -> DeliveryFailed:
    return DeliveryFailed(
        what + ".", where="mail", remedy="Look at the mail server and the address.", is_permanent=is_permanent
    )
