"""What commands say where something is wrong: which file and where in it, which price, which command next."""

import json
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import flask
import pytest

from marketplace.cli.main import main
from marketplace.cli.result import require_no_other, show_answer
from marketplace.cli.say import in_file
from marketplace.cli.status import request_words
from marketplace.client.ended import MONEY_BACK, STATUS, require_settled, spent_words
from marketplace.client.offers import Offer, Question
from marketplace.demo import purpose
from marketplace.errors import Refusal, WrongUnit
from marketplace.wire import keyfiles
from marketplace.words import error_words, quote_words, tenth_words
from tests.support.custody_world import served
from tests.support.terminal import at_a_terminal, in_a_pipe
from tests.unit.test_cli import (
    ADDRESS,
    CONSENTING,
    HEX,
    NOBODY,
    WRONG_USE,
    refused,
    request_options,
    run,
)

# --- files


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "own.key"
    keyfiles.create(path, keyfiles.new_signing_key())
    return path


READERS: Mapping[str, tuple[str, ...]] = {
    "publish-dataset --dictionary": ("--node", NOBODY, "--manifest", "none", "--key-file", "none"),
    "hand-over-dictionary --dictionary": (),
    "publish-class --terms": (
        *("--node", NOBODY, "--manifest", "none", "--key-file", "none", "--dataset", HEX),
        *("--page", "none"),
    ),
    "hand-over-page --page": (),
    "give-credential --credential": (
        *("--node", NOBODY, "--manifest", "none", "--key-file", "none", "--researcher", ADDRESS),
    ),
    "open-epoch --custodian": (
        *("--node", NOBODY, "--manifest", "none", "--key-file", "none", "--quorum", "1"),
        *("--gate", "none"),
    ),
    "upload": (),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_malformed_file_is_named_with_line_and_column_and_not_shown(
    tmp_path: Path, reader: str
) -> None:
    path = tmp_path / "given.json"
    path.write_text('{"a": 1,\n "value": 4242 true}')
    output = refused(run(*reader.split(), path, *READERS[reader]))
    assert "given.json is not JSON (line 2, column 16)" in output
    assert "4242" not in output


def test_a_malformed_purpose_or_parameter_says_where(tmp_path: Path, key_file: Path) -> None:
    (tmp_path / "purpose.json").write_text('{\n"uses": }')
    output = refused(run(*request_options(tmp_path, key_file)))
    assert "purpose.json is not JSON (line 2, column 9)" in output
    wrong = request_options(tmp_path, key_file, parameters='{"variable": systolic}')
    assert "--parameters is not JSON (line 1, column 14)" in refused(run(*wrong), WRONG_USE)


def test_a_manifest_that_is_no_json_says_where_and_a_missing_one_says_so(
    tmp_path: Path, key_file: Path
) -> None:
    manifest, receipt = tmp_path / "manifest.json", tmp_path / "receipt.json"
    receipt.write_text("{}")
    common = ("verify-receipt", receipt, "--node", NOBODY, "--manifest", manifest)
    assert "manifest.json cannot be read: No such file" in refused(run(*common))
    manifest.write_text("{\n\n  oops")
    assert "manifest.json cannot be read: it is not JSON (line 3, column 3)" in refused(
        run(*common)
    )


def test_what_is_wrong_in_a_file_is_told_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    wrong = WrongUnit(
        message="Wrong.", remedy="Convert it.", field="systolic", facts={"found": "kPa"}
    )
    with pytest.raises(Refusal) as caught, in_file(path):
        raise wrong
    found = caught.value
    assert found.message == f"{path}: Wrong."
    assert (found.code, found.remedy, found.field) == ("wrong_unit", "Convert it.", "systolic")
    assert found.facts == wrong.facts


# --- what a quote and an ended request say

QUOTE: dict[str, Any] = {
    "price_per_member": 600_000,
    "fee": 5_000_000,
    "escrow": "17000000",
    "token_decimals": 6,
    "token_symbol": "EUR",
    "cost_nano_rho": 30_000_000,
    "epsilon": {"epsilon": "1.1", "delta": "1e-06"},
    "odds": {"in_words": "At most 75 times."},
    "expected_error": {
        "half_width": "2.5",
        "unit": "mm[Hg]",
        "holds": "at most",
        "tells_nothing": False,
        "in_words": "95% half-width of 2.5 mmHg either way, with 20 patients: at most.",
    },
    "expected_error_of_a_tenth": None,
    "members_assumed": 20,
    "live": 20,
    "minimum_cohort": 20,
    "refusal": None,
}
TOO_DEAR = {"code": "cost_above_class", "message": "Too much.", "remedy": "Less.", "field": "cost"}


ERROR = QUOTE["expected_error"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (1, "95% half-width of 2.5 mmHg either way, with 1 patient: at most."),
        (2, "95% half-width of 2.5 mmHg either way, with 2 patients: at most."),
    ],
)
def test_an_expected_error_is_called_a_95_percent_half_width_and_counts_its_patients(
    members: int, said: str
) -> None:
    assert error_words(ERROR, members) == said


