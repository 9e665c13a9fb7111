"""The browser's modules, their checks and the vectors on loopback, under the pages' policy on scripts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "static": ROOT / "web" / "static",
    "checks": ROOT / "tests" / "browser" / "js",
    "vectors": ROOT / "tests" / "vectors",
}
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'"
)
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json"}
PAGE = b"<!doctype html><html lang=en><title>Checks</title><h1>Checks</h1>"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = _file(self.path)
        if self.path == "/":
            self._answer(200, "text/html; charset=utf-8", PAGE)
        elif path is None:
            self._answer(404, "text/plain", b"")
        else:
            self._answer(200, TYPES[path.suffix], path.read_bytes())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def _file(path: str) -> Path | None:
    folder, _, rest = path.removeprefix("/").partition("/")
    found = FOLDERS.get(folder, ROOT / "nothing") / rest
    inside = folder in FOLDERS and found.resolve().is_relative_to(FOLDERS[folder])
    return found if inside and found.is_file() and found.suffix in TYPES else None


@contextmanager
def static_site() -> Iterator[str]:
    """Its origin, while it is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
