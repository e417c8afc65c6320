"""A page about a recording that a service analysed, as `einthoven analyze` shows one."""

from datetime import datetime
from typing import Any, Final

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from einthoven.cli.analyze import COLOURS, MARKS, clock_of, lasting
from einthoven.signal.rules import RULES

__all__ = ["page_of", "sentence_of"]

_SHOWN: Final = 40
_URGENT: Final = ("high", "medium", "low", "technical")


def sentence_of(seen: dict[str, Any]) -> str:
    """How far a recording is, in a sentence."""
    done, total = seen["progress"]["done"], seen["progress"]["total"]
    if seen["state"] == "waiting":
        return "It waits for its turn."
    if seen["state"] == "going":
        return f"{done} of {total} hours are analysed."
    if seen["state"] == "failed":
        return f"It could not be analysed: {seen['error']['what']}"
    if seen["state"] == "cancelled":
        return "It was cancelled."
    return f"It is analysed, {total} hour{'s' * (total != 1)}."


def page_of(seen: dict[str, Any], result: dict[str, Any]) -> Panel:
    """What was found, from the answers of the service."""
    fs = result["fs"]
    title = f"[bold]{seen['id']}[/]  {fs:g} Hz  {lasting((result['until'] - result['first']) / fs)}"
    begins = datetime.fromisoformat(result["startTime"])
    episodes = result["episodes"]
    parts = [_figures(seen, result), _episodes(episodes, fs) if episodes else Text("No episodes.", "green")]
    parts += [Text(remark, style="dim") for remark in seen["remarks"]]
    return Panel(
        Group(*parts),
        title=title,
        title_align="left",
        subtitle=f"from {begins:%Y-%m-%d %H:%M:%S} UTC",
    )


def _figures(seen: dict[str, Any], result: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 3))
    classes = "  ".join(f"{name} {count:,}" for name, count in result["beats"]["classes"].items() if count)
    table.add_row("Beats", f"[bold]{result['beats']['total']:,}[/]   {classes}   [dim]lead {seen['lead']}[/]")
    rate = result["heartRate"]
    if rate["mean"] is not None:
        least, most = (_number(rate[name]) for name in ("min", "max"))
        table.add_row("Heart rate", f"[bold]{rate['mean']:.0f}[/]/min   {least} to {most}")
    share = result["quality"]["analysableFraction"]
    if share is not None:
        grades = "  ".join(
            f"grade {grade} {seconds:,} s" for grade, seconds in enumerate(result["quality"]["grades"], 1)
        )
        table.add_row("Quality", f"[bold]{share:.1%}[/] analysable   {grades}")
    if result["alerts"]:
        table.add_row("Alerts", f"[bold]{len(result['alerts']):,}[/]")
    return table


def _episodes(episodes: list[dict[str, Any]], fs: float) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=True, header_style="dim")
    for heading in ("", "Onset", "Lasts", "Episode"):
        table.add_column(heading, no_wrap=heading != "Episode")
    urgent = [one for one in episodes if one["priority"] in _URGENT] or episodes
    shown = sorted(urgent, key=lambda one: _URGENT.index(one["priority"]) if urgent is not episodes else 0)
    shown = sorted(shown[:_SHOWN], key=lambda one: one["onset"])
    for one in shown:
        style = COLOURS[one["priority"]]
        lasts = "goes on" if one["end"] is None else lasting((one["end"] - one["onset"]) / fs)
        title = next(rule.title for kind, rule in RULES.items() if kind == one["kind"])
        table.add_row(
            Text(MARKS[one["priority"]], style), clock_of(one["onset"] / fs), lasts, Text(title, style)
        )
    if len(episodes) > len(shown):
        table.add_row("", "", "", Text(f"and {len(episodes) - len(shown):,} more", "dim"))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
