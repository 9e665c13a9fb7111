"""Asking in either lane: what a page offers of each, by what a dataset and its custodians can answer."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from marketplace.analyses.catalogue import lanes_of
from marketplace.analyses.explained import MEANS_IN
from marketplace.conditions import NONE, together
from marketplace.vocabulary import Lane
from marketplace.wire.dictionary import from_json
from tests.support.api_world import ApiWorld, api_world
from tests.support.joining_world import make_joint_key, publish
from tests.support.nodes import ROOT
from tests.support.tally_world import ENCODED
from tests.support.web_browser import Browser
from tests.support.web_world import WebWorld, web_world
from web.lanes import NO_JOINT_KEY, NOT_ENCODED, OF_SUMS, WORDS

ADDRESSES = count(1)
RADIO = re.compile(r'<input type="radio"[^>]*name="lane"[^>]*>')
NOT_ASKED: dict[Lane, set[str]] = {Lane.VAULT: set(), Lane.HOMOMORPHIC: {"clip"}}
"""What the builder leaves out in a lane (`NOT_ENCRYPTED` of `question.js`)."""
OPTION = re.compile(r'<option value="(\w+\.v1)">')


@dataclass
class Asked:
    """`pages`: the builder of a dataset without an encoding, of one without a joint key, and with both.

    `datasets`: the dataset's own page at the same three times.
    """

    world: WebWorld
    pages: dict[str, str]
    datasets: dict[str, str]
    plain: str

    @property
    def api(self) -> ApiWorld:
        return self.world.api

    @property
    def visitor(self) -> Browser:
        found = Browser(self.world, address=f"192.0.2.{next(ADDRESSES)}")
        found.look()
        return found

    def quote(self, **changes: Any) -> Any:
        return self.visitor.post("/ask/quote", self.api.quote(**changes))


def page(world: WebWorld) -> str:
    found = Browser(world, address=f"192.0.2.{next(ADDRESSES)}")
    return html.unescape(found.look(f"/ask?dataset={world.api.dataset}").get_data(as_text=True))


def dataset_page(world: WebWorld) -> str:
    found = Browser(world, address=f"192.0.2.{next(ADDRESSES)}")
    return found.look(f"/datasets/{world.api.dataset}").get_data(as_text=True)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with api_world(tmp_path_factory.mktemp("lanes")) as api, web_world(api) as world:
        plain, pages = api.dataset, {"not encoded": page(world)}
        datasets = {"not encoded": dataset_page(world)}
        publish(api.custody, from_json(ENCODED))
        api.operator.dictionaries.keep(api.custody.dictionary.to_bytes())
        api.custody.tick()
        pages["no key"], datasets["no key"] = page(world), dataset_page(world)
        make_joint_key(api)
        api.custody.tick()
        pages["both"], datasets["both"] = page(world), dataset_page(world)
        yield Asked(world, pages, datasets, plain)


@pytest.mark.parametrize(("which", "why"), [("not encoded", NOT_ENCODED), ("no key", NO_JOINT_KEY)])
def test_a_lane_that_cannot_answer_is_not_offered_and_the_reason_is_said(
    asked: Asked, which: str, why: str
) -> None:
    shown = asked.pages[which]
    assert not RADIO.findall(shown)
    assert "The homomorphic lane cannot answer here" in shown
    assert why in shown
    assert WORDS[Lane.VAULT].means in shown
    assert WORDS[Lane.HOMOMORPHIC].means not in shown


def test_the_page_of_a_dataset_says_how_it_can_be_asked_and_what_its_encoding_lists(
    asked: Asked,
) -> None:
    shown = {name: html.unescape(dataset_page) for name, dataset_page in asked.datasets.items()}
    for page_ in shown.values():
        assert all(words.in_words in page_ for words in WORDS.values())
    assert f"It cannot answer here: {NOT_ENCODED}" in shown["not encoded"]
    assert "What can be said of encrypted values" not in shown["not encoded"]
    assert f"It cannot answer here: {NO_JOINT_KEY}" in shown["no key"]
    assert "It cannot answer here" not in shown["both"]
    both = shown["both"].partition("What can be said of encrypted values: 2 variables, 2 products")[
        2
    ]
    for told in (
        "rounded to whole mmHg; can be cut at 120, 160",
        "which of its categories: no, yes",
        "<li>Systolic blood pressure x Systolic blood pressure</li>",
        "<li>Smoker yes x Systolic blood pressure</li>",
    ):
        assert told in both, told


def test_where_both_answer_each_says_who_sees_what_and_none_is_chosen_beforehand(
    asked: Asked,
) -> None:
    shown = asked.pages["both"]
    radios = RADIO.findall(shown)
    assert [re.findall(r'value="(\d)"', each) for each in radios] == [["1"], ["2"]]
    assert not any("checked" in each for each in radios)
    assert "cannot answer here" not in shown
    for words in WORDS.values():
        assert words.label in shown
        assert words.means in shown
    assert "Unless you choose, it is the vault lane." in shown
    assert "Systolic blood pressure at 120, 160" in shown
    assert "Systolic blood pressure to whole mmHg. Answers, cells and conditions" in shown


def test_the_page_names_what_only_the_command_line_asks(asked: Asked) -> None:
    shown = asked.pages["both"]
    reads = asked.api.operator.reads
    rest = {each["id"]: each["title"] for each in reads.catalogue(Lane.HOMOMORPHIC)}
    offered = set(OPTION.findall(shown))
    assert offered == {each["id"] for each in reads.catalogue()}
    for name, title in rest.items():
        assert (name in offered) == (Lane.VAULT in lanes_of(name))
        if name not in offered:
            assert title in shown.split("usufruct request --lane homomorphic")[1]


def test_facts_say_which_conditions_an_analysis_of_sums_can_have_once_there_is_an_encoding(
    asked: Asked,
) -> None:
    told = {
        name: json.loads(page.split('data-facts="')[1].split('"></div>')[0])["together"]
        for name, page in asked.pages.items()
    }
    assert told["not encoded"] == {}
    assert told["both"] == together(from_json(ENCODED))
    assert told["both"]["mean.v1"]["systolic"] == NONE


def test_facts_tell_of_each_analysis_its_lanes_and_what_parameters_mean_there(asked: Asked) -> None:
    facts = json.loads(asked.pages["both"].split('data-facts="')[1].split('"></div>')[0])
    known = {each["id"]: each for each in facts["analyses"]}
    for name, each in known.items():
        here = [lane for lane in lanes_of(name) if lane is Lane.VAULT or name in OF_SUMS]
        assert each["lanes"] == [int(lane) for lane in here]
        assert each["asks"]
        assert each["tells"]
        for lane in here:
            assert set(each["parameters"]) - NOT_ASKED[lane] <= set(MEANS_IN[lane])
    assert facts["means"] == {str(int(lane)): dict(means) for lane, means in MEANS_IN.items()}


def test_the_builder_leaves_out_what_cannot_be_said_of_encrypted_values() -> None:
    module = (ROOT / "web/static/js/question.js").read_text()
    (listed,) = re.findall(r"NOT_ENCRYPTED = (\[.*?\]);", module)
    assert set(json.loads(listed)) == NOT_ASKED[Lane.HOMOMORPHIC]


def test_pages_ask_in_sums_what_their_modules_can_open() -> None:
    module = (ROOT / "web/static/js/tally/answers.js").read_text()
    opened = module.split("QUESTIONS = {")[1].split("};")[0]
    assert set(re.findall(r'"(\w+\.v1)":', opened)) == OF_SUMS
    vectors = json.loads((ROOT / "tests/vectors/tally_answers.json").read_text())
    tested = {each["analysis"] for each in vectors["answers"]["cases"]}
    assert tested == OF_SUMS


# --- quotes


def test_a_quote_of_the_homomorphic_lane_tells_whose_noise_it_has(asked: Asked) -> None:
    counted = {
        "analysis": "count.v1",
        "parameters": {"filters": [{"variable": "smoker", "op": "==", "value": "yes"}]},
    }
    told = asked.quote(lane=2, **counted).get_json()
    assert told["lane"] == 2
    assert {each: told["tally"][each] for each in ("custodians", "quorum", "inflation")} == {
        "custodians": 3,
        "quorum": 2,
        "inflation": "1.50",
    }
    in_vault = asked.quote(**counted).get_json()
    assert (in_vault["lane"], in_vault["tally"]) == (1, None)
    assert asked.quote(lane=1, **counted).get_json() == in_vault
    widths = [float(each["expected_error"]["half_width"]) for each in (in_vault, told)]
    assert 1.2 < widths[1] / widths[0] < 1.3  # the root of 1.5


@pytest.mark.parametrize("lane", [0, 3, "2", True, None, [2]])
def test_what_is_no_lane_is_refused_at_its_field(asked: Asked, lane: object) -> None:
    answer = asked.quote(lane=lane)
    assert (answer.status_code, answer.get_json()["field"]) == (400, "lane")


def test_what_a_lane_cannot_answer_is_refused_before_it_is_paid(asked: Asked) -> None:
    refused = asked.quote(lane=2, dataset=asked.plain)
    assert (refused.status_code, refused.get_json()["code"]) == (422, "not_encoded")
    level = {"variable": "systolic", "level": "0.5"}
    refused = asked.quote(lane=2, analysis="quantile.v1", parameters=level)
    assert refused.get_json()["field"] == "analysis"
    cut = {"variable": "systolic", "edges": ["60", "130", "260"]}
    refused = asked.quote(lane=2, analysis="histogram.v1", parameters=cut)
    assert refused.get_json()["field"] == "edges"
    assert "120" in refused.get_json()["remedy"]
