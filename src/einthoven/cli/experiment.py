"""``einthoven experiment``: the published experiments on simulated regions, figure beside figure."""

from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from einthoven.cli.machine import machine
from einthoven.cli.offline import printed
from einthoven.cli.picture_files import write_picture
from einthoven.errors import InputInvalid
from einthoven.experiments.calibration import fit, written
from einthoven.experiments.catalog import EXPERIMENTS
from einthoven.experiments.figures import Found, Row, Setup, as_csv
from einthoven.records.files import write_whole
from einthoven.version import __version__

__all__ = ["command"]

_SOURCES: Final = (
    "Ristov et al., IEEE Computer 2023, doi 10.1109/MC.2023.3281873",
    "load tests of github.com/Innovation-DOOEL-Skopje/cardiohpc, condensed",
    "Mileski, Gusev, MIPRO 2022 and TELFOR 2022",
)
_CLOSE_PCT: Final = 15.0
_LEAST_WIDTH: Final = 110


@click.command(name="experiment", epilog="\n\n".join(f"{k}: {v.about}." for k, v in EXPERIMENTS.items()))
@click.argument("name", type=click.Choice(list(EXPERIMENTS)), metavar="NAME")
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for charts and the table.  [default: ./experiment-NAME]",
)
@click.option(
    "--seconds", type=click.FloatRange(5, 3600), default=120.0, show_default=True,
    help="Simulated, of each run; the article's took 120.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 10_000), default=1, show_default=True, help="Of all chance.")
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), envvar="EINTHOVEN_DATA", show_envvar=True,
    help="With federated-learning: folder that holds mitdb/.",
)  # fmt: skip
@click.option(
    "--folds", type=click.IntRange(1, 5), default=5, show_default=True,
    help="With federated-learning: how many of the five are run.",
)  # fmt: skip
@click.option(
    "--networks", type=click.IntRange(1, 5), default=5, show_default=True,
    help="With federated-learning: perceptrons a head.",
)  # fmt: skip
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=14, show_default=True,
    help="With federated-learning: so many.",
)  # fmt: skip
@click.option(
    "--seeds", type=click.IntRange(1, 20), default=1, show_default=True,
    help="With federated-learning: so many, from --seed on.",
)  # fmt: skip
@click.option("--png", is_flag=True, help="Charts as PNG too; needs einthoven[plot].")
@click.option(
    "--fit", "fit_to", type=click.Path(path_type=Path, dir_okay=False),
    help="With calibration: fit the model anew on the teaching half, minutes, and write it into this file.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    name: str,
    folder: Path | None,
    seconds: float,
    seed: int,
    data: Path | None,
    folds: int,
    networks: int,
    seeds: int,
    rounds: int,
    png: bool,
    fit_to: Path | None,
    as_json: bool,
) -> None:
    """Run a published experiment on simulated regions, and put its figures beside the published ones.

    What is simulated, and where the model is wrong, is in docs/experiments.md. What the article does not
    print is left empty.
    """
    if fit_to is not None and name != "calibration":
        raise InputInvalid(
            "only calibration fits anything.",
            where="--fit",
            remedy="einthoven experiment calibration --fit FILE",
        )
    folder = folder or Path(f"experiment-{name}")
    with Console(stderr=True).status("Starting") as status:

        def told(what: str) -> None:
            status.update(f"Running: {what}")

        if fit_to is not None:
            write_whole(fit_to, written(fit(told)).encode())
        found = EXPERIMENTS[name].run(
            Setup(
                seconds=seconds,
                seed=seed,
                told=told,
                data=data,
                folds=folds,
                networks=networks,
                seeds=seeds,
                rounds=rounds,
            )
        )
        files = _kept(found, folder, name, with_png=png)
    if as_json:
        printed(
            {
                "rows": [msgspec.to_builtins(one) for one in found.changes or found.rows],
                **(
                    {"units": found.units, "figures": msgspec.to_builtins(found.rows)}
                    if found.changes
                    else {}
                ),
                "published": {
                    "sources": found.sources or _SOURCES,
                    "known": found.known,
                    "figures": [
                        {
                            "case": one.case,
                            "figure": one.figure,
                            "unit": one.unit,
                            "value": one.published,
                            "to": one.published_to,
                        }
                        for one in found.rows
                        if one.published is not None
                    ],
                },
                "remarks": found.remarks,
                "files": [str(one) for one in files],
                "seconds": seconds,
                "seed": seed,
                "machine": machine(),
                "version": __version__,
            }
        )
    else:
        _print(name, found, files)


def _kept(found: Found, folder: Path, name: str, *, with_png: bool) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.csv"]
    write_whole(files[0], as_csv(found.changes or found.rows).encode())
    if found.changes:
        files.append(folder / f"{name}-figures.csv")
        write_whole(files[-1], as_csv(found.rows).encode())
    for title, svg in found.charts:
        for ending in (".svg", ".png") if with_png else (".svg",):
            files.append((folder / title).with_suffix(ending))
            write_picture(files[-1], svg)
    return files


def _published(one: Row) -> str:
    if one.published is None:
        return ""
    return f"{one.published:,g}" + ("" if one.published_to is None else f" to {one.published_to:,g}")


def _print(name: str, found: Found, files: list[Path]) -> None:
    console = Console()
    console.width = max(console.width, _LEAST_WIDTH)
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("Case", "Figure", "", found.how, "published", "difference"):
        table.add_column(heading, justify="left" if heading in {"Case", "Figure", ""} else "right")
    before = ""
    for one in found.rows:
        close = one.difference_pct is not None and abs(one.difference_pct) <= _CLOSE_PCT
        colour = "green" if close else "yellow"
        difference = "" if one.difference_pct is None else f"[{colour}]{one.difference_pct:+.1f} %[/]"
        if one.is_in_range is not None:
            difference = "[green]in it[/]" if one.is_in_range else "[yellow]outside[/]"
        table.add_row(
            one.case if one.case != before else "",
            one.figure,
            one.unit,
            f"[bold]{one.ours:,g}[/]" + ("" if one.within is None else f" [dim]± {one.within:,g}[/]"),
            _published(one),
            difference,
        )
        before = one.case
    console.print(f"[bold]{name}[/]: {EXPERIMENTS[name].about}. Empty: nobody has published it.")
    console.print(table)
    for remark in found.remarks:
        console.print(f"[dim]{remark}[/]")
    console.print(f"Files: {', '.join(str(one) for one in files)}")
