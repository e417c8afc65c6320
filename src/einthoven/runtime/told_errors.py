"""Errors that another process told of, as they were raised there."""

from collections.abc import Mapping

from einthoven.errors import EinthovenError

__all__ = ["error_of"]


def error_of(said: Mapping[str, str]) -> EinthovenError:
    """The error of this code; the root of all where the code is unknown here."""
    kinds = [EinthovenError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    kind = next((one for one in kinds if one.code == said["code"]), EinthovenError)
    return kind(said["what"], where=said["where"], remedy=said["remedy"])
