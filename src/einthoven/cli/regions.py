"""``einthoven regions``: what regions there are, how they are, and changing that."""

import asyncio
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from einthoven.cli.offline import printed
from einthoven.clock import SystemClock
from einthoven.continuum import KINDS, TIERS, Price, Region
from einthoven.errors import EinthovenError
from einthoven.experiments.segments import segment_contents
from einthoven.runtime.continuum_file import ContinuumFile
from einthoven.runtime.reaching import reached
from einthoven.runtime.region_probe import RegionReport, report_on
from einthoven.server.region_figures import figures_of

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])
_FAILED: Final = 3


def _with_file(function: F) -> F:
    function = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")(function)
    return click.option(
        "--continuum",
        "path",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("continuum.toml"),
        envvar="EINTHOVEN_CONTINUUM",
        show_default=True,
        show_envvar=True,
        help="The file that declares them.",
    )(function)


@click.group(name="regions")
def command() -> None:
    """See the regions where functions run, and add, drain and remove them."""


@command.command(name="list")
@click.option("--probe/--no-probe", default=True, help="Ask each how it is.  [default: probe]")
@click.option("--service", "url", help="URL of a running service: how they stand with it.")
@_with_file
def list_(probe: bool, url: str | None, path: Path, as_json: bool) -> None:
    """List regions, and how each of them is."""
    continuum = ContinuumFile(path).read()
    reports = asyncio.run(_asked(continuum.regions, 0, 1, 5.0)) if probe else {}
    rows = [_row(one, reports.get(one.name)) for one in continuum.regions]
    if url is not None:
        figures = figures_of(url)
        rows = [{**row, "with_service": msgspec.to_builtins(figures[row["name"]])} for row in rows]
    if as_json:
        printed({"currency": continuum.currency, "regions": rows})
    else:
        printed([_cells(row) for row in rows], as_table=True)


@command.command(name="probe")
@click.argument("name")
@click.option("--calls", type=click.IntRange(0, 100_000), default=20, show_default=True, help="Segments.")
@click.option("--at-once", type=click.IntRange(1, 1000), default=1, show_default=True, help="Of them.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.01, 600), default=10.0, show_default=True)
@_with_file
def probe(name: str, calls: int, at_once: int, timeout_s: float, path: Path, as_json: bool) -> None:
    """Have a region analyse segments of a virtual patient, and see how long it takes."""
    region = ContinuumFile(path).read().region(name)
    row = _row(region, asyncio.run(_asked([region], calls, at_once, timeout_s))[name])
    if as_json:
        printed(row)
    else:
        printed([_cells(row)], as_table=True)
        if row["calls"]:
            click.echo(
                f"{row['calls'] - row['failed']} of {row['calls']} segments analysed"
                + (
                    f": {_ms(row['p50_ms'])} ms median, {_ms(row['p99_ms'])} ms p99, of which the function "
                    f"{_ms(row['busy_ms'])} ms."
                    if row["p50_ms"] is not None
                    else "."
                )
            )
    if not row["answers"] or row["failed"]:
        if row["why"]:
            click.echo(f"{name}: {row['why']}", err=True)
        sys.exit(_FAILED)


@command.command(name="add")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="How it is reached.")
@click.option("--address", default="", help="URL, or address of a cluster.")
@click.option("--slots", type=int, default=1, show_default=True, help="Invocations at one time, at most.")
@click.option("--tier", type=click.Choice(TIERS), default="core", show_default=True)
@click.option("--place", default="", help="Where it is.")
@click.option("--label", "labels", multiple=True, help="What may be asked of it; several times.")
@click.option("--function", "functions", multiple=True, help="One that it is given; all if left out.")
@click.option("--resource", default="", help="Of a Ray cluster, the nodes that have it.")
@click.option("--one-function", "is_one_function", is_flag=True, help="The address itself is the function.")
@click.option("--rtt", "rtt_s", type=float, default=0.0, help="Expected time there and back, s.")
@click.option("--warm", type=int, default=0, help="Instances that are kept warm.")
@click.option("--longest", "longest_s", type=float, help="It gives no invocation more time, s.")
@click.option("--bandwidth", "bandwidth_mb_s", type=float, help="Of data brought there, MB/s.")
@click.option("--per-invocation", type=float, default=0.0, help="Price of an invocation.")
@click.option("--per-gb-s", type=float, default=0.0, help="Price of a GB of memory for a second.")
@click.option("--per-egress-gb", type=float, default=0.0, help="Price of a GB that leaves its place.")
@click.option("--token-file", default="", help="File with the bearer token or the credentials.")
@click.option("--ca-file", default="", help="File of the certificates that its own is checked with.")
@_with_file
def add(
    name: str,
    per_invocation: float,
    per_gb_s: float,
    per_egress_gb: float,
    bandwidth_mb_s: float | None,
    longest_s: float | None,
    path: Path,
    as_json: bool,
    **fields: Any,
) -> None:
    """Declare a region, in a file that is made where there is none."""
    price = Price(per_invocation=per_invocation, per_gb_s=per_gb_s, per_egress_gb=per_egress_gb)
    bandwidth = math.inf if bandwidth_mb_s is None else bandwidth_mb_s
    longest_s = math.inf if longest_s is None else longest_s
    region = Region(name=name, price=price, bandwidth_mb_s=bandwidth, longest_s=longest_s, **fields)
    ContinuumFile(path).add(region)
    _say(name, "added", f"{name} is declared in {path}.", as_json=as_json)


