"""Tallies from the browser: encrypted and proven there, byte for byte as the servers would, and beside the
page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from marketplace.sealing.columns import require_same_row
from marketplace.vocabulary import Lane
from marketplace.wire import dictionary, feldman, hpke, record
from marketplace.wire.dictionary import Dictionary, Row, decode_row
from marketplace.wire.tally import require_valid
from ml.homomorphic.curve import Point, Points, times_base
from ml.homomorphic.validity import ProofInvalid, Statement, verify
from tests.support import node, static_site, wide_record
from tests.support.daily import daily
from tests.support.joining_world import widest
from tests.vectors import generate_record_tally, generate_tally, generate_tally_answers
from tests.vectors.generate_tally import category, document, grid, number
from tests.vectors.generate_web import written
from tests.vectors.tagging import outcome, seeded
from tools.browser import PATIENCE_MILLISECONDS, chromium
from web import headers

ROUND_TRIPS = 25
SECRET = 0x5EC2E7
KEY = times_base(SECRET)
CONTEXT = seeded("context")
MODULES = Path(__file__).resolve().parents[2] / "web" / "static" / "js"
POLICY = "; ".join((*headers.POLICY, "connect-src 'self'"))
"""What the product's own pages say, so that a worker that they would refuse does not start here either."""


def test_the_vectors_are_what_the_servers_make() -> None:
    for generator in (generate_tally, generate_record_tally, generate_tally_answers):
        assert generator.FILE.read_text() == written(generator.vectors())


@pytest.fixture(scope="module")
def browser_side() -> Iterator[node.Asked]:
    with node.asking("tally_ask.mjs") as asked:
        yield asked


# --- what is refused, on both sides

PLACES = (
    *("encoding", "encoding.variables", "encoding.products", "encoding.variables.1"),
    *(f"encoding.variables.{i}.{key}" for i in range(3) for key in ("name", "step", "edges")),
    *(f"encoding.variables.0.edges.{i}" for i in range(3)),
    *(f"encoding.products.{i}" for i in range(4)),
    *(f"encoding.products.{i}.{j}" for i in range(4) for j in range(2)),
)
NAMES = (
    "age",
    "sex",
    "smoker",
    "weight",
    "age?",
    "weight?",
    "sex=0",
    "sex=1",
    "weight=3",
    "age*age",
)
PLAIN = st.one_of(
    st.sampled_from(
        [None, True, 0, 5, "", "-0", "0", "5", "0.5", "10", "-4.5", "80.5", "81", "00"]
    ),
    st.sampled_from(NAMES),
    st.integers(-50, 900).map(lambda tenths: f"{tenths / 10}"),
)
NESTED = st.one_of(st.lists(PLAIN, max_size=3), st.lists(st.lists(PLAIN, max_size=3), max_size=3))


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """WHOLE with another value in one to three places of its encoding."""
    copy = json.loads(json.dumps(generate_tally.WHOLE))
    for path in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3, unique=True)):
        value = draw(PLAIN if path.endswith("name") else st.one_of(PLAIN, NESTED))
        with suppress(KeyError, IndexError, TypeError, ValueError):  # the place has gone before
            generate_tally.put(copy, path, value)
    return json.dumps(copy)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(text=damaged())
def test_the_browser_reads_and_refuses_encodings_as_the_servers_do(
    browser_side: node.Asked, text: str
) -> None:
    wanted = outcome(lambda: dictionary.load(text.encode()).to_bytes())
    assert browser_side.ask("read", document=text) == wanted


# --- from the browser to the servers


