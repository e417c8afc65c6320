"""How regions stand with all processes of a service, out of its metrics."""

import http.client
import math
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from einthoven.errors import DestinationUnavailable, InputInvalid

__all__ = ["RegionFigures", "figures_in", "figures_of"]

_WAIT_S: Final = 5.0
_PREFIX: Final = "einthoven_region_"


class RegionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One region since the service started."""

    in_flight: int = 0
    answered: int = 0
    """Attempts."""
    failed: int = 0
    error_rate: float | None = None
    """Of all attempts."""
    mean_s: float | None = None
    """Of a call lately; None where nothing was called."""
    cost: float = 0.0
    slots: float | None = None
    """Invocations that it takes at one time now, as processes find it; None where none has told."""
    way_s: float | None = None
    """What a call takes beside the function, however small it is; None where it is not known."""
    way_bits_per_s: float | None = None
    """How fast the way there carries; None where it is not known."""
    is_avoided: bool = False
    """Some process gives it nothing now, for it fails."""


def figures_in(families: Iterable[Metric]) -> defaultdict[str, RegionFigures]:
    """By the region's name; those of whom nothing is counted stand at nothing."""
    values: dict[str, dict[str, float]] = {}
    for family in families:
        if not family.name.startswith(_PREFIX):
            continue
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                what = sample.labels.get("outcome") or family.name.removeprefix(_PREFIX)
                values.setdefault(sample.labels["region"], {})[what] = sample.value
    found = defaultdict(RegionFigures)
    for name, one in values.items():
        answered, failed = int(one.get("answered", 0)), int(one.get("failed", 0))
        mean_s = one.get("seconds", 0.0)
        found[name] = RegionFigures(
            in_flight=int(one.get("in_flight", 0)),
            answered=answered,
            failed=failed,
            error_rate=failed / (answered + failed) if answered + failed else None,
            mean_s=mean_s if mean_s and math.isfinite(mean_s) else None,
            cost=one.get("cost", 0.0),
            slots=one.get("slots"),
            way_s=one.get("way_seconds") or None,
            way_bits_per_s=one.get("way_bits_per_second") or None,
            is_avoided=bool(one.get("avoided", 0.0)),
        )
    return found


def figures_of(url: str) -> defaultdict[str, RegionFigures]:
    """Those of a running service.

    Raises
    ------
    InputInvalid : this is no URL of a service. DestinationUnavailable : it does not answer.
    """
    if not url.startswith(("http://", "https://")):
        raise InputInvalid("this is no URL.", where="service", remedy="Give it as http://127.0.0.1:8125.")
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/metrics", timeout=_WAIT_S) as answer:  # noqa: S310
            return figures_in(text_string_to_metric_families(answer.read().decode()))
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise DestinationUnavailable(
            f"the service does not answer ({type(error).__name__}).", where=url, remedy="Is it running?"
        ) from None
    except (ValueError, KeyError):
        raise InputInvalid("this is no service of ours.", where=url, remedy="Check the address.") from None
