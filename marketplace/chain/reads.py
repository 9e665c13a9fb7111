"""Every view of the deployed contracts, typed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from eth_utils.crypto import keccak

from marketplace.chain.core import ChainCore, ForgedLogs, PartialLogs
from marketplace.chain.faults import NodeFault
from marketplace.chain.rpc import BlockName
from marketplace.chain.views import (
    CommitteeMember,
    CommitteeView,
    ConsentView,
    DatasetView,
    Event,
    Liabilities,
    MarketPolicy,
    Record,
    RequestStage,
    RequestView,
    ShardRef,
    ShardView,
    Stored,
)
from marketplace.errors import Refusal
from marketplace.vocabulary import Epoch
from marketplace.wire.solidity import ZERO_ADDRESS
from marketplace.wire.terms import ClassTerms, Credential, RequestTerms, class_id

X25519 = 1
"""Scheme of a committee key (ICustodianCommittee.CommitteeKey)."""
PAGE = 200
"""Patients or places of one call: about 2M gas, well below what nodes allow a call."""
WORDS_PAGE = 512
MOST_TERMS = 1_024
"""Consent classes whose terms are remembered: at most a few megabytes."""

T = TypeVar("T")


class MarketReads(ChainCore):
    """ResearchMarket, its token, and ResearcherRegistry."""

    def request(self, request: bytes, block: BlockName = "latest") -> RequestView:
        """A request as stored; `stage` is NONE for one that was never opened."""
        found = self.call("ResearchMarket", "requestOf", request, block=block)
        return RequestView.from_abi(found)

    def request_shards(self, request: bytes, block: BlockName = "latest") -> tuple[ShardRef, ...]:
        """The shards frozen for a request, in cohort order."""
        found = self.call("ResearchMarket", "shardsOf", request, block=block)
        return tuple(ShardRef.from_abi(each) for each in found)

    def request_terms(self, request: bytes) -> RequestTerms:
        """What was asked for: from the event, proved by hashing it to the request's id.

        Raises:
            Refusal: `unknown_request`. PartialLogs, ForgedLogs.
        """
        view = self.request(request)
        if view.stage is RequestStage.NONE:
            raise _unknown("request", request)
        last = self.head().number
        deployed = self.manifest.deployed_block
        topics = [request]
        for event in self.events_backwards(
            deployed, last, "ResearchMarket", "RequestOpened", topics
        ):
            return self._verified_terms(request, view, event)
        raise _partial("RequestOpened", request)

    def _verified_terms(self, request: bytes, view: RequestView, event: Event) -> RequestTerms:
        terms = RequestTerms.from_abi(event.args["terms"])
        if terms.request_id(self.chain_id, self.market, view.researcher) != request:
            raise _forged("RequestOpened", request)
        return terms

    def policy(self) -> MarketPolicy:
        """As the market was deployed with it: nobody can change it."""
        return MarketPolicy.from_abi(self.call("ResearchMarket", "policy"))

    def liabilities(self, block: BlockName = "latest") -> Liabilities:
        """What the market owes, token units, by its own sums: no more than its token balance."""
        return Liabilities.from_abi(self.call("ResearchMarket", "liabilities", block=block))

    def is_operator(self, account: str) -> bool:
        """Whether an account has the role that freezes and seals."""
        return self.has_role("ResearchMarket", "OPERATOR", account)

    def has_role(self, contract: str, role: str, account: str) -> bool:
        """Whether an account has a role, by its name, on one of the contracts."""
        return bool(self.call(contract, "hasRole", keccak(text=role), account))

    def credit_of(self, account: str, block: BlockName = "latest") -> int:
        """Token units that an account can withdraw."""
        return int(self.call("ResearchMarket", "creditOf", account, block=block))

    def bond_of(self, operator: str, block: BlockName = "latest") -> int:
        """Token units of free bond."""
        return int(self.call("ResearchMarket", "bondOf", operator, block=block))

    def balance_of(self, account: str, block: BlockName = "latest") -> int:
        """Token units in an account."""
        return int(self.call("TestEuro", "balanceOf", account, block=block))

    def allowance(self, owner: str, spender: str) -> int:
        """Token units of `owner` that `spender` may still take (ERC-20)."""
        return int(self.call("TestEuro", "allowance", owner, spender))

    def is_nonce_used(self, contract: str, signer: str, nonce: int) -> bool:
        """Of the unordered nonces of ConsentRegistry or ResearchMarket."""
        return bool(self.call(contract, "isNonceUsed", signer, nonce))

    def credential_of(self, researcher: str) -> Credential:
        """As given; `kind` is 0 for one who has none. Says nothing of expiry."""
        return Credential.from_abi(self.call("ResearcherRegistry", "credentialOf", researcher))


class ConsentReads(ChainCore):
    """ConsentRegistry."""

    def consent_of(self, dataset: bytes, patient: str, block: BlockName = "latest") -> ConsentView:
        """`state` is NONE where there is no consent now; what was spent and is owed remains."""
        found = self.call("ConsentRegistry", "consentOf", dataset, patient, block=block)
        return ConsentView.from_abi(found)

    def guardian_of(self, dataset: bytes, patient: str) -> tuple[str, int, bool]:
        """Guardian (zero address if none), expiry, and whether it may grant."""
        guardian, expiry, may_grant = self.call("ConsentRegistry", "guardianOf", dataset, patient)
        return guardian, expiry, may_grant

    def shard_count(self, class_id: bytes, block: BlockName = "latest") -> int:
        """How many shards a class has, indices 0, 1, ...; none before its first grant."""
        return int(self.call("ConsentRegistry", "shardsOf", class_id, block=block))

    def shard(self, class_id: bytes, shard: int, block: BlockName = "latest") -> ShardView:
        """Meters and freeze of one shard; all zero for one that does not exist."""
        found = self.call("ConsentRegistry", "shardOf", class_id, shard, block=block)
        return ShardView.from_abi(found)

    def shards(self, class_id: bytes, block: BlockName = "latest") -> tuple[ShardView, ...]:
        """Every shard of a class; their `live` add up to the class's live consents."""
        number = self.shard_count(class_id, block)
        return tuple(self.shard(class_id, index, block) for index in range(number))

    def words(
        self, class_id: bytes, shard: int, number: int, block: BlockName = "latest"
    ) -> tuple[int, ...]:
        """The first `number` consent words: bits 0..159 live seats, see ConsentWord.sol."""
        return self._word_pages("wordsOf", class_id, shard, number, block)

    def waiting(
        self, class_id: bytes, shard: int, number: int, block: BlockName = "latest"
    ) -> tuple[int, ...]:
        """By word, the resting seats that `wakeWords` would look at."""
        return self._word_pages("waitingOf", class_id, shard, number, block)

    def _word_pages(
        self, function: str, class_id: bytes, shard: int, number: int, block: BlockName
    ) -> tuple[int, ...]:
        pages = (
            self.call(
                "ConsentRegistry",
                function,
                class_id,
                shard,
                first,
                min(WORDS_PAGE, number - first),
                block=block,
            )
            for first in range(0, number, WORDS_PAGE)
        )
        return tuple(word for page in pages for word in page)

    def patients_at(
        self, class_id: bytes, shard: int, places: Sequence[int], block: BlockName = "latest"
    ) -> tuple[str, ...]:
        """The patients of these places, in their order; the zero address where never assigned."""
        return tuple(
            patient
            for page in pages_of(places)
            for patient in self.call(
                "ConsentRegistry", "patientsAt", class_id, shard, page, block=block
            )
        )


