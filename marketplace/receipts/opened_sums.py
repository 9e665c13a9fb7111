"""usufruct-opened-sums/1: the numbers that a researcher publishes, held against the receipt of their request.

In the homomorphic lane a receipt leads to sums that only the researcher's delivery key opens. This document
says what they are, with a proof that this key makes them of the sealed ones. Written as canonical JSON, no
line feed, and read in any layout of the same values, as an editor may have left it:

    schema    "usufruct-opened-sums/1"
    request   32 bytes, 0x and lower-case hexadecimal digits
    sums      the opened sums in the question's order: whole numbers in decimal digits, written as text
    proof     64 bytes, alike: challenge and answer, each 32 bytes, big-endian, below the group's order

A one-way door, as receipts are: what is written here is read for ever, and every value has one spelling. The
proof (`ml.homomorphic.threshold.verify_opening`) is of the sums sealed in the settlement, under the key that
the request's terms name, and bound by `TallySession.opened_sums` to chain, market, request, cohort root,
epoch and result hash; terms name analysis and parameters. Only who holds the key can make one, and for no
other numbers: each opened sum is one point, and of a point one number lies in its sum's range.

It publishes the noised sums and no secret. They may say more than the answer that is made of them: a mean's
how many are counted, a chi-square's the whole table. Cost and noise of a request are of all its sums at once,
so that what is published is within what was accounted. Of who counts it proves no more than the receipt does.

Vectors: tests/vectors/opened_sums.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from marketplace.errors import Refusal
from marketplace.questions import Asked, Counted
from marketplace.receipts.fields import Fields
from marketplace.receipts.format import Receipt
from marketplace.receipts.tally_checks import session_of, tally_of
from marketplace.wire.canonical import canonical, parse
from marketplace.wire.http import to_hex
from marketplace.wire.solidity import malformed
from marketplace.wire.tallying import MOST_SUMS, TallySession, decode_sealed, recipient
from ml.homomorphic.curve import Point, times_base
from ml.homomorphic.threshold import OpeningInvalid, prove_opening, verify_opening

SCHEMA: Final = "usufruct-opened-sums/1"
LARGEST: Final = 1 << 15
"""Bytes: 1,024 sums of 19 digits take 24 KB."""
PROOF_BYTES: Final = 64
STEP: Final = "opening"
"""The step of a verification that such a document is held against the receipt in."""
KEYS: Final = {"schema", "request", "sums", "proof"}
_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")


class BadOpening(Refusal):
    """Opened sums that are not this receipt's; `field` is at fault. Says nothing against the receipt."""

    CODE = "opening_invalid"


@dataclass(frozen=True)
class OpenedSums:
    """The document. sums: in the question's order. Holds no secret."""

    request: bytes
    sums: tuple[int, ...]
    proof: bytes = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The document, in the one form that `load_opened_sums` reads."""
        return {
            "schema": SCHEMA,
            "request": to_hex(self.request),
            "sums": [str(each) for each in self.sums],
            "proof": to_hex(self.proof),
        }

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is kept and published."""
        return canonical(self.to_json())


def prove(
    session: TallySession, result: bytes, sealed: bytes, sums: Sequence[int], secret: int
) -> OpenedSums:
    """The document of a researcher who opened a sealed result to these sums.

    Args:
        result: the hash of the result on chain.
        sealed: as the settlement delivered it.
        secret: of `own_recipient`. Multiplies points in constant time.

    Raises:
        OpeningInvalid: they are not what this key opens it to.
    """
    delivered, context = decode_sealed(sealed), session.opened_sums(result)
    proof = prove_opening(delivered, secret, context)
    # Nobody could take back what does not hold: so it is held against the sums before it is shown.
    verify_opening(proof, _points(sums), delivered, times_base(secret), context)
    return OpenedSums(session.request, tuple(sums), proof)


