"""``einthoven workflow``: check, draw and run workflows, and go on with what was cut off."""

import asyncio
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text
from rich.tree import Tree

from einthoven.cli.machine import workers_here
from einthoven.cli.offline import opened, printed, with_database
from einthoven.cli.picture_files import checked_picture, write_picture
from einthoven.cli.setting_flags import with_settings
from einthoven.clock import SystemClock
from einthoven.errors import Conflict, InputInvalid, RecordingNotFound
from einthoven.pictures.workflows import Performed, draw_workflow, what_it_took
from einthoven.placement import POLICIES, Terms
from einthoven.runtime.claims import Claims
from einthoven.runtime.conducting import Elsewhere
from einthoven.runtime.continuum_file import ContinuumFile
from einthoven.runtime.ecg_functions import ECG_FUNCTION_TYPES
from einthoven.runtime.exchange import LEAST_BYTES
from einthoven.runtime.region_port import RegionPort
from einthoven.runtime.run_sessions import (
    SCHEDULE,
    SHIPPED,
    RunFunctions,
    functions_of,
    place,
    regions_of,
    run_session,
    shipped,
)
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.runtime.workflow_runs import WorkflowRuns, check_document
from einthoven.server.accounts import MAIN
from einthoven.server.wire import utc_text
from einthoven.storage import Database
from einthoven.storage.runs import KeptEntry, KeptRun, entries_of, list_runs, run_of, unfinished_runs
from einthoven.workflow import Done, Entry, Failure, Warn, check_text, compile_workflow
from einthoven.workflow.drawing import Drawn, tree_of
from einthoven.workflow.flaws import Mode
from einthoven.workflow.fusion import fuse, groups_of
from einthoven.workflow.reader import BYTES_MAX

__all__ = ["command"]

_WIDE: Final = 200
"""Columns where nobody says how many there are."""
EXIT_FAILED: Final = 1
"""The run did not succeed, or the workflow has errors."""


@click.group(name="workflow")
def command() -> None:
    """Check, draw and run workflows (AFCL), and go on with what was cut off.

    A FILE is a document of the language, or ecg-batch or ecg-near-real-time, which come with the program.
    """


def _lenient(function: Any) -> Any:
    return click.option(
        "--lenient", is_flag=True, help="Take what public tools of the language write, and warn of it."
    )(function)


_as_json = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")


@command.command(name="check")
@click.argument("sources", nargs=-1, required=True, metavar="FILE...")
@_lenient
@_as_json
def check_(sources: tuple[str, ...], lenient: bool, as_json: bool) -> int:
    """Say what is wrong in workflows: file:line:column, code, path, what, and how to mend it.

    Leaves with 1 where there is an error; warnings are no errors.
    """
    rows: list[dict[str, Any]] = []
    errors = 0
    for source in sources:
        flaws = check_text(_document(source), "lenient" if lenient else "strict", ECG_FUNCTION_TYPES).flaws
        errors += sum(one.severity == "error" for one in flaws)
        rows += [{"file": source, **msgspec.to_builtins(one), "path": list(one.path)} for one in flaws]
        for one in flaws if not as_json else ():
            style = "red" if one.severity == "error" else "yellow"
            click.echo(click.style(one.text(source), fg=style))
    if as_json:
        printed(rows)
    elif not rows:
        click.echo(f"Nothing is wrong with {'it' if len(sources) == 1 else 'them'}.")
    return EXIT_FAILED if errors else 0


@command.command(name="show")
@click.argument("source", metavar="FILE")
@click.option("--run", "run", metavar="RUN", help="Also how far this run of it has come.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a drawing instead: .svg, or .png with einthoven[plot].",
)
@click.option("--organisation", default=MAIN, show_default=True, help="Whose run.")
@_lenient
@with_settings("data_folder", "database")
def show(
    source: str, run: str | None, output: Path | None, organisation: str, lenient: bool, **flags: Any
) -> None:
    """Draw a workflow, as a tree or a picture: what runs after what, side by side or as one of several.

    Functions with the same mark (⧉1) are one invocation where this program has them all. Of a run: how many
    invocations of each function have succeeded and failed, how long they took, and the size of what they
    gave.
    """
    checked_picture(output)
    checked = check_document(_document(source), "lenient" if lenient else "strict", source)
    if checked.workflow is None:
        return
    program = fuse(compile_workflow(checked), partial(place, dict.fromkeys(ECG_FUNCTION_TYPES, "here"), True))
    marks = {name: k for k, group in enumerate(groups_of(program), 1) for name in group}
    progress: dict[str, Performed] = {}
    if run is not None:
        database, _ = opened(flags)
        with closing(database.connect()) as connection:
            progress = _performed(entries_of(connection, run_of(connection, organisation, run).number))
    if output is not None:
        picture = draw_workflow(tree_of(checked.workflow), marks, progress)
        write_picture(output, picture.file(checked.workflow.name))
        click.echo(f"Drawing: {output}", err=True)
        return
    console = Console()
    if not console.is_terminal:
        console.width = _WIDE
    console.print(_drawn(tree_of(checked.workflow), marks, progress))


