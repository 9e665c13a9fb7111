"""IND-CPA-D: a raw CKKS decryption gives the secret key away, and nothing here hands one out.

B. Li, D. Micciancio, "On the security of homomorphic encryption on approximate numbers", EUROCRYPT 2021.
"""

from __future__ import annotations

import ast
import copy
import inspect
import json
import pickle
import pkgutil
import struct
from collections.abc import Sequence
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from tenseal import sealapi

import ml.ckks
from ml.ckks import packing
from ml.ckks.context import DEGREE, PRIMES, SCALE, SLOTS, encoder, evaluator, parms_id, seal_context
from ml.ckks.keys import EncryptedRecord, NeverLeaves, OwnerKey
from ml.ckks.layout import Layout
from ml.ckks.models import Model
from ml.ckks.opening import (
    NotCompared,
    NotThisScore,
    OwnScore,
    ScoreDiffers,
    open_score,
)
from ml.ckks.packing import Kind
from ml.ckks.score import EncryptedScore, PreparedModel
from tests.support.framingham import NAMES, People
from tests.unit.ckks.conftest import Owner

PRIME = PRIMES[0]
ROOT = Path(__file__).resolve().parents[3]


def numbers(score: EncryptedScore) -> tuple[list[int], list[int]]:
    """What anybody sees of a score: its two polynomials."""
    left, right = packing.unpack(score.data[packing.HEAD_BYTES : -32], (PRIME,))[:, 0].tolist()
    return left, right


def encoded(slots: Sequence[complex]) -> list[int]:
    """Slots put back into coefficients: without any key."""
    plain = sealapi.Plaintext()
    encoder().encode([complex(each) for each in slots], parms_id(1), SCALE, plain)
    return [plain[i] for i in range(DEGREE)]


def recovered_key(score: EncryptedScore, slots: Sequence[complex]) -> list[int]:
    """The attack: m = c0 + c1 s, hence s = (m - c0) / c1, number by number."""
    left, right = numbers(score)
    triples = zip(encoded(slots), left, right, strict=True)
    return [(m - c0) * pow(c1, -1, PRIME) % PRIME for m, c0, c1 in triples]


def true_key(owner: Owner) -> list[int]:
    body = owner.key.to_bytes()[packing.HEAD_BYTES : -32]
    return [int(each) for each in packing.unpack(body, PRIMES)[0, 0]]


def raw_decryption(owner: Owner, score: EncryptedScore) -> list[complex]:
    """What SEAL (and TenSEAL) give whoever decrypts: approximate numbers with all their digits."""
    plain = sealapi.Plaintext()
    sealapi.Decryptor(seal_context(), owner.key._secret).decrypt(score.ciphertext, plain)
    found: list[complex] = encoder().decode_complex(plain)
    return found


@pytest.fixture
def score(owner: Owner, layout: Layout, fitted: dict[str, Model], people: People) -> EncryptedScore:
    return scored(owner, layout, fitted, people)[1]


def scored(
    owner: Owner, layout: Layout, fitted: dict[str, Model], people: People
) -> tuple[EncryptedRecord, EncryptedScore]:
    """Whose score can be divided by: one in eight million holds a 0."""
    while True:
        record = owner.key.encrypt(people.record(0), layout)
        found = PreparedModel(fitted["linear"], layout).score(owner.material, record)
        if 0 not in numbers(found)[1]:
            return record, found


def test_one_raw_decryption_that_is_shared_gives_the_key_away(
    owner: Owner, score: EncryptedScore
) -> None:
    assert recovered_key(score, raw_decryption(owner, score)) == true_key(owner)


def test_the_stolen_key_reads_another_record_of_the_same_owner(
    owner: Owner, score: EncryptedScore, layout: Layout, people: People
) -> None:
    key = recovered_key(score, raw_decryption(owner, score))
    record = owner.material.encrypt(people.record(7), layout)
    small = sealapi.Ciphertext()
    evaluator().mod_switch_to(record.ciphertext, parms_id(1), small)
    left, right = packing.read(small.dyn_array(), 2, 1)[:, 0].tolist()
    opened = [(c0 + c1 * s) % PRIME for c0, c1, s in zip(left, right, key, strict=True)]
    slots = np.array(decoded(opened)).reshape(64, 64)
    for i, name in enumerate(NAMES):
        low, high = (float(end) for end in (layout.variables[i].lower, layout.variables[i].upper))
        assert low + slots[i, 0] * (high - low) == pytest.approx(people.record(7)[name], abs=0.05)


def decoded(coefficients: Sequence[int]) -> list[float]:
    array = np.array(coefficients, dtype=np.uint64)
    body = struct.pack("<4QQd", *parms_id(1), DEGREE, SCALE)
    plain = sealapi.Plaintext()
    packing._load(plain, packing._stream(body + packing._array_stream(array)))
    found: list[float] = encoder().decode_double(plain)
    return found


def test_what_the_owner_is_shown_gives_nothing_of_the_key_away(
    owner: Owner,
    score: EncryptedScore,
    layout: Layout,
    fitted: dict[str, Model],
    people: People,
) -> None:
    """The same attack on the rounded score, in every slot or as the constant: no better than chance."""
    record, fresh = scored(owner, layout, fitted, people)
    shown = open_score(owner.key, fresh, fitted["linear"], record).for_the_owner()
    secret = true_key(owner)
    for guess in (float(shown), float(shown) / 64):
        found = recovered_key(fresh, [complex(guess)] * SLOTS)
        assert sum(a == b for a, b in zip(found, secret, strict=True)) < 10
    assert recovered_key(fresh, raw_decryption(owner, fresh)) == secret


