"""What pages and the API read: requests, datasets, prices before payment. Nothing here changes anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marketplace.analyses.catalogue import known_in
from marketplace.analyses.explained import ASKS, EXAMPLES_IN, MEANS_IN, RELEASES, TELLS
from marketplace.bonds import require_bond
from marketplace.chain.consents import consent_document, record_document
from marketplace.chain.joint_keys import joint_key_of
from marketplace.chain.published import published
from marketplace.chain.token import permit_facts
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.posed import lane_of, parsed_of
from marketplace.prices import escrow, figures
from marketplace.request_reads import RequestReads
from marketplace.scoring import Models
from marketplace.vocabulary import Address, Lane
from marketplace.wire.amounts import Token
from marketplace.wire.http import to_hex
from marketplace.wire.lately import Lately
from marketplace.wire.terms import Credential
from marketplace.words import class_words, quote_words

MOST_DATASETS = 256
"""Kept as they are at the newest block."""


@dataclass(frozen=True)
class ChainState:
    """Where the chain stands: its newest block and the newest final one, each with when it was made (unix
    seconds), and how old the newest may be (seconds) before it counts as stale."""

    head: int
    head_at: int
    final: int
    final_at: int
    most_age: float


@dataclass(frozen=True, kw_only=True)
class Reads(RequestReads):
    """Answers to questions."""

    dictionaries: Dictionaries
    operator: str
    fee: int  # token units that the operator asks for a request
    _committees: Lately[bytes, dict[str, Any]] = field(
        default_factory=lambda: Lately(1), init=False, repr=False
    )
    _datasets: Lately[tuple[bytes, bytes], dict[str, Any]] = field(
        default_factory=lambda: Lately(MOST_DATASETS), init=False, repr=False
    )

    @property
    def token(self) -> Token:
        """How amounts of the market's token are written."""
        return self.chain.token

    # --- the market

    def market(self) -> dict[str, Any]:
        """Chain, contracts, policy and who operates."""
        manifest = self.chain.manifest
        return {
            "chain_id": manifest.chain_id,
            "manifest": manifest.to_json(),
            "operator": self.operator,
            "fee": self.fee,
            "bond_free": str(self.chain.bond_of(self.operator)),
            "token_decimals": self.token.decimals,
            "token_symbol": self.token.symbol,
        }

    def deployment(self) -> dict[str, Any]:
        """Which market this is, and who operates it here: none of it changes."""
        manifest = self.chain.manifest
        return {
            "chain_id": manifest.chain_id,
            "contracts": {name: each.address for name, each in manifest.contracts.items()},
            "operator": self.operator,
            "fee": str(self.fee),
            "token": {
                "address": manifest.token,
                "decimals": self.token.decimals,
                "symbol": self.token.symbol,
            },
        }

    def committee(self) -> dict[str, Any]:
        """The current epoch's custodians: to whose keys a client seals, and under which joint key (null until
        they have one). Read once a block."""
        head = self.chain.head().hash
        return self._committees.get(head) or self._committees.keep(head, self._committee())

    def _committee(self) -> dict[str, Any]:
        view = self.chain.committee()
        joint_key = joint_key_of(self.chain, int(view.epoch))
        return {
            "epoch": view.epoch,
            "quorum": view.quorum,
            "joint_key": None if joint_key is None else "0x" + joint_key.hex(),
            "members": [
                {"place": each.place, "signer": each.signer, "key": "0x" + each.keys[1].hex()}
                for each in view.members
            ],
            "gates": list(view.gates),
        }

    def now(self) -> int:
        """Chain time, unix seconds: what expiries and deadlines are compared with."""
        return self.chain.now()

    def dataset_ids(self) -> tuple[bytes, ...]:
        """Of every dataset on chain, by age."""
        return self.chain.datasets()

    def datasets(self) -> list[dict[str, Any]]:
        """Every dataset on chain."""
        return [self.dataset(each) for each in self.dataset_ids()]

    def dataset(self, dataset: bytes) -> dict[str, Any]:
        """One dataset with its classes; the dictionary once its steward has handed it over.

        Its chain's part is read once a block, whoever asks.
        """
        key = (self.chain.head().hash, dataset)
        found = self._datasets.get(key) or self._datasets.keep(key, self._dataset(dataset))
        return {**found, "dictionary": self._dictionary(dataset)}

    def _dataset(self, dataset: bytes) -> dict[str, Any]:
        view = self.chain.dataset(dataset)
        return {
            "dataset": "0x" + dataset.hex(),
            "steward": view.steward,
            "dictionary_hash": "0x" + view.dictionary.hex(),
            "uri": view.uri,
            "retired": view.retired,
            "classes": [self.consent_class(each) for each in self.chain.class_ids(dataset)],
        }

    def published(self, dataset: bytes) -> dict[str, str] | None:
        """Steward and salt that a dataset's id is a hash of; None where the node does not show them."""
        found = published(self.chain, dataset)
        return None if found is None else {"steward": found.steward, "salt": to_hex(found.salt)}

    def dataset_name(self, dataset: bytes) -> str | None:
        """What its dictionary calls a dataset; None while its steward has not handed that over."""
        found = self._dictionary(dataset)
        return None if found is None else str(found["name"])

    def labels(self, dataset: bytes) -> dict[str, str]:
        """What its dictionary calls each variable, by name; empty while no steward has handed it over."""
        found = self._dictionary(dataset)
        return {each["name"]: each["label"] for each in found["variables"]} if found else {}

    def _dictionary(self, dataset: bytes) -> dict[str, Any] | None:
        try:
            found = self.dictionaries.of(dataset)
        except Refusal as refusal:
            if refusal.code != "dictionary_missing":
                raise
            return None
        return dict(json.loads(found.to_bytes()))

    def consent_class(self, class_: bytes) -> dict[str, Any]:
        """One consent class and how many consents are live in it."""
        terms = self.chain.class_terms(class_)
        return {
            "class": "0x" + class_.hex(),
            "definition": "0x" + terms.definition_hash(class_).hex(),
            "terms": terms.to_json(),
            "in_words": class_words(terms, self.token),
            "live": sum(shard.live for shard in self.chain.shards(class_)),
        }

    def issuers(self, dataset: bytes) -> list[str]:
        """Accounts that may attest records of a dataset now, by age."""
        return self.chain.issuers(dataset)

    def consent(self, dataset: bytes, patient: str) -> dict[str, Any]:
        """One patient's consent, budget and earnings, its record and guardian."""
        return consent_document(self.chain, dataset, patient)

    def shortest_consent(self) -> int:
        """Seconds that a grant has to last at least."""
        return int(self.chain.call("ConsentRegistry", "MINIMUM_HORIZON"))

    def record(self, dataset: bytes, patient: str) -> dict[str, Any]:
        """What the registry has of one patient's record: commitments (zeros where none), versions, state."""
        return record_document(self.chain, dataset, patient)

    def is_record_of(self, dataset: bytes, patient: str, commitment: bytes) -> bool:
        """Whether a record that came in here, erased or not, is sealed for this patient.

        Or for the address before it, to which what a rotation took along stays bound.
        """
        name = "0x" + commitment.hex()
        held = self.chain.record_of(dataset, patient)
        row = self.database.records([name]).get(name)
        of = {patient, held.bound_to, held.pending_bound_to}
        return row is not None and row.dataset == "0x" + dataset.hex() and row.patient in of

    def account(self, address: str) -> dict[str, Any]:
        """Token balance, credit and bond of an account, in token units."""
        return {
            "address": address,
            "balance": str(self.chain.balance_of(address)),
            "credit": str(self.chain.credit_of(address)),
            "bond": str(self.chain.bond_of(address)),
        }

    def gas_of(self, address: str) -> int:
        """What an account has to pay gas with, in wei."""
        return self.chain.node.balance(address)

    def chain_state(self) -> ChainState:
        """Where the chain stands, by this operator's node. Raises NodeUnreachable, NodeFault."""
        head, final = self.chain.head(), self.chain.finalized()
        return ChainState(
            head=head.number,
            head_at=head.timestamp,
            final=final,
            final_at=self.chain.node.header(final).timestamp,
            most_age=self.chain.max_head_age,
        )

    def credential(self, account: Address) -> Credential:
        """What the authority vouches for; of `kind` 0 where it never did."""
        return self.chain.credential_of(account)

    def credentials(self, most: int) -> list[tuple[Address, Credential]]:
        """Who ever got a credential, the newest first, each as it stands now."""
        events = self.chain.events(
            self.chain.manifest.deployed_block,
            contracts=["ResearcherRegistry"],
            names=["CredentialGiven"],
        )
        newest = dict.fromkeys(reversed([Address(each.args["researcher"]) for each in events]))
        return [(each, self.credential(each)) for each in list(newest)[:most]]

    # --- before payment

    def catalogue(self, lane: Lane = Lane.VAULT) -> list[dict[str, Any]]:
        """Every analysis that can be asked for in a lane."""
        means, examples = MEANS_IN[lane], EXAMPLES_IN[lane]
        return [
            {
                "id": each.id,
                "lane": int(lane),
                "title": each.title,
                "asks": ASKS[each.id],
                "tells": TELLS[each.id],
                "hash": "0x" + each.analysis_hash().hex(),
                "release_kind": int(each.release_kind),
                "releases": RELEASES[each.release_kind],
                "parameters": [
                    {"name": key, "means": means[key]} for key in sorted(each.keys & means.keys())
                ],
                "example": examples[each.id],
            }
            for each in known_in(lane).values()
        ]

    def quote(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Price, privacy cost and expected error of a request, each before anything is paid.

        Args:
            asked: dataset (hex), classes (indices), analysis (id), parameters, lane (1 if left out), and
                exactly one of cost (nano-rho) and target_error (half-width of the 95% interval, in the
                variable's unit).

        Raises:
            BadParameter: naming the field. Refusal: `bond_too_small`, in figures; as `figures`.
        """
        found = figures(self.chain, self.dictionaries.of, asked)
        self._require_scorable(asked)
        members, price = found["members_assumed"], found["price_per_member"]
        require_bond(self.chain, self.operator, members, price)
        quote = {**found, "fee": self.fee}
        quote["escrow"] = str(escrow(quote))
        return {**quote, "in_words": quote_words(quote)}

    def _require_scorable(self, asked: Mapping[str, Any]) -> None:
        """What runs a model names one that is published here and fits the dataset. Raises BadParameter."""
        dictionary = self.dictionaries.of(bytes.fromhex(str(asked["dataset"])[2:]))
        analysis, parsed = parsed_of(lane_of(asked), dictionary, asked)
        Models(self.chain, self.database).require_scorable(analysis.id, parsed, dictionary)

    def canonical(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a question with every default written out: their hash is what terms name.

        Raises:
            BadParameter: naming the field. Refusal: `dictionary_missing`.
        """
        dictionary = self.dictionaries.of(bytes.fromhex(asked["dataset"][2:]))
        _, parsed = parsed_of(lane_of(asked), dictionary, asked)
        return parsed.document()

    def opening(self, account: str) -> dict[str, Any]:
        """What opening a request takes beside its quote: chain time, windows (s), the account, its permit.

        `permit` is null where the market's token takes none.
        """
        policy = self._policy
        return {
            "now": self.chain.nudge().timestamp,
            "notice_window": policy.notice_window,
            "freeze_window": policy.freeze_window,
            "turn_window": policy.turn_window,
            "token": self.chain.manifest.token,
            "balance": str(self.chain.balance_of(account)),
            "permit": permit_facts(self.chain, account),
        }
