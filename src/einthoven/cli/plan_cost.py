"""``einthoven plan cost``: what a year costs, what is lost when something fails, and what to heed."""

from pathlib import Path
from typing import Final, get_args

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from einthoven.cli.machine import machine
from einthoven.cli.offline import printed
from einthoven.cli.picture_files import checked_picture, write_picture
from einthoven.cli.plan_files import read_file, solved
from einthoven.pictures.charts import Bars, Chart, draw_bars
from einthoven.placement.cost_sheet import CostKind, Sheet, cost_sheet
from einthoven.placement.offloading.methods import METHODS
from einthoven.version import __version__

__all__ = ["command"]

_LEAST_WIDTH: Final = 120
_LEAST: Final = 0.5
"""Lines of less are in the sums, and in JSON."""
_FILE = click.Path(path_type=Path, dir_okay=False)
_KINDS: Final[tuple[CostKind, ...]] = get_args(CostKind)


@click.command(name="cost")
@click.argument("file", type=_FILE)
@click.option(
    "--method", type=click.Choice(list(METHODS)), default="ldg", show_default=True,
    help="How to plan, with all parts and without each.",
)  # fmt: skip
@click.option("--output", type=_FILE, help="Draw a year's costs into this file, .svg or .png.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(file: Path, method: str, output: Path | None, as_json: bool) -> None:
    """Work out what a year costs and what may go wrong: a sheet of costs and risks.

    Devices, links, energy, cloud, staff and repairs under a plan; what is lost when a site, a link or a radio
    cell is gone and all else is planned anew; rules to look at, with what in the file they come from. What is
    not declared is in no sum, and is named.
    """
    checked_picture(output)
    continuum = read_file(file)
    with Console(stderr=True).status("Planning") as status:
        sheet = cost_sheet(
            continuum,
            lambda problem: solved(problem.instance, method, allocation="cheapest"),
            lambda what: status.update(f"Planning: {what}"),
        )
    if output is not None:
        write_picture(output, _drawn(sheet))
    if as_json:
        kinds = {kind: sheet.of_kind(kind) for kind in _KINDS}
        drawing = None if output is None else str(output)
        printed(
            {
                **msgspec.to_builtins(sheet),
                "by_kind": kinds,
                "method": method,
                "drawing": drawing,
                "machine": machine(),
                "version": __version__,
            }
        )
        return
    _print(sheet, file.name)
    if output is not None:
        click.echo(f"Drawn in {output}.")


def _drawn(sheet: Sheet) -> str:
    chart = Chart(
        title=f"A year: {sheet.per_year:,.0f} {sheet.currency}",
        subtitle="What is not declared is in no bar",
        x="",
        y=f"{sheet.currency} a year",
    )
    bars = Bars(name="a year", values=[sheet.of_kind(kind) for kind in _KINDS])
    return draw_bars(chart, list(_KINDS), [bars]).file(chart.title)


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in headings:
        is_number = heading in {"a year", "accepted", "hours a year", "lost × hours"}
        table.add_column(heading, justify="right" if is_number else "left")
    return table


def _print(sheet: Sheet, name: str) -> None:
    console = Console()
    console.width = max(console.width, _LEAST_WIDTH)
    console.print(
        f"[bold]{escape(name)}[/]: [bold]{sheet.per_year:,.0f} {sheet.currency}[/] a year, of which "
        f"devices bought at once for {sheet.purchase:,.0f} are a part; {sheet.transition:,.0f} at the "
        f"beginning; {sheet.kwh_per_year:,.0f} kWh and {sheet.kg_co2_per_year:,.0f} kg of CO₂ a year."
    )
    _print_costs(console, sheet)
    table = _table("Requests", "accepted", "a year")
    for one in sheet.requests:
        colour = "green" if one.accepted == one.asked else "red"
        per_year = "[dim]not declared[/]" if one.per_year is None else f"{one.per_year:,.0f}"
        table.add_row(one.request, f"[{colour}]{one.accepted} of {one.asked}[/]", per_year)
    console.print(table)
    if sheet.overloaded:
        console.print(f"[red]✗[/] The loads ask more than there is of: {', '.join(sheet.overloaded)}.")
    _print_failures(console, sheet)
    table = _table("Rule", "because", "")
    for note in sheet.notes:
        table.add_row(f"[bold]{note.rule}[/]", f"[dim]{escape(note.because)}[/]", escape(note.says))
    console.print(table)
    for words in sheet.undeclared:
        console.print(f"[yellow]In no sum[/] {escape(words)}.")
    console.print("[dim]Notes on rules are where to look, no advice.[/]")


def _print_costs(console: Console, sheet: Sheet) -> None:
    table = _table("Costs", "", "a year", "")
    for kind in _KINDS:
        heading = f"[bold]{kind}[/]  {sheet.of_kind(kind):,.0f}"
        for one in sheet.costs:
            if one.kind == kind and one.per_year >= _LEAST:
                table.add_row(
                    heading, escape(one.item), f"{one.per_year:,.0f}", f"[dim]{escape(one.says)}[/]"
                )
                heading = ""
    console.print(table)


def _print_failures(console: Console, sheet: Sheet) -> None:
    """The worst first: what loses most in a year, then what loses most at once."""
    table = _table("Without", "", "requests lost", "hours a year", "lost × hours")
    ranked = sorted(
        sheet.failures, key=lambda one: (-(one.lost_hours_per_year or 0), -sum(one.lost.values()))
    )
    for one in ranked:
        lost = ", ".join(f"{count} {name}" for name, count in one.lost.items())
        hours = "[dim]?[/]" if one.hours_per_year is None else f"{one.hours_per_year:,.3g}"
        of_year = "[dim]?[/]" if one.lost_hours_per_year is None else f"{one.lost_hours_per_year:,.3g}"
        if not lost:
            of_year = ""
        table.add_row(one.part, one.kind, f"[red]{lost}[/]" if lost else "[green]none[/]", hours, of_year)
    console.print(table)
