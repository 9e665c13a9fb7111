"""Vectors of sealing: dictionaries, rows, key shares, envelopes, records with what was drawn for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from marketplace.fhir.demo import demo_dictionary
from marketplace.sealing.row import Value, to_row
from marketplace.vocabulary import (
    DatasetId,
    DictionaryHash,
    Epoch,
    address,
    patient_address,
)
from marketplace.wire import dictionary, feldman, hpke, record
from tests.vectors import generate
from tests.vectors.tagging import hexed, outcome, seeded, tag

SMALL: dict[str, Any] = {
    "schema": dictionary.SCHEMA,
    "name": "small",
    "version": 1,
    "variables": [
        {
            "name": "weight",
            "kind": "number",
            "label": "Body weight",
            "code": {"system": "http://loinc.org", "code": "29463-7"},
            "unit": "kg",
            "lower": "-5.0",
            "upper": "80.5",
            "decimals": 1,
        },
        {
            "name": "smoker",
            "kind": "category",
            "label": "Raucht \u2013 \U0001f6ac",
            "code": {"system": "http://snomed.info/sct", "code": "365981007"},
            "categories": ["never", "fr\u00fcher", "\u73fe\u5728"],
        },
    ],
}
WEIGHT, SMOKER = "variables.0.", "variables.1."
GOOD: dict[str, Any] = {
    "version": 2**53,
    WEIGHT + "label": "\U0001f600" * 200,
    WEIGHT + "lower": "-0",
    WEIGHT + "lower ": "0.00",
    WEIGHT + "upper": "109951162777.6",
    WEIGHT + "decimals": 9,
    WEIGHT + "name": "a" * 40,
    SMOKER + "categories": [f"c{i}" for i in range(64)],
    SMOKER + "categories ": ["x", "\U0001f600"],
}
BAD: dict[str, Any] = {
    "schema": "usufruct-dictionary/2",
    "name": "Small",
    "name ": "a" * 41,
    "version": 0,
    "version ": True,
    "version  ": "1",
    "variables": [],
    "variables ": [SMALL["variables"][0]] * 2,
    "variables  ": [SMALL["variables"][0]] * 65,
    "extra": 1,
    "variables.0": 5,
    WEIGHT + "kind": "text",
    WEIGHT + "name": "1a",
    WEIGHT + "label": "",
    WEIGHT + "label ": "\U0001f600" * 201,
    WEIGHT + "unit": 5,
    WEIGHT + "categories": [],
    WEIGHT + "code": {"system": "s"},
    WEIGHT + "code ": {"code,system": "s"},
    WEIGHT + "code.code": "",
    WEIGHT + "decimals": 10,
    WEIGHT + "decimals ": -1,
    WEIGHT + "decimals  ": True,
    WEIGHT + "lower": "1e3",
    WEIGHT + "lower ": "01",
    WEIGHT + "lower  ": 5,
    WEIGHT + "lower   ": "0.05",
    WEIGHT + "lower    ": "80.5",
    WEIGHT + "upper": "109951162777.7",
    WEIGHT + "upper ": "80.5\n",
    SMOKER + "categories": ["one"],
    SMOKER + "categories ": ["a", "a"],
    SMOKER + "categories  ": ["a", ""],
    SMOKER + "categories   ": [f"c{i}" for i in range(65)],
}
ROWS: tuple[list[int | None], ...] = (
    *([None, None], [-50, 0], [805, 2], [0, None], [None, 1]),
    *([806, 0], [-51, 0], [0, 3], [0, -1], [0], [0, 0, 0]),
)
VALUES: tuple[dict[str, Value], ...] = (
    {},
    {"weight": Decimal("70.5"), "smoker": "fr\u00fcher"},
    {"weight": Decimal("7.05E1"), "smoker": None},
    {"weight": Decimal("-5.000")},
    {"weight": Decimal("-0")},
    {"weight": Decimal("70.55")},
    {"weight": Decimal("70.5000000000000000000000000000001")},
    {"weight": Decimal("80.5")},
    {"weight": Decimal("80.500000001")},
    {"weight": Decimal("80.6")},
    {"weight": Decimal("-5.1")},
    {"weight": Decimal("1e9999")},
    {"weight": "70.5"},
    {"smoker": Decimal(1)},
    {"smoker": "Never"},
    {"smoker": ""},
    {"\uff5e": None, "\U0001f600": None},
    {"height": Decimal(1)},
)


def changed(path: str, value: Any) -> Any:
    """SMALL with another value at a dotted path; spaces at its end only tell two changes apart."""
    document = json.loads(json.dumps(SMALL))
    *steps, last = path.strip().split(".")
    place = document
    for step in steps:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value
    return document


def vectors() -> dict[str, Any]:
    documents = [SMALL, json.loads(demo_dictionary().to_bytes())]
    documents += [changed(path, value) for path, value in GOOD.items()]
    small = dictionary.from_json(SMALL)
    return {
        "dictionaries": [_dictionary(each) for each in documents],
        "bad_dictionaries": [
            {"document": each, **outcome(partial(dictionary.load, json.dumps(each).encode()))}
            for each in (*(changed(path, value) for path, value in BAD.items()), [], 5)
        ],
        "small": SMALL,
        "rows": [_row(small, each) for each in ROWS],
        "bad_rows": [_bad_row(small, each) for each in _damaged(small)],
        "values": [
            {"values": tag(each)["o"], **outcome(partial(to_row, small, each))} for each in VALUES
        ],
        "dealings": [_dealing(quorum) for quorum in range(1, feldman.MOST_CUSTODIANS + 1)],
        "bad_dealings": [_bad_dealing(*each) for each in ((0, 3), (3, 2), (2, 17))],
        "envelopes": [_envelope(size) for size in (0, 1, 32, 171, 5000)],
        "low_order": [hexed(bytes(32)), hexed(b"\x01" + bytes(31)), LOW_ORDER],
        "records": [
            _record(quorum, custodians) for quorum, custodians in ((1, 1), (2, 3), (9, 16))
        ],
        "documents": _documents(),
    }


LOW_ORDER = "0xe0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"
"""A point of order 8 (D. J. Bernstein, https://cr.yp.to/ecdh.html)."""


def _dictionary(document: Any) -> dict[str, Any]:
    read = dictionary.load(json.dumps(document).encode())
    return {"document": document, "bytes": hexed(read.to_bytes()), "hash": hexed(read.hash())}


def _row(small: dictionary.Dictionary, row: list[int | None]) -> dict[str, Any]:
    return {"row": row, **outcome(partial(dictionary.encode_row, small, row))}


def _bad_row(small: dictionary.Dictionary, plaintext: bytes) -> dict[str, Any]:
    return {
        "plaintext": hexed(plaintext),
        **outcome(partial(dictionary.decode_row, small, plaintext)),
    }


def _damaged(small: dictionary.Dictionary) -> list[bytes]:
    good = dictionary.encode_row(small, [805, 2])
    return [
        *(b"", good[:-1], good + b"\x00", b"\x02" + good[1:], good[:1] + b"\x02" + good[2:]),
        *(good[:1] + b"\x00" + good[2:], good[:-1] + b"\x03", good[:2] + b"\xff" * 8 + good[10:]),
    ]


def _scalar(name: str) -> int:
    return int.from_bytes(seeded(name), "big") % (feldman.ORDER - 1) + 1


def _dealing(quorum: int) -> dict[str, Any]:
    coefficients = [_scalar(f"deal.{quorum}.{j}") for j in range(quorum)]
    custodians = feldman.MOST_CUSTODIANS
    dealt = feldman.deal(coefficients, custodians)
    return {
        "coefficients": [str(each) for each in coefficients],
        "custodians": custodians,
        "commitments": [hexed(each) for each in dealt.commitments],
        "shares": [str(each.value) for each in dealt.shares],
    }


def _bad_dealing(quorum: int, custodians: int) -> dict[str, Any]:
    coefficients = [_scalar(f"bad.{j}") for j in range(quorum)]
    refused = outcome(lambda: feldman.deal(coefficients, custodians) and None)
    return {
        "coefficients": [str(each) for each in coefficients],
        "custodians": custodians,
        **refused,
    }


def _envelope(size: int) -> dict[str, Any]:
    plaintext, ephemeral = seeded(f"text.{size}", size), seeded(f"ephemeral.{size}")
    secret, info = seeded(f"secret.{size}"), seeded(f"info.{size}", size)
    envelope = generate.hpke_seal(plaintext, generate.public(secret), info, ephemeral)
    opened = hpke.open_envelope(envelope, hpke.SecretKey(secret), info)
    if opened != plaintext:
        raise AssertionError("the product does not open what it should")
    return {
        "plaintext": hexed(plaintext),
        "ephemeral": hexed(ephemeral),
        "secret": hexed(secret),
        "public": hexed(generate.public(secret)),
        "info": hexed(info),
        "envelope": hexed(envelope),
    }


def _context(read: dictionary.Dictionary) -> record.RecordContext:
    return record.RecordContext(
        chain_id=31337,
        registry=address("0x" + seeded("registry", 20).hex()),
        dataset=DatasetId(seeded("dataset", 30) + bytes(2)),
        patient=patient_address("0x" + seeded("patient", 20).hex()),
        dictionary_hash=DictionaryHash(read.hash()),
        record_version=3,
    )


def _record(quorum: int, custodians: int) -> dict[str, Any]:
    """One sealing with nothing left to chance, and the document that it makes."""
    read = dictionary.from_json(SMALL)
    where = _context(read)
    row = to_row(read, VALUES[1])
    coefficients = [_scalar(f"record.{quorum}.{j}") for j in range(quorum)]
    nonce = seeded(f"nonce.{quorum}", record.NONCE_BYTES)
    dealt = feldman.deal(coefficients, custodians)
    box = record.close_box(coefficients[0], where, dictionary.encode_row(read, row), nonce=nonce)
    leaf = record.record_leaf(where, box, dealt.commitments)
    commitment = record.record_commitment(where.record_version, [leaf])
    shares = []
    for share in dealt.shares:
        info = record.share_info(where, commitment, Epoch(5), share.index)
        to = generate.public(seeded(f"custodian.{share.index}"))
        drawn = seeded(f"e.{quorum}.{share.index}")
        envelope = generate.hpke_seal(share.to_bytes(), to, info, drawn)
        shares.append(record.SealedShare(share.index, envelope))
    sealed = record.SealedRecord(where, Epoch(5), box, dealt.commitments, tuple(shares))
    places = range(1, custodians + 1)
    return {
        "dictionary": SMALL,
        "values": tag(VALUES[1])["o"],
        "context": _context_json(where),
        "epoch": 5,
        "quorum": quorum,
        "coefficients": [str(each) for each in coefficients],
        "nonce": hexed(nonce),
        "ephemerals": [hexed(seeded(f"e.{quorum}.{i}")) for i in places],
        "custodians": [hexed(seeded(f"custodian.{i}")) for i in places],
        "plaintext": hexed(dictionary.encode_row(read, row)),
        "aad": hexed(where.aad()),
        "leaf": hexed(leaf),
        "document": record.dump(sealed).decode(),
    }


def _context_json(where: record.RecordContext) -> dict[str, Any]:
    return {
        "chainId": where.chain_id,
        "registry": where.registry,
        "dataset": hexed(where.dataset),
        "patient": where.patient,
        "dictionaryHash": hexed(where.dictionary_hash),
        "recordVersion": where.record_version,
        "lane": int(where.lane),
    }


def _documents() -> list[dict[str, Any]]:
    """Damaged documents, and what becomes of each."""
    good = json.loads(_record(2, 3)["document"])
    return [
        {"document": json.dumps(each), **outcome(partial(_loaded, each))} for each in _spoilt(good)
    ]


def _loaded(document: Any) -> None:
    record.load(json.dumps(document).encode())


def _spoilt(good: dict[str, Any]) -> list[Any]:
    short = good["shares"][0] | {"envelope": good["shares"][0]["envelope"][:-4]}
    changes: list[Callable[[], Any]] = [
        *(
            partial(good.__or__, {name: 5})
            for name in good
            if name not in ("epoch", "record_version")
        ),
        *(partial(good.__or__, {name: None}) for name in good),
        lambda: good | {"more": 1},
        lambda: {name: value for name, value in good.items() if name != "lane"},
        lambda: good | {"lane": 2},
        lambda: good | {"lane": True},
        lambda: good | {"epoch": 2**32},
        lambda: good | {"record_version": 4},
        lambda: good | {"box": "QUJD"},
        lambda: good | {"patient": "0x" + "00" * 19},
        lambda: good | {"shares": good["shares"][1:]},
        lambda: good | {"shares": [short, *good["shares"][1:]]},
        lambda: good | {"shares": [{"index": 1}, *good["shares"][1:]]},
        lambda: good | {"shares": good["shares"] * 6},
        lambda: good | {"key_commitments": []},
        lambda: good | {"key_commitments": ["0x02" + "ff" * 32] * 2},
        lambda: good | {"commitment": "0x" + "00" * 32},
        lambda: [good],
    ]
    return [change() for change in changes]
