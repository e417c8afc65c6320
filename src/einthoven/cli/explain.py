"""``einthoven analyze --explain``: one moment of one recording, drawn."""

import json
from pathlib import Path
from typing import Any

import click
import msgspec

from einthoven.cli.picture_files import checked_picture, write_picture
from einthoven.errors import InputInvalid
from einthoven.pictures.explanation import draw_explanation
from einthoven.pictures.reasons import beat_reason, episode_reason, limits_of
from einthoven.pictures.strips import clock
from einthoven.records import Described
from einthoven.runtime.batch import lead_number
from einthoven.runtime.explaining import Explanation, Moment, explain
from einthoven.signal.findings import BEAT_CLASSES
from einthoven.signal.quality import GRADE
from einthoven.signal.rules import RULES, Criteria

__all__ = ["explain_moment"]


def explain_moment(
    files: tuple[Path, ...],
    lead: str | None,
    moment: str,
    output: Path | None,
    criteria: Criteria | None,
    described: Described,
    *,
    as_json: bool,
) -> int:
    """Draw the moment, and say in a sentence or as JSON what the drawing says."""
    if len(files) != 1:
        raise InputInvalid(
            f"there are {len(files)} files.",
            where="--explain",
            remedy="Give one; a drawing is of one moment.",
        )
    wanted = Moment.parse(moment)
    checked_picture(output)
    with described.opened(files[0]) as source:
        told = explain(source, lead_number(source.info, lead), wanted, criteria)
    path = output or Path(f"{told.recording}-{moment.strip().replace(':', '-')}.svg")
    write_picture(path, draw_explanation(told).file(f"{told.recording} at {clock(told.start_s)}"))
    click.echo(f"Drawing: {path}", err=True)
    if as_json:
        click.echo(json.dumps(_figures(told)))
    else:
        for line in _words(told):
            click.echo(line)
    return 0


def _final(told: Explanation) -> str | None:
    if told.evidence is None:
        return None
    return told.evidence.kind if told.chosen is None else BEAT_CLASSES[told.beats.classes[told.chosen]]


def _words(told: Explanation) -> list[str]:
    final = _final(told)
    if told.evidence is None or final is None:
        lines = ["No beat was found here."]
    else:
        at = clock(told.evidence.position / told.fs)
        lines = [f"{at}  {beat_reason(told.evidence, final)}"]
    for episode in told.episodes:
        reason = episode_reason(episode, told.beats, told.fs, told.criteria)
        lines.append(f"{RULES[episode.kind].title} ({episode.priority}): {reason}")
    return lines


def _figures(told: Explanation) -> dict[str, Any]:
    beat = None
    final = _final(told)
    if told.evidence is not None and final is not None:
        beat = {
            "at_s": round(told.evidence.position / told.fs, 3),
            "class": final,
            "voted": told.evidence.kind,
            "votes": {name: round(share, 4) for name, share in told.evidence.votes.items()},
            "features": [msgspec.structs.asdict(one) for one in told.evidence.features],
            "usual_beats": told.evidence.usual_beats,
            "template_beats": told.evidence.template_beats,
            "reason": beat_reason(told.evidence, final),
        }
    return {
        "recording": told.recording,
        "lead": told.lead,
        "start_s": round(told.start_s, 3),
        "beat": beat,
        "beats": [
            {"at_s": round(int(position) / told.fs, 3), "class": BEAT_CLASSES[code]}
            for position, code in zip(told.beats.positions, told.beats.classes, strict=True)
        ],
        "quality": [int(cell) & GRADE for cell in told.quality.cells],
        "episodes": [
            {
                "kind": episode.kind,
                "onset_s": round(episode.onset / told.fs, 3),
                "end_s": None if episode.end is None else round(episode.end / told.fs, 3),
                "priority": episode.priority,
                "limits": limits_of(episode.kind, told.criteria),
                "reason": episode_reason(episode, told.beats, told.fs, told.criteria),
            }
            for episode in told.episodes
        ],
        "versions": told.versions,
    }
