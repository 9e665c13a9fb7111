"""Photographs the pages, so that somebody looks at them: `python -m tools.screenshots`.

It starts the demo's market, tells its first chapters, and takes each page on a desktop and on a phone, light
and dark. With --url it takes the pages of a market that runs already; with --only the pages that it names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from playwright.sync_api import Browser, BrowserContext, Page
from playwright.sync_api import TimeoutError as NotIdle
from rich.console import Console

from marketplace.client.http import Api
from marketplace.demo import Story
from marketplace.local import Local, Ports, await_health
from tools.browser import PATIENCE_MILLISECONDS, chromium

ROOT: Final = Path(__file__).resolve().parents[1]
PORT: Final = 8_700
"""Of the operator; the others move with it, so that the demo may run at the same time."""
ANYONE: Final = "anyone"
PATIENT: Final = "patient"
CLINIC: Final = "clinic"
STEWARD: Final = "steward"
AUTHORITY: Final = "authority"
OPERATOR: Final = "operator"
RESEARCHER: Final = "researcher"
OFFICES: Final = (STEWARD, AUTHORITY, OPERATOR, RESEARCHER)
"""Whose keys the demo's market keeps under these very names."""
Scheme = Literal["light", "dark"]
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")
MOST_TO_SETTLE_MILLISECONDS: Final = 10_000
SIZES: Final = ((1280, 900), (390, 844))
"""CSS pixels: a desktop and a phone."""
POST: Final = """async ([path, body]) => {
  const token = document.querySelector('meta[name=csrf-token]').content;
  const headers = {'Content-Type': 'application/json', 'X-CSRF-Token': token};
  const answer = await fetch(path, {method: 'POST', headers, body: JSON.stringify(body)});
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}"""
"""What a page's own modules do."""
CHAPTERS: Final = (
    Story.publish,
    Story.bring_patients,
    Story.grant_all,
    Story.first_request,
    Story.revoke,
)
"""What has to have happened for every page to show something."""


@dataclass(frozen=True)
class Shot:
    """One page; `path` may name {dataset} and {request}; `who` looks at it, signed in unless anyone."""

    name: str
    path: str
    who: str = ANYONE


SHOTS: Final = (
    Shot("home", "/"),
    Shot("datasets", "/datasets"),
    Shot("dataset", "/datasets/{dataset}"),
    Shot("class", "/datasets/{dataset}/classes/1"),
    Shot("requests", "/requests"),
    Shot("request", "/requests/{request}"),
    Shot("contracts", "/contracts"),
    Shot("trust", "/trust"),
    Shot("licences", "/licences"),
    Shot("sign-in", "/sign-in"),
    Shot("keys", "/keys"),
    Shot("ask", "/ask?dataset={dataset}"),
    Shot("verify", "/verify"),
    Shot("stop", "/stop/"),
    Shot("my-data", "/me", PATIENT),
    Shot("my-consent", "/me/{dataset}", PATIENT),
    Shot("my-class", "/me/{dataset}/classes/1", PATIENT),
    Shot("my-studies", "/me/{dataset}/studies", PATIENT),
    Shot("my-timeline", "/me/{dataset}/timeline", PATIENT),
    Shot("my-join", "/me/{dataset}/join", PATIENT),
    Shot("my-key", "/me/{dataset}/key", PATIENT),
    Shot("my-export", "/me/{dataset}/export", PATIENT),
    Shot("my-erasure", "/me/{dataset}/erase", PATIENT),
    Shot("guardian", "/guardian", PATIENT),
    Shot("clinic", "/clinic/{dataset}", CLINIC),
    Shot("my-requests", "/my", RESEARCHER),
    Shot("my-request", "/my/requests/{request}", RESEARCHER),
    Shot("steward-home", "/steward", STEWARD),
    Shot("steward", "/steward/{dataset}", STEWARD),
    Shot("steward-new", "/steward/new", STEWARD),
    Shot("steward-class", "/steward/{dataset}/classes/new", STEWARD),
    Shot("authority", "/authority", AUTHORITY),
    Shot("operator", "/operator", OPERATOR),
)


