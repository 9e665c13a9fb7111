"""Vectors of receipts: one of each lane that holds, every value of it changed, in another spelling or left
out; and whole receipts whose parts agree on a lie.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path as File
from typing import Any

from eth_account import Account
from eth_utils.crypto import keccak

from marketplace.receipts.checks import ALONE, noise_of, opened
from marketplace.receipts.format import Receipt, load
from marketplace.receipts.tally_checks import aggregate, noised_of, session_of
from marketplace.wire.canonical import canonical
from marketplace.wire.delivery import SCHEMA, Opened, result_hash
from marketplace.wire.eip712 import sign
from marketplace.wire.structs import Settlement, market_domain
from marketplace.wire.tallying import result_hash as sums_hash
from tests.support.mutations import Path, at, leaves, nudged, objects, with_value
from tests.unit.test_receipts import sample_cohort
from tests.vectors.tagging import hexed, outcome, seeded

FOLDER = File(__file__).parent
GOOD: dict[str, Any] = json.loads((FOLDER / "receipt.json").read_text())["receipt"]
TALLIED: dict[str, Any] = json.loads((FOLDER / "receipt_tally.json").read_text())["receipt"]
SALT = seeded("receipt salt")
CUSTODIANS = [keccak(text=f"custodian {i}") for i in range(3)]


def vectors() -> dict[str, Any]:
    return {
        "receipt": GOOD,
        "changes": [_change(GOOD, *each) for each in (*_nudges(GOOD), *_spellings())],
        "tallied": [_change(TALLIED, *each) for each in (*_nudges(TALLIED), *_tally_spellings())],
        "lies": [{"set": lie, **outcome(partial(_checked, TALLIED | lie))} for lie in _lies()],
        "results": [_result(document) for document in _results()],
    }


def _nudges(good: dict[str, Any]) -> list[tuple[Path, Any]]:
    nudges = [(path, nudged(at(good, path))) for path in leaves(good)]
    nulls = [(path, None) for path in leaves(good)]
    more = [((*path, "more"), 1) for path in objects(good)]
    return [*nudges, *nulls, *more]


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


def _tally_spellings() -> list[tuple[Path, Any]]:
    tally = TALLIED["tally"]
    place, digest = tally["commitments"][0]
    more = [[i, hexed(seeded(f"commitment {i}"))] for i in range(3, 17)]
    return [
        *((("tally",), each) for each in (None, [], "x", {}, {"places": [0]})),
        *((("tally", "places"), each) for each in _NO_PLACES),
        *((("tally", "commitments"), each) for each in ("0", {}, [], tally["commitments"][::-1])),
        (("tally", "commitments"), [*tally["commitments"], more[0]]),
        (("tally", "commitments"), [*tally["commitments"], *more]),
        *((("tally", "commitments", 0), each) for each in (place, [place], [place, digest, 0])),
        (("tally", "commitments", 0, 1), digest[:-2]),
        *(
            (("tally", name, "block"), each)
            for name in ("committed", "fixed")
            for each in _NO_BLOCKS
        ),
        *((("tally", "joint_key"), each) for each in ("0x" + "00" * 33 * 17, "00", "0x0")),
        *((("tally", "noised"), each) for each in (tally["noised"] + "\n", "AA", 5)),
        *((("tally", "partials"), each) for each in (tally["partials"][::-1], {}, [0])),
        *((("tally", "partials", 0, "place"), each) for each in (16, "0", -1)),
        *((("committee", "quorum"), each) for each in (0, 1, 3, 4, 256)),
        (("committee", "signers"), [TALLIED["committee"]["signers"][0]] * 3),
        (("signatures",), []),
        (("schema",), "usufruct-receipt/1"),
        (("schema",), "usufruct-receipt/3"),
    ]


_NO_PLACES: list[Any] = [
    *([], [1, 0], [0, 0], [-1], [16], ["0"], [True], [1.5], "0", {}, None, [0], [0, 2], [0, 1]),
    *([0, 1, 2, 3], list(range(17))),
]
_NO_BLOCKS: list[Any] = [-1, 2**53, "13", 1.5, True]


def _lies() -> list[dict[str, Any]]:
    """As if an operator had had them signed by a committee of its own: hashes and signatures are right."""
    tally, signers = TALLIED["tally"], TALLIED["committee"]["signers"]
    more = [*tally["commitments"], [3, hexed(seeded("commitment 3"))]]
    return [
        _lie({}),
        _lie({"places": [0, 2]}),  # says nothing wrong: this is the chain's to tell
        *(_lie({"places": each}) for each in ([], [1], [0, 1, 2, 3])),
        _lie({"places": [0, 1, 2, 3], "commitments": more}),
        _lie({"commitments": more}),
        _lie({"commitments": tally["commitments"][:2]}),
        *(_lie({}, quorum, range(quorum)) for quorum in (0, 1, 3)),
        _lie({}, 4, range(3)),
        _lie({}, 2, [0, 1], [signers[0], signers[0], signers[2]], [0, 0]),
        _lie({}, 1, [0], signers[:1], [0]),
        _for_nothing(),
    ]


def _for_nothing() -> dict[str, Any]:
    """Asked at no privacy cost, which no contract opens: its noise would be without bound."""
    old = load(canonical(TALLIED))
    terms, at = replace(old.terms, cost=0), old.deployment
    request = terms.request_id(at.chain_id, at.market, old.researcher)
    cohort = sample_cohort(at, request, old.steps["sealed"])
    asked = replace(old, terms=terms, cost=0, request=request, cohort=cohort)
    settled = replace(asked.settlement, request=request, root=cohort.root, noise=noise_of(asked))
    settlement = _of_sums(replace(asked, settlement=settled))
    signed = tuple((i, sign(settlement, _DOMAIN, CUSTODIANS[i])) for i in (0, 2))
    document = replace(asked, settlement=settlement, signatures=signed).to_json()
    return {name: each for name, each in document.items() if each != TALLIED[name]}


def _lie(
    changes: dict[str, Any],
    quorum: int = 2,
    signing: Iterable[int] = (0, 2),
    signers: list[str] | None = None,
    keys: Sequence[int] = (0, 1, 2),
) -> dict[str, Any]:
    named = TALLIED["committee"] | {"quorum": quorum} | ({"signers": signers} if signers else {})
    lying = {"committee": named, "tally": TALLIED["tally"] | changes}
    read = load(canonical(TALLIED | lying))
    settlement = _of_sums(replace(read, settlement=replace(read.settlement, noise=noise_of(read))))
    signatures = [
        {"place": i, "signature": hexed(sign(settlement, _DOMAIN, CUSTODIANS[keys[i]]))}
        for i in signing
    ]
    return lying | {"settlement": settlement.to_json(), "signatures": signatures}


def _of_sums(receipt: Receipt) -> Settlement:
    """Its settlement, for these noised sums with this noise."""
    signed = receipt.settlement
    sums = session_of(receipt).aggregate(signed.ciphertext_root, signed.noise, noised_of(receipt))
    return replace(signed, result_hash=sums_hash(sums))


_DOMAIN = market_domain(TALLIED["chain_id"], TALLIED["contracts"]["ResearchMarket"]["address"])


def _change(good: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """Of what no hash inside covers, a change is another receipt: `value` is null then, not refused."""
    changed = with_value(good, path, value)
    return {"path": path, "to": value, **outcome(partial(_checked, changed))}


def _checked(document: Any) -> None:
    receipt = load(
        json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )
    for check in ALONE if receipt.tally is None else (*ALONE, aggregate):
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
if not GOOD["committee"]["signers"] == TALLIED["committee"]["signers"] == SIGNERS:
    raise AssertionError("the receipt's custodians have other keys")
