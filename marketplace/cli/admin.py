"""Commands of those who set a market up: committee admin, steward, credential authority, operator.

Each sends transactions from its own account, through a node of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from marketplace.chain.adapter import Chain, CommitteeView, ContractRefusal, Manifest
from marketplace.chain.deploy import CommitteeSeat
from marketplace.chain.deploy import open_epoch as open_committee_epoch
from marketplace.chain.sender import Sender
from marketplace.cli.environment import from_environment
from marketplace.cli.progress import bar
from marketplace.cli.say import FILE, HEX32, Whole, in_file, read_json, refusals_as_words, say
from marketplace.client import Api, steward
from marketplace.errors import BadClassPage, Refusal
from marketplace.vocabulary import address
from marketplace.wire import class_page as class_pages
from marketplace.wire import dictionary as dictionaries
from marketplace.wire import keyfiles
from marketplace.wire.canonical import JSON_LIMIT, parse
from marketplace.wire.class_page import ClassPage
from marketplace.wire.http import hash_field, require_keys, to_hex
from marketplace.wire.solidity import malformed
from marketplace.wire.terms import Credential, Descent

NODE = from_environment(
    "--node", default="http://127.0.0.1:8545", show_default=True, help="JSON-RPC URL."
)
URL = from_environment(
    "--url", default="http://127.0.0.1:8000", show_default=True, help="Of the operator."
)
MANIFEST = from_environment(
    "--manifest", type=FILE, required=True, help="The deployment's manifest, as `deploy` wrote it."
)
KEY = click.option("--key-file", type=FILE, required=True, help="Private key (mode 0600).")
DATASET = from_environment("--dataset", type=HEX32, required=True)


@click.command("open-epoch")
@NODE
@MANIFEST
@KEY
@click.option("--quorum", required=True, type=Whole(1, 16), help="More than half.")
@click.option(
    "--custodian",
    "custodians",
    type=FILE,
    multiple=True,
    required=True,
    help="What `custodian init` printed; once each, in the order of their places.",
)
@click.option(
    "--gate",
    "gates",
    type=FILE,
    multiple=True,
    required=True,
    help="What `gate init` printed; once each.",
)
@click.option(
    "--records-anew",
    is_flag=True,
    help="Give up every record so far: n, k or the places change, so no share can be handed over.",
)
@refusals_as_words
def open_epoch(
    node: str,
    manifest: Path,
    key_file: Path,
    quorum: int,
    custodians: tuple[Path, ...],
    gates: tuple[Path, ...],
    records_anew: bool,
) -> None:
    """Seat custodians and gates for the committee's next epoch (role ADMIN)."""
    seats = [_seat(path) for path in custodians]
    signers = [_gate(path) for path in gates]
    chain = _chain(node, manifest)
    if not records_anew:
        _require_records_go_over(chain, seats, quorum)
    sender = Sender(chain, keyfiles.read(key_file))
    epoch = open_committee_epoch(sender, seats, quorum, signers)
    say({"epoch": epoch, "custodians": [seat.signer for seat in seats], "gates": signers})


@click.command("publish-dataset")
@NODE
@MANIFEST
@KEY
@URL
@click.option("--dictionary", "path", type=FILE, required=True, help="Data dictionary (JSON).")
@click.option("--salt", type=HEX32, default=bytes(32), help="Tells datasets of one kind apart.")
@click.option("--uri", default="", help="Where people read about the dataset.")
@refusals_as_words
def publish_dataset(
    node: str, manifest: Path, key_file: Path, url: str, path: Path, salt: bytes, uri: str
) -> None:
    """Publish a dataset (role STEWARD) and hand its dictionary to the operator."""
    with in_file(path):
        dictionary = dictionaries.from_json(read_json(path))
    chain, own = _chain(node, manifest), keyfiles.read(key_file)
    dataset = steward.publish_dataset(chain, own, dictionary, salt, uri)
    say({"dataset": to_hex(dataset), "dictionary_hash": to_hex(dictionary.hash())})
    steward.hand_over_dictionary(Api(url), dictionary)


@click.command("hand-over-dictionary")
@URL
@click.option("--dictionary", "path", type=FILE, required=True, help="Data dictionary (JSON).")
@refusals_as_words
def hand_over_dictionary(url: str, path: Path) -> None:
    """Give an operator the dictionary that a dataset on chain names."""
    with in_file(path):
        dictionary = dictionaries.from_json(read_json(path))
    steward.hand_over_dictionary(Api(url), dictionary)
    say({"dictionary_hash": to_hex(dictionary.hash())})


@click.command("register-diseases")
@NODE
@MANIFEST
@KEY
@DATASET
@click.option("--diseases", type=FILE, required=True, help="Which is a kind of which (JSON).")
@refusals_as_words
def register_diseases(
    node: str, manifest: Path, key_file: Path, dataset: bytes, diseases: Path
) -> None:
    """Say which diseases are kinds of others (its steward), before the first class fixes that."""
    with in_file(diseases):
        table = _descents(read_json(diseases))
    chain, own = _chain(node, manifest), keyfiles.read(key_file)
    with bar("registering", None):
        steward.register_diseases(chain, own, dataset, table)
    say({"dataset": to_hex(dataset), "registered": len(table)})


