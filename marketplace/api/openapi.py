"""The API's own description (OpenAPI 3.1), built from one table of routes."""

from __future__ import annotations

from typing import Any, Final

from marketplace.api.schemas import (
    ADDRESS,
    BASE64,
    HEX32,
    LANE,
    OBJECT,
    PLACE,
    SCHEMAS,
    SIGNATURE,
    TEXT,
    record,
    ref,
    several,
)

_UPLOAD = record({"record": OBJECT, "attestation": OBJECT, "issuer_signature": SIGNATURE})
_MESSAGE = record(
    {"kind": TEXT, "message": OBJECT, "signature": SIGNATURE},
    {"signer": ADDRESS, "signature_to": SIGNATURE},
)
_QUOTE = record(
    {
        "dataset": HEX32,
        "classes": several({"type": "integer", "minimum": 1, "maximum": 65535}, 64),
        "analysis": TEXT,
        "parameters": OBJECT,
    },
    {
        "lane": {**LANE, "default": 1},
        "cost": {"type": "integer", "minimum": 1},
        "target_error": {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,15})?$"},
    },
)

BUNDLE: Final = "Bundle"
"""In the place of a schema's name."""
# method, path, what it does, parameters in the path, body, what it answers, whether it must be signed
Route = tuple[str, str, str, dict[str, Any], dict[str, Any] | None, str, bool]
ROUTES: Final[tuple[Route, ...]] = (
    ("get", "/api/v1", "Where this description, health and market are", {}, None, "Front", False),
    (
        "get",
        "/health",
        "Whether this server is ready, and why not; how its custodians and gates were at the last look",
        {},
        None,
        "Health",
        False,
    ),
    ("get", "/live", "That this process answers at all", {}, None, "Live", False),
    (
        "get",
        "/ready",
        "That this server is ready: 503 while it is not, with what keeps it",
        {},
        None,
        "Ready",
        False,
    ),
    (
        "get",
        "/api/v1/market",
        "Chain, contracts, policy, operator with its fee and free bond",
        {},
        None,
        "Market",
        False,
    ),
    (
        "get",
        "/api/v1/committee",
        "Custodians and gates of the current epoch, and the joint key that its records are tallied under",
        {},
        None,
        "Committee",
        False,
    ),
    (
        "get",
        "/api/v1/catalogue",
        "Every analysis that can be asked for: of the vault lane, then of the homomorphic lane",
        {},
        None,
        "Catalogue",
        False,
    ),
    (
        "get",
        "/api/v1/accounts/{account}",
        "Balance, credit and bond of an account, token units",
        {"account": ADDRESS},
        None,
        "Account",
        False,
    ),
    ("get", "/api/v1/openapi.json", "This document", {}, None, "", False),
    (
        "get",
        "/api/v1/datasets",
        "Every dataset, with its consent classes",
        {},
        None,
        "Datasets",
        False,
    ),
    (
        "get",
        "/api/v1/datasets/{dataset}",
        "One dataset",
        {"dataset": HEX32},
        None,
        "Dataset",
        False,
    ),
    (
        "get",
        "/api/v1/datasets/{dataset}/consents/{patient}",
        "One pseudonymous patient's consent, as public as the chain makes it",
        {"dataset": HEX32, "patient": ADDRESS},
        None,
        "Consent",
        False,
    ),
    (
        "post",
        "/api/v1/dictionaries",
        "Hand over the dictionary of a dataset on chain",
        {},
        record({"dictionary": OBJECT}),
        "KeptDictionary",
        False,
    ),
    (
        "post",
        "/api/v1/class-pages",
        "Hand over the page that patients of a class on chain read",
        {},
        record({"page": OBJECT}),
        "KeptPage",
        False,
    ),
    (
        "get",
        "/api/v1/class-pages/{terms_hash}",
        "The page that patients of a class read, by the termsHash of its terms",
        {"terms_hash": HEX32},
        None,
        "ClassPage",
        False,
    ),
    (
        "post",
        "/api/v1/quotes",
        "Price, privacy cost and expected error, before anything is paid",
        {},
        _QUOTE,
        "Quote",
        False,
    ),
    (
        "post",
        "/api/v1/records",
        "Take sealed, attested records",
        {},
        record({"entries": several(_UPLOAD, 500)}),
        "RecordOutcomes",
        False,
    ),
    (
        "post",
        "/api/v1/messages",
        "Relay signed messages of patients to the chain",
        {},
        record({"messages": several(_MESSAGE, 1000)}),
        "MessageOutcomes",
        False,
    ),
    ("get", "/api/v1/requests", "The latest requests", {}, None, "Requests", False),
    (
        "get",
        "/api/v1/market/requests",
        "Every request ever opened on this market, of every operator: the newest first, a page of them",
        {},
        None,
        "PublicRequests",
        False,
    ),
    (
        "get",
        "/api/v1/market/requests/before/{place}",
        "The page that follows the one whose `before` this is",
        {"place": PLACE},
        None,
        "PublicRequests",
        False,
    ),
    (
        "post",
        "/api/v1/requests",
        "Hand in terms and parameters before opening the request on chain",
        {},
        record({"terms": OBJECT, "parameters": OBJECT}),
        "Taken",
        True,
    ),
    (
        "get",
        "/api/v1/requests/{request_id}",
        "One request, its stages, and what it waits for",
        {"request_id": HEX32},
        None,
        "Request",
        False,
    ),
    (
        "get",
        "/api/v1/requests/{request_id}/receipt",
        "The receipt, once settled",
        {"request_id": HEX32},
        None,
        "Receipt",
        False,
    ),
    (
        "post",
        "/api/v1/requests/{request_id}/bundle",
        "In the homomorphic lane, for its researcher: what the receipt is verified with (JSON Lines)",
        {"request_id": HEX32},
        record({}, {"proofs": {"type": "boolean"}}),
        BUNDLE,
        True,
    ),
    (
        "post",
        "/api/v1/models",
        "Publish a model that runs on encrypted records (credentialed researchers)",
        {},
        record({"model": OBJECT}),
        "KeptModel",
        True,
    ),
    ("get", "/api/v1/models", "The latest models", {}, None, "Models", False),
    (
        "get",
        "/api/v1/models/{model}",
        "One model, whole, by its hash",
        {"model": HEX32},
        None,
        "Model",
        False,
    ),
    (
        "post",
        "/api/v1/datasets/{dataset}/score-records",
        "Hand in one's own encrypted record to be scored, in the place of the one before",
        {"dataset": HEX32},
        record({"material": BASE64, "record": BASE64}),
        "KeptScoreRecord",
        True,
    ),
    (
        "post",
        "/api/v1/datasets/{dataset}/scores",
        "One's own scores in a dataset, by request",
        {"dataset": HEX32},
        record({}),
        "Scores",
        True,
    ),
    (
        "post",
        "/api/v1/requests/{request_id}/score",
        "One's own score of a request: ciphertext (base64) that its patient's key alone opens",
        {"request_id": HEX32},
        record({}),
        "Score",
        True,
    ),
)


