"""Requests that were settled in the homomorphic lane, with what their operator kept of them."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marketplace.analyses.tallies import TALLIES
from marketplace.analyses.variables import variables_of
from marketplace.chain.adapter import Chain, NodeUnreachable
from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.keygen import generate, new_session
from marketplace.peers import Peer
from marketplace.receipts.build import build_receipt
from marketplace.receipts.bundling import Kept, write_bundle
from marketplace.sealing.seal import _seal
from marketplace.tallying import Decrypted, settlement_body
from marketplace.vocabulary import Epoch
from marketplace.wire import feldman
from marketplace.wire.delivery import delivery_hash
from marketplace.wire.dictionary import encode_row
from marketplace.wire.header import RecordHeader
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.http_client import post
from marketplace.wire.record import NONCE_BYTES, SealedRecord
from marketplace.wire.structs import sign
from marketplace.wire.tallying import encode_sealed, result_hash
from ml.homomorphic.threshold import (
    Sum,
    combine,
    decrypt_partially,
    sums_from_bytes,
    sums_to_bytes,
)
from tests.support.chain_world import account
from tests.support.custody_world import seats_of, served_custodian
from tests.support.nodes import any_node
from tests.support.tally_world import TallyWorld, _published, _ready

ANALYSIS = "mean.v1"
MEAN = {"variable": "systolic"}


@dataclass(frozen=True)
class Answered:
    """One settled request. Nothing in here asks a custodian."""

    market: TallyWorld
    request: bytes
    evidence: dict[str, Any]
    parameters: bytes
    spare: dict[str, Any]  # the partial decryption of a custodian that was not needed

    @property
    def chain(self) -> Chain:
        return self.market.world.chain

    def receipt(self) -> dict[str, Any]:
        return build_receipt(
            self.chain, self.request, ANALYSIS, self.parameters, evidence=self.evidence
        )

    def record(self, name: str) -> SealedRecord:
        """Somebody's, as it was sealed."""
        return self.market.world.records[account(name).address]

    def kept(self, commitments: Sequence[bytes]) -> Mapping[bytes, Kept]:
        records: dict[bytes, SealedRecord] = {
            each.commitment: each for each in self.market.world.records.values()
        }
        found = {each: records[each] for each in commitments if each in records}
        return {each: (RecordHeader.of(record), record.tally) for each, record in found.items()}

    def bundle(self, whole: bool = False) -> bytes:
        out, dictionary = io.BytesIO(), self.market.world.dictionary
        given = (self.chain, self.request, self.parameters, self.evidence, dictionary, self.kept)
        write_bundle(*given, out, whole)
        return out.getvalue()


def evidence_of(found: Decrypted) -> dict[str, Any]:
    """What an operator keeps of an answer."""
    return {
        "ciphertext_root": to_hex(found.parts[0].ciphertext_root),
        "noised": to_base64(found.parts[0].noised),
        "partials": [
            {"place": part.place, "partial": to_base64(part.partial)} for part in found.parts
        ],
        "reveals": [
            {"place": place, "reveal": reveal.to_json()}
            for place, reveal in sorted(found.reveals.items())
        ],
    }


def answer(
    market: TallyWorld, request: bytes, before: Sequence[str] = (), after: Sequence[str] = ()
) -> Answered:
    """A sealed request's mean, settled by the first two custodians. `before` and `after` name who erase their
    records before the noise is committed to, and once it is fixed.
    """
    tallying = market.tallying(request, ANALYSIS, MEAN)
    for name in before:
        market.world.erase(account(name))
    fixed = tallying.see_to_noise(market.world.sender, MEAN)
    for name in after:
        market.world.erase(account(name))
    found = tallying.decrypt(fixed, MEAN)
    spare = post(market.urls[2], "/partials", {"request": to_hex(request)}, timeout=60)
    return settle(market, request, found, {"place": 2, "partial": spare["partial"]})


def settle(
    market: TallyWorld, request: bytes, found: Decrypted, spare: Mapping[str, Any] | None = None
) -> Answered:
    """An answer brought on chain with the signatures of the first two custodians."""
    body = settlement_body(found)
    said = [post(url, "/tally-settlements", body, timeout=60) for url in market.urls[:2]]
    signatures = [(each["place"], bytes.fromhex(each["signature"][2:])) for each in said]
    settlement = found.settlement.abi_tuple()
    market.world.sender.send(
        "ResearchMarket", "settle", settlement, found.sealed_result, signatures
    )
    return Answered(market, request, evidence_of(found), _canonical(market), dict(spare or {}))


