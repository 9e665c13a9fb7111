"""Rules of the market's words."""

import pytest

from marketplace.errors import BadParameter
from marketplace.vocabulary import address

RIGHT = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"  # EIP-55's own example


@pytest.mark.parametrize("written", [RIGHT, RIGHT.lower(), "0x" + RIGHT[2:].upper()])
def test_an_address_in_one_case_or_with_its_checksum_is_read(written: str) -> None:
    assert address(written) == RIGHT


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("", "is empty"),
        ("abc", "is no address of this chain"),
        ("NL91ABNA0417164300", "is no address of this chain"),
        ("0x" + RIGHT[2:].swapcase(), "has a letter or a digit that is wrong"),
    ],
)
def test_a_refused_address_says_whether_it_is_none_or_one_mistyped(
    written: str, problem: str
) -> None:
    with pytest.raises(BadParameter, match=f"^--to {problem}"):
        address(written, "--to")


@pytest.mark.parametrize(
    "written",
    ["0x" + RIGHT[2:].swapcase(), RIGHT[:-3] + "aed", RIGHT[2:], RIGHT[:-1], "0X" + RIGHT[2:]],
)
def test_a_mistyped_address_is_refused_by_its_checksum(written: str) -> None:
    with pytest.raises(BadParameter) as refusal:
        address(written, "to")
    assert refusal.value.field == "to"
