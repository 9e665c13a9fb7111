"""Cookies, tokens and the way in: what a hostile page, a stolen cookie or a forged request cannot do."""

import json
import logging
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlencode

import flask
import pytest
import structlog
from sqlalchemy import create_engine

from marketplace.signing_in import SESSION_IDLE
from marketplace.store import Database
from tests.support.api_world import ApiWorld
from tests.support.chain_world import account
from tests.support.web_browser import HTML, JSON, Browser, signed
from tests.support.web_world import WebWorld, web_world
from web import csrf, limits, sessions, streams
from web.limits import Buckets, UnderWay
from web.rules import (
    ABUNDANT,
    ANYONE,
    CHALLENGE,
    MESSAGE,
    OWN,
    READ,
    RULES,
    SIGN_IN,
    SIGNED_IN,
    Kind,
    Rule,
)
from web.sessions import safe_next
from web.site import Site

PATIENT, OTHER = account("patient"), account("somebody else")
POSTS = ("/challenge", "/sign-in", "/sign-out")


@pytest.fixture(scope="module")
def world(shared_api: ApiWorld) -> Iterator[WebWorld]:
    with web_world(shared_api) as made, pytest.MonkeyPatch.context() as patch:
        add_form(made.pages, patch)
        yield made


def add_form(app: flask.Flask, patch: pytest.MonkeyPatch) -> None:
    """A route that takes a form, one that a script only asks, and one that is everybody's."""

    @app.get("/test/open")
    def test_open() -> str:
        return "open"

    @app.post("/test/form")
    def test_form() -> str:
        return "done"

    @app.post("/test/asked")
    def test_asked() -> str:
        return "answered"

    patch.setitem(RULES, "test_open", Rule(ANYONE))
    patch.setitem(RULES, "test_form", Rule(SIGNED_IN, form=True))
    patch.setitem(RULES, "test_asked", Rule(SIGNED_IN, changes=False))


@pytest.fixture(autouse=True)
def _fresh_limits(world: WebWorld) -> None:
    """Into which nothing runs: a test may take as long as it likes."""
    world.pages.extensions[limits.EXTENSION] = Buckets(clock=lambda: 0.0)


@pytest.fixture
def browser(world: WebWorld) -> Browser:
    return Browser(world)


def sessions_of(world: WebWorld, account: str) -> int:
    with world.api.operator.database.engine.connect() as connection:
        found = connection.exec_driver_sql(
            f"SELECT count(*) FROM web_sessions WHERE account = '{account}'"
        )
        return int(found.scalar_one())


def networks_of(world: WebWorld, *addresses: str) -> list[str]:
    """Under what name the pages keep where each of these signed in from."""
    with world.api.operator.database.engine.connect() as connection:
        connection.exec_driver_sql("DELETE FROM web_sessions")
        connection.commit()
    names: list[str] = []
    for number, address in enumerate(addresses):
        who = account(f"from {number}")
        Browser(world, address=address).sign_in(who)
        with world.api.operator.database.engine.connect() as connection:
            asked = f"SELECT network FROM web_sessions WHERE account = '{who.address}'"
            names += connection.exec_driver_sql(asked).scalars()
    return names


def test_sessions_are_shared_out_by_the_site_and_not_by_each_of_its_65_536_households(
    world: WebWorld,
) -> None:
    addresses = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:ffff::1", "2001:db8:1::1")
    names = networks_of(world, *addresses, "::ffff:192.0.2.1")
    one, two, site, same_site, next_door, mapped = names
    assert (site, one) == (same_site, mapped)
    assert len({one, two, site, next_door}) == 4
    spelt = {f(each) for each in addresses for f in (limits.network, limits.household)}
    assert not set(names) & {*addresses, *spelt}


def test_streams_are_shared_out_as_sessions_are(world: WebWorld) -> None:
    def holder(address: str) -> streams.Holder:
        where = {"REMOTE_ADDR": address}
        with world.pages.test_request_context("/", environ_overrides=where):
            return streams.holder()

    assert holder("2001:db8::1") == holder("2001:db8:0:ffff::1") != holder("2001:db8:1::1")


