"""The words of the market as types, so that two ids can never be crossed.

Addresses are EIP-55 checksummed text; 32-byte ids are bytes. Both are made by the functions below,
which refuse anything else, so a value of these types needs no second check.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NewType

from eth_utils.address import is_address, is_checksum_address, to_checksum_address

from marketplace.errors import BadParameter

Address = NewType("Address", str)
PatientAddress = NewType("PatientAddress", Address)
DatasetId = NewType("DatasetId", bytes)
RequestId = NewType("RequestId", bytes)
CohortRoot = NewType("CohortRoot", bytes)
Commitment = NewType("Commitment", bytes)
DictionaryHash = NewType("DictionaryHash", bytes)
Epoch = NewType("Epoch", int)
CustodianIndex = NewType("CustodianIndex", int)


class Lane(IntEnum):
    """How a record is stored; a number on the wire for ever."""

    VAULT = 1
    HOMOMORPHIC = 2


def address(value: str, field: str = "address") -> Address:
    """`value` as a checksummed address. Raises BadParameter for anything else."""
    if value == "":
        raise BadParameter(
            message=f"{field} is empty.", remedy="Copy the address into it.", field=field
        )
    if not isinstance(value, str) or not value.startswith("0x") or not is_address(value):
        raise BadParameter(
            message=f"{field} is no address of this chain.",
            remedy="It begins with 0x and has 40 more letters and digits; copy it whole.",
            field=field,
        )
    if not _is_typed_right(value):
        raise BadParameter(
            message=f"{field} has a letter or a digit that is wrong.",
            remedy="Copy it whole, with its capitals as they are.",
            field=field,
        )
    return Address(to_checksum_address(value))


def patient_address(value: str, field: str = "patient") -> PatientAddress:
    """The pseudonymous address of a patient. Raises BadParameter."""
    return PatientAddress(address(value, field))


def bytes32(value: bytes | str, field: str) -> bytes:
    """32 bytes, from bytes or 0x hexadecimal text. Raises BadParameter for anything else."""
    raw = _from_hex(value, field) if isinstance(value, str) else value
    if not isinstance(raw, bytes) or len(raw) != 32:
        raise BadParameter(
            message=f"{field} is not 32 bytes.",
            remedy="Give exactly 32 bytes, or 0x and 64 hexadecimal digits.",
            field=field,
        )
    return raw


def unsigned(value: object, bits: int, field: str) -> int:
    """`value` as an unsigned integer of `bits` bits. Raises BadParameter."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << bits:
        raise BadParameter(
            message=f"{field} is not a whole number below 2^{bits}.",
            remedy=f"Give {field} as an integer from 0 to 2^{bits} - 1.",
            field=field,
        )
    return value


def _is_typed_right(value: str) -> bool:
    """EIP-55: an address in mixed case carries a checksum, so that a typo is seen before money follows it."""
    digits = value[2:]
    one_case = digits in (digits.lower(), digits.upper())
    return one_case or is_checksum_address(value)


def _from_hex(value: str, field: str) -> bytes:
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        raise BadParameter(
            message=f"{field} is not hexadecimal.",
            remedy="Give 0x and pairs of hexadecimal digits.",
            field=field,
        ) from None
