"""What may reach what, beside the imports that import-linter judges: see `.importlinter`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from marketplace.operator import Operator

ROOT = Path(__file__).resolve().parents[2]
INSIDE = {"chain", "database", "node", "sender", "records"}
"""What the operator and its parts work with: a page that reaches for one of them is no page any more."""


def reached(source: str) -> list[str]:
    """Where a module reaches through something into one of these: line and name."""
    found = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    return [f"{node.lineno}: .{node.attr}" for node in found if node.attr in INSIDE]


def test_pages_ask_reads_and_pipeline_and_reach_into_neither_chain_nor_database() -> None:
    modules = [each for each in (ROOT / "web").rglob("*.py") if "node_modules" not in each.parts]
    assert len(modules) > 40
    found = {str(each): reached(each.read_text()) for each in modules}
    assert {where: lines for where, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "site().operator.database.stage_counts()",
        "who, chain = 1, site().operator.chain",
        "operator.erasures.records.kept(name)",
        "operator.reads.chain.node",
    ],
)
def test_the_rule_sees_whoever_reaches_through(source: str) -> None:
    assert reached(source)


def test_what_pages_may_not_reach_for_is_still_called_so() -> None:
    assert set(Operator.__dataclass_fields__) & INSIDE == {"chain", "database", "sender"}
