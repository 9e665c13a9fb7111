"""Tests can turn the noise of the homomorphic lane off; nothing that ships can.

The switch is the parameter `sampler` of `contribute`, and it is a parameter alone: no flag, no variable of
the environment, no field of a configuration leads to it. So it is enough that nothing that ships passes, sets
or even names it, or rebinds what stands there without it.
"""

from __future__ import annotations

import ast
import functools
import inspect
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import opendp.prelude as dp
import pytest

from ml.dp.accounting import MAX_COST
from ml.dp.noise import gaussian_mechanism
from ml.homomorphic import noise
from ml.homomorphic.curve import INFINITY, ORDER, times_base
from ml.homomorphic.noise import Contributor, Shares, contribute
from ml.homomorphic.threshold import sums_from_bytes
from tests.support.tallying import decrypted

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for part in ("ml", "marketplace", "web")
    for path in sorted((ROOT / part).rglob("*.py"))
    if "node_modules" not in path.parts
}
HOME = "ml/homomorphic/noise.py"
MECHANISM = "ml/dp/noise.py"
CALLER = "marketplace/custodian/noising.py"
MODULE = "ml.homomorphic.noise"
FREE = 4
"""Arguments of `contribute` before the sampler."""
SWITCH = {"sampler", "Sampler", "gaussian"}
DRAWN = "drawn = sampler(shares.scale(contributors), shares.sums)"
GAUSSIAN = "return [int(value) for value in gaussian_mechanism(scale)([0] * count)]"
READS = {"__future__", "collections.abc", "dataclasses", "fractions", "hashlib", "math", "typing"}
"""What its home may import beside `ml`: nothing by which a machine or a deployment could say anything."""


# --- everywhere but at home


def ways_to_it(source: str, path: str = "") -> list[str]:
    """Each way in which a file could put other noise, or none, in the place of OpenDP's."""
    nodes = nodes_of(source)
    called = {id(each.func) for each in nodes if _is_call(each) and isinstance(each.func, ast.Name)}
    banned = SWITCH if path == MECHANISM else SWITCH | {"gaussian_mechanism"}
    return [way for node in nodes for way in _ways(node, called, banned)]


@functools.cache
def nodes_of(source: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(source)))


def _is_call(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call)


def _ways(node: ast.AST, called: set[int], banned: set[str]) -> Iterator[str]:
    for name in _named(node):
        if name in banned:
            yield name
        elif name == MODULE:
            yield "the module itself, of which anything may be set"
        elif name == "contribute" and id(node) not in called:
            yield "contribute, other than called"
    match node:
        case ast.ImportFrom(module=module, names=names):
            if any(f"{module}.{each.name}".endswith("homomorphic.noise") for each in names):
                yield "the module itself, of which anything may be set"
            if (module or "").endswith("noise") and any(each.name == "*" for each in names):
                yield "all of the module"
        case ast.Call(func=ast.Name(id="contribute"), args=args, keywords=keywords):
            if len(args) > FREE or any(isinstance(each, ast.Starred) for each in args):
                yield "an argument in the sampler's place"
            if any(each.arg is None for each in keywords):
                yield "arguments that nobody can read here"


def _named(node: ast.AST) -> Iterator[str]:
    """Whatever the node names, but for `from .. import contribute` under its own name."""
    match node:
        case ast.Name(id=str(name)) | ast.Attribute(attr=name) | ast.arg(arg=name):
            yield name
        case ast.keyword(arg=str(name)) | ast.Constant(value=str(name)):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from names
        case ast.alias(name="contribute", asname=None):
            pass
        case ast.alias(name=name, asname=other):
            yield from filter(None, (name, other))


def test_nothing_that_ships_passes_sets_or_names_the_sampler() -> None:
    others = {path: source for path, source in SOURCES.items() if path != HOME}
    assert len(others) > 200
    found = {path: ways_to_it(source, path) for path, source in others.items()}
    assert {path: ways for path, ways in found.items() if ways} == {}


def test_who_makes_noise_is_known() -> None:
    """That the scan above reads the one call there is, and that one alone takes a sampler."""
    calls = [
        (path, ast.unparse(node))
        for path, source in SOURCES.items()
        for node in nodes_of(source)
        if isinstance(node, ast.Call) and "contribute" in _named(node.func)
    ]
    assert calls == [(CALLER, "contribute(question.shares, size, key, by)")]
    takers = [
        (path, node.name)
        for path, source in SOURCES.items()
        for node in nodes_of(source)
        if isinstance(node, ast.FunctionDef) and "ampler" in ast.unparse(node.args)
    ]
    assert takers == [(HOME, "contribute")]