class Withholding(Peer):
    """A custodian that commits to noise and reveals none."""

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        if path == "/noise-reveals":
            raise NodeUnreachable(message="It is silent.", remedy="Go on without it.")
        return super().post(path, body, most=most)


def answer_falsely(
    market: TallyWorld, request: bytes, lie: Callable[[list[Sum]], list[Sum]]
) -> Answered:
    """A request whose quorum decrypts and signs other sums than the records': what `lie` makes of the true
    ones. Custodians in service would not; these are their keys. The third has its noise left out.
    """
    *others, last = market.peers
    peers = [*others, Withholding(last.name, last.url)]
    chain, places = market.world.chain, (0, 1)
    tallying = market.tallying(request, ANALYSIS, MEAN, peers)
    fixed = tallying.see_to_noise(market.world.sender, MEAN)
    assert list(tallying.left_out) == [2]
    found = tallying.decrypt(fixed, MEAN)
    question, true = market.question(request, ANALYSIS, MEAN), found.settlement
    sums = lie(sums_from_bytes(found.parts[0].noised))
    aggregate = question.session.aggregate(true.ciphertext_root, true.noise, sums)
    partials = {
        place: decrypt_partially(
            market.custodians[place].joint_shares.of(question.session.epoch).value,
            sums,
            question.recipient,
            question.session.partial(place, aggregate),
        )
        for place in places
    }
    by_index = {place + 1: each for place, each in partials.items()}
    sealed = encode_sealed(combine(by_index, sums, len(places)))
    settlement = replace(
        true, result_hash=result_hash(aggregate), delivery_hash=delivery_hash(sealed)
    )
    domain = chain.domain("ResearchMarket")
    keys = [market.custodians[place].keys.signer.secret for place in places]
    signatures = [
        (place, sign(settlement, domain, key)) for place, key in zip(places, keys, strict=True)
    ]
    market.world.sender.send("ResearchMarket", "settle", settlement.abi_tuple(), sealed, signatures)
    given = [
        {"place": place, "partial": to_base64(each.to_bytes())} for place, each in partials.items()
    ]
    evidence = evidence_of(found) | {
        "noised": to_base64(sums_to_bytes(sums)),
        "partials": given,
    }
    return Answered(market, request, evidence, _canonical(market), {})


def _canonical(market: TallyWorld) -> bytes:
    tally = TALLIES[ANALYSIS]
    return tally.canonical(tally.parse(MEAN, variables_of(market.world.dictionary)))


def enrol_without_tally(market: TallyWorld, name: str) -> None:
    """Somebody whose record has no part in the lane: it counts as null there."""
    patient, world = account(name), market.world
    committee = world.chain.committee()
    world.records[patient.address] = _seal(
        encode_row(world.dictionary, (120, 0)),
        world.record_context(patient.address),
        seats_of(committee),
        Epoch(committee.epoch),
        None,
        coefficients=feldman.draw_coefficients(feldman.random_scalar(), committee.quorum),
        nonce=secrets.token_bytes(NONCE_BYTES),
    )
    world.take_in(market.urls, [patient])


def enrol_under_an_earlier_key(
    market: TallyWorld, name: str, values: tuple[int | None, str | None]
) -> None:
    """Somebody whose record is of the first epoch, before the same custodians open the next with a key of its
    own: it counts as null there.
    """
    market.enrol({name: values})
    chain, sender = market.world.chain, market.world.sender
    before = chain.committee()
    seats = [CommitteeSeat(each.signer, each.keys[1]) for each in before.members]
    epoch = open_epoch(sender, seats, before.quorum, before.gates)
    peers = market.peers
    made = generate(chain, market.world.operator, peers, peers, new_session(chain, epoch))
    signatures = list(made.signatures)
    sender.send(
        "CustodianCommittee",
        "recordJointKey",
        epoch,
        made.commitments,
        made.transcript,
        signatures,
    )


@contextmanager
def receipts_market(folder: Path) -> Iterator[tuple[TallyWorld, ExitStack]]:
    """A market with custodians in threads; closing the stack takes all of them down, the node stays."""
    with any_node(folder) as node, ExitStack() as custodians:
        found = TallyWorld(_published(node, folder))
        for place in range(3):
            custodian = found.world.custodian(place)
            found.custodians[place] = custodian
            found.urls.append(custodians.enter_context(served_custodian(custodian)))
        _ready(found)
        yield found, custodians
