"""An operator's configuration: what it says, and how a wrong one is refused before anything starts."""

import json
from pathlib import Path
from typing import Any

import pytest

from marketplace.config import OperatorConfig, load_config, most_body
from marketplace.errors import Refusal
from marketplace.gate.config import load_config as load_gate_config
from marketplace.wire.paging import LARGEST_SCORED, LARGEST_UPLOAD

GOOD: dict[str, Any] = {
    "data": "operator",
    "manifest": "manifest.json",
    "node_url": "http://127.0.0.1:8545",
    "key_file": "operator.key",
    "custodians": [{"place": 0, "url": "http://127.0.0.1:8101"}],
    "gates": [{"address": "0x" + "11" * 20, "url": "http://127.0.0.1:8201"}],
}


def written(folder: Path, text: str) -> Path:
    path = folder / "operator.json"
    path.write_text(text)
    return path


def refusal(path: Path) -> Refusal:
    with pytest.raises(Refusal) as caught:
        load_config(path)
    assert caught.value.code == "bad_configuration"
    assert caught.value.remedy
    return caught.value


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, json.dumps(GOOD)))
    assert config.data == tmp_path / "operator"
    assert config.manifest == tmp_path / "manifest.json"
    assert config.key_file == tmp_path / "operator.key"
    assert config.database == f"sqlite:///{tmp_path / 'operator' / 'operator.sqlite'}"
    assert config.records == (tmp_path / "operator" / "records").as_uri()


def test_a_stated_database_and_folder_are_taken(tmp_path: Path) -> None:
    urls = {"database_url": "postgresql+psycopg://host/db", "records_url": "memory://records"}
    config = load_config(written(tmp_path, json.dumps(GOOD | urls)))
    assert (config.database, config.records) == (urls["database_url"], urls["records_url"])


def test_only_a_record_to_be_scored_may_be_that_large() -> None:
    assert most_body(f"/api/v1/datasets/0x{'11' * 32}/score-records") == LARGEST_SCORED
    for path in (
        "/",
        "/api/v1/records",
        "/api/v1/datasets/0x11/scores",
        "/api/v1/datasets/a/b/score-records",
        "/api/v1/datasets/0x11/score-records/more",
        "/datasets/0x11/score-records",
    ):
        assert most_body(path) == LARGEST_UPLOAD, path


@pytest.mark.parametrize(
    ("gwei", "wei"), [(500, 500 * 10**9), (0.05, 50_000_000), (1e-9, 1)], ids=str
)
def test_the_fee_ceiling_is_given_in_gwei(tmp_path: Path, gwei: float, wei: int) -> None:
    config = load_config(written(tmp_path, json.dumps(GOOD | {"max_fee_gwei": gwei})))
    assert config.max_fee == wei


def test_there_is_a_fee_ceiling_unless_another_is_given(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, json.dumps(GOOD))).max_fee == 500 * 10**9


@pytest.mark.parametrize("gwei", ["0", "-1", "Infinity", "NaN", "null", '"all"', "1e-10"])
def test_a_fee_ceiling_that_is_none_is_refused_by_name(tmp_path: Path, gwei: str) -> None:
    text = json.dumps(GOOD | {"max_fee_gwei": "@"}).replace('"@"', gwei)
    assert refusal(written(tmp_path, text)).field == "max_fee_gwei"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "does not exist" in str(refusal(tmp_path / "none.json"))


def test_what_is_not_json_says_where(tmp_path: Path) -> None:
    assert "(line 2, column 9)" in str(refusal(written(tmp_path, '{\n"data": }')))


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00", b"\x80"])
def test_what_is_not_text_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "operator.json"
    path.write_bytes(raw)
    refusal(path)


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path)


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    rest = {name: value for name, value in GOOD.items() if name != key}
    assert refusal(written(tmp_path, json.dumps(rest))).field == key


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"surprise": 1}, "surprise"),
        ({"port": "many"}, "port"),
        ({"fee": -1}, "fee"),
        ({"confirmations": -1}, "confirmations"),
        ({"max_head_age": 0}, "max_head_age"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"custodians": [{"place": 16, "url": "http://x"}]}, "custodians.0.place"),
        ({"custodians": [{"place": 0}]}, "custodians.0.url"),
        ({"gates": [{"address": "0x", "url": "http://x", "key": "1"}]}, "gates.0.key"),
        ({"gates": "none"}, "gates"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    assert refusal(written(tmp_path, json.dumps(GOOD | changes))).field == field


def seated(*places: int) -> dict[str, Any]:
    listed = [{"place": place, "url": f"http://127.0.0.1:81{place:02}"} for place in places]
    return GOOD | {"custodians": listed}


def test_custodians_are_known_by_their_place_and_not_by_their_order(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, json.dumps(seated(2, 0, 1))))
    assert [each.place for each in config.custodians] == [0, 1, 2]
    assert [each.url[-2:] for each in config.custodians] == ["00", "01", "02"]


@pytest.mark.parametrize("places", [(1,), (0, 2), (0, 0), (1, 2, 3), (0, 1, 1)])
def test_custodians_leave_no_place_out_and_share_none(
    tmp_path: Path, places: tuple[int, ...]
) -> None:
    found = refusal(written(tmp_path, json.dumps(seated(*places))))
    assert found.field == "custodians"
    assert f"places must be 0 to {len(places) - 1}, each of them once" in found.message


def test_an_operator_needs_a_custodian(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, json.dumps(seated()))).field == "custodians"


def test_a_refusal_never_shows_what_the_file_says(tmp_path: Path) -> None:
    secret = "postgresql://user:hunter2@host/db"
    found = refusal(written(tmp_path, json.dumps(GOOD | {"database_url": [secret]})))
    assert "hunter2" not in str(found)


def test_a_configuration_cannot_be_changed_once_read(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, json.dumps(GOOD)))
    with pytest.raises(ValueError, match="frozen"):
        config.fee = 0  # type: ignore[misc]
    assert isinstance(config, OperatorConfig)


def test_a_gates_paths_are_relative_to_its_file_and_its_faults_are_named(tmp_path: Path) -> None:
    good = {"node_url": "http://x", "manifest": "m.json", "data": "d", "custodians": []}
    path = written(tmp_path, json.dumps(good))
    config = load_gate_config(path)
    assert (config.manifest, config.data) == (tmp_path / "m.json", tmp_path / "d")
    written(tmp_path, json.dumps(good | {"minimum_cohort": 1}))
    with pytest.raises(Refusal, match="The gate's configuration") as caught:
        load_gate_config(path)
    assert (caught.value.code, caught.value.field) == ("bad_configuration", "minimum_cohort")
