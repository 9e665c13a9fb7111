"""A page as people meet it: by axe's rules, on a narrow screen, by keyboard, and what it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from eth_account.signers.local import LocalAccount
from playwright.sync_api import Browser, ConsoleMessage, Page

from tools.browser import PATIENCE_MILLISECONDS
from tools.screenshots import sign_in

AXE: Final = Path(__file__).resolve().parents[2] / "web/node_modules/axe-core/axe.min.js"
EVERYTHING: Final = "{rules: {'target-size': {enabled: true}}}"
"""axe's own choice (WCAG 2.2 A and AA, good practice), and the size of targets, which it leaves out."""
COLOURS: Final = "{runOnly: ['color-contrast', 'link-in-text-block']}"
"""What the dark scheme can change: it has other tokens for colours, and nothing else."""
NARROW, HALF, MIDDLE, WIDE = 320, 640, 800, 1280
"""CSS pixels: WCAG 1.4.10's width; a desktop zoomed to 200%; a small window; a desktop."""
MOST_STOPS: Final = 400
"""Of the Tab key on one page: more is a trap."""
BEYOND: Final = """() => [...document.body.querySelectorAll('*')]
  .filter(each => !each.closest('.visually-hidden, caption, thead, .skip, svg'))
  .filter(each => each.getBoundingClientRect().right > innerWidth + 1)
  .map(each => each.outerHTML.slice(0, 120))"""
FOCUS: Final = """() => {
  const at = document.activeElement;
  if (at === document.body || at === null) return null;
  const look = [at, at.closest('.choice')].filter(each => each !== null).map(each => getComputedStyle(each));
  const box = at.getBoundingClientRect();
  return {
    what: at.outerHTML.slice(0, 120),
    seen: look.some(each => each.outlineStyle !== 'none' && parseFloat(each.outlineWidth) >= 2),
    inside: box.width > 0 && box.height > 0 && box.left >= 0 && box.right <= innerWidth + 1,
    first: at.classList.contains('skip'),
  };
}"""
Scheme = Literal["light", "dark"]


@dataclass
class Looked:
    """One open page. `complaints` are what its console said; `asked` every URL that it fetched."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def go(self, path: str) -> int:
        """Loads a path of the site; its status."""
        answer = self.page.goto(path)
        assert answer is not None
        return answer.status

    def dress(self, width: int, scheme: Scheme = "light") -> None:
        """As it looks at this width and in this scheme."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme=scheme)

    def sign_in(self, account: LocalAccount) -> None:
        """As an account whose key the test has: the requests are the browser's own, with its cookies."""
        sign_in(self.page.context, bytes(account.key))

    def whole(self) -> None:
        """Until the page that is here has all of its text, styles and modules, as a look at it needs them.

        A press that leads to another page returns before that one is here, or when nothing of it is but its
        address: whoever reads then waits for something of the new page first.
        """
        self.page.wait_for_load_state("load")

    def violations(self, options: str = EVERYTHING) -> list[str]:
        """What axe finds on the whole page, by rule and the elements at fault."""
        self.whole()
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE.read_text())  # a script element would be refused by the policy
        found = self.page.evaluate(f"axe.run(document, {options})")["violations"]
        return [f"{each['id']}: {_targets(each)}" for each in found]

    def beyond(self) -> list[str]:
        """Elements of the whole page that stick out to the right, where one would have to scroll sideways."""
        self.whole()
        found: list[str] = self.page.evaluate(BEYOND)
        wide = self.page.evaluate("() => document.documentElement.scrollWidth > innerWidth")
        return [*found, "the page scrolls sideways"] if wide else found

    def stops(self) -> list[dict[str, Any]]:
        """Every element that Tab stops at after the skip link, in its order, with whether its focus is seen.

        Wherever a script of the page put the focus.
        """
        self.page.wait_for_load_state("networkidle")
        self.page.locator(".skip").focus()
        found: list[dict[str, Any]] = []
        while len(found) < MOST_STOPS:
            self.page.keyboard.press("Tab")
            at = self.page.evaluate(FOCUS)
            if at is None or at["first"]:
                return found
            found.append(at)
        raise AssertionError(f"Tab goes on for ever: {found[-1]}")


def _targets(violation: dict[str, Any]) -> str:
    return ", ".join(str(node["target"]) for node in violation["nodes"][:3])


@contextmanager
def looking(browser: Browser, origin: str) -> Iterator[Looked]:
    """An empty page at the site."""
    context = browser.new_context(base_url=origin, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    looked = Looked(context.new_page())

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            looked.complaints.append(message.text)

    looked.page.on("console", hear)
    looked.page.on("pageerror", lambda error: looked.complaints.append(str(error)))
    looked.page.on("request", lambda request: looked.asked.append(request.url))
    try:
        yield looked
    finally:
        context.close()
