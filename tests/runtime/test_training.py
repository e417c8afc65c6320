"""Training rows come from the design half alone, and by the published class map."""

import numpy as np
import pytest

from einthoven.errors import RecordingNotFound
from einthoven.runtime.training import DS1, VARIANTS, Variant, class_of, training_rows
from einthoven.signal.learning import CLASSES
from einthoven.signal.morphology import FEATURES

DS2 = [
    "100",
    "103",
    "105",
    "111",
    "113",
    "117",
    "121",
    "123",
    "200",
    "202",
    "210",
    "212",
    "213",
    "214",
    "219",
    "221",
    "222",
    "228",
    "231",
    "232",
    "233",
    "234",
]
PACED = ["102", "104", "107", "217"]


def test_the_design_half_shares_no_record_with_the_test_half() -> None:
    assert len(DS1) == len(set(DS1)) == 22
    assert not set(DS1) & {*DS2, *PACED}


def test_the_rows_are_the_beats_of_the_published_table(data) -> None:
    """N 45,866, S 944, V 3,788, F 415 in DS1 by de Chazal's map."""
    totals = np.zeros(4, int)
    for name in DS1:
        rows = training_rows(data / "mitdb", name, Variant(0, 0))
        assert rows.features.shape[0] == rows.labels.size
        assert np.isfinite(rows.features).all()
        totals += np.bincount(rows.labels, minlength=4)
    assert dict(zip(CLASSES, totals.tolist(), strict=True)) == {"N": 45_866, "S": 944, "V": 3_788, "F": 415}


def test_escape_beats_are_normal_and_marks_are_no_beats() -> None:
    assert [class_of(s) for s in "NLRBejAaJSnVErF/fQ?"] == list("NNNNNNSSSSSVVVFQQQQ")
    assert [class_of(s) for s in ("+", "~", "!", "[", "x")] == [None] * 5


def test_displaced_beats_are_the_same_every_time(data) -> None:
    one, two = (training_rows(data / "mitdb", "208", VARIANTS[2]) for _ in range(2))
    np.testing.assert_array_equal(one.features, two.features)


def test_a_slower_reading_has_the_same_beats_and_ratios(data) -> None:
    """Stretched to 110 %, intervals grow alike, so that a ratio of two stays."""
    plain = training_rows(data / "mitdb", "208", Variant(0))
    slow = training_rows(data / "mitdb", "208", Variant(0, 0, 110))
    np.testing.assert_array_equal(plain.labels, slow.labels)
    ratio = FEATURES.index("pre/local")
    assert np.median(np.abs(plain.features[:, ratio] - slow.features[:, ratio])) < 0.01
    assert np.median(slow.features[:, FEATURES.index("width")]) >= np.median(
        plain.features[:, FEATURES.index("width")]
    )


def test_a_lead_that_is_not_there_is_said_to_be(data) -> None:
    with pytest.raises(RecordingNotFound, match="no lead 7"):
        training_rows(data / "mitdb", "208", Variant(7, 0))
