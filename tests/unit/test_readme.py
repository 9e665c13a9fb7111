"""Rules of the README: what it names exists, what it shows is what the code says."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import click
import pytest

from marketplace.analyses import analysis_by_id
from marketplace.analyses.variables import variables_of
from marketplace.chain import artifacts
from marketplace.cli.main import main as usufruct
from marketplace.client import Answer, Ask, Marketplace
from marketplace.client.steward import class_terms
from marketplace.config import OperatorConfig
from marketplace.custodian.config import CustodianConfig
from marketplace.demo import setting
from marketplace.fhir.extract import extract
from marketplace.gate.config import GateConfig
from marketplace.stages import diagram
from marketplace.wire import class_page
from marketplace.wire import dictionary as dictionaries
from marketplace.wire.class_page import ClassPage
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.terms import Credential, Purpose
from ml.ckks.models import model_of
from tests.support.readme import CHECKED, CODE, Command, commands, documents, only, section, text
from tools.readme import ROOT, render

TEXT = text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
READERS: dict[str, Callable[[Any], object]] = {
    "CustodianConfig": CustodianConfig.model_validate,
    "GateConfig": GateConfig.model_validate,
    "Dictionary": dictionaries.from_json,
    "Bundle": lambda body: extract(json.dumps(body).encode(), readme_dictionary()),
    "OperatorConfig": OperatorConfig.model_validate,
    "ClassTerms": lambda body: class_terms(body, readme_page()),
    "ClassPage": class_page.from_json,
    "Credential": Credential.from_json,
    "Model": model_of,
    "Purpose": Purpose.from_json,
}


def readme_dictionary() -> Dictionary:
    """The dictionary that the README shows."""
    (shown,) = [body for name, body in CHECKED.findall(TEXT) if name == "Dictionary"]
    return dictionaries.from_json(json.loads(shown))


def readme_page() -> ClassPage:
    """The page that the README shows."""
    (shown,) = [body for name, body in CHECKED.findall(TEXT) if name == "ClassPage"]
    return class_page.from_json(json.loads(shown))


def codes(prefix: str, of: str = TEXT) -> list[list[str]]:
    """The arguments of every command in backquotes that starts with `prefix`."""
    found = [shlex.split(code) for code in CODE.findall(of)]
    return [words[1:] for words in found if words[0] == prefix and len(words) > 1]


def options(words: list[str]) -> set[str]:
    """Those of the command that `words` start with."""
    return {name for param in find(words).params for name in param.opts} | {"--help"}


def find(words: list[str]) -> click.Command:
    """The command that `words` start with, as deep as groups go."""
    context, found = (
        click.Context(usufruct),
        usufruct.get_command(click.Context(usufruct), words[0]),
    )
    assert found is not None, f"no command {words[0]}"
    if isinstance(found, click.Group) and len(words) > 1 and words[1].islower():
        inner = found.get_command(context, words[1])
        if inner is not None or not words[1].startswith("-"):
            assert inner is not None, f"no command {words[:2]}"
            return inner
    return found


def test_generated_parts_are_what_the_code_says() -> None:
    assert render(TEXT) == TEXT, "run `python -m tools.readme`"
    assert diagram() in TEXT


def test_every_command_of_the_readme_exists_with_its_options() -> None:
    named = [words for words in codes("usufruct") if words[0].islower() and words[0][0] != "-"]
    assert len(named) > 30
    for words in (*named, *(command.words for command in commands(TEXT))):
        assert {word for word in words if word.startswith("--")} <= options(words), words


def test_every_command_that_the_readme_has_typed_gives_what_that_command_requires() -> None:
    for command in commands(TEXT):
        needed = [param for param in find(command.words).params if param.required and param.opts]
        given = set(command.words)
        missing = [param.opts for param in needed if param.param_type_name == "option"]
        assert [opts for opts in missing if not given & set(opts)] == [], command.line


def test_every_command_that_exists_is_in_the_readme() -> None:
    named = {words[0] for words in codes("usufruct")}
    assert set(usufruct.list_commands(click.Context(usufruct))) <= named


@pytest.mark.parametrize("document", [TEXT, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_make_target_exists(document: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {words[0] for words in codes("make", document) if "=" not in words[0]}
    assert named
    assert named <= targets


def test_every_json_of_the_readme_is_read_by_the_code_that_it_is_for() -> None:
    found = CHECKED.findall(TEXT)
    assert {name for name, _ in found} == set(READERS)
    for name, body in found:
        READERS[name](json.loads(body))


def test_the_record_of_the_readme_has_every_variable_of_its_dictionary() -> None:
    (body,) = [body for name, body in CHECKED.findall(TEXT) if name == "Bundle"]
    values = extract(body.encode(), readme_dictionary())
    assert values == {"age": 64, "systolic": 128, "sex": "female"}


def test_the_request_of_the_readme_can_be_asked_of_its_dictionary() -> None:
    words = only(commands(section("A real node and remote custodians")), "request").words
    given = dict(zip(words[1::2], words[2::2], strict=True))
    variables = variables_of(readme_dictionary())
    analysis = analysis_by_id(given["--analysis"])
    asked = analysis.parse(json.loads(given["--parameters"]), variables)
    assert analysis.expected_error(asked, 1_000, int(given["--cost"])).unit == "mm[Hg]"


def test_a_mask_of_the_readme_is_the_number_that_the_contracts_use() -> None:
    for row in (
        "| `permission`, one of | 3 | DUO:0000006 health",
        "| `modifiers` | 32 | DUO:0000046 non-commercial use only",
        "| `modifiers`, `duties` | 16384 | DUO:0000019 duty to publish |",
        "| `uses`, `researchTypes` | 64 | DUO:0000037 biomedical research |",
        "| `releaseKinds` | 2 | results that are tables |",
        "| `kind`, one of | 1 | the researcher's is a non-profit organisation |",
    ):
        assert row in TEXT
    assert (setting.HMB, setting.NCU, setting.PUB, setting.BIOMEDICAL) == (3, 32, 16384, 64)


def test_the_readmes_model_is_the_demos_and_both_requests_for_scores_name_its_hash() -> None:
    (shown,) = [json.loads(body) for name, body in CHECKED.findall(TEXT) if name == "Model"]
    assert shown == setting.MODEL
    model = model_of(shown)
    asked = [each.words for each in commands(TEXT) if "score.v1" in each.words]
    assert len(asked) == 2
    for words in asked:
        parameters = json.loads(words[words.index("--parameters") + 1])
        assert parameters["model"] == "0x" + model.hash.hex()
        assert parameters["variables"] == [each.name for each in model.inputs]


def test_what_the_readme_says_of_lanes_and_of_the_demo_is_one_story() -> None:
    """It once said in one place that pages ask in the homomorphic lane, and in another that they do not."""
    assert "not ask in the" not in " ".join(TEXT.split())
    story = TEXT.partition("The demo is a client")[2].partition("### Words")[0]
    for told in ("homomorphic lane", "added up again", "`--port 9000`"):
        assert told in " ".join(story.split())


def test_every_document_of_the_readme_is_a_file_that_a_command_or_a_server_reads() -> None:
    read = {word for command in commands(TEXT) for word in command.files(".json")}
    assert set(documents(TEXT)) <= read


def test_a_command_is_named_by_its_words_before_options_and_files() -> None:
    typed = {
        "usufruct custodian init --data custodian > custodian-0.json": "custodian init",
        "usufruct custodian --config custodian.json": "custodian",
        "usufruct key deployer.key": "key",
    }
    assert {line: Command(line).name for line in typed} == typed


def test_every_event_that_carries_an_address_is_listed_as_linkable() -> None:
    section = TEXT.partition("### What stays linkable")[2].partition("\n## ")[0]
    listed = set(CODE.findall(section))
    for contract in artifacts.CONTRACTS:
        for entry in artifacts.load(contract).abi:
            kinds = json.dumps(
                [each for each in entry.get("inputs", ()) if entry["type"] == "event"]
            )
            if '"type": "address' in kinds or '"type": "tuple' in kinds:
                assert entry["name"] in listed, f"{contract}.{entry['name']} links addresses"


def test_the_python_of_the_readme_names_what_exists() -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    tree = ast.parse(shown)
    known: dict[str, Any] = {}
    imports = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), "README", "exec"), known)
    known |= {"market": Marketplace, "ask": Ask, "answer": Answer}
    for each in ast.walk(tree):
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
            owner = each.value.id
            assert owner == "demo" or hasattr(known[owner], each.attr), f"{owner}.{each.attr}"
    calls = {ast.unparse(each.func): each for each in ast.walk(tree) if isinstance(each, ast.Call)}
    given = {each.arg for each in calls["ask.run"].keywords}
    assert given <= set(inspect.signature(Ask.run).parameters)


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).is_file(), target
