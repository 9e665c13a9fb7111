"""Rules of drafts for both lanes: as large as a record may be, and kept only if custodians will take them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from marketplace.drafts.checks import LARGEST_DRAFT
from marketplace.errors import Refusal
from marketplace.sealing.columns import require_same_row
from marketplace.sealing.row import to_row
from marketplace.wire.canonical import canonical
from marketplace.wire.opening import OpeningContext, code_hash, open_opening
from marketplace.wire.record import SealedRecord, dump, load
from tests.support.api_world import ApiWorld, api_world
from tests.support.joining_world import VARIABLES, make_joint_key, publish, widest
from tests.support.left_drafts import Browser, Clinic, Left

VALUES = {f"v{i}": Decimal(i) for i in range(VARIABLES)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("tallied drafts")) as made:
        publish(made.custody, widest())
        make_joint_key(made)
        made.operator.dictionaries.keep(made.custody.dictionary.to_bytes())
        yield made


@pytest.fixture(scope="module")
def clinic(world: ApiWorld) -> Clinic:
    made = Clinic(world.custody, world.operator.drafts, world.custody.issuer)
    made.opens_desk()
    return made


def sealed(world: ApiWorld, clinic: Clinic, **changes: Any) -> tuple[Browser, Left]:
    who, (code,) = Browser(world.custody), clinic.invites()
    return who, who.seals(VALUES, code, clinic.desk_key, **changes)


def leave(world: ApiWorld, who: Browser, left: Left, document: Any = None) -> Any:
    whose = (world.custody.dataset, who.account.address)
    given = left.document if document is None else document
    return world.operator.drafts.leave(*whose, code_hash(left.code), given, left.opening)


def refusal_of(use: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as refused:
        use()
    return refused.value


def test_a_record_of_64_variables_for_both_lanes_is_left_attested_and_stored(
    world: ApiWorld, clinic: Clinic
) -> None:
    who, left = sealed(world, clinic)
    assert len(canonical(left.document)) > 48 * 1024
    assert leave(world, who, left).state == "waiting"
    drafts, dataset, issuer = world.operator.drafts, world.custody.dataset, clinic.issuer.address
    shown = drafts.opened(dataset, issuer, left.record.commitment)
    assert load(canonical(dict(shown.record))) == left.record
    document, signature = clinic.attestation(left.record, "P-1")
    after = drafts.attest(dataset, issuer, left.record.commitment, document, signature)
    assert (after.state, after.reason) == ("stored", None)
    for custodian in world.custodians:
        key = left.record.tally.public_key if left.record.tally else b""
        assert custodian.tallies.missing([left.record.commitment], key) == []


def bent(left: Left, **changes: bytes) -> SealedRecord:
    """With another tally, under the commitment that then is its own."""
    assert left.record.tally is not None
    return replace(left.record, tally=replace(left.record.tally, **changes))


def test_a_tally_that_no_custodian_would_take_is_refused_before_a_clinic_sees_it(
    world: ApiWorld, clinic: Clinic
) -> None:
    who, left = sealed(world, clinic)
    _, other = sealed(world, clinic)
    tally, theirs = left.record.tally, other.record.tally
    assert tally is not None
    assert theirs is not None
    flipped = bytes([tally.proof[-1] ^ 1])
    cases = {
        "proof": bent(left, proof=tally.proof[:-1] + flipped),
        "proof ": bent(left, proof=tally.proof + bytes(32)),
        "proof  ": bent(left, columns=theirs.columns, proof=theirs.proof),
        "columns": bent(left, columns=tally.columns[66:]),
        "public_key": bent(left, public_key=left.record.key_commitments[0]),
    }
    before = world.operator.database.number_of_drafts()
    for name, record in cases.items():
        refused = refusal_of(lambda: leave(world, who, left, json.loads(dump(record))))  # noqa: B023
        assert (refused.code, refused.field) == (
            "record_unreadable",
            f"record.tally.{name.strip()}",
        )
    assert world.operator.database.number_of_drafts() == before


def test_only_a_tally_makes_a_draft_larger(world: ApiWorld, clinic: Clinic) -> None:
    who, left = sealed(world, clinic)
    document = left.document
    document["box"] = "A" * (4 * (LARGEST_DRAFT // 4))
    refused = refusal_of(lambda: leave(world, who, left, document))
    assert refused.message.endswith(f"the limit is {LARGEST_DRAFT}.")


# --- what an issuer can see


def test_the_secret_of_the_box_shows_whether_the_columns_are_those_of_its_row(
    world: ApiWorld, clinic: Clinic
) -> None:
    read = world.custody.dictionary
    row = to_row(read, VALUES)
    for encrypted, is_same in ((None, True), ({**VALUES, "v7": Decimal(8)}, False)):
        _, left = sealed(world, clinic, encrypted=encrypted)
        desk = clinic.root.desk_key(clinic.place)
        secret = open_opening(left.opening, desk, OpeningContext.of(left.record)).secret
        if is_same:
            require_same_row(left.record, secret, read, row)
            assert (
                refusal_of(
                    lambda: require_same_row(left.record, secret + 1, read, row)  # noqa: B023
                ).code
                == "other_columns"
            )
        else:
            refused = refusal_of(lambda: require_same_row(left.record, secret, read, row))  # noqa: B023
            assert (refused.code, refused.field) == ("other_columns", "record.tally")
    require_same_row(replace(left.record, tally=None), secret, read, row)
