"""How the story is told: steps on the console and in the JSON, claims that must hold."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.progress import track

from marketplace.client import Ask, Marketplace
from marketplace.client.marketplace import account_of
from marketplace.errors import Refusal
from marketplace.local import Local
from marketplace.wire import hpke, keyfiles

PROGRESS_SECONDS: Final = 10.0
"""Between two lines of progress, where no terminal shows a bar."""
SHOWN: Final = (
    "reason", "price", "held", "paid", "live", "records", "expected_error", "cohort_size", "cost_nano_rho",
    "result", "interval", "truth",
)  # fmt: skip
"""Facts of a step that are printed; the others are for the JSON."""


class StoryFailed(Exception):
    """An outcome that differs from what the story says."""


@dataclass
class Telling:
    """The story so far, and how it is told."""

    local: Local
    console: Console = field(default_factory=Console)
    steps: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.market = Marketplace(self.local.url, self.local.node_url)
        self.ask = Ask(self.market, self.local.key("researcher"), hpke.generate())
        self.destination = account_of(keyfiles.new_signing_key())

    def tell(self, name: str, outcome: str, **facts: Any) -> dict[str, Any]:
        """Adds a step and prints it."""
        step = {"name": name, "outcome": outcome, **facts}
        self.steps.append(step)
        shown = ", ".join(f"{key} {value}" for key, value in facts.items() if key in SHOWN)
        seconds = time.monotonic() - self.started
        self.console.print(f"[dim]{seconds:6.1f} s[/] [bold]{name}[/]: {outcome}  {shown}")
        return step

    def note(self, text: str) -> None:
        """A line between two steps: what goes on, or what a step means."""
        self.console.print(f"[dim]    {text}[/]")

    def expect(self, claim: bool, what: str) -> None:
        """The story says so; if not, it failed."""
        if not claim:
            raise StoryFailed(what)

    def balances(self) -> dict[str, str]:
        """Token units of every account and contract of the story, and what is owed within."""
        chain = self.market.chain
        accounts = self.local.accounts()
        accounts["patient_destination"] = self.destination
        accounts |= {name: each.address for name, each in self.market.manifest.contracts.items()}
        found = {name: str(chain.balance_of(at)) for name, at in accounts.items()}
        owed = chain.liabilities()
        for kind in ("escrows", "locked_bonds", "free_bonds", "credits", "earnings"):
            found[f"owed:{kind}"] = str(getattr(owed, kind))
        return found

    def refused(self, name: str, reason: str, act: Callable[[], object]) -> None:
        """Something that must be refused, for this reason, changing no balance."""
        before = self.balances()
        try:
            act()
        except Refusal as refusal:
            self.expect(refusal.code == reason, f"{name}: {refusal.code}, not {reason}: {refusal}")
            after = self.balances()
            self.expect(before == after, f"{name}: a refusal changed balances")
            facts = {"reason": reason, "message": str(refusal)}
            self.tell(name, "refused", **facts, balances_before=before, balances_after=after)
            return
        raise StoryFailed(f"{name}: was not refused")

    def usufruct(self, *arguments: str) -> str:
        """Runs the command line as anybody would."""
        command = [sys.executable, "-m", "marketplace.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StoryFailed(f"usufruct {arguments[0]}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def progress(self, items: list[Any], what: str) -> Iterator[Any]:
        """The items, one after the other: with a bar on a terminal, else a line every ten seconds."""
        if self.console.is_terminal:
            yield from track(items, f"  {what}", console=self.console, transient=True)
            return
        said = time.monotonic()
        for done, item in enumerate(items):
            if time.monotonic() - said >= PROGRESS_SECONDS:
                said = time.monotonic()
                self.console.print(f"  {what}: {done} of {len(items)}")
            yield item
