"""The pages that patients read: taken for a class on chain only, shown as they were published."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from eth_utils.crypto import keccak

from marketplace.class_pages import HELD_SECONDS, MOST_HELD, ClassPages
from marketplace.cli.main import main
from marketplace.client import Marketplace
from marketplace.client.steward import class_terms, hand_over_page
from marketplace.dictionaries import Dictionaries
from marketplace.errors import BadClassPage, Refusal
from marketplace.vocabulary import Address
from marketplace.wire.class_page import ClassPage
from marketplace.wire.http import to_hex
from tests.support.api_world import ApiWorld, api_world, market_of, problem
from tests.support.chain_world import PAGE, TERMS, account

ANOTHER = replace(PAGE, title="Another study")
STRANGER = Address(account("nobody's steward").address)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("pages")) as made:
        yield made


@pytest.fixture
def pages(world: ApiWorld, tmp_path: Path) -> ClassPages:
    """An empty folder over the world's chain."""
    return ClassPages(tmp_path / "pages", world.operator.chain)


@pytest.fixture(scope="module")
def steward(world: ApiWorld) -> Address:
    return Address(world.researcher.address)


def code(refused: pytest.ExceptionInfo[Refusal]) -> str:
    return refused.value.code


def publish(world: ApiWorld, page: ClassPage) -> bytes:
    """One more class of the world's dataset, with this page. Returns its id."""
    terms = replace(TERMS, terms_hash=page.hash())
    sent = world.custody.sender.send(
        "DatasetRegistry", "publishClass", world.custody.dataset, terms
    )
    return bytes(sent.event("ClassPublished").args["class"])


def test_the_page_of_a_class_on_chain_is_kept_and_shown(world: ApiWorld, pages: ClassPages) -> None:
    assert pages.keep(PAGE.to_bytes()) == PAGE
    assert pages.keep(PAGE.to_bytes()) == PAGE
    assert pages.of(TERMS.terms_hash) == PAGE
    assert [each.name for each in pages.folder.iterdir()] == [f"{PAGE.hash().hex()}.json"]
    assert (pages.folder.stat().st_mode & 0o777) == 0o700


def test_a_page_that_no_class_names_is_not_taken(pages: ClassPages) -> None:
    with pytest.raises(Refusal) as refused:
        pages.keep(ANOTHER.to_bytes())
    assert (code(refused), pages.folder.exists()) == ("unknown_class_page", False)


def test_a_page_that_nobody_handed_over_is_missing(pages: ClassPages) -> None:
    with pytest.raises(Refusal) as refused:
        pages.of(TERMS.terms_hash)
    assert code(refused) == "class_page_missing"


def test_what_is_not_canonical_is_not_taken(pages: ClassPages) -> None:
    with pytest.raises(BadClassPage):
        pages.keep(PAGE.to_bytes() + b"\n")
    assert not pages.folder.exists()


def test_a_file_that_was_altered_is_not_shown(pages: ClassPages) -> None:
    pages.keep(PAGE.to_bytes())
    (path,) = pages.folder.iterdir()
    path.write_bytes(ANOTHER.to_bytes())
    with pytest.raises(Refusal) as refused:
        pages.of(TERMS.terms_hash)
    assert code(refused) == "class_page_missing"
    assert pages.keep(PAGE.to_bytes()) == pages.of(TERMS.terms_hash)


def test_a_dictionary_whose_file_was_altered_is_not_computed_with(
    world: ApiWorld, tmp_path: Path
) -> None:
    kept = Dictionaries(tmp_path / "dictionaries", world.operator.chain)
    true = kept.keep(world.custody.dictionary.to_bytes())
    (path,) = kept.folder.iterdir()
    path.write_bytes(replace(true, name="Another").to_bytes())
    with pytest.raises(Refusal) as refused:
        kept.of(world.custody.dataset)
    assert code(refused) == "dictionary_missing"
    assert kept.keep(true.to_bytes()) == kept.of(world.custody.dataset) == true


# --- before a class is published


