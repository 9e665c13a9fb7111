"""Rules of what pages say: nothing without words, and as much as the README says of what is not protected."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html import unescape
from pathlib import Path

import pytest

from marketplace.analyses import CATALOGUE
from marketplace.analyses.explained import EXAMPLES, MEANS_IN
from marketplace.chain.adapter import MarketPolicy
from marketplace.chain.artifacts import CONTRACTS
from marketplace.chain.views import RequestStage
from marketplace.stages import NEXT, TERMINAL, WAYS, Stage
from marketplace.vocabulary import Lane
from marketplace.wire.class_page import PARAGRAPHS
from marketplace.wire.terms import Credential
from tools.readme import README, ROOT
from web.pages.contracts import PURPOSES, WINDOWS
from web.pages.datasets import HEADINGS
from web.pages.licences import VENDOR, packages
from web.pages.requests import PARAMETERS, in_words, organisation, parameters
from web.wording import STAGES, steps, wording

TEMPLATES = ROOT / "web" / "templates"
TONES = {"good", "active", "care", "bad", "still"}
FORBIDDEN = re.compile(r"anonym|100\s*%\s*safe|completely (?:safe|secure)|guarantee", re.IGNORECASE)


def plain_text(path: Path) -> str:
    """A template's words without markup, its white space as single blanks."""
    text = re.sub(r"\{%.*?%\}|<[^>]+>", lambda found: _named(found[0]), path.read_text())
    return re.sub(r"\s+", " ", unescape(text))


def _named(tag: str) -> str:
    """Of a call, its text; of any other tag, nothing."""
    found = re.match(r'\{% call gap\("([^"]*)"\)', tag)
    return found[1] if found else ""


def without_markup(text: str) -> str:
    """A line of the README as a reader sees it."""
    return re.sub(r"\*\*|`", "", text).strip()


# --- stages


def test_every_stage_of_operator_and_chain_has_words_and_a_tone() -> None:
    names = {str(each) for each in Stage} | {each.name.lower() for each in RequestStage}
    assert set(STAGES) == names
    for name in names:
        assert wording(name).tone in TONES
        assert wording(name).means.endswith(".")


@pytest.mark.parametrize(("lane", "stage"), [(lane, each) for lane in Lane for each in WAYS[lane]])
def test_on_the_way_what_is_behind_is_done_and_what_comes_is_ahead(
    lane: Lane, stage: Stage
) -> None:
    way = WAYS[lane]
    log = [{"after": str(each), "at": f"2026-01-0{1 + n}"} for n, each in enumerate(way)]
    passed = [each for each in log if way.index(Stage(each["after"])) <= way.index(stage)]
    shown = steps(stage, passed, lane)
    at = way.index(stage)
    ends = "done" if stage is Stage.SETTLED else "now"
    assert [each["state"] for each in shown] == ["done"] * at + [ends] + ["ahead"] * (
        len(way) - at - 1
    )
    assert [each["at"] for each in shown[: at + 1]] == [each["at"] for each in passed]
    assert {each["at"] for each in shown[at + 1 :]} <= {None}


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("end", sorted(TERMINAL - {Stage.SETTLED}))
def test_a_request_that_ended_without_an_answer_shows_only_what_it_passed(
    end: Stage, lane: Lane
) -> None:
    way = WAYS[lane]
    (before,) = [each for each in way if end in NEXT[each]][:1]
    passed = way[: way.index(before) + 1]
    log = [{"after": str(each), "at": "2026-01-01"} for each in (*passed, end)]
    shown = steps(end, log, lane)
    assert [each["state"] for each in shown] == ["done"] * len(passed) + ["ended"]
    assert shown[-1]["label"] == wording(end).label


def test_a_request_of_another_operator_is_shown_by_the_chains_name_of_its_stage() -> None:
    shown = steps("opened", [], Lane.VAULT)
    assert [each["label"] for each in shown if each["state"] == "now"] == ["Paid"]
    assert all(each["at"] is None for each in shown)


# --- what is asked


def test_every_parameter_of_either_catalogue_has_a_label() -> None:
    assert set(PARAMETERS) == {name for means in MEANS_IN.values() for name in means}


@pytest.mark.parametrize("analysis", sorted(CATALOGUE))
def test_parameters_read_as_words_and_none_is_lost(analysis: str) -> None:
    example = EXAMPLES[analysis]
    shown = parameters(example, {})
    assert len(shown) == len(example)
    for _, words in shown:
        assert not set(words) & set('{}[]"')
        assert words


