"""Custodians and gates of a local market, each in a folder of its own, with keys that it made itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def host(folder: Path, kind: str, number: int) -> Path:
    """The folder of one custodian or gate, in a market's."""
    return folder / f"{kind}-{number}"


def make(folder: Path, kind: str, number: int) -> dict[str, str]:
    """Has a custodian or gate make its own keys; only the public part comes back."""
    own = host(folder, kind, number)
    done = subprocess.run(
        [sys.executable, "-m", f"marketplace.{kind}.identity", "--data", str(own)],
        check=True,
        capture_output=True,
        text=True,
    )
    identity = dict(json.loads(done.stdout))
    own.joinpath("identity.json").write_text(json.dumps(identity))
    return identity


def known(folder: Path, kind: str, number: int) -> dict[str, str]:
    """The public part of keys that `make` had made."""
    return dict(json.loads((host(folder, kind, number) / "identity.json").read_text()))
