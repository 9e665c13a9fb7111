"""Datasets, classes, issuers and records: who may, when they may, and what can never be undone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from web3.contract import Contract

from tests.contracts.support import (
    DAY,
    NOBODY,
    WALLET_YES,
    ZERO,
    Chain,
    address,
    class_id,
    dataset_id,
    member,
    refusing,
    role,
    sign_typed,
    word,
)

DICTIONARY, SALT, PERSON = word("dictionary"), word("salt"), word("person")
NO_RECORD = (ZERO, ZERO, NOBODY, 0, 0, False, False, NOBODY, NOBODY, NOBODY, ZERO)
ATTESTATION = [
    ("dataset", "bytes32"),
    ("patient", "address"),
    ("person", "bytes32"),
    ("commitment", "bytes32"),
    ("version", "uint32"),
    ("issuer", "address"),
    ("deadline", "uint40"),
]
RECEIPT = [
    ("dataset", "bytes32"),
    ("patient", "address"),
    ("commitment", "bytes32"),
    ("version", "uint32"),
    ("epoch", "uint32"),
]
TERMS: dict[str, Any] = {
    "permission": 2,
    "disease": 0,
    "modifiers": 0,
    "researchTypes": 0,
    "countries": [],
    "months": 0,
    "users": [],
    "projects": [],
    "institutions": [],
    "releaseKinds": 1,
    "maxCost": 1_000_000,
    "floorPerRecord": 0,
    "floorPerMilliRho": 0,
    "termsHash": word("terms"),
}
PURPOSE: dict[str, Any] = {
    "uses": 1 << 6,
    "diseases": [],
    "commercial": False,
    "clinicalCare": False,
    "months": 0,
    "project": ZERO,
    "ethicsApproval": ZERO,
    "duties": 0,
}
CREDENTIAL: dict[str, Any] = {
    "kind": 1,
    "country": b"NL",
    "expiry": 2**40 - 1,
    "withdrawn": False,
    "user": word("user"),
    "institution": word("institution"),
    "evidence": word("evidence"),
}


@dataclass
class Registry:
    """The registry with one dataset of one issuer, and how its people act on it."""

    chain: Chain
    contract: Contract
    committee: Contract
    dataset: bytes

    def send(self, sender: str, action: str, *arguments: Any) -> Any:
        return self.chain.send(self.contract.functions[action](*arguments), sender)

    def read(self, question: str, *arguments: Any) -> Any:
        return self.chain.read(self.contract.functions[question](*arguments))

    def attestation(self, **changes: Any) -> dict[str, Any]:
        made = {
            "dataset": self.dataset,
            "patient": address("patient"),
            "person": PERSON,
            "commitment": word("commitment"),
            "version": 1,
            "issuer": address("issuer"),
            "deadline": self.chain.now + DAY,
        }
        return made | changes

    def attest(self, signer: str = "issuer", **changes: Any) -> Any:
        said = self.attestation(**changes)
        return self.send("stranger", "registerRecord", said, self.sign(signer, said))

    def sign(self, signer: str, said: dict[str, Any]) -> bytes:
        return sign_typed(
            signer, self.contract, "RecordAttestation", ATTESTATION, said, self.chain.id
        )

    def receipt(self, **changes: Any) -> dict[str, Any]:
        made = {
            "dataset": self.dataset,
            "patient": address("patient"),
            "commitment": word("commitment"),
            "version": 1,
            "epoch": 1,
        }
        return made | changes

    def receipt_signatures(
        self, receipt: dict[str, Any], places: tuple[int, ...] = (0, 1)
    ) -> list[dict[str, Any]]:
        signed = [
            sign_typed(
                f"c{place}", self.contract, "StorageReceipt", RECEIPT, receipt, self.chain.id
            )
            for place in places
        ]
        return [{"place": p, "signature": s} for p, s in zip(places, signed, strict=True)]

    def store(self, **changes: Any) -> Any:
        receipt = self.receipt(**changes)
        return self.send("stranger", "confirmStorage", receipt, self.receipt_signatures(receipt))

    def record(self, who: str = "patient") -> Any:
        return self.read("recordOf", self.dataset, address(who))

    def usable(self, who: str = "patient") -> bool:
        return bool(self.read("isUsable", self.dataset, address(who)))

    def publish_class(self, **changes: Any) -> Any:
        return self.send("steward", "publishClass", self.dataset, TERMS | changes)

    def conditions(self, index: int = 1, who: str = "patient") -> Any:
        return self.read("grantConditions", class_id(self.dataset, index), address(who))


@pytest.fixture(scope="module")
def deployed(shared_chain: Chain) -> Registry:
    chain = shared_chain
    committee = chain.deploy("CustodianCommittee", address("admin"))
    seats = [member(f"c{place}") for place in range(3)]
    chain.send(committee.functions.openEpoch(seats, 2, [address("gate")]), "admin")
    contract = chain.deploy("DatasetRegistry", committee.address, address("admin"))
    made = Registry(chain, contract, committee, b"")
    made.send("admin", "grantRole", role("STEWARD"), address("steward"))
    made.send("admin", "grantRole", role("PAUSER"), address("admin"))
    made.send("admin", "bindConsents", address("consents"))
    sent = made.send("steward", "publishDataset", DICTIONARY, SALT, "https://example.org/d")
    made.dataset = sent.facts("DatasetPublished")["dataset"]
    made.send("steward", "addIssuer", made.dataset, address("issuer"))
    return made


@pytest.fixture
def registry(deployed: Registry, chain: Chain) -> Registry:
    return deployed


@pytest.fixture
def stored(registry: Registry) -> Registry:
    registry.attest()
    registry.store()
    return registry


# ---- Datasets ----


def test_a_dataset_is_named_by_what_it_is(registry: Registry) -> None:
    steward, where = address("steward"), registry.contract.address
    expected = dataset_id(registry.chain.id, where, steward, DICTIONARY, SALT)
    assert registry.dataset == expected
    assert registry.read("stewardOf", expected) == steward
    assert registry.read("dictionaryOf", expected) == DICTIONARY
    assert registry.read("isRetired", expected) is False
    assert registry.read("classesOf", expected) == 0
    assert registry.read("committee") == registry.committee.address


def test_a_dataset_is_published_once(registry: Registry) -> None:
    with refusing("DatasetExists", registry.dataset):
        registry.send("steward", "publishDataset", DICTIONARY, SALT, "")
    registry.send("steward", "publishDataset", DICTIONARY, word("other salt"), "")


def test_a_dataset_has_a_dictionary(registry: Registry) -> None:
    with refusing("EmptyDictionary"):
        registry.send("steward", "publishDataset", ZERO, SALT, "")


def test_only_stewards_publish(registry: Registry) -> None:
    with refusing("AccessControlUnauthorizedAccount", address("stranger"), role("STEWARD")):
        registry.send("stranger", "publishDataset", DICTIONARY, SALT, "")


STEWARD_ACTIONS: dict[str, Callable[[], list[Any]]] = {
    "retire": list,
    "handOver": lambda: [address("stranger")],
    "registerDescent": lambda: [[1], [2]],
    "publishClass": lambda: [TERMS],
    "addIssuer": lambda: [address("stranger")],
    "withdrawIssuer": lambda: [address("issuer")],
    "suspendRecord": lambda: [address("patient")],
}


@pytest.mark.parametrize("action", STEWARD_ACTIONS)
@pytest.mark.parametrize("who", ["stranger", "admin", "issuer"])
def test_only_its_own_steward_acts_on_a_dataset(registry: Registry, action: str, who: str) -> None:
    registry.send("admin", "grantRole", role("STEWARD"), address(who))
    with refusing("NotSteward", registry.dataset, address(who)):
        registry.send(who, action, registry.dataset, *STEWARD_ACTIONS[action]())


@pytest.mark.parametrize("action", STEWARD_ACTIONS)
def test_an_unknown_dataset_is_refused(registry: Registry, action: str) -> None:
    with refusing("UnknownDataset", ZERO):
        registry.send("steward", action, ZERO, *STEWARD_ACTIONS[action]())


def test_a_handed_over_dataset_answers_to_its_new_steward(registry: Registry) -> None:
    sent = registry.send("steward", "handOver", registry.dataset, address("stranger"))
    assert sent.facts("StewardChanged")["steward"] == address("stranger")
    with refusing("NotSteward"):
        registry.send("steward", "retire", registry.dataset)
    registry.send("stranger", "retire", registry.dataset)


def test_a_dataset_is_not_handed_to_nobody(registry: Registry) -> None:
    with refusing("ZeroAddress"):
        registry.send("steward", "handOver", registry.dataset, NOBODY)


def test_a_retired_dataset_takes_nothing_new(stored: Registry) -> None:
    stored.publish_class()
    stored.attest(version=2, commitment=word("next"))
    assert stored.send("steward", "retire", stored.dataset).facts("DatasetRetired")
    assert stored.read("isRetired", stored.dataset) is True
    with refusing("DatasetIsRetired", stored.dataset):
        stored.publish_class()
    with refusing("DatasetIsRetired", stored.dataset):
        stored.attest(version=3)
    with refusing("DatasetIsRetired", stored.dataset):
        stored.store(version=2, commitment=word("next"))
    with refusing("DatasetIsRetired", stored.dataset):
        stored.conditions()
    with refusing("DatasetIsRetired", stored.dataset):
        permitted(stored)


def test_a_dataset_retires_once(registry: Registry) -> None:
    registry.send("steward", "retire", registry.dataset)
    assert registry.send("steward", "retire", registry.dataset).events == []


def test_a_retired_dataset_still_lets_go(stored: Registry) -> None:
    stored.send("steward", "retire", stored.dataset)
    stored.send("consents", "moveRecord", stored.dataset, address("patient"), address("mover"))
    stored.send("steward", "withdrawIssuer", stored.dataset, address("issuer"))
    stored.send("steward", "suspendRecord", stored.dataset, address("mover"))
    stored.send("consents", "eraseRecord", stored.dataset, address("mover"))


# ---- Pausing and binding ----


def test_a_pause_stops_whatever_adds(stored: Registry) -> None:
    stored.attest(version=2, commitment=word("next"))
    stored.send("admin", "pause")
    additions: list[Callable[[], Any]] = [
        lambda: stored.send("steward", "publishDataset", DICTIONARY, word("other"), ""),
        lambda: stored.send("steward", "registerDescent", stored.dataset, [1], [2]),
        stored.publish_class,
        lambda: stored.send("steward", "addIssuer", stored.dataset, address("stranger")),
        lambda: stored.attest(version=3),
        lambda: stored.store(version=2, commitment=word("next")),
    ]
    for add in additions:
        with refusing("EnforcedPause"):
            add()
    stored.send("admin", "unpause")
    stored.store(version=2, commitment=word("next"))


def test_a_pause_never_stops_what_takes_away(stored: Registry) -> None:
    stored.send("admin", "pause")
    stored.send("consents", "moveRecord", stored.dataset, address("patient"), address("mover"))
    stored.send("steward", "withdrawIssuer", stored.dataset, address("issuer"))
    stored.send("steward", "suspendRecord", stored.dataset, address("mover"))
    stored.send("consents", "eraseRecord", stored.dataset, address("mover"))
    stored.send("steward", "retire", stored.dataset)
    stored.send("steward", "handOver", stored.dataset, address("stranger"))


@pytest.mark.parametrize("action", ["pause", "unpause"])
def test_only_the_pauser_pauses(registry: Registry, action: str) -> None:
    with refusing("AccessControlUnauthorizedAccount", address("steward"), role("PAUSER")):
        registry.send("steward", action)


def test_the_consent_registry_is_bound_once_by_the_admin(registry: Registry) -> None:
    with refusing("AlreadyBound", address("consents")):
        registry.send("admin", "bindConsents", address("stranger"))
    with refusing("AccessControlUnauthorizedAccount", address("stranger"), ZERO):
        registry.send("stranger", "bindConsents", address("stranger"))
    assert registry.read("consents") == address("consents")


def test_nobody_is_no_consent_registry(registry: Registry) -> None:
    bare = registry.chain.deploy("DatasetRegistry", registry.committee.address, address("admin"))
    with refusing("ZeroAddress"):
        registry.chain.send(bare.functions.bindConsents(NOBODY), "admin")
    with refusing("OnlyConsentRegistry", address("stranger")):
        registry.chain.send(bare.functions.eraseRecord(ZERO, address("patient")), "stranger")


# ---- Diseases ----


def test_descent_is_what_the_steward_registered(registry: Registry) -> None:
    sent = registry.send("steward", "registerDescent", registry.dataset, [5, 6], [4, 4])
    assert [name for name, _ in sent.events] == ["DiseaseDescends"] * 2
    assert registry.read("isDescendant", registry.dataset, 5, 4) is True
    assert registry.read("isDescendant", registry.dataset, 6, 4) is True
    assert registry.read("isDescendant", registry.dataset, 4, 5) is False
    assert registry.read("isDescendant", registry.dataset, 4, 4) is False


@pytest.mark.parametrize(
    ("descendants", "ancestors", "entry"),
    [([1, 2], [3], 2), ([], [3], 0), ([1, 0], [2, 2], 1), ([1], [0], 0), ([1, 2, 3], [2, 3, 3], 2)],
)
def test_a_meaningless_descent_is_refused(
    registry: Registry, descendants: list[int], ancestors: list[int], entry: int
) -> None:
    with refusing("DiseaseTableInvalid", entry):
        registry.send("steward", "registerDescent", registry.dataset, descendants, ancestors)


def test_the_disease_table_is_sealed_by_the_first_class(registry: Registry) -> None:
    registry.publish_class()
    with refusing("DiseaseTableSealed", registry.dataset):
        registry.send("steward", "registerDescent", registry.dataset, [1], [2])


# ---- Classes ----


def test_a_class_is_published_under_the_next_index(registry: Registry) -> None:
    first = registry.publish_class().facts("ClassPublished")
    second = registry.publish_class(maxCost=7).facts("ClassPublished")
    assert first["class"] == class_id(registry.dataset, 1)
    assert second["class"] == class_id(registry.dataset, 2)
    assert registry.read("classesOf", registry.dataset) == 2
    assert registry.read("definitionOf", first["class"]) == first["definition"]
    assert first["definition"] != second["definition"]
    assert registry.read("maxCostOf", second["class"]) == 7


def test_an_unknown_class_has_no_cost_and_no_conditions(stored: Registry) -> None:
    unknown = class_id(stored.dataset, 1)
    assert stored.read("definitionOf", unknown) == ZERO
    with refusing("UnknownClass", unknown):
        stored.read("maxCostOf", unknown)
    with refusing("UnknownClass", unknown):
        stored.conditions()
    with refusing("UnknownClass", unknown):
        permitted(stored)
    with refusing("UnknownDataset", ZERO):
        stored.read("grantConditions", ZERO, address("patient"))


def permitted(
    registry: Registry,
    terms: dict[str, Any] | None = None,
    purpose: dict[str, Any] | None = None,
    credential: dict[str, Any] | None = None,
) -> None:
    registry.read(
        "requirePermitted",
        class_id(registry.dataset, 1),
        TERMS | (terms or {}),
        PURPOSE | (purpose or {}),
        CREDENTIAL | (credential or {}),
    )


def test_terms_other_than_the_published_are_refused(registry: Registry) -> None:
    registry.publish_class()
    permitted(registry)
    for field, value in {"permission": 1, "maxCost": 2, "termsHash": word("x")}.items():
        with refusing("DefinitionMismatch"):
            permitted(registry, {field: value})


def test_a_purpose_that_the_class_does_not_permit_is_refused(registry: Registry) -> None:
    registry.publish_class(modifiers=1 << 5)
    with refusing("PurposeNotPermitted", class_id(registry.dataset, 1), 1 << 5):
        permitted(registry, {"modifiers": 1 << 5}, {"commercial": True})


# ---- Issuers ----


def test_an_issuer_is_added_once_and_withdrawn_once(registry: Registry) -> None:
    clinic = address("stranger")
    add = (registry.dataset, clinic)
    assert registry.send("steward", "addIssuer", *add).facts("IssuerAdded")["issuer"] == clinic
    assert registry.send("steward", "addIssuer", *add).events == []
    assert registry.read("isIssuer", *add) is True
    assert registry.send("steward", "withdrawIssuer", *add).facts("IssuerWithdrawn")
    assert registry.read("isIssuer", *add) is False
    with refusing("UnknownIssuer", registry.dataset, clinic):
        registry.send("steward", "withdrawIssuer", *add)


def test_nobody_is_no_issuer(registry: Registry) -> None:
    with refusing("ZeroAddress"):
        registry.send("steward", "addIssuer", registry.dataset, NOBODY)


# ---- Records: attesting ----


def test_an_attested_record_waits_for_its_storage(registry: Registry) -> None:
    assert registry.attest().facts("RecordAttested")["commitment"] == word("commitment")
    record = tuple(registry.record())
    patient, issuer = address("patient"), address("issuer")
    waiting = (ZERO, word("commitment"), NOBODY, 0, 1, False, False, NOBODY, issuer, patient)
    assert record == (*waiting, PERSON)
    registry.publish_class()
    assert registry.usable() is False
    with refusing("RecordNotStored", registry.dataset, patient):
        registry.conditions()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"dataset": word("none")[:30] + b"\0\0"}, "UnknownDataset"),
        ({"patient": NOBODY}, "ZeroAddress"),
        ({"person": ZERO}, "EmptyPerson"),
        ({"commitment": ZERO}, "EmptyCommitment"),
        ({"deadline": 1}, "AttestationExpired"),
        ({"issuer": address("stranger")}, "UnknownIssuer"),
        ({"version": 0}, "WrongRecordVersion"),
        ({"version": 2}, "WrongRecordVersion"),
    ],
)
def test_an_attestation_that_cannot_hold_is_refused(
    registry: Registry, changes: dict[str, Any], name: str
) -> None:
    with refusing(name):
        registry.attest(**changes)


def test_an_attestation_holds_to_its_last_second(registry: Registry) -> None:
    deadline = registry.chain.now + DAY
    said = registry.attestation(deadline=deadline)
    call = registry.contract.functions.registerRecord(said, registry.sign("issuer", said))
    registry.chain.warp(DAY)
    registry.chain.read(call)
    registry.chain.warp(1)
    with refusing("AttestationExpired", deadline):
        registry.chain.read(call)


@pytest.mark.parametrize("field", [name for name, _ in ATTESTATION])
def test_an_attestation_binds_every_field(registry: Registry, field: str) -> None:
    """Signed over one value, sent with another: the signature does not fit."""
    other = registry.send("steward", "publishDataset", DICTIONARY, word("second"), "")
    second = other.facts("DatasetPublished")["dataset"]
    for dataset in (registry.dataset, second):
        registry.send("steward", "addIssuer", dataset, address("stranger"))
    registry.send("steward", "addIssuer", second, address("issuer"))
    lies = {
        "dataset": second,
        "patient": address("mover"),
        "person": word("another person"),
        "commitment": word("other"),
        "version": 2,
        "issuer": address("stranger"),
        "deadline": registry.chain.now + 2 * DAY,
    }
    said = registry.attestation()
    signature = registry.sign("issuer", said)
    with refusing("BadIssuerSignature"):
        registry.send("stranger", "registerRecord", said | {field: lies[field]}, signature)


def test_an_attestation_counts_on_one_chain_and_deployment_only(registry: Registry) -> None:
    twin = registry.chain.deploy("DatasetRegistry", registry.committee.address, address("admin"))
    said = registry.attestation()
    for contract, chain_id in (
        (twin, registry.chain.id),
        (registry.contract, registry.chain.id + 1),
    ):
        foreign = sign_typed("issuer", contract, "RecordAttestation", ATTESTATION, said, chain_id)
        with refusing("BadIssuerSignature", address("issuer")):
            registry.send("stranger", "registerRecord", said, foreign)


def test_a_wallet_contract_may_be_an_issuer(registry: Registry) -> None:
    wallet = registry.chain.deploy_code(WALLET_YES)
    registry.send("steward", "addIssuer", registry.dataset, wallet)
    registry.attest(issuer=wallet)
    assert registry.record()[8] == wallet


def test_an_attestation_cannot_be_replayed(registry: Registry) -> None:
    registry.attest()
    with refusing("WrongRecordVersion", registry.dataset, address("patient"), 2, 1):
        registry.attest()


def test_a_person_has_one_record(registry: Registry) -> None:
    registry.attest()
    with refusing("PersonHasRecord", registry.dataset, PERSON, address("patient")):
        registry.attest(patient=address("mover"))


def test_an_address_stands_for_one_person_for_ever(registry: Registry) -> None:
    registry.attest()
    with refusing("PersonHasRecord", registry.dataset, PERSON, address("patient")):
        registry.attest(person=word("another person"), version=2)


# ---- Records: storing ----


def test_a_stored_record_is_usable(registry: Registry) -> None:
    registry.attest()
    stored = registry.store().facts("RecordStored")
    assert (stored["commitment"], stored["version"]) == (word("commitment"), 1)
    patient, issuer = address("patient"), address("issuer")
    held = (word("commitment"), ZERO, patient, 1, 0, False, False, issuer, NOBODY, NOBODY, PERSON)
    assert tuple(registry.record()) == held
    published = registry.publish_class().facts("ClassPublished")
    assert registry.usable()
    assert registry.conditions() == [published["definition"], 1_000_000]


def test_a_new_version_replaces_the_old_one_once_it_is_stored(stored: Registry) -> None:
    stored.attest(version=2, commitment=word("next"))
    assert stored.record()[:2] == (word("commitment"), word("next"))
    assert stored.usable()
    stored.store(version=2, commitment=word("next"))
    assert (stored.record()[0], stored.record()[3]) == (word("next"), 2)
    assert stored.record()[7] == address("issuer")


def test_a_pending_version_can_be_replaced_but_not_revived(registry: Registry) -> None:
    registry.attest()
    registry.attest(version=2, commitment=word("next"))
    with refusing("ReceiptMismatch", word("next"), word("commitment")):
        registry.store()
    registry.store(version=2, commitment=word("next"))


def test_a_receipt_needs_something_pending(registry: Registry) -> None:
    with refusing("NothingPending", registry.dataset, address("patient")):
        registry.store()
    registry.attest()
    registry.store()
    with refusing("NothingPending", registry.dataset, address("patient")):
        registry.store()


def test_a_receipt_names_the_pending_version(registry: Registry) -> None:
    registry.attest()
    with refusing("WrongRecordVersion", registry.dataset, address("patient"), 1, 2):
        registry.store(version=2)


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_a_receipt_of_another_epoch_is_stale(registry: Registry, epoch: int) -> None:
    registry.attest()
    seats = [member(f"c{place}") for place in range(3)]
    call = registry.committee.functions.openEpoch(seats, 2, [address("gate")])
    registry.chain.send(call, "admin")
    with refusing("StaleStorageReceipt", epoch, 2):
        registry.store(epoch=epoch)
    registry.store(epoch=2)


def test_a_receipt_needs_a_quorum(registry: Registry) -> None:
    registry.attest()
    receipt = registry.receipt()
    with refusing("QuorumMissing", 2, 1):
        one = registry.receipt_signatures(receipt, (1,))
        registry.send("stranger", "confirmStorage", receipt, one)


@pytest.mark.parametrize("field", ["patient", "commitment", "version", "epoch", "dataset"])
def test_a_receipt_binds_every_field(registry: Registry, field: str) -> None:
    registry.attest()
    lies = {
        "patient": address("mover"),
        "commitment": word("other"),
        "version": 2,
        "epoch": 2,
        "dataset": word("other dataset"),
    }
    signed = registry.receipt_signatures(registry.receipt(**{field: lies[field]}))
    with refusing("BadCustodianSignature", 0):
        registry.send("stranger", "confirmStorage", registry.receipt(), signed)


def test_a_record_of_an_issuer_withdrawn_meanwhile_is_not_stored(registry: Registry) -> None:
    registry.attest()
    registry.send("steward", "withdrawIssuer", registry.dataset, address("issuer"))
    with refusing("UnknownIssuer", registry.dataset, address("issuer")):
        registry.store()


def test_a_later_record_may_come_from_another_issuer(stored: Registry) -> None:
    stored.send("steward", "addIssuer", stored.dataset, address("stranger"))
    stored.attest("stranger", issuer=address("stranger"), version=2)
    stored.store(version=2)
    assert stored.record()[7] == address("stranger")


# ---- Records: suspending, erasing, moving ----


def test_a_record_of_a_withdrawn_issuer_can_be_suspended(stored: Registry) -> None:
    stored.publish_class()
    stored.send("steward", "withdrawIssuer", stored.dataset, address("issuer"))
    assert stored.usable(), "withdrawing an issuer alone takes nothing from its patients"
    suspend = ("steward", "suspendRecord", stored.dataset, address("patient"))
    assert stored.send(*suspend).facts("RecordSuspended")["patient"] == address("patient")
    assert stored.send(*suspend).events == []
    assert stored.usable() is False
    with refusing("RecordUnusable", stored.dataset, address("patient")):
        stored.conditions()


def test_a_record_of_a_trusted_issuer_cannot_be_suspended(stored: Registry) -> None:
    with refusing("IssuerStillTrusted", stored.dataset, address("issuer")):
        stored.send("steward", "suspendRecord", stored.dataset, address("patient"))


def test_only_a_stored_record_can_be_suspended(registry: Registry) -> None:
    registry.attest()
    with refusing("RecordNotStored", registry.dataset, address("patient")):
        registry.send("steward", "suspendRecord", registry.dataset, address("patient"))


def test_only_a_new_attestation_lifts_a_suspension(stored: Registry) -> None:
    stored.send("steward", "withdrawIssuer", stored.dataset, address("issuer"))
    stored.send("steward", "suspendRecord", stored.dataset, address("patient"))
    stored.send("steward", "addIssuer", stored.dataset, address("issuer"))
    assert stored.usable() is False
    stored.attest(version=2, commitment=word("next"))
    assert stored.usable() is False
    stored.store(version=2, commitment=word("next"))
    assert stored.usable()


@pytest.mark.parametrize("who", ["stranger", "steward", "admin", "patient"])
def test_only_the_consent_registry_erases_and_moves(stored: Registry, who: str) -> None:
    with refusing("OnlyConsentRegistry", address(who)):
        stored.send(who, "eraseRecord", stored.dataset, address("patient"))
    with refusing("OnlyConsentRegistry", address(who)):
        stored.send(who, "moveRecord", stored.dataset, address("patient"), address("mover"))


def erase(registry: Registry) -> Any:
    return registry.send("consents", "eraseRecord", registry.dataset, address("patient"))


def test_an_erased_record_leaves_no_commitment(stored: Registry) -> None:
    stored.publish_class()
    assert erase(stored).facts("RecordErased")["patient"] == address("patient")
    assert stored.record()[:2] == (ZERO, ZERO)
    assert stored.usable() is False
    assert erase(stored).events == []
    with refusing("RecordUnusable", stored.dataset, address("patient")):
        stored.conditions()


def test_what_was_pending_is_erased_too(stored: Registry) -> None:
    stored.attest(version=2, commitment=word("next"))
    erase(stored)
    with refusing("NothingPending"):
        stored.store(version=2, commitment=word("next"))
    with refusing("WrongRecordVersion", stored.dataset, address("patient"), 3, 2):
        stored.attest(version=2, commitment=word("next"))
    stored.attest(version=3, commitment=word("anew"))
    stored.store(version=3, commitment=word("anew"))
    assert stored.usable()


def test_a_record_that_was_never_stored_can_be_erased(registry: Registry) -> None:
    registry.attest()
    erase(registry)
    assert (registry.record()[6], registry.usable()) == (True, False)
    with refusing("WrongRecordVersion", registry.dataset, address("patient"), 2, 1):
        registry.attest()


def test_nothing_to_erase_is_no_error(registry: Registry) -> None:
    assert erase(registry).events == []
    assert tuple(registry.record()) == NO_RECORD


def move(registry: Registry, source: str = "patient", target: str = "mover") -> Any:
    return registry.send(
        "consents", "moveRecord", registry.dataset, address(source), address(target)
    )


def test_a_move_takes_the_record_along_and_keeps_its_binding(stored: Registry) -> None:
    before = tuple(stored.record())
    moved = move(stored).facts("RecordMoved")
    assert (moved["from"], moved["to"]) == (address("patient"), address("mover"))
    assert tuple(stored.record("mover")) == before
    assert tuple(stored.record("patient")) == NO_RECORD
    assert stored.record("mover")[2] == address("patient")
    assert (stored.usable("patient"), stored.usable("mover")) == (False, True)


def test_what_is_pending_moves_along_and_stays_bound_to_the_old_address(stored: Registry) -> None:
    stored.attest(version=2, commitment=word("next"))
    move(stored)
    assert stored.record("mover")[9] == address("patient")
    stored.store(patient=address("mover"), version=2, commitment=word("next"))
    assert (stored.record("mover")[2], stored.record("mover")[3]) == (address("patient"), 2)
    stored.attest(patient=address("mover"), version=3, commitment=word("third"))
    stored.store(patient=address("mover"), version=3, commitment=word("third"))
    assert stored.record("mover")[2] == address("mover")


def test_a_second_move_keeps_the_first_binding_of_what_is_pending(registry: Registry) -> None:
    registry.attest()
    move(registry)
    move(registry, "mover", "stranger")
    assert registry.record("stranger")[9] == address("patient")
    registry.attest(patient=address("stranger"), version=2)
    assert registry.record("stranger")[9] == address("stranger")


def test_the_person_moves_along(stored: Registry) -> None:
    move(stored)
    with refusing("PersonHasRecord", stored.dataset, PERSON, address("mover")):
        stored.attest(patient=address("stranger"))


def test_an_address_that_was_left_never_holds_a_record_again(stored: Registry) -> None:
    move(stored)
    with refusing("RecordUnusable", stored.dataset, address("patient")):
        stored.attest(person=word("another person"))
    with refusing("RecordExists", stored.dataset, address("patient")):
        move(stored, "mover", "patient")
    with refusing("RecordNotStored", stored.dataset, address("patient")):
        move(stored, "patient", "stranger")


def test_a_move_never_lands_on_another_record(stored: Registry) -> None:
    stored.attest(patient=address("mover"), person=word("another person"))
    with refusing("RecordExists", stored.dataset, address("mover")):
        move(stored)
    with refusing("RecordExists", stored.dataset, address("patient")):
        move(stored, "patient", "patient")


def test_a_move_to_nobody_is_refused(stored: Registry) -> None:
    with refusing("ZeroAddress"):
        stored.send("consents", "moveRecord", stored.dataset, address("patient"), NOBODY)


@pytest.mark.parametrize("end", ["suspended", "erased"])
def test_a_move_lifts_nothing(stored: Registry, end: str) -> None:
    if end == "erased":
        erase(stored)
    else:
        stored.send("steward", "withdrawIssuer", stored.dataset, address("issuer"))
        stored.send("steward", "suspendRecord", stored.dataset, address("patient"))
    move(stored)
    assert stored.usable("mover") is False


def test_commitments_are_given_for_usable_records_only(stored: Registry) -> None:
    stored.attest(patient=address("mover"), person=word("waiting"))
    asked = [address(name) for name in ("stranger", "patient", "mover")]
    commitments, bound, versions = stored.read("commitmentsOf", stored.dataset, asked)
    assert commitments == [ZERO, word("commitment"), ZERO]
    assert bound == [NOBODY, address("patient"), NOBODY]
    assert versions == [0, 1, 0]
    erase(stored)
    assert stored.read("commitmentsOf", stored.dataset, asked)[0] == [ZERO] * 3


# ---- Batches and gas ----


def test_in_a_batch_a_bad_entry_does_not_sink_the_rest(registry: Registry) -> None:
    good, bad = registry.attestation(), registry.attestation(version=9, patient=address("mover"))
    bad["person"] = word("another person")
    encode = registry.contract.encode_abi
    receipt = registry.receipt()
    calls = [
        encode("registerRecord", [bad, registry.sign("issuer", bad)]),
        encode("registerRecord", [good, registry.sign("issuer", good)]),
        encode("confirmStorage", [receipt, registry.receipt_signatures(receipt)]),
    ]
    sent = registry.send("stranger", "batch", calls)
    assert sent.facts("EntryRefused")["entry"] == 0
    assert registry.usable()
    assert tuple(registry.record("mover")) == NO_RECORD


def test_a_batch_gives_nobody_a_right_that_they_lack(registry: Registry) -> None:
    calls = [registry.contract.encode_abi("retire", [registry.dataset])]
    registry.send("stranger", "batch", calls)
    assert registry.read("isRetired", registry.dataset) is False


def test_what_a_grant_must_know_costs_four_cold_reads(stored: Registry) -> None:
    stored.publish_class()
    call = stored.contract.functions.grantConditions(
        class_id(stored.dataset, 1), address("patient")
    )
    # 21,000 for the transaction, about 900 for its data; 4 x 2,100 for the reads (EIP-2929).
    spent = stored.chain.send(call, "stranger").gas - 21_000
    print("grantConditions, execution and data:", spent)
    assert 4 * 2_100 < spent < 11_000


def test_a_record_costs_little_gas(registry: Registry) -> None:
    attested, stored = registry.attest().gas, registry.store().gas
    print("registerRecord:", attested, "confirmStorage (2 of 3):", stored)
    assert attested < 165_000
    assert stored < 150_000
