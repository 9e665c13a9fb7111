"""Scores of encrypted records: how far they are from the same computation in the clear."""

from __future__ import annotations

import copy
from fractions import Fraction

import numpy as np
import pytest
from tenseal import sealapi

from ml.ckks.context import SCALE, encoder, evaluator, parms_id, seal_context
from ml.ckks.keys import EncryptedRecord, Material
from ml.ckks.layout import Layout, layout_of
from ml.ckks.models import ERROR, Model, ModelDoesNotFit, Network, model_of
from ml.ckks.opening import _decrypted, open_score
from ml.ckks.score import EncryptedScore, PreparedModel, RecordDoesNotFit, add_up
from tests.support import framingham
from tests.support.framingham import People, auc
from tests.unit.ckks.conftest import Owner

KINDS = ("linear", "logistic", "network")
PEOPLE = {"linear": 100, "logistic": 40, "network": 40}
"""Half of them ill; with --long, all 4,240."""
AUC = 0.002
EDGE = {"linear": 4e-5, "logistic": 4e-6, "network": 2e-4}
"""Noise has standard deviations of 3.2e-6, 2.5e-7 and 1.8e-5 at the worst edge (120 scores of the network at
each, 48 of the others): more than ten of them, so that less than one score in 1e22 fails.
"""


def decrypted(owner: Owner, model: Model, score: EncryptedScore) -> float:
    """Not rounded: for the measure alone."""
    return _decrypted(owner.key, score) * (1 if model.kind == "logistic" else 64)


def differences(
    owner: Owner, layout: Layout, model: Model, people: People
) -> tuple[list[float], list[float], list[float]]:
    """Encrypted, plain and exact scores; every second record encrypted by somebody else."""
    prepared = PreparedModel(model, layout)
    found, plain, exact = [], [], []
    for i in range(len(people.ill)):
        encrypt = owner.key.encrypt if i % 2 else owner.material.encrypt
        values = people.record(i)
        score = prepared.score(owner.material, encrypt(values, layout))
        found.append(decrypted(owner, model, score))
        plain.append(model.plain(values))
        exact.append(model.exact(values))
    return found, plain, exact