def load_opened_sums(document: Mapping[str, Any] | bytes) -> OpenedSums:
    """From its document or its bytes; says nothing yet of its truth.

    Raises:
        BadOpening: naming the field that is missing, unknown or misspelt.
    """
    try:
        raw = document if isinstance(document, bytes) else canonical(document)
        content = parse(raw, limit=LARGEST)
        found = _read(content)
    except Refusal as refusal:
        raise BadOpening(
            message=f"The opening cannot be read. {refusal.message}",
            remedy=f"Give the file that its researcher published ({SCHEMA}).",
            field=(refusal.field or "$").replace("$", STEP, 1),
            facts={"step": STEP},
        ) from None
    return found


def answer_of(opening: OpenedSums, receipt: Receipt, asked: Asked) -> Mapping[str, Any]:
    """The answer that the opened sums make, once they are proven to be the receipt's; as the researcher's own
    (`wire.delivery.encode_result`). For a receipt whose other steps hold.

    Args:
        asked: what the receipt's request asks (`tally_steps.question`).

    Raises:
        BadOpening: naming what is not the receipt's.
    """
    if opening.request != receipt.request:
        _unfit("request", "is not the receipt's")
    delivered = decode_sealed(receipt.sealed_result)
    if len(opening.sums) != len(delivered):
        given = len(opening.sums)
        _unfit("sums", f"has {given} numbers; the receipt's answer has {len(delivered)}")
    places, quorum = tally_of(receipt).places, receipt.committee.quorum
    counted = Counted(receipt.cost, receipt.cohort.members, len(places), quorum)
    for position, (low, high) in enumerate(counted.ranges(asked.tallied)):
        if not low <= opening.sums[position] <= high:
            _unfit(f"sums[{position}]", f"is not between {low} and {high}, as every true one is")
    context = session_of(receipt).opened_sums(receipt.settlement.result_hash)
    to = recipient(receipt.terms.delivery_key)
    try:
        verify_opening(opening.proof, _points(opening.sums), delivered, to, context)
    except OpeningInvalid:
        _unfit(
            "proof",
            "does not show that the delivery key of the request's terms makes these numbers of the sealed "
            "sums: numbers, their order or the proof were changed",
        )
    asking = (receipt.request, receipt.analysis, asked.parameters, asked.tallied)
    found = parse(counted.answer(*asking, opening.sums), limit=1 << 20)
    return dict(found)


def _points(sums: Sequence[int]) -> list[Point]:
    return [times_base(each) for each in sums]


def _read(content: Any) -> OpenedSums:
    fields = Fields(content, STEP, KEYS)
    fields.constant("schema", SCHEMA)
    items = fields.items("sums", MOST_SUMS)
    if not items:
        raise malformed(fields.name("sums"), "must not be empty")
    found = OpenedSums(
        request=fields.hash("request"),
        sums=tuple(_whole(each, f"{fields.name('sums')}[{i}]") for i, each in enumerate(items)),
        proof=fields.hex("proof", PROOF_BYTES),
    )
    if len(found.proof) != PROOF_BYTES:
        raise malformed(fields.name("proof"), f"must be {PROOF_BYTES} bytes long")
    for name, value in found.to_json().items():
        if value != fields.value(name):
            raise malformed(fields.name(name), "is not in its one canonical spelling")
    return found


def _whole(value: Any, at: str) -> int:
    # The bound keeps a hostile number from being parsed at all.
    if not isinstance(value, str) or _WHOLE.fullmatch(value) is None:
        raise malformed(at, "must be a whole number of at most 19 digits, written as a string")
    return int(value)


def _unfit(name: str, problem: str) -> NoReturn:
    """Never carries the opening's values."""
    at = f"{STEP}.{name}"
    raise BadOpening(
        message=f"The opening is not what the receipt's sums say: {at} {problem} (step {STEP}).",
        remedy="Do not rely on its numbers. Ask its researcher for the opening of this very receipt.",
        field=at,
        facts={"step": STEP},
    )
