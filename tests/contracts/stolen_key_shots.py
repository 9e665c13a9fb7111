"""Everything that somebody who holds the operator's key can call, each call as good as it can be made.

`SHOTS` has one entry for each function of each contract that changes anything: two small numbers choose
a victim, a request, an amount; the rest is what an attacker would choose. What needs somebody's
signature is signed with the only key at hand, in the victim's name or in the operator's own.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from eth_utils.crypto import keccak

from tests.contracts.accounting_requests import noise_hash
from tests.contracts.accounting_setting import (
    ADMIN,
    FAR,
    NEW_ISSUER,
    RESEARCHERS,
    WEALTH,
    ZERO,
    word_of,
)
from tests.contracts.pyrevm_chain import Key
from tests.contracts.stolen_key_theft import RESULT, Arguments, Theft

ACCOMPLICE = Key.number(990).address  # where a thief sends money
NONCE = 77
VICTIMS, CHOICES = 6, 4  # the numbers that a shot is given: whom or what, and how
EVERYTHING = 2**256 - 1
ROLES = (ZERO, *(word_of(r) for r in ("OPERATOR", "PAUSER", "STEWARD", "AUTHORITY", "MINTER")))
CONTRACTS = ("token", "committee", "datasets", "researchers", "consents", "noises", "market")
_CREDENTIAL = (1, b"FR", FAR, False, word_of("user"), word_of("institution"), word_of("seen"))

Shot = Callable[[Theft, int, int], Arguments]


@dataclass(frozen=True)
class Call:
    """One transaction that the key could send."""

    on: str
    function: str
    data: bytes = field(repr=False)

    @property
    def name(self) -> tuple[str, str]:
        return self.on, self.function


def call_of(t: Theft, on: str, function: str, a: int, b: int) -> Call:
    return Call(on, function, t.contract(on).data(function, *SHOTS[on, function](t, a, b)))


def every_call(t: Theft) -> list[Call]:
    """Every different one that the table knows of; of the batches, which hold all others, a few."""
    numbers = list(itertools.product(range(VICTIMS), range(CHOICES)))
    few = [(n, n) for n in range(CHOICES)]
    chosen = ((name, few if name[1] == "batch" else numbers) for name in SHOTS)
    made = (call_of(t, *name, a, b) for name, pairs in chosen for a, b in pairs)
    return list(dict.fromkeys(made))


def send(t: Theft, call: Call, by: str = "") -> None:
    """As the thief, or as `by`. Raises ChainRefused where the contract does."""
    t.s.chain.call(by or t.me.address, t.contract(call.on).address, call.data)


def shoot(t: Theft, on: str, function: str, a: int, b: int) -> None:
    send(t, call_of(t, on, function, a, b))


def _batch_on(on: str) -> Shot:
    """All else that this contract can be asked, in one call."""

    def make(t: Theft, a: int, b: int) -> Arguments:
        others = [name for where, name in SHOTS if where == on and name != "batch"]
        return ([t.contract(on).data(name, *SHOTS[on, name](t, a, b)) for name in others],)

    return make


def _signed(
    kind: str, values: Callable[[Theft, int, int], Arguments], on: str = "consents"
) -> Shot:
    """A message, and the thief's signature."""

    def make(t: Theft, a: int, b: int) -> Arguments:
        said = values(t, a, b)
        return said, t.sign(on, kind, said)

    return make


def _signed_by(kind: str, values: Callable[[Theft, int, int], Arguments]) -> Shot:
    """A message, whom the signature is said to be of, and the thief's signature."""

    def make(t: Theft, a: int, b: int) -> Arguments:
        said = values(t, a, b)
        return said, (t.me.address if b % 2 else said[0]), t.sign("consents", kind, said)

    return make


def _of_quorum(kind: str, values: Callable[[Theft, int, int], Arguments]) -> Shot:
    def make(t: Theft, a: int, b: int) -> Arguments:
        said = values(t, a, b)
        return said, t.quorum("datasets", kind, said)

    return make


def _pause(t: Theft, a: int, b: int) -> Arguments:
    return (t.victim(a), t.dataset, t.sequence(a), NONCE, t.soon)


def _permit(t: Theft, a: int, b: int) -> Arguments:
    """An ERC-2612 permit's value, deadline, v, r, s, with a signature that is not the owner's."""
    signature = t.me.sign(word_of("permit"))
    return (WEALTH, FAR, signature[64], signature[:32], signature[32:64])


def _anew(t: Theft, a: int) -> Arguments:
    """Terms that nobody opened yet."""
    said, listed = t.asked(a)
    return (*said[:-1], word_of("the thief's")), listed


def _certificate(t: Theft, a: int, b: int) -> Arguments:
    root = t.s.market.view("requestOf", t.id(a))["root"]
    return t.id(a), t.quorum("market", "TurnCertificate", (t.id(a), root, 1))


def _settle(t: Theft, a: int, b: int) -> Arguments:
    said = t.settlement(a)
    return said, RESULT, t.quorum("market", "Settlement", said)