@command.command(name="drain")
@click.argument("name")
@_with_file
def drain(name: str, path: Path, as_json: bool) -> None:
    """Give a region nothing new; it finishes what it has."""
    ContinuumFile(path).drain(name)
    _say(name, "draining", f"{name} is given nothing new.", as_json=as_json)


@command.command(name="resume")
@click.argument("name")
@_with_file
def resume(name: str, path: Path, as_json: bool) -> None:
    """Give a region that was drained something again."""
    ContinuumFile(path).drain(name, is_draining=False)
    _say(name, "in use", f"{name} is in use.", as_json=as_json)


@command.command(name="remove")
@click.argument("name")
@_with_file
def remove(name: str, path: Path, as_json: bool) -> None:
    """Remove a region from the file; all else in it stays as it was written."""
    ContinuumFile(path).remove(name)
    _say(name, "removed", f"{name} is removed.", as_json=as_json)


def _say(name: str, state: str, sentence: str, *, as_json: bool) -> None:
    if as_json:
        printed({"region": name, "state": state})
    else:
        click.echo(sentence)


async def _asked(
    regions: Iterable[Region], calls: int, at_once: int, timeout_s: float
) -> dict[str, RegionReport]:
    content = segment_contents()[0] if calls else b""

    async def one(region: Region) -> RegionReport:
        try:
            port = reached(region)
        except EinthovenError as error:
            return RegionReport(answers=False, why=error.what)
        try:
            return await report_on(
                port, SystemClock(), content=content, calls=calls, at_once=at_once, timeout_s=timeout_s
            )
        finally:
            await port.close()

    several = list(regions)
    reports = await asyncio.gather(*(one(region) for region in several))
    return {region.name: report for region, report in zip(several, reports, strict=True)}


def _row(region: Region, report: RegionReport | None) -> dict[str, Any]:
    """A region as JSON says it."""
    about = msgspec.to_builtins(msgspec.structs.replace(region, token_file=""))
    del about["token_file"]
    for name in ("bandwidth_mb_s", "longest_s"):
        if about[name] == math.inf:
            about[name] = None
    if report is None:
        return {**about, "answers": None, "why": ""}
    return {
        **about,
        "is_draining": region.is_draining or report.is_draining,
        "answers": report.answers,
        "why": report.why,
        "slots_there": report.slots,
        "functions_there": list(report.functions),
        "rtt_ms": _of_s(report.rtt_s),
        "calls": report.calls,
        "failed": report.failed,
        "p50_ms": _of_s(report.p50_s),
        "p99_ms": _of_s(report.p99_s),
        "busy_ms": _of_s(report.busy_s),
    }


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """A region as a table shows it."""
    state = {None: "not asked", True: "up", False: f"down: {row['why']}"}[row["answers"]]
    if row["is_draining"] and row["answers"] is not False:
        state = "draining"
    price = row["price"]
    return {
        "region": row["name"],
        "kind": row["kind"],
        "tier": row["tier"],
        "place": row["place"],
        "state": state,
        "away, ms": _ms(row.get("rtt_ms")),
        "slots": row["slots"],
        "functions": len(row.get("functions_there") or row["functions"]) or "",
        "an invocation": price["per_invocation"] or "",
        "a GB s": price["per_gb_s"] or "",
        "a GB out": price["per_egress_gb"] or "",
        "labels": " ".join(row["labels"]),
    } | _standing(row.get("with_service"))


def _standing(figures: dict[str, Any] | None) -> dict[str, Any]:
    """How a region stands with a service."""
    if figures is None:
        return {}
    rate = figures["error_rate"]
    return {
        "now": figures["in_flight"],
        "answered": figures["answered"],
        "errors": "" if rate is None else f"{100 * rate:.3g} %",
        "lately, ms": _ms(_of_s(figures["mean_s"])),
        "cost": f"{figures['cost']:.4g}" if figures["cost"] else "",
        "avoided": "yes" if figures["is_avoided"] else "",
    }


def _of_s(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 3)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
