"""A dataset whose steward gave bytes in place of words: all others go on being listed and handed over."""

import json
from pathlib import Path

from marketplace.chain.sender import Sender, call_data
from tests.support.api_world import api_world
from tests.support.nodes import EMBEDDED_KEY

PLAIN = b"odd uri"
ODD = b"\xff\xfe\xfd\xfc\x80 \xc0"


def test_a_uri_that_is_not_utf8_keeps_no_dataset_from_being_listed_or_handed_over(
    tmp_path: Path,
) -> None:
    with api_world(tmp_path) as world:
        before = world.get("/datasets").get_json()["datasets"]
        data = call_data(
            "DatasetRegistry", "publishDataset", b"\5" * 32, b"\6" * 32, PLAIN.decode()
        )
        assert data.count(PLAIN) == 1
        chain = world.operator.chain
        registry = chain.manifest.address("DatasetRegistry")
        transactor = Sender(chain, EMBEDDED_KEY)._transactor
        transactor.transact(registry, data.replace(PLAIN, ODD), None)
        assert len(chain.datasets()) == len(before) + 1
        assert world.get("/datasets").get_json()["datasets"][: len(before)] == before
        given = {"dictionary": json.loads(world.custody.dictionary.to_bytes())}
        assert world.post("/dictionaries", given).status_code == 200
