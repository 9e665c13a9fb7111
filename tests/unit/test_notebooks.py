"""Notebooks are kept without outputs, and with nothing of the machine that they were written on."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support.notebooks import FIRST_QUESTION
from tools.readme import ROOT

FOUND = sorted((ROOT / "marketplace").rglob("*.ipynb"))
EMPTY = {"execution_count": None, "outputs": []}
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def test_the_first_question_is_among_them() -> None:
    assert FIRST_QUESTION in FOUND


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs_and_counts(path: Path) -> None:
    document: dict[str, Any] = json.loads(path.read_text())
    nbformat.validate(document)
    assert document["metadata"] == METADATA
    for cell in document["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert {name: cell[name] for name in EMPTY} == EMPTY


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_a_notebook_imports_of_ours_is_there(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    lines = [
        line for cell in cells if cell.cell_type == "code" for line in cell.source.splitlines()
    ]
    imports = [line for line in lines if line.startswith("from marketplace")]
    assert imports
    exec("\n".join(imports), {})
