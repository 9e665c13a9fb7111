"""Generating the custodians' joint key, and re-sharing it: what they say to each other, and what follows
from it.

A coordinator carries messages; it is trusted with nothing but their delivery. Dealers are the members of
the epoch that gets the key, or, in a re-sharing, of the epoch that has it; holders are the members of the
epoch that gets it. Five rounds:

    1 dealers      the hash of a dealing (`ml.homomorphic.keygen`)
    2 dealers      once they see all hashes: the dealing, and for each holder a share, sealed to its key
    3 holders      of whom they complain: a share that does not open, or is not what the dealing says
    4 dealers      the shares that were complained of, in the open
    5 holders      the outcome, signed for the chain: commitments of the joint polynomial, and a hash of all
                   that was said

Everything is signed, by the keys that the committee lists (`wire.keygen_words`). Who was shown something else
than others signs another outcome, and then no quorum signs one. The outcome is a function of what was said
(`outcome_of`), so that everybody names the same faulty dealers.

A dealer of whom k holders or more complain is left out, and opens nothing: k shares are its polynomial, which
in a re-sharing begins with its old share (R. Gennaro, S. Jarecki, H. Krawczyk, T. Rabin, J. Cryptology 2007,
disqualify it for as many). Nothing is said in a session after its deadline, by the chain's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from eth_hash.auto import keccak

from marketplace.errors import Refusal
from marketplace.wire.canonical import tagged_hash
from marketplace.wire.eip712 import CUSTODIAN_COMMITTEE, SignedStruct
from marketplace.wire.solidity import Address, Bytes32, Uint8, Uint40
from ml.homomorphic.curve import SCALAR_BYTES, Point
from ml.homomorphic.keygen import Dealing, DealingInvalid, is_share, joined, verify_dealing
from ml.homomorphic.threshold import share_key

COMMIT: Final = 1
REVEAL: Final = 2
COMPLAIN: Final = 3
ANSWER: Final = 4
FINISH: Final = 5

SESSION_SECONDS: Final = 900
"""From a session's call to its deadline: five rounds, in each of which a silent custodian may take the two
minutes that a peer is given, and half as long again."""
MOST_SECONDS: Final = 3_600
"""A custodian takes no call whose deadline lies further ahead: a lost one is worth nothing for long."""


class KeygenFailed(Refusal):
    """A session that cannot end in a key; `facts["faults"]` says whose fault that is.

    faults: as `outcome_of` finds them, by dealer's place.
    """

    CODE = "keygen_failed"
    faults: Mapping[int, str] = MappingProxyType({})


class KeygenExpired(Refusal):
    """A session whose deadline has passed: nothing is said in it any more."""

    CODE = "keygen_expired"

    @classmethod
    def at(cls, deadline: int, now: int, named: str = "") -> KeygenExpired:
        """Both in unix seconds, by the chain's clock; `named` says who held it up, where that is known."""
        late = (
            f"The session's deadline passed {now - deadline} seconds ago, and no key was recorded."
        )
        return cls(
            message=f"{late} {named}".strip(),
            remedy="Look at the custodians that did not answer, then run generate-key again: it begins a "
            "new session, and nothing of this one counts.",
            field="session.deadline",
            facts={"deadline": deadline, "now": now},
        )


@dataclass(frozen=True)
class KeygenWord(SignedStruct):
    """What a custodian says in one round, by its hash."""

    DOMAIN = CUSTODIAN_COMMITTEE

    session: Bytes32
    round: Uint8
    place: Uint8
    body: Bytes32


@dataclass(frozen=True)
class KeygenCall(SignedStruct):
    """An administrator's word that this session is wanted: without it, nobody's disk is written.

    The deadline is the session's own, which its id is bound to, too; here whoever signs can read it.
    """

    DOMAIN = CUSTODIAN_COMMITTEE

    session: Bytes32
    deadline: Uint40  # unix seconds


