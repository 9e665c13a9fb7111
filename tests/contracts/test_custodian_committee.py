"""The committee: who sits, how many must act, and what counts as their word."""

from typing import Any

import pytest
from web3.contract import Contract

from tests.contracts.support import (
    CKKS,
    ELGAMAL,
    NOBODY,
    WALLET_ENDLESS,
    WALLET_NO,
    WALLET_YES,
    X25519,
    ZERO,
    Chain,
    address,
    member,
    member_at,
    quorum_signatures,
    refusing,
    role,
    sign_digest,
    sign_typed,
    word,
)

DIGEST = word("digest")
HEAD = word("head")
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
JOURNAL_HEAD = [
    ("epoch", "uint32"),
    ("place", "uint8"),
    ("height", "uint64"),
    ("head", "bytes32"),
]
THREE = [member(f"c{i}") for i in range(3)]
GATES = [address("g0"), address("g1")]


@pytest.fixture
def committee(chain: Chain) -> Contract:
    return chain.deploy("CustodianCommittee", address("admin"))


def open_epoch(
    chain: Chain,
    committee: Contract,
    members: list[Any] | None = None,
    quorum: int = 2,
    gates: list[str] | None = None,
    sender: str = "admin",
) -> Any:
    chosen = THREE if members is None else members
    places = GATES if gates is None else gates
    return chain.send(committee.functions.openEpoch(chosen, quorum, places), sender)


def require(chain: Chain, committee: Contract, *places: tuple[int, str], epoch: int = 1) -> None:
    given = quorum_signatures(DIGEST, *places)
    chain.read(committee.functions.requireQuorum(epoch, DIGEST, given))


def test_an_epoch_is_readable_as_it_was_opened(chain: Chain, committee: Contract) -> None:
    sent = open_epoch(chain, committee)
    opened = sent.facts("EpochOpened")
    assert (opened["epoch"], opened["quorum"], opened["gates"]) == (1, 2, GATES)
    read = committee.functions
    assert chain.read(read.currentEpoch()) == 1
    assert chain.read(read.quorumOf(1)) == [2, 3]
    assert chain.read(read.signerOf(1, 2)) == address("c2")
    assert chain.read(read.keyOf(1, 1, X25519)) == word("key of c1")
    assert chain.read(read.keyOf(1, 1, ELGAMAL)) == b""
    assert chain.read(read.gatesOf(1)) == GATES
    assert [chain.read(read.gateAt(1, draw)) for draw in (0, 1, 2, 2**256 - 1)] == [
        *GATES,
        GATES[0],
        GATES[1],
    ]


def test_a_rotation_leaves_the_earlier_epoch_as_it_was(chain: Chain, committee: Contract) -> None:
    open_epoch(chain, committee)
    open_epoch(chain, committee, [member("c7")], 1, [address("g7")])
    assert chain.read(committee.functions.currentEpoch()) == 2
    assert chain.read(committee.functions.quorumOf(1)) == [2, 3]
    assert chain.read(committee.functions.gatesOf(1)) == GATES
    require(chain, committee, (0, "c0"), (1, "c1"), epoch=1)
    require(chain, committee, (0, "c7"), epoch=2)


def test_before_the_first_epoch_there_is_none(chain: Chain, committee: Contract) -> None:
    with refusing("NoEpoch"):
        chain.read(committee.functions.currentEpoch())


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_unknown_epoch_is_refused_by_every_question(
    chain: Chain, committee: Contract, epoch: int
) -> None:
    open_epoch(chain, committee)
    read = committee.functions
    questions = [
        read.quorumOf(epoch),
        read.signerOf(epoch, 0),
        read.keyOf(epoch, 0, X25519),
        read.gatesOf(epoch),
        read.gateAt(epoch, 0),
        read.requireQuorum(epoch, DIGEST, []),
    ]
    for question in questions:
        with refusing("UnknownEpoch", epoch):
            chain.read(question)


