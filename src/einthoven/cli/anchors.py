"""``einthoven ledger anchor``: a ledger's checkpoints and consents on a chain that others keep."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from einthoven.cli.offline import printed
from einthoven.cli.setting_flags import resolved, with_settings
from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid, LedgerTampered, NotFound
from einthoven.names import is_pseudonym
from einthoven.runtime.secret_files import keep_secret, secret_named
from einthoven.server.accounts import MAIN
from einthoven.server.settings import Settings
from einthoven.server.wire import utc_text
from einthoven.storage import open_database
from einthoven.storage.anchors import KeptAnchor, anchors_of, chain_of, sent_of
from einthoven.storage.database import Connection
from einthoven.storage.ledgers import head_of
from einthoven.trust.anchoring import ChainView, compared, consent_salt, ledger_id, with_salt

if TYPE_CHECKING:
    from einthoven.runtime.anchors import Anchoring, Step
    from einthoven.runtime.json_rpc import Chain

__all__ = ["CHAIN_SETTINGS", "asked_view", "command", "hold_against", "say_anchored", "with_chain"]

F = TypeVar("F", bound=Callable[..., Any])
CHAIN_SETTINGS: Final = ("chain_url", "chain_contract")
_NS: Final = 10**9
_KEY_DIGITS: Final = 64
_wait = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    help="So long the chain is waited for [s].",
)


def with_chain(function: F) -> F:
    """Options that say which database, which organisation, which chain, and how to print."""
    function = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")(function)
    function = click.option("--organisation", default=MAIN, show_default=True, help="Whose.")(function)
    return with_settings("data_folder", "database", *CHAIN_SETTINGS, "chain_confirmations")(function)


@click.group(name="anchor")
def command() -> None:
    """Put checkpoints and consents on an EVM chain, where the site cannot change them any more.

    The account's key and the secret that blinds consents lie in the data folder beside the ledger's key. What
    was begun goes on when a command is run again; what is on the chain is not put there twice.
    """


@command.command(name="account")
@with_chain
@click.option("--import", "given", type=click.File("r"), help="A file with the key in hexadecimal.")
def account(given: Any, organisation: str, as_json: bool, **flags: Any) -> None:
    """Print the account that writes for this organisation; it is made if there is none."""
    settings = resolved(flags).settings
    _needs_extra()
    from einthoven.trust.contract_calls import sender_of  # noqa: PLC0415 - an extra

    if given is not None:
        secret = _hexadecimal(given.read(_KEY_DIGITS + 8))
        sender_of(secret)
        keep_secret(settings.folder, "chain", organisation, secret)
    else:
        secret = _secret(settings, "chain", organisation)
    if as_json:
        printed({"account": sender_of(secret)})
    else:
        click.echo(sender_of(secret))


@command.command(name="deploy")
@with_chain
@_wait
def deploy(wait_s: float, organisation: str, as_json: bool, **flags: Any) -> None:
    """Make a contract on the chain, and let this organisation's account write about its ledger there."""
    with _anchoring(flags, organisation) as (anchoring, connection):
        step = _waited(lambda _: anchoring.deploy(connection), wait_s)
        _say(step, connection, organisation, anchoring.account, as_json=as_json)


@command.command(name="use")
@with_chain
@click.argument("contract")
def use(contract: str, organisation: str, as_json: bool, **flags: Any) -> None:
    """Anchor in the CONTRACT that somebody made who admits, or admitted, this organisation's account."""
    from einthoven.trust.contract_calls import checked_address  # noqa: PLC0415 - an extra

    with _anchoring(flags, organisation) as (anchoring, connection):
        kept = anchoring.use(connection, checked_address(contract))
    if as_json:
        printed({"chain": kept.chain_id, "contract": kept.contract, "account": anchoring.account})
    else:
        click.echo(f"{kept.contract} on chain {kept.chain_id}; the account is {anchoring.account}.")


@command.command(name="admit")
@with_chain
@_wait
@click.argument("name")
@click.argument("site")
def admit(name: str, site: str, wait_s: float, organisation: str, as_json: bool, **flags: Any) -> None:
    """Let the account SITE write about the ledger NAME, in the contract that this organisation made."""
    from einthoven.trust.contract_calls import checked_address  # noqa: PLC0415 - an extra

    address = checked_address(site)
    with _anchoring(flags, organisation) as (anchoring, connection):
        step = _waited(lambda _: anchoring.admit(connection, name, address), wait_s)
        _say(step, connection, organisation, anchoring.account, as_json=as_json)