# ---- Nothing hands a decryption out ----


def sources() -> dict[str, ast.Module]:
    folder = Path(ml.ckks.__file__).parent
    return {path.stem: ast.parse(path.read_text()) for path in sorted(folder.glob("*.py"))}


def test_only_the_opening_decrypts_and_only_keys_and_opening_touch_the_secret() -> None:
    decrypting, touching = set(), set()
    for name, tree in sources().items():
        for node in ast.walk(tree):
            attribute = node.attr if isinstance(node, ast.Attribute) else ""
            if attribute == "Decryptor" or attribute.startswith("decode_"):
                decrypting.add(name)
            if attribute == "_secret":
                touching.add(name)
    assert decrypting == {"opening"}
    assert touching == {"keys", "opening"}


def test_the_one_public_way_from_a_key_to_a_number_is_the_owners_own_score() -> None:
    """Every public function that takes a secret key, and what it returns."""
    found = {}
    for module in pkgutil.iter_modules(ml.ckks.__path__, "ml.ckks."):
        for name, function in inspect.getmembers(import_module(module.name), inspect.isfunction):
            hints = function.__annotations__
            if function.__module__ == module.name and "OwnerKey" in map(str, hints.values()):
                found[name] = str(hints.get("return"))
    assert found.pop("_decrypted") == "float"  # not public; who calls it, the next test says
    assert found == {"open_score": "OwnScore"}
    public = {name for name in vars(OwnerKey) if not name.startswith("_")}
    assert public == {"generate", "to_bytes", "from_bytes", "encrypt"}
    assert {n for n in vars(OwnScore) if not n.startswith("_")} == {"for_the_owner", "placed"}


def test_what_is_decrypted_is_looked_at_in_one_place() -> None:
    calls = [
        node
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "_decrypted"
    ]
    assert len(calls) == 1
    outside = [
        str(path.relative_to(ROOT))
        for part in ("marketplace", "web")
        for path in (ROOT / part).rglob("*.py")
        if "_decrypted(" in path.read_text() and "ckks" in path.read_text()
    ]
    assert outside == []


def test_an_owners_score_is_not_printed_copied_or_sent(
    owner: Owner, layout: Layout, fitted: dict[str, Model], people: People
) -> None:
    record = owner.key.encrypt(people.record(0), layout)
    encrypted = PreparedModel(fitted["logistic"], layout).score(owner.material, record)
    own = open_score(owner.key, encrypted, fitted["logistic"], record, people.record(0))
    number = str(own.for_the_owner())
    assert own.for_the_owner() == own.for_the_owner().quantize(Decimal("0.001"))
    for shown in (repr(own), str(own), f"{own}", f"{own:>30}", "%s" % own):  # noqa: UP031
        assert number not in shown
    for leak in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(NeverLeaves):
            leak(own)
    with pytest.raises(TypeError):
        json.dumps({"score": own})
    with pytest.raises(TypeError):
        vars(own)
    assert 0 <= own.placed(Decimal(0), Decimal(1), 100) <= 100


# ---- Ciphertexts of somebody's own choice ----


def chosen(owner: Owner, model: Model, record: EncryptedRecord) -> EncryptedScore:
    """A "score" whose decryption is one coefficient of the secret key: c0 = 0, c1 = SCALE / 64."""
    pair = np.zeros((2, 1, DEGREE), dtype=np.uint64)
    pair[1] = int(SCALE) // 64
    body = packing.pack(pair, (PRIME,))
    return EncryptedScore.from_bytes(packing.frame(Kind.SCORE, model.hash + record.hash, body))


def test_a_chosen_ciphertext_reads_the_key_and_is_noticed_before_anything_goes_on(
    owner: Owner, layout: Layout, fitted: dict[str, Model], people: People
) -> None:
    model, values = fitted["linear"], people.record(0)
    record = owner.key.encrypt(values, layout)
    wrong = chosen(owner, model, record)
    blind = open_score(owner.key, wrong, model, record)
    constant = sum(true_key(owner)) * pow(DEGREE, -1, PRIME) % PRIME
    assert blind.for_the_owner() == (constant if constant < 2 else -1), "the key's own coefficient"
    with pytest.raises(NotCompared):
        blind.placed(Decimal(-1), Decimal(1), 2)
    with pytest.raises(ScoreDiffers) as told:
        open_score(owner.key, wrong, model, record, values)
    assert told.value.args == ("the score is not the model's on this record",)


def test_a_right_score_of_other_values_is_noticed(
    owner: Owner, layout: Layout, fitted: dict[str, Model], people: People
) -> None:
    model = fitted["logistic"]
    record = owner.key.encrypt(people.record(0), layout)
    score = PreparedModel(model, layout).score(owner.material, record)
    other = {**people.record(0), "age": people.record(0)["age"] + 3}
    with pytest.raises(ScoreDiffers):
        open_score(owner.key, score, model, record, other)


def test_a_score_of_another_model_record_or_key_is_refused(
    owner: Owner, stranger: Owner, layout: Layout, fitted: dict[str, Model], people: People
) -> None:
    model = fitted["linear"]
    record, other = (owner.key.encrypt(people.record(i), layout) for i in (0, 1))
    score = PreparedModel(model, layout).score(owner.material, record)
    for arguments in (
        (owner.key, score, fitted["network"], record),
        (owner.key, score, model, other),
        (stranger.key, score, model, record),
    ):
        with pytest.raises(NotThisScore):
            open_score(*arguments)
