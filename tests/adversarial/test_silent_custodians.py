"""Custodians that note an answer and then say nothing more: it is settled all the same."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from marketplace.chain.adapter import ContractRefusal, RequestStage
from marketplace.custodian.server import create_app
from marketplace.custodian.service import Custodian
from marketplace.errors import Refusal
from marketplace.pipeline import Pipeline
from marketplace.stages import Stage
from marketplace.store import ComputedRow, Database
from tests.contracts.hostile_code import YES as YES_WORD
from tests.contracts.hostile_code import assemble
from tests.support.custody_world import served
from tests.support.pipeline_world import PipelineWorld, pipeline_world, stage_of


class Mute(Custodian):
    """Turns and notes like any other, and signs no settlement when the operator asks."""

    def __init__(self, of: Custodian) -> None:
        super().__init__(of.chain, of.journal, of.keys, of.rules, of.data)
        self.asked = 0
        self.speaks = False

    def settle(self, *asked: Any) -> dict[str, Any]:
        self.asked += 1
        if self.speaks:
            return super().settle(*asked)
        raise Refusal(code="storage_unavailable", message="The disk is away.", remedy="Wait.")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineWorld]:
    with pipeline_world(tmp_path_factory.mktemp("mute"), slots=1) as world:
        yield world


@pytest.fixture
def mutes(made: PipelineWorld) -> Iterator[list[Mute]]:
    """In the place of every custodian, for operator and gate."""
    urls, custodians = list(made.urls), made.gate.custodians
    with ExitStack() as stack:
        standing_in = [Mute(each) for each in made.custodians]
        made.urls[:] = [stack.enter_context(served(create_app(each))) for each in standing_in]
        made.gate.custodians = tuple(
            each.model_copy(update={"url": made.urls[each.place]}) for each in custodians
        )
        yield standing_in
        made.urls[:], made.gate.custodians = urls, custodians


def computed(made: PipelineWorld, salt: str) -> tuple[Pipeline, str]:
    pipeline = made.pipeline()
    request, _ = made.submit(pipeline, salt)
    made.reach(pipeline, request, Stage.COMPUTED)
    return pipeline, request


def test_an_answer_that_a_quorum_noted_settles_though_every_custodian_then_stays_silent(
    made: PipelineWorld, mutes: list[Mute]
) -> None:
    """Else the honest operator would lose its bond by the certified default: the keys were turned."""
    pipeline, request = computed(made, "silent")
    made.finish(pipeline, request)
    made.require_settled_once(pipeline, request)
    assert [each.asked for each in mutes] == [0, 0, 0]


class Killed(BaseException):
    """The process ends here."""


class Dying(Database):
    """Whoever moves a request on is killed before it has."""

    def move(self, *_: Any) -> None:
        raise Killed


def test_signatures_that_were_kept_before_a_kill_still_settle_though_custodians_fall_silent(
    made: PipelineWorld, mutes: list[Mute]
) -> None:
    pipeline, request = computed(made, "killed between")
    dying = replace(pipeline, database=Dying(pipeline.database.engine))
    with pytest.raises(Killed):
        made.step(dying, request)
    row = pipeline.database.computed(request)
    assert row is not None
    assert [each for each in row.signatures or [] if not each.get("noted")]
    assert stage_of(pipeline, request) is Stage.COMPUTED
    made.finish(pipeline, request)
    made.require_settled_once(pipeline, request)
    assert [each.asked for each in mutes] == [0, 0, 0]


# --- a custodian whose contract wallet takes its yes back (ERC-1271)

YES = "631626ba7e60e01b60005260206000f3"
"""Code of a wallet that says that it signed whatever it is asked about."""
YES_BUT_ON_CHAIN_NO = "0x3215600957600080fd5b" + YES
"""That says so where nobody sends a transaction, as where a node is asked, and reverts everywhere else."""


@contextmanager
def wallet(made: PipelineWorld, code: str) -> Iterator[None]:
    """At the address of the first custodian, whose own key has not signed what is kept here."""
    signer = made.chain.committee().members[0].signer
    made.chain.node.request("anvil_setCode", [signer, code])
    try:
        yield
    finally:
        made.chain.node.request("anvil_setCode", [signer, "0x"])


def with_its_word(pipeline: Pipeline, request: str) -> None:
    """What is kept are the word of that wallet and one good signature."""
    row = pipeline.database.computed(request)
    assert row is not None
    (good, *_) = [each for each in row.signatures or [] if each["place"] != 0]
    its = {"place": 0, "signature": "0x" + "22" * 65, "noted": True}
    keep(pipeline, request, [its, {**good, "place": good["place"]}])


def test_a_signature_that_the_market_refuses_is_replaced_by_another_custodians(
    made: PipelineWorld, mutes: list[Mute]
) -> None:
    """Else one wallet that says yes until it is asked on chain would cost the operator its bond."""
    pipeline, request = computed(made, "taken back")
    with_its_word(pipeline, request)
    for each in mutes[1:]:
        each.speaks = True
    with wallet(made, YES_BUT_ON_CHAIN_NO):
        made.reach(pipeline, request, Stage.CLEARED)
        refusal = made.step(pipeline, request)
        assert refusal is not None
        assert refusal.code == "bad_custodian_signature"
        assert stage_of(pipeline, request) is Stage.COMPUTED
        assert pipeline.database.log(request)[-1].because.endswith("signature at place 0")
        made.finish(pipeline, request)
    made.require_settled_once(pipeline, request)
    assert mutes[0].asked == 0


@pytest.mark.long
def test_a_signature_that_the_market_refused_counts_again_where_there_is_no_other(
    made: PipelineWorld, mutes: list[Mute]
) -> None:
    pipeline, request = computed(made, "given again")
    with_its_word(pipeline, request)
    with wallet(made, YES_BUT_ON_CHAIN_NO):
        made.reach(pipeline, request, Stage.CLEARED)
        made.step(pipeline, request)
        refusal = made.step(pipeline, request)
        assert refusal is not None
        assert refusal.code == "quorum_missing"
    with wallet(made, "0x" + YES):
        made.finish(pipeline, request)
    made.require_settled_once(pipeline, request)
    assert mutes[0].asked == 0


FREE_YES = (
    "0x"
    + assemble(f"GASPRICE ISZERO @yes JUMPI 0 0 REVERT :yes {YES_WORD} 0 MSTORE 32 0 RETURN").hex()
)
"""That says so wherever gas costs nothing, as where a node is asked, and reverts in every transaction."""


def sent(made: PipelineWorld, pipeline: Pipeline) -> int:
    """How many transactions the operator has paid for."""
    return made.chain.node.transaction_count(pipeline.sender.address, "latest")


@pytest.mark.long
def test_a_wallet_that_says_no_only_in_transactions_costs_one_and_is_replaced(
    made: PipelineWorld, mutes: list[Mute]
) -> None:
    """The market's refusal names nobody: by then the call would succeed. Only a wallet's word can change."""
    pipeline, request = computed(made, "two faced")
    with_its_word(pipeline, request)
    for each in mutes[1:]:
        each.speaks = True
    with wallet(made, FREE_YES):
        made.reach(pipeline, request, Stage.CLEARED)
        before = sent(made, pipeline)
        refusal = made.step(pipeline, request)
        assert isinstance(refusal, ContractRefusal)
        assert (refusal.code, refusal.paid) == ("reverted_without_reason", True)
        assert stage_of(pipeline, request) is Stage.COMPUTED
        made.finish(pipeline, request)
        assert sent(made, pipeline) == before + 2
    made.require_settled_once(pipeline, request)
    assert mutes[0].asked == 0


def test_where_no_other_signs_its_transactions_are_paid_for_ever_more_seldom(
    made: PipelineWorld, mutes: list[Mute]
) -> None:
    pipeline, request = computed(made, "two faced and alone")
    with_its_word(pipeline, request)
    seconds = 0.0
    pipeline.pauses.clock = lambda: seconds
    with wallet(made, FREE_YES):
        made.reach(pipeline, request, Stage.CLEARED)
        before, paid = sent(made, pipeline), []
        for _ in range(40):
            pipeline.advance(request)
            paid.append(sent(made, pipeline) - before)
            seconds += 0.25
    assert paid[0] == 1
    assert paid[3] == 1  # a pause of one second, then two, then four
    assert 2 <= paid[-1] <= 4
    seconds += 600
    with wallet(made, "0x" + YES):
        made.finish(pipeline, request)
    made.require_settled_once(pipeline, request)


@pytest.mark.long
def test_a_gates_key_that_only_code_at_its_address_signed_is_sent_by_nobody(
    made: PipelineWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such code says yes until a transaction depends on it, which would be paid for each time."""
    pipeline = made.pipeline()
    request, _ = made.submit(pipeline, "no key")
    honest, gate = made.gate.key, made.gate.keys.signer.address
    garbled = {"signature": "0x" + "22" * 65}
    made.chain.node.request("anvil_setCode", [gate, FREE_YES])
    monkeypatch.setattr(made.gate, "key", lambda *asked: {**honest(*asked), **garbled})
    try:
        made.reach(pipeline, request, Stage.SEALED)
        while (refusal := made.step(pipeline, request)) and refusal.code == "not_yet_final":
            made.finalise()
        before = sent(made, pipeline)
        for _ in range(3):
            refusal = made.step(pipeline, request)
            assert refusal is not None
            assert refusal.code == "bad_signature"
        assert stage_of(pipeline, request) is Stage.SEALED
        assert sent(made, pipeline) == before
    finally:
        monkeypatch.undo()
        made.chain.node.request("anvil_setCode", [gate, "0x"])
    made.finish(pipeline, request)
    made.require_settled_once(pipeline, request)


