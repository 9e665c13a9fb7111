"""Records for both lanes through the pages: as large as they may be, and said in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

import pytest

from marketplace.wire.canonical import canonical
from marketplace.wire.http import to_hex
from marketplace.wire.record import LARGEST_RECORD, LARGEST_WITH_TALLY, load
from tests.support.api_world import ApiWorld, api_world
from tests.support.joining_world import make_joint_key, publish, widest
from tests.support.left_drafts import Browser as Sealer
from tests.support.left_drafts import Clinic
from tests.support.web_browser import Browser
from tests.support.web_world import WebWorld, web_world
from tests.web.test_join import body, path, refusal, rows, visitor

VALUES = {"v3": Decimal(131), "v63": Decimal(1000)}
JARGON = re.compile(r"tally|ElGamal|homomorphic|ciphertext column|lane\b|zero.knowledge", re.I)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    with api_world(tmp_path_factory.mktemp("tallied pages")) as api:
        publish(api.custody, widest())
        make_joint_key(api)
        api.operator.dictionaries.keep(api.custody.dictionary.to_bytes())
        with web_world(api) as made:
            yield made


@pytest.fixture(scope="module")
def api(world: WebWorld) -> ApiWorld:
    return world.api


@pytest.fixture(scope="module")
def clinic(api: ApiWorld) -> Clinic:
    made = Clinic(api.custody, api.operator.drafts, api.custody.issuer)
    made.opens_desk()
    return made


@pytest.fixture
def sealer(api: ApiWorld) -> Sealer:
    return Sealer(api.custody)


@pytest.fixture
def browser(world: WebWorld, sealer: Sealer) -> Browser:
    return visitor(world).sign_in(sealer.account)


def test_the_page_hands_over_the_encoding_and_says_what_one_sealing_is_for(
    api: ApiWorld, browser: Browser
) -> None:
    page = browser.look(path(api, "join")).get_data(as_text=True)
    for said in ("You seal once.", "nobody opens your record at all", "is the sum alone"):
        assert said in page
    shown = re.sub(r'data-facts="[^"]*"', "", page)
    assert JARGON.findall(re.sub(r"<[^>]+>", " ", shown)) == []
    facts = browser.facts(path(api, "join"))
    assert canonical(facts["dictionary"]) == api.custody.dictionary.to_bytes()
    assert facts["dictionary_hash"] == to_hex(api.custody.dictionary.hash())


def test_what_a_page_sends_of_64_variables_is_left_opened_and_attested_through_pages(
    world: WebWorld, api: ApiWorld, clinic: Clinic, sealer: Sealer, browser: Browser
) -> None:
    (code,) = clinic.invites()
    made = sealer.seals(VALUES, code, clinic.desk_key)
    assert len(canonical(body(made))) > 50_000
    left = browser.post(path(api, "drafts"), body(made))
    assert (left.status_code, left.get_json()["state"]) == (200, "waiting")
    desk, at = visitor(world).sign_in(clinic.issuer), to_hex(made.record.commitment)
    opened = desk.post(f"/clinic/{api.dataset}/drafts/{at}/open", {}).get_json()
    assert load(canonical(opened["record"])) == made.record
    attestation, signature = clinic.attestation(made.record, "P-1")
    word = {"attestation": attestation, "signature": signature}
    assert desk.post(f"/clinic/{api.dataset}/drafts/{at}/attest", word).get_json()["state"] == (
        "stored"
    )
    kept = browser.get(path(api, "record")).get_json()
    assert set(kept["header"]["tally"]) == {"public_key", "column_root", "proof_hash"}


def test_a_body_is_read_up_to_the_largest_record_and_no_further(
    api: ApiWorld, browser: Browser
) -> None:
    before = rows(api)
    sizes = {LARGEST_WITH_TALLY: "opening_unreadable", LARGEST_WITH_TALLY + 9_000: "body_too_large"}
    assert LARGEST_RECORD < LARGEST_WITH_TALLY
    for size, code in sizes.items():
        padded = {"record": "x" * size, "opening": "", "code": to_hex(bytes(32))}
        refused = refusal(browser.post(path(api, "drafts"), padded))[0]
        assert (refused == "body_too_large") == (code == "body_too_large"), refused
    assert rows(api) == before
