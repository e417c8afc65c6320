"""``einthoven bench deploy``: from switching a node on to the first result of what it runs."""

import statistics
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.table import Table

from einthoven.cli.machine import machine
from einthoven.cli.offline import printed
from einthoven.errors import InputInvalid
from einthoven.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from einthoven.experiments.node_deployments import DeploymentCosts, Phases

__all__ = ["command"]


@click.command(name="deploy")
@click.option(
    "--repeats", type=click.IntRange(1, 50), default=5, show_default=True, help="Fresh nodes of each."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(repeats: int, as_json: bool) -> None:
    """Bring nanoservices to nodes that were never there before: real processes, phase by phase.

    Beside them stands what was published of a prototype on Raspberry Pi boards; this machine is another one.
    """
    if find_spec("nats") is None:
        raise InputInvalid(
            "nats-py is not installed.", where="einthoven", remedy="pip install 'einthoven[node,nats]'"
        )
    from einthoven.experiments.node_deployments import bench_deployments  # noqa: PLC0415 - an extra
    from einthoven.experiments.published import local_edge  # noqa: PLC0415 - with it

    with Console(stderr=True).status("Starting") as status:
        costs = bench_deployments(repeats, lambda what: status.update(f"Running: {what}"))
    published = local_edge()["ranges"]
    if as_json:
        more = {"published": published, "machine": machine(), "version": __version__}
        printed({**msgspec.to_builtins(costs), **more})
    else:
        _print(costs, published)


def _print(costs: "DeploymentCosts", published: dict[str, list[float]]) -> None:
    console = Console()
    console.print("Medians over fresh nodes, s; in brackets the longest.")
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for heading in ("phase", "ECG functions", "a small program"):
        table.add_column(heading, justify="left" if heading == "phase" else "right")
    for name in costs.functions[0].__struct_fields__:
        words = name.removesuffix("_s").replace("_", " ")
        table.add_row(words, _median(costs.functions, name), _median(costs.program, name))
    console.print(table)
    console.print(
        f"An agent begins in {costs.agent_start_s:.2f} s and has {costs.agent_mb:.0f} MB idle, the manager "
        f"{costs.manager_mb:.0f} MB; a node keeps {costs.node_folder_bytes:,} bytes on its disk."
    )
    for one in costs.unmeasured:
        console.print(f"Not measured: {one.what}, because {one.why}.", style="dim")
    said = "; ".join(
        f"{name.replace('_', ' ')} {least:g} to {most:g}" for name, (least, most) in published.items()
    )
    console.print(f"Published, on Raspberry Pi boards: {said}.", style="dim")


def _median(phases: "Sequence[Phases]", name: str) -> str:
    values = [getattr(one, name) for one in phases]
    return f"{statistics.median(values):.3f} ({max(values):.3f})"
