"""What exists: tiers, regions, prices, sites, links, as `continuum.toml` declares them. No I/O."""

from einthoven.continuum.costs import Device, FailureRate, Load, Prices, StaffStep, Tariff
from einthoven.continuum.declaration import (
    Continuum,
    drain_region,
    read_continuum,
    remove_region,
    write_region,
)
from einthoven.continuum.quantities import DIMENSIONS, read_quantity, write_quantity
from einthoven.continuum.references import snr_db_of
from einthoven.continuum.regions import FUNCTION, KINDS, TIERS, Price, Region, RegionKind, Spot, Tier
from einthoven.continuum.shipped import example
from einthoven.continuum.sites import LINK_PRESETS, Link, RadioCell, RequestClass, Site, Tech

__all__ = [
    "DIMENSIONS",
    "FUNCTION",
    "KINDS",
    "LINK_PRESETS",
    "TIERS",
    "Continuum",
    "Device",
    "FailureRate",
    "Link",
    "Load",
    "Price",
    "Prices",
    "RadioCell",
    "Region",
    "RegionKind",
    "RequestClass",
    "Site",
    "Spot",
    "StaffStep",
    "Tariff",
    "Tech",
    "Tier",
    "drain_region",
    "example",
    "read_continuum",
    "read_quantity",
    "remove_region",
    "snr_db_of",
    "write_quantity",
    "write_region",
]
