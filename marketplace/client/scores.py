"""A patient's side of personal scores: encrypt the record here, hand it in, fetch scores, open them here.

What is opened stays in this process, and on its owner's screen: nothing here sends it (IND-CPA-D, see
`ml.ckks.opening`). Not even whether it opens: everything is fetched first (`fetch`), and nothing is asked of
anybody once values are looked at (`opened`), since who sees what a client does next learns how a comparison
went, of models and ciphertexts of its own choice. What may go on is `score_bundle`: the score on a grid, as a
record that is sealed and joined like any other, so that researchers learn only sums with noise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from marketplace.analyses.tallies.scores import SCORE as SCORES
from marketplace.analyses.tallies.scores import ScoreParameters
from marketplace.client.http import malformed_answer, objects, reading
from marketplace.client.messages import account_of
from marketplace.client.score_keys import ScoreFolder
from marketplace.errors import Refusal
from marketplace.wire.analysis import parameters_hash
from marketplace.wire.auth import Voice
from marketplace.wire.dictionary import Code, Dictionary, Kind, Variable
from marketplace.wire.eip712 import SigningKey
from marketplace.wire.http import binary_field, hash_field, to_base64, to_hex
from marketplace.wire.score_layout import layout_of_dictionary, values_in_layout
from ml.ckks.aggregate import MOST_STEPS
from ml.ckks.documents import BadDocument
from ml.ckks.keys import EncryptedRecord
from ml.ckks.layout import NotInLayout
from ml.ckks.models import Model, ModelDoesNotFit, model_of
from ml.ckks.opening import NotThisScore, OwnScore, ScoreDiffers, open_score
from ml.ckks.packing import Unreadable
from ml.ckks.score import SCORE_BYTES, EncryptedScore, PreparedModel

if TYPE_CHECKING:
    from marketplace.client.marketplace import Marketplace

PATHS: Final = "/api/v1/datasets"
MOST_SCORE: Final = SCORE_BYTES + 1024
MODEL_SYSTEM: Final = "urn:usufruct:model"
"""The coding system of a model's hash: how the dictionary of a score dataset names its model."""
SCORE: Final = "score"
UCUM: Final = "http://unitsofmeasure.org"
Values = Mapping[str, Decimal | str | None]


@dataclass(frozen=True)
class Opened:
    """One score in its owner's hands, and the model that made it. The score does not print."""

    request: str
    model: Model
    score: OwnScore = field(repr=False)


@dataclass(frozen=True)
class Fetched:
    """One score as it came, its model, and the record that was handed in for it."""

    request: str
    model: Model
    score: EncryptedScore = field(repr=False)
    record: EncryptedRecord = field(repr=False)


