"""Known record values and keys go through a whole market, and are found nowhere afterwards.

A patient whose values nobody else has comes in through the command line, is counted in a settled
request, is paid and leaves. Then every file that any process wrote is searched, byte by byte, and every
row of every database.
"""

import base64
import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from eth_utils.crypto import keccak

from marketplace.cli.main import main
from marketplace.client import Marketplace
from marketplace.client import steward as stewarding
from marketplace.demo import class_terms, purpose, researcher_credential
from marketplace.local import CUSTODIANS, EUR, Local, await_health
from marketplace.sealing.row import to_row
from marketplace.wire import dictionary as wire
from marketplace.wire import keyfiles
from marketplace.wire.http import to_hex
from tests.support.market_world import free_ports

ORDINARY = 20
VALUE = "734.918273645"  # its digits occur nowhere by chance: 1e-6 for a gigabyte of digits
NAME = "Canaria-Zzyzx-Qvortrup"
PERSON = "canary-mrn-5518842907731"
DICTIONARY: dict[str, Any] = {
    "schema": wire.SCHEMA,
    "name": "canary",
    "version": 1,
    "variables": [
        {
            "name": "marker",
            "kind": "number",
            "label": "Marker",
            "unit": "mg/dL",
            "code": {"system": "http://loinc.org", "code": "2093-3"},
            "lower": "0",
            "upper": "1000",
            "decimals": 9,
        },
        {
            "name": "sex",
            "kind": "category",
            "label": "Administrative sex",
            "code": {"system": "http://loinc.org", "code": "46098-0"},
            "categories": ["female", "male", "other"],
        },
    ],
}


def bundle(value: str, unit: str = "mg/dL") -> bytes:
    """A FHIR record whose every text is a canary."""
    patient = {
        "resourceType": "Patient",
        "id": "p1",
        "gender": "female",
        "birthDate": "1970-01-01",
        "name": [{"family": NAME}],
        "identifier": [{"value": PERSON}],
    }
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2093-3"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2025-01-01",
        "valueQuantity": {
            "value": "@",
            "unit": unit,
            "system": "http://unitsofmeasure.org",
            "code": unit,
        },
    }
    entries = [{"resource": patient}, {"resource": observation}]
    document = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return json.dumps(document).replace('"@"', value).encode()


# --- the detector


def forms(secret: bytes) -> list[bytes]:
    """A secret as it could stand in a file: raw, hexadecimal, base64 at each of three offsets."""
    found = [secret, secret.hex().encode(), secret.hex().upper().encode()]
    for offset in range(3):
        whole = base64.b64encode(bytes(offset) + secret)
        found.append(whole[4 if offset else 0 : -4])
    return found


def canaries(dictionary: wire.Dictionary, value: str = VALUE) -> list[bytes]:
    """The row's plaintext, its cell, its decimal texts, and what names the person."""
    row = wire.encode_row(dictionary, to_row(dictionary, {"marker": Decimal(value), "sex": None}))
    cell = row[1 : 1 + wire.CELL_BYTES]
    texts = [value, value.replace(".", ""), NAME, PERSON]
    return [*forms(cell), *(text.encode() for text in texts)]


def rows_of(path: Path) -> Iterator[bytes]:
    """Every value of every row of every table, since a long one may lie on several pages."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in names:
            for row in database.execute(f'SELECT * FROM "{name}"'):
                for value in row:
                    yield value if isinstance(value, bytes) else str(value).encode()


def told_by(argument: Any) -> Iterator[bytes]:
    """Every word of an event's arguments, raw: names, texts, bytes, numbers in decimal and as words."""
    if isinstance(argument, bytes):
        yield argument
    elif isinstance(argument, int):
        yield str(argument).encode()
        yield argument.to_bytes(32, "big", signed=argument < 0)
    elif isinstance(argument, Mapping):
        for each in (*argument.keys(), *argument.values()):
            yield from told_by(each)
    elif isinstance(argument, (list, tuple)):
        for each in argument:
            yield from told_by(each)
    else:
        yield str(argument).encode("utf-8", "surrogateescape")


def found_in(arguments: Any, wanted: Sequence[bytes]) -> list[bytes]:
    """Which of `wanted` stand in what `told_by` tells."""
    told = list(told_by(arguments))
    return [each for each in wanted if any(each in word for word in told)]


EVENT_SHAPES: Mapping[str, Callable[[Any], Any]] = {
    "bare": lambda said: said,
    "struct": lambda said: {"lane": 1, "delivery": {"result": said}},
    "list of structs": lambda said: [{"class": b"\x01"}, {"result": said}],
    "tuple": lambda said: (7, (True, said)),
    "name": lambda said: {said: 1},
    "text": lambda said: (
        said.decode("utf-8", "surrogateescape") if isinstance(said, bytes) else str(said)
    ),
}
"""How web3 hands over arguments: structs are mappings, arrays lists, tuples where the ABI names nothing."""


