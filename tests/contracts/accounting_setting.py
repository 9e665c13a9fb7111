"""The setting of the accounting campaign: all contracts deployed for real, twelve attested patients.

Three classes. The first room of class 1 has its next chair near the end of a word, that of class 3
near its own end, so that schedules cross both borders; this is done by setting the room's count of
assigned chairs, as if the patients before had all left.
"""

from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from tests.contracts.pyrevm_chain import Artifacts, Chain, Contract, Key
from tests.model.market import Policy

PATIENTS = 12
SPARES = 24  # addresses that nobody has used: rotations go there
# Big numbers, so that a field that is too narrow shows: 100 units are nearly the largest legal cost.
UNIT = 2**37  # nano-rho
HIGHEST_COST = {1: 100 * UNIT, 2: 60 * UNIT, 3: 40 * UNIT}
CHAIRS = 4096 * 160
WORD = 160
ASSIGNED = {1: WORD - 5, 3: CHAIRS - 3}
HORIZON = 20
THAW_GAP = 3
TURN_WINDOW = 30
GATE_WINDOW = 20
POLICY = Policy(
    minimum_cohort=2,
    notice_window=5,
    freeze_window=40,
    certificate_window=30,
    unused_freeze_bps=1000,
    minimum_bond=1000,
)
WEALTH = 10**18
BOND = 10**14
FAR = 2**40 - 1
ZERO = b"\0" * 32
_ATTESTATION = (
    "RecordAttestation(bytes32 dataset,address patient,bytes32 person,bytes32 commitment,"
    "uint32 version,address issuer,uint40 deadline)"
)
_RECEIPT = (
    "StorageReceipt(bytes32 dataset,address patient,bytes32 commitment,uint32 version,uint32 epoch)"
)
_JOINT_KEY = "JointKey(uint32 epoch,bytes commitments,bytes32 transcript)"
_USE: tuple[Any, ...] = (64, [], False, False, 0, ZERO, ZERO, 0)

ADMIN, OLD_ISSUER, NEW_ISSUER, GATE = (Key.number(n) for n in range(900, 904))
OPERATOR, *RESEARCHERS = (Key.number(n) for n in range(910, 913))
CUSTODIANS = [Key.number(n) for n in range(920, 923)]
PEOPLE = [Key.number(n) for n in range(PATIENTS + SPARES)]


def word_of(text: str) -> bytes:
    return keccak(text.encode())


def lane_of(order: int) -> int:
    """Requests are in the vault lane (1) and in the homomorphic one (2) by turns, in their order."""
    return 1 + order % 2


@dataclass
class Setting:
    """Addresses of everything. Made once; schedules start from a snapshot of it."""

    chain: Chain
    token: Contract
    committee: Contract
    datasets: Contract
    researchers: Contract
    consents: Contract
    noises: Contract
    market: Contract
    dataset: bytes = ZERO

    def class_id(self, index: int) -> bytes:
        return self.dataset[:30] + index.to_bytes(2, "big")

    def class_terms(self, index: int) -> tuple[Any, ...]:
        empty: list[bytes] = []
        limits = (1, HIGHEST_COST[index], 0, 0)
        return (1, 0, 0, 0, empty, 0, empty, empty, empty, *limits, word_of(f"terms {index}"))

    def request_terms(self, fields: dict[str, Any], salt: int) -> tuple[Any, ...]:
        return (
            self.dataset,
            list(fields["classes"]),
            lane_of(salt),
            0,
            word_of("mean"),
            word_of("parameters"),
            _USE,
            *(fields[name] for name in ("cost", "price", "fee", "max_patients")),
            *(fields[name] for name in ("seal_deadline", "settle_deadline")),
            word_of("delivery key"),
            salt.to_bytes(32, "big"),
        )

    def quorum(
        self,
        contract: Contract,
        name: str,
        typed: str,
        kinds: list[str],
        values: list[Any],
        number: int = 2,
    ) -> list[tuple[int, bytes]]:
        digest = contract.digest(f"Usufruct {name}", typed, kinds, values)
        return [(place, CUSTODIANS[place].sign(digest)) for place in range(number)]

    def attest(self, who: Key, person: bytes, issuer: Key) -> None:
        """The next version of this person's record, signed by the issuer and by a quorum."""
        record = self.datasets.view("recordOf", self.dataset, who.address)
        version = max(record["version"], record["pendingVersion"]) + 1
        commitment = keccak(person + version.to_bytes(4, "big"))
        values = [self.dataset, who.address, person, commitment, version, issuer.address, FAR]
        kinds = ["bytes32", "address", "bytes32", "bytes32", "uint32", "address", "uint40"]
        signed = self.datasets.digest("Usufruct DatasetRegistry", _ATTESTATION, kinds, values)
        self.datasets.send(ADMIN.address, "registerRecord", tuple(values), issuer.sign(signed))
        receipt = [self.dataset, who.address, commitment, version, 1]
        kinds = ["bytes32", "address", "bytes32", "uint32", "uint32"]
        signatures = self.quorum(self.datasets, "DatasetRegistry", _RECEIPT, kinds, receipt)
        self.datasets.send(ADMIN.address, "confirmStorage", tuple(receipt), signatures)


