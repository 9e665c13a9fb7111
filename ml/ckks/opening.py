"""Opening a score: what the owner of the key sees, and what of it may go on.

CKKS is approximate: a decryption carries the encryption's own error. Whoever has a ciphertext and its exact
decryption solves a linear equation for the secret key (B. Li, D. Micciancio, EUROCRYPT 2021, "On the
security of homomorphic encryption on approximate numbers"; tests/unit/ckks/test_attack.py does it on these
parameters). So here

- only the owner opens, and what is decrypted never leaves this module: of 8192 coefficients one is looked at,
  and rounded to 0.001;
- `OwnScore` prints nothing, and is not pickled or copied; its number is asked for by name;
- researchers are told nothing. What goes on is at most `OwnScore.placed`, a whole number from 0 to `steps`,
  and that goes into the tally lane: encrypted, proven, added up, noised.

Protected: the key, against anybody who sees material, records, encrypted scores, and any number of noised
sums. Not protected: the score itself, if its owner tells it; and in principle a little of the key, if an
owner tells very many rounded scores one by one, since a rounding says something where the number lies near
an edge (here about one in a hundred does; noise of the right size, as in B. Li et al., CRYPTO 2022, would
be needed where scores are published). A wrong operator may send a ciphertext of its own choice, whose
"score" depends on the key. An owner who gives the record's `values` is told by `ScoreDiffers`; and no
number goes on that was not compared so.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final, NoReturn

from tenseal import sealapi

from ml.ckks.aggregate import placed
from ml.ckks.context import encoder, seal_context
from ml.ckks.keys import EncryptedRecord, NeverLeaves, OwnerKey
from ml.ckks.layout import COPIES, Values
from ml.ckks.models import ERROR, Model
from ml.ckks.score import EncryptedScore

SHOWN: Final = Decimal("0.001")
"""What a score is rounded to: about a hundred times the error of a decryption, or more."""


class NotThisScore(ValueError):
    """A score of another model, another record, or for another key."""


class ScoreDiffers(ValueError):
    """What was decrypted is not the model on the owner's record: do not use it, and tell nobody its value."""


class NotCompared(ValueError):
    """A score that was not compared with the record's values: nothing goes on."""


class OwnScore:
    """One score, in its owner's hands."""

    __slots__ = ("_compared", "_shown")

    def __init__(self, shown: Decimal, compared: bool) -> None:
        """Use `open_score`."""
        self._shown, self._compared = shown, compared

    def for_the_owner(self) -> Decimal:
        """The score, rounded to 0.001, in the model's unit. For the owner's eyes."""
        return self._shown

    def placed(self, lower: Decimal, upper: Decimal, steps: int) -> int:
        """Where it lies on a grid of the tally lane, 0 to steps (`aggregate`). Raises NotCompared,
        BadGrid.
        """
        if not self._compared:
            raise NotCompared("open the score with the record's values first")
        return placed(self._shown, lower, upper, steps)

    def __repr__(self) -> str:
        return "OwnScore(its owner's)"

    def __format__(self, form: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise NeverLeaves("a score stays with its owner")


def open_score(
    key: OwnerKey,
    score: EncryptedScore,
    model: Model,
    record: EncryptedRecord,
    values: Values | None = None,
) -> OwnScore:
    """The owner's score.

    Args:
        values: of the record, if the owner has them: then the score is compared with the model's own in the
            clear, and the number is the model's own: no bit of it depends on the key.

    Raises:
        NotThisScore, ScoreDiffers; NotInLayout for values outside the model's bounds.
    """
    if score.model != model.hash:
        raise NotThisScore("the score is of another model")
    if score.record != record.hash:
        raise NotThisScore("the score is of another record")
    if record.material != key.material:
        raise NotThisScore("the record is encrypted to another key")
    found = _decrypted(key, score) * (1 if model.kind == "logistic" else COPIES)
    if not math.isfinite(found):
        raise ScoreDiffers("the score is no number")
    if values is not None:
        own = model.plain(values)
        if abs(found - own) >= ERROR:
            raise ScoreDiffers("the score is not the model's on this record")
        found = own  # what is shown or goes on is then of values and model alone, not of the key
    shown = Decimal(found).quantize(SHOWN, rounding=ROUND_HALF_EVEN)
    return OwnScore(shown, values is not None)


def _decrypted(key: OwnerKey, score: EncryptedScore) -> float:
    plain: Any = sealapi.Plaintext()
    sealapi.Decryptor(seal_context(), key._secret).decrypt(score.ciphertext, plain)
    slots = encoder().decode_double(plain)
    return math.fsum(slots) / len(slots)
