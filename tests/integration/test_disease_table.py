"""A steward's disease table, by command: which disease is a kind of which, before the first class."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from eth_account import Account
from eth_utils.crypto import keccak

from marketplace.chain.adapter import Chain
from marketplace.chain.deploy import DeploySettings, deploy
from marketplace.cli.main import main
from marketplace.client import steward
from marketplace.demo.setting import class_terms
from marketplace.fhir.demo import demo_dictionary
from tests.support.chain_world import DAY, POLICY
from tests.support.nodes import RunningNode, any_node

CANCER, BREAST_CANCER, LUNG_CANCER, ASTHMA = 4992, 7254, 8903, 4979
MANY = 450
"""Lines: more than go into two transactions."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with any_node(tmp_path_factory.mktemp("diseases")) as running:
        yield running


@pytest.fixture(scope="module")
def chain(node: RunningNode) -> Chain:
    me = Account.from_key(node.funded_key).address
    settings = DeploySettings(policy=POLICY, minimum_horizon=DAY, stewards=[me])
    return Chain(node.url, deploy(node.url, node.funded_key, settings))


def published(chain: Chain, node: RunningNode, number: int) -> bytes:
    salt = number.to_bytes(32, "big")
    return steward.publish_dataset(chain, node.funded_key, demo_dictionary(), salt)


def typed(chain: Chain, node: RunningNode, folder: Path, dataset: bytes, table: object) -> str:
    """What the command printed; the refusal's sentence where it refused."""
    for name, content in {"manifest": chain.manifest.to_json(), "diseases": table}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    key = folder / "steward.key"
    if not key.exists():
        key.touch(0o600)
        key.write_text("0x" + node.funded_key.hex())
    arguments = ["--node", node.url, "--dataset", "0x" + dataset.hex(), "--key-file", str(key)]
    for name in ("manifest", "diseases"):
        arguments += [f"--{name}", str(folder / f"{name}.json")]
    return CliRunner().invoke(main, ["register-diseases", *arguments]).output


def line(disease: int, kind_of: int) -> dict[str, int]:
    return {"disease": disease, "kindOf": kind_of}


def test_a_disease_is_a_kind_of_what_the_table_says_and_of_nothing_else(
    chain: Chain, node: RunningNode, tmp_path: Path
) -> None:
    dataset = published(chain, node, 1)
    table = [line(BREAST_CANCER, CANCER), *(line(100_000 + n, CANCER) for n in range(MANY))]
    shown = json.loads(typed(chain, node, tmp_path, dataset, table))
    assert shown == {"dataset": "0x" + dataset.hex(), "registered": MANY + 1}
    for disease in (BREAST_CANCER, 100_000, 100_000 + MANY - 1):
        assert chain.call("DatasetRegistry", "isDescendant", dataset, disease, CANCER)
    for disease, kind in ((LUNG_CANCER, CANCER), (CANCER, BREAST_CANCER), (BREAST_CANCER, ASTHMA)):
        assert not chain.call("DatasetRegistry", "isDescendant", dataset, disease, kind)


def test_after_the_first_class_the_table_is_fixed(
    chain: Chain, node: RunningNode, tmp_path: Path
) -> None:
    dataset = published(chain, node, 2)
    steward.publish_class(chain, node.funded_key, dataset, class_terms())
    said = typed(chain, node, tmp_path, dataset, [line(BREAST_CANCER, CANCER)])
    assert "[disease_table_sealed] (field dataset)" in said
    assert not chain.call("DatasetRegistry", "isDescendant", dataset, BREAST_CANCER, CANCER)


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ([], "diseases"),
        ({"disease": BREAST_CANCER}, "diseases"),
        ([line(BREAST_CANCER, CANCER), {"disease": 1}], "diseases[1].kindOf"),
        ([line(BREAST_CANCER, 2**32)], "kindOf"),
        ([line(CANCER, CANCER)], "diseases"),
        ([line(CANCER, 0)], "diseases"),
    ],
)
def test_a_table_that_says_nothing_or_nonsense_is_refused_and_names_where(
    chain: Chain, node: RunningNode, tmp_path: Path, table: object, field: str
) -> None:
    salt = int.from_bytes(keccak(text=json.dumps(table)))
    dataset = published(chain, node, salt)
    assert f"(field {field})" in typed(chain, node, tmp_path, dataset, table)
