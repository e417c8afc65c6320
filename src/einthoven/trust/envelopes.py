"""Payloads that only the first trusted function can read: from the device to where they are opened.

An envelope, big-endian::

    version      1   1
    receiver     4   which of the receiver's keys
    sender       8   which key of which device
    enc         32   one-time public key of the device's session (RFC 9180)
    sequence     8   the device's, which is also the number of the message
    sealed       n   the payload and 16 bytes by which every change shows

All that stands before the sealed part, and the device's name, which does not travel, are authenticated with
it. A device begins a session when it starts, and whenever it likes; that costs two exchanges of X25519, a
payload costs a stream cipher. Nothing is kept between envelopes but the context of a session, which any
worker can make again from any of its envelopes.
"""

from collections import OrderedDict
from collections.abc import Iterable
from struct import Struct
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from einthoven.errors import EnvelopeRefused, InputInvalid, KeyRefused
from einthoven.names import is_pseudonym
from einthoven.trust.hpke import ENC_BYTES, TAG_BYTES, Context, receiver_context, sender_context
from einthoven.trust.payload_ids import payload_key_id
from einthoven.trust.replay import ReplayWindow

__all__ = ["ENVELOPE_BYTES", "DeviceKey", "Opened", "Opener", "PayloadKey", "Sealer", "envelope_refused"]

_HEAD: Final = Struct(">B4s8s32sQ")
ENVELOPE_BYTES: Final = _HEAD.size + TAG_BYTES
"""What an envelope is longer than its payload."""
_VERSION: Final = 1
_INFO: Final = b"einthoven payload 1"
_RECEIVER_ID_BYTES: Final = 4
_SEQUENCE_BYTES: Final = 8
_SEQUENCE_MAX: Final = 2**53
_PAYLOAD_MOST: Final = 2**22
_SESSIONS_MOST: Final = 10_000


class PayloadKey:
    """An X25519 key, of a receiver or of a device. The private half is never printed."""

    def __init__(self, secret: bytes) -> None:
        try:
            self._private = X25519PrivateKey.from_private_bytes(secret)
        except ValueError:
            raise KeyRefused("a payload key has 32 bytes.", where="key") from None
        self.public = self._private.public_key().public_bytes_raw()

    @classmethod
    def made(cls) -> "PayloadKey":
        """A new key."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    def __repr__(self) -> str:
        return f"PayloadKey({payload_key_id(self.public).hex()})"

    @property
    def secret(self) -> bytes:
        """32 bytes, for whoever keeps it."""
        return self._private.private_bytes_raw()


class DeviceKey(msgspec.Struct, frozen=True):
    """The public key of a device, as the site knows it."""

    device: str
    public: bytes
    is_retired: bool = False
    """Nothing that it seals is taken any more."""

    def __post_init__(self) -> None:
        if not is_pseudonym(self.device) or len(self.public) != ENC_BYTES:
            raise KeyRefused("a device's key has a name and 32 bytes.", where="key")


class Opened(msgspec.Struct, frozen=True):
    """What was in an envelope."""

    device: str
    sequence: int
    payload: bytes
    window: ReplayWindow
    """To be kept, in the transaction that keeps the payload."""


class Sealer:
    """A device's session with a receiver: payloads in, envelopes out."""

    def __init__(self, device: str, key: PayloadKey, receiver: bytes) -> None:
        """Begin a session.

        Parameters
        ----------
        device : its name, as the receiver knows it
        receiver : public key

        Raises
        ------
        KeyRefused : the receiver's key is none.
        """
        own = DeviceKey(device, key.public)
        try:
            private = X25519PrivateKey.from_private_bytes(key.secret)
            self._enc, self._context = sender_context(
                X25519PublicKey.from_public_bytes(receiver), private, _INFO
            )
        except ValueError:
            raise KeyRefused("the receiver's key is none.", where="receiver") from None
        self._ids = (payload_key_id(receiver)[:_RECEIVER_ID_BYTES], payload_key_id(own.public))
        self._device = device.encode()
        self._last = -1

    def seal(self, sequence: int, payload: bytes) -> bytes:
        """The envelope of a payload. To send it again send the same bytes again.

        Raises
        ------
        InputInvalid : a number that is not above the one before, or a payload of more than 4 MiB.
        """
        if not self._last < sequence < _SEQUENCE_MAX:
            raise InputInvalid(
                "a number is sealed once, and each is above the one before.",
                where="sequence",
                remedy="Send the envelope again that was made for it, or begin a session.",
            )
        if len(payload) > _PAYLOAD_MOST:
            raise InputInvalid(f"a payload has at most {_PAYLOAD_MOST} bytes.", where="payload")
        self._last = sequence
        head = _HEAD.pack(_VERSION, *self._ids, self._enc, sequence)
        return head + self._context.seal(sequence, head + self._device, payload)


