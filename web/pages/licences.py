"""Every script of somebody else's that pages load: its bytes' hash, where it comes from, its licence."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import flask

from web.assets import STATIC

VENDOR = STATIC / "vendor"

routes = flask.Blueprint("licences", __name__)


@routes.get("/licences")
def show() -> str:
    """As `tools.vendor` wrote it down."""
    return flask.render_template("licences/show.html", packages=packages(VENDOR))


def packages(vendor: Path) -> list[dict[str, Any]]:
    """Name, version, licence (and its text) and the files of each package in the folder's vendor.json."""
    files = json.loads((vendor / "vendor.json").read_bytes())["files"]
    files.sort(key=lambda each: (each["package"], each["path"]))
    return [
        _package(vendor, name, list(group))
        for name, group in groupby(files, key=lambda each: each["package"])
    ]


def _package(vendor: Path, name: str, files: list[dict[str, str]]) -> dict[str, Any]:
    folder = files[0]["path"].partition("/")[0]
    return {
        "name": name,
        "version": files[0]["version"],
        "licence": files[0]["licence"],
        "text": (vendor / folder / "LICENSE").read_text(encoding="utf-8"),
        "files": files,
    }
