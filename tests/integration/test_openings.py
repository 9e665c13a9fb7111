"""Published numbers of the homomorphic lane, held against their receipt with nothing but a node."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from marketplace.chain.adapter import Chain
from marketplace.cli.main import main
from marketplace.cli.verify import OPENED
from marketplace.client.answers import answer_words
from marketplace.client.logarithms import Logarithms
from marketplace.client.results import Known, open_on_chain, prove_by_receipt, prove_on_chain
from marketplace.client.tallied import OpenedTally
from marketplace.errors import BadParameter, Refusal
from marketplace.receipts.opened_sums import LARGEST, load_opened_sums, prove
from marketplace.receipts.recount import STEPS as RECOUNTED
from marketplace.receipts.tally_checks import session_of
from marketplace.receipts.verify import TALLY_STEPS, ReceiptInvalid, load, verify
from marketplace.vocabulary import Lane
from marketplace.wire import hpke, keyfiles
from marketplace.wire.canonical import canonical
from marketplace.wire.http import to_hex
from marketplace.wire.tally_delivery import TallyKey, delivery_key
from tests.support.mutations import with_value
from tests.support.tally_receipts import ANALYSIS, MEAN, Answered, answer, receipts_market
from tests.support.tally_world import ENCODED, PEOPLE
from tests.unit.test_receipts import sample

pytestmark = pytest.mark.timeout(900)
DELIVERY = hpke.SecretKey(bytes(range(32)))
NAMES = [f"p{i}" for i in range(len(PEOPLE))]


@dataclass(frozen=True)
class Published:
    """Two requests that ask the same of the same people, to the same key, and what was published of each."""

    first: Answered
    second: Answered
    folder: Path

    def file(self, name: str, content: bytes) -> str:
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)

    def typed(self, *given: str) -> Result:
        self.first.chain.manifest.save(self.folder / "manifest.json")
        node = ["--node", self.first.chain.node.url]
        return CliRunner().invoke(
            main, [*given, *node, "--manifest", str(self.folder / "manifest.json")]
        )

    def result(self, of: Answered, *more: str) -> Result:
        key = self.folder / "delivery.key"
        if not key.exists():
            keyfiles.create(key, DELIVERY.raw)
        asked = ["--parameters", json.dumps(MEAN), "--dictionary", self.dictionary]
        given = ["result", "--request", to_hex(of.request), "--delivery-key-file", str(key)]
        return self.typed(*given, *asked, *more)

    def verified(self, of: Answered, opening: bytes, *more: str) -> Result:
        receipt = self.file("receipt.json", canonical(of.receipt()))
        return self.typed(
            "verify-receipt", receipt, "--opening", self.file("shown.json", opening), *more
        )

    @property
    def dictionary(self) -> str:
        return self.file("dictionary.json", json.dumps(ENCODED).encode())

    def opened(self, of: Answered) -> OpenedTally:
        known = Known(of.market.world.dictionary, MEAN)
        tables = Logarithms(self.folder / "tables", processes=1)
        found = open_on_chain(of.chain, of.request, DELIVERY, known, tables)
        assert isinstance(found, OpenedTally)
        return found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """Every custodian is down, and no operator was ever there."""
    folder = tmp_path_factory.mktemp("openings")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    with receipts_market(folder) as (market, custodians):
        market.enrol(dict(zip(NAMES, PEOPLE, strict=True)))
        to = {"delivery_key": delivery_key(DELIVERY, Lane.HOMOMORPHIC)}
        first, second = (
            answer(market, market.sealed(name, ANALYSIS, MEAN, **to)) for name in ("one", "two")
        )
        custodians.close()
        yield Published(first, second, folder)
    patch.undo()


@pytest.fixture(scope="module")
def written(published: Published) -> bytes:
    """What `usufruct result --opening-out` wrote of the first request."""
    out = published.folder / "opening.json"
    done = published.result(published.first, "--opening-out", str(out))
    assert done.exit_code == 0, done.output
    return out.read_bytes()


def refused(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert "verified" not in result.stdout
    return " ".join(result.output.split())


def test_numbers_hold_against_the_receipt_and_are_shown_as_their_researcher_saw_them(
    published: Published, written: bytes
) -> None:
    own = json.loads(published.result(published.first).stdout)
    began = time.perf_counter()
    done = published.verified(published.first, written, "--dictionary", published.dictionary)
    seconds = time.perf_counter() - began
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    print(f"\nopening of {len(written)} bytes: held against its receipt in {seconds:.2f} s")
    assert shown["steps"] == [*TALLY_STEPS, "question", "opening"]
    assert shown["in_words"][-1] == OPENED
    opened = shown["opened"]
    assert opened.pop("sums") == json.loads(written)["sums"]
    assert opened == {name: value for name, value in own.items() if name != "receipt"}
    bundle = published.file("bundle.jsonl", published.first.bundle())
    recounted = published.verified(published.first, written, "--bundle", bundle)
    assert recounted.exit_code == 0, recounted.output
    again = json.loads(recounted.stdout)
    assert again["steps"] == [*TALLY_STEPS, *RECOUNTED, "opening"]
    assert again["opened"] == opened | {"sums": json.loads(written)["sums"]}


def test_an_opening_holds_no_secret(published: Published, written: bytes) -> None:
    secret = TallyKey.of(DELIVERY).secret
    said = published.result(
        published.first, "--opening-out", str(published.folder / "opening.json")
    )
    for text in (written.decode(), said.output, said.stderr):
        for key in (DELIVERY.raw.hex(), f"{secret:x}", str(secret)):
            assert key not in text
    assert sorted(json.loads(written)) == ["proof", "request", "schema", "sums"]


def test_one_requests_numbers_are_not_anothers(published: Published, written: bytes) -> None:
    """Of the same question about the same people to the same key, even where the numbers are relabelled."""
    given = ("--dictionary", published.dictionary)
    said = refused(published.verified(published.second, written, *given))
    assert "[opening_invalid] (field opening.request)" in said
    relabelled = {**json.loads(written), "request": to_hex(published.second.request)}
    said = refused(published.verified(published.second, canonical(relabelled), *given))
    assert "[opening_invalid] (field opening.proof)" in said


def bent(written: bytes) -> dict[str, tuple[bytes, str]]:
    """An opening with one thing wrong, and the field that is named for it."""
    document = json.loads(written)
    sums, proof = document["sums"], document["proof"]
    other = str(int(sums[0]) + 1)
    flipped = proof[:-1] + ("1" if proof[-1] == "0" else "0")
    changed: dict[str, tuple[Any, str]] = {
        "another number": (with_value(document, ("sums", 0), other), "opening.proof"),
        "a number that no cohort has": (
            with_value(document, ("sums", 1), "-999999999999"),
            "opening.sums[1]",
        ),
        "another order": ({**document, "sums": sums[::-1]}, "opening.proof"),
        "too few": ({**document, "sums": sums[:1]}, "opening.sums"),
        "too many": ({**document, "sums": [*sums, "0"]}, "opening.sums"),
        "another proof": ({**document, "proof": flipped}, "opening.proof"),
        "an unknown field": ({**document, "note": "x"}, "opening.note"),
        "another format": ({**document, "schema": "usufruct-receipt/2"}, "opening.schema"),
    }
    if sums[0] == sums[1]:  # one in 170,000
        del changed["another order"]
    found = {what: (canonical(each), field) for what, (each, field) in changed.items()}
    raw = sums[0].encode()
    return found | {
        "no JSON": (b"numbers: 4", "opening"),
        "too large": (written + b" " * LARGEST, "opening"),
        "a huge number": (written.replace(b'"%s"' % raw, b"9" * 9_000), "opening"),
        "nested": (b"[" * 20_000, "opening"),
        "nothing": (b"", "opening"),
    }


def test_whatever_is_bent_is_refused_by_name_and_nothing_is_shown(
    published: Published, written: bytes
) -> None:
    given = ("--dictionary", published.dictionary)
    for what, (content, field) in bent(written).items():
        said = refused(published.verified(published.first, content, *given))
        assert f"[opening_invalid] (field {field})" in said, what
        assert "shown.json" in said or "step opening" in said, what
    assert published.verified(published.first, written, *given).exit_code == 0


def test_a_false_receipt_is_found_before_its_numbers_are(
    published: Published, written: bytes
) -> None:
    """An opening makes no receipt good: every step of the receipt comes first."""
    receipt = published.first.receipt()
    false = with_value(receipt, ("cost",), str(int(receipt["cost"]) + 1))
    dictionary = published.first.market.world.dictionary
    opening = load_opened_sums(written)
    with pytest.raises(ReceiptInvalid) as refusal:
        verify(false, published.first.chain, dictionary=dictionary, opening=opening)
    assert refusal.value.field == "cost"
    other = replace(dictionary, version=2)
    with pytest.raises(BadParameter, match="not the one that the request's dataset has") as wrong:
        verify(receipt, published.first.chain, dictionary=other, opening=opening)
    assert (wrong.value.code, wrong.value.field) == ("wrong_dictionary", "dictionary")
    bundle = io.BytesIO(published.first.bundle())
    with pytest.raises(BadParameter) as wrong:  # though the bundle has the right one
        verify(receipt, published.first.chain, dictionary=other, bundle=bundle)
    assert wrong.value.code == "wrong_dictionary"


def test_numbers_need_the_question_and_their_own_lane(published: Published, written: bytes) -> None:
    said = refused(published.verified(published.first, written))
    assert "[dictionary_needed] (field dictionary)" in said
    vault = published.file("vault.json", sample().to_bytes())
    opening = published.file("shown.json", written)
    said = refused(published.typed("verify-receipt", vault, "--opening", opening))
    assert "[bad_parameter] (field opening)" in said
    assert "another lane" in said


def test_only_the_key_of_the_requests_terms_proves_them(
    published: Published, written: bytes
) -> None:
    """Who knows the numbers, from the opening itself, still makes none of his own."""
    receipt, chain = published.first.receipt(), published.first.chain
    read, sums = load(receipt), load_opened_sums(written).sums
    where = (session_of(read), read.settlement.result_hash, read.sealed_result)
    with pytest.raises(ValueError, match="not opened with the recipient's key"):
        prove(*where, sums, TallyKey.of(hpke.SecretKey(bytes(32))).secret)
    dictionary = published.first.market.world.dictionary
    own = published.opened(published.first)
    for made in (
        prove_by_receipt(receipt, own, DELIVERY),
        prove_on_chain(chain, published.first.request, own, DELIVERY),
    ):
        held = verify(receipt, chain, dictionary=dictionary, opening=made)
        assert held.answer == own.document
        assert answer_words(held.answer or {})
    # Bound to the result on chain: the other request's numbers are not proven for this one by its own key.
    other = published.opened(published.second)
    with pytest.raises(ValueError, match="not opened with the recipient's key"):
        prove(*where, other.sums, TallyKey.of(DELIVERY).secret)
    with pytest.raises(Refusal) as refusal:
        prove_on_chain(chain, published.first.request, other, DELIVERY)
    assert refusal.value.code == "another_answer"


def test_another_requests_file_is_not_overwritten(published: Published, written: bytes) -> None:
    out = published.folder / "kept.json"
    out.write_bytes(written)
    said = refused(published.result(published.second, "--opening-out", str(out)))
    assert "[file_exists] (field opening_out)" in said
    assert out.read_bytes() == written
    again = published.result(published.first, "--opening-out", str(out))
    assert again.exit_code == 0, again.output
    assert json.loads(out.read_bytes())["sums"] == json.loads(written)["sums"]
    assert isinstance(published.first.chain, Chain)