def test_a_place_beyond_the_members_is_unknown(chain: Chain, committee: Contract) -> None:
    open_epoch(chain, committee)
    with refusing("UnknownPlace", 1, 3):
        chain.read(committee.functions.signerOf(1, 3))
    with refusing("UnknownPlace", 1, 3):
        chain.read(committee.functions.keyOf(1, 3, X25519))
    with refusing("UnknownPlace", 1, 3):
        require(chain, committee, (0, "c0"), (3, "c0"))


def test_only_the_admin_opens_an_epoch(chain: Chain, committee: Contract) -> None:
    with refusing("AccessControlUnauthorizedAccount", address("stranger"), role("ADMIN")):
        open_epoch(chain, committee, sender="stranger")


@pytest.mark.parametrize(("members", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (16, 9), (16, 16)])
def test_a_majority_is_accepted(
    chain: Chain, committee: Contract, members: int, quorum: int
) -> None:
    open_epoch(chain, committee, [member(f"c{i}") for i in range(members)], quorum)
    assert chain.read(committee.functions.quorumOf(1)) == [quorum, members]


@pytest.mark.parametrize(("members", "quorum"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (16, 8)])
def test_less_than_a_majority_is_refused(
    chain: Chain, committee: Contract, members: int, quorum: int
) -> None:
    with refusing("QuorumTooSmall", quorum, members):
        open_epoch(chain, committee, [member(f"c{i}") for i in range(members)], quorum)


@pytest.mark.parametrize(("members", "quorum"), [(0, 1), (3, 4), (3, 255)])
def test_a_quorum_beyond_the_members_is_refused(
    chain: Chain, committee: Contract, members: int, quorum: int
) -> None:
    with refusing("QuorumTooLarge", quorum, members):
        open_epoch(chain, committee, [member(f"c{i}") for i in range(members)], quorum)


def test_seventeen_members_are_refused(chain: Chain, committee: Contract) -> None:
    with refusing("TooManyMembers", 17):
        open_epoch(chain, committee, [member(f"c{i}") for i in range(17)], 9)


def test_a_member_sits_once(chain: Chain, committee: Contract) -> None:
    with refusing("DuplicateMember", address("c0")):
        open_epoch(chain, committee, [member("c0"), member("c1"), member("c0")])


def test_nobody_is_no_member(chain: Chain, committee: Contract) -> None:
    with refusing("InvalidMember", 1):
        open_epoch(chain, committee, [member("c0"), member_at(NOBODY, "nobody"), member("c2")])


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [(X25519, b"")],
        [(X25519, ZERO)],
        [(X25519, word("x")[:31])],
        [(X25519, word("x") + b"\1")],
        [(0, word("x"))],
        [(X25519, word("x")), (4, word("y"))],
        [(X25519, word("x")), (X25519, word("y"))],
        [(CKKS, word("x"))],
        [(ELGAMAL, b"\2" + word("x"))],
        [(X25519, word("x")), (ELGAMAL, b"\4" + word("x"))],
        [(X25519, word("x")), (ELGAMAL, b"\2" + word("x") + b"\0")],
        [(X25519, word("x")), (CKKS, b"")],
    ],
)
def test_a_member_without_sound_keys_is_refused_by_its_place(
    chain: Chain, committee: Contract, keys: list[tuple[int, bytes]]
) -> None:
    with refusing("InvalidMember", 2):
        open_epoch(chain, committee, [member("c0"), member("c1"), member("c2", keys)])


@pytest.mark.parametrize("prefix", [b"\2", b"\3"])
def test_keys_of_every_scheme_are_kept(chain: Chain, committee: Contract, prefix: bytes) -> None:
    keys = [(X25519, word("x")), (ELGAMAL, prefix + word("e")), (CKKS, b"ckks" * 40)]
    open_epoch(chain, committee, [member("c0", keys)], 1)
    for scheme, key in keys:
        assert chain.read(committee.functions.keyOf(1, 0, scheme)) == key


