"""Models that researchers publish: kept under their hash, for ever, and checked before anybody pays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from marketplace.analyses.tallies.scores import SCORE, ScoreParameters
from marketplace.chain.adapter import Chain
from marketplace.errors import BadParameter, Refusal
from marketplace.store import Database, ScoreModelRow
from marketplace.vocabulary import Address
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.score_layout import layout_of_dictionary
from ml.ckks.documents import BadDocument
from ml.ckks.models import Model, ModelDoesNotFit, model_of, parse_model
from ml.ckks.score import PreparedModel

MOST_OF_A_PUBLISHER: Final = 64
"""At most 16 MB of one credentialed researcher, so that nobody fills the database."""
MOST_LISTED: Final = 200
NAMES_NO_MODEL: Final = "parameters.model"
NAMES_NO_VARIABLES: Final = "parameters.variables"


@dataclass(frozen=True)
class Models:
    """The models that were published at one operator."""

    chain: Chain
    database: Database

    def publish(self, publisher: Address, document: Any) -> str:
        """Keeps a model; its hash. Twice changes nothing, whoever does.

        Raises:
            Refusal: `credential_missing`, ...: only credentialed researchers ask, so only they publish;
                `bad_model`, naming the field; `too_many_models`; `storage_full`, `storage_unavailable`.
        """
        # Also what is published already: whether it is there is public, whether the account may is not new.
        self.chain.call("ResearcherRegistry", "requireCredential", publisher)
        model = _checked(document)
        row = ScoreModelRow(
            model="0x" + model.hash.hex(),
            publisher=publisher,
            shown=_shown(model),
            document=model.canonical.decode(),
            published_at=datetime.now(UTC),
        )
        if not self.database.keep_model(row, MOST_OF_A_PUBLISHER):
            raise Refusal(
                code="too_many_models",
                message=f"This account has published {MOST_OF_A_PUBLISHER} models.",
                remedy="Use one of them, or ask the operator.",
                field="Usufruct-Auth.address",
            )
        return "0x" + model.hash.hex()

    def listed(self) -> list[dict[str, Any]]:
        """The latest models, as pages and APIs show them."""
        return [
            {"model": model, "publisher": publisher, **shown}
            for model, publisher, shown in self.database.models(MOST_LISTED)
        ]

    def document(self, model: str) -> dict[str, Any]:
        """One model, whole. Raises Refusal (`unknown_model`)."""
        row = self.database.model(model)
        if row is None:
            raise _unknown("model")
        told = {"model": row.model, "publisher": row.publisher, **row.shown}
        return {**told, "document": json.loads(row.document)}

    def title(self, model: str) -> str:
        """What a model is called; empty where it is none."""
        row = self.database.model(model)
        return "" if row is None else str(row.shown["title"])

    def of(self, model: str) -> Model | None:
        """A published model; None where it is none."""
        row = self.database.model(model)
        return None if row is None else _parsed(row.document.encode())

    def require_scorable(
        self, analysis: str, parsed: object, dictionary: Dictionary
    ) -> PreparedModel | None:
        """What runs the model that is asked for on the records of a dataset; None for another analysis.

        Raises:
            BadParameter: the model is not published here, reads other variables, or none that the dataset's
                records have (parameters.model, parameters.variables). Refusal: `not_scorable`.
        """
        if analysis != SCORE.id or not isinstance(parsed, ScoreParameters):
            return None
        model = self.of(parsed.model)
        if model is None:
            raise _unknown(NAMES_NO_MODEL)
        reads = [each.name for each in model.inputs]
        if reads != list(parsed.names):
            raise BadParameter(
                message="variables are not those that the model reads, in its order.",
                remedy=f"Give: {', '.join(reads)}.",
                field=NAMES_NO_VARIABLES,
                facts={"reads": reads},
            )
        try:
            return PreparedModel(model, layout_of_dictionary(dictionary))
        except ModelDoesNotFit as misfit:
            raise BadParameter(
                message=f"The model does not fit this dataset: {misfit}.",
                remedy="Ask for another model, or publish this one with the dictionary's bounds.",
                field=NAMES_NO_MODEL,
            ) from None


def _checked(document: Any) -> Model:
    try:
        return parse_model(model_of(document).canonical)  # as it will be read
    except BadDocument as bad:
        raise Refusal(
            code="bad_model",
            message=f"{bad.field} {bad.problem}.",
            remedy=bad.remedy,
            field=f"model.{bad.field}"[:200],
        ) from None


@lru_cache(maxsize=16)
def _parsed(document: bytes) -> Model:
    return parse_model(document)


def _shown(model: Model) -> dict[str, Any]:
    return {
        "title": model.title,
        "kind": model.kind,
        "unit": model.unit,
        "variables": [each.name for each in model.inputs],
    }


def _unknown(field: str) -> BadParameter:
    return BadParameter(
        code="unknown_model",
        message="No model of this hash is published here.",
        remedy="Publish it first (`usufruct publish-model`), or use one that `usufruct models` lists.",
        field=field,
    )
