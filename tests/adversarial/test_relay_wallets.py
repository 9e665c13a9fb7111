"""Wallet contracts judge their own signatures, as only the chain can tell: what nobody does to a relay so."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from marketplace.chain.adapter import ConsentState
from marketplace.chain.allowance import (
    FAILED,
    OVERTAKEN,
    REVOCATIONS_WITHOUT_CONSENT,
    WALLET_FAILURES,
    Key,
    day_now,
    failed_on_chain,
)
from marketplace.chain.faults import NodeFault
from marketplace.chain.reverts import ContractRefusal, snake_case, table
from marketplace.chain.rpc import CannotPay
from marketplace.chain.sender import Sender
from marketplace.client.messages import REVOCATION_REACH
from marketplace.config import load_config
from marketplace.custodian.failures import Failures
from marketplace.custodian.journal import Journal
from marketplace.custodian.relaying import Relaying
from marketplace.errors import Refusal
from marketplace.operator import build_operator
from marketplace.relay.worth import OWN
from marketplace.wire.eip712 import MOST_SIGNATURE
from marketplace.wire.structs import EarningsWithdrawal, Erasure, Grant, Rest, Revocation, sign
from tests.adversarial.test_relay_abuse import (
    attested,
    codes,
    consent,
    new_patient,
    refused,
    relaying_world,
    revocation,
    revoke_at_custodian,
    sent_by,
    upload,
)
from tests.contracts.hostile_code import YES, assemble
from tests.support.api_world import ApiWorld
from tests.support.chain_world import account
from tests.support.nodes import EMBEDDED_KEY

SAY_YES = f":yes {YES} 0 MSTORE 32 0 RETURN"
PICKY = assemble(f"100 CALLDATALOAD 248 SHR 1 EQ @yes JUMPI 0 0 REVERT {SAY_YES}")
"""Takes signatures whose first byte is 1."""
TWO_FACED = assemble(
    "CALLDATASIZE ISZERO @turn JUMPI 0 SLOAD ISZERO @yes JUMPI "
    f"GASPRICE ISZERO @yes JUMPI 0 0 REVERT {SAY_YES} :turn 1 0 SSTORE"
)
"""Takes every signature; from its first call without data on, only where gas is free."""
HEAVY = assemble(f"0 400000 MSTORE {SAY_YES}")
"""Takes every signature, for about 350,000 gas, as a P-256 key may where the chain has no precompile."""
GOOD, BAD = b"\x01", b"\x00"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with relaying_world(tmp_path_factory.mktemp("wallets")) as made:
        yield made


@dataclass(frozen=True)
class Wallet:
    """A patient whose address is a contract; with a record, and a live consent at first."""

    world: ApiWorld
    address: str

    @property
    def consent(self) -> Any:
        return self.world.operator.chain.consent_of(self.world.custody.dataset, self.address)

    def revocation(self, above: int = 0) -> Revocation:
        sequence = self.consent.sequence + REVOCATION_REACH + above
        return Revocation(self.address, self.world.custody.dataset, sequence)

    @property
    def erasure(self) -> Erasure:
        return Erasure(self.address, self.world.custody.dataset, 1)

    def grant(self) -> Grant:
        anybodys = self.world.grant_message(self.world.patients[0])["message"]
        sequence = self.consent.sequence + 1
        return replace(Grant.from_json(anybodys, "grant."), patient=self.address, sequence=sequence)

    def says(self, kind: str, struct: Any) -> dict[str, Any]:
        said = {"kind": kind, "message": struct.to_json(), "signature": "0x" + GOOD.hex()}
        return said | ({"signer": self.address} if kind in ("grant", "revocation") else {})

    def uploads(self, kind: str, struct: Any) -> str:
        (code,) = codes(upload(self.world, [self.says(kind, struct)]))
        return code


def enrolled(world: ApiWorld, code: bytes) -> Wallet:
    head = bytes.fromhex(f"61{len(code):04x}80600c6000396000f3")
    made = world.custody.sender._transactor.transact(None, head + code, None).created
    assert made is not None
    record = world.custody.seal_record(made, {"systolic": Decimal(120), "smoker": "no"}, 1)
    entries = {"entries": [attested(world, made, record)]}
    (stored,) = world.post("/records", entries).get_json()["outcomes"]
    assert stored["outcome"] == "stored", json.dumps(stored)
    wallet = Wallet(world, made)
    assert wallet.uploads("grant", wallet.grant()) == "relayed"
    assert wallet.consent.state is ConsentState.LIVE
    return wallet


# --- at a custodian, nobody is held up


class Interrupted(Sender):
    """While what carries a stranger's signature is judged or sent, the patient's own message comes."""

    def __init__(self, world: ApiWorld, theirs: bytes, own: Callable[[], object]) -> None:
        super().__init__(world.custodians[0].chain, EMBEDDED_KEY)
        self.theirs, self.own, self.waits = theirs, own, True

    def _interrupt(self, call: tuple[Any, ...]) -> None:
        if self.waits and self.theirs in call:
            self.waits = False
            self.own()

    def rehearse(self, *call: Any) -> int | None:
        self._interrupt(call)
        return super().rehearse(*call)

    def send(self, *call: Any, gas: int | None = None) -> Any:
        self._interrupt(call)
        return super().send(*call, gas=gas)


@dataclass
class Interruptible:
    """What one custodian relays."""

    world: ApiWorld
    senders: list[Sender] = field(default_factory=list)

    def __post_init__(self) -> None:
        custodian = self.world.custodians[0]
        self.relaying = Relaying(
            custodian.chain, lambda: self.senders[-1], Failures(custodian.journal)
        )

    def told(self, theirs: bytes, act: Callable[[], object], own: Callable[[], object]) -> str:
        """What the stranger is told who is interrupted."""
        sender = Interrupted(self.world, theirs, own)
        self.senders.append(sender)
        code = refused(act)
        assert not sender.waits
        return code


def test_a_strangers_signature_for_a_wallet_holds_up_no_revocation_and_no_erasure(
    world: ApiWorld,
) -> None:
    """What the wallet signs is for anybody to work out; only the signature is not."""
    wallet, custodian = enrolled(world, PICKY), Interruptible(world)
    ending, erasing, relaying = wallet.revocation(), wallet.erasure, custodian.relaying
    said = custodian.told(
        BAD,
        lambda: relaying.revocation(ending, wallet.address, BAD),
        lambda: relaying.revocation(ending, wallet.address, GOOD),
    )
    assert said == "bad_signature"
    assert wallet.consent.state is ConsentState.NONE
    said = custodian.told(
        BAD, lambda: relaying.erasure(erasing, BAD), lambda: relaying.erasure(erasing, GOOD)
    )
    assert said == "bad_signature"
    assert world.operator.chain.record_of(world.custody.dataset, wallet.address).erased


def test_a_superseded_revocation_that_is_replayed_makes_none_count(world: ApiWorld) -> None:
    """It lies on chain for anybody to send again. Each of these ends a consent that stands."""
    patient, custodian = new_patient(world, "is replayed"), Interruptible(world)
    domain = world.operator.chain.domain("ConsentRegistry")

    def latest() -> tuple[Revocation, str, bytes]:
        struct = Revocation.from_json(revocation(world, patient)["message"], "revocation.")
        return struct, patient.address, sign(struct, domain, patient)

    old = latest()
    assert revoke_at_custodian(world, revocation(world, patient))["transaction"]
    for _ in range(REVOCATIONS_WITHOUT_CONSENT + 2):
        again = world.grant_message(patient, sequence=consent(world, patient).sequence + 1)
        assert codes(upload(world, [again])) == ["relayed"]
        said = custodian.told(
            old[2],
            lambda: custodian.relaying.revocation(*old),
            lambda: custodian.relaying.revocation(*latest()),
        )
        assert said == "superseded_revocation"
        assert consent(world, patient).state is ConsentState.NONE


# --- what a wallet costs that says yes in rehearsals only


def at_custodian(wallet: Wallet, kind: str, struct: Any) -> str:
    """Refused by a custodian that has just started: only its journal's file lasts."""
    custodian = wallet.world.custodians[0]
    sender = Sender(custodian.chain, custodian.keys.relay.secret)
    failures = Failures(Journal(custodian.journal.engine))
    relaying = Relaying(custodian.chain, lambda: sender, failures)
    if kind == "revocation":
        return refused(lambda: relaying.revocation(struct, wallet.address, GOOD))
    return refused(lambda: relaying.erasure(struct, GOOD))


