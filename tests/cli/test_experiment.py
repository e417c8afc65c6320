"""``einthoven experiment`` gives figures beside the published ones, and never invents one of those."""

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from einthoven.cli import run
from einthoven.experiments.catalog import EXPERIMENTS
from einthoven.experiments.published import article, health_blockedge, load_tests, local_edge

CHARTS = {
    "blockchain-edge": {f"blockchain-edge{name}.svg" for name in ("", "-complexity", "-figure")},
    "evolution": {f"evolution-{name}.svg" for name in ("failure", "latency", "network")},
    "calibration": {"calibration.svg"},
    "treatment-path": {f"treatment-path{name}.svg" for name in ("", "-oxygen")},
    "saturation": {"saturation.svg", "saturation-variants.svg"},
    "offloading": {
        f"offloading-{name}.svg" for name in ("acceptance", "conditions", "resources", "sessions", "sizes")
    },
}


def figures_of(name: str, folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    words = ["--seconds", "5", "--out", str(folder), "--json", *more]
    assert run(["experiment", name, *words]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def printed_numbers() -> set[float]:
    """All that was published, and what is derived from it by one division."""
    found: set[float] = set()

    def gather(value: Any) -> None:
        if isinstance(value, dict):
            for one in value.values():
                gather(one)
        elif isinstance(value, list):
            for one in value:
                gather(one)
        elif isinstance(value, int | float):
            found.add(float(f"{value:.5g}"))

    gather(article())
    gather(health_blockedge()["ranges"])
    gather(local_edge()["ranges"])
    for test in load_tests():
        percentiles = (test.p50_ms / 1000, test.p95_ms / 1000, test.p99_ms / 1000)
        found |= {float(f"{one:.5g}") for one in (test.ok_per_s, test.error_pct, *percentiles)}
    spans = article()["batch"]["makespan_s"]
    for hours, span_s in zip((2, 12), spans[1:], strict=True):
        found.add(float(f"{hours * spans[0] / span_s:.5g}"))
        found.add(float(f"{100 * spans[0] / span_s:.5g}"))
    return found


@pytest.mark.parametrize(
    "name", [name for name, one in EXPERIMENTS.items() if not one.is_real and not one.needs_data]
)
def test_every_experiment_runs_and_keeps_charts_and_a_table(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = figures_of(name, tmp_path / "made", capsys)
    own = figures.pop("figures", None)
    assert ("units" in figures) == (own is not None)
    figures.pop("units", None)
    assert {"rows", "published", "files", "remarks", "machine", "version", "seed", "seconds"} == set(figures)
    names = {Path(one).name for one in figures["files"]}
    tables = {f"{name}.csv"} | ({f"{name}-figures.csv"} if own else set())
    assert names == tables | CHARTS.get(name, {f"{name}.svg"})
    if own:  # a table of its own beside the usual one
        with (tmp_path / "made" / f"{name}.csv").open(newline="") as file:
            assert [list(one) for one in csv.DictReader(file)] == [list(one) for one in figures["rows"]]
        figures["rows"] = own
    for one in figures["files"]:
        assert Path(one).is_file()
        if one.endswith(".svg"):
            root = ElementTree.parse(one).getroot()
            assert root.tag.endswith("svg")
    with (tmp_path / "made" / (f"{name}-figures.csv" if own else f"{name}.csv")).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(figures["rows"]) > 0
    for row, told in zip(rows, figures["rows"], strict=True):
        assert (row["published"] == "") == (told["published"] is None)
        assert row["case"] == told["case"]
    known = printed_numbers()
    for told in figures["rows"]:
        assert told["published"] is None or told["published"] in known, told
    assert len(figures["published"]["figures"]) == sum(
        one["published"] is not None for one in figures["rows"]
    )


def test_the_same_seed_gives_the_same_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rows(seed: str) -> Any:
        return figures_of("response", tmp_path, capsys, "--seed", seed)["rows"]

    assert rows("3") == rows("3") != rows("4")


def test_people_get_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["experiment", "makespan", "--out", str(tmp_path), "--png"]) == 0
    said = capsys.readouterr().out
    for words in ("published", "12.27", "14.36", "%", "makespan.svg"):
        assert words in said
    assert (tmp_path / "makespan.png").read_bytes().startswith(b"\x89PNG")


def test_people_see_whether_a_figure_is_in_the_published_range(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["experiment", "blockchain-edge", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count("in it") == 18  # three deployments, three ranges, two sets of parameters
    assert "10 to 20" in said
    assert "outside" not in said


def test_only_calibration_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["experiment", "response", "--fit", str(tmp_path / "made.toml")]) == 2
    assert "calibration" in capsys.readouterr().err
    assert not (tmp_path / "made.toml").exists()
