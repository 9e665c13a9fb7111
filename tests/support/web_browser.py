"""A browser of the tests: cookies, the token of its page, and an account that signs."""

import html
import json
import re
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from werkzeug.test import TestResponse

from marketplace.wire.http import to_hex
from tests.support.web_world import Visitor, WebWorld

_TOKEN = re.compile(r'<meta name="csrf-token" content="([0-9a-f]*)">')
_FACTS = re.compile(r'data-facts="([^"]*)"')
JSON = {"Accept": "application/json"}
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def signed(text: str, key: LocalAccount) -> str:
    """`personal_sign`, by eth_account."""
    return to_hex(Account.sign_message(encode_defunct(text=text), key.key).signature)


@dataclass
class Browser:
    """One browser at one network address; `token` is that of the page it loaded last."""

    world: WebWorld
    address: str = "127.0.0.1"
    client: Visitor = field(init=False)
    token: str = ""

    def __post_init__(self) -> None:
        self.client = self.world.client

    def get(self, path: str, headers: dict[str, str] = JSON) -> TestResponse:
        return self.client.get(path, headers=headers, environ_overrides=self._environment)

    def look(self, path: str = "/sign-in") -> TestResponse:
        """Loads a page as a person does, and with it its token."""
        answer = self.get(path, HTML)
        found = _TOKEN.search(answer.get_data(as_text=True))
        self.token = found[1] if found else self.token
        return answer

    def facts(self, path: str) -> dict[str, Any]:
        """What the page at a path tells its module."""
        found = _FACTS.search(self.look(path).get_data(as_text=True))
        assert found is not None
        told: dict[str, Any] = json.loads(html.unescape(found[1]))
        return told

    def post(self, path: str, body: Any = None, **changes: str | None) -> TestResponse:
        """As a module of the page posts; a header that is changed to None is left out."""
        headers = {
            **JSON,
            "Origin": self.world.site.origin,
            "Sec-Fetch-Site": "same-origin",
            "X-CSRF-Token": self.token,
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        return self.client.post(
            path,
            data=json.dumps({} if body is None else body),
            headers={name: value for name, value in headers.items() if value is not None},
            environ_overrides=self._environment,
        )

    def challenge(self, account: LocalAccount) -> dict[str, Any]:
        """The text for an account, from a page that was just loaded."""
        self.look()
        answer = self.post("/challenge", {"address": account.address})
        assert answer.status_code == 200, answer.get_data(as_text=True)
        document: dict[str, Any] = answer.get_json()
        return document

    def answer(self, challenge: dict[str, Any], signature: str, **more: Any) -> TestResponse:
        """Hands a signature in."""
        body = {"nonce": challenge["nonce"], "signature": signature, **more}
        return self.post("/sign-in", body)

    def sign_in(self, account: LocalAccount) -> "Browser":
        """The whole way; the page that follows is loaded too."""
        challenge = self.challenge(account)
        done = self.answer(challenge, signed(challenge["text"], account))
        assert done.status_code == 200, done.get_data(as_text=True)
        self.look()
        return self

    def cookie(self, what: str) -> str | None:
        """What the browser holds under `session` or `hello`."""
        found = self.client.get_cookie(self.cookie_name(what), domain="127.0.0.1")
        return None if found is None else found.value

    def set_cookie(self, what: str, value: str) -> None:
        self.client.set_cookie(self.cookie_name(what), value, domain="127.0.0.1")

    def cookie_name(self, what: str) -> str:
        return f"__Host-{what}-{self.world.site.origin.rsplit(':', 1)[1]}"

    @property
    def _environment(self) -> dict[str, str]:
        return {"REMOTE_ADDR": self.address}
