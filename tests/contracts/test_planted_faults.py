"""Each law of the accounting with a fault planted in the contracts, which the campaign must catch.

A fault is one replaced piece of source. It must still be there to replace, exactly once (a quick test
looks for each of them), it must compile, and some schedule must tell the contracts from the model. The
unplanted sources, compiled the same way, pass the same schedules.
"""

import json
import random
import shutil
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import solcx

from contracts.tools.compile import CONTRACTS, find_compiler, standard_input
from tests.contracts import support, test_market_money
from tests.contracts.accounting_campaign import random_schedule, run
from tests.contracts.accounting_lives import BY_HAND
from tests.contracts.accounting_setting import make_setting
from tests.contracts.market_world import World
from tests.contracts.pyrevm_chain import ARTIFACTS, Artifacts, ChainRefused
from tests.support.daily import daily

SCHEDULES = 400  # at random, after those by hand
REGISTRY, MARKET, WORD = "ConsentRegistry.sol", "ResearchMarket.sol", "types/ConsentWord.sol"
pytestmark = pytest.mark.timeout(3600)  # a compilation, and hundreds of schedules, each
# Without the optimizing pipeline a mutant compiles in a fraction of the time; its size is no matter.
FAST = {"viaIR": False}


@dataclass(frozen=True)
class Fault:
    """`rule` is the law that it breaks; `line` of `file` becomes `planted`."""

    rule: str
    file: str
    line: str
    planted: str = ""


QUICK = [
    Fault("a seal debits every member", REGISTRY, "shard.spent += cost;"),
    Fault(
        "a revocation clears the live bit",
        REGISTRY,
        "shard.words[word] = shard.words[word].withoutMember(place % WORD_SEATS);",
    ),
    Fault(
        "a grant never resets what was spent",
        REGISTRY,
        "c.sequence = g.sequence;",
        "c.sequence = g.sequence; c.spent = 0;",
    ),
    Fault("what is owed is paid once", REGISTRY, "c.earned = meter;"),
    Fault(
        "a pause stops no revocation",
        REGISTRY,
        "function revoke(address patient, DatasetId dataset) external returns",
        "function revoke(address patient, DatasetId dataset) external whenNotPaused returns",
    ),
]
SLOW = [
    Fault("who was woken waits no longer", REGISTRY, "shard.waiting[words[i]] = 0;"),
    Fault("a seal refuses who cannot pay", REGISTRY, "|| word.earliestExhaustion() < needed"),
    Fault(
        "a seal refuses who has expired",
        REGISTRY,
        "word.earliestExpiry() <= block.timestamp ||",
    ),
    Fault(
        "what is owed to who left is paid once",
        REGISTRY,
        "amount = c.earned;\n            c.earned = 0;",
        "amount = c.earned;",
    ),
    Fault(
        "a revocation raises the sequence",
        REGISTRY,
        "c.sequence = sequence == type(uint32).max ? sequence : sequence + 1;",
        "c.sequence = sequence;",
    ),
    Fault(
        "nothing stops a revocation, not even a freeze",
        REGISTRY,
        "uint256 place = _placeOfSeat(c.seat);\n        if (c.state == ConsentState.Live) {",
        "uint256 place = _placeOfSeat(c.seat);\n        if (_isFrozen(shard)) revert();\n"
        "        if (c.state == ConsentState.Live) {",
    ),
    Fault(
        "while frozen, words only lose members",
        REGISTRY,
        "live = !_isFrozen(shard);",
        "live = true;",
    ),
    Fault(
        "while frozen, no place changes hands",
        REGISTRY,
        "if (last.free != 0 && !_isFrozen(last))",
        "if (last.free != 0)",
    ),
    Fault(
        "earnings move with their patient, once",
        REGISTRY,
        "Consent(ConsentState.Moved, 0, 0, c.sequence, 0, 0, 0);",
        "Consent(ConsentState.Moved, 0, 0, c.sequence, c.earned, 0, 0);",
    ),
    Fault("a tidy counts whom it takes out", REGISTRY, "shard.live -= uint32(left);"),
    Fault(
        "earliest values err only low",
        WORD,
        "if (earliestExhaustion(word) < exhaustion) exhaustion = earliestExhaustion(word);",
    ),
    Fault(
        "a forfeited bond is nobody's twice",
        MARKET,
        "_freeBonds += bond - forfeit;",
        "_freeBonds += bond;",
    ),
    Fault(
        "a smaller cohort's escrow returns",
        MARKET,
        "_releaseEscrow(r, r.researcher, r.escrow - r.fee);",
    ),
    Fault(
        "a half-used freeze repays what patients got", MARKET, "if (paid > penalty) penalty = paid;"
    ),
    Fault("a request settles once", MARKET, "r.stage = Stage.Settled;"),
    Fault("what is cancelled has ended", MARKET, "r.stage = Stage.Cancelled;"),
    Fault(
        "what is reclaimed unsealed has ended",
        MARKET,
        "_requireAfter(r.frozenUntil);\n            r.stage = Stage.Reclaimed;",
        "_requireAfter(r.frozenUntil);",
    ),
    Fault(
        "what is reclaimed before a freeze has ended",
        MARKET,
        "_requireAfter(r.sealDeadline);\n            r.stage = Stage.Reclaimed;",
        "_requireAfter(r.sealDeadline);",
    ),
    Fault(
        "what is dissolved has ended",
        MARKET,
        "r.stage = Stage.Reclaimed;\n        _endBond(r, 0);",
        "_endBond(r, 0);",
    ),
    Fault(
        "what defaulted with a certificate has ended",
        MARKET,
        "r.stage = Stage.Defaulted;\n        _releaseEscrow(r, r.researcher, r.escrow);\n"
        "        _endBond(r, uint256(r.members) * r.price);",
        "_releaseEscrow(r, r.researcher, r.escrow);\n"
        "        _endBond(r, uint256(r.members) * r.price);",
    ),
    Fault(
        "what defaulted without a certificate has ended",
        MARKET,
        "r.stage = Stage.Defaulted;\n        _releaseEscrow(r, r.researcher, r.escrow);\n"
        "        _endBond(r, 0);",
        "_releaseEscrow(r, r.researcher, r.escrow);\n        _endBond(r, 0);",
    ),
    Fault(
        "a request is cancelled once",
        MARKET,
        "RequestView storage r = _requireStage(request, Stage.Opened);\n        if (msg.sender",
        "RequestView storage r = _requests[request];\n        if (msg.sender",
    ),
    Fault(
        "a request is reclaimed once",
        MARKET,
        "_requireStage(request, Stage.Frozen);\n            _requireAfter",
        "_requireAfter",
    ),
    Fault(
        "a request defaults once",
        MARKET,
        "RequestView storage r = _requireStage(request, Stage.Sealed);\n"
        "        _requireAfter(r.settleDeadline + _policy.certificateWindow);",
        "RequestView storage r = _requests[request];\n"
        "        _requireAfter(r.settleDeadline + _policy.certificateWindow);",
    ),
    Fault(
        "what was spent moves with its patient",
        REGISTRY,
        "_consents[r.dataset][r.to] = c;",
        "c.spent = 0; _consents[r.dataset][r.to] = c;",
    ),
    Fault(
        "a pause stops no withdrawal",
        MARKET,
        "function withdrawEarnings(DatasetId dataset, address to) external nonReentrant {",
        "function withdrawEarnings(DatasetId dataset, address to) external nonReentrant whenNotPaused {",
    ),
]

