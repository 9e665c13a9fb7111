"""Commands of patients and issuers. Keys stay in files that only their owner can read."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from marketplace.chain.adapter import Manifest
from marketplace.cli.say import FILE, HEX32, read_json, refusals_as_words, say
from marketplace.client import Marketplace
from marketplace.client.marketplace import account_of
from marketplace.errors import Refusal
from marketplace.fhir.extract import extract
from marketplace.wire import keyfiles
from marketplace.wire.http import to_hex
from marketplace.wire.terms import class_id

DAY = 86_400
URL = click.option("--url", default="http://127.0.0.1:8000", show_default=True)
KEY = click.option("--key-file", type=FILE, required=True, help="Private key (mode 0600).")
DATASET = click.option("--dataset", type=HEX32, required=True)


@click.command()
@click.argument("path", type=FILE)
@refusals_as_words
def key(path: Path) -> None:
    """Make a new key file and print its address."""
    if not keyfiles.create(path, keyfiles.new_signing_key()):
        raise click.ClickException(f"{path} exists already; nothing was changed")
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
    """Send sealed, attested records to the operator."""
    say(Marketplace(url).upload([read_json(path) for path in files]))


@click.command()
@URL
@KEY
@DATASET
@click.option("--class", "index", default=1, show_default=True, help="Index of the class.")
@click.option("--cap", required=True, type=click.IntRange(1), help="Lifetime budget, nano-rho.")
@click.option("--days", default=365, show_default=True)
@refusals_as_words
def grant(url: str, key_file: Path, dataset: bytes, index: int, cap: int, days: int) -> None:
    """Consent to one class, up to a lifetime budget, until an expiry."""
    market, own = Marketplace(url), keyfiles.read(key_file)
    class_ = _class_of(market, dataset, index)
    sequence = market.consent(dataset, account_of(own))["sequence"] + 1
    expiry = int(time.time()) + days * DAY
    _relay(market, market.grant_message(own, class_, cap, expiry, sequence))
    say(market.consent(dataset, account_of(own)))


@click.command()
@URL
@KEY
@DATASET
@click.option("--custodian", help="Send it through this custodian (URL) instead of the operator.")
@click.option("--node", help="With --custodian: JSON-RPC URL of a node that you trust.")
@click.option("--manifest", type=FILE, help="With --custodian: the deployment's manifest.")
@refusals_as_words
def revoke(
    url: str,
    key_file: Path,
    dataset: bytes,
    custodian: str | None,
    node: str | None,
    manifest: Path | None,
) -> None:
    """Stop now. Every request that is not sealed yet leaves you out."""
    own = keyfiles.read(key_file)
    if custodian is None:
        market = Marketplace(url)
        sequence = market.consent(dataset, account_of(own))["sequence"]
        _relay(market, market.revocation_message(own, dataset, sequence))
        say(market.consent(dataset, account_of(own)))
        return
    if node is None or manifest is None:
        raise click.UsageError("--custodian needs --node and --manifest")
    say(Marketplace(url, node, Manifest.load(manifest)).revoke_through(custodian, own, dataset))


@click.command()
@URL
@KEY
@DATASET
@click.option("--to", required=True, help="Address that is paid.")
@refusals_as_words
def withdraw(url: str, key_file: Path, dataset: bytes, to: str) -> None:
    """Have your earnings paid to an address of your choice."""
    market, own = Marketplace(url), keyfiles.read(key_file)
    _relay(market, market.withdrawal_message(own, dataset, to))
    say(market.account(to))


def _class_of(market: Marketplace, dataset: bytes, index: int) -> dict[str, object]:
    classes = market.dataset(dataset)["classes"]
    if not 1 <= index <= len(classes):
        raise click.ClickException(f"the dataset has classes 1 to {len(classes)}")
    # The id is computed here: an operator cannot pass off another class under this index.
    return {**classes[index - 1], "class": to_hex(class_id(dataset, index))}


def _relay(market: Marketplace, message: dict[str, object]) -> None:
    outcome = market.relay([message])[0]
    if outcome["outcome"] == "refused":
        raise Refusal(
            code=outcome["code"],
            message=outcome["detail"],
            remedy=outcome["remedy"],
            field=outcome["field"],
        )
