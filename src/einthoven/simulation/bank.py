"""Bodies of requests, encoded before the run: pieces of records, and a few small fields for each send.

The service's wire format is in docs/reference/patients.md. Only patient, device, sequence, start and end of
stream differ from send to send; everything else, samples above all, is encoded once for each piece.
"""

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.names import is_pseudonym
from einthoven.runtime.load.deliveries import Delivery, WireEncoding
from einthoven.signal.recording import RecordingSource, missing
from einthoven.simulation.noise import Noise, noise_mv
from einthoven.simulation.patients import VirtualPatient
from einthoven.simulation.scenes import SCENES, Scene
from einthoven.simulation.traffic import Traffic

__all__ = ["RECORDS", "RECORD_S", "Bank", "Names", "allotted", "virtual_records"]

RECORDS: Final = 44
"""Records of a bank, as in the article."""
RECORD_S: Final = 600.0
"""Of each record so much is kept; a stream that comes to its end begins it again."""
_MISSING: Final = missing(np.dtype(np.int16))


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """How the patients of a run are called, and how they show that they may send."""

    run: str = "virtual"
    """Begins each name; another run against the same service needs another."""
    first_sequence: int = 0
    """Of each device."""
    gateway_token: str | None = None
    """One token for all."""
    device_tokens: Mapping[str, str] | None = None
    """Token of each device; its devices are the patients, in this order."""

    def __post_init__(self) -> None:
        if len(self.run) > 40 or not is_pseudonym(self.run):
            raise InputInvalid(
                "the name of the run must have 1 to 40 of A-Z a-z 0-9 . _ -, a letter or digit first.",
                where="name",
            )
        if not 0 <= self.first_sequence < 2**31:
            raise InputInvalid("the first sequence is out of range.", where="first sequence")
        tokens = [self.gateway_token or "x", *(self.device_tokens or {}).values()]
        if not all(token.isascii() and token.isprintable() and " " not in token for token in tokens):
            raise InputInvalid("a token holds characters that no header can carry.", where="token")

    def patient(self, number: int) -> str | None:
        """Pseudonym; None where the device's token says it."""
        return None if self.device_tokens is not None else f"{self.run}-{number:05d}"

    def device(self, number: int) -> str:
        """Name of the device."""
        if self.device_tokens is not None:
            return tuple(self.device_tokens)[number]
        return f"{self.run}-device-{number:05d}"


def allotted(weights: Mapping[str, float] | None, count: int) -> list[Scene]:
    """``count`` scenes in the given proportions, by largest remainder; by default 7 of 10 are healthy.

    Raises
    ------
    InputInvalid : a name that is no scene, or weights that are not.
    """
    chosen = dict(weights or {name: 0.7 if name == "healthy" else 0.3 / (len(SCENES) - 1) for name in SCENES})
    unknown = sorted(set(chosen) - set(SCENES))
    if unknown:
        raise InputInvalid(
            f"there is no scene {unknown[0]!r}.", where="mix", remedy=f"One of: {', '.join(SCENES)}."
        )
    total = sum(chosen.values())
    if not 0 < total < float("inf") or min(chosen.values()) < 0:
        raise InputInvalid("the weights must not be negative, nor all zero.", where="mix")
    exact = {name: count * weight / total for name, weight in chosen.items()}
    whole = {name: int(value) for name, value in exact.items()}
    rest = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in rest[: count - sum(whole.values())]:
        whole[name] += 1
    return [SCENES[name] for name, times in whole.items() for _ in range(times)]


def virtual_records(
    traffic: Traffic, weights: Mapping[str, float] | None = None, noises: Sequence[Noise] = ()
) -> list[VirtualPatient]:
    """The records of a run: virtual patients of these scenes, at most `RECORDS`."""
    scenes = allotted(weights, min(RECORDS, traffic.patients))
    return [
        VirtualPatient(traffic.seed + number, msgspec.structs.replace(scene, noises=(*scene.noises, *noises)))
        for number, scene in enumerate(scenes)
    ]


