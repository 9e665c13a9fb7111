"""Makes receipt_tally.json, a receipt of the homomorphic lane and its bundle: python -m
tests.vectors.generate_tally_receipt

Noise, proofs and encryption draw at random, so that every run makes another one. What is committed is the
format for ever: only a new version of a format makes a new file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from marketplace.analyses.tallied import Tallied
from marketplace.analyses.tallies import TALLIES
from marketplace.analyses.variables import variables_of
from marketplace.receipts.bundle import Header, Member, Shown
from marketplace.receipts.checks import noise_of
from marketplace.receipts.format import Receipt, Step
from marketplace.receipts.tally_checks import session_of
from marketplace.receipts.tally_part import TallyPart
from marketplace.vocabulary import Address, Commitment
from marketplace.wire import dictionary as dictionaries
from marketplace.wire.analysis import parameters_hash
from marketplace.wire.delivery import ciphertext_root, delivery_hash
from marketplace.wire.http import to_hex
from marketplace.wire.record import record_commitment
from marketplace.wire.solidity import ZERO_ADDRESS, ZERO_HASH
from marketplace.wire.structs import HOMOMORPHIC, market_domain, sign
from marketplace.wire.tally import TallyHeader, column_root, prove_columns
from marketplace.wire.tallying import (
    Question,
    Reveal,
    encode_sealed,
    noised,
    own_recipient,
    recipient,
    result_hash,
)
from ml.homomorphic.curve import ORDER, Point, times_base
from ml.homomorphic.elgamal import COLUMN_BYTES, draw_randomness, encrypt
from ml.homomorphic.noise import contribute
from ml.homomorphic.threshold import (
    Sum,
    combine,
    decrypt_partially,
    sums_from_bytes,
    sums_to_bytes,
)
from tests.support.tally_world import ENCODED
from tests.unit.test_receipts import CUSTODIANS, sample, sample_cohort

FILE = Path(__file__).parent / "receipt_tally.json"
SCHEMA = "usufruct-vectors-tally-receipt/1"
DICTIONARY = dictionaries.from_json(ENCODED)
ASKED = {"variable": "systolic"}
COEFFICIENTS = [int.from_bytes(keccak(text=f"coefficient {j}"), "big") % ORDER for j in range(2)]
KEY = times_base(COEFFICIENTS[0])
OTHER_KEY = times_base(7)
ROWS = [(100, 1), (140, 0), (180, 1)]
PLACES = (0, 1, 2)


@dataclass(frozen=True)
class Made:
    """A receipt, its bundle, and the questions that they answer."""

    receipt: Receipt
    header: Header
    members: tuple[Member, ...]
    asked: Question

    @property
    def lines(self) -> list[bytes]:
        return [self.header.to_bytes(), *(each.to_bytes() for each in self.members)]


def tallied() -> tuple[Tallied, bytes]:
    """What is asked of the sample's records, and its parameters as they are hashed."""
    mean, encoding = TALLIES["mean.v1"], DICTIONARY.encoding
    parsed = mean.parse(ASKED, variables_of(DICTIONARY))
    if encoding is None:
        raise TypeError("the sample's dictionary has an encoding")
    return mean.tallied(parsed, encoding), mean.canonical(parsed)


def forms() -> list[Mapping[int, int]]:
    """Column -> coefficient of each sum."""
    if DICTIONARY.encoding is None:
        raise TypeError("the sample's dictionary has an encoding")
    return tallied()[0].forms(DICTIONARY.encoding)


def share(place: int) -> int:
    """f(place + 1)."""
    constant, slope = COEFFICIENTS
    return (constant + slope * (place + 1)) % ORDER


def shown(name: str, row: tuple[int, int], key: Point = KEY) -> Member:
    """A record under a key, of which the sample's question sees its columns."""
    if DICTIONARY.encoding is None:
        raise TypeError("the sample's dictionary has an encoding")
    values = DICTIONARY.encoding.values(row)
    columns = encrypt(values, draw_randomness(len(values)), key)
    used = sorted({column for form in forms() for column in form})
    parts = b"".join(columns[COLUMN_BYTES * at : COLUMN_BYTES * (at + 1)] for at in used)
    proof_hash, leaf = keccak(text=f"proof {name}"), keccak(text=f"vault {name}")
    header = TallyHeader(key.to_bytes(), column_root(columns), proof_hash)
    commitment = record_commitment(1, [leaf, header.leaf(DICTIONARY.hash())])
    if key != KEY:
        return Member(commitment, 1, leaf, header)
    path = tuple(prove_columns(columns, used))
    part = Shown(key.to_bytes(), len(values), proof_hash, parts, path)
    return Member(commitment, 1, leaf, part)


def untallied(name: str) -> Member:
    """A record without a part in the lane."""
    leaf = keccak(text=f"vault {name}")
    return Member(record_commitment(1, [leaf]), 1, leaf, None)


