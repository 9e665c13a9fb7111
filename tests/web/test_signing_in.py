"""Signing in: one text, signed once, by the account it names, in the browser that asked; sessions end."""

import contextlib
import hashlib
import hmac
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from sqlalchemy import event

from marketplace.chain.adapter import Chain
from marketplace.errors import BadParameter, Refusal
from marketplace.signing_in import (
    HALF_IDLE,
    SEEN_EVERY,
    SESSION_IDLE,
    SESSION_LIFE,
    Challenge,
    SignedIn,
    SigningIn,
    SignInOver,
    Visitor,
    new_secret,
)
from marketplace.store import Database
from marketplace.store import web as store
from marketplace.store.database import open_database
from marketplace.vocabulary import Address
from marketplace.wire.siwe import LONGEST_LIFE, SignIn
from tests.contracts.hostile_code import YES, assemble
from tests.support.chain_world import World, account, world_on
from tests.support.nodes import LyingProxy, any_node
from tests.support.postgresql import running_postgresql
from tests.vectors import generate_siwe
from web.rules import CHALLENGE, SIGN_IN

ORIGIN = "http://127.0.0.1:8000"
PATIENT, OTHER = account("patient"), account("somebody else")
HERE, ELSEWHERE = "192.0.2.1", "2001:db8::/64"
BROWSER, ANOTHER = Visitor("ab" * 32, HERE), Visitor("cd" * 32, HERE)
SECOND = "0x" + "22" * 20


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with any_node(tmp_path_factory.mktemp("signing-in")) as node:
        yield world_on(node)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """Every rule holds on both databases."""
    if request.param == "sqlite":
        database = open_database(f"sqlite:///{tmp_path_factory.mktemp('kept') / 'web.sqlite'}")
        yield database
        database.engine.dispose()
        return
    with running_postgresql() as url:
        database = open_database(url)
        yield database
        database.engine.dispose()


@dataclass
class Desk:
    """Sign-ins with a clock that a test sets."""

    chain: Chain
    database: Database
    now: float = 1_790_000_000.0
    here: SigningIn = field(init=False)

    def __post_init__(self) -> None:
        self.here = SigningIn(self.chain, self.database, ORIGIN, clock=lambda: self.now)

    def challenge(self, key: LocalAccount = PATIENT, browser: Visitor = BROWSER) -> Challenge:
        return self.here.challenge(key.address, browser)

    def sign_in(
        self, key: LocalAccount = PATIENT, *, network: str = HERE, **options: Any
    ) -> SignedIn:
        browser = replace(BROWSER, network=network)
        made = self.challenge(key, browser)
        return self.here.sign_in(made.nonce, browser, signature(made.text, key), **options)

    def is_in(self, done: SignedIn) -> bool:
        """Without a look: nothing is used by it."""
        return self.here.current(done.token, in_use=False) is not None

    def rows(self, table: str) -> int:
        with self.database.engine.connect() as connection:
            return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


@pytest.fixture
def desk(chain: World, kept: Database) -> Desk:
    with kept.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM web_challenges")
        connection.exec_driver_sql("DELETE FROM web_sessions")
    return Desk(chain.chain, kept)


def signature(text: str, key: LocalAccount = PATIENT) -> bytes:
    return bytes(Account.sign_message(encode_defunct(text=text), key.key).signature)


# --- a good sign-in


def test_whoever_signs_the_text_is_signed_in_as_the_account_it_names(desk: Desk) -> None:
    made = desk.challenge()
    done = desk.here.sign_in(made.nonce, BROWSER, signature(made.text))
    current = desk.here.current(done.token)
    assert current is not None
    assert current.account == done.account == PATIENT.address
    assert current.expires_at == done.expires_at == int(desk.now) + SESSION_LIFE
    assert current.half == done.half


