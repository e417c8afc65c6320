"""What is counted, of several workers."""

import os
import subprocess
import sys
from pathlib import Path

DIES = """
import os
from einthoven.server.metrics import METRICS
METRICS.waiting.set(7)
METRICS.segments.labels("analysed").inc(3)
os._exit(9)
"""
TELLS = """
from einthoven.server.metrics import METRICS, exposition
METRICS.waiting.set(2)
METRICS.segments.labels("analysed").inc(1)
print(exposition().decode())
"""


def run(program: str, folder: Path) -> str:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_what_a_dead_worker_counted_stays_and_what_waited_in_it_does_not(tmp_path: Path) -> None:
    run(DIES, tmp_path)
    lines = run(TELLS, tmp_path).splitlines()
    assert "einthoven_queue_segments 2.0" in lines
    assert 'einthoven_segments_total{outcome="analysed"} 4.0' in lines
