"""A steward's pages, in process over a real chain: what is checked, what is given back, what a preview is."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse, encode_multipart

from marketplace.chain.artifacts import abi_arguments, load
from marketplace.chain.deploy import grant_role
from marketplace.chain.funding import fund
from marketplace.chain.sender import Sender
from marketplace.wire import dictionary as dictionaries
from marketplace.wire.canonical import JSON_LIMIT, canonical
from marketplace.wire.class_page import PARAGRAPHS, ClassPage
from marketplace.wire.data_use import DUTIES, MODIFIERS, PERMISSIONS
from marketplace.wire.http import to_hex
from marketplace.wire.terms import ClassTerms
from tests.support.api_world import ApiWorld
from tests.support.chain_world import account
from tests.support.custody_world import DICTIONARY
from tests.support.nodes import EMBEDDED_KEY
from tests.support.web_browser import HTML, Browser
from tests.support.web_world import WebWorld, web_world
from web import class_form
from web.class_form import ASKED_BY, FIELDS, one_line
from web.limits import MOST_FORM

STEWARD = account("steward of the pages")
HEIR = account("steward without the role")
HOSTILE = "<script>window.ran=1</script> & \"quotes\" 'and' ünïcode"
FORM: dict[str, list[str]] = {
    "permission": ["3"],
    "modifiers": ["5", "7"],
    "duties": ["14"],
    "release_kinds": ["0", "1"],
    "countries": ["nl, DE"],
    "max_cost": ["60,000,000"],
    "floor_per_record": ["0.50"],
    "floor_per_milli_rho": ["0.02"],
    "language": ["en"],
    "title": [HOSTILE],
    **{name: [f"The paragraph on {name}."] for name in PARAGRAPHS},
    "why": ["Two lines,\r\n  of which one is made. "],
}
ADDRESSES = count(1)
URLENCODED = "application/x-www-form-urlencoded"


@dataclass
class Desk:
    """A steward at a browser, with a dataset of its own that has no class yet."""

    world: WebWorld
    dataset: bytes
    browser: Browser = field(init=False)

    def __post_init__(self) -> None:
        self.browser = signed_in(self.world, STEWARD)

    @property
    def path(self) -> str:
        return f"/steward/{to_hex(self.dataset)}"

    def send(
        self, path: str, form: Mapping[str, list[str]], kind: str = URLENCODED
    ) -> TestResponse:
        """As the browser itself sends a form."""
        headers = {"Origin": self.world.site.origin, "Sec-Fetch-Site": "same-origin", **HTML}
        body: Any = MultiDict(form)
        if kind == "multipart/form-data":
            boundary, body = encode_multipart(body)
            kind = f"{kind}; boundary={boundary}"
        return self.browser.client.post(path, data=body, headers=headers, content_type=kind)

    def check_dictionary(self, text: str) -> TestResponse:
        """As the page's own form sends what stands in its field: with every line's end as two characters."""
        page = text_of(self.browser.look("/steward/new"))
        form = part(page, '<form id="dictionary-form"', ">")
        kind = re.search('enctype="([^"]*)"', form)
        typed = text.replace("\n", "\r\n")
        return self.send("/steward/new", {"dictionary": [typed]}, kind[1] if kind else URLENCODED)

    def check(self, **changes: list[str]) -> TestResponse:
        return self.send(f"{self.path}/classes/new", {**FORM, **changes})


def signed_in(world: WebWorld, who: LocalAccount) -> Browser:
    return Browser(world, address=f"192.0.2.{next(ADDRESSES)}").sign_in(who)


@pytest.fixture(scope="module")
def world(shared_api: ApiWorld) -> Iterator[WebWorld]:
    with web_world(shared_api) as made:
        yield made


@pytest.fixture(scope="module")
def desk(world: WebWorld) -> Desk:
    custody = world.api.custody
    fund(custody.chain.node, EMBEDDED_KEY, [STEWARD.address], 10**18)
    grant_role(custody.sender, "DatasetRegistry", "STEWARD", STEWARD.address)
    return Desk(world, publish(world, salt=1))


def publish(world: WebWorld, salt: int) -> bytes:
    """A dataset of the steward's, with the dictionary that the operator has."""
    sent = steward_of(world).send(
        "DatasetRegistry",
        "publishDataset",
        world.api.custody.dictionary.hash(),
        salt.to_bytes(32, "big"),
        "",
    )
    return bytes(sent.event("DatasetPublished").args["dataset"])


