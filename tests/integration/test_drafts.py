"""From a patient's browser to an attested record, over a real chain and real custodians."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from marketplace.drafts import DraftState, Progress, onward
from marketplace.drafts import service as drafts_service
from marketplace.drafts.desks import MOST_INVITATIONS
from marketplace.errors import EnvelopeUnreadable, RecordUnreadable, Refusal
from marketplace.peers import Peer
from marketplace.sealing.opened import open_draft, open_own
from marketplace.wire import feldman, hpke, record
from marketplace.wire.http import to_hex
from marketplace.wire.opening import Opening, OpeningContext, code_hash, new_code, seal_opening
from tests.support.api_world import ApiWorld, api_world
from tests.support.chain_world import account
from tests.support.custody_world import PLACES, QUORUM
from tests.support.daily import daily, daily_rows
from tests.support.left_drafts import DAY, Browser, Clinic, Left
from web.rules import DRAFT

VALUES = {"systolic": Decimal(131), "smoker": "yes"}
ROW = (131, 1)
TABLES = ("drafts", "draft_log", "invitations", "issuer_desks", "confirmations", "records")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("drafts")) as made:
        yield made


@pytest.fixture(scope="module")
def clinic(world: ApiWorld) -> Clinic:
    made = Clinic(world.custody, world.operator.drafts, world.custody.issuer)
    made.opens_desk()
    return made


def browser(world: ApiWorld) -> Browser:
    return Browser(world.custody)


def leave(world: ApiWorld, who: Browser, left: Left, **changes: Any) -> Progress:
    given = {
        "dataset": world.custody.dataset,
        "patient": who.account.address,
        "code": code_hash(left.code),
        "document": left.document,
        "opening": left.opening,
        **changes,
    }
    return world.operator.drafts.leave(**given)


def attest(world: ApiWorld, clinic: Clinic, left: Left, number: str, **changes: Any) -> Progress:
    document, signature = clinic.attestation(left.record, number, **changes)
    return world.operator.drafts.attest(
        world.custody.dataset, clinic.issuer.address, left.record.commitment, document, signature
    )


def opened(world: ApiWorld, clinic: Clinic, left: Left) -> Any:
    return world.operator.drafts.opened(
        world.custody.dataset, clinic.issuer.address, left.record.commitment
    )


def left_by(world: ApiWorld, clinic: Clinic, who: Browser, **changes: Any) -> Left:
    """Sealed, and left under a fresh code."""
    (code,) = clinic.invites()
    left = who.seals(VALUES, code, clinic.desk_key, **changes)
    leave(world, who, left)
    return left


def refusal_of(use: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as refused:
        use()
    return refused.value


def rows(world: ApiWorld) -> dict[str, Any]:
    with world.operator.database.engine.connect() as connection:
        return {
            table: connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            for table in TABLES
        }


def steps(world: ApiWorld, left: Left) -> list[str]:
    return [
        each.after for each in world.operator.database.draft_history(to_hex(left.record.commitment))
    ]


# --- the whole way


def test_a_record_goes_from_a_browser_through_the_clinic_to_the_custodians(
    world: ApiWorld, clinic: Clinic
) -> None:
    who = browser(world)
    left = left_by(world, clinic, who)
    (listed,) = (
        each
        for each in world.operator.drafts.waiting(world.custody.dataset, clinic.issuer.address)
        if each.commitment == left.record.commitment
    )
    assert (listed.state, listed.code, listed.patient) == (
        DraftState.WAITING,
        code_hash(left.code),
        who.account.address,
    )
    shown = opened(world, clinic, left)
    sealed = record.load(json.dumps(dict(shown.record)).encode())
    desk = clinic.root.desk_key(clinic.place)
    found = open_draft(sealed, shown.opening, desk, world.custody.dictionary, clinic.place)
    assert (found.code, found.row) == (left.code, ROW)

    after = attest(world, clinic, left, "P-1")
    assert (after.state, after.reason, after.quorum, after.seats) == (
        "stored",
        None,
        QUORUM,
        PLACES,
    )
    assert after.places == tuple(range(PLACES))
    on_chain = world.operator.chain.record_of(world.custody.dataset, who.account.address)
    assert on_chain.commitment == left.record.commitment
    assert on_chain.person == clinic.root.person(clinic.place, "p-1")
    assert world.operator.database.draft(to_hex(left.record.commitment)) is None
    assert steps(world, left) == ["waiting", "opened", "attested", "stored"]
    told = world.operator.drafts.progress(world.custody.dataset, who.account.address)
    assert told == after
    kept = world.operator.intake.records.get(left.record.commitment)
    assert kept is not None
    assert open_own(replace(left.record, box=kept), who.root, world.custody.dictionary) == ROW


def test_the_next_version_of_a_record_goes_the_same_way(world: ApiWorld, clinic: Clinic) -> None:
    who = browser(world)
    first = left_by(world, clinic, who)
    opened(world, clinic, first)
    attest(world, clinic, first, "P-2")
    assert refusal_of(lambda: leave(world, who, first)).code == "wrong_record_version"
    (code,) = clinic.invites()
    again = who.seals(VALUES, code, clinic.desk_key, version=1)
    assert refusal_of(lambda: leave(world, who, again)).field == "record.record_version"
    second = who.seals({"systolic": Decimal(120), "smoker": "no"}, code, clinic.desk_key, version=2)
    leave(world, who, second)
    opened(world, clinic, second)
    assert attest(world, clinic, second, "P-2").state is DraftState.STORED


# --- a malicious patient


def test_without_a_code_nothing_is_kept_and_no_node_is_asked(
    world: ApiWorld, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = browser(world)
    left = who.seals(VALUES, new_code(), clinic.desk_key)
    before = rows(world)

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the chain was asked for a stranger")

    monkeypatch.setattr(type(world.operator.chain), "call", asked)
    for document in (left.document, {"box": "A" * 1_000_000}, None):
        refused = refusal_of(lambda document=document: leave(world, who, left, document=document))
        assert (refused.code, refused.field) == ("code_unusable", "code")
    assert rows(world) == before


def test_a_code_of_another_dataset_lets_nothing_in(world: ApiWorld, clinic: Clinic) -> None:
    who, (code,) = browser(world), clinic.invites()
    left, before = who.seals(VALUES, code, clinic.desk_key), rows(world)
    assert refusal_of(lambda: leave(world, who, left, dataset=bytes(32))).code == "code_unusable"
    assert rows(world) == before


def test_a_replayed_code_lets_no_second_person_in(world: ApiWorld, clinic: Clinic) -> None:
    left = left_by(world, clinic, browser(world))
    thief, before = browser(world), rows(world)
    copy = thief.seals(VALUES, left.code, clinic.desk_key)
    assert refusal_of(lambda: leave(world, thief, copy)).code == "code_unusable"
    assert rows(world) == before


def test_an_expired_code_lets_nothing_in(
    world: ApiWorld, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, (code,) = browser(world), clinic.invites(days=1)
    left, now = who.seals(VALUES, code, clinic.desk_key), time.time()
    monkeypatch.setattr(time, "time", lambda: now + DAY + 1)
    assert refusal_of(lambda: leave(world, who, left)).code == "code_unusable"
    monkeypatch.undo()
    leave(world, who, left)


def test_a_record_bound_to_another_address_is_refused_at_its_field(
    world: ApiWorld, clinic: Clinic
) -> None:
    who, victim, (code,) = browser(world), browser(world), clinic.invites()
    left = who.seals(VALUES, code, clinic.desk_key, patient=victim.account.address)
    before = rows(world)
    refused = refusal_of(lambda: leave(world, who, left))
    assert (refused.code, refused.field) == ("draft_mismatch", "record.patient")
    assert rows(world) == before


@pytest.mark.parametrize(
    ("name", "value", "code", "field"),
    daily_rows(
        [
            ("chain_id", 1, "draft_mismatch", "record.chain_id"),
            ("registry", "0x" + "11" * 20, "draft_mismatch", "record.registry"),
            ("dictionary_hash", "0x" + "11" * 32, "record_unreadable", "record.commitment"),
            ("box", "AAAA", "record_unreadable", "record.box"),
            ("lane", 2, "record_unreadable", "record.lane"),
            ("epoch", 7, "wrong_committee", "record.epoch"),
            ("commitment", "0x" + "11" * 32, "record_unreadable", "record.commitment"),
            ("more", 1, "record_unreadable", "record.schema"),
        ],
        ["registry", "epoch", "commitment"],
    ),
)
def test_a_draft_that_cannot_be_used_is_refused_at_its_field(
    world: ApiWorld, clinic: Clinic, name: str, value: object, code: str, field: str
) -> None:
    who, (invitation,) = browser(world), clinic.invites()
    left, before = who.seals(VALUES, invitation, clinic.desk_key), rows(world)
    document = {**left.document, name: value}
    refused = refusal_of(lambda: leave(world, who, left, document=document))
    assert (refused.code, refused.field) == (code, field)
    assert rows(world) == before
    leave(world, who, left)  # nothing was lost


@pytest.mark.parametrize(
    "opening", daily([b"", bytes(170), bytes(172), bytes(100_000)], [bytes(170)])
)
def test_an_opening_of_another_length_is_refused(
    world: ApiWorld, clinic: Clinic, opening: bytes
) -> None:
    who, (code,) = browser(world), clinic.invites()
    left, before = who.seals(VALUES, code, clinic.desk_key), rows(world)
    refused = refusal_of(lambda: leave(world, who, left, opening=opening))
    assert (refused.code, refused.field) == ("opening_unreadable", "opening")
    assert rows(world) == before


@pytest.mark.parametrize("document", [None, [], "x" * 50_000, {"box": "A" * 50_000}, {"a": 1.5}])
def test_what_is_no_record_is_refused(world: ApiWorld, clinic: Clinic, document: object) -> None:
    who, (code,) = browser(world), clinic.invites()
    left, before = who.seals(VALUES, code, clinic.desk_key), rows(world)
    refused = refusal_of(lambda: leave(world, who, left, document=document))
    assert str(refused.field).startswith("record")
    assert rows(world) == before


def test_leaving_the_same_again_changes_nothing_whoever_looked(
    world: ApiWorld, clinic: Clinic
) -> None:
    who = browser(world)
    left = left_by(world, clinic, who)
    before = rows(world)
    assert leave(world, who, left).state is DraftState.WAITING
    assert rows(world) == before
    opened(world, clinic, left)
    assert leave(world, who, left).state is DraftState.OPENED
    assert steps(world, left) == ["waiting", "opened"]


def test_values_cannot_be_swapped_after_the_clinic_looked(world: ApiWorld, clinic: Clinic) -> None:
    who = browser(world)
    left = left_by(world, clinic, who)
    opened(world, clinic, left)
    lie = {"systolic": Decimal(200), "smoker": "no"}
    other = who.seals(lie, left.code, clinic.desk_key)
    assert refusal_of(lambda: leave(world, who, other)).code == "draft_opened"
    (fresh,) = clinic.invites()
    another = who.seals(lie, fresh, clinic.desk_key)
    assert refusal_of(lambda: leave(world, who, another)).code == "draft_opened"
    # And were it there: the issuer's word is for the commitment that it looked at.
    document, signature = clinic.attestation(left.record, "P-3")
    before = rows(world)
    refused = refusal_of(
        lambda: world.operator.drafts.attest(
            world.custody.dataset,
            clinic.issuer.address,
            left.record.commitment,
            {**document, "commitment": to_hex(another.record.commitment)},
            signature,
        )
    )
    assert (refused.code, refused.field) == ("attestation_mismatch", "record.commitment")
    assert rows(world) == before
    assert attest(world, clinic, left, "P-3").state is DraftState.STORED


def test_a_secret_that_is_not_the_record_s_is_found_by_the_clinic(
    world: ApiWorld, clinic: Clinic
) -> None:
    """The patient shows good values in a box of its own, and would have custodians open another."""
    who, (code,) = browser(world), clinic.invites()
    shown = feldman.random_scalar()
    left = who.seals(VALUES, code, clinic.desk_key, shown=shown)
    leave(world, who, left)
    draft, desk = opened(world, clinic, left), clinic.root.desk_key(clinic.place)
    sealed = record.load(json.dumps(dict(draft.record)).encode())
    refused = refusal_of(
        lambda: open_draft(sealed, draft.opening, desk, world.custody.dictionary, clinic.place)
    )
    assert (refused.code, refused.field) == ("wrong_secret", "opening")
    box = record.close_box(shown, sealed.context, b"\x01" * 9, nonce=bytes(12))
    swapped = replace(sealed, box=box)
    with pytest.raises(EnvelopeUnreadable):  # another box is another commitment
        open_draft(swapped, draft.opening, desk, world.custody.dictionary, clinic.place)


def test_a_box_that_holds_no_row_is_found_by_the_clinic(world: ApiWorld, clinic: Clinic) -> None:
    who, (code,) = browser(world), clinic.invites()
    left = who.seals(VALUES, code, clinic.desk_key)
    desk = clinic.root.desk_key(clinic.place)
    secret = who.root.record_secret(left.record.context, left.record.box[:12])
    box = record.close_box(secret, left.record.context, b"no row", nonce=bytes(12))
    changed = replace(left.record, box=box)
    opening = seal_opening(Opening(code, secret), clinic.desk_key, OpeningContext.of(changed))
    with pytest.raises(RecordUnreadable):
        open_draft(changed, opening, desk, world.custody.dictionary, clinic.place)


@pytest.mark.parametrize(
    "name", daily(["chain_id", "registry", "dataset", "dictionary_hash"], ["dataset"])
)
def test_a_clinic_opens_no_record_of_another_place(
    world: ApiWorld, clinic: Clinic, name: str
) -> None:
    who, (code,) = browser(world), clinic.invites()
    left = who.seals(VALUES, code, clinic.desk_key)
    changes: dict[str, Any] = {"chain_id": 1, "registry": "0x" + "11" * 20}
    context = replace(left.record.context, **{name: changes.get(name, b"\x01" * 32)})
    desk = clinic.root.desk_key(clinic.place)
    refused = refusal_of(
        lambda: open_draft(
            replace(left.record, context=context),
            left.opening,
            desk,
            world.custody.dictionary,
            clinic.place,
        )
    )
    assert (refused.code, refused.field) == ("draft_mismatch", f"record.{name}")


# --- a malicious or careless clinic


def test_another_issuer_or_a_stranger_sees_and_decides_nothing(
    world: ApiWorld, clinic: Clinic
) -> None:
    left = left_by(world, clinic, browser(world))
    dataset, other = world.custody.dataset, account("another issuer")
    drafts, commitment = world.operator.drafts, left.record.commitment
    stranger = account("nobody").address
    document, signature = clinic.attestation(left.record, "P-4")
    code = new_code()
    (voucher,) = clinic.vouches(code)
    uses: list[Callable[[str], object]] = [
        lambda who: drafts.opened(dataset, who, commitment),
        lambda who: drafts.attest(dataset, who, commitment, document, signature),
        lambda who: drafts.decline(dataset, who, commitment, "other"),
    ]
    lists: list[Callable[[str], object]] = [
        lambda who: drafts.waiting(dataset, who),
        lambda who: drafts.desks.invitations(dataset, who),
        lambda who: drafts.invite(dataset, who, {code_hash(code): voucher}, 1),
    ]
    before = rows(world)
    for use in [*uses, *lists]:
        assert refusal_of(lambda use=use: use(stranger)).code == "not_issuer"
    world.custody.sender.send("DatasetRegistry", "addIssuer", dataset, other.address)
    for use in uses:
        assert refusal_of(lambda use=use: use(other.address)).code == "unknown_draft"
    assert drafts.waiting(dataset, other.address) == []
    assert drafts.desks.invitations(dataset, other.address) == []
    assert refusal_of(lambda: lists[2](other.address)).code == "no_desk"
    assert rows(world) == before


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"patient": "0x" + "22" * 20}, "attestation_mismatch", "record.patient"),
        pytest.param(
            *({"dataset": bytes(32)}, "attestation_mismatch", "record.dataset"),
            marks=pytest.mark.long,
        ),
        pytest.param(
            *({"version": 2}, "attestation_mismatch", "record.record_version"),
            marks=pytest.mark.long,
        ),
        ({"signer": account("nobody")}, "bad_signature", "signature"),
        ({"issuer": account("nobody").address}, "bad_signature", "signature"),
        (
            {"issuer": account("nobody").address, "signer": account("nobody")},
            "not_this_issuer",
            "attestation.issuer",
        ),
        ({"deadline": 1}, "attestation_expired", "attestation.deadline"),
    ],
)
def test_an_attestation_of_anything_else_is_refused_and_changes_nothing(
    world: ApiWorld, clinic: Clinic, changes: dict[str, Any], code: str, field: str
) -> None:
    left = left_by(world, clinic, browser(world))
    opened(world, clinic, left)
    before = rows(world)
    refused = refusal_of(lambda: attest(world, clinic, left, "P-5", **changes))
    assert (refused.code, refused.field) == (code, field)
    assert rows(world) == before


def test_an_attestation_that_is_sent_twice_at_once_and_swept_meanwhile_is_one(
    world: ApiWorld, clinic: Clinic
) -> None:
    left = left_by(world, clinic, browser(world))
    opened(world, clinic, left)
    with ThreadPoolExecutor(3) as pool:
        sweep = pool.submit(world.operator.drafts.sweep)
        sent = [pool.submit(attest, world, clinic, left, "P-13") for _ in range(2)]
        states, _ = [each.result().state for each in sent], sweep.result()
    assert set(states) <= {DraftState.ATTESTED, DraftState.STORED}
    world.operator.drafts.sweep()
    assert world.operator.database.draft(to_hex(left.record.commitment)) is None
    assert steps(world, left).count("stored") == 1
    found = world.operator.chain.record_of(world.custody.dataset, left.record.context.patient)
    assert (found.commitment, found.version) == (left.record.commitment, 1)


def test_nothing_is_attested_that_was_not_opened(world: ApiWorld, clinic: Clinic) -> None:
    left = left_by(world, clinic, browser(world))
    before = rows(world)
    assert refusal_of(lambda: attest(world, clinic, left, "P-6")).code == "wrong_draft_state"
    assert rows(world) == before


def test_one_person_has_one_record_whatever_the_address(world: ApiWorld, clinic: Clinic) -> None:
    first, second = (left_by(world, clinic, browser(world)) for _ in range(2))
    for each in (first, second):
        opened(world, clinic, each)
    assert attest(world, clinic, first, "P-7").state is DraftState.STORED
    refused = refusal_of(lambda: attest(world, clinic, second, " p-7"))
    assert (refused.code, refused.field) == ("person_has_record", "attestation.person")
    row = world.operator.database.draft(to_hex(second.record.commitment))
    assert row is not None
    assert (row.state, row.reason["code"] if row.reason else None) == (
        "opened",
        "person_has_record",
    )
    assert world.operator.intake.records.get(second.record.commitment) is None
    assert attest(world, clinic, second, "P-8").state is DraftState.STORED


def test_a_declined_draft_is_deleted_its_patient_told_why_and_let_in_again(
    world: ApiWorld, clinic: Clinic
) -> None:
    who = browser(world)
    left = left_by(world, clinic, who)
    drafts, dataset, issuer = world.operator.drafts, world.custody.dataset, clinic.issuer.address
    commitment = left.record.commitment
    assert (
        refusal_of(lambda: drafts.decline(dataset, issuer, commitment, "HbA1c is 9.1")).field
        == "why"
    )
    opened(world, clinic, left)
    drafts.decline(dataset, issuer, commitment, "values_differ")
    row = world.operator.database.draft(to_hex(commitment))
    assert row is not None
    assert (row.record, row.opening) == ("", b"")
    told = drafts.progress(dataset, who.account.address)
    assert told is not None
    assert (told.state, told.reason and told.reason["code"]) == (
        DraftState.DECLINED,
        "values_differ",
    )
    assert refusal_of(lambda: opened(world, clinic, left)).code == "draft_declined"
    assert refusal_of(lambda: leave(world, who, left)).code == "draft_exists"
    again = who.seals(VALUES, left.code, clinic.desk_key)
    assert leave(world, who, again).state is DraftState.WAITING


def test_a_code_that_came_to_somebody_else_lets_nobody_in_any_more(
    world: ApiWorld, clinic: Clinic
) -> None:
    who = browser(world)
    left = left_by(world, clinic, who)
    drafts, dataset, issuer = world.operator.drafts, world.custody.dataset, clinic.issuer.address
    opened(world, clinic, left)
    drafts.decline(dataset, issuer, left.record.commitment, "wrong_person")
    again = who.seals(VALUES, left.code, clinic.desk_key)
    assert refusal_of(lambda: leave(world, who, again)).code == "code_unusable"
    (fresh,) = clinic.invites()
    another = who.seals(VALUES, fresh, clinic.desk_key)
    assert leave(world, who, another).state is DraftState.WAITING


def test_one_issuer_s_invitations_are_bounded(
    world: ApiWorld, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = len(
        world.operator.drafts.desks.invitations(world.custody.dataset, clinic.issuer.address)
    )
    monkeypatch.setattr("marketplace.drafts.desks.MOST_INVITATIONS", kept + 2)
    clinic.invites(2)
    before = rows(world)
    assert refusal_of(lambda: clinic.invites(1)).code == "too_many_invitations"
    assert rows(world) == before


@pytest.mark.parametrize(
    ("codes", "days", "field"),
    [([], 1, "codes"), ([bytes(31)], 1, "codes")]
    + [([bytes(32)], days, "days") for days in (0, 31, True)]
    + [([bytes([n]) * 32 for n in range(101)], 1, "codes")],
)
def test_invitations_in_another_form_are_refused(
    world: ApiWorld, clinic: Clinic, codes: list[bytes], days: int, field: str
) -> None:
    before, (voucher,) = rows(world), clinic.vouches(new_code())
    refused = refusal_of(
        lambda: world.operator.drafts.invite(
            world.custody.dataset, clinic.issuer.address, dict.fromkeys(codes, voucher), days
        )
    )
    assert (refused.code, refused.field) == ("bad_parameter", field)
    assert rows(world) == before


def test_all_drafts_together_are_bounded_and_a_patient_s_own_makes_room(
    world: ApiWorld, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, other = browser(world), browser(world)
    left = left_by(world, clinic, who)
    number = world.operator.database.number_of_drafts()
    full = replace(drafts_service.SHARES, most=number, shared=number)
    monkeypatch.setattr(drafts_service, "SHARES", full)
    before = rows(world)
    with pytest.raises(Refusal) as refused:
        left_by(world, clinic, other)
    assert refused.value.code == "too_many_drafts"
    assert rows(world)["drafts"] == before["drafts"]
    leave(world, who, who.seals(VALUES, left.code, clinic.desk_key))


def test_one_issuer_alone_fills_no_more_than_its_share(
    world: ApiWorld, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = world.operator.database.number_of_drafts(clinic.issuer.address)
    share = replace(drafts_service.SHARES, of_issuer=number)
    monkeypatch.setattr(drafts_service, "SHARES", share)
    assert refusal_of(lambda: left_by(world, clinic, browser(world))).code == "too_many_drafts"
    assert world.operator.database.number_of_drafts(account("another issuer").address) == 0


def test_a_few_clinics_leave_the_others_room() -> None:
    """No one clinic, nor five, takes all that is shared; and a hundred have room for a few besides."""
    shares = drafts_service.SHARES
    assert shares.of_issuer * 5 < shares.shared < shares.most
    assert shares.shared + 100 * shares.few <= shares.most
    assert shares.uses_a_day == DRAFT.number
    assert shares.codes_a_day <= MOST_INVITATIONS


# --- desks


def test_a_desk_is_shown_with_the_word_that_proves_it(world: ApiWorld, clinic: Clinic) -> None:
    drafts, dataset = world.operator.drafts, world.custody.dataset
    shown = drafts.desk_of(dataset, clinic.issuer.address)
    assert shown is not None
    assert shown.statement.key == clinic.desk_key
    assert shown in drafts.desks.desks_of(dataset)
    assert drafts.post_desk(**shown_as(shown.to_json())) == shown
    assert drafts.desk_of(dataset, account("nobody").address) is None
    assert drafts.desk_of(bytes(32), clinic.issuer.address) is None


def shown_as(posted: dict[str, Any]) -> dict[str, Any]:
    return {"document": posted["desk"], "signature": posted["signature"]}


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"until": 1}, "bad_parameter", "desk.until"),
        ({"until": int(time.time()) + 400 * DAY}, "bad_parameter", "desk.until"),
        ({"key": bytes(32)}, "bad_parameter", "desk.key"),
        ({"until": int(time.time()) + DAY}, "desk_older", "desk.until"),
    ],
)
def test_a_desk_that_ended_lasts_too_long_or_keeps_no_secret_is_refused(
    world: ApiWorld, clinic: Clinic, changes: dict[str, Any], code: str, field: str
) -> None:
    before, made = rows(world), clinic.desk(**changes)
    refused = refusal_of(lambda: world.operator.drafts.post_desk(**shown_as(made)))
    assert (refused.code, refused.field) == (code, field)
    assert rows(world) == before


def test_nobody_posts_a_desk_in_an_issuer_s_name(world: ApiWorld, clinic: Clinic) -> None:
    made, thief = clinic.desk(), hpke.generate().public
    before = rows(world)
    swapped = {**made, "desk": {**made["desk"], "key": to_hex(thief)}}
    assert (
        refusal_of(lambda: world.operator.drafts.post_desk(**shown_as(swapped))).code
        == "bad_signature"
    )
    stranger = replace(clinic, issuer=account("nobody"))
    assert refusal_of(stranger.opens_desk).code == "not_issuer"
    assert rows(world) == before


# --- custodians


def test_custodians_that_do_not_answer_are_asked_again_without_the_clinic(
    world: ApiWorld, clinic: Clinic
) -> None:
    who = browser(world)
    left = left_by(world, clinic, who)
    opened(world, clinic, left)
    intake, dataset = world.operator.intake, world.custody.dataset
    whole = intake.custodians
    away = Peer("custodian", "http://127.0.0.1:1")
    try:
        object.__setattr__(intake, "custodians", (whole[0], away, away))
        intake.__dict__.pop("deposits", None)
        after = attest(world, clinic, left, "P-9")
    finally:
        object.__setattr__(intake, "custodians", whole)
        intake.__dict__.pop("deposits", None)
    assert (after.state, after.places) == (DraftState.ATTESTED, (0,))
    assert after.reason is not None
    assert after.reason["code"] == "custodians_missing"
    assert world.operator.drafts.progress(dataset, who.account.address) == after
    world.operator.drafts.sweep()
    told = world.operator.drafts.progress(dataset, who.account.address)
    assert told is not None
    assert (told.state, told.reason) == (DraftState.STORED, None)
    assert len(told.places) >= QUORUM
    assert steps(world, left)[-2:] == ["attested", "stored"]


def test_a_full_database_keeps_no_record_from_its_custodians(
    world: ApiWorld, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Refusal(code="storage_full", message="full", remedy="free")

    monkeypatch.setattr(type(world.operator.database), "confirm_part", full)
    left = left_by(world, clinic, browser(world))
    opened(world, clinic, left)
    after = attest(world, clinic, left, "P-10")
    assert (after.state, after.places) == (DraftState.STORED, ())


# --- letting go


def test_what_nobody_decides_on_is_gone_after_two_weeks(
    world: ApiWorld, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = browser(world)
    left = left_by(world, clinic, who)
    opened(world, clinic, left)
    world.operator.drafts.sweep()
    assert world.operator.database.draft(to_hex(left.record.commitment)) is not None
    now = time.time()
    monkeypatch.setattr(onward, "KEPT_DAYS", -1)
    world.operator.drafts.sweep()
    monkeypatch.undo()
    assert time.time() >= now
    assert world.operator.database.draft(to_hex(left.record.commitment)) is None
    assert steps(world, left) == ["waiting", "opened", "expired"]
    assert world.operator.drafts.progress(world.custody.dataset, who.account.address) is None


@pytest.mark.parametrize("is_opened", [False, True])
def test_a_patient_takes_a_draft_back_until_it_is_attested(
    world: ApiWorld, clinic: Clinic, is_opened: bool
) -> None:
    who = browser(world)
    left = left_by(world, clinic, who)
    drafts, dataset = world.operator.drafts, world.custody.dataset
    if is_opened:
        opened(world, clinic, left)
    assert not drafts.take_back(dataset, browser(world).account.address)
    assert drafts.take_back(dataset, who.account.address)
    assert not drafts.take_back(dataset, who.account.address)
    assert steps(world, left)[-1] == "taken_back"
    assert refusal_of(lambda: attest(world, clinic, left, "P-12")).code == "unknown_draft"
    assert refusal_of(lambda: leave(world, who, left)).code == "draft_exists"
    again = who.seals(VALUES, left.code, clinic.desk_key)
    assert refusal_of(lambda: leave(world, who, again)).code == "code_unusable"


def test_a_draft_goes_once_its_record_came_by_the_command_line(
    world: ApiWorld, clinic: Clinic
) -> None:
    left = left_by(world, clinic, browser(world))
    opened(world, clinic, left)
    document, signature = clinic.attestation(left.record, "P-11")
    upload = {"record": left.document, "attestation": document, "issuer_signature": signature}
    assert world.operator.intake.receive([upload])[0].state == "stored"
    world.operator.drafts.sweep()
    assert world.operator.database.draft(to_hex(left.record.commitment)) is None
    assert steps(world, left)[-1] == "stored"


def test_the_operator_s_database_holds_no_code_secret_or_value(
    world: ApiWorld, clinic: Clinic
) -> None:
    who = browser(world)
    left = left_by(world, clinic, who)
    secret = who.root.record_secret(left.record.context, left.record.box[:12])
    opened(world, clinic, left)
    everything = str(rows(world)) + "".join(
        bytes(each).hex()
        for row in rows(world)["drafts"]
        for each in row
        if isinstance(each, bytes)
    )
    for canary in (left.code, secret.to_bytes(32, "big"), who.root.raw):
        assert canary.hex() not in everything
    assert to_hex(code_hash(left.code)) in everything


def test_a_retired_dataset_takes_no_draft(world: ApiWorld, clinic: Clinic) -> None:
    """The last test of this file: nothing brings a dataset back."""
    who, (code,) = browser(world), clinic.invites()
    left = who.seals(VALUES, code, clinic.desk_key)
    world.custody.sender.send("DatasetRegistry", "retire", world.custody.dataset)
    before = rows(world)
    refused = refusal_of(lambda: leave(world, who, left))
    assert (refused.code, refused.field) == ("dataset_retired", "record.dataset")
    assert rows(world) == before
