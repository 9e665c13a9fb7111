"""Manifests, finality, and how batches are cut: what needs no node."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.chain.artifacts import CONTRACTS, load
from marketplace.chain.finality import Finality, NotYetFinal, require_final
from marketplace.chain.manifest import Deployed, Manifest
from marketplace.chain.sender import BATCH_BASE_GAS, call_data, chunks
from marketplace.chain.transactor import GAS_LIMIT, LARGEST_DATA
from marketplace.chain.views import MarketPolicy
from marketplace.errors import Refusal
from marketplace.vocabulary import address
from marketplace.wire.eip712 import market_domain

MANIFEST = Manifest(
    chain_id=31337,
    genesis_hash=b"\x01" * 32,
    deployed_block=3,
    contracts={
        name: Deployed(address(f"0x{number:040x}"), bytes([number]) * 32)
        for number, name in enumerate(CONTRACTS, start=1)
    },
    policy=MarketPolicy(),
)


def test_a_manifest_round_trips_through_its_file(tmp_path: Path) -> None:
    MANIFEST.save(tmp_path / "m.json")
    assert Manifest.load(tmp_path / "m.json") == MANIFEST
    assert [each.name for each in tmp_path.iterdir()] == ["m.json"]


def test_domains_carry_chain_and_address() -> None:
    assert MANIFEST.domain("ResearchMarket") == market_domain(31337, MANIFEST.market)
    assert MANIFEST.api_domain.verifying_contract == MANIFEST.market
    with pytest.raises(Refusal, match="no contract"):
        MANIFEST.domain("Nothing")


def changed(path: list[str], value: Any) -> dict[str, Any]:
    content = json.loads(json.dumps(MANIFEST.to_json()))
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (["schema"], "usufruct-deployment/2", "schema"),
        (["chain_id"], None, "manifest.chain_id"),
        (["chain_id"], -1, "chain_id"),
        (["surplus"], 1, "manifest.surplus"),
        (["genesis_hash"], "0x12", "genesis_hash"),
        (["contracts", "ConsentRegistry"], None, "contracts.ConsentRegistry"),
        (["contracts", "TestEuro", "address"], "0x12", "contracts.TestEuro.address"),
        (["contracts", "TestEuro", "code_hash"], None, "contracts.TestEuro.code_hash"),
        (["token"], "0x" + "ee" * 20, "token"),
        (["policy", "minimumBond"], 5, "policy.minimumBond"),
        (["policy"], [], "policy"),
    ],
)
def test_a_damaged_manifest_is_refused_by_field(path: list[str], value: Any, field: str) -> None:
    with pytest.raises(Refusal) as refused:
        Manifest.from_json(changed(path, value))
    assert refused.value.field == field


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(Refusal):
        Manifest.load(tmp_path / "m.json")
    with pytest.raises(Refusal, match="deploy"):
        Manifest.load(tmp_path / "absent.json")


# --- finality


@given(st.integers(0, 10**6), st.integers(0, 100), st.none() | st.integers(0, 10**6))
def test_final_is_what_both_rules_allow(head: int, confirmations: int, tagged: int | None) -> None:
    final = Finality(confirmations).final(head, tagged)
    assert 0 <= final <= max(0, head - confirmations)
    assert tagged is None or final <= tagged
    assert final in (max(0, head - confirmations), tagged)


def test_a_block_above_the_final_one_is_not_yet_final() -> None:
    require_final(5, 5)
    with pytest.raises(NotYetFinal) as refused:
        require_final(6, 5)
    assert refused.value.facts == {"block": 6, "final": 5}
    with pytest.raises(Refusal, match="negative"):
        Finality(-1)


# --- batches


@given(st.lists(st.integers(1, 3_000), max_size=200), st.integers(50_000, 20_000_000))
def test_batches_keep_order_lose_nothing_and_fit_a_transaction(
    sizes: list[int], entry_gas: int
) -> None:
    entries = [bytes(size) for size in sizes]
    cut = chunks(entries, entry_gas)
    assert [position for chunk in cut for position in chunk] == list(range(len(entries)))
    for chunk in cut:
        assert chunk
        assert len(chunk) == 1 or BATCH_BASE_GAS + entry_gas * len(chunk) <= GAS_LIMIT
        assert (
            len(call_data("ConsentRegistry", "batch", [entries[n] for n in chunk])) <= LARGEST_DATA
        )


# --- artifacts


def test_runtime_code_is_recognised_whatever_its_immutables() -> None:
    artifact = load("ResearchMarket")
    code = bytearray(artifact.deployed_bytecode)
    start, length = artifact.immutables[0]
    code[start : start + length] = b"\x77" * length
    assert artifact.is_code(bytes(code))
    code[start + length] ^= 1
    assert not artifact.is_code(bytes(code))
    assert not artifact.is_code(b"")


def test_an_artifact_that_is_not_there_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        load("Nothing")
    assert refused.value.code == "artifact_missing"


def test_every_contract_stays_below_the_code_size_limit_with_room() -> None:
    """EIP-170: 24,576 bytes. The largest two had 1,933 and 2,463 to spare when this was written."""
    sizes = {name: len(load(name).deployed_bytecode) for name in CONTRACTS}
    assert {name: size for name, size in sizes.items() if size > 24_576 - 1_000} == {}
