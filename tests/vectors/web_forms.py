"""Vectors of what every format is made of: bytes, canonical JSON, decimals, ABI, addresses, tagged hashes."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from marketplace.vocabulary import address
from marketplace.wire import canonical as json_forms
from marketplace.wire.analysis import analysis_hash, parameters_hash
from marketplace.wire.http import binary_field, hex_field
from marketplace.wire.solidity import Kind
from tests.vectors.tagging import hexed, outcome, seeded, tag

LIMIT = 4_096
TEXTS = (
    *("{}", "[]", '""', "null", "true", "0", "-0", "9007199254740992", "-9007199254740992"),
    *(
        '{"b":1,"a":{"d":[],"c":null}}',
        " [ 1 ,\t2\n,\r3 ] ",
        '"\\u0041\\n\\/\\\\\\""',
        '"\x7f\\u007f"',
    ),
    # Code points order U+FF5E before U+1F600, UTF-16 units the other way round.
    '{"\\ud83d\\ude00":1,"\\uff5e":2,"\\u00e4":3,"z":4,"Z":5,"":6}',
    *(
        '{"__proto__":{"constructor":1},"10":1,"9":2}',
        '"\\u0000\\u001f\\u0008\\u000c"',
        '"\u2028\u2029"',
    ),
    *("[" * 64 + "]" * 64, '"' + "[" * 200 + '\\"{"', "[1]" + " " * 100),
    *('"\\"' + "[" * 70 + '"', '["\\\\",[]]'),
)
NOT_TEXTS = (
    *(
        "",
        " ",
        "{",
        "[1,]",
        "[,1]",
        '{"a":1,}',
        '{"a"}',
        "{a:1}",
        "{'a':1}",
        "1 2",
        "01",
        "+1",
        ".5",
        "1.",
    ),
    *(
        "-",
        "1e5",
        "1.0",
        "NaN",
        "Infinity",
        "-Infinity",
        "tru",
        "nulll",
        "True",
        '"a',
        '"\\x"',
        '"\\u12"',
    ),
    *(
        '"\n"',
        '"\t"',
        '"a"b',
        '{"a":1,"a":1}',
        '{"a":{"b":1,"b":2}}',
        '{"a":1,"\\u0061":2}',
        "\ufeff{}",
    ),
    *(
        "[" * 65 + "]" * 65,
        '["\\\\",' + "[" * 64,
        "[1}",
        "{]",
        "/* */ 1",
        "1 // x",
        "\u00a01",
        "\u00002",
        '{"a":1 "b":2}',
    ),
    *('["\\ud83d"]', '{"\\udc00":1}', "9007199254740993", "-9007199254740993", "1" + "0" * 400),
)
NOT_UTF8 = (b"\xff", b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"', b"{}\x00")
DECIMALS = (
    *(
        "0",
        "-0",
        "0.5",
        "1.5",
        "2.5",
        "-0.5",
        "-1.5",
        "-2.5",
        "0.05",
        "0.15",
        "0.25",
        "1E3",
        "1.5E-3",
    ),
    *(
        "1e+2",
        "-7.25E1",
        "0.000",
        "123456789012345678901234567890",
        "0.1234567890123456789012345678901",
    ),
    *(
        "2.675",
        "2.6750000000000000000000000000001",
        "1E-40",
        "9.99999999999",
        "0E5",
        "5e-1",
        "45E-2",
    ),
)
NOT_DECIMALS = ("1E10000", "1E-10000", "1E99999999999999999999", "0E10000", "0E-10000")
PAIRS = (
    *(
        ("1", "1.0"),
        ("-0", "0"),
        ("1E3", "1000"),
        ("1E3", "999.999"),
        ("-2", "-10"),
        ("0.1", "1E-2"),
    ),
    *(("70.5", "70.50000000000000000000000000000001"), ("1E-9000", "0"), ("-1E9000", "1E-9000")),
)
HEX = ("0x", "0x00ff", "0xABcd", "ff", "0xf", "0xgg", "0x" + "00" * 9, "0X00", "\u0660", 5, None)
BASE64 = (
    "",
    "QQ==",
    "QUI=",
    "QUJD",
    "+/+/",
    "QQ=",
    "QQ",
    "Q===",
    "-_-_",
    "\u00e9",
    5,
    None,
)
ADDRESSES = (
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",  # EIP-55's own
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
    "0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed",
    *(
        "0x" + "00" * 20,
        "0x" + "00" * 19,
        "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xzz",
        "",
        5,
    ),
)
ABI: tuple[tuple[list[str], list[Any]], ...] = (
    ([], []),
    (["uint256", "uint8", "bool"], [2**256 - 1, 255, True]),
    (["address", "bytes32", "bytes2"], [ADDRESSES[0], seeded("word"), b"DE"]),
    (["string", "bytes"], ["", b""]),
    (["string", "bytes"], ["\u00e4\U0001f600" * 11, seeded("bytes", 97)]),
    (["uint16[]", "bytes32[]"], [[], [seeded("a"), seeded("b")]]),
    (["(uint32,(bytes2[],bool),bytes32)"], [(7, ([b"DE", b"FR"], False), seeded("c"))]),
    (["(uint8,bytes)[]", "uint40"], [[(1, b"x"), (2, seeded("d", 65))], 2**40 - 1]),
    (["bytes[]", "(uint256,uint8)"], [[b"", b"ab"], (5, 6)]),
)
PARAMETERS = (
    "{}",
    '{"variable":"systolic","filters":[{"variable":"sex","is":"female"}],"bins":[10,20,30]}',
    '{"z":"K\u00f6ln","a":"\U0001f600","\uff5e":null,"\U0001f600":true,"q":"\u007f\\u0000\\"\\\\"}',
    '{"n":123456789012345678901234567890,"m":-5}',
)


def vectors() -> dict[str, Any]:
    return {
        "canonical": [_canonical(text.encode()) for text in (*TEXTS, *NOT_TEXTS)]
        + [_canonical(raw) for raw in (*NOT_UTF8, b" " * (LIMIT + 1))],
        "numbers": [_number(text) for text in (*DECIMALS, *NOT_DECIMALS)],
        "decimals": [_decimal(text, places) for text in DECIMALS for places in (0, 1, 2)],
        "compared": [[one, other, _compared(one, other)] for one, other in PAIRS],
        "hex": [[text, outcome(partial(hex_field, text, "f", 8))] for text in HEX],
        "base64": [[text, outcome(partial(binary_field, text, "f", 8))] for text in BASE64],
        "addresses": [[text, *_addresses(text)] for text in ADDRESSES],
        "abi": [_abi(types, values) for types, values in ABI],
        "tagged": _tagged(),
        "parameters": [_parameters(text) for text in PARAMETERS],
        "analyses": [[name, hexed(analysis_hash(name))] for name in ("count.v1", "mean.v1")],
    }


def _canonical(raw: bytes) -> dict[str, Any]:
    def read() -> bytes:
        return json_forms.canonical(json_forms.parse(raw, limit=LIMIT))

    return {"raw": hexed(raw), "limit": LIMIT, **outcome(read)}


def _number(text: str) -> dict[str, Any]:
    """A number of a measurement as FHIR's JSON has it."""

    def read() -> str:
        found = json_forms.parse(text.encode(), limit=LIMIT, decimals=True)
        return "whole" if isinstance(found, int) else "fraction"

    return {"text": text, **outcome(read)}


