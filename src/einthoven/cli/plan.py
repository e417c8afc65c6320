"""``einthoven plan``: which requests can be answered in time, where, and with how much of what there is."""

import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console

from einthoven.cli.machine import machine
from einthoven.cli.offline import printed
from einthoven.cli.picture_files import checked_picture, write_picture
from einthoven.cli.plan_bench import command as bench
from einthoven.cli.plan_compare import command as compare
from einthoven.cli.plan_cost import command as cost
from einthoven.cli.plan_files import finite, read_file, solved
from einthoven.cli.plan_view import loads_of, print_placed, print_uses, tree_of_sites
from einthoven.continuum import example
from einthoven.errors import Conflict, InputInvalid, NotFound
from einthoven.pictures.sites import Loads, draw_continuum
from einthoven.placement.offloading.certificate import (
    Certificate,
    certify,
    problem_digest,
    read_certificate,
    verify_certificate,
    write_certificate,
)
from einthoven.placement.offloading.methods import METHODS
from einthoven.placement.offloading.options import Problem, placed, problem_of, uses_of
from einthoven.placement.offloading.plans import ALLOCATIONS, Allocation, Plan
from einthoven.placement.offloading.reasons import Reason, worths
from einthoven.records.files import write_whole
from einthoven.version import __version__

__all__ = ["command"]

_LEAST_WIDTH: Final = 120
EXIT_REFUSED: Final = 1
"""Not all requests are accepted, or a plan does not hold."""
_FILE = click.Path(path_type=Path, dir_okay=False)
_as_json = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
_with_method = click.option(
    "--method", type=click.Choice(list(METHODS)), default="default", show_default=True, help="How to plan."
)


@click.group(name="plan")
def command() -> None:
    """Plan which requests are answered in time, where, and with how much of radio, links and processors.

    A FILE is a continuum.toml with sites, links and requests; docs/reference/continuum.md tells its keys.
    """


command.add_command(bench)
command.add_command(compare)
command.add_command(cost)


@command.command(name="new")
@click.argument("file", type=_FILE)
@_as_json
def new(file: Path, as_json: bool) -> None:
    """Write an example, a hospital with a ward, an ambulance, two masts and a data centre, to begin with."""
    if file.exists():
        raise Conflict("there is such a file already.", where=str(file), remedy="Give another name.")
    write_whole(file, example().encode())
    if as_json:
        printed({"file": str(file)})
    else:
        click.echo(f"{file} is written. See it with: einthoven plan show {file}")


@command.command(name="show")
@click.argument("file", type=_FILE)
@click.option("--method", type=click.Choice(list(METHODS)), help="Plan with it, and show how full all is.")
@click.option("--output", type=_FILE, help="Draw it into this file, .svg or .png.")
@_as_json
def show(file: Path, method: str | None, output: Path | None, as_json: bool) -> None:
    """Show sites, links and requests as a tree or a drawing; with --method, how full a plan makes them.

    Shares are then the cheapest, so that what is full is what is scarce.
    """
    checked_picture(output)
    continuum = read_file(file)
    loads = Loads()
    if method is not None:
        problem = problem_of(continuum)
        loads = loads_of(problem, solved(problem.instance, method, allocation="cheapest"))
    if output is not None:
        write_picture(output, draw_continuum(continuum, loads).file(file.name))
    if as_json:
        told = finite(msgspec.to_builtins(continuum))
        used = {
            "parts": dict(loads.parts),
            "computed": dict(loads.computed),
            "accepted": dict(loads.accepted),
        }
        drawing = None if output is None else str(output)
        printed({**told, "plan": used if method else None, "drawing": drawing})
        return
    console = Console()
    console.width = max(console.width, _LEAST_WIDTH)
    console.print(tree_of_sites(continuum, loads, file.name))
    if method is not None:
        click.echo(loads.title)
    if output is not None:
        click.echo(f"Drawn in {output}.")


@command.command(name="solve")
@click.argument("file", type=_FILE)
@_with_method
@click.option(
    "--shares", "allocation", type=click.Choice(ALLOCATIONS[:3]), default="balanced", show_default=True,
    help="How what is accepted divides what there is.",
)  # fmt: skip
@click.option("--seconds", type=click.FloatRange(0.1, 86400), help="Look no longer; then the best found.")
@click.option("--save", type=_FILE, help="Keep the plan with its certificate in this file.")
@click.option(
    "--explain", is_flag=True, help="Say what each holds, how good the plan is, and why others are refused."
)
@click.option("--all", "wants_all", is_flag=True, help="Exit with 1 unless all requests are accepted.")
@_as_json
def solve(
    file: Path,
    method: str,
    allocation: Allocation,
    seconds: float | None,
    save: Path | None,
    explain: bool,
    wants_all: bool,
    as_json: bool,
) -> int:
    """Decide which requests are accepted, where each runs and what it holds, so that they are in time.

    balanced: every deadline is met exactly, everything is equally full. stretched: all is given away, so
    answers come sooner. cheapest: as little as possible is given away.
    """
    problem = problem_of(read_file(file))
    begun = time.perf_counter()
    with Console(stderr=True).status(f"Planning {problem.instance.count} requests"):
        made = solved(problem.instance, method, allocation=allocation, seconds=seconds)
        took_ms = 1000 * (time.perf_counter() - begun)
        certificate = certify(problem.instance, made) if save or explain else None
    if save is not None and certificate is not None:
        write_whole(save, write_certificate(certificate, is_json=save.suffix != ".msgpack"))
    if as_json:
        printed(
            {
                **_told(problem, made),
                "refused": _refused(problem, made, certificate),
                "certificate": None if save is None else str(save),
                "took_ms": round(took_ms, 3),
                "machine": machine(),
                "version": __version__,
            }
        )
    else:
        _print(problem, made, took_ms, certificate if explain else None)
        if save is not None:
            click.echo(f"Kept in {save}. Anybody can check it: einthoven plan verify {save}")
    return EXIT_REFUSED if wants_all and len(made.accepted) < made.offered else 0


