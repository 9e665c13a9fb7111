"""Rules of the key that sums are opened with: one for each delivery key, and nothing of it in sight."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.vocabulary import Lane
from marketplace.wire import hpke
from marketplace.wire.tally_delivery import TallyKey, delivery_key
from marketplace.wire.tallying import recipient
from ml.homomorphic.curve import ORDER, times_base
from tests.vectors import generate_tally_delivery

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "tally_delivery.json").read_text())
deliveries = st.binary(min_size=32, max_size=32)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def test_the_vectors_are_those_that_their_generator_makes() -> None:
    assert generate_tally_delivery.vectors() == VECTORS


@pytest.mark.parametrize("given_", VECTORS["keys"]["derived"])
def test_a_delivery_key_leads_to_the_published_key(given_: dict[str, Any]) -> None:
    made = TallyKey.of(hpke.SecretKey(unhex(given_["delivery"])))
    assert made == TallyKey(int(given_["secret"], 16), unhex(given_["public"]))


@given(deliveries)
def test_the_key_opens_what_is_encrypted_to_its_request(raw: bytes) -> None:
    made = TallyKey.of(hpke.SecretKey(raw))
    assert 0 < made.secret < ORDER
    assert times_base(made.secret) == recipient(made.public)


@given(deliveries)
def test_it_does_not_print_and_is_not_the_other_lanes(raw: bytes) -> None:
    secret = hpke.SecretKey(raw)
    made = TallyKey.of(secret)
    assert str(made.secret) not in repr(made)
    assert delivery_key(secret, Lane.HOMOMORPHIC) == made.public
    assert delivery_key(secret, Lane.VAULT) == secret.public
    assert made.secret.to_bytes(32, "big") != raw
