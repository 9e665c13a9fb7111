"""Every custom error of every contract is met by name, in forge and on eth-tester.

To be met is more than to be written down: a test must expect it of a call that it makes.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.support import ARTIFACTS, errors_by_selector

FORGE = ARTIFACTS.parent / "test"
HERE = Path(__file__).parent
# What a call is expected to revert with, at once or as data for a helper that expects it.
EXPECTED = re.compile(r"(?:expect(?:Partial)?Revert|encodeWithSelector)\(\s*\w+\.(\w+)\.selector\b")
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
    text = "".join(path.read_text(encoding="utf-8") for path in FORGE.glob("**/*.t.sol"))
    return set(EXPECTED.findall(text))


def met_on_eth_tester() -> set[str]:
    files = HERE.glob("test_*.py")
    return {name for path in files for name in met_in(path.read_text(encoding="utf-8"))}


def met_in(source: str) -> set[str]:
    """What its tests put into `with refusing(...)`: as it stands, or by way of a parameter."""
    tree = ast.parse(source)
    if not _imports_refusing(tree):
        return set()
    found = set()
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for asked in _asked_for(function):
            if isinstance(asked, ast.Constant):
                found.add(str(asked.value))
            elif isinstance(asked, ast.Name):
                found |= _values_of(asked.id, function)
    return found


def _imports_refusing(tree: ast.Module) -> bool:
    """Eth-tester's own: what other chains refuse is raised under other names."""
    ours = (node for node in tree.body if isinstance(node, ast.ImportFrom))
    return any(
        node.module == "tests.contracts.support"
        and "refusing" in {name.name for name in node.names}
        for node in ours
    )


def _asked_for(function: ast.FunctionDef) -> Iterator[ast.expr]:
    blocks = (node for node in ast.walk(function) if isinstance(node, ast.With))
    for manager in (item.context_expr for block in blocks for item in block.items):
        match manager:
            case ast.Call(func=ast.Name(id="refusing"), args=[name, *_]):
                yield name


def _values_of(parameter: str, function: ast.FunctionDef) -> set[str]:
    """All strings that the test's table has in this parameter's column."""
    for decorator in function.decorator_list:
        match decorator:
            case ast.Call(func=ast.Attribute(attr="parametrize"), args=[first, table]):
                columns = ast.literal_eval(first)
                if parameter in columns and isinstance(columns, tuple):
                    return set(_column(columns.index(parameter), table))
    return set()


def _column(place: int, table: ast.expr) -> Iterator[str]:
    for row in table.elts if isinstance(table, ast.List) else ():
        match row.elts[place] if isinstance(row, ast.Tuple) else None:
            case ast.Constant(value=str(value)):
                yield value


def test_forge_meets_every_custom_error() -> None:
    assert names() - met_in_forge() == set(UNREACHABLE)


def test_eth_tester_meets_every_custom_error() -> None:
    assert names() - met_on_eth_tester() == set(UNREACHABLE | UNREACHABLE_BY_TRANSACTION)


@pytest.mark.parametrize("name", ["CohortTooSmall", "QuorumTooLarge", "WordStale"])
def test_the_search_finds_what_is_there(name: str) -> None:
    assert name in met_in_forge() & met_on_eth_tester() & names()


SAMPLE = '''
from tests.contracts.support import refusing

IDLE = {"Listed": 1}  # "Remarked"

@pytest.mark.parametrize(("number", "name"), [(1, "InTable"), ("InAnotherColumn", "InTableToo")])
def test_some(number, name):
    """Tells of "Told"."""
    refusing("NotEntered")
    with refusing(name, "AFact"), other("Other"):
        call("Called")
    with refusing("AsItStands"):
        call(name)
'''


def test_the_search_finds_nothing_that_is_only_written_down() -> None:
    assert met_in(SAMPLE) == {"InTable", "InTableToo", "AsItStands"}
    assert met_in(SAMPLE.replace("contracts.support", "other")) == set()
    idle = 'vm.expectEmit(); x = IMarket.Idle.selector; // expectRevert("Idle")'
    assert EXPECTED.findall(idle) == []
    assert EXPECTED.findall("vm.expectRevert(\n  IMarket.Met.selector)") == ["Met"]
