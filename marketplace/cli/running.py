"""A market that runs on this machine: noticing that a part of it died, and saying where everything is."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from marketplace.client.http import Api
from marketplace.demo import Story
from marketplace.errors import Refusal
from marketplace.local import Local, Ports, ended_how

LOOK_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 1.0
"""A Ctrl-C reaches every process of a terminal at once: whoever ends now was told to, and did not die."""


@dataclass
class Watch:
    """Looks at a market's processes from a thread; interrupts the main one when one has died."""

    local: Local
    dead: Refusal | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until `stop`, or until a process is found dead."""
        while not self._over.wait(LOOK_SECONDS):
            dead = died(self.local)
            if dead is None:
                continue
            if not self._over.wait(GRACE_SECONDS):
                self.dead = dead
                # Not SIGINT, which shells have their background jobs ignore.
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            return

    def stop(self) -> None:
        """Whatever ends from now on was told to."""
        self._over.set()


@contextmanager
def watched(local: Local) -> Iterator[None]:
    """Ends what runs inside as soon as a process of the market has died.

    For the main thread, where SIGTERM raises SystemExit.

    Raises:
        Refusal: `process_died`, naming the process, how it ended and its log; also in place of the failure
            that a dead process led to.
    """
    watch = Watch(local)
    threading.Thread(target=watch.run, name="watch", daemon=True).start()
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if watch.dead is not None:
            raise watch.dead from None
        raise
    except Exception as failure:
        dead = watch.dead or died(local)
        if dead is not None:
            raise dead from failure
        raise
    finally:
        watch.stop()


def died(local: Local) -> Refusal | None:
    """The refusal that names a process which ended without being told to; None while all run."""
    fallen = local.fallen()
    if fallen is None:
        return None
    name, code = fallen
    how = f"ended unasked: {ended_how(code)}"
    why = f"Its log says why: {shown(local.log_path(name))}."
    if code == 0:
        how = "ended in good order: something other than this command told it to (exit code 0)"
        why = "Nothing went wrong in it, so its log does not say who."
    return Refusal(
        code="process_died",
        message=f"The process {name} of this market {how}.",
        remedy=f"{why} `{started_again(local)}` starts everything again; nothing is lost.",
        field=name,
    )


def whereabouts(local: Local) -> dict[str, Any]:
    """What a running market is reached by, its datasets among it. Raises OperatorUnreachable."""
    datasets = Api(local.url).get("/api/v1/datasets")["datasets"]
    return {
        "ready": True,
        "url": local.url,
        "node": local.node_url,
        "custodians": local.custodian_urls,
        "manifest": shown(local.manifest_path),
        "datasets": [each["dataset"] for each in datasets],
    }


def tell_where(story: Story, console: Console) -> None:
    """What a visitor needs to go on: URLs, files, the dataset, and two commands that work."""
    local = story.local
    lines = [
        f"Everything runs on: {local.url} (Ctrl-C ends it)",
        f"  API     {local.url}/api/v1/openapi.json",
        f"  node    {local.node_url}",
        f"  files   {shown(local.manifest_path)}, keys in {shown(local.folder / 'keys')}",
        f"  dataset 0x{story.dataset.hex()}",
        f"  custodians {', '.join(local.custodian_urls)}",
        "To play each role as the README says, in another terminal:",
        f"  export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH USUFRUCT_URL={local.url} "
        f"USUFRUCT_NODE={local.node_url} DATASET=0x{story.dataset.hex()}",
    ]
    paid = [step for step in story.steps if "receipt" in step and "request" in step]
    if paid:
        lines += ["Try in another terminal:", *(f"  {each}" for each in _to_try(local, paid[-1]))]
    lines.append(f"Later: {started_again(local)} starts it again as it is.")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def _to_try(local: Local, step: dict[str, str]) -> list[str]:
    name = program()
    where = f"--node {local.node_url} --manifest {shown(local.manifest_path)}"
    return [
        f"{name} status --url {local.url} --request {step['request']}",
        f"{name} verify-receipt {shown(Path(step['receipt']))} {where}",
    ]


def started_again(local: Local) -> str:
    """The command that starts this market as it was left."""
    moved = "" if local.ports == Ports() else f" --port {local.ports.operator}"
    return f"{program()} up --data {shown(local.folder)}{moved}"


def program() -> str:
    """The command line as it is typed here."""
    command = Path(sys.executable).with_name("usufruct")
    if command.exists():
        return shown(command)
    return f"{shown(Path(sys.executable))} -m marketplace.cli"


def shown(path: Path) -> str:
    """As somebody here would type it."""
    here = Path.cwd()
    return shlex.quote(os.path.relpath(path, here) if path.is_relative_to(here) else str(path))