class DatasetReads(ChainCore):
    """DatasetRegistry."""

    def record_of(self, dataset: bytes, patient: str, block: BlockName = "latest") -> Record:
        """A patient's record, usable or not; `version` is 0 before the first, and after a move."""
        found = self.call("DatasetRegistry", "recordOf", dataset, patient, block=block)
        return Record.from_abi(found)

    def commitments_of(
        self, dataset: bytes, patients: Sequence[str], block: BlockName = "latest"
    ) -> tuple[Stored, ...]:
        """What is stored and usable of each patient, in their order."""
        found: list[Stored] = []
        for page in pages_of(patients):
            commitments, bound, versions = self.call(
                "DatasetRegistry", "commitmentsOf", dataset, page, block=block
            )
            rows = zip(page, commitments, bound, versions, strict=True)
            found += [Stored(*row) for row in rows]
        return tuple(found)

    def has_records(
        self, dataset: bytes, patients: Sequence[str], block: BlockName = "latest"
    ) -> tuple[bool, ...]:
        """Whether each address has a record, in whatever state, in their order: see `Record.is_there`."""
        return tuple(self.record_of(dataset, each, block).is_there for each in patients)

    def is_issuer(self, dataset: bytes, issuer: str) -> bool:
        """Whether this account may attest records now: false again once it was withdrawn."""
        return bool(self.call("DatasetRegistry", "isIssuer", dataset, issuer))

    def issuers(self, dataset: bytes) -> list[str]:
        """Every account that may attest records of a dataset now, by age; each asked for in storage."""
        events = self.events(
            self.manifest.deployed_block,
            contracts=["DatasetRegistry"],
            names=["IssuerAdded"],
            topics=[dataset],
        )
        known = dict.fromkeys(str(event.args["issuer"]) for event in events)
        return [issuer for issuer in known if self.is_issuer(dataset, issuer)]

    def dictionary_of(self, dataset: bytes, block: BlockName = "latest") -> bytes:
        """keccak256 of the data dictionary; zero for an unknown dataset."""
        return bytes(self.call("DatasetRegistry", "dictionaryOf", dataset, block=block))

    def require_dataset(self, dataset: bytes) -> bytes:
        """The dictionary hash of a dataset. Raises Refusal (`unknown_dataset`): nothing has this id."""
        dictionary = self.dictionary_of(dataset)
        if not any(dictionary):
            raise _unknown_dataset(dataset)
        return dictionary

    def dataset(self, dataset: bytes) -> DatasetView:
        """A dataset as published.

        Raises:
            Refusal: `unknown_dataset`. PartialLogs, ForgedLogs.
        """
        steward = self.call("DatasetRegistry", "stewardOf", dataset)
        if steward == ZERO_ADDRESS:
            raise _unknown_dataset(dataset)
        dictionary = self.dictionary_of(dataset)
        published = self._first_event("DatasetPublished", dataset)
        if published.args["dictionary"] != dictionary:
            raise _forged("DatasetPublished", dataset)
        return DatasetView(
            dataset=dataset,
            steward=steward,
            dictionary=dictionary,
            uri=published.args["uri"],
            retired=self.call("DatasetRegistry", "isRetired", dataset),
            classes=self.call("DatasetRegistry", "classesOf", dataset),
        )

    def datasets(self) -> tuple[bytes, ...]:
        """The ids of all datasets, by age."""
        events = self.events(
            self.manifest.deployed_block, contracts=["DatasetRegistry"], names=["DatasetPublished"]
        )
        return tuple(event.args["dataset"] for event in events)

    def class_ids(self, dataset: bytes) -> tuple[bytes, ...]:
        """The ids of a dataset's classes, in order."""
        number = self.call("DatasetRegistry", "classesOf", dataset)
        return tuple(class_id(dataset, index) for index in range(1, number + 1))

    def class_terms(self, class_id: bytes) -> ClassTerms:
        """A class's published terms, proved by their hash in storage.

        They are found in the logs once: storage is asked each time, and what hashes to its answer is them.

        Raises:
            ContractRefusal or Refusal: unknown class. PartialLogs, ForgedLogs.
        """
        definition = self.call("DatasetRegistry", "definitionOf", class_id)
        if definition == bytes(32):
            raise _unknown("class", class_id)
        known = self._terms.get(definition)
        if known is None:
            known = self._published_terms(class_id, definition)
            if len(self._terms) >= MOST_TERMS:
                self._terms.clear()
            self._terms[definition] = known
        return known

    def _published_terms(self, class_id: bytes, definition: bytes) -> ClassTerms:
        terms = ClassTerms.from_abi(self._first_event("ClassPublished", class_id).args["terms"])
        if terms.definition_hash(class_id) != definition:
            raise _forged("ClassPublished", class_id)
        return terms

    def _first_event(self, name: str, topic: bytes) -> Event:
        events = self.events(
            self.manifest.deployed_block,
            contracts=["DatasetRegistry"],
            names=[name],
            topics=[topic],
        )
        event = next(events, None)
        if event is None:
            raise _partial(name, topic)
        return event


