"""A market whose dataset is asked in either lane through the operator's pages, with people in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from marketplace.analyses.tallies import TALLIES, products_for
from marketplace.analyses.variables import variables_of
from marketplace.wire.dictionary import Dictionary, from_json
from tests.support.api_world import ApiWorld, api_world, market_of
from tests.support.chain_world import CAP, account
from tests.support.joining_world import make_joint_key, publish
from tests.support.tallied_world import person_of
from tests.support.tally_world import ENCODED
from tests.support.web_world import WebWorld, web_world

PEOPLE: Final = [(100 + 11 * i, "yes" if i % 3 else "no") for i in range(6)]
"""`systolic` and `smoker` of each."""
FILTERED: Final = {"filters": [{"variable": "smoker", "op": "==", "value": "yes"}]}
REGRESSION: Final = {
    "outcome": {"variable": "systolic"},
    "predictors": [{"variable": "smoker", "category": "yes"}],
}
"""A linear regression, which pages neither ask nor open."""
TABLE: Final = {
    "axes": [{"variable": "smoker"}, {"variable": "systolic", "edges": ["60", "120", "260"]}]
}
MEASURED: Final = {"variable": "systolic", **FILTERED}
ASKED: Final = (
    ("linear_regression.v1", REGRESSION),
    ("cross_table.v1", TABLE),
    ("variance.v1", MEASURED),
)
"""What the encoding lists products for."""


def encoded() -> Dictionary:
    """As `ENCODED`, with every product that these questions need."""
    document: dict[str, Any] = json.loads(json.dumps(ENCODED))
    for name, parameters in ASKED:
        read = from_json(document)
        if read.encoding is None:
            raise TypeError("the dictionary has an encoding")
        tally = TALLIES[name]
        tallied = tally.tallied(tally.parse(parameters, variables_of(read)), read.encoding)
        document["encoding"]["products"] += map(list, products_for(tallied, read.encoding))
    return from_json(document)


@contextmanager
def asking_world(folder: Path) -> Iterator[WebWorld]:
    """Pages, operator, custodians with a joint key, a gate, and PEOPLE who consented."""
    with api_world(folder) as api:
        publish(api.custody, encoded())
        api.operator.dictionaries.keep(api.custody.dictionary.to_bytes())
        make_joint_key(api)
        api.custody.cap = 10 * CAP  # enough for as many questions as a module asks
        _enrol(api)
        with web_world(api) as made:
            yield made


def _enrol(api: ApiWorld) -> None:
    """Sealed for both lanes by the SDK, attested, stored at every custodian, granted."""
    custody, market = api.custody, market_of(api)
    custody.tick()
    patients = [account(f"asked patient {i}") for i in range(len(PEOPLE))]
    seal, issuer = market.sealer(custody.dataset), bytes(custody.issuer.key)
    sealed = [
        seal(patient.address, {"systolic": Decimal(systolic), "smoker": smoker}, 1)
        for patient, (systolic, smoker) in zip(patients, PEOPLE, strict=True)
    ]
    outcomes = market.upload([market.attest(each, person_of(each), issuer) for each in sealed])
    assert [each["outcome"] for each in outcomes] == ["stored"] * len(sealed), outcomes
    messages = [api.grant_message(patient) for patient in patients]
    relayed = api.post("/messages", {"messages": messages}).get_json()
    assert [each["outcome"] for each in relayed["outcomes"]] == ["relayed"] * len(sealed), relayed
    api.patients = patients
