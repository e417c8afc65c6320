"""What a machine is and how full it is, as Linux tells it; where it does not, nothing is said."""

import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from einthoven.continuum import Tier
from einthoven.edge.nodes import NodeDescription, NodeLoad
from einthoven.version import __version__

__all__ = ["LoadMeter", "busy_s", "children_of", "describe_machine"]

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_SUPPLIES: Final = Path("/sys/class/power_supply")
_FOR_SERVICES: Final = 0.8
"""Of the memory, unless somebody says how much."""


def describe_machine(
    *,
    tier: Tier,
    labels: tuple[str, ...],
    capabilities: Iterable[str] = (),
    memory_bytes: float | None = None,
    is_stable: bool = True,
) -> NodeDescription:
    """The machine that runs this."""
    total_bytes = _memory().get("MemTotal", 0.0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return NodeDescription(
        tier=tier,
        labels=labels,
        architecture=platform.machine(),
        cores=cores,
        cycles_per_s=cores * _clock_hz(),
        memory_bytes=_FOR_SERVICES * total_bytes if memory_bytes is None else memory_bytes,
        disk_bytes=_disk_bytes(),
        power="battery" if _battery() is not None else "mains",
        is_stable=is_stable,
        capabilities=tuple(sorted(set(capabilities))),
        back_ends=("process",),
        version=__version__,
    )


class LoadMeter:
    """How full the machine was since it was asked before."""

    def __init__(self) -> None:
        self._before = _processor_ticks()

    def load(self) -> NodeLoad:
        """In shares of 1."""
        busy, total = _processor_ticks()
        was_busy, was_total = self._before
        if total > was_total:
            self._before = (busy, total)
        memory = _memory()
        used = 1 - memory["MemAvailable"] / memory["MemTotal"] if "MemAvailable" in memory else 0.0
        return NodeLoad(
            processors=(busy - was_busy) / (total - was_total) if total > was_total else 0.0,
            memory=used,
            battery=_battery(),
        )


def busy_s(process: int) -> float:
    """Processor time of a process and its children, s."""
    spent = 0
    for one in (process, *children_of(process)):
        with suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            spent += int(fields[11]) + int(fields[12])
    return spent / _TICKS_PER_S


def children_of(process: int) -> tuple[int, ...]:
    """Processes that it started itself."""
    found: list[int] = []
    with suppress(OSError, ValueError):
        for task in Path(f"/proc/{process}/task").iterdir():
            found += [int(one) for one in (task / "children").read_text().split()]
    return tuple(found)


def _processor_ticks() -> tuple[int, int]:
    with suppress(OSError, ValueError):
        numbers = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(numbers) - numbers[3] - numbers[4], sum(numbers)
    return 0, 0


def _memory() -> dict[str, float]:
    found = {}
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, value = line.split(":")
            found[name] = float(value.split()[0]) * 1024
    return found


def _clock_hz() -> float:
    with suppress(OSError, ValueError):
        return 1e3 * float(Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").read_text())
    with suppress(OSError, ValueError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("cpu MHz"):
                return 1e6 * float(line.split(":")[1])
    return 0.0


def _disk_bytes() -> float:
    with suppress(OSError):
        found = os.statvfs(Path.home())
        return float(found.f_bavail * found.f_frsize)
    return 0.0


def _battery() -> float | None:
    """What is left in it, if there is one."""
    with suppress(OSError, ValueError):
        for supply in _SUPPLIES.iterdir():
            if (supply / "type").read_text().strip() == "Battery":
                return float((supply / "capacity").read_text()) / 100
    return None
