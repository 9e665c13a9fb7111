"""Rules of published numbers: only the researcher's key proves them, for one request, in one spelling."""

from __future__ import annotations

import errno
import json
import secrets
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.chain.adapter import Chain
from marketplace.cli.main import main
from marketplace.cli.result import Files, require_no_other
from marketplace.cli.verify import ALL_RECOMPUTED, OPENED, RECOMPUTED, verified_words
from marketplace.cli.verify import _opening as read_opening
from marketplace.client import Answer
from marketplace.client.logarithms import Logarithms
from marketplace.client.messages import account_of
from marketplace.client.results import open_answer, prove_by_receipt
from marketplace.client.tallied import Delivered, OpenedTally, open_tally
from marketplace.errors import Refusal
from marketplace.questions import Asked
from marketplace.receipts.format import Receipt, ReceiptInvalid, load
from marketplace.receipts.opened_sums import (
    LARGEST,
    SCHEMA,
    BadOpening,
    OpenedSums,
    answer_of,
    load_opened_sums,
    prove,
)
from marketplace.receipts.tally_checks import session_of
from marketplace.receipts.verify import verify
from marketplace.vocabulary import Address
from marketplace.wire import hpke
from marketplace.wire.canonical import canonical
from marketplace.wire.delivery import Opened, delivery_hash
from marketplace.wire.structs import market_domain, sign
from marketplace.wire.tally_delivery import TallyKey
from marketplace.wire.tallying import (
    MOST_SUMS,
    TallySession,
    decode_sealed,
    encode_sealed,
    own_recipient,
    recipient,
)
from ml.homomorphic import threshold
from ml.homomorphic.curve import INFINITY, ORDER, G, times_base
from ml.homomorphic.threshold import OpeningInvalid, Sum, verify_opening
from tests.support.mutations import Path as Place
from tests.support.mutations import at, dotted, leaves, nudged, spans, with_value
from tests.support.tallying import encrypted
from tests.unit.test_receipts import sample
from tests.unit.test_receipts_tally import question
from tests.vectors import generate_opened_sums, generate_tally_receipt
from tests.vectors.generate_tally_receipt import DICTIONARY, forms, tallied

VECTORS = json.loads(generate_opened_sums.FILE.read_text())
RECEIPT = load(json.loads(generate_tally_receipt.FILE.read_text())["receipt"])
RAW: bytes = VECTORS["receipt"]["cases"][0]["document"].encode()
DOCUMENT: dict[str, Any] = json.loads(RAW)
OPENING = load_opened_sums(RAW)
DELIVERY = hpke.SecretKey(bytes(range(32)))
SECRET, DELIVERY_KEY = own_recipient(generate_opened_sums.RESEARCHER)
cases = pytest.mark.parametrize("given_", VECTORS["opened"]["cases"])


def unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])


@cache
def asked() -> Asked:
    """What the receipt's request asks; the chain of `tally_steps.question` is left out."""
    made, parameters = tallied()
    return Asked(question(), parameters, made, tuple(forms()))


def held(opening: OpenedSums, receipt: Receipt = RECEIPT) -> Any:
    return answer_of(opening, receipt, asked())


def refused(act: Callable[[], object]) -> BadOpening:
    with pytest.raises(BadOpening) as raised:
        act()
    found = raised.value
    assert (found.code, found.facts) == ("opening_invalid", {"step": "opening"})
    assert found.remedy
    assert str(found.field).startswith("opening")
    return found


def taken(document: dict[str, Any] | bytes) -> Any:
    """As `verify-receipt` takes it: read, and held against the receipt."""
    return held(load_opened_sums(document))


def proven(sums: list[int], receipt: Receipt = RECEIPT) -> OpenedSums:
    session, settled = session_of(receipt), receipt.settlement
    return prove(session, settled.result_hash, receipt.sealed_result, sums, SECRET)


# --- the format


def test_the_vectors_are_those_that_their_generator_makes() -> None:
    assert generate_opened_sums.vectors() == VECTORS


def session(document: dict[str, Any]) -> TallySession:
    hashes = [unhex(document[name]) for name in ("request", "root")]
    return TallySession(
        document["chain_id"], Address(document["market"]), *hashes, document["epoch"]
    )