# --- the way in


def test_whoever_signs_in_is_told_who_they_are_and_where_to_go_on(browser: Browser) -> None:
    challenge = browser.challenge(PATIENT)
    done = browser.answer(challenge, signed(challenge["text"], PATIENT), next="/session")
    assert done.get_json()["account"] == PATIENT.address
    assert done.get_json()["next"] == "/session"
    assert browser.get("/session").get_json()["account"] == PATIENT.address


def test_the_half_goes_to_its_own_session_and_is_stored_nowhere(browser: Browser) -> None:
    browser.sign_in(PATIENT)
    answer = browser.get("/session/half")
    assert re.fullmatch("[0-9a-f]{64}", answer.get_json()["half"])
    assert answer.headers["Cache-Control"] == "no-store"
    elsewhere = Browser(browser.world).sign_in(PATIENT)
    assert elsewhere.get("/session/half").get_json() != answer.get_json()
    assert Browser(browser.world).get("/session/half").status_code == 401


def test_cookies_are_bound_to_host_and_https_and_no_script_reads_them(browser: Browser) -> None:
    challenge = browser.challenge(PATIENT)
    done = browser.answer(challenge, signed(challenge["text"], PATIENT))
    given = done.headers.getlist("Set-Cookie")
    (session,) = [each for each in given if "Max-Age=43200" in each]
    parts = session.split("; ")
    assert parts[0].startswith(browser.cookie_name("session") + "=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(parts)
    assert not any(part.lower().startswith("domain") for part in parts)
    hello = browser.look().headers["Set-Cookie"].split("; ")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=3600"} <= set(hello)


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ("https://market.example", "__Host-session"),
        ("https://market.example:8443", "__Host-session"),
        ("http://127.0.0.1:8000", "__Host-session-8000"),
        ("http://127.0.0.1:8001", "__Host-session-8001"),
        ("http://localhost", "__Host-session"),
    ],
)
def test_on_loopback_the_cookies_name_carries_the_port(
    world: WebWorld, origin: str, name: str
) -> None:
    of = Site(world.site.operator, world.site.worker, origin)
    assert sessions.cookie_name(of, "session") == name


def test_whoever_only_reads_gets_no_cookie_at_all(browser: Browser) -> None:
    for path in ("/", "/datasets", browser.world.site.assets.url("css/base.css"), "/no-such-page"):
        assert "Set-Cookie" not in browser.get(path, HTML).headers
    assert "Set-Cookie" in browser.look("/sign-in").headers


def test_the_text_is_for_this_origin_whatever_a_proxy_or_page_says(browser: Browser) -> None:
    browser.look()
    for headers in (
        {"X_Forwarded_Host": "evil.example"},
        {"Forwarded": "host=evil.example;proto=https"},
        {"Referer": "https://evil.example/"},
    ):
        answer = browser.post("/challenge", {"address": PATIENT.address}, **headers)
        host = browser.world.site.host
        assert answer.get_json()["text"].startswith(f"{host} wants you to sign in")
        assert "evil" not in answer.get_data(as_text=True)