def test_the_delta_of_an_epsilon_is_told_as_a_chance_and_not_with_an_exponent() -> None:
    said = " ".join(quote_words(QUOTE))
    assert "(epsilon 1.1 at a delta of 1 in 1,000,000)" in said
    assert "1e-" not in said


def test_an_error_without_a_unit_is_told_without_one() -> None:
    assert error_words({**ERROR, "unit": ""}, 2).startswith("95% half-width of 2.5 either way")


def test_a_quote_with_filters_says_what_to_expect_if_only_a_tenth_pass_them() -> None:
    tenth = {**ERROR, "half_width": "25", "members": 2}
    tenth["in_words"] = tenth_words(tenth, 2)
    *_, error, last = quote_words({**QUOTE, "expected_error_of_a_tenth": tenth})
    assert error == f"Expected error: {ERROR['in_words']}"
    assert last == (
        "If only a tenth of them (2 patients) pass the filters: 95% half-width of 25 mmHg."
    )
    assert tenth_words({**tenth, "tells_nothing": True}, 2).endswith("tells nothing.")
    assert error_words({**ERROR, "tells_nothing": True}, 2).endswith("such a result tells nothing.")


@pytest.mark.parametrize(
    ("live", "said"),
    [(0, "Only 0 consents are"), (1, "Only 1 consent is"), (2, "Only 2 consents are")],
)
def test_too_few_consents_are_counted_in_the_right_number(live: int, said: str) -> None:
    assert quote_words({**QUOTE, "live": live})[-1].startswith(f"{said} live; below 20")


def offer(quote: dict[str, Any]) -> Offer:
    return Offer(Question(bytes(32), (1,), "mean.v1", {}, purpose()), quote)


def test_what_cannot_be_bought_is_said_first_and_refused() -> None:
    first, *others = quote_words({**QUOTE, "refusal": TOO_DEAR})
    assert first == "It cannot be bought like this. Too much. Less."
    assert others == quote_words(QUOTE)
    offer(QUOTE).require_buyable()
    with pytest.raises(Refusal) as caught:
        offer({**QUOTE, "refusal": TOO_DEAR}).require_buyable()
    assert (caught.value.code, caught.value.field) == ("cost_above_class", "cost")
    assert caught.value.remedy == "Nothing was paid. Less."


def test_a_receipt_that_could_not_be_written_is_refused_before_anything_is_paid(
    tmp_path: Path,
) -> None:
    with pytest.raises(Refusal) as caught:
        require_no_other(tmp_path / "missing" / "receipt.json")
    assert (caught.value.code, caught.value.field) == ("no_folder", "receipt")
    require_no_other(tmp_path / "receipt.json")


