"""The one check command, run from a checkout: ``python -m einthoven.testing.check``.

Format, lint, types, import contract, tests; the first that fails does not stop the others. What the tests
cover is measured on request, because to trace every line doubles the time of those that compute.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import click

__all__ = ["main"]

PROCESSES: Final = min(4, os.cpu_count() or 1)
"""Many tests wait for processes and disks most of the time; more at once would disturb those that time."""
SIDE_BY_SIDE: Final = (
    *("--numprocesses", str(PROCESSES)),
    *("--dist", "loadfile", "--no-loadscope-reorder"),
)
STEPS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("format", ("ruff", "format", "--check", "--quiet", ".")),
    ("lint", ("ruff", "check", "--quiet", ".")),
    ("types", ("mypy",)),
    ("imports", ("lint-imports",)),
    ("tests", ("pytest", "--durations=5", *SIDE_BY_SIDE)),
)
COVERAGE: Final = ("--cov", "--cov-report=term:skip-covered")


@click.command()
@click.option(
    "--only", type=click.Choice([name for name, _ in STEPS]), multiple=True, help="Run these steps only."
)
@click.option("--coverage", is_flag=True, help="Say what the tests do not reach; half as long again.")
@click.argument("arguments", nargs=-1)
def main(only: tuple[str, ...], coverage: bool, arguments: tuple[str, ...]) -> None:
    """Run every check; ARGUMENTS after ``--`` go to pytest."""
    if coverage:
        arguments = (*COVERAGE, *arguments)
    if not Path("pyproject.toml").exists():
        raise click.UsageError("run this in the root of a checkout, where pyproject.toml lies.")
    failed = []
    for name, words in STEPS:
        if only and name not in only:
            continue
        click.secho(f"── {name} ".ljust(72, "─"), bold=True)
        began_s = time.perf_counter()
        command = [sys.executable, "-m", *words, *(arguments if name == "tests" else ())]
        if name == "imports":
            command = [str(Path(sys.executable).with_name("lint-imports"))]
        code = subprocess.run(command, check=False).returncode  # noqa: S603 - the commands above
        click.secho(
            f"{name}: {'passed' if code == 0 else 'FAILED'} in {time.perf_counter() - began_s:.1f} s",
            fg="green" if code == 0 else "red",
        )
        if code:
            failed.append(name)
    if failed:
        click.secho(f"Failed: {', '.join(failed)}.", fg="red", bold=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
