"""Writes the browser's tables from the code that they must agree with: `python -m tools.webwords`.

A test compares.

structs.js: the fields of every struct. calls.js: selectors and types of the calls that pages make, and how
each kind of signed message goes on chain. reasons.js: the numbers and bits of the Data Use Ontology.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from marketplace.chain import artifacts
from marketplace.chain.sentences import DATA_USE_REASONS
from marketplace.wire import data_use
from marketplace.wire.eip712 import SignedStruct
from marketplace.wire.messages import KINDS, Message
from marketplace.wire.opening import IssuerDesk
from marketplace.wire.solidity import SolidityStruct, solidity_name
from marketplace.wire.structs import MESSAGES, ClassTerms, Credential, Purpose, RequestTerms
from marketplace.wire.terms import Descent

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "web" / "static" / "js"
PLAIN: Final[tuple[type[SolidityStruct], ...]] = (
    ClassTerms,
    Purpose,
    RequestTerms,
    Credential,
    Descent,
)
FUNCTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "ConsentRegistry": (
        *("appointGuardian", "appointGuardianBySig", "cancelNonce", "erase", "eraseBySig", "grant"),
        *(
            "grantBySig",
            "rest",
            "restBySig",
            "revoke",
            "revokeBySig",
            "rotate",
            "wake",
            "wakeBySig",
        ),
    ),
    "DatasetRegistry": (
        *("addIssuer", "handOver", "publishClass", "publishDataset", "registerDescent", "retire"),
        *("isIssuer", "suspendRecord", "withdrawIssuer"),
    ),
    "ResearchMarket": (
        *("cancel", "defaultUncertified", "open", "openWithPermit", "reclaim", "withdrawCredit"),
        *("withdrawCreditBySig", "withdrawEarnings", "withdrawEarningsBySig"),
    ),
    "ResearcherRegistry": ("give", "withdraw"),
    "TestEuro": ("DOMAIN_SEPARATOR", "allowance", "approve", "balanceOf", "nonces"),
}
"""By contract: what a page calls, or has a wallet call."""
HEAD: Final = (
    "// Written by `python -m tools.webwords` from the servers' own code: do not edit.\n\n"
)


def written() -> dict[str, str]:
    """Each file's name and its text, as the code has it now."""
    return {"calls.js": _calls(), "reasons.js": _reasons(), "structs.js": _structs()}


def _structs() -> str:
    described = {each.__name__: _struct(each) for each in (*MESSAGES, IssuerDesk, *PLAIN)}
    means = "Fields (name, type) in order; `domain` of those that are signed: null is the caller's to name."
    return HEAD + _table("STRUCTS", means, described)


def _struct(struct: type[SolidityStruct]) -> dict[str, object]:
    fields = [[solidity_name(name), kind.name] for name, kind in struct.kinds().items()]
    if not issubclass(struct, SignedStruct):
        return {"fields": fields}
    renamed = {"type": struct.TYPE} if struct.TYPE else {}
    return {"domain": struct.DOMAIN, **renamed, "fields": fields}


def _calls() -> str:
    calls = {
        f"{contract}.{name}": _function(contract, name)
        for contract, names in FUNCTIONS.items()
        for name in names
    }
    kinds = {name: _kind(name) for name in KINDS}
    return (
        HEAD
        + _table("CALLS", "Selector and argument types of `Contract.function`.", calls)
        + "\n"
        + _table("KINDS", "How each kind of signed message goes on chain, and who signs it.", kinds)
    )


def _function(contract: str, name: str) -> list[object]:
    found = artifacts.load(contract).functions[name]
    return ["0x" + found.selector.hex(), list(found.types)]


def _kind(name: str) -> dict[str, object]:
    kind = KINDS[name]
    return {
        "struct": kind.struct.__name__,
        "contract": kind.contract,
        "call": kind.function,
        "signedBy": _signers(name),
    }


def _signers(name: str) -> str:
    """`anyone` who may and says so, the `subject`, or `both` addresses; told by asking the message itself."""
    kind = KINDS[name]
    if kind.names_signer:
        return "anyone"
    zero = {field: _zero(each.name) for field, each in kind.struct.kinds().items()}
    message = Message(name, kind.struct(**zero), {"signature": "0x", "signature_to": "0x"})
    return "both" if len(message.signatures()) == 2 else "subject"


def _zero(name: str) -> Any:
    if name == "address":
        return "0x" + "00" * 20
    if name == "bool":
        return False
    return 0 if name.startswith("uint") else bytes(int(name.removeprefix("bytes")))


def _reasons() -> str:
    masks = {
        "PERMISSIONS": (
            "Number of a class's permission: DUO's number, meaning.",
            data_use.PERMISSIONS,
        ),
        "MODIFIERS": ("Bit of a class's modifiers: DUO's number, meaning.", data_use.MODIFIERS),
        "USES": (
            "Bit of a purpose's uses and a class's research types.",
            {code - data_use.FIRST_USE: means for code, means in data_use.USES.items()},
        ),
        "DUTIES": ("Bit of the duties that a purpose accepts.", data_use.DUTIES),
        "RELEASES": ("Bit of a class's release kinds.", data_use.RELEASES),
        "ORGANISATIONS": ("Number of a credential's kind.", data_use.KINDS),
        "REASONS": ("Bit of why a purpose is not permitted.", DATA_USE_REASONS),
    }
    return HEAD + "\n".join(_table(name, means, table) for name, (means, table) in masks.items())


def _table(name: str, means: str, content: Mapping[Any, object]) -> str:
    lines = [f"  {json.dumps(str(key))}: {json.dumps(value)},\n" for key, value in content.items()]
    return f"/** {means} */\nexport const {name} = {{\n{''.join(lines)}}};\n"


if __name__ == "__main__":
    for file, text in written().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