def test_an_epoch_needs_a_gate(chain: Chain, committee: Contract) -> None:
    with refusing("NoGates"):
        open_epoch(chain, committee, gates=[])


def test_a_gate_is_named_once_and_is_somebody(chain: Chain, committee: Contract) -> None:
    with refusing("InvalidGate", NOBODY):
        open_epoch(chain, committee, gates=[address("g0"), NOBODY])
    with refusing("InvalidGate", address("g0")):
        open_epoch(chain, committee, gates=[address("g0"), address("g1"), address("g0")])


def test_thirty_two_gates_are_the_most(chain: Chain, committee: Contract) -> None:
    gates = [address(f"g{i}") for i in range(33)]
    open_epoch(chain, committee, gates=gates[:32])
    assert chain.read(committee.functions.gateAt(1, 31)) == gates[31]
    with refusing("TooManyGates", 33):
        open_epoch(chain, committee, gates=gates)


@pytest.mark.parametrize("places", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_any_quorum_of_members_counts(
    chain: Chain, committee: Contract, places: tuple[int, ...]
) -> None:
    open_epoch(chain, committee)
    require(chain, committee, *((place, f"c{place}") for place in places))


@pytest.mark.parametrize("places", [(), (0,), (2,)])
def test_fewer_than_the_quorum_do_not(
    chain: Chain, committee: Contract, places: tuple[int, ...]
) -> None:
    open_epoch(chain, committee)
    with refusing("QuorumMissing", 2, len(places)):
        require(chain, committee, *((place, f"c{place}") for place in places))


@pytest.mark.parametrize(("places", "named"), [((0, 0), 0), ((1, 0), 0), ((0, 2, 1), 1)])
def test_a_member_counts_once_and_in_order(
    chain: Chain, committee: Contract, places: tuple[int, ...], named: int
) -> None:
    open_epoch(chain, committee)
    with refusing("SignaturesOutOfOrder", named):
        require(chain, committee, *((place, f"c{place}") for place in places))


def test_a_signature_of_somebody_else_is_named(chain: Chain, committee: Contract) -> None:
    open_epoch(chain, committee)
    with refusing("BadCustodianSignature", 1):
        require(chain, committee, (0, "c0"), (1, "c2"))


def test_one_bad_signature_beyond_the_quorum_still_refuses(
    chain: Chain, committee: Contract
) -> None:
    open_epoch(chain, committee)
    with refusing("BadCustodianSignature", 2):
        require(chain, committee, (0, "c0"), (1, "c1"), (2, "stranger"))


def malleated(signature: bytes) -> bytes:
    """The twin (r, n - s, v ^ 1), valid to a bare ecrecover."""
    s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


@pytest.mark.parametrize(
    "spoil",
    [
        malleated,
        lambda signature: signature[:64],
        lambda signature: signature + b"\0",
        lambda signature: b"",
        lambda signature: bytes(65),
        lambda signature: signature[:64] + b"\0",
    ],
)
def test_a_malformed_signature_is_no_signature(
    chain: Chain, committee: Contract, spoil: Any
) -> None:
    open_epoch(chain, committee)
    given = quorum_signatures(DIGEST, (0, "c0"), (1, "c1"))
    given[1]["signature"] = spoil(given[1]["signature"])
    with refusing("BadCustodianSignature", 1):
        chain.read(committee.functions.requireQuorum(1, DIGEST, given))


def test_a_signature_over_another_digest_does_not_count(chain: Chain, committee: Contract) -> None:
    open_epoch(chain, committee)
    given = quorum_signatures(word("other"), (0, "c0"), (1, "c1"))
    with refusing("BadCustodianSignature", 0):
        chain.read(committee.functions.requireQuorum(1, DIGEST, given))


def test_a_wallet_contract_may_be_a_custodian(chain: Chain, committee: Contract) -> None:
    wallet = chain.deploy_code(WALLET_YES)
    open_epoch(chain, committee, [member("c0"), member_at(wallet, "wallet")], 2)
    require(chain, committee, (0, "c0"), (1, "stranger"))


@pytest.mark.parametrize("code", [WALLET_NO, WALLET_ENDLESS, b"\0"])
def test_a_wallet_that_refuses_or_never_ends_does_not_count(
    chain: Chain, committee: Contract, code: bytes
) -> None:
    wallet = chain.deploy_code(code)
    open_epoch(chain, committee, [member("c0"), member_at(wallet, "wallet")], 2)
    with refusing("BadCustodianSignature", 1):
        require(chain, committee, (0, "c0"), (1, "stranger"))


def anchor(
    chain: Chain,
    committee: Contract,
    height: int,
    signer: str = "c1",
    lie: dict[str, Any] | None = None,
) -> Any:
    message = {"epoch": 1, "place": 1, "height": height, "head": HEAD} | (lie or {})
    signature = sign_typed(signer, committee, "JournalHead", JOURNAL_HEAD, message, chain.id)
    return committee.functions.anchorJournal(1, 1, height, HEAD, signature)


def test_a_journal_is_anchored_by_whoever_relays_it(chain: Chain, committee: Contract) -> None:
    open_epoch(chain, committee)
    sent = chain.send(anchor(chain, committee, 7), "stranger")
    assert sent.facts("JournalAnchored") == {"epoch": 1, "place": 1, "height": 7, "head": HEAD}
    assert chain.read(committee.functions.journalOf(address("c1"))) == [7, HEAD]
    assert chain.read(committee.functions.journalOf(address("c0"))) == [0, ZERO]


@pytest.mark.parametrize("height", [0, 6, 7])
def test_a_journal_only_rises(chain: Chain, committee: Contract, height: int) -> None:
    open_epoch(chain, committee)
    chain.send(anchor(chain, committee, 7), "stranger")
    with refusing("JournalNotRising", height, 7):
        chain.send(anchor(chain, committee, height), "stranger")
    chain.send(anchor(chain, committee, 8), "stranger")


@pytest.mark.parametrize(
    "lie", [{"epoch": 2}, {"place": 0}, {"height": 8}, {"head": word("other")}]
)
def test_a_journal_signature_binds_every_field(
    chain: Chain, committee: Contract, lie: dict[str, Any]
) -> None:
    open_epoch(chain, committee)
    with refusing("BadCustodianSignature", 1):
        chain.send(anchor(chain, committee, 7, lie=lie), "stranger")


def test_a_journal_is_signed_by_its_own_custodian(chain: Chain, committee: Contract) -> None:
    open_epoch(chain, committee)
    with refusing("BadCustodianSignature", 1):
        chain.send(anchor(chain, committee, 7, "c0"), "stranger")


def test_a_journal_signature_counts_for_one_deployment_and_chain_only(
    chain: Chain, committee: Contract
) -> None:
    open_epoch(chain, committee)
    twin = chain.deploy("CustodianCommittee", address("admin"))
    message = {"epoch": 1, "place": 1, "height": 7, "head": HEAD}
    for contract, chain_id in ((twin, chain.id), (committee, chain.id + 1)):
        foreign = sign_typed("c1", contract, "JournalHead", JOURNAL_HEAD, message, chain_id)
        with refusing("BadCustodianSignature", 1):
            chain.send(committee.functions.anchorJournal(1, 1, 7, HEAD, foreign), "stranger")


def test_a_quorum_of_three_costs_little_gas(chain: Chain, committee: Contract) -> None:
    """Part of settle, whose whole budget is 200,000."""
    open_epoch(chain, committee, THREE, 3)
    given = [{"place": place, "signature": sign_digest(f"c{place}", DIGEST)} for place in range(3)]
    whole = chain.send(committee.functions.requireQuorum(1, DIGEST, given), "stranger").gas
    # Beside the 21,000 of a transaction and the price of its data (EIP-2028).
    assert whole - 21_000 - 10_000 < 35_000
    print("requireQuorum(3), whole transaction:", whole)