def steward_of(world: WebWorld) -> Sender:
    return Sender(world.api.custody.chain, bytes(STEWARD.key))


def text_of(answer: TestResponse, status: int = 200) -> str:
    found = answer.get_data(as_text=True)
    assert answer.status_code == status, found
    return found


def part(page: str, start: str, end: str) -> str:
    assert page.count(start) == 1
    return page[page.index(start) : page.index(end, page.index(start)) + len(end)]


# --- datasets


def test_a_steward_sees_its_own_datasets_and_nobody_elses(desk: Desk) -> None:
    page = text_of(desk.browser.look("/steward"))
    assert desk.path in page
    assert desk.world.api.dataset not in page


def test_a_dataset_shows_its_issuers_and_says_what_is_missing(desk: Desk) -> None:
    page = text_of(desk.browser.look(desk.path))
    assert "No issuer yet" in page
    assert "No class yet" in page
    assert 'id="hand-over-dictionary"' not in page


def dictionary(**changes: Any) -> str:
    return json.dumps({**DICTIONARY, **changes}, indent=2)


def number(**changes: Any) -> str:
    variables: Any = DICTIONARY["variables"]
    return dictionary(variables=[variables[0] | changes])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" ", "There is no dictionary yet."),
        ("{", "JSON"),
        ('{"name": 1, "name": 2}', "twice"),
        ("[1]", "dictionary has missing or unknown keys"),
        (dictionary(name="Not A Name"), "name is not a name"),
        (
            number(lower="300"),
            "variables[0].lower is not below upper. (The first of a list is [0].)",
        ),
        (number(unit="\N{LATIN SMALL LETTER X}" * 201), "variables[0].unit is not text"),
        (dictionary(name=HOSTILE), "name is not a name"),
    ],
)
def test_a_dictionary_that_breaks_a_rule_is_refused_at_its_field_and_given_back(
    desk: Desk, text: str, said: str
) -> None:
    before = desk.world.api.operator.chain.datasets()
    answer = desk.send("/steward/new", {"dictionary": [text]})
    assert 400 <= answer.status_code < 500
    page = answer.get_data(as_text=True)
    assert said in html.unescape(part(page, 'id="dictionary-error"', "</p>"))
    assert 'aria-invalid="true"' in page
    given_back = html.unescape(part(page, "<textarea", "</textarea>"))
    assert given_back.partition(">")[2] == f"\n{text}</textarea>"
    assert 'id="publish-dataset"' not in page
    assert "<script>window" not in page
    assert desk.world.api.operator.chain.datasets() == before


def test_a_dictionary_is_shown_as_the_table_that_patients_see(desk: Desk) -> None:
    page = text_of(desk.send("/steward/new", {"dictionary": [dictionary()]}))
    public = text_of(desk.browser.look(f"/datasets/{to_hex(desk.dataset)}"))
    ends = ('<table class="table"', "</table>")
    assert part(page, *ends) == part(public, *ends)
    facts = json.loads(html.unescape(part(page, 'data-facts="', '">')[12:-2]))
    assert facts["hash"] == to_hex(dictionaries.from_json(DICTIONARY).hash())
    assert dictionaries.from_json(facts["dictionary"]).hash().hex() == facts["hash"][2:]


def largest_dictionary() -> str:
    """As many variables, categories and letters of three bytes as a dictionary may have, on many lines."""

    def filled(longest: int) -> str:
        words, names = "\u5b57" * 200, [f"v{number}".ljust(40, "_") for number in range(64)]
        shared = {"kind": "category", "label": words, "code": {"system": words, "code": words}}
        categories = [f"{number:02}" + "\u5b57" * (longest - 2) for number in range(64)]
        variables = [{"name": each, **shared, "categories": categories} for each in names]
        document = {**DICTIONARY, "name": "d" * 40, "version": 2**53, "variables": variables}
        return json.dumps(document, indent=1, ensure_ascii=False)

    longest = max(each for each in range(3, 201) if len(filled(each).encode()) <= JSON_LIMIT)
    text = filled(longest)
    return text + " " * (JSON_LIMIT - len(text.encode()))


