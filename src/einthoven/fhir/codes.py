"""Codes of LOINC, SNOMED CT and ISO/IEEE 11073 (MDC), each with where it is from.

An MDC code is its partition times 65536 plus its term; a test holds each row to that. A finding that only
resembles a code has none: a tachycardia that nobody called sinus is text.

This material contains content from LOINC (http://loinc.org). LOINC is copyright Regenstrief Institute, Inc.
and the LOINC Committee, and is available at no cost under the license at http://loinc.org/license. SNOMED CT
is of the International Health Terminology Standards Development Organisation; outside its member states its
use needs a licence.
"""

from typing import Any, Final

import msgspec

from einthoven.signal.rules import Kind

__all__ = [
    "ECG",
    "HEART_RATE",
    "HOLTER_STUDY",
    "LEADS",
    "MDC",
    "RHYTHMS",
    "RHYTHM_STATUS",
    "SNOMED",
    "UCUM",
    "Code",
    "concept",
]

LOINC: Final = "http://loinc.org"
SNOMED: Final = "http://snomed.info/sct"
MDC: Final = "urn:iso:std:iso:11073:10101"
UCUM: Final = "http://unitsofmeasure.org"
_POCD: Final = "HL7 uv-pocd implementation guide, 2026-07"
_PHD: Final = "HL7 personal health device implementation guide"
_DICOM: Final = "DICOM PS3.16, CID 3038"
_BY_NUMBER: Final = "131328 plus the lead's number, as those of the guide are made; not in it"
_CHALLENGE: Final = "PhysioNet Challenge 2021, dx_mapping"
_SEEN: Final = "used alike in several public repositories; not checked against the release"


class Code(msgspec.Struct, frozen=True):
    """One code of one system."""

    system: str
    code: str
    display: str
    source: str
    """Where it is from, so that it can be looked up again."""
    term: tuple[int, int] | None = None
    """Partition and term, of MDC only."""

    def coding(self) -> dict[str, str]:
        """As FHIR has it."""
        return {"system": self.system, "code": self.code, "display": self.display}


ECG: Final = Code(MDC, "131328", "MDC_ECG_ELEC_POTL", _POCD, (2, 256))
HEART_RATE: Final = (
    Code(LOINC, "8867-4", "Heart rate", _PHD),
    Code(MDC, "147842", "MDC_ECG_HEART_RATE", _PHD, (2, 16770)),
)
HOLTER_STUDY: Final = Code(LOINC, "18754-2", "Holter monitor study", "loinc.org; not checked")
RHYTHM_STATUS: Final = Code(MDC, "184327", "MDC_ECG_STAT_RHY", _POCD, (2, 53255))

LEADS: Final = {
    "I": Code(MDC, "131329", "MDC_ECG_ELEC_POTL_I", _POCD, (2, 257)),
    "II": Code(MDC, "131330", "MDC_ECG_ELEC_POTL_II", _POCD, (2, 258)),
    "III": Code(MDC, "131389", "MDC_ECG_ELEC_POTL_III", _POCD, (2, 317)),
    "V1": Code(MDC, "131331", "MDC_ECG_ELEC_POTL_V1", _BY_NUMBER, (2, 259)),
    "V2": Code(MDC, "131332", "MDC_ECG_ELEC_POTL_V2", _BY_NUMBER, (2, 260)),
    "V3": Code(MDC, "131333", "MDC_ECG_ELEC_POTL_V3", _BY_NUMBER, (2, 261)),
    "V4": Code(MDC, "131334", "MDC_ECG_ELEC_POTL_V4", _BY_NUMBER, (2, 262)),
    "V5": Code(MDC, "131335", "MDC_ECG_ELEC_POTL_V5", _BY_NUMBER, (2, 263)),
    "V6": Code(MDC, "131336", "MDC_ECG_ELEC_POTL_V6", _BY_NUMBER, (2, 264)),
    "aVR": Code(MDC, "131390", "MDC_ECG_ELEC_POTL_AVR", _BY_NUMBER, (2, 318)),
    "aVL": Code(MDC, "131391", "MDC_ECG_ELEC_POTL_AVL", _BY_NUMBER, (2, 319)),
    "aVF": Code(MDC, "131392", "MDC_ECG_ELEC_POTL_AVF", _BY_NUMBER, (2, 320)),
}
"""By the name of the lead; ``MLII`` and the like are text."""

RHYTHMS: Final[dict[Kind, tuple[Code, ...]]] = {
    "asystole": (
        Code(MDC, "199684", "Asystole", _DICOM, (3, 3076)),
        Code(SNOMED, "397829000", "Asystole", _SEEN),
    ),
    "atrial_fibrillation": (
        Code(MDC, "147720", "Atrial fibrillation", _POCD, (2, 16648)),
        Code(SNOMED, "164889003", "atrial fibrillation", _CHALLENGE),
    ),
    "ventricular_tachycardia": (Code(SNOMED, "164895002", "ventricular tachycardia", _SEEN),),
    "bigeminy": (Code(SNOMED, "11157007", "ventricular bigeminy", _SEEN),),
    "bradycardia": (Code(SNOMED, "426627000", "bradycardia", _CHALLENGE),),
    "extreme_bradycardia": (Code(SNOMED, "426627000", "bradycardia", _CHALLENGE),),
}
"""Findings that a code says exactly. Ventricular fibrillation or flutter is one kind here and two codes
there; a tachycardia is not said to be sinus; runs and pauses have no code in our sources: these are text."""


def concept(text: str, *codes: Code, with_snomed: bool = True) -> dict[str, Any]:
    """A CodeableConcept; without codings where there are none."""
    codings = [code.coding() for code in codes if with_snomed or code.system != SNOMED]
    return {"coding": codings, "text": text} if codings else {"text": text}