def is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def search(folder: Path, wanted: Sequence[bytes], besides: Sequence[Path] = ()) -> list[str]:
    """The files under `folder`, those in `besides` left out, in which one of `wanted` stands."""
    hits = []
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        if path in besides:
            continue
        contents = [path.read_bytes()]
        if is_sqlite(path):
            contents += list(rows_of(path))
        if any(each in content for content in contents for each in wanted):
            hits.append(str(path.relative_to(folder)))
    return hits


# --- the market


@dataclass
class Canary:
    """One market after its canary has been and gone. `said` is all that commands printed."""

    local: Local
    patients: Path
    dictionary: wire.Dictionary = field(default_factory=lambda: wire.from_json(DICTIONARY))
    dataset: bytes = b""
    said: list[str] = field(default_factory=list)

    def usufruct(self, *arguments: str | Path, code: int = 0) -> str:
        result = CliRunner().invoke(main, [str(each) for each in arguments])
        self.said.append(result.output)
        assert result.exit_code == code, result.output
        assert code == 0 or isinstance(result.exception, SystemExit), result.exception
        return result.stdout

    @property
    def searched(self) -> Path:
        """The market's folder, and beside it what its processes and commands wrote as temporary."""
        return self.local.folder.parent

    @property
    def key_files(self) -> list[Path]:
        """Where private keys belong, and nowhere else."""
        folders = (self.local.folder, self.patients)
        return [path for folder in folders for path in folder.rglob("*.key")]


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canary]:
    folder = tmp_path_factory.mktemp("canary")
    local = Local(folder / "market", free_ports())
    made = Canary(local, tmp_path_factory.mktemp("patients"))
    market = Marketplace(local.url, local.node_url)
    temporary = folder / "temporary"
    temporary.mkdir()
    try:
        with pytest.MonkeyPatch.context() as patch:  # what is searched holds temporary files, too
            for name in ("TMPDIR", "SQLITE_TMPDIR"):
                patch.setenv(name, str(temporary))
            patch.setattr(tempfile, "tempdir", None)
            _live(made, market)
        yield made
    finally:
        local.stop()


def _live(made: Canary, market: Marketplace) -> None:
    made.local.start()
    await_health([made.local.url])
    _publish(made, market)
    _bring_ordinary_patients(made, market)
    _live_through(made)


def _publish(made: Canary, market: Marketplace) -> None:
    local, chain = made.local, market.chain
    steward, deployer = local.key("steward"), local.key("deployer")
    made.dataset = stewarding.publish_dataset(chain, steward, made.dictionary, bytes(32))
    stewarding.publish_class(chain, steward, made.dataset, class_terms())
    stewarding.add_issuer(chain, steward, made.dataset, local.account("issuer"))
    stewarding.hand_over_dictionary(market.api, made.dictionary)
    researcher = local.account("researcher")
    credential = researcher_credential(chain.now())
    stewarding.give_credential(chain, local.key("authority"), researcher, credential)
    for role in ("operator", "researcher"):
        stewarding.mint(chain, deployer, local.account(role), 100_000 * EUR)
    stewarding.post_bond(chain, local.key("operator"), 10_000 * EUR)


def _bring_ordinary_patients(made: Canary, market: Marketplace) -> None:
    sealer, issuer = market.sealer(made.dataset), made.local.key("issuer")
    keys = [keyfiles.new_signing_key() for _ in range(ORDINARY)]
    entries = []
    for key in keys:
        address = keyfiles.Signer.of(key).address
        record = sealer(address, {"marker": Decimal("100.5"), "sex": "male"}, 1)
        entries.append(market.attest(record, keccak(address.encode()), issuer))
    assert all(each["outcome"] == "stored" for each in market.upload(entries))
    class_ = market.dataset(made.dataset).classes[0].named
    expiry = market.chain.now() + 10**7
    grants = [market.grant_message(key, class_, 100_000_000, expiry, 1) for key in keys]
    assert not stewarding.refusals(market.relay(grants))


def _live_through(made: Canary) -> None:
    """The canary's whole life, all of it through the command line."""
    local, folder = made.local, made.patients
    url, dataset = ("--url", local.url), ("--dataset", to_hex(made.dataset))
    own = ("--key-file", folder / "canary.key")
    address = json.loads(made.usufruct("key", folder / "canary.key"))["address"]
    fhir, sealed = folder / "bundle.json", folder / "sealed.json"
    seal = (
        *("seal", *url, *dataset, "--patient", address, "--fhir", fhir, "--out", sealed),
        *("--issuer-key-file", local.key_path("issuer"), "--person", to_hex(keccak(text=PERSON))),
        *("--node", local.node_url, "--manifest", local.manifest_path),
    )
    for wrong in (bundle("9" + VALUE), bundle(VALUE, "mmol/L"), bundle(VALUE)[:-2]):
        fhir.write_bytes(wrong)
        made.usufruct(*seal, code=1)
        assert not sealed.exists()
    fhir.write_bytes(bundle(VALUE))
    made.usufruct(*seal)
    assert json.loads(made.usufruct("upload", *url, sealed))[0]["outcome"] == "stored"
    made.usufruct("grant", *url, *own, *dataset, "--cap", "100000000", "--days", "100")
    _ask(made)
    made.usufruct("withdraw", *url, *own, *dataset, "--to", local.account("stranger"))
    assert json.loads(made.usufruct("revoke", *url, *own, *dataset))["state"] == "none"
    assert json.loads(made.usufruct("resume", "--config", local.config_path)) == {}