@st.composite
def encoded_numbers(draw: st.DrawFn, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    step, steps, lower = (
        draw(st.integers(1, 50)),
        draw(st.integers(1, 40)),
        draw(st.integers(-99, 99)),
    )
    variable = number(name, str(lower), str(lower + step * steps))
    starts = draw(st.sets(st.integers(1, steps), max_size=4))
    edges = [str(lower + step * each) for each in sorted(starts)]
    return variable, grid(name, str(step), *edges)


@st.composite
def encoded_categories(draw: st.DrawFn, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return category(name, draw(st.integers(2, 5))), {"name": name}


@st.composite
def dictionaries(draw: st.DrawFn) -> Dictionary:
    names = [f"v{i}" for i in range(draw(st.integers(1, 3)))]
    both = [draw(st.one_of(encoded_numbers(each), encoded_categories(each))) for each in names]
    encoded = draw(st.permutations([entry for _, entry in both]))
    variables = [variable for variable, _ in both]
    values = [each["name"] for each in variables if each["kind"] == "number"]
    squares = [[each, each] for each in values]
    crossed = [["v0?", f"{each}?"] for each in names[1:]]
    cubes = [[f"{each}*{each}", each] for each in values[:1]]
    return dictionary.from_json(document(variables, encoded, *squares, *crossed, *cubes))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Dictionary, Row]:
    read = draw(dictionaries())
    domains = [(each.domain[0], each.domain[-1]) for each in read.variables]
    return read, tuple(draw(st.none() | st.integers(*each)) for each in domains)


def asked_for(read: Dictionary, row: Row) -> dict[str, Any]:
    where = {"context": "0x" + CONTEXT.hex(), "publicKey": "0x" + KEY.to_bytes().hex()}
    return {"document": read.to_bytes().decode(), "row": list(row), **where}


def require_encrypted(read: Dictionary, row: Row, columns: bytes, proof: bytes) -> None:
    """The proof holds, and the key's holder finds in the columns what the servers make of this row."""
    encoding = read.encoding
    assert encoding is not None
    verify(Statement(CONTEXT, KEY, encoding.relation, columns), proof)
    parsed = Points.parse(columns)
    found = [
        parsed.point(2 * j + 1) - parsed.point(2 * j) * SECRET for j in range(len(parsed) // 2)
    ]
    assert found == [times_base(value) for value in encoding.values(row)]


@settings(max_examples=ROUND_TRIPS, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(case=cases())
def test_the_servers_accept_what_the_browser_proves(
    browser_side: node.Asked, case: tuple[Dictionary, Row]
) -> None:
    read, row = case
    made = browser_side.ask("encrypt", **asked_for(read, row))["value"]["o"]
    columns, proof = (bytes.fromhex(made[name]["b"][2:]) for name in ("columns", "proof"))
    require_encrypted(read, row, columns, proof)


def test_a_proof_of_the_browser_is_bound_to_its_context_its_key_and_its_columns(
    browser_side: node.Asked,
) -> None:
    read, row = dictionary.from_json(generate_tally.WHOLE), (40, 1, 205, None)
    made = browser_side.ask("encrypt", **asked_for(read, row))["value"]["o"]
    columns, proof = (bytes.fromhex(made[name]["b"][2:]) for name in ("columns", "proof"))
    assert read.encoding is not None
    relation = read.encoding.relation
    others = [
        Statement(seeded("another"), KEY, relation, columns),
        Statement(CONTEXT, times_base(SECRET + 1), relation, columns),
        Statement(CONTEXT, KEY, relation, columns[66:] + columns[:66]),
        Statement(CONTEXT, KEY, relation, one_more(columns)),
    ]
    for statement in others:
        with pytest.raises(ProofInvalid):
            verify(statement, proof)


def one_more(columns: bytes) -> bytes:
    """The first column with 1 added to what it encrypts, as anybody can."""
    more = Point.from_bytes(columns[33:66]) + times_base(1)
    return columns[:33] + more.to_bytes() + columns[66:]


# --- beside the page


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.setattr(static_site, "POLICY", POLICY)
    with static_site.static_site() as origin, chromium() as browser:
        opened = browser.new_page()
        opened.goto(origin, timeout=PATIENCE_MILLISECONDS)
        yield opened


ENCRYPT = """
async ({ document, row, context, publicKey }) => {
  const { load } = await import("/static/js/dictionary.js");
  const { fromHex, toHex, utf8 } = await import("/static/js/bytes.js");
  const { encryptRow } = await import("/static/js/tally/sealing.js");
  const read = load(utf8(document));
  const [fractions, turns] = [[], []];
  const turning = setInterval(() => turns.push(null), 1);
  try {
    const of = { dictionary: read, row, context: fromHex(context, "c"), publicKey: fromHex(publicKey, "k") };
    const { columns, proof } = await encryptRow(of, { told: (fraction) => fractions.push(fraction) });
    return { columns: toHex(columns), proof: toHex(proof), fractions, turns: turns.length };
  } catch (error) {
    return { name: error.name, reason: error.reason?.() ?? error.message };
  } finally {
    clearInterval(turning);
  }
}
"""


def test_a_page_encrypts_a_row_beside_itself_under_the_product_s_own_policy(page: Page) -> None:
    read, row = dictionary.from_json(generate_tally.MANY_COLUMNS), (63,)
    made = page.evaluate(ENCRYPT, asked_for(read, row))
    assert "columns" in made, made
    columns, proof = (bytes.fromhex(made[name][2:]) for name in ("columns", "proof"))
    require_encrypted(read, row, columns, proof)
    fractions = made["fractions"]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert 10 < len(fractions) <= 101, "more often than a page can draw"
    assert made["turns"] > 2, "the page had no turn while the row was encrypted"


def test_a_page_is_told_why_the_worker_refused(page: Page) -> None:
    read = dictionary.from_json(generate_tally.WHOLE)
    told = page.evaluate(ENCRYPT, asked_for(read, (121, None, None, None)))
    assert told["name"] == "Refused"
    assert (told["reason"]["code"], told["reason"]["field"]) == ("record_unreadable", "age")
    assert "121" not in str(told)
    other = asked_for(read, (1, None, None, None)) | {"publicKey": "0x" + "00" * 33}
    assert page.evaluate(ENCRYPT, other)["reason"]["field"] == "joint_key"


REFUSED = {
    "fetched in vain": "() => null",
    "refused at once": "() => { window.Worker = class { constructor() { throw new DOMException('no'); } }; }",
    "not known at all": "() => { delete window.Worker; }",
}


@pytest.mark.parametrize("how", daily(REFUSED, ["fetched in vain"]))
def test_a_page_is_told_that_no_worker_starts(page: Page, how: str) -> None:
    page.route("**/tally/worker.js", lambda route: route.abort())
    page.evaluate(REFUSED[how])
    read = dictionary.from_json(generate_tally.WHOLE)
    told = page.evaluate(ENCRYPT, asked_for(read, (1, None, None, None)))
    assert (told["name"], told["reason"]["code"]) == ("Refused", "worker_refused")
    assert told["reason"]["remedy"].startswith("Nothing was sealed.")


def test_64_variables_are_sealed_for_both_lanes_beside_a_page_that_is_told_how_far_it_is(
    page: Page,
) -> None:
    """For 16 custodians. How long that takes, `make bench` says."""
    read, secrets = widest(), [hpke.generate() for _ in range(16)]
    keys = [each.public for each in secrets]
    made = page.evaluate(wide_record.SEAL, wide_record.asked_for(read, 9, keys, KEY.to_bytes()))
    assert page.workers == []
    require_told(made["progress"])
    sealed = record.load(made["document"].encode())
    assert sealed.tally is not None
    context = sealed.context.in_lane(Lane.HOMOMORPHIC).aad()
    assert read.encoding is not None
    assert require_valid([(sealed.tally, context)], read.encoding, KEY.to_bytes()) == [None]
    shares = [record.open_share(sealed, at, secrets[at - 1]) for at in range(8, 17)]
    secret = feldman.combine(shares, sealed.key_commitments).secret
    row = decode_row(read, record.open_box(secret, sealed.context, sealed.box))
    assert row == tuple(wide_record.values_of(read).values())
    require_same_row(sealed, secret, read, row)


def require_told(progress: Sequence[Mapping[str, float]]) -> None:
    """From nothing to all, no more often than a page can draw; and the page had turns in between."""
    fractions = [each["fraction"] for each in progress]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert 10 < len(fractions) <= 101, "more often than a page can draw"
    assert progress[-1]["turns"] - progress[0]["turns"] > 2, "the page stood still meanwhile"


def test_the_pages_policy_names_every_policy_that_their_scripts_make() -> None:
    made = re.compile(r"createPolicy\(\s*\"(\w+)\"")
    named = {name for path in MODULES.rglob("*.js") for name in made.findall(path.read_text())}
    directive = next(each for each in headers.POLICY if each.startswith("trusted-types "))
    assert set(directive.split()[1:]) == named
