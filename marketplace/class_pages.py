"""The pages that patients read, one for each consent class: kept by the operator, proved by their hash.

Without its page nobody can be asked to consent to a class, so a steward may leave one here before the class
is published; it is shown to others only once a class on chain has its hash.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from marketplace.chain.adapter import Chain
from marketplace.errors import Refusal
from marketplace.vocabulary import Address
from marketplace.wire.class_page import ClassPage, load
from marketplace.wire.kept import Documents, name_of
from marketplace.wire.terms import ClassTerms

MOST_HELD: Final = 32
"""Pages that one steward may leave before their classes are published: two megabytes."""
HELD_SECONDS: Final = 30 * 86_400
"""After which such a page is forgotten."""


@dataclass(frozen=True)
class ClassPages:
    """A folder of pages, one file each, named by hash; `held` in it has a folder for each steward."""

    folder: Path
    chain: Chain

    def keep(self, raw: bytes) -> ClassPage:
        """Keeps the page of some class on chain. Keeping it twice changes nothing.

        Raises:
            BadClassPage: as the wire format refuses it.
            Refusal: `unknown_class_page`, if no class on chain has this hash; `storage_full`,
                `storage_unavailable`.
        """
        page = load(raw)
        if not self._is_published(page.hash()):
            raise Refusal(
                code="unknown_class_page",
                message="No consent class on chain has the hash of this page.",
                remedy="Publish the class with this page's hash as its termsHash first.",
                field="page",
            )
        self._kept.keep(page)
        return page

    def hold(self, raw: bytes, steward: Address) -> ClassPage:
        """Keeps a page for a steward who has not published its class yet.

        Raises:
            BadClassPage.
            Refusal: `not_a_steward`; `too_many_pages`; `storage_full`, `storage_unavailable`.
        """
        page = load(raw)
        self._require_steward(steward)
        held = self._held_by(steward)
        if not held.path(page.hash()).exists() and len(_waiting(held.folder)) >= MOST_HELD:
            raise Refusal(
                code="too_many_pages",
                message=f"{MOST_HELD} pages of this steward wait for their classes.",
                remedy="Publish their classes; pages without one are forgotten after 30 days.",
                field="page",
            )
        held.keep(page)
        return page

    def of(self, terms_hash: bytes) -> ClassPage:
        """The page of a class on chain, by the `termsHash` of its terms.

        Raises:
            Refusal: `class_page_missing`: nobody handed it over, or no class has this hash.
        """
        page = self._kept.find(terms_hash) or self._released(terms_hash)
        if page is None:
            raise _missing()
        return page

    def preview(self, terms_hash: bytes, steward: Address) -> ClassPage:
        """As `of`, or the page that this very steward left. Raises as `of`."""
        return self._held_by(steward).find(terms_hash) or self.of(terms_hash)

    def _released(self, terms_hash: bytes) -> ClassPage | None:
        """A page that was held, once a class has its hash."""
        for path in sorted(self.folder.glob(f"held/*/{name_of(terms_hash)}")):
            page = _in(path.parent).find(terms_hash)
            if page is not None and self._is_published(terms_hash):
                self._kept.keep(page)
                path.unlink(missing_ok=True)
                return page
        return None

    @cached_property
    def _kept(self) -> Documents[ClassPage]:
        return _in(self.folder)

    def _held_by(self, steward: Address) -> Documents[ClassPage]:
        return _in(self.folder / "held" / steward.lower())

    def _require_steward(self, account: Address) -> None:
        if not self.chain.has_role("DatasetRegistry", "STEWARD", account):
            raise Refusal(
                code="not_a_steward",
                message=f"{account} may publish no dataset on this chain.",
                remedy="Sign in as the steward, or ask the administrator for the role STEWARD.",
                field="steward",
            )

    def _is_published(self, terms_hash: bytes) -> bool:
        """Whether a class has this hash: found in the logs, and proved by the class's terms in storage."""
        return any(
            self.chain.class_terms(class_).terms_hash == terms_hash
            for class_ in self._classes_with(terms_hash)
        )

    def _classes_with(self, terms_hash: bytes) -> Iterator[bytes]:
        first = self.chain.manifest.deployed_block
        published = self.chain.events(
            first, contracts=["DatasetRegistry"], names=["ClassPublished"]
        )
        for event in published:
            if ClassTerms.from_abi(event.args["terms"]).terms_hash == terms_hash:
                yield event.args["class"]


def _in(folder: Path) -> Documents[ClassPage]:
    return Documents(folder, load, "class pages")


def _waiting(folder: Path) -> list[Path]:
    """Pages that still wait; what waited too long is deleted."""
    since = time.time() - HELD_SECONDS
    waiting = []
    for path in folder.glob("*.json"):
        if path.stat().st_mtime < since:
            path.unlink(missing_ok=True)
        else:
            waiting.append(path)
    return waiting


def _missing() -> Refusal:
    return Refusal(
        code="class_page_missing",
        message="The steward has not handed the page of this class to the operator.",
        remedy="Ask the steward to send it (usufruct hand-over-page).",
        field="terms_hash",
    )