def test_a_wallet_that_says_yes_only_where_gas_is_free_costs_each_relay_a_few_transactions_a_day(
    world: ApiWorld,
) -> None:
    wallet, said = enrolled(world, TWO_FACED), dict[str, list[str]]()
    world.custody.sender._transactor.transact(wallet.address, b"", 100_000)
    operator, custodian = world.operator.sender.address, world.custodians[0].keys.relay.address
    before = {each: sent_by(world, each) for each in (operator, custodian)}
    for above in range(WALLET_FAILURES):
        for kind, struct in (
            ("revocation", wallet.revocation(above)),
            ("erasure", wallet.erasure),
        ):
            said.setdefault(operator, []).append(wallet.uploads(kind, struct))
            said.setdefault(custodian, []).append(at_custodian(wallet, kind, struct))
    for each in said.values():
        assert each[WALLET_FAILURES:] == ["wallet_failed"] * WALLET_FAILURES
        assert "wallet_failed" not in each[:WALLET_FAILURES]
    # The operator's go into a batch, and once more alone: they may have lacked gas.
    assert sent_by(world, operator) - before[operator] <= 2 * WALLET_FAILURES
    assert sent_by(world, custodian) - before[custodian] == WALLET_FAILURES
    assert wallet.consent.state is ConsentState.LIVE


