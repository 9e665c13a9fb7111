"""What everybody else has, and the laws that hold whatever somebody with the operator's key does."""

import itertools
from dataclasses import dataclass
from typing import Any

from tests.contracts.accounting_setting import (
    ADMIN,
    CUSTODIANS,
    NEW_ISSUER,
    OLD_ISSUER,
    POLICY,
    RESEARCHERS,
)
from tests.contracts.pyrevm_chain import READER
from tests.contracts.stolen_key_shots import ACCOMPLICE, CONTRACTS, NONCE, ROLES
from tests.contracts.stolen_key_theft import Theft
from tests.model.accounting import State
from tests.model.market import Stage

_KEPT = ("class", "shard", "place", "cap", "expiry", "sequence")
_SEALS = (Stage.FROZEN, Stage.SEALED)

Question = tuple[Any, ...]  # contract, function, arguments


@dataclass(frozen=True)
class Books:
    """Money in token units, per person and per request."""

    fixed: tuple[bytes, ...]
    patients: tuple[dict[str, Any], ...]
    requests: tuple[dict[str, Any], ...]
    researchers: tuple[int, ...]
    thief: int
    now: int


class Witness:
    """Asks the same questions again and again, so that answers can be compared byte by byte."""

    def __init__(self, t: Theft) -> None:
        self.t = t
        self.people = [t.world.address(who) for who in t.world.owner]
        self._fixed = [self._asking(question) for question in fixed_questions(t, self.people)]
        self._moving = [self._asking(question) for question in self._moving_questions()]

    def _asking(self, question: Question) -> tuple[str, bytes]:
        on, function, *arguments = question
        contract = self.t.contract(on)
        return contract.address, contract.data(function, *arguments)

    def _moving_questions(self) -> list[Question]:
        owners = [*self.people, *(key.address for key in RESEARCHERS)]
        return [
            *(("consents", "consentOf", self.t.dataset, who) for who in self.people),
            *(("market", "requestOf", id_) for id_ in self.t.world.ids.values()),
            *(("token", "balanceOf", who) for who in owners),
            *(("market", "creditOf", key.address) for key in RESEARCHERS),
        ]

    def _answers(self, asked: list[tuple[str, bytes]]) -> tuple[bytes, ...]:
        chain = self.t.s.chain
        return tuple(chain.call(READER, to, data, static=True) for to, data in asked)

    def glance(self) -> tuple[bytes, ...]:
        """All that is anybody else's: equal glances, nothing touched."""
        return self._answers(self._fixed) + self._answers(self._moving)

    def books(self) -> Books:
        t = self.t
        requests = tuple(t.s.market.view("requestOf", id_) for id_ in t.world.ids.values())
        return Books(
            self._answers(self._fixed),
            tuple(_patient(t, who) for who in self.people),
            requests,
            tuple(_claims(t, key.address, requests) for key in RESEARCHERS),
            _wealth(t, requests),
            t.s.chain.now,
        )


def fixed_questions(t: Theft, people: list[str]) -> list[Question]:
    """What no call of the thief may change."""
    me, dataset = t.me.address, t.dataset
    keys = [key.address for key in (*CUSTODIANS, *RESEARCHERS)]
    issuers = [OLD_ISSUER.address, NEW_ISSUER.address, me]
    signers, thieves = [*people, *keys], (me, ACCOMPLICE)
    # Where custodians sign whatever they are asked, their noise is whatever they signed.
    ids = () if t.genuine else tuple(t.world.ids.values())
    holders = itertools.product(CONTRACTS, ROLES, (ADMIN.address, *thieves))
    return [
        *(("consents", "guardianOf", dataset, who) for who in people),
        *(("datasets", "recordOf", dataset, who) for who in (*people, me, ACCOMPLICE)),
        # Its own role it may give up.
        *((on, "hasRole", r, who) for on, r, who in holders if (r, who) != (ROLES[1], me)),
        *((on, "paused") for on in ("consents", "market", "datasets", "researchers")),
        ("committee", "currentEpoch"),
        ("committee", "quorumOf", 1),
        ("committee", "gatesOf", 1),
        *(("committee", "journalOf", key.address) for key in CUSTODIANS),
        *(("datasets", name, dataset) for name in ("stewardOf", "isRetired", "classesOf")),
        *(("datasets", "isIssuer", dataset, who) for who in issuers),
        *(("researchers", "credentialOf", who) for who in (*keys, me)),
        ("committee", "jointKeyOf", 1),
        *((on, "market") for on in ("consents", "noises")),
        *(("noises", name, id_) for id_ in ids for name in ("commitmentsOf", "noiseOf")),
        ("token", "totalSupply"),
        *(
            ("token", "allowance", who, to)
            for who in (*signers, t.s.market.address)
            for to in thieves
        ),
        *((on, "isNonceUsed", who, NONCE) for on in ("consents", "market") for who in signers),
    ]


