"""Einthoven: ECG telemetry for the local-edge-cloud continuum.

Not a medical device; see the notice printed by ``einthoven --version``.
"""

__all__ = ["__version__"]

__version__ = "0.1.0.dev0"
