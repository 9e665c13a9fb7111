"""What strangers and researchers cannot make the operator or a custodian pay for."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from marketplace.analyses import CATALOGUE
from marketplace.analyses.variables import variables_of
from marketplace.chain.funding import fund
from marketplace.client.messages import REVOCATION_REACH
from marketplace.errors import Refusal
from marketplace.wire.analysis import parameters_hash
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import post
from marketplace.wire.structs import Revocation, sign
from tests.support.api_world import ApiWorld, api_world, problem
from tests.support.chain_world import account
from tests.support.nodes import EMBEDDED_KEY


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("abuse")) as made:
        yield made


def sent_by(world: ApiWorld, address: str) -> int:
    """How many transactions an account ever sent."""
    node = world.operator.chain.node
    return int(node.request("eth_getTransactionCount", [address, "latest"]), 16)


def revocation(world: ApiWorld, patient: LocalAccount) -> dict[str, Any]:
    chain = world.operator.chain
    current = chain.consent_of(world.custody.dataset, patient.address).sequence
    struct = Revocation(patient.address, world.custody.dataset, current + REVOCATION_REACH)
    return {
        "kind": "revocation",
        "message": struct.to_json(),
        "signer": patient.address,
        "signature": to_hex(sign(struct, chain.domain("ConsentRegistry"), patient)),
    }


def test_messages_that_the_chain_would_refuse_cost_the_operator_nothing(world: ApiWorld) -> None:
    nobody, patient = account("nobody of this dataset"), world.patients[0]
    forged = {**world.grant_message(patient), "signature": "0x" + "11" * 65}
    messages = [forged] * 30 + [world.grant_message(nobody), revocation(world, nobody)]
    before, state = sent_by(world, world.operator.sender.address), world.state()
    outcomes = world.post("/messages", {"messages": messages}).get_json()["outcomes"]
    assert {each["outcome"] for each in outcomes} == {"refused"}
    assert [each["code"] for each in outcomes[-2:]] == ["record_not_stored", "nothing_to_revoke"]
    assert all(each["remedy"] for each in outcomes)
    assert sent_by(world, world.operator.sender.address) == before
    assert world.state() == state


def test_what_the_chain_takes_is_carried_beside_what_it_refuses(world: ApiWorld) -> None:
    """Also a revocation without a consent: it ends grants that somebody may still hold back."""
    patient = world.patients[-1]
    for _ in range(2):
        forged = {**revocation(world, patient), "signature": "0x" + "11" * 65}
        true = revocation(world, patient)
        messages = [forged, true, forged, world.grant_message(account("nobody"))]
        outcomes = world.post("/messages", {"messages": messages}).get_json()["outcomes"]
        # Forged ones under the same name neither keep the true one back nor ride on it.
        assert [each["outcome"] for each in outcomes] == [
            "refused",
            "relayed",
            "refused",
            "refused",
        ]


def test_revocations_of_addresses_made_up_cost_a_custodian_nothing(world: ApiWorld) -> None:
    nobody, patient = account("made up"), world.patients[-2]
    relay, url = world.custodians[0].keys.relay.address, world.custodian_urls[0]
    fund(world.operator.chain.node, EMBEDDED_KEY, [relay], 10**18)
    before = sent_by(world, relay)

    def carry(by: LocalAccount) -> dict[str, Any]:
        said = revocation(world, by)
        body = {"revocation": said["message"], "signer": by.address, "signature": said["signature"]}
        return post(url, "/revocations", body, timeout=60)

    with pytest.raises(Refusal) as refused:
        carry(nobody)
    assert refused.value.code == "nothing_to_revoke"
    assert sent_by(world, relay) == before
    assert carry(patient)["transaction"]
    assert sent_by(world, relay) == before + 1


def test_a_request_that_could_never_be_answered_is_refused_before_the_bond_is_at_stake(
    world: ApiWorld,
) -> None:
    quantile, asked = CATALOGUE["quantile.v1"], {"variable": "systolic", "level": "0.5"}
    written = quantile.canonical(quantile.parse(asked, variables_of(world.custody.dictionary)))
    terms = replace(
        world.terms("dear"),
        analysis=quantile.analysis_hash(),
        release_kind=int(quantile.release_kind),
        parameters=parameters_hash(written),
        cost=19,  # nano-rho; the mechanism cannot spend less than 20
    )
    before = world.state()
    found = problem(world.post_signed({"terms": terms.to_json(), "parameters": asked}))
    assert (found["code"], found["field"]) == ("bad_parameter", "terms.cost")
    assert world.state() == before