@dataclass(frozen=True)
class OwnScores:
    """One patient's scores in one dataset. `key` signs for the address that takes part there.

    With `proved`, dictionaries and what a request asks are the chain's, through the market's own node;
    without, the operator's word: it could have another model's number pass for the one that was asked for.
    """

    market: Marketplace
    dataset: bytes
    key: SigningKey
    folder: ScoreFolder
    proved: bool = False

    def dictionary(self, dataset: bytes | None = None) -> Dictionary:
        """This dataset's dictionary, or another's. Raises Refusal (`dictionary_missing`,
        `dictionary_mismatch`).
        """
        shown = self.market.dictionary_on_chain if self.proved else self.market.dictionary
        return shown(self.dataset if dataset is None else dataset)

    def hand_in(self, dictionary: Dictionary, values: Values) -> str:
        """Encrypts the record here and hands it in, in the place of the one before; its hash.

        Raises:
            Refusal: `score_key`, `score_key_of_another_dataset`, `not_scorable`; as the operator refuses.
        """
        layout, key, material = (
            layout_of_dictionary(dictionary),
            self.folder.key(),
            self.folder.material(),
        )
        self.folder.bind(self.dataset)
        record = key.encrypt(values_in_layout(dictionary, values), layout)
        sent = {"material": to_base64(material.data), "record": to_base64(record.data)}
        self.folder.keep_record(record)  # before it is sent: the answer may be lost
        told = self._asked(f"{PATHS}/{to_hex(self.dataset)}/score-records", sent)
        return str(told["record"])

    def listed(self) -> list[Mapping[str, Any]]:
        """What the operator has of one's own: request, model, title and state of each score."""
        return self.told()[1]

    def told(self) -> tuple[str | None, list[Mapping[str, Any]]]:
        """The hash of the record that was handed in, None without one; and what is `listed`."""
        told = self._asked(f"{PATHS}/{to_hex(self.dataset)}/scores", {})
        with reading("record"):
            record = told["record"]
        return None if record is None else str(record), [*objects(told, "scores")]

    def fetch(self, request: str, dictionary: Dictionary) -> Fetched:
        """One score, and all that it takes to open it. What is asked and refused here depends on no value.

        Raises:
            Refusal: `no_score`; `unknown_model`; `malformed_answer`; `not_this_score`: of another folder's
                record, or by a model that does not fit what was handed in, or (`proved`) that the request
                does not ask for.
        """
        request = to_hex(hash_field(request, "request"))
        told = self._asked(f"/api/v1/requests/{request}/score", {})
        with _answered("score"):
            raw = binary_field(told["score"], "score", MOST_SCORE)
            score = EncryptedScore.from_bytes(raw)
        model = self._model(str(told["model"]))
        if self.proved:
            self._require_asked(hash_field(request, "request"), model)
        record, layout = self.folder.record(score.record), layout_of_dictionary(dictionary)
        with _opening():
            if record.layout != layout.hash:
                raise NotThisScore("the record that was handed in is of another dictionary")
            # With the bounds of all: of a narrower model, whether it fits would say where a value lies.
            PreparedModel(model, layout)
        return Fetched(request, model, score, record)

    def opened(self, fetched: Fetched, dictionary: Dictionary, values: Values) -> Opened:
        """Opens it here, compared with the model on one's own values. Asks nobody.

        Raises:
            Refusal: `not_this_score`; `score_differs`: what came is not the model's score of this record, and
                its value is told to nobody.
        """
        model = fetched.model
        here = {each.name for each in model.inputs}
        given = values_in_layout(dictionary, values)
        chosen = {name: value for name, value in given.items() if name in here}
        with _opening():
            own = open_score(self.folder.key(), fetched.score, model, fetched.record, chosen)
        return Opened(fetched.request, model, own)

    def _require_asked(self, request: bytes, model: Model) -> None:
        """By the request's terms on chain. Raises Refusal (`not_this_score`); PartialLogs, ..."""
        terms = self.market.chain.request_terms(request)
        asked = ScoreParameters(
            to_hex(model.hash), tuple(each.name for each in model.inputs), variables=()
        )
        wanted = (self.dataset, SCORES.analysis_hash(), parameters_hash(SCORES.canonical(asked)))
        if (terms.dataset, terms.analysis, terms.parameters) != wanted:
            raise Refusal(
                code="not_this_score",
                message="By the chain, this request does not ask for that model's scores in this dataset.",
                remedy="Use nothing that this operator sends for the request, and tell whom you trust.",
                field="request",
            )

    def _model(self, name: str) -> Model:
        """The model of this hash, whatever the operator says of it."""
        told = self.market.api.get(f"/api/v1/models/{name}")
        with _answered("document"):
            model = model_of(_plain(told["document"]))
        if to_hex(model.hash) != name:
            raise malformed_answer("document")
        return model

    def _asked(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        voice = Voice(self.key, account_of(self.key), self.market.manifest.api_domain)
        return self.market.api.post_signed(path, body, voice)


# ---- Onwards: into a score dataset ----


def score_bundle(opened: Opened, dictionary: Dictionary) -> bytes:
    """A FHIR bundle that holds this score alone, on the dataset's grid: what `usufruct seal`, or the page,
    seals as a record of a score dataset.

    Raises:
        Refusal: `not_a_score_dataset`: its dictionary is not of this model's scores, in its unit.
    """
    variable = score_variable(dictionary, opened.model)
    lower, upper, steps = variable.lower, variable.upper, _steps(dictionary, variable)
    placed = opened.score.placed(lower, upper, steps)
    exact = Fraction(lower) + placed * (Fraction(upper) - Fraction(lower)) / steps
    value = Decimal(exact.numerator) / Decimal(exact.denominator)
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "code": {"coding": [{"system": variable.code.system, "code": variable.code.code}]},
        "valueQuantity": {
            # At most 13 digits, which a float writes as they are.
            "value": float(value),
            "unit": variable.unit,
            "system": UCUM,
            "code": variable.unit,
        },
    }
    patient = {"resourceType": "Patient", "id": "p1"}
    entries = [{"resource": each} for each in (patient, observation)]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return json.dumps(bundle).encode()


def score_variable(dictionary: Dictionary, model: Model) -> Variable:
    """The one variable of a score dataset's dictionary. Raises Refusal (`not_a_score_dataset`)."""
    only = dictionary.variables[0]
    wanted = Code(MODEL_SYSTEM, to_hex(model.hash))
    checks = (
        (len(dictionary.variables) == 1, "has other variables than the score"),
        (only.kind is Kind.NUMBER and only.name == SCORE, f"has no number called {SCORE}"),
        (only.code == wanted, "names another model"),
        (only.unit == model.unit, "has the score in another unit"),
        (_steps(dictionary, only) <= MOST_STEPS, "has the score on too fine a grid"),
    )
    for holds, problem in checks:
        if not holds:
            raise Refusal(
                code="not_a_score_dataset",
                message=f"The dictionary of that dataset {problem}.",
                remedy=f"Name a dataset whose dictionary has one number, `{SCORE}`, with the code "
                f"{wanted.code} of {MODEL_SYSTEM}.",
                field="score_dataset",
            )
    return only


def _steps(dictionary: Dictionary, variable: Variable) -> int:
    """From the lower bound to the upper one: the encoding's, or of the dictionary's decimals without one."""
    if dictionary.encoding is None:
        return len(variable.domain) - 1
    return max(each.steps for each in dictionary.encoding.variables)  # there is one variable


@contextmanager
def _answered(field: str) -> Iterator[None]:
    """What cannot be read of an operator's answer."""
    try:
        with reading(field):
            yield
    except (Unreadable, BadDocument):
        raise malformed_answer(field) from None


@contextmanager
def _opening() -> Iterator[None]:
    try:
        yield
    except (NotThisScore, ModelDoesNotFit) as wrong:
        raise Refusal(
            code="not_this_score",
            message=f"What the operator sent cannot be opened: {wrong}.",
            remedy="If you made another key since, an older folder from your backup may open it.",
            field="request",
        ) from None
    except ScoreDiffers as wrong:
        raise Refusal(
            code="score_differs",
            message=f"Do not use this score: {wrong}.",
            remedy="Check that --fhir is the bundle that you handed in. If it is, the operator sent another "
            "thing than the model's score: open nothing more from it, and tell nobody what it says.",
            field="request",
        ) from None
    except NotInLayout as wrong:
        raise Refusal(
            code="not_this_score",
            message=f"The model does not fit your values: {wrong}.",
            remedy="Check that --fhir is the bundle that you handed in.",
            field="fhir",
        ) from None


def _plain(value: Any) -> Any:
    """Without the kinds of the HTTP client: a document is canonical only as plain JSON."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
