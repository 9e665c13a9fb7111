"""A browser's key on the command line: its passphrase from a file of one's own, or asked for, never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketplace.cli.own_key import OwnKey, key_in, passphrase, unlocked
from marketplace.errors import Refusal
from marketplace.vocabulary import Address, DatasetId
from marketplace.wire import keyfiles
from marketplace.wire.browser_keyfile import LARGEST_FILE, lock
from marketplace.wire.browser_keys import NO_DATASET, Place, Root
from marketplace.wire.keyring import Joined, Keyring

PASSPHRASE = "five calm otters read maps"
ROOT = Root(bytes(range(32)))
PLACE = Place(31337, Address("0x" + "11" * 20), DatasetId(b"\xd5" * 32))
OTHER = Place(31337, Address("0x" + "11" * 20), DatasetId(b"\xd6" * 32))


def phrase(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "passphrase"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refusal_of(path: Path | None) -> Refusal:
    with pytest.raises(Refusal) as refused:
        passphrase(path)
    return refused.value


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_passphrase_file_may_end_in_a_line_end_and_in_no_other_space(
    tmp_path: Path, end: str
) -> None:
    assert passphrase(phrase(tmp_path, f"{PASSPHRASE} {end}".encode())) == f"{PASSPHRASE} "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_passphrase_that_others_can_read_is_refused_unshown(tmp_path: Path, mode: int) -> None:
    refused = refusal_of(phrase(tmp_path, PASSPHRASE.encode(), mode))
    assert (refused.code, refused.field) == ("key_file", "passphrase_file")
    assert PASSPHRASE not in str(refused)


def test_a_passphrase_that_is_no_text_is_refused(tmp_path: Path) -> None:
    assert refusal_of(phrase(tmp_path, b"\xff\xfe")).field == "passphrase_file"


def test_where_nobody_can_be_asked_a_file_is_named() -> None:
    refused = refusal_of(None)
    assert refused.code == "no_passphrase"
    assert "--passphrase-file" in refused.remedy


def test_the_key_of_the_address_in_use_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(lock(Keyring(ROOT, (Joined(OTHER, 0), Joined(PLACE, 2))), PASSPHRASE))
    chosen = OwnKey(None, path, phrase(tmp_path, PASSPHRASE.encode()))
    assert chosen.of(PLACE.dataset) == ROOT.patient_key(PLACE, 2)
    assert chosen.of(OTHER.dataset) == ROOT.patient_key(OTHER, 0)


def test_a_key_file_of_the_command_line_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "own.key"
    keyfiles.create(path, b"\x07" * 32)
    assert OwnKey(path, None).of(PLACE.dataset) == b"\x07" * 32


def test_a_guardians_key_is_that_of_the_market_at_hand_and_of_no_dataset(tmp_path: Path) -> None:
    here, there = (Place(chain, PLACE.registry, NO_DATASET) for chain in (31337, 1))
    path = tmp_path / "keys.json"
    path.write_bytes(
        lock(Keyring(ROOT, (Joined(there, 1), Joined(PLACE, 0), Joined(here, 0))), PASSPHRASE)
    )
    chosen = OwnKey(None, path, phrase(tmp_path, PASSPHRASE.encode()))
    assert chosen.as_guardian(31337, PLACE.registry) == ROOT.patient_key(here)
    assert chosen.as_guardian(1, PLACE.registry) == ROOT.patient_key(there, 1)
    with pytest.raises(Refusal) as refused:
        chosen.as_guardian(2, PLACE.registry)
    assert (refused.value.code, refused.value.field) == ("not_joined", "patient")


def test_a_key_file_of_the_command_line_is_a_guardians_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "own.key"
    keyfiles.create(path, b"\x07" * 32)
    assert OwnKey(path, None).as_guardian(31337, PLACE.registry) == b"\x07" * 32


def test_no_key_is_made_up_for_a_dataset_that_was_never_joined() -> None:
    with pytest.raises(Refusal) as refused:
        key_in(Keyring(ROOT, (Joined(OTHER, 0),)), PLACE.dataset)
    assert refused.value.code == "not_joined"


def test_a_file_without_end_is_read_no_further_than_a_key_file_can_be(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)
    with pytest.raises(Refusal) as refused:
        unlocked(path, phrase(tmp_path, PASSPHRASE.encode()))
    assert refused.value.code == "keys_unreadable"
    assert str(LARGEST_FILE) in str(refused.value)