def test_the_largest_dictionary_that_may_be_published_is_taken_from_its_form(desk: Desk) -> None:
    text = largest_dictionary()
    page = text_of(desk.check_dictionary(text))
    assert 'id="publish-dataset"' in page
    digest = to_hex(dictionaries.load(text.encode()).hash())
    assert json.loads(html.unescape(part(page, 'data-facts="', '">')[12:-2]))["hash"] == digest


@pytest.mark.parametrize("times", [1, 3])
def test_a_dictionary_that_is_too_large_is_refused_at_its_field(desk: Desk, times: int) -> None:
    answer = desk.check_dictionary(largest_dictionary() * times + " ")
    page = text_of(answer, 413)
    assert f"{JSON_LIMIT:,}" in part(page, 'id="dictionary-error"', "</p>")
    assert 'id="publish-dataset"' not in page


def test_a_form_that_is_dear_to_read_is_taken_no_larger_than_any_other(desk: Desk) -> None:
    """Of fields in a row, as in an address, a hundred thousand empty ones fit where one long one does."""
    for fields in ({"dictionary": [" " * MOST_FORM]}, {"a": [""] * (MOST_FORM // 2)}):
        answer = desk.send("/steward/new", fields)
        assert answer.status_code == 413
        assert 'id="dictionary-error"' in answer.get_data(as_text=True)


# --- classes


def test_nothing_is_chosen_before_a_steward_chooses(desk: Desk) -> None:
    page = text_of(desk.browser.look(f"{desk.path}/classes/new"))
    assert " checked>" not in page
    for name in FIELDS:
        assert f'name="{name}"' in page, name


FAULTS: list[tuple[str, list[str]]] = [
    ("permission", []),
    ("permission", ["9"]),
    ("disease", ["MONDO:0005148"]),
    ("disease", ["cancer"]),
    ("modifiers", ["5", "7", "99"]),
    ("modifiers", ["5", "7", "14"]),
    ("duties", ["0"]),
    ("research_types", ["3"]),
    ("countries", [""]),
    ("countries", ["Netherlands"]),
    ("countries", ["NL " * 5 + "ÄÖ"]),
    ("months", ["12"]),
    ("months", ["-1"]),
    ("months", ["\N{ARABIC-INDIC DIGIT ONE}"]),
    ("users", ["0x12"]),
    ("users", ["0x" + "00" * 32]),
    ("projects", ["0x" + "11" * 32]),
    ("institutions", ["somebody"]),
    ("release_kinds", []),
    ("max_cost", [""]),
    ("max_cost", ["0"]),
    ("max_cost", [str((1 << 44) + 1)]),
    ("max_cost", ["1e6"]),
    ("floor_per_record", [""]),
    ("floor_per_record", ["-0.50"]),
    ("floor_per_record", ["0.0000001"]),
    ("floor_per_record", ["1" * 12]),
    ("floor_per_milli_rho", ["half"]),
    ("language", ["English"]),
    ("title", [""]),
    ("title", ["x" * 201]),
    ("pay", ["x" * 2_001]),
    ("how_to_stop", ["turned \u202e round"]),
]


@pytest.mark.parametrize(
    ("name", "values"), FAULTS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(FAULTS)]
)
def test_a_fault_in_a_class_is_said_at_its_field_and_nothing_is_lost(
    desk: Desk, name: str, values: list[str]
) -> None:
    page = text_of(desk.check(**{name: values}), 422)
    assert {each for each in FIELDS if f'id="{each}-error"' in page} == {name}
    require_given_back(page, {**FORM, name: values})
    assert 'id="publish-class"' not in page


AMOUNT = "Write it with a point and no commas, like 0.50."
DIGITS = "Write digits alone, such as 30000000."


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [
        *(
            ("floor_per_record", each, AMOUNT)
            for each in ("0,50", "1,50", "1.000,50", "1,000", "1 000")
        ),
        ("floor_per_milli_rho", "0,5", AMOUNT),
        *(("max_cost", each, DIGITS) for each in ("5,5", "30,000,00", "30.000.000", ",500")),
        ("countries", "Netherlands", "“Netherlands” is not a code of two letters. Write NL"),
        ("countries", "NL, ZZ", "“ZZ” is not the code of a country. Write one such as NL"),
        ("how_long", "", "“For how long” is empty. Write it."),
        ("title", "x" * 201, "“Title” is not text of 1 to 200 characters. Shorten or write it."),
    ],
)
def test_a_fault_is_said_in_the_words_of_the_form_and_no_comma_multiplies_an_amount(
    name: str, typed: str, said: str
) -> None:
    draft = class_form.read(MultiDict(FORM | {name: [typed]}), 6)
    assert set(draft.errors) == {name}
    assert said in draft.errors[name]


def test_every_fault_is_said_at_once(desk: Desk) -> None:
    page = text_of(desk.send(f"{desk.path}/classes/new", {}), 422)
    needed = FIELDS - set(ASKED_BY) - {"disease", "modifiers", "duties"}
    assert {each for each in FIELDS if f'id="{each}-error"' in page} == needed


def require_given_back(page: str, form: Mapping[str, list[str]]) -> None:
    """Each field holds what was typed in it, each box whether it was chosen."""
    shown = html.unescape(page).replace("\r\n", "\n")
    for name, values in form.items():
        for value in values:
            typed = value.replace("\r\n", "\n")
            boxes = [f'value="{typed}" checked', f'value="{typed}"', f"\n{typed}</textarea>"]
            known = typed in ("0", "1", "3", "5", "7", "14") and name in ("modifiers", "duties")
            assert any(each in shown for each in boxes) or not known, name
            if name in PARAGRAPHS or name in ("title", "countries", "max_cost"):
                assert any(each in shown for each in boxes[1:]), name


def test_a_preview_is_the_patients_own_page_byte_for_byte(desk: Desk) -> None:
    preview = text_of(desk.check())
    facts = json.loads(html.unescape(part(preview, 'data-facts="', '">')[12:-2]))
    terms = ClassTerms.from_json(facts["terms"])
    steward_of(desk.world).send("DatasetRegistry", "publishClass", desk.dataset, terms)
    desk.world.api.operator.class_pages.keep(canonical(facts["page"]))
    patient = signed_in(desk.world, account("reads a class"))
    page = text_of(patient.look(f"/me/{to_hex(desk.dataset)}/classes/1"))
    for ends in (
        ("<h1>", "</h1>"),
        ('<div class="prose" id="page"', "</div>"),
        ('<div class="column" id="consequences">', "</section>\n</div>"),
    ):
        assert part(preview, *ends) == part(page, *ends)
    assert "Two lines, of which one is made.</p>" in preview


def test_a_page_that_promises_too_much_or_says_too_little_is_doubted_before_it_is_published(
    desk: Desk,
) -> None:
    assert "Look at this again" not in text_of(desk.check())
    hasty = {"how_protected": ["Your data is 100% safe and anonymous."], "who": ["x"]}
    preview = html.unescape(text_of(desk.check(**hasty)))
    assert "“How it is protected” says “100%”." in preview
    assert "“Who may ask” has 1 character: is all said?" in preview
    assert 'id="publish-class"' in preview  # its steward decides


def test_whoever_changes_something_gets_the_whole_form_back(desk: Desk) -> None:
    preview = text_of(desk.check())
    for name, values in FORM.items():
        for value in values:
            hidden = f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
            assert html.unescape(hidden) in html.unescape(preview), name
    page = text_of(desk.check(edit=["1"]))
    assert "-error" not in page
    require_given_back(page, FORM)


def test_words_of_a_steward_never_run(desk: Desk) -> None:
    for page in (text_of(desk.check()), text_of(desk.check(months=["-"]), 422)):
        assert "<script>window" not in page
        assert "&lt;script&gt;window" in page


def test_several_lines_are_one() -> None:
    assert one_line(" a \r\n\r\n\tb\u2028c ") == "a b c"
    assert one_line("\n \n") == ""


# --- what the form takes, the contract takes

HASHES = st.binary(min_size=32, max_size=32).filter(any).map(to_hex)
LISTS: dict[str, st.SearchStrategy[list[str]]] = {
    "research_types": st.lists(st.integers(0, 9).map(str), min_size=1, unique=True),
    "countries": st.lists(st.sampled_from(["NL", "DE", "FR"]), min_size=1)
    .map(" ".join)
    .map(lambda x: [x]),
    "months": st.integers(1, 65_535).map(str).map(lambda each: [each]),
    **dict.fromkeys(
        ("users", "projects", "institutions"),
        st.lists(HASHES, min_size=1, max_size=32).map(" ".join).map(lambda each: [each]),
    ),
}


@st.composite
def forms(draw: st.DrawFn) -> dict[str, list[str]]:
    """A consistent one."""
    permission = draw(st.sampled_from(sorted(PERMISSIONS)))
    bits = draw(st.sets(st.sampled_from(sorted(set(MODIFIERS) - set(DUTIES)))))
    lists = {name: draw(LISTS[name]) for name, bit in ASKED_BY.items() if bit in bits}
    disease = ["MONDO:0005148"] if permission == class_form.ON_DISEASE else [""]
    return {
        **FORM,
        "permission": [str(permission)],
        "modifiers": [str(bit) for bit in sorted(bits)],
        "duties": draw(st.lists(st.sampled_from([str(each) for each in DUTIES]), unique=True)),
        "max_cost": [str(draw(st.integers(1, 1 << 44)))],
        "countries": [""],
        "disease": disease,
        **lists,
    }


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(form=forms())
def test_the_contract_takes_what_the_form_takes(desk: Desk, form: dict[str, list[str]]) -> None:
    draft = class_form.read(MultiDict(form), 6)
    assert draft.errors == {}
    assert draft.terms is not None
    assert estimate(desk, draft.terms) > 0


def estimate(desk: Desk, terms: ClassTerms) -> int:
    chain = desk.world.api.operator.chain
    call = load("DatasetRegistry").functions["publishClass"]
    data = call.encode_call(abi_arguments((desk.dataset, terms)))
    return chain.node.estimate_gas(STEWARD.address, chain.manifest.address("DatasetRegistry"), data)


# --- the page goes before the class


def test_a_page_is_held_for_its_steward_before_the_class_is_there(desk: Desk) -> None:
    page = ClassPage("en", "Held", *("Words." for _ in PARAGRAPHS))
    answer = desk.browser.post(f"{desk.path}/pages", {"page": page.to_json()})
    assert answer.get_json() == {"terms_hash": to_hex(page.hash())}
    preview = desk.world.api.operator.class_pages.preview
    assert preview(page.hash(), STEWARD.address) == page  # type: ignore[arg-type]


def test_a_page_that_breaks_a_rule_is_refused_by_name(desk: Desk) -> None:
    answer = desk.browser.post(f"{desk.path}/pages", {"page": {"schema": "x"}})
    assert (answer.status_code, answer.get_json()["code"]) == (422, "bad_class_page")
    assert desk.browser.post(f"{desk.path}/pages", {}).get_json()["code"] == "bad_parameter"


def test_a_steward_without_the_role_is_told_that_nothing_is_held(
    world: WebWorld, desk: Desk
) -> None:
    dataset = publish(world, salt=2)
    steward_of(world).send("DatasetRegistry", "handOver", dataset, HEIR.address)
    heir = signed_in(world, HEIR)
    assert heir.look(f"/steward/{to_hex(dataset)}/classes/new").status_code == 200
    page = ClassPage("en", "Not held", *("Words." for _ in PARAGRAPHS))
    answer = heir.post(f"/steward/{to_hex(dataset)}/pages", {"page": page.to_json()})
    assert answer.get_json()["code"] == "not_a_steward"
