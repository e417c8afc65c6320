"""Every setting of the service: one table, from which all else comes.

The fields of `Settings` are the table: name, type, range, default, unit and help. The keys of the TOML file,
the names in the environment (``EINTHOVEN_`` and the name in capitals), the flags of the command line (``--``
and the name with dashes) and docs/reference/settings.md are made from it. A flag goes before the environment,
the environment before the file, the file before the default.
"""

import ipaddress
import os
import sys
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from einthoven.continuum import Tier
from einthoven.errors import InputInvalid

__all__ = [
    "SETTINGS",
    "Resolved",
    "Setting",
    "Settings",
    "hand_over",
    "handed_over",
    "refuse_exposure",
    "resolve",
    "settings_page",
]

Where = Literal["here", "regions"]
LogLevel = Literal["debug", "info", "warning", "error"]


def _meta(help_: str, unit: str = "", **limits: Any) -> Meta:
    return Meta(description=help_, extra={"unit": unit}, **limits)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the service is told when it starts."""

    host: Annotated[
        str,
        _meta("Address to listen at. Others than this machine's own need a user first.", min_length=1),
    ] = "127.0.0.1"
    port: Annotated[int, _meta("Port to listen at; 0 for a free one.", ge=0, le=65535)] = 8125
    workers: Annotated[int, _meta("Worker processes; 0 for one a processor.", ge=0, le=256)] = 0
    data_folder: Annotated[str, _meta("Folder of all that the service keeps; empty for the user's own.")] = ""
    database: Annotated[
        str, _meta("A path, sqlite:///path or postgresql://…; empty for einthoven.db in the data folder.")
    ] = ""
    objects: Annotated[
        str,
        _meta(
            "Where the master dataset lies: a folder or an object store's URL; empty for objects in the "
            "data folder."
        ),
    ] = ""
    queue_limit: Annotated[
        int,
        _meta(
            "Segments that may wait in one worker; what does not fit is refused.",
            "segments",
            ge=1,
            le=1_000_000,
        ),
    ] = 2048
    batch_limit: Annotated[int, _meta("Segments in one transaction.", "segments", ge=1, le=10_000)] = 128
    gather_s: Annotated[
        float,
        _meta(
            "A worker that was idle waits so long for more before it begins; saves processor time.",
            "s",
            ge=0,
            le=1,
        ),
    ] = 0.010
    body_max_bytes: Annotated[int, _meta("Largest request with segments.", "bytes", ge=1024, le=2**30)] = (
        16 * 2**20
    )
    sealed: Annotated[
        Literal["accepted", "required"],
        _meta("Whether segments may come sealed, or must; see payloads.md."),
    ] = "accepted"
    drain_s: Annotated[
        float, _meta("How long a worker that stops may finish what it accepted.", "s", ge=0, le=3600)
    ] = 10.0
    device_rate_per_s: Annotated[
        float,
        _meta(
            "Segments that one device's token may send through one worker; 0 for no limit. A batch may "
            "always be sent, and ten seconds' worth at once.",
            "segments/s",
            ge=0,
            le=1e9,
        ),
    ] = 20.0
    gateway_rate_per_s: Annotated[
        float, _meta("The same for a gateway's token.", "segments/s", ge=0, le=1e9)
    ] = 5000.0
    emergency_access_h: Annotated[
        float,
        _meta("How long somebody who broke the glass sees a patient's data.", "h", gt=0, le=24),
    ] = 1.0
    session_h: Annotated[float, _meta("How long a login is good for.", "h", gt=0, le=8760)] = 12.0
    log_level: Annotated[LogLevel, _meta("What is logged.")] = "info"
    traces_url: Annotated[
        str, _meta("OTLP/HTTP endpoint for traces, such as http://127.0.0.1:4318/v1/traces; empty for none.")
    ] = ""
    seal_after_s: Annotated[
        float, _meta("Samples that waited so long go from the journal to an object.", "s", ge=1, le=604_800)
    ] = 300.0
    seal_bytes: Annotated[int, _meta("Samples so large together go at once.", "bytes", ge=1024, le=2**31)] = (
        8 * 2**20
    )

    upload_max_bytes: Annotated[int, _meta("Largest file that is uploaded.", "bytes", ge=1024, le=2**44)] = (
        8 * 2**30
    )
    upload_keep_h: Annotated[
        float,
        _meta("An upload of which nothing came for so long is removed.", "h", gt=0, le=8760),
    ] = 168.0
    recordings_store: Annotated[
        str,
        _meta("Object store in which recordings may lie that are named instead of uploaded; empty for none."),
    ] = ""
    batch_processes: Annotated[
        int,
        _meta(
            "Processes that analyse whole recordings, behind everything else; 0 for one in two processors.",
            ge=0,
            le=256,
        ),
    ] = 0

    continuum: Annotated[
        str,
        _meta("File that declares regions; empty for continuum.toml in the data folder, if there is one."),
    ] = ""
    segments_in: Annotated[
        Where,
        _meta(
            "Where segments are analysed. What regions do not do in time, or have no room for, is done here."
        ),
    ] = "here"
    recordings_in: Annotated[
        Where,
        _meta("Where the hours of whole recordings are analysed; regions need the same object store."),
    ] = "here"
    regions_policy: Annotated[
        Literal["balanced", "cheapest", "fastest", "least-loaded", "random", "round-robin", "two-choices"],
        _meta("Which region is given an invocation."),
    ] = "balanced"
    regions_need: Annotated[
        str, _meta("Labels that a region must have, with commas between them; empty for none.")
    ] = ""
    regions_patience_s: Annotated[
        float, _meta("So long regions are waited for with a segment.", "s", gt=0, le=60)
    ] = 1.0

    nodes_nats: Annotated[
        str,
        _meta("NATS servers over which nodes are managed, with commas between them; empty for no nodes."),
    ] = ""
    nodes_site: Annotated[str, _meta("Name of the site that the nodes belong to.")] = "site"
    nodes_ca: Annotated[
        str, _meta("Certificates that those servers' are checked with; empty for this machine's.")
    ] = ""
    nodes_credentials: Annotated[str, _meta("User credentials file for those servers; empty for none.")] = ""

    policy: Annotated[
        str,
        _meta(
            "File that says which data may go to which regions and nodes; empty for none: all may go "
            "anywhere. One that cannot be read lets nothing go."
        ),
    ] = ""
    tier: Annotated[Tier, _meta("Where this service stands.")] = "local"
    movements_s: Annotated[
        float,
        _meta(
            "What of a patient's data goes to a region is summed for so long, and then one entry of the "
            "ledger.",
            "s",
            ge=1,
            le=86_400,
        ),
    ] = 900.0

    views_after_s: Annotated[
        float,
        _meta(
            "What came into the master dataset waits so long for more before batch views take it in.",
            "s",
            ge=0,
            le=604_800,
        ),
    ] = 600.0

    chain_url: Annotated[
        str,
        _meta("JSON-RPC address of a node of an EVM chain on which ledgers are anchored; empty for none."),
    ] = ""
    chain_contract: Annotated[
        str,
        _meta(
            "Address of the contract of anchors; empty to believe the database, which einthoven ledger "
            "anchor told."
        ),
    ] = ""
    chain_confirmations: Annotated[
        int,
        _meta(
            "A transaction is believed when so many blocks have it, with its own.", "blocks", ge=1, le=10_000
        ),
    ] = 1
    anchor_every_s: Annotated[
        float, _meta("So often the newest checkpoint is anchored.", "s", ge=1, le=31_536_000)
    ] = 3600.0

    @property
    def folder(self) -> Path:
        """Where all lies that has no other place."""
        return Path(self.data_folder).expanduser() if self.data_folder else _own_folder()

    @property
    def database_url(self) -> str:
        """The database's URL or path."""
        return self.database or str(self.folder / "einthoven.db")

    @property
    def objects_url(self) -> str:
        """The object store's URL or folder."""
        return self.objects or str(self.folder / "objects")

    @property
    def reports_cache(self) -> Path:
        """Where files of recordings are while a report is printed of them."""
        return self.folder / "reports-cache"

    @property
    def continuum_path(self) -> Path:
        """The file that declares regions; it need not be there."""
        return Path(self.continuum).expanduser() if self.continuum else self.folder / "continuum.toml"

    @property
    def policy_path(self) -> Path | None:
        """The data policy; None where there is none."""
        return Path(self.policy).expanduser() if self.policy else None

    @property
    def region_shares(self) -> int:
        """Processes that share the slots of regions."""
        return (self.processes if self.segments_in == "regions" else 0) + (self.recordings_in == "regions")

    @property
    def needs(self) -> frozenset[str]:
        """Labels that a region must have."""
        return frozenset(label for one in self.regions_need.split(",") if (label := one.strip()))

    @property
    def processes(self) -> int:
        """How many workers there are."""
        return self.workers or os.cpu_count() or 1

    @property
    def batch_workers(self) -> int:
        """How many processes analyse whole recordings."""
        return self.batch_processes or max(1, (os.cpu_count() or 1) // 2)


class Setting(msgspec.Struct, frozen=True):
    """One row of the table."""

    name: str
    type: type
    choices: tuple[str, ...]
    default: str | int | float
    unit: str
    least: float | None
    greatest: float | None
    help: str

    @property
    def environment(self) -> str:
        """Its name in the environment."""
        return f"EINTHOVEN_{self.name.upper()}"

    @property
    def flag(self) -> str:
        """Its flag on the command line."""
        return f"--{self.name.replace('_', '-')}"


class Resolved(msgspec.Struct, frozen=True):
    """Settings, and where each came from."""

    settings: Settings
    origins: dict[str, str]
    """``default``, ``file PATH``, ``environment NAME`` or ``flag --name``."""


def _table() -> dict[str, Setting]:
    rows = {}
    hints = get_type_hints(Settings, include_extras=True)
    for field in msgspec.structs.fields(Settings):
        kind, meta = get_args(hints[field.name])
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        rows[field.name] = Setting(
            name=field.name,
            type=str if choices else kind,
            choices=choices,
            default=field.default,
            unit=meta.extra["unit"],
            least=meta.ge if meta.ge is not None else meta.gt,
            greatest=meta.le,
            help=meta.description,
        )
    return rows


SETTINGS: Final[dict[str, Setting]] = _table()
"""By name, in the order in which they are documented."""


def resolve(
    flags: Mapping[str, Any] = {},
    *,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Resolved:
    """Settings from flags (None is unset), environment, TOML file and defaults, in this order.

    Raises
    ------
    InputInvalid : a name that is none of ours, or a value out of its type or range; says which and whence.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(SETTINGS, "default")
    for name, value in (_read(file) if file else {}).items():
        _known(name, f"file {file}")
        values[name], origins[name] = _checked(name, value, f"file {file}", is_text=False), f"file {file}"
    environment = os.environ if environment is None else environment
    for setting in SETTINGS.values():
        text = environment.get(setting.environment)
        if text is not None:
            origin = f"environment {setting.environment}"
            values[setting.name] = _checked(setting.name, text, origin, is_text=True)
            origins[setting.name] = origin
    for name, value in flags.items():
        if value is not None:
            _known(name, "flag")
            origin = f"flag {SETTINGS[name].flag}"
            values[name], origins[name] = _checked(name, value, origin, is_text=False), origin
    return Resolved(Settings(**values), origins)


_HANDED: Final = "EINTHOVEN_WORKER_SETTINGS"
_SUPERVISOR: Final = "EINTHOVEN_WORKER_SUPERVISOR"


def hand_over(settings: Settings) -> None:
    """To the processes that this one will start."""
    os.environ[_HANDED] = msgspec.json.encode(settings).decode()
    os.environ[_SUPERVISOR] = str(os.getpid())


def handed_over() -> tuple[Settings, int]:
    """The settings that the supervisor handed over, and its process number."""
    return msgspec.json.decode(os.environ[_HANDED], type=Settings), int(os.environ[_SUPERVISOR])


def refuse_exposure(host: str, *, has_users: bool) -> None:
    """Only this machine's own address is listened at while anybody with the setup token could take over.

    Raises
    ------
    InputInvalid : others could reach it, and there is no user.
    """
    if not has_users and not _is_own(host):
        raise InputInvalid(
            "the service would be reachable from elsewhere, and nobody can administer it.",
            where="host",
            remedy="Start it at 127.0.0.1 first and make an administrator, or use 'einthoven users add'.",
        )


def settings_page() -> str:
    """docs/reference/settings.md."""
    lines = [
        "# Settings",
        "",
        "Written from `einthoven.server.settings`. A flag of `einthoven serve` goes before the environment, "
        "the environment before the TOML file (`--config FILE`), the file before the default. Flags are the "
        "names with dashes (`--queue-limit 4096`), the environment has them in capitals "
        "(`EINTHOVEN_QUEUE_LIMIT=4096`), the file as they are (`queue_limit = 4096`). A name that is not in "
        "the table, and a value out of its range, is refused. `einthoven config show --origin` prints what "
        "holds and where it came from.",
        "",
        "| setting | type | default | range | unit | |",
        "|---|---|---|---|---|---|",
    ]
    for one in SETTINGS.values():
        kind = " ".join(f"`{choice}`" for choice in one.choices) or f"{one.type.__name__}"
        default = f"`{one.default}`" if one.default != "" else "empty"
        limits = "" if one.least is None else f"{one.least:,} to {one.greatest:,}".replace(",", " ")
        lines.append(f"| `{one.name}` | {kind} | {default} | {limits} | {one.unit} | {one.help} |")
    lines.append("")
    return "\n".join(lines)


def _own_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "einthoven"
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/einthoven").expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "einthoven"


def _is_own(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise InputInvalid(
            f"the file cannot be read ({error.strerror}).", where=str(file), remedy="Check its path."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputInvalid(f"this is not TOML: {error}.", where=str(file), remedy="Mend it.") from None


def _known(name: str, origin: str) -> None:
    if name in SETTINGS:
        return
    near = get_close_matches(name, SETTINGS, 1)
    guess = f"Did you mean {near[0]}? " if near else ""
    raise InputInvalid(
        f"there is no setting {name[:40]!r}.", where=origin, remedy=f"{guess}There are {', '.join(SETTINGS)}."
    )


def _checked(name: str, value: Any, origin: str, *, is_text: bool) -> Any:
    kind = get_type_hints(Settings, include_extras=True)[name]
    try:
        return msgspec.convert(value, kind, strict=not is_text)
    except msgspec.ValidationError as error:
        setting = SETTINGS[name]
        what = str(error)
        if setting.choices:
            what = f"it is one of {', '.join(setting.choices)}"
        raise InputInvalid(
            f"{name} is wrong: {what[:1].lower()}{what[1:]}.",
            where=origin,
            remedy=f"{setting.help} Default: {setting.default!r}.",
        ) from None