def test_looking_at_any_page_keeps_a_session_and_fetching_its_files_does_not(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages, now = browser.world.pages, [time.time()]
    here = replace(pages.extensions[sessions.SIGNING_IN], clock=lambda: now[0])
    monkeypatch.setitem(pages.extensions, sessions.SIGNING_IN, here)
    browser.sign_in(PATIENT)
    for _ in range(3):
        now[0] += SESSION_IDLE - 60
        assert browser.get("/test/open").status_code == 200
    assert browser.get("/session").status_code == 200
    now[0] += SESSION_IDLE - 60
    assert browser.get(browser.world.site.assets.url("css/base.css")).status_code == 200
    now[0] += 60
    assert browser.get("/session").status_code == 401


def test_a_database_that_fails_hides_nothing_that_is_everybodys(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.sign_in(PATIENT)
    pages = browser.world.pages
    nowhere = Database(create_engine("postgresql+psycopg://nobody@/none?host=/nowhere"))
    gone = replace(pages.extensions[sessions.SIGNING_IN], database=nowhere)
    monkeypatch.setitem(pages.extensions, sessions.SIGNING_IN, gone)
    assert browser.get("/sign-in", HTML).status_code == 200
    answer = browser.get("/session")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "storage_unavailable")


# --- attacks on the way in


def test_a_session_that_somebody_planted_is_never_the_victims(browser: Browser) -> None:
    planted = "ab" * 32
    browser.set_cookie("session", planted)
    browser.sign_in(PATIENT)
    assert browser.cookie("session") not in (None, planted)
    thief = Browser(browser.world)
    thief.set_cookie("session", planted)
    assert thief.get("/session").status_code == 401


def test_an_attackers_own_session_planted_before_ends_at_the_victims_sign_in(
    browser: Browser,
) -> None:
    attacker = Browser(browser.world).sign_in(OTHER)
    planted = attacker.cookie("session")
    assert planted is not None
    browser.set_cookie("session", planted)
    browser.sign_in(PATIENT)
    assert attacker.get("/session").status_code == 401
    assert browser.get("/session").get_json()["account"] == PATIENT.address


def test_a_victim_cannot_be_signed_in_as_the_attacker(browser: Browser) -> None:
    """Login CSRF: the attacker's own good signature, handed in from the victim's browser."""
    attacker = Browser(browser.world)
    challenge = attacker.challenge(OTHER)
    good = signed(challenge["text"], OTHER)
    browser.look()
    answer = browser.answer(challenge, good)
    assert (answer.status_code, answer.get_json()["code"]) == (422, "sign_in_over")
    assert browser.cookie("session") is None
    assert browser.get("/session").status_code == 401


def test_a_signature_cannot_be_handed_in_twice(browser: Browser) -> None:
    challenge = browser.challenge(PATIENT)
    good = signed(challenge["text"], PATIENT)
    assert browser.answer(challenge, good).status_code == 200
    again = Browser(browser.world)
    again.look()
    assert again.answer(challenge, good).get_json()["code"] == "sign_in_over"


def test_a_bad_signature_is_refused_at_its_field_and_starts_nothing(browser: Browser) -> None:
    before = sessions_of(browser.world, PATIENT.address)
    challenge = browser.challenge(PATIENT)
    answer = browser.answer(challenge, signed(challenge["text"], OTHER))
    assert answer.get_json()["code"] == "bad_signature"
    assert answer.get_json()["field"] == "signature"
    assert "Set-Cookie" not in answer.headers
    assert sessions_of(browser.world, PATIENT.address) == before


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"nonce": "a"},
        {"nonce": 1, "signature": "0x"},
        {"nonce": None, "signature": "0x00"},
        {"nonce": "a", "signature": 5},
        {"nonce": "a", "signature": "0x" + "00" * 5_000},
        {"nonce": "a", "signature": "zz"},
        {"nonce": "a", "signature": "0x", "more": 1},
        {"nonce": "%" * 64, "signature": "0x"},
        {"nonce": "a", "signature": "0x", "next": ["/me"]},
        [],
        "text",
    ],
)
def test_what_is_no_sign_in_is_refused_and_nothing_breaks(browser: Browser, body: object) -> None:
    browser.look()
    answer = browser.post("/sign-in", body)
    assert answer.status_code in (400, 422), answer.get_data(as_text=True)
    assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize("body", [{}, {"address": 5}, {"address": "0x12"}, {"address": None}, []])
def test_what_is_no_address_gets_no_text(browser: Browser, body: object) -> None:
    browser.look()
    assert browser.post("/challenge", body).status_code == 400


