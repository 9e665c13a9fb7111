"""What each act costs: real transactions on anvil, each from a state that a test can name.

Every scenario starts from the same deployment and is rolled back, and the chain's clock starts at the
same second each time, so that a figure repeats to the unit.
"""

from collections.abc import Callable
from typing import Any

from tests.contracts.anvil_chain import AnvilChain, anvil_chain
from tests.contracts.market_deployment import make_world
from tests.contracts.market_terms import CAP, CUSTODIANS, MAX_COST, STAFF
from tests.contracts.market_world import World
from tests.contracts.noise_acts import (
    commit_noise,
    fix_noise,
    record_joint_key,
    sealed_ciphertext,
)
from tests.contracts.registry_storage import (
    SHARD_SEATS,
    WORD,
    fill_shard,
    put_shard,
    put_shards,
)
from tests.contracts.support import Sent, address, word

BATCH = 50
PAYLOAD = bytes(1 + n % 255 for n in range(1_024))  # ciphertext has hardly a zero byte
PATIENTS = [f"patient {n}" for n in range(WORD + 2)]
FIRST, SECOND = PATIENTS[:2]

Figures = dict[str, int | float]
Scenario = Callable[[World, AnvilChain], Figures]


def measure() -> Figures:
    """Gas by name; per patient, entry or shard where the name says so."""
    with anvil_chain(*STAFF, *CUSTODIANS, *PATIENTS[:8], "gate", "rotated") as chain:
        world = make_world(chain)
        world.enrol(*PATIENTS)
        figures: Figures = {}
        for scenario in SCENARIOS:
            with chain.rolled_back():
                figures |= scenario(world, chain)
    return figures


# ---- grants, revocations ----


def grants(world: World, chain: AnvilChain) -> Figures:
    """The second patient of a word; then the same patient again, live and after revocation."""
    figures: Figures = {"grant_first_in_shard": world.grant(FIRST).gas}
    figures["grant_first"] = world.grant(SECOND).gas
    figures["grant_cap_change"] = world.grant(SECOND, cap=CAP + MAX_COST).gas
    figures["revoke"] = world.revoke(SECOND).gas
    figures["grant_again_after_revoke"] = world.grant(SECOND).gas
    figures["revoke_with_nothing_live"] = _second(world.revoke(SECOND), world.revoke(SECOND))
    return figures


def grant_first_in_word(world: World, chain: AnvilChain) -> Figures:
    """As if the whole word before had been assigned."""
    world.grant(FIRST)
    put_shard(world, live=1, used=WORD)
    return {"grant_first_in_word": world.grant(SECOND).gas}


def switch_class(world: World, chain: AnvilChain) -> Figures:
    world.join(*PATIENTS[2:4], index=2)
    world.grant(FIRST)
    world.grant(SECOND)
    return {"grant_other_class": world.grant(SECOND, 2).gas}


def signed_grants(world: World, chain: AnvilChain) -> Figures:
    """A full batch of first grants of one word, against one direct grant in the same word."""
    world.grant(FIRST)
    direct = world.grant(SECOND).gas
    each = _batched(world, "consents", [world.signed_grant(who) for who in PATIENTS[2:52]])
    return {"grant_signed_per_entry": each, "grant_signed_above_direct": each - direct}


def signed_revocations(world: World, chain: AnvilChain) -> Figures:
    world.join(*PATIENTS[:52])
    entries = []
    for who in PATIENTS[2:52]:
        said = {"patient": address(who), "dataset": world.dataset, "sequence": 257}
        signature = world.sign(who, world.consents, "Revocation", said)
        entries.append(("revokeBySig", [said, address(who), signature]))
    return {"revoke_signed_per_entry": _batched(world, "consents", entries)}


def after_first_earnings(world: World, chain: AnvilChain) -> Figures:
    world.join(*PATIENTS[:4])
    world.settled()
    world.thaw()
    figures: Figures = {}
    with chain.rolled_back():
        figures["revoke_with_first_earnings"] = world.revoke(FIRST).gas
    with chain.rolled_back():
        figures["grant_cap_change_with_first_earnings"] = world.grant(FIRST, cap=2 * CAP).gas
    return figures