def test_the_text_names_this_origin_this_chain_and_the_account(desk: Desk) -> None:
    made = desk.challenge()
    lines = made.text.split("\n")
    assert lines[0].startswith("127.0.0.1:8000 wants you to sign in")
    assert lines[1] == PATIENT.address
    assert f"URI: {ORIGIN}" in lines
    assert f"Chain ID: {desk.chain.chain_id}" in lines
    assert f"Nonce: {made.nonce}" in lines
    assert made.expires_at == int(desk.now) + LONGEST_LIFE


def test_an_address_that_is_none_gets_no_text(desk: Desk) -> None:
    for given in ("", "0x12", PATIENT.address[:-1], PATIENT.address[:-1] + "g"):
        with pytest.raises(BadParameter):
            desk.here.challenge(given, BROWSER)
    assert desk.rows("web_challenges") == 0


# --- a bad one


def refused(desk: Desk, made: Challenge, signed: bytes, browser: Visitor = BROWSER) -> str:
    with pytest.raises(Refusal) as found:
        desk.here.sign_in(made.nonce, browser, signed)
    assert desk.rows("web_sessions") == 0
    return found.value.code


def test_a_signature_signs_in_once(desk: Desk) -> None:
    made = desk.challenge()
    desk.here.sign_in(made.nonce, BROWSER, signature(made.text))
    with pytest.raises(SignInOver):
        desk.here.sign_in(made.nonce, BROWSER, signature(made.text))
    assert desk.rows("web_sessions") == 1


def test_a_failed_try_uses_the_challenge_up(desk: Desk) -> None:
    made = desk.challenge()
    assert refused(desk, made, signature(made.text, OTHER)) == "bad_signature"
    assert refused(desk, made, signature(made.text)) == "sign_in_over"


def test_a_text_that_was_relayed_to_another_browser_signs_nobody_in_there(desk: Desk) -> None:
    made = desk.challenge(browser=ANOTHER)
    assert refused(desk, made, signature(made.text)) == "sign_in_over"
    assert refused(desk, made, signature(made.text), ANOTHER) == "sign_in_over"


def test_a_challenge_is_over_after_ten_minutes(desk: Desk) -> None:
    made = desk.challenge()
    desk.now += LONGEST_LIFE - 1
    late = desk.challenge()
    desk.here.sign_in(made.nonce, BROWSER, signature(made.text))
    desk.now += LONGEST_LIFE
    with pytest.raises(SignInOver):
        desk.here.sign_in(late.nonce, BROWSER, signature(late.text))
    assert desk.rows("web_sessions") == 1


def test_another_account_or_another_text_than_the_one_that_was_given_is_refused(
    desk: Desk,
) -> None:
    for signed in (
        lambda made: signature(made.text, OTHER),
        lambda made: signature(made.text.replace("Chain ID: ", "Chain ID: 1")),
        lambda made: signature(made.text.replace(ORIGIN, "https://evil.example")),
        lambda made: signature(made.text.replace("no money", "all money")),
        lambda made: signature(desk.challenge().text),
        lambda made: b"",
        lambda made: b"\0" * 65,
    ):
        made = desk.challenge()
        assert refused(desk, made, signed(made)) == "bad_signature"


@pytest.mark.parametrize("what", generate_siwe.spoiled())
def test_no_spoiled_text_of_the_vectors_signs_in(desk: Desk, what: str) -> None:
    """Changed in a text of this server's own, and signed by the account's own key."""
    made, now = desk.challenge(), int(desk.now)
    asked = SignIn(
        Address(PATIENT.address), ORIGIN, desk.chain.chain_id, made.nonce, now, made.expires_at
    )
    assert asked.text() == made.text
    spoiled = generate_siwe.spoiled(asked)[what]
    assert spoiled != made.text
    assert refused(desk, made, signature(spoiled)) == "bad_signature"


def test_the_malleated_twin_signs_nobody_in(desk: Desk) -> None:
    made = desk.challenge()
    good = signature(made.text)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    twin = order - int.from_bytes(good[32:64], "big")
    malleated = good[:32] + twin.to_bytes(32, "big") + bytes([55 - good[64]])
    assert refused(desk, made, malleated) == "bad_signature"


