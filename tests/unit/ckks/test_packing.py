"""Bytes from anybody: one length each, nothing loaded that is not what it says, and no crash."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ml.ckks import packing
from ml.ckks.context import DEGREE, PRIMES
from ml.ckks.keys import EncryptedRecord, Material, OwnerKey, Transparent
from ml.ckks.layout import Layout
from ml.ckks.models import Model
from ml.ckks.packing import HEAD_BYTES, Kind, OtherKind, OtherParameters, Unreadable
from ml.ckks.score import CannotScore, EncryptedScore, PreparedModel
from tests.support.framingham import People
from tests.unit.ckks.conftest import Owner

ROOT = Path(__file__).resolve().parents[3]
KINDS = ("secret", "material", "record", "score")
Load = Callable[[bytes], object]
LOADS: dict[str, Load] = {
    "secret": OwnerKey.from_bytes,
    "material": Material.from_bytes,
    "record": EncryptedRecord.from_bytes,
    "score": EncryptedScore.from_bytes,
}


@pytest.fixture(scope="session")
def objects(
    owner: Owner, layout: Layout, fitted: dict[str, Model], people: People
) -> dict[str, bytes]:
    record = owner.key.encrypt(people.record(0), layout)
    score = PreparedModel(fitted["linear"], layout).score(owner.material, record)
    return {
        "secret": owner.key.to_bytes(),
        "material": owner.material.data,
        "record": record.data,
        "score": score.data,
    }


def sealed_again(data: bytes) -> bytes:
    """With the digest that fits."""
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


def changed(data: bytes, at: int, to: bytes) -> bytes:
    return data[:at] + to + data[at + len(to) :]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read_back_whole(kind: str, objects: dict[str, bytes]) -> None:
    loaded = LOADS[kind](objects[kind])
    again = loaded.to_bytes() if isinstance(loaded, OwnerKey) else loaded.data  # type: ignore[attr-defined]
    assert again == objects[kind]


def test_residues_survive_packing_for_every_width() -> None:
    random = np.random.default_rng(5)
    rows = [random.integers(0, prime, (3, DEGREE), dtype=np.uint64) for prime in PRIMES]
    numbers = np.stack(rows, axis=1)
    numbers[0, :, 0] = np.array(PRIMES) - 1
    data = packing.pack(numbers, PRIMES)
    assert len(data) == packing.packed_bytes(3, PRIMES)
    assert (packing.unpack(data, PRIMES) == numbers).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["magic", "kind", "parameters", "bound", "body", "digest"])
def test_a_flipped_bit_anywhere_is_refused(
    kind: str, where: str, objects: dict[str, bytes]
) -> None:
    data = objects[kind]
    at = {"magic": 3, "kind": 16, "parameters": 20, "bound": 60, "body": 5000, "digest": -5}[where]
    at %= len(data)
    with pytest.raises(Unreadable):
        LOADS[kind](changed(data, at, bytes([data[at] ^ 1])))


@pytest.mark.parametrize("kind", KINDS)
def test_another_length_is_refused(kind: str, objects: dict[str, bytes]) -> None:
    data = objects[kind]
    for other in (b"", data[:40], data[:-1], data + b"\0", data[:HEAD_BYTES]):
        with pytest.raises(Unreadable):
            LOADS[kind](other)
        with pytest.raises(Unreadable):
            LOADS[kind](sealed_again(other + bytes(32)))


@pytest.mark.parametrize("kind", KINDS)
def test_another_parameter_set_is_refused_by_name(kind: str, objects: dict[str, bytes]) -> None:
    other = sealed_again(changed(objects[kind], 17, bytes(32)))
    with pytest.raises(OtherParameters):
        LOADS[kind](other)


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_of_another_kind_is_refused_by_name(kind: str, objects: dict[str, bytes]) -> None:
    for other in set(KINDS) - {kind}:
        with pytest.raises(OtherKind):
            LOADS[kind](objects[other])


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_that_is_not_below_its_prime_is_refused(
    kind: str, objects: dict[str, bytes]
) -> None:
    prime = PRIMES[0].to_bytes(5, "little")
    with pytest.raises(Unreadable, match="below its prime"):
        LOADS[kind](sealed_again(changed(objects[kind], HEAD_BYTES, prime)))


def test_a_ciphertext_that_hides_nothing_is_refused(objects: dict[str, bytes]) -> None:
    for kind in ("record", "score"):
        data = objects[kind]
        half = (len(data) - HEAD_BYTES - 32) // 2
        open_one = sealed_again(changed(data, HEAD_BYTES + half, bytes(half)))
        with pytest.raises(Transparent):
            LOADS[kind](open_one)


def test_material_that_is_bound_to_something_is_refused(objects: dict[str, bytes]) -> None:
    bound = sealed_again(changed(objects["material"], HEAD_BYTES - 64, b"\1"))
    with pytest.raises(Unreadable, match="bound"):
        Material.from_bytes(bound)


def test_seal_is_asked_for_a_whole_stream_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SEAL is of another version than the stream says, it refuses, and so does this package."""
    monkeypatch.setattr(packing, "_SEAL_VERSION", (9, 9))
    with pytest.raises(Unreadable, match="SEAL"):
        packing.ciphertext(np.zeros((2, 1, DEGREE), dtype=np.uint64), (1, 2, 3, 4))


