"""Rules of the browser's own modules, read as text: what they import, what they never do, their size.

The pages' policy refuses most of it as well; here it is said before a browser runs it.
"""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "web" / "static" / "js"
MODULES = sorted(FOLDER.rglob("*.js"))
GENERATED = {"calls.js", "reasons.js", "structs.js"}
MOST_LINES = 250
IMPORT = re.compile(r"""(?:\bfrom\s+|^import\s+|\bimport\(\s*)["']([^"']+)["']""", re.MULTILINE)
FORBIDDEN = {
    "imports that are made up as it runs": r"\bimport\(\s*[^\"'\s]",
    "text as markup": r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write\w*|setHTML\w*)\b",
    "text as script": r"\beval\s*\(|\bnew\s+Function\b|\bset(?:Timeout|Interval)\s*\(\s*[\"'`]",
    "style attributes": r"setAttribute\(\s*[\"']style[\"']",
    "randomness that can be guessed": r"\bMath\.random\b",
    "secrets where every script can read them": r"\bdocument\.cookie\b",
    "values in the console": r"\bconsole\.(?:log|info|debug|dir|table|trace)\b",
}
EXPORT = re.compile(
    r"^(?:(?P<doc>.*\*/)\n)?export (?:async )?(?:function|class) (?P<name>\w+)", re.MULTILINE
)

modules = pytest.mark.parametrize(
    "module", MODULES, ids=lambda path: path.relative_to(FOLDER).as_posix()
)


def test_there_are_modules_to_read() -> None:
    assert {"record.js", "eip712.js", "fhir.js"} <= {path.name for path in MODULES}


@modules
def test_a_module_imports_files_that_are_there_and_nothing_by_bare_name(module: Path) -> None:
    for wanted in IMPORT.findall(module.read_text()):
        assert wanted.startswith(("./", "../")), wanted
        assert (module.parent / wanted).resolve().is_file(), wanted
        assert (module.parent / wanted).resolve().is_relative_to(FOLDER.parent), wanted


@modules
@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_module_treats(module: Path, what: str) -> None:
    assert re.search(FORBIDDEN[what], module.read_text()) is None


@modules
def test_a_module_is_small_enough_to_be_read(module: Path) -> None:
    if module.name not in GENERATED:
        assert len(module.read_text().splitlines()) <= MOST_LINES


@modules
def test_every_function_and_class_that_others_use_says_what_it_is(module: Path) -> None:
    silent = [found["name"] for found in EXPORT.finditer(module.read_text()) if not found["doc"]]
    assert silent == []


@modules
def test_a_module_says_first_what_it_is_for(module: Path) -> None:
    assert module.read_text().startswith(("/**", "// Written by `python -m tools.webwords`"))