def test_signatures_that_a_gate_made_up_count_for_nothing_and_custodians_are_asked(
    made: PipelineWorld, mutes: list[Mute]
) -> None:
    pipeline, request = computed(made, "made up")
    row = pipeline.database.computed(request)
    assert row is not None
    true = list(row.signatures or [])
    assert len(true) >= 2
    swapped = [
        {**each, "signature": other["signature"]}
        for each, other in zip(true, [*true[1:], true[0]], strict=True)
    ]
    keep(pipeline, request, [*swapped, {**true[0], "place": 9}])
    assert pipeline.advance(request) is Stage.COMPUTED
    waiting = pipeline.waits.of(request)
    assert waiting is not None
    assert waiting["code"] == "quorum_missing"
    assert all(each.asked for each in mutes)
    keep(pipeline, request, true)
    made.finish(pipeline, request)


@pytest.mark.long
def test_one_noted_signature_and_one_custodian_that_is_asked_are_a_quorum(
    made: PipelineWorld,
) -> None:
    pipeline, request = computed(made, "one of each")
    row = pipeline.database.computed(request)
    assert row is not None
    first = (row.signatures or [])[0]
    keep(pipeline, request, [first])
    others = [place for place in range(3) if place != first["place"]]
    silent = replace(pipeline.custodians[others[0]], url="http://127.0.0.1:9")
    custodians = list(pipeline.custodians)
    custodians[others[0]] = custodians[first["place"]] = silent
    alone = replace(pipeline, custodians=tuple(custodians))
    made.finish(alone, request)
    made.require_settled_once(alone, request)


@pytest.mark.long
def test_what_was_only_noted_is_not_taken_for_what_was_verified(made: PipelineWorld) -> None:
    """A settlement that a reorganisation took away is cleared again, from the answer on."""
    pipeline, request = computed(made, "not verified")
    pipeline.database.move(request, Stage.CLEARED, "as if the chain had settled it")
    assert made.step(pipeline, request) is not None
    assert stage_of(pipeline, request) is Stage.COMPUTED
    made.finish(pipeline, request)
    assert made.chain.request(bytes.fromhex(request[2:])).stage is RequestStage.SETTLED


def keep(pipeline: Pipeline, request: str, signatures: list[dict[str, Any]]) -> None:
    with pipeline.database.session() as session:
        mine = ComputedRow.request == request
        session.execute(update(ComputedRow).where(mine).values(signatures=signatures))