def _decimal(text: str, places: int) -> dict[str, Any]:
    value = Decimal(text)
    # 28 digits, the usual precision, are too few for some of these.
    shifted = Decimal((value.as_tuple().sign, value.as_tuple().digits, _exponent(value) + places))
    whole = shifted == shifted.to_integral_value()
    rounded = shifted.to_integral_value(ROUND_HALF_EVEN)
    return {
        "text": text,
        "places": places,
        "scaled": str(int(shifted)) if whole else None,
        "rounded": str(int(rounded)),
    }


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent


def _compared(one: str, other: str) -> int:
    return (Decimal(one) > Decimal(other)) - (Decimal(one) < Decimal(other))


def _addresses(text: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """As fields are read, and as signed messages are."""
    kind = Kind("address")
    return outcome(lambda: address(text, "a")), outcome(lambda: kind.check("a", text))


def _abi(types: list[str], values: list[Any]) -> dict[str, Any]:
    return {"types": types, "values": tag(values), "encoded": hexed(encode(types, values))}


def _tagged() -> list[dict[str, Any]]:
    place = (["uint256", "address", "bytes32"], [31337, ADDRESSES[0], seeded("dataset")])
    shapes = {
        "usufruct/record/1": (
            ["address", "bytes32", "uint8", "uint32"],
            [ADDRESSES[1], seeded("h"), 1, 7],
        ),
        "usufruct/share/1": (
            ["address", "bytes32", "uint32", "uint8"],
            [ADDRESSES[1], seeded("c"), 2, 3],
        ),
        "usufruct/result/1": ([], []),
        "usufruct/leaf/1": (["uint8", "bytes32"], [1, seeded("leaf")]),
        "usufruct/commitment/1": (["uint32", "bytes32[]"], [1, [seeded("l1"), seeded("l2")]]),
        "usufruct/ciphertexts/1": (["bytes32[]"], [[]]),
    }
    listed = []
    for name, (types, values) in shapes.items():
        types, values = [*place[0], *types], [*place[1], *values]
        digest = hexed(keccak(encode(["string", *types], [name, *values])))
        listed.append({"tag": name, "types": types, "values": tag(values), "hash": digest})
    return listed


def _parameters(text: str) -> dict[str, Any]:
    """As the client writes the parameters of an answer."""
    written = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).encode("ascii")
    return {"text": text, "written": written.decode(), "hash": hexed(parameters_hash(written))}
