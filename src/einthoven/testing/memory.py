"""How much memory a piece of Python needs, measured on a process of its own."""

import subprocess
import sys

__all__ = ["peak_mb_of"]

_MEASURE = """
import pathlib, resource, sys
exec(sys.stdin.read(), {"__name__": "__measured__"})
status = pathlib.Path("/proc/self/status")
if status.exists():  # getrusage would count what the parent had when it forked
    used = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
else:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**10 if sys.platform == "darwin" else 1)
print(used / 2**10)
"""


def peak_mb_of(script: str) -> float:
    """Largest resident size, MB, of a new interpreter that runs ``script``; its error if it fails."""
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", _MEASURE], input=script, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return float(done.stdout.splitlines()[-1])