def make_setting(artifacts: Artifacts) -> Setting:
    """Deploys, publishes, attests; nothing is granted yet."""
    setting = _deploy(Chain(artifacts))
    _wire(setting)
    _publish(setting)
    for n, key in enumerate(PEOPLE[:PATIENTS]):
        setting.attest(key, word_of(f"person {n}"), OLD_ISSUER)
    # So that the steward may suspend records; who is attested anew is safe from it.
    setting.datasets.send(ADMIN.address, "withdrawIssuer", setting.dataset, OLD_ISSUER.address)
    _fill_rooms(setting)
    return setting


def _deploy(chain: Chain) -> Setting:
    me = ADMIN.address
    token = chain.deploy("TestEuro", me, me)
    committee = chain.deploy("CustodianCommittee", me, me)
    datasets = chain.deploy("DatasetRegistry", me, committee.address, me)
    researchers = chain.deploy("ResearcherRegistry", me, me)
    consents = chain.deploy("ConsentRegistry", me, me, datasets.address, HORIZON, THAW_GAP)
    windows = (POLICY.notice_window, POLICY.freeze_window, TURN_WINDOW, GATE_WINDOW)
    bond = (POLICY.unused_freeze_bps, POLICY.minimum_bond)
    rules = (POLICY.minimum_cohort, *windows, POLICY.certificate_window, *bond)
    noises = chain.deploy("NoiseRegistry", me, me, committee.address)
    parts = (token, datasets, researchers, consents, committee, noises)
    market = chain.deploy("ResearchMarket", me, me, *(part.address for part in parts), rules)
    return Setting(chain, token, committee, datasets, researchers, consents, noises, market)


def _wire(s: Setting) -> None:
    me = ADMIN.address
    s.datasets.send(me, "bindConsents", s.consents.address)
    s.consents.send(me, "bindMarket", s.market.address)
    s.noises.send(me, "bindMarket", s.market.address)
    for contract, role, holder in (
        (s.token, "MINTER", me),
        (s.datasets, "STEWARD", me),
        (s.researchers, "AUTHORITY", me),
        (s.market, "OPERATOR", OPERATOR.address),
        (s.market, "PAUSER", me),
        (s.consents, "PAUSER", me),
    ):
        contract.send(me, "grantRole", word_of(role), holder)
    members = [(key.address, [(1, key.secret)]) for key in CUSTODIANS]
    s.committee.send(me, "openEpoch", members, 2, [GATE.address])
    _record_joint_key(s)
    for key in (OPERATOR, *RESEARCHERS):
        s.token.send(me, "mint", key.address, WEALTH)
        s.token.send(key.address, "approve", s.market.address, 2**256 - 1)
    credential = (1, b"FR", FAR, False, word_of("user"), word_of("institution"), word_of("seen"))
    for key in RESEARCHERS:
        s.researchers.send(me, "give", key.address, credential)


def _record_joint_key(s: Setting) -> None:
    points = b"\x02" + word_of("A_0") + b"\x03" + word_of("A_1")
    # EIP-712 hashes a field of type bytes.
    values = [1, keccak(points), word_of("transcript")]
    kinds = ["uint32", "bytes32", "bytes32"]
    everybody = len(CUSTODIANS)
    signed = s.quorum(s.committee, "CustodianCommittee", _JOINT_KEY, kinds, values, everybody)
    s.committee.send(ADMIN.address, "recordJointKey", 1, points, values[2], signed)


def _publish(s: Setting) -> None:
    me = ADMIN.address
    arguments = (word_of("dictionary"), ZERO, "")
    (s.dataset,) = s.datasets.send(me, "publishDataset", *arguments)
    for index in HIGHEST_COST:
        s.datasets.send(me, "publishClass", s.dataset, s.class_terms(index))
    for issuer in (OLD_ISSUER, NEW_ISSUER):
        s.datasets.send(me, "addIssuer", s.dataset, issuer.address)


def _fill_rooms(s: Setting) -> None:
    used = s.consents.offset_of("Shard", "used")
    for index, assigned in ASSIGNED.items():
        room = _slot(bytes(32), _slot(s.class_id(index), s.consents.slot_of("_shards")))
        count = _slot(s.class_id(index), s.consents.slot_of("_shardCount"))
        s.chain.evm.insert_account_storage(s.consents.address, room, assigned << (8 * used))
        s.chain.evm.insert_account_storage(s.consents.address, count, 1)
        assert s.consents.view("shardOf", s.class_id(index), 0)["used"] == assigned


def _slot(key: bytes, mapping: int) -> int:
    """Where a mapping keeps a value (Solidity: layout of state variables in storage)."""
    return int.from_bytes(keccak(key + mapping.to_bytes(32, "big")), "big")