# The campaign's token takes no fee: this one is shown to the test of a token that does.
TAKEN_IN = Fault(
    "what came in is what the balance says",
    MARKET,
    "if (received != amount) revert TransferShort(amount, received);",
)


def planted(fault: Fault | None, folder: Path, changes: dict[str, Any] = FAST) -> Path:
    """Compiles the sources with the fault into `folder`; the other contracts are the committed ones.

    `changes`: to the compiler's settings.
    """
    for artifact in ARTIFACTS.glob("*.json"):
        shutil.copy(artifact, folder)
    request = standard_input(CONTRACTS)
    if fault is not None:
        source = request["sources"][f"src/{fault.file}"]
        source["content"] = source["content"].replace(fault.line, fault.planted)
    names = _compiled_for(fault)
    wanted = ["abi", "evm.bytecode.object", "storageLayout"]
    request["settings"] |= changes
    request["settings"]["outputSelection"] = {f"src/{n}.sol": {n: wanted} for n in names}
    output = solcx.compile_standard(request, solc_binary=find_compiler())
    for name in names:
        contract = output["contracts"][f"src/{name}.sol"][name]
        _replace_code(folder / f"{name}.json", contract["evm"]["bytecode"]["object"])
    return folder


def _compiled_for(fault: Fault | None) -> list[str]:
    """The contract that holds the fault; without a fault, each that ever holds one."""
    if fault is None:
        return ["ConsentRegistry", "ResearchMarket"]
    return ["ResearchMarket"] if fault.file == MARKET else ["ConsentRegistry"]


def _replace_code(artifact: Path, code: str) -> None:
    content = json.loads(artifact.read_text(encoding="utf-8"))
    artifact.write_text(json.dumps(content | {"bytecode": f"0x{code}"}), encoding="utf-8")


def first_difference(artifacts: Artifacts) -> str | None:
    """What the first schedule that tells contracts and model apart shows; None if none does."""
    setting = make_setting(artifacts)
    at_random = (random_schedule(random.Random(seed)) for seed in range(SCHEDULES))
    for number, schedule in enumerate(chain(BY_HAND.values(), at_random)):
        try:
            run(setting, schedule)
        except (AssertionError, ChainRefused) as difference:
            return f"schedule {number}: {difference}"
    return None


def assert_caught(fault: Fault, folder: Path) -> None:
    assert first_difference(Artifacts(planted(fault, folder))), f"nobody noticed: {fault.rule}"


@pytest.mark.parametrize(
    "fault", [*QUICK, *SLOW, TAKEN_IN], ids=lambda fault: fault.rule.replace(" ", "_")
)
def test_the_line_of_a_planted_fault_is_there_once(fault: Fault) -> None:
    source = (CONTRACTS / "src" / fault.file).read_text(encoding="utf-8")
    assert source.count(fault.line) == 1
    assert fault.planted != fault.line


@pytest.mark.parametrize(
    "fault", daily(QUICK, QUICK[:2]), ids=lambda fault: fault.rule.replace(" ", "_")
)
def test_a_planted_fault_is_caught(fault: Fault, tmp_path: Path) -> None:
    assert_caught(fault, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("fault", SLOW, ids=lambda fault: fault.rule.replace(" ", "_"))
def test_a_rarer_planted_fault_is_caught(fault: Fault, tmp_path: Path) -> None:
    assert_caught(fault, tmp_path)


@pytest.mark.long
def test_a_market_that_believes_its_token_is_caught(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = planted(TAKEN_IN, tmp_path, {})  # as it ships: py-evm keeps to the code size limit
    artifacts = Artifacts(folder).by_name
    monkeypatch.setattr(support, "artifact", artifacts.__getitem__)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_market_money.test_a_token_that_takes_a_fee_is_refused(world)


@pytest.mark.long
def test_without_a_fault_the_same_schedules_show_no_difference(tmp_path: Path) -> None:
    assert first_difference(Artifacts(planted(None, tmp_path))) is None