CALL = "from ml.homomorphic.noise import contribute\n"


@pytest.mark.parametrize(
    "source",
    [
        CALL + "contribute(shares, 3, key, by, silent)",
        CALL + "contribute(shares, 3, key, by, sampler=silent)",
        CALL + "contribute(shares, 3, key, by=by, sampler=silent)",
        CALL + "contribute(*given)",
        CALL + "contribute(shares, 3, key, by, **given)",
        CALL + "partial(contribute, sampler=silent)(shares, 3, key, by)",
        CALL + "makes = contribute\nmakes(shares, 3, key, by, silent)",
        CALL + "contribute.__defaults__ = (silent,)",
        CALL + "contribute = other",
        CALL + "def contribute(*given): return silent",
        CALL + "given = {'sampler': silent}",
        "from ml.homomorphic.noise import contribute as made\nmade(shares, 3, key, by, silent)",
        "from ml.homomorphic.noise import *",
        "from .noise import *",
        "from ml.homomorphic.noise import gaussian",
        "from ml.homomorphic.noise import Sampler",
        "from ml.homomorphic import noise\nnoise.x = silent",
        "from ml.homomorphic import noise as made",
        "import ml.homomorphic.noise",
        "import ml.homomorphic.noise as made",
        "import importlib\nimportlib.import_module('ml.homomorphic.noise')",
        "import sys\nsys.modules['ml.homomorphic.noise'].gaussian = silent",
        "setattr(made, 'gaussian', silent)",
        "made.gaussian = silent",
        "made.gaussian_mechanism = silent",
        "from ml.dp.noise import gaussian_mechanism",
        "class Question:\n    sampler: object",
        "def commit(request, sampler): ...",
        "SAMPLER = os.environ['X']\nmake(sampler=SAMPLER)",
        "made.contribute(shares, 3, key, by, silent)",
    ],
)
def test_every_way_to_turn_it_off_is_seen(source: str) -> None:
    assert ways_to_it(source)


def test_what_makes_noise_as_it_should_is_let_alone() -> None:
    assert ways_to_it(CALL + "{m: contribute(question.shares, m, key, by) for m in sizes}") == []
    assert ways_to_it(CALL + "contribute(shares, 3, key, by=by)") == []
    assert ways_to_it("'''The sampler draws.'''\nfrom ml.dp.noise import gaussian_noise") == []


# --- at home


def faults_at_home(source: str) -> list[str]:
    """What is not as it must be where noise is made."""
    tree = ast.parse(source)
    found = [f"imports {name}" for name in _imported(tree) if name not in READS]
    for name in ("contribute", "gaussian", "gaussian_mechanism", "sampler"):
        if any(name in _bound(node) for node in ast.walk(tree)):
            found.append(f"rebinds {name}")
    defined = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for name in ("contribute", "gaussian"):
        same = [node for node in defined if node.name == name]
        if len(same) != 1 or same[0] not in tree.body or same[0].decorator_list:
            return [*found, f"{name} is not one plain function"]
    made, drawn = (
        next(node for node in defined if node.name == n) for n in ("contribute", "gaussian")
    )
    return [*found, *_faults_of_contribute(made), *_faults_of_gaussian(drawn), *_mentions(tree)]


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module=module) if not (module or "").startswith("ml."):
                yield module or "a neighbour"