class CommitteeReads(ChainCore):
    """CustodianCommittee."""

    def current_epoch(self) -> Epoch:
        """Raises `ContractRefusal` (no_epoch)."""
        return Epoch(self.call("CustodianCommittee", "currentEpoch"))

    def committee(self, epoch: int | None = None, block: BlockName = "latest") -> CommitteeView:
        """One epoch's members, keys, quorum and gates; the current one, if None.

        Raises:
            ContractRefusal: no_epoch, unknown_epoch.
        """
        number = self.current_epoch() if epoch is None else Epoch(epoch)
        name = "CustodianCommittee"
        quorum, size = self.call(name, "quorumOf", number, block=block)
        return CommitteeView(
            epoch=number,
            quorum=quorum,
            members=tuple(self._member(number, place, block) for place in range(size)),
            gates=self.call(name, "gatesOf", number, block=block),
        )

    def _member(self, epoch: int, place: int, block: BlockName) -> CommitteeMember:
        name = "CustodianCommittee"
        signer = self.call(name, "signerOf", epoch, place, block=block)
        key = self.call(name, "keyOf", epoch, place, X25519, block=block)
        return CommitteeMember(place, signer, {X25519: key})

    def signer_of(self, epoch: int, place: int, block: BlockName = "latest") -> str | None:
        """Who holds a place in an epoch; None where the epoch has no such place."""
        _, size = self.call("CustodianCommittee", "quorumOf", epoch, block=block)
        if place >= size:
            return None
        return str(self.call("CustodianCommittee", "signerOf", epoch, place, block=block))

    def journal_of(self, signer: str, block: BlockName = "latest") -> tuple[int, bytes]:
        """Height and head that a custodian anchored; (0, zeros) if it never did."""
        height, head = self.call("CustodianCommittee", "journalOf", signer, block=block)
        return height, head

    def joint_key(self, epoch: int, block: BlockName = "latest") -> tuple[bytes, bytes]:
        """Feldman commitments (quorum x 33 bytes, the joint ElGamal key first) and transcript hash.

        Empty and zeros where the epoch has recorded none.

        Raises:
            ContractRefusal: unknown_epoch.
        """
        name = "CustodianCommittee"
        commitments, transcript = self.call(name, "jointKeyOf", epoch, block=block)
        return commitments, transcript


