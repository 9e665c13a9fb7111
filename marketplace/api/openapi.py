"""The API's own description (OpenAPI 3.1), built from one table of routes."""

from __future__ import annotations

from typing import Any, Final

HEX32: Final = {"type": "string", "pattern": "^0x[0-9a-f]{64}$"}
ADDRESS: Final = {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}
SIGNATURE: Final = {"type": "string", "pattern": "^0x([0-9a-f]{2})+$"}
OBJECT: Final[dict[str, Any]] = {"type": "object"}
TEXT: Final = {"type": "string"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


_UPLOAD = _object({"record": OBJECT, "attestation": OBJECT, "issuer_signature": SIGNATURE})
_MESSAGE = _object(
    {"kind": TEXT, "message": OBJECT, "signature": SIGNATURE},
    {"signer": ADDRESS, "signature_to": SIGNATURE},
)
_QUOTE = _object(
    {
        "dataset": HEX32,
        "classes": _list({"type": "integer", "minimum": 1, "maximum": 65535}, 64),
        "analysis": TEXT,
        "parameters": OBJECT,
    },
    {
        "cost": {"type": "integer", "minimum": 1},
        "target_error": {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,15})?$"},
    },
)

# method, path, what it does, parameters in the path, body, whether it must be signed
ROUTES: Final[tuple[tuple[str, str, str, dict[str, Any], dict[str, Any] | None, bool], ...]] = (
    ("get", "/api/v1/market", "Chain, contracts, policy, operator, fee", {}, None, False),
    ("get", "/api/v1/committee", "Custodians and gates of the current epoch", {}, None, False),
    ("get", "/api/v1/catalogue", "Every analysis that can be asked for", {}, None, False),
    (
        "get",
        "/api/v1/accounts/{account}",
        "Balance, credit and bond of an account, token units",
        {"account": ADDRESS},
        None,
        False,
    ),
    ("get", "/api/v1/openapi.json", "This document", {}, None, False),
    ("get", "/api/v1/datasets", "Every dataset, with its consent classes", {}, None, False),
    ("get", "/api/v1/datasets/{dataset}", "One dataset", {"dataset": HEX32}, None, False),
    (
        "get",
        "/api/v1/datasets/{dataset}/consents/{patient}",
        "One pseudonymous patient's consent, as public as the chain makes it",
        {"dataset": HEX32, "patient": ADDRESS},
        None,
        False,
    ),
    (
        "post",
        "/api/v1/dictionaries",
        "Hand over the dictionary of a dataset on chain",
        {},
        _object({"dictionary": OBJECT}),
        False,
    ),
    (
        "post",
        "/api/v1/quotes",
        "Price, privacy cost and expected error, before anything is paid",
        {},
        _QUOTE,
        False,
    ),
    (
        "post",
        "/api/v1/records",
        "Take sealed, attested records",
        {},
        _object({"entries": _list(_UPLOAD, 500)}),
        False,
    ),
    (
        "post",
        "/api/v1/messages",
        "Relay signed messages of patients to the chain",
        {},
        _object({"messages": _list(_MESSAGE, 1000)}),
        False,
    ),
    ("get", "/api/v1/requests", "The latest requests", {}, None, False),
    (
        "post",
        "/api/v1/requests",
        "Hand in terms and parameters before opening the request on chain",
        {},
        _object({"terms": OBJECT, "parameters": OBJECT}),
        True,
    ),
    (
        "get",
        "/api/v1/requests/{request_id}",
        "One request and its stages",
        {"request_id": HEX32},
        None,
        False,
    ),
    (
        "get",
        "/api/v1/requests/{request_id}/receipt",
        "The receipt, once settled",
        {"request_id": HEX32},
        None,
        False,
    ),
)

_PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
_PROBLEM = _object(
    {
        "type": TEXT,
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "code": TEXT,
        "remedy": TEXT,
    },
    {"field": TEXT},
)


def _operation(
    summary: str, inside: dict[str, Any], body: dict[str, Any] | None, signed: bool
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": schema}
            for name, schema in inside.items()
        ],
        "responses": {
            "200": {"description": summary, "content": {"application/json": {"schema": OBJECT}}},
            "default": {
                "description": "A refusal: what is wrong, and what to do",
                "content": {"application/problem+json": {"schema": _PROBLEM_REF}},
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
    for method, path, summary, inside, body, signed in ROUTES:
        paths.setdefault(path, {})[method] = _operation(summary, inside, body, signed)
    return paths


DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "Usufruct", "version": "1", "license": {"name": "Apache-2.0"}},
    "paths": _paths(),
    "components": {
        "schemas": {"Problem": _PROBLEM},
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
