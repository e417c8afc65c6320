"""What an annotation file says, in the terms of EC57: beats, fibrillation, rhythms, shutdown."""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.records import Annotations

__all__ = ["BXB", "DE_CHAZAL", "Labels", "labels_of"]

_COMMON: Final = {
    **dict.fromkeys("NLRB", "N"),
    **dict.fromkeys("AaJSn", "S"),
    **dict.fromkeys("VEr", "V"),
    "F": "F",
    **dict.fromkeys("/fQ?", "Q"),
}
BXB: Final = {**_COMMON, "e": "S", "j": "S"}
"""The reference tool's map: escape beats are supraventricular."""
DE_CHAZAL: Final = {**_COMMON, "e": "N", "j": "N"}
"""The papers' map: escape beats are normal (de Chazal et al., doi:10.1109/TBME.2004.827359)."""

_SHUTDOWN: Final = 0x30
Spans = NDArray[np.int64]


class Labels(msgspec.Struct, frozen=True, eq=False):
    """One side of a comparison; positions in samples of the record."""

    beats: NDArray[np.int64]
    classes: NDArray[np.str_]
    """N S V F Q of each beat."""
    fibrillation: Spans
    """VF or flutter, shape (n, 2)."""
    atrial_fibrillation: Spans
    shutdown: Spans
    """Where the analyser says that it does not analyse."""


def labels_of(annotations: Annotations, end: int, class_map: dict[str, str]) -> Labels:
    """Labels from annotations; what is open at the end of the file ends at sample ``end``.

    Ventricular fibrillation is between ``[`` and ``]``, or a rhythm ``(VFL`` or ``(VF``; atrial fibrillation
    is a rhythm ``(AFIB``. Shutdown is a noise mark ``~`` whose subtype has bits 4 and 5 set, to the next one.
    """
    samples = annotations.samples
    symbols = np.array(annotations.symbols, "U8")
    kinds = np.array([class_map.get(symbol, "") for symbol in annotations.symbols], "U1")
    is_beat = kinds != ""
    aux = annotations.aux or ("",) * len(annotations)
    changes = [(int(s), a) for s, k, a in zip(samples, symbols, aux, strict=True) if k == "+"]
    marks = [(int(s), str(k)) for s, k in zip(samples, symbols, strict=True) if k in {"[", "]"}]
    subtypes = annotations.subtypes or (0,) * len(annotations)
    noise = [
        (int(sample), subtype & _SHUTDOWN == _SHUTDOWN)
        for sample, symbol, subtype in zip(samples, symbols, subtypes, strict=True)
        if symbol == "~"
    ]
    flutter = [*_spans([(s, k == "[") for s, k in marks], end)]
    if not flutter:
        flutter = _spans([(s, a.startswith("(VF")) for s, a in changes], end)
    return Labels(
        beats=samples[is_beat],
        classes=kinds[is_beat],
        fibrillation=_array(flutter),
        atrial_fibrillation=_array(_spans([(s, a.startswith("(AFIB")) for s, a in changes], end)),
        shutdown=_array(_spans(noise, end)),
    )


def _spans(marks: list[tuple[int, bool]], end: int) -> list[tuple[int, int]]:
    """From each mark that is on to the next that is off."""
    spans: list[tuple[int, int]] = []
    begin: int | None = None
    for sample, is_on in marks:
        if is_on and begin is None:
            begin = sample
        elif not is_on and begin is not None:
            spans.append((begin, sample))
            begin = None
    if begin is not None:
        spans.append((begin, end))
    return spans


def _array(spans: list[tuple[int, int]]) -> Spans:
    return np.array(spans, np.int64).reshape(-1, 2)