def _bound(node: ast.AST) -> set[str]:
    """Names that this node binds, other than by a definition, an import or a parameter."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return {name}
        case ast.Attribute(attr=name, ctx=ast.Store() | ast.Del()):
            return {name, *_bound_of(node.value)}
        case ast.Subscript(ctx=ast.Store() | ast.Del()):
            return {
                str(part.value) for part in ast.walk(node.slice) if isinstance(part, ast.Constant)
            }
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            return set(names)
        case ast.alias(asname=str(other)):
            return {other}
        case ast.Call(func=ast.Name(id="setattr" | "globals" | "vars" | "exec" | "eval")):
            return {"contribute"}
    return set()


def _bound_of(node: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _faults_of_contribute(made: ast.FunctionDef) -> Iterator[str]:
    given = made.args
    if [each.arg for each in given.args][FREE:] != ["sampler"] or given.vararg or given.kwarg:
        yield "contribute takes something else"
    if [ast.unparse(each) for each in given.defaults] != ["gaussian"] or given.kwonlyargs:
        yield "the sampler is another unless it is given"
    if [ast.unparse(each) for each in made.body].count(DRAWN) != 1:
        yield "contribute draws otherwise"
    branches = (ast.If, ast.IfExp, ast.Try, ast.Match, ast.While, ast.BoolOp, ast.Lambda)
    if any(isinstance(node, branches) for node in ast.walk(made)):
        yield "contribute has a choice"


def _faults_of_gaussian(drawn: ast.FunctionDef) -> Iterator[str]:
    if [ast.unparse(each) for each in drawn.body[1:]] != [GAUSSIAN]:
        yield "gaussian draws from elsewhere"


def _mentions(tree: ast.Module) -> Iterator[str]:
    """The sampler is called once, and OpenDP's is named as its default alone."""
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    for name in ("sampler", "gaussian", "gaussian_mechanism"):
        if names.count(name) != 1:
            yield f"{name} is used {names.count(name)} times"


def test_noise_is_opendps_unless_a_caller_says_otherwise() -> None:
    assert faults_at_home(SOURCES[HOME]) == []
    assert inspect.signature(contribute).parameters["sampler"].default is noise.gaussian
    assert vars(noise)["gaussian_mechanism"] is gaussian_mechanism
    mechanism: Any = gaussian_mechanism(3.0)
    assert mechanism.map(3.0) == pytest.approx(0.5)
    assert isinstance(mechanism, dp.Measurement)


BENT = {
    "another default": ("sampler: Sampler = gaussian", "sampler: Sampler = silent"),
    "no default": ("sampler: Sampler = gaussian", "sampler: Sampler"),
    "a lambda": ("sampler: Sampler = gaussian", "sampler: Sampler = lambda s, n: [0] * n"),
    "by keyword": ("sampler: Sampler = gaussian", "*, sampler: Sampler = gaussian"),
    "a switch": (
        "    drawn = sampler(",
        "    if shares.cost == MAX_COST:\n        sampler = silent\n    drawn = sampler(",
    ),
    "a choice": ("drawn = sampler(", "drawn = [0] * 3 if shares.sums == 3 else sampler("),
    "another scale": ("sampler(shares.scale(contributors)", "sampler(shares.scale(9)"),
    "drawn again": (
        "    values = [max",
        "    drawn = sampler(0.0, shares.sums)\n    values = [max",
    ),
    "rebound": (
        "def contribute(",
        "gaussian = other\n\n\ndef contribute(",
    ),
    "defined twice": ("def contribute(", "def gaussian(s, n): return [0]\n\n\ndef contribute("),
    "decorated": ("def contribute(", "@quiet\ndef contribute("),
    "other numbers": ("([0] * count)]", "([0] * count)][:0] + [0] * count"),
    "environment": ("import hashlib", "import hashlib\nimport os"),
    "a neighbour's": ("import hashlib", "import hashlib\nfrom . import quiet"),
    "under its name": (
        "from ml.dp.noise import gaussian_mechanism",
        "from ml.dp.noise import other as gaussian_mechanism",
    ),
    "set later": ("def _two(", "contribute.__defaults__ = (silent,)\n\n\ndef _two("),
    "set by name": ("def _two(", "globals()['gaussian'] = silent\n\n\ndef _two("),
    "set as an attribute": ("def _two(", "setattr(contribute, 'x', silent)\n\n\ndef _two("),
}


@pytest.mark.parametrize("bent", BENT)
def test_every_change_of_where_noise_is_made_is_seen(bent: str) -> None:
    old, new = BENT[bent]
    assert SOURCES[HOME].count(old) == 1
    assert faults_at_home(SOURCES[HOME].replace(old, new))


def test_what_is_contributed_without_a_word_is_noise() -> None:
    """Of 64 draws of scale 3 none is 0 but by a chance of 0.133^64, below 1e-55."""
    secret = 1 + secrets.randbelow(ORDER - 1)
    given = contribute(Shares(MAX_COST, 1, 64, 1), 1, times_base(secret), Contributor(bytes(32), 1))
    drawn = [decrypted(each, secret) for each in sums_from_bytes(given.columns)]
    assert len(drawn) == 64
    assert len(set(drawn) - {INFINITY}) > 1
