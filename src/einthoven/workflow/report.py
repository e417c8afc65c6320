"""What a check says of one workflow."""

from collections.abc import Callable

from einthoven.workflow.flaws import HINTS_MAX, Flaw, Mode, Path, Place, flaw_of

__all__ = ["Report"]


class Report:
    """The flaws that were found so far, in the order in which they were."""

    def __init__(self, mode: Mode, place: Callable[[Path], Place]) -> None:
        self.mode: Mode = mode
        self.flaws: list[Flaw] = []
        self._place = place

    @property
    def wants_hints(self) -> bool:
        """Behind very many flaws nobody looks for the name that was meant."""
        return len(self.flaws) < HINTS_MAX

    def say(self, code: str, path: Path, message: str, hint: str = "", *, is_tolerated: bool = False) -> None:
        """``is_tolerated`` says that lenient mode takes this one, though not every flaw of its code."""
        place = self._place(path)
        self.flaws.append(flaw_of(self.mode, code, path, place, message, hint, is_tolerated=is_tolerated))