@cases
def test_a_vector_is_what_this_code_makes_with_its_randomness(given_: dict[str, Any]) -> None:
    bound = session(given_["session"]).opened_sums(unhex(given_["session"]["result_hash"]))
    assert bound == unhex(given_["context"])
    secret, blind = int(given_["secret"], 16), int(given_["blind"], 16)
    delivered = decode_sealed(unhex(given_["sealed_result"]))
    read = load_opened_sums(given_["document"].encode())
    assert read.to_bytes() == given_["document"].encode()
    assert threshold._prove_opening(delivered, secret, bound, blind) == read.proof
    opened = [times_base(each) for each in read.sums]
    to = recipient(own_recipient(secret)[1])
    verify_opening(read.proof, opened, delivered, to, bound)


def test_the_vector_opens_the_receipts_vector_for_ever() -> None:
    receipt = VECTORS["receipt"]["cases"][0]
    bound = session_of(RECEIPT).opened_sums(RECEIPT.settlement.result_hash)
    assert bound == unhex(receipt["context"])
    delivered = decode_sealed(RECEIPT.sealed_result)
    made = threshold._prove_opening(delivered, SECRET, bound, int(receipt["blind"], 16))
    assert made == OPENING.proof
    assert OPENING.to_json() == DOCUMENT
    assert RECEIPT.terms.delivery_key == DELIVERY_KEY
    held(OPENING)


def test_the_numbers_make_the_answer_that_their_researcher_was_shown() -> None:
    """By the same way: what `open_tally` made of the same sums is that very document."""
    tally = RECEIPT.tally
    assert tally is not None
    delivery = hpke.SecretKey(bytes(range(32)))
    key = TallyKey.of(delivery).public
    sums = list(OPENING.sums)
    sealed = encode_sealed(encrypted(sums, -recipient(key)))
    terms = replace(RECEIPT.terms, delivery_key=key)
    counts = (RECEIPT.cost, RECEIPT.cohort.members, len(tally.places), RECEIPT.committee.quorum)
    delivered = Delivered(RECEIPT.request, terms, *counts, sealed)
    found = open_tally(delivered, DICTIONARY, json.loads(RECEIPT.parameters), delivery)
    assert held(OPENING) == found.document
    assert found.sums == OPENING.sums
    receipt, result = replace(RECEIPT, terms=terms, sealed_result=sealed), RECEIPT.settlement
    secret = TallyKey.of(delivery).secret
    made = prove(session_of(receipt), result.result_hash, sealed, found.sums, secret)
    assert held(made, receipt) == found.document
    refused(lambda: held(made))


# --- whose sums are opened, and under which request's name


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Receipt:
    """A receipt whose every part belongs together, of a request with a delivery key that is known here."""
    key = TallyKey.of(DELIVERY)
    to = (key.secret, key.public)
    monkeypatch.setattr(generate_tally_receipt, "own_recipient", lambda _: to)
    return generate_tally_receipt.make().receipt


def opened_by(receipt: Receipt) -> OpenedTally:
    found = open_answer(receipt.to_json(), DELIVERY, receipt.request, lambda _: DICTIONARY)
    assert isinstance(found, OpenedTally)
    return found


def test_an_operator_has_no_other_requests_sums_opened_under_this_ones_name(own: Receipt) -> None:
    """One delivery key serves many requests, and what each was delivered is public. Whoever shifts another's
    sealed sums by numbers of his own, re-randomises them and signs for custodians that he makes up would read
    them off the file that is to be published.
    """
    whole = opened_by(own)
    assert held(prove_by_receipt(own.to_json(), whole, DELIVERY), own) == whole.document
    key = recipient(own.terms.delivery_key)
    others = encrypted([123_456, -777], -key)
    shifted = zip(others, (-100_000, 5_000), strict=True)
    sealed = encode_sealed(
        [
            Sum(each.key + times_base(9), each.value + times_base(by) - key * 9)
            for each, by in shifted
        ]
    )
    settlement = replace(own.settlement, delivery_hash=delivery_hash(sealed))
    domain = market_domain(own.deployment.chain_id, own.deployment.market)
    made_up = [bytes(31) + bytes([place + 1]) for place in range(3)]
    forged = replace(
        own,
        sealed_result=sealed,
        settlement=settlement,
        committee=replace(own.committee, signers=tuple(map(account_of, made_up))),
        signatures=tuple((at, sign(settlement, domain, made_up[at])) for at in (0, 2)),
    )
    with pytest.raises(ReceiptInvalid) as refusal:
        opened_by(forged)
    assert (refusal.value.facts["step"], refusal.value.field) == ("result", "sealed_result")
    with pytest.raises(ReceiptInvalid):
        prove_by_receipt(forged.to_json(), whole, DELIVERY)


