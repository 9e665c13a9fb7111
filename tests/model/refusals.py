"""How a reference model refuses: with every true reason, and changing nothing."""

from collections.abc import Iterable


class Refused(Exception):
    """Nothing was changed; any of `reasons` is a true one."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = frozenset(reasons)
        super().__init__(", ".join(sorted(self.reasons)))


def refuse_if(*checks: tuple[bool, str]) -> None:
    """Raises Refused with the name of each check that holds, if any does."""
    reasons = [name for holds, name in checks if holds]
    if reasons:
        raise Refused(reasons)


class Pausable:
    """What a pauser can stop for a while: beginnings only, and nothing that a person takes back."""

    paused = False

    def pause(self) -> None:
        refuse_if(self.when_paused)
        self.paused = True

    def unpause(self) -> None:
        refuse_if((not self.paused, "ExpectedPause"))
        self.paused = False

    @property
    def when_paused(self) -> tuple[bool, str]:
        """The check of everything that a pause stops."""
        return self.paused, "EnforcedPause"
