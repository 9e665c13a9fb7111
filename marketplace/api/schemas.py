"""What the API answers, as JSON Schema: the tests hold real answers against it.

Amounts are token units, as text where they may be large; privacy costs are nano-rho; times unix seconds,
unless a name ends in `_at` (RFC 3339). An error's `half_width` is that of a 95% interval for the noise;
sampling is not in it. A `lane` is 1 (vault) or 2 (homomorphic); a question without one is of the vault lane.
`notice_until` is the end of the notice, until which a paid request cannot be frozen and patients may rest
their consent for it; the list has it only while the request is funded.
"""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

HEX32: Final[Schema] = {"type": "string", "pattern": "^0x[0-9a-f]{64}$"}
ADDRESS: Final[Schema] = {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}
SIGNATURE: Final[Schema] = {"type": "string", "pattern": "^0x([0-9a-f]{2})+$"}
POINT: Final[Schema] = {"type": "string", "pattern": "^0x0[23][0-9a-f]{64}$"}
"""Of secp256k1, compressed."""
BASE64: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9+/]*={0,2}$"}
OBJECT: Final[Schema] = {"type": "object"}
TEXT: Final[Schema] = {"type": "string"}
PLACE: Final[Schema] = {"type": "string", "pattern": r"^[0-9]{1,15}\.[0-9]{1,9}$"}
"""Of a request among all: its block, and its place in that."""
FLAG: Final[Schema] = {"type": "boolean"}
WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}
AMOUNT: Final[Schema] = {"type": "string", "pattern": "^[0-9]+$"}
LANE: Final[Schema] = {"type": "integer", "enum": [1, 2]}
DECIMAL: Final[Schema] = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?$"}


def record(required: Schema, optional: Schema | None = None) -> Schema:
    """An object with exactly these members."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def several(items: Schema, most: int) -> Schema:
    """A list of 1 to `most` of them."""
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


def any_number(items: Schema) -> Schema:
    """A list, which may be empty."""
    return {"type": "array", "items": items}


def or_null(schema: Schema) -> Schema:
    """What may be absent, and is null then."""
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Schema:
    """One of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


_READY = {"ready": FLAG, "reasons": any_number(TEXT)}
_REASON = record({"code": TEXT, "message": TEXT, "remedy": TEXT, "field": or_null(TEXT)})
_STAGED = {
    "request": HEX32,
    "researcher": ADDRESS,
    "dataset": HEX32,
    "lane": LANE,
    "analysis": TEXT,
    "purpose": TEXT,
    "notice_until": or_null(WHOLE),
    "stage": TEXT,
    "reason": or_null(_REASON),
    "submitted_at": TEXT,
}
_CLASS = record(
    {
        "class": HEX32,
        "definition": HEX32,
        "terms": OBJECT,
        "in_words": any_number(TEXT),
        "live": WHOLE,
    }
)
_ERROR = {
    "half_width": DECIMAL,
    "holds": TEXT,
    "in_words": TEXT,
    "standard_error": DECIMAL,
    "tells_nothing": FLAG,
    "unit": TEXT,
}
_RECORD = record(
    {
        "commitment": HEX32,
        "pending": HEX32,
        "version": WHOLE,
        "pending_version": WHOLE,
        "erased": FLAG,
        "suspended": FLAG,
    }
)
_MODEL = {
    "model": HEX32,
    "title": TEXT,
    "kind": TEXT,
    "unit": TEXT,
    "variables": any_number(TEXT),
    "publisher": ADDRESS,
}
_OF_A_SCORE = {"request": HEX32, "model": HEX32, "record": or_null(HEX32)}
_REFUSED = {"code": TEXT, "detail": TEXT, "remedy": TEXT, "field": or_null(TEXT)}

