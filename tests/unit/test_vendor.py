"""The browser's library files: copies of locked packages, and nothing else."""

import json
from pathlib import Path

import pytest

from tools import vendor


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, as `tools.vendor` writes it."""
    monkeypatch.setattr(vendor, "VENDOR", tmp_path / "vendor")
    vendor.write()
    return tmp_path / "vendor"


def test_every_committed_byte_is_what_the_packages_give() -> None:
    assert vendor.differences() == []


def test_a_changed_byte_a_missing_file_and_a_strange_one_are_told(copied: Path) -> None:
    first, second = sorted(copied.rglob("*.js"))[:2]
    first.write_bytes(first.read_bytes() + b"\n")
    second.unlink()
    (copied / "more.js").write_text("export {};")
    assert vendor.differences() == [
        f"{second.relative_to(copied).as_posix()} is missing",
        "more.js is not from a package",
        f"{first.relative_to(copied).as_posix()} differs from its package",
    ]


def test_the_manifest_names_package_version_licence_and_both_hashes_of_each_script() -> None:
    rows = json.loads(vendor.MANIFEST.read_text())["files"]
    there = {path.relative_to(vendor.VENDOR).as_posix() for path in vendor.VENDOR.rglob("*.js")}
    assert {row["path"] for row in rows} == there
    for row in rows:
        data = (vendor.VENDOR / row["path"]).read_bytes()
        assert row["sha384"] == vendor.sha384(data)
        assert row["licence"] == "MIT"
        imports_by_name = b"'@noble" in vendor.Source(
            row["package"], row["path"].split("/", 1)[1]
        ).upstream.read_bytes().replace(b'"@noble', b"'@noble")
        assert imports_by_name or row["sha384"] == row["upstream_sha384"]


def test_no_copy_imports_by_a_package_s_name() -> None:
    for path in vendor.VENDOR.rglob("*.js"):
        for found in vendor._IMPORT.finditer(vendor._code(path.read_text())):
            assert found["name"].startswith("."), (path, found["name"])
            assert (path.parent / found["name"]).is_file(), (path, found["name"])


def test_an_import_of_a_package_that_is_not_shipped_is_refused() -> None:
    with pytest.raises(vendor.Unfit, match="left-pad"):
        list(vendor.imports(vendor.Source("@noble/hashes", "sha3.js"), "import x from 'left-pad';"))


def test_every_script_that_a_page_may_load_is_in_the_manifest_for_auditors() -> None:
    listed = dict(vendor.scripts())
    assert set(listed) == {
        path.relative_to(vendor.STATIC).as_posix() for path in vendor.STATIC.rglob("*.js")
    }
    assert all(digest.startswith("sha384-") for digest in listed.values())
