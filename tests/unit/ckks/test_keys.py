"""Keys: what is sent, what stays, and that the one never holds the other."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

from ml.ckks import keys, packing
from ml.ckks.context import DEGREE, DEPTH, PRIMES, STEPS
from ml.ckks.keys import EncryptedRecord, Material, NeverLeaves, OwnerKey
from ml.ckks.layout import Layout
from ml.ckks.packing import HEAD_BYTES
from tests.support.framingham import People
from tests.unit.ckks.conftest import Owner


def residues(data: bytes, primes: tuple[int, ...]) -> packing.Polynomials:
    return packing.unpack(data[HEAD_BYTES:-32], primes)


def times(left: packing.Polynomials, right: packing.Polynomials, prime: int) -> list[int]:
    pairs = zip(left.tolist(), right.tolist(), strict=True)
    return [a * b % prime for a, b in pairs]


def test_sizes_are_what_the_readme_says(
    owner: Owner, layout: Layout, people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    record = owner.material.encrypt(people.record(0), layout)
    with capsys.disabled():
        print(
            f"\nCKKS bytes: material {len(owner.material.data):,}, secret key "
            f"{len(owner.key.to_bytes()):,}, record {len(record.data):,}"
        )
    assert len(owner.material.data) == 12_288_145
    assert len(owner.key.to_bytes()) == 245_905
    assert len(record.data) == 409_745


def test_material_is_a_public_key_and_keys_for_products_and_three_rotations(owner: Owner) -> None:
    polynomials = residues(owner.material.data, PRIMES)
    assert len(polynomials) == 2 + (1 + len(STEPS)) * 2 * (DEPTH + 1)


def test_no_polynomial_that_is_sent_is_the_secret_key(owner: Owner, layout: Layout) -> None:
    secret = residues(owner.key.to_bytes(), PRIMES)[0]
    record = owner.key.encrypt({"age": 50}, layout)
    for data, primes in ((owner.material.data, PRIMES), (record.data, PRIMES[: DEPTH + 1])):
        for sent in residues(data, primes):
            for i, prime in enumerate(primes):
                other = prime - secret[i]
                same = np.count_nonzero(sent[i] == secret[i])
                negated = np.count_nonzero(sent[i] == other)
                assert max(same, negated) < 10, "equal numbers by chance: about 8192 / 2^29"


def test_no_part_of_the_secret_key_stands_in_what_is_sent(owner: Owner, layout: Layout) -> None:
    """Whatever the format: windows of 20 bytes of the key's file, at any place of what is sent."""
    secret = owner.key.to_bytes()[HEAD_BYTES:-32]
    sent = owner.material.data + owner.key.encrypt({"age": 50}, layout).data
    body = sent[HEAD_BYTES:]
    windows = {secret[at : at + 20] for at in range(0, len(secret) - 20, 4001)}
    assert len(windows) > 50
    assert not any(window in body for window in windows)


def constant(key: packing.Polynomials, secret: packing.Polynomials, at: int) -> int:
    """The constant coefficient of b + a s modulo one prime: what the key encrypts, and its error."""
    prime = PRIMES[at]
    opened = zip(times(key[1, at], secret[at], prime), key[0, at].tolist(), strict=True)
    found = sum(a + b for a, b in opened) * pow(DEGREE, -1, prime) % prime
    return min(found, prime - found)


def test_every_key_that_is_sent_is_an_encryption_with_an_error(owner: Owner) -> None:
    """Of 0 (the public key), or of what it switches, which is 0 modulo all primes but its digit's."""
    secret = residues(owner.key.to_bytes(), PRIMES)[0]
    pairs = residues(owner.material.data, PRIMES).reshape(-1, 2, len(PRIMES), DEGREE)
    for i, pair in enumerate(pairs):
        digit = (i - 1) % (DEPTH + 1)
        at = 0 if i == 0 else (digit + 1) % (DEPTH + 1)
        assert constant(pair, secret, at) < 64, "an error of standard deviation 3.2"
        assert pair[1, at].any()
    errors = {constant(pair, secret, len(PRIMES) - 1) for pair in pairs}
    assert len(errors) > 1, "not all the same, as errors of 0 would be"


def test_a_key_and_its_material_are_kept_together(owner: Owner, stranger: Owner) -> None:
    again = OwnerKey.from_bytes(owner.key.to_bytes())
    assert again.material == owner.material.hash == Material.from_bytes(owner.material.data).hash
    assert owner.material.hash != stranger.material.hash


def test_two_keys_and_two_encryptions_differ(owner: Owner, stranger: Owner, layout: Layout) -> None:
    assert owner.key.to_bytes() != stranger.key.to_bytes()
    records = [owner.key.encrypt({"age": 50}, layout).data for _ in range(2)]
    assert records[0] != records[1]


def test_a_secret_key_prints_nothing_and_goes_nowhere_by_itself(owner: Owner) -> None:
    secret = owner.key.to_bytes()[HEAD_BYTES : HEAD_BYTES + 12].hex()
    shown = f"{owner.key} {owner.key!r} {vars(owner)}"
    assert secret not in shown
    assert "secret)" in shown
    for leak in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(NeverLeaves):
            leak(owner.key)
    with pytest.raises(TypeError):
        json.dumps({"key": owner.key})


def test_material_and_records_print_no_bytes(owner: Owner, layout: Layout) -> None:
    record = owner.key.encrypt({"age": 50}, layout)
    assert len(repr(owner.material)) < 200
    assert len(repr(record)) < 400


def test_a_record_names_its_layout_and_key(owner: Owner, layout: Layout) -> None:
    for encrypt in (owner.key.encrypt, owner.material.encrypt):
        record = EncryptedRecord.from_bytes(encrypt({"age": 50}, layout).data)
        assert (record.layout, record.material) == (layout.hash, owner.material.hash)


def test_only_the_owner_gets_a_secret_from_a_file(owner: Owner) -> None:
    public = {name for name in vars(OwnerKey) if not name.startswith("_")}
    assert public == {"generate", "to_bytes", "from_bytes", "encrypt"}
    assert len(owner.key.to_bytes()) == keys.SECRET_BYTES + HEAD_BYTES + 32
