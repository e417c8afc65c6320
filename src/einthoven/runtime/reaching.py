"""From what is declared of a region to the way there.

Each kind needs parts of its own, and some of them are extras: they are imported when one is reached.
"""

import os
from pathlib import Path

from einthoven.continuum import Region
from einthoven.errors import InputInvalid
from einthoven.runtime.hosted import Hosted
from einthoven.runtime.region_port import Probed, RegionPort

__all__ = ["reached", "way_of"]


def way_of(region: Region) -> Region:
    """All of a declaration by which a region is reached; where that changes another way is needed."""
    is_made_here = region.kind in ("pool", "ray")
    return Region(
        name=region.name,
        kind=region.kind,
        address=region.address,
        slots=region.slots if is_made_here else 1,
        functions=region.functions,
        is_one_function=region.is_one_function,
        token_file=region.token_file,
        ca_file=region.ca_file,
        resource=region.resource,
        longest_s=region.longest_s,
    )


def reached(region: Region, hosted: Hosted = Hosted()) -> RegionPort:  # noqa: B008 - frozen
    """The way to a region.

    Parameters
    ----------
    hosted : what the regions run that this process makes itself: ``inline``, ``pool`` and ``ray``.

    Raises
    ------
    InputInvalid : the token cannot be read, or what this kind of region needs is not installed.
    """
    match region.kind:
        case "inline":
            from einthoven.runtime.local_regions import InlineRegion  # noqa: PLC0415

            return InlineRegion(hosted)
        case "pool":
            from einthoven.runtime.local_regions import PoolRegion  # noqa: PLC0415

            workers = min(region.slots, os.cpu_count() or 1)
            return PoolRegion(hosted, workers, niceness=0, longest_s=region.longest_s)
        case "http":
            from einthoven.runtime.http_region import HttpRegion  # noqa: PLC0415

            return HttpRegion(
                region.address,
                token=_token(region),
                assumed=Probed(functions=(), slots=region.slots),
                is_one_function=region.is_one_function,
                functions=region.functions,
                ca_file=region.ca_file or None,
            )
        case "nats":
            from einthoven.runtime.nats_link import NatsLink  # noqa: PLC0415
            from einthoven.runtime.nats_region import NatsRegion  # noqa: PLC0415

            servers = tuple(one.strip() for one in region.address.split(","))
            link = NatsLink(servers=servers, credentials=region.token_file or None, ca=region.ca_file or None)
            return NatsRegion(region.name, link)
        case "ray":
            from einthoven.runtime.ray_region import RayRegion  # noqa: PLC0415

            return RayRegion(
                hosted, address=region.address, slots=region.slots, resource=region.resource or None
            )


def _token(region: Region) -> str | None:
    if not region.token_file:
        return None
    try:
        return Path(region.token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputInvalid(
            f"the token cannot be read ({type(error).__name__}).",
            where=f"regions.{region.name}.token_file",
            remedy="Name a file that holds the token and nothing else.",
        ) from None
