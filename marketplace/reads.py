"""What pages and the API read: requests, datasets, prices before payment. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eth_utils.crypto import keccak

from marketplace.analyses import CATALOGUE, analysis_by_id
from marketplace.analyses.fields import exact_number
from marketplace.bonds import require_bond
from marketplace.chain.adapter import Chain
from marketplace.chain.consents import consent_document
from marketplace.chain.token import decimals
from marketplace.dictionaries import Dictionaries
from marketplace.errors import BadParameter, Refusal
from marketplace.stages import Stage
from marketplace.store import Database, RequestRow
from marketplace.vocabulary import unsigned
from marketplace.waits import Waits
from marketplace.wire.terms import MOST_CLASSES, ClassTerms, class_id
from marketplace.words import epsilon_of, odds_of

COST_BITS = 56
"""A privacy cost is a uint56 in request terms."""
PERCENT_HEADROOM = 10
"""By how much `max_patients` is suggested above the live consents, since more may be granted."""


@dataclass(frozen=True)
class Reads:
    """Answers to questions."""

    chain: Chain
    database: Database
    dictionaries: Dictionaries
    operator: str
    fee: int  # token units that the operator asks for a request
    waits: Waits = field(default_factory=Waits)

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
            "token_decimals": decimals(self.chain),
        }

    def committee(self) -> dict[str, Any]:
        """The current epoch's custodians: to whose keys a client seals."""
        view = self.chain.committee()
        return {
            "epoch": view.epoch,
            "quorum": view.quorum,
            "members": [
                {"place": each.place, "signer": each.signer, "key": "0x" + each.keys[1].hex()}
                for each in view.members
            ],
            "gates": list(view.gates),
        }

    def datasets(self) -> list[dict[str, Any]]:
        """Every dataset on chain."""
        return [self.dataset(each) for each in self.chain.datasets()]

    def dataset(self, dataset: bytes) -> dict[str, Any]:
        """One dataset with its classes; the dictionary once its steward has handed it over."""
        view = self.chain.dataset(dataset)
        return {
            "dataset": "0x" + dataset.hex(),
            "steward": view.steward,
            "dictionary_hash": "0x" + view.dictionary.hex(),
            "uri": view.uri,
            "retired": view.retired,
            "dictionary": self._dictionary(dataset),
            "classes": [self.consent_class(each) for each in self.chain.class_ids(dataset)],
        }

    def _dictionary(self, dataset: bytes) -> dict[str, Any] | None:
        try:
            found = self.dictionaries.of(dataset)
        except Refusal as refusal:
            if refusal.code != "dictionary_missing":
                raise
            return None
        variables = [variable.as_json() for variable in found.variables]
        return {"name": found.name, "version": found.version, "variables": variables}

    def consent_class(self, class_: bytes) -> dict[str, Any]:
        """One consent class and how many consents are live in it."""
        terms = self.chain.class_terms(class_)
        return {
            "class": "0x" + class_.hex(),
            "definition": "0x" + terms.definition_hash(class_).hex(),
            "terms": terms.to_json(),
            "live": sum(shard.live for shard in self.chain.shards(class_)),
        }

    def consent(self, dataset: bytes, patient: str) -> dict[str, Any]:
        """One patient's consent, budget and earnings, its record and guardian."""
        return consent_document(self.chain, dataset, patient)

    def account(self, address: str) -> dict[str, Any]:
        """Token balance, credit and bond of an account, in token units."""
        return {
            "address": address,
            "balance": str(self.chain.balance_of(address)),
            "credit": str(self.chain.credit_of(address)),
            "bond": str(self.chain.bond_of(address)),
        }

    # --- before payment

    def catalogue(self) -> list[dict[str, Any]]:
        """Every analysis that can be asked for."""
        return [
            {
                "id": each.id,
                "title": each.title,
                "hash": "0x" + each.analysis_hash().hex(),
                "release_kind": int(each.release_kind),
                "parameters": sorted(each.keys),
            }
            for each in CATALOGUE.values()
        ]

    def quote(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Price, privacy cost and expected error of a request, each before anything is paid.

        Args:
            asked: dataset (hex), classes (indices), analysis (id), parameters, and exactly one of
                cost (nano-rho) and target_error (half-width of the interval, in the variable's unit).

        Raises:
            BadParameter: naming the field. Refusal: `bond_too_small`, in figures.
        """
        dataset = bytes.fromhex(str(asked["dataset"])[2:])
        indices = _class_indices(asked["classes"])
        classes = [(i, self.chain.class_terms(class_id(dataset, i))) for i in indices]
        analysis = analysis_by_id(asked["analysis"])
        variables = self.dictionaries.variables(dataset)
        parsed = analysis.parse(asked["parameters"], variables)
        live = {i: self._live(class_id(dataset, i)) for i, _ in classes}
        minimum = self.chain.policy().minimum_cohort
        members = max(sum(live.values()), minimum)
        cost = self._cost(asked, analysis, parsed, members)
        forecast = analysis.expected_error(parsed, members, cost)
        price = max(price_floor(terms, cost) for _, terms in classes)
        require_bond(self.chain, self.operator, members, price)
        most = members + -(-members * PERCENT_HEADROOM // 100)
        return {
            "analysis_hash": "0x" + analysis.analysis_hash().hex(),
            "parameters_hash": "0x" + keccak(analysis.canonical(parsed)).hex(),
            "release_kind": int(analysis.release_kind),
            "live": sum(live.values()),
            "members_assumed": members,
            "cost_nano_rho": cost,
            "highest_cost_nano_rho": min(terms.max_cost for _, terms in classes),
            "epsilon": _epsilon(cost, members),
            "odds": odds_of(cost, members),
            "minimum_cohort": minimum,
            "expected_error": forecast.texts(),
            "price_per_member": price,
            "fee": self.fee,
            "max_patients": most,
            "escrow": str(most * price + self.fee),
            "token_decimals": decimals(self.chain),
        }

    def _live(self, class_: bytes) -> int:
        return sum(shard.live for shard in self.chain.shards(class_))

    def _cost(self, asked: Mapping[str, Any], analysis: Any, parsed: Any, members: int) -> int:
        if ("cost" in asked) == ("target_error" in asked):
            raise BadParameter(
                message="Ask for accuracy or for privacy: exactly one of cost and target_error.",
                remedy="Give cost in nano-rho, or target_error in the variable's unit.",
                field="cost",
            )
        if "cost" in asked:
            return unsigned(asked["cost"], COST_BITS, "cost")
        target = exact_number(asked["target_error"], "target_error")
        return int(analysis.cost_for_error(parsed, members, target))

    # --- requests

    def requests(self) -> list[dict[str, Any]]:
        """The latest requests, newest first; what they ask and where they stand is public."""
        return [self._summary(row) for row in self.database.requests()]

    def request(self, request: str) -> dict[str, Any]:
        """One request with its stage log and, once sealed, its cohort size."""
        row = self.database.request(request)
        view = self.chain.request(bytes.fromhex(request[2:]))
        entries = [
            {
                "before": entry.before,
                "after": entry.after,
                "because": entry.because,
                "at": entry.at.isoformat(),
            }
            for entry in self.database.log(request)
        ]
        return self._summary(row) | {
            "waiting": self.waits.of(request),
            "chain_stage": view.stage.name.lower(),
            "cohort_size": view.members if any(view.root) else None,
            "parameters": row.parameters,
            "terms": row.terms,
            "stages": entries,
        }

    def _summary(self, row: RequestRow) -> dict[str, Any]:
        return {
            "request": row.id,
            "researcher": row.researcher,
            "analysis": row.analysis,
            "stage": row.stage,
            "reason": row.reason,
            "submitted_at": row.submitted_at.isoformat(),
        }

    def receipt(self, request: str) -> dict[str, Any]:
        """The receipt of a settled request, which carries the result sealed to its researcher.

        Raises:
            Refusal: `not_settled`, saying where the request stands.
        """
        row = self.database.receipt(request)
        if row is None:
            stage = Stage(self.database.request(request).stage)
            raise Refusal(
                code="not_settled",
                message=f"The request is {stage}; there is no result yet.",
                remedy="Wait until its stage is settled (GET /api/v1/requests/{id}).",
            )
        return dict(row.receipt)


def _epsilon(cost: int, members: int) -> dict[str, str]:
    epsilon, delta = epsilon_of(cost, members)
    return {"epsilon": f"{epsilon:.4f}", "delta": f"{delta:.3g}"}


def _class_indices(given: object) -> list[int]:
    """Indices of classes, strictly ascending, as terms must name them. Raises BadParameter."""
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_CLASSES:
        raise _bad_classes(f"is not a list of 1 to {MOST_CLASSES} class indices")
    indices = [unsigned(each, 16, f"classes[{i}]") for i, each in enumerate(given)]
    if indices != sorted(set(indices)):
        raise _bad_classes("does not rise strictly")
    return indices


def _bad_classes(fault: str) -> BadParameter:
    return BadParameter(
        message=f"classes {fault}.",
        remedy="Give the dataset's class indices (1, 2, ...), each once, in ascending order.",
        field="classes",
    )


def price_floor(terms: ClassTerms, cost: int) -> int:
    """The least price per member that a class accepts for a request of this cost, token units."""
    by_cost = -(-terms.floor_per_milli_rho * cost // 1_000_000)
    return max(terms.floor_per_record, by_cost)
