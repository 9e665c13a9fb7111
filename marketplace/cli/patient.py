"""Keys and records: commands of clinics, and of anybody who needs a key. Consent is in `consent`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from marketplace.chain.adapter import Manifest
from marketplace.cli.progress import bar
from marketplace.cli.say import FILE, HEX32, read_json, refusals_as_words, say, tell
from marketplace.client import Marketplace, account_of
from marketplace.errors import Refusal
from marketplace.fhir.extract import extract
from marketplace.sealing.row import Value
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
    say({"commitment": to_hex(record.commitment), "file": str(out), **what_was_sealed(values)})


def what_was_sealed(values: Mapping[str, Value]) -> dict[str, Any]:
    """Names of variables, no values: a code that nobody recognised would else leave nulls unseen."""
    left_out = [name for name, value in values.items() if value is None]
    if left_out:
        tell(
            f"Left out, and null in every answer: {', '.join(left_out)}. The bundle has no final result "
            "with the dictionary's code for them."
        )
    return {"sealed": [name for name in values if name not in left_out], "left_out": left_out}


@click.command()
@URL
@click.argument("files", type=FILE, nargs=-1, required=True)
@refusals_as_words
def upload(url: str, files: tuple[Path, ...]) -> None:
    """Send sealed, attested records to the operator.

    A record that is there already is not sent twice: interrupted, run it again. Ends with an error if
    any record was refused.
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
    refused = sum(each.get("outcome") == "refused" for each in outcomes)
    if refused:
        raise Refusal(
            code="records_refused",
            message=f"{refused} of {len(outcomes)} records were refused; the others are in.",
            remedy="What is printed above says why for each: correct those, and send them again.",
            field="files",
        )


def _pages(entries: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(entries), PAGE):
        yield entries[first : first + PAGE]
