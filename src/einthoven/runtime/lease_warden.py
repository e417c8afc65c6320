"""A process that ends an exclusive instance when its lease is over, though the agent may be stopped.

It is told on its standard input until when (CLOCK_MONOTONIC, one number a line) the session of a process may
live, and ends it then, or when whoever told it is gone. It loads nothing but the standard library, because it
is run by its path: ``python -I -S lease_warden.py SESSION``.
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress

__all__ = ["main"]


def main(session: int, told: int = 0) -> None:
    """Wait, and end the session."""
    until_s, rest = time.monotonic() + 1.0, b""
    while (left_s := until_s - time.monotonic()) > 0:
        if not select.select([told], [], [], left_s)[0]:
            continue
        said = os.read(told, 4096)
        if not said:
            break
        *lines, rest = (rest + said).split(b"\n")
        until_s = max([until_s, *map(float, lines)])
    with suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(int(sys.argv[1]))
