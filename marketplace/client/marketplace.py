"""A market as patients, issuers and researchers use it. Everything that it lists is the operator's word."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from marketplace.analyses.variables import variables_of
from marketplace.chain.adapter import Chain, Manifest
from marketplace.chain.joint_keys import joint_key_of
from marketplace.chain.reads import X25519
from marketplace.client.documents import (
    CatalogueEntry,
    Dataset,
    ListedRequest,
    catalogue_of,
    dataset_of,
    dictionary_of,
    request_of,
)
from marketplace.client.http import Api, objects, reading
from marketplace.client.messages import Messages, account_of, deadline
from marketplace.client.researcher import Ask
from marketplace.errors import Refusal
from marketplace.sealing.row import Value
from marketplace.sealing.seal import CustodianKey, seal_row
from marketplace.vocabulary import CustodianIndex, DatasetId, Lane, patient_address
from marketplace.wire import class_page, hpke
from marketplace.wire.class_page import ClassPage
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.eip712 import SigningKey, sign
from marketplace.wire.http import to_hex
from marketplace.wire.paging import LARGEST_UPLOAD, MOST_RECORDS, pages, sent_bytes
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

    def datasets(self) -> list[Dataset]:
        """Every dataset, with its classes and dictionary."""
        return [dataset_of(each) for each in objects(self.api.get("/api/v1/datasets"), "datasets")]

    def dataset(self, dataset: bytes) -> Dataset:
        """One dataset. Raises Refusal (`unknown_dataset`, `malformed_answer`, `class_differs`)."""
        return dataset_of(self.dataset_document(dataset))

    def dataset_document(self, dataset: bytes) -> dict[str, Any]:
        """One dataset as the operator tells it."""
        return self.api.get(f"/api/v1/datasets/{to_hex(dataset)}")

    def catalogue(self, lane: Lane = Lane.VAULT) -> list[CatalogueEntry]:
        """Every analysis that can be asked for in a lane."""
        told = objects(self.api.get("/api/v1/catalogue"), "analyses")
        return [entry for entry in map(catalogue_of, told) if entry.lane is lane]

    def requests(self) -> list[ListedRequest]:
        """The latest requests of everybody at this operator, newest first."""
        return [request_of(each) for each in objects(self.api.get("/api/v1/requests"), "requests")]

    def researcher(self, key: SigningKey, delivery_key: hpke.SecretKey) -> Ask:
        """A researcher asking this market.

        Args:
            key: of the credentialed account, which pays.
            delivery_key: that answers are sealed to; nothing else opens them.
        """
        return Ask(self, key, delivery_key)

    def dictionary(self, dataset: bytes) -> Dictionary:
        """The dictionary, as the operator shows it; `sealer` holds it against the chain."""
        found = self.dataset_document(dataset)
        if found["dictionary"] is None:
            raise Refusal(
                code="dictionary_missing",
                message="The operator does not have this dataset's dictionary yet.",
                remedy="Ask the steward to hand it over (usufruct hand-over-dictionary).",
                field="dataset",
            )
        dictionary = dictionary_of(found["dictionary"])
        if to_hex(dictionary.hash()) != found["dictionary_hash"]:
            raise _another_dictionary()
        return dictionary

    def class_page(self, class_: bytes) -> ClassPage:
        """What patients of a class read, as the operator shows it, proved by its terms on chain.

        Raises:
            Refusal: `class_page_missing`; `class_page_mismatch`, the operator shows another page.
        """
        terms_hash = self.chain.class_terms(class_).terms_hash
        shown = self.api.get(f"/api/v1/class-pages/{to_hex(terms_hash)}")["page"]
        page = class_page.from_json(dict(shown) if isinstance(shown, dict) else shown)
        if page.hash() != terms_hash:
            raise Refusal(
                code="class_page_mismatch",
                message="The operator's page is not the one that this class was published with.",
                remedy="Consent to nothing by it; ask the steward.",
                field="page",
            )
        return page

    def variables(self, dataset: bytes) -> dict[str, Variable]:
        """What can be asked about: the dictionary on chain. Raises Refusal (`dictionary_mismatch`)."""
        return variables_of(self.dictionary_on_chain(dataset))

    def dictionary_on_chain(self, dataset: bytes) -> Dictionary:
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
        """Seals a record here, for the current committee. What leaves this process is encrypted.

        Raises as `sealer`; BadParameter, OutOfDictionary.
        """
        return self.sealer(dataset)(patient, values, version)

    def sealer(self, dataset: bytes) -> Callable[[str, Mapping[str, Value], int], SealedRecord]:
        """`seal` for many records: asks for dictionary, committee and joint key once.

        All are the chain's, through the caller's own node: an operator that could name the
        custodians' keys, or the dictionary, could read what is sealed to them.

        Raises:
            Refusal: `dictionary_missing`, `dictionary_mismatch`; `no_joint_key`, the dataset's records have
                a part in the homomorphic lane, and the committee no key for it yet.
        """
        dictionary = self.dictionary_on_chain(dataset)
        committee = self.chain.committee()
        joint_key = self._joint_key(dictionary, int(committee.epoch))
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
            return seal_row(
                dictionary, values, context, keys, committee.epoch, committee.quorum, joint_key
            )

        return sealed

    def _joint_key(self, dictionary: Dictionary, epoch: int) -> bytes | None:
        """None where the dataset's records have no part in the homomorphic lane."""
        if dictionary.encoding is None:
            return None
        found = joint_key_of(self.chain, epoch)
        if found is None:
            raise Refusal(
                code="no_joint_key",
                message=f"The custodians of epoch {epoch} have no joint key on chain, and this dataset's "
                "records are encrypted under it, too.",
                remedy="Ask who administers the committee to have it generated (usufruct generate-key), "
                "then seal.",
                field="epoch",
            )
        return found

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

    def require_issuer(self, dataset: bytes, issuer: str) -> None:
        """Raises Refusal (`unknown_issuer`) where the dataset does not trust that account on chain.

        Asked at the caller's own node: what it attests would be refused, and nobody could use it.
        """
        if not self.chain.is_issuer(dataset, issuer):
            raise Refusal(
                code="unknown_issuer",
                message=f"{issuer} is not an issuer of this dataset.",
                remedy="Check key and dataset; or let the dataset's steward add it (usufruct add-issuer).",
                field="issuer_key_file",
            )

    def upload(self, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Sends attested records, in as many uploads as they take; returns each one's outcome in order
        (`stored`, or `refused` and why).

        Sent again, what is there already changes nothing: also where one upload of several failed.
        """
        outcomes: list[dict[str, Any]] = []
        for page in pages(entries, sent_bytes, most=MOST_RECORDS, largest=LARGEST_UPLOAD):
            answer = self.api.post("/api/v1/records", {"entries": page})
            outcomes += objects(answer, "outcomes", len(page))
        return outcomes

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
