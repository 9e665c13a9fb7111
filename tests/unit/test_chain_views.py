"""The typed views are the contracts' own structs, field by field."""

from typing import Any

import pytest

from marketplace.chain import artifacts
from marketplace.chain.artifacts import abi_type
from marketplace.chain.views import (
    ConsentState,
    ConsentView,
    Liabilities,
    MarketPolicy,
    Record,
    RequestStage,
    RequestView,
    ShardRef,
    ShardView,
)
from marketplace.wire.solidity import (
    ZERO_ADDRESS,
    ZERO_HASH,
    SolidityStruct,
    solidity_name,
)
from marketplace.wire.structs import (
    ClassTerms,
    Credential,
    Grant,
    Purpose,
    RecordAttestation,
    RequestTerms,
    Settlement,
    StorageReceipt,
)
from tests.support.refusals import refused

OUTPUTS = [
    ("ResearchMarket", "requestOf", RequestView),
    ("ResearchMarket", "policy", MarketPolicy),
    ("ResearchMarket", "shardsOf", ShardRef),
    ("ConsentRegistry", "consentOf", ConsentView),
    ("ConsentRegistry", "shardOf", ShardView),
    ("DatasetRegistry", "recordOf", Record),
    ("ResearcherRegistry", "credentialOf", Credential),
]
INPUTS = [
    ("ConsentRegistry", "grantBySig", 0, Grant),
    ("DatasetRegistry", "registerRecord", 0, RecordAttestation),
    ("DatasetRegistry", "confirmStorage", 0, StorageReceipt),
    ("DatasetRegistry", "publishClass", 1, ClassTerms),
    ("DatasetRegistry", "requirePermitted", 2, Purpose),
    ("ResearchMarket", "requestId", 1, RequestTerms),
    ("ResearchMarket", "settle", 0, Settlement),
]
# A view says `state`, and keeps the number beside it.
RENAMED = {"stageNumber": "stage", "stateNumber": "state"}


def names(struct: type[SolidityStruct]) -> list[str]:
    written = [solidity_name(name) for name in struct.kinds()]
    return [RENAMED.get(name, name) for name in written]


@pytest.mark.parametrize(("contract", "function", "struct"), OUTPUTS)
def test_a_view_has_the_fields_of_the_contracts_struct(
    contract: str, function: str, struct: type[SolidityStruct]
) -> None:
    (output,) = artifacts.load(contract).functions[function].outputs
    assert abi_type(output).removesuffix("[]") == struct.abi_type()
    assert [each["name"] for each in output["components"]] == names(struct)


@pytest.mark.parametrize(("contract", "function", "position", "struct"), INPUTS)
def test_a_message_has_the_fields_of_the_contracts_struct(
    contract: str, function: str, position: int, struct: type[SolidityStruct]
) -> None:
    argument = artifacts.load(contract).functions[function].inputs[position]
    assert abi_type(argument) == struct.abi_type()
    assert [each["name"] for each in argument["components"]] == names(struct)


def test_liabilities_are_the_contracts_five_kinds_in_order() -> None:
    outputs = artifacts.load("ResearchMarket").functions["liabilities"].outputs
    assert [each["name"] for each in outputs] == names(Liabilities)


def test_a_stage_or_state_that_no_contract_has_is_a_fault_of_the_node() -> None:
    request = RequestView(**zeros(RequestView) | {"stage_number": len(RequestStage)})
    consent = ConsentView(**zeros(ConsentView) | {"state_number": len(ConsentState)})
    refused("node_fault", getattr, request, "stage")
    refused("node_fault", getattr, request, "was_sealed")
    refused("node_fault", getattr, consent, "state")


def zeros(struct: type[SolidityStruct]) -> dict[str, Any]:
    """What a view returns of something that is not there."""
    known = {"address": ZERO_ADDRESS, "bytes32": ZERO_HASH}
    return {name: known.get(kind.name, 0) for name, kind in struct.kinds().items()}


@pytest.mark.parametrize(
    ("interface", "enum", "words"),
    [
        ("IResearchMarket", "Stage", RequestStage),
        ("IConsentRegistry", "ConsentState", ConsentState),
    ],
)
def test_enumerations_count_as_the_contracts_do(
    interface: str, enum: str, words: type[RequestStage] | type[ConsentState]
) -> None:
    source = (artifacts.FOLDER.parent / "src" / "interfaces" / f"{interface}.sol").read_text()
    body = source.partition(f"enum {enum} {{")[2].partition("}")[0]
    found = [line.partition("//")[0].strip(" ,") for line in body.splitlines() if line.strip()]
    assert [name.upper() for name in found] == [each.name.replace("_", "") for each in words]
