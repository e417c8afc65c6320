"""What one table of a continuum says of another must be there."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from einthoven.continuum.quantities import DIMENSIONS, read_quantity
from einthoven.continuum.sites import Link, RadioCell, RequestClass, Site
from einthoven.errors import InputInvalid

__all__ = ["dangling", "snr_db_of"]


def dangling(
    sites: Sequence[Site],
    links: Sequence[Link],
    cells: Sequence[RadioCell],
    requests: Sequence[RequestClass],
    written: Mapping[str, Collection[str]],
) -> list[str]:
    """References that lead nowhere, each with its place.

    Parameters
    ----------
    written : the names of all tables of a kind; those that could not be read are not told twice.
    """
    flaws = [*_said_twice(sites, links, cells), *_numbered_twice(requests)]

    def look(place: str, name: str, kind: str) -> None:
        if name not in written[kind]:
            known = ", ".join(written[kind]) or "none"
            flaws.append(f"{place}: there is no {kind[:-1]} {name!r}; there are {known}")

    for site in sites:
        if site.region:
            look(f"sites.{site.name}.region", site.region, "regions")
    for link in links:
        for end in link.between:
            look(f"links.{link.name}.between", end, "sites")
    for cell in cells:
        look(f"cells.{cell.name}.site", cell.site, "sites")
    cell_of = {cell.name: cell for cell in cells}
    tiers = {site.name: site.tier for site in sites}
    for request in requests:
        place = f"requests.{request.name}"
        if request.site:
            look(f"{place}.site", request.site, "sites")
        else:
            look(f"{place}.cell", request.cell, "cells")
            if request.cell in cell_of:
                try:
                    snr_db_of(request, cell_of[request.cell])
                except InputInvalid as error:
                    flaws.append(f"{place}.snr: {error.what.rstrip('.')}")
        start = request.site or (cell_of[request.cell].site if request.cell in cell_of else "")
        if start in tiers and not request.may_be_seen_at(tiers[start]):
            flaws.append(f"{place}.highest_tier: it begins at {start!r}, whose tier is {tiers[start]}")
    return flaws


def _said_twice(sites: Sequence[Site], links: Sequence[Link], cells: Sequence[RadioCell]) -> Iterator[str]:
    """Sites, links and cells are parts that may fail and cost: a name is that of one of them."""
    taken: dict[str, str] = {}
    for kind, parts in (("sites", sites), ("links", links), ("cells", cells)):
        for part in parts:
            other = taken.setdefault(part.name, kind)
            if other != kind:
                yield f"{kind}.{part.name}: {other} has a part of this name already"


def _numbered_twice(requests: Sequence[RequestClass]) -> Iterator[str]:
    """Requests of a class are called like it, with numbers: no other class is called so."""
    counts = {one.name: one.count for one in requests}
    for name in counts:
        base, _, number = name.rpartition("-")
        if number.isdecimal() and 1 < counts.get(base, 1) >= int(number) >= 1:
            yield f"requests.{name}: that is what request {int(number)} of {base!r} is called"


def snr_db_of(request: RequestClass, cell: RadioCell) -> float:
    """How well a cell hears a request; raises InputInvalid for a name that the cell does not have."""
    if request.snr in cell.snr_db:
        return cell.snr_db[request.snr]
    try:
        return read_quantity(request.snr, DIMENSIONS["ratio"])
    except InputInvalid as error:
        known = ", ".join(cell.snr_db) or "none"
        raise InputInvalid(
            f"{error.what.rstrip('.')}, or a name of the cell's `snr`: {known}.", where="snr"
        ) from None