def lying(world: ApiWorld) -> Wallet:
    """Takes every signature, in rehearsals only."""
    wallet = enrolled(world, TWO_FACED)
    world.custody.sender._transactor.transact(wallet.address, b"", 100_000)
    return wallet


def rest(wallet: Wallet, nonce: int) -> dict[str, Any]:
    sequence, later = wallet.consent.sequence, wallet.world.custody.later()
    struct = Rest(wallet.address, wallet.world.custody.dataset, sequence, nonce, later)
    return {**wallet.says("rest", struct), "signer": wallet.address}


def huge(said: dict[str, Any], name: str = "signature") -> dict[str, Any]:
    """With a signature that no transaction has room for, as a wallet may well take it."""
    return {**said, name: "0x01" + "00" * 121_000}


def count_of(world: ApiWorld, kind: str, patient: str) -> int:
    """Of today, in the operator's database."""
    key = (kind, world.dataset, patient)
    found: int = world.operator.database.count(day_now(), [key], lambda counts: counts[key])
    return found


@pytest.mark.long
def test_a_wallets_failures_count_though_a_later_message_cannot_be_sent(world: ApiWorld) -> None:
    wallet, relay = lying(world), world.operator.sender.address
    before, said = sent_by(world, relay), []
    for number in range(2 * WALLET_FAILURES):
        later = huge(wallet.says("revocation", wallet.revocation(number)))
        said.append(codes(upload(world, [rest(wallet, number), later])))
    assert {each[1] for each in said} == {"malformed_message"}
    failed = [each[0] for each in said]
    assert "wallet_failed" not in failed[:WALLET_FAILURES]
    assert failed[WALLET_FAILURES:] == ["wallet_failed"] * WALLET_FAILURES
    assert sent_by(world, relay) - before <= 2 * WALLET_FAILURES


def test_a_signature_that_no_transaction_has_room_for_sinks_nobody_elses_revocation(
    world: ApiWorld,
) -> None:
    wallet = enrolled(world, PICKY)
    first, last = new_patient(world, "before the huge one"), new_patient(world, "after it")
    big = huge(wallet.says("revocation", wallet.revocation()))
    found = upload(world, [revocation(world, first), big, revocation(world, last)])
    assert codes(found) == ["relayed", "malformed_message", "relayed"]
    assert found[1]["field"] == "signature"
    for patient in (first, last):
        assert consent(world, patient).state is ConsentState.NONE
    assert wallet.consent.state is ConsentState.LIVE


def test_the_longest_signature_that_is_read_is_carried_like_any_other(world: ApiWorld) -> None:
    wallet = enrolled(world, PICKY)
    longest = "0x01" + "00" * (MOST_SIGNATURE - 1)
    said = wallet.says("revocation", wallet.revocation()) | {"signature": longest}
    assert codes(upload(world, [said | {"signature": longest + "00"}, said])) == [
        "malformed_message",
        "relayed",
    ]
    assert wallet.consent.state is ConsentState.NONE