@dataclass(frozen=True)
class Market:
    """Where the pages are, what their paths name, and the keys of those whose pages are taken."""

    url: str
    ids: Mapping[str, str]
    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def at(cls, url: str, keys: Mapping[str, bytes] | None = None) -> Market:
        """The market that runs there: its first dataset, its latest request."""
        api = Api(url)
        dataset = api.get("/api/v1/datasets")["datasets"][0]["dataset"]
        request = api.get("/api/v1/requests")["requests"][0]["request"]
        return cls(url, {"dataset": dataset, "request": request}, keys or {})


def sign_in(context: BrowserContext, key: bytes) -> None:
    """Signs the server's text as a wallet would (EIP-191), through the browser's own requests."""
    account: LocalAccount = Account.from_key(key)
    page = context.new_page()
    page.goto("/sign-in")
    challenge = page.evaluate(POST, ["/challenge", {"address": account.address}])
    signed = account.sign_message(encode_defunct(text=challenge["text"]))
    signature = "0x" + signed.signature.hex()
    page.evaluate(POST, ["/sign-in", {"nonce": challenge["nonce"], "signature": signature}])
    page.close()


@contextmanager
def demo_market(folder: Path, port: int) -> Iterator[Market]:
    """The demo's market after `CHAPTERS`, while it runs."""
    local = Local(folder, Ports.beside(port))
    local.clear()
    try:
        local.start()
        await_health([local.url])
        story = Story(local, Console(stderr=True, highlight=False, soft_wrap=True))
        for chapter in CHAPTERS:
            chapter(story)
        keys = {PATIENT: story.people[0].key, CLINIC: local.key("issuer")}
        keys |= {office: local.key(office) for office in OFFICES}
        yield Market.at(local.url, keys)
    finally:
        local.stop()


def take(
    browser: Browser, market: Market, out: Path, shots: Sequence[Shot] = SHOTS
) -> Iterator[Path]:
    """Every shot at every size and in every scheme: one PNG each, of the whole page.

    Of pages that somebody has to sign in for, those whose keys the market gives.
    """
    out.mkdir(parents=True, exist_ok=True)
    wanted = {shot.who for shot in shots}
    visitors = [who for who in (ANYONE, *market.keys) if who in wanted]
    for width, height in SIZES:
        for scheme in SCHEMES:
            for who in visitors:
                context = browser.new_context(
                    base_url=market.url,
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,
                    reduced_motion="reduce",
                )
                context.set_default_timeout(PATIENCE_MILLISECONDS)
                if who != ANYONE:
                    sign_in(context, market.keys[who])
                theirs = [shot for shot in shots if shot.who == who]
                yield from _taken(context, market, theirs, out, f"{width}-{scheme}")
                context.close()


def _taken(
    context: BrowserContext, market: Market, shots: Sequence[Shot], out: Path, dress: str
) -> Iterator[Path]:
    page = context.new_page()
    for shot in shots:
        path = shot.path.format(**market.ids)
        answer = page.goto(path)
        if answer is None or not answer.ok:
            raise RuntimeError(f"{path} answers {answer and answer.status}")
        _settle(page)
        file = out / f"{shot.name}-{dress}.png"
        page.screenshot(path=file, full_page=True)
        yield file


def _settle(page: Page) -> None:
    """Until the page's modules have drawn what they fetch. One that follows a stream is never idle."""
    try:
        page.wait_for_load_state("networkidle", timeout=MOST_TO_SETTLE_MILLISECONDS)
    except NotIdle:
        return


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Photographs of the pages.")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "screenshots")
    parser.add_argument("--data", type=Path, default=ROOT / "var" / "screenshots-market")
    parser.add_argument("--port", type=int, default=PORT, help="of the market that it starts")
    parser.add_argument("--url", help="of a market that runs already")
    names = [shot.name for shot in SHOTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    chosen = parser.parse_args()
    shots = [shot for shot in SHOTS if shot.name in chosen.only]
    if chosen.url:
        return _photograph(Market.at(chosen.url), chosen.out, shots)
    with demo_market(chosen.data.absolute(), chosen.port) as market:
        return _photograph(market, chosen.out, shots)


def _photograph(market: Market, out: Path, shots: Sequence[Shot]) -> int:
    with chromium() as browser:
        for file in take(browser, market, out, shots):
            sys.stdout.write(f"{file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
