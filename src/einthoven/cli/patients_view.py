"""What a run of virtual patients looks like while it goes on, and when it is over."""

from typing import Any, Final

import numpy as np
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from einthoven.cli.drawing import sparkline
from einthoven.notice import SHORT_NOTICE
from einthoven.server.patient_runs import RunSettings

__all__ = ["RunView", "ending"]

_SHOWN_S: Final = 60
_WIDTH: Final = 50
"""Of a line of bars; the panel fits into 80 columns."""


_REMEDIES: Final = {
    "refused-token-invalid": "The service wants a token it knows: make one with 'einthoven tokens issue "
    "--kind gateway' beside the service, and give it as EINTHOVEN_TOKEN or with --token.",
    "refused-access-denied": "The token may not send for these patients: --kind gateway may send for all.",
}


class RunView:
    """The last minute of a run, as a panel."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._share = 0.0
        self._has_started = False
        self._seconds: list[dict[str, Any]] = []

    def take(self, event: dict[str, Any]) -> None:
        """Learn what happened."""
        match event["event"]:
            case "preparing":
                self._share = event["share"]
            case "started":
                self._has_started = True
            case "second":
                self._seconds = [*self._seconds[1 - _SHOWN_S :], event]

    def draw(self) -> RenderableType:
        """The panel."""
        target, traffic = self._settings.target, self._settings.traffic
        title = f"{traffic.patients:,} virtual patients → {target.destination}"
        return Panel(
            self._body(), title=title, title_align="left", subtitle=SHORT_NOTICE, border_style="cyan"
        )

    def _body(self) -> RenderableType:
        if not self._seconds:
            text = "Connecting …" if self._has_started else "Encoding signals …"
            return Group(Text(text), ProgressBar(1.0, self._share, width=_WIDTH))
        now = self._seconds[-1]
        counts, table = now["counts"], Table.grid(padding=(0, 2))
        table.add_column(width=8)
        table.add_column(width=10, justify="right")
        table.add_column(width=_WIDTH, no_wrap=True)
        for name, key, unit, style in (
            ("answered", "answered", "/s", "green"),
            ("p50", "p50_ms", " ms", "cyan"),
            ("p99", "p99_ms", " ms", "magenta"),
            ("waiting", "waiting", "", "yellow"),
            ("errors", "errors", "/s", "red"),
        ):
            values = np.array([np.nan if one[key] is None else one[key] for one in self._seconds], np.float64)
            table.add_row(
                Text(name, style="dim"),
                Text(f"{_short(now[key])}{unit}", style=f"bold {style}"),
                Text(sparkline(values, _WIDTH), style=style),
            )
        duration_s = self._settings.traffic.duration_s
        kept = counts["analysed"] + counts["accepted"] + counts["duplicates"] + counts["late"]
        said = (
            f"{now['at_s']} s   sent {counts['sent']:,}   analysed {counts['analysed']:,}   "
            f"kept {kept:,}   refused {counts['refused']:,}   wrong {counts['wrong']:,}   "
            f"sent again {counts['retries']:,}"
        )
        parts: list[RenderableType] = [table, Text(said)]
        if duration_s is not None:
            parts.append(ProgressBar(duration_s, min(now["at_s"], duration_s), width=_WIDTH + 24))
        return Group(*parts)


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def ending(report: dict[str, Any]) -> RenderableType:
    """How it went, in a few lines."""
    counts = report["counts"]
    good = report["is_whole"]
    spread = Table(box=None, padding=(0, 2), title_justify="left")
    for column in ("ms", "p50", "p90", "p99", "p99.9", "max"):
        spread.add_column(column, justify="left" if column == "ms" else "right")
    for name, key in (
        ("from when it was due", "latency_ms"),
        ("from when it was sent", "service_ms"),
        ("sent later than due", "send_lag_ms"),
    ):
        row = report[key]
        spread.add_row(name, *(_short(row[one]) for one in ("p50", "p90", "p99", "p999", "max")))
    lines = [
        Text.assemble(
            (f"{report['elapsed_s']:.0f} s: ", "bold"),
            f"sent {counts['sent']:,}, answered {counts['answered']:,}, analysed {counts['analysed']:,}, ",
            (f"lost {report['lost']:,}", "bold green" if good else "bold red"),
            f"; {report['answered_per_s']:,.0f} segments/s.",
        )
    ]
    others = {
        "accepted for later": counts["accepted"],
        "late": counts["late"],
        "there already": counts["duplicates"],
        "repeated on purpose": counts["repeats"],
        "refused": counts["refused"],
        "answered wrongly": counts["wrong"],
        "with findings that cannot be": counts["odd"],
        "sent again": counts["retries"],
    }
    rest = ", ".join(f"{name} {count:,}" for name, count in others.items() if count)
    if rest:
        lines.append(Text(rest))
    if report["errors"]:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in report["errors"].items())
        lines.append(Text(f"Errors: {kinds}", style="yellow"))
    lines += [Text(_REMEDIES[kind], style="bold") for kind in report["errors"] if kind in _REMEDIES]
    return Group(*lines, spread)
