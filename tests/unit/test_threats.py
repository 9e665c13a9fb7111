"""Rules of CONTRIBUTING's table of threats: every test that it names exists, and every threat has one."""

import re

from tools.readme import ROOT

TITLE = "## Where each threat is tested"
NAMED = re.compile(r"`([^`]+)`")
FUNCTION = "def {}(", "function {}("


def threats() -> dict[str, list[tuple[str, str]]]:
    """Threat -> (file, test) of each that is named for it."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.partition(TITLE)[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ")]
    return {threat.strip(): _tests(shown_by) for threat, shown_by in rows[1:]}


def _tests(shown_by: str) -> list[tuple[str, str]]:
    """From "`file`: `test`, `test`; `file`: `test`"."""
    found = []
    for part in shown_by.split(";"):
        file, *names = NAMED.findall(part)
        found += [(file, name) for name in names]
    return found


def test_every_threat_names_tests_that_exist() -> None:
    table = threats()
    assert len(table) > 20
    for threat, tests in table.items():
        assert tests, f"nothing shows what stops: {threat}"
        for file, name in tests:
            source = (ROOT / file).read_text()
            assert any(each.format(name) in source for each in FUNCTION), f"{file} has no {name}"


def test_a_test_is_named_by_its_file_and_its_whole_name() -> None:
    for tests in threats().values():
        for file, name in tests:
            assert file.startswith(("tests/", "contracts/test/")), file
            assert name.startswith(("test_", "invariant_")), name
