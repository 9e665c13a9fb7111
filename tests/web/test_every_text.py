"""Every way in for text is known to the tests that store attacks through it, or takes no free text.

The attacks are those of `tests/support/payloads.py`, and what they must not do is said in
`tests/browser/test_stored_payloads.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from marketplace.api.openapi import DOCUMENT
from marketplace.wire.class_page import PARAGRAPHS, ClassPage
from marketplace.wire.dictionary import Code, Dictionary, Variable
from tests.support.nodes import ROOT

NUMBER, HASH, LISTED = "a number", "an address, a hash or a signature", "one of a list"
KEPT = "never leaves the browser, and is shown in nothing but the field that it was typed into"
SWEPT = "swept in a browser"
NO_PAGE = "shown by the command line alone, as JSON of ASCII"
DICTIONARY_FIELDS = {
    "Dictionary.name": "a name of a-z, 0-9 and _",
    "Dictionary.version": NUMBER,
    "Dictionary.variables": SWEPT,
    "Dictionary.encoding": "names of variables, and decimals",
    "Variable.name": "a name of a-z, 0-9 and _",
    "Variable.kind": LISTED,
    "Variable.label": SWEPT,
    "Variable.code": SWEPT,
    "Variable.unit": SWEPT,
    "Variable.lower": NUMBER,
    "Variable.upper": NUMBER,
    "Variable.decimals": NUMBER,
    "Variable.categories": SWEPT,
    "Code.system": SWEPT,
    "Code.code": SWEPT,
}
PAGE_FIELDS = {"language": "a language tag", "title": SWEPT, **dict.fromkeys(PARAGRAPHS, SWEPT)}
ON_CHAIN = {
    "publishDataset.uri": SWEPT,
    "give.credential.country": "two capital letters, says the contract",
    "publishClass.terms.countries": "two capital letters, says the contract",
    "freeze.classes.countries": "two capital letters, says the contract",
    "open.classes.countries": "two capital letters, says the contract",
    "openWithPermit.classes.countries": "two capital letters, says the contract",
}
"""Every parameter that is text, or short bytes that could be some; longer bytes are no text to anybody."""
TO_THE_API = {
    "/api/v1/dictionaries .dictionary": SWEPT,
    "/api/v1/class-pages .page": SWEPT,
    "/api/v1/quotes .analysis": LISTED,
    "/api/v1/quotes .parameters": SWEPT,
    "/api/v1/records .entries[].record": HASH,
    "/api/v1/records .entries[].attestation": HASH,
    "/api/v1/messages .messages[].kind": LISTED,
    "/api/v1/messages .messages[].message": HASH,
    "/api/v1/requests .terms": HASH,
    "/api/v1/requests .parameters": SWEPT,
    "/api/v1/models .model": NO_PAGE,
}
TYPED = {
    **dict.fromkeys(("dictionary", "title", "uri", "label", "account", "bundle", "receipt"), SWEPT),
    **dict.fromkeys(("file", "language"), SWEPT),
    **dict.fromkeys(("clip_lower", "clip_upper", "cost", "edges", "exact", "level"), NUMBER),
    **dict.fromkeys(("axis", "filter"), NUMBER),
    **dict.fromkeys(
        ("days", "for_days", "months", "number_of_codes", "right", "target_error"), NUMBER
    ),
    **dict.fromkeys(("floor_per_milli_rho", "floor_per_record", "max_cost"), NUMBER),
    **dict.fromkeys(("diseases", "disease", "countries"), LISTED),
    **dict.fromkeys(("ethics", "guardian", "issuer", "patient", "to"), HASH),
    **dict.fromkeys(("institutions", "projects", "users"), HASH),
    **dict.fromkeys(("evidence", "institution", "project", "user"), "only its hash is taken"),
    **dict.fromkeys(("again", "brought", "new", "old", "passphrase", "number", "code"), KEPT),
    **dict.fromkeys(("confirmation", "own_passphrase", "word", "sure"), KEPT),
    "clinic_name": "never leaves the browser, and is drawn as text on the paper of whoever typed it",
}
"""Controls of the templates that one types or drops something into."""
ASKED_FOR = {
    **dict.fromkeys(("account", "before", "commitment", "dataset", "next"), SWEPT),
    "since": NUMBER,
}
"""What pages read of a URL's query."""
FORGOTTEN = "a way in for text that no test here knows: store the payloads through it, and list it"


def test_every_text_of_a_dictionary_and_of_a_class_page_is_swept() -> None:
    known = {
        f"{of.__name__}.{each.name}" for of in (Dictionary, Variable, Code) for each in fields(of)
    }
    assert known == set(DICTIONARY_FIELDS), FORGOTTEN
    assert {each.name for each in fields(ClassPage)} == set(PAGE_FIELDS), FORGOTTEN


def test_every_text_that_the_chain_takes_is_swept() -> None:
    found = set()
    for path in (ROOT / "contracts/artifacts").glob("*.json"):
        for entry in json.loads(path.read_text()).get("abi", []):
            if entry["type"] == "function" and entry["stateMutability"] == "nonpayable":
                found |= set(texts_in(entry["inputs"], entry["name"]))
    assert found == set(ON_CHAIN), FORGOTTEN


def texts_in(parameters: list[dict[str, Any]], at: str) -> Iterator[str]:
    for each in parameters:
        kind, name = each["type"].partition("[")[0], f"{at}.{each['name']}"
        if kind == "tuple":
            yield from texts_in(each["components"], name)
        elif re.fullmatch(r"string|bytes([1-9]|1[0-9])", kind):
            yield name


def test_every_text_that_the_api_takes_is_swept() -> None:
    found = set()
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            if "requestBody" in operation:
                body = operation["requestBody"]["content"]["application/json"]["schema"]
                found |= {f"{path} {each}" for each in free(body, "")}
    assert found == set(TO_THE_API), FORGOTTEN


def free(schema: dict[str, Any], at: str) -> Iterator[str]:
    """Where a schema takes any text at all, or an object of which it says nothing."""
    if schema.get("type") == "string" and not {"pattern", "enum"} & set(schema):
        yield at
    if schema.get("type") == "object" and "properties" not in schema:
        yield at
    for name, inner in schema.get("properties", {}).items():
        yield from free(inner, f"{at}.{name}")
    if "items" in schema:
        yield from free(schema["items"], f"{at}[]")


def test_every_control_and_every_query_that_takes_text_is_swept() -> None:
    made = r'\b(?:field|textarea|line|text|file_drop)\(\s*"(\w+)"'
    written = r'<(?:input type="text"|textarea)[^>]*\sname="(\w+)"'
    pages = "\n".join(path.read_text() for path in (ROOT / "web/templates").rglob("*.html"))
    assert {*re.findall(made, pages), *re.findall(written, pages)} == set(TYPED), FORGOTTEN
    routes = "\n".join(path.read_text() for path in (ROOT / "web/pages").glob("*.py"))
    assert set(re.findall(r'request\.args\.get\("(\w+)"', routes)) == set(ASKED_FOR), FORGOTTEN
