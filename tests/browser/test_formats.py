"""The browser's modules make and read the very bytes that the servers do: in Node and in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.fhir.demo import demo_bundles, demo_dictionary
from marketplace.sealing.row import Value, to_row
from marketplace.sealing.seal import CustodianKey, seal_row
from marketplace.vocabulary import (
    CustodianIndex,
    DatasetId,
    Epoch,
    address,
    patient_address,
)
from marketplace.wire import dictionary, feldman, hpke, record
from marketplace.wire.dictionary import Dictionary, Kind, Row, Variable, decode_row
from tests.support import node
from tests.support.static_site import static_site
from tests.vectors import generate_web, web_fhir
from tests.vectors.tagging import tag
from tools import webwords
from tools.browser import PATIENCE_MILLISECONDS, chromium

ROUND_TRIPS = 100
SECRETS = [hpke.generate() for _ in range(5)]
PUBLIC = [secret.public for secret in SECRETS]
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@pytest.mark.long
def test_every_vector_holds_in_node() -> None:
    """Each day they hold where they are used, in Chromium."""
    done = node.run_tests("formats.test.mjs")
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]


def test_envelopes_are_those_of_another_implementation() -> None:
    done = node.run_tests("hpke.test.mjs")
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]


def test_every_vector_holds_in_chromium() -> None:
    with static_site() as origin, chromium() as browser:
        page = browser.new_page()
        page.goto(origin, timeout=PATIENCE_MILLISECONDS)
        done = page.evaluate(IN_CHROMIUM)
    assert len(done) > 2_000, done
    assert [each for each in done if not each["ok"]][:10] == []


IN_CHROMIUM = """
async () => {
  const { checks, load, VECTORS } = await import("/checks/checks.mjs");
  const read = async (name) => [name, await (await fetch(`/vectors/${name}.json`)).json()];
  const vectors = Object.fromEntries(await Promise.all(VECTORS.map(read)));
  return checks(vectors, await load("/static/js/"));
}
"""


def test_the_vectors_are_what_the_servers_make() -> None:
    assert generate_web.FILE.read_text() == generate_web.written(generate_web.vectors())


def test_the_tables_of_the_browser_are_what_the_servers_say() -> None:
    for name, text in webwords.written().items():
        assert (webwords.FOLDER / name).read_text() == text, f"run python -m tools.webwords: {name}"


# --- back and forth


@st.composite
def dictionaries(draw: st.DrawFn) -> Dictionary:
    variables = draw(st.lists(st.one_of(numbers(), categories()), min_size=1, max_size=5))
    named = [each | {"name": f"v{i}"} for i, each in enumerate(variables)]
    head = {"schema": dictionary.SCHEMA, "name": "any", "version": draw(st.integers(1, 2**53))}
    return dictionary.from_json({**head, "variables": named})


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    decimals = draw(st.integers(0, 9))
    bound = st.integers(-(2**40), 2**40)
    lower, upper = sorted(draw(st.lists(bound, min_size=2, max_size=2, unique=True)))
    shown = [f"{Decimal(each).scaleb(-decimals):f}" for each in (lower, upper)]
    bounds = {"lower": shown[0], "upper": shown[1], "decimals": decimals}
    return {"kind": "number", "unit": draw(WORDS), **shared(draw), **bounds}


@st.composite
def categories(draw: st.DrawFn) -> dict[str, Any]:
    listed = draw(st.lists(WORDS, min_size=2, max_size=6, unique=True))
    return {"kind": "category", "categories": listed, **shared(draw)}


def shared(draw: st.DrawFn) -> dict[str, Any]:
    return {"label": draw(WORDS), "code": {"system": draw(WORDS), "code": draw(WORDS)}}


def value_of(variable: Variable, scaled: int | None) -> Value:
    if scaled is None:
        return None
    if variable.kind is Kind.CATEGORY:
        return variable.categories[scaled]
    return Decimal(scaled).scaleb(-variable.decimals)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Dictionary, dict[str, Value], int]:
    read = draw(dictionaries())
    scaled = [
        draw(st.none() | st.integers(each.domain.start, each.domain.stop - 1))
        for each in read.variables
    ]
    values = {
        each.name: value_of(each, one) for each, one in zip(read.variables, scaled, strict=True)
    }
    return read, values, draw(st.integers(1, len(SECRETS)))


def context_of(read: Dictionary) -> record.RecordContext:
    return record.RecordContext(
        chain_id=31337,
        registry=address("0x" + "11" * 20),
        dataset=DatasetId(b"\xd5" * 30 + bytes(2)),
        patient=patient_address("0x" + "22" * 20),
        dictionary_hash=read.hash(),
        record_version=1,
    )


@pytest.fixture(scope="module")
def browser_side() -> Iterator[node.Asked]:
    with node.asking("ask.mjs") as asked:
        yield asked


many = settings(max_examples=ROUND_TRIPS, suppress_health_check=[HealthCheck.too_slow])


@many
@given(case=cases())
def test_custodians_open_what_the_browser_seals(
    browser_side: node.Asked, case: tuple[Dictionary, dict[str, Value], int]
) -> None:
    read, values, quorum = case
    where = context_of(read)
    sealed = browser_side.ask(
        "seal",
        document=read.to_bytes().decode(),
        values=tag(values)["o"],
        context={
            "chainId": where.chain_id,
            "registry": where.registry,
            "dataset": "0x" + where.dataset.hex(),
            "patient": where.patient,
            "recordVersion": where.record_version,
            "lane": int(where.lane),
        },
        custodians=["0x" + key.hex() for key in PUBLIC],
        epoch=3,
        quorum=quorum,
    )
    loaded = record.load(sealed["value"].encode(), where)
    assert record.dump(loaded) == sealed["value"].encode()
    shares = [record.open_share(loaded, i, SECRETS[i - 1]) for i in range(5, 5 - quorum, -1)]
    secret = feldman.combine(shares, loaded.key_commitments).secret
    row = decode_row(read, record.open_box(secret, where, loaded.box))
    assert row == to_row(read, values)


@many
@given(case=cases())
def test_the_browser_opens_what_the_command_line_seals(
    browser_side: node.Asked, case: tuple[Dictionary, dict[str, Value], int]
) -> None:
    read, values, quorum = case
    custodians = [CustodianKey(CustodianIndex(i + 1), key) for i, key in enumerate(PUBLIC)]
    sealed = seal_row(read, values, context_of(read), custodians, Epoch(3), quorum)
    opened = browser_side.ask(
        "open",
        document=read.to_bytes().decode(),
        sealed=record.dump(sealed).decode(),
        secrets={str(i): "0x" + SECRETS[i - 1].raw.hex() for i in range(1, quorum + 1)},
    )
    expected: Row = to_row(read, values)
    assert opened["value"] == tag(list(expected))


def test_the_browser_extracts_what_the_command_line_does(browser_side: node.Asked) -> None:
    read = demo_dictionary()
    for bundle in demo_bundles(40, 2026):
        found = browser_side.ask(
            "extract", document=read.to_bytes().decode(), bundle=bundle.decode()
        )
        assert found == {"value": tag(web_fhir.extracted(bundle, read))}
