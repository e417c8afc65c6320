"""The example that comes with the program."""

from importlib.resources import files

__all__ = ["example"]


def example() -> str:
    """A hospital's `continuum.toml`: ward, ambulance, two masts, data centre, and what they are asked."""
    return files("einthoven.continuum").joinpath("hospital.toml").read_text(encoding="utf-8")