SCHEMAS: Final[Schema] = {
    "Problem": record(
        {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
            "code": TEXT,
            "remedy": TEXT,
        },
        {"field": TEXT},
    ),
    "Front": record({"name": TEXT, "openapi": TEXT, "market": TEXT, "health": TEXT}),
    "Health": record(
        {
            **_READY,
            "custodians": any_number(record({"place": WHOLE, **_READY})),
            "gates": any_number(record({"address": ADDRESS, **_READY})),
        }
    ),
    "Live": record({"live": FLAG}),
    "Ready": record({"ready": FLAG}),
    "Market": record(
        {
            "chain_id": WHOLE,
            "manifest": OBJECT,
            "operator": ADDRESS,
            "fee": WHOLE,
            "bond_free": AMOUNT,
            "token_decimals": WHOLE,
            "token_symbol": TEXT,
        }
    ),
    "Committee": record(
        {
            "epoch": WHOLE,
            "quorum": WHOLE,
            "joint_key": or_null(POINT),
            "members": any_number(record({"place": WHOLE, "signer": ADDRESS, "key": HEX32})),
            "gates": any_number(ADDRESS),
        }
    ),
    "Catalogue": record(
        {
            "analyses": any_number(
                record(
                    {
                        "id": TEXT,
                        "lane": LANE,
                        "title": TEXT,
                        "asks": TEXT,
                        "tells": TEXT,
                        "hash": HEX32,
                        "release_kind": WHOLE,
                        "releases": TEXT,
                        "parameters": any_number(record({"name": TEXT, "means": TEXT})),
                        "example": OBJECT,
                    }
                )
            )
        }
    ),
    "Account": record({"address": ADDRESS, "balance": AMOUNT, "credit": AMOUNT, "bond": AMOUNT}),
    "Dataset": record(
        {
            "dataset": HEX32,
            "steward": ADDRESS,
            "dictionary_hash": HEX32,
            "uri": TEXT,
            "retired": FLAG,
            "dictionary": or_null(
                record(
                    {
                        "schema": TEXT,
                        "name": TEXT,
                        "version": WHOLE,
                        "variables": any_number(OBJECT),
                    },
                    {"encoding": OBJECT},
                )
            ),
            "classes": any_number(_CLASS),
        }
    ),
    "Datasets": record({"datasets": any_number(ref("Dataset"))}),
    "Consent": record(
        {
            "state": TEXT,
            "class": HEX32,
            "class_index": WHOLE,
            "sequence": WHOLE,
            "expiry": WHOLE,
            "cap": WHOLE,
            "spent": WHOLE,
            "owed": AMOUNT,
            "record": _RECORD,
            "guardian": or_null(record({"address": ADDRESS, "expiry": WHOLE, "may_grant": FLAG})),
        }
    ),
    "KeptPage": record({"terms_hash": HEX32}),
    "ClassPage": record({"terms_hash": HEX32, "page": OBJECT}),
    "KeptDictionary": record({"dictionary_hash": HEX32}),
    "Quote": record(
        {
            "lane": LANE,
            "analysis_hash": HEX32,
            "parameters_hash": HEX32,
            "release_kind": WHOLE,
            "live": WHOLE,
            "members_assumed": WHOLE,
            "cost_nano_rho": WHOLE,
            "highest_cost_nano_rho": WHOLE,
            "refusal": or_null(_REASON),
            "epsilon": record({"epsilon": DECIMAL, "delta": DECIMAL}),
            "odds": record(
                {"by_chance": DECIMAL, "right_at_most": DECIMAL, "delta": DECIMAL, "in_words": TEXT}
            ),
            "minimum_cohort": WHOLE,
            "expected_error": record(_ERROR),
            "expected_error_of_a_tenth": or_null(record({**_ERROR, "members": WHOLE})),
            "tally": or_null(
                record(
                    {
                        "sums": WHOLE,
                        "custodians": WHOLE,
                        "quorum": WHOLE,
                        "inflation": DECIMAL,
                        "inflation_of_quorum": DECIMAL,
                        "expected_error_of_quorum": record(_ERROR),
                    }
                )
            ),
            "price_per_member": WHOLE,
            "fee": WHOLE,
            "max_patients": WHOLE,
            "escrow": AMOUNT,
            "token_decimals": WHOLE,
            "token_symbol": TEXT,
            "in_words": any_number(TEXT),
        }
    ),
    "RecordOutcomes": record(
        {
            "outcomes": any_number(
                record({"patient": or_null(ADDRESS), "outcome": TEXT}, dict(_REFUSED))
            )
        }
    ),
    "MessageOutcomes": record(
        {
            "outcomes": any_number(
                record({"kind": or_null(TEXT), "outcome": TEXT}, {**_REFUSED, "transaction": HEX32})
            )
        }
    ),
    "Taken": record({"request": HEX32}),
    "Summary": record(_STAGED),
    "Requests": record({"requests": any_number(ref("Summary"))}),
    "PublicRequests": record(
        {"requests": any_number(ref("PublicRequest")), "before": or_null(PLACE)}
    ),
    "PublicRequest": record(
        {
            "request": HEX32,
            "researcher": ADDRESS,
            "purpose": TEXT,
            "dataset": HEX32,
            "classes": any_number(WHOLE),
            "lane": LANE,
            "analysis": or_null(TEXT),
            "analysis_hash": HEX32,
            "cost_nano_rho": WHOLE,
            "epsilon": record({"epsilon": DECIMAL, "delta": DECIMAL}),
            "price": WHOLE,
            "max_patients": WHOLE,
            "cohort_size": or_null(WHOLE),
            "chain_stage": TEXT,
            "stage": or_null(TEXT),
            "opened_at": WHOLE,
            "notice_until": WHOLE,
            "seal_deadline": WHOLE,
            "settle_deadline": WHOLE,
            "place": TEXT,
        }
    ),
    "Request": record(
        {
            **_STAGED,
            "waiting": or_null(
                record({"code": TEXT, "message": TEXT, "remedy": TEXT}, {"until": WHOLE})
            ),
            "at_work": or_null(record({"message": TEXT, "since": WHOLE, "seconds": WHOLE})),
            "chain_stage": TEXT,
            "cohort_size": or_null(WHOLE),
            "result_hash": or_null(HEX32),
            "parameters": OBJECT,
            "terms": OBJECT,
            "stages": any_number(
                record({"before": or_null(TEXT), "after": TEXT, "because": TEXT, "at": TEXT})
            ),
        }
    ),
    "Receipt": OBJECT,
    "KeptModel": record({"model": HEX32}),
    "Models": record({"models": any_number(record(_MODEL))}),
    "Model": record({**_MODEL, "document": OBJECT}),
    "KeptScoreRecord": record({"record": HEX32}),
    "Scores": record(
        {
            "record": or_null(HEX32),
            "scores": any_number(
                record({**_OF_A_SCORE, "state": TEXT, "title": TEXT}),
            ),
        }
    ),
    "Score": record({**_OF_A_SCORE, "score": BASE64}),
}
"""By the name under which the description refers to them."""
