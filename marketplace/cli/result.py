"""`usufruct result`: the answer of a request, whenever it is there, with or without its operator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from marketplace.cli.lanes import DICTIONARY, PARAMETERS, known
from marketplace.cli.say import FILE, HEX32, Whole, refusals_as_words, say, tell
from marketplace.cli.way import Way, travels
from marketplace.client.answers import answer_words
from marketplace.client.ended import require_settled
from marketplace.client.logarithms import Logarithms
from marketplace.client.results import (
    Known,
    noised_of,
    open_answer,
    open_on_chain,
    receipt_on_chain,
)
from marketplace.client.waiting import PATIENCE, wait, wait_on_chain
from marketplace.errors import Refusal
from marketplace.wire import hpke, keyfiles
from marketplace.wire.canonical import canonical
from marketplace.wire.http import to_hex
from marketplace.wire.structs import HOMOMORPHIC

THAT_KEY = frozenset({"key_file", "envelope_unreadable"})
NO_RECEIPT = (
    "There is no receipt with it: in the homomorphic lane one holds the partial decryptions, too, which its "
    "operator keeps (without --node)."
)

RECEIPT = click.option(
    "--receipt", "receipt_file", type=FILE, help="Write it here, for verify-receipt."
)
WAIT = click.option(
    "--wait",
    "patience",
    default=int(PATIENCE),
    show_default=True,
    type=Whole(0),
    help="Seconds; afterwards `usufruct result` goes on.",
)


@click.command()
@travels()
@click.option("--request", "opened", type=HEX32, required=True, help="Id of the request.")
@click.option("--delivery-key-file", type=FILE, required=True, help="The request's.")
@RECEIPT
@WAIT
@PARAMETERS
@DICTIONARY
@refusals_as_words
def result(
    way: Way,
    opened: bytes,
    delivery_key_file: Path,
    receipt_file: Path | None,
    patience: int,
    parameters: str | None,
    dictionary: Path | None,
) -> None:
    """Wait for a request's answer, open it and show it, also long after it was asked for.

    With --node and --manifest it comes from the transaction that settled the request: no operator is asked.
    Sums of the homomorphic lane then need question and dictionary, of which the chain has hashes alone.
    """
    question = known(parameters, dictionary)
    require_no_other(receipt_file, to_hex(opened))
    try:
        delivery = hpke.SecretKey(keyfiles.read(delivery_key_file))
        if way.past_operator:
            _from_chain(way, opened, delivery, receipt_file, patience, question)
        else:
            _from_operator(way, opened, delivery, receipt_file, patience)
    except Refusal as refusal:
        if refusal.code not in THAT_KEY:
            raise
        raise Refusal(  # a new key, or another seal, would be of no use here
            code=refusal.code,
            message=refusal.message,
            remedy="Give the --delivery-key-file of that very request: no other key opens it.",
            field=refusal.field,
        ) from None


def _from_operator(
    way: Way, opened: bytes, delivery: hpke.SecretKey, receipt_file: Path | None, patience: int
) -> None:
    api, request = way.market.api, to_hex(opened)
    require_settled(wait(api, request, patience, tell), request)
    receipt = api.get(f"/api/v1/requests/{request}/receipt")
    keep_receipt(receipt, receipt_file)
    found = open_answer(receipt, delivery, opened, way.market.dictionary, Logarithms(told=tell))
    show_answer(request, found.document, receipt, receipt_file)
    tell(
        "So far this is the operator's word: `usufruct verify-receipt` holds the receipt against a node."
    )


def _from_chain(
    way: Way,
    opened: bytes,
    delivery: hpke.SecretKey,
    receipt_file: Path | None,
    patience: int,
    question: Known | None,
) -> None:
    chain = way.market.chain
    ended = wait_on_chain(chain, opened, patience, tell)
    stage = ended.name.lower()
    require_settled({"stage": stage, "chain_stage": stage}, to_hex(opened))
    answer = open_on_chain(chain, opened, delivery, question, Logarithms(told=tell))
    if chain.request(opened).lane == HOMOMORPHIC:
        tell(NO_RECEIPT)
        show_answer(to_hex(opened), answer.document, None, None)
        return
    receipt = receipt_on_chain(chain, opened, answer)
    keep_receipt(receipt, receipt_file)
    show_answer(to_hex(opened), answer.document, receipt, receipt_file)


def require_no_other(receipt_file: Path | None, request: str | None = None) -> None:
    """Raises Refusal, before anything is asked or paid: another receipt is not replaced (`file_exists`), nor
    is one written where there is no folder (`no_folder`)."""
    if receipt_file is None:
        return
    if not receipt_file.parent.is_dir():
        raise Refusal(
            code="no_folder",
            message=f"There is no folder {receipt_file.parent} to write the receipt into.",
            remedy="Nothing was asked or paid. Make it, or name another file with --receipt.",
            field="receipt",
        )
    if not receipt_file.exists() or _is_receipt_of(receipt_file, request):
        return
    raise Refusal(
        code="file_exists",
        message=f"{receipt_file} exists already, and is not this request's receipt.",
        remedy="Nothing was asked or paid. Name another file with --receipt.",
        field="receipt",
    )


def _is_receipt_of(path: Path, request: str | None) -> bool:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and request is not None and document.get("request") == request


def keep_receipt(receipt: Mapping[str, Any], receipt_file: Path | None) -> None:
    """Writes it where it is wanted, before its answer is looked at: of a bad one it is the evidence."""
    if receipt_file is not None:
        receipt_file.write_bytes(canonical(dict(receipt)))


def show_answer(
    request: str,
    document: Mapping[str, Any],
    receipt: Mapping[str, Any] | None,
    receipt_file: Path | None,
) -> None:
    """In words, then result, interval and cost; the receipt last, or only its file where it has one.

    Raises Refusal (`malformed_answer`) where there is no result to show.
    """
    noised = noised_of(document)
    shown = {
        "in_words": answer_words(document),
        "result": [
            {
                "label": each["label"],
                "value": each["value"],
                "interval": [each["low"], each["high"]],
            }
            for each in noised["estimates"]
        ],
        "unit": noised["unit"],
        "confidence": noised["confidence"],
        "cost_nano_rho": noised["cost_nano_rho"],
        "cohort_size": document["cohort_size"],
        "request": request,
        "answer": dict(document),
    }
    held = None if receipt is None else dict(receipt)
    say({**shown, "receipt": held if receipt_file is None else str(receipt_file)}, False)
