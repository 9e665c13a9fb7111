"""All contracts with one dataset, and what each person in a test can do with one call.

A test says who does what; terms that it does not change are sound. Runs on any `Chain`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from web3.contract import Contract

from tests.contracts.market_terms import (
    CAP,
    CUSTODIANS,
    LIFE,
    POLICY,
    PURPOSE,
    SIGNED,
    THAW_GAP,
)
from tests.contracts.support import DAY, Chain, Sent, address, class_id, sign_typed, word


@dataclass
class Parts:
    """The deployed contracts."""

    token: Contract
    committee: Contract
    datasets: Contract
    researchers: Contract
    consents: Contract
    noises: Contract
    market: Contract


@dataclass
class World:
    """The contracts, and what each person in a test can do with one call."""

    chain: Chain
    parts: Parts
    dataset: bytes = b""
    offers: dict[int, dict[str, Any]] = field(default_factory=dict)
    # Contracts that act as people, by the name that a test gives them.
    wallets: dict[str, str] = field(default_factory=dict)

    def where(self, who: str) -> str:
        return self.wallets.get(who) or address(who)

    # ---- calls and messages ----

    @property
    def consents(self) -> Contract:
        return self.parts.consents

    @property
    def market(self) -> Contract:
        return self.parts.market

    def later(self, seconds: int = DAY) -> int:
        return self.chain.now + seconds

    def send(self, sender: str, contract: Contract, action: str, *arguments: Any) -> Sent:
        return self.chain.send(contract.functions[action](*arguments), sender)

    def consent(self, sender: str, action: str, *arguments: Any) -> Sent:
        return self.send(sender, self.consents, action, *arguments)

    def trade(self, sender: str, action: str, *arguments: Any) -> Sent:
        return self.send(sender, self.market, action, *arguments)

    def read(self, contract: Contract, question: str, *arguments: Any) -> Any:
        return self.chain.read(contract.functions[question](*arguments))

    def sign(self, signer: str, contract: Contract, kind: str, message: dict[str, Any]) -> bytes:
        fields = [tuple(reversed(part.split(" "))) for part in SIGNED[kind].split(",")]
        pairs = [(name, type_) for name, type_ in fields]
        return sign_typed(signer, contract, kind, pairs, message, self.chain.id)

    def quorum(
        self, contract: Contract, kind: str, message: dict[str, Any], *places: int
    ) -> list[dict[str, Any]]:
        return [
            {"place": place, "signature": self.sign(CUSTODIANS[place], contract, kind, message)}
            for place in places
        ]

    def batch(self, contract: Contract, calls: Sequence[tuple[str, list[Any]]]) -> Sent:
        data = [contract.encode_abi(name, args=arguments) for name, arguments in calls]
        return self.send("relayer", contract, "batch", data)

    # ---- records ----

    def class_id(self, index: int = 1) -> bytes:
        return class_id(self.dataset, index)

    def attestation(self, who: str, version: int = 1) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "patient": self.where(who),
            "person": word(f"person {who}"),
            "commitment": word(f"commitment {who} {version}"),
            "version": version,
            "issuer": address("issuer"),
            "deadline": self.later(),
        }

    def receipt(self, who: str, version: int = 1) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "patient": self.where(who),
            "commitment": word(f"commitment {who} {version}"),
            "version": version,
            "epoch": self.read(self.parts.committee, "currentEpoch"),
        }

    def attest(self, *people: str, version: int = 1) -> Sent:
        said = [self.attestation(who, version) for who in people]
        signed = [
            [each, self.sign("issuer", self.parts.datasets, "RecordAttestation", each)]
            for each in said
        ]
        return self.batch(self.parts.datasets, [("registerRecord", each) for each in signed])

    def store(self, *people: str, version: int = 1) -> Sent:
        held = [self.receipt(who, version) for who in people]
        signed = [
            [each, self.quorum(self.parts.datasets, "StorageReceipt", each, 0, 1)] for each in held
        ]
        return self.batch(self.parts.datasets, [("confirmStorage", each) for each in signed])

    def enrol(self, *people: str) -> None:
        """Records attested and stored; nothing granted yet."""
        for start in range(0, len(people), 50):
            self.attest(*people[start : start + 50])
            self.store(*people[start : start + 50])

    # ---- consents ----

    def view(self, who: str) -> dict[str, Any]:
        names = ("state", "class", "shard", "place", "sequence", "expiry", "cap", "spent", "owed")
        answer = self.read(self.consents, "consentOf", self.dataset, self.where(who))
        return dict(zip(names, answer, strict=True))

    def shard(self, index: int = 1, number: int = 0) -> dict[str, Any]:
        names = ("spent", "earned", "live", "used", "frozenUntil", "frozenFor")
        answer = self.read(self.consents, "shardOf", self.class_id(index), number)
        return dict(zip(names, answer, strict=True))

    def grant_of(self, who: str, index: int = 1, **changes: Any) -> dict[str, Any]:
        class_ = self.class_id(index)
        made = {
            "patient": self.where(who),
            "dataset": self.dataset,
            "class": class_,
            "definition": self.read(self.parts.datasets, "definitionOf", class_),
            "cap": CAP,
            "expiry": self.later(LIFE),
            "sequence": self.view(who)["sequence"] + 1,
            "deadline": self.later(),
        }
        return made | changes

    def grant(self, who: str, index: int = 1, **changes: Any) -> Sent:
        return self.consent(who, "grant", self.grant_of(who, index, **changes))

    def grant_by_sig(self, who: str, signer: str = "", **changes: Any) -> Sent:
        said = self.grant_of(who, **changes)
        signature = self.sign(signer or who, self.consents, "Grant", said)
        return self.consent("relayer", "grantBySig", said, self.where(signer or who), signature)

    def signed_grant(self, who: str, **changes: Any) -> tuple[str, list[Any]]:
        """As an entry of a batch."""
        said = self.grant_of(who, **changes)
        return "grantBySig", [said, self.where(who), self.sign(who, self.consents, "Grant", said)]

    def grant_all(self, *people: str, index: int = 1, **changes: Any) -> None:
        """By signed messages, in batches of fifty."""
        for start in range(0, len(people), 50):
            some = people[start : start + 50]
            entries = [self.signed_grant(who, index=index, **changes) for who in some]
            sent = self.batch(self.consents, entries)
            refused = [event for event in sent.events if event[0] == "EntryRefused"]
            assert not refused, refused

    def join(self, *people: str, **changes: Any) -> None:
        """Enrolled, and granted."""
        self.enrol(*people)
        self.grant_all(*people, **changes)

    def revoke(self, who: str, sender: str = "") -> Sent:
        return self.consent(sender or who, "revoke", self.where(who), self.dataset)

    # ---- requests ----

    def terms(self, **changes: Any) -> dict[str, Any]:
        seal_deadline = changes.get("sealDeadline", self.later(DAY))
        made = {
            "dataset": self.dataset,
            "classes": [1],
            "lane": 1,
            "releaseKind": 0,
            "analysis": word("mean"),
            "parameters": word("parameters"),
            "purpose": PURPOSE,
            "cost": 500_000,
            "price": 40,
            "fee": 700,
            "maxPatients": 50,
            "sealDeadline": seal_deadline,
            "settleDeadline": seal_deadline + POLICY["turnWindow"] + DAY,
            "deliveryKey": word("delivery key"),
            "salt": word("salt"),
        }
        return made | changes

    def offered(self, terms: dict[str, Any]) -> list[dict[str, Any]]:
        return [self.offers[index] for index in terms["classes"]]

    def request_id(self, terms: dict[str, Any], researcher: str = "researcher") -> bytes:
        return bytes(self.read(self.market, "requestId", address(researcher), terms))

    def open(self, terms: dict[str, Any]) -> Sent:
        return self.trade("researcher", "open", terms, self.offered(terms))

    def freeze(self, terms: dict[str, Any], operator: str = "operator") -> Sent:
        """Waits for the end of the notice first."""
        self.chain.warp(POLICY["noticeWindow"])
        return self.freeze_now(terms, operator)

    def freeze_now(self, terms: dict[str, Any], operator: str = "operator") -> Sent:
        whose = address("researcher")
        return self.trade(operator, "freeze", whose, terms, self.offered(terms))

    def seal(self, request: bytes, operator: str = "operator") -> Sent:
        return self.trade(operator, "sealAll", request)

    def draw(self, request: bytes) -> Sent:
        self.chain.warp(1)
        self.chain.warp(1)
        return self.trade("relayer", "drawGate", request)

    def record_key(self, request: bytes, gate: str = "gate") -> Sent:
        root = self.request(request)["root"]
        said = {"request": request, "root": root, "key": word("gate key")}
        signature = self.sign(gate, self.market, "GateKey", said)
        return self.trade("relayer", "recordGateKey", request, said["key"], signature)

    def request(self, request: bytes) -> dict[str, Any]:
        answer = self.read(self.market, "requestOf", request)
        output = self.market.get_function_by_name("requestOf").abi["outputs"][0]
        names = [str(part["name"]) for part in output["components"]]
        return dict(zip(names, answer, strict=True))

    def settlement(self, request: bytes, payload: bytes, **changes: Any) -> dict[str, Any]:
        r = self.request(request)
        _, noise = self.read(self.parts.noises, "noiseOf", request)
        made = {
            "request": request,
            "root": r["root"],
            "epoch": r["epoch"],
            "lane": r["lane"],
            "schema": 1,
            "ciphertextRoot": word("ciphertexts"),
            "noise": noise,
            "resultHash": word("result"),
            "deliveryHash": self.chain.w3.keccak(payload),
            "gate": r["gate"],
        }
        return made | changes

    def settle(
        self,
        request: bytes,
        payload: bytes = b"sealed result",
        places: tuple[int, ...] = (0, 1),
        **changes: Any,
    ) -> Sent:
        said = self.settlement(request, payload, **changes)
        signatures = self.quorum(self.market, "Settlement", said, *places)
        return self.trade("operator", "settle", said, payload, signatures)

    def frozen(self, **changes: Any) -> bytes:
        """A request opened and frozen; its id."""
        terms = self.terms(**changes)
        self.open(terms)
        self.freeze(terms)
        return self.request_id(terms)

    def sealed(self, **changes: Any) -> bytes:
        request = self.frozen(**changes)
        self.seal(request)
        return request

    def keyed(self, **changes: Any) -> bytes:
        """Sealed, its gate drawn and the gate's key recorded: ready to settle."""
        request = self.sealed(**changes)
        self.draw(request)
        self.record_key(request)
        return request

    def settled(self, **changes: Any) -> bytes:
        request = self.keyed(**changes)
        self.settle(request)
        return request

    def thaw(self) -> None:
        """Waits until a shard that was just sealed can be frozen again."""
        self.chain.warp(THAW_GAP + 1)
