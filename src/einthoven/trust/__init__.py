"""What may leave which place, and the proof of what was decided. No I/O, no clock.

Keys, checkpoints and envelopes (`notes`, `checkpoints`, `exports`, `witnessing`, `envelopes`) need the extra
``trust``; what is named here does not.
"""

from einthoven.trust.entries import Entry, read_entry, write_entry
from einthoven.trust.merkle import Frontier

__all__ = ["Entry", "Frontier", "read_entry", "write_entry"]
