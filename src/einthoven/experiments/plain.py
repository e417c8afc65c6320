"""The peer of ``einthoven bench ingest``: what one would otherwise write in an afternoon.

FastAPI parses, NeuroKit2 analyses, SQLite keeps (each segment its own commit, write-ahead log,
``synchronous = FULL``), uvicorn runs as many workers as there are processors. It takes the same JSON. Needs
the extra ``peers``.
"""

import json
import os
import sqlite3
import threading
from typing import Any, Final

import fastapi
import neurokit2
import numpy as np
import pydantic

__all__ = ["app"]

_LOCAL: Final = threading.local()


class SegmentIn(pydantic.BaseModel):  # type: ignore[misc, unused-ignore]
    """A segment as the article's phones send it."""

    patientId: str  # noqa: N815 - the wire's names
    deviceId: str  # noqa: N815
    sequence: int
    startTime: int | str  # noqa: N815
    fs: float = 125.0
    gain: float = 200.0
    samples: list[int]


app = fastapi.FastAPI()


def _connection() -> sqlite3.Connection:
    if not hasattr(_LOCAL, "connection"):
        _LOCAL.connection = sqlite3.connect(os.environ["PLAIN_DATABASE"], timeout=60, isolation_level=None)
        _LOCAL.connection.execute("PRAGMA journal_mode = WAL")
        _LOCAL.connection.execute("PRAGMA synchronous = FULL")
        _LOCAL.connection.execute(
            "CREATE TABLE IF NOT EXISTS segments (device TEXT, sequence INTEGER, samples BLOB, answer TEXT, "
            "PRIMARY KEY (device, sequence))"
        )
    found: sqlite3.Connection = _LOCAL.connection
    return found


@app.post("/v1/segments")  # type: ignore[untyped-decorator, unused-ignore]
def ingest(segment: SegmentIn) -> dict[str, Any]:
    """Analyse and keep one segment."""
    counts = np.array(segment.samples, np.int16)
    try:
        signals, info = neurokit2.ecg_process(counts / segment.gain, sampling_rate=int(segment.fs))
        answer = {
            "sequence": segment.sequence,
            "status": "analysed",
            "positions": [int(at) for at in info["ECG_R_Peaks"]],
            "rate": float(signals["ECG_Rate"].mean()),
        }
    except Exception:  # noqa: BLE001 - it raises on flat and noisy segments, see docs/performance.md
        answer = {"sequence": segment.sequence, "status": "analysed", "positions": [], "rate": None}
    _connection().execute(
        "INSERT OR IGNORE INTO segments VALUES (?, ?, ?, ?)",
        (segment.deviceId, segment.sequence, counts.tobytes(), json.dumps(answer)),
    )
    return answer
