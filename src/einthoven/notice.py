"""What must be said wherever Einthoven is met for the first time."""

from typing import Final

__all__ = ["NOTICE", "SHORT_NOTICE"]

NOTICE: Final = """\
This software is not a medical device. It is not CE-marked, FDA-cleared or approved anywhere. It is made
for research, teaching and engineering.
Do not use it to diagnose, to treat, or as the only way anyone learns of an emergency. Alerts can be late,
wrong or missing; delivery is not guaranteed.
Measured performance, with the records it was measured on and the cases it misses, is in
docs/performance.md. Whoever puts it into clinical use becomes responsible for the regulatory duties of a
manufacturer."""

SHORT_NOTICE: Final = "Not a medical device: for research, teaching and engineering. See einthoven --version."
