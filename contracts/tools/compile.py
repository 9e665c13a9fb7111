"""Compile `contracts/src` and keep `contracts/artifacts` equal to it, byte for byte.

    python -m contracts.tools.compile            write the artifacts
    python -m contracts.tools.compile --check    compile anew, write nothing, list what differs

The product runs from the committed artifacts; only who changes a contract needs a compiler.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import solcx
from solcx.wrapper import get_solc_version

COMPILER_VERSION = "0.8.37"
# The newest fork that py-evm, pyrevm and anvil all run (solc's own default is newer).
EVM_VERSION = "prague"
OPTIMIZER_RUNS = 200
VIA_IR = True

CONTRACTS = Path(__file__).resolve().parent.parent
SHIM = CONTRACTS / "tools" / "solc.js"
MANIFEST = "manifest.json"

SETTINGS: dict[str, Any] = {
    "evmVersion": EVM_VERSION,
    # No hash of the sources at the end of the code: a changed comment changes no byte.
    "metadata": {"bytecodeHash": "none"},
    "optimizer": {"enabled": True, "runs": OPTIMIZER_RUNS},
    "viaIR": VIA_IR,
}
_OUTPUTS = [
    "abi",
    "evm.bytecode.object",
    "evm.bytecode.linkReferences",
    "evm.deployedBytecode.object",
    "evm.deployedBytecode.immutableReferences",
    "storageLayout",
]
_IMPORT = re.compile(r"""^\s*import\b[^;"']*["']([^"']+)["']\s*;""", re.MULTILINE)
_AST_ID = re.compile(r"(?<=\))\d+")

Artifacts = dict[str, bytes]


class CompilationRefused(Exception):
    """The sources or the compiler are not what an artifact can be made from; says why."""


def compile_contracts(root: Path = CONTRACTS, *, cached: bool = True) -> Artifacts:
    """The artifacts of `root/src`: file name -> bytes, the manifest included.

    With `cached`, a compilation of the same sources, settings and compiler is not repeated.
    Raises CompilationRefused (missing import, two contracts of one name, no compiler) or
    solcx.exceptions.SolcError (the compiler's own message).
    """
    request = standard_input(root)
    store = root / "cache" / f"standard-{_digest(_canonical(request))}.json"
    if cached and store.exists():
        output = json.loads(store.read_bytes())
    else:
        output = solcx.compile_standard(request, solc_binary=find_compiler())
        _report_warnings(output)
        _write_atomically(store, _canonical(output))
    return _artifacts(output, request)


def standard_input(root: Path) -> dict[str, Any]:
    """The compiler's standard JSON input, sources inline, so that no path reaches the output."""
    sources = {name: {"content": text} for name, text in sorted(_closure(root).items())}
    settings = SETTINGS | {"outputSelection": {"*": {"*": _OUTPUTS}}}
    return {"language": "Solidity", "settings": settings, "sources": sources}


def find_compiler() -> Path:
    """A native solc of our version (SOLC, or `solc` on PATH), else the npm compiler's shim.

    Raises CompilationRefused if SOLC names another version, or if no compiler is installed.
    """
    named = os.environ.get("SOLC")
    if named:
        _require_version(Path(named))
        return Path(named)
    native = shutil.which("solc")
    if native and str(get_solc_version(native)) == COMPILER_VERSION:
        return Path(native)
    if not (CONTRACTS / "node_modules" / "solc").is_dir() or not shutil.which("node"):
        raise CompilationRefused("no Solidity compiler: install Node 20 or newer, run `make setup`")
    return SHIM


def differences(expected: Artifacts, folder: Path) -> list[str]:
    """One line for each committed artifact that is missing, changed or left over."""
    present = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    return [
        f"{name}: {_verdict(expected.get(name), present.get(name))}"
        for name in sorted(expected.keys() | present.keys())
        if expected.get(name) != present.get(name)
    ]


