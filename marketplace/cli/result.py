"""`usufruct result`: the answer of a request, whenever it is there, with or without its operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from marketplace.chain.adapter import RequestStage
from marketplace.cli.lanes import DICTIONARY, PARAMETERS, known
from marketplace.cli.say import FILE, HEX32, Whole, refusals_as_words, say, tell
from marketplace.cli.way import Way, travels
from marketplace.client.answers import answer_words
from marketplace.client.ended import require_settled
from marketplace.client.logarithms import Logarithms
from marketplace.client.results import (
    Known,
    no_opening,
    noised_of,
    open_answer,
    open_on_chain,
    prove_by_receipt,
    prove_on_chain,
    receipt_on_chain,
)
from marketplace.client.waiting import PATIENCE, wait, wait_on_chain
from marketplace.errors import Refusal
from marketplace.receipts.format import MOST
from marketplace.receipts.opened_sums import LARGEST, OpenedSums
from marketplace.receipts.opened_sums import SCHEMA as OPENED_SCHEMA
from marketplace.vocabulary import Lane
from marketplace.wire import hpke, keyfiles
from marketplace.wire.canonical import canonical, parse
from marketplace.wire.http import to_hex
from marketplace.wire.kept import keep
from marketplace.wire.structs import HOMOMORPHIC

THAT_KEY = frozenset({"key_file", "envelope_unreadable"})
OPENING_WRITTEN = (
    "Whoever has the receipt can verify your numbers with `usufruct verify-receipt --opening`. The opening "
    "holds no secret, and shows the noised sums, which may say more than the answer above does; it is in"
)
KEEPS_RECEIPT = (
    "The receipt above is spelled for reading: `usufruct result --receipt FILE` keeps it in the one spelling "
    "that `usufruct verify-receipt` takes."
)
HOLD_FIRST = "Hold it against the receipt in that way yourself before you publish it."
NO_RECEIPT = (
    "There is no receipt with it: in the homomorphic lane one holds the partial decryptions, too, which its "
    "operator keeps (without --node)."
)

RECEIPT = click.option(
    "--receipt", "receipt_file", type=FILE, help="Write it here, for verify-receipt."
)
OPENING_OUT = click.option(
    "--opening-out",
    "opening_file",
    type=FILE,
    help="Homomorphic lane: write the noised sums, which may say more than the answer does, and their proof "
    "here, to publish; no secret is in it.",
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
@OPENING_OUT
@WAIT
@PARAMETERS
@DICTIONARY
@refusals_as_words
def result(
    way: Way,
    opened: bytes,
    delivery_key_file: Path,
    receipt_file: Path | None,
    opening_file: Path | None,
    patience: int,
    parameters: str | None,
    dictionary: Path | None,
) -> None:
    """Wait for a request's answer, open it and show it, also long after it was asked for.

    With --node and --manifest it comes from the transaction that settled the request: no operator is asked.
    Sums of the homomorphic lane then need question and dictionary, of which the chain has hashes alone.

    With --opening-out anybody can hold your numbers against the receipt (`verify-receipt --opening`): the
    file has the noised sums and a proof that your delivery key makes them of what was sealed to it.
    """
    question = known(parameters, dictionary)
    files = Files(receipt_file, opening_file)
    files.require_free(to_hex(opened))
    try:
        delivery = hpke.SecretKey(keyfiles.read(delivery_key_file))
        if way.past_operator:
            _from_chain(way, opened, delivery, files, patience, question)
        else:
            _from_operator(way, opened, delivery, files, patience)
    except Refusal as refusal:
        if refusal.code not in THAT_KEY:
            raise
        raise Refusal(  # a new key, or another seal, would be of no use here
            code=refusal.code,
            message=refusal.message,
            remedy="Give the --delivery-key-file of that very request: no other key opens it.",
            field=refusal.field,
        ) from None


@dataclass(frozen=True)
class Files:
    """What is written beside the answer, where it is wanted."""

    receipt: Path | None
    opening: Path | None

    def require_free(self, request: str) -> None:
        """Raises as `require_no_other`, and UsageError for one file that is to be both."""
        require_no_other(self.receipt, request)
        require_no_other(self.opening, request, "opening_out")
        if self.receipt and self.opening and self.receipt.resolve() == self.opening.resolve():
            raise click.UsageError("--receipt and --opening-out name the same file")

    def require_lane(self, is_tally: bool) -> None:
        """Raises Refusal (`no_opening`) where an opening is wanted of the vault lane."""
        if self.opening is not None and not is_tally:
            raise no_opening()

    def keep_opening(self, sums: OpenedSums) -> None:
        """Writes it, whole or not at all: no stump takes the place of a good one."""
        if self.opening is not None:
            keep(self.opening, sums.to_bytes(), "the opening")
            tell(f"{OPENING_WRITTEN} {self.opening}.")


def _from_operator(
    way: Way, opened: bytes, delivery: hpke.SecretKey, files: Files, patience: int
) -> None:
    api, request = way.market.api, to_hex(opened)
    if files.opening is not None:
        files.require_lane(api.get(f"/api/v1/requests/{request}").get("lane") != Lane.VAULT)
    require_settled(wait(api, request, patience, tell), request)
    receipt = api.get(f"/api/v1/requests/{request}/receipt")
    keep_receipt(receipt, files.receipt)
    files.require_lane(receipt.get("tally") is not None)
    found = open_answer(receipt, delivery, opened, way.market.dictionary, Logarithms(told=tell))
    show_answer(request, found.document, receipt, files.receipt)
    if files.opening is not None:
        files.keep_opening(prove_by_receipt(receipt, found, delivery))
        tell(HOLD_FIRST)
    tell(
        "So far this is the operator's word: `usufruct verify-receipt` holds the receipt against a node."
    )


def _from_chain(
    way: Way,
    opened: bytes,
    delivery: hpke.SecretKey,
    files: Files,
    patience: int,
    question: Known | None,
) -> None:
    chain = way.market.chain
    before = chain.request(opened)
    if before.stage is not RequestStage.NONE:
        files.require_lane(before.lane == HOMOMORPHIC)
    ended = wait_on_chain(chain, opened, patience, tell)
    stage = ended.name.lower()
    require_settled({"stage": stage, "chain_stage": stage}, to_hex(opened))
    answer = open_on_chain(chain, opened, delivery, question, Logarithms(told=tell))
    if chain.request(opened).lane == HOMOMORPHIC:
        tell(NO_RECEIPT)
        show_answer(to_hex(opened), answer.document, None, None)
        if files.opening is not None:
            files.keep_opening(prove_on_chain(chain, opened, answer, delivery))
        return
    receipt = receipt_on_chain(chain, opened, answer)
    keep_receipt(receipt, files.receipt)
    show_answer(to_hex(opened), answer.document, receipt, files.receipt)


def require_no_other(
    path: Path | None,
    request: str | None = None,
    field: str = "receipt",
) -> None:
    """Raises Refusal, before anything is asked, paid or fetched: another receipt is not replaced, nor, where
    `field` is `opening_out`, another request's opening (`file_exists`), nor is either written where there is
    no folder (`no_folder`)."""
    if path is None:
        return
    what, option = field.removesuffix("_out"), "--" + field.replace("_", "-")
    so_far = "Nothing was asked or paid." if request is None else "Nothing was fetched."
    if not path.parent.is_dir():
        raise Refusal(
            code="no_folder",
            message=f"There is no folder {path.parent} to write the {what} into.",
            remedy=f"{so_far} Make it, or name another file with {option}.",
            field=field,
        )
    if not path.exists() or _is_of(path, request, field == "opening_out"):
        return
    raise Refusal(
        code="file_exists",
        message=f"{path} exists already, and is not this request's {what}.",
        remedy=f"{so_far} Name another file with {option}.",
        field=field,
    )


def _is_of(path: Path, request: str | None, is_opening: bool) -> bool:
    most = LARGEST if is_opening else max(MOST.values())
    try:
        with path.open("rb") as file:
            document = parse(file.read(most + 1), limit=most)
    except (OSError, Refusal):
        return False
    if not isinstance(document, dict) or request is None:
        return False
    is_one = document.get("schema") == OPENED_SCHEMA
    return is_one is is_opening and document.get("request") == request


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
    held = None if receipt is None else dict(receipt)
    shown = answer_shown(request, document)
    say({**shown, "receipt": held if receipt_file is None else str(receipt_file)}, False)
    if held is not None and receipt_file is None:
        tell(KEEPS_RECEIPT)


def answer_shown(request: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """An answer in words and numbers: the same for its researcher, and for whoever is shown its opening.

    Raises Refusal (`malformed_answer`) where there is no result to show.
    """
    noised = noised_of(document)
    return {
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