def test_the_accounts_key_is_no_delivery_key(tmp_path: Path, key_file: Path) -> None:
    (tmp_path / "purpose.json").write_text(json.dumps(purpose().to_json()))
    output = refused(
        run(*request_options(tmp_path, key_file, **{"delivery-key-file": str(key_file)}))
    )
    assert "[same_key] (field delivery_key_file)" in output


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (20, "It cost 17.00 EUR: 20 patients and the operator's fee."),
        (
            18,
            "It cost 15.80 EUR: 18 patients and the operator's fee. 1.20 EUR of the escrow came back",
        ),
    ],
)
def test_what_an_answer_cost_and_what_came_back_add_up_to_what_was_held(
    members: int, said: str
) -> None:
    words = spent_words(QUOTE, members)
    assert words.startswith(said)
    assert ("usufruct withdraw-credit" in words) is (members < 20)


OTHER = "0x" + "ee" * 32
"""The request that an operator names in its answer: its word, whatever was asked about."""


def ended(chain_stage: str | None, stage: str = "refused") -> Refusal:
    reason = {"code": "cohort_too_small", "message": "Only 3.", "remedy": "Wait for more."}
    found = {"request": OTHER, "stage": stage, "chain_stage": chain_stage, "reason": reason}
    with pytest.raises(Refusal) as caught:
        require_settled(found, HEX)
    return caught.value


def test_a_request_that_was_paid_and_refused_names_the_commands_that_bring_the_money_back() -> None:
    found = ended("opened")
    assert found.code == "cohort_too_small"
    assert found.message == "The request is refused. Only 3."
    cancel = found.remedy.index(f"`usufruct cancel --request {HEX} --key-file KEY`")
    assert 0 < cancel < found.remedy.index("`usufruct withdraw-credit --key-file KEY --to ADDRESS`")


@pytest.mark.parametrize("stage", [None, "opened", "cancelled"])
def test_no_command_is_named_for_another_request_than_was_asked_about(stage: str | None) -> None:
    assert OTHER not in ended(stage).remedy


@pytest.mark.parametrize("stage", ["cancelled", "reclaimed", "defaulted"])
def test_what_came_back_already_only_has_to_be_paid_out(stage: str) -> None:
    remedy = ended(stage, stage).remedy
    assert "usufruct cancel" not in remedy
    assert "`usufruct withdraw-credit" in remedy


@pytest.mark.parametrize("stage", [None, "none", "frozen", 7])
def test_where_nothing_is_known_to_be_paid_no_command_is_named_that_would_be_refused(
    stage: Any,
) -> None:
    assert "cancel" not in ended(stage).remedy
    assert "withdraw-credit" not in ended(stage).remedy


@pytest.mark.parametrize("words", [*MONEY_BACK.values(), STATUS])
def test_the_commands_that_are_named_exist_and_are_whole(words: str) -> None:
    for typed in re.findall(r"`usufruct ([^`]+)`", words):
        name, *given = shlex.split(typed)
        command = main.get_command(click.Context(main), name)
        assert command is not None
        options = {opt: param for param in command.params for opt in param.opts}
        assert {each for each in given if each.startswith("--")} <= set(options)
        needed = {param.opts[0] for param in command.params if param.required}
        assert needed <= set(given)


# --- answers of others that nobody can read

NOISED = {
    "confidence": "0.95",
    "cost_nano_rho": 1,
    "covers": "noise",
    "estimates": [{"high": "3", "label": [], "low": "1", "value": "2"}],
    "format": 1,
    "members": 20,
    "noise": [["count", "1"]],
    "quantity": "count",
    "unit": "patients",
}


ASKED: dict[str, Any] = {"analysis": "count.v1", "parameters": {"filters": []}, "cohort_size": 20}


def bent(**changes: Any) -> dict[str, Any]:
    return {**ASKED, "noised": {**NOISED, **changes}}


