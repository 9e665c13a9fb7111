"""Keys and records: commands of clinics, and of anybody who needs a key. Consent is in `consent`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from marketplace.chain.adapter import Manifest
from marketplace.cli.progress import bar
from marketplace.cli.say import FILE, HEX32, read_json, refusals_as_words, say
from marketplace.client import Marketplace, account_of
from marketplace.fhir.extract import extract
from marketplace.wire import keyfiles
from marketplace.wire.http import to_hex

URL = click.option("--url", default="http://127.0.0.1:8000", show_default=True)
DATASET = click.option("--dataset", type=HEX32, required=True)
PAGE = 100
"""Records in one upload: an operator takes 500, of 8 MB together; its chain takes about 60 a transaction."""


@click.command()
@click.argument("path", type=FILE)
@click.option("--show", is_flag=True, help="Print the address of a key file that exists.")
@refusals_as_words
def key(path: Path, show: bool) -> None:
    """Make a new key file and print its address."""
    if show:
        say({"address": account_of(keyfiles.read(path))})
        return
    if not keyfiles.create(path, keyfiles.new_signing_key()):
        raise click.ClickException(f"{path} exists already; nothing was changed (see --show)")
    say({"address": account_of(keyfiles.read(path))})


@click.command()
@URL
@click.option("--node", required=True, help="JSON-RPC URL of a node that you trust.")
@click.option(
    "--manifest", type=FILE, required=True, help="The deployment's, not the operator's word."
)
@DATASET
@click.option("--patient", required=True, help="The patient's address for this dataset.")
@click.option("--fhir", type=FILE, required=True, help="A FHIR R4 bundle (JSON).")
@click.option("--issuer-key-file", type=FILE, required=True)
@click.option("--person", type=HEX32, required=True, help="The issuer's pseudonym of the person.")
@click.option("--version", "record_version", default=1, show_default=True)
@click.option("--out", type=FILE, required=True)
@refusals_as_words
def seal(
    url: str,
    node: str,
    manifest: Path,
    dataset: bytes,
    patient: str,
    fhir: Path,
    issuer_key_file: Path,
    person: bytes,
    record_version: int,
    out: Path,
) -> None:
    """Seal a FHIR record here and attest it; only ciphertext is written."""
    market = Marketplace(url, node, Manifest.load(manifest))
    values = extract(fhir.read_bytes(), market.dictionary(dataset))
    record = market.seal(dataset, patient, values, record_version)
    entry = market.attest(record, person, keyfiles.read(issuer_key_file))
    out.write_text(json.dumps(entry))
    say({"commitment": to_hex(record.commitment), "file": str(out)})


@click.command()
@URL
@click.argument("files", type=FILE, nargs=-1, required=True)
@refusals_as_words
def upload(url: str, files: tuple[Path, ...]) -> None:
    """Send sealed, attested records to the operator.

    A record that is there already is not sent twice: interrupted, run it again.
    """
    market, entries = Marketplace(url), [read_json(path) for path in files]
    outcomes: list[dict[str, Any]] = []
    try:
        with bar("records", len(entries)) as advance:
            for page in _pages(entries):
                outcomes += market.upload(page)
                advance(len(page))
    finally:
        if outcomes:  # also of a part, where the rest was refused
            say(outcomes)


def _pages(entries: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(entries), PAGE):
        yield entries[first : first + PAGE]
