"""Keys of a browser: made, kept, unlocked from page to page, saved, brought back; or a wallet."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from marketplace.wire.browser_keyfile import unlock
from marketplace.wire.browser_keys import NO_DATASET, Place
from marketplace.wire.http import to_hex
from marketplace.wire.keyfiles import create
from marketplace.wire.keyring import Keyring
from tests.support.api_world import ApiWorld
from tests.support.browser_keys import PASSPHRASE, bring_key, keys_here, make_keys
from tests.support.chain_world import account
from tests.support.overheard import Overheard, overhearing
from tests.support.web_world import WebWorld, web_world
from tools.browser import PATIENCE_MILLISECONDS, chromium

OTHER = "marble sunset violin harbour fog"
RESEARCHER = account("key of the command line")
WALLET = account("wallet of a browser")
KEPT = """() => new Promise((resolve, reject) => {
    const opened = indexedDB.open("usufruct", 1);
    opened.onerror = () => reject(opened.error);
    opened.onsuccess = () => {
        const asked = opened.result.transaction("kept").objectStore("kept").getAll();
        asked.onsuccess = () => resolve(asked.result.map(each =>
            each instanceof Uint8Array ? new TextDecoder().decode(each) : JSON.stringify(each)));
    };
})"""


@pytest.fixture(scope="module")
def world(shared_api: ApiWorld) -> Iterator[WebWorld]:
    with web_world(shared_api) as made:
        yield made


@pytest.fixture(scope="module")
def browser(world: WebWorld) -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def heard() -> Iterator[Overheard]:
    with overhearing() as found:
        yield found


@pytest.fixture
def context(browser: Browser, world: WebWorld, heard: Overheard) -> Iterator[BrowserContext]:
    opened = browser.new_context(base_url=world.url, proxy=heard.proxy)
    opened.set_default_timeout(PATIENCE_MILLISECONDS)
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    yield opened
    opened.close()


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """Of any page's script; there is none."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def page(context: BrowserContext, faults: list[str]) -> Page:
    return watched(context, faults)


def watched(context: BrowserContext, faults: list[str]) -> Page:
    made = context.new_page()
    made.on("pageerror", lambda error: faults.append(str(error)))
    return made


def newcomer(page: Page, folder: Path) -> Keyring:
    page.goto("/sign-in")
    return make_keys(page, folder)


def known(page: Page, world: WebWorld) -> Keyring:
    """Of somebody who made keys here and brought a key some other day."""
    page.goto("/contracts")
    return keys_here(page, world.site.assets.url("js/keystore.js"), "research account", RESEARCHER)


def sign_in(page: Page) -> None:
    """With the one account that was brought."""
    page.goto("/sign-in?next=/contracts")
    page.fill("#passphrase", PASSPHRASE)
    page.get_by_role("button", name="Unlock").click()
    page.get_by_label("research account").check()
    page.locator("#choose button").click()
    page.wait_for_url(lambda url: urlsplit(url).path == "/contracts")


def who(page: Page) -> Any:
    return page.evaluate(
        "fetch('/session', {headers: {Accept: 'application/json'}}).then(a => a.json())"
    )


def is_unlocked(page: Page, world: WebWorld) -> bool:
    url = world.site.assets.url("js/session.js")
    return bool(page.evaluate("u => import(u).then(m => m.unlocked()).then(k => k !== null)", url))


def test_keys_are_made_saved_and_used_and_nothing_secret_ever_leaves_or_lies_open(
    page: Page, world: WebWorld, heard: Overheard, tmp_path: Path
) -> None:
    keyring = newcomer(page, tmp_path)
    bring_key(page, RESEARCHER, tmp_path)
    sign_in(page)
    assert who(page)["account"] == RESEARCHER.address
    secrets = (PASSPHRASE, keyring.root.raw, bytes(RESEARCHER.key))
    for secret in secrets:
        assert heard.carrying(secret) == []
    stored = page.evaluate("JSON.stringify({...sessionStorage, ...localStorage})")
    lying = [*page.evaluate(KEPT), stored]
    for secret in secrets:
        text = secret if isinstance(secret, str) else secret.hex()
        assert not any(text in each for each in lying)
    assert heard.carrying(RESEARCHER.address)  # what is public is heard: the ear works