@command.command(name="now")
@with_chain
@_wait
def now(wait_s: float, organisation: str, as_json: bool, **flags: Any) -> None:
    """Anchor the newest checkpoint, and register the changes of consent that it covers."""
    with _anchoring(flags, organisation) as (anchoring, connection):
        step = _waited(lambda may_anchor: anchoring.step(connection, may_anchor=may_anchor), wait_s)
        _say(step, connection, organisation, anchoring.account, as_json=as_json)


@command.command(name="status")
@with_chain
def status(organisation: str, as_json: bool, **flags: Any) -> None:
    """Show where the ledger is anchored, up to which entry, and what that took; no chain is asked."""
    settings = resolved(flags).settings
    with _connected(settings) as connection, connection.reading() as statements:
        head = head_of(statements, organisation)
        kept, waiting = chain_of(statements, organisation), sent_of(statements, organisation)
        anchors = anchors_of(statements, organisation)
    if head is None:
        raise NotFound("this organisation has no ledger.", where="ledger", remedy="einthoven ledger create")
    if as_json:
        printed(
            {
                "entries": head.size,
                "anchored": anchors[-1].size if anchors else 0,
                "chain": kept.chain_id if kept else None,
                "contract": kept.contract if kept else None,
                "consents_until": kept.registered if kept else 0,
                "waiting": waiting.hashes[-1] if waiting else None,
                "anchors": [_row(one) for one in anchors],
            }
        )
        return
    printed([_row(one) for one in anchors], as_table=True)
    where = f"{kept.contract} on chain {kept.chain_id}" if kept else "anchored nowhere"
    click.echo(
        f"{head.origin}: {anchors[-1].size if anchors else 0} of {head.size} entries anchored; {where}."
    )
    if waiting:
        click.secho(f"On its way: {waiting.deed} {waiting.hashes[-1]}", fg="yellow")


@command.command(name="consent")
@with_chain
@click.argument("patient")
@click.argument("consent")
def consent(patient: str, consent: str, organisation: str, as_json: bool, **flags: Any) -> None:
    """Show what the chain says of one CONSENT of a PATIENT, and the salt by which others can find it.

    Whoever is given the salt finds this consent on the chain, in all its versions, and no other.
    """
    settings = resolved(flags).settings
    if not is_pseudonym(patient):
        raise InputInvalid("a patient is named by a pseudonym.", where="patient")
    chain = _chain(settings)
    from einthoven.trust.contract_calls import consent_call, consent_from  # noqa: PLC0415 - an extra

    with _connected(settings) as connection, connection.reading() as statements:
        kept, head = chain_of(statements, organisation), head_of(statements, organisation)
    if kept is None or head is None:
        raise NotFound("the ledger is anchored nowhere yet.", where="contract")
    salt = consent_salt(_secret(settings, "consents", organisation), head.origin, patient, consent)
    subject = with_salt(salt, 1, "", is_revoked=False).subject
    found = consent_from(chain.call(kept.contract, consent_call(ledger_id(head.origin), subject)), subject)
    said = {
        "salt": salt.hex(),
        "subject": subject.hex(),
        "version": found.version if found else 0,
        "digest": found.digest.hex() if found else "",
        "revoked": found.is_revoked if found else None,
    }
    printed(said if as_json else [said], as_table=not as_json)


# -------------------------------------------------------------------- for those who verify


def asked_view(settings: Settings, origin: str, contract: str) -> ChainView | None:
    """What the chain of the settings says of a ledger; None where there is no chain.

    Raises
    ------
    ChainUnavailable, WrongChain : see `einthoven.runtime.anchors.chain_view`
    InputInvalid : the extra is missing, or nobody said which contract.
    """
    if not settings.chain_url:
        return None
    if not contract:
        raise InputInvalid(
            "it is not known which contract has the anchors.", where="contract", remedy="--chain-contract"
        )
    chain = _chain(settings)
    from einthoven.runtime.anchors import chain_view  # noqa: PLC0415 - an extra
    from einthoven.trust.contract_calls import checked_address  # noqa: PLC0415 - an extra

    return chain_view(chain, checked_address(contract), origin)


