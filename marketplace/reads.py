"""What pages and the API read: requests, datasets, prices before payment. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from marketplace.analyses import CATALOGUE, Parameters, analysis_by_id
from marketplace.analyses.explained import EXAMPLES, MEANS, RELEASES
from marketplace.bonds import require_bond
from marketplace.chain.adapter import Chain, MarketPolicy
from marketplace.chain.consents import consent_document
from marketplace.chain.token import decimals, permit_facts
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.prices import escrow, figures
from marketplace.stages import Settled, Stage
from marketplace.store import Database, RequestRow
from marketplace.waits import Waits
from marketplace.wire.data_use import purpose_words
from marketplace.wire.terms import Purpose
from marketplace.words import class_words, quote_words


@dataclass(frozen=True)
class Reads:
    """Answers to questions."""

    chain: Chain
    database: Database
    dictionaries: Dictionaries
    operator: str
    fee: int  # token units that the operator asks for a request
    waits: Waits = field(default_factory=Waits)

    @cached_property
    def _decimals(self) -> int:
        """Of the market's token: nobody can change them."""
        return decimals(self.chain)

    @cached_property
    def _policy(self) -> MarketPolicy:
        """The market's: nobody can change it."""
        return self.chain.policy()

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
            "token_decimals": self._decimals,
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
            "in_words": class_words(terms, self._decimals),
            "live": sum(shard.live for shard in self.chain.shards(class_)),
        }

    def issuers(self, dataset: bytes) -> list[str]:
        """Accounts that may attest records of a dataset now, by age."""
        return self.chain.issuers(dataset)

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
                "releases": RELEASES[each.release_kind],
                "parameters": [{"name": key, "means": MEANS[key]} for key in sorted(each.keys)],
                "example": EXAMPLES[each.id],
            }
            for each in CATALOGUE.values()
        ]

    def quote(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Price, privacy cost and expected error of a request, each before anything is paid.

        Args:
            asked: dataset (hex), classes (indices), analysis (id), parameters, and exactly one of
                cost (nano-rho) and target_error (half-width of the 95% interval, in the variable's unit).

        Raises:
            BadParameter: naming the field. Refusal: `bond_too_small`, in figures.
        """
        found = figures(self.chain, self.dictionaries.variables, asked)
        members, price = found["members_assumed"], found["price_per_member"]
        require_bond(self.chain, self.operator, members, price)
        quote = {**found, "fee": self.fee}
        quote["escrow"] = str(escrow(quote))
        return {**quote, "in_words": quote_words(quote)}

    def canonical(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a question with every default written out: their hash is what terms name.

        Raises:
            BadParameter: naming the field. Refusal: `dictionary_missing`.
        """
        analysis = analysis_by_id(asked["analysis"])
        variables = self.dictionaries.variables(bytes.fromhex(asked["dataset"][2:]))
        parsed: Parameters = analysis.parse(asked["parameters"], variables)
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

    # --- requests

    def requests_of(self, researcher: str) -> list[dict[str, Any]]:
        """The latest requests of one researcher, newest first."""
        return [self._listed(row) for row in self.database.requests_of(researcher)]

    def requests(self) -> list[dict[str, Any]]:
        """The latest requests, newest first; what they ask and where they stand is public."""
        return [self._listed(row) for row in self.database.requests()]

    def request(self, request: str) -> dict[str, Any]:
        """One request with its stage log and, once sealed, its cohort size."""
        row = self.database.request(request)
        view = self.chain.request(bytes.fromhex(request[2:]))
        entries = [
            {
                "before": entry.before,
                "after": entry.after,
                "because": entry.because,
                "at": utc(entry.at),
            }
            for entry in self.database.log(request)
        ]
        return self._summary(row, view.opened_at) | {
            "waiting": self.waits.of(request),
            "chain_stage": view.stage.name.lower(),
            "cohort_size": view.members if any(view.root) else None,
            "parameters": row.parameters,
            "terms": row.terms,
            "stages": entries,
        }

    def stages_since(self, request: str, entry: int) -> list[dict[str, Any]]:
        """A request's transitions after the log's row with this id, in order: `id`, `stage`, `at`."""
        rows = self.database.log_since(request, entry)
        return [{"id": row.id, "stage": row.after, "at": utc(row.at)} for row in rows]

    def _listed(self, row: RequestRow) -> dict[str, Any]:
        """Of many: the chain is asked only where a notice may run, which somebody has paid for."""
        if row.stage != Stage.FUNDED:
            return self._summary(row, 0)
        return self._summary(row, self.chain.request(bytes.fromhex(row.id[2:])).opened_at)

    def _summary(self, row: RequestRow, opened_at: int) -> dict[str, Any]:
        """`opened_at` (unix seconds) is 0 where it is not known, or never was: then there is no notice."""
        return {
            "request": row.id,
            "researcher": row.researcher,
            "dataset": row.terms["dataset"],
            "analysis": row.analysis,
            "purpose": purpose_words(Purpose.from_json(row.terms["purpose"])),
            "notice_until": opened_at + self._policy.notice_window if opened_at else None,
            "stage": row.stage,
            "reason": row.reason,
            "submitted_at": utc(row.submitted_at),
        }

    def queue(self, most: int) -> list[dict[str, Any]]:
        """Requests at work, paid ones first; of the database alone, so it is there when no node answers."""
        return [
            {
                **_brief(row),
                "stage": row.stage,
                "since": utc(since),
                "waiting": self.waits.of(row.id),
            }
            for row, since in self.database.at_work(most)
        ]

    def failures(self, most: int) -> list[dict[str, Any]]:
        """Requests that stand refused, the newest first, each with its reason (code, message, remedy)."""
        return [{**_brief(row), "reason": row.reason} for row in self.database.refused_lately(most)]

    def receipt(self, request: str) -> Settled:
        """A settled request, whose receipt carries the result sealed to its researcher.

        Raises:
            Refusal: `not_settled`, saying where the request stands.
        """
        settled = self.database.receipt(request)
        if settled is None:
            stage = Stage(self.database.request(request).stage)
            raise Refusal(
                code="not_settled",
                message=f"The request is {stage}; there is no result yet.",
                remedy="Wait until its stage is settled (GET /api/v1/requests/{id}).",
            )
        return settled


def _brief(row: RequestRow) -> dict[str, Any]:
    return {
        "request": row.id,
        "analysis": row.analysis,
        "researcher": row.researcher,
        "submitted_at": utc(row.submitted_at),
    }


def utc(moment: datetime) -> str:
    """ISO 8601 with Z. SQLite gives times without a zone, in which they were written: UTC."""
    zoned = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return zoned.replace(tzinfo=None).isoformat() + "Z"
