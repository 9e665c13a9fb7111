"""Keys and records: commands of clinics, and of anybody who needs a key. Consent is in `consent`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from marketplace.chain.adapter import Manifest
from marketplace.cli.environment import from_environment
from marketplace.cli.progress import bar
from marketplace.cli.say import (
    FILE,
    HEX32,
    Whole,
    in_file,
    read_json,
    refusals_as_words,
    say,
    tell,
)
from marketplace.client import Marketplace, account_of
from marketplace.errors import Refusal
from marketplace.fhir.extract import Extracted, Missing, explained
from marketplace.wire import keyfiles
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.http import to_hex
from marketplace.wire.paging import LARGEST_UPLOAD, pages, sent_bytes
from marketplace.wire.plain import counted

URL = from_environment("--url", default="http://127.0.0.1:8000", show_default=True)
DATASET = from_environment("--dataset", type=HEX32, required=True)
PAGE = 100
"""Records in one upload: an operator takes 500; its chain takes about 60 a transaction."""
WHY: Final[Mapping[Missing, str]] = {
    Missing.NOT_IN_BUNDLE: "no observation of the bundle has the code {code} of {system}",
    Missing.NOT_FINAL: "none of its observations has the status final, amended or corrected",
    Missing.NO_VALUE: "its results have neither valueQuantity nor valueCodeableConcept",
    Missing.NOT_STATED: "the bundle's Patient does not state it (birthDate, gender)",
}
"""Why a variable has no value, for whoever can mend the bundle."""


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
        shown = f"`usufruct key {path} --show` prints its address"
        raise click.ClickException(f"{path} exists already; nothing was changed: {shown}")
    say({"address": account_of(keyfiles.read(path))})


@click.command()
@URL
@from_environment("--node", required=True, help="JSON-RPC URL of a node that you trust.")
@from_environment(
    "--manifest", type=FILE, required=True, help="The deployment's, not the operator's word."
)
@DATASET
@click.option("--patient", required=True, help="The patient's address for this dataset.")
@click.option("--fhir", type=FILE, required=True, help="A FHIR R4 bundle (JSON).")
@click.option("--issuer-key-file", type=FILE, required=True)
@click.option("--person", type=HEX32, required=True, help="The issuer's pseudonym of the person.")
@click.option("--version", "record_version", default=1, show_default=True, type=Whole(1))
@click.option("--out", type=FILE, required=True, help="Where the sealed record goes.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there already.")
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
    overwrite: bool,
) -> None:
    """Seal a FHIR record here and attest it; only ciphertext is written.

    Says of each variable that is left out why. A wrong unit or a value out of bounds seals nothing.
    """
    require_free(out, overwrite)
    market, issuer = Marketplace(url, node, Manifest.load(manifest)), keyfiles.read(issuer_key_file)
    market.require_issuer(dataset, account_of(issuer))
    dictionary = market.dictionary(dataset)
    with in_file(fhir):
        found = explained(fhir.read_bytes(), dictionary)
    record = market.seal(dataset, patient, found.values, record_version)
    entry = market.attest(record, person, issuer)
    with out.open("w" if overwrite else "x") as file:
        file.write(json.dumps(entry))
    told = what_was_sealed(found, dictionary)
    say({"commitment": to_hex(record.commitment), "file": str(out), **told})


def require_free(out: Path, overwrite: bool) -> None:
    """Raises Refusal (`file_exists`), before anything is asked: sealing again makes another record."""
    if out.exists() and not overwrite:
        raise Refusal(
            code="file_exists",
            message=f"{out} exists already.",
            remedy="Nothing was sealed. Name another file with --out, or replace this one with --overwrite.",
            field="out",
        )


def what_was_sealed(found: Extracted, dictionary: Dictionary) -> dict[str, Any]:
    """Names of variables, no values: a code that nobody recognised would else leave nulls unseen."""
    for variable in dictionary.variables:
        if (why := found.missing.get(variable.name)) is not None:
            words = WHY[why].format(code=variable.code.code, system=variable.code.system)
            tell(f"{variable.name} is left out, and null in every answer: {words}.")
    if found.rounded:
        tell(f"Rounded to the dictionary's decimals: {', '.join(found.rounded)}.")
    return {
        "sealed": [name for name in found.values if name not in found.missing],
        "left_out": {name: str(why) for name, why in found.missing.items()},
        "rounded": list(found.rounded),
    }


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
            for page in pages(entries, sent_bytes, most=PAGE, largest=LARGEST_UPLOAD):
                outcomes += market.upload(page)
                advance(len(page))
    finally:
        if outcomes:  # also of a part, where the rest was refused
            say(outcomes)
    refused = sum(each.get("outcome") == "refused" for each in outcomes)
    if refused:
        of, were = counted(len(outcomes), "record"), "was" if refused == 1 else "were"
        others = "; the others are in" if refused < len(outcomes) else ""
        raise Refusal(
            code="records_refused",
            message=f"{refused} of {of} {were} refused{others}.",
            remedy="What is printed above says why for each: correct those, and send them again.",
            field="files",
        )