def _noise_set(t: Theft, a: int, b: int) -> Arguments:
    root = t.s.market.view("requestOf", t.id(a))["root"]
    said = (t.id(a), root, 1, 0b11, noise_hash(t.s.market.address, t.id(a), root))
    return t.id(a), said[3], t.quorum("noises", "NoiseSet", said)


def _joint_key(t: Theft, a: int, b: int) -> Arguments:
    """Of the epoch, which has one, or of the next."""
    points, transcript = b"\x02" + bytes(32) + b"\x03" + bytes(32), word_of("the thief's")
    hashed = (b % 2 + 1, keccak(points), transcript)
    signed = t.quorum("committee", "JointKey", hashed, ("uint32", "bytes32", "bytes32"))
    return hashed[0], points, transcript, signed


def _gate_key(t: Theft, a: int, b: int) -> Arguments:
    root = t.s.market.view("requestOf", t.id(a))["root"]
    said = (t.id(a), root, word_of("the thief's key"))
    return t.id(a), said[2], t.sign("market", "GateKey", said)


def _attestation(t: Theft, a: int, b: int) -> Arguments:
    """A new version of a victim's record, or a record of the thief's own."""
    record, mine = t.record(a), bool(b % 2)
    patient, person = (t.me.address, word_of("me")) if mine else (t.victim(a), record["person"])
    version = 1 if mine else int(record["version"]) + 1
    return (t.dataset, patient, person, word_of("mine"), version, NEW_ISSUER.address, t.soon)


def _receipt(t: Theft, a: int, b: int) -> Arguments:
    record = t.record(a)
    return (t.dataset, t.victim(a), record["commitment"], record["version"], 1)


def _owner(t: Theft, a: int) -> str:
    return (t.victim(a), RESEARCHERS[a % 2].address, t.s.market.address, t.me.address)[a % 4]


def _amount(b: int) -> int:
    return (1, 10**13, WEALTH, EVERYTHING)[b % 4]


def _words(t: Theft, a: int, b: int) -> Arguments:
    return t.class_id(a), 0, t.words(a)


_ONLY_REQUEST: Shot = lambda t, a, b: (t.id(a),)  # noqa: E731
_ONLY_DATASET: Shot = lambda t, a, b: (t.dataset,)  # noqa: E731
_OF_VICTIM: Shot = lambda t, a, b: (t.dataset, t.victim(a))  # noqa: E731
_BY_VICTIM: Shot = lambda t, a, b: (t.victim(a), t.dataset)  # noqa: E731
_NOTHING: Shot = lambda t, a, b: ()  # noqa: E731
_MYSELF: Shot = lambda t, a, b: (t.me.address,)  # noqa: E731
_IN_DATASET: Shot = lambda t, a, b: (t.dataset, t.me.address)  # noqa: E731

