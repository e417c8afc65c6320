"""Documentation that can fail: every block runs, every command, rule and error has its place."""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from rich.console import Console

from einthoven import errors
from einthoven.cli import _COMMANDS, _group, run
from einthoven.cli.demo import WARD, _Row, _view
from einthoven.clock import VirtualClock
from einthoven.continuum import (
    LINK_PRESETS,
    Device,
    FailureRate,
    Link,
    Load,
    Price,
    Prices,
    RadioCell,
    Region,
    RequestClass,
    Site,
    StaffStep,
    Tariff,
    read_continuum,
)
from einthoven.continuum.quantities import DIMENSIONS
from einthoven.notice import NOTICE
from einthoven.placement import POLICIES
from einthoven.runtime.streaming import Analysed, Player
from einthoven.server import accounts
from einthoven.server.accounts import ROLES
from einthoven.server.function_metrics import FUNCTION_METRICS
from einthoven.server.metrics import METRICS
from einthoven.server.recording_runs import RecordingRuns
from einthoven.server.roles import ISSUES, OVERSEES, ROUTES
from einthoven.server.settings import Settings, settings_page
from einthoven.signal.rules import GUARDS, KINDS, ORDERED, RANGES, RULES, Criteria
from einthoven.simulation import SCENES, VirtualPatient
from einthoven.storage import open_database
from einthoven.testing.function_hosts import a_host
from einthoven.testing.serving import Served, serving
from einthoven.workflow import CODES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
WRITES = bool(os.environ.get("EINTHOVEN_WRITE_DOCS"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def assert_current(path: Path, content: str) -> None:
    """The page is what the program says now; EINTHOVEN_WRITE_DOCS=1 writes it."""
    if WRITES:
        path.write_text(content)
    assert path.read_text() == content, f"{path.name} is stale; CONTRIBUTING.md says how to write it"


def blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_runs(page: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python blocks of a page share their names; einthoven commands run in an empty folder."""
    monkeypatch.setenv("EINTHOVEN_DATA_FOLDER", str(tmp_path / "data"))  # nobody's own
    names: dict[str, object] = {"__name__": "docs"}
    with contextlib.chdir(tmp_path):
        for language, text in blocks(page):
            if language == "python":
                exec(compile(text, str(page), "exec"), names)  # noqa: S102 - our own pages
            elif language == "bash":
                for line in text.splitlines():
                    words = shlex.split(line)
                    if words[0] == "einthoven":
                        assert run(words[1:]) == 0, line
    capsys.readouterr()


def test_the_readme_opens_with_the_two_commands_and_ci_runs_the_second() -> None:
    install, test = [text.strip() for language, text in blocks(ROOT / "README.md") if language == "bash"][:2]
    assert install.endswith("einthoven demo --seconds 40")
    assert test.endswith("-m einthoven.testing.check")
    assert test in (ROOT / ".ci" / "run").read_text()


def test_the_readme_says_the_notice() -> None:
    def words(text: str) -> list[str]:
        return re.sub(r"[>\[\]]|\(docs/performance\.md\)", "", text).split()

    readme = " ".join(words((ROOT / "README.md").read_text()))
    assert " ".join(words(NOTICE)) in readme


def codes_page() -> str:
    rows = "\n".join(f"| {code} | {meaning} |" for code, meaning in CODES.items())
    return (
        "# Codes of workflows\n\n"
        "What `einthoven workflow check` finds; E are errors, W warnings. In lenient mode many errors are "
        "warnings with the same code. What goes wrong in a run is in [workflows](../workflows.md#codes).\n\n"
        f"| code | what |\n|---|---|\n{rows}\n"
    )


def test_the_page_of_codes_is_that_of_the_program() -> None:
    path = DOCS / "reference" / "workflow-codes.md"
    assert_current(path, codes_page())


def commands_page() -> str:
    page = [
        "# Commands",
        "",
        "Written from the program's own help; `einthoven COMMAND --help` says the same.",
        "",
    ]
    context = click.Context(_group, info_name="einthoven", terminal_width=100, max_content_width=100)
    for name in sorted(_COMMANDS):
        command = _group.get_command(context, name)
        assert command is not None
        page += help_of(command, name, context)
    return "\n".join(page)


def help_of(command: click.Command, name: str, parent: click.Context) -> list[str]:
    """A command's help, and that of the commands in it."""
    command._help_option = None  # click keeps the names that whoever asked first had
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100, max_content_width=100)
    page = [f"## {context.command_path}", "", "```text", command.get_help(context), "```", ""]
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            page += help_of(found, inner, context)
    return page


def commands_of(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return [(path, command), *(found for name, one in inner for found in commands_of(one, f"{path} {name}"))]


def test_the_page_of_commands_knows_every_command_and_option() -> None:
    """Not compared to the letter: another version of click lays the same help out differently."""
    path = DOCS / "reference" / "commands.md"
    if WRITES:
        path.write_text(commands_page())
    page = " ".join(path.read_text().split())
    context = click.Context(_group)
    top = [(name, _group.get_command(context, name)) for name in _COMMANDS]
    for title, command in [row for name, one in top if one for row in commands_of(one, name)]:
        assert f"## einthoven {title} " in page
        for option in command.params:
            if isinstance(option, click.Argument):
                assert option.make_metavar(context) in page, (title, option.opts)
                continue
            assert all(word in page for word in option.opts), (title, option.opts)
            if isinstance(option, click.Option) and option.help:
                assert option.help.split("  ")[0] in page, (title, option.opts)


def rules_page() -> str:
    page = [
        "# Rhythm rules",
        "",
        "Written from `einthoven.signal.rules`. C15: the alarm definitions of the PhysioNet/CinC Challenge",
        "2015. Holter: a Holter vendor's notify-at-once list. EC57: the classes of the reference tools.",
        "ours: defined here.",
        "",
        "| episode | priority | default rule | from |",
        "|---|---|---|---|",
        *(f"| `{kind}` | {rule.priority} | {rule.rule} | {rule.source} |" for kind, rule in RULES.items()),
        "",
        "## Limits",
        "",
        "Every limit is a field of `Criteria`, with its unit in its name. A deployment changes them for",
        "all recordings with a TOML file, one key a line (`einthoven analyze --rules FILE.toml …`), for one",
        "patient of a stream with `OnlinePath(clock, {patient: Criteria(…)})`, and for one call with the",
        "field `criteria` of the ECG object. A key that does not exist, or a value outside its range, is",
        "refused by its name.",
        "",
        "| limit | default | least | greatest |",
        "|---|---|---|---|",
        *(
            f"| `{name}` | {value:g} | {RANGES[name][0]:g} | {RANGES[name][1]:g} |"
            for name, value in msgspec.structs.asdict(Criteria()).items()
        ),
        "",
        *(f"`{low}` must be less than `{high}`." for low, high in ORDERED),
        "",
        "Beats count only while they look like beats (`agreement_least`). An interval counts only if no",
        "second of it is unusable. Silence counts as silence only while no deflection of 0.2 mV could be a",
        "missed beat. Episodes of priority none are told in findings and raise no alert.",
        "",
        "## Confidence and grade",
        "",
        "Each episode carries the confidence with which it was decided, per cent, and the worse grade of the",
        "last two seconds before that. The confidence is, of both kinds of fibrillation, the likelihood",
        "that the score gives; of runs and ventricular tachycardia, the classifier's confidence in their",
        "beats (for V, times how much the last beats resembled beats); of the other rhythms, how much the",
        "last eight beats resembled the patient's or each other; of technical conditions, 100.",
        "",
        "## Guards",
        "",
        "When an episode raises no alert (hold), or a technical one (doubt). The first that applies is",
        "taken; the reason travels with the condition and the alert.",
        "",
        "| episodes | from grade | below confidence | action | reason |",
        "|---|---|---|---|---|",
        *(
            f"| {', '.join(f'`{kind}`' for kind in guard.kinds)} | {guard.grade_from} "
            f"| {guard.confidence_below if guard.confidence_below <= 100 else 'any'} | {guard.action} "
            f"| {guard.reason} |"
            for guard in GUARDS
        ),
        "",
    ]
    return "\n".join(page)


def test_the_page_of_rules_is_the_programs_own_table() -> None:
    assert_current(DOCS / "reference" / "rhythm-rules.md", rules_page())


def test_the_page_of_settings_is_the_programs_own_table() -> None:
    assert_current(DOCS / "reference" / "settings.md", settings_page())


def roles_page() -> str:
    callers = ["device", "gateway", *ROLES]
    marks = [
        [
            "all" if "anyone" in allowed else "setup token" if "setup" in allowed else "",
            *("yes" if caller in allowed else "" for caller in callers),
        ]
        for allowed in ROUTES.values()
    ]
    page = [
        "# Roles",
        "",
        "Written from `einthoven.server.roles`. A route that is not in the table is closed. A patient sees",
        "what lies under the own pseudonym.",
        "",
        f"| route | without | {' | '.join(callers)} |",
        f"|---|{'---|' * (len(callers) + 1)}",
        *(
            f"| `{method} {path}` | {' | '.join(row)} |"
            for (method, path), row in zip(ROUTES, marks, strict=True)
        ),
        "",
        "| token | issued and revoked by | all of them seen by |",
        "|---|---|---|",
        *(
            f"| {kind} | {', '.join(sorted(ISSUES[kind]))} | {', '.join(sorted(OVERSEES[kind]))} |"
            for kind in ISSUES
        ),
        "",
        "A user's token is issued by that user, in a session, and revoked by that user or an administrator;",
        "one's own tokens everybody sees.",
        "",
    ]
    return "\n".join(page)


def test_the_page_of_roles_is_the_programs_own_table() -> None:
    assert_current(DOCS / "reference" / "roles.md", roles_page())


@contextlib.contextmanager
def a_service(folder: Path) -> Iterator[Served]:
    """A service with all that it does."""
    settings = Settings(data_folder=str(folder / "service"))
    settings.folder.mkdir()
    database = open_database(settings.database_url)
    database.migrate()
    with serving(database, settings=settings) as served:
        recordings = RecordingRuns(database, served.service.clock, settings, "docs")
        try:
            yield served
        finally:
            recordings.stop(30)


def performed(page: Path, folder: Path, variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """The shell and Python blocks of a page, as one script."""
    script = ["set -e"]
    for language, text in blocks(page):
        if language == "sh":
            script.append(text)
        elif language == "python":
            script.append(f"{shlex.quote(sys.executable)} - <<'END'\n{text}END")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(shutil.which("bash")), "-c", "\n".join(script)],
        cwd=folder,
        env={**os.environ, "PATH": path, "no_proxy": "127.0.0.1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_every_example_of_recordings_runs(tmp_path: Path) -> None:
    with a_service(tmp_path) as served:
        variables = {
            "EINTHOVEN_URL": served.url,
            "EINTHOVEN_TOKEN": served.token("device")[1],
            "EINTHOVEN_DATA_FOLDER": str(served.service.settings.folder),
        }
        done = performed(DOCS / "recordings.md", tmp_path, variables)
    assert done.stdout.count("Ventricular fibrillation") >= 2
    assert '"sent_bytes": 0' in done.stdout


def test_every_example_of_the_http_api_runs(tmp_path: Path) -> None:
    """Against a service that was never used."""
    with a_service(tmp_path) as served:
        with served.writing() as statements:
            setup = accounts.issue_setup(statements, accounts.MAIN, served.service.clock.utc_ns())
        page = DOCS / "reference" / "http-api.md"
        done = performed(page, tmp_path, {"URL": served.url, "SETUP": str(setup)})
    assert '"status":"analysed"' in done.stdout
    assert '"status":"accepted"' in done.stdout
    assert '"clockSkewS"' in done.stdout
    assert '"analysableFraction"' in done.stdout
    answers = msgspec.msgpack.decode((tmp_path / "answers.msgpack").read_bytes())
    assert [one["sequence"] for one in answers] == [2, 3]


def test_every_example_of_function_hosts_runs(tmp_path: Path) -> None:
    with a_host() as url:
        done = performed(DOCS / "reference" / "function-host.md", tmp_path, {"URL": url})
    assert '"is_draining":false' in done.stdout
    assert json.loads((tmp_path / "answer.json").read_text())["ecg"]["cleaned"]["first"] == 0


def demo_picture() -> str:
    clock = VirtualClock()
    patients = {name: VirtualPatient(1905 + n, SCENES[name]) for n, name in enumerate(WARD)}
    player = Player(patients, clock, clock.advance)
    rows = {name: _Row() for name in patients}
    log = []
    for happening in player.play(27.4):
        if isinstance(happening, Analysed):
            rows[happening.patient].take(happening)
            log += [(happening.at_s, change) for change in happening.changes]
    console = Console(record=True, width=124, file=io.StringIO(), force_terminal=True)
    console.print(_view(player, rows, log, 124))
    return console.export_svg(title="einthoven demo", unique_id="demo")


def test_the_picture_is_of_this_program() -> None:
    """Not compared to the letter: a font table or a rounding may differ between machines."""
    path = DOCS / "pictures" / "demo.svg"
    picture = demo_picture()
    if WRITES:
        path.write_text(picture)
    kept = path.read_text()
    for words in (*WARD, "Ventricular", "Atrial", "Pause"):
        assert words in picture
        assert words in kept


def test_the_explanation_is_of_this_program(data: Path, tmp_path: Path) -> None:
    """The words of the sheet; its numbers move with the classifier."""
    drawn = tmp_path / "explain.svg"
    moment = ["--explain", "0:06:55", "--output", str(drawn)]
    assert run(["analyze", str(data / "mitdb" / "208"), *moment]) == 0
    path = DOCS / "pictures" / "explain.svg"
    if WRITES:
        path.write_text(drawn.read_text())
    for words in ("208", "What speaks for V, and against it", "Votes", "recorded", "beside the patient"):
        assert words in drawn.read_text()
        assert words in path.read_text()


def test_the_drawing_of_the_hospital_is_of_this_program(tmp_path: Path) -> None:
    """The words of the drawing; which of several plans that are as good it shows may differ."""
    drawn = tmp_path / "hospital.svg"
    assert run(["plan", "new", str(tmp_path / "hospital.toml")]) == 0
    words = ["--method", "default", "--output", str(drawn)]
    assert run(["plan", "show", str(tmp_path / "hospital.toml"), *words]) == 0
    path = DOCS / "pictures" / "hospital.svg"
    if WRITES:
        path.write_text(drawn.read_text())
    for said in (
        "61 of 70 requests accepted",
        "15 of 24 × home-far",
        "data-centre",
        "ambulance",
        "100 % given",
    ):
        assert said in drawn.read_text()
        assert said in path.read_text()


def test_every_error_is_on_its_page() -> None:
    page = (DOCS / "reference" / "errors.md").read_text()
    leaves = [getattr(errors, name) for name in errors.__all__ if name != "Fault"]
    for kind in leaves:
        if not [other for other in leaves if other is not kind and issubclass(other, kind)]:
            assert f"| `{kind.code}` | {kind.fault} |" in page, kind.__name__


def test_the_schema_knows_every_kind_of_episode() -> None:
    schema = json.loads((DOCS / "reference" / "analyze.schema.json").read_text())
    kinds = schema["items"]["properties"]["episodes"]["items"]["properties"]["kind"]["enum"]
    assert tuple(kinds) == KINDS


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"


def test_every_page_that_the_program_names_is_there() -> None:
    named = {
        name
        for source in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"docs/[a-z./-]+\.(?:md|json)", source.read_text())
    }
    assert len(named) > 8
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def test_every_policy_and_every_key_of_the_continuum_is_on_its_page() -> None:
    policies = re.findall(r"^\| `([a-z-]+)` \|", (DOCS / "federation.md").read_text(), re.MULTILINE)
    assert policies == sorted(POLICIES)
    page = (DOCS / "reference" / "continuum.md").read_text()
    keys = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    tables = (Site, Link, RadioCell, RequestClass, Prices, Device, Tariff, Load, StaffStep, FailureRate)
    assert keys == [
        *Region.__struct_fields__[1:],
        *Price.__struct_fields__,
        *(key for table in tables for key in table.__struct_encode_fields__[1:]),
    ]
    regions, sites, costs = [
        text for language, text in blocks(DOCS / "reference" / "continuum.md") if language == "toml"
    ]
    assert len(read_continuum(regions).regions) == 2
    continuum = read_continuum(sites)
    assert all((continuum.sites, continuum.links, continuum.cells, continuum.requests))
    continuum = read_continuum(sites + costs)
    assert all((continuum.devices, continuum.tariffs, continuum.loads, continuum.staff, continuum.failures))
    rows = re.findall(r"^\| ([a-z ]+) \| `(.+?)`", page, re.MULTILINE)
    assert {name: unit for name, unit in rows if name in DIMENSIONS} == {
        name: one.base for name, one in DIMENSIONS.items()
    }
    for tech, preset in LINK_PRESETS.items():
        assert f"| {tech} | {preset['rate']} | {preset['latency']} |" in page


def test_the_glossary_is_in_order() -> None:
    words = re.findall(r"^\| ([a-z ]+) \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)[1:]
    assert words == sorted(words)


def test_every_metric_is_on_its_page() -> None:
    page = (DOCS / "reference" / "metrics.md").read_text()
    for family in METRICS.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"| `{name}` | {family.type} |" in page, name
    for name, described in FUNCTION_METRICS.items():
        assert f"| `{name}` | {described.kind} |" in page, name