def test_a_condition_reads_in_the_order_of_a_sentence_however_it_was_written() -> None:
    filters = [
        {"value": "50", "variable": "age", "op": ">="},
        {"op": "in", "value": ["female", "other"], "variable": "sex"},
    ]
    assert in_words(filters) == "age >= 50; sex in female, other"
    assert parameters({"new": {"z": 1, "a": 2}, "variable": "age"}, {}) == [
        ("Variable", "age"),
        ("new", "2 1"),
    ]
    labels = {"age": "Age", "sex": "Sex of the patient"}
    assert parameters({"filters": filters, "variable": "age"}, labels) == [
        ("Variable", "Age"),
        ("Only patients with", "Age >= 50; Sex of the patient in female, other"),
    ]


def test_who_asks_is_said_as_the_authority_vouches_for_it() -> None:
    zero = bytes(32)
    given = Credential(2, b"NL", 1, False, zero, zero, zero)
    assert organisation(given) == "a public body in NL (Netherlands)"
    withdrawn = dataclasses.replace(given, withdrawn=True)
    assert organisation(withdrawn).endswith(
        "NL (Netherlands), whose credential was withdrawn since"
    )
    assert organisation(dataclasses.replace(given, kind=0)) == "somebody without a credential now"


# --- contracts, classes, licences


def test_every_contract_and_every_constant_of_the_policy_is_explained() -> None:
    assert set(PURPOSES) == set(CONTRACTS)
    shown = (TEMPLATES / "contracts" / "show.html").read_text()
    explained = {name for name, _, _ in WINDOWS}
    explained |= set(re.findall(r"deployment\.policy\.(\w+)", shown))
    assert explained == {field.name for field in dataclasses.fields(MarketPolicy)}


def test_every_paragraph_of_a_class_page_has_its_heading_pay_after_the_risks() -> None:
    assert tuple(HEADINGS) == PARAGRAPHS
    assert list(HEADINGS).index("pay") > list(HEADINGS).index("how_protected")


def test_the_licences_name_every_vendored_file_by_the_hash_of_its_bytes() -> None:
    shown = packages(VENDOR)
    files = {each["path"]: each["sha384"] for package in shown for each in package["files"]}
    assert set(files) == {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*.js")}
    for path, named in files.items():
        digest = hashlib.sha384((VENDOR / path).read_bytes()).digest()
        assert named == "sha384-" + base64.b64encode(digest).decode()
    assert all(
        package["licence"] in package["text"] for package in shown if package["licence"] == "MIT"
    )
    assert all("Copyright" in package["text"] for package in shown)


# --- trust


def test_the_trust_page_hides_no_weakness_that_the_readme_admits() -> None:
    weaknesses = README.read_text().partition("### Not protected")[2].partition("\n### ")[0]
    named = re.findall(r"^- \*\*(.+?)\*\*", weaknesses, re.MULTILINE)
    assert len(named) > 10
    shown = plain_text(TEMPLATES / "trust" / "show.html")
    assert [each for each in named if each not in shown] == []


def test_the_trust_page_names_everything_that_stays_linkable() -> None:
    table = README.read_text().partition("### What stays linkable")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    shown = without_markup((TEMPLATES / "trust" / "show.html").read_text())
    missing = [row for row in map(_beginning, rows) if row not in shown]
    assert missing == []


def _beginning(row: str) -> str:
    """Up to where the page may say it in other words."""
    return re.split(r", if |:", without_markup(row))[0]


def test_the_trust_page_says_the_cut_off_and_who_serves_the_pages() -> None:
    shown = plain_text(TEMPLATES / "trust" / "show.html")
    assert (
        "A request sealed before that, minutes old at most, still counts you, once, and pays you."
        in shown
    )
    assert "The operator serves these pages." in shown


@pytest.mark.parametrize("page", ["home", "trust"])
def test_home_and_trust_name_both_lanes_and_personal_scores(page: str) -> None:
    shown = (TEMPLATES / page / "show.html").read_text().lower()
    for named in ("vault lane", "homomorphic lane", "quorum", "encrypted values", "score"):
        assert named in shown, named


def test_the_trust_page_says_of_personal_scores_who_sees_what_the_readme_says() -> None:
    part = README.read_text().partition("### Personal scores")[2].partition("What this does not")[0]
    table = part.partition("| who | sees |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) == 4
    told = plain_text(TEMPLATES / "trust" / "show.html")
    scores = (TEMPLATES / "trust" / "show.html").read_text().partition("of personal scores")[2]
    assert [who for who in rows if who not in scores.partition("endcall")[0].lower()] == []
    for weakness in ("any ciphertext as a score", "leave a patient out", "nothing proves"):
        assert weakness in told.lower(), weakness


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.name)
def test_no_page_promises_more_than_can_be_kept(path: Path) -> None:
    assert FORBIDDEN.findall(path.read_text()) == []