def test_a_stewards_page_is_shown_to_others_once_its_class_is_published(
    world: ApiWorld, pages: ClassPages, steward: Address
) -> None:
    page = replace(PAGE, title="Held, then published")
    pages.hold(page.to_bytes(), steward)
    assert pages.preview(page.hash(), steward) == page
    for look in (pages.of, partial(pages.preview, steward=STRANGER)):
        with pytest.raises(Refusal) as refused:
            look(page.hash())
        assert code(refused) == "class_page_missing"
    publish(world, page)
    assert pages.of(page.hash()) == page == pages.preview(page.hash(), STRANGER)
    assert list(pages.folder.glob("held/*/*.json")) == []


def test_only_stewards_leave_pages_of_classes_that_are_not_published(pages: ClassPages) -> None:
    with pytest.raises(Refusal) as refused:
        pages.hold(ANOTHER.to_bytes(), STRANGER)
    assert (code(refused), pages.folder.exists()) == ("not_a_steward", False)


def test_a_steward_leaves_so_many_pages_and_those_that_waited_too_long_make_room(
    pages: ClassPages, steward: Address
) -> None:
    for number in range(MOST_HELD):
        pages.hold(replace(PAGE, title=f"Page {number}").to_bytes(), steward)
    pages.hold(replace(PAGE, title="Page 0").to_bytes(), steward)  # known: takes no room
    with pytest.raises(Refusal) as refused:
        pages.hold(ANOTHER.to_bytes(), steward)
    assert code(refused) == "too_many_pages"
    first = next(pages.folder.glob(f"held/*/{replace(PAGE, title='Page 0').hash().hex()}.json"))
    old = time.time() - HELD_SECONDS - 1
    os.utime(first, (old, old))
    pages.hold(ANOTHER.to_bytes(), steward)
    assert not first.exists()


# --- over the API, by the client and the command line


def test_a_page_goes_up_and_down_through_the_api(world: ApiWorld) -> None:
    page = replace(PAGE, title="Through the API")
    refused = problem(world.post("/class-pages", {"page": page.to_json()}), 422)
    assert refused["code"] == "unknown_class_page"
    path = f"/class-pages/{to_hex(page.hash())}"
    assert problem(world.get(path), 404)["code"] == "class_page_missing"
    class_ = publish(world, page)
    market = market_of(world)
    hand_over_page(market.api, page)
    assert world.get(path).get_json() == {
        "terms_hash": to_hex(page.hash()),
        "page": page.to_json(),
    }
    assert market.class_page(class_) == page


def test_a_client_takes_no_other_page_than_the_one_on_chain(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = Marketplace(world.url, world.custody.node_url, world.custody.manifest)
    class_ = publish(world, replace(PAGE, title="Shown in place of"))
    monkeypatch.setattr(market.api, "get", lambda _path: {"page": ANOTHER.to_json()})
    with pytest.raises(Refusal) as refused:
        market.class_page(class_)
    assert code(refused) == "class_page_mismatch"


def test_terms_take_their_hash_from_the_page_and_contradict_it_never() -> None:
    bare = {name: each for name, each in TERMS.to_json().items() if name != "termsHash"}
    assert class_terms(bare, PAGE) == TERMS == class_terms(TERMS.to_json(), PAGE)
    other = {**bare, "termsHash": to_hex(keccak(text="another"))}
    for given, expected in ((other, "another_page"), ([], "malformed_message")):
        with pytest.raises(Refusal) as refused:
            class_terms(given, PAGE)
        assert code(refused) == expected


def test_the_command_line_hands_over_a_page_and_refuses_a_key_twice(
    world: ApiWorld, tmp_path: Path
) -> None:
    page = replace(PAGE, title="By the command line")
    publish(world, page)
    path = tmp_path / "page.json"
    path.write_bytes(page.to_bytes())
    run = CliRunner().invoke(
        main, ["hand-over-page", "--url", world.url, "--page", str(path)], catch_exceptions=False
    )
    assert (run.exit_code, to_hex(page.hash()) in run.output) == (0, True)
    assert world.operator.class_pages.of(page.hash()) == page
    twice = page.to_bytes().replace(b'"pay":', b'"pay":"Nothing.","pay":')
    path.write_bytes(twice)
    run = CliRunner().invoke(main, ["hand-over-page", "--url", world.url, "--page", str(path)])
    assert run.exit_code == 1
    assert "the same key twice" in run.output
