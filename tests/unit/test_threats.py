"""Rules of CONTRIBUTING's table of threats: whatever it names exists, and each threat is tested every day."""

import re

from tests.support.forging import OUT_OF_RANGE
from tools.readme import ROOT

TITLE = "## Where each threat is tested"
NAMED = re.compile(r"`([^`]+)`")
FUNCTION = "def {}(", "function {}("
CASE = re.compile(r'"([^"]+)"')
LONG = "@pytest.mark.long\n"


def rows() -> list[tuple[str, str]]:
    """Each threat, with what it is shown by."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.partition(TITLE)[2].partition("\n## ")[0]
    lines = [line.split("|") for line in section.splitlines() if line.startswith("| ")]
    return [(line[1].strip(), line[2]) for line in lines[1:]]


def threats() -> dict[str, list[tuple[str, str]]]:
    """Threat -> (file, test) of each that is named for it."""
    return {threat: _tests(shown_by) for threat, shown_by in rows()}


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


def test_the_homomorphic_lane_has_twenty_malicious_variants_at_least() -> None:
    assert len({threat for threat, _ in rows() if threat.startswith("tallies: ")}) >= 20
    assert len(threats()) == len(rows())


def test_every_case_that_is_named_is_one_of_its_file() -> None:
    for threat, shown_by in rows():
        for part in shown_by.split(";"):
            source = (ROOT / NAMED.findall(part)[0]).read_text()
            for case in CASE.findall(part):
                assert f'"{case}"' in source or case in OUT_OF_RANGE, f"{threat}: no {case}"


def test_every_threat_has_a_test_that_runs_every_day() -> None:
    for threat, tests in threats().items():
        assert any(not is_long(file, name) for file, name in tests), threat


def test_the_table_says_which_tests_are_long() -> None:
    for threat, shown_by in rows():
        for file, name in _tests(shown_by):
            assert not is_long(file, name) or f"`{name}` (long)" in shown_by, f"{threat}: {name}"


def is_long(file: str, name: str) -> bool:
    """Whether a whole test is marked so."""
    before = (ROOT / file).read_text().partition(f"def {name}(")[0]
    return LONG in before.rpartition("\n\n\n")[2]