class Breaking(Sender):
    """Each message goes in a transaction of its own, and the last of `most` is not sent: a fault comes."""

    def __init__(self, world: ApiWorld, most: int, fault: Refusal) -> None:
        super().__init__(world.operator.chain, EMBEDDED_KEY)
        self.left, self.fault = most, fault

    def batch(self, contract: str, calls: Sequence[tuple[str, Sequence[Any]]], **more: Any) -> Any:
        return super().batch(contract, calls, **more, entry_gas=9_000_000)

    def _send_data(self, *call: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise self.fault
        return super()._send_data(*call)


@pytest.mark.long
def test_what_was_paid_for_counts_though_the_node_fails_during_the_same_upload(
    world: ApiWorld,
) -> None:
    """A wallet's failure takes a batch and one more transaction; the third is somebody else's."""
    wallet, patient = lying(world), new_patient(world, "behind a failing node")
    sender = Breaking(world, 3, NodeFault(message="Out of order.", remedy="Wait."))
    relay = replace(world.operator.relay, sender=sender)
    with pytest.raises(NodeFault):
        relay.carry_uploaded([rest(wallet, 1), revocation(world, patient)])
    assert count_of(world, FAILED, wallet.address) == 1


@pytest.mark.long
def test_only_what_was_not_sent_is_taken_off_the_days_count(world: ApiWorld) -> None:
    """Else an account that runs dry would carry the first messages of an upload again and again."""
    first, last = new_patient(world, "sent in time"), new_patient(world, "not sent")
    both = [revocation(world, each) for each in (first, last)]
    assert codes(upload(world, both)) == ["relayed"] * 2
    # Nothing stands any more, so that these two are counted.
    both = [revocation(world, each) for each in (first, last)]
    sender = Breaking(world, 2, CannotPay(message="Nothing left.", remedy="Send some."))
    relay = replace(world.operator.relay, sender=sender)
    with pytest.raises(CannotPay):
        relay.carry_uploaded(both)
    assert [count_of(world, OWN, each.address) for each in (first, last)] == [1, 0]


def test_wallets_that_failed_too_often_are_known_after_a_restart_and_told_another_way(
    world: ApiWorld,
) -> None:
    wallet, to = enrolled(world, PICKY), account("elsewhere").address
    spend(world, wallet.address)
    paying = EarningsWithdrawal(wallet.address, world.custody.dataset, to, 1, world.custody.later())
    assert wallet.uploads("earnings_withdrawal", paying) == "wallet_failed"
    restarted = build_operator(load_config(world.config_path))
    try:
        (found,) = restarted.relay.carry_uploaded([wallet.says("erasure", wallet.erasure)])
    finally:
        restarted.database.engine.dispose()
    assert found.refusal is not None
    assert found.refusal.code == "wallet_failed"
    assert "directly from the wallet" in found.refusal.remedy
    assert "another custodian" in found.refusal.remedy


def spend(world: ApiWorld, patient: str) -> None:
    """As many failures as are paid for on a day, at the operator and at custodian 0."""
    key, day = (FAILED, world.dataset, patient), day_now()
    failures = Failures(world.custodians[0].journal)

    def enough(counts: dict[Key, int]) -> None:
        counts[key] = WALLET_FAILURES

    world.operator.database.count(day, [key], enough)
    for _ in range(WALLET_FAILURES):
        assert not failures.are_enough(key)
        failures.add(key)
    assert failures.are_enough(key)


def test_no_number_of_failures_holds_back_what_a_key_signed(world: ApiWorld) -> None:
    """The contracts take an account's own key first, whatever code it carries (EIP-7702)."""
    first, second = new_patient(world, "a key"), new_patient(world, "a key elsewhere")
    for patient in (first, second):
        spend(world, patient.address)
    assert codes(upload(world, [revocation(world, first)])) == ["relayed"]
    assert revoke_at_custodian(world, revocation(world, second))["transaction"]


@pytest.mark.long
def test_a_wallet_that_needs_more_gas_than_its_part_of_a_batch_is_carried_however_often(
    world: ApiWorld,
) -> None:
    """What a batch gave it too little gas for is no failure of its own."""
    wallet = enrolled(world, HEAVY)
    for _ in range(WALLET_FAILURES + 1):
        assert wallet.uploads("revocation", wallet.revocation()) == "relayed"
        assert wallet.consent.state is ConsentState.NONE
        assert wallet.uploads("grant", wallet.grant()) == "relayed"
    assert wallet.uploads("erasure", wallet.erasure) == "relayed"


@pytest.mark.parametrize("code", [*sorted(OVERTAKEN), "bad_signature", "out_of_gas"])
def test_only_what_nothing_else_came_before_is_a_failure_of_a_wallet(code: str) -> None:
    """Another relay may carry the same message at the same moment."""
    assert code in {snake_case(error.name) for error in table().values()} | {"out_of_gas"}
    refusal = ContractRefusal(code=code, message="No.", remedy="None.")
    assert not failed_on_chain(refusal)  # found before anything was paid
    refusal.paid = True
    assert failed_on_chain(refusal) == (code not in OVERTAKEN)
    assert not failed_on_chain(Refusal(code=code, message="No.", remedy="None."))
