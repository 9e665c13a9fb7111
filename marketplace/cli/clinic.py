"""The clinic's command for records that patients sealed in their browsers."""

from __future__ import annotations

import json
from pathlib import Path

import click

from marketplace.chain.adapter import Manifest
from marketplace.cli.agreement import require_attestation_meant
from marketplace.cli.environment import from_environment
from marketplace.cli.own_key import PASSPHRASE_FILE, key_in, unlocked
from marketplace.cli.patient import DATASET, URL, require_free
from marketplace.cli.say import FILE, HEX32, in_file, read_json, refusals_as_words, say, tell
from marketplace.client import Marketplace, account_of
from marketplace.client.drafts import LeftRecord, open_left, place_of
from marketplace.fhir.extract import explained
from marketplace.wire import keyfiles
from marketplace.wire.http import to_hex
from marketplace.wire.keyring import Keyring
from marketplace.wire.opening import read_code


@click.command()
@click.argument("draft", type=FILE)
@URL
@from_environment("--node", required=True, help="JSON-RPC URL of a node that you trust.")
@from_environment(
    "--manifest", type=FILE, required=True, help="The deployment's, not the operator's word."
)
@DATASET
@click.option(
    "--browser-key",
    type=FILE,
    required=True,
    help="The clinic's key file, as its browser saved it.",
)
@PASSPHRASE_FILE
@click.option(
    "--issuer-key-file",
    type=FILE,
    help="Signs. Without it, the browser's key for this dataset does.",
)
@click.option("--code", required=True, help="The invitation, as it was handed to this person.")
@click.option("--number", help="The clinic's own number of the patient: it becomes the pseudonym.")
@click.option("--person", type=HEX32, help="In its place, a pseudonym that is in use already.")
@click.option("--fhir", type=FILE, help="The clinic's own bundle: the record must hold its values.")
@click.option("--yes", is_flag=True, help="Without --fhir: attest without a question.")
@click.option("--out", type=FILE, required=True, help="Where the attested record goes.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there already.")
@refusals_as_words
def attest(
    draft: Path,
    url: str,
    node: str,
    manifest: Path,
    dataset: bytes,
    browser_key: Path,
    passphrase_file: Path | None,
    issuer_key_file: Path | None,
    code: str,
    number: str | None,
    person: bytes | None,
    fhir: Path | None,
    yes: bool,
    out: Path,
    overwrite: bool,
) -> None:
    """Attest a record that a patient left, from the file that the clinic's page saved.

    It is opened here: with --fhir its values are compared with yours, otherwise they are shown and you are
    asked. `usufruct upload` then sends what is written.
    """
    if (number is None) == (person is None):
        raise click.UsageError("either --number or --person is needed")
    require_free(out, overwrite)
    invitation, document = read_code(code), read_json(draft)
    keyring = unlocked(browser_key, passphrase_file)
    market = Marketplace(url, node, Manifest.load(manifest))
    issuer = _issuer_key(issuer_key_file, keyring, dataset)
    market.require_issuer(dataset, account_of(issuer))
    with in_file(draft):
        left = open_left(market, dataset, document, keyring.root, invitation)
    _require_right(left, fhir, yes)
    pseudonym = person or keyring.root.person(place_of(market, dataset), str(number))
    entry = market.attest(left.record, pseudonym, issuer)
    with out.open("w" if overwrite else "x") as file:
        file.write(json.dumps(entry))
    context = left.record.context
    say(
        {
            "commitment": to_hex(left.record.commitment),
            "file": str(out),
            "patient": context.patient,
            "person": to_hex(pseudonym),
            "version": context.record_version,
        }
    )


def _issuer_key(path: Path | None, keyring: Keyring, dataset: bytes) -> bytes:
    return key_in(keyring, dataset) if path is None else keyfiles.read(path)


def _require_right(left: LeftRecord, fhir: Path | None, yes: bool) -> None:
    """By the clinic's bundle, or by the eyes of whoever sits there."""
    if fhir is not None:
        with in_file(fhir):
            left.require_same(explained(fhir.read_bytes(), left.dictionary).values)
        return
    if not yes:
        for line in left.shown():
            tell(line)
    require_attestation_meant(yes)