@click.command("publish-class")
@NODE
@MANIFEST
@KEY
@URL
@DATASET
@click.option("--terms", type=FILE, required=True, help="Consent class (JSON). It never changes.")
@click.option("--page", "path", type=FILE, required=True, help="What its patients read (JSON).")
@refusals_as_words
def publish_class(
    node: str, manifest: Path, key_file: Path, url: str, dataset: bytes, terms: Path, path: Path
) -> None:
    """Publish a consent class, for ever (its steward), and hand its page to the operator."""
    document, page = read_json(terms), _page(path)
    with in_file(terms):
        wanted = steward.class_terms(document, page)
    chain, own = _chain(node, manifest), keyfiles.read(key_file)
    class_ = steward.publish_class(chain, own, dataset, wanted)
    definition = to_hex(wanted.definition_hash(class_))
    shown = {"class": to_hex(class_), "definition": definition}
    say({**shown, "terms_hash": to_hex(page.hash())})
    steward.hand_over_page(Api(url), page)


@click.command("hand-over-page")
@URL
@click.option("--page", "path", type=FILE, required=True, help="What patients read (JSON).")
@refusals_as_words
def hand_over_page(url: str, path: Path) -> None:
    """Give an operator the page that a consent class on chain was published with."""
    page = _page(path)
    steward.hand_over_page(Api(url), page)
    say({"terms_hash": to_hex(page.hash())})


@click.command("add-issuer")
@NODE
@MANIFEST
@KEY
@DATASET
@click.option("--issuer", required=True, help="Address whose attestations count.")
@refusals_as_words
def add_issuer(node: str, manifest: Path, key_file: Path, dataset: bytes, issuer: str) -> None:
    """Trust a clinic or lab to attest records of a dataset (its steward)."""
    trusted = address(issuer, "issuer")
    steward.add_issuer(_chain(node, manifest), keyfiles.read(key_file), dataset, trusted)
    say({"dataset": to_hex(dataset), "issuer": trusted})


@click.command("give-credential")
@NODE
@MANIFEST
@KEY
@click.option("--researcher", required=True, help="Address that may ask.")
@click.option("--credential", type=FILE, required=True, help="Credential (JSON).")
@refusals_as_words
def give_credential(
    node: str, manifest: Path, key_file: Path, researcher: str, credential: Path
) -> None:
    """Vouch for a researcher (role AUTHORITY)."""
    with in_file(credential):
        given = Credential.from_json(read_json(credential))
    to = address(researcher, "researcher")
    steward.give_credential(_chain(node, manifest), keyfiles.read(key_file), to, given)
    say({"researcher": to, "expiry": given.expiry})


@click.command("post-bond")
@NODE
@MANIFEST
@KEY
@click.option("--amount", required=True, type=Whole(1), help="Token units.")
@refusals_as_words
def post_bond(node: str, manifest: Path, key_file: Path, amount: int) -> None:
    """Post an operator's bond: it repays researchers whom this operator fails."""
    chain, own = _chain(node, manifest), keyfiles.read(key_file)
    steward.post_bond(chain, own, amount)
    operator = keyfiles.Signer.of(own).address
    say({"operator": operator, "bond": str(chain.bond_of(operator))})


@click.command()
@NODE
@MANIFEST
@KEY
@click.option("--to", required=True, help="Address that gets them.")
@click.option("--amount", required=True, type=Whole(1), help="Token units.")
@refusals_as_words
def mint(node: str, manifest: Path, key_file: Path, to: str, amount: int) -> None:
    """Make test euros (role MINTER; no real token has this)."""
    chain, receiver = _chain(node, manifest), address(to, "to")
    steward.mint(chain, keyfiles.read(key_file), receiver, amount)
    say({"address": receiver, "balance": str(chain.balance_of(receiver))})


def _page(path: Path) -> ClassPage:
    read_json(path)  # what is no JSON at all is said as of every file
    with in_file(path):  # and what names a key twice would be read one way here, another elsewhere
        document = parse(path.read_bytes(), limit=JSON_LIMIT, refusal=BadClassPage)
        return class_pages.from_json(document)


def _descents(given: object) -> list[Descent]:
    if not isinstance(given, list) or not given:
        raise malformed("diseases", "must be a list, not empty, of objects with disease and kindOf")
    return [Descent.from_json(each, f"diseases[{i}].") for i, each in enumerate(given)]


def _chain(node: str, manifest: Path) -> Chain:
    chain = Chain(node, Manifest.load(manifest))
    chain.require_healthy()
    return chain


def _require_records_go_over(chain: Chain, seats: Sequence[CommitteeSeat], quorum: int) -> None:
    """Shares are cut for one n and k, and each belongs to a place: `custodian rewrap` moves no other.

    Raises:
        Refusal: `committee_changed`; nothing was sent.
    """
    before = _committee_in_force(chain)
    if before is None:
        return
    places = {member.signer: member.place for member in before.members}
    moved = [seat.signer for i, seat in enumerate(seats) if places.get(seat.signer, i) != i]
    if moved or (before.quorum, len(before.members)) != (quorum, len(seats)):
        raise Refusal(
            code="committee_changed",
            message=f"Epoch {before.epoch} is {before.quorum} of {len(before.members)}"
            + (f"; {', '.join(moved)} would change places." if moved else "."),
            remedy="Keep n, k and the places of those who stay; or give --records-anew, and have every "
            "record sealed and attested again.",
            field="custodian",
        )


def _committee_in_force(chain: Chain) -> CommitteeView | None:
    try:
        return chain.committee()
    except ContractRefusal as refusal:
        if refusal.code == "no_epoch":
            return None
        raise


def _seat(path: Path) -> CommitteeSeat:
    found = read_json(path)
    require_keys(found, {"signer", "relay", "x25519"}, at=path.name)
    key = hash_field(found["x25519"], f"{path.name}.x25519")
    return CommitteeSeat(address(found["signer"], f"{path.name}.signer"), key)


def _gate(path: Path) -> str:
    found = read_json(path)
    require_keys(found, {"signer"}, at=path.name)
    return address(found["signer"], f"{path.name}.signer")
