"""Every custom error of every contract is met by name, in forge and on eth-tester."""

import re
from pathlib import Path

import pytest

from tests.contracts.support import ARTIFACTS, errors_by_selector

FORGE = ARTIFACTS.parent / "test"
HERE = Path(__file__).parent
# Inherited errors that nothing can raise here, each with its reason.
UNREACHABLE = {
    "Error": "Solidity's own, for sentences: the sources have none",
    "Panic": "the compiler's own, for what cannot happen",
    "ECDSAInvalidSignatureLength": "a permit takes v, r and s, not bytes; elsewhere `tryRecover`",
    "InvalidAccountNonce": "of `_useCheckedNonce`, which ERC20Permit does not call",
    "InvalidShortString": "of strings in storage: all names are constants that fit",
    "StringTooLong": "likewise",
}
# No key signs for address 0; forge only pretends to be it.
UNREACHABLE_BY_TRANSACTION = {"ERC20InvalidSender": "a transfer from address 0 by itself"}


def names() -> set[str]:
    return {name for name, _ in errors_by_selector().values()}


def met_in_forge() -> set[str]:
    """`X.Name.selector` in a test."""
    text = "".join(path.read_text(encoding="utf-8") for path in FORGE.glob("**/*.t.sol"))
    return set(re.findall(r"\.(\w+)\.selector\b", text))


def met_on_eth_tester() -> set[str]:
    """`"Name"` in a test; this file, which also names what is not met, is not read."""
    files = (path for path in HERE.glob("test_*.py") if path != Path(__file__))
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    return set(re.findall(r'"(\w+)"', text))


def test_forge_meets_every_custom_error() -> None:
    assert names() - met_in_forge() == set(UNREACHABLE)


def test_eth_tester_meets_every_custom_error() -> None:
    assert names() - met_on_eth_tester() == set(UNREACHABLE | UNREACHABLE_BY_TRANSACTION)


@pytest.mark.parametrize("name", ["CohortTooSmall", "QuorumTooLarge", "WordStale"])
def test_the_search_finds_what_is_there(name: str) -> None:
    assert name in met_in_forge() & met_on_eth_tester() & names()
