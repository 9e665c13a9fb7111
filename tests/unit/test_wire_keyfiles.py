"""Rules of key files: made once, for their owner only, never shown."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from eth_account import Account

from marketplace.errors import Refusal
from marketplace.wire import feldman, keyfiles

SECRET = bytes(range(1, 33))


def test_a_key_comes_back_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "a.key"
    assert keyfiles.create(path, SECRET)
    assert keyfiles.read(path) == SECRET
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_key_is_never_overwritten_and_no_half_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    assert keyfiles.create(path, SECRET)
    assert not keyfiles.create(path, bytes(32))
    assert keyfiles.read(path) == SECRET
    assert [each.name for each in tmp_path.iterdir()] == ["a.key"]


def test_of_many_writers_exactly_one_makes_the_key(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    secrets = [bytes([n]) * 32 for n in range(1, 17)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda secret: keyfiles.create(path, secret), secrets))
    assert sum(made) == 1
    assert keyfiles.read(path) == secrets[made.index(True)]
    assert [each.name for each in tmp_path.iterdir()] == ["a.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o601, 0o666])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.key"
    keyfiles.create(path, SECRET)
    path.chmod(mode)
    with pytest.raises(Refusal, match="chmod 600") as refusal:
        keyfiles.read(path)
    assert (refusal.value.code, refusal.value.field) == ("key_file", None)
    assert str(path) in refusal.value.message


@pytest.mark.parametrize(
    "content", [b"", b"zz" * 32, b"11" * 31, b"11" * 33, b"\xff\xfe", b"0x", b"1" * 63]
)
def test_what_is_no_key_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Refusal) as refusal:
        keyfiles.read(path)
    shown = str(refusal.value) + repr(refusal.value.facts)
    assert len(content) < 3 or content.decode("latin-1") not in shown
    assert refusal.value.code == "key_file"


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="init"):
        keyfiles.read(tmp_path / "absent.key")
    (tmp_path / "folder.key").mkdir()
    with pytest.raises(Refusal) as refusal:
        keyfiles.read(tmp_path / "folder.key")
    assert refusal.value.code == "key_file"


def test_a_signer_has_the_address_that_wallets_show_and_does_not_print(tmp_path: Path) -> None:
    signer = keyfiles.Signer.of(SECRET)
    assert signer.address == Account.from_key(SECRET).address
    assert SECRET.hex() not in repr(signer)
    assert repr(SECRET) not in repr(signer)
    for bad in (bytes(32), feldman.ORDER.to_bytes(32, "big"), b"\xff" * 32):
        with pytest.raises(ValueError, match=r"(?i)secret|scalar|range"):
            keyfiles.Signer.of(bad)


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        keyfiles.create(tmp_path / "a.key", SECRET)
    assert list(tmp_path.iterdir()) == []
