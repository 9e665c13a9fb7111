"""`generate-key`: the custodians' joint key for the homomorphic lane, made or re-shared by them, put on
chain.
"""

from __future__ import annotations

from pathlib import Path

import click

from marketplace.chain.adapter import Chain, Manifest
from marketplace.chain.joint_keys import newest_with_key
from marketplace.chain.sender import Sender
from marketplace.cli.admin import KEY, MANIFEST, NODE
from marketplace.cli.say import Whole, refusals_as_words, say
from marketplace.errors import BadParameter
from marketplace.keygen import generate, new_session, record
from marketplace.peers import Peer
from marketplace.wire import keyfiles
from marketplace.wire.http import to_hex


@click.command("generate-key")
@NODE
@MANIFEST
@KEY
@click.option(
    "--custodian",
    "custodians",
    multiple=True,
    required=True,
    help="Where a custodian of the current epoch answers; once each, in the order of their places.",
)
@click.option(
    "--from-epoch",
    "origin",
    type=Whole(1, 2**32 - 1),
    help="Hand the key of this epoch on, instead of making a new one: records stay usable.",
)
@click.option(
    "--leaving",
    multiple=True,
    help="With --from-epoch: where a custodian of that epoch answers, in the order of their places.",
)
@click.option(
    "--anew",
    is_flag=True,
    help="Make a new key although an earlier epoch has one: records sealed before count as null.",
)
@refusals_as_words
def generate_key(
    node: str,
    manifest: Path,
    key_file: Path,
    custodians: tuple[str, ...],
    origin: int | None,
    leaving: tuple[str, ...],
    anew: bool,
) -> None:
    """Have the current epoch's custodians generate their joint key, and record it (role ADMIN).

    Nobody ever holds the key: each custodian gets a share, and a quorum of them opens sums. Run it once an
    epoch, before records are sealed for the homomorphic lane.
    """
    chain, admin = Chain(node, Manifest.load(manifest)), keyfiles.read(key_file)
    holders = _peers(custodians)
    if bool(leaving) != (origin is not None):
        raise BadParameter(
            message="--from-epoch and --leaving belong together.",
            remedy="Give both to hand a key on, or neither to make a new one.",
            field="leaving",
        )
    epoch = int(chain.current_epoch())
    _require_meant(newest_with_key(chain, epoch), origin, anew)
    dealers = _peers(leaving) if leaving else holders
    session = new_session(chain, epoch, origin or 0)
    generated = generate(chain, admin, dealers, holders, session)
    record(Sender(chain, admin), generated, len(holders))
    say(
        {
            "epoch": generated.epoch,
            "joint_key": to_hex(generated.commitments[:33]),
            "holders": [place for place, _ in generated.signatures],
            "faults": [each.to_json() for each in generated.faults],
        }
    )


def _require_meant(before: int | None, origin: int | None, anew: bool) -> None:
    """A new key cannot be taken back: records sealed under the old one would count as null."""
    if before is not None and origin is None and not anew:
        raise BadParameter(
            message=f"Epoch {before} has a joint key already: records were sealed under it.",
            remedy=f"Hand it on (--from-epoch {before} --leaving ...), or say --anew to give them up.",
            field="from_epoch",
        )


def _peers(urls: tuple[str, ...]) -> list[Peer]:
    return [Peer(f"the custodian at {url}", url) for url in urls]
