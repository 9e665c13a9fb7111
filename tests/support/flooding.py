"""The operator as a process of its own, what is thrown at it, and how much memory that takes."""

from __future__ import annotations

import contextlib
import gzip
import html
import io
import json
import re
import socket
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final

import httpx
from eth_account.signers.local import LocalAccount

from tests.support.api_world import ApiWorld
from tests.support.nodes import ROOT
from tests.support.web_browser import signed

PATIENCE: Final = 60.0
ANOTHER_ADDRESS: Final = "127.0.0.2"
"""Of the honest visitor: what is limited by address is used up at the one that the flood comes from."""
MEGABYTE: Final = 2**20
_TOKEN: Final = re.compile(r'<meta name="csrf-token" content="([0-9a-f]*)">')
_VALUE: Final = re.compile(r"^Vm(?:RSS|HWM):\s+(\d+) kB$", re.MULTILINE)


@dataclass
class Flooded:
    """A process that serves, as `usufruct serve` runs it."""

    process: subprocess.Popen[str]
    url: str
    sessions: dict[str, dict[str, str]] = field(default_factory=dict)
    """Headers of somebody's browser, by account."""

    @property
    def address(self) -> tuple[str, int]:
        where = httpx.URL(self.url)
        return where.host, int(where.port or 0)

    def memory(self) -> tuple[int, int]:
        """Most since `forget_peak`, and now, in bytes of resident memory (proc(5), status)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        most, now = (int(each) * 1024 for each in _VALUE.findall(status))
        return most, now

    def forget_peak(self) -> int:
        """Resident memory now, above which the peak is counted from here on (proc(5), clear_refs)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.memory()[1]

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(self.address, PATIENCE, source_address=(source, 0))

    def require_well(self) -> None:
        """An honest visitor is answered: by a page that asks the chain, and by the API."""
        elsewhere = httpx.HTTPTransport(local_address=ANOTHER_ADDRESS)
        with httpx.Client(transport=elsewhere, timeout=PATIENCE) as visitor:
            for path in ("/datasets", "/api/v1/market"):
                assert visitor.get(self.url + path).status_code == 200

    def sign_in(self, account: LocalAccount) -> dict[str, str]:
        """Headers with which this account's browser posts; the cookies are for https and loopback alone."""
        if account.address not in self.sessions:
            self.sessions[account.address] = self._signed_in(account)
        return self.sessions[account.address]

    def _signed_in(self, account: LocalAccount) -> dict[str, str]:
        headers = self._looked("/sign-in", {"Origin": self.url, "Accept": "application/json"})
        challenge = self._post("/challenge", {"address": account.address}, headers).json()
        answer = {
            "nonce": challenge["nonce"],
            "signature": signed(challenge["text"], account),
        }
        done = self._post("/sign-in", answer, headers)
        return self._looked("/trust", headers | {"Cookie": _cookies(done)})

    def _post(self, path: str, body: Any, headers: Mapping[str, str]) -> httpx.Response:
        done = httpx.post(self.url + path, json=body, headers=headers, timeout=PATIENCE)
        assert done.status_code == 200, done.text
        return done

    def _looked(self, path: str, headers: dict[str, str]) -> dict[str, str]:
        page = httpx.get(self.url + path, headers=headers, timeout=PATIENCE)
        token = _TOKEN.search(html.unescape(page.text))
        assert token is not None
        found = {**headers, "X-CSRF-Token": token[1]}
        return found if "Cookie" in headers else found | {"Cookie": _cookies(page)}


def _cookies(answer: httpx.Response) -> str:
    given = [each.partition(";")[0] for each in answer.headers.get_list("set-cookie")]
    return "; ".join(each for each in given if not each.endswith("="))


