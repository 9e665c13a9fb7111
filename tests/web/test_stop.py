"""The page for stopping while the operator is down: the same for everybody, and whole."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import click
import httpx
import pytest

from marketplace.chain.sentences import SENTENCES
from marketplace.cli.main import main
from tests.support.api_world import ApiWorld
from tests.support.web_browser import HTML, Browser
from tests.support.web_world import WebWorld, web_world
from web.assets import STATIC, Assets
from web.pages import stop

ASKED = re.compile(r"""(?:src|href)="(/static/[^"]+)\"""")
IMPORTS = re.compile(r"""^(?:import|export)\s[^"'=(]*?["'](\.{1,2}/[^"']+)["'];""", re.MULTILINE)


@pytest.fixture(scope="module")
def world(shared_api: ApiWorld) -> Iterator[WebWorld]:
    with web_world(shared_api) as made:
        yield made


def kit(world: WebWorld) -> dict[str, object]:
    script = Browser(world).get("/stop/sw.js").get_data(as_text=True)
    found: dict[str, object] = json.loads(
        script.partition("\n")[0].removeprefix("const KIT = ").rstrip(";")
    )
    return found


def test_whoever_asks_gets_the_same_page_without_a_word_about_a_session(world: WebWorld) -> None:
    patient = world.api.patients[0]
    signed_in = Browser(world, address="192.0.2.77").sign_in(patient)
    mine, anybodys = signed_in.get("/stop/", HTML), Browser(world).get("/stop/", HTML)
    assert signed_in.token
    assert mine.get_data() == anybodys.get_data()
    page = mine.get_data(as_text=True)
    assert '<meta name="csrf-token" content="">' in page
    assert patient.address not in page
    assert "Set-Cookie" not in anybodys.headers
    assert "data-sign-out" not in page


def test_page_and_worker_are_asked_for_anew_and_the_worker_is_a_script_of_its_scope(
    world: WebWorld,
) -> None:
    page, worker = Browser(world).get("/stop/", HTML), Browser(world).get("/stop/sw.js")
    for answer in (page, worker):
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-cache"
    assert worker.mimetype == "text/javascript"
    for custodian in world.site.custodians:
        assert custodian in page.headers["Content-Security-Policy"]


def test_whatever_other_worker_a_browser_has_of_us_ends_itself(world: WebWorld) -> None:
    paths = ["/", "/sw.js", "/no/such.js", "/stop/other.js", "/api/v1/evil.js", "/health"]
    paths.append(world.site.assets.url("js/sw.js"))
    for path in paths:
        headers = {"Service-Worker": "script", "Sec-Fetch-Dest": "serviceworker"}
        answer = httpx.get(world.url + path, headers=headers, timeout=60)
        assert answer.status_code == 200, path
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert "registration.unregister()" in answer.text
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Service-Worker-Allowed"] == "/"
    kept = httpx.get(f"{world.url}/stop/sw.js", headers={"Service-Worker": "script"}, timeout=60)
    assert kept.text.startswith("const KIT = ")
    assert kept.headers["Service-Worker-Allowed"] == "/", "it ends itself wherever else it runs"


def test_the_cut_off_and_what_a_custodians_word_is_worth_are_said(world: WebWorld) -> None:
    page = Browser(world).get("/stop/", HTML).get_data(as_text=True)
    assert "One that was sealed before the chain has your revocation" in page
    assert "still counts you" in page
    assert "It could say that it did and not do it" in page


def test_the_worker_keeps_every_file_that_the_page_asks_for_and_every_module_of_those(
    world: WebWorld,
) -> None:
    """Followed here by another reading of the imports than the server's."""
    page = Browser(world).get("/stop/", HTML).get_data(as_text=True)
    files = kit(world)["files"]
    assert isinstance(files, list)
    front = f"/static/{world.site.assets.version}/"
    waiting, seen = [each.removeprefix(front) for each in ASKED.findall(page)], set[str]()
    assert "js/pages/stop.js" in waiting
    assert any(each.endswith(".css") for each in waiting)
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        if path.endswith(".js"):
            waiting += [posixpath.normpath(f"{path}/../{each}") for each in imported(path)]
    assert {front + each for each in seen} == set(files)
    assert {"js/messages.js", "js/keyfile.js", "js/wallet.js"} <= seen
    for url in files:
        assert Browser(world).get(url).status_code == 200


def imported(path: str) -> list[str]:
    return IMPORTS.findall((STATIC / path).read_text(encoding="utf-8"))


def test_page_and_worker_name_one_kit_and_another_file_makes_another(
    world: WebWorld,
) -> None:
    page = Browser(world).get("/stop/", HTML)
    assert page.headers["Stop-Kit"] == kit(world)["version"]
    with world.pages.test_request_context("/stop/", base_url=world.url):
        drawn = stop._drawn()
        assert stop._version(drawn) == kit(world)["version"]
        assert (
            stop._version(drawn.replace(world.site.assets.version, "0" * 16))
            != kit(world)["version"]
        )
    assert kit(world)["page"] == "/stop/"


def test_what_is_imported_and_not_there_is_a_fault_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('/* from "./never.js" */\nimport { b } from "./b.js";\n')
    with pytest.raises(KeyError, match=r"b\.js"):
        stop.needed(Assets(tmp_path), ["a.js"])
    (tmp_path / "b.js").write_text('export { a } from "./a.js";\n')
    assert stop.needed(Assets(tmp_path), ["a.js"]) == {"a.js", "b.js"}


def test_the_page_reads_what_the_chain_has_in_the_words_that_custodians_use() -> None:
    script = (STATIC / "js/stopping.js").read_text(encoding="utf-8")
    [pattern] = re.findall(r"const IN_FORCE = /(.+)/;", script)
    said = SENTENCES["SupersededRevocation"][0].format(given=7, current=12)
    found = re.search(pattern, said)
    assert found is not None
    assert found[1] == "12"


def test_every_option_of_the_command_that_the_page_shows_is_one() -> None:
    script = (STATIC / "js/pages/stop.js").read_text(encoding="utf-8")
    command = main.get_command(click.Context(main), "revoke")
    assert command is not None
    options = {option for each in command.params for option in each.opts}
    shown = re.findall(r'(?<=[`"])--[a-z-]+(?= )', script)
    assert len(shown) == 6
    assert set(shown) <= options