def _ask(made: Canary) -> None:
    local, folder = made.local, made.patients
    wanted = folder / "purpose.json"
    wanted.write_text(json.dumps(purpose().to_json()))
    asked = (
        *("request", "--url", local.url, "--node", local.node_url),
        *("--key-file", local.key_path("researcher"), "--purpose", wanted),
        *("--delivery-key-file", folder / "delivery.key", "--dataset", to_hex(made.dataset)),
        *("--analysis", "mean.v1", "--parameters", '{"variable": "marker"}', "--cost", "10000000"),
    )
    assert "escrow" in json.loads(made.usufruct(*asked, "--quote-only"))
    receipt = folder / "receipt.json"
    answer = json.loads(made.usufruct(*asked, "--receipt", receipt, "--yes"))
    assert answer["cohort_size"] == ORDINARY + 1
    check = ("--node", local.node_url, "--manifest", local.manifest_path)
    assert json.loads(made.usufruct("verify-receipt", receipt, *check))["verified"] is True


# --- the rules


def test_no_file_log_or_database_row_of_any_process_holds_a_record_value(canary: Canary) -> None:
    folder = canary.local.folder
    for name in ("operator/operator.sqlite", "custodian-0", "gate-0", "logs", "operator/records"):
        assert (folder / name).exists(), name
    kinds = ["custodian", "gate"]
    names = ["chain", "operator", *(f"{kind}-{i}" for kind in kinds for i in range(CUSTODIANS))]
    for name in names:  # every process wrote a log, which is searched below
        assert '"serving"' in canary.local.log_path(name).read_text(), name
    for name, process in canary.local.processes.items():
        environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        assert f"TMPDIR={canary.searched}/temporary".encode() in environment, name
    assert search(canary.searched, canaries(canary.dictionary)) == []


def test_no_command_and_no_error_says_a_record_value_or_a_key(canary: Canary) -> None:
    said = "".join(canary.said).encode()
    assert len(canary.said) > 10
    secrets = [form for path in canary.key_files for form in forms(keyfiles.read(path))]
    wanted = [*canaries(canary.dictionary), ("9" + VALUE).encode(), *secrets]
    assert [each for each in wanted if each in said] == []


def test_what_a_patient_writes_for_upload_holds_ciphertext_only(canary: Canary) -> None:
    sealed = (canary.patients / "sealed.json").read_bytes()
    assert [each for each in canaries(canary.dictionary) if each in sealed] == []


def test_no_event_of_the_chain_holds_a_record_value(canary: Canary) -> None:
    market = Marketplace(canary.local.url, canary.local.node_url)
    events = list(market.chain.events(0))
    assert len(events) > 3 * ORDINARY
    wanted = canaries(canary.dictionary)
    assert found_in([event.args for event in events], wanted) == []


@pytest.mark.parametrize("shape", EVENT_SHAPES)
def test_the_detector_finds_what_an_event_would_hold(canary: Canary, shape: str) -> None:
    """Each form, as bytes or text or number, within whatever arguments of events may be nested in."""
    dressed = EVENT_SHAPES[shape]
    number = int(VALUE.replace(".", ""))
    for form in canaries(canary.dictionary):
        arguments = {"request": bytes(32), "said": dressed(b"\xff" + form + b"\x00'")}
        assert found_in([{"quiet": b"\xfe"}, arguments], canaries(canary.dictionary)) != []
    assert found_in([{"said": dressed(number)}], canaries(canary.dictionary)) != []
    assert found_in([{"said": dressed(number + 1)}], canaries(canary.dictionary)) == []


def test_private_keys_stand_in_their_key_files_only(canary: Canary) -> None:
    key_files = canary.key_files
    assert len(key_files) > 10
    secrets = [form for path in key_files for form in forms(keyfiles.read(path))]
    assert search(canary.searched, secrets, besides=key_files) == []


def test_the_detector_finds_what_is_planted(canary: Canary, tmp_path: Path) -> None:
    """Each form in which a value could leak, in each kind of place, is found."""
    logs = shutil.copytree(canary.local.folder / "logs", tmp_path / "logs")
    wanted = canaries(canary.dictionary)
    for number, form in enumerate(wanted):
        path = logs / f"planted-{number}.log"
        path.write_bytes(b"INFO before " + form + b" after")
        assert search(tmp_path, wanted) == [f"logs/planted-{number}.log"]
        path.unlink()
    database = tmp_path / "planted.sqlite"
    with contextlib.closing(sqlite3.connect(database)) as planted:
        planted.execute("CREATE TABLE journal (entry BLOB)")
        planted.execute("INSERT INTO journal VALUES (?)", (bytes(4_080) + wanted[0] * 40,))
        planted.commit()
    assert search(tmp_path, wanted) == ["planted.sqlite"]
