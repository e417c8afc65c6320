"""A notification as a CloudEvent 1.0 in JSON: what webhooks, subjects and topics carry."""

from typing import Any, Final

import msgspec

from einthoven.alerts import AlertMessage, Notification

__all__ = ["CONTENT_TYPE", "cloud_event"]

CONTENT_TYPE: Final = "application/cloudevents+json"


def cloud_event(notification: Notification, *, source: str, type_prefix: str = "einthoven") -> bytes:
    """The whole event. Its subject is a pseudonym; `partitionkey` and `sequence` give the order per alert.

    >>> from einthoven.alerts import Contact, heartbeat
    >>> beat = heartbeat("main", Contact("webhook"), 60.0, 0)
    >>> cloud_event(beat, source="/ward")[:40]
    b'{"specversion":"1.0","id":"msg_ebca08cf8'
    """
    content = notification.content
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": notification.id,
        "source": source,
        "type": _type(content, type_prefix),
        "time": content.at,
        "datacontenttype": "application/json",
    }
    if isinstance(content, AlertMessage):
        event |= {
            "subject": content.patient or content.org,
            "partitionkey": notification.alert_id,
            "sequence": f"{notification.step:06d}",
        }
    event["data"] = content
    return msgspec.json.encode(event)


def _type(content: Any, prefix: str) -> str:
    what = f"alert.{content.what}" if isinstance(content, AlertMessage) else "heartbeat"
    return f"{prefix}.{what}.v1"