def test_a_signature_for_another_chain_or_server_signs_nobody_in_here(desk: Desk) -> None:
    elsewhere = SigningIn(desk.chain, desk.database, "https://evil.example", lambda: desk.now)
    theirs = elsewhere.challenge(PATIENT.address, BROWSER)
    made = desk.challenge()
    assert refused(desk, made, signature(theirs.text)) == "bad_signature"


def test_of_many_that_use_one_challenge_at_once_one_is_signed_in(desk: Desk) -> None:
    made = desk.challenge()
    start = threading.Barrier(8)

    def enter() -> bool:
        start.wait()
        try:
            desk.here.sign_in(made.nonce, BROWSER, signature(made.text))
        except SignInOver:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        entered = [each.result() for each in [pool.submit(enter) for _ in range(8)]]
    assert entered.count(True) == 1
    assert desk.rows("web_sessions") == 1


# --- wallets


def wallet(chain: World, code: str) -> str:
    body = assemble(code)
    head = bytes.fromhex(f"61{len(body):04x}80600c6000396000f3")
    made = chain.sender._transactor.transact(None, head + body, None).created
    assert made is not None
    return made


def test_a_wallet_contract_signs_in_with_whatever_it_says_is_its_signature(
    chain: World, desk: Desk
) -> None:
    picky = f"100 CALLDATALOAD 248 SHR 1 EQ @yes JUMPI 0 0 REVERT :yes {YES} 0 MSTORE 32 0 RETURN"
    at = wallet(chain, picky)
    made = desk.here.challenge(at, BROWSER)
    assert refused(desk, made, b"\x02") == "bad_signature"
    made = desk.here.challenge(at, BROWSER)
    assert desk.here.sign_in(made.nonce, BROWSER, b"\x01" * 300).account == at


def test_a_wallet_that_says_something_else_or_fails_signs_nobody_in(
    chain: World, desk: Desk
) -> None:
    for code in ("1 0 MSTORE 32 0 RETURN", "0 0 REVERT", "0 0 RETURN"):
        made = desk.here.challenge(wallet(chain, code), BROWSER)
        assert refused(desk, made, signature(made.text)) == "bad_signature"


def test_without_a_node_no_wallet_is_believed_and_a_key_still_is(chain: World, desk: Desk) -> None:
    at = wallet(chain, f"{YES} 0 MSTORE 32 0 RETURN")
    alone = Desk(Chain("http://127.0.0.1:9", chain.manifest), desk.database)
    made = alone.here.challenge(at, BROWSER)
    assert refused(alone, made, b"\x01") == "node_unreachable"
    assert alone.sign_in().account == PATIENT.address


def test_a_wallet_is_not_believed_by_a_stale_node(chain: World, desk: Desk) -> None:
    at = wallet(chain, f"{YES} 0 MSTORE 32 0 RETURN")
    proxy = LyingProxy(chain.chain.node.url)
    proxy.lie = lambda method, _, result: (
        {**result, "timestamp": "0x1"} if method == "eth_getBlockByNumber" else result
    )
    try:
        stale = Desk(Chain(proxy.url, chain.manifest), desk.database)
        made = stale.here.challenge(at, BROWSER)
        assert refused(stale, made, b"\x01") in ("stale_head", "wrong_chain")
    finally:
        proxy.close()


# --- sessions


