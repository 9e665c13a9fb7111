"""Amounts of a market's token as people read them: one spelling wherever they are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from marketplace.vocabulary import unsigned

CENTS: Final = 2
"""Decimals that every amount shows; more only where they are not zero."""
DECIMALS_BITS: Final = 8  # as an ERC-20 tells them
EURO: Final = "EUR"
OWN: Final[Mapping[str, str]] = {"tEUR": EURO}
"""How the test euro is written: what it stands for. It is worth nothing, which the demo says."""
UNNAMED: Final = "tokens"
MOST_SYMBOL: Final = 11
_SYMBOL: Final = re.compile(rf"[A-Za-z][A-Za-z0-9.]{{0,{MOST_SYMBOL - 1}}}")
"""Short, plain letters, and no digit where the number ends: a symbol is whatever its token likes to say."""


def symbol(told: object) -> str:
    """What amounts are written with, of a token that calls itself `told`; `tokens` where that is unfit."""
    if isinstance(told, str) and _SYMBOL.fullmatch(told):
        return OWN.get(told, told)
    return UNNAMED


def in_units(units: int) -> str:
    """An amount of a token that nothing is known of."""
    return f"{units:,} token units"


@dataclass(frozen=True, slots=True)
class Token:
    """What an amount takes to be written. `symbol` is one that the function above let through."""

    decimals: int = 6
    symbol: str = EURO

    @classmethod
    def told(cls, document: Mapping[str, Any]) -> Token:
        """As a quote or a market states it (`token_decimals`, `token_symbol`). Raises BadParameter."""
        places = unsigned(document.get("token_decimals"), DECIMALS_BITS, "token_decimals")
        return cls(places, symbol(document.get("token_symbol")))

    def amount(self, units: str | int) -> str:
        """Token units, to the last one: `0.60 EUR`, `1,234.50 EUR`, `0.000001 EUR`."""
        whole, part = divmod(int(units), 10**self.decimals)
        shown = str(part).zfill(self.decimals) if self.decimals else ""
        return f"{whole:,}.{shown.rstrip('0').ljust(CENTS, '0')} {self.symbol}"
