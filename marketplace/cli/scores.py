"""Commands about personal scores: patients make a key, hand in a record, and open their scores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from marketplace.chain.adapter import Manifest
from marketplace.cli.environment import from_environment, is_typed
from marketplace.cli.own_key import OwnKey, signs
from marketplace.cli.patient import DATASET, URL, require_free, what_was_sealed
from marketplace.cli.say import (
    FILE,
    FOLDER,
    HEX32,
    WORDS,
    in_file,
    refusals_as_words,
    say,
    tell,
)
from marketplace.client import Marketplace
from marketplace.client.score_keys import SECRET, ScoreFolder
from marketplace.client.score_words import FORBIDS, forbidding_class, why_none
from marketplace.client.scores import Fetched, Opened, OwnScores, score_bundle
from marketplace.errors import Refusal
from marketplace.fhir.extract import explained
from marketplace.sealing.row import Value
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.http import to_hex

MANIFEST = from_environment(
    "--manifest", type=FILE, help="The deployment's; else the operator's word."
)
NODE = from_environment(
    "--node",
    help="JSON-RPC URL of a node that you trust: with --manifest, dataset, dictionary and model are held "
    "against the chain.",
)
SCORE_KEY = click.option(
    "--score-key", type=FOLDER, required=True, help="The folder that `score-key` made."
)
BUNDLE = click.option(
    "--fhir", type=FILE, required=True, help="Your FHIR R4 bundle, as it was handed in."
)


@click.command()
@click.argument("path", type=FOLDER)
@refusals_as_words
def score_key(path: Path) -> None:
    """Make a folder with a key for personal scores: it alone opens yours.

    The key never leaves this machine. Copy the folder to where you keep such things: whoever has owner.key
    opens every score of yours, and without it nobody does.
    """
    if not ScoreFolder(path).make():
        raise click.ClickException(f"{path} has a score key already; nothing was changed")
    say({"folder": str(path), "secret": str(path / SECRET)})


@click.command()
@URL
@NODE
@MANIFEST
@signs
@DATASET
@SCORE_KEY
@click.option("--fhir", type=FILE, required=True, help="A FHIR R4 bundle (JSON).")
@refusals_as_words
def score_record(
    url: str,
    node: str | None,
    manifest: Path | None,
    key: OwnKey,
    dataset: bytes,
    score_key: Path,
    fhir: Path,
) -> None:
    """Encrypt your record to your own score key, and hand it in to be scored.

    It replaces the one before. Models run on it only for requests that your consent covers and that counted
    you; once you stop, or have your record erased, the operator destroys it and every score.
    """
    own = _own(url, node, manifest, key, dataset, score_key)
    dictionary = own.dictionary()
    with in_file(fhir):
        found = explained(fhir.read_bytes(), dictionary)
    record = own.hand_in(dictionary, found.values)
    try:
        forbidding = forbidding_class(own)
    except Refusal:  # that it cannot be told takes nothing back
        forbidding = None
    words = {} if forbidding is None else {WORDS: [FORBIDS.format(index=forbidding)]}
    say({**words, "record": record, **what_was_sealed(found, dictionary)})


@click.command()
@URL
@NODE
@MANIFEST
@signs
@DATASET
@SCORE_KEY
@BUNDLE
@click.option("--request", "chosen", type=HEX32, help="Open this one alone.")
@click.option("--score-dataset", type=HEX32, help="A dataset of this model's scores.")
@click.option(
    "--record-out", type=FILE, help="Where a bundle with the score goes, to be sealed for it."
)
@refusals_as_words
def scores(
    url: str,
    node: str | None,
    manifest: Path | None,
    key: OwnKey,
    dataset: bytes,
    score_key: Path,
    fhir: Path,
    chosen: bytes | None,
    score_dataset: bytes | None,
    record_out: Path | None,
) -> None:
    """Fetch your scores and open them here; nothing that is opened is sent anywhere.

    Each is compared with the model on your own values: one that differs is not shown. All are fetched before
    any is opened, so that nobody sees how that went. With --record-out, one
    score (--request) becomes a bundle for a dataset of scores, on its grid; a clinic that attests it sees it.
    """
    _require_whole(chosen, score_dataset, record_out)
    own = _own(url, node, manifest, key, dataset, score_key)
    dictionary = own.dictionary()
    requests, why = ([to_hex(chosen)], "") if chosen is not None else _ready(own)
    fetched = [own.fetch(each, dictionary) for each in requests]
    grid = None if score_dataset is None else own.dictionary(score_dataset)
    # From here on nobody is asked anything: what follows depends on values.
    with in_file(fhir):
        values = explained(fhir.read_bytes(), dictionary).values
    opened, refused = _opened(own, fetched, dictionary, values)
    if record_out is not None and grid is not None and opened:
        _write(record_out, score_bundle(opened[0], grid))
    if opened or not refused:
        words = [_words(each) for each in opened] or [why]
        say({"in_words": words, "scores": [_shown(each) for each in opened]})
    if refused:
        first, *others = at_fault(refused)
        for each in others:
            tell(str(each))
        raise first


def _own(
    url: str,
    node: str | None,
    manifest: Path | None,
    key: OwnKey,
    dataset: bytes,
    folder: Path,
) -> OwnScores:
    """Proved by the chain only where the deployment is not the operator's word either."""
    proved = node is not None and manifest is not None
    if node is not None and manifest is None and is_typed("node"):
        raise click.UsageError("--node needs --manifest, which says what contracts to ask")
    if not proved:
        tell(
            "Dictionary and model are the operator's word; with --node and --manifest they are held against "
            "the chain."
        )
    market = Marketplace(url, node, None if manifest is None else Manifest.load(manifest))
    own = OwnScores(market, dataset, key.of(dataset), ScoreFolder(folder), proved)
    own.folder.require_there()
    return own