def test_a_session_ends_after_its_life_however_it_is_used(desk: Desk) -> None:
    done = desk.sign_in()
    for _ in range(SESSION_LIFE // SESSION_IDLE * 2 - 1):
        desk.now += SESSION_IDLE // 2
        assert desk.here.current(done.token) is not None
    desk.now += SESSION_IDLE // 2
    assert desk.here.current(done.token) is None


def test_a_session_ends_when_nobody_looks_for_an_hour(desk: Desk) -> None:
    done = desk.sign_in()
    desk.now += SESSION_IDLE - 1
    assert desk.here.current(done.token) is not None
    desk.now += SESSION_IDLE
    assert desk.here.current(done.token) is None


def test_what_a_page_asks_by_itself_keeps_no_session_alive(desk: Desk) -> None:
    done = desk.sign_in()
    for _ in range(SESSION_IDLE // SEEN_EVERY - 1):
        desk.now += SEEN_EVERY
        assert desk.here.current(done.token, in_use=False) is not None
    desk.now += SEEN_EVERY
    assert desk.here.current(done.token) is None


def test_a_page_is_not_a_write_within_a_minute(desk: Desk) -> None:
    done = desk.sign_in()
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2].split()[0])

    event.listen(desk.database.engine, "before_cursor_execute", note)
    try:
        desk.now += SEEN_EVERY - 1
        desk.here.current(done.token)
        assert "UPDATE" not in statements
        desk.now += 1
        desk.here.current(done.token)
        assert statements.count("UPDATE") == 1
    finally:
        event.remove(desk.database.engine, "before_cursor_execute", note)


def test_after_a_quarter_of_an_hour_without_a_look_the_half_is_another(desk: Desk) -> None:
    done = desk.sign_in()
    desk.now += HALF_IDLE - 1
    current = desk.here.current(done.token)
    assert current is not None
    assert current.half == done.half
    desk.now += HALF_IDLE
    background = desk.here.current(done.token, in_use=False)
    assert background is not None
    renewed = desk.here.current(done.token)
    assert renewed is not None
    assert renewed.half != done.half
    again = desk.here.current(done.token)
    assert again is not None
    assert again.half == renewed.half


def test_of_requests_that_come_at_once_after_a_pause_all_get_the_same_new_half(
    desk: Desk,
) -> None:
    done = desk.sign_in()
    desk.now += HALF_IDLE
    start = threading.Barrier(8)

    def look() -> str:
        start.wait()
        current = desk.here.current(done.token)
        assert current is not None
        return current.half

    with ThreadPoolExecutor(8) as pool:
        halves = {each.result() for each in [pool.submit(look) for _ in range(8)]}
    assert len(halves) == 1
    assert done.half not in halves


def test_signing_out_deletes_the_row_and_the_token_opens_nothing_more(desk: Desk) -> None:
    done = desk.sign_in()
    desk.here.sign_out(done.token)
    assert desk.rows("web_sessions") == 0
    assert desk.here.current(done.token) is None
    desk.here.sign_out(done.token)


def test_signing_in_anew_ends_the_session_before_it_and_makes_every_secret_new(
    desk: Desk,
) -> None:
    first = desk.sign_in()
    second = desk.sign_in(OTHER, instead_of=first.token)
    assert desk.here.current(first.token) is None
    assert desk.rows("web_sessions") == 1
    assert len({first.token, first.half, second.token, second.half}) == 4


def test_a_made_up_token_is_nobodys(desk: Desk) -> None:
    desk.sign_in()
    for token in (new_secret(), "", "0" * 64, "%", "' OR 1=1 --"):
        assert desk.here.current(token) is None


def test_what_a_thief_of_the_database_has_signs_nobody_in(desk: Desk) -> None:
    done = desk.sign_in()
    pending = desk.challenge()
    stolen: set[str] = set()
    with desk.database.engine.connect() as connection:
        for table in ("web_sessions", "web_challenges"):
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}"):
                stolen |= {str(value) for value in row}
    assert not stolen & {done.token, BROWSER.browser}
    for value in stolen:
        assert desk.here.current(value) is None
        with pytest.raises(SignInOver):
            desk.here.sign_in(pending.nonce, Visitor(value, HERE), signature(pending.text))


# --- bounds


