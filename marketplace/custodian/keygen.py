"""A custodian's part in generating a joint key, round by round; see `wire.keygen` for the protocol.

What it said in a round is on disk before it leaves, and is said again to whoever shows the same; shown
something else, it refuses, and the session is over. So a process that dies at any point goes on where it
was, and nobody gets two answers out of it. After the session's deadline it says nothing more, and once the
epoch's key is in a final block it has nothing left to say (`keygen_erasure`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from eth_hash.auto import keccak

from marketplace.chain.adapter import Chain
from marketplace.custodian.holders import known_holders, require_known
from marketplace.custodian.joint_shares import JointShares
from marketplace.custodian.journal import Journal
from marketplace.custodian.keygen_erasure import KeygenErasure
from marketplace.custodian.keygen_rows import KeygenRows
from marketplace.custodian.keygen_seats import (
    Seats,
    refused,
    require_called,
    require_keyless,
    seats_of,
    session_of,
)
from marketplace.custodian.keygen_shares import X25519, ReceivedShares
from marketplace.custodian.keys import Keys
from marketplace.custodian.models import KeygenRow
from marketplace.vocabulary import unsigned
from marketplace.wire import hpke
from marketplace.wire.canonical import canonical
from marketplace.wire.http import binary_field, to_base64, to_hex
from marketplace.wire.keygen import (
    ANSWER,
    COMMIT,
    COMPLAIN,
    FINISH,
    REVEAL,
    Dealt,
    KeygenFailed,
    Outcome,
    Said,
    answer_body,
    commit_body,
    complainants,
    complaint_body,
    outcome_of,
)
from marketplace.wire.keygen_words import MOST_ENVELOPE, answer_fields, dealt_fields, word
from marketplace.wire.structs import JointKey, sign
from ml.homomorphic.curve import SCALAR_BYTES, times_base
from ml.homomorphic.keygen import Polynomial, deal, draw, joined_share
from ml.homomorphic.threshold import share_key

T = TypeVar("T")


class Keygen:
    """Safe for threads; one message at a time."""

    def __init__(
        self,
        chain: Chain,
        journal: Journal,
        keys: Keys,
        shares: JointShares,
        place: int,
        data: Path,
    ) -> None:
        self._data = data
        self._chain = chain
        self._journal = journal
        self._keys = keys
        self._rows = KeygenRows(journal, keys)
        self._shares = shares
        self._received = ReceivedShares(keys, place)
        self._place = place
        self._lock = threading.Lock()
        own = keys.signer.address
        self._erasure = KeygenErasure(chain, journal, place, own, data, self._lock)

    def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What this custodian says in a round of a session, given what was said before it.

        Raises:
            KeygenRefused, KeygenExpired, BadSignature, BadParameter; KeygenFailed, naming the faulty
            dealers.
        """
        session = session_of(body["session"], self._chain)
        require_called(self._chain, session, body["signature"])
        seats = seats_of(self._chain, session)
        said = seats.words(self._chain).said(body["said"])
        rounds = {
            COMMIT: self._commit,
            REVEAL: self._reveal,
            COMPLAIN: self._complain,
            ANSWER: self._answer,
            FINISH: self._finish,
        }
        number = unsigned(body["round"], 8, "round")
        if number not in rounds:
            raise refused("There is no such round.", "round")
        with self._lock:
            require_keyless(self._chain, session)  # in here: what was erased is not written again
            return rounds[number](seats, said)

    def drop_ended(self) -> None:
        """Erases what generations left behind and nothing needs any more; see `KeygenErasure`."""
        self._erasure.run()

    # --- rounds

    def _commit(self, seats: Seats, _: Said) -> dict[str, Any]:
        """The hash of this dealer's dealing."""
        self._require_dealer(seats)
        row = self._rows.of(seats)
        if row.dealing is None:
            polynomial = draw(seats.quorum, self._constant(seats))
            dealing = deal(polynomial, seats.session.dealing_context(self._place)).to_bytes()
            row.dealing = dealing
            row.polynomial = self._rows.locked(seats, polynomial)
            self._rows.keep(row, "keygen-dealt", {"dealing": to_hex(keccak(dealing))})
        return self._word(seats, COMMIT, commit_body(_there(row.dealing)))

    def _reveal(self, seats: Seats, said: Said) -> dict[str, Any]:
        """The dealing and its shares, once all hashes are seen."""
        self._require_dealer(seats)
        row = self._rows.of(seats)
        commits = said.commits
        if row.dealing is None or commits.get(self._place) != commit_body(row.dealing):
            raise refused("This custodian committed to nothing that was shown.", "said.commits")
        if len(commits) < seats.needed:
            raise refused(f"Fewer than {seats.needed} dealers committed.", "said.commits")
        self._require_same(row, "commits", _digest(commits))
        if row.envelopes is None:
            polynomial = self._rows.unlocked(seats, row)
            envelopes = [
                self._envelope(seats, polynomial, each.place) for each in seats.holders.members
            ]
            row.commits, row.envelopes = _digest(commits), json.dumps(envelopes)
            self._rows.keep(row, "keygen-revealed", {"commits": to_hex(row.commits)})
        listed = json.loads(_there(row.envelopes))
        read = tuple(binary_field(each, "envelope", MOST_ENVELOPE) for each in listed)
        dealt = Dealt(_there(row.dealing), read)
        return self._word(seats, REVEAL, dealt.body) | dealt_fields(dealt)

    def _complain(self, seats: Seats, said: Said) -> dict[str, Any]:
        """The dealers whose share for this holder does not open, or is not the dealing's."""
        seats.require_holder(self._place, self._keys.signer.address)
        row = self._rows.of(seats)
        commits, dealt = said.commits, said.dealt
        seen = _shown(commits, dealt)
        # As a dealer it showed its own only for these: nobody may have chosen a dealing afterwards.
        self._require_same(row, "commits", _digest(commits))
        self._require_same(row, "dealt", seen)
        if row.complaints is None:
            heard = Said(commits, dealt, {}, {})
            bad = self._received.complaints(seats, heard)
            row.dealt, row.complaints = seen, json.dumps(bad)
            self._rows.keep(row, "keygen-checked", {"dealt": to_hex(seen), "complaints": bad})
        complaints = json.loads(_there(row.complaints))
        return self._word(seats, COMPLAIN, complaint_body(complaints)) | {"dealers": complaints}

    def _answer(self, seats: Seats, said: Said) -> dict[str, Any]:
        """The shares that holders complained of, in the open; fewer than a quorum of them, ever."""
        seats.require_dealer(self._place, self._keys.signer.address)
        row = self._rows.of(seats)
        asking = complainants(said, self._place)
        if len(asking) >= seats.quorum:
            raise refused(
                f"{len(asking)} holders complain of this dealer: it does not open a quorum of shares.",
                "said.complaints",
            )
        seen = _complaints(said)
        self._require_same(row, "answers", seen)
        _there(row.envelopes)
        shares = self._shares_of(seats, row, asking)
        if row.answers is None:
            row.answers = seen
            body = {"complaints": to_hex(seen), "places": list(asking)}
            self._rows.keep(row, "keygen-answered", body)
        return self._word(seats, ANSWER, answer_body(shares)) | answer_fields(shares)

    def _finish(self, seats: Seats, said: Said) -> dict[str, Any]:
        """This holder's signature of the outcome; its share of the key is kept before that leaves."""
        seats.require_holder(self._place, self._keys.signer.address)
        self._require_own_words(seats, said)
        outcome = outcome_of(seats.session, said, seats.quorum, seats.needed, seats.old)
        self._require_not_convicted(seats, outcome)
        share = joined_share(
            {d + 1: self._received.of(seats, said, d) for d in outcome.qualified},
            resharing=seats.session.is_resharing,
        )
        if times_base(share) != share_key(outcome.commitments, self._place + 1):
            raise refused("The share does not fit the key.", "said")
        if self._shares.held(outcome.raw) is None:
            with self._journal.writing() as session:
                epoch = seats.session.epoch
                self._shares.keep(session, epoch, outcome.raw, outcome.transcript, share)
        struct = JointKey(seats.session.epoch, outcome.raw, outcome.transcript)
        domain = self._chain.domain("CustodianCommittee")
        return {
            "place": self._place,
            "commitments": to_hex(outcome.raw),
            "transcript": to_hex(outcome.transcript),
            "signature": to_hex(sign(struct, domain, self._keys.signer.secret)),
        }

    def _require_own_words(self, seats: Seats, said: Said) -> None:
        """What others are shown of this custodian is what it said: whoever carries words left nothing out.

        Raises:
            KeygenRefused.
        """
        row = self._rows.of(seats)
        if row.dealt != _shown(said.commits, said.dealt):
            raise refused("This custodian checked other dealings than these.", "said.dealt")
        own = tuple(json.loads(_there(row.complaints)))
        if said.complaints.get(self._place) != own:
            raise refused(
                "This custodian's complaints were left out or changed.", "said.complaints"
            )
        if not seats.deals(self._place, self._keys.signer.address):
            return
        answered = None
        if row.answers is not None:
            self._require_same(row, "answers", _complaints(said))
            answered = self._shares_of(seats, row, complainants(said, self._place))
        if said.answers.get(self._place) != answered:
            raise refused("This custodian's answers were left out or changed.", "said.answers")

    def _require_not_convicted(self, seats: Seats, outcome: Outcome) -> None:
        """A custodian that finds itself at fault, by words of its own, signs no key.

        Something is wrong with its memory, its disk or its program, and who recorded a key with it could
        not take that back: every member of an epoch signs, so none is recorded.

        Raises:
            KeygenFailed, naming this custodian by place.
        """
        own = seats.deals(self._place, self._keys.signer.address)
        if not own or self._place not in outcome.convicted:
            return
        fault = outcome.faults[self._place]
        raise KeygenFailed(
            message=f"Place {self._place} is this custodian itself, and its own dealing does not count: "
            f"{fault}. It signs no key of this session.",
            remedy="Look for a fault of its host (memory, disk, an old copy of its data), then start a new "
            "session; or open an epoch without it.",
            facts={"faults": {str(self._place): fault}},
        )

    # --- shares

    def _shares_of(self, seats: Seats, row: KeygenRow, places: Sequence[int]) -> dict[int, int]:
        polynomial = self._rows.unlocked(seats, row)
        return {place: polynomial.share(place + 1) for place in places}

    def _envelope(self, seats: Seats, polynomial: Polynomial, holder: int) -> str:
        share = polynomial.share(holder + 1).to_bytes(SCALAR_BYTES, "big")
        public = seats.holders.members[holder].keys[X25519]
        info = seats.session.share_info(self._place, holder)
        return to_base64(hpke.seal(share, public, info))

    # --- who

    def _constant(self, seats: Seats) -> int | None:
        if not seats.session.is_resharing:
            return None
        return self._shares.of(seats.session.origin).value

    def _require_dealer(self, seats: Seats) -> None:
        """Before anything is dealt or shown: it deals, in a re-sharing to holders that its host knows; see
        `holders`, which raises.
        """
        seats.require_dealer(self._place, self._keys.signer.address)
        if seats.session.is_resharing:
            known = known_holders(self._data)
            found = require_known(self._chain, seats.session.epoch, seats.dealers, known)
            if found != seats.holders:
                raise refused("The epoch's committee is not final yet.", "session.epoch")

    # --- memory

    def _require_same(self, row: KeygenRow, field: str, seen: bytes) -> None:
        before = getattr(row, field)
        if before is not None and before != seen:
            raise refused("In this session something else was shown before.", f"said.{field}")

    def _word(self, seats: Seats, number: int, body: bytes) -> dict[str, Any]:
        domain = self._chain.domain("CustodianCommittee")
        secret = self._keys.signer.secret
        return word(seats.session, domain, secret, number, self._place, body)


def _digest(bodies: Mapping[int, bytes]) -> bytes:
    listed: Sequence[Any] = [[place, to_hex(bodies[place])] for place in sorted(bodies)]
    return bytes(keccak(canonical(list(listed))))


def _complaints(said: Said) -> bytes:
    """Hash of everybody's complaints."""
    return _digest({place: complaint_body(each) for place, each in said.complaints.items()})


def _shown(commits: Mapping[int, bytes], dealt: Mapping[int, Dealt]) -> bytes:
    """Hash of all that dealers said; 255 is nobody's place."""
    return _digest({place: each.body for place, each in dealt.items()} | {255: _digest(commits)})


def _there(value: T | None) -> T:
    """What an earlier round left."""
    if value is None:
        raise refused("An earlier round of this session is missing here.", "round")
    return value