@dataclass(frozen=True)
class Session:
    """One attempt at a key for `epoch`; `origin` is the epoch whose key is re-shared, 0 for a new one.

    deadline: unix seconds, by the chain's clock.
    """

    chain_id: int
    committee: Address
    epoch: int
    origin: int
    nonce: bytes
    deadline: int

    @property
    def id(self) -> bytes:
        """32 bytes that every message of the session is bound to."""
        types = ["uint256", "address", "uint32", "uint32", "bytes32", "uint40"]
        return tagged_hash(
            "usufruct/keygen/1",
            types,
            [
                self.chain_id,
                self.committee,
                self.epoch,
                self.origin,
                self.nonce,
                self.deadline,
            ],
        )

    @property
    def call(self) -> KeygenCall:
        """What an administrator signs, so that custodians take part."""
        return KeygenCall(self.id, self.deadline)

    @property
    def is_resharing(self) -> bool:
        """Whether the key stays and only its holders change."""
        return self.origin != 0

    def dealing_context(self, dealer: int) -> bytes:
        """What a dealing's proof is bound to. Dealers are named by place, from 0."""
        return tagged_hash("usufruct/keygen-dealing/1", ["bytes32", "uint8"], [self.id, dealer])

    def share_info(self, dealer: int, holder: int) -> bytes:
        """The HPKE info of one share."""
        types = ["bytes32", "uint8", "uint8"]
        return tagged_hash("usufruct/keygen-share/1", types, [self.id, dealer, holder])


@dataclass(frozen=True)
class Dealt:
    """A dealer's second message: its dealing, and an envelope for each holder, by place."""

    dealing: bytes
    envelopes: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """Its hash."""
        envelopes = keccak(b"".join(keccak(each) for each in self.envelopes))
        types = ["bytes32", "bytes32"]
        return tagged_hash("usufruct/keygen-dealt/1", types, [keccak(self.dealing), envelopes])


def commit_body(dealing: bytes) -> bytes:
    """Hash of the first message."""
    return tagged_hash("usufruct/keygen-commit/1", ["bytes32"], [keccak(dealing)])


def complaint_body(dealers: Sequence[int]) -> bytes:
    """Hash of a holder's complaints: places of dealers, ascending; empty where all is well."""
    return tagged_hash("usufruct/keygen-complaint/1", ["uint8[]"], [sorted(dealers)])


def answer_body(shares: Mapping[int, int]) -> bytes:
    """Hash of a dealer's answers: share by holder's place."""
    places = sorted(shares)
    values = [shares[place].to_bytes(SCALAR_BYTES, "big") for place in places]
    return tagged_hash("usufruct/keygen-answer/1", ["uint8[]", "bytes32[]"], [places, values])


@dataclass(frozen=True)
class Said:
    """All that was said in a session, signatures checked. Places count from 0."""

    commits: Mapping[int, bytes]  # body, by dealer
    dealt: Mapping[int, Dealt]  # by dealer
    complaints: Mapping[int, tuple[int, ...]]  # dealers, by holder
    answers: Mapping[int, Mapping[int, int]]  # share by holder, by dealer

    def transcript(self, session: Session) -> bytes:
        """The hash of all of it, in order of rounds and places, 32 bytes."""
        rounds = (
            dict(self.commits),
            {place: each.body for place, each in self.dealt.items()},
            {place: complaint_body(each) for place, each in self.complaints.items()},
            {place: answer_body(each) for place, each in self.answers.items()},
        )
        types = ["bytes32", *["uint8[]", "bytes32[]"] * len(rounds)]
        values: list[object] = [session.id]
        for said in rounds:
            places = sorted(said)
            values += [places, [said[place] for place in places]]
        return tagged_hash("usufruct/keygen-transcript/1", types, values)


