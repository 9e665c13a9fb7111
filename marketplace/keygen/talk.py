"""One session of key generation as whoever carries its words has it: who speaks, what was said and counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.chain.views import CommitteeView
from marketplace.errors import BadParameter, Refusal
from marketplace.keygen.faults import Fault, facts_of, remedy_of, told
from marketplace.peers import Peer, ask_all
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import SMALL_ANSWER
from marketplace.wire.keygen import (
    COMMIT,
    COMPLAIN,
    FINISH,
    KeygenExpired,
    KeygenFailed,
    Outcome,
    Session,
    complainants,
    outcome_of,
)
from marketplace.wire.keygen_words import KINDS, Words
from marketplace.wire.structs import sign
from ml.homomorphic.curve import points_from_bytes

DEALER = "dealer"
HOLDER = "holder"


class Talk:
    """One session: who speaks, what was said so far and counts, and whose word does not."""

    def __init__(
        self,
        chain: Chain,
        admin: bytes,
        dealers: Sequence[Peer],
        holders: Sequence[Peer],
        session: Session,
    ) -> None:
        domain = chain.domain("CustodianCommittee")
        self.chain, self.session, self.domain = chain, session, domain
        self.holding = chain.committee(session.epoch)
        dealing = chain.committee(session.origin) if session.is_resharing else self.holding
        self._seated = {DEALER: _signers(dealing), HOLDER: _signers(self.holding)}
        self._peers = {DEALER: tuple(dealers), HOLDER: tuple(holders)}
        for role, peers in self._peers.items():
            _require_all(role, peers, self._seated[role])
        self._needed = dealing.quorum
        self._words = Words(session, self._seated[DEALER], self._seated[HOLDER], domain)
        self._call = to_hex(sign(session.call, domain, admin))
        self._said: dict[str, list[dict[str, Any]]] = {}
        self._faults: list[Fault] = []

    # --- asking

    def ask(self, number: int, places: Sequence[int]) -> dict[int, dict[str, Any]]:
        """What the custodians at these places say in a round, by place; without those whose word does not
        count, who are noted.

        Raises:
            KeygenExpired.
        """
        self._require_time()
        peers = self._peers[_role(number)]
        body = {**self._head(), "round": number, "said": self._said}
        found = ask_all(
            len(places),
            lambda at: peers[places[at]].post("/keygen", body, most=SMALL_ANSWER),
            lambda _: False,
        )
        counting: dict[int, dict[str, Any]] = {}
        for at, each in sorted(found.items()):
            place = places[at]
            if isinstance(each, Refusal):
                why = f"round {number}: {each.message}"
                self.note(_role(number), place, why, each.remedy)
            elif self._counts(number, place, each):
                counting[place] = each
        if number in KINDS:
            self._said[KINDS[number]] = list(counting.values())
        return counting

    def _counts(self, number: int, place: int, document: dict[str, Any]) -> bool:
        try:
            if number in KINDS:
                self._words.require(number, place, document)
        except Refusal as fault:
            self.note(_role(number), place, f"round {number}: {fault.message}")
            return False
        return True

    def _head(self) -> dict[str, Any]:
        session = {
            "epoch": self.session.epoch,
            "origin": self.session.origin,
            "nonce": to_hex(self.session.nonce),
            "deadline": self.session.deadline,
        }
        return {"session": session, "signature": self._call}

    def _require_time(self) -> None:
        now = self.chain.now()
        if now > self.session.deadline:
            raise KeygenExpired.at(self.session.deadline, now, told(self._faults))

    def require_dealers(self) -> None:
        """Enough of them committed: the others would have nothing to show theirs for. Raises KeygenFailed."""
        if len(self._said[KINDS[COMMIT]]) < self._needed:
            raise self.failed(f"Fewer than {self._needed} dealers committed.")

    # --- whom

    def everybody(self, role: str) -> list[int]:
        """All places."""
        return list(range(len(self._peers[role])))

    def spoke(self, number: int, role: str) -> list[int]:
        """Places whose words of a round count."""
        said = {each["place"] for each in self._said[KINDS[number]]}
        return [place for place in self.everybody(role) if place in said]

    def blamed(self) -> list[int]:
        """Dealers that revealed, and of whom holders complain."""
        said = self._words.said(self._said)
        return [dealer for dealer in sorted(said.dealt) if complainants(said, dealer)]

    def finishing(self, outcome: Outcome) -> list[int]:
        """Holders that said whether they complain, without dealers convicted by their own words: who signed
        what contradicts itself is seated in no key before somebody has looked at it.
        """
        convicted = {self._seated[DEALER][place] for place in outcome.convicted}
        signers = self._seated[HOLDER]
        return [each for each in self.spoke(COMPLAIN, HOLDER) if signers[each] not in convicted]

    # --- what follows

    def outcome(self) -> Outcome:
        """What follows from all that was said; dealers at fault are noted. Raises KeygenFailed."""
        session, quorum, old = self.session, self.holding.quorum, None
        if session.is_resharing:
            old = points_from_bytes(self.chain.joint_key(session.origin)[0])
        try:
            found = outcome_of(session, self._words.said(self._said), quorum, self._needed, old)
        except KeygenFailed as failed:
            for place, why in failed.faults.items():
                self.note(DEALER, place, why)
            raise self.failed("No joint key can be formed of what was said.") from None
        for place, why in found.faults.items():
            self.note(DEALER, place, f"left out: {why}")
        return found

    def note(self, role: str, place: int, why: str, remedy: str = "") -> None:
        """Somebody was silent, or said what does not count."""
        signer = self._seated[role][place]
        self._faults.append(Fault(role, place, signer, why.rstrip(".") + ".", remedy))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """So far, in the order in which they were found."""
        return tuple(self._faults)

    def failed(self, message: str) -> KeygenFailed:
        """With everybody who was noted."""
        return KeygenFailed(
            message=f"{message} {told(self._faults)}".strip(),
            remedy=remedy_of(self._faults),
            facts=facts_of(self._faults),
        )


def _role(number: int) -> str:
    return HOLDER if number in (COMPLAIN, FINISH) else DEALER


def _signers(committee: CommitteeView) -> tuple[str, ...]:
    return tuple(each.signer for each in committee.members)


def _require_all(role: str, peers: Sequence[Peer], signers: Sequence[str]) -> None:
    if len(peers) != len(signers):
        raise BadParameter(
            message=f"{len(peers)} custodians were named as {role}s, and the epoch seats {len(signers)}.",
            remedy="Name each custodian of the epoch once, in the order of their places, also one that does "
            "not answer.",
            field=f"{role}s",
        )
