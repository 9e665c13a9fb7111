"""Writes the parts of README.md that follow from the code: `python -m tools.readme`. A test compares."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marketplace.analyses import ReleaseKind
from marketplace.config import OperatorConfig
from marketplace.custodian.config import CustodianConfig
from marketplace.gate.config import GateConfig
from marketplace.stages import diagram
from marketplace.wire.data_use import FIRST_USE, KINDS, USES
from marketplace.wire.settings import ServerSettings
from marketplace.words import epsilon_of, right_at_most

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
COSTS = (1_000_000, 10_000_000, 30_000_000, 100_000_000, 300_000_000, 1_000_000_000)  # nano-rho
GAS = {
    "first grant": "grant_first",
    "first grant of a word (1 patient in 160)": "grant_first_in_word",
    "first grant of a shard (1 patient in 655,360)": "grant_first_in_shard",
    "grant again, or a higher cap": "grant_cap_change",
    "grant in another class than before": "grant_other_class",
    "revoke": "revoke",
    "withdraw to an address that holds the token": "withdraw_earnings_to_existing_address",
    "withdraw to a fresh address": "withdraw_earnings_to_fresh_address",
    "open": "open",
    "freeze, one shard": "freeze_1_shard",
    "seal, 655,360 patients": "seal_655360_patients",
    "seal, a patient": "seal_per_patient",
    "settle, 3 signatures, without payload": "settle_3_signatures_without_payload",
    "homomorphic lane: commit to noise, 3 custodians": "commit_noise_3",
    "homomorphic lane: fix the noise, 3 signatures": "fix_noise_3_signatures",
    "homomorphic lane: settle, 3 signatures, without payload": (
        "settle_on_ciphertext_3_signatures_without_payload"
    ),
}
BLOCK = re.compile(r"( *)(<!-- generated: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
DATA_USE = ROOT / "contracts" / "src" / "DataUse.sol"
CONSTANT = re.compile(
    r"((?: +/// [^\n]*\n)+) +uint(8|32) internal constant (\w+) = (?:1 << )?(\d+);"
)
"""Comment, width, name and number (a permission) or bit (a modifier) of one of `DataUse`'s constants."""
SERVERS: Mapping[str, type[ServerSettings]] = {
    "operator": OperatorConfig,
    "custodian": CustodianConfig,
    "gate": GateConfig,
}
RELEASES = {
    ReleaseKind.NUMBER: "results that are numbers",
    ReleaseKind.TABLE: "results that are tables",
    ReleaseKind.PERSONAL_SCORE: "personal scores, each for its patient alone",
}


def render(text: str) -> str:
    """`text` with every generated part as the code has it now. Raises KeyError for an unknown part."""
    parts = {
        "odds": _odds(),
        "life of a request": _life(),
        "gas": _gas(),
        "masks": _masks(),
        "settings": _settings(),
    }

    def written(found: re.Match[str]) -> str:
        lines = "\n".join(found[1] + line for line in parts[found[3]].splitlines())
        return f"{found[1]}{found[2]}{lines}\n{found[1]}{found[4]}"

    return BLOCK.sub(written, text)


def _masks() -> str:
    """The numbers of permissions and organisations, and the bits of everything that is a mask."""
    consents = DATA_USE.read_text().partition("// ---- Uses")[0]
    rows = ["| field | number | means |", "|---|---|---|"]
    for comment, width, _, number in CONSTANT.findall(consents):
        means = " ".join(line.strip(" /") for line in comment.splitlines())
        if means.startswith("DUO:"):
            value = int(number) if width == "8" else 1 << int(number)
            rows.append(f"| {_field(width, means)} | {value} | {means.rstrip('.')} |")
    for code, means in USES.items():
        rows.append(
            f"| `uses`, `researchTypes` | {1 << (code - FIRST_USE)} | DUO:{code:07} {means} |"
        )
    rows += [f"| `releaseKinds` | {1 << kind} | {means} |" for kind, means in RELEASES.items()]
    rows += [
        f"| `kind`, one of | {kind} | the researcher's is {means} |"
        for kind, means in KINDS.items()
    ]
    return "\n".join(rows)


def _field(width: str, means: str) -> str:
    if width == "8":
        return "`permission`, one of"
    return "`modifiers`, `duties`" if " duty " in means else "`modifiers`"


def _settings() -> str:
    """Every key of the three configurations: whose it is, what holds unless it is given, what it means."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for server, model in SERVERS.items():
        for name, setting in model.model_fields.items():
            if setting.description is None:
                raise KeyError(f"{server}.{name} has no description")
            unless = "(needed)" if setting.is_required() else _default(setting.default)
            found.setdefault((name, unless, setting.description), []).append(server)
    lines = ["| setting | of | unless given | means |", "|---|---|---|---|"]
    for (name, unless, means), whose in sorted(found.items()):
        lines.append(f"| `{name}` | {', '.join(whose)} | {unless} | {means} |")
    return "\n".join(lines)


def _default(value: Any) -> str:
    if value is None or isinstance(value, tuple):
        return ""
    return f"`{json.dumps(value)}`"


def _life() -> str:
    return f"```mermaid\n{diagram()}\n```"


def _odds() -> str:
    rows = ["| spent (nano-rho) | epsilon at delta 1e-6 | right at most |", "|---|---|---|"]
    for cost in COSTS:
        epsilon, _ = epsilon_of(cost)
        rows.append(f"| {cost:,} | {epsilon:.2f} | {right_at_most(cost)} in 100 |")
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
