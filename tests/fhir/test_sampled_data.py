"""SampledData: what is decoded is what was sampled, within a step of the converter."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid
from einthoven.fhir import read_sampled_data, sampled_data
from einthoven.signal.recording import Lead, missing


@given(
    gain=st.floats(1, 1e6),
    baseline=st.integers(-5000, 5000),
    fs=st.floats(50, 1000),
    wide=st.booleans(),
    size=st.integers(0, 300),
    seed=st.integers(0, 99),
)
def test_samples_come_back_within_one_step(gain, baseline, fs, wide, size, seed) -> None:
    """Through JSON, as every reader sees them."""
    dtype, limit = (np.int32, 2**23) if wide else (np.int16, 2**15)
    counts = np.random.default_rng(seed).integers(-limit + 1, limit, size).astype(dtype)
    counts[::7] = missing(np.dtype(dtype))
    lead = Lead("II", gain, baseline)
    written = json.loads(json.dumps(sampled_data(counts, lead, fs)))
    back_mv, back_fs = read_sampled_data(written)
    lost = counts == missing(counts.dtype)
    np.testing.assert_array_equal(np.isnan(back_mv), lost)
    expected = (counts[~lost].astype(np.int64) - baseline) / gain
    np.testing.assert_allclose(back_mv[~lost], expected, rtol=1e-12, atol=1e-3 / gain)
    assert back_fs == pytest.approx(fs, rel=1e-14)
    np.testing.assert_array_equal(np.rint(back_mv[~lost] * gain) + baseline, counts[~lost])


def test_the_example_of_the_guide_decodes_to_nought() -> None:
    """HL7 uv-pocd: -0.5 mV + 500 x 0.001 = 0 mV."""
    example = {
        "origin": {"value": -0.5, "unit": "mV", "system": "http://unitsofmeasure.org", "code": "mV"},
        "period": 4, "factor": 0.001, "dimensions": 1, "data": "500 E 1500 U L",
    }  # fmt: skip
    decoded_mv, fs = read_sampled_data(example)
    assert fs == 250
    np.testing.assert_array_equal(decoded_mv, [0, np.nan, 1, np.inf, -np.inf])


@pytest.mark.parametrize(
    "change",
    [
        {"dimensions": 2},
        {"origin": {"value": 0, "unit": "mV"}},
        {"origin": {"value": 0, "code": "mm[Hg]", "system": "http://unitsofmeasure.org"}},
        {"origin": {"value": 0, "code": "mV", "system": "urn:other"}},
        {"data": "1 2 x"},
        {"period": 0},
        {"period": None},
    ],
)
def test_what_is_no_voltage_is_refused_not_guessed(change: dict) -> None:
    content = sampled_data(np.zeros(10, np.int16), Lead("II", 200.0, 0), 250.0)
    with pytest.raises(InputInvalid, match="no SampledData of one voltage"):
        read_sampled_data(content | change)


def test_more_than_a_minute_is_refused() -> None:
    with pytest.raises(InputInvalid, match="at most 60 s"):
        sampled_data(np.zeros(15_001, np.int16), Lead("II", 200.0, 0), 250.0)
