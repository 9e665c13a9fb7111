"""Vectors of signing: what wallets are shown, messages as they travel, and what is none of them."""

from __future__ import annotations

import json
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from eth_account import Account

from marketplace.chain.sender import call_data
from marketplace.client import messages as client
from marketplace.wire.eip712 import (
    CONSENT_REGISTRY,
    HALF_ORDER,
    VERSION,
    SignedStruct,
    recover,
    sign,
)
from marketplace.wire.messages import KINDS, parse_message
from marketplace.wire.opening import IssuerDesk
from marketplace.wire.solidity import SolidityStruct
from marketplace.wire.structs import (
    MESSAGES,
    ClassTerms,
    Credential,
    CreditWithdrawal,
    Domain,
    EarningsWithdrawal,
    Erasure,
    Grant,
    Guardianship,
    Purpose,
    RequestTerms,
    Rest,
    Revocation,
    Rotation,
    Wake,
)
from tests.vectors.generate_structs import make
from tests.vectors.tagging import hexed, outcome, seeded, tag

SPOILT: tuple[type[SolidityStruct], ...] = (Grant, RequestTerms, Guardianship)
KEY, OTHER = seeded("patient key"), seeded("guardian key")
CHAIN = 31337
SIGNED: tuple[type[SignedStruct], ...] = (*MESSAGES, IssuerDesk)
PLAIN: tuple[type[SolidityStruct], ...] = (ClassTerms, Purpose, Credential, RequestTerms)
CONTRACTS = {
    name: Account.from_key(seeded(name)).address
    for name in ("ConsentRegistry", "DatasetRegistry", "ResearchMarket")
}
NOW = 1_790_000_000
RANDOM = seeded("random")
NONCE = int.from_bytes(RANDOM, "big")
REACH = client.REVOCATION_REACH + (int.from_bytes(RANDOM[:3], "big") & client.REVOCATION_SPREAD - 1)
DATASET = seeded("dataset", 30) + bytes(2)
CLASS = DATASET[:30] + b"\x00\x07"
ORDER = 2 * HALF_ORDER + 1


class _Signing(client.Messages):
    @property
    def manifest(self) -> Any:
        domains = {
            name: Domain(f"Usufruct {name}", VERSION, CHAIN, at) for name, at in CONTRACTS.items()
        }
        return SimpleNamespace(domain=domains.__getitem__)


def vectors() -> dict[str, Any]:
    return {
        "messages": [_message(*each) for each in _listed()],
        "setting": _setting(),
        "typed": [_typed(each) for each in SIGNED],
        "json": [_json(each) for each in (*SIGNED, *PLAIN)],
        "bases": {each.__name__: make(each, "bad").to_json() for each in SPOILT},
        "bad_json": [case for struct in SPOILT for case in _bad_json(struct)],
        "bad_signatures": _bad_signatures(),
        "bad_messages": _bad_messages(),
    }


def _setting() -> dict[str, Any]:
    return {
        "key": hexed(KEY),
        "other": hexed(OTHER),
        "account": Account.from_key(KEY).address,
        "guardian": Account.from_key(OTHER).address,
        "deployment": {"chainId": CHAIN, "contracts": CONTRACTS},
        "now": NOW,
        "random": hexed(RANDOM),
        "dataset": hexed(DATASET),
        "class": hexed(CLASS),
        "definition": hexed(seeded("definition")),
    }


def _listed() -> list[tuple[str, list[Any], str, SignedStruct, bytes]]:
    """What the browser is asked (method, arguments), what kind and struct it makes, and whose key signs."""
    me, guardian = Account.from_key(KEY).address, Account.from_key(OTHER).address
    until = NOW + client.MESSAGE_LIFE
    granted = {"cap": {"n": str(2**56 - 1)}, "expiry": NOW + 5, "sequence": 3}
    grant = partial(
        Grant,
        dataset=DATASET,
        class_=CLASS,
        definition=seeded("definition"),
        cap=2**56 - 1,
        expiry=NOW + 5,
        sequence=3,
        deadline=until,
    )
    zero = "0x" + "00" * 20
    return [
        ("grant", [granted], "grant", grant(patient=me), KEY),
        ("grant", [granted | {"patient": me}], "grant", grant(patient=me), OTHER),
        ("revocation", [2], "revocation", Revocation(me, DATASET, 2 + REACH), KEY),
        ("revocation", [0], "revocation", Revocation(me, DATASET, REACH), KEY),
        ("revocation", [2, me], "revocation", Revocation(me, DATASET, 3), OTHER),
        ("rest", [2], "rest", Rest(me, DATASET, 2, NONCE, until), KEY),
        ("wake", [2, me], "wake", Wake(me, DATASET, 2, NONCE, until), OTHER),
        (
            "guardianship",
            [guardian, NOW + 9, True],
            "guardianship",
            Guardianship(me, DATASET, guardian, NOW + 9, True, NONCE, until),
            KEY,
        ),
        (
            "dismissal",
            [],
            "guardianship",
            Guardianship(me, DATASET, zero, 0, False, NONCE, until),
            KEY,
        ),
        ("erasure", [4], "erasure", Erasure(me, DATASET, 4), KEY),
        ("rotation", [], "rotation", Rotation(DATASET, me, guardian, until), KEY),
        (
            "withdrawal",
            [guardian],
            "earnings_withdrawal",
            EarningsWithdrawal(me, DATASET, guardian, NONCE, until),
            KEY,
        ),
        (
            "credit",
            [guardian],
            "credit_withdrawal",
            CreditWithdrawal(me, guardian, NONCE, until),
            KEY,
        ),
    ]


