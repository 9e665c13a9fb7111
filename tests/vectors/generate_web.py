"""Regenerates web.json, what the browser must agree with: python -m tests.vectors.generate_web

Each value is the servers' own answer, or that of a library that is not ours (eth_abi, eth_account). HPKE is
randomised inside PyCA, so envelopes come from the independent reading of RFC 9180 in `generate`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.vectors import web_chain, web_fhir, web_forms, web_receipt, web_sealing, web_signing

FILE = Path(__file__).parent / "web.json"
SCHEMA = "usufruct-vectors-web/1"


def vectors() -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "forms": web_forms.vectors(),
        "sealing": web_sealing.vectors(),
        "signing": web_signing.vectors(),
        "chain": web_chain.vectors(),
        "fhir": web_fhir.vectors(),
        "receipt": web_receipt.vectors(),
    }


def written(content: dict[str, Any]) -> str:
    """One case a line, so that a change shows."""
    lines = [f' "{name}": {_section(section)}' for name, section in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _section(section: Any) -> str:
    if not isinstance(section, dict):
        return json.dumps(section)
    lines = [f'  "{name}": {_cases(cases)}' for name, cases in section.items()]
    return "{\n" + ",\n".join(lines) + "\n }"


def _cases(cases: Any) -> str:
    if not isinstance(cases, list):
        return json.dumps(cases)
    return "[\n" + ",\n".join("   " + json.dumps(each) for each in cases) + "\n  ]"


if __name__ == "__main__":
    FILE.write_text(written(vectors()), encoding="utf-8")