def require_close(
    found: list[float], plain: list[float], exact: list[float], people: People, model: Model
) -> str:
    ill = people.ill
    worst = np.abs(np.subtract(found, plain)).max()
    beside_exact = np.abs(np.subtract(found, exact)).max()
    moved = max(abs(auc(found, ill) - auc(other, ill)) for other in (plain, exact))
    assert worst < float(ERROR)
    assert beside_exact < 1e-3, "the sigmoid's polynomial included"
    assert moved <= AUC
    absent = len(ill) - len(people.complete().ill)
    return (
        f"CKKS {model.kind}: {len(ill)} people ({absent} with something absent), error {worst:.2g} "
        f"(beside the true sigmoid {beside_exact:.2g}), AUC {auc(found, ill):.5f}, moved by {moved:.2g}"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_within_a_thousandth_and_rank_people_alike(
    kind: str,
    owner: Owner,
    layout: Layout,
    fitted: dict[str, Model],
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = fitted[kind]
    some = framingham.everybody().balanced(PEOPLE[kind])
    said = require_close(*differences(owner, layout, model, some), some, model)
    with capsys.disabled():
        print(f"\n{said}")


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_of_the_whole_study(
    kind: str,
    owner: Owner,
    layout: Layout,
    fitted: dict[str, Model],
    capsys: pytest.CaptureFixture[str],
) -> None:
    people = framingham.everybody()
    assert (len(people.ill), people.ill.sum()) == (4240, 644)
    scores = differences(owner, layout, fitted[kind], people)
    said = require_close(*scores, people, fitted[kind])
    with capsys.disabled():
        print(f"\n{said}")


def extremes(model: Model) -> list[dict[str, Fraction | None]]:
    """All at the lower bound, all at the upper one, alternating, nothing at all."""
    ends = [[each.lower, each.upper] for each in model.inputs]
    names = [each.name for each in model.inputs]
    patterns = [[0] * 8, [1] * 8, [0, 1] * 4, [1, 0] * 4]
    rows = [
        dict(zip(names, [e[p] for e, p in zip(ends, row, strict=True)], strict=True))
        for row in patterns
    ]
    return [*rows, dict.fromkeys(names), {}]


@pytest.mark.parametrize("kind", KINDS)
def test_the_edges_of_the_domain_and_absent_values_are_as_exact(
    kind: str, owner: Owner, layout: Layout, fitted: dict[str, Model]
) -> None:
    model = fitted[kind]
    prepared = PreparedModel(model, layout)
    for values in extremes(model):
        for encrypt in (owner.key.encrypt, owner.material.encrypt):
            score = prepared.score(owner.material, encrypt(values, layout))
            found = decrypted(owner, model, score)
            assert found == pytest.approx(model.plain(values), rel=0, abs=EDGE[kind])


def test_an_absent_value_counts_as_the_models_own(
    owner: Owner, layout: Layout, fitted: dict[str, Model], people: People
) -> None:
    model = fitted["logistic"]
    values = people.record(0)
    given = {**values, "pressure": float(model.inputs[4].missing)}
    absent = {**values, "pressure": None}
    assert model.plain(absent) == pytest.approx(model.plain(given), abs=1e-12)
    prepared = PreparedModel(model, layout)
    scores = [
        decrypted(owner, model, prepared.score(owner.material, owner.key.encrypt(each, layout)))
        for each in (given, absent)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def largest_network() -> Model:
    """64 units, each as wide as is allowed, and weights as large as the stated error allows."""
    inputs = [
        {**each, "mean": each["lower"], "scale": "1", "missing": each["lower"]}
        for each in framingham.common("network")["inputs"]
    ]
    ranges = [float(each["upper"]) - float(each["lower"]) for each in inputs]
    rows = [
        {
            "weights": [
                f"{(-1) ** (h + i) * 3.9 / r:.6f}".rstrip("0") for i, r in enumerate(ranges)
            ],
            "intercept": "0.5",
        }
        for h in range(64)
    ]
    output = {"weights": ["0.007", "-0.0065"] * 32, "intercept": "3"}
    return model_of(
        {**framingham.common("network"), "inputs": inputs, "hidden": rows, "output": output}
    )


def test_the_largest_network_that_is_read_is_within_a_thousandth(
    owner: Owner, layout: Layout, people: People
) -> None:
    model = largest_network()
    assert isinstance(model.body, Network)
    found, plain, _ = differences(owner, layout, model, people.balanced(12))
    assert np.abs(np.subtract(found, plain)).max() < float(ERROR)


def test_the_noise_of_a_hidden_unit_is_below_what_models_are_checked_with(
    owner: Owner, layout: Layout, people: People
) -> None:
    """Slot by slot, before the squares."""
    model = largest_network()
    prepared = PreparedModel(model, layout)
    weights, constants = prepared._slots
    worst = 0.0
    for i in range(6):
        encrypt = owner.key.encrypt if i % 2 else owner.material.encrypt
        record = encrypt(people.record(i), layout)
        start, plain = sealapi.Ciphertext(), sealapi.Plaintext()
        evaluator().mod_switch_to(record.ciphertext, parms_id(4), start)
        found = prepared._affine(start, owner.material, True)
        sealapi.Decryptor(seal_context(), owner.key._secret).decrypt(found, plain)
        slots = np.array(encoder().decode_double(plain)).reshape(constants.shape)
        true = (weights * layout.place(people.record(i))).sum(axis=0) + constants
        worst = max(worst, float(np.abs(slots - true).max()))
    assert isinstance(model.body, Network)
    assert worst < min(model.body.noise(model.inputs))


# ---- What fits what ----


def test_a_record_of_another_layout_or_key_is_refused(
    owner: Owner, stranger: Owner, layout: Layout, fitted: dict[str, Model]
) -> None:
    document = framingham.layout_document()
    other = layout_of({**document, "variables": document["variables"][::-1]})
    prepared = PreparedModel(fitted["linear"], layout)
    with pytest.raises(RecordDoesNotFit, match="layout"):
        prepared.score(owner.material, owner.key.encrypt({"age": 50}, other))
    with pytest.raises(RecordDoesNotFit, match="key"):
        prepared.score(owner.material, stranger.key.encrypt({"age": 50}, layout))


def test_the_order_of_a_layout_makes_no_difference(
    owner: Owner, layout: Layout, fitted: dict[str, Model], people: People
) -> None:
    document = framingham.layout_document()
    more = {"name": "unused", "lower": "-5", "upper": "5"}
    other = layout_of({**document, "variables": [more, *document["variables"][::-1]]})
    model = fitted["network"]
    values = people.record(3)
    score = PreparedModel(model, other).score(
        owner.material, owner.material.encrypt({**values, "unused": 2}, other)
    )
    assert decrypted(owner, model, score) == pytest.approx(model.plain(values), abs=1e-4)


@pytest.mark.parametrize("field", ["name", "lower", "upper"])
def test_a_model_over_what_the_record_does_not_have_is_refused(
    field: str, fitted: dict[str, Model]
) -> None:
    document = copy.deepcopy(framingham.layout_document())
    document["variables"][0][field] = {"name": "years", "lower": "29", "upper": "75"}[field]
    with pytest.raises(ModelDoesNotFit, match="age"):
        PreparedModel(fitted["linear"], layout_of(document))


def test_nothing_that_scores_holds_a_secret(
    owner: Owner, layout: Layout, fitted: dict[str, Model], people: People
) -> None:
    """What the operator has is bytes: material and record, read again."""
    material = Material.from_bytes(owner.material.data)
    record = EncryptedRecord.from_bytes(owner.key.encrypt(people.record(1), layout).data)
    score = PreparedModel(fitted["logistic"], layout).score(material, record)
    shown = open_score(
        owner.key,
        EncryptedScore.from_bytes(score.data),
        fitted["logistic"],
        record,
        people.record(1),
    )
    assert float(shown.for_the_owner()) == pytest.approx(
        fitted["logistic"].plain(people.record(1)), abs=1e-3
    )
    assert len(score.data) == 82_065


def test_sums_take_every_row_once(owner: Owner) -> None:
    """Rows 0 to 63 hold powers of a number, so that a missing or repeated one shows."""
    rows = np.arange(64.0)[:, None] ** 1.5 / 512 + np.zeros((64, 64))
    plain, encrypted = sealapi.Plaintext(), sealapi.Ciphertext()
    encoder().encode(rows.ravel().tolist(), SCALE**2, plain)
    sealapi.Encryptor(seal_context(), owner.key._secret).encrypt_symmetric(plain, encrypted)
    total = add_up(encrypted, owner.material)
    sealapi.Decryptor(seal_context(), owner.key._secret).decrypt(total, plain)
    found = np.array(encoder().decode_double(plain))
    assert found == pytest.approx(np.full(4096, rows[:, 0].sum()), abs=1e-3)
