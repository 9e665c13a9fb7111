"""`usufruct attest`, and the keys of a browser on the command line, against a real market."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eth_account import Account

from marketplace.cli.main import main
from marketplace.wire import keyfiles
from marketplace.wire.browser_keyfile import lock
from marketplace.wire.browser_keys import NO_DATASET
from marketplace.wire.http import to_hex
from marketplace.wire.keyring import Joined, Keyring
from marketplace.wire.opening import code_hash, code_text, new_code
from tests.support.api_world import ApiWorld, api_world
from tests.support.left_drafts import Browser, Clinic, Left
from tests.support.terminal import in_dialogue

VALUES = {"systolic": Decimal(131), "smoker": "yes"}
PASSPHRASE = "five calm otters read maps"
VALUE_CANARIES = ("systolic: 131 mm[Hg]", "smoker: yes")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("clinic")) as made:
        yield made


@pytest.fixture(scope="module")
def clinic(world: ApiWorld) -> Clinic:
    made = Clinic(world.custody, world.operator.drafts, world.custody.issuer)
    made.opens_desk()
    return made


def saved(folder: Path, name: str, who: Clinic | Browser) -> dict[str, Path]:
    """A browser's key file, and its passphrase in another."""
    path, phrase = folder / f"{name}.json", folder / f"{name}.passphrase"
    path.write_bytes(lock(Keyring(who.root, (Joined(who.place, 0),)), PASSPHRASE, "the clinic's"))
    phrase.touch(mode=0o600)
    phrase.write_text(PASSPHRASE + "\n")
    return {"--browser-key": path, "--passphrase-file": phrase}


def left(world: ApiWorld, clinic: Clinic, folder: Path, values: Any = VALUES) -> tuple[Left, Path]:
    """Left by a patient, opened by the clinic, and saved by its page."""
    (code,) = clinic.invites()
    who = Browser(world.custody)
    made = who.seals(values, code, clinic.desk_key)
    drafts, dataset = world.operator.drafts, world.custody.dataset
    drafts.leave(dataset, who.account.address, code_hash(code), made.document, made.opening)
    shown = drafts.opened(dataset, clinic.issuer.address, made.record.commitment)
    path = folder / "draft.json"
    path.write_text(json.dumps(shown.to_json()))
    return made, path