def hold_against(
    settings: Settings, origin: str, view: ChainView, roots: dict[int, bytes], newest: dict[int, bytes]
) -> int:
    """Hold an export against a chain; up to which entry the chain vouches for it.

    Parameters
    ----------
    roots : of the size of the newest anchor, if the export is that long
    newest : roots of the export's last checkpoints

    Raises
    ------
    LedgerTampered : the chain says another history.
    """
    if view.latest is None:
        return 0
    if view.latest.size <= max(newest):
        compared(view.latest, roots, "chain")
        return view.latest.size
    # An older export: what of it was anchored?
    from einthoven.runtime.anchors import anchored_roots  # noqa: PLC0415 - an extra

    found = anchored_roots(_chain(settings), settings.chain_contract, origin, list(newest))
    for size, root in found.items():
        if newest[size] != root:
            raise LedgerTampered(
                f"the export does not begin with the tree of {size} entries that the chain says it had.",
                where="chain",
                remedy="Keep it: with the chain it is the proof.",
            )
    return max(found, default=0)


def say_anchored(size: int, of: int, view: ChainView | None, anchors: Sequence[KeptAnchor]) -> None:
    """For which entries an outside chain vouches, in words."""
    at = {one.size: one.at_s for one in anchors}.get(size)
    since = f" since {utc_text(at * _NS)}" if at else ""
    who = f", written by {view.site}" if view else "; the chain itself was not asked"
    click.echo(f"a chain vouches for {size} of {of} entries{since}{who}")
    if view and view.latest and view.latest.size > of:
        click.secho(f"The chain knows {view.latest.size} entries: this is not the newest state.", fg="yellow")


# -------------------------------------------------------------------- what they share


@contextmanager
def _anchoring(flags: dict[str, Any], organisation: str) -> Iterator[tuple["Anchoring", Connection]]:
    settings = resolved(flags).settings
    chain = _chain(settings)
    from einthoven.runtime.anchors import Anchoring  # noqa: PLC0415 - an extra

    with _connected(settings) as connection:
        yield (
            Anchoring(
                chain,
                organisation,
                SystemClock(),
                account=_secret(settings, "chain", organisation),
                consents=_secret(settings, "consents", organisation),
                contract=settings.chain_contract,
                confirmations=settings.chain_confirmations,
            ),
            connection,
        )


@contextmanager
def _connected(settings: Settings) -> Iterator[Connection]:
    if not settings.database:
        settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = open_database(settings.database_url)
    database.migrate()
    with closing(database.connect()) as connection:
        yield connection


def _chain(settings: Settings) -> "Chain":
    _needs_extra()
    if not settings.chain_url:
        raise InputInvalid("no chain is named.", where="chain", remedy="--chain-url http://host:port")
    from einthoven.runtime.json_rpc import Chain  # noqa: PLC0415 - an extra

    return Chain(settings.chain_url)


def _needs_extra() -> None:
    if find_spec("eth_account") is None:
        raise InputInvalid(
            "eth-account is not installed.", where="einthoven", remedy="pip install 'einthoven[chain]'"
        )


def _secret(settings: Settings, kind: Any, organisation: str) -> bytes:
    """The one of this organisation, which is made if there is none."""
    found = secret_named(settings.folder, kind, organisation)
    return keep_secret(settings.folder, kind, organisation) if found is None else found


def _hexadecimal(text: str) -> bytes:
    try:
        return bytes.fromhex(text.strip().removeprefix("0x"))
    except ValueError:
        raise InputInvalid("this is no key in hexadecimal.", where="key") from None


def _waited(step: Callable[[bool], "Step"], wait_s: float) -> "Step":
    from einthoven.runtime.anchors import until_done  # noqa: PLC0415 - an extra

    return until_done(step, SystemClock(), time.sleep, wait_s=wait_s)


def _row(one: KeptAnchor) -> dict[str, Any]:
    return {
        "entries": one.size,
        "root": one.root.hex(),
        "block": one.block,
        "at": utc_text(one.at_s * _NS),
        "gas": one.gas,
        "fee_wei": one.fee_wei,
        "transaction": one.transaction,
    }


def _say(step: "Step", connection: Connection, organisation: str, account: str, *, as_json: bool) -> None:
    with connection.reading() as statements:
        kept, anchors = chain_of(statements, organisation), anchors_of(statements, organisation)
    said = {
        "account": account,
        "chain": kept.chain_id if kept else None,
        "contract": kept.contract if kept else None,
        "anchored": anchors[-1].size if anchors else 0,
        "skipped": len(step.skipped),
        "transactions": [msgspec.to_builtins(one) for one in step.done],
    }
    if as_json:
        printed(said)
        return
    if step.done:
        printed([msgspec.to_builtins(one) for one in step.done], as_table=True)
    else:
        click.echo("Nothing to do.")
    click.echo(f"{said['contract']} on chain {said['chain']}: {said['anchored']} entries anchored.")
    if step.skipped:
        sys.stderr.write(f"{len(step.skipped)} versions of consents do not follow from those before.\n")