def test_numbers_are_proven_for_the_very_sums_that_were_delivered_only(own: Receipt) -> None:
    whole = opened_by(own)
    for other in (replace(whole, sealed=RECEIPT.sealed_result), Opened(bytes(32), b"{}", {})):
        with pytest.raises(Refusal) as refusal:
            prove_by_receipt(own.to_json(), other, DELIVERY)
        assert (refusal.value.code, refusal.value.field) == ("another_answer", "opening")


def test_an_opening_that_cannot_be_written_whole_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, new = tmp_path / "opening.json", proven(list(SUMS))
    there.write_bytes(RAW)
    whole = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        whole(path, content[:100])
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(Refusal) as refusal:
            Files(None, there).keep_opening(new)
    assert refusal.value.code == "storage_full"
    assert there.read_bytes() == RAW
    assert list(tmp_path.iterdir()) == [there]
    Files(None, there).keep_opening(new)
    assert there.read_bytes() == new.to_bytes()


def test_a_machine_that_repeats_its_random_numbers_gives_no_key_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two proofs with one nonce and two challenges are two equations with two unknowns."""
    monkeypatch.setattr(secrets, "token_bytes", bytes)
    delivered, values = decode_sealed(RECEIPT.sealed_result), []
    for context in (bytes(32), bytes(31) + b"\x01"):
        proof = threshold.prove_opening(delivered, SECRET, context)
        values.append((int.from_bytes(proof[:32], "big"), int.from_bytes(proof[32:], "big")))
    (c, answer), (d, other) = values
    assert c != d
    assert (answer - other) * pow(c - d, -1, ORDER) % ORDER != SECRET
    again = threshold.prove_opening(delivered, SECRET, bytes(32))
    assert int.from_bytes(again[:32], "big") == c


def test_who_has_no_key_has_opened_nothing() -> None:
    sealed, shown = [Sum(times_base(5), times_base(6))], [times_base(6)]
    talk = threshold._OpeningTalk(INFINITY, sealed, shown, bytes(32))
    c = talk.challenge(times_base(7), talk.key * 7)
    proof = c.to_bytes(32, "big") + (7).to_bytes(32, "big")
    with pytest.raises(OpeningInvalid, match="has no key"):
        verify_opening(proof, shown, sealed, INFINITY, bytes(32))


@pytest.fixture(autouse=True)
def tables(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "tables"))
    assert Logarithms().folder


def test_an_opening_holds_no_secret_and_its_proof_does_not_print() -> None:
    key = hpke.SecretKey(bytes(range(32)))
    shown = RAW.decode() + repr(OPENING)
    for secret in (f"{SECRET:x}", str(SECRET), key.raw.hex()):
        assert secret not in shown
    assert OPENING.proof.hex() not in repr(OPENING)
    assert set(DOCUMENT) == {"schema", "request", "sums", "proof"}
    # Two proofs of the same numbers have nothing in common that would tell the key.
    one, two = proven(list(OPENING.sums)), proven(list(OPENING.sums))
    assert one.sums == two.sums
    assert one.proof[:32] != two.proof[:32]
    assert one.proof[32:] != two.proof[32:]
    held(one)
    held(two)


# --- what is changed, and where it is found


def test_every_value_of_an_opening_is_covered_and_named() -> None:
    found = {}
    for place in leaves(DOCUMENT):
        bent = with_value(DOCUMENT, place, nudged(at(DOCUMENT, place)))
        found[dotted(place)] = str(refused(partial(taken, bent)).field)
    assert found == {
        "schema": "opening.schema",
        "request": "opening.request",
        "sums[0]": "opening.proof",
        "sums[1]": "opening.proof",
        "proof": "opening.proof",
    }


@settings(max_examples=400, deadline=None)
@given(place=st.integers(0, len(RAW) - 1), bit=st.integers(0, 7))
def test_a_bit_flipped_anywhere_in_an_opening_is_refused_where_it_is(place: int, bit: int) -> None:
    raw = bytearray(RAW)
    raw[place] ^= 1 << bit
    refusal = refused(lambda: taken(bytes(raw)))
    owner = next((path for path, where in spans(DOCUMENT) if place in where), None)
    named = str(refusal.field)
    if owner is None:  # a key, or between values
        assert named == "opening" or named.startswith("opening.")
        return
    # A number that is still one is bent in what the proof is of; what is no text any more is no JSON.
    allowed = {"opening", f"opening.{dotted(owner)}", "opening.proof"}
    assert (
        named in allowed
        if owner[0] == "sums"
        else named in allowed - {"opening.proof"} | {f"opening.{owner[0]}"}
    )


@settings(max_examples=60, deadline=None)
@given(which=st.integers(0, 1), by=st.integers(-3 * 10**6, 3 * 10**6).filter(bool))
def test_a_changed_number_is_refused_by_its_place_or_by_the_proof(which: int, by: int) -> None:
    sums = list(OPENING.sums)
    sums[which] += by
    (low, high) = [(-1_019_436, 1_019_436), (-1_018_236, 1_020_312)][which]
    field = str(refused(lambda: held(replace(OPENING, sums=tuple(sums)))).field)
    inside = low <= sums[which] <= high
    assert field == ("opening.proof" if inside else f"opening.sums[{which}]")


SUMS = OPENING.sums
BENT: list[tuple[str, tuple[int, ...], str]] = [
    ("another order", SUMS[::-1], "opening.proof"),
    ("too few", SUMS[:1], "opening.sums"),
    ("too many", (*SUMS, 0), "opening.sums"),
    ("one twice", (SUMS[0], SUMS[0]), "opening.proof"),
    ("two lies that cancel", (SUMS[0] + 1, SUMS[1] - 1), "opening.proof"),
    ("the other sign", (-SUMS[0], -SUMS[1]), "opening.proof"),
    ("the same modulo the order", (SUMS[0] + ORDER, SUMS[1]), "opening.sums[0]"),
    ("the same modulo the order, below", (SUMS[0], SUMS[1] - ORDER), "opening.sums[1]"),
]


@pytest.mark.parametrize(("what", "sums", "field"), BENT)
def test_other_numbers_than_were_sealed_are_refused(
    what: str, sums: tuple[int, ...], field: str
) -> None:
    assert refused(lambda: held(replace(OPENING, sums=sums))).field == field


@pytest.mark.parametrize(("what", "sums", "field"), BENT)
def test_a_researcher_cannot_prove_other_numbers_with_the_right_key(
    what: str, sums: tuple[int, ...], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if len(sums) == len(SUMS) and not any(abs(each) > 2**255 for each in sums):
        with pytest.raises(OpeningInvalid):
            proven(list(sums))
    # As a researcher's own program would, which checks nothing.
    said = [times_base(each) for each in sums][: len(SUMS)]
    said += [INFINITY] * (len(SUMS) - len(said))
    monkeypatch.setattr(threshold, "open_sums", lambda *_: said)
    bound = session_of(RECEIPT).opened_sums(RECEIPT.settlement.result_hash)
    proof = threshold.prove_opening(decode_sealed(RECEIPT.sealed_result), SECRET, bound)
    assert refused(lambda: held(OpenedSums(RECEIPT.request, sums, proof))).field == field


def test_nobody_without_the_delivery_key_makes_an_opening_of_the_true_numbers() -> None:
    """Not by another key, not by drawing answers, and not by answering before asking."""
    delivered = decode_sealed(RECEIPT.sealed_result)
    bound = session_of(RECEIPT).opened_sums(RECEIPT.settlement.result_hash)
    others = [threshold.prove_opening(delivered, key, bound) for key in (1, SECRET - 1, 7)]
    negative = threshold.prove_opening(delivered, ORDER - SECRET, bound)
    drawn = [secrets.token_bytes(64) for _ in range(8)]
    plain = [bytes(64), bytes(63) + b"\x01", bytes(31) + b"\x01" + bytes(32)]
    # Simulated: the equations hold by choice of the announcements, which the challenge is not the hash of.
    c, answer = 1 + secrets.randbelow(ORDER - 1), 1 + secrets.randbelow(ORDER - 1)
    simulated = c.to_bytes(32, "big") + answer.to_bytes(32, "big")
    for proof in (*others, negative, *drawn, *plain, simulated):
        assert refused(lambda bad=proof: held(replace(OPENING, proof=bad))).field == "opening.proof"


def test_a_proof_is_bound_to_chain_market_request_root_epoch_and_result() -> None:
    """Each is named by an earlier step of the verification, too: here the proof itself is what fails."""
    own = proven(list(SUMS))
    held(own)
    elsewhere = replace(RECEIPT.deployment, chain_id=1)
    contracts = dict(RECEIPT.deployment.contracts)
    contracts["ResearchMarket"] = replace(
        contracts["ResearchMarket"], address=Address("0x" + "22" * 20)
    )
    others = {
        "chain": replace(RECEIPT, deployment=elsewhere),
        "market": replace(RECEIPT, deployment=replace(RECEIPT.deployment, contracts=contracts)),
        "request": replace(RECEIPT, request=bytes(32)),
        "root": replace(RECEIPT, cohort=replace(RECEIPT.cohort, root=bytes(32))),
        "epoch": replace(RECEIPT, epoch=RECEIPT.epoch + 1),
        "result": replace(RECEIPT, settlement=replace(RECEIPT.settlement, result_hash=bytes(32))),
        "key": replace(
            RECEIPT, terms=replace(RECEIPT.terms, delivery_key=own_recipient(0x7E58)[1])
        ),
    }
    for what, other in others.items():
        opening = replace(own, request=other.request)
        assert refused(partial(held, opening, other)).field == "opening.proof", what


def test_a_proof_of_the_same_numbers_for_another_request_is_no_proof_of_this_one() -> None:
    other = replace(RECEIPT, request=bytes(31) + b"\x01")
    published = proven(list(SUMS), other)
    held(published, other)
    assert refused(lambda: held(published)).field == "opening.request"
    relabelled = replace(published, request=RECEIPT.request)
    assert refused(lambda: held(relabelled)).field == "opening.proof"


def test_a_proof_holds_for_the_sealed_sums_alone() -> None:
    """In their order: as many others that open to the same numbers are others."""
    delivered = decode_sealed(RECEIPT.sealed_result)
    again = [Sum(each.key + G, each.value - times_base(SECRET)) for each in delivered]
    other = replace(RECEIPT, sealed_result=encode_sealed(again))
    held(proven(list(SUMS), other), other)
    assert refused(lambda: held(OPENING, other)).field == "opening.proof"
    swapped = replace(RECEIPT, sealed_result=encode_sealed(delivered[::-1]))
    assert refused(lambda: held(replace(OPENING, sums=SUMS[::-1]), swapped)).field == (
        "opening.proof"
    )


# --- one spelling

LONG = "9" * 5_000
SPELT: list[tuple[Place, Any, str]] = [
    *((("sums", 1), each, "opening.sums[1]") for each in ("-0", "034977", "+34977", " 34977")),
    *((("sums", 1), each, "opening.sums[1]") for each in ("34977 ", "34_977", "34977.0", "3e4")),
    *((("sums", 1), each, "opening.sums[1]") for each in ("", "-", "٣٤٩٧٧", "34977\n", "0x88a1")),
    *((("sums", 1), each, "opening.sums[1]") for each in (34_977, None, True, [], {})),
    *((("sums", 1), each, "opening.sums[1]") for each in (LONG, "-" + LONG, "1" + "0" * 19)),
    (("sums",), [], "opening.sums"),
    (("sums",), "34977", "opening.sums"),
    (("sums",), {"0": "1"}, "opening.sums"),
    (("sums",), ["0"] * (MOST_SUMS + 1), "opening.sums"),
    (("request",), "0x" + DOCUMENT["request"][2:].upper(), "opening.request"),
    (("request",), DOCUMENT["request"][2:], "opening.request"),
    (("request",), DOCUMENT["request"][:-2], "opening.request"),
    (("request",), 1, "opening.request"),
    (("proof",), "0x" + DOCUMENT["proof"][2:].upper(), "opening.proof"),
    (("proof",), DOCUMENT["proof"][:-2], "opening.proof"),
    (("proof",), DOCUMENT["proof"] + "00", "opening.proof"),
    (("proof",), "0x" + " ".join(DOCUMENT["proof"][2:]), "opening.proof"),
    (("proof",), None, "opening.proof"),
    (("schema",), "usufruct-opened-sums/2", "opening.schema"),
    (("schema",), "usufruct-receipt/2", "opening.schema"),
]


@pytest.mark.parametrize(("place", "value", "field"), SPELT)
def test_every_value_has_one_spelling(place: Place, value: Any, field: str) -> None:
    refusal = refused(lambda: load_opened_sums(with_value(DOCUMENT, place, value)))
    assert refusal.field == field
    assert LONG not in str(refusal)


def test_a_proof_whose_scalars_are_not_reduced_is_no_second_spelling_of_it() -> None:
    c, answer = OPENING.proof[:32], OPENING.proof[32:]
    for proof in (ORDER.to_bytes(32, "big") + answer, c + b"\xff" * 32, answer + c):
        assert refused(lambda bad=proof: held(replace(OPENING, proof=bad))).field == "opening.proof"
    twin = (ORDER - int.from_bytes(answer, "big")).to_bytes(32, "big")
    assert refused(lambda: held(replace(OPENING, proof=c + twin))).field == "opening.proof"


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"\x00\xff",
    "half of it": RAW[:-5],
    "twice": RAW + RAW,
    "a key before its value": b'{"schema":' + RAW[1:],
    "a list": b"[" + RAW + b"]",
    "text": b'"usufruct-opened-sums/1"',
    "a key twice": RAW[:-1] + b',"sums":["1","2"]}',
    "deep": b"[" * 10_000 + b"]" * 10_000,
    "deep inside": RAW.replace(b'"34977"', b"[" * 30 + b"]" * 30),
    "a huge number": RAW.replace(b'"34977"', b"9" * 9_000),
    "a fraction": RAW.replace(b'"34977"', b"34977.0"),
    "no number": RAW.replace(b'"34977"', b"NaN"),
    "half a surrogate": RAW.replace(b'"34977"', b'"\\ud800"'),
    "too large": RAW + b" " * LARGEST,
    "a byte too large": b'"' + b"x" * (LARGEST - 1) + b'"',
    "with a mark": b"\xef\xbb\xbf" + RAW,
}


@pytest.mark.parametrize(
    "laid_out",
    [
        RAW + b"\n",
        json.dumps(DOCUMENT).encode(),
        json.dumps(dict(reversed(DOCUMENT.items())), indent=2).encode(),
    ],
)
def test_an_opening_is_read_in_whatever_layout_an_editor_left_it(laid_out: bytes) -> None:
    assert load_opened_sums(laid_out) == OPENING


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_opening_is_refused_by_name(what: str) -> None:
    refusal = refused(lambda: load_opened_sums(HOSTILE[what]))
    assert str(refusal.field).startswith("opening")
    assert len(str(refusal)) < 500


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=400))
def test_any_bytes_are_refused(raw: bytes) -> None:
    refused(lambda: load_opened_sums(raw))


@settings(max_examples=200, deadline=None)
@given(
    found=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    key=st.sampled_from(sorted(DOCUMENT)) | st.just("more"),
)
def test_any_json_in_the_place_of_a_value_is_refused(found: Any, key: str) -> None:
    refused(lambda: taken({**DOCUMENT, key: found}))


@pytest.mark.parametrize("key", sorted(DOCUMENT))
def test_a_missing_and_an_unknown_field_are_named(key: str) -> None:
    less = {name: value for name, value in DOCUMENT.items() if name != key}
    assert refused(lambda: load_opened_sums(less)).field == f"opening.{key}"
    more = {**DOCUMENT, f"x{key}": 1}
    assert refused(lambda: load_opened_sums(more)).field == f"opening.x{key}"


def test_what_is_larger_than_any_opening_is_not_even_parsed() -> None:
    larger = {**DOCUMENT, "note": "x" * LARGEST}
    assert refused(lambda: load_opened_sums(larger)).field == "opening"


def test_the_largest_there_can_be_is_read_and_proven_quickly() -> None:
    sums = [-(10**19) + 1] * MOST_SUMS
    largest = OpenedSums(bytes(32), tuple(sums), bytes(64))
    assert len(largest.to_bytes()) < LARGEST
    assert load_opened_sums(largest.to_bytes()) == largest
    values = list(range(-500, MOST_SUMS - 500))
    sealed = encode_sealed(encrypted(values, -recipient(DELIVERY_KEY)))
    began = time.perf_counter()
    made = prove(session_of(RECEIPT), bytes(32), sealed, values, SECRET)
    seconds = time.perf_counter() - began
    print(f"\n{MOST_SUMS} sums: proven and held against them in {seconds:.2f} s, ", end="")
    print(f"{len(made.to_bytes())} bytes")


# --- the vault lane, files and words


def test_a_receipt_of_the_vault_lane_has_no_opening() -> None:
    nowhere = cast(Chain, None)  # nothing is asked
    with pytest.raises(Refusal) as refusal:
        verify(sample().to_json(), nowhere, opening=OPENING)
    assert refusal.value.field == "opening"
    with pytest.raises(Refusal) as refusal:
        prove_by_receipt(sample().to_json(), Opened(bytes(32), b"{}", {}), DELIVERY)
    assert (refusal.value.code, refusal.value.field) == ("no_opening", "opening")
    with pytest.raises(Refusal) as refusal:
        Answer("0x", {}, {}).opening()
    assert refusal.value.code == "no_opening"
    assert Answer("0x", {}, {}, lambda: OPENING).opening() == RAW


def test_numbers_without_the_question_are_refused_before_the_chain_is_asked() -> None:
    nowhere = cast(Chain, None)
    with pytest.raises(Refusal) as refusal:
        verify(RECEIPT.to_json(), nowhere, opening=OPENING)
    assert (refusal.value.code, refusal.value.field) == ("dictionary_needed", "dictionary")
    assert "bundle" in refusal.value.remedy


def test_only_the_same_requests_opening_is_replaced(tmp_path: Path) -> None:
    own, request = tmp_path / "opening.json", DOCUMENT["request"]
    take = partial(require_no_other, own, field="opening_out")
    take(request)
    own.write_bytes(RAW)
    take(request)
    other = {**DOCUMENT, "request": "0x" + "11" * 32}
    receipt = {"schema": "usufruct-receipt/2", "request": request}
    for there in (canonical(other), canonical(receipt), b"notes", b"[]", b"[" * 100_000, b"\xff"):
        own.write_bytes(there)
        with pytest.raises(Refusal) as refusal:
            take(request)
        assert (refusal.value.code, refusal.value.field) == ("file_exists", "opening_out")
        assert "--opening-out" in refusal.value.remedy
        assert own.read_bytes() == there
    with pytest.raises(Refusal) as refusal:
        require_no_other(tmp_path / "none" / "o.json", request, "opening_out")
    assert (refusal.value.code, refusal.value.field) == ("no_folder", "opening_out")
    # Nor is an opening replaced by a receipt, of the same request even.
    own.write_bytes(RAW)
    with pytest.raises(Refusal) as refusal:
        require_no_other(own, request)
    assert refusal.value.code == "file_exists"


def test_an_opening_of_the_vault_lane_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    files = Files(None, tmp_path / "opening.json")
    files.require_lane(is_tally=True)
    with pytest.raises(Refusal) as refusal:
        files.require_lane(is_tally=False)
    assert refusal.value.code == "no_opening"
    assert not list(tmp_path.iterdir())
    Files(None, None).require_lane(is_tally=False)


def test_a_file_of_any_size_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "opening.json"
    with path.open("wb") as file:
        file.truncate(1 << 26)
    tracemalloc.start()
    with pytest.raises(Refusal) as refusal:
        read_opening(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (refusal.value.code, refusal.value.field) == ("opening_invalid", "opening")
    assert peak < 40 * LARGEST


def test_one_file_is_not_both(tmp_path: Path) -> None:
    key = tmp_path / "delivery.key"
    both = ["--receipt", str(tmp_path / "x"), "--opening-out", str(tmp_path / "." / "x")]
    given_ = ["result", "--request", "11" * 32, "--delivery-key-file", str(key), *both]
    done = CliRunner().invoke(main, given_)
    assert done.exit_code == 2
    assert "name the same file" in done.output
    assert not list(tmp_path.iterdir())


def test_opened_numbers_are_told_as_proven_and_no_more_than_that() -> None:
    lane, sums, opened = verified_words(RECEIPT, (), True)
    assert (sums, opened) == (RECOMPUTED, OPENED)
    assert verified_words(RECEIPT, ()) == [lane, ALL_RECOMPUTED]
    assert "--opening-out" in ALL_RECOMPUTED
    assert "proven as far as is said above" in OPENED
    assert verified_words(RECEIPT, ("proofs",), True)[-1] == OPENED
    assert DOCUMENT["schema"] == SCHEMA
