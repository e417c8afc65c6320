"""Logs as JSON lines: what happened and where in the program, never to whom.

A record is its message, which is a constant, and named facts from small closed sets. Of an error the kind and
the place are kept, not the text: other people's exceptions quote values.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["configure_logs", "place_of"]

_FACTS: Final = ("code", "kind", "place", "job", "channel", "worker", "count", "port")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        line.update({fact: getattr(record, fact) for fact in _FACTS if hasattr(record, fact)})
        if record.exc_info and record.exc_info[1]:
            line.update(place_of(record.exc_info[1]))
        return json.dumps(line)


def place_of(error: BaseException) -> dict[str, str]:
    """The kind of an error and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
    return {"kind": type(error).__name__, "place": place}


def configure_logs(level: str) -> None:
    """Send all logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "litestar"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = name != "uvicorn.access"