def _message(
    method: str, arguments: list[Any], kind: str, struct: SignedStruct, key: bytes
) -> dict[str, Any]:
    signing = _Signing()
    envelope = signing.message(kind, struct, key)
    if isinstance(struct, Rotation):
        by_other = sign(struct, signing.manifest.domain("ConsentRegistry"), OTHER)
        envelope = envelope | {"signature_to": hexed(by_other)}
    function, values = parse_message(json.loads(json.dumps(envelope)), "message").call()
    return {
        "method": method,
        "arguments": arguments,
        "by": "guardian" if key == OTHER else "account",
        "envelope": envelope,
        "contract": KINDS[kind].contract,
        "data": hexed(call_data(KINDS[kind].contract, function, *values)),
    }


def _domain(struct: type[SignedStruct]) -> Domain:
    return Domain(
        struct.DOMAIN or "Usufruct Test Euro", VERSION, CHAIN, CONTRACTS["ResearchMarket"]
    )


def _typed(struct: type[SignedStruct]) -> dict[str, Any]:
    """What a wallet is shown."""
    made = cast(SignedStruct, make(struct, struct.__name__))
    return {
        "struct": struct.__name__,
        "domain": _domain(struct).to_json(),
        "message": made.to_json(),
        "type_string": struct.type_string(),
        "typed_data": made.typed_data(_domain(struct)),
        "digest": hexed(made.digest(_domain(struct))),
    }


def _json(struct: type[SolidityStruct]) -> dict[str, Any]:
    made = make(struct, struct.__name__ + " json")
    return {
        "struct": struct.__name__,
        "json": made.to_json(),
        "abi": tag(made.abi_tuple()),
        "type": struct.abi_type(),
    }


def _bad_json(struct: type[SolidityStruct]) -> list[dict[str, Any]]:
    """Changes of one document: what it is set to, what it lacks, or what stands in its place."""
    good = make(struct, "bad").to_json()
    changes: list[dict[str, Any]] = [{"whole": each} for each in (5, None, [])]
    changes += [{"set": {name: 1}} for name in ("extra", "__proto__x")]
    for name, value in good.items():
        changes.append({"without": name})
        changes += [{"set": {name: other}} for other in _others(value)]
    return [
        {"struct": struct.__name__, **each, **outcome(partial(_read, struct, _changed(good, each)))}
        for each in changes
    ]


def _changed(good: dict[str, Any], change: dict[str, Any]) -> Any:
    if "whole" in change:
        return change["whole"]
    kept = {name: value for name, value in good.items() if name != change.get("without")}
    return kept | change.get("set", {})


def _read(struct: type[SolidityStruct], document: Any) -> None:
    struct.from_json(document)


def _others(value: Any) -> list[Any]:
    """What is not the value's own form, or not in its range; and some that are."""
    shared = [None, True, -1, "", [], {}, "0x", "0xAB", 2**48, "01", "1e3", "-1", str(2**256)]
    if isinstance(value, str) and value.startswith("0x"):
        return [*shared, value.upper(), value[:-1], value + "00", value[:-2] + "zz", value.lower()]
    if isinstance(value, list):
        return [*shared, [*value, None], [*value, "0x00"], [2**32]]
    if isinstance(value, str):
        return [*shared, value + "0" * 60, " " + value]
    return [*shared, 2**32, 1.5]


def _bad_signatures() -> list[dict[str, Any]]:
    struct, domain = make(Grant, "signed"), _domain(Grant)
    good = sign(struct, domain, KEY)
    s = int.from_bytes(good[32:64], "big")
    twin = good[:32] + (ORDER - s).to_bytes(32, "big") + bytes([good[64] ^ 7])
    changed = bytes([good[0] ^ 1]) + good[1:]
    listed = [
        *(good, twin, good[:64], good + b"\x00", b"", good[:64] + b"\x00", good[:64] + b"\x1d"),
        *(
            bytes(64) + b"\x1b",
            b"\xff" * 32 + good[32:],
            bytes(32) + good[32:],
            good[:32] + bytes(32) + good[64:],
        ),
        *(changed, good[:64] + bytes([good[64] ^ 7])),
    ]
    return [
        {
            "message": struct.to_json(),
            "domain": domain.to_json(),
            "signature": hexed(each),
            **outcome(partial(recover, struct, domain, each)),
        }
        for each in listed
    ] + [
        {
            "message": struct.to_json(),
            "domain": other.to_json(),
            "signature": hexed(good),
            **outcome(partial(recover, struct, other, good)),
        }
        for other in (
            Domain(CONSENT_REGISTRY, "2", CHAIN, CONTRACTS["ConsentRegistry"]),
            Domain("Usufruct DatasetRegistry", "1", CHAIN, CONTRACTS["ConsentRegistry"]),
            Domain(CONSENT_REGISTRY, "1", CHAIN + 1, CONTRACTS["ConsentRegistry"]),
        )
    ]


def _bad_messages() -> list[dict[str, Any]]:
    good = _Signing().message("rest", make(Rest, "envelope"), KEY)
    spoilt = [
        *(good | {"kind": "settlement"}, good | {"signature": None}),
        *(
            good | {"signature": "0x" + "00" * 4_097},
            good | {"signer": None},
            good | {"signer": "0x12"},
        ),
        *(
            {**good, "message": {}},
            {name: value for name, value in good.items() if name != "signer"},
        ),
    ]
    return [{"envelope": each, **_alone(outcome(partial(_parsed, each)))} for each in spoilt]


def _alone(found: dict[str, Any]) -> dict[str, Any]:
    """A refusal of a message in a list names its place there; the browser has no list."""
    refused = found["refused"]
    return {"refused": refused | {"field": refused["field"].removeprefix("message.")}}


def _parsed(envelope: dict[str, Any]) -> None:
    parse_message(json.loads(json.dumps(envelope)), "message")