def test_a_browser_keeps_its_latest_challenges_only(desk: Desk) -> None:
    other = desk.challenge(browser=ANOTHER)
    made = []
    for _ in range(store.CHALLENGES_OF_BROWSER + 1):
        desk.now += 1
        made.append(desk.challenge())
    assert desk.rows("web_challenges") == store.CHALLENGES_OF_BROWSER + 1
    with pytest.raises(SignInOver):
        desk.here.sign_in(made[0].nonce, BROWSER, signature(made[0].text))
    desk.here.sign_in(made[-1].nonce, BROWSER, signature(made[-1].text))
    desk.here.sign_in(other.nonce, ANOTHER, signature(other.text))


def test_however_many_browsers_ask_the_oldest_challenges_go(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_CHALLENGES", 20)
    for _ in range(30):
        desk.now += 1
        made = desk.challenge(browser=Visitor(new_secret(), HERE))
    assert desk.rows("web_challenges") == 20
    assert desk.database.take_challenge(made.nonce) is not None


def test_an_account_and_all_of_them_keep_their_latest_sessions_only(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = desk.sign_in(OTHER)
    mine = []
    for _ in range(store.SESSIONS_OF_ACCOUNT + 1):
        desk.now += 1
        mine.append(desk.sign_in())
    assert [desk.here.current(each.token) is None for each in mine].count(True) == 1
    assert desk.here.current(mine[0].token) is None
    assert desk.here.current(others.token) is not None
    monkeypatch.setattr(store, "MOST_SESSIONS", 3)
    desk.now += 1
    last = desk.sign_in()
    assert desk.rows("web_sessions") == 3
    assert desk.here.current(last.token) is not None


def test_sessions_that_nobody_uses_go_before_one_that_somebody_uses(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever signs in with many accounts, which cost nothing, signs everybody else out."""
    monkeypatch.setattr(store, "MOST_SESSIONS", 5)
    used = desk.sign_in()
    desk.now += SEEN_EVERY
    assert desk.here.current(used.token) is not None
    for number in range(10):
        desk.now += store.YOUNG_SECONDS / 2
        desk.sign_in(account(f"sybil {number}"))
    assert desk.rows("web_sessions") == 5
    assert desk.is_in(used)


# --- networks


def sybils(desk: Desk, number: int, network: str = HERE, *, used: bool = False) -> list[SignedIn]:
    """Sign-ins with accounts that cost nothing, one a second; used ones are looked at a minute later."""
    made = []
    for each in range(number):
        desk.now += 1
        made.append(desk.sign_in(account(f"sybil {each} {network}"), network=network))
    desk.now += SEEN_EVERY
    for done in made if used else []:
        desk.now += 1
        desk.here.current(done.token)
    return made


def test_a_network_that_has_its_share_signs_its_own_out_and_nobody_elses(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SESSIONS_OF_NETWORK", 5)
    elsewhere = desk.sign_in(OTHER, network=ELSEWHERE)
    desk.now += store.YOUNG_SECONDS
    made = sybils(desk, 12)
    assert [desk.is_in(each) for each in made] == [False] * 7 + [True] * 5
    assert desk.is_in(elsewhere)


def test_of_a_network_what_nobody_used_goes_first_the_oldest_before_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SESSIONS_OF_NETWORK", 6)
    used, unused = sybils(desk, 3, used=True), sybils(desk, 3)
    desk.now += store.YOUNG_SECONDS
    for left in (2, 1, 0):
        desk.sign_in(account(f"comes when {left} are left"))
        assert [desk.is_in(each) for each in unused] == [False] * (3 - left) + [True] * left
        assert all(desk.is_in(each) for each in used)
    desk.sign_in(account("comes last"))
    assert [desk.is_in(each) for each in used] == [False, True, True]


@pytest.mark.parametrize("bound", ["SESSIONS_OF_NETWORK", "MOST_SESSIONS"])
def test_whoever_comes_where_all_places_are_in_use_is_let_in_and_stays(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """The next sign-in ends the one that nobody used for the longest, not the one of just now."""
    monkeypatch.setattr(store, bound, 5)
    others = sybils(desk, 5, used=True)
    desk.now += store.YOUNG_SECONDS
    came = desk.sign_in()
    for number in range(4):
        desk.now += 1
        desk.sign_in(account(f"came after {number}"))
        assert desk.is_in(came)
    assert not any(desk.is_in(each) for each in others)


def test_where_there_are_too_many_in_all_the_largest_network_makes_room(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However its own are used: else many accounts, kept in use, leave no place to anybody."""
    monkeypatch.setattr(store, "MOST_SESSIONS", 10)
    household = sybils(desk, 2, ELSEWHERE)
    hostile = sybils(desk, 8, used=True)
    desk.now += store.YOUNG_SECONDS
    for number in range(6):
        desk.sign_in(account(f"comes alone {number}"), network=f"192.0.2.{100 + number}")
    assert all(desk.is_in(each) for each in household)
    assert [desk.is_in(each) for each in hostile] == [False] * 6 + [True] * 2
    hostile += sybils(desk, 5)
    assert [desk.is_in(each) for each in hostile] == [False] * 11 + [True] * 2
    assert all(desk.is_in(each) for each in household)
    assert desk.rows("web_sessions") == 10


def test_a_household_s_next_sign_in_ends_none_of_its_own_where_others_hold_more(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_SESSIONS", 8)
    household = sybils(desk, 2, ELSEWHERE)
    hostile = sybils(desk, 6, used=True)
    desk.now += store.YOUNG_SECONDS
    household.append(desk.sign_in(network=ELSEWHERE))
    assert all(desk.is_in(each) for each in household)
    assert [desk.is_in(each) for each in hostile] == [False] + [True] * 5


def test_a_network_s_challenges_push_nobody_elses_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CHALLENGES_OF_NETWORK", 4)
    monkeypatch.setattr(store, "MOST_CHALLENGES", 6)
    browser = Visitor(new_secret(), ELSEWHERE)
    mine = desk.challenge(browser=browser)
    for number in range(20):
        desk.now += 1
        network = HERE if number % 2 else f"192.0.2.{100 + number % 4}"
        desk.challenge(browser=Visitor(new_secret(), network))
    assert desk.rows("web_challenges") == 6
    desk.here.sign_in(mine.nonce, browser, signature(mine.text))


def test_of_many_that_sign_in_at_once_where_all_places_are_taken_nobody_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SESSIONS_OF_NETWORK", 6)
    monkeypatch.setattr(store, "MOST_SESSIONS", 6)
    sybils(desk, 6)
    start, counting = threading.Barrier(8), threading.Barrier(8, timeout=1)

    def linger(*arguments: Any) -> None:
        """So that all would count before any of them is there; in turn, the first waits in vain."""
        if arguments[2].startswith("INSERT INTO web_sessions"):
            with contextlib.suppress(threading.BrokenBarrierError):
                counting.wait()

    def enter(number: int) -> None:
        start.wait()
        desk.sign_in(account(f"at once {number}"))

    event.listen(desk.database.engine, "after_cursor_execute", linger)
    try:
        with ThreadPoolExecutor(8) as pool:
            for each in [pool.submit(enter, number) for number in range(8)]:
                each.result()
    finally:
        event.remove(desk.database.engine, "after_cursor_execute", linger)
    assert desk.rows("web_sessions") == 6


def test_the_shares_hold_whoever_an_address_lets_in() -> None:
    """A shared address never loses a challenge that can still be signed, nor its places to newcomers."""
    assert CHALLENGE.together is not None
    assert SIGN_IN.together is not None
    assert CHALLENGE.together * LONGEST_LIFE // CHALLENGE.seconds <= store.CHALLENGES_OF_NETWORK
    young = SIGN_IN.together * store.YOUNG_SECONDS // SIGN_IN.seconds
    assert young * 2 < store.SESSIONS_OF_NETWORK
    assert store.SESSIONS_OF_NETWORK * 20 <= store.MOST_SESSIONS


def networks(desk: Desk) -> dict[str, list[str]]:
    with desk.database.engine.connect() as connection:
        return {
            table: list(connection.exec_driver_sql(f"SELECT network FROM {table}").scalars())
            for table in ("web_sessions", "web_challenges")
        }


def test_where_somebody_is_is_stored_only_under_a_key_that_the_database_does_not_have(
    desk: Desk,
) -> None:
    desk.sign_in()
    desk.sign_in(OTHER)
    desk.sign_in(OTHER, network=ELSEWHERE)
    desk.challenge()
    found = networks(desk)
    named = Counter(found["web_sessions"])
    assert sorted(named.values()) == [1, 2]
    assert found["web_challenges"][0] not in found["web_sessions"]
    guesses = {HERE, hashlib.sha256(HERE.encode()).hexdigest()}
    for text in (HERE, f"session {int(desk.now) // SESSION_LIFE} {HERE}"):
        guesses |= {hashlib.sha256(text.encode()).hexdigest()}
        guesses |= {hmac.new(b"", text.encode(), hashlib.sha256).hexdigest()}
    assert not guesses & set(named)
    assert repr(desk.here.network_key) not in repr(desk.here)
    assert HERE not in repr(BROWSER)


def test_neither_another_process_nor_another_day_gives_a_network_the_same_name(desk: Desk) -> None:
    """So copies of the database that were made at different times link nobody."""
    desk.challenge()
    Desk(desk.chain, desk.database).challenge()
    before = networks(desk)["web_challenges"]
    desk.now += SESSION_LIFE
    desk.challenge()
    names = before + networks(desk)["web_challenges"]
    assert len(names) == len(set(names)) == 3


def test_of_what_began_in_one_second_the_newest_is_never_the_one_that_goes(desk: Desk) -> None:
    for _ in range(4 * store.SESSIONS_OF_ACCOUNT):
        assert desk.here.current(desk.sign_in().token) is not None
    assert desk.rows("web_sessions") == store.SESSIONS_OF_ACCOUNT


def test_what_is_over_is_swept_and_what_is_not_stays(desk: Desk) -> None:
    desk.sign_in()
    desk.challenge()
    desk.now += SESSION_IDLE + 1
    used = desk.sign_in()
    pending = desk.challenge()
    desk.here.sweep()
    assert (desk.rows("web_sessions"), desk.rows("web_challenges")) == (1, 1)
    assert desk.here.current(used.token) is not None
    desk.here.sign_in(pending.nonce, BROWSER, signature(pending.text))


def test_whatever_is_over_goes_when_somebody_signs_in(desk: Desk) -> None:
    desk.challenge()
    desk.sign_in()
    desk.now += SESSION_IDLE + 1
    desk.sign_in(OTHER)
    assert (desk.rows("web_sessions"), desk.rows("web_challenges")) == (1, 0)


# --- secrets


def test_no_secret_of_a_session_prints(desk: Desk) -> None:
    done = desk.sign_in()
    current = desk.here.current(done.token)
    assert current is not None
    for shown in (repr(done), str(done), repr(current), f"{current}"):
        assert done.token not in shown
        assert done.half not in shown


def test_a_full_disk_signs_nobody_in_and_says_so(chain: World, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'full.sqlite'}"
    empty = open_database(url)
    with empty.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    empty.engine.dispose()
    database = open_database(url, max_pages=pages + 5)
    desk = Desk(chain.chain, database)
    with pytest.raises(Refusal) as found:
        fill(desk)
    assert found.value.code == "storage_full"
    assert SECOND not in str(found.value)
    database.engine.dispose()


def fill(desk: Desk) -> None:
    for _ in range(10_000):
        desk.here.challenge(SECOND, Visitor(new_secret(), HERE))