def rests(world: World, chain: AnvilChain) -> Figures:
    world.join(FIRST, SECOND)
    said = {"patient": address(SECOND), "dataset": world.dataset, "sequence": 1}
    said |= {"nonce": 1, "deadline": world.later()}
    signature = world.sign(SECOND, world.consents, "Rest", said)
    sent = world.consent("relayer", "restBySig", said, address(SECOND), signature)
    return {
        "rest_by_signature": sent.gas,
        "wake_direct": world.consent(SECOND, "wake", address(SECOND), world.dataset).gas,
    }


def rotation(world: World, chain: AnvilChain) -> Figures:
    world.join(FIRST, SECOND)
    said: dict[str, Any] = {
        "dataset": world.dataset,
        "from": address(SECOND),
        "to": address("rotated"),
    }
    said |= {"deadline": world.later()}
    signatures = [world.sign(who, world.consents, "Rotation", said) for who in (SECOND, "rotated")]
    return {"rotate": world.consent("relayer", "rotate", said, *signatures).gas}


# ---- records ----


def records(world: World, chain: AnvilChain) -> Figures:
    people = [f"person {n}" for n in range(BATCH)]
    sent = world.attest(*people)
    held = world.store(*people)
    _require_none_refused(sent, held)
    return {
        "register_record_per_entry": sent.gas // BATCH,
        "confirm_storage_per_entry": held.gas // BATCH,
    }


# ---- a request's life ----


def life_of_a_request(world: World, chain: AnvilChain) -> Figures:
    world.join(*PATIENTS[:4])
    terms = world.terms()
    figures: Figures = {"open": world.open(terms).gas}
    world.freeze(terms)
    request = world.request_id(terms)
    figures["seal_4_patients"] = world.seal(request).gas
    figures["draw_gate"] = world.draw(request).gas
    figures["record_gate_key"] = world.record_key(request).gas
    for name, payload in (("without_payload", b""), ("1024_byte_payload", PAYLOAD)):
        with chain.rolled_back():
            figures[f"settle_3_signatures_{name}"] = world.settle(request, payload, (0, 1, 2)).gas
    return figures


def life_on_ciphertext(world: World, chain: AnvilChain) -> Figures:
    """What a request of the homomorphic lane has in place of a gate, with three custodians."""
    world.join(*PATIENTS[:4])
    figures: Figures = {"record_joint_key_quorum_2": record_joint_key(world).gas}
    request = sealed_ciphertext(world)
    figures["commit_noise_3"] = commit_noise(world, request).gas
    figures["fix_noise_3_signatures"] = fix_noise(world, request, signers=(0, 1, 2)).gas
    settled = world.settle(request, b"", (0, 1, 2))
    figures["settle_on_ciphertext_3_signatures_without_payload"] = settled.gas
    return figures


def freezes(world: World, chain: AnvilChain) -> Figures:
    """A class of one shard, and the same class as if it had four."""
    world.join(*PATIENTS[:4])
    spent = {}
    for number in (1, 4):
        with chain.rolled_back():
            put_shards(world, number)
            terms = world.terms()
            world.open(terms)
            spent[number] = world.freeze(terms).gas
    return {
        "freeze_1_shard": spent[1],
        "freeze_4_shards_per_shard": spent[4] // 4,
        "freeze_each_further_shard": (spent[4] - spent[1]) // 3,
    }


def seal_a_full_shard(world: World, chain: AnvilChain) -> Figures:
    """655,360 patients, every word full, in one transaction."""
    fill_shard(world, CAP, world.later(300 * 86_400))
    request = world.frozen(maxPatients=SHARD_SEATS)
    sent = world.seal(request)
    assert world.request(request)["members"] == SHARD_SEATS
    return {
        "seal_655360_patients": sent.gas,
        "seal_per_patient": round(sent.gas / SHARD_SEATS, 3),
    }