@contextmanager
def flooded_operator(world: ApiWorld, folder: Path) -> Iterator[Flooded]:
    """A second operator of the world's market, with a database of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = world.config_path.with_name("flooded.json")
    kept = json.loads(world.config_path.read_text())
    path.write_text(json.dumps({**kept, "data": str(folder / "data"), "port": port}))
    command = [sys.executable, "-m", "marketplace.cli", "serve", "--config", str(path)]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
        ) as process,
    ):
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline() or "{}")
            assert ready.get("ready"), (folder / "log").read_text()
            yield Flooded(process, ready["url"])
        finally:
            process.terminate()


# --- what is thrown


@dataclass(frozen=True)
class Flood:
    """One request: a head, and a body that may never end. `expected` are the statuses that are right."""

    head: Callable[[str], str]
    body: Callable[[], Iterable[bytes]]
    expected: frozenset[int]


REFUSED: Final = frozenset({400, 403, 404, 413, 415, 422, 429})
TOO_LARGE: Final = frozenset({413})
HEAD_TOO_LARGE: Final = frozenset({431})
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
PARTS: Final = "multipart/form-data; boundary=x"


def _post(path: str, kind: str, *more: str) -> str:
    return "\r\n".join((f"POST {path} HTTP/1.1", f"Content-Type: {kind}", *more))


def _whole(kind: str, body: bytes, *more: str) -> Flood:
    return Flood(
        lambda path: _post(path, kind, f"Content-Length: {len(body)}", *more),
        lambda: [body],
        REFUSED,
    )


def _without_end() -> Iterator[bytes]:
    for _ in range(64):
        yield b"100000\r\n" + b" " * MEGABYTE + b"\r\n"


def _zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("bundle.json", "dictionary.json", "receipt.json"):
            archive.writestr(name, bytes(16 * MEGABYTE))
    return packed.getvalue()


def _part(name: str, content: bytes) -> bytes:
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="f.zip"\r\n\r\n'
    return head.encode() + content + b"\r\n"


BOMB: Final = gzip.compress(bytes(64 * MEGABYTE))
ZIP: Final = _zipped()
FLOODS: Final[Mapping[str, Flood]] = {
    "ten gigabytes": Flood(
        lambda path: _post(path, JSON, f"Content-Length: {10 * 2**30}"), list, TOO_LARGE
    ),
    "chunks without end": Flood(
        lambda path: _post(path, JSON, "Transfer-Encoding: chunked"), _without_end, TOO_LARGE
    ),
    "many parts": _whole(PARTS, _part("p", b"x") * 100_000),
    "one large part": _whole(PARTS, _part("dictionary", b"x" * 7 * MEGABYTE) + b"--x--\r\n"),
    "many fields": _whole(FORM, b"&".join(b"f%d=1" % each for each in range(50_000))),
    "one large field": _whole(FORM, b"dictionary=" + b"%41" * (2 * MEGABYTE)),
    "gzip": _whole(JSON, BOMB, "Content-Encoding: gzip"),
    "deflate": _whole(JSON, zlib.compress(bytes(64 * MEGABYTE)), "Content-Encoding: deflate"),
    "an archive": _whole(JSON, ZIP),
    "an archive as a file": _whole(PARTS, _part("dictionary", ZIP) + b"--x--\r\n"),
    "deep JSON": _whole(JSON, b'{"a":' * 100_000),
    "deep lists": _whole(JSON, b"[" * 7 * MEGABYTE),
    "deep JSON in a form": _whole(FORM, b"dictionary=" + b"%5B" * 100_000),
    "a long number": _whole(JSON, b'{"address": ' + b"9" * 4 * MEGABYTE + b"}"),
    "many keys": _whole(JSON, json.dumps({f"k{each}": 0 for each in range(200_000)}).encode()),
    "a long header": Flood(
        lambda path: _post(path, JSON, "X-Long: " + "x" * MEGABYTE), list, HEAD_TOO_LARGE
    ),
    "many headers": Flood(
        lambda path: _post(path, JSON, *("X-Many: " + "x" * 100 for _ in range(10_000))),
        list,
        HEAD_TOO_LARGE,
    ),
    "a long cookie": Flood(
        lambda path: _post(path, JSON, "Cookie: a=" + "x" * MEGABYTE), list, HEAD_TOO_LARGE
    ),
    "a long address": Flood(
        lambda path: _post(path + "?q=" + "x" * MEGABYTE, JSON), list, HEAD_TOO_LARGE
    ),
}
"""By what they are. None has a NUL in its head: that is another refusal."""


def thrown(at: Flooded, flood: Flood, path: str, headers: Mapping[str, str], source: str) -> int:
    """The status that is answered, to as much of it as is taken; 431 where it was cut off in its head.

    Args:
        source: address that it comes from: another one has not used up what its kind may ask.
    """
    lines = [flood.head(path), f"Host: {at.url.removeprefix('http://')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with closing(at.connect(source)) as peer:
        try:
            peer.sendall("\r\n".join([*lines, "", ""]).encode())
            for part in flood.body():
                peer.sendall(part)
        except ConnectionError:
            pass  # it closed before it had all, and may have answered
        try:
            with HTTPResponse(peer) as response:
                response.begin()
                response.read()
                return response.status
        except (ConnectionError, HTTPException):
            # The rest of what was sent met a closed connection, and its reset overtook the answer.
            return min(flood.expected)


@contextmanager
def crowd(at: Flooded, number: int, first: bytes) -> Iterator[list[socket.socket]]:
    """So many connections, each of which has sent this and then waits."""
    with ExitStack() as stack:
        peers = []
        for _ in range(number):
            peer = stack.enter_context(closing(at.connect()))
            with contextlib.suppress(ConnectionError):
                peer.sendall(first)
            peers.append(peer)
        yield peers
