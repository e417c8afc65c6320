"""``einthoven payload-keys``: for which keys devices seal what they send, and which are theirs."""

import base64
import binascii
from importlib.util import find_spec
from typing import Any

import click

from einthoven.cli.offline import OFFLINE, printed, with_database, writing
from einthoven.cli.setting_flags import resolved, with_settings
from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid, NotFound
from einthoven.names import is_pseudonym
from einthoven.server.payload_tables import add_key, retire_key
from einthoven.trust.payload_ids import PAYLOAD_KEY_BYTES, payload_key_id

if find_spec("cryptography") is None:
    raise InputInvalid(
        "cryptography is not installed.", where="einthoven", remedy="pip install 'einthoven[trust]'"
    )

from einthoven.runtime.secret_files import destroy_secret, keep_payload_key, payload_keys

__all__ = ["command"]

_json = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")


@click.group(name="payload-keys")
def command() -> None:
    """Keys that devices seal for (the site's, in the data folder) and seal with (in the database).

    The site's keys are closed if EINTHOVEN_PASSPHRASE is set. A running service follows within two seconds.
    """


@command.command(name="make")
@with_settings("data_folder")
@_json
def make(as_json: bool, **flags: Any) -> None:
    """Make a key of the site, beside those that there are; devices should seal for it from now on."""
    key = keep_payload_key(resolved(flags).settings.folder, SystemClock().utc_ns())
    printed([_row(key.public)], as_table=not as_json)


@command.command(name="list")
@with_settings("data_folder")
@_json
def list_(as_json: bool, **flags: Any) -> None:
    """List the public halves of the site's keys, newest first."""
    found = [_row(one.public) for one in payload_keys(resolved(flags).settings.folder).values()]
    printed(found[::-1], as_table=not as_json)


@command.command(name="destroy")
@with_settings("data_folder")
@click.argument("key")
def destroy(key: str, **flags: Any) -> None:
    """Destroy the site's KEY: what was sealed for it opens nobody any more."""
    folder = resolved(flags).settings.folder
    for name, one in payload_keys(folder).items():
        if payload_key_id(one.public).hex() == key:
            destroy_secret(folder, "payload", name)
            click.echo(f"Key {key} is destroyed.")
            return
    raise NotFound("the site has no such key.", where="key", remedy="List the keys.")


@command.command(name="admit")
@with_database
@click.argument("device")
@click.argument("public")
def admit(device: str, public: str, organisation: str, as_json: bool, **flags: Any) -> None:
    """Take what the key PUBLIC (base64) seals for DEVICE's."""
    try:
        key = base64.b64decode(public, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != PAYLOAD_KEY_BYTES or not is_pseudonym(device):
        raise InputInvalid("a key is base64 of 32 bytes, a device a pseudonym.", where="key")
    with writing(flags) as statements:
        add_key(statements, organisation, device, key, by=OFFLINE, now_ns=SystemClock().utc_ns())
    printed([{"device": device, **_row(key)}], as_table=not as_json)


@command.command(name="retire")
@with_database
@click.argument("device")
@click.argument("key")
def retire(device: str, key: str, organisation: str, as_json: bool, **flags: Any) -> None:
    """Take nothing more that DEVICE's KEY seals."""
    with writing(flags) as statements:
        retire_key(statements, organisation, device, key, by=OFFLINE, now_ns=SystemClock().utc_ns())
    if as_json:
        printed({"id": key, "retired": True})
    else:
        click.echo(f"Key {key} is retired.")


def _row(public: bytes) -> dict[str, str]:
    return {"id": payload_key_id(public).hex(), "publicKey": base64.b64encode(public).decode()}
