"""What every answer of the pages has in common: host, headers, assets, refusals that one can act on."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import flask
import httpx
import pytest

from marketplace.errors import Refusal
from tests.support.api_world import ApiWorld
from tests.support.web_browser import Browser
from tests.support.web_world import WebWorld, web_world
from web import headers
from web.assets import Assets
from web.rules import ANYONE, RULES, Rule

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PATIENCE = 120.0


@pytest.fixture(scope="module")
def world(shared_api: ApiWorld) -> Iterator[WebWorld]:
    with web_world(shared_api) as made, pytest.MonkeyPatch.context() as patch:
        _add_faulty_routes(made.pages)
        for route in ("refuse", "fault", "slow"):
            patch.setitem(RULES, route, Rule(ANYONE, crowded=True))
        yield made


OPEN = threading.Event()
"""While it is not set, whoever asks for /test-slow waits."""


def _add_faulty_routes(app: flask.Flask) -> None:
    @app.get("/test-refusal")
    def refuse() -> str:
        raise Refusal(message="<b>No</b>.", remedy="Do & try.", code="test_code", field="name")

    @app.get("/test-slow")
    def slow() -> str:
        assert OPEN.wait(PATIENCE)
        return "done"

    @app.get("/test-fault")
    def fault() -> str:
        raise ValueError("what was being handled")


def test_every_answer_says_what_a_browser_must_refuse(world: WebWorld) -> None:
    client = world.client
    for path in ("/no-such-page", world.site.assets.url("css/base.css"), "/test-refusal"):
        answer = client.get(path)
        assert answer.headers["Content-Security-Policy"] == headers.policy(world.site)
        for name, value in headers.OTHERS.items():
            assert answer.headers[name] == value


def test_the_policy_allows_no_inline_script_no_style_and_no_origin_but_ours_and_the_custodians(
    world: WebWorld,
) -> None:
    directives = dict(
        part.split(" ", 1) for part in headers.policy(world.site).split("; ") if " " in part
    )
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == "'self'"
    assert directives["connect-src"].split() == ["'self'", *world.api.custodian_urls]
    assert directives["frame-ancestors"] == directives["base-uri"] == "'none'"
    assert directives["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in headers.policy(world.site)
    assert "http:" not in directives["script-src"]


def test_only_one_host_is_answered(world: WebWorld) -> None:
    client = world.client
    for host in ("evil.example", "127.0.0.1", f"127.0.0.1.evil.example:{world.url[-5:]}"):
        answer = client.get("/", headers={"Host": host})
        assert answer.status_code == 421
        assert "Location" not in answer.headers


def test_localhost_is_led_to_the_origin_that_cookies_and_sign_ins_belong_to(
    world: WebWorld,
) -> None:
    port = world.url.rsplit(":", 1)[1]
    client = world.client
    answer = client.get("/datasets?page=2", headers={"Host": f"localhost:{port}"})
    assert (answer.status_code, answer.headers["Location"]) == (
        302,
        f"{world.url}/datasets?page=2",
    )
    assert client.post("/x", headers={"Host": f"localhost:{port}"}).status_code == 421


@pytest.mark.parametrize(
    ("asked", "led"), [("/%0d%0aX:1", "/%0D%0AX:1"), ("//evil.example/%2f..?a=%0d", None)]
)
def test_whatever_stands_in_a_path_localhost_is_led_to_our_origin_alone(
    world: WebWorld, asked: str, led: str | None
) -> None:
    port = world.url.rsplit(":", 1)[1]
    headers = {"Host": f"localhost:{port}"}
    with httpx.Client() as client:
        answer = client.get(
            httpx.URL(world.url).copy_with(raw_path=asked.encode()), headers=headers
        )
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(f"{world.url}/")
    assert led is None or answer.headers["Location"] == world.url + led


def test_an_answer_of_the_api_is_data_and_nothing_else_to_a_browser(world: WebWorld) -> None:
    for path in ("/api/v1", "/api/v1/nothing", "/health", "/api/v1/market"):
        told = httpx.get(world.url + path, timeout=PATIENCE).headers
        assert told["X-Content-Type-Options"] == "nosniff"
        assert told["Cache-Control"] == "no-store"
        assert told["Cross-Origin-Resource-Policy"] == "same-origin"
        assert told["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_refusal_is_a_page_for_a_person_with_its_remedy_and_nothing_of_it_is_markup(
    world: WebWorld,
) -> None:
    answer = world.client.get("/test-refusal", headers=HTML)
    page = answer.get_data(as_text=True)
    assert (answer.status_code, answer.mimetype) == (422, "text/html")
    assert "&lt;b&gt;No&lt;/b&gt;." in page
    assert "Do &amp; try." in page
    assert "<b>No" not in page


def test_a_refusal_is_problem_json_for_a_script(world: WebWorld) -> None:
    answer = world.client.get("/test-refusal", headers={"Accept": "application/json"})
    assert answer.mimetype == "application/problem+json"
    document = json.loads(answer.get_data())
    assert (document["code"], document["field"]) == ("test_code", "name")


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_fault_says_nothing_of_what_was_handled(world: WebWorld, accept: str) -> None:
    answer = world.client.get("/test-fault", headers={"Accept": accept})
    assert answer.status_code == 500
    assert "being handled" not in answer.get_data(as_text=True)
    assert "internal_fault" in answer.get_data(as_text=True) or accept == "text/html"


def test_a_fault_of_a_refusal_s_own_page_still_ends_in_an_answer_with_headers(
    world: WebWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise ValueError("what was being handled")

    monkeypatch.setattr(flask, "render_template", broken)
    answer = world.client.get("/no-such-page", headers=HTML)
    assert (answer.status_code, answer.mimetype) == (500, "text/plain")
    assert "being handled" not in answer.get_data(as_text=True)
    assert answer.headers["Content-Security-Policy"]


def test_what_is_not_there_is_a_page_too(world: WebWorld) -> None:
    answer = world.client.get("/no-such-page", headers=HTML)
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "nothing at this path" in answer.get_data(as_text=True)
    wrong = world.client.post(world.site.assets.url("css/base.css"), headers=HTML)
    assert wrong.status_code in (403, 405)


def test_an_asset_is_served_as_it_was_at_the_start_for_ever_and_under_its_version_only(
    world: WebWorld,
) -> None:
    client = world.client
    url = world.site.assets.url("css/base.css")
    answer = client.get(url)
    assert answer.data == world.site.assets.files["css/base.css"].data
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.mimetype == "text/css"
    other = url.replace(world.site.assets.version, "0" * 16)
    for path in (other, url + "x", f"/static/{world.site.assets.version}/../pages/static.py"):
        assert client.get(path).status_code == 404


def test_a_page_of_somebody_is_never_stored(world: WebWorld) -> None:
    assert world.client.get("/no-such-page").headers["Cache-Control"] == "no-store"


def test_any_changed_byte_or_name_changes_the_version_of_all_assets(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    (tmp_path / "b.css").write_text("2")
    first = Assets(tmp_path)
    assert first.version == Assets(tmp_path).version
    (tmp_path / "a.js").write_text("3")
    second = Assets(tmp_path)
    assert second.version not in {first.version}
    (tmp_path / "b.css").rename(tmp_path / "c.css")
    assert Assets(tmp_path).version not in {first.version, second.version}
    assert first.url("a.js") == f"/static/{first.version}/a.js"
    with pytest.raises(KeyError):
        first.url("nothing.js")


def test_what_has_no_known_type_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("text")
    (tmp_path / "page.html").write_text("<script>alert(1)</script>")
    assert Assets(tmp_path).files == {}


def test_pages_and_api_stand_behind_one_port(world: WebWorld) -> None:
    front = httpx.get(f"{world.url}/api/v1", timeout=60).json()
    assert httpx.get(world.url + front["health"], timeout=60).status_code == 200
    missing = httpx.get(f"{world.url}/apix", headers=HTML, timeout=60)
    assert (missing.status_code, missing.headers["Content-Type"]) == (
        404,
        "text/html; charset=utf-8",
    )
    assert httpx.get(f"{world.url}/api/nothing", timeout=60).headers["Content-Type"] == (
        "application/problem+json"
    )


# --- many strangers at once

NEVER_CROWDED = {
    "static.show",
    "licences.show",
    "verify.show",
    "signing_in.page",
    "signing_in.challenge",
    "signing_in.sign_in",
    "signing_in.sign_out",
    "deployment.show",
    "keys.show",
    "odds.show",
    "stop.show",
    "stop.worker",
}
"""Of what anybody may call: what Stop and the way in need, and what asks the chain nothing."""


@contextmanager
def crowd_is_there(world: WebWorld) -> Iterator[None]:
    """Every place is taken."""
    crowd = world.site.operator.crowd
    for _ in range(crowd.places):
        crowd.enter()
    try:
        yield
    finally:
        for _ in range(crowd.places):
            crowd.leave()


def test_strangers_together_never_take_the_threads_that_stop_needs(world: WebWorld) -> None:
    config = world.site.config
    assert 0 < world.site.operator.crowd.places < config.threads - config.streams
    for endpoint, rule in RULES.items():
        if endpoint not in ("refuse", "fault", "slow"):
            wanted = rule.who == ANYONE and endpoint not in NEVER_CROWDED
            assert rule.crowded is wanted, endpoint
    assert set(RULES) >= NEVER_CROWDED


def test_who_comes_beyond_the_places_is_told_when_to_come_again(world: WebWorld) -> None:
    with crowd_is_there(world):
        for path in ("/", "/datasets", f"/datasets/{world.api.dataset}", "/api/v1/datasets"):
            for accept in ("application/json", "text/html"):
                answer = httpx.get(world.url + path, headers={"Accept": accept}, timeout=PATIENCE)
                assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
                assert "Ask again in a moment" in answer.text
    assert httpx.get(f"{world.url}/datasets", timeout=PATIENCE).status_code == 200


def test_however_many_strangers_read_everybody_can_sign_in_look_and_stop(world: WebWorld) -> None:
    patient, dataset = world.api.patients[0], world.api.dataset
    with crowd_is_there(world):
        browser = Browser(world).sign_in(patient)
        paths = ["/stop/", "/stop/sw.js", "/session", "/session/half", "/deployment", "/me"]
        paths += [f"/me/{dataset}", f"/me/{dataset}/timeline", "/keys", "/my", "/odds?spent=1"]
        for path in [*paths, world.site.assets.url("css/base.css")]:
            assert browser.get(path).status_code == 200, path
        consent = f"{world.url}/api/v1/datasets/{dataset}/consents/{patient.address}"
        for url in (consent, f"{world.url}/api/v1/market", f"{world.url}/health"):
            assert httpx.get(url, timeout=PATIENCE).status_code == 200
        for path in (f"/me/{dataset}/messages", "/transactions"):
            assert browser.post(path, {}).status_code in (400, 422), path
        sent = httpx.post(f"{world.url}/api/v1/messages", json={"messages": []}, timeout=PATIENCE)
        assert sent.json().get("code") != "busy"
        assert browser.post("/sign-out").status_code == 200


def test_a_place_is_given_back_whatever_becomes_of_its_holder(world: WebWorld) -> None:
    OPEN.set()
    with crowd_is_there(world):
        world.site.operator.crowd.leave()
        for path, status in (("/test-refusal", 422), ("/test-fault", 500), ("/test-slow", 200)):
            for _ in range(2):
                assert world.client.get(path).status_code == status
        world.site.operator.crowd.enter()


def test_slow_readers_hold_their_places_and_no_thread_besides(world: WebWorld) -> None:
    """Over real sockets: as many readers as this server has threads."""
    OPEN.clear()
    places, many = world.site.operator.crowd.places, world.site.config.threads
    turned_away = threading.Semaphore(0)

    def ask() -> int:
        status = httpx.get(f"{world.url}/test-slow", timeout=PATIENCE).status_code
        turned_away.release()
        return status

    with ThreadPoolExecutor(many) as pool:
        try:
            asked = [pool.submit(ask) for _ in range(many)]
            for _ in range(many - places):
                assert turned_away.acquire(timeout=PATIENCE)
            assert httpx.get(f"{world.url}/stop/", timeout=PATIENCE).status_code == 200
        finally:
            OPEN.set()
    found = sorted(each.result() for each in asked)
    assert found == [200] * places + [503] * (many - places)
