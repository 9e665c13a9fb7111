"""What a chain says, as values: whoever wrote the bytes, they decode, or are refused as undecodable.

A contract keeps whatever bytes it was given as a `string`, and a wallet reverts with whatever it likes.
eth_abi's own codec raises UnicodeDecodeError on the one and OverflowError on the other, where everybody
who reads waits for `DecodingError`; so nothing that a chain said is decoded by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eth_abi.codec import ABIDecoder
from eth_abi.decoding import ContextFramesBytesIO, StringDecoder
from eth_abi.exceptions import DecodingError
from eth_abi.registry import ABIRegistry, BaseEquals, registry

READS: Final = 16
"""Times that the bytes at hand may be read over. Heads are read twice at each level of a struct; pointers
that all name one place would have it read once for each of them, into as much memory."""


class _Stream(ContextFramesBytesIO):
    """Reads no further than `READS` times what there is."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)  # type: ignore[no-untyped-call]
        self._left = READS * len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any stream. Raises `DecodingError`."""
        try:
            found = super().read(size)
        except OverflowError:
            raise DecodingError("a length beyond all memory") from None
        self._left -= len(found)
        if self._left < 0:
            raise DecodingError("the same bytes, over and over")
        return found


class _Decoder(ABIDecoder):
    stream_class = _Stream


def _tolerant() -> ABIRegistry:
    """eth_abi's types, of which `string` shows what is not UTF-8 as U+FFFD."""
    types: ABIRegistry = registry.copy()  # type: ignore[no-untyped-call]
    types.unregister_decoder("string")
    named = BaseEquals("string", with_sub=False)  # type: ignore[no-untyped-call]
    texts = StringDecoder(handle_string_errors="replace")  # type: ignore[no-untyped-call]
    types.register_decoder(named, texts, label="string")
    return types


_DECODER: Final = _Decoder(_tolerant())


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """The values of these ABI types. Raises `DecodingError`, and nothing else, whatever the bytes are."""
    return _DECODER.decode(types, data)