def test_signing_out_deletes_the_row_here_and_the_cookie_there(browser: Browser) -> None:
    browser.sign_in(PATIENT)
    before, token = sessions_of(browser.world, PATIENT.address), browser.cookie("session")
    assert token is not None
    assert browser.post("/sign-out").status_code == 200
    assert browser.cookie("session") is None
    assert sessions_of(browser.world, PATIENT.address) == before - 1
    browser.set_cookie("session", token)
    assert browser.get("/session").status_code == 401


def test_a_cookie_of_another_form_is_no_cookie(browser: Browser) -> None:
    for value in ("AB" * 32, "ab" * 31, "x" * 64, "ab" * 33, "' OR 1=1"):
        browser.set_cookie("session", value)
        assert browser.get("/session").status_code == 401


# --- forged requests


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "change",
    [
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://localhost:8000"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"X_CSRF_Token": None},
        {"X_CSRF_Token": ""},
        {"X_CSRF_Token": "0" * 64},
        {"X_CSRF_Token": "ä"},
    ],
    ids=str,
)
def test_a_change_that_no_page_of_ours_asked_for_is_refused(
    browser: Browser, path: str, change: dict[str, str | None]
) -> None:
    browser.sign_in(PATIENT)
    token = browser.cookie("session")
    answer = browser.post(path, {"address": PATIENT.address}, **change)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "not_from_here")
    assert "Set-Cookie" not in answer.headers
    assert browser.cookie("session") == token
    assert browser.get("/session").status_code == 200


def test_a_browser_that_sends_no_fetch_metadata_is_served(browser: Browser) -> None:
    browser.look()
    answer = browser.post("/challenge", {"address": PATIENT.address}, Sec_Fetch_Site=None)
    assert answer.status_code == 200


def test_the_token_of_another_browser_is_none_of_this_ones(browser: Browser) -> None:
    browser.sign_in(PATIENT)
    browser.token = Browser(browser.world).sign_in(OTHER).token
    assert browser.post("/sign-out").get_json()["code"] == "not_from_here"


def test_a_token_ends_with_its_session(browser: Browser) -> None:
    browser.sign_in(PATIENT)
    old = browser.token
    browser.sign_in(OTHER)
    assert browser.token != old
    browser.token = old
    assert browser.post("/sign-out").get_json()["code"] == "not_from_here"


def test_whoever_is_signed_in_is_told_the_token_of_now(browser: Browser) -> None:
    browser.sign_in(PATIENT)
    browser.token = "0" * 64
    assert browser.post("/sign-out").get_json()["code"] == "not_from_here"
    browser.token = browser.get("/session").get_json()["csrf"]
    assert browser.post("/sign-out").status_code == 200
    assert "csrf" not in browser.get("/session").get_json()


def test_without_any_secret_no_token_is_good(world: WebWorld) -> None:
    stranger = Browser(world)
    with world.pages.test_request_context("/", base_url=world.site.origin):
        assert csrf.token() == ""
    for token in ("", "0" * 64, None):
        assert stranger.post("/sign-out", X_CSRF_Token=token).status_code == 403


@pytest.mark.parametrize(
    "content", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None]
)
def test_json_routes_take_nothing_that_a_form_can_send(
    browser: Browser, content: str | None
) -> None:
    browser.sign_in(PATIENT)
    answer = browser.post("/sign-out", Content_Type=content)
    assert (answer.status_code, answer.get_json()["code"]) == (415, "wrong_content_type")
    assert browser.get("/session").status_code == 200


def test_a_form_carries_its_token_in_a_field_and_is_refused_without(browser: Browser) -> None:
    browser.sign_in(PATIENT)
    headers = {"Origin": browser.world.site.origin}

    def submit(**fields: str) -> int:
        return browser.client.post("/test/form", data=fields, headers=headers).status_code

    assert submit(csrf=browser.token, name="x") == 200
    assert submit(name="x") == 403
    assert submit(csrf="0" * 64) == 403
    assert browser.post("/test/form").status_code == 200


def test_what_only_asks_needs_our_origin_and_no_token(browser: Browser) -> None:
    browser.sign_in(PATIENT)
    assert browser.post("/test/asked", X_CSRF_Token=None).status_code == 200
    assert browser.post("/test/asked", Origin="https://evil.example").status_code == 403