class Bank:
    """The bodies of one run; see `einthoven.runtime.load.deliveries.Bodies`.

    Parameters
    ----------
    records : each patient walks through one of them; many patients share one, from different places.
    noises : added to records that are not virtual patients (those carry theirs in the scene).
    head_start_s : how far in the past the streams begin; None for what the traffic says.
    """

    def __init__(
        self,
        traffic: Traffic,
        records: Sequence[RecordingSource],
        encoding: WireEncoding,
        names: Names,
        *,
        noises: Sequence[Noise] = (),
        head_start_s: float | None = None,
    ) -> None:
        if not records:
            raise InputInvalid("there is no record to send.", where="records")
        if names.device_tokens is not None and len(names.device_tokens) < traffic.patients:
            raise InputInvalid(
                f"{len(names.device_tokens)} device tokens for {traffic.patients} patients.", where="tokens"
            )
        if names.device_tokens is not None and traffic.batch > 1:
            raise InputInvalid("a device token covers one device; batches need a gateway's.", where="batch")
        self._traffic = traffic
        self._records = tuple(records)
        self._encoding = encoding
        self._names = names
        self._noises = tuple(noises)
        self._sizes = [max(1, round(traffic.segment_s * one.info.fs)) for one in self._records]
        self._pieces = [[b""] * self._available(record) for record in range(len(self._records))]
        rng = np.random.default_rng((traffic.seed, 31))
        order = rng.permutation(len(self._records))
        patients = np.arange(traffic.patients)
        self._record_of: list[int] = order[patients % len(self._records)].tolist()
        places = rng.random(traffic.patients)
        skew_s = traffic.clock_skew_s * rng.uniform(-1, 1, traffic.patients)
        drift = 1e-6 * traffic.clock_drift_ppm * rng.uniform(-1, 1, traffic.patients)
        self._first_piece = [
            int(place * self._available(record))
            for place, record in zip(places.tolist(), self._record_of, strict=True)
        ]
        ahead_s = traffic.head_start_s if head_start_s is None else head_start_s
        phase_s = patients * traffic.segment_s / traffic.patients - traffic.segment_s - ahead_s
        self._offsets_ns: list[int] = [round(1e9 * offset_s) for offset_s in (phase_s + skew_s).tolist()]
        self._starts_ns = self._offsets_ns
        self._step_ns: list[float] = [
            1e9 * self._sizes[record] / self._records[record].info.fs * (1 + off)
            for record, off in zip(self._record_of, drift.tolist(), strict=True)
        ]
        self._heads = [self._head(number) for number in range(traffic.patients)]
        self._tokens = tuple(names.device_tokens.values()) if names.device_tokens is not None else None
        self._format = struct.Struct(">Q")

    def fill(self) -> Iterator[float]:
        """Encode the pieces that will be sent; yields the share that is done.

        To be exhausted before the first `body`.
        """
        wanted = self._wanted()
        for done, (record, piece) in enumerate(wanted):
            source, size = self._records[record], self._sizes[record]
            counts = self._counts(source, piece * size, (piece + 1) * size, record)
            self._pieces[record][piece] = self._tail(source, counts)
            yield (done + 1) / len(wanted)

    def _wanted(self) -> list[tuple[int, int]]:
        """Numbers of records and pieces that some patient comes to."""
        total, patients = self._traffic.segments, self._traffic.patients
        found: set[tuple[int, int]] = set()
        for stream, record in enumerate(self._record_of):
            available = self._available(record)
            rounds = available if total is None else min(available, -(-(total - stream) // patients))
            first = self._first_piece[stream]
            found |= {(record, (first + number) % available) for number in range(rounds)}
        return sorted(found)

    def begin(self, begin_ns: int) -> None:
        """The run starts: ``begin_ns`` is UTC, ns since the epoch. To be called before the first `body`."""
        self._starts_ns = [begin_ns + offset_ns for offset_ns in self._offsets_ns]

    @property
    def media_type(self) -> str:
        """Of the bodies."""
        return "application/msgpack" if self._encoding == "msgpack" else "application/json"

    def sequence(self, delivery: Delivery) -> int:
        """What the device calls the segment."""
        return self._names.first_sequence + delivery.number

    def token(self, delivery: Delivery) -> str | None:
        """The device's, or everybody's."""
        return self._names.gateway_token if self._tokens is None else self._tokens[delivery.stream]

    def body(self, deliveries: Sequence[Delivery]) -> bytes:
        """One segment as an object, several as an array."""
        if self._encoding == "msgpack":
            parts = [self._packed(one) for one in deliveries]
            if len(parts) == 1:
                return parts[0]
            return b"".join((b"\xdc", len(parts).to_bytes(2, "big"), *parts))
        parts = [self._json(one) for one in deliveries]
        return parts[0] if len(parts) == 1 else b"[%b]" % b",".join(parts)

    def start_ns(self, delivery: Delivery) -> int:
        """UTC of the segment's first sample as its device's clock has it, ns since the epoch."""
        stream = delivery.stream
        return self._starts_ns[stream] + round(delivery.number * self._step_ns[stream])

    def truth(self, segments: Sequence[int]) -> Iterator[dict[str, Any]]:
        """What really happens to each virtual patient in its first ``segments[patient]`` segments.

        Positions are samples counted from the first one sent; a patient whose record is a real one is left
        out, because nobody knows.
        """
        for stream, count in enumerate(segments):
            record = self._record_of[stream]
            source = self._records[record]
            if not isinstance(source, VirtualPatient):
                continue
            yield {
                "patient": self._names.patient(stream),
                "device": self._names.device(stream),
                "scene": source.scene.name,
                "fs": source.info.fs,
                "start_ns": self._starts_ns[stream],
                **self._truth_of(source, stream, count),
            }

    def _truth_of(self, source: VirtualPatient, stream: int, count: int) -> dict[str, Any]:
        record, fs = self._record_of[stream], source.info.fs
        size = self._sizes[record]
        positions: list[NDArray[np.int64]] = []
        classes: list[str] = []
        episodes: list[dict[str, Any]] = []
        for number in range(count):
            piece = (self._first_piece[stream] + number) % len(self._pieces[record])
            truth = source.truth(piece * size / fs, (piece + 1) * size / fs)
            moved = (number - piece) * size
            positions.append(truth.beats.positions + moved)
            classes.extend(truth.beats.classes.tolist())
            for kind, onset_s, end_s in truth.episodes:
                onset, end = (round(at_s * fs) + moved for at_s in (onset_s, end_s))
                if episodes and episodes[-1]["kind"] == kind and episodes[-1]["end"] == onset:
                    episodes[-1]["end"] = end
                else:
                    episodes.append({"kind": kind, "onset": onset, "end": end})
        found = np.concatenate([np.empty(0, np.int64), *positions])
        return {
            "samples": count * size,
            "beats": {"positions": found.tolist(), "classes": "".join(classes)},
            "episodes": episodes,
        }

    def _available(self, record: int) -> int:
        """Whole segments of a record, at most `RECORD_S`; a record shorter than one segment is one."""
        size, info = self._sizes[record], self._records[record].info
        return max(1, min(info.samples, round(RECORD_S * info.fs)) // size)

    def _counts(self, source: RecordingSource, start: int, stop: int, record: int) -> NDArray[np.int16]:
        counts = source.read(start, stop, 0)[0]
        is_missing = counts == missing(counts.dtype)
        values = counts.astype(np.float64)
        if not isinstance(source, VirtualPatient):
            info = source.info
            for number, noise in enumerate(self._noises):
                seed = (self._traffic.seed, 200 + record, number)
                values += info.leads[0].gain * noise_mv(noise, seed, start, start + counts.size, info.fs)
        scaled = np.clip(np.rint(values / self._shrink(source)), -32767, 32767)
        found: NDArray[np.int16] = scaled.astype(np.int16)
        found[is_missing] = _MISSING
        return found

    def _shrink(self, source: RecordingSource) -> int:
        """By what counts are divided to fit in 16 bits: 1 for nearly all records."""
        return 1 if source.info.leads[0].gain <= 2000 else round(source.info.leads[0].gain / 1000)

    def _tail(self, source: RecordingSource, counts: NDArray[np.int16]) -> bytes:
        """The fields that are the same in each send of a piece, and the end of the object."""
        lead, shrink = source.info.leads[0], self._shrink(source)
        fields: dict[str, Any] = {
            "fs": float(source.info.fs),
            "gain": lead.gain / shrink,
            "baseline": round(lead.baseline / shrink),
            "lead": lead.name[:16],
        }
        raw = counts.astype("<i2").tobytes()
        if self._encoding == "msgpack":
            parts = [msgspec.msgpack.encode(part) for field in fields.items() for part in field]
            return b"".join((*parts, msgspec.msgpack.encode("samples"), msgspec.msgpack.encode(raw)))
        if self._encoding == "json":
            fields["samples"] = counts.tolist()
        else:
            fields["samplesBase64"] = base64.b64encode(raw).decode("ascii")
        return b"," + msgspec.json.encode(fields)[1:]

    def _head(self, number: int) -> bytes:
        """The fields that are the same in each send of a device, and the name of the next."""
        patient, device = self._names.patient(number), self._names.device(number)
        fields = {"deviceId": device} if patient is None else {"patientId": patient, "deviceId": device}
        if self._encoding == "msgpack":
            parts = [msgspec.msgpack.encode(part) for field in fields.items() for part in field]
            size = len(fields) + 8
            return b"".join((bytes([0x80 | size]), *parts, msgspec.msgpack.encode("sequence"), b"\xcf"))
        return msgspec.json.encode(fields)[:-1] + b',"sequence":'

    def _piece(self, delivery: Delivery) -> bytes:
        stream = delivery.stream
        pieces = self._pieces[self._record_of[stream]]
        return pieces[(self._first_piece[stream] + delivery.number) % len(pieces)]

    def _json(self, delivery: Delivery) -> bytes:
        fields = b'%b%d,"startTime":%d%b%b'
        last = b',"isLast":true' if delivery.is_last else b""
        return fields % (
            self._heads[delivery.stream],
            self._names.first_sequence + delivery.number,
            self.start_ns(delivery),
            last,
            self._piece(delivery),
        )

    def _packed(self, delivery: Delivery) -> bytes:
        pack = self._format.pack
        return b"".join(
            (
                self._heads[delivery.stream],
                pack(self._names.first_sequence + delivery.number),
                b"\xa9startTime\xcf",
                pack(self.start_ns(delivery)),
                b"\xa6isLast\xc3" if delivery.is_last else b"\xa6isLast\xc2",
                self._piece(delivery),
            )
        )
