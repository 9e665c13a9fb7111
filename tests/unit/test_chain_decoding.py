"""What a chain says is read whatever its bytes are: decoded, or refused as undecodable."""

import ast
from pathlib import Path

import pytest
from eth_abi.abi import encode
from eth_abi.exceptions import DecodingError
from hypothesis import given, settings
from hypothesis import strategies as st

import marketplace
from marketplace.chain.artifacts import load
from marketplace.chain.core import decode_log
from marketplace.chain.decoding import READS, decode
from marketplace.chain.node.errors import Reverted
from marketplace.chain.rpc import Log
from marketplace.receipts import calls
from marketplace.wire.structs import Settlement

PUBLISHED = load("DatasetRegistry").events["DatasetPublished"]
SETTLE = load("ResearchMarket").functions["settle"]
BAD = b"\xff\xfe\xfd\xfc"
SHAPES = [
    ("string",),
    ("bytes", "string"),
    ("(string,uint8)[]",),
    SETTLE.types,
    ("bool", "address", "uint8[]"),
]


def test_a_text_that_is_not_utf8_keeps_what_can_be_read() -> None:
    data = encode(["string", "(string,uint8)[]"], ["abcd", [("xabcd", 1)]])
    shown = "\ufffd" * 4
    assert decode(["string", "(string,uint8)[]"], data.replace(b"abcd", BAD)) == (
        shown,
        (("x" + shown, 1),),
    )


def test_an_event_with_a_text_that_is_not_utf8_is_read_like_any_other() -> None:
    """A steward chooses the uri: one bad one would else end every list of datasets, for ever."""
    topics = (PUBLISHED.topic, b"\x01" * 32, b"\x02".rjust(32, b"\0"))
    data = encode(["bytes32", "bytes"], [b"\x05" * 32, BAD])
    log = Log("0x" + "33" * 20, topics, data, 7, bytes(32), bytes(32), 0)
    event = decode_log("DatasetRegistry", log)
    assert event is not None
    assert event.args["uri"] == "\ufffd" * 4
    assert event.args["dictionary"] == b"\x05" * 32


@settings(max_examples=500)
@given(
    st.sampled_from(SHAPES),
    st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**256 - 1)), max_size=12),
    st.binary(max_size=80),
)
def test_any_bytes_decode_or_are_refused_as_undecodable(
    types: tuple[str, ...], heads: list[int], tail: bytes
) -> None:
    try:
        decode(types, b"".join(each.to_bytes(32, "big") for each in heads) + tail)
    except DecodingError:
        return


@pytest.mark.parametrize("length", [2**62, 2**63, 2**255, 2**256 - 1])
def test_a_length_beyond_all_memory_is_undecodable(length: int) -> None:
    with pytest.raises(DecodingError):
        decode(["string"], encode(["uint256", "uint256"], [32, length]))


def bomb(items: int, size: int) -> bytes:
    """A `bytes[]` whose items all name one place, and so are `items * size` bytes in memory."""
    pointers = [32 * items] * items
    item = encode(["uint256"], [size]) + bytes(size)
    return encode(["uint256"] * (2 + items), [32, items, *pointers]) + item


def test_pointers_that_all_name_one_place_are_given_up_before_they_fill_the_memory() -> None:
    assert decode(["bytes[]"], bomb(3, 96)) == ((bytes(96),) * 3,)
    with pytest.raises(DecodingError):
        decode(["bytes[]"], bomb(READS * 4, 32 * READS * 4))


@settings(max_examples=300)
@given(
    st.lists(st.one_of(st.integers(0, 700), st.integers(0, 2**256 - 1)), max_size=20),
    st.binary(max_size=80),
)
def test_call_data_of_any_bytes_is_a_settlement_or_none(heads: list[int], tail: bytes) -> None:
    data = SETTLE.selector + b"".join(each.to_bytes(32, "big") for each in heads) + tail
    found = calls._read(data)
    assert found is None or isinstance(found.settlement, Settlement)


def test_the_embedded_nodes_refusal_shows_of_a_reason_what_can_be_read() -> None:
    reason = bytes.fromhex("08c379a0") + encode(["bytes"], [b"too late " + BAD])
    assert str(Reverted(reason)) == "execution reverted: too late " + "\ufffd" * 4
    huge = bytes.fromhex("08c379a0") + encode(["uint256", "uint256"], [32, 2**255])
    assert str(Reverted(huge)) == "execution reverted"


def test_nothing_else_decodes_by_eth_abis_own_codec() -> None:
    """Which raises what nobody here waits for: UnicodeDecodeError, OverflowError."""
    root = Path(marketplace.__file__).parent
    found = {
        (path.relative_to(root).as_posix(), module, name)
        for path in root.rglob("*.py")
        for module, name in _imported(path)
        if module.split(".")[0] == "eth_abi" and name not in ("encode", "DecodingError")
    }
    assert found
    assert {path for path, _, _ in found} == {"chain/decoding.py"}


def _imported(path: Path) -> list[tuple[str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = [
        (each.name, "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for each in node.names
    ]
    return plain + [
        (node.module or "", each.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    ]
