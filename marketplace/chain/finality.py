"""When a block can no longer be reorganised away.

A node may express it (the `finalized` tag), or a number of confirmations stands for it; where both
are asked for, both must agree. The embedded chain never reorganises: its `finalized` is the head.
"""

from __future__ import annotations

from dataclasses import dataclass

from marketplace.errors import Refusal


class NotYetFinal(Refusal):
    """A block that could still be reorganised away. Waiting helps."""

    CODE = "not_yet_final"


class Reorganised(Refusal):
    """A block that was read is not, or no longer, on the chain."""

    CODE = "reorganised"


@dataclass(frozen=True)
class Finality:
    """The rule. `Finality(0, use_tag=False)` trusts the head: for tests of that very thing only."""

    confirmations: int = 0
    use_tag: bool = True

    def __post_init__(self) -> None:
        if self.confirmations < 0:
            raise Refusal(
                code="bad_finality",
                message="The number of confirmations is negative.",
                remedy="Set confirmations to 0 or more.",
                field="confirmations",
            )

    def final(self, head: int, tagged: int | None) -> int:
        """The newest final block number, from the head and what the node's tag says."""
        confirmed = max(0, head - self.confirmations)
        return confirmed if tagged is None else min(confirmed, tagged)


def require_final(block: int, final: int) -> None:
    """Raises `NotYetFinal` for a block above the newest final one."""
    if block > final:
        raise NotYetFinal(
            message=f"Block {block} is not final yet; the newest final block is {final}.",
            remedy="Wait until the chain has finalised it, then try again.",
            facts={"block": block, "final": final},
        )


def reorganised(block: int) -> Reorganised:
    """The refusal for a block whose hash changed under the reader."""
    return Reorganised(
        message=f"Block {block} was replaced while it was being read.",
        remedy="Nothing was released. Read again once the chain is final; `usufruct resume` does.",
        facts={"block": block},
    )