def members() -> tuple[Member, ...]:
    """Three records that add something, and two that count as null."""
    first, *others = (shown(f"p{i}", row) for i, row in enumerate(ROWS))
    return first, untallied("p3"), shown("p4", ROWS[0], OTHER_KEY), *others


def summed(shown_members: tuple[Member, ...]) -> list[Sum]:
    """What the forms make of the columns, one by one."""
    used = sorted({column for form in forms() for column in form})
    found = [Sum.zero() for _ in forms()]
    for member in shown_members:
        if isinstance(member.tally, Shown):
            columns = dict(zip(used, sums_from_bytes(member.tally.columns), strict=True))
            for i, form in enumerate(forms()):
                for column, factor in form.items():
                    found[i] = found[i] + columns[column] * factor
    return found


def make() -> Made:
    """A receipt and a bundle of no real chain, consistent in themselves."""
    base, counted = _asked(), members()
    tally, secret = tallied()[0], own_recipient(0x7E57)[0]
    shares = tally.shares(base.cost, base.committee.quorum)
    to = recipient(base.terms.delivery_key)
    question = Question(session_of(base), shares, to, len(base.committee.signers))
    reveals = {place: _reveal(question, place) for place in PLACES}
    commitments = tuple(
        (place, each.commitment(question.session.contributor(place), shares.quorum))
        for place, each in reveals.items()
    )
    sums = noised(summed(counted), [each.contribution for each in reveals.values()])
    part = TallyPart(
        places=PLACES,
        commitments=commitments,
        committed=Step(13, keccak(text="block committed"), keccak(text="transaction committed")),
        fixed=Step(14, keccak(text="block fixed"), keccak(text="transaction fixed")),
        joint_key=b"".join(times_base(each).to_bytes() for each in COEFFICIENTS),
        noised=sums_to_bytes(sums),
        partials=(),
    )
    receipt = _settled(replace(base, tally=part), counted, sums, secret)
    header = Header(receipt.request, DICTIONARY, tuple(reveals.items()))
    return Made(receipt, header, counted, question)


def _asked() -> Receipt:
    """The vault lane's sample, asked in this lane."""
    old = sample()
    terms = replace(
        old.terms,
        lane=HOMOMORPHIC,
        parameters=parameters_hash(tallied()[1]),
        delivery_key=own_recipient(0x7E57)[1],
        cost=50_000,
    )
    deployment = old.deployment
    request = terms.request_id(deployment.chain_id, deployment.market, old.researcher)
    return replace(
        old,
        terms=terms,
        cost=terms.cost,
        request=request,
        parameters=tallied()[1].decode(),
        gate=Address(ZERO_ADDRESS),
        gate_key=ZERO_HASH,
        cohort=sample_cohort(deployment, request, old.steps["sealed"]),
    )


def _reveal(question: Question, place: int) -> Reveal:
    by = question.session.contributor(place)
    drawn = {size: contribute(question.shares, size, KEY, by) for size in question.sizes}
    return Reveal(3, drawn[3], tuple(each.digest for each in drawn.values()))


def _settled(asked: Receipt, counted: tuple[Member, ...], sums: list[Sum], secret: int) -> Receipt:
    if asked.tally is None:
        raise TypeError("the sample has a tally")
    root = ciphertext_root([Commitment(each.commitment) for each in counted])
    noise, session = noise_of(asked), session_of(asked)
    aggregate = session.aggregate(root, noise, sums)
    to = times_base(secret)
    partials = {
        place: decrypt_partially(share(place), sums, to, session.partial(place, aggregate))
        for place in (0, 2)
    }
    quorum = asked.committee.quorum
    sealed = encode_sealed(
        combine({place + 1: each for place, each in partials.items()}, sums, quorum)
    )
    settlement = replace(
        asked.settlement,
        request=asked.request,
        root=asked.cohort.root,
        lane=HOMOMORPHIC,
        ciphertext_root=root,
        noise=noise,
        result_hash=result_hash(aggregate),
        delivery_hash=delivery_hash(sealed),
        gate=ZERO_ADDRESS,
    )
    domain = market_domain(asked.deployment.chain_id, asked.deployment.market)
    given = tuple((place, each.to_bytes()) for place, each in partials.items())
    return replace(
        asked,
        settlement=settlement,
        signatures=tuple((i, sign(settlement, domain, CUSTODIANS[i])) for i in (0, 2)),
        sealed_result=sealed,
        tally=replace(asked.tally, partials=given),
    )


def vectors() -> dict[str, Any]:
    """The file's content."""
    made = make()
    bundle = b"".join(made.lines)
    return {
        "schema": SCHEMA,
        "receipt": made.receipt.to_json(),
        "receipt_keccak": to_hex(keccak(made.receipt.to_bytes())),
        "bundle": [json.loads(line) for line in made.lines],
        "bundle_keccak": to_hex(keccak(bundle)),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