class Opener:
    """The first trusted function's side: envelopes in, payloads out. Threads may share one."""

    def __init__(self, keys: Iterable[PayloadKey], devices: Iterable[DeviceKey]) -> None:
        """Take envelopes for these keys from these devices; several of each while they are rotated."""
        self._own = {
            payload_key_id(key.public)[:_RECEIVER_ID_BYTES]: X25519PrivateKey.from_private_bytes(key.secret)
            for key in keys
        }
        self._devices = {payload_key_id(one.public): one for one in devices if not one.is_retired}
        self._sessions: OrderedDict[bytes, tuple[DeviceKey, Context]] = OrderedDict()

    def renewed(self, keys: Iterable[PayloadKey], devices: Iterable[DeviceKey]) -> "Opener":
        """One for other keys, which goes on with the sessions of those that stay."""
        other = Opener(keys, devices)
        for name, session in list(self._sessions.items()):
            receiver, sender = name[:_RECEIVER_ID_BYTES], name[_RECEIVER_ID_BYTES:-ENC_BYTES]
            if receiver in other._own and other._devices.get(sender) == session[0]:
                other._sessions[name] = session
        return other

    def knows(self, envelope: bytes) -> bool:
        """Whether one of its session was opened here; else it costs two exchanges of X25519."""
        return envelope[1 : _HEAD.size - _SEQUENCE_BYTES] in self._sessions

    def open(self, envelope: bytes, window: ReplayWindow) -> Opened:
        """What is in an envelope.

        Parameters
        ----------
        window : of the device that `device_of` names

        Raises
        ------
        EnvelopeRefused : it cannot be opened; whether it is damaged, forged, for somebody else or from a
        device that is not known is not said. EnvelopeReplayed : it can, and its number was taken before.
        """
        receiver, sender, enc, sequence = _parts(envelope)
        head = envelope[: _HEAD.size]
        name = head[1:-_SEQUENCE_BYTES]
        session = self._sessions.get(name) or self._begun(receiver, sender, enc)
        device, context = session
        payload = context.open(sequence, head + device.device.encode(), envelope[_HEAD.size :])
        if payload is None:
            raise envelope_refused()
        self._sessions[name] = session  # only what was opened is remembered: a forger forgets nobody's
        if len(self._sessions) > _SESSIONS_MOST:
            self._sessions.popitem(last=False)
        return Opened(device.device, sequence, payload, window.after(sequence))

    def device_of(self, envelope: bytes) -> str:
        """Whose window `open` wants; nothing is verified by knowing it.

        Raises
        ------
        EnvelopeRefused : nobody's that is known here.
        """
        device = self._devices.get(_parts(envelope)[1])
        if device is None:
            raise envelope_refused()
        return device.device

    def _begun(self, receiver: bytes, sender: bytes, enc: bytes) -> tuple[DeviceKey, Context]:
        own, device = self._own.get(receiver), self._devices.get(sender)
        if own is None or device is None:
            raise envelope_refused()
        context = receiver_context(enc, own, X25519PublicKey.from_public_bytes(device.public), _INFO)
        if context is None:
            raise envelope_refused()
        return device, context


def _parts(envelope: bytes) -> tuple[bytes, bytes, bytes, int]:
    if len(envelope) < ENVELOPE_BYTES or envelope[0] != _VERSION or len(envelope) > _PAYLOAD_MOST * 2:
        raise envelope_refused()
    _, receiver, sender, enc, sequence = _HEAD.unpack_from(envelope)
    if sequence >= _SEQUENCE_MAX:
        raise envelope_refused()
    return receiver, sender, enc, sequence


def envelope_refused() -> EnvelopeRefused:
    """The one sentence that is said of whatever is not opened."""
    return EnvelopeRefused(
        "the envelope cannot be opened.",
        where="envelope",
        remedy="Check the device's key, and that it has this receiver's newest one.",
    )
