"""Models that a researcher publishes: documents with one canonical form and one hash.

    linear     score = intercept + sum of weight x
    logistic   score = polynomial of that, in place of the sigmoid (degree, interval, error bound stated)
    network    score = intercept + sum over hidden units of weight (intercept + sum of weight x)^2

x = (value - mean) / scale of each input: standardisation is part of the model. An absent value counts as the
input's `missing`. All coefficients are decimals in texts. Whatever could make an encrypted score wrong
without anybody noticing is refused when the document is read: for every record inside the bounds, no number
leaves its room, the sigmoid's argument stays in its interval, and the depth fits the parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, TypeAlias

import numpy as np

from ml.ckks import documents, sigmoid
from ml.ckks.context import DEPTH
from ml.ckks.documents import BadDocument, decimal, decimals, fields, listed, require, text
from ml.ckks.layout import COPIES, MOST_VARIABLES, NotInLayout, Values, require_distinct
from ml.ckks.sigmoid import Sigmoid, sigmoid_of

FORMAT: Final = "usufruct-model/1"
MOST_HIDDEN: Final = COPIES
LARGEST: Final = 32
"""Of any number in a slot at the end: results have room for magnitudes below 64 (`context`)."""
ERROR: Final = Fraction(1, 1000)
"""A score that is decrypted differs from the same computation in the clear by less."""
NOISE: Final = 2.0**-15
"""Of one slot of a fresh record, at most: twice what is measured over 4,096 slots, encrypted to a public
key.
"""

_COMMON: Final = ("format", "kind", "title", "unit", "inputs")
_OWN: Final = {
    "linear": ("weights", "intercept"),
    "logistic": ("weights", "intercept", "sigmoid"),
    "network": ("hidden", "output"),
}


class ModelDoesNotFit(ValueError):
    """A model over a variable that the record does not have, or has with other bounds."""


@dataclass(frozen=True)
class Input:
    """One variable of the model, in its unit."""

    name: str
    lower: Fraction
    upper: Fraction
    mean: Fraction
    scale: Fraction
    missing: Fraction
    """What an absent value counts as."""

    def standardised(self, value: Fraction) -> Fraction:
        """x of a value."""
        return (value - self.mean) / self.scale


@dataclass(frozen=True)
class Affine:
    """intercept + sum of weight x, over the inputs in their order."""

    weights: tuple[Fraction, ...]
    intercept: Fraction

    def reach(self, inputs: Sequence[Input]) -> tuple[Fraction, Fraction]:
        """Smallest and largest value for any record inside the bounds."""
        low = high = self.intercept
        for weight, each in zip(self.weights, inputs, strict=True):
            ends = sorted(weight * each.standardised(end) for end in (each.lower, each.upper))
            low, high = low + ends[0], high + ends[1]
        return low, high


@dataclass(frozen=True)
class Network:
    """One hidden layer with squares."""

    hidden: tuple[Affine, ...]
    weights: tuple[Fraction, ...]
    intercept: Fraction

    depth = 3

    def noise(self, inputs: Sequence[Input]) -> list[float]:
        """Of each hidden unit's argument, at most: independent errors of each input's two slots, and
        rounding.
        """
        spans = [math.sqrt(2) * float((each.upper - each.lower) / each.scale) for each in inputs]
        return [
            NOISE * (1 + math.hypot(*(float(w) * s for w, s in zip(a.weights, spans, strict=True))))
            for a in self.hidden
        ]


Body: TypeAlias = Affine | tuple[Affine, Sigmoid] | Network


@dataclass(frozen=True)
class Model:
    """A published model. Build one with `model_of` or `parse_model`."""

    kind: str
    title: str
    unit: str
    """Of the score."""
    inputs: tuple[Input, ...]
    body: Body
    canonical: bytes
    hash: bytes
    """32 bytes: what a contract, a request and an encrypted score name."""

    @property
    def depth(self) -> int:
        """Multiplications one after the other."""
        match self.body:
            case (_, curve):
                return 1 + curve.depth
            case Network():
                return Network.depth
            case _:
                return 1

    def plain(self, values: Values) -> float:
        """The score of a record in the clear, by the same computation. Raises NotInLayout."""
        x = [self._standardised(each, values) for each in self.inputs]
        match self.body:
            case (affine, curve):
                return curve.of(_value(affine, x))
            case Network(hidden, weights, intercept):
                units = zip(weights, hidden, strict=True)
                return float(intercept) + sum(float(v) * _value(a, x) ** 2 for v, a in units)
            case Affine() as affine:
                return _value(affine, x)
        raise AssertionError(self.kind)

    def exact(self, values: Values) -> float:
        """The same with the true sigmoid: what the polynomial stands for. Raises NotInLayout."""
        if not isinstance(self.body, tuple):
            return self.plain(values)
        x = [self._standardised(each, values) for each in self.inputs]
        return float(sigmoid.exact(np.array(_value(self.body[0], x))))

    @staticmethod
    def _standardised(each: Input, values: Values) -> float:
        value = values.get(each.name)
        if value is None:
            return float(each.standardised(each.missing))
        if not each.lower <= value <= each.upper:
            raise NotInLayout(f"the value of {each.name} lies outside its bounds")
        return float(each.standardised(Fraction(value)))


def parse_model(data: bytes) -> Model:
    """A model from its canonical bytes. Raises BadDocument."""
    return model_of(documents.parse(data))


def model_of(document: Any) -> Model:
    """A checked model. Raises BadDocument, naming field and remedy."""
    kind = document.get("kind") if isinstance(document, dict) else None
    known = isinstance(kind, str) and kind in _OWN
    require(known, "kind", "is none of linear, logistic and network", "Use one of them.")
    given = fields(document, (*_COMMON, *_OWN[str(kind)]), "model")
    require(given["format"] == FORMAT, "format", "is another", f"Write {FORMAT}.")
    entries = listed(given["inputs"], "inputs", MOST_VARIABLES)
    inputs = tuple(_input(entry, f"inputs[{i}]") for i, entry in enumerate(entries))
    require_distinct([each.name for each in inputs], "inputs")
    body = _READERS[str(kind)](given, inputs)
    canonical = documents.canonical(document)
    title, unit = text(given["title"], "title"), text(given["unit"], "unit")
    mark = documents.document_hash(FORMAT, canonical)
    model = Model(str(kind), title, unit, inputs, body, canonical, mark)
    require(model.depth <= DEPTH, "model", "is too deep", f"Use at most {DEPTH} products in a row.")
    return model


# ---- Parts ----


def _input(entry: Any, at: str) -> Input:
    numbers = ("lower", "upper", "mean", "scale", "missing")
    given = fields(entry, ("name", *numbers), at)
    name = documents.name(given["name"], f"{at}.name")
    lower, upper, mean, scale, missing = (decimal(given[key], f"{at}.{key}") for key in numbers)
    require(lower < upper, f"{at}.upper", "is not above lower", "Give the larger bound.")
    require(scale > 0, f"{at}.scale", "is not positive", "Give the standard deviation.")
    inside = lower <= missing <= upper
    require(inside, f"{at}.missing", "lies outside the bounds", "Give the mean, for example.")
    return Input(name, lower, upper, mean, scale, missing)


def _affine(given: dict[str, Any], inputs: Sequence[Input], at: str) -> Affine:
    weights = decimals(given["weights"], f"{at}weights", len(inputs))
    return Affine(weights, decimal(given["intercept"], f"{at}intercept"))


def _linear(given: dict[str, Any], inputs: Sequence[Input]) -> Affine:
    affine = _affine(given, inputs, "")
    _require_seen([affine], inputs, "weights")
    _require_room(affine, inputs, COPIES, "weights")
    return affine


def _logistic(given: dict[str, Any], inputs: Sequence[Input]) -> tuple[Affine, Sigmoid]:
    affine = _affine(given, inputs, "")
    _require_seen([affine], inputs, "weights")
    curve = sigmoid_of(given["sigmoid"], "sigmoid")
    low, high = affine.reach(inputs)
    inside = curve.low <= low and high <= curve.high
    reached = f"{math.floor(low)} to {math.ceil(high)}"
    require(inside, "sigmoid.interval", "does not hold every record's argument", f"Use {reached}.")
    return affine, curve


def _network(given: dict[str, Any], inputs: Sequence[Input]) -> Network:
    entries = listed(given["hidden"], "hidden", MOST_HIDDEN)
    hidden = tuple(_unit(entry, inputs, f"hidden[{i}]") for i, entry in enumerate(entries))
    _require_seen(hidden, inputs, "hidden")
    output = fields(given["output"], ("weights", "intercept"), "output")
    weights = decimals(output["weights"], "output.weights", len(hidden))
    network = Network(hidden, weights, decimal(output["intercept"], "output.intercept"))
    _require_precise(network, inputs)
    return network


def _unit(entry: Any, inputs: Sequence[Input], at: str) -> Affine:
    affine = _affine(fields(entry, ("weights", "intercept"), at), inputs, f"{at}.")
    _require_room(affine, inputs, 1, f"{at}.weights")
    return affine


_READERS: Final[Mapping[str, Callable[[dict[str, Any], Sequence[Input]], Body]]] = {
    "linear": _linear,
    "logistic": _logistic,
    "network": _network,
}


# ---- What may not happen ----


def _require_seen(rows: Sequence[Affine], inputs: Sequence[Input], at: str) -> None:
    """SEAL refuses to multiply by what rounds to 0 in every slot."""
    pairs = [
        (weight, each) for row in rows for weight, each in zip(row.weights, inputs, strict=True)
    ]
    largest = max(abs(weight) * (each.upper - each.lower) / each.scale for weight, each in pairs)
    require(largest >= sigmoid.LEAST_FACTOR, at, "are next to 0", "Let one of the inputs count.")


def _require_room(affine: Affine, inputs: Sequence[Input], copies: int, at: str) -> None:
    """In a slot, there is one input's part at first, and the intercept's copy."""
    parts = [
        abs(weight) * (each.upper - each.lower) / each.scale
        for weight, each in zip(affine.weights, inputs, strict=True)
    ]
    still = affine.intercept + sum(
        weight * each.standardised(each.missing)
        for weight, each in zip(affine.weights, inputs, strict=True)
    )
    small = max(parts) + abs(still) / copies <= LARGEST
    require(small, at, "give numbers that are too large", f"Keep each part below {LARGEST}.")


def _require_precise(network: Network, inputs: Sequence[Input]) -> None:
    weights = [abs(weight) for weight in network.weights]
    widest = [max(map(abs, unit.reach(inputs))) for unit in network.hidden]
    largest = max(v * z**2 for v, z in zip(weights, widest, strict=True))
    small = largest + abs(network.intercept) / COPIES <= LARGEST and max(widest) <= LARGEST
    require(small, "hidden", "give numbers that are too large", f"Keep them below {LARGEST}.")
    seen = max(weights) >= sigmoid.LEAST_FACTOR
    require(seen, "output.weights", "are next to 0", "Let one of the units count.")
    slopes = [float(2 * v * z) for v, z in zip(weights, widest, strict=True)]
    error = math.hypot(*(s * n for s, n in zip(slopes, network.noise(inputs), strict=True)))
    if error >= ERROR:
        raise BadDocument(
            "output.weights",
            f"would make scores wrong by up to {error:.4f}",
            f"Keep that below {float(ERROR)}: smaller weights, or fewer units.",
        )


def _value(affine: Affine, x: Sequence[float]) -> float:
    products = (float(weight) * each for weight, each in zip(affine.weights, x, strict=True))
    return float(affine.intercept) + sum(products)
