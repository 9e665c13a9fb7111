"""What stewards, credential authorities and operators put on chain themselves, from their own accounts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from marketplace.chain.adapter import Chain
from marketplace.chain.sender import Sender
from marketplace.client.http import Api
from marketplace.client.payment import approve
from marketplace.errors import Refusal
from marketplace.wire import countries
from marketplace.wire.class_page import ClassPage
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.eip712 import SigningKey
from marketplace.wire.http import to_hex
from marketplace.wire.solidity import malformed
from marketplace.wire.terms import ClassTerms, Credential, Descent


def publish_dataset(
    chain: Chain, steward: SigningKey, dictionary: Dictionary, salt: bytes, uri: str = ""
) -> bytes:
    """Publishes a dataset; the caller becomes its steward (role STEWARD). Returns its id."""
    sender = Sender(chain, steward)
    receipt = sender.send("DatasetRegistry", "publishDataset", dictionary.hash(), salt, uri)
    return bytes(receipt.event("DatasetPublished").args["dataset"])


def hand_over_dictionary(api: Api, dictionary: Dictionary) -> None:
    """Gives the operator the dictionary whose hash the dataset names."""
    api.post("/api/v1/dictionaries", {"dictionary": json.loads(dictionary.to_bytes())})


def class_terms(document: object, page: ClassPage) -> ClassTerms:
    """A class's terms from JSON that leaves `termsHash` to the page, or has that page's.

    Raises:
        Refusal: `malformed_message`; `another_page`, where `termsHash` is of another page.
        BadParameter: for what is no country's code.
    """
    if not isinstance(document, dict):
        raise malformed("terms", "must be an object")
    stated, own = document.get("termsHash"), to_hex(page.hash())
    if stated is not None and str(stated).lower() != own:
        raise Refusal(
            code="another_page",
            message="The terms carry the hash of another page than the one given.",
            remedy="Leave termsHash out of the terms: it follows from the page.",
            field="termsHash",
        )
    terms = ClassTerms.from_json({**document, "termsHash": own})
    for i, each in enumerate(terms.countries):
        countries.code_of(each.decode("latin-1"), f"countries[{i}]")
    return terms


def hand_over_page(api: Api, page: ClassPage) -> None:
    """Gives the operator the page whose hash a class's terms carry."""
    api.post("/api/v1/class-pages", {"page": page.to_json()})


DESCENTS_AT_ONCE: Final = 200
"""Of a disease table in one transaction: about 25,000 gas each."""


def register_diseases(
    chain: Chain, steward: SigningKey, dataset: bytes, descents: Sequence[Descent]
) -> None:
    """Says which disease is a kind of which other; only before the dataset's first class.

    A request on a disease then satisfies consent for each disease that the table names above it. The
    contract follows no chain of pairs: give every pair of descendant and ancestor.
    """
    sender = Sender(chain, steward)
    for start in range(0, len(descents), DESCENTS_AT_ONCE):
        part = descents[start : start + DESCENTS_AT_ONCE]
        below, above = [each.disease for each in part], [each.kind_of for each in part]
        sender.send("DatasetRegistry", "registerDescent", dataset, below, above)


def publish_class(chain: Chain, steward: SigningKey, dataset: bytes, terms: ClassTerms) -> bytes:
    """Publishes a consent class for ever. Returns its id."""
    receipt = Sender(chain, steward).send("DatasetRegistry", "publishClass", dataset, terms)
    return bytes(receipt.event("ClassPublished").args["class"])


def add_issuer(chain: Chain, steward: SigningKey, dataset: bytes, issuer: str) -> None:
    """Trusts an issuer to attest records of a dataset."""
    Sender(chain, steward).send("DatasetRegistry", "addIssuer", dataset, issuer)


def give_credential(
    chain: Chain, authority: SigningKey, researcher: str, credential: Credential
) -> None:
    """Gives a researcher a credential (role AUTHORITY). Raises BadParameter for what is no country's code."""
    countries.code_of(credential.country.decode("latin-1"), "country")
    Sender(chain, authority).send("ResearcherRegistry", "give", researcher, credential)


def mint(chain: Chain, minter: SigningKey, to: str, amount: int) -> None:
    """Makes test euro (embedded chain only)."""
    Sender(chain, minter).send("TestEuro", "mint", to, amount)


def post_bond(chain: Chain, operator: SigningKey, amount: int) -> None:
    """Posts an operator's bond, token units."""
    sender = Sender(chain, operator)
    approve(chain, sender, amount)
    sender.send("ResearchMarket", "postBond", amount)


def refusals(outcomes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those entries of a batch that were refused."""
    return [each for each in outcomes if each["outcome"] == "refused"]