def _performed(entries: Sequence[KeptEntry]) -> dict[str, Performed]:
    """What a run has performed, by function."""
    found: dict[str, Performed] = {}
    for one in entries:
        *others, last = one.path.rpartition("/")[2].split("+")
        for name in (*others, last):
            before = found.get(name, Performed())
            found[name] = Performed(
                done=before.done + (not one.is_failure),
                failed=before.failed + one.is_failure,
                took_s=before.took_s + (one.took_ns / 1e9 if name == last else 0.0),
                bytes=before.bytes + (Claims.size_of(one.content) if name == last else 0),
            )
    return found


def _drawn(node: Drawn, marks: Mapping[str, int], progress: Mapping[str, Performed]) -> Tree:
    label = Text(node.kind, style="cyan").append(f" {node.name}", style="bold")
    if node.kind == "function":
        performed = progress.get(node.name, Performed())
        label.append(f" ⧉{marks[node.name]}" if node.name in marks else "", style="magenta")
        label.append(f" ✓ {performed.done}" if performed.done else "", style="green")
        label.append(f" ✗ {performed.failed}" if performed.failed else "", style="red")
        label.append(f" {what_it_took(performed)}", style="yellow")
    label.append(f"  {node.detail}" if node.detail else "", style="dim")
    tree = Tree(label)
    tree.children.extend(_drawn(one, marks, progress) for one in node.inner)
    return tree


# -------------------------------------------------------------------- running


_workers = click.option(
    "--workers", type=click.IntRange(1, 256), help="Processes.  [default: one a processor]"
)


@command.command(name="run")
@click.argument("source", metavar="FILE")
@click.argument("inputs", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--inputs",
    "inputs_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="JSON object with the inputs.",
)
@click.option(
    "--store", help="Object store for what is passed by reference.  [default: work in the data folder]"
)
@click.option(
    "--functions", "module", metavar="MODULE", help="Python module with functions, named by their type."
)
@click.option(
    "--chunk",
    "chunk_min",
    type=click.FloatRange(1, 1440),
    default=60.0,
    show_default=True,
    help="Minutes of an “hour”.",
)
@click.option(
    "--elsewhere", is_flag=True, help="Call a function's resource even where this program has the function."
)
@click.option(
    "--by-reference-from",
    type=click.IntRange(0, 2**40),
    default=LEAST_BYTES,
    show_default=True,
    help="Bytes from which on a value between functions lies in the store.",
)
@click.option(
    "--continuum",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="EINTHOVEN_CONTINUUM",
    show_envvar=True,
    help="File that declares regions: the ECG functions run there.  [default: in processes of this machine]",
)
@click.option(
    "--policy",
    type=click.Choice([*POLICIES, SCHEDULE]),
    default=Terms().policy,
    show_default=True,
    help="Which of the regions that are free gets an invocation; or all that wait are scheduled together.",
)
@click.option("--data-at", default="", help="Place of the region where the recording lies.")
@click.option("--need", "needs", multiple=True, help="Label that a region must have; several times.")
@_lenient
@_workers
@with_database
def run_(
    source: str,
    inputs: tuple[str, ...],
    inputs_file: Path | None,
    store: str | None,
    module: str | None,
    chunk_min: float,
    elsewhere: bool,
    by_reference_from: int,
    continuum: Path | None,
    policy: str,
    data_at: str,
    needs: tuple[str, ...],
    lenient: bool,
    workers: int | None,
    organisation: str,
    as_json: bool,
    **flags: Any,
) -> int:
    r"""Run a workflow to its end; every invocation that ended is kept, so that nothing is done twice.

    A VALUE is JSON, or else a text:

    \b
    einthoven workflow run ecg-batch ecgDataFilePath=mitdb/208
    """
    document = _document(source)
    given = _inputs(inputs, inputs_file)
    mode: Mode = "lenient" if lenient else "strict"
    check_document(document, mode, source)
    database, settings = opened(flags)
    kept = RunFunctions(
        store=_placed(store or str(settings.folder / "work")),
        module=module,
        chunk_min=chunk_min,
        elsewhere=elsewhere,
        by_reference_from=by_reference_from,
        continuum="" if continuum is None else str(continuum.absolute()),
        policy=policy,
        data_at=data_at,
        needs=needs,
    )
    with _session(database, organisation, kept, workers) as session:
        run = session.runs.begin(document, given, mode, msgspec.to_builtins(kept))
        return _driven(session, run, as_json=as_json)