def test_keys_stay_unlocked_from_page_to_page_and_not_in_another_tab_nor_after_signing_out(
    page: Page, context: BrowserContext, world: WebWorld, faults: list[str]
) -> None:
    known(page, world)
    sign_in(page)
    page.goto("/datasets")
    assert is_unlocked(page, world)
    other = watched(context, faults)
    other.goto("/datasets")
    assert who(other)["account"] == RESEARCHER.address
    assert not is_unlocked(other, world)
    url = world.site.assets.url("js/session.js")
    page.evaluate("u => import(u).then(m => m.signOut())", url)
    page.wait_for_url(lambda url: urlsplit(url).path == "/")
    assert not is_unlocked(page, world)
    assert who(page)["code"] == "not_signed_in"


def test_a_server_that_is_asked_too_often_or_is_away_locks_no_keys(
    page: Page, world: WebWorld
) -> None:
    """Else whoever fills this network's bucket, or a train's tunnel, would take them from the tab."""
    known(page, world)
    sign_in(page)
    kept = page.evaluate("JSON.parse(sessionStorage.getItem('unlocked keys')).box")
    for fails in (too_often, busy, is_away):
        page.route("**/session/half", fails)
        assert not is_unlocked(page, world)
        assert page.evaluate("JSON.parse(sessionStorage.getItem('unlocked keys')).box") == kept
        assert page.evaluate(REQUIRED, world.site.assets.url("js/session.js")) == told_by(fails)
        page.unroute("**/session/half")
        assert is_unlocked(page, world)


REQUIRED = (
    "u => import(u).then(m => m.requireUnlocked()).then(() => 'opened', refused => refused.code)"
)


def refused(route: Route, status: int, code: str) -> None:
    route.fulfill(status=status, json={"code": code, "detail": "No.", "remedy": "Ask again."})


def too_often(route: Route) -> None:
    refused(route, 429, "too_often")


def busy(route: Route) -> None:
    refused(route, 503, "busy")


def is_away(route: Route) -> None:
    route.abort()


def told_by(fails: Callable[[Route], None]) -> str:
    return "unreachable" if fails is is_away else fails.__name__


def test_what_a_tab_keeps_does_not_open_without_the_session_it_was_kept_in(
    page: Page, world: WebWorld
) -> None:
    """A copied profile has the tab's box; a new session of the same account has another half."""
    known(page, world)
    sign_in(page)
    kept = page.evaluate("sessionStorage.getItem('unlocked keys')")
    assert set(json.loads(kept)) == {"at", "nonce", "box"}
    url = world.site.assets.url("js/session.js")
    page.evaluate("u => import(u).then(m => m.signOut())", url)
    page.wait_for_url(lambda url: urlsplit(url).path == "/")
    sign_in(page)
    page.evaluate("kept => sessionStorage.setItem('unlocked keys', kept)", kept)
    assert not is_unlocked(page, world)


def test_a_saved_file_brings_the_keys_to_another_browser(
    page: Page, browser: Browser, world: WebWorld, faults: list[str], tmp_path: Path
) -> None:
    keyring = newcomer(page, tmp_path)
    fresh = browser.new_context(base_url=world.url)
    fresh.set_default_timeout(PATIENCE_MILLISECONDS)
    other = watched(fresh, faults)
    other.goto("/sign-in")
    other.get_by_text("I have a saved key file").click()
    other.set_input_files("#file", tmp_path / "keys.json")
    other.fill("#brought", OTHER)
    other.get_by_role("button", name="Bring it here").click()
    expect(other.locator("#brought-error")).to_contain_text("or the file was changed")
    other.fill("#brought", PASSPHRASE)
    other.get_by_role("button", name="Bring it here").click()
    told = other.get_by_text("does not say which ones you joined")
    expect(told).to_be_visible()  # it stands there hidden from the start
    kept = other.evaluate(KEPT)
    assert unlock(kept[0].encode(), PASSPHRASE) == keyring
    fresh.close()