def _told(problem: Problem, made: Plan) -> dict[str, Any]:
    """A plan as JSON says it."""
    resources = zip(uses_of(problem, made), made.prices.tolist(), strict=True)
    return {
        "method": made.method,
        "shares": made.allocation,
        "offered": made.offered,
        "accepted": len(made.accepted),
        "acceptance_pct": round(100 * made.acceptance, 3),
        "value": made.value,
        "bound": finite(made.bound),
        "gap": finite(made.gap),
        "is_proven": made.is_proven,
        "least_utilisation": finite(made.least_utilisation),
        "cost": made.cost,
        "requests": [msgspec.to_builtins(one) for one in placed(problem, made)],
        "resources": [{**msgspec.to_builtins(use), "price": price} for use, price in resources],
    }


def _refused(problem: Problem, made: Plan, certificate: Certificate | None) -> list[dict[str, Any]]:
    """Requests that are not accepted; with a certificate also why, and what would help."""
    if certificate is not None:
        return [{**msgspec.to_builtins(one), "says": _why(problem, one)} for one in certificate.reasons]
    accepted = set(made.accepted.tolist())
    names = problem.instance.requests
    return [{"request": name} for number, name in enumerate(names) if number not in accepted]


def _why(problem: Problem, reason: Reason) -> str:
    """Why a request is refused, in words."""
    number = problem.instance.requests.index(reason.request)
    nowhere = problem.nowhere.get(problem.of_request(number).name)
    return reason.says if nowhere is None else f"{reason.request} can run nowhere: {nowhere}."


def _print(problem: Problem, made: Plan, took_ms: float, certificate: Certificate | None) -> None:
    console = Console()
    console.width = max(console.width, _LEAST_WIDTH)
    every = placed(problem, made)
    colour = "green" if len(every) == made.offered else "yellow"
    bound = "nobody could accept more" if made.is_proven else f"no plan is worth more than {made.bound:.1f}"
    console.print(
        f"[bold {colour}]{len(every)} of {made.offered} requests accepted[/], worth {made.value:g}; {bound}. "
        f"[dim]{made.method}, {took_ms:.0f} ms[/]"
    )
    print_placed(console, problem, every, with_phases=certificate is not None)
    known = worths(made)
    print_uses(console, uses_of(problem, made), None if known is None else known.tolist())
    if certificate is not None:
        for line in certificate.says()[: -len(certificate.reasons) or None]:
            console.print(line)
        alike = Counter(
            (_why(problem, one).removeprefix(one.request), _class_of(problem, one))
            for one in certificate.reasons
        )
        for (words, name), count in alike.items():
            console.print(f"[red]✗[/] {f'{count} × ' if count > 1 else ''}[bold]{name}[/]{words}")


def _class_of(problem: Problem, reason: Reason) -> str:
    return problem.of_request(problem.instance.requests.index(reason.request)).name


@command.command(name="verify")
@click.argument("file", metavar="CERTIFICATE", type=_FILE)
@click.option("--of", type=_FILE, help="Whether it is of the problem in this file, as it is now.")
@_as_json
def verify(file: Path, of: Path | None, as_json: bool) -> int:
    """Check a plan that was kept: deadlines, capacities, bound, and the reason of every refusal.

    Everything is computed again from the file alone, by other code than that which planned. Exits with 1 and
    says what is wrong if anything is.
    """
    certificate = read_certificate(_bytes_of(file))
    flaws = list(verify_certificate(certificate))
    if of is not None and certificate.problem != problem_digest(problem_of(read_file(of)).instance):
        flaws.append(f"it is a plan of another problem than that in {of.name}")
    if as_json:
        plan = certificate.plan
        told = {"holds": not flaws, "flaws": flaws, "method": plan.method, "accepted": len(plan.accepted)}
        printed({**told, "offered": plan.offered, "proof": certificate.proof, "problem": certificate.problem})
    elif flaws:
        click.echo(f"{file} does not hold: {'; '.join(flaws)}.")
    else:
        click.echo(f"{file} holds.")
        for line in certificate.says()[: -len(certificate.reasons) or None]:
            click.echo(line)
    return EXIT_REFUSED if flaws else 0


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise NotFound(
            "there is no such file.",
            where=str(file),
            remedy="Keep a plan with `einthoven plan solve --save`.",
        ) from None
    except OSError as error:
        raise InputInvalid(f"it cannot be read ({type(error).__name__}).", where=str(file)) from None
