"""Federated learning between regions: a site answers from its own records, a coordinator asks the sites.

What crosses is in `einthoven.signal.federated`; records and rows stay where they are.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec
import numpy as np

from einthoven.errors import RecordingNotFound
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.region_port import Call, RegionPort
from einthoven.runtime.training import VARIANTS, Rows, training_rows
from einthoven.signal.federated import Answered, Asked, Coordinator, Learn, Plan, Site, answer, site_of

__all__ = ["FEDERATED_ROUND", "answer_at", "learn_across", "site_from"]

FEDERATED_ROUND: Final = "federated-round"
"""The function that a site has."""


def site_from(parts: Mapping[str, list[Rows]]) -> Site:
    """A site with the rows of these records, in the order of their names.

    Raises
    ------
    InputInvalid : see `site_of`.
    """
    names = sorted(parts)
    rows = [part for name in names for part in parts[name]]
    of_record = [np.full(part.labels.size, at) for at, name in enumerate(names) for part in parts[name]]
    return site_of(
        np.concatenate([part.features for part in rows]),
        np.concatenate([part.labels for part in rows]),
        np.concatenate(of_record),
        rows_of_beat=len(VARIANTS),
    )


def answer_at(folder: Path, asked: Asked) -> Answered:
    """What the site whose annotated records lie in a folder gives.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable, InputInvalid : see `training_rows` and `answer`.
    """
    return answer(_site_in(folder), asked)


@lru_cache(maxsize=1)
def _site_in(folder: Path) -> Site:
    """Read once in each process: a round takes less than reading."""
    names = sorted(path.stem for path in folder.glob("*.atr"))
    if not names:
        raise RecordingNotFound(
            "the site has no annotated records.",
            where=str(folder),
            remedy="Put WFDB records with .atr there.",
        )
    return site_from({name: [training_rows(folder, name, one) for one in VARIANTS] for name in names})


async def learn_across(
    plan: Plan,
    ports: Mapping[str, RegionPort],
    *,
    timeout_s: float = 300.0,
    told: Callable[[Coordinator], None] = lambda _: None,
) -> Coordinator:
    """All rounds, between regions.

    Parameters
    ----------
    timeout_s : a site that takes longer is left out of that round
    told : what has come so far, after each answer to a question

    Raises
    ------
    DestinationUnavailable : no site gave an answer that can be used.
    """
    coordinator, run = Coordinator(plan), uuid4().hex
    while not coordinator.is_done:
        asked = coordinator.question
        stage = f"{asked.number}" if isinstance(asked, Learn) else type(asked).__name__
        call = Call(
            function=FEDERATED_ROUND,
            content=msgspec.msgpack.encode(asked),
            encoding="msgpack",
            key=f"{run}/{stage}",
            timeout_s=timeout_s,
        )
        answers = await asyncio.gather(*(_answer(port, call) for port in ports.values()))
        coordinator.receive(
            {name: found for name, found in zip(ports, answers, strict=True) if found is not None}
        )
        told(coordinator)
    return coordinator


async def _answer(port: RegionPort, call: Call) -> bytes | None:
    """None: the site is not reached, or gives nothing."""
    try:
        return (await port.invoke(call)).content
    except InvocationBroke:
        return None
