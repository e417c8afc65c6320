"""How a lead and a sampling rate are said in EDF's eight letters: exactly where they can be.

EDF says a range of samples and the range of voltages that it stands for. Whoever writes it as the extremes of
the converter and rounds, changes gain and zero. Here the range is chosen so that its ends are whole counts
and short decimals at once; what is read of them is then the gain and the baseline to the last bit.
"""

import math
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec

from einthoven.errors import InputInvalid
from einthoven.signal.recording import Lead

__all__ = ["DIGITS", "RecordLayout", "Scaling", "layout_of", "scaling_of"]

DIGITS: Final = 8
"""Letters of a number in a header."""
_UNITS: Final = (("mV", Fraction(1)), ("uV", Fraction(1, 1000)))
"""Units that are written, and how many mV each has."""
_LONGEST_RECORD_S: Final = 60
_MOST_SAMPLES: Final = 30_000


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a lead that say its scale."""

    unit: str
    physical: tuple[str, str]
    digital: tuple[int, int]
    error: float
    """Relative error of the gain; 0 where gain and baseline are exact."""
    moved: int = 0
    """Counts that the baseline is off."""


class RecordLayout(msgspec.Struct, frozen=True, kw_only=True):
    """How long a data record is."""

    samples: int
    """Of each lead."""
    duration: str
    """As the header has it, s."""
    is_exact: bool
    """Whether the rate that is read of it is the same number."""

    @property
    def duration_s(self) -> Fraction:
        """Length of a data record."""
        return Fraction(self.duration)


def layout_of(fs: float) -> RecordLayout:
    """The shortest data record of whole seconds that has the rate exactly; else one of about a second."""
    for rate in _fractions(fs):
        if rate.denominator <= _LONGEST_RECORD_S and rate.numerator <= _MOST_SAMPLES:
            return RecordLayout(samples=rate.numerator, duration=str(rate.denominator), is_exact=True)
    samples = round(fs)
    return RecordLayout(samples=samples, duration=_short(samples / Fraction(fs)), is_exact=False)


def scaling_of(lead: Lead, low: int, high: int, least: int, most: int) -> Scaling:
    """The scale of a lead whose samples are ``low`` to ``high``, in samples of ``least`` to ``most``.

    Raises
    ------
    InputInvalid : the samples do not fit.
    """
    if low < least or high > most:
        raise InputInvalid(
            f"counts do not fit in {least} to {most}.",
            where=f"lead {lead.name}",
            remedy="Write BDF, which has 24 bits, or scale the recording and its gain.",
        )
    for unit, per_unit_mv in _UNITS:
        for per_mv in _fractions(lead.gain):
            for found in _exact(per_mv * per_unit_mv, lead.baseline, (low, high), (least, most)):
                return Scaling(unit=unit, physical=found[0], digital=found[1], error=0.0)
    return _nearest(lead, least, most)


def _exact(
    per_unit: Fraction, baseline: int, needed: tuple[int, int], allowed: tuple[int, int]
) -> Iterator[tuple[tuple[str, str], tuple[int, int]]]:
    """Ranges whose ends are whole counts and decimals: the widest first, then only what is needed."""
    for places in range(DIGITS - 1):
        step = Fraction(1, 10**places)
        counts = per_unit * step
        step *= counts.denominator  # the shortest step of so many places that is a whole number of counts
        each = counts.numerator
        widest = (-(-(allowed[0] - baseline) // each), (allowed[1] - baseline) // each)
        least = ((needed[0] - baseline) // each, -(-(needed[1] - baseline) // each))
        if least[0] < widest[0] or least[1] > widest[1] or widest[0] >= widest[1]:
            continue
        for ends in (widest, (min(least[0], widest[1] - 1), max(least[1], least[0] + 1))):
            texts = tuple(_plain(end * step) for end in ends)
            if ends[0] < ends[1] <= widest[1] and all(text and len(text) <= DIGITS for text in texts):
                yield (texts[0], texts[1]), (baseline + ends[0] * each, baseline + ends[1] * each)


def _nearest(lead: Lead, least: int, most: int) -> Scaling:
    """The whole range of the samples, its voltages as near as eight letters say them."""
    found = []
    for unit, per_unit_mv in _UNITS:
        per_unit = Fraction(lead.gain) * per_unit_mv
        ends = (_short((least - lead.baseline) / per_unit), _short((most - lead.baseline) / per_unit))
        if all(ends) and Fraction(ends[0]) != Fraction(ends[1]):
            read = Fraction(most - least) / (Fraction(ends[1]) - Fraction(ends[0]))
            moved = abs(round(least - Fraction(ends[0]) * read) - lead.baseline)
            found.append((abs(float(read / per_unit - 1)), unit, ends, moved))
    if not found:
        raise InputInvalid(
            "the gain cannot be said in eight letters.",
            where=f"lead {lead.name}",
            remedy="Scale the recording and its gain.",
        )
    error, unit, ends, moved = min(found)
    error = max(error, math.ulp(1.0))
    return Scaling(unit=unit, physical=ends, digital=(least, most), error=error, moved=moved)


def _fractions(value: float) -> Iterator[Fraction]:
    """Fractions that are the number to the last bit: as it is printed, and the simplest ones."""
    for found in (Fraction(repr(float(value))), *(Fraction(value).limit_denominator(m) for m in (60, 10**4))):
        if float(found) == value:
            yield found


def _plain(value: Fraction) -> str:
    """A number that is a decimal, as one."""
    text = f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) if Fraction(text) == value else ""


def _short(value: Fraction) -> str:
    """The nearest decimal of eight letters; empty where there is none."""
    for places in range(DIGITS - 2, -1, -1):
        text = f"{float(value):.{places}f}"
        if len(text) <= DIGITS:
            return text
    return ""
