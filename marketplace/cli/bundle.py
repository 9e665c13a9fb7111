"""`usufruct bundle`: what a receipt of the homomorphic lane is verified with, for its researcher."""

from __future__ import annotations

from pathlib import Path

import click

from marketplace.cli.researcher import KEY, MANIFEST, NODE, REQUEST, URL, pinned
from marketplace.cli.say import FILE, refusals_as_words, say
from marketplace.client import Marketplace
from marketplace.errors import Refusal
from marketplace.wire import hpke, keyfiles
from marketplace.wire.http import to_hex


@click.command()
@URL
@NODE
@MANIFEST
@KEY
@REQUEST
@click.option("--out", required=True, type=FILE, help="The file to write.")
@click.option(
    "--proofs",
    is_flag=True,
    help="Records whole, with the proofs that they are within their bounds.",
)
@refusals_as_words
def bundle(
    url: str,
    node: str,
    manifest: Path | None,
    key_file: Path,
    opened: bytes,
    out: Path,
    proofs: bool,
) -> None:
    """Fetch what your request's receipt is verified with (homomorphic lane), for `verify-receipt --bundle`.

    Fetch it once the request is settled: records that are erased later cannot be shown any more.
    """
    if out.exists():
        raise Refusal(
            code="file_exists",
            message=f"{out} exists already.",
            remedy="Name another file with --out.",
            field="out",
        )
    ask = Marketplace(url, node, pinned(manifest)).researcher(
        keyfiles.read(key_file), hpke.generate()
    )
    part = out.with_name(out.name + ".part")
    try:
        with part.open("wb") as file:
            size = ask.bundle(to_hex(opened), file, proofs=proofs)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    say({"bundle": str(out), "bytes": size})
