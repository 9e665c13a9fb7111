"""A custodian's part in generating a joint key, round by round; see `wire.keygen` for the protocol.

What it said in a round is on disk before it leaves, and is said again to whoever shows the same; shown
something else, it refuses, and the session is over. So a process that dies at any point goes on where it
was, and nobody gets two answers out of it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from eth_hash.auto import keccak

from marketplace.chain.adapter import Chain
from marketplace.chain.views import CommitteeView
from marketplace.custodian.holders import known_holders, require_known
from marketplace.custodian.joint_shares import JointShares
from marketplace.custodian.journal import Journal
from marketplace.custodian.keys import Keys
from marketplace.custodian.models import KeygenRow
from marketplace.errors import Refusal
from marketplace.vocabulary import unsigned
from marketplace.wire import hpke
from marketplace.wire.canonical import canonical
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.http import (
    binary_field,
    hash_field,
    hex_field,
    require_keys,
    to_base64,
    to_hex,
)
from marketplace.wire.keygen import (
    ANSWER,
    COMMIT,
    COMPLAIN,
    FINISH,
    REVEAL,
    Dealt,
    KeygenCall,
    KeygenWord,
    Said,
    Session,
    answer_body,
    commit_body,
    complaint_body,
    dealing_of,
    outcome_of,
)
from marketplace.wire.structs import JointKey, recover, require_signed, sign
from ml.homomorphic.curve import POINT_BYTES, SCALAR_BYTES, Point, points_from_bytes, times_base
from ml.homomorphic.keygen import (
    DealingInvalid,
    Polynomial,
    deal,
    draw,
    is_share,
    joined_share,
)
from ml.homomorphic.scalars import scalars_from_bytes, scalars_to_bytes
from ml.homomorphic.threshold import share_key

X25519 = 1
MOST_DEALING = 16 * POINT_BYTES + 2 * SCALAR_BYTES
MOST_ENVELOPE = SCALAR_BYTES + hpke.OVERHEAD
T = TypeVar("T")


class KeygenRefused(Refusal):
    """A message of a key generation that this custodian does not take part in."""

    CODE = "keygen_refused"


@dataclass(frozen=True)
class _Seats:
    """Who deals and who holds in a session, by the chain."""

    session: Session
    dealers: CommitteeView
    holders: CommitteeView
    old: tuple[Point, ...] | None  # in a re-sharing, the commitments of the key that is kept

    @property
    def quorum(self) -> int:
        return self.holders.quorum

    @property
    def needed(self) -> int:
        return self.dealers.quorum


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
        self._shares = shares
        self._place = place
        self._lock = threading.Lock()

    def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What this custodian says in a round of a session, given what was said before it.

        Raises:
            KeygenRefused, BadSignature, BadParameter; KeygenFailed, naming the faulty dealers.
        """
        seats = self._seats(_session(body["session"], self._chain))
        self._require_wanted(seats.session, body["signature"])
        said = _Heard(seats, self._chain, body["said"])
        rounds = {
            COMMIT: self._commit,
            REVEAL: self._reveal,
            COMPLAIN: self._complain,
            ANSWER: self._answer,
            FINISH: self._finish,
        }
        number = unsigned(body["round"], 8, "round")
        if number not in rounds:
            raise _refused("There is no such round.", "round")
        with self._lock:
            return rounds[number](seats, said)

    # --- rounds

    def _commit(self, seats: _Seats, _: _Heard) -> dict[str, Any]:
        """The hash of this dealer's dealing."""
        self._require_dealer(seats)
        self._require_known_holders(seats)
        row = self._row(seats)
        if row.dealing is None:
            polynomial = draw(seats.quorum, self._constant(seats))
            dealing = deal(polynomial, seats.session.dealing_context(self._place)).to_bytes()
            row.dealing = dealing
            row.polynomial = self._locked(seats, polynomial)
            self._keep(row, "keygen-dealt", {"dealing": to_hex(keccak(dealing))})
        return self._word(seats, COMMIT, commit_body(_there(row.dealing)))

    def _reveal(self, seats: _Seats, said: _Heard) -> dict[str, Any]:
        """The dealing and its shares, once all hashes are seen."""
        self._require_dealer(seats)
        self._require_known_holders(seats)
        row = self._row(seats)
        commits = said.commits()
        if row.dealing is None or commits.get(self._place) != commit_body(row.dealing):
            raise _refused("This custodian committed to nothing that was shown.", "said.commits")
        if len(commits) < seats.needed:
            raise _refused(f"Fewer than {seats.needed} dealers committed.", "said.commits")
        self._require_same(row, "commits", _digest(commits))
        if row.envelopes is None:
            polynomial = self._unlocked(seats, row)
            envelopes = [
                self._envelope(seats, polynomial, each.place) for each in seats.holders.members
            ]
            row.commits, row.envelopes = _digest(commits), json.dumps(envelopes)
            self._keep(row, "keygen-revealed", {"commits": to_hex(row.commits)})
        envelopes = json.loads(_there(row.envelopes))
        read = tuple(binary_field(each, "envelope", MOST_ENVELOPE) for each in envelopes)
        word = self._word(seats, REVEAL, Dealt(_there(row.dealing), read).body)
        return word | {"dealing": to_hex(_there(row.dealing)), "envelopes": envelopes}

    def _complain(self, seats: _Seats, said: _Heard) -> dict[str, Any]:
        """The dealers whose share for this holder does not open, or is not the dealing's."""
        self._require_holder(seats)
        row = self._row(seats)
        commits, dealt = said.commits(), said.dealt()
        seen = _shown(commits, dealt)
        # As a dealer it showed its own only for these: nobody may have chosen a dealing afterwards.
        self._require_same(row, "commits", _digest(commits))
        self._require_same(row, "dealt", seen)
        if row.complaints is None:
            heard = Said(commits, dealt, {}, {})
            bad = [d for d in sorted(dealt) if not self._is_good(seats, heard, d)]
            row.dealt, row.complaints = seen, json.dumps(bad)
            self._keep(row, "keygen-checked", {"dealt": to_hex(seen), "complaints": bad})
        complaints = json.loads(_there(row.complaints))
        return self._word(seats, COMPLAIN, complaint_body(complaints)) | {"dealers": complaints}

    def _answer(self, seats: _Seats, said: _Heard) -> dict[str, Any]:
        """The shares that holders complained of, in the open."""
        self._require_dealer(seats)
        row = self._row(seats)
        complaints = said.complaints()
        seen = _digest({p: complaint_body(each) for p, each in complaints.items()})
        self._require_same(row, "answers", seen)
        polynomial = self._unlocked(seats, row)
        asking = sorted(p for p, dealers in complaints.items() if self._place in dealers)
        shares = {place: polynomial.share(place + 1) for place in asking}
        if row.answers is None:
            row.answers = seen
            self._keep(row, "keygen-answered", {"complaints": to_hex(seen), "places": asking})
        told = {str(place): _scalar(share) for place, share in shares.items()}
        return self._word(seats, ANSWER, answer_body(shares)) | {"shares": told}

    def _finish(self, seats: _Seats, said: _Heard) -> dict[str, Any]:
        """This holder's signature of the outcome; its share of the key is kept before that leaves."""
        self._require_holder(seats)
        row = self._row(seats)
        whole = Said(said.commits(), said.dealt(), said.complaints(), said.answers())
        seen = _shown(whole.commits, whole.dealt)
        if row.dealt != seen:
            raise _refused("This custodian checked other dealings than these.", "said.dealt")
        own = tuple(json.loads(_there(row.complaints)))
        if whole.complaints.get(self._place) != own:
            raise _refused(
                "This custodian's complaints were left out or changed.", "said.complaints"
            )
        outcome = outcome_of(seats.session, whole, seats.quorum, seats.needed, seats.old)
        share = joined_share(
            {d + 1: self._share(seats, whole, d) for d in outcome.qualified},
            resharing=seats.session.is_resharing,
        )
        if times_base(share) != share_key(outcome.commitments, self._place + 1):
            raise _refused("The share does not fit the key.", "said")
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

    # --- shares

    def _envelope(self, seats: _Seats, polynomial: Polynomial, holder: int) -> str:
        share = polynomial.share(holder + 1).to_bytes(SCALAR_BYTES, "big")
        public = seats.holders.members[holder].keys[X25519]
        info = seats.session.share_info(self._place, holder)
        return to_base64(hpke.seal(share, public, info))

    def _is_good(self, seats: _Seats, said: Said, dealer: int) -> bool:
        """Whether there is nothing to complain of: a dealing that everybody sees to be bad needs no
        complaint.
        """
        try:
            dealing = dealing_of(seats.session, said, dealer, seats.quorum, seats.old)
        except DealingInvalid:
            return True
        share = self._opened(seats, said, dealer)
        return share is not None and is_share(share, self._place + 1, dealing)

    def _share(self, seats: _Seats, said: Said, dealer: int) -> int:
        """What a qualified dealer gave this holder: in its envelope, or in the open."""
        if dealer in said.complaints.get(self._place, ()):
            return said.answers[dealer][self._place]
        share = self._opened(seats, said, dealer)
        if share is None:
            raise _refused("A share that was checked does not open any more.", "said.dealt")
        return share

    def _opened(self, seats: _Seats, said: Said, dealer: int) -> int | None:
        envelopes = said.dealt[dealer].envelopes
        key = seats.holders.members[self._place].keys[X25519]
        secret = self._keys.for_public(key)
        if secret is None:
            raise _refused(
                "This custodian lacks the key that the committee lists.", "session.epoch"
            )
        if len(envelopes) != len(seats.holders.members):
            return None
        info = seats.session.share_info(dealer, self._place)
        try:
            raw = hpke.open_envelope(envelopes[self._place], secret, info)
        except Refusal:
            return None
        return int.from_bytes(raw, "big") if len(raw) == SCALAR_BYTES else None

    # --- who

    def _seats(self, session: Session) -> _Seats:
        holders = self._chain.committee(session.epoch)
        if not session.is_resharing:
            return _Seats(session, holders, holders, None)
        dealers = self._chain.committee(session.origin)
        raw, _ = self._chain.joint_key(session.origin)
        if not raw or session.origin >= session.epoch:
            raise _refused("There is no key of an earlier epoch to re-share.", "session.origin")
        return _Seats(session, dealers, holders, points_from_bytes(raw))

    def _constant(self, seats: _Seats) -> int | None:
        if not seats.session.is_resharing:
            return None
        return self._shares.of(seats.session.origin).value

    def _require_wanted(self, session: Session, signature: Any) -> None:
        domain = self._chain.domain("CustodianCommittee")
        raw = hex_field(signature, "signature", MOST_SIGNATURE)
        caller = recover(KeygenCall(session.id), domain, raw)
        if not self._chain.has_role("CustodianCommittee", "ADMIN", caller):
            raise _refused("The session was not called by who opens epochs.", "signature")
        if self._chain.joint_key(session.epoch)[0]:
            raise _refused(f"Epoch {session.epoch} has its joint key.", "session.epoch")

    def _require_known_holders(self, seats: _Seats) -> None:
        """Before anything of a re-sharing is dealt or shown; see `holders`, which raises."""
        if seats.session.is_resharing:
            known = known_holders(self._data)
            found = require_known(self._chain, seats.session.epoch, seats.dealers, known)
            if found != seats.holders:
                raise _refused("The epoch's committee is not final yet.", "session.epoch")

    def _require_dealer(self, seats: _Seats) -> None:
        self._require_seat(seats.dealers, "dealer")

    def _require_holder(self, seats: _Seats) -> None:
        self._require_seat(seats.holders, "holder")

    def _require_seat(self, committee: CommitteeView, role: str) -> None:
        seated = {each.place: each.signer for each in committee.members}
        if seated.get(self._place) != self._keys.signer.address:
            raise _refused(f"This custodian is no {role} of the session.", "session")

    # --- memory

    def _row(self, seats: _Seats) -> KeygenRow:
        session = seats.session
        with self._journal.reading() as reading:
            row = reading.get(KeygenRow, session.id)
        return row or KeygenRow(session=session.id, epoch=session.epoch, origin=session.origin)

    def _keep(self, row: KeygenRow, kind: str, body: Mapping[str, Any]) -> None:
        with self._journal.writing() as session:
            session.merge(row)
            self._journal.append(session, kind, {"session": to_hex(row.session), **body})

    def _require_same(self, row: KeygenRow, field: str, seen: bytes) -> None:
        before = getattr(row, field)
        if before is not None and before != seen:
            raise _refused("In this session something else was shown before.", f"said.{field}")

    def _locked(self, seats: _Seats, polynomial: Polynomial) -> bytes:
        return self._keys.lock(scalars_to_bytes(polynomial.coefficients), seats.session.id)

    def _unlocked(self, seats: _Seats, row: KeygenRow) -> Polynomial:
        if row.polynomial is None:
            raise _refused("This custodian has dealt nothing in this session.", "session")
        raw = self._keys.unlock(row.polynomial, seats.session.id)
        return Polynomial(scalars_from_bytes(raw, ValueError))

    def _word(self, seats: _Seats, number: int, body: bytes) -> dict[str, Any]:
        word = KeygenWord(seats.session.id, number, self._place, body)
        domain = self._chain.domain("CustodianCommittee")
        signature = sign(word, domain, self._keys.signer.secret)
        return {"place": self._place, "body": to_hex(body), "signature": to_hex(signature)}


