"""No noise from NumPy, and none from any other generator that was not made to keep a secret.

Noise comes from OpenDP's exact samplers, keys and shares from the operating system. What NumPy, SciPy or
Python's `random` draw can be predicted from what they drew before.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for part in ("ml", "marketplace") for path in (ROOT / part).rglob("*.py"))
# Modules by their whole names; attributes whatever they are attributes of: `np.random`, `norm.rvs`.
MODULES = {"random", "numpy.random"}
ATTRIBUTES = {"random", "rvs", "random_state"}


def draws_in(source: str) -> list[str]:
    """Each mention of such a generator: imported, reached through its parent, or named in a string."""
    return [found for node in ast.walk(ast.parse(source)) for found in _mentions(node)]


def _mentions(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (each.name for each in names if _is_banned(each.name))
        case ast.ImportFrom(module=str(module), names=names, level=0):
            whole = [module, *(f"{module}.{each.name}" for each in names)]
            yield from filter(_is_banned, whole)
        case ast.Attribute(attr=name) | ast.keyword(arg=str(name)) if name in ATTRIBUTES:
            yield name
        case ast.Constant(value=str(text)) if text in ATTRIBUTES or _is_banned(text):
            yield text


def _is_banned(module: str) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in MODULES)


def test_nothing_that_ships_draws_from_a_generator_that_can_be_predicted() -> None:
    found = {str(path.relative_to(ROOT)): draws_in(path.read_text("utf-8")) for path in SOURCES}
    assert "ml/dp/noise.py" in found
    assert {path: draws for path, draws in found.items() if draws} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import numpy.random",
        "import numpy.random.mtrand as mt",
        "from numpy import ndarray, random",
        "from numpy.random import default_rng",
        "import numpy as np\nnp.random.normal()",
        "import numpy as np\ngetattr(np, 'random')",
        "import importlib\nimportlib.import_module('numpy.random')",
        "import random",
        "from random import SystemRandom",
        "from scipy import stats\nstats.norm.rvs(5)",
        "sample(random_state=3)",
    ],
)
def test_every_way_to_one_is_seen(source: str) -> None:
    assert draws_in(source)


def test_what_only_sounds_like_it_is_not_meant() -> None:
    source = "import secrets\nfrom .random_words import x\nrandom_scalar()\nos.urandom(3)"
    assert draws_in(source) == []
