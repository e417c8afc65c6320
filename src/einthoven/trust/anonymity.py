"""How alone anybody is in an export: k-anonymity over the fields by which somebody may be known.

L. Sweeney, "k-anonymity: a model for protecting privacy", International Journal of Uncertainty, Fuzziness and
Knowledge-Based Systems 10(5), 2002. Deviation: the measure is of patients, not of rows, so that a patient
with many rows does not hide in himself. It says nothing of what all of a group share; `Anonymity.alike`
counts the groups in which everybody has the same value of a sensitive field.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from einthoven.errors import InputInvalid

__all__ = ["Anonymity", "anonymity"]


class Anonymity(msgspec.Struct, frozen=True, kw_only=True):
    """What an export says of those in it."""

    quasi_identifiers: tuple[str, ...]
    rows: int
    patients: int
    groups: int
    """Different combinations of the quasi-identifiers."""
    k: int
    """Patients of the smallest group; 0 when there is nobody."""
    wanted: int
    patients_below: int
    """Patients in groups of less than ``wanted``."""
    rows_below: int
    sizes: dict[int, int]
    """How many groups there are of each size, in patients."""
    alike: int
    """Groups of ``wanted`` or more in which the sensitive field has one value, if one was named."""

    @property
    def is_enough(self) -> bool:
        """Nobody is in a group smaller than was wanted."""
        return not self.patients_below


def anonymity(
    rows: Iterable[Mapping[str, Any]],
    quasi_identifiers: Sequence[str],
    *,
    patient: str,
    wanted: int = 5,
    sensitive: str | None = None,
) -> Anonymity:
    """Count the groups of an export.

    Parameters
    ----------
    quasi_identifiers : fields by which somebody outside may know who it is: age, sex, ZIP code, device model
    patient : the field with the pseudonym
    wanted : of how many patients a group should be at least
    sensitive : a field whose value in a group of one value is known of everybody in it

    Raises
    ------
    InputInvalid : a row lacks one of the fields; a group of less than one is wanted.
    """
    if wanted < 1:
        raise InputInvalid("a group has at least one patient.", where="k")
    members: dict[tuple[str, ...], set[str]] = defaultdict(set)
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    values: dict[tuple[str, ...], set[str]] = defaultdict(set)
    needed = [*quasi_identifiers, patient, *([sensitive] if sensitive else [])]
    for row in rows:
        missing = [name for name in needed if name not in row]
        if missing:
            raise InputInvalid("a row lacks a field that was named.", where=", ".join(missing))
        group = tuple(str(row[name]) for name in quasi_identifiers)
        members[group].add(str(row[patient]))
        counts[group] += 1
        if sensitive:
            values[group].add(str(row[sensitive]))
    small = {group for group, who in members.items() if len(who) < wanted}
    sizes: dict[int, int] = defaultdict(int)
    for who in members.values():
        sizes[len(who)] += 1
    return Anonymity(
        quasi_identifiers=tuple(quasi_identifiers),
        rows=sum(counts.values()),
        patients=len(set().union(*members.values())),
        groups=len(members),
        k=min(map(len, members.values()), default=0),
        wanted=wanted,
        patients_below=len(set().union(*(members[group] for group in small))),
        rows_below=sum(counts[group] for group in small),
        sizes=dict(sorted(sizes.items())),
        alike=sum(len(found) == 1 for group, found in values.items() if group not in small),
    )
