"""A page used by keyboard alone: Tab, Shift+Tab, Enter, Space and typing.

Every stop on the way has to be seen, to lie within the page, and to come after the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from playwright.sync_api import Locator, Page, expect

from tests.support.looking import FOCUS, MOST_STOPS

FOLLOWS: Final = """() => {
  const [before, at] = [window.tabStop, document.activeElement];
  window.tabStop = at;
  if (!before || !before.isConnected || before === at) return 0;
  return before.compareDocumentPosition(at) & Node.DOCUMENT_POSITION_FOLLOWING ? 1 : -1;
}"""
"""1 after the stop before, -1 ahead of it; 0 where there was none on this page."""
Key = Literal["Tab", "Shift+Tab"]


@dataclass(frozen=True)
class Keyboard:
    """Somebody without a mouse, at a page."""

    page: Page

    def to(self, target: Locator) -> None:
        """Tabs forward to it."""
        self._move(target, "Tab")

    def back_to(self, target: Locator) -> None:
        """Tabs backward to it."""
        self._move(target, "Shift+Tab")

    def press(self, target: Locator, key: Literal["Enter", "Space"]) -> None:
        """Tabs forward to it, and presses it."""
        self.to(target)
        self.page.keyboard.press(key)

    def type(self, target: Locator, text: str) -> None:
        """Tabs forward to it, and types."""
        self.to(target)
        self.page.keyboard.type(text)

    def is_at(self, target: Locator) -> None:
        """The page itself has put the focus there."""
        expect(target).to_be_focused()
        self.page.evaluate(FOLLOWS)

    def leaves(self) -> None:
        """Tab comes to the end of the page: nothing holds it."""
        for _ in range(MOST_STOPS):
            if self._step("Tab") is None:
                return
        raise AssertionError("Tab never comes to the end of this page")

    def _move(self, target: Locator, key: Key) -> None:
        expect(target).to_be_visible()
        for _ in range(MOST_STOPS):
            at = self._step(key)
            assert at is not None, f"{key} came to the end of the page before {target}"
            if target.evaluate("each => each === document.activeElement"):
                return
        raise AssertionError(f"{key} never comes to {target}")

    def _step(self, key: Key) -> dict[str, Any] | None:
        """One stop on; None at the end of the page."""
        self.page.keyboard.press(key)
        at: dict[str, Any] | None = self.page.evaluate(FOCUS)
        order = self.page.evaluate(FOLLOWS)
        if at is None or order == (-1 if key == "Tab" else 1):
            return None
        assert at["seen"], f"the focus is not seen: {at['what']}"
        assert at["inside"] or at["first"], f"it lies outside of the page: {at['what']}"
        return at