def test_an_answer_is_shown_in_words_and_with_its_interval(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_answer(HEX, bent(), {"signed": True}, None)
    told = capsys.readouterr()
    shown = json.loads(told.out)
    assert next(iter(shown)) == "in_words"
    first, *_, last = shown["in_words"]
    assert first == "2 patients, 95% interval 1 to 3 patients."
    assert "sampling) is not in it" in last
    assert shown["result"] == [{"label": [], "value": "2", "interval": ["1", "3"]}]
    assert shown["receipt"] == {"signed": True}
    assert "`usufruct result --receipt FILE`" in told.err


@pytest.mark.parametrize(
    ("receipt", "file"), [({"signed": True}, Path("receipt.json")), (None, None)]
)
def test_where_no_receipt_is_printed_nothing_is_said_of_its_spelling(
    capsys: pytest.CaptureFixture[str], receipt: dict[str, Any] | None, file: Path | None
) -> None:
    show_answer(HEX, bent(), receipt, file)
    told = capsys.readouterr()
    assert json.loads(told.out)["receipt"] == (file and str(file))
    assert told.err == ""


UNREADABLE: Mapping[str, dict[str, Any]] = {
    "nothing": {},
    "no result": {**ASKED, "noised": None},
    "no estimates": bent(estimates=None),
    "an estimate without an interval": bent(estimates=[{"label": [], "value": "2"}]),
    "text for an estimate": bent(estimates=["2"]),
    "no cost": {**ASKED, "noised": {"estimates": []}},
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_answer_that_its_gate_bent_ends_in_a_sentence_that_names_it(case: str) -> None:
    with pytest.raises(Refusal) as caught:
        show_answer(HEX, UNREADABLE[case], {}, None)
    assert (caught.value.code, caught.value.field) == ("malformed_answer", "result.noised")
    assert "receipt" in caught.value.remedy


@pytest.mark.parametrize("stage", ["", "paid", "__class__", 7, None])
def test_a_stage_that_an_operator_made_up_is_refused_by_name(stage: Any) -> None:
    with pytest.raises(Refusal) as caught:
        request_words({"stage": stage, "seal_deadline": 1, "settle_deadline": 2, "cohort_size": 3})
    assert (caught.value.code, caught.value.field) == ("malformed_answer", "stage")


@pytest.mark.parametrize("deadline", [10**30, (1 << 40) - 1, "soon", None])
def test_a_deadline_beyond_every_calendar_is_told_in_seconds(deadline: Any) -> None:
    found = {"stage": "opened", "seal_deadline": deadline, "settle_deadline": 2, "cohort_size": 3}
    (said,) = request_words(found)
    assert said.endswith(f"To be sealed by {deadline}.")


# --- nobody erases unasked

ERASE = """
import click
from marketplace.cli.agreement import require_erasure_meant
from marketplace.cli.say import refusals_as_words
@click.command()
@refusals_as_words
def erase():
    require_erasure_meant("0x11", False)
    print('{"erased": true}')
erase()
"""


def test_at_a_terminal_a_record_is_erased_after_a_yes_and_only_then() -> None:
    said = at_a_terminal([sys.executable, "-c", ERASE], "y\n")
    assert (said.code, said.stdout) == (0, '{"erased": true}\n')
    assert "Erase the record of 0x11 for good?" in said.stderr
    said = at_a_terminal([sys.executable, "-c", ERASE], "\n")
    assert (said.code, said.stdout) == (1, "")
    assert "[not_agreed] (field yes)" in said.stderr


def test_where_nobody_can_be_asked_nothing_is_erased() -> None:
    said = in_a_pipe([sys.executable, "-c", ERASE])
    assert (said.code, said.stdout) == (1, "")
    assert "[not_agreed] (field yes)" in said.stderr
    assert "for good?" not in said.stderr


def test_a_revocation_has_no_question_to_answer() -> None:
    command = main.get_command(click.Context(main), "revoke")
    assert command is not None
    assert "yes" not in {param.name for param in command.params}


RECEIPT_OF = {"request": "0x" + "11" * 32}


@pytest.mark.parametrize("held", [json.dumps(RECEIPT_OF), "[]", "a letter"])
def test_a_file_that_is_not_this_requests_receipt_is_not_written_over(
    tmp_path: Path, held: str
) -> None:
    path = tmp_path / "receipt.json"
    require_no_other(path)
    path.write_text(held)
    for request in (None, "0x" + "22" * 32):
        with pytest.raises(Refusal) as caught:
            require_no_other(path, request)
        assert (caught.value.code, caught.value.field) == ("file_exists", "receipt")
    assert path.read_text() == held


def test_the_receipt_of_this_very_request_may_be_fetched_again(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(RECEIPT_OF))
    require_no_other(path, RECEIPT_OF["request"])
    require_no_other(None)


# --- operators that say anything


CLASS = {"terms": {"maxCost": "250"}, "live": 5}
SAID: Mapping[str, Any] = {
    "nothing wrong": {},
    "a class that costs nothing": {"classes": [CLASS, {**CLASS, "terms": {"maxCost": "0"}}]},
    "a class that costs less": {"classes": [CLASS, {**CLASS, "terms": {"maxCost": "-1"}}]},
    "a cost that is no number": {"classes": [CLASS, {**CLASS, "terms": {"maxCost": "much"}}]},
    "terms that are none": {"classes": [CLASS, {**CLASS, "terms": "none"}]},
    "cohorts that are not counted": {"classes": [CLASS, {**CLASS, "live": "many"}]},
    "fewer classes": {"classes": [CLASS]},
    "classes that are none": {"classes": 2},
    "no number of a class": {"class_index": "two"},
    "a number of no class": {"class_index": -1},
    "a budget that is no number": {"cap": "1000"},
    "earnings that are no number": {"owed": "much"},
    "a record that is none": {"record": []},
    "a guardian that is none": {"guardian": "somebody"},
}


def saying(said: Mapping[str, Any]) -> flask.Flask:
    """An operator that answers every question with this."""
    app = flask.Flask("operator")
    told = {**CONSENTING, "classes": [CLASS, CLASS], "token_decimals": 6, **said}
    app.add_url_rule("/<path:_>", "tell", lambda _: told)
    return app


@pytest.mark.parametrize("what", SAID)
def test_whatever_an_operator_says_of_a_consent_status_ends_in_words(what: str) -> None:
    with served(saying(SAID[what])) as url:
        result = run("status", "--url", url, "--dataset", HEX, "--patient", ADDRESS)
    if what == "nothing wrong":
        assert result.exit_code == 0, result.output
    else:
        assert "[malformed_answer]" in refused(result)


REQUESTED: Mapping[str, Any] = {
    "stage": "funded",
    "terms": {"sealDeadline": 0, "settleDeadline": 0, "lane": 1},
    "cohort_size": None,
    "reason": None,
}
OF_REQUESTS: Mapping[str, Any] = {
    "nothing wrong": {},
    "terms that are none": {"terms": "none"},
    "terms without a lane": {"terms": {"sealDeadline": 0, "settleDeadline": 0}},
    "a lane that is none": {"terms": {"sealDeadline": 0, "settleDeadline": 0, "lane": 3}},
    "a reason that is none": {"reason": "none"},
    "a wait that is none": {"waiting": 1},
}


@pytest.mark.parametrize("what", OF_REQUESTS)
def test_whatever_an_operator_says_of_a_request_status_ends_in_words(what: str) -> None:
    with served(saying({**REQUESTED, **OF_REQUESTS[what]})) as url:
        result = run("status", "--url", url, "--request", HEX)
    if what == "nothing wrong":
        assert result.exit_code == 0, result.output
    else:
        assert "[malformed_answer]" in refused(result)