SHOTS: dict[tuple[str, str], Shot] = {
    ("consents", "grant"): lambda t, a, b: (t.grant(a, b),),
    ("consents", "grantBySig"): _signed_by("Grant", Theft.grant),
    ("consents", "revoke"): _BY_VICTIM,
    ("consents", "revokeBySig"): _signed_by(
        "Revocation", lambda t, a, b: (t.victim(a), t.dataset, t.sequence(a) + 256)
    ),
    ("consents", "rest"): _BY_VICTIM,
    ("consents", "restBySig"): _signed_by("Rest", _pause),
    ("consents", "wake"): _BY_VICTIM,
    ("consents", "wakeBySig"): _signed_by("Wake", _pause),
    ("consents", "appointGuardian"): lambda t, a, b: (t.dataset, t.me.address, FAR, True),
    ("consents", "appointGuardianBySig"): _signed(
        "Guardianship",
        lambda t, a, b: (t.victim(a), t.dataset, t.me.address, FAR, True, NONCE, t.soon),
    ),
    ("consents", "erase"): _ONLY_DATASET,
    ("consents", "eraseBySig"): _signed(
        "Erasure", lambda t, a, b: (t.victim(a), t.dataset, int(t.record(a)["version"]))
    ),
    ("consents", "rotate"): lambda t, a, b: (
        (said := (t.dataset, t.victim(a), (ACCOMPLICE, t.me.address)[b % 2], t.soon)),
        t.sign("consents", "Rotation", said),
        t.sign("consents", "Rotation", said),
    ),
    ("consents", "wakeWords"): _words,
    ("consents", "expel"): _OF_VICTIM,
    ("consents", "freezeShard"): lambda t, a, b: (t.id(a), t.class_id(b), 0, FAR),
    ("consents", "thawShard"): lambda t, a, b: (t.id(a), t.class_id(b), 0),
    ("consents", "tidyShard"): lambda t, a, b: (t.id(a), t.class_id(b), 0, t.words(b), 2**55),
    ("consents", "sealShard"): lambda t, a, b: (t.id(a), t.class_id(b), 0, 0, 2**40),
    ("consents", "collect"): _OF_VICTIM,
    ("consents", "bindMarket"): _MYSELF,
    ("noises", "bindMarket"): _MYSELF,
    ("noises", "commitNoise"): lambda t, a, b: t.commitments(a),
    ("noises", "fixNoise"): _noise_set,
    ("market", "open"): lambda t, a, b: _anew(t, a),
    ("market", "openWithPermit"): lambda t, a, b: (*_anew(t, a), _permit(t, a, b)),
    ("market", "cancel"): _ONLY_REQUEST,
    ("market", "freeze"): lambda t, a, b: (t.world.researcher_of(t.request(a)), *t.asked(a)),
    ("market", "tidy"): lambda t, a, b: (t.id(a), b % 2, t.words(t.request(a).terms.classes[0] - 1)),
    ("market", "seal"): _ONLY_REQUEST,
    ("market", "sealAll"): _ONLY_REQUEST,
    ("market", "dissolve"): _ONLY_REQUEST,
    ("market", "drawGate"): _ONLY_REQUEST,
    ("market", "recordGateKey"): _gate_key,
    ("market", "redrawGate"): _ONLY_REQUEST,
    ("market", "settle"): _settle,
    ("market", "defaultCertified"): _certificate,
    ("market", "defaultUncertified"): _ONLY_REQUEST,
    ("market", "reclaim"): _ONLY_REQUEST,
    ("market", "postBond"): lambda t, a, b: (_amount(b),),
    ("market", "releaseBond"): lambda t, a, b: (ACCOMPLICE, _amount(b)),
    ("market", "withdrawCredit"): lambda t, a, b: (ACCOMPLICE,),
    ("market", "withdrawCreditBySig"): _signed(
        "CreditWithdrawal",
        lambda t, a, b: (RESEARCHERS[a % 2].address, ACCOMPLICE, NONCE, t.soon),
        on="market",
    ),
    ("market", "withdrawEarnings"): lambda t, a, b: (t.dataset, ACCOMPLICE),
    ("market", "withdrawEarningsBySig"): _signed(
        "EarningsWithdrawal",
        lambda t, a, b: (t.victim(a), t.dataset, ACCOMPLICE, NONCE, t.soon),
        on="market",
    ),
    ("datasets", "addIssuer"): _IN_DATASET,
    ("datasets", "withdrawIssuer"): lambda t, a, b: (t.dataset, NEW_ISSUER.address),
    ("datasets", "bindConsents"): _MYSELF,
    ("datasets", "registerRecord"): _signed("RecordAttestation", _attestation, on="datasets"),
    ("datasets", "confirmStorage"): _of_quorum("StorageReceipt", _receipt),
    ("datasets", "eraseRecord"): _OF_VICTIM,
    ("datasets", "moveRecord"): lambda t, a, b: (t.dataset, t.victim(a), ACCOMPLICE),
    ("datasets", "suspendRecord"): _OF_VICTIM,
    ("datasets", "handOver"): _IN_DATASET,
    ("datasets", "publishDataset"): lambda t, a, b: (word_of("mine"), ZERO, ""),
    ("datasets", "publishClass"): lambda t, a, b: (t.dataset, t.s.class_terms(b % 3 + 1)),
    ("datasets", "registerDescent"): lambda t, a, b: (t.dataset, [1], [2]),
    ("datasets", "retire"): _ONLY_DATASET,
    ("researchers", "give"): lambda t, a, b: (t.me.address, _CREDENTIAL),
    ("researchers", "withdraw"): lambda t, a, b: (RESEARCHERS[a % 2].address,),
    ("committee", "openEpoch"): lambda t, a, b: (
        [(t.me.address, [(1, bytes(range(32)))])], 1, [t.me.address],
    ),
    ("committee", "anchorJournal"): lambda t, a, b: (
        1, a % 3, 2**63, word_of("head"), t.me.sign(word_of("journal")),
    ),
    ("committee", "recordJointKey"): _joint_key,
    ("token", "approve"): lambda t, a, b: (ACCOMPLICE, EVERYTHING),
    ("token", "permit"): lambda t, a, b: (_owner(t, a), ACCOMPLICE, *_permit(t, a, b)),
    ("token", "mint"): lambda t, a, b: (t.me.address, WEALTH),
    ("token", "transfer"): lambda t, a, b: (ACCOMPLICE, _amount(b)),
    ("token", "transferFrom"): lambda t, a, b: (_owner(t, a), ACCOMPLICE, _amount(b)),
}  # fmt: skip
for _on in CONTRACTS:
    SHOTS[_on, "grantRole"] = lambda t, a, b: (ROLES[a % len(ROLES)], t.me.address)
    SHOTS[_on, "revokeRole"] = lambda t, a, b: (ROLES[a % len(ROLES)], ADMIN.address)
    SHOTS[_on, "renounceRole"] = lambda t, a, b: (
        ROLES[a % len(ROLES)], (ADMIN.address, t.me.address)[b % 2],
    )  # fmt: skip
for _on in ("datasets", "researchers", "consents", "market"):
    SHOTS[_on, "pause"] = SHOTS[_on, "unpause"] = _NOTHING
for _on in ("consents", "market"):
    SHOTS[_on, "cancelNonce"] = lambda t, a, b: (NONCE,)
for _on in ("datasets", "consents", "market"):
    SHOTS[_on, "batch"] = _batch_on(_on)
