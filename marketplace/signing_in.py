"""Signing in: an account signs one text, once, in the browser that asked for it; a session comes of it.

A challenge names the origin, chain and account (EIP-4361), belongs to one browser by a cookie of its own,
and is gone at its first use, good or bad. What a browser keeps (cookie, token) is stored here only as its
SHA-256, so that a copy of the database signs nobody in.

Challenges and sessions are bounded by the network that they come from. An address is personal data, so a
network is stored only as a hash under a key that this process alone has: one that lay in the database would
hide nothing from a thief of it, who would try all 2^32 addresses. After a restart, or in another worker, the
same network counts as another one; nothing more hangs on it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from marketplace.chain.adapter import Chain
from marketplace.chain.wallets import accepts_signature
from marketplace.errors import Refusal
from marketplace.store import Database, WebChallengeRow, WebSessionRow
from marketplace.vocabulary import Address, address
from marketplace.wire.eip712 import BadSignature
from marketplace.wire.siwe import LONGEST_LIFE, SignIn, recover_text, text_digest

SECRET_BYTES: Final = 32
"""Of a token, a cookie, a nonce and a session's half: nobody guesses 256 bits."""
SESSION_LIFE: Final = 12 * 3_600
"""Seconds: a working day, then one signs in anew."""
SESSION_IDLE: Final = 3_600
"""Seconds without a look at a page, after which a session is over."""
HALF_IDLE: Final = 900
"""Seconds without a look at a page, after which a session's half is another: the tab's keys are locked."""
SEEN_EVERY: Final = 60
"""Seconds between two notes that a session is in use, so that a page is not a write."""


class SignInOver(Refusal):
    """A challenge that is not there: never given, used, expired, or another browser's."""

    CODE = "sign_in_over"


@dataclass(frozen=True)
class Challenge:
    """The text to sign, and the nonce that names it. Unix seconds."""

    nonce: str
    text: str
    expires_at: int


@dataclass(frozen=True)
class SignedIn:
    """A session as its browser sees it, once: the token is stored nowhere else. Neither secret prints."""

    token: str = field(repr=False)
    half: str = field(repr=False)
    account: Address
    expires_at: int


@dataclass(frozen=True)
class Current:
    """A session in use. `half` opens, with what the tab keeps, the tab's keys; it does not print."""

    account: Address
    expires_at: int
    half: str = field(repr=False)


@dataclass(frozen=True)
class Visitor:
    """Who asks: the secret of its browser's cookie, and the network it comes from. Neither prints."""

    browser: str = field(repr=False)
    network: str = field(repr=False)


def new_secret() -> str:
    """64 hexadecimal digits that nobody guesses."""
    return secrets.token_hex(SECRET_BYTES)


