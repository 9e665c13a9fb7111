"""Gas of every act against the committed snapshot and the ceilings.

    python -m tests.contracts.gas            measure and write contracts/gas.snapshot
    python -m tests.contracts.gas --check    measure and compare; exit 1 on any difference

Both fail when a ceiling is passed, or when what no cohort's size may change grows with it: figures may
fall, and a snapshot must then be written anew.
"""

import argparse
import sys
from pathlib import Path

from tests.contracts.gas_scenarios import Figures, measure

SNAPSHOT = Path(__file__).resolve().parents[2] / "contracts" / "gas.snapshot"
# A new balance slot in the token, against one that is already in use (EIP-2929, EIP-3529): no design of
# ours can avoid it, so a withdrawal to an address that never held the token may cost so much more.
NEW_TOKEN_BALANCE = 17_100
# What the design promises. `seal_per_patient` lets a shard of 655,360 be sealed in one transaction.
CEILINGS: Figures = {
    "grant_first": 120_000,
    # One patient in 160 opens a word: a slot more than a first grant (EIP-2200), for all who follow.
    "grant_first_in_word": 125_000,
    # One in 655,360 opens a shard: three slots more, which are its word, its meters and the class's count.
    "grant_first_in_shard": 165_000,
    # Leaves one class and takes a seat in another: a first grant, and beside it the old word is written, and
    # the old place is entered in the list of those that are free.
    "grant_other_class": 130_000,
    "grant_again_after_revoke": 70_000,
    "grant_cap_change": 70_000,
    "grant_cap_change_with_first_earnings": 70_000,
    "grant_signed_above_direct": 30_000,
    "revoke": 60_000,
    "revoke_with_first_earnings": 60_000,
    # What a freeze costs before its first shard: terms in calldata, credential, DUO match, bond.
    "freeze_1_shard": 300_000,
    "freeze_4_shards_per_shard": 150_000,
    "freeze_each_further_shard": 150_000,
    "seal_per_patient": 17.5,
    "settle_3_signatures_without_payload": 200_000,
    # Without a gate's key: instead the noise is read from its registry.
    "settle_on_ciphertext_3_signatures_without_payload": 200_000,
    "withdraw_earnings_to_existing_address": 70_000,
    "withdraw_earnings_to_fresh_address": 70_000 + NEW_TOKEN_BALANCE,
    "withdraw_earnings_after_revoke_to_fresh_address": 70_000 + NEW_TOKEN_BALANCE,
}


# What must cost the same whatever the size of the cohort: its figure in a shard of four patients, and in
# one of 655,360.
SAME_IN_A_FULL_SHARD = {
    "freeze_1_shard": "freeze_1_full_shard",
    "settle_3_signatures_without_payload": "settle_full_shard_3_signatures_without_payload",
    "withdraw_earnings_to_existing_address": "withdraw_earnings_full_shard_to_existing_address",
    "revoke_with_first_earnings": "revoke_full_shard_with_first_earnings",
}
# Larger numbers have a few more bytes that are not zero, 12 gas each (EIP-2028). A word looked at would be
# 2,100 gas more (EIP-2929), and there are 4,096 of them.
SIZE_SLACK = 100


def render(figures: Figures) -> str:
    """The snapshot's text: a line `name gas` for each figure, sorted by name."""
    return "".join(f"{name} {gas}\n" for name, gas in sorted(figures.items()))


def parse(text: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in text.splitlines())


def over_ceiling(figures: Figures) -> list[str]:
    """A line for each figure above its ceiling; a ceiling without a figure is one, too."""
    return [
        f"{name}: {figures.get(name, 'not measured')}, ceiling {ceiling}"
        for name, ceiling in CEILINGS.items()
        if name not in figures or figures[name] > ceiling
    ]


def grows_with_the_cohort(figures: Figures) -> list[str]:
    """A line for each figure that differs between a small cohort and a full shard, or is missing."""
    return [
        f"{small}: {figures.get(small, 'not measured')}, in a full shard "
        f"{figures.get(full, 'not measured')}, may differ by {SIZE_SLACK}"
        for small, full in SAME_IN_A_FULL_SHARD.items()
        if not {small, full} <= figures.keys() or abs(figures[small] - figures[full]) > SIZE_SLACK
    ]


def differences(old: str, new: str) -> list[str]:
    """A line for each figure that changed, came or went."""
    before, after = parse(old), parse(new)
    return [
        f"{name}: {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure, then write or compare; returns the exit status."""
    parser = argparse.ArgumentParser(description="Measure gas on anvil.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    choice.add_argument("--write", action="store_true", help="write the snapshot (the default)")
    options = parser.parse_args(arguments)
    figures = measure()
    text = render(figures)
    if not options.check:
        SNAPSHOT.write_text(text)
        print(text, end="")
    problems = over_ceiling(figures) + grows_with_the_cohort(figures)
    if options.check:
        problems += differences(SNAPSHOT.read_text() if SNAPSHOT.exists() else "", text)
    for line in problems:
        sys.stderr.write(f"gas: {line}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