LINES: Final = {"application/jsonl": {"schema": {"type": "string"}}}
"""JSON Lines: a file, not one document."""


def _document(shown: str) -> dict[str, Any]:
    return {"application/json": {"schema": ref(shown) if shown else OBJECT}}


def _operation(
    summary: str, inside: dict[str, Any], body: dict[str, Any] | None, shown: str, signed: bool
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": schema}
            for name, schema in inside.items()
        ],
        "responses": {
            "200": {
                "description": summary,
                "content": LINES if shown == BUNDLE else _document(shown),
            },
            "default": {
                "description": "A refusal: what is wrong, and what to do",
                "content": {"application/problem+json": {"schema": ref("Problem")}},
            },
        },
    }
    if body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    if signed:
        operation["security"] = [{"signedRequest": []}]
    return operation


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for method, path, summary, inside, body, shown, signed in ROUTES:
        paths.setdefault(path, {})[method] = _operation(summary, inside, body, shown, signed)
    return paths


DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "Usufruct", "version": "1", "license": {"name": "Apache-2.0"}},
    "paths": _paths(),
    "components": {
        "schemas": SCHEMAS,
        "securitySchemes": {
            "signedRequest": {
                "type": "apiKey",
                "in": "header",
                "name": "Usufruct-Auth",
                "description": "EIP-712 signature of ApiRequest(method, path, bodyHash, nonce, "
                "deadline): `address=0x..; nonce=0x..; deadline=..; signature=0x..`",
            }
        },
    },
}