def test_keys_that_another_tab_made_meanwhile_are_never_replaced(
    page: Page, context: BrowserContext, faults: list[str], tmp_path: Path
) -> None:
    older = watched(context, faults)
    older.goto("/sign-in")
    expect(older.locator("#make-part")).to_be_visible()  # it has looked, and found no keys
    keyring = newcomer(page, tmp_path)
    older.fill("#new", PASSPHRASE)
    older.fill("#again", PASSPHRASE)
    older.get_by_role("button", name="Make keys").click()
    expect(older.locator("#make")).to_contain_text("This browser has keys already")
    older.get_by_text("I have a saved key file").click()
    older.set_input_files("#file", tmp_path / "keys.json")
    older.fill("#brought", PASSPHRASE)
    older.get_by_role("button", name="Bring it here").click()
    expect(older.locator("#bring")).to_contain_text("This browser has keys already")
    assert unlock(page.evaluate(KEPT)[0].encode(), PASSPHRASE) == keyring


def test_another_passphrase_takes_the_place_of_the_one_before(page: Page, world: WebWorld) -> None:
    keyring = known(page, world)
    page.goto("/keys")
    page.fill("#old", OTHER)
    page.fill("#new", OTHER)
    page.fill("#again", OTHER)
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("#old-error")).to_contain_text("Wrong passphrase")
    page.fill("#old", PASSPHRASE)
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("#changed")).to_contain_text("Changed.")
    assert unlock(page.evaluate(KEPT)[0].encode(), OTHER) == keyring


@pytest.mark.parametrize(
    ("new", "again", "field", "said"),
    [
        ("short", "short", "new", "fewer than 12 characters"),
        pytest.param(
            *("aaaaaaaaaaaaaa", "aaaaaaaaaaaaaa", "new", "different ones"), marks=pytest.mark.long
        ),
        (PASSPHRASE, OTHER, "again", "not the same"),
    ],
)
def test_a_passphrase_that_would_not_protect_is_refused_at_its_field_and_nothing_is_kept(
    page: Page, new: str, again: str, field: str, said: str
) -> None:
    page.goto("/sign-in")
    page.fill("#new", new)
    page.fill("#again", again)
    page.get_by_role("button", name="Make keys").click()
    expect(page.locator(f"#{field}-error")).to_contain_text(said)
    expect(page.locator(f"#{field}")).to_be_focused()
    assert page.input_value("#new") == new
    assert page.evaluate(KEPT) == []


