"""The answer of a settled request: as the operator tells it, or from the chain with nobody's help.

A sealed result is delivered in the very transaction that settles (event `RequestSettled`), so whoever holds
the delivery key and a node needs no operator to be answered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from marketplace.chain.adapter import Chain, RequestStage, RequestView
from marketplace.client.logarithms import Logarithms
from marketplace.client.tallied import Delivered, OpenedTally, open_tally
from marketplace.errors import BadParameter, Refusal
from marketplace.questions import session_of as session_on_chain
from marketplace.receipts import checks, tally_checks
from marketplace.receipts.build import build_receipt, life_of
from marketplace.receipts.format import Receipt, load
from marketplace.receipts.opened_sums import OpenedSums, prove
from marketplace.receipts.tally_checks import session_of
from marketplace.vocabulary import RequestId
from marketplace.wire import hpke
from marketplace.wire.canonical import JSON_LIMIT, parse
from marketplace.wire.delivery import (
    DeliveryContext,
    Opened,
    delivery_hash,
    open_result,
    result_hash,
)
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.http import to_hex
from marketplace.wire.structs import HOMOMORPHIC, Settlement
from marketplace.wire.tally_delivery import TallyKey
from marketplace.wire.tallying import TallySession
from ml.dp.noised import Noised

DictionaryOf = Callable[[bytes], Dictionary]
"""Of a dataset."""


@dataclass(frozen=True)
class Known:
    """What of a question the chain has hashes of, and no more: to open sums, both have to be known."""

    dictionary: Dictionary
    parameters: Mapping[str, Any]


def open_answer(
    receipt: Mapping[str, Any],
    delivery: hpke.SecretKey,
    request: bytes,
    dictionary_of: DictionaryOf | None = None,
    logarithms: Logarithms | None = None,
) -> Opened:
    """Opens the sealed result in a request's receipt with the researcher's key.

    It is held against what the receipt says that was asked, counted, debited and signed, and the receipt's
    parts against each other: a quorum of the custodians that it lists signed this very answer, and of sums
    decrypted it. Who they are, and that the chain has any of it, is whoever gave the receipt's word;
    `usufruct verify-receipt` holds it against the chain.

    Args:
        dictionary_of: needed in the homomorphic lane, whose sums mean nothing without.
        logarithms: see `open_tally`.

    Raises:
        ReceiptInvalid (`receipt_needs_node` for a signature that may be a contract wallet's).
            EnvelopeUnreadable: for another key. Refusal: `another_receipt`, `result_mismatch`,
            `question_needed`; as `open_tally`.
    """
    read = load(receipt)
    require_receipt_of(read, request)
    if read.tally is None:
        _require_whole(read)
        return _open_result(read, delivery)
    if dictionary_of is None:
        raise _question_needed()
    _require_whole(read)
    known = Known(dictionary_of(read.terms.dataset), _asked(read))
    return _open_sums(read, len(read.tally.places), known, delivery, logarithms)


def _open_result(read: Receipt, delivery: hpke.SecretKey) -> Opened:
    """What a gate sealed, held against the receipt, whose signatures are for the caller to judge."""
    context = DeliveryContext(
        read.deployment.chain_id, read.deployment.market, RequestId(read.request)
    )
    opened = open_result(read.sealed_result, delivery, context)
    require_signed_result(opened, read.settlement.result_hash)
    checks.opened(read, opened)
    return opened


def open_proved(
    chain: Chain,
    receipt: Mapping[str, Any],
    delivery: hpke.SecretKey,
    request: bytes,
    dictionary_of: DictionaryOf,
    logarithms: Logarithms | None = None,
) -> Opened:
    """As `open_answer`, proved against hash, question, cohort and noise on chain.

    Raises:
        As `open_answer` and `open_on_chain`.
    """
    read = load(receipt)
    require_receipt_of(read, request)
    if read.tally is None:
        opened = _open_result(read, delivery)
        require_answer(chain, request, opened)
        return opened
    view = _settled_view(chain, request)
    if _delivered(chain, request, view) != read.sealed_result:
        raise _mismatch()
    known = Known(dictionary_of(view.dataset), _asked(read))
    return open_on_chain(chain, request, delivery, known, logarithms)


def _open_sums(
    read: Receipt,
    contributors: int,
    known: Known,
    delivery: hpke.SecretKey,
    logarithms: Logarithms | None,
) -> Opened:
    delivered = Delivered(
        request=read.request,
        terms=read.terms,
        cost=read.cost,
        members=read.cohort.members,
        contributors=contributors,
        quorum=read.committee.quorum,
        sealed_result=read.sealed_result,
    )
    return open_tally(delivered, known.dictionary, known.parameters, delivery, logarithms)


def _require_whole(read: Receipt) -> None:
    """The receipt's parts belong together: what is shown follows from its cohort, quorum, places and cost.

    Without a node nothing else binds it to what custodians signed. Whoever wrote a receipt of sums then
    proved to know what makes them ones that the key opens: no other request's are opened under this one's
    name. Raises ReceiptInvalid (`receipt_needs_node` for a signature that is by no custodian's own key).
    """
    try:
        of_tally = () if read.tally is None else tally_checks.ALONE
        for check in (*checks.ALONE, *of_tally):
            check(read)
    except checks.NeedsNode as refusal:
        raise checks.NeedsNode(
            message=refusal.message,
            remedy="Open it with a node of its chain (`usufruct result --node NODE --manifest FILE`); "
            "without, rely on no answer of this receipt.",
            field=refusal.field,
            facts=refusal.facts,
        ) from None


def _asked(read: Receipt) -> Mapping[str, Any]:
    """The receipt's parameters, which whoever opens sums holds against their hash in the terms.

    Raises ReceiptInvalid, MalformedJson.
    """
    checks.parameters(read)
    found = parse(read.parameters.encode("utf-8"), limit=JSON_LIMIT)
    return found if isinstance(found, dict) else {}


def require_receipt_of(receipt: Receipt, request: bytes) -> None:
    """Raises Refusal (`another_receipt`) for the receipt of any other request, genuine or not."""
    if receipt.request != request:
        raise Refusal(
            code="another_receipt",
            message=f"This is a receipt of request {to_hex(receipt.request)}, not of the one that is meant.",
            remedy="Ask for the receipt of the request itself; do not use this one's answer for it.",
            field="request",
        )


def open_on_chain(
    chain: Chain,
    request: bytes,
    delivery: hpke.SecretKey,
    known: Known | None = None,
    logarithms: Logarithms | None = None,
) -> Opened:
    """Opens the sealed result that the settlement delivered on chain.

    Args:
        known: needed in the homomorphic lane; held against the chain's hashes.

    Raises:
        Refusal: `not_settled`, `result_mismatch`, `another_answer`, `question_needed`; as `open_tally`.
            EnvelopeUnreadable: for another key. PartialLogs, NodeUnreachable, NodeFault.
    """
    view = _settled_view(chain, request)
    sealed = _delivered(chain, request, view)
    if view.lane == HOMOMORPHIC:
        if known is None:
            raise _question_needed()
        if chain.dictionary_of(view.dataset) != known.dictionary.hash():
            raise _wrong_dictionary()
        found = Delivered.of(chain, request, view, sealed)
        return open_tally(found, known.dictionary, known.parameters, delivery, logarithms)
    context = DeliveryContext(chain.chain_id, chain.manifest.market, RequestId(request))
    opened = open_result(sealed, delivery, context)
    require_answer(chain, request, opened)
    return opened


def prove_by_receipt(
    receipt: Mapping[str, Any], opened: Opened, delivery: hpke.SecretKey
) -> OpenedSums:
    """What anybody can hold the opened numbers against this receipt with. Publishes the noised sums alone.

    Raises:
        Refusal: `no_opening`, for an answer of the vault lane; `another_answer`. ReceiptInvalid.
    """
    read = load(receipt)
    if read.tally is None:
        raise no_opening()
    _require_whole(read)
    result = read.settlement.result_hash
    return _prove(session_of(read), result, read.sealed_result, opened, delivery)


def prove_on_chain(
    chain: Chain, request: bytes, opened: Opened, delivery: hpke.SecretKey
) -> OpenedSums:
    """As `prove_by_receipt`, by the chain's word.

    Raises:
        Refusal: `no_opening`, `another_answer`, `not_settled`. NodeUnreachable, NodeFault, PartialLogs.
    """
    view = _settled_view(chain, request)
    if view.lane != HOMOMORPHIC:
        raise no_opening()
    session, sealed = session_on_chain(chain, view, request), _delivered(chain, request, view)
    return _prove(session, view.result_hash, sealed, opened, delivery)


def _prove(
    session: TallySession, result: bytes, sealed: bytes, opened: Opened, delivery: hpke.SecretKey
) -> OpenedSums:
    """Under no other request's name than the one that these very sums were delivered for."""
    if not isinstance(opened, OpenedTally) or opened.sealed != sealed:
        raise Refusal(
            code="another_answer",
            message="The opened numbers are not those of the sums that this request delivered.",
            remedy="Prove the numbers of a request with its own receipt, or from the chain.",
            field="opening",
        )
    return prove(session, result, sealed, opened.sums, TallyKey.of(delivery).secret)


def no_opening() -> Refusal:
    """The refusal to prove what a gate answered."""
    return Refusal(
        code="no_opening",
        message="In the vault lane there is nothing to prove: its answer is the word of the gate that opened "
        "the records, not sums that a key opens.",
        remedy="Leave the opening out. In the homomorphic lane an answer has one.",
        field="opening",
    )


def _settled_view(chain: Chain, request: bytes) -> RequestView:
    view = chain.request(request)
    if view.stage is not RequestStage.SETTLED:
        raise Refusal(
            code="not_settled",
            message=f"The request is {view.stage.name.lower()} on chain; there is no result.",
            remedy="See `usufruct status`.",
            field="request",
        )
    return view


def _delivered(chain: Chain, request: bytes, view: RequestView) -> bytes:
    """The sealed result of the settlement whose hash the chain keeps."""
    event = life_of(chain, request, view)["settled"]
    settled, sealed = (
        Settlement.from_abi(event.args["settlement"]),
        bytes(event.args["sealedResult"]),
    )
    if settled.result_hash != view.result_hash or delivery_hash(sealed) != settled.delivery_hash:
        raise _mismatch()
    return sealed


def require_answer(chain: Chain, request: bytes, opened: Opened) -> None:
    """The opened result is what was signed for this request, and answers what it asked, of whom it counted.

    Raises:
        Refusal: `result_mismatch`, `another_answer`. PartialLogs, ForgedLogs, NodeUnreachable, NodeFault.
    """
    view, terms = chain.request(request), chain.request_terms(request)
    require_signed_result(opened, view.result_hash)
    document = opened.document
    answered = {
        "analysis": keccak(text=str(document.get("analysis"))) == terms.analysis,
        "parameters": keccak(_parameters(opened)) == terms.parameters,
        "cohort_size": document.get("cohort_size") == view.members,
        "cost_nano_rho": 0 < checks.cost_of(document) <= view.cost,
    }
    for name, is_same in answered.items():
        if not is_same:
            raise _another_answer(name)


def noised_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The numbers of an opened answer, as every analysis writes them (`Noised`).

    Raises:
        Refusal: `malformed_answer`: its gate wrote something else, and custodians signed it unread.
    """
    given = document.get("noised")
    try:
        Noised.from_json(json.dumps(given, sort_keys=True, separators=(",", ":")).encode("ascii"))
    except ValueError:
        raise Refusal(
            code="malformed_answer",
            message="The opened answer holds no result that can be read.",
            remedy="Keep the receipt: it shows what its gate answered. Ask the gate's host.",
            field="result.noised",
        ) from None
    return dict(given or {})


def receipt_on_chain(chain: Chain, request: bytes, opened: Opened) -> dict[str, Any]:
    """The receipt of an opened answer, built from the chain; the answer names what only hashes do there.

    Raises:
        Refusal: `result_mismatch`; as `build_receipt`.
    """
    parameters = _parameters(opened)
    if keccak(parameters) != chain.request_terms(request).parameters:
        raise _mismatch()
    return build_receipt(chain, request, str(opened.document["analysis"]), parameters)


def _parameters(opened: Opened) -> bytes:
    """As analyses write them, and terms hash them: sorted keys, no spaces, ASCII."""
    given = opened.document.get("parameters")
    return json.dumps(given, sort_keys=True, separators=(",", ":")).encode("ascii")


def require_signed_result(opened: Opened, signed: bytes) -> None:
    """Raises Refusal (`result_mismatch`) unless it is what custodians signed the hash of."""
    if result_hash(opened.salt, opened.result) != signed:
        raise _mismatch()


def _question_needed() -> Refusal:
    return Refusal(
        code="question_needed",
        message="The answer is of sums: without the question and the data dictionary, they mean nothing.",
        remedy="Give both: --parameters with the JSON that was asked for, --dictionary with the dataset's "
        "dictionary; or ask the operator (--url), who shows them.",
        field="parameters",
    )


def _wrong_dictionary() -> BadParameter:
    return BadParameter(
        code="wrong_dictionary",
        message="This is not the data dictionary of the request's dataset on chain.",
        remedy="Give the dictionary that the dataset's steward published.",
        field="dictionary",
    )


def _another_answer(name: str) -> Refusal:
    return Refusal(
        code="another_answer",
        message=f"The delivered result is not of what was asked: its {name} differs from the request's.",
        remedy="Do not use it; keep the receipt and ask the operator and the custodians, who signed it.",
        field=f"result.{name}",
    )


def _mismatch() -> Refusal:
    return Refusal(
        code="result_mismatch",
        message="The delivered result is not the one that custodians signed.",
        remedy="Do not use it; keep the receipt and ask the operator and the custodians.",
    )
