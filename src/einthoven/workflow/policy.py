"""What a run does where its workflow says nothing."""

import msgspec

__all__ = ["Policy"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a run does where its workflow says nothing."""

    concurrency: int = 64
    """Iterations of a parallelFor in flight."""
    retries: int = 2
    """Of a call without ``FT-Retries``, and only where that may help: transport, timeout, throttled."""
    timeout_s: float = 300.0
    """Of each attempt."""
    backoff_s: float = 0.1
    """Before the first repetition; doubled with each, and multiplied with a number from 0.5 to 1."""
    backoff_max_s: float = 30.0
    iterations_max: int = 1_000_000
    """Of a for or a parallelFor."""
    ahead: dict[str, str] = {}
    """Types of functions that take a list one by one, and their port for it; see `Foresee`."""
