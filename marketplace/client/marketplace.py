"""A market as patients, issuers and researchers use it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from eth_account import Account

from marketplace.chain.adapter import Chain, Manifest
from marketplace.chain.reads import X25519
from marketplace.client.http import Api
from marketplace.errors import Refusal
from marketplace.sealing.row import Value
from marketplace.sealing.seal import CustodianKey, seal_row
from marketplace.vocabulary import CustodianIndex, DatasetId, address, patient_address
from marketplace.wire import http_client
from marketplace.wire.dictionary import Dictionary, from_json
from marketplace.wire.eip712 import SignedStruct, SigningKey, sign
from marketplace.wire.http import to_hex
from marketplace.wire.record import RecordContext, SealedRecord, dump
from marketplace.wire.structs import (
    EarningsWithdrawal,
    Erasure,
    Grant,
    RecordAttestation,
    Rest,
    Revocation,
    Wake,
)

MESSAGE_LIFE = 3_600
"""Seconds within which a signed message must be on chain."""
RELAY_SECONDS = 120.0
REVOCATION_REACH = 256
"""How far above the current sequence a revocation reaches, so that no grant that somebody holds back
can outrun it."""


class Marketplace:
    """One operator's market. `node_url` is needed for what goes to the chain directly.

    `manifest` pins the deployment; without it the operator says which contracts these are, which is
    for machines of one's own: whoever names the contracts names the committee that records are sealed to.
    """

    def __init__(
        self, url: str, node_url: str | None = None, manifest: Manifest | None = None
    ) -> None:
        self.api = Api(url)
        self._node_url = node_url
        self._pinned = manifest

    @cached_property
    def manifest(self) -> Manifest:
        """The deployment: the pinned one, or else the operator's; `chain` checks it at the node."""
        if self._pinned is not None:
            return self._pinned
        return Manifest.from_json(self.api.get("/api/v1/market")["manifest"])

    @cached_property
    def chain(self) -> Chain:
        """The deployment through the caller's own node. Raises Refusal (no_node, wrong_code, ...)."""
        if self._node_url is None:
            raise Refusal(
                code="no_node",
                message="This needs a node of your own.",
                remedy="Give node_url (or --node).",
                field="node_url",
            )
        chain = Chain(self._node_url, self.manifest)
        chain.require_healthy()
        return chain

    # --- what is there

    def dataset(self, dataset: bytes) -> dict[str, Any]:
        """One dataset with its classes and dictionary."""
        return self.api.get(f"/api/v1/datasets/{to_hex(dataset)}")

    def dictionary(self, dataset: bytes) -> Dictionary:
        """The dictionary, as the operator shows it; `sealer` holds it against the chain."""
        found = self.dataset(dataset)
        if found["dictionary"] is None:
            raise Refusal(
                code="dictionary_missing",
                message="The operator does not have this dataset's dictionary yet.",
                remedy="Ask the steward to hand it over (usufruct hand-over-dictionary).",
                field="dataset",
            )
        dictionary = from_json({"schema": "usufruct-dictionary/1", **found["dictionary"]})
        if to_hex(dictionary.hash()) != found["dictionary_hash"]:
            raise _another_dictionary()
        return dictionary

    def consent(self, dataset: bytes, patient: str) -> dict[str, Any]:
        """A patient's consent, budget and earnings."""
        return self.api.get(f"/api/v1/datasets/{to_hex(dataset)}/consents/{patient}")

    def account(self, account: str) -> dict[str, int]:
        """Balance, credit and bond, token units."""
        found = self.api.get(f"/api/v1/accounts/{account}")
        return {name: int(found[name]) for name in ("balance", "credit", "bond")}

    # --- records

    def seal(
        self, dataset: bytes, patient: str, values: Mapping[str, Value], version: int = 1
    ) -> SealedRecord:
        """Seals a record here, for the current committee. What leaves this process is encrypted."""
        return self.sealer(dataset)(patient, values, version)

    def sealer(self, dataset: bytes) -> Callable[[str, Mapping[str, Value], int], SealedRecord]:
        """`seal` for many records: asks for dictionary and committee once.

        Both are the chain's, through the caller's own node: an operator that could name the
        custodians' keys, or the dictionary, could read what is sealed to them.
        """
        dictionary = self.dictionary(dataset)
        if self.chain.dictionary_of(dataset) != dictionary.hash():
            raise _another_dictionary()
        committee = self.chain.committee()
        keys = [
            CustodianKey(CustodianIndex(member.place + 1), member.keys[X25519])
            for member in committee.members
        ]

        def sealed(patient: str, values: Mapping[str, Value], version: int) -> SealedRecord:
            context = RecordContext(
                chain_id=self.manifest.chain_id,
                registry=self.manifest.address("DatasetRegistry"),
                dataset=DatasetId(dataset),
                patient=patient_address(patient),
                dictionary_hash=dictionary.hash(),
                record_version=version,
            )
            return seal_row(dictionary, values, context, keys, committee.epoch, committee.quorum)

        return sealed

    def attest(self, record: SealedRecord, person: bytes, issuer_key: SigningKey) -> dict[str, Any]:
        """An issuer's upload entry: the sealed record with its attestation."""
        context = record.context
        attestation = RecordAttestation(
            dataset=context.dataset,
            patient=context.patient,
            person=person,
            commitment=record.commitment,
            version=context.record_version,
            issuer=account_of(issuer_key),
            deadline=deadline(),
        )
        signature = sign(attestation, self.manifest.domain("DatasetRegistry"), issuer_key)
        return {
            "record": json.loads(dump(record)),
            "attestation": attestation.to_json(),
            "issuer_signature": to_hex(signature),
        }

    def upload(self, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Sends attested records; returns each one's outcome (`stored`, or `refused` and why)."""
        answer = self.api.post("/api/v1/records", {"entries": list(entries)})
        return list(answer["outcomes"])

    # --- signed messages

    def message(
        self, kind: str, struct: SignedStruct, contract: str, key: SigningKey
    ) -> dict[str, Any]:
        """A signed message, ready for `relay` (or for a custodian's relay)."""
        signature = sign(struct, self.manifest.domain(contract), key)
        entry = {"kind": kind, "message": struct.to_json(), "signature": to_hex(signature)}
        if kind in ("grant", "revocation", "rest", "wake"):
            entry["signer"] = account_of(key)
        return entry

    def relay(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Has the operator carry signed messages to the chain; returns each one's outcome."""
        answer = self.api.post("/api/v1/messages", {"messages": list(messages)})
        return list(answer["outcomes"])

    def grant_message(
        self, key: SigningKey, class_: Mapping[str, Any], cap: int, expiry: int, sequence: int
    ) -> dict[str, Any]:
        """A patient's consent to one class (as `dataset` shows it), signed."""
        class_id = bytes.fromhex(class_["class"][2:])
        grant = Grant(
            patient=account_of(key),
            dataset=class_id[:30] + bytes(2),
            class_=class_id,
            definition=bytes.fromhex(class_["definition"][2:]),
            cap=cap,
            expiry=expiry,
            sequence=sequence,
            deadline=deadline(),
        )
        return self.message("grant", grant, "ConsentRegistry", key)

    def revocation_message(self, key: SigningKey, dataset: bytes, sequence: int) -> dict[str, Any]:
        """Ends everything granted so far, also what is not on chain yet."""
        revocation = Revocation(account_of(key), dataset, sequence + REVOCATION_REACH)
        return self.message("revocation", revocation, "ConsentRegistry", key)

    def revoke_through(self, custodian: str, key: SigningKey, dataset: bytes) -> dict[str, Any]:
        """Revokes through a custodian's relay, asking the operator nothing.

        Returns the consent as the caller's own node then shows it. Raises as the custodian refuses,
        or PeerUnreachable: try another one, or the chain itself.
        """
        patient = account_of(key)
        sequence = self.chain.consent_of(dataset, patient).sequence
        message = self.revocation_message(key, dataset, sequence)
        body = {
            "revocation": message["message"],
            "signer": patient,
            "signature": message["signature"],
        }
        done = http_client.post(custodian, "/revocations", body, timeout=RELAY_SECONDS)
        state = self.chain.consent_of(dataset, patient).state.name.lower()
        return {"state": state, "transaction": done["transaction"]}

    def rest_message(self, key: SigningKey, dataset: bytes, sequence: int) -> dict[str, Any]:
        """Takes the consent out of cohorts until its patient wakes it."""
        rest = Rest(account_of(key), dataset, sequence, fresh_nonce(), deadline())
        return self.message("rest", rest, "ConsentRegistry", key)

    def wake_message(self, key: SigningKey, dataset: bytes, sequence: int) -> dict[str, Any]:
        """Brings a resting consent back."""
        wake = Wake(account_of(key), dataset, sequence, fresh_nonce(), deadline())
        return self.message("wake", wake, "ConsentRegistry", key)

    def withdrawal_message(self, key: SigningKey, dataset: bytes, to: str) -> dict[str, Any]:
        """Pays all of a patient's earnings of one dataset to an address."""
        withdrawal = EarningsWithdrawal(
            account_of(key), dataset, address(to, "to"), fresh_nonce(), deadline()
        )
        return self.message("earnings_withdrawal", withdrawal, "ResearchMarket", key)

    def erasure_message(self, key: SigningKey, dataset: bytes, version: int) -> dict[str, Any]:
        """Revokes, and has custodians destroy their shares."""
        erasure = Erasure(account_of(key), dataset, version)
        return self.message("erasure", erasure, "ConsentRegistry", key)


def _another_dictionary() -> Refusal:
    return Refusal(
        code="dictionary_mismatch",
        message="The operator's dictionary is not the one on chain.",
        remedy="Do not seal anything with it; ask the steward.",
        field="dictionary",
    )


def account_of(key: SigningKey) -> str:
    """The address of a key. Raises Refusal (key_file) for 32 bytes that are no key."""
    try:
        return str(Account.from_key(bytes(getattr(key, "key", key))).address)
    except ValueError:
        raise Refusal(
            code="key_file",
            message="The bytes are no signing key: zero, or not below the curve's order.",
            remedy="Use the key file that `usufruct key` made, or make a new one.",
        ) from None


def deadline() -> int:
    """By when a message signed now must be on chain, unix seconds."""
    return int(time.time()) + MESSAGE_LIFE


def fresh_nonce() -> int:
    """A random unordered nonce."""
    return int.from_bytes(secrets.token_bytes(32), "big")
