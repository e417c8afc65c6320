"""``einthoven plan compare``: all ways to plan, side by side on the same requests."""

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from einthoven.cli.machine import machine
from einthoven.cli.offline import printed
from einthoven.cli.plan_files import finite, read_file, solved
from einthoven.errors import InputInvalid
from einthoven.placement.offloading.instance import Instance
from einthoven.placement.offloading.methods import METHODS
from einthoven.placement.offloading.options import problem_of
from einthoven.placement.offloading.plans import Plan
from einthoven.placement.offloading.scenario import ONE_STATION, THREE_STATIONS, Scenario, draw
from einthoven.placement.offloading.solver import has_solver
from einthoven.version import __version__

__all__ = ["command"]

_SCENARIOS: Final[dict[str, Scenario]] = {"one-station": ONE_STATION, "three-stations": THREE_STATIONS}

_LEAST_WIDTH: Final = 130


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One way to plan."""

    method: str
    says: str
    accepted: int
    acceptance_pct: float
    value: float
    bound: float | None
    """None: the method knows none."""
    is_proven: bool
    cost: float
    """Sum of the utilisations."""
    least_utilisation: float | None
    took_ms: float


@click.command(name="compare")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--scenario", type=click.Choice(list(_SCENARIOS)), help="Drawn requests instead of a file.")
@click.option("--requests", type=click.IntRange(1, 10_000), default=60, show_default=True, help="Drawn.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of what is drawn.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 3600), default=20.0, show_default=True,
    help="For each method that looks for better plans.",
)  # fmt: skip
@click.option("--method", "methods", type=click.Choice(list(METHODS)), multiple=True, help="Only these.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    file: Path | None,
    scenario: str | None,
    requests: int,
    seed: int,
    seconds: float,
    methods: tuple[str, ...],
    as_json: bool,
) -> None:
    """Plan the same requests in all ways: how many are accepted, what that takes, and how good it is at best.

    HRA is a reconstruction; docs/offloading.md tells what each method does.
    """
    if (file is None) == (scenario is None):
        raise InputInvalid(
            "either a file or a scenario is wanted.",
            where="compare",
            remedy="einthoven plan compare FILE, or: einthoven plan compare --scenario three-stations",
        )
    arrival = None
    if file is not None:
        instance = problem_of(read_file(file)).instance
    else:
        drawn = draw(_SCENARIOS[str(scenario)], requests, seed)
        instance, arrival = drawn.instance, drawn.arrival
    rows = []
    chosen = methods or tuple(name for name, one in METHODS.items() if has_solver() or not one.needs_solver)
    with _progress() as progress:
        task = progress.add_task("", total=len(chosen))
        for name in chosen:
            progress.update(task, description=name)
            planner = partial(solved, instance, name, seconds=seconds, arrival=arrival)
            rows.append(_compared(name, planner))
            progress.advance(task)
    if as_json:
        told = [msgspec.to_builtins(one) for one in rows]
        printed({"requests": instance.count, "rows": told, "machine": machine(), "version": __version__})
        return
    _print(instance, rows)
    left_out = [] if methods else [name for name in METHODS if name not in chosen]
    if left_out:
        click.echo(f"Without einthoven[plan] these are not to be had: {', '.join(left_out)}.", err=True)


def _compared(name: str, planner: Callable[[], Plan]) -> Compared:
    begun = time.perf_counter()
    made = planner()
    took_ms = 1000 * (time.perf_counter() - begun)
    return Compared(
        method=name,
        says=METHODS[name].says,
        accepted=len(made.accepted),
        acceptance_pct=round(100 * made.acceptance, 3),
        value=made.value,
        bound=finite(made.bound),
        is_proven=made.is_proven,
        cost=made.cost,
        least_utilisation=finite(made.least_utilisation),
        took_ms=round(took_ms, 3),
    )


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:>14}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _print(instance: Instance, rows: list[Compared]) -> None:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for heading in ("method", "accepted", "%", "value", "bound", "used", "λ", "ms", "what it does"):
        table.add_column(heading, justify="left" if heading in {"method", "what it does"} else "right")
    best = max(one.value for one in rows)
    for one in sorted(rows, key=lambda one: -one.value):
        colour = "green" if one.value >= best else "default"
        bound = (
            ""
            if one.bound is None
            else f"{math.floor(one.bound + 1e-6) if not one.is_proven else one.value:g}"
        )
        table.add_row(
            f"[{colour}]{one.method}[/]",
            f"[bold]{one.accepted}[/]",
            f"{one.acceptance_pct:.1f}",
            f"{one.value:g}",
            f"{bound}{' proven' if one.is_proven else ''}",
            f"{one.cost:.2f}",
            "" if one.least_utilisation is None else f"{one.least_utilisation:.3f}",
            f"{one.took_ms:,.0f}" if one.took_ms >= 10 else f"{one.took_ms:.1f}",
            f"[dim]{one.says}[/]",
        )
    console = Console()
    console.width = max(console.width, _LEAST_WIDTH)
    console.print(f"[bold]{instance.count} requests[/], {len(instance.owners)} options.")
    console.print(table)
    console.print(
        "[dim]used: sum of the utilisations. λ: how full the fullest must be at least. "
        "No plan has more value than the bound.[/]"
    )