def bundle(folder: Path, systolic: str = "131.0", smoker: str = "yes") -> Path:
    quantity = {"value": float(systolic), "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
    concept = {"coding": [{"system": "http://loinc.org", "code": smoker}]}

    def observation(code: str, value: dict[str, Any]) -> dict[str, Any]:
        coded = {"coding": [{"system": "http://loinc.org", "code": code}]}
        about = {"resourceType": "Observation", "status": "final", "code": coded}
        about["subject"] = {"reference": "Patient/p"}
        return {"resource": {**about, "effectiveDateTime": "2026-01-01", **value}}

    entries = [
        {"resource": {"resourceType": "Patient", "id": "p"}},
        observation("8480-6", {"valueQuantity": quantity}),
        observation("72166-2", {"valueCodeableConcept": concept}),
    ]
    path = folder / f"bundle-{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}))
    return path


def options(world: ApiWorld, clinic: Clinic, folder: Path, made: Left) -> dict[str, object]:
    issuer = folder / "issuer.key"
    keyfiles.create(issuer, bytes(clinic.issuer.key))
    return {
        "--url": world.url,
        "--node": world.custody.node_url,
        "--manifest": world.config_path.parent / "manifest.json",
        "--dataset": world.dataset,
        **saved(folder, "clinic", clinic),
        "--issuer-key-file": issuer,
        "--code": code_text(made.code).lower(),
        "--number": "P-77",
        "--fhir": bundle(folder),
        "--out": folder / "entry.json",
    }


def run(name: str, given: dict[str, object], *more: object) -> Result:
    pairs = [str(part) for pair in given.items() for part in pair]
    return CliRunner().invoke(main, [name, *map(str, more), *pairs])


def refused(result: Result, code: str) -> str:
    assert result.exit_code == 1, result.output
    assert f"[{code}]" in result.output
    assert "Traceback" not in result.output
    for canary in (*VALUE_CANARIES, PASSPHRASE):
        assert canary not in result.output
    return result.output


def test_a_draft_is_compared_attested_and_sent(
    world: ApiWorld, clinic: Clinic, tmp_path: Path
) -> None:
    made, draft = left(world, clinic, tmp_path)
    given = options(world, clinic, tmp_path, made)
    result = run("attest", given, draft)
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["commitment"] == to_hex(made.record.commitment)
    assert told["person"] == to_hex(clinic.root.person(clinic.place, "p-77"))
    for canary in VALUE_CANARIES:
        assert canary not in result.output
    sent = CliRunner().invoke(main, ["upload", "--url", world.url, str(given["--out"])])
    assert json.loads(sent.output)[0]["outcome"] == "stored", sent.output
    world.operator.drafts.sweep()
    assert world.operator.database.draft(to_hex(made.record.commitment)) is None
    assert "[file_exists]" in run("attest", given, draft).output


def test_what_is_not_what_the_clinic_has_is_not_attested(
    world: ApiWorld, clinic: Clinic, tmp_path: Path
) -> None:
    made, draft = left(world, clinic, tmp_path)
    given = options(world, clinic, tmp_path, made)
    cases: list[tuple[str, dict[str, object]]] = [
        ("values_differ", {"--fhir": bundle(tmp_path, systolic="140.0")}),
        ("wrong_person", {"--code": code_text(new_code())}),
        ("bad_parameter", {"--code": "0000000-0000000-0000000-0000000"}),
        ("bad_parameter", {"--number": "no such number!"}),
        ("unknown_issuer", {"--issuer-key-file": _key(tmp_path)}),
        ("wrong_passphrase", {"--passphrase-file": _phrase(tmp_path, "another phrase than that")}),
        ("key_file", {"--passphrase-file": _phrase(tmp_path, PASSPHRASE, 0o644)}),
        ("keys_unreadable", {"--browser-key": bundle(tmp_path)}),
        (
            "envelope_unreadable",
            saved_of(tmp_path, Clinic(world.custody, clinic.drafts, clinic.issuer)),
        ),
    ]
    for code, changes in cases:
        said = refused(run("attest", {**given, **changes}, draft), code)
        assert not Path(str(given["--out"])).exists(), code
        if code == "values_differ":
            assert "systolic" in said
            assert "smoker" not in said


def saved_of(folder: Path, who: Clinic) -> dict[str, object]:
    return dict(saved(folder, "another clinic", who))


def _key(folder: Path) -> Path:
    path = folder / "nobody.key"
    keyfiles.create(path, keyfiles.new_signing_key())
    return path


def _phrase(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / f"phrase-{mode}-{len(text)}"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda each: {"opening": each["opening"]}, "malformed_draft"),
        (lambda each: [each], "malformed_draft"),
        (lambda each: {**each, "opening": "AAAA"}, "envelope_unreadable"),
        (lambda each: {**each, "opening": 7}, "bad_parameter"),
        (lambda each: {**each, "record": {}}, "record_unreadable"),
        (
            lambda each: {**each, "record": {**each["record"], "patient": "0x" + "22" * 20}},
            "envelope_unreadable",
        ),
    ],
)
def test_a_draft_that_was_changed_is_not_attested(
    world: ApiWorld, clinic: Clinic, tmp_path: Path, change: Any, code: str
) -> None:
    made, draft = left(world, clinic, tmp_path)
    draft.write_text(json.dumps(change(json.loads(draft.read_text()))))
    given = options(world, clinic, tmp_path, made)
    refused(run("attest", given, draft), code)
    assert not Path(str(given["--out"])).exists()


def test_where_nobody_looked_nothing_is_attested(
    world: ApiWorld, clinic: Clinic, tmp_path: Path
) -> None:
    made, draft = left(world, clinic, tmp_path)
    given = options(world, clinic, tmp_path, made)
    del given["--fhir"]
    result = run("attest", given, draft)
    assert result.exit_code == 1
    assert "[not_agreed]" in result.output
    assert not Path(str(given["--out"])).exists()
    assert run("attest", given, draft, "--yes").exit_code == 0


