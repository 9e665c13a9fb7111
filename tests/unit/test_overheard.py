"""What the browser tests look for in every request: each form in which a value could leave is found."""

import base64
import json
import secrets
import urllib.parse
from collections.abc import Callable

import pytest

from tests.support.overheard import Overheard, forms_of

NEEDLE = "Zqxv Größe/137.25"
WRAPPED = [
    lambda text: text.encode(),
    lambda text: text.encode().upper(),
    lambda text: json.dumps({"note": text}).encode(),
    lambda text: text.encode().hex().encode(),
    lambda text: text.encode().hex().upper().encode(),
    lambda text: urllib.parse.quote(text).encode(),
    lambda text: urllib.parse.urlencode({"q": text}).encode(),
    *(
        lambda text, code=code, before=before: code(b"x" * before + text.encode() + b"after")
        for code in (base64.b64encode, base64.urlsafe_b64encode)
        for before in range(4)
    ),
]
WAYS = (("GET", "/first"), ("POST", "/somewhere"), ("GET", "/last"))


def overheard(path: bytes, header: bytes, body: bytes) -> Overheard:
    first = b"GET /first HTTP/1.1\r\nHost: h\r\n\r\n"
    request = b"POST /somewhere" + path + b" HTTP/1.1\r\nX: " + header + b"\r\n\r\n" + body
    last = b"GET /last HTTP/1.1\r\n\r\n"
    return Overheard(sent=[("h:1", bytearray(first + request + last))])


@pytest.mark.parametrize("wrap", WRAPPED)
def test_a_value_is_found_in_every_form_and_in_every_part_of_a_request(
    wrap: Callable[[str], bytes],
) -> None:
    hidden = b"before" + wrap(NEEDLE) + b"after"
    assert overheard(b"", hidden, b"").carrying(NEEDLE) == ["POST http://h:1/somewhere"]
    assert overheard(b"", b"", hidden).carrying(NEEDLE) == ["POST http://h:1/somewhere"]
    if b" " not in hidden:
        found = overheard(b"?q=" + hidden, b"", b"").carrying(NEEDLE)
        assert found == [f"POST http://h:1/somewhere?q={hidden.decode()}"]


def test_what_is_not_there_is_not_found() -> None:
    """By chance: 1 MB of random bytes holds a given form of 6 bytes less than once in 2 ** 27 tries."""
    noise = secrets.token_bytes(2**20)
    heard = overheard(b"", base64.b64encode(noise), noise + noise.hex().encode())
    assert heard.carrying(NEEDLE) == []
    assert heard.requests() == [f"{way} http://h:1{path}" for way, path in WAYS]


def test_a_needle_too_short_to_tell_is_refused() -> None:
    with pytest.raises(ValueError, match="by chance"):
        list(forms_of(b"137.2"))