class NoiseReads(ChainCore):
    """NoiseRegistry."""

    def noise_commitments(self, request: bytes, block: BlockName = "latest") -> dict[int, bytes]:
        """The custodians' hashes of their noise, by place, ascending; none before they are on chain."""
        bitmap, commitments = self.call("NoiseRegistry", "commitmentsOf", request, block=block)
        places = _places(bitmap)
        if len(places) != len(commitments):
            raise NodeFault(
                message="The node answered with noise commitments that belong to nobody, or to two.",
                remedy="Use another node; nothing was decided on this one.",
                facts={"places": len(places), "commitments": len(commitments)},
            )
        return dict(zip(places, commitments, strict=True))

    def noise_set(
        self, request: bytes, block: BlockName = "latest"
    ) -> tuple[tuple[int, ...], bytes]:
        """The places whose noise counts, ascending, and their hash; none and zeros until it is fixed."""
        bitmap, noise = self.call("NoiseRegistry", "noiseOf", request, block=block)
        return _places(bitmap), noise


class Reads(MarketReads, ConsentReads, DatasetReads, CommitteeReads, NoiseReads):
    """All of them."""


def _places(bitmap: int) -> tuple[int, ...]:
    """Bit i is the custodian at place i."""
    return tuple(place for place in range(bitmap.bit_length()) if bitmap >> place & 1)


def pages_of(items: Sequence[T], size: int = PAGE) -> Iterator[list[T]]:
    """At most `size` at a time, in order."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _unknown(kind: str, identity: bytes) -> Refusal:
    return Refusal(
        code=f"unknown_{kind}",
        message=f"There is no {kind} 0x{identity.hex()} on chain.",
        remedy="Check the id, and that manifest and node are those of this market.",
        field=kind,
    )


def _unknown_dataset(dataset: bytes) -> Refusal:
    return Refusal(
        code="unknown_dataset",
        message=f"There is no such dataset: nothing on chain has the id 0x{dataset.hex()}.",
        remedy="Choose one of those that are listed (`usufruct datasets`, or the page of datasets). If it is "
        "none of them, check that this is the market that you mean.",
        field="dataset",
    )


def _partial(event: str, identity: bytes) -> PartialLogs:
    return PartialLogs(
        message=f"The node does not give the {event} event of 0x{identity.hex()}.",
        remedy="Use a node that keeps the logs since the deployment.",
        facts={"event": event},
    )


def _forged(event: str, identity: bytes) -> ForgedLogs:
    return ForgedLogs(
        message=f"The {event} event of 0x{identity.hex()} contradicts what the chain stores.",
        remedy="Use another node; nothing was decided on this one.",
        facts={"event": event},
    )