class _Heard:
    """What a message says that others said, each word held against its signer's key on chain."""

    def __init__(self, seats: _Seats, chain: Chain, document: Any) -> None:
        keys = {"commits", "dealt", "complaints", "answers"}
        self._said = require_keys(document, set(), frozenset(keys), at="said")
        self._seats = seats
        self._domain = chain.domain("CustodianCommittee")

    def commits(self) -> dict[int, bytes]:
        """Bodies by dealer."""
        found = {}
        for at, entry, place in self._entries("commits", self._seats.dealers, set()):
            found[place] = hash_field(entry["body"], f"{at}.body")
            self._require_signed(entry, at, COMMIT, place, found[place], self._seats.dealers)
        return found

    def dealt(self) -> dict[int, Dealt]:
        """Dealings and envelopes by dealer."""
        found = {}
        extra = {"dealing", "envelopes"}
        for at, entry, place in self._entries("dealt", self._seats.dealers, extra):
            listed = entry["envelopes"]
            sized = isinstance(listed, list) and len(listed) <= 16
            envelopes = listed if sized else [listed]
            found[place] = Dealt(
                hex_field(entry["dealing"], f"{at}.dealing", MOST_DEALING),
                tuple(
                    binary_field(e, f"{at}.envelopes[{i}]", MOST_ENVELOPE)
                    for i, e in enumerate(envelopes)
                ),
            )
            self._require_signed(entry, at, REVEAL, place, found[place].body, self._seats.dealers)
        return found

    def complaints(self) -> dict[int, tuple[int, ...]]:
        """Dealers complained of, by holder."""
        found = {}
        for at, entry, place in self._entries("complaints", self._seats.holders, {"dealers"}):
            found[place] = _places(entry["dealers"], f"{at}.dealers")
            body = complaint_body(found[place])
            self._require_signed(entry, at, COMPLAIN, place, body, self._seats.holders)
        return found

    def answers(self) -> dict[int, dict[int, int]]:
        """Shares in the open, by holder, by dealer."""
        found = {}
        for at, entry, place in self._entries("answers", self._seats.dealers, {"shares"}):
            shares = entry["shares"]
            if not isinstance(shares, dict) or len(shares) > 16:
                raise _refused("The shares are not named by place.", f"{at}.shares")
            found[place] = {
                unsigned(
                    int(holder) if holder.isdigit() else None, 8, f"{at}.shares"
                ): int.from_bytes(hash_field(share, f"{at}.shares"), "big")
                for holder, share in shares.items()
            }
            body = answer_body(found[place])
            self._require_signed(entry, at, ANSWER, place, body, self._seats.dealers)
        return found

    def _entries(
        self, kind: str, committee: CommitteeView, extra: set[str]
    ) -> list[tuple[str, dict[str, Any], int]]:
        listed = self._said.get(kind, [])
        if not isinstance(listed, list) or len(listed) > len(committee.members):
            raise _refused(f"{kind} is not a list of one entry a member.", f"said.{kind}")
        found: list[tuple[str, dict[str, Any], int]] = []
        for i, each in enumerate(listed):
            at = f"said.{kind}[{i}]"
            entry = require_keys(each, {"place", "body", "signature"} | extra, at=at)
            place = unsigned(entry["place"], 8, f"{at}.place")
            if place >= len(committee.members) or any(place == other for _, _, other in found):
                raise _refused("A place is unknown or repeated.", f"{at}.place")
            found.append((at, entry, place))
        return found

    def _require_signed(
        self,
        entry: Mapping[str, Any],
        at: str,
        number: int,
        place: int,
        body: bytes,
        committee: CommitteeView,
    ) -> None:
        signature = hex_field(entry["signature"], f"{at}.signature", MOST_SIGNATURE)
        word = KeygenWord(self._seats.session.id, number, place, body)
        require_signed(word, self._domain, signature, committee.members[place].signer)