def write_artifacts(artifacts: Artifacts, folder: Path) -> None:
    """Make `folder` hold exactly these artifacts."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in {path.name for path in folder.glob("*.json")} - artifacts.keys():
        (folder / stale).unlink()
    for name, content in artifacts.items():
        _write_atomically(folder / name, content)


def _verdict(expected: bytes | None, present: bytes | None) -> str:
    if present is None:
        return "missing"
    return "has no source any more" if expected is None else "differs from its source"


def _require_version(compiler: Path) -> None:
    found = str(get_solc_version(compiler))
    if found != COMPILER_VERSION:
        raise CompilationRefused(f"SOLC is solc {found}; the artifacts need {COMPILER_VERSION}")


def _closure(root: Path) -> dict[str, str]:
    """Every source of ours and all that it imports, by the name that the compiler sees."""
    found: dict[str, str] = {}
    waiting = [path.relative_to(root).as_posix() for path in (root / "src").rglob("*.sol")]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _read_source(root, name)
            waiting.extend(_imports(name, found[name]))
    if not found:
        raise CompilationRefused(f"no Solidity source under {root.name}/src")
    return found


def _read_source(root: Path, name: str) -> str:
    path = root / "node_modules" / name if name.startswith("@") else root / name
    if not path.is_file():
        raise CompilationRefused(
            f"imported file {name} not found: check its path, run `make setup`"
        )
    return path.read_text(encoding="utf-8")


def _imports(importer: str, source: str) -> Iterator[str]:
    for target in _IMPORT.findall(source):
        if target.startswith("."):
            yield os.path.normpath(PurePosixPath(importer).parent / target)
        else:
            yield target


def _artifacts(output: dict[str, Any], request: dict[str, Any]) -> Artifacts:
    artifacts: Artifacts = {}
    for source, contracts in output["contracts"].items():
        for name, contract in contracts.items() if source.startswith("src/") else ():
            if f"{name}.json" in artifacts:
                raise CompilationRefused(f"two contracts are called {name}: rename one of them")
            artifacts[f"{name}.json"] = _canonical(_artifact(name, source, contract))
    return artifacts | {MANIFEST: _canonical(_manifest(request))}


def _artifact(name: str, source: str, contract: dict[str, Any]) -> dict[str, Any]:
    created, deployed = contract["evm"]["bytecode"], contract["evm"]["deployedBytecode"]
    return {
        "abi": contract["abi"],
        "bytecode": f"0x{created['object']}",
        "contractName": name,
        "deployedBytecode": f"0x{deployed['object']}",
        "immutableReferences": _without_ast_ids(deployed.get("immutableReferences", {})),
        "linkReferences": created.get("linkReferences", {}),
        "sourceName": source,
        "storageLayout": _layout(contract.get("storageLayout") or {}),
    }


def _without_ast_ids(references: dict[str, Any]) -> list[list[dict[str, int]]]:
    """Where each immutable lies, in declaration order, without syntax tree numbers."""
    return [references[key] for key in sorted(references, key=int)]


def _layout(layout: dict[str, Any]) -> dict[str, Any]:
    """The storage layout without syntax tree numbers, which any edit elsewhere would shift."""
    text = _AST_ID.sub("", json.dumps(layout.get("types") or {}))
    types = json.loads(text, object_pairs_hook=_refuse_twice)
    return {
        "storage": [_slot(slot) for slot in layout.get("storage", [])],
        "types": {name: _members(entry) for name, entry in types.items()},
    }


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for key, value in pairs:
        if merged.setdefault(key, value) != value:
            raise CompilationRefused(f"two stored types are called {key}: rename one of them")
    return merged


def _members(entry: dict[str, Any]) -> dict[str, Any]:
    if "members" not in entry:
        return entry
    return entry | {"members": [_slot(member) for member in entry["members"]]}


def _slot(slot: dict[str, Any]) -> dict[str, Any]:
    kept = {key: slot[key] for key in ("label", "offset", "slot")}
    return kept | {"type": _AST_ID.sub("", slot["type"])}


def _manifest(request: dict[str, Any]) -> dict[str, Any]:
    sources = {
        name: _digest(entry["content"].encode()) for name, entry in request["sources"].items()
    }
    return {"compiler": COMPILER_VERSION, "settings": SETTINGS, "sourcesSha256": sources}


def _report_warnings(output: dict[str, Any]) -> None:
    for problem in output.get("errors", []):
        sys.stderr.write(problem["formattedMessage"] + "\n")


def _canonical(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as draft:
        draft.write(content)
    Path(draft.name).chmod(0o644)
    Path(draft.name).replace(path)


def _check(root: Path) -> int:
    found = differences(compile_contracts(root, cached=False), root / "artifacts")
    for line in found:
        sys.stderr.write(f"artifacts/{line}\n")
    if found:
        sys.stderr.write("Run `make artifacts` and commit what changes.\n")
    return 1 if found else 0


def main(arguments: list[str] | None = None) -> int:
    """Write the artifacts, or compare them; returns the exit status."""
    parser = argparse.ArgumentParser(description="Compile the contracts into contracts/artifacts.")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    parser.add_argument(
        "--root", type=Path, default=CONTRACTS, help="folder with src/ and artifacts/"
    )
    options = parser.parse_args(arguments)
    try:
        if options.check:
            return _check(options.root)
        write_artifacts(compile_contracts(options.root), options.root / "artifacts")
    except CompilationRefused as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    except solcx.exceptions.SolcError as problem:
        sys.stderr.write(f"{problem.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