def _one(t: Theft, on: str, question: str, *arguments: Any) -> Any:
    (answer,) = t.contract(on).ask(question, *arguments)
    return answer


def _patient(t: Theft, who: str) -> dict[str, Any]:
    """The consent, what its patient has or is owed, and whether the record is suspended."""
    view = t.s.consents.view("consentOf", t.dataset, who)
    claim = view["owed"] + _one(t, "token", "balanceOf", who)
    suspended = t.s.datasets.view("recordOf", t.dataset, who)["suspended"]
    return view | {"claim": claim, "suspended": suspended}


def _claims(t: Theft, who: str, requests: tuple[dict[str, Any], ...]) -> int:
    """In the purse, credited, and still in escrow."""
    escrows = sum(r["escrow"] for r in requests if r["researcher"] == who.lower())
    return int(_one(t, "token", "balanceOf", who) + _one(t, "market", "creditOf", who) + escrows)


def _wealth(t: Theft, requests: tuple[dict[str, Any], ...]) -> int:
    """The thief's and the accomplice's, bonds included."""
    me = t.me.address
    bonds = sum(r["bond"] for r in requests if r["operator"] == me.lower())
    purses = sum(_one(t, "token", "balanceOf", who) for who in (me, ACCOMPLICE))
    posted = sum(_one(t, "market", "bondOf", who) for who in (me, ACCOMPLICE))
    return int(bonds + purses + posted + _one(t, "market", "creditOf", me))


# --- laws, each per person and per request


def require_harmless(before: Books, after: Books, *, alone: bool = True) -> None:
    """Raises AssertionError, naming whose it is, if the thief changed more than an operator may.

    alone: no custodian signed anything, so that nothing can have been settled.
    """
    assert after.fixed == before.fixed
    if alone:
        assert not _fees(before, after), "settled without a quorum"
    for place, (was, is_) in enumerate(zip(before.patients, after.patients, strict=True)):
        _patient_is_unharmed(place, was, is_, before, after)
    for place, key in enumerate(RESEARCHERS):
        paid = sum(
            _paid(was, is_)
            for was, is_ in zip(before.requests, after.requests, strict=True)
            if was["researcher"] == key.address.lower()
        )
        assert after.researchers[place] >= before.researchers[place] - paid, f"researcher {place}"
    for request in after.requests:
        if request["stage"] in _SEALS:
            assert request["members"] * request["price"] <= request["bond"], "beyond the bond"
    assert after.thief <= before.thief + _fees(before, after), "the thief is richer"


def _patient_is_unharmed(
    place: int, was: dict[str, Any], is_: dict[str, Any], before: Books, after: Books
) -> None:
    moved = (State(was["state"]), State(is_["state"]))
    gone = moved == (State.LIVE, State.NONE)
    if moved[0] is not moved[1]:
        allowed = {(State.LIVE, State.RESTING), (State.RESTING, State.LIVE)}
        expired = was["expiry"] <= before.now + POLICY.freeze_window
        removed = gone and (expired or was["suspended"])
        assert moved in allowed or removed, f"patient {place}: {moved}"
    kept = [name for name in _KEPT if not (gone and name == "expiry")]
    assert {n: is_[n] for n in kept} == {n: was[n] for n in kept}, f"patient {place}"
    spent, earned = is_["spent"] - was["spent"], is_["claim"] - was["claim"]
    assert (spent, earned) in _seals(before, after), f"patient {place}: {spent} for {earned}"
    assert is_["spent"] <= is_["cap"] or not spent, f"patient {place}"


def _seals(before: Books, after: Books) -> set[tuple[int, int]]:
    """What a patient can have spent and earned meanwhile: some of the requests sealed, each whole."""
    sums = {(0, 0)}
    for was, is_ in zip(before.requests, after.requests, strict=True):
        if is_["sealedShards"] > was["sealedShards"]:
            sums |= {(spent + is_["cost"], earned + is_["price"]) for spent, earned in sums}
    return sums


def _paid(was: dict[str, Any], is_: dict[str, Any]) -> int:
    """What a request's researcher gave meanwhile: to members, and for an answer."""
    members = (is_["members"] - was["members"]) * is_["price"]
    return int(members + (is_["fee"] if _settled(was, is_) else 0))


def _fees(before: Books, after: Books) -> int:
    pairs = zip(before.requests, after.requests, strict=True)
    return sum(is_["fee"] for was, is_ in pairs if _settled(was, is_))


def _settled(was: dict[str, Any], is_: dict[str, Any]) -> bool:
    return bool(was["stage"] != Stage.SETTLED and is_["stage"] == Stage.SETTLED)
