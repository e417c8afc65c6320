"""The table of codes: each MDC code is its partition and term, each code says where it is from."""

from pathlib import Path

import pytest

from einthoven.fhir import codes
from einthoven.fhir.codes import LEADS, MDC, RHYTHMS, SNOMED, Code, concept
from einthoven.signal.rules import KINDS

ALL = [
    codes.ECG,
    codes.RHYTHM_STATUS,
    codes.HOLTER_STUDY,
    *codes.HEART_RATE,
    *LEADS.values(),
    *(code for row in RHYTHMS.values() for code in row),
]


@pytest.mark.parametrize("code", ALL, ids=lambda code: code.code)
def test_an_mdc_code_is_its_partition_times_65536_plus_its_term(code: Code) -> None:
    assert code.source
    assert code.display
    assert (code.term is not None) == (code.system == MDC)
    if code.term is not None:
        partition, term = code.term
        assert int(code.code) == partition * 65536 + term
        assert 0 <= term < 65536


def test_a_lead_is_the_potential_plus_its_number() -> None:
    """ISO/IEEE 11073-10102: I is 1, II is 2, V1 to V6 are 3 to 8, III is 61, aVR, aVL, aVF are 62 to 64."""
    numbers = {name: int(code.code) - int(codes.ECG.code) for name, code in LEADS.items()}
    assert numbers == {
        "I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8,
        "III": 61, "aVR": 62, "aVL": 63, "aVF": 64,
    }  # fmt: skip


def test_codes_are_of_kinds_that_there_are() -> None:
    assert set(RHYTHMS) < set(KINDS)
    assert "ventricular_fibrillation" not in RHYTHMS, "the kind is fibrillation or flutter; no code is both"


def test_a_concept_without_a_code_is_text_and_snomed_can_be_left_out() -> None:
    assert concept("Lead MLII") == {"text": "Lead MLII"}
    both = RHYTHMS["atrial_fibrillation"]
    assert [one["system"] for one in concept("AF", *both)["coding"]] == [MDC, SNOMED]
    assert [one["system"] for one in concept("AF", *both, with_snomed=False)["coding"]] == [MDC]


@pytest.mark.parametrize("code", ALL, ids=lambda code: code.code)
def test_every_code_is_on_its_page_with_its_source(code: Code) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "fhir.md"
    (line,) = [line for line in page.read_text().splitlines() if f"`{code.code}`" in line][:1]
    assert code.source in line