HOSTILE = """
import hashlib, sys
import numpy as np
from pathlib import Path
from ml.ckks.context import PRIMES
from ml.ckks.keys import EncryptedRecord, Material, OwnerKey
from ml.ckks.packing import HEAD_BYTES, Unreadable, pack
from ml.ckks.score import EncryptedScore
LOADS = dict(secret=OwnerKey.from_bytes, material=Material.from_bytes,
             record=EncryptedRecord.from_bytes, score=EncryptedScore.from_bytes)
random = np.random.default_rng(int(sys.argv[2]))
counts = dict(taken=0, refused=0)
for kind, load in LOADS.items():
    whole = (Path(sys.argv[1]) / kind).read_bytes()
    for turn in range(4 if kind == "material" else 60):
        data = bytearray(whole)
        for _ in range(random.integers(1, 6)):
            span = int(random.integers(1, 9000))
            at = int(random.integers(0, HEAD_BYTES if turn % 3 == 0 else len(data)))
            end = min(at + span, len(data))
            data[at:end] = random.bytes(end - at) if turn % 2 else bytes(end - at)
        if turn % 5 == 4:
            data = data[: random.integers(0, len(data))]
        sealed = bytes(data[:-32]) + hashlib.sha256(bytes(data[:-32])).digest()
        try:
            load(sealed)
            counts["taken"] += 1
        except Unreadable:
            counts["refused"] += 1
print(counts)
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_bytes_with_a_fitting_digest_never_end_the_process(
    seed: int, tmp_path: Path, objects: dict[str, bytes]
) -> None:
    """In a process of its own, so that a crash of the C++ below would be seen."""
    for kind, data in objects.items():
        (tmp_path / kind).write_bytes(data)
    run = subprocess.run(
        [sys.executable, "-c", HOSTILE, str(tmp_path), str(seed)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    counts = eval(run.stdout)
    assert counts["taken"] + counts["refused"] == 184
    assert counts["refused"] > 100
    assert counts["taken"] > 0  # zeros in a body are numbers like others


def test_whatever_numbers_a_record_holds_scoring_ends_well(
    owner: Owner, layout: Layout, fitted: dict[str, Model], objects: dict[str, bytes]
) -> None:
    random = np.random.default_rng(9)
    primes = PRIMES[:6]
    numbers = np.stack(
        [random.integers(0, prime, (2, DEGREE), dtype=np.uint64) for prime in primes], axis=1
    )
    data = objects["record"]
    body = packing.pack(numbers, primes)
    record = EncryptedRecord.from_bytes(sealed_again(changed(data, HEAD_BYTES, body)))
    for model in fitted.values():
        score = PreparedModel(model, layout).score(owner.material, record)
        assert EncryptedScore.from_bytes(score.data).model == model.hash


def test_material_with_a_key_of_zeros_is_refused(objects: dict[str, bytes]) -> None:
    data, polynomial = objects["material"], packing.packed_bytes(1, PRIMES)
    for at in (1, 3, 17, 49):
        zeros = bytes(polynomial)
        with pytest.raises(Unreadable, match="is 0"):
            Material.from_bytes(sealed_again(changed(data, HEAD_BYTES + at * polynomial, zeros)))


def test_a_record_that_hides_nothing_lower_down_is_refused_by_name(
    owner: Owner, layout: Layout, fitted: dict[str, Model], objects: dict[str, bytes]
) -> None:
    """Its second polynomial is 0 modulo all primes but the last, which a linear model drops."""
    primes = PRIMES[:6]
    numbers = packing.unpack(objects["record"][HEAD_BYTES:-32], primes)
    numbers[1, :-1] = 0
    body = packing.pack(numbers, primes)
    record = EncryptedRecord.from_bytes(sealed_again(changed(objects["record"], HEAD_BYTES, body)))
    with pytest.raises(CannotScore):
        PreparedModel(fitted["linear"], layout).score(owner.material, record)


def test_kinds_have_distinct_bytes() -> None:
    assert sorted(Kind) == [1, 2, 3, 4]
