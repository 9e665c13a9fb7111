"""Every function of every contract is called by a test on eth-tester."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.contracts.support import ARTIFACTS, artifact

HERE = Path(__file__).parent
# What a test's people do, they do through these.
HELPERS = ("market_world.py", "market_deployment.py", "market_books.py", "noise_acts.py")
# What these are given names something else: a role, an account, a text that was hashed, an event, a refusal.
NOT_CALLS = {"role", "account", "address", "word", "facts", "refusing", "get_function_by_name"}


# Where what several contracts have is called of each, beside the tests of administration.
CALLED_OF_EACH = {
    "batch": "consents, datasets and market: wherever people enrol, grant and withdraw together",
    "cancelNonce": "consents and market: test_consent_signatures.py, test_market_money.py",
    "commitmentsOf": "datasets: test_dataset_registry.py; noises (of a request): test_noise_registry.py",
    "isNonceUsed": "consents and market: test_consent_signatures.py, test_market_money.py",
    "shardsOf": "consents (of a class): registry_storage.py; market (of a request): test_market_freeze.py",
}


def functions_by_contract() -> dict[str, set[str]]:
    """Of each contract that is deployed; an interface has no code, and a library none to call."""
    contracts = (path.stem for path in ARTIFACTS.glob("*.json") if path.stem != "manifest")
    deployed = (name for name in contracts if artifact(name)["bytecode"] != "0x")
    return {
        name: {entry["name"] for entry in artifact(name)["abi"] if entry["type"] == "function"}
        for name in deployed
    }


def functions() -> set[str]:
    return set().union(*functions_by_contract().values())


def called_on_eth_tester() -> set[str]:
    files = [path for path in HERE.glob("test_*.py") if path != Path(__file__)]
    sources = (path.read_text(encoding="utf-8") for path in files)
    ours = [text for text in sources if _is_on_eth_tester(text)]
    helpers = [(HERE / name).read_text(encoding="utf-8") for name in HELPERS]
    return {name for text in ours + helpers for name in called_in(text)}


def _is_on_eth_tester(source: str) -> bool:
    """The accounting's steps, on another chain, are named like the functions that they call."""
    return "pyrevm_chain" not in source and "accounting_" not in source


def called_in(source: str) -> set[str]:
    """`x.functions.name`, and names given to a call or listed in a table that calls are made from."""
    return set(_named_in(ast.parse(source)))


def _named_in(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in NOT_CALLS:
            return
        case ast.Attribute(value=ast.Attribute(attr="functions"), attr=name):
            yield name
        case ast.Call(args=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts):
            yield from _texts(parts)
        case ast.Dict(keys=keys, values=values):
            yield from _texts([*keys, *values])
        case ast.Subscript(value=ast.Attribute(attr="functions"), slice=part):
            yield from _texts([part])
    for child in ast.iter_child_nodes(node):
        yield from _named_in(child)


def _texts(parts: Sequence[ast.expr | None]) -> Iterator[str]:
    for part in parts:
        match part:
            case ast.Constant(value=str(text)):
                yield text


def shared() -> set[str]:
    """Names that more than one deployed contract has a function of."""
    every = [set(names) for names in functions_by_contract().values()]
    return {name for names in every for name in names if sum(name in each for each in every) > 1}


def test_every_function_is_called() -> None:
    assert functions() - called_on_eth_tester() == set()


def test_what_several_contracts_have_is_called_of_each() -> None:
    """By the tests of administration, which go through all contracts, or where the table says."""
    everywhere = called_in((HERE / "test_administration.py").read_text(encoding="utf-8"))
    assert shared() - everywhere == set(CALLED_OF_EACH)


SAMPLE = '''
def test_some(chain, euro, world):
    """Tells of "told"."""
    chain.read(euro.functions.asked())  # "remarked"
    chain.send(euro.functions["named"]())
    world.trade("somebody", "told_to", role("ROLE"), address("who"), also.not_a_function())
    for name, value in {"listed": 1, 2: other("given")}.items():
        assert world.view("ada")["field"] == "answer"
'''


def test_the_search_finds_calls_and_nothing_that_is_only_written_down() -> None:
    calls = {"asked", "named", "told_to", "listed", "given"}
    assert called_in(SAMPLE) == calls | {"somebody", "ada"}