def test_once_a_session_is_over_a_change_says_so_and_not_that_it_was_forged(
    browser: Browser,
) -> None:
    browser.sign_in(PATIENT)
    with browser.world.api.operator.database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM web_sessions")
    answer = browser.post("/test/form")
    assert (answer.status_code, answer.get_json()["code"]) == (401, "not_signed_in")


# --- where to go on


EVIL = (
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "/%2F/evil.example",
    "\\\\evil.example",
    "/",
    "",
    "javascript:alert(1)",
    "/sign-in\r\nSet-Cookie: a=b",
    "/sign-in\n",
    "/session/../../evil",
    "/session#//evil.example",
    "/Session",
    "/no-such-route",
    "/challenge",
    "/sign-out",
    "/session@evil.example",
    "/session?next=" + "a" * 500,
    "http:/session",
    "/session?a=\r\nSet-Cookie: b=c",
    "/session?a=\\evil.example",
    '/session?"><script>',
    " /session",
)


@pytest.mark.parametrize("wanted", EVIL, ids=repr)
def test_nobody_is_led_away_after_signing_in(browser: Browser, wanted: str) -> None:
    challenge = browser.challenge(PATIENT)
    done = browser.answer(challenge, signed(challenge["text"], PATIENT), next=wanted)
    assert done.get_json()["next"] == "/"


def test_the_page_holds_only_a_safe_way_on(browser: Browser) -> None:
    for page in ("/sign-in", "/keys"):
        assert browser.facts(f"{page}?next=//evil.example")["next"] == "/"
        assert "evil" not in browser.look(f"{page}?next=//evil.example").get_data(as_text=True)
        assert browser.facts(f"{page}?next=%2Fsession%3Fa%3Db")["next"] == "/session?a=b"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("/me/{}/enter", "To take part in “pressure” you need keys, your results as a file"),
        ("/me/{}/join?a=b", "To take part in"),
        ("/me/{}", "To your record and consent in"),
        ("/clinic/{}", "To the clinic&#39;s desk of"),
    ],
)
def test_whoever_is_asked_to_sign_in_reads_what_for(
    browser: Browser, wanted: str, said: str
) -> None:
    wanted = wanted.format(browser.world.api.dataset)
    assert said in lead(browser, wanted)


def test_a_page_of_no_dataset_says_nothing_of_one(browser: Browser) -> None:
    for wanted in ("/contracts", "/me/0x" + "12" * 32):
        assert lead(browser, wanted) == ""


def lead(browser: Browser, wanted: str) -> str:
    page = browser.look(f"/sign-in?{urlencode({'next': wanted})}").get_data(as_text=True)
    return page.partition('<p class="lead">')[2].partition("</p>")[0]


def test_a_get_route_of_ours_is_a_way_on(world: WebWorld) -> None:
    with world.pages.test_request_context("/", base_url=world.site.origin):
        for wanted in ("/session", "/sign-in?next=/session", "/session?a=%20b"):
            assert safe_next(wanted) == wanted


# --- limits


def test_too_many_tries_are_refused_with_the_time_to_wait_and_others_go_on(
    browser: Browser,
) -> None:
    browser.look()
    codes = [browser.post("/sign-in", {}).status_code for _ in range(12)]
    assert codes == [400] * 10 + [429] * 2
    last = browser.post("/sign-in", {})
    assert 1 <= int(last.headers["Retry-After"]) <= 60
    assert last.get_json()["code"] == "too_often"
    assert browser.get("/sign-in").status_code == 200
    elsewhere = Browser(browser.world, address="192.0.2.9")
    elsewhere.look()
    assert elsewhere.post("/sign-in", {}).status_code == 400


def buckets_of(world: WebWorld) -> Buckets:
    found: Buckets = world.pages.extensions[limits.EXTENSION]
    return found


def use_up(world: WebWorld, kind: Kind) -> None:
    while buckets_of(world).take(kind, "127.0.0.1") == 0:
        continue


