"""usufruct-receipt/1: one settled request as one canonical JSON document; /2, of the homomorphic lane, has a
`tally` beside.

A one-way door: what is written here is read for ever. Every value has exactly one spelling (lower
case hex, checksummed addresses, decimals without leading zeros, padded base64), so two receipts
that differ in a byte differ in what they say. Nothing in it is secret: the result is sealed to its
researcher, and members are named only by place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marketplace.errors import Refusal
from marketplace.receipts.fields import Fields, require_shallow
from marketplace.receipts.parts import (
    CohortPart,
    CommitteePart,
    Contract,
    Deployment,
    ReceiptInvalid,
    Shard,
    Step,
    invalid,
)
from marketplace.receipts.tally_part import MOST_TALLY, TallyPart, read_tally
from marketplace.vocabulary import Address, Epoch
from marketplace.wire.canonical import canonical, parse_canonical
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.roots import MOST_SHARDS, SHARD_WORDS, WORD_BYTES, SealedShard
from marketplace.wire.solidity import malformed
from marketplace.wire.structs import RequestTerms, Settlement
from marketplace.wire.terms import class_id, index_of

__all__ = [
    "SCHEMA",
    "SIGNATURE_BYTES",
    "STEPS",
    "WITH_TALLY",
    "CohortPart",
    "CommitteePart",
    "Contract",
    "Deployment",
    "Receipt",
    "ReceiptInvalid",
    "Shard",
    "Step",
    "invalid",
    "load",
]

SCHEMA = "usufruct-receipt/1"
WITH_TALLY = "usufruct-receipt/2"
LARGEST = 1 << 23
"""Bytes: 64 full shards in base64 are 7 MB."""
MOST = {SCHEMA: LARGEST, WITH_TALLY: LARGEST + MOST_TALLY}
MOST_BITMAPS = SHARD_WORDS * WORD_BYTES
MOST_RESULT = 1 << 17  # bytes; a transaction cannot carry more
MOST_CUSTODIANS = 16
SIGNATURE_BYTES = 65
STEPS = ("opened", "frozen", "sealed", "settled")
"""The life of a settled request, each with its block and transaction."""


@dataclass(frozen=True)
class Receipt:
    """The whole of it; see the module's docstring. Money in token units, cost in nano-rho."""

    deployment: Deployment
    request: bytes
    researcher: Address
    terms: RequestTerms
    analysis: str
    parameters: str  # canonical, exactly as hashed
    epoch: Epoch
    committee: CommitteePart
    gate: Address
    gate_key: bytes
    cohort: CohortPart
    settlement: Settlement
    signatures: tuple[tuple[int, bytes], ...]
    sealed_result: bytes = field(repr=False)
    steps: Mapping[str, Step]
    cost: int
    price: int
    fee: int
    tally: TallyPart | None = None  # of the homomorphic lane, and of no other

    def to_json(self) -> dict[str, Any]:
        """The document, in the one form that `load` reads."""
        return {
            "schema": SCHEMA if self.tally is None else WITH_TALLY,
            "chain_id": self.deployment.chain_id,
            "genesis_hash": to_hex(self.deployment.genesis_hash),
            "deployed_block": self.deployment.deployed_block,
            "contracts": {
                name: {"address": each.address, "code_hash": to_hex(each.code_hash)}
                for name, each in self.deployment.contracts.items()
            },
            "request": to_hex(self.request),
            "researcher": self.researcher,
            "terms": self.terms.to_json(),
            "analysis": self.analysis,
            "parameters": self.parameters,
            "epoch": self.epoch,
            "committee": {
                "signers": list(self.committee.signers),
                "quorum": self.committee.quorum,
            },
            "gate": self.gate,
            "gate_key": to_hex(self.gate_key),
            "cohort": _cohort_to_json(self.cohort),
            "settlement": self.settlement.to_json(),
            "signatures": [
                {"place": place, "signature": to_hex(signature)}
                for place, signature in self.signatures
            ],
            "sealed_result": to_base64(self.sealed_result),
            "blocks": {name: step.block for name, step in self.steps.items()},
            "block_hashes": {name: to_hex(step.block_hash) for name, step in self.steps.items()},
            "transactions": {name: to_hex(step.transaction) for name, step in self.steps.items()},
            "cost": str(self.cost),
            "price": str(self.price),
            "fee": str(self.fee),
            **({} if self.tally is None else {"tally": self.tally.to_json()}),
        }

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is kept, sent and hashed."""
        return canonical(self.to_json())


def load(document: Mapping[str, Any] | bytes) -> Receipt:
    """A receipt from its document or its canonical bytes; says nothing yet of its truth.

    Raises:
        ReceiptInvalid: step `format`, naming the field that is missing, unknown or misspelt.
    """
    schema = SCHEMA
    try:
        raw = document if isinstance(document, bytes) else canonical(document)
        require_shallow(raw)
        if f'"schema":"{WITH_TALLY}"'.encode() in raw:
            schema = WITH_TALLY
        content = parse_canonical(raw, limit=MOST[schema])
        receipt = _read(content)
    except Refusal as refusal:
        raise ReceiptInvalid(
            message=f"The receipt cannot be read. {refusal.message}",
            remedy=f"Give the receipt exactly as it was issued ({SCHEMA}, or {WITH_TALLY} of the homomorphic "
            "lane).",
            field=refusal.field,
            facts={"step": "format"},
        ) from refusal
    _require_one_spelling(receipt.to_json(), content)
    return receipt


def _require_one_spelling(
    written: Mapping[str, Any], given: Mapping[str, Any], inside: str = ""
) -> None:
    for key in sorted(written):
        if key == "tally":
            _require_one_spelling(written[key], given[key], "tally.")
        elif canonical(written[key]) != canonical(given[key]):
            raise invalid("format", f"{inside}{key}", "is not in its one canonical spelling")


_KEYS = {
    "schema",
    "chain_id",
    "genesis_hash",
    "deployed_block",
    "contracts",
    "request",
    "researcher",
    "terms",
    "analysis",
    "parameters",
    "epoch",
    "committee",
    "gate",
    "gate_key",
    "cohort",
    "settlement",
    "signatures",
    "sealed_result",
    "blocks",
    "block_hashes",
    "transactions",
    "cost",
    "price",
    "fee",
}


def _read(content: Any) -> Receipt:
    has_tally = isinstance(content, dict) and "tally" in content
    fields = Fields(content, "receipt", _KEYS | {"tally"} if has_tally else _KEYS)
    fields.constant("schema", WITH_TALLY if has_tally else SCHEMA)
    terms = RequestTerms.from_json(fields.value("terms"), "terms.")
    return Receipt(
        deployment=_deployment(fields),
        request=fields.hash("request"),
        researcher=fields.address("researcher"),
        terms=terms,
        analysis=fields.text("analysis"),
        parameters=fields.text("parameters"),
        epoch=Epoch(fields.number("epoch", 32)),
        committee=_committee(fields.inside("committee", {"signers", "quorum"})),
        gate=fields.address("gate"),
        gate_key=fields.hash("gate_key"),
        cohort=_cohort(fields.inside("cohort", _COHORT_KEYS), terms.dataset),
        settlement=Settlement.from_json(fields.value("settlement"), "settlement."),
        signatures=_signatures(fields),
        sealed_result=fields.binary("sealed_result", MOST_RESULT),
        steps=_steps(fields),
        cost=fields.decimal("cost", 56),
        price=fields.decimal("price", 56),
        fee=fields.decimal("fee", 64),
        tally=read_tally(fields) if has_tally else None,
    )


def _deployment(fields: Fields) -> Deployment:
    contracts = fields.mapping("contracts")
    found = {}
    for name in contracts:
        inner = Fields(contracts[name], f"contracts.{name[:40]}", {"address", "code_hash"})
        found[name] = Contract(inner.address("address"), inner.hash("code_hash"))
    if "ResearchMarket" not in found:
        raise invalid("format", "contracts.ResearchMarket", "is missing")
    return Deployment(
        chain_id=fields.number("chain_id", 53),
        genesis_hash=fields.hash("genesis_hash"),
        deployed_block=fields.number("deployed_block", 53),
        contracts=found,
    )


def _committee(fields: Fields) -> CommitteePart:
    return CommitteePart(fields.addresses("signers", MOST_CUSTODIANS), fields.number("quorum", 8))


_COHORT_KEYS = {"members", "seal_block", "seal_block_hash", "root", "shards"}
_SHARD_KEYS = {"class", "shard", "members", "root", "bitmaps"}


def _cohort_to_json(cohort: CohortPart) -> dict[str, Any]:
    return {
        "members": cohort.members,
        "seal_block": cohort.seal_block,
        "seal_block_hash": to_hex(cohort.seal_block_hash),
        "root": to_hex(cohort.root),
        "shards": [
            {
                "class": index_of(each.sealed.class_id),
                "shard": each.sealed.shard,
                "members": each.members,
                "root": to_hex(each.root),
                "bitmaps": to_base64(each.sealed.bitmaps),
            }
            for each in cohort.shards
        ],
    }


def _cohort(fields: Fields, dataset: bytes) -> CohortPart:
    shards = fields.items("shards", MOST_SHARDS)
    return CohortPart(
        members=fields.number("members", 32),
        seal_block=fields.number("seal_block", 53),
        seal_block_hash=fields.hash("seal_block_hash"),
        root=fields.hash("root"),
        shards=tuple(
            _shard(Fields(each, f"cohort.shards[{i}]", _SHARD_KEYS), dataset)
            for i, each in enumerate(shards)
        ),
    )


def _shard(fields: Fields, dataset: bytes) -> Shard:
    index = fields.number("class", 16)
    if index == 0:
        raise malformed(fields.name("class"), "must be a class index from 1 to 65535")
    return Shard(
        sealed=SealedShard(
            class_id(dataset, index),
            fields.number("shard", 16),
            fields.binary("bitmaps", MOST_BITMAPS),
        ),
        members=fields.number("members", 32),
        root=fields.hash("root"),
    )


def _signatures(fields: Fields) -> tuple[tuple[int, bytes], ...]:
    items = fields.items("signatures", MOST_CUSTODIANS)
    read = [Fields(each, f"signatures[{i}]", _SIGNED) for i, each in enumerate(items)]
    return tuple((each.number("place", 8), each.hex("signature", SIGNATURE_BYTES)) for each in read)


_SIGNED = {"place", "signature"}


def _steps(fields: Fields) -> dict[str, Step]:
    blocks = fields.inside("blocks", set(STEPS))
    hashes = fields.inside("block_hashes", set(STEPS))
    transactions = fields.inside("transactions", set(STEPS))
    return {
        name: Step(blocks.number(name, 53), hashes.hash(name), transactions.hash(name))
        for name in STEPS
    }
