"""What a person says of files that do not describe themselves, as options of a command."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["with_description"]

F = TypeVar("F", bound=Callable[..., Any])


def with_description(function: F) -> F:
    """Give a command ``--fs``, ``--gain`` and ``--baseline``; it takes them as keywords."""
    for option in (
        click.option("--baseline", type=int, help="Count at 0 mV, where the file has none."),
        click.option(
            "--gain", type=click.FloatRange(1e-3, 1e7), help="Counts per mV, where the file has none."
        ),
        click.option(
            "--fs", type=click.FloatRange(50, 1000), help="Sampling frequency [Hz], where the file has none."
        ),
    ):
        function = option(function)
    return function
