"""A market as patients, issuers and researchers use it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from marketplace.analyses.variables import variables_of
from marketplace.chain.adapter import Chain, Manifest
from marketplace.chain.reads import X25519
from marketplace.client.http import Api, objects, reading
from marketplace.client.messages import Messages, account_of, deadline
from marketplace.errors import Refusal
from marketplace.sealing.row import Value
from marketplace.sealing.seal import CustodianKey, seal_row
from marketplace.vocabulary import CustodianIndex, DatasetId, patient_address
from marketplace.wire.dictionary import Dictionary, from_json
from marketplace.wire.eip712 import SigningKey, sign
from marketplace.wire.http import to_hex
from marketplace.wire.record import RecordContext, SealedRecord, dump
from marketplace.wire.structs import RecordAttestation
from ml.dp.domain import Variable

__all__ = ["Marketplace", "account_of"]


class Marketplace(Messages):
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

    def variables(self, dataset: bytes) -> dict[str, Variable]:
        """What can be asked about: the dictionary on chain. Raises Refusal (`dictionary_mismatch`)."""
        return variables_of(self._dictionary_on_chain(dataset))

    def _dictionary_on_chain(self, dataset: bytes) -> Dictionary:
        """Shown by the operator, proved by its hash through the caller's own node."""
        dictionary = self.dictionary(dataset)
        if self.chain.dictionary_of(dataset) != dictionary.hash():
            raise _another_dictionary()
        return dictionary

    def consent(self, dataset: bytes, patient: str) -> dict[str, Any]:
        """A patient's consent, budget and earnings."""
        return self.api.get(f"/api/v1/datasets/{to_hex(dataset)}/consents/{patient}")

    def account(self, account: str) -> dict[str, int]:
        """Balance, credit and bond, token units."""
        found = self.api.get(f"/api/v1/accounts/{account}")
        return {name: _units(found, name) for name in ("balance", "credit", "bond")}

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
        dictionary = self._dictionary_on_chain(dataset)
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
        return [*objects(answer, "outcomes", len(entries))]

    # --- carried by the operator

    def relay(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Has the operator carry signed messages to the chain; returns each one's outcome.

        Raises:
            Refusal: with the operator's code; `malformed_answer`. OperatorUnreachable.
        """
        answer = self.api.post("/api/v1/messages", {"messages": list(messages)})
        return [*objects(answer, "outcomes", len(messages))]


def _units(found: Mapping[str, Any], name: str) -> int:
    with reading(name):
        return int(found[name])


def _another_dictionary() -> Refusal:
    return Refusal(
        code="dictionary_mismatch",
        message="The operator's dictionary is not the one on chain.",
        remedy="Neither seal nor ask anything with it; ask the steward.",
        field="dictionary",
    )