@dataclass(frozen=True)
class SigningIn:
    """The sign-ins of one operator's pages. `origin` is where browsers reach them."""

    chain: Chain
    database: Database
    origin: str
    clock: Callable[[], float] = time.time
    network_key: bytes = field(
        default_factory=lambda: secrets.token_bytes(SECRET_BYTES), repr=False
    )

    def challenge(self, account: str, visitor: Visitor) -> Challenge:
        """A text for this account to sign, good for ten minutes, once, in this browser.

        Raises:
            BadParameter: `account` is no address. Refusal: `storage_full`, `storage_unavailable`.
        """
        now = self._now()
        asked = SignIn(
            account=address(account, "address"),
            uri=self.origin,
            chain_id=self.chain.chain_id,
            nonce=new_secret(),
            issued_at=now,
            expires_at=now + LONGEST_LIFE,
        )
        row = WebChallengeRow(
            nonce=asked.nonce,
            browser=_hashed(visitor.browser),
            address=asked.account,
            message=asked.text(),
            expires_at=asked.expires_at,
            network=self._network("challenge", visitor, now),
        )
        self.sweep()
        self.database.keep_challenge(row)
        return Challenge(asked.nonce, asked.text(), asked.expires_at)

    def sign_in(
        self, nonce: str, visitor: Visitor, signature: bytes, instead_of: str | None = None
    ) -> SignedIn:
        """A session for the account that signed the challenge's text; the challenge is used, good or bad.

        Args:
            visitor: in the browser for which the challenge was made, on whatever network by now.
            instead_of: token of the session that this browser had, which ends.

        Raises:
            SignInOver; BadSignature: not the account's, by key or by its wallet (ERC-1271).
            NodeUnreachable, NodeFault, StaleHead: a wallet's word cannot be had.
            Refusal: `storage_full`, `storage_unavailable`.
        """
        now = self._now()
        asked = self.database.take_challenge(nonce)
        if asked is None or asked.browser != _hashed(visitor.browser) or asked.expires_at <= now:
            raise _over()
        self._require_signed(asked.message, signature, asked.address)
        started = SignedIn(
            new_secret(), new_secret(), Address(asked.address), expires_at=now + SESSION_LIFE
        )
        self._start(started, self._network("session", visitor, now), instead_of, now)
        return started

    def _start(self, started: SignedIn, network: str, instead_of: str | None, now: int) -> None:
        row = WebSessionRow(
            token=_hashed(started.token),
            account=started.account,
            half=started.half,
            started_at=now,
            seen_at=now,
            expires_at=started.expires_at,
            network=network,
        )
        ended = None if instead_of is None else _hashed(instead_of)
        self.database.start_session(row, instead_of=ended)

    def _require_signed(self, text: str, signature: bytes, account: str) -> None:
        try:
            signer = recover_text(text, signature)
        except BadSignature:
            if self._is_signed_by_wallet(text, signature, account):
                return
            raise
        if signer != account and not self._is_signed_by_wallet(text, signature, account):
            raise BadSignature(
                message=f"The signature is not that of {account}.",
                remedy="Sign the text as it was shown, with the account that it names.",
                field="signature",
            )

    def _is_signed_by_wallet(self, text: str, signature: bytes, account: str) -> bool:
        if not self.chain.node.code(account):
            return False
        self.chain.require_healthy()  # an old state of the wallet may still have an owner it lost
        return accepts_signature(self.chain.node, account, text_digest(text), signature)

    # --- sessions

    def current(self, token: str, *, in_use: bool = True) -> Current | None:
        """The session with this token, None where there is none any more.

        Args:
            in_use: whether a person looks; what a page asks by itself keeps no session alive.

        Raises:
            Refusal: `storage_full`, `storage_unavailable`.
        """
        row, now = self.database.web_session(_hashed(token)), self._now()
        if row is None or row.expires_at <= now or now - row.seen_at >= SESSION_IDLE:
            return None
        idle = now - row.seen_at
        if not in_use or idle < SEEN_EVERY:
            return _current(row)
        return self._see(row, now, new_secret() if idle >= HALF_IDLE else row.half)

    def _see(self, row: WebSessionRow, now: int, half: str) -> Current | None:
        if self.database.see_session(row.token, before=row.seen_at, now=now, half=half):
            return Current(Address(row.account), row.expires_at, half)
        # Another request of the same page was first, or the session just ended: what is stored holds.
        found = self.database.web_session(row.token)
        return None if found is None else _current(found)

    def sign_out(self, token: str) -> None:
        """Ends the session: its row is deleted. Ending it twice changes nothing."""
        self.database.end_session(_hashed(token))

    def sweep(self) -> None:
        """Deletes what expired or was left idle. Every challenge does, so that nothing else has to."""
        now = self._now()
        self.database.sweep_web(now=now, unseen_since=now - SESSION_IDLE)

    def _network(self, table: str, visitor: Visitor, now: int) -> str:
        """Another in each table and in each session's life, so that no two copies of rows link accounts."""
        named = f"{table} {now // SESSION_LIFE} {visitor.network}"
        return hmac.new(self.network_key, named.encode(), hashlib.sha256).hexdigest()

    def _now(self) -> int:
        return int(self.clock())


def _hashed(secret: str) -> str:
    # Of 256 random bits: a slow hash would protect nothing more (OWASP, Session Management).
    return hashlib.sha256(secret.encode()).hexdigest()


def _current(row: WebSessionRow) -> Current:
    return Current(Address(row.account), row.expires_at, row.half)


def _over() -> SignInOver:
    return SignInOver(
        message="This sign-in is over: it was used, took longer than ten minutes, "
        "or began in another browser.",
        remedy="Begin again in this browser, and sign the new text.",
        field="nonce",
    )
