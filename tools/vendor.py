"""Copies the browser's few library files from the locked npm packages, and holds the copies to them.

    python -m tools.vendor            write web/static/vendor and its vendor.json
    python -m tools.vendor --check    fail unless every committed byte is what the packages give
    python -m tools.vendor --manifest path and SHA-384 of every script that pages may load

Browsers resolve no package names without an import map, which would be an inline script that our
Content-Security-Policy refuses. So the one thing changed in a file are the names that it imports by:
`'@noble/hashes/x.js'` becomes the relative path of that file's copy. vendor.json records the hash of the
upstream bytes beside that of the served ones; `--check` makes both again.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATIC = ROOT / "web" / "static"
VENDOR = STATIC / "vendor"
PACKAGES = ROOT / "web" / "node_modules"
MANIFEST = VENDOR / "vendor.json"

ENTRIES = {
    "@noble/curves": ("secp256k1.js",),
    "@noble/hashes": ("sha2.js", "sha3.js", "argon2.js"),
}
"""What our own modules import of each package; the rest follows from what these files import."""

_IMPORT = re.compile(
    r"""(?P<before>\bfrom\s+|\bimport\s+)(?P<quote>['"])(?P<name>[^'"]+)(?P=quote)"""
)
_DYNAMIC = re.compile(r"(?<![.\w])import\s*\(|\bnew\s+Function\b")
"""What would load more than the imports tell. `eval` needs no look: our pages' policy refuses it."""


class Unfit(Exception):
    """A package that cannot be copied as it is."""


@dataclass(frozen=True)
class Source:
    """One file of a package, by its path inside it."""

    package: str
    path: str

    @property
    def upstream(self) -> Path:
        """Where npm put it."""
        return PACKAGES / self.package / self.path

    @property
    def served(self) -> str:
        """Its path below web/static/vendor."""
        return f"{folder(self.package)}/{self.path}"


def folder(package: str) -> str:
    """Such as `noble-curves-2.4.0`."""
    return f"{package.lstrip('@').replace('/', '-')}-{version(package)}"


def version(package: str) -> str:
    """Of the package as installed from the lock."""
    return str(json.loads((PACKAGES / package / "package.json").read_bytes())["version"])


def licence(package: str) -> str:
    """Its SPDX name."""
    return str(json.loads((PACKAGES / package / "package.json").read_bytes())["license"])


def resolve(importer: Source, name: str) -> Source:
    """The file that an import names. Raises Unfit for a package that we do not ship."""
    if name.startswith("."):
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(importer.path), name))
        return Source(importer.package, inside)
    for package in ENTRIES:
        if name.startswith(f"{package}/"):
            return Source(package, name.removeprefix(f"{package}/"))
    raise Unfit(f"{importer.package}/{importer.path} imports {name}, which is not shipped")


def imports(source: Source, text: str) -> Iterator[Source]:
    """Of one file."""
    for found in _IMPORT.finditer(_code(text)):
        yield resolve(source, found["name"])


def _code(text: str) -> str:
    """Without comments, whose examples import too."""
    return re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", text, flags=re.S | re.M)


def rewritten(source: Source, text: str) -> str:
    """The same text, importing by relative path what it imported by package name."""

    def relative(found: re.Match[str]) -> str:
        name = found["name"]
        if not name.startswith(tuple(f"{package}/" for package in ENTRIES)):
            return found[0]
        target = resolve(source, name).served
        path = posixpath.relpath(target, posixpath.dirname(source.served))
        path = path if path.startswith(".") else f"./{path}"
        return f"{found['before']}{found['quote']}{path}{found['quote']}"

    return _IMPORT.sub(relative, text)


def closure() -> list[Source]:
    """Every file that the entries need, in the order of their paths."""
    waiting = [Source(package, path) for package, paths in ENTRIES.items() for path in paths]
    found: set[Source] = set()
    while waiting:
        source = waiting.pop()
        if source in found:
            continue
        found.add(source)
        text = source.upstream.read_text(encoding="utf-8")
        if _DYNAMIC.search(_code(text)):
            raise Unfit(f"{source.package}/{source.path} makes code at run time")
        waiting.extend(imports(source, text))
    return sorted(found, key=lambda each: each.served)


def sha384(data: bytes) -> str:
    """As Subresource Integrity writes it."""
    return "sha384-" + base64.b64encode(hashlib.sha384(data).digest()).decode("ascii")


def files() -> dict[str, bytes]:
    """Everything below web/static/vendor, by path."""
    sources = closure()
    found = {
        each.served: rewritten(each, each.upstream.read_text(encoding="utf-8")).encode("utf-8")
        for each in sources
    }
    for package in ENTRIES:
        found[f"{folder(package)}/LICENSE"] = (PACKAGES / package / "LICENSE").read_bytes()
    rows = [_row(each, found[each.served]) for each in sources]
    found[MANIFEST.name] = (json.dumps({"files": rows}, indent=2) + "\n").encode("ascii")
    return found


def _row(source: Source, served: bytes) -> dict[str, str]:
    return {
        "path": source.served,
        "package": source.package,
        "version": version(source.package),
        "licence": licence(source.package),
        "sha384": sha384(served),
        "upstream_sha384": sha384(source.upstream.read_bytes()),
    }


def write() -> None:
    """Makes the folder anew."""
    wanted = files()
    shutil.rmtree(VENDOR, ignore_errors=True)
    for path, data in wanted.items():
        target = VENDOR / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def differences() -> list[str]:
    """What is committed and differs from what the packages give; empty when all is well."""
    wanted = files()
    there = {
        path.relative_to(VENDOR).as_posix(): path.read_bytes()
        for path in VENDOR.rglob("*")
        if path.is_file()
    }
    return [
        *(f"{path} is missing" for path in sorted(wanted.keys() - there.keys())),
        *(f"{path} is not from a package" for path in sorted(there.keys() - wanted.keys())),
        *(
            f"{path} differs from its package"
            for path in sorted(wanted.keys() & there.keys())
            if wanted[path] != there[path]
        ),
    ]


def scripts() -> list[tuple[str, str]]:
    """Path below web/static and SHA-384 of every script that a page may load, ours included."""
    return [
        (path.relative_to(STATIC).as_posix(), sha384(path.read_bytes()))
        for path in sorted(STATIC.rglob("*.js"))
    ]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="The browser's library files.")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--manifest", action="store_true")
    chosen = parser.parse_args()
    if chosen.manifest:
        sys.stdout.writelines(f"{digest}  {path}\n" for path, digest in scripts())
        return 0
    if not chosen.check:
        write()
        return 0
    found = differences()
    sys.stderr.writelines(f"{each}: run python -m tools.vendor\n" for each in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