@command.command(name="resume")
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--all", "is_all", is_flag=True, help="Every run that has not ended and that nobody drives.")
@_workers
@with_database
def resume(
    run: str | None, is_all: bool, workers: int | None, organisation: str, as_json: bool, **flags: Any
) -> int:
    """Go on with a run that was cut off, as it was begun; what it has done is not done again."""
    if (run is None) != is_all:
        raise click.UsageError("Give a run, or --all.")
    database, _ = opened(flags)
    with closing(database.connect()) as connection:
        if run is not None:
            found = [run_of(connection, organisation, run)]
        else:
            unfinished = [one for one in unfinished_runs(connection) if one.org == organisation]
            found = [one for one in unfinished if not functions_of(one).recording]
    codes: list[int] = []
    for one in found:
        with _session(database, organisation, _functions_of(one), workers) as session:
            try:
                codes.append(_driven(session, one, as_json=as_json))
            except Conflict:
                if not is_all:
                    raise
                click.echo(f"{one.id}: another process drives it.", err=True)
    return max(codes, default=0)


@command.command(name="redrive")
@click.argument("run", metavar="RUN")
@_workers
@with_database
def redrive(run: str, workers: int | None, organisation: str, as_json: bool, **flags: Any) -> int:
    """Do again what failed in a run, and nothing that succeeded."""
    database, _ = opened(flags)
    with closing(database.connect()) as connection:
        kept = _functions_of(run_of(connection, organisation, run))
    with _session(database, organisation, kept, workers) as session:
        again, failed = session.runs.redrive(run)
        if not as_json:
            click.echo(f"{failed} failed invocations are repeated.", err=True)
        return _driven(session, again, as_json=as_json)


@command.command(name="forget")
@click.argument("run", metavar="RUN")
@with_database
def forget(run: str, organisation: str, as_json: bool, **flags: Any) -> None:
    """Remove a run that has ended, and what its invocations gave; objects that its functions wrote stay."""
    database, _ = opened(flags)
    with closing(database.connect()) as connection:
        kept = _functions_of(run_of(connection, organisation, run))
    with _session(database, organisation, kept, 1) as session:
        session.runs.forget(run)
    if as_json:
        printed({"run": run, "forgotten": True})


@command.command(name="runs")
@with_database
def runs_(organisation: str, as_json: bool, **flags: Any) -> None:
    """List runs, the newest first."""
    database, _ = opened(flags)
    with closing(database.connect()) as connection:
        found = list_runs(connection, organisation)
    printed([_row(one) for one in found], as_table=not as_json)


def _row(run: KeptRun) -> dict[str, Any]:
    ended_ns = run.ended_ns
    return {
        "run": run.id,
        "workflow": run.workflow,
        "state": run.state,
        "began": utc_text(run.began_ns),
        "took_s": None if ended_ns is None else round((ended_ns - run.began_ns) / 1e9, 3),
    }


def _driven(session: "_Session", run: KeptRun, *, as_json: bool) -> int:
    warnings: list[Warn] = []
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed} done"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, disable=as_json or not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task(run.workflow, total=None)
        try:
            entry = asyncio.run(session.drive(run, warnings.append, lambda _: progress.advance(task)))
        except KeyboardInterrupt:
            progress.stop()
            done = int(progress.tasks[0].completed)
            click.echo(
                f"{done} invocations are done and kept. To go on: einthoven workflow resume {run.id}",
                err=True,
            )
            raise
    for one in warnings:
        click.echo(f"{one.code} {one.path}: {one.message}", err=True)
    _tell(run, entry, as_json=as_json)
    return 0 if isinstance(entry, Done) else EXIT_FAILED


