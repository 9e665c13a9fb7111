"""Reading JSON-RPC parameters: hex in, domain values out, ``InvalidParams`` for anything else."""

from __future__ import annotations

import re
from typing import Any

from eth_typing import Address, Hash32

from marketplace.chain.node.errors import InvalidParams
from marketplace.chain.node.execution import Call

ZERO_ADDRESS = Address(bytes(20))
HIGHEST_QUANTITY = 2**256 - 1
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


def positional(params: object, least: int, most: int) -> list[Any]:
    """``params`` as a list of ``most`` values, the optional ones None when absent."""
    if not isinstance(params, list) or not least <= len(params) <= most:
        wanted = str(most) if least == most else f"{least} to {most}"
        raise InvalidParams(f"params must be an array of {wanted} values")
    return params + [None] * (most - len(params))


def quantity(value: object, name: str) -> int:
    """An unsigned integer in hex. Decimal integers are taken too: test clients send them."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= HIGHEST_QUANTITY:
        return value
    if isinstance(value, str) and _QUANTITY.fullmatch(value):
        return int(value, 16)
    raise InvalidParams(f"{name} must be a quantity in hex, such as 0x1f")


def data(value: object, name: str, length: int | None = None) -> bytes:
    """Bytes in hex, exactly ``length`` of them when given."""
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise InvalidParams(f"{name} must be bytes in hex, with 0x and an even number of digits")
    decoded = bytes.fromhex(value[2:])
    if length is not None and len(decoded) != length:
        raise InvalidParams(f"{name} must be {length} bytes, got {len(decoded)}")
    return decoded


def address(value: object, name: str = "address") -> Address:
    """A 20-byte address, with or without checksum capitals."""
    return Address(data(value, name, 20))


def digest(value: object, name: str = "hash") -> Hash32:
    """A 32-byte hash."""
    return Hash32(data(value, name, 32))


def slot(value: object) -> int:
    """A storage slot, as a quantity or as 32 bytes."""
    return quantity(value, "storage slot")


def flag(value: object, name: str) -> bool:
    """A boolean; absent means false."""
    if value is None or isinstance(value, bool):
        return bool(value)
    raise InvalidParams(f"{name} must be true or false")


def call_request(value: object) -> Call:
    """The transaction object of ``eth_call`` and ``eth_estimateGas``. Fees are not looked at."""
    fields = _object(value, "transaction")
    given, legacy = fields.get("input"), fields.get("data")
    if given is not None and legacy is not None and given != legacy:
        raise InvalidParams('transaction: "data" and "input" differ; give one of them')
    calldata = given if given is not None else legacy
    return Call(
        sender=_optional(address, fields, "from") or ZERO_ADDRESS,
        to=_optional(address, fields, "to") or b"",
        data=b"" if calldata is None else data(calldata, "input"),
        value=_optional(quantity, fields, "value") or 0,
        gas=_optional(quantity, fields, "gas"),
    )


def log_addresses(value: object) -> tuple[bytes, ...]:
    """``address`` of a log filter: one, several, or none for any."""
    if value is None:
        return ()
    return tuple(address(item) for item in (value if isinstance(value, list) else [value]))


def log_topics(value: object) -> tuple[tuple[bytes, ...], ...]:
    """``topics`` of a log filter: per place one, alternatives, or null for any."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > 4:
        raise InvalidParams("topics must be an array of at most 4 places")
    return tuple(_alternatives(place) for place in value)


def log_filter(value: object) -> dict[str, Any]:
    """The filter object of ``eth_getLogs``."""
    fields = _object(value, "filter")
    unknown = set(fields) - {"fromBlock", "toBlock", "blockHash", "address", "topics"}
    if unknown:  # ignoring a misspelt field would answer another question than the one asked
        raise InvalidParams(f"filter has no field {', '.join(sorted(map(str, unknown)))}")
    if fields.get("blockHash") is not None and {"fromBlock", "toBlock"} & set(fields):
        raise InvalidParams("filter: give either blockHash or fromBlock and toBlock (EIP-234)")
    return fields


def percentiles(value: object) -> list[float]:
    """Reward percentiles of ``eth_feeHistory``: rising numbers from 0 to 100."""
    asked = [] if value is None else value
    if not isinstance(asked, list) or not all(_is_percentile(item) for item in asked):
        raise InvalidParams("reward percentiles must be an array of numbers from 0 to 100")
    if asked != sorted(asked):
        raise InvalidParams("reward percentiles must rise")
    return asked


def _is_percentile(item: object) -> bool:
    return isinstance(item, int | float) and not isinstance(item, bool) and 0 <= item <= 100


def _alternatives(place: object) -> tuple[bytes, ...]:
    if place is None:
        return ()
    wanted = place if isinstance(place, list) else [place]
    return tuple(digest(item, "topic") for item in wanted if item is not None)


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidParams(f"{name} must be an object")
    return value


def _optional(read: Any, fields: dict[str, Any], name: str) -> Any:
    value = fields.get(name)
    return None if value is None else read(value, name)
