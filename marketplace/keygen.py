"""Carrying a key generation between custodians: any machine can, and none is trusted with more than delivery.

    outcome = generate(chain, admin_key, dealers, holders, Session(...))
    record(sender, outcome, len(holders))

The rounds are those of `wire.keygen`. A custodian that does not answer is left out where that is possible,
and named; what is said leaves this process as it came, since everything is signed.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.chain.sender import Sender
from marketplace.errors import Refusal
from marketplace.peers import Peer, ask_all
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.http import hash_field, hex_field, to_hex
from marketplace.wire.keygen import (
    ANSWER,
    COMMIT,
    COMPLAIN,
    FINISH,
    REVEAL,
    KeygenCall,
    KeygenFailed,
    Session,
)
from marketplace.wire.structs import JointKey, require_signed, sign
from ml.homomorphic.curve import POINT_BYTES

Told = Callable[[str], None]


@dataclass(frozen=True)
class Generated:
    """A joint key with the signatures of those who hold a share of it, and who was at fault or silent."""

    epoch: int
    commitments: bytes
    transcript: bytes
    signatures: tuple[tuple[int, bytes], ...]  # (place, signature), places ascending
    absent: Mapping[int, str] = field(default_factory=dict)


def new_session(chain: Chain, epoch: int, origin: int = 0) -> Session:
    """A fresh attempt at a key for `epoch`; `origin` names the epoch whose key is re-shared, 0 a new one."""
    committee = chain.manifest.address("CustodianCommittee")
    return Session(chain.chain_id, committee, epoch, origin, secrets.token_bytes(32))


def generate(
    chain: Chain, admin: bytes, dealers: Sequence[Peer], holders: Sequence[Peer], session: Session
) -> Generated:
    """Leads a session through its rounds.

    Args:
        admin: key of an account with the role ADMIN of the committee: custodians generate at nobody else's
        word. dealers, holders: by place; the same ones for a new key.

    Raises:
        KeygenFailed: naming the custodians that were at fault or silent. BadSignature.
    """
    call = _Call(session, sign(KeygenCall(session.id), chain.domain("CustodianCommittee"), admin))
    commits = call.ask(dealers, COMMIT, {})
    dealt = call.ask(_of(dealers, commits), REVEAL, {"commits": commits})
    said = {"commits": commits, "dealt": dealt}
    complaints = call.ask(holders, COMPLAIN, said)
    said = {**said, "complaints": complaints}
    blamed = {dealer for each in complaints for dealer in each["dealers"]}
    asked = {place: dealers[place] for place in sorted(blamed) if place < len(dealers)}
    answers = call.ask(asked, ANSWER, said) if asked else []
    finished = call.ask(_of(holders, complaints), FINISH, {**said, "answers": answers})
    return _agreed(chain, session, finished, call.absent)


def record(sender: Sender, generated: Generated, holders: int) -> None:
    """Puts a joint key on chain of which every one of `holders` custodians has a share.

    Raises:
        Refusal: `keygen_incomplete`, naming who has none; nothing was recorded then. ContractRefusal.
    """
    missing = set(range(holders)) - {place for place, _ in generated.signatures}
    if missing:
        named = ", ".join(str(place + 1) for place in sorted(missing))
        raise Refusal(
            code="keygen_incomplete",
            message=f"Custodians {named} hold no share of this key. Nothing was recorded.",
            remedy="Start them and run it again, or open an epoch without them.",
            facts={"absent": {str(place): why for place, why in generated.absent.items()}},
        )
    sender.send(
        "CustodianCommittee",
        "recordJointKey",
        generated.epoch,
        generated.commitments,
        generated.transcript,
        list(generated.signatures),
    )


class _Call:
    """Asks custodians in one session, and remembers who could not be reached or refused."""

    def __init__(self, session: Session, signature: bytes) -> None:
        self._head = {
            "session": {
                "epoch": session.epoch,
                "origin": session.origin,
                "nonce": to_hex(session.nonce),
            },
            "signature": to_hex(signature),
        }
        self.absent: dict[int, str] = {}

    def ask(
        self,
        peers: Sequence[Peer] | Mapping[int, Peer],
        number: int,
        said: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        """Their words, by place ascending; without those who gave none."""
        by_place = peers if isinstance(peers, Mapping) else dict(enumerate(peers))
        places = sorted(by_place)
        body = {**self._head, "round": number, "said": dict(said)}
        answers = ask_all(
            len(places), lambda at: by_place[places[at]].post("/keygen", body), lambda _: False
        )
        found = []
        for at, answer in sorted(answers.items()):
            if isinstance(answer, Refusal):
                self.absent[places[at]] = f"round {number}: {answer.message}"
            else:
                found.append(answer)
        return found


def _of(peers: Sequence[Peer], words: Sequence[Mapping[str, Any]]) -> dict[int, Peer]:
    places = {word.get("place") for word in words}
    return {place: peer for place, peer in enumerate(peers) if place in places}


def _agreed(
    chain: Chain,
    session: Session,
    finished: Sequence[Mapping[str, Any]],
    absent: Mapping[int, str],
) -> Generated:
    """The outcome that a quorum signed."""
    committee = chain.committee(session.epoch)
    domain = chain.domain("CustodianCommittee")
    most = POINT_BYTES * committee.quorum
    good: dict[int, tuple[tuple[bytes, bytes], bytes]] = {}
    for each in finished:
        outcome = (
            hex_field(each.get("commitments"), "commitments", most),
            hash_field(each.get("transcript"), "transcript"),
        )
        place = each.get("place")
        if not isinstance(place, int) or not 0 <= place < len(committee.members):
            continue
        signature = hex_field(each.get("signature"), "signature", MOST_SIGNATURE)
        struct = JointKey(session.epoch, *outcome)
        require_signed(struct, domain, signature, committee.members[place].signer)
        good[place] = (outcome, signature)
    counted = Counter(outcome for outcome, _ in good.values()).most_common(1)
    if not counted or counted[0][1] < committee.quorum:
        named = " ".join(f"Place {place}, {why}" for place, why in sorted(absent.items()))
        raise KeygenFailed(
            message=f"No quorum of {committee.quorum} signed one joint key. {named}".strip(),
            remedy="Start the missing custodians, then generate again.",
            facts={"absent": {str(place): why for place, why in absent.items()}},
        )
    agreed = counted[0][0]
    signed = sorted((place, sig) for place, (outcome, sig) in good.items() if outcome == agreed)
    return Generated(session.epoch, *agreed, tuple(signed), dict(absent))
