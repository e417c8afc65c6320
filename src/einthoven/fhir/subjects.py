"""Of whom and of what the observations are: patient, recorder, and the program that looked."""

from typing import Any

import msgspec

from einthoven.fhir.codes import concept
from einthoven.fhir.elements import HTEST, id_of
from einthoven.version import __version__

__all__ = ["About"]


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What every resource of one export needs to know."""

    patient: str
    """Pseudonym; never a name."""
    device: str
    """Name of the recorder."""
    recording: str
    """What tells this recording from the patient's others."""
    is_test: bool = False
    """Whether it is made up; every resource then says so."""
    with_snomed: bool = True

    def meta(self) -> dict[str, Any]:
        """The security label of test data."""
        return {"meta": {"security": [HTEST]}} if self.is_test else {}

    def patient_resource(self) -> dict[str, Any]:
        """A pseudonym, and nothing else of anybody."""
        return {
            "resourceType": "Patient",
            "id": id_of("Patient", self.patient),
            **self.meta(),
            "identifier": [{"system": "urn:einthoven:pseudonym", "value": self.patient}],
        }

    def recorder_resource(self) -> dict[str, Any]:
        """What recorded."""
        return {
            "resourceType": "Device",
            "id": id_of("Device", self.patient, self.device),
            **self.meta(),
            "identifier": [{"system": "urn:einthoven:device", "value": self.device}],
            "type": concept("ECG recorder"),
            "patient": {"reference": f"Patient/{id_of('Patient', self.patient)}"},
        }

    def software_resource(self, versions: dict[str, str] | None = None) -> dict[str, Any]:
        """The program, with the version of each of its functions."""
        found = {
            "resourceType": "Device",
            "id": id_of("Device", "einthoven", __version__),
            **self.meta(),
            "deviceName": [{"name": "Einthoven", "type": "model-name"}],
            "type": concept("ECG analysis software; not a medical device"),
            "version": [{"type": concept("package"), "value": __version__}],
        }
        for name, version in sorted((versions or {}).items()):
            found["version"].append({"type": concept(name), "value": version})
        return found
