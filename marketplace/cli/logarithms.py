"""The table that opens the sums of wide answers quickly."""

from __future__ import annotations

import click

from marketplace.cli.progress import bar
from marketplace.cli.say import Whole, refusals_as_words, say, tell
from marketplace.client.logarithms import LEAST_BITS, MOST_BITS, Logarithms


@click.command()
@click.option(
    "--bits",
    default=MOST_BITS,
    show_default=True,
    type=Whole(LEAST_BITS, MOST_BITS),
    help="The table has 2^bits points of 8 bytes.",
)
@refusals_as_words
def logarithms(bits: int) -> None:
    """Build the table that answers of the homomorphic lane are opened with, ahead of any, and keep it.

    Without it, opening an answer builds a table that suits that answer. The largest takes minutes and half a
    gigabyte, once; answers with many wide sums are then opened within seconds. Nothing in it is of any
    answer. Interrupted, it leaves nothing behind.
    """
    tables = Logarithms(told=tell)
    with bar("points", 1 << bits) as advance:
        built = tables.prepare(bits, advance)
    say({"bits": bits, "built": built, "folder": str(tables.folder)})
