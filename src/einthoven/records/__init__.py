"""Recordings in and out: WFDB, EDF+, ISHNE, CSV, JSON; a span at a time, in constant memory. Files only."""

from einthoven.records.annotation import Annotations, read_annotations, write_annotations
from einthoven.records.edf_writing import write_edf
from einthoven.records.listing import recording_files
from einthoven.records.marks import annotations_of
from einthoven.records.opening import Described, OpenRecording, open_recording
from einthoven.records.writing import write_recording

__all__ = [
    "Annotations",
    "Described",
    "OpenRecording",
    "annotations_of",
    "open_recording",
    "read_annotations",
    "recording_files",
    "write_annotations",
    "write_edf",
    "write_recording",
]
