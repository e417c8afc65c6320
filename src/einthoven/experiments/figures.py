"""What an experiment gives: figures, beside those that were published, and charts."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

__all__ = ["Found", "Row", "Setup", "as_csv", "row"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure."""

    case: str
    """Of what."""
    figure: str
    unit: str
    ours: float
    """As `Found.how` says."""
    published: float | None = None
    """None: nobody has printed it."""
    difference_pct: float | None = None
    """Of ours from the published, of the latter."""
    within: float | None = None
    """Half of the 95 % interval of a mean; None: not a mean over seeds."""
    published_to: float | None = None
    """The upper end, where a range was printed that begins at ``published``."""

    @property
    def is_in_range(self) -> bool | None:
        """Whether ours is in the published range; None: there is none."""
        if self.published is None or self.published_to is None:
            return None
        return self.published <= self.ours <= self.published_to


def row(
    case: str,
    figure: str,
    unit: str,
    ours: float,
    published: float | None = None,
    within: float | None = None,
    *,
    within_range: tuple[float, float] | None = None,
) -> Row:
    """A figure, rounded, and how far it is from the published one, or the range that was published."""
    if within_range is not None:
        least, most = within_range
        ours = float(f"{ours:.5g}")
        return Row(case=case, figure=figure, unit=unit, ours=ours, published=least, published_to=most)
    return Row(
        case=case,
        figure=figure,
        unit=unit,
        ours=float(f"{ours:.5g}"),
        published=None if published is None else float(f"{published:.5g}"),
        difference_pct=round(100.0 * (ours / published - 1.0), 1) if published else None,
        within=None if within is None or math.isnan(within) else float(f"{within:.2g}"),
    )


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """How an experiment is run."""

    seconds: float
    """Of simulated time, each run."""
    seed: int
    told: Callable[[str], None]
    """Is told what is being done."""
    data: Path | None = None
    """Folder of real recordings, for experiments on them; for these also the next three."""
    folds: int = 5
    """Of the cross-validation, that are run."""
    networks: int = 5
    """Perceptrons a head."""
    seeds: int = 1
    """From ``seed`` on."""
    rounds: int = 14
    """Of federated learning."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What an experiment found."""

    rows: tuple[Row, ...]
    charts: tuple[tuple[str, str], ...] = ()
    """Name of the file and its SVG."""
    remarks: tuple[str, ...] = ()
    """What must be known to read the figures."""
    changes: tuple[msgspec.Struct, ...] = ()
    """What programs are given instead of the rows, where an experiment has a table of its own."""
    units: Mapping[str, str] = {}
    """Of what is in that table."""
    how: str = "simulated"
    """How ours were found."""
    sources: tuple[str, ...] = ()
    """Where figures were published; none: where most were."""
    known: str = ""
    """What else is known of them but numbers."""


def as_csv(rows: Sequence[msgspec.Struct]) -> str:
    """A table of at least one row for other programs; what nobody has published is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0].__struct_fields__)
    writer.writerows(
        ["" if value is None else value for value in msgspec.structs.astuple(one)] for one in rows
    )
    return text.getvalue()
