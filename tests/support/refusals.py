"""What is refused, by its code."""

from typing import Any

import pytest

from marketplace.errors import Refusal


def refused(code: str, act: Any, *arguments: Any, **named: Any) -> Refusal:
    """Asserts that this is refused by this code, and with a remedy; returns the refusal."""
    with pytest.raises(Refusal) as caught:
        act(*arguments, **named)
    assert caught.value.code == code, caught.value
    assert caught.value.remedy
    return caught.value
