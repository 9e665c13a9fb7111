"""Rules of templates and styles: nothing unescaped, nothing inline, nothing chosen before somebody chose."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.cli.main import COMMANDS
from marketplace.words import one_in
from web import said
from web.showing import duration, grouped, iso, moment, short

WEB = Path(__file__).parents[2] / "web"
TEMPLATES = sorted((WEB / "templates").rglob("*.html"))
SOURCES = sorted(path for path in WEB.rglob("*.py") if "node_modules" not in path.parts)
STYLES = sorted((WEB / "static" / "css").glob("*.css"))
UNESCAPED = re.compile(r"\|\s*safe\b|autoescape|\{%-?\s*(?:raw|include)\b")
UNESCAPED_IN_PYTHON = re.compile(r"\bMarkup\b|autoescape|render_template_string|from_string")
INLINE = re.compile(
    r"""\sstyle\s*=|<style|\son[a-z]+\s*=\s*["']|=\s*["']?\s*javascript:""", re.IGNORECASE
)
SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.DOTALL)
FORM = re.compile(r"<form\b[^>]*>")
ELSEWHERE = re.compile(r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//""")


class Controls(HTMLParser):
    """Every control of a form and every id, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.controls: list[dict[str, str | None]] = []
        self.ids: list[str] = []
        self.labelled: list[str | None] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.append(found.get("id") or "")
        if tag == "label":
            self.labelled.append(found.get("for"))
        if tag in ("input", "select", "textarea", "option"):
            self.controls.append({"tag": tag, **found})


@cache
def forms() -> Any:
    """The macros of the forms, as pages import them."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(WEB / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("parts/forms.html").module


def test_there_are_templates_to_look_at() -> None:
    assert len(TEMPLATES) > 10
    assert len(STYLES) == 3


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_lets_text_through_unescaped_or_carries_script_or_style(path: Path) -> None:
    text = path.read_text()
    assert UNESCAPED.findall(text) == []
    assert INLINE.findall(text) == []
    assert ELSEWHERE.findall(text) == []
    for attributes, body in SCRIPT.findall(text):
        assert 'type="module"' in attributes
        assert re.search(r'src="\{\{ asset\(', attributes)
        assert body == ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_page_marks_text_as_markup(path: Path) -> None:
    assert UNESCAPED_IN_PYTHON.findall(path.read_text()) == []


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_styles_fetch_nothing_and_use_only_tokens_that_are_there(path: Path) -> None:
    text = path.read_text()
    tokens = set(re.findall(r"(--[a-z0-9-]+):", (WEB / "static/css/tokens.css").read_text()))
    assert re.findall(r"url\(|@import|@font-face", text) == []
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", text)) <= tokens


def test_colours_are_named_in_the_tokens_alone() -> None:
    for path in STYLES:
        if path.name != "tokens.css":
            screen = path.read_text().partition("@media print")[0]
            assert re.findall(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(", screen) == [], path.name


# --- without scripts


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_page_that_waits_for_its_script_says_what_does_without(path: Path) -> None:
    text = path.read_text()
    if not text.startswith('{% extends "base.html" %}') or " inert" not in text:
        return
    told = " ".join(re.findall(r"<noscript>(.+?)</noscript>", text, re.DOTALL))
    commands = re.findall(r"usufruct ([a-z][a-z-]+)", told)
    assert "JavaScript" in told
    assert set(commands) <= set(COMMANDS)
    assert commands or "usufruct --help" in told


# --- forms


@pytest.mark.parametrize("kind", ["radio", "checkbox", "switch"])
def test_nothing_is_chosen_before_somebody_chose_it(kind: str) -> None:
    options = [{"value": each, "label": each, "hint": "what it means"} for each in "abc"]
    shown = Controls(forms().choices("uses", "For what?", options, kind=kind))
    assert len(shown.controls) == 3
    assert not any("checked" in each for each in shown.controls)
    again = Controls(forms().choices("uses", "For what?", options, kind=kind, chosen=["b"]))
    assert ["checked" in each for each in again.controls] == [False, True, False]


def test_a_choice_from_a_list_begins_with_nobodys_choice() -> None:
    options = [("1", "one"), ("2", "two")]
    first, *rest = Controls(forms().select("x", "Which?", options)).controls[1:]
    assert first["value"] == ""
    assert not any("selected" in each for each in rest)
    again = Controls(forms().select("x", "Which?", options, value="2")).controls[1:]
    assert ["selected" in each for each in again] == [False, False, True]


@given(
    value=st.text(),
    hint=st.sampled_from(["", "A <hint> & more."]),
    error=st.sampled_from(["", 'Too "large".']),
    make=st.sampled_from(["field", "textarea"]),
)
def test_what_was_typed_is_given_back_and_described(
    value: str, hint: str, error: str, make: str
) -> None:
    page = getattr(forms(), make)("cap", "Limit <b>", value=value, hint=hint, error=error)
    shown = Controls(page)
    (control,) = shown.controls
    assert shown.labelled == ["cap"]
    described = (control.get("aria-describedby") or "").split()
    assert described == ["cap-hint"] * bool(hint) + ["cap-error"] * bool(error)
    assert set(described) <= set(shown.ids)
    assert (control.get("aria-invalid") == "true") == bool(error)
    assert "<b>" not in page
    if make == "field":
        given_back = control["value"] or ""
        # HTML turns line ends into line feeds and knows no NUL: of anything else nothing may be lost.
        assert _unbroken(given_back) == _unbroken(value)


def _unbroken(text: str) -> str:
    return re.sub(r"[\r\n\x00\ufffd]", "", text)


def test_choices_and_files_have_a_label_and_say_what_is_wrong() -> None:
    options = [{"value": "a", "label": "A"}]
    group = forms().choices("uses", "For what?", options, hint="One of them.", error="Choose one.")
    assert "<legend>For what?</legend>" in group
    assert 'aria-describedby="uses-hint uses-error"' in group
    file = Controls(forms().file_drop("bundle", "Your record", hint="FHIR R4", accept=".json"))
    assert file.labelled == ["bundle"]
    assert file.controls[0]["accept"] == ".json"


# --- values


@given(st.text())
def test_what_others_wrote_is_shown_on_one_line_without_what_hides(text: str) -> None:
    shown = said(text)
    assert len(shown) == len(text)
    assert not set(shown) & set("\n\r\t\x00\x1b\u202e\u2066\u200b\u2028")


def test_times_are_said_in_utc_whatever_they_come_as() -> None:
    for at in (1_795_293_000, "2026-11-21T20:30:00Z", "2026-11-21T21:30:00+01:00"):
        assert iso(at) == "2026-11-21T20:30:00Z"
        assert moment(at) == "21 Nov 2026, 20:30 UTC"
    assert moment(2**40 - 1) == "31 Dec 9999, 23:59 UTC"  # as late as the contracts take it


def test_durations_are_in_the_largest_unit_that_divides_them() -> None:
    assert [duration(each) for each in (0, 1, 90, 600, 3_600, 86_400)] == [
        "0 seconds", "1 second", "90 seconds", "10 minutes", "1 hour", "24 hours",
    ]  # fmt: skip


def test_a_hash_shows_both_of_its_ends_and_a_short_text_all_of_itself() -> None:
    assert short("0x" + "ab" * 32) == "0xababab…ababab"
    assert short("sha384-" + "A" * 64) == "sha384…AAAAAA"
    assert short("0x1234567890ab") == "0x1234567890ab"
    assert "\u202e" not in short("0x\u202e" + "1" * 64)


def test_numbers_are_grouped_and_chances_are_one_in_so_many() -> None:
    assert grouped("30000000") == "30,000,000"
    assert [one_in(each) for each in ("1e-06", 0.000625)] == ["1 in 1,000,000", "1 in 1,600"]


def test_the_dark_scheme_changes_colours_and_nothing_else() -> None:
    for path in STYLES:
        _, found, dark = path.read_text().partition("@media (prefers-color-scheme: dark)")
        assert bool(found) == (path.name == "tokens.css")
        declared = re.findall(r"^\s*([a-z-]+):\s*([^;]+);", dark, re.MULTILINE)
        assert all(name.startswith("--") and value.startswith("#") for name, value in declared)


def test_a_form_whose_work_is_a_modules_sends_nothing_by_itself() -> None:
    """Before the module runs, or where it never does, a browser would put what was typed into a URL."""
    forms_ = [(path, form) for path in TEMPLATES for form in FORM.findall(path.read_text())]
    assert len(forms_) > 30
    for path, form in forms_:
        by_server = " action=" in form and re.search(r'method="(?:get|post)"', form) is not None
        by_module = 'method="dialog"' in form and " action=" not in form
        assert by_server or by_module, (path, form)
        # Empty ones only hold refusals; all others cannot be used before they would work.
        empty = f"{form}</form>" in path.read_text()
        assert by_server or (" inert" in form) != empty, (path, form)


def test_what_a_form_sends_to_a_url_is_nobodys_secret() -> None:
    for path in TEMPLATES:
        for form, within in re.findall(r"(<form\b[^>]*>)(.*?)</form>", path.read_text(), re.DOTALL):
            if 'method="get"' in form:
                assert "password" not in within, path
                assert "data-private" not in form, path