@dataclass(frozen=True)
class Outcome:
    """What a session ends in: A_0..A_{k-1} of 33 bytes each, the dealers that count, and the others'
    faults.

    convicted: of those at fault, the dealers whose own signed words do not fit together. The others were
    silent, or kept so by whoever carried the words; or nobody can say whose fault it was.
    """

    commitments: tuple[Point, ...]
    qualified: Mapping[int, Dealing]
    faults: Mapping[int, str]
    convicted: frozenset[int]
    transcript: bytes

    @property
    def raw(self) -> bytes:
        """The commitments as the chain keeps them."""
        return b"".join(point.to_bytes() for point in self.commitments)


def outcome_of(
    session: Session,
    said: Said,
    quorum: int,
    needed: int,
    old: Sequence[Point] | None = None,
) -> Outcome:
    """What follows from all that was said, the same for everybody.

    Args:
        quorum: of the epoch that gets the key.
        needed: dealers that must count: the quorum of the dealers' epoch.
        old: in a re-sharing, the commitments of the key that is kept.

    Raises:
        KeygenFailed: too few dealers are left, or their dealings cancel.
    """
    qualified: dict[int, Dealing] = {}
    faults: dict[int, str] = {}
    convicted: set[int] = set()
    for dealer in sorted(said.commits):
        try:
            qualified[dealer] = _qualify(session, said, dealer, quorum, old)
        except DealingInvalid as fault:
            faults[dealer] = str(fault)
            if not isinstance(fault, _Unproven):
                convicted.add(dealer)
    try:
        weighed = {dealer + 1: dealing for dealer, dealing in qualified.items()}
        commitments = joined(weighed, needed, None if old is None else old[0])
    except DealingInvalid as fault:
        raise _failed(f"The key cannot be formed: {fault}.", faults) from None
    transcript = said.transcript(session)
    return Outcome(commitments, qualified, faults, frozenset(convicted), transcript)


def complainants(said: Said, dealer: int) -> tuple[int, ...]:
    """Places of the holders that complain of a dealer, ascending."""
    return tuple(sorted(h for h, dealers in said.complaints.items() if dealer in dealers))


def dealing_of(
    session: Session,
    said: Said,
    dealer: int,
    quorum: int,
    old: Sequence[Point] | None,
) -> Dealing:
    """A dealer's dealing, if it is the one that it committed to and it holds.

    Raises:
        DealingInvalid: saying what is wrong with it.
    """
    dealt = said.dealt.get(dealer)
    if dealt is None:
        raise _Unproven("it revealed nothing")
    if dealer not in said.commits:
        raise DealingInvalid("it revealed a dealing without having committed to one")
    if commit_body(dealt.dealing) != said.commits[dealer]:
        raise DealingInvalid("it revealed another dealing than it committed to")
    dealing = Dealing.from_bytes(dealt.dealing, quorum)
    constant = None if old is None else share_key(old, dealer + 1)
    verify_dealing(dealing, quorum, session.dealing_context(dealer), constant)
    return dealing


def _qualify(
    session: Session,
    said: Said,
    dealer: int,
    quorum: int,
    old: Sequence[Point] | None,
) -> Dealing:
    dealing = dealing_of(session, said, dealer, quorum, old)
    answered, asking = said.answers.get(dealer, {}), complainants(said, dealer)
    if len(asking) >= quorum:
        raise _Unproven(f"{len(asking)} holders complain of it, and {quorum} shares would show all")
    for holder in asking:
        if holder not in answered:
            raise _Unproven(f"it did not answer the complaint of place {holder}")
        if not is_share(answered[holder], holder + 1, dealing):
            raise DealingInvalid(f"it answered place {holder} with a wrong share")
    return dealing


class _Unproven(DealingInvalid):
    """A dealer that is left out although nothing that it signed contradicts itself."""


def _failed(message: str, faults: Mapping[int, str]) -> KeygenFailed:
    named = " ".join(f"Place {place}: {why}." for place, why in sorted(faults.items()))
    failed = KeygenFailed(
        message=f"No joint key came of this session. {message} {named}".strip(),
        remedy="Have the named custodians looked at, then start a new session.",
        facts={"faults": {str(place): why for place, why in faults.items()}},
    )
    failed.faults = dict(faults)
    return failed
