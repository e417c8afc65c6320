"""What was measured and found, as FHIR R4 (4.0.1) resources: plain dicts, made by pure functions.

FHIR is how findings leave; nothing is kept in it. What has no code in the table goes out as text.
"""

from einthoven.fhir.bundles import bundle_of, ndjson_of, search_bundle_of
from einthoven.fhir.capability import capability_of
from einthoven.fhir.exporting import Export, resources_of
from einthoven.fhir.sampled import read_sampled_data, sampled_data

__all__ = [
    "Export",
    "bundle_of",
    "capability_of",
    "ndjson_of",
    "read_sampled_data",
    "resources_of",
    "sampled_data",
    "search_bundle_of",
]