def _tell(run: KeptRun, entry: Entry, *, as_json: bool) -> None:
    if as_json:
        printed({"run": run.id, "workflow": run.workflow, **msgspec.to_builtins(entry)})
        return
    if isinstance(entry, Failure):
        click.echo(click.style(f"{entry.code} {entry.path}: {entry.message}", fg="red"), err=True)
        if entry.code == "R708":
            click.echo(
                f"einthoven workflow redrive {run.id} repeats what failed, and nothing else.", err=True
            )
        return
    click.echo(f"Run {run.id} is done.", err=True)
    for name, value in entry.outputs.items():
        said = json.dumps(value, ensure_ascii=False)
        click.echo(f"{name}: {said if len(said) <= 400 else said[:400] + ' …'}")


# -------------------------------------------------------------------- what is given


def _document(source: str) -> bytes:
    if source in SHIPPED:
        return shipped(source)
    path = Path(source)
    if not path.is_file():
        raise RecordingNotFound(
            "there is no such file.", where=source, remedy=f"Give a file, or one of: {', '.join(SHIPPED)}."
        )
    with path.open("rb") as file:
        return file.read(BYTES_MAX + 1)


def _inputs(pairs: tuple[str, ...], file: Path | None) -> dict[str, Any]:
    given: Any = {}
    if file is not None:
        try:
            given = json.loads(file.read_bytes())
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise InputInvalid(
                "the inputs are no JSON object.", where=str(file), remedy='Write {"name": value}.'
            )
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputInvalid("an input is NAME=VALUE.", where=name, remedy="Put = between them.")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return dict(given)


def _placed(store: str) -> str:
    """An address that means the same wherever the run is gone on with."""
    return store if "://" in store else str(Path(store).absolute())


def _functions_of(run: KeptRun) -> RunFunctions:
    kept = functions_of(run)
    if kept.recording:
        raise Conflict(
            "the run analyses a recording of the service.",
            where=run.id,
            remedy=f"The service goes on with it by itself; see einthoven recordings show {kept.recording}.",
        )
    return kept


class _Session:
    """What a command that drives runs has at hand."""

    def __init__(self, runs: WorkflowRuns, elsewhere: Elsewhere | None, regions: RegionPort | None) -> None:
        self.runs = runs
        self._open = [one for one in (elsewhere, regions) if one is not None]

    async def drive(
        self, run: KeptRun, warned: Callable[[Warn], None], ended: Callable[[str], None]
    ) -> Entry:
        """Perform a run, and close the connections that it opened."""
        try:
            return await self.runs.drive(run, warned, ended)
        finally:
            for one in self._open:
                await one.close()


@contextmanager
def _session(
    database: Database, organisation: str, kept: RunFunctions, workers: int | None
) -> Iterator[_Session]:
    count = workers or workers_here()
    pool, elsewhere = WorkerPool(count), _elsewhere()
    regions, at_once = _regions(kept)
    try:
        with run_session(
            database,
            organisation,
            kept,
            pool,
            count,
            SystemClock(),
            more=_module(kept.module),
            elsewhere=elsewhere,
            regions=regions,
            at_once=max(64, at_once),
        ) as runs:
            yield _Session(runs, elsewhere, regions)
    finally:
        pool.close()


def _regions(kept: RunFunctions) -> tuple[RegionPort | None, int]:
    """Where the ECG functions run, and how many calls at once; None: here."""
    if not kept.continuum:
        return None, 0
    return regions_of(ContinuumFile(Path(kept.continuum)).read(), kept, SystemClock())


def _elsewhere() -> Elsewhere | None:
    """Who calls functions over HTTP; None where the extra is not installed."""
    try:
        from einthoven.runtime.http_functions import HttpFunctions  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return HttpFunctions()


def _module(name: str | None) -> dict[str, Callable[..., Any]]:
    """The functions of a module by their names; modules beside the workflow's caller are found too."""
    if name is None:
        return {}
    sys.path.insert(0, "")
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise InputInvalid(
            f"the module cannot be imported: {error}.", where=name, remedy="Give a module's dotted name."
        ) from None
    return {one: call for one, call in vars(module).items() if callable(call) and not one.startswith("_")}
