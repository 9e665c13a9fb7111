"""The auditors' command: what a receipt says, held against a node of the chain."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from marketplace.chain.adapter import Chain, Manifest
from marketplace.cli.environment import from_environment
from marketplace.cli.progress import bar
from marketplace.cli.result import answer_shown
from marketplace.cli.say import FILE, HEX32, WORDS, in_file, refusals_as_words, say
from marketplace.client.results import require_receipt_of
from marketplace.client.waiting import DATE
from marketplace.receipts.format import Receipt, load
from marketplace.receipts.opened_sums import LARGEST, OpenedSums, load_opened_sums
from marketplace.receipts.proofs import PROOFS
from marketplace.receipts.verify import verify
from marketplace.vocabulary import Lane
from marketplace.wire import dictionary as dictionaries
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.http import to_hex
from marketplace.words import LANES

RESTS_ON_THE_GATE: Final = (
    "Who was counted, what was asked, what it cost and who signed is verified. That the answer is what the "
    "counted records give, with the noise that was asked for, is the word of the gate {gate}, which opened "
    "them and forgot them: in this lane it cannot be recomputed."
)
NOT_RECOMPUTED: Final = (
    "The sums themselves were not recomputed, and the proofs that each record's columns lie within their "
    "bounds were not verified: that the sums are of the cohort's records, with noise within its bounds, is "
    "so far the word of the quorum that signed. Its researcher fetches its bundle (`usufruct bundle`, with "
    "--proofs for the columns too), for --bundle FILE."
)

NOT_PROVEN: Final = (
    "The encrypted records were added up again. That each record's columns lie within their bounds is so far "
    "the word of the quorum that signed: those proofs were not verified, since the bundle does not show "
    "records whole. Its researcher fetches one that does (`usufruct bundle --proofs`)."
)
RECOMPUTED: Final = (
    "The encrypted records were added up again, and the proofs that each lies within its bounds verified, as "
    "was the noise: nothing of the sums is anybody's word."
)
ALL_RECOMPUTED: Final = (
    f"{RECOMPUTED} What they say only the researcher can open, and show with proof (`usufruct result "
    "--opening-out`)."
)
OPENED: Final = (
    "The numbers below are what the researcher's delivery key makes of the sealed sums, noise and all: the "
    "opening proves it. Who counts, and that the sums are theirs, is proven as far as is said above. The "
    "sums may say more than the answer that is made of them, the number of those who pass a filter for one."
)


@click.command("verify-receipt")
@click.argument("receipt", type=FILE)
@from_environment("--node", required=True, help="JSON-RPC URL of a node that you trust.")
@from_environment("--manifest", type=FILE, required=True, help="The deployment's manifest.")
@click.option("--request", "meant", type=HEX32, help="Refuse the receipt of any other request.")
@click.option(
    "--bundle", type=FILE, help="Homomorphic lane: the encrypted records, to be added up again."
)
@click.option(
    "--dictionary", type=FILE, help="Homomorphic lane: the dataset's; a bundle has it already."
)
@click.option(
    "--opening",
    type=FILE,
    help="Homomorphic lane: the researcher's opened sums with their proof; needs --bundle or --dictionary.",
)
@refusals_as_words
def verify_receipt(
    receipt: Path,
    node: str,
    manifest: Path,
    meant: bytes | None,
    bundle: Path | None,
    dictionary: Path | None,
    opening: Path | None,
) -> None:
    """Verify a receipt against the chain alone, and say what it is of; the operator need not run.

    With --opening the numbers that its researcher published are held against it, too, and shown.
    """
    content, chain = receipt.read_bytes(), Chain(node, Manifest.load(manifest))
    with in_file(receipt):
        read = load(content)
    if meant is not None:
        require_receipt_of(read, meant)
    published, numbers = _dictionary(dictionary), _opening(opening)
    with bar("verifying", None), nullcontext() if bundle is None else bundle.open("rb") as shown:
        verified = verify(content, chain, bundle=shown, dictionary=published, opening=numbers)
        facts = receipt_facts(verified.receipt, chain)
    left = {"steps_not_done": list(verified.not_done)} if verified.not_done else {}
    words = verified_words(verified.receipt, verified.not_done, verified.answer is not None)
    told: dict[str, Any] = {}
    if numbers is not None and verified.answer is not None:
        shown_as = answer_shown(to_hex(verified.receipt.request), verified.answer)
        told = {"opened": {**shown_as, "sums": [str(each) for each in numbers.sums]}}
    say({"verified": True, WORDS: words, "steps": list(verified.steps), **left, **facts, **told})


def receipt_facts(receipt: Receipt, chain: Chain) -> dict[str, Any]:
    """Of which request a verified receipt is, and when it was settled: a genuine one may be another's."""
    settled = receipt.steps["settled"]
    time = datetime.fromtimestamp(chain.node.header(settled.block).timestamp, UTC)
    return {
        "request": to_hex(receipt.request),
        "researcher": receipt.researcher,
        "dataset": to_hex(receipt.terms.dataset),
        "lane": Lane(receipt.terms.lane).name.lower(),
        "analysis": receipt.analysis,
        "parameters": receipt.parameters,
        "cohort_size": receipt.cohort.members,
        "cost_nano_rho": receipt.cost,
        "settled": {"block": settled.block, "time": time.strftime(DATE)},
    }


def verified_words(receipt: Receipt, not_done: Sequence[str], is_opened: bool = False) -> list[str]:
    """In which lane it was asked, and on whose word the answer rests once the receipt holds.

    Args:
        not_done: steps that what was given did not allow.
        is_opened: whether the researcher's numbers were held against it.
    """
    lane = Lane(receipt.terms.lane)
    if lane is Lane.VAULT:
        return [LANES[lane], RESTS_ON_THE_GATE.format(gate=receipt.gate)]
    opened = [OPENED] if is_opened else []
    if not not_done:
        return [LANES[lane], RECOMPUTED if is_opened else ALL_RECOMPUTED, *opened]
    left = NOT_PROVEN if tuple(not_done) == (PROOFS,) else NOT_RECOMPUTED
    return [LANES[lane], left, *opened]


def _dictionary(path: Path | None) -> Dictionary | None:
    if path is None:
        return None
    with in_file(path):
        return dictionaries.load(path.read_bytes())


def _opening(path: Path | None) -> OpenedSums | None:
    """Read no further than the largest there can be."""
    if path is None:
        return None
    with in_file(path), path.open("rb") as file:
        return load_opened_sums(file.read(LARGEST + 1))
