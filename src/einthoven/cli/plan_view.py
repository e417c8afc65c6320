"""How people see a continuum and a plan: a tree of sites, tables of requests and of what is full."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from einthoven.continuum import DIMENSIONS, TIERS, Continuum, Link, Site, write_quantity
from einthoven.pictures.sites import Loads, heat, link_part
from einthoven.placement.offloading.options import (
    Placed,
    Problem,
    Use,
    compute_resource,
    down_resource,
    placed,
    up_resource,
    uses_of,
)
from einthoven.placement.offloading.plans import Plan

__all__ = ["loads_of", "print_placed", "print_uses", "said", "tree_of_sites"]

_BAR: Final = 10
_NOTHING: Final = 1e-9
_UNITS: Final = {one.base: one for one in DIMENSIONS.values()}


def said(value: float, unit: str) -> str:
    """A number with its unit, in three digits."""
    return write_quantity(float(f"{value:.3g}"), _UNITS[unit])


def loads_of(problem: Problem, plan: Plan) -> Loads:
    """What a plan does to a continuum, as a drawing wants it."""
    every = placed(problem, plan)
    classes = (problem.of_request(int(request)).name for request in plan.accepted)
    return Loads(
        parts={use.resource: use.part for use in uses_of(problem, plan)},
        computed=Counter(one.site for one in every),
        accepted=Counter(classes),
        title=f"{len(every)} of {plan.offered} requests accepted",
    )


def tree_of_sites(continuum: Continuum, loads: Loads, title: str) -> Tree:
    """Sites by tier, the core first; below each what joins it to those before it, and what begins there."""
    tree = Tree(f"[bold]{escape(title)}[/]", guide_style="dim")
    order = [site.name for tier in reversed(TIERS) for site in continuum.sites if site.tier == tier]
    for tier in reversed(TIERS):
        sites = [site for site in continuum.sites if site.tier == tier]
        if not sites:
            continue
        branch = tree.add(f"[dim]{tier}[/]")
        for site in sites:
            node = branch.add(_site_words(continuum, site, loads))
            for link in continuum.links:
                others = [one for one in link.between if one != site.name]
                if site.name in link.between and order.index(others[0]) < order.index(site.name):
                    node.add(_link_words(link, others[0], loads))
            for cell in continuum.cells:
                if cell.site == site.name:
                    part = None
                    if loads.parts:
                        part = max(
                            loads.parts.get(one, 0.0) for one in (up_resource(cell), down_resource(cell))
                        )
                    air = node.add(
                        f"[cyan]cell[/] {cell.name}  [dim]{said(cell.bandwidth_hz, 'Hz')}[/]{_bar(part)}"
                    )
                    _add_requests(air, continuum, loads, cell=cell.name)
            _add_requests(node, continuum, loads, site=site.name)
    return tree


def _site_words(continuum: Continuum, site: Site, loads: Loads) -> str:
    cycles_per_s = continuum.cycles_per_s(site)
    words = f"[bold]{site.name}[/]"
    words += f"  [dim]{said(cycles_per_s, 'cycle/s')}[/]" if cycles_per_s else "  [dim]passes on[/]"
    if not site.is_stable:
        words += " [yellow]may leave[/]"
    if site.capabilities:
        words += f" [dim]{escape(' '.join(site.capabilities))}[/]"
    if loads.parts and cycles_per_s:
        words += _bar(loads.parts.get(compute_resource(site), 0.0))
        count = loads.computed.get(site.name, 0)
        words += f" [dim]computes {count}[/]"
    return words


def _link_words(link: Link, to: str, loads: Loads) -> str:
    tech = f" {link.tech}" if link.tech else ""
    about = f"{said(link.bits_per_s, 'bit/s')}, {said(link.latency_s, 's')}{tech}"
    return f"[cyan]to[/] {to}  [dim]{about}[/]{_bar(link_part(link, loads.parts))}"


def _add_requests(node: Tree, continuum: Continuum, loads: Loads, **at: str) -> None:
    (field, name), *_ = at.items()
    for one in continuum.requests:
        if getattr(one, field) != name:
            continue
        words = f"[magenta]asks[/] {one.count} × {one.name}  [dim]within {said(one.deadline_s, 's')}[/]"
        if loads.parts:
            accepted = loads.accepted.get(one.name, 0)
            colour = "green" if accepted == one.count else "red"
            words += f"  [{colour}]{accepted} accepted[/]"
        node.add(words)


def _bar(part: float | None) -> str:
    if part is None:
        return ""
    full = min(_BAR, round(_BAR * part))
    return f"  [{heat(part)}]{'█' * full}{'░' * (_BAR - full)}[/] {100 * part:.0f} %"


def print_placed(
    console: Console, problem: Problem, every: Sequence[Placed], *, with_phases: bool = False
) -> None:
    """Where requests run; those that are alike and run alike are one row."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("Requests", "", "run at", "through", "answered after", "due after"):
        is_number = heading in {"", "answered after", "due after"}
        table.add_column(heading, justify="right" if is_number else "left")
    number_of = {name: number for number, name in enumerate(problem.instance.requests)}
    groups: dict[tuple[str, ...], list[Placed]] = {}
    for one in every:
        name = problem.of_request(number_of[one.request]).name
        air = (f"(({one.cell}))",) if one.cell else ()
        groups.setdefault((name, *air, *one.through), []).append(one)
    for (name, *through), alike in groups.items():
        table.add_row(
            name,
            f"{len(alike)} ×" if len(alike) > 1 else "",
            f"[bold]{alike[0].site}[/]",
            " › ".join(through) if len(through) > 1 else "[dim]there[/]",
            said(max(one.answers_s for one in alike), "s"),
            said(alike[0].deadline_s, "s"),
        )
        for phase in alike[0].phases if with_phases else ():
            words = (f"{phase.resource}: {said(phase.share, phase.unit)}", said(phase.takes_s, "s"))
            table.add_row("", "", "", *(f"[dim]{one}[/]" for one in words), "")
    console.print(table)


def print_uses(console: Console, uses: Sequence[Use], worths: Sequence[float] | None, most: int = 8) -> None:
    """The scarcest resources: by what more of them is worth, as far as that is known, else the fullest.

    Parameters
    ----------
    worths : what a whole more of each would be worth at most, at the rate of a little more.
    """
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("Scarcest", "there is", "given", "" if worths is None else "1 % more is worth at most"):
        table.add_column(heading, justify="left" if heading in {"Scarcest", "given"} else "right")
    known = [0.0] * len(uses) if worths is None else worths
    ranked = sorted(zip(known, uses, strict=True), key=lambda pair: (-round(pair[0], 9), -pair[1].part))
    for worth, use in ranked[:most]:
        if use.part > 0:
            words = f"{worth / 100:.3g}" if worth > _NOTHING else ""
            table.add_row(use.resource, said(use.capacity, use.unit), _bar(use.part).strip(), words)
    console.print(table)
