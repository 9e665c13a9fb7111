"""Carrying a key generation between custodians: any machine can, and none is trusted with more than delivery.

    outcome = generate(chain, admin_key, dealers, holders, new_session(chain, epoch))
    record(sender, outcome, len(holders))

The rounds are those of `wire.keygen`. Each word is held against its speaker's key before it is passed on:
one that is malformed, of another session or signed by another stays here, and its speaker is named, since
everybody who was shown it would refuse. A custodian that does not answer is left out where that is possible,
and named; what is said leaves this process as it came, since everything is signed.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.chain.sender import Sender
from marketplace.errors import BadParameter, Refusal
from marketplace.keygen.faults import Fault, facts_of, remedy_of, told
from marketplace.keygen.talk import DEALER, HOLDER, Talk
from marketplace.peers import Peer
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.http import hash_field, hex_field, require_keys
from marketplace.wire.keygen import (
    ANSWER,
    COMMIT,
    COMPLAIN,
    FINISH,
    REVEAL,
    SESSION_SECONDS,
    Outcome,
    Session,
)
from marketplace.wire.structs import JointKey, require_signed
from ml.homomorphic.curve import POINT_BYTES


@dataclass(frozen=True)
class Generated:
    """A joint key with the signatures of those who hold a share of it, and who was at fault or silent."""

    epoch: int
    commitments: bytes
    transcript: bytes
    signatures: tuple[tuple[int, bytes], ...]  # (place, signature), places ascending
    faults: tuple[Fault, ...] = ()


def new_session(chain: Chain, epoch: int, origin: int = 0) -> Session:
    """A fresh attempt at a key for `epoch`; `origin` names the epoch whose key is re-shared, 0 a new one."""
    committee = chain.manifest.address("CustodianCommittee")
    deadline = chain.nudge().timestamp + SESSION_SECONDS
    return Session(chain.chain_id, committee, epoch, origin, secrets.token_bytes(32), deadline)


def generate(
    chain: Chain, admin: bytes, dealers: Sequence[Peer], holders: Sequence[Peer], session: Session
) -> Generated:
    """Leads a session through its rounds.

    Args:
        admin: key of an account with the role ADMIN of the committee: custodians generate at nobody else's
        word. dealers, holders: by place; the same ones for a new key.

    Raises:
        KeygenFailed, KeygenExpired: naming the custodians that were at fault or silent. BadParameter: not
        one peer for each member.
    """
    talk = Talk(chain, admin, dealers, holders, session)
    talk.ask(COMMIT, talk.everybody(DEALER))
    talk.require_dealers()
    talk.ask(REVEAL, talk.spoke(COMMIT, DEALER))
    talk.ask(COMPLAIN, talk.everybody(HOLDER))
    talk.ask(ANSWER, talk.blamed())
    outcome = talk.outcome()
    finished = talk.ask(FINISH, talk.finishing(outcome))
    return _signed(talk, outcome, finished)


def record(sender: Sender, generated: Generated, holders: int) -> None:
    """Puts a joint key on chain of which every one of `holders` custodians has a share.

    Raises:
        Refusal: `keygen_incomplete`, naming who has none; nothing was recorded then. ContractRefusal.
    """
    missing = sorted(set(range(holders)) - {place for place, _ in generated.signatures})
    if missing:
        named = ", ".join(map(str, missing))
        raise Refusal(
            code="keygen_incomplete",
            message=f"The custodians at places {named} did not sign this key. Nothing was recorded. "
            f"{told(generated.faults)}".strip(),
            remedy=remedy_of(generated.faults),
            facts={"missing": missing, **facts_of(generated.faults)},
        )
    sender.send(
        "CustodianCommittee",
        "recordJointKey",
        generated.epoch,
        generated.commitments,
        generated.transcript,
        list(generated.signatures),
    )


def _signed(talk: Talk, outcome: Outcome, finished: Mapping[int, Mapping[str, Any]]) -> Generated:
    """The key with its signatures; of the outcome that follows from what was said, and of no other."""
    struct = JointKey(talk.session.epoch, outcome.raw, outcome.transcript)
    signatures: dict[int, bytes] = {}
    for place, each in finished.items():
        try:
            signatures[place] = _signature(talk, struct, place, each)
        except Refusal as fault:
            talk.note(HOLDER, place, f"round {FINISH}: {fault.message}")
    if len(signatures) < talk.holding.quorum:
        raise talk.failed(f"No quorum of {talk.holding.quorum} signed one joint key.")
    return Generated(
        talk.session.epoch,
        outcome.raw,
        outcome.transcript,
        tuple(sorted(signatures.items())),
        talk.faults,
    )


def _signature(talk: Talk, struct: JointKey, place: int, document: Mapping[str, Any]) -> bytes:
    entry = require_keys(document, {"place", "commitments", "transcript", "signature"}, at="word")
    signed = (
        hex_field(entry["commitments"], "word.commitments", POINT_BYTES * talk.holding.quorum),
        hash_field(entry["transcript"], "word.transcript"),
    )
    if entry["place"] != place or signed != (struct.commitments, struct.transcript):
        raise BadParameter(
            message="It signs another outcome than what was said leads to.",
            remedy="Look at that custodian, then start a new session.",
            field="word",
        )
    signature = hex_field(entry["signature"], "word.signature", MOST_SIGNATURE)
    require_signed(struct, talk.domain, signature, talk.holding.members[place].signer)
    return signature
