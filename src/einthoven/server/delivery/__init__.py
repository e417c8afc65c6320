"""Delivery of notifications: an outbox is emptied through channels, at least once, in order per alert.

What a channel needs besides Python is an extra, so each is imported from its own module: `webhook` and
`mail` (``einthoven[delivery]``), `nats_subject` (``[nats]``), `mqtt_topic` (``[mqtt]``).
"""

from einthoven.server.delivery.channel import Channel
from einthoven.server.delivery.dispatcher import Dispatcher, Outcome
from einthoven.server.delivery.outbox import DeadLetter, Due, Outbox

__all__ = ["Channel", "DeadLetter", "Dispatcher", "Due", "Outbox", "Outcome"]
