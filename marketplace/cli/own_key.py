"""Options that say which key signs: one of the command line, or that of a browser's key file."""

from __future__ import annotations

import functools
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from marketplace.cli.environment import PREFIX
from marketplace.cli.say import FILE, in_file
from marketplace.errors import Refusal
from marketplace.vocabulary import Address
from marketplace.wire import keyfiles
from marketplace.wire.browser_keyfile import LARGEST_FILE, unlock
from marketplace.wire.browser_keys import NO_DATASET, Place
from marketplace.wire.keyring import Keyring

R = TypeVar("R")

KEY_FILE = click.option("--key-file", type=FILE, help="Private key (mode 0600).")
BROWSER_KEY = click.option(
    "--browser-key",
    type=FILE,
    help="In its place, the key file that your browser saved; the dataset's own key is taken, with "
    "--patient that of a guardian.",
)
PASSPHRASE_FILE = click.option(
    "--passphrase-file",
    type=FILE,
    envvar=PREFIX + "PASSPHRASE_FILE",
    show_envvar=True,
    help="Holds the browser's passphrase (mode 0600). Without it, you are asked.",
)


@dataclass(frozen=True)
class OwnKey:
    """What was chosen. Exactly one of the two files is there."""

    key_file: Path | None
    browser_key: Path | None
    passphrase_file: Path | None = None

    def of(self, dataset: bytes) -> bytes:
        """The key of this person's address in a dataset, 32 bytes.

        Raises:
            Refusal: key_file, keys_unreadable, wrong_passphrase, not_joined, no_passphrase.
        """
        if self.browser_key is None:
            return keyfiles.read(self.key_file) if self.key_file is not None else _neither()
        return key_in(unlocked(self.browser_key, self.passphrase_file), dataset)

    def as_guardian(self, chain_id: int, registry: Address) -> bytes:
        """The key by which this person acts for others in a market: its address is in no dataset.

        Raises:
            Refusal: as `of`.
        """
        if self.browser_key is None:
            return keyfiles.read(self.key_file) if self.key_file is not None else _neither()
        keyring = unlocked(self.browser_key, self.passphrase_file)
        place = Place(chain_id, registry, NO_DATASET)
        index = keyring.index_in(place)
        return _no_guardian() if index is None else keyring.root.patient_key(place, index)


def signs(command: Callable[..., R]) -> Callable[..., R]:
    """Adds the options and hands them to the command as `key`: to be read within it."""

    @functools.wraps(command)
    def spoken(
        key_file: Path | None, browser_key: Path | None, passphrase_file: Path | None, **given: Any
    ) -> R:
        if (key_file is None) == (browser_key is None):
            _neither()
        return command(key=OwnKey(key_file, browser_key, passphrase_file), **given)

    for option in (PASSPHRASE_FILE, BROWSER_KEY, KEY_FILE):
        spoken = option(spoken)
    return spoken


def unlocked(path: Path, passphrase_file: Path | None) -> Keyring:
    """What a browser's key file keeps. Raises Refusal, naming the file, never what is in it."""
    with in_file(path):
        with path.open("rb") as file:
            document = file.read(LARGEST_FILE + 1)
        return unlock(document, passphrase(passphrase_file))


def passphrase(path: Path | None) -> str:
    """From a file that only its owner can read, without the end of its line; else asked for, unseen.

    Raises:
        Refusal: key_file, others can read it; no_passphrase, there is no file and nobody to ask.
    """
    if path is not None:
        return _kept(path)
    if not sys.stdin.isatty():
        raise Refusal(
            code="no_passphrase",
            message="The browser's key file needs its passphrase, and nobody can be asked.",
            remedy="Name a file that holds it with --passphrase-file.",
            field="passphrase_file",
        )
    asked: str = click.prompt("Passphrase of the key file", hide_input=True, err=True)
    return asked


def key_in(keyring: Keyring, dataset: bytes) -> bytes:
    """The key of the address in use in a dataset. Raises Refusal (not_joined)."""
    for each in keyring.datasets:
        if each.place.dataset == dataset:
            return keyring.root.patient_key(each.place, each.index)
    raise Refusal(
        code="not_joined",
        message="The browser's key file has no address in this dataset.",
        remedy="Check --dataset, or save the key file again, after you opened the dataset in the browser.",
        field="dataset",
    )


def _kept(path: Path) -> str:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Refusal(
            code="key_file",
            message=f"The passphrase file {path.name} can be read by others.",
            remedy="Run `chmod 600` on it, and choose another passphrase.",
            field="passphrase_file",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Refusal(
            code="key_file",
            message=f"The passphrase file {path.name} is not UTF-8 text.",
            remedy="Write the passphrase into it, on one line.",
            field="passphrase_file",
        ) from None
    return text.removesuffix("\n").removesuffix("\r")


def _no_guardian() -> Any:
    raise Refusal(
        code="not_joined",
        message="The browser's key file has no address of a guardian in this market.",
        remedy="Sign in on the page /guardian in that browser, then save the key file again; or give the "
        "key that the patient appointed, with --key-file.",
        field="patient",
    )


def _neither() -> Any:
    raise click.UsageError("either --key-file or --browser-key is needed")
