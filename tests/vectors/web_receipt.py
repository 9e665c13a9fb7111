"""Vectors of receipts: one that holds, and every value of it changed, in another spelling or left out."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path as File
from typing import Any

from eth_account import Account
from eth_utils.crypto import keccak

from marketplace.receipts.checks import ALONE, opened
from marketplace.receipts.format import load
from marketplace.wire.canonical import canonical
from marketplace.wire.delivery import SCHEMA, Opened, result_hash
from marketplace.wire.eip712 import sign
from marketplace.wire.structs import Settlement, market_domain
from tests.support.mutations import Path, at, leaves, nudged, objects, with_value
from tests.vectors.tagging import hexed, outcome, seeded

GOOD: dict[str, Any] = json.loads((File(__file__).parent / "receipt.json").read_text())["receipt"]
SALT = seeded("receipt salt")
CUSTODIANS = [keccak(text=f"custodian {i}") for i in range(3)]


def vectors() -> dict[str, Any]:
    return {
        "receipt": GOOD,
        "changes": [_change(path, value) for path, value in _changes()],
        "results": [_result(document) for document in _results()],
    }


def _changes() -> list[tuple[Path, Any]]:
    nudges = [(path, nudged(at(GOOD, path))) for path in leaves(GOOD)]
    nulls = [(path, None) for path in leaves(GOOD)]
    more = [((*path, "more"), 1) for path in objects(GOOD)]
    return [*nudges, *nulls, *more, *_spellings()]


def _spellings() -> list[tuple[Path, Any]]:
    first = GOOD["signatures"][0]
    raw = bytes.fromhex(first["signature"][2:])
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    twin = raw[:32] + (order - int.from_bytes(raw[32:64], "big")).to_bytes(32, "big")
    return [
        (("request",), GOOD["request"].upper().replace("0X", "0x")),
        (("request",), GOOD["request"][2:]),
        (("researcher",), GOOD["researcher"].lower()),
        (("settlement", "gate"), GOOD["settlement"]["gate"].lower()),
        *((("cost",), each) for each in ("01000000", 1_000_000, "1_000_000", "9" * 30, "-1", "")),
        *((("chain_id",), each) for each in (True, -1, 2**53, "31337", 31337.5)),
        (("epoch",), 1 << 32),
        (("sealed_result",), GOOD["sealed_result"] + "\n"),
        (("signatures", 0, "signature"), "0x" + "00" * 66),
        (("signatures", 0, "signature"), hexed(twin + bytes([55 - raw[64]]))),
        (("signatures",), [first] * 2),
        (("signatures",), [first] * 17),
        (("signatures",), [first]),
        (("signatures",), GOOD["signatures"][::-1]),
        (("signatures", 1, "place"), 3),
        (("cohort", "shards", 0, "class"), 0),
        (("cohort", "shards", 0, "bitmaps"), "AAAA"),
        (("cohort", "shards", 0, "bitmaps"), "AA"),
        (("cohort", "shards"), {}),
        (("cohort", "shards"), []),
        (("contracts",), []),
        (("contracts",), {"TestEuro": GOOD["contracts"]["TestEuro"]}),
        (("committee",), None),
        (("committee", "quorum"), 3),
        (("parameters",), "\u00e4"),
        (("analysis",), "a" * 65_537),
        (("terms", "price"), 5),
        (("terms", "classes"), [2, 1]),
    ]


def _change(path: Path, value: Any) -> dict[str, Any]:
    """Of what no hash inside covers, a change is another receipt: `value` is null then, not refused."""
    changed = with_value(GOOD, path, value)
    return {"path": path, "to": value, **outcome(partial(_checked, changed))}


def _checked(document: Any) -> None:
    receipt = load(
        json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )
    for check in ALONE:
        check(receipt)


def _results() -> list[Any]:
    good: dict[str, Any] = {
        "schema": SCHEMA,
        "request": GOOD["request"],
        "analysis": GOOD["analysis"],
        "parameters": json.loads(GOOD["parameters"]),
        "cohort_size": GOOD["cohort"]["members"],
        "noised": {"cost_nano_rho": int(GOOD["cost"])},
    }
    return [
        good,
        *(good | {name: "x"} for name in good),
        *(good | {"noised": {"cost_nano_rho": each}} for each in (0, -1, True, "1", None, 1)),
        good | {"noised": {"cost_nano_rho": int(GOOD["cost"]) + 1}},
        good | {"parameters": {**good["parameters"], "more": 1}},
        good | {"cohort_size": True},
        {name: value for name, value in good.items() if name != "parameters"},
    ]


def _result(document: dict[str, Any]) -> dict[str, Any]:
    """A result, signed for by the custodians as if it were right."""
    raw = canonical(document)
    settlement = Settlement.from_json(
        GOOD["settlement"] | {"resultHash": hexed(result_hash(SALT, raw))}
    )
    domain = market_domain(GOOD["chain_id"], GOOD["contracts"]["ResearchMarket"]["address"])
    receipt = GOOD | {
        "settlement": settlement.to_json(),
        "signatures": [
            {"place": i, "signature": hexed(sign(settlement, domain, CUSTODIANS[i]))}
            for i in (0, 2)
        ],
    }
    found = outcome(lambda: opened(load(canonical(receipt)), Opened(SALT, raw, document)))
    set_to = {name: receipt[name] for name in ("settlement", "signatures")}
    return {"set": set_to, "salt": hexed(SALT), "result": raw.decode(), **found}


SIGNERS = [Account.from_key(each).address for each in CUSTODIANS]
if GOOD["committee"]["signers"] != SIGNERS:
    raise AssertionError("the receipt's custodians have other keys")