def _session(document: Any, chain: Chain) -> Session:
    fields = require_keys(document, {"epoch", "origin", "nonce"}, at="session")
    return Session(
        chain.chain_id,
        chain.manifest.address("CustodianCommittee"),
        unsigned(fields["epoch"], 32, "session.epoch"),
        unsigned(fields["origin"], 32, "session.origin"),
        hash_field(fields["nonce"], "session.nonce"),
    )


def _places(listed: Any, at: str) -> tuple[int, ...]:
    if not isinstance(listed, list) or len(listed) > 16:
        raise _refused("The places are not a list.", at)
    places = tuple(unsigned(each, 8, at) for each in listed)
    if list(places) != sorted(set(places)):
        raise _refused("The places do not rise.", at)
    return places


def _digest(bodies: Mapping[int, bytes]) -> bytes:
    listed: Sequence[Any] = [[place, to_hex(bodies[place])] for place in sorted(bodies)]
    return bytes(keccak(canonical(list(listed))))


def _shown(commits: Mapping[int, bytes], dealt: Mapping[int, Dealt]) -> bytes:
    """Hash of all that dealers said; 255 is nobody's place."""
    return _digest({place: each.body for place, each in dealt.items()} | {255: _digest(commits)})


def _scalar(value: int) -> str:
    return to_hex(value.to_bytes(SCALAR_BYTES, "big"))


def _there(value: T | None) -> T:
    """What an earlier round left."""
    if value is None:
        raise _refused("An earlier round of this session is missing here.", "round")
    return value


def _refused(message: str, field: str) -> KeygenRefused:
    return KeygenRefused(
        message=message,
        remedy="Start a new session with what the custodians say now.",
        field=field,
    )
