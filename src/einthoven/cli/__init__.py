"""The command line. Commands are loaded when they are called, so that ``--help`` answers at once."""

import importlib
import json
import sys
from typing import Any, Final

import click

from einthoven.errors import EinthovenError
from einthoven.notice import NOTICE
from einthoven.version import __version__

__all__ = ["main"]

_COMMANDS: Final = {
    "analyze": ("einthoven.cli.analyze", "Find beats, rhythm and conditions in recordings."),
    "bench": ("einthoven.cli.bench", "Measure accuracy, and compare."),
    "config": ("einthoven.cli.config", "See the settings of the service."),
    "convert": ("einthoven.cli.convert", "Write a recording in another format."),
    "consent": ("einthoven.cli.consent", "See, give and take back a patient's consent."),
    "demo": ("einthoven.cli.demo", "Watch virtual patients stream, and alerts fire."),
    "doctor": ("einthoven.cli.doctor", "Check that this machine can run Einthoven."),
    "experiment": ("einthoven.cli.experiment", "Repeat published experiments on simulated regions."),
    "fhir": ("einthoven.cli.fhir", "Write what was found in a recording as FHIR."),
    "functions": ("einthoven.cli.functions", "Serve the functions over HTTP, and check hosts of functions."),
    "grants": ("einthoven.cli.grants", "See who may see a patient, and change that."),
    "ledger": ("einthoven.cli.ledger", "Keep, export and verify what was decided and done."),
    "node": ("einthoven.cli.node", "Let this machine run what its site manager gives it."),
    "nodes": ("einthoven.cli.nodes", "See the nodes of a site, and deploy nanoservices to them."),
    "patients": ("einthoven.cli.patients", "Virtual patients that send segments to a service."),
    "payload-keys": ("einthoven.cli.payload_keys", "Keys that devices seal for, and seal with."),
    "plan": ("einthoven.cli.plan", "Plan which requests are answered in time, where, with how much."),
    "policy": ("einthoven.cli.policy", "See where what data may go, and why."),
    "pseudonyms": ("einthoven.cli.pseudonyms", "Let data leave without saying whose it is."),
    "recordings": ("einthoven.cli.recordings", "See recordings that the service analyses, and cancel them."),
    "regions": ("einthoven.cli.regions", "See the regions where functions run, and change them."),
    "report": ("einthoven.cli.reports", "Print a recording's report as a PDF."),
    "serve": ("einthoven.cli.serve", "Take segments, analyse them, keep them, and alert."),
    "tokens": ("einthoven.cli.tokens", "Issue, list and revoke tokens, directly in the database."),
    "train": ("einthoven.cli.train", "Train the beat classifier from the MIT-BIH records."),
    "train-detector": ("einthoven.cli.train_detector", "Train the beat detector from raw records and noise."),
    "train-rhythm": ("einthoven.cli.train_rhythm", "Train the rhythm scores from five databases."),
    "upload": ("einthoven.cli.upload", "Send recordings to a service, and see what was found."),
    "users": ("einthoven.cli.users", "Add and list users, directly in the database."),
    "views": ("einthoven.cli.views", "See what was found of a patient over time; make views anew."),
    "workflow": ("einthoven.cli.workflow", "Check, draw and run workflows, and go on with them."),
}

EXIT_CALLER: Final = 2
"""The caller's fault: a wrong option, a file that is missing or unreadable."""
EXIT_PEER: Final = 3
"""Something we depend on failed; the same call may succeed later."""
EXIT_DEFECT: Final = 70
"""Our fault."""
EXIT_INTERRUPTED: Final = 130


class _LazyGroup(click.Group):
    """A group that imports a command's module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        command: click.Command = importlib.import_module(module).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"einthoven {__version__}\n\n{NOTICE}")
        ctx.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    callback=_print_version,
    expose_value=False,
    is_eager=True,
    help="Version and notice.",
)
def _group() -> None:
    """ECG telemetry for the local-edge-cloud continuum. Not a medical device."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run one command; what went wrong is said in one sentence on standard error, never as a traceback."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code: Any = _group.main(words, prog_name="einthoven", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        return EXIT_INTERRUPTED
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return EXIT_CALLER
    except EinthovenError as error:
        return report(error, as_json="--json" in words)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return int(code) if isinstance(code, int) else 0


def report(error: EinthovenError, *, as_json: bool) -> int:
    """Say what went wrong; returns the exit code."""
    if as_json:
        click.echo(json.dumps({"error": error.as_dict()}), err=True)
    else:
        click.echo(f"einthoven: {error}", err=True)
    return {"caller": EXIT_CALLER, "peer": EXIT_PEER, "ours": EXIT_DEFECT}[error.fault]
