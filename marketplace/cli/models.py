"""Commands about models that run on encrypted records: publishing one, and what is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from marketplace.chain.adapter import Manifest
from marketplace.cli.environment import from_environment
from marketplace.cli.patient import URL
from marketplace.cli.say import FILE, WORDS, in_file, read_json, refusals_as_words, say
from marketplace.client import Marketplace, account_of
from marketplace.client.http import objects
from marketplace.client.score_words import unencoded_words, variables_of_model
from marketplace.errors import Refusal
from marketplace.wire import keyfiles
from marketplace.wire.auth import Voice
from marketplace.wire.plain import counted

MANIFEST = from_environment(
    "--manifest", type=FILE, help="The deployment's; else the operator's word."
)


@click.command()
@URL
@MANIFEST
@click.option("--key-file", type=FILE, required=True, help="Private key (mode 0600).")
@click.argument("model", type=FILE)
@refusals_as_words
def publish_model(url: str, manifest: Path | None, key_file: Path, model: Path) -> None:
    """Publish a model that runs on encrypted records: everybody can read it, for ever."""
    market = Marketplace(url, None, None if manifest is None else Manifest.load(manifest))
    own, document = keyfiles.read(key_file), read_json(model)
    voice = Voice(own, account_of(own), market.manifest.api_domain)
    with in_file(model):
        told = market.api.post_signed("/api/v1/models", {"model": document}, voice)
        reads = variables_of_model(document)
    words = _told_of(reads, market)
    say({**({WORDS: words} if words else {}), "model": told["model"]})


@click.command()
@URL
@refusals_as_words
def models(url: str) -> None:
    """List the latest models that were published, with what each reads."""
    told = objects(Marketplace(url).api.get("/api/v1/models"), "models")
    words = [f"{each['model']}: {each['title']} ({each['kind']}). {_reads(each)}" for each in told]
    say({"in_words": words, "models": told})


def _reads(each: Mapping[str, Any]) -> str:
    names = [str(name) for name in each["variables"]]
    return f"Reads {counted(len(names), 'value')}: {', '.join(names)}."


def _told_of(reads: Sequence[str], market: Marketplace) -> list[str]:
    """A word about datasets: the model is published by now, whatever is said of them."""
    try:
        warning = unencoded_words(reads, market.datasets())
    except Refusal as refusal:
        warning = (
            f"Published. Whether a dataset encodes what it reads cannot be told: {refusal.message}"
        )
    return [] if warning is None else [warning]
