"""Before anything is paid: what a class does not let out, what there is not, what a lane does not take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from eth_utils.crypto import keccak

from marketplace.analyses.analysis import ReleaseKind
from marketplace.errors import Refusal
from marketplace.prices import figures
from marketplace.releases import MOST_LOOKED_AT, not_allowed
from marketplace.wire.data_use import RELEASES
from marketplace.words import quote_words
from tests.support.asking_world import asking_world
from tests.support.chain_world import TERMS
from tests.support.web_world import WebWorld

ALL, NUMBERS, TABLES, SCORES = 1, 2, 3, 4
"""Classes by what may leave."""
MODEL = "0x" + keccak(text="model").hex()
QUESTIONS: dict[str, dict[str, Any]] = {
    "mean.v1": {"variable": "systolic"},
    "cross_table.v1": {
        "axes": [{"variable": "smoker"}, {"variable": "systolic", "edges": ["60", "120", "260"]}]
    },
    "score.v1": {"model": MODEL, "variables": ["systolic"]},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    """The dataset's first class lets everything out; three more one kind each."""
    with asking_world(tmp_path_factory.mktemp("releases")) as made:
        custody = made.api.custody
        for kind in ReleaseKind:
            terms = replace(TERMS, release_kinds=1 << kind)
            custody.sender.send("DatasetRegistry", "publishClass", custody.dataset, terms)
        custody.tick()
        yield made


def quoted(world: WebWorld, analysis: str, *classes: int) -> dict[str, Any]:
    """In the homomorphic lane, which has every kind of release; by the figures that operators and
    clients share, since only those ask for no published model."""
    asked = world.api.quote(
        analysis=analysis,
        parameters=QUESTIONS[analysis],
        classes=list(classes),
        lane=2,
        cost=1_000_000,
    )
    return figures(world.api.operator.chain, world.api.operator.dictionaries.of, asked)


@pytest.mark.parametrize(
    ("analysis", "classes", "message", "others"),
    [
        ("mean.v1", (TABLES,), "Class 3 does not allow numbers", "1, 2"),
        ("cross_table.v1", (NUMBERS,), "Class 2 does not allow tables", "1, 3"),
        ("score.v1", (NUMBERS,), "Class 2 does not allow personal scores", "1, 4"),
        ("score.v1", (ALL, TABLES), "Class 3 does not allow personal scores", "1, 4"),
        ("mean.v1", (TABLES, SCORES), "Classes 3, 4 do not allow numbers", "1, 2"),
    ],
)
def test_a_quote_names_the_class_that_does_not_allow_it_and_those_that_do(
    world: WebWorld, analysis: str, classes: tuple[int, ...], message: str, others: str
) -> None:
    refusal = quoted(world, analysis, *classes)["refusal"]
    assert (refusal["code"], refusal["field"]) == ("release_not_allowed", "class")
    assert refusal["message"].startswith(message)
    assert analysis in refusal["message"]
    assert f"these allow it: {others}." in refusal["remedy"]


@pytest.mark.parametrize(
    ("analysis", "classes"),
    [
        ("mean.v1", (ALL, NUMBERS)),
        ("cross_table.v1", (ALL, TABLES)),
        ("score.v1", (ALL, SCORES)),
    ],
)
def test_what_every_class_allows_is_quoted_without_a_refusal(
    world: WebWorld, analysis: str, classes: tuple[int, ...]
) -> None:
    assert quoted(world, analysis, *classes)["refusal"] is None


def test_the_api_quotes_it_and_says_first_that_it_cannot_be_bought(world: WebWorld) -> None:
    told = world.api.post("/quotes", world.api.quote(classes=[TABLES])).get_json()
    assert told["refusal"]["code"] == "release_not_allowed"
    first, *_ = quote_words(told)
    assert first.startswith("It cannot be bought like this. Class 3 does not allow numbers")
    assert told["in_words"][0] == first


@pytest.mark.parametrize("kind", ReleaseKind)
def test_where_no_class_allows_it_the_remedy_names_none(kind: ReleaseKind) -> None:
    """As the demo's dataset, whose one class allows numbers and tables."""
    allows = {1: 0xFFFFFFFF & ~(1 << kind)}
    found = not_allowed("an.v1", kind, [1], allows, 1)
    assert f"Class 1 does not allow {RELEASES[kind]}" in found.message
    assert "No class of this dataset allows it" in found.remedy
    of_many = not_allowed("an.v1", kind, [1], allows, MOST_LOOKED_AT + 1)
    assert f"None of its first {MOST_LOOKED_AT} classes allows it" in of_many.remedy


def test_terms_for_such_a_class_are_refused_at_the_classes_before_they_are_paid(
    world: WebWorld,
) -> None:
    before = world.api.state()
    answer = world.api.post_signed(world.api.submission("tables only", classes=(TABLES,)))
    found = answer.get_json()
    assert answer.status_code == 422, found
    assert (found["code"], found["field"]) == ("release_not_allowed", "terms.classes")
    assert "these allow it: 1, 2." in found["remedy"]
    assert world.api.state() == before


# --- datasets that there are not


@pytest.mark.parametrize("last", ["0000", "0001", "ffff"])
def test_a_wrong_dataset_is_what_a_quote_is_refused_for(world: WebWorld, last: str) -> None:
    wrong = "0x" + keccak(text="no dataset").hex()[:60] + last
    asked = world.api.quote(dataset=wrong)
    chain, dictionary = world.api.operator.chain, world.api.custody.dictionary
    with pytest.raises(Refusal) as caught:
        figures(chain, lambda _: dictionary, asked)
    by_operator = world.api.post("/quotes", asked).get_json()
    for found in (caught.value.reason(), {**by_operator, "message": by_operator["detail"]}):
        assert (found["code"], found["field"]) == ("unknown_dataset", "dataset")
        assert "There is no such dataset" in str(found["message"])
        assert "usufruct datasets" in str(found["remedy"])


# --- parameters that a lane takes


def test_no_catalogue_offers_a_parameter_that_its_lane_refuses(world: WebWorld) -> None:
    told = world.api.get("/catalogue").get_json()["analyses"]
    offered = {
        (each["lane"], each["id"]): {named["name"] for named in each["parameters"]} for each in told
    }
    for name in ("sum.v1", "mean.v1", "variance.v1"):
        assert offered[1, name] == {"clip", "filters", "variable"}
        assert offered[2, name] == {"filters", "variable"}
    clipped = {**QUESTIONS["mean.v1"], "clip": ["80", "200"]}
    for lane, field in ((1, None), (2, "clip")):
        asked = world.api.quote(parameters=clipped, lane=lane)
        assert world.api.post("/quotes", asked).get_json().get("field") == field
