"""Virtual patients whose devices seal: keys made for a run, registered, and used for each body."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

from einthoven.errors import AccessDenied, DestinationUnavailable, InputInvalid
from einthoven.runtime.load.deliveries import Bodies, Delivery
from einthoven.runtime.load.target import Target
from einthoven.server.ingest import SEALED
from einthoven.server.wire import SEALED_AS
from einthoven.trust.envelopes import PayloadKey, Sealer

__all__ = ["FOLLOWED_S", "SealedBodies", "sealers_for"]

FOLLOWED_S: Final = 3.0
"""By then every worker of a service takes a key that was registered."""
_TIMEOUT_S: Final = 10.0


class SealedBodies:
    """The bodies of others, each in an envelope of its device.

    Parameters
    ----------
    sealers : of each patient's device.
    first : number of each device's first envelope; above all that it sent before.
    """

    def __init__(self, bodies: Bodies, sealers: Sequence[Sealer], first: int) -> None:
        self._bodies = bodies
        self._sealers = sealers
        self._next = [first] * len(sealers)
        name = "msgpack" if bodies.media_type == "application/msgpack" else "json"
        self._kind = bytes([SEALED_AS[name]])  # type: ignore[index]

    @property
    def media_type(self) -> str:
        """Of the bodies."""
        return SEALED

    def body(self, deliveries: Sequence[Delivery]) -> bytes:
        """The envelope of one device's segments; another one each time, also of what is sent again."""
        stream = deliveries[0].stream
        number = self._next[stream]
        self._next[stream] = number + 1
        return self._sealers[stream].seal(number, self._kind + self._bodies.body(deliveries))

    def sequence(self, delivery: Delivery) -> int:
        """What the device calls the segment."""
        return self._bodies.sequence(delivery)

    def token(self, delivery: Delivery) -> str | None:
        """Bearer token of the request that carries it."""
        return self._bodies.token(delivery)


def sealers_for(target: Target, token: str, devices: Sequence[str]) -> list[Sealer]:
    """A new key for each device, registered at the service, and a session with the site's newest key.

    Parameters
    ----------
    token : a technician's or an administrator's.

    Raises
    ------
    DestinationUnavailable : nobody answers. AccessDenied : the token may not.
    InputInvalid : the service has no key to seal for.
    """
    ask = _asking(target, token)
    site = ask("GET", "/v1/payload-keys", None)["items"]
    if not site:
        raise InputInvalid(
            "the service has no key to seal for.",
            where="seal",
            remedy="Make one there: einthoven payload-keys make.",
        )
    receiver = base64.b64decode(site[0]["publicKey"])
    found = []
    for device in devices:
        key = PayloadKey.made()
        public = base64.b64encode(key.public).decode()
        ask("PUT", f"/v1/devices/{quote(device)}/payload-keys", {"publicKey": public})
        found.append(Sealer(device, key, receiver))
    return found


def _asking(target: Target, token: str) -> Callable[[str, str, Any], Any]:
    host = f"[{target.host}]" if ":" in target.host else target.host
    top = f"{'https' if target.is_secure else 'http'}://{host}:{target.port}"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(method: str, path: str, content: Any) -> Any:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{top}{path}", body, headers, method=method)  # noqa: S310 - http(s)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=target.tls()) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AccessDenied(
                f"the service does not register keys (status {error.code}).",
                where="technician token",
                remedy="Give a technician's or an administrator's token.",
            ) from None
        except (OSError, ValueError) as error:
            raise DestinationUnavailable(
                f"the keys could not be registered ({type(error).__name__}).", where=top
            ) from None

    return ask