def _opened(
    own: OwnScores, fetched: Sequence[Fetched], dictionary: Dictionary, values: Mapping[str, Value]
) -> tuple[list[Opened], list[tuple[str, Refusal]]]:
    """One that does not open holds none of the others back; with each refusal, of which request it is."""
    opened, refused = list[Opened](), list[tuple[str, Refusal]]()
    for each in fetched:
        try:
            opened.append(own.opened(each, dictionary, values))
        except Refusal as refusal:
            refused.append((each.request, refusal))
    return opened, refused


def at_fault(refused: Sequence[tuple[str, Refusal]]) -> list[Refusal]:
    """Each refusal once, naming the requests that it is about."""
    requests: dict[tuple[str, str], list[str]] = {}
    first: dict[tuple[str, str], Refusal] = {}
    for request, refusal in refused:
        same = refusal.code, str(refusal)
        requests.setdefault(same, []).append(request)
        first.setdefault(same, refusal)
    return [
        Refusal(
            code=refusal.code,
            message=f"{', '.join(requests[same])}: {refusal.message}",
            remedy=refusal.remedy,
            field=refusal.field,
        )
        for same, refusal in first.items()
    ]


def _write(path: Path, bundle: bytes) -> None:
    """For its owner's eyes from the first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(bundle)


def _ready(own: OwnScores) -> tuple[list[str], str]:
    """Requests whose scores are there, of others it is said why not; and why there is none at all."""
    record, listed = own.told()
    for each in listed:
        if each["state"] == "failed":
            tell(f"{each['request']}: your record could not be scored; hand it in anew.")
        elif each["state"] != "scored":
            tell(f"{each['request']}: your score is not made yet.")
    ready = [str(each["request"]) for each in listed if each["state"] == "scored"]
    return ready, "" if ready else why_none(record, listed, own.folder.handed_in)


def _require_whole(chosen: object, dataset: object, out: Path | None) -> None:
    if (out is None) != (dataset is None) or (out is not None and chosen is None):
        raise click.UsageError("--record-out, --score-dataset and --request are needed together")
    if out is not None:
        require_free(out, overwrite=False)


def _words(each: Opened) -> str:
    return f"{each.model.title}: {each.score.for_the_owner()} {each.model.unit}. Request {each.request}."


def _shown(each: Opened) -> dict[str, Any]:
    return {
        "request": each.request,
        "model": to_hex(each.model.hash),
        "title": each.model.title,
        "unit": each.model.unit,
        "score": str(each.score.for_the_owner()),
    }