@pytest.mark.long
def test_a_key_of_the_command_line_in_the_place_of_saved_keys_is_told_where_it_goes(
    page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "issuer.key"
    create(path, bytes(RESEARCHER.key))
    page.goto("/sign-in")
    page.get_by_text("I have a saved key file").click()
    page.set_input_files("#file", path)
    page.fill("#brought", PASSPHRASE)
    page.get_by_role("button", name="Bring it here").click()
    expect(page.locator("#file-error")).to_contain_text("add this file to them on the page Keys")
    assert page.evaluate(KEPT) == []


@pytest.mark.long
def test_keys_without_an_account_say_where_each_kind_of_person_goes_on(
    page: Page, tmp_path: Path
) -> None:
    newcomer(page, tmp_path)
    for href in ("/keys", "/datasets"):
        expect(page.locator(f"#no-account a[href='{href}']")).to_be_visible()
    expect(page.locator("#choose")).to_be_hidden()
    expect(page.get_by_role("button", name="Make a research account")).to_be_visible()


# --- an account for work


def own_key(keyring: Keyring, world: WebWorld) -> LocalAccount:
    """Of their address in no dataset."""
    context = world.api.custody.record_context(account("anybody").address)
    place = Place(context.chain_id, context.registry, NO_DATASET)
    made: LocalAccount = Account.from_key(keyring.root.patient_key(place))
    return made


def saved(page: Page, button: str, folder: Path) -> Keyring:
    with page.expect_download() as downloaded:
        page.locator(button).click()
    downloaded.value.save_as(folder / "again.json")
    return unlock((folder / "again.json").read_bytes(), PASSPHRASE)


@pytest.mark.long
def test_somebody_with_a_browser_alone_makes_a_research_account_and_signs_in_with_it(
    page: Page, world: WebWorld, tmp_path: Path
) -> None:
    page.goto("/sign-in?next=/ask")
    own = own_key(make_keys(page, tmp_path), world)
    page.get_by_role("button", name="Make a research account").click()
    expect(page.locator("#own-part")).to_be_visible()  # it stands there hidden from the start
    expect(page.locator("#own-part")).to_contain_text("Give this address to the credential")
    expect(page.locator("#own-address code")).to_have_text(own.address)
    expect(page.locator("#own-address").get_by_role("button", name="Copy")).to_be_visible()
    (kept,) = saved(page, "#own-save", tmp_path).datasets
    assert kept.place.dataset == NO_DATASET
    page.get_by_role("button", name="Sign in with it").click()
    page.wait_for_url(lambda url: urlsplit(url).path == "/ask")
    assert who(page)["account"] == own.address


@pytest.mark.long
def test_the_page_of_keys_lists_accounts_and_makes_one_for_work(
    page: Page, world: WebWorld, tmp_path: Path
) -> None:
    keyring = newcomer(page, tmp_path)
    bring_key(page, RESEARCHER, tmp_path)
    expect(page.locator("#accounts")).to_contain_text(RESEARCHER.address)
    page.fill("#own_passphrase", PASSPHRASE)
    page.get_by_role("button", name="Make a research account").click()
    expect(page.locator("#made")).to_contain_text("Made.")
    expect(page.locator("#accounts")).to_contain_text(own_key(keyring, world).address)
    expect(page.locator("#own")).to_be_hidden()
    page.reload()
    expect(page.locator("#saved")).to_contain_text("the older copy does not know")
    expect(page.locator("#accounts")).not_to_contain_text("0x")
    page.get_by_role("button", name="Show them").click()
    page.fill("dialog input", PASSPHRASE)
    page.get_by_role("button", name="Unlock").click()
    expect(page.locator("#accounts")).to_contain_text(RESEARCHER.address)
    saved(page, "#save", tmp_path)
    page.reload()
    expect(page.locator("#here")).to_be_visible()
    expect(page.locator("#saved")).to_be_empty()


@pytest.mark.long
def test_the_one_account_is_chosen_and_where_it_was_to_lead_is_kept_while_a_key_is_added(
    page: Page, tmp_path: Path
) -> None:
    page.goto("/sign-in?next=/contracts")
    make_keys(page, tmp_path)
    way = page.locator("#no-account a[href^='/keys']").get_attribute("href") or ""
    bring_key(page, RESEARCHER, tmp_path, at=way)
    page.get_by_role("link", name="Now sign in with it").click()
    # The page before has such a field, too.
    page.wait_for_url(lambda url: urlsplit(url).path == "/sign-in")
    page.fill("#passphrase", PASSPHRASE)
    page.get_by_role("button", name="Unlock").click()
    page.locator("#choose button").click()
    page.wait_for_url(lambda url: urlsplit(url).path == "/contracts")
    assert who(page)["account"] == RESEARCHER.address


@pytest.mark.long
def test_a_copy_that_is_saved_at_the_start_knows_the_dataset_that_one_came_for(
    page: Page, world: WebWorld, tmp_path: Path
) -> None:
    page.goto(f"/sign-in?next=/me/{world.api.dataset}/join")
    expect(page.locator(".lead")).to_contain_text("To take part in")
    (joined,) = make_keys(page, tmp_path).datasets
    assert to_hex(joined.place.dataset) == world.api.dataset


@pytest.mark.long
def test_a_passphrase_that_does_not_open_speaks_of_a_file_only_where_one_was_chosen(
    page: Page, world: WebWorld
) -> None:
    known(page, world)
    page.goto("/sign-in")
    for typed, told in (("", "Type your passphrase."), (OTHER, "Type the one that you chose")):
        page.fill("#passphrase", typed)
        page.get_by_role("button", name="Unlock").click()
        expect(page.locator("#passphrase-error")).to_contain_text(told)
        expect(page.locator("#passphrase-error")).not_to_contain_text("file")


def test_removed_keys_are_gone_from_this_browser(page: Page, tmp_path: Path) -> None:
    newcomer(page, tmp_path)
    page.goto("/keys")
    page.fill("#word", "no")
    page.get_by_role("button", name="Remove the keys").click()
    expect(page.locator("#word-error")).to_be_visible()
    page.fill("#word", "remove")
    page.get_by_role("button", name="Remove the keys").click()
    expect(page.locator("#none")).to_be_visible()
    (left,) = page.evaluate(KEPT)  # which market this is: public, and no key
    asked = {"custodians", "paper", "holders", "seats", "committees"}
    assert set(json.loads(left)) == {"chainId", "contracts", "token", *asked}


# --- a wallet


def with_wallet(context: BrowserContext, world: WebWorld, **answers: Any) -> None:
    """An EIP-1193 provider of one account; `answers` take the place of what it would say."""
    chain_id = world.api.operator.chain.chain_id

    def answer(method: str, params: list[Any]) -> Any:
        if method in answers:
            return answers[method]
        if method == "eth_chainId":
            return hex(chain_id)
        if method == "eth_requestAccounts":
            return [WALLET.address.lower()]
        text = encode_defunct(hexstr=params[0])
        return "0x" + bytes(Account.sign_message(text, WALLET.key).signature).hex()

    context.expose_function("walletAnswer", answer)
    context.add_init_script(
        "window.ethereum = {request: ({method, params}) => walletAnswer(method, params)}"
    )


def use_wallet(page: Page) -> None:
    page.goto("/sign-in?next=/contracts")
    page.get_by_label("Wallet of this browser").check()
    page.get_by_role("button", name="Sign in with the wallet").click()


def test_a_wallet_signs_in(page: Page, context: BrowserContext, world: WebWorld) -> None:
    with_wallet(context, world)
    use_wallet(page)
    page.wait_for_url(lambda url: urlsplit(url).path == "/contracts")
    assert who(page)["account"] == WALLET.address


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"eth_chainId": "0x1"}, "on chain 1"),
        pytest.param(
            {"personal_sign": "0x" + "11" * 64 + "1b"}, "signature", marks=pytest.mark.long
        ),
        ({"eth_requestAccounts": [RESEARCHER.address]}, "another account"),
        pytest.param(
            {"eth_requestAccounts": ["0x12"]}, "no address of this chain", marks=pytest.mark.long
        ),
    ],
    ids=["chain", "signature", "account", "nonsense"],
)
def test_a_wallet_that_is_elsewhere_or_wrong_is_refused_before_anything_is_sent(
    page: Page, context: BrowserContext, world: WebWorld, answers: dict[str, Any], said: str
) -> None:
    with_wallet(context, world, **answers)
    use_wallet(page)
    expect(page.locator("#wallet [data-refusal]")).to_contain_text(said)
    assert who(page)["code"] == "not_signed_in"