def test_at_a_terminal_the_values_are_shown_and_a_yes_attests(
    world: ApiWorld, clinic: Clinic, tmp_path: Path
) -> None:
    made, draft = left(world, clinic, tmp_path)
    given = options(world, clinic, tmp_path, made)
    del given["--fhir"], given["--passphrase-file"]
    command = [sys.executable, "-m", "marketplace.cli", "attest", str(draft)]
    command += [str(part) for pair in given.items() for part in pair]
    said = in_dialogue(command, [("Passphrase", PASSPHRASE), ("very person?", "y")])
    assert said.code == 0, said.stderr
    assert PASSPHRASE not in said.stderr
    for canary in VALUE_CANARIES:
        assert canary in said.stderr
        assert canary not in said.stdout
    assert Path(str(given["--out"])).exists()


def test_either_number_or_person_is_needed(tmp_path: Path) -> None:
    given: dict[str, object] = dict.fromkeys(
        ("--manifest", "--browser-key", "--out"), tmp_path / "x"
    )
    given |= {"--node": "http://127.0.0.1:1", "--dataset": "0x" + "11" * 32, "--code": "x"}
    for more in ({}, {"--number": "1", "--person": "0x" + "11" * 32}):
        result = run("attest", {**given, **more}, tmp_path / "draft.json")
        assert result.exit_code == 2
        assert "either --number or --person" in result.output


# --- a patient's own commands


def test_a_patient_grants_rests_and_revokes_with_the_browser_s_key(
    world: ApiWorld, clinic: Clinic, tmp_path: Path
) -> None:
    who = stored(world, clinic, "P-78")
    given = {"--url": world.url, "--dataset": world.dataset, **saved(tmp_path, "mine", who)}
    granted = run("grant", given, "--cap", 50_000_000)
    assert granted.exit_code == 0, granted.output
    for name in ("rest", "revoke"):
        result = run(name, given)
        assert result.exit_code == 0, result.output
    shown = json.loads(run("status", given).stdout)
    assert (shown["state"], shown["patient"]) == ("none", who.account.address)


def stored(world: ApiWorld, clinic: Clinic, number: str) -> Browser:
    """Somebody whose record the clinic attested."""
    who, (code,) = Browser(world.custody), clinic.invites()
    made = who.seals(VALUES, code, clinic.desk_key)
    document, signature = clinic.attestation(made.record, number)
    upload = {"record": made.document, "attestation": document, "issuer_signature": signature}
    assert world.operator.intake.receive([upload])[0].state == "stored"
    return who


def test_a_guardian_revokes_with_the_key_that_its_browser_made(
    world: ApiWorld, clinic: Clinic, tmp_path: Path
) -> None:
    who, guardian = stored(world, clinic, "P-79"), Browser(world.custody)
    market: dict[str, object] = {"--url": world.url, "--dataset": world.dataset}
    mine = {**market, **saved(tmp_path, "mine", who)}
    place = replace(who.place, dataset=NO_DATASET)
    theirs = {**market, **saved(tmp_path, "theirs", guardian), "--patient": who.account.address}
    refused(run("revoke", theirs), "not_joined")
    keys = lock(Keyring(guardian.root, (Joined(place, 0),)), PASSPHRASE)
    (tmp_path / "theirs.json").write_bytes(keys)
    address = Account.from_key(guardian.root.patient_key(place)).address
    for name, *more in (
        ("grant", "--cap", 50_000_000),
        ("appoint-guardian", "--guardian", address),
    ):
        result = run(name, mine, *more)
        assert result.exit_code == 0, result.output
    result = run("revoke", theirs)
    assert result.exit_code == 0, result.output
    assert json.loads(run("status", mine).stdout)["state"] == "none"


def test_a_key_file_of_another_dataset_signs_nothing(world: ApiWorld, tmp_path: Path) -> None:
    who = Browser(world.custody)
    given: dict[str, object] = {**saved(tmp_path, "mine", who), "--url": world.url}
    result = run("revoke", {**given, "--dataset": "0x" + "77" * 32})
    refused(result, "not_joined")


def test_exactly_one_key_signs(tmp_path: Path) -> None:
    dataset = {"--dataset": "0x" + "11" * 32}
    both = {"--key-file": tmp_path / "a", "--browser-key": tmp_path / "b"}
    for given in (dataset, {**dataset, **both}):
        result = run("revoke", given)
        assert result.exit_code == 2
        assert "either --key-file or --browser-key" in result.output