@pytest.mark.parametrize("path", ["/challenge", "/sign-in", "/sign-out"])
def test_what_another_sites_page_posts_counts_for_nobody(browser: Browser, path: str) -> None:
    for change in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        answer = browser.post(path, {}, **change)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "not_from_here")
    assert len(buckets_of(browser.world)) == 0


@pytest.mark.parametrize("path", POSTS)
def test_what_carries_no_token_of_a_page_counts_for_nobody(browser: Browser, path: str) -> None:
    """Else a neighbour keeps everybody there from signing in without so much as a page of ours."""
    for number in range(20):
        browser.set_cookie("hello", f"{number:064x}")
        browser.token = "0" * 64
        answer = browser.post(path, {"address": PATIENT.address})
        assert (answer.status_code, answer.get_json()["code"]) == (403, "not_from_here")
        assert browser.post(path, Content_Type="text/plain").status_code == 415
    assert len(buckets_of(browser.world)) == 0


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    "how",
    [
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Purpose": "prefetch"},
    ],
    ids=["image", "script", "frame", "ahead of a link"],
)
def test_what_another_sites_page_fetches_counts_for_nobody_and_is_refused(
    browser: Browser, site: str, how: dict[str, str]
) -> None:
    for path in ("/odds?spent=1", "/stop/", "/session", "/"):
        answer = browser.get(path, {**JSON, "Sec-Fetch-Site": site, **how})
        assert (answer.status_code, answer.get_json()["code"]) == (403, "not_from_here")
    assert len(buckets_of(browser.world)) == 0


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_link_from_anywhere_leads_here(browser: Browser, site: str) -> None:
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for path in ("/sign-in", "/stop/", "/datasets"):
        assert browser.get(path, {**HTML, **link}).status_code == 200


def test_what_strangers_behind_the_same_address_read_keeps_nobody_signed_in_from_reading(
    browser: Browser,
) -> None:
    browser.sign_in(PATIENT)
    use_up(browser.world, READ)
    assert Browser(browser.world).get("/contracts").status_code == 429
    for path in ("/session", "/session/half", "/contracts", "/me"):
        assert browser.get(path).status_code == 200


def test_whatever_an_address_has_read_its_page_for_stopping_is_there(browser: Browser) -> None:
    use_up(browser.world, READ)
    assert browser.get("/datasets").status_code == 429
    assert browser.get("/stop/", HTML).status_code == 200
    assert browser.get("/stop/sw.js").status_code == 200


def test_one_browsers_tries_are_not_those_of_others_behind_its_address(browser: Browser) -> None:
    browser.look()
    for path in ("/challenge", "/sign-in"):
        while browser.post(path, {}).status_code != 429:
            continue
    Browser(browser.world).sign_in(OTHER)


def test_browsers_that_cost_nothing_to_make_get_no_more_together_than_an_address_gets(
    browser: Browser,
) -> None:
    most, codes = CHALLENGE.together, Counter[int]()
    assert most is not None
    for number in range(most + 20):
        secret = f"{number:064x}"
        browser.set_cookie("hello", secret)
        browser.token = token_of(browser.world, secret)
        codes[browser.post("/challenge", {"address": "nobody"}).status_code] += 1
    assert codes == {400: most, 429: 20}


def test_an_address_gets_no_more_reads_by_taking_many_accounts(browser: Browser) -> None:
    of_all = READ.of_all()
    assert of_all is not None
    browser.sign_in(PATIENT)
    use_up(browser.world, of_all)
    assert browser.get("/contracts").status_code == 429
    assert browser.get("/stop/", HTML).status_code == 200


def token_of(world: WebWorld, secret: str) -> str:
    """As a script computes it that makes up its cookie."""
    cookie = f"{Browser(world).cookie_name('hello')}={secret}"
    context = world.pages.test_request_context(
        "/", base_url=world.site.origin, headers={"Cookie": cookie}
    )
    with context:
        return csrf.token()