def life_in_a_full_shard(world: World, chain: AnvilChain) -> Figures:
    """What no cohort's size may change, where the cohort is as large as a shard."""
    world.join(*PATIENTS[:4])
    fill_shard(world, CAP, world.later(300 * 86_400))
    # One place more than patients: as in a small cohort, the seal returns something.
    terms = world.terms(maxPatients=SHARD_SEATS + 1)
    world.open(terms)
    figures: Figures = {"freeze_1_full_shard": world.freeze(terms).gas}
    request = world.request_id(terms)
    world.seal(request)
    world.draw(request)
    world.record_key(request)
    settled = world.settle(request, b"", (0, 1, 2))
    figures["settle_full_shard_3_signatures_without_payload"] = settled.gas
    world.thaw()
    paid = world.trade(FIRST, "withdrawEarnings", world.dataset, address("researcher"))
    figures["withdraw_earnings_full_shard_to_existing_address"] = paid.gas
    figures["revoke_full_shard_with_first_earnings"] = world.revoke(SECOND).gas
    return figures


def tidy_words(world: World, chain: AnvilChain) -> Figures:
    """One full word in which all stay, and one in which all must rest."""
    world.join(*PATIENTS[:WORD], cap=MAX_COST)
    stay = world.frozen(maxPatients=WORD)
    figures: Figures = {"tidy_full_word_all_stay": world.trade("relayer", "tidy", stay, 0, [0]).gas}
    world.seal(stay)
    world.thaw()
    leave = world.frozen(maxPatients=WORD, cost=MAX_COST, salt=word("2"))
    figures["tidy_full_word_all_rest"] = world.trade("relayer", "tidy", leave, 0, [0]).gas
    return figures


def wake_words(world: World, chain: AnvilChain) -> Figures:
    """A word's worth of consents that were granted while a cohort was being counted."""
    world.join(*PATIENTS[:2])
    request = world.frozen()
    world.join(*PATIENTS[2:WORD])
    world.seal(request)
    world.thaw()
    sent = world.consent("relayer", "wakeWords", world.class_id(), 0, [0])
    return {"wake_words_per_consent": sent.gas // (WORD - 2)}


def withdrawals(world: World, chain: AnvilChain) -> Figures:
    world.join(*PATIENTS[:4])
    world.settled()
    figures: Figures = {}
    for name, to in (("fresh_address", "nobody yet"), ("existing_address", "researcher")):
        with chain.rolled_back():
            sent = world.trade(FIRST, "withdrawEarnings", world.dataset, address(to))
            figures[f"withdraw_earnings_to_{name}"] = sent.gas
    world.thaw()
    world.revoke(FIRST)
    sent = world.trade(FIRST, "withdrawEarnings", world.dataset, address("nobody yet"))
    return figures | {"withdraw_earnings_after_revoke_to_fresh_address": sent.gas}


SCENARIOS: tuple[Scenario, ...] = (
    grants,
    grant_first_in_word,
    switch_class,
    signed_grants,
    signed_revocations,
    after_first_earnings,
    rests,
    rotation,
    records,
    life_of_a_request,
    life_on_ciphertext,
    freezes,
    seal_a_full_shard,
    life_in_a_full_shard,
    tidy_words,
    wake_words,
    withdrawals,
)


def _second(_first: Sent, then: Sent) -> int:
    return then.gas


def _batched(world: World, contract: str, entries: list[tuple[str, list[Any]]]) -> int:
    """Gas of a batch of fifty, per entry, of which none is refused."""
    assert len(entries) == BATCH
    sent = world.batch(getattr(world.parts, contract), entries)
    _require_none_refused(sent)
    return sent.gas // BATCH


def _require_none_refused(*transactions: Sent) -> None:
    for sent in transactions:
        assert not [event for event in sent.events if event[0] == "EntryRefused"]
