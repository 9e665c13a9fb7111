"""Writes the parts of README.md that follow from the code: `python -m tools.readme`. A test compares."""

from __future__ import annotations

import re
from pathlib import Path

from marketplace.stages import diagram
from ml.dp.accounting import odds, rho, zcdp_to_eps

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DELTA = 1e-6
COSTS = (1_000_000, 10_000_000, 30_000_000, 100_000_000, 300_000_000, 1_000_000_000)  # nano-rho
GAS = {
    "first grant": "grant_first",
    "first grant of a word (1 patient in 160)": "grant_first_in_word",
    "grant again, or a higher cap": "grant_cap_change",
    "revoke": "revoke",
    "withdraw to an address that holds the token": "withdraw_earnings_to_existing_address",
    "withdraw to a fresh address": "withdraw_earnings_to_fresh_address",
    "open": "open",
    "freeze, one shard": "freeze_1_shard",
    "seal, 655,360 patients": "seal_655360_patients",
    "seal, a patient": "seal_per_patient",
    "settle, 3 signatures, without payload": "settle_3_signatures_without_payload",
}
BLOCK = re.compile(r"(<!-- generated: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def render(text: str) -> str:
    """`text` with every generated part as the code has it now. Raises KeyError for an unknown part."""
    parts = {"odds": _odds(), "life of a request": _life(), "gas": _gas()}
    return BLOCK.sub(lambda found: f"{found[1]}{parts[found[2]]}\n{found[3]}", text)


def _life() -> str:
    return f"```mermaid\n{diagram()}\n```"


def _odds() -> str:
    rows = ["| spent (nano-rho) | epsilon at delta 1e-6 | right at most |", "|---|---|---|"]
    for cost in COSTS:
        epsilon = zcdp_to_eps(rho(cost), DELTA)
        rows.append(f"| {cost:,} | {epsilon:.2f} | {odds(epsilon):.2f} in 100 |")
    return "\n".join(rows)


def _gas() -> str:
    lines = (ROOT / "contracts" / "gas.snapshot").read_text().splitlines()
    measured = dict(line.split() for line in lines if line)
    rows = ["| act | gas |", "|---|---|"]
    for act, name in GAS.items():
        figure = measured[name]
        rows.append(f"| {act} | {figure if '.' in figure else f'{int(figure):,}'} |")
    return "\n".join(rows)


if __name__ == "__main__":
    README.write_text(render(README.read_text()))
