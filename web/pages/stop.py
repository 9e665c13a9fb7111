"""The page that stops a consent while this operator is down, and the worker that keeps it in the browser.

The page is the same for everybody and knows no session: what it lists lies in the browser alone.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Final

import flask

from web.assets import Assets
from web.headers import policy
from web.showing import LINKS, Link
from web.site import site

PAGE: Final = "/stop/"
SCRIPT: Final = "/stop/sw.js"
"""Of the only worker that there is."""
WORKER: Final = "js/sw.js"
FRESH: Final = "no-cache"
"""Asked for anew each time: an old worker would keep an old page."""

_IMPORT: Final = re.compile(r"""\b(?:from|import)\s+["'](\.[^"']+)["']""")
_COMMENT: Final = re.compile(r"/\*.*?\*/|^\s*//[^\n]*", re.DOTALL | re.MULTILINE)

routes = flask.Blueprint("stop", __name__)


@routes.get(PAGE)
def show() -> flask.Response:
    """The page alone, the same for everybody; `Stop-Kit` names the kit that it belongs to."""
    page = _drawn()
    response = flask.Response(page, content_type="text/html; charset=utf-8")
    response.headers["Cache-Control"] = FRESH
    response.headers["Stop-Kit"] = _version(page)
    return response


@routes.get(SCRIPT)
def worker() -> flask.Response:
    """The worker, after one line that says what it keeps: another page or file makes another worker."""
    page = _drawn()
    kit = {"page": PAGE, "files": sorted(_urls(page)), "version": _version(page)}
    script = site().assets.files[WORKER].data.decode("utf-8")
    text = f"const KIT = {json.dumps(kit)};\n{script}"
    response = flask.Response(text, content_type="text/javascript; charset=utf-8")
    response.headers["Cache-Control"] = FRESH
    # Whatever scope a false worker took at this path: there the script only ends itself (see `sw.js`).
    response.headers["Service-Worker-Allowed"] = "/"
    return response


def needed(assets: Assets, first: Iterable[str]) -> set[str]:
    """These files and every module that they import, however far.

    Raises KeyError for one that is not there.
    """
    waiting, found = list(first), set[str]()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imports(assets, path))
    return found


def _imports(assets: Assets, path: str) -> Iterator[str]:
    text = assets.files[path].data
    if path.endswith(".js"):
        for name in _IMPORT.findall(_COMMENT.sub("", text.decode("utf-8"))):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(path), name))


def _drawn() -> str:
    """As for somebody whom nobody knows, whoever asks: it is kept."""
    return flask.render_template(
        "stop/show.html",
        signed_in_as=lambda: None,
        csrf_token=str,
        navigation=lambda: [Link(url, label, "") for url, label in LINKS],
    )


def _version(page: str) -> str:
    """16 hexadecimal digits over the page, which names the files' own, and what it may connect to."""
    return hashlib.sha256(f"{policy(site())}\0{page}".encode()).hexdigest()[:16]


def _urls(page: str) -> set[str]:
    assets = site().assets
    first = re.findall(rf'"/static/{assets.version}/([^"]+)"', page)
    return {assets.url(path) for path in needed(assets, first)}
