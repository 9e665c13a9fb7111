"""What somebody who is new here runs into: what is wrong is named, and what a word is about is said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from marketplace.cli.say import json_object
from marketplace.cli.scores import at_fault
from marketplace.cli.status import request_words
from marketplace.cli.verify import NOT_PROVEN, NOT_RECOMPUTED, verified_words
from marketplace.client.answers import answer_words
from marketplace.client.documents import Dataset
from marketplace.client.score_keys import ScoreFolder
from marketplace.client.score_words import unencoded_words, why_none
from marketplace.errors import Refusal
from marketplace.fhir.demo import demo_dictionary, tallied_dictionary
from marketplace.receipts.format import Receipt, load
from marketplace.receipts.proofs import PROOFS
from marketplace.receipts.recount import STEPS as RECOUNTED
from marketplace.vocabulary import Lane
from marketplace.wire import keyfiles
from marketplace.wire.dictionary import Dictionary
from marketplace.words import LANES, quote_words
from tests.support.nodes import ROOT
from tests.support.tallied_study import asked
from tests.unit.test_cli import HEX, NOBODY, WRONG_USE, refused, request_options, run
from tests.unit.test_cli_words import QUOTE

VECTORS = ROOT / "tests" / "vectors"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "own.key"
    keyfiles.create(path, keyfiles.new_signing_key())
    return path


def one_line(text: str) -> str:
    return " ".join(text.split())


# --- options and files


@pytest.mark.parametrize("command", ["request", "grant", "seal"])
def test_no_option_is_shown_with_a_bound_that_it_does_not_have(command: str) -> None:
    shown = run(command, "--help").output
    assert "None" not in shown
    assert "x>=1" in shown


def test_a_class_below_one_is_refused_where_it_is_typed(tmp_path: Path, key_file: Path) -> None:
    given = [*request_options(tmp_path, key_file), "--class", "0"]
    assert "--class" in refused(run(*given), WRONG_USE)


def test_a_mistyped_key_file_is_first_a_path_to_be_checked(tmp_path: Path) -> None:
    path = tmp_path / "researchr.key"
    output = one_line(refused(run("key", path, "--show")))
    assert f"The key file {path} is missing. Check the path." in output
    assert output.index("Check the path") < output.index("usufruct key")
    assert "If you never made one" in output


def test_a_key_file_that_others_read_is_named_whole_and_is_no_field(key_file: Path) -> None:
    key_file.chmod(0o644)
    output = one_line(refused(run("key", key_file, "--show")))
    assert f"The key file {key_file} can be read by others." in output
    assert "(field" not in output


def test_parameters_that_are_no_json_come_with_an_example(tmp_path: Path, key_file: Path) -> None:
    wrong = request_options(tmp_path, key_file, parameters="{variable: systolic}")
    output = one_line(refused(run(*wrong), WRONG_USE))
    assert "(line 1, column 2)" in output
    _, _, example = output.partition("such as '")
    assert json_object(example.partition("'")[0], "--parameters") == {"variable": "systolic"}


def test_a_file_that_is_missing_is_refused_with_code_and_remedy(tmp_path: Path) -> None:
    path, manifest = tmp_path / "nothing.json", tmp_path / "manifest.json"
    manifest.write_text("{}")
    given = ("verify-receipt", path, "--node", NOBODY, "--manifest", manifest)
    output = one_line(refused(run(*given)))
    assert f"{path}: No such file or directory. Check the path. [file_not_found]" in output


def test_a_receipt_of_neither_form_is_told_both(tmp_path: Path) -> None:
    whole = json.loads((VECTORS / "receipt.json").read_bytes())
    for told in ({**whole, "schema": "a receipt"}, {}):
        with pytest.raises(Refusal) as caught:
            load(json.dumps(told).encode())
        words = str(caught.value)
        assert "usufruct-receipt/1" in words
        assert "usufruct-receipt/2" in words


# --- lanes


def request_found(**more: Any) -> dict[str, Any]:
    found = {"stage": "settled", "seal_deadline": 1, "settle_deadline": 2, "cohort_size": 20}
    return {**found, **more}


@pytest.mark.parametrize("lane", Lane)
def test_a_request_is_told_with_its_lane(lane: Lane) -> None:
    words = request_words(request_found(lane=lane.name.lower()))
    assert LANES[lane] in words
    assert len(set(LANES.values())) == len(Lane)


def test_a_request_that_the_chain_does_not_know_has_no_lane() -> None:
    (only,) = request_words(request_found(stage="none", lane=None))
    assert only.startswith("The chain knows no such request")


@pytest.mark.parametrize("lane", ["", "sealed", 3, "__class__"])
def test_a_lane_that_an_operator_made_up_is_refused_by_name(lane: Any) -> None:
    with pytest.raises(Refusal) as caught:
        request_words(request_found(lane=lane))
    assert (caught.value.code, caught.value.field) == ("malformed_answer", "lane")


# --- what a verified receipt leaves open


def receipt(name: str) -> Receipt:
    document = json.loads((VECTORS / name).read_bytes())
    return load(document.get("receipt", document))


def test_a_vault_receipt_says_on_whom_its_correctness_rests() -> None:
    read = receipt("receipt.json")
    lane, rests = verified_words(read, ())
    assert lane == LANES[Lane.VAULT]
    assert read.gate in rests
    assert "the word of" in rests
    assert "cannot be recomputed" in rests


@pytest.mark.parametrize(
    ("not_done", "words"),
    [
        ((*RECOUNTED, PROOFS), NOT_RECOMPUTED),
        ((PROOFS,), NOT_PROVEN),
    ],
)
def test_a_homomorphic_receipt_says_what_was_not_verified(
    not_done: tuple[str, ...], words: str
) -> None:
    lane, left = verified_words(receipt("receipt_tally.json"), not_done)
    assert (lane, left) == (LANES[Lane.HOMOMORPHIC], words)
    assert "proofs" in left
    assert "--proofs" in left


def test_a_homomorphic_receipt_whose_records_were_all_verified_leaves_nothing_to_anybodys_word() -> (
    None
):
    lane, all_of_it = verified_words(receipt("receipt_tally.json"), ())
    assert lane == LANES[Lane.HOMOMORPHIC]
    assert "added up again" in all_of_it
    assert "--proofs" not in all_of_it


# --- scores

SCORES: Mapping[str, Any] = {**QUOTE, "release_kind": 2}


def test_a_quote_for_scores_says_who_gets_them_and_what_its_error_is_of() -> None:
    words = quote_words(SCORES)
    (told,) = [each for each in words if "score" in each and "counted patient" in each]
    assert "open" in told
    assert "how many patients have each" in told
    (error,) = [each for each in words if each.startswith("Expected error")]
    assert error.startswith("Expected error of these numbers: ")
    assert not any("score" in each for each in quote_words({**QUOTE, "release_kind": 0}))


def test_an_answer_beside_scores_says_what_its_numbers_count() -> None:
    asking = {"model": HEX, "variables": ["age", "sex=1"]}
    noised = asked("score.v1", asking).answer([[50, *[None] * 4, 0, 0, 0]] * 20)
    document = {
        "analysis": "score.v1",
        "parameters": asking,
        "cohort_size": 20,
        "noised": json.loads(noised.to_json()),
    }
    words = answer_words(document)
    assert any(each.startswith("sex=1: 20 ") for each in words)
    assert any("of any category" in each for each in words)


NEVER, DESTROYED, UNASKED, WAITING = range(4)


@pytest.mark.parametrize(
    ("record", "listed", "handed_in", "says"),
    [
        (None, [], False, "handed in no record"),
        (None, [], True, "destroys"),
        (HEX, [], True, "No request"),
        (HEX, [{"state": "waiting"}], True, "not ready"),
    ],
)
def test_where_there_is_no_score_one_sentence_says_why(
    record: str | None, listed: list[Mapping[str, Any]], handed_in: bool, says: str
) -> None:
    words = why_none(record, listed, handed_in)
    assert says in words
    assert words.endswith(".")
    others = {why_none(None, [], False), why_none(None, [], True), why_none(HEX, [], True)}
    assert len(others) == 3


def test_a_score_key_folder_that_is_not_there_is_named_before_anybody_is_asked(
    tmp_path: Path, key_file: Path
) -> None:
    folder, bundle = tmp_path / "nofolder", tmp_path / "bundle.json"
    bundle.write_text("{}")
    for command in ("scores", "score-record"):
        given = ("--url", NOBODY, "--dataset", HEX, "--key-file", key_file, "--fhir", bundle)
        output = one_line(refused(run(command, *given, "--score-key", folder)))
        assert f"There is no folder {folder}." in output
        assert "(field score_key)" in output
    with pytest.raises(Refusal) as caught:
        ScoreFolder(folder).record(bytes(32))
    assert str(folder) in caught.value.message
    assert "There is no folder" in caught.value.message


def differs(message: str) -> Refusal:
    return Refusal(code="score_differs", message=message, remedy="Check it.", field="request")


def test_one_warning_about_several_scores_is_said_once_with_their_requests() -> None:
    found = at_fault([("0xaa", differs("Wrong.")), ("0xbb", differs("Wrong."))])
    assert [str(each) for each in found] == ["0xaa, 0xbb: Wrong. Check it."]
    assert [(each.code, each.field) for each in found] == [("score_differs", "request")]
    two = at_fault([("0xaa", differs("Wrong.")), ("0xbb", differs("Other."))])
    assert [each.message for each in two] == ["0xaa: Wrong.", "0xbb: Other."]


# --- models


def dataset(dictionary: Dictionary | None) -> Dataset:
    return Dataset(bytes(32), "", "", False, dictionary, ())


@pytest.mark.parametrize(
    ("reads", "dictionaries", "said"),
    [
        (["age", "systolic", "sex=1"], [tallied_dictionary()], None),
        (["age", "bmi"], [tallied_dictionary()], "bmi"),
        (["age", "bmi"], [demo_dictionary(), tallied_dictionary()], "bmi"),
        (["age"], [demo_dictionary()], "age"),
        (["age"], [None], "age"),
        (["age", "bmi"], [], "age, bmi"),
    ],
)
def test_a_model_that_no_dataset_encodes_is_published_with_a_word(
    reads: list[str], dictionaries: list[Dictionary | None], said: str | None
) -> None:
    words = unencoded_words(reads, [dataset(each) for each in dictionaries])
    if said is None:
        assert words is None
        return
    assert words is not None
    assert f": {said}." in words