def test_whatever_neighbours_use_up_everybody_signs_in_looks_and_stops(
    browser: Browser, world: WebWorld
) -> None:
    """All that strangers can: behind the same address, with as many accounts and cookies as they like."""
    patient, own = world.api.patients[0], f"/me/{world.api.dataset}"
    kinds = {rule.kind for rule in RULES.values()} - {CHALLENGE, SIGN_IN}
    for each in sorted(kinds, key=lambda kind: kind == READ):
        for kind in (each, each.of_all()):
            if kind is not None and kind.number < ABUNDANT:
                use_up(world, kind)
    assert browser.get("/contracts").status_code == 429
    assert browser.get(own, HTML).status_code == 303, "to sign in"
    assert browser.get("/session").status_code == 401
    browser.sign_in(patient)
    for path in ("/session", "/session/half", "/deployment", "/me", own, f"{own}/erase"):
        assert browser.get(path).status_code == 200, path
    for path in (f"{own}/messages", "/my/messages", f"{own}/invitations"):
        assert browser.post(path, {}).status_code == 400, path
    assert browser.post("/sign-out").status_code == 200


STOPPING = {
    "signing_in.page",
    "signing_in.sign_out",
    "signing_in.session",
    "signing_in.half",
    "deployment.show",
    "keys.show",
    "static.show",
    "stop.show",
    "stop.worker",
    "me.home",
    "me.show",
    "me.enter",
    "me.carry",
    "my.carry",
    "export.erase",
    "export.erasure",
    "guardian.home",
    "guardian.show",
    "rotating.show",
}


def test_nothing_on_the_way_to_stop_is_counted_for_all_neighbours_together() -> None:
    """Or so much of it that the server itself gives no more."""
    for endpoint in STOPPING:
        kind = RULES[endpoint].kind
        of_all = kind.of_all()
        shared = kind.number if of_all is None and not kind.by_account else ABUNDANT
        assert shared >= ABUNDANT, endpoint
        assert of_all is None or of_all.number >= ABUNDANT, endpoint
    for kind in (OWN, MESSAGE):
        assert kind.by_account
        assert kind.at_once is not None
        assert kind.number <= 600


def test_an_account_has_few_requests_under_way_and_gets_on_when_they_end(
    browser: Browser, world: WebWorld
) -> None:
    browser.sign_in(PATIENT)
    under_way: UnderWay = world.pages.extensions[limits.UNDER_WAY]
    assert len(under_way) == 0, "whatever was answered before gave its place back"
    assert OWN.at_once is not None
    for _ in range(OWN.at_once):
        assert under_way.enter(f"own {PATIENT.address}", OWN.at_once)
    refused = browser.get("/session")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert "being answered already" in refused.get_json()["detail"]
    assert Browser(world).sign_in(OTHER).get("/session").status_code == 200
    under_way.leave(f"own {PATIENT.address}")
    for _ in range(3):
        assert browser.get("/session").status_code == 200
    for _ in range(OWN.at_once - 1):
        under_way.leave(f"own {PATIENT.address}")
    assert len(under_way) == 0


def test_a_proxy_header_makes_nobody_another_caller(browser: Browser) -> None:
    browser.look()
    for number in range(10):
        browser.post("/sign-in", {}, X_Forwarded_For=f"192.0.2.{number}")
    assert browser.post("/sign-in", {}, X_Forwarded_For="192.0.2.99").status_code == 429


# --- secrets


def test_no_secret_is_in_a_log_a_url_or_an_answer_but_where_it_belongs(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as logs, caplog.at_level(logging.DEBUG):
        browser.sign_in(PATIENT)
        secrets = {browser.cookie("session"), browser.get("/session/half").get_json()["half"]}
        answers = [browser.get("/session"), browser.look(), browser.post("/challenge", {})]
    said = json.dumps(logs, default=str) + caplog.text
    said += "".join(each.get_data(as_text=True) + str(each.headers) for each in answers)
    for secret in secrets:
        assert secret is not None
        assert secret not in said
