"""What a custodian locks under its storage key opens for what it is about, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from marketplace.custodian import keys
from marketplace.custodian.keys import Keys
from marketplace.errors import Refusal

ABOUT = b"\x07" * 32
SECRET = bytes(range(32, 64))
STORAGE = bytes(range(32))
OLDER = bytes.fromhex(
    "6465666768696a6b6c6d6e6f683afc455dcc70b9164b75c3f64844d272f33439"
    "bf59c5459fe89673c79e9b77fa1163b950acc441be1e86f73038919b"
)
"""SECRET about ABOUT under STORAGE, as shares and joint shares were written before one function did."""


@pytest.fixture
def held(tmp_path: Path) -> Keys:
    keys.create(tmp_path, 1)
    return replace(keys.load(tmp_path), storage=STORAGE)


def test_what_older_installations_wrote_opens(held: Keys) -> None:
    assert held.unlock(OLDER, ABOUT) == SECRET


def test_what_is_locked_opens_and_is_of_the_same_form(held: Keys) -> None:
    sealed = held.lock(SECRET, ABOUT)
    assert held.unlock(sealed, ABOUT) == SECRET
    assert len(sealed) == len(OLDER)
    assert SECRET not in sealed


def test_a_nonce_is_never_used_twice(held: Keys) -> None:
    sealed = [held.lock(SECRET, ABOUT) for _ in range(200)]
    assert len({each[: keys.NONCE_BYTES] for each in sealed}) == len(sealed)


def test_a_secret_opens_only_for_what_it_is_about_and_unchanged(held: Keys) -> None:
    sealed = held.lock(SECRET, ABOUT)
    bent = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    other = replace(held, storage=bytes(32))
    for attempt in (
        *[lambda raw=raw: held.unlock(raw, ABOUT) for raw in bent],
        lambda: held.unlock(sealed, bytes(32)),
        lambda: held.unlock(sealed[:-1], ABOUT),
        lambda: other.unlock(sealed, ABOUT),
    ):
        with pytest.raises(Refusal) as refusal:
            attempt()
        assert refusal.value.code == "share_damaged"


@pytest.mark.parametrize(("kind", "named"), [((), "A secret"), (("share",), "A share")])
def test_a_refusal_says_which_kind_of_secret_is_damaged(
    held: Keys, kind: tuple[str, ...], named: str
) -> None:
    with pytest.raises(Refusal) as refusal:
        held.unlock(OLDER, bytes(32), *kind)
    expected = f"{named} in this custodian's journal file was damaged or replaced."
    assert refusal.value.message == expected
    assert "Restore the newest good copy" in refusal.value.remedy


def test_the_storage_key_does_not_print(held: Keys) -> None:
    assert repr(STORAGE) not in repr(held)
