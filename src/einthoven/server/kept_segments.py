"""Segments as the journal and later a container keep them, and back."""

from einthoven.signal.recording import Lead, Recording, RecordingInfo, Segment
from einthoven.storage.blocks import KeptSegment, block_of, segment_of

__all__ = ["pack_segment", "segment_kept", "unpack_segment"]


def pack_segment(org: str, segment: Segment) -> bytes:
    """The bytes of a segment: they say what it is, and whether it is whole."""
    info = segment.recording.info
    lead = info.leads[0]
    kept = KeptSegment(
        org=org,
        patient=segment.patient,
        device=segment.device,
        lead=lead.name,
        sequence=segment.sequence,
        start_ns=segment.start_ns,
        fs=info.fs,
        gain=lead.gain,
        baseline=lead.baseline,
        samples=segment.recording.counts[0],
    )
    return block_of(kept.head, kept)


def unpack_segment(block: bytes) -> Segment:
    """A segment from the journal."""
    return segment_kept(segment_of(block)[1])


def segment_kept(kept: KeptSegment) -> Segment:
    """A segment as it came, from what is kept of it."""
    lead = Lead(kept.lead, kept.gain, kept.baseline)
    info = RecordingInfo("segment", kept.fs, (lead,), kept.samples.size)
    recording = Recording(info, kept.samples[None, :])
    return Segment(kept.patient, kept.device, kept.sequence, kept.start_ns, recording)
