"""Without Ray everything else works, and who wants a Ray region is told what to install."""

import sys

import pytest

from einthoven.errors import InputInvalid
from einthoven.runtime.hosted import Hosted
from einthoven.runtime.ray_region import RayRegion


def test_a_region_without_ray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputInvalid) as error:
        RayRegion(Hosted(), slots=1)
    assert "einthoven[ray]" in error.value.remedy
