"""What the browser's modules sign, seal and believe where somebody lies: rules, one test each, in Node."""

from __future__ import annotations

import pytest

from tests.support import node

FEWEST = {
    "trust.test.mjs": 73,
    "paper.test.mjs": 41,
    "stop.test.mjs": 44,
    "jointkey.test.mjs": 17,
    "anchoring.test.mjs": 15,
}


@pytest.mark.parametrize("file", FEWEST)
def test_every_rule_of_trust_holds(file: str, request: pytest.FixtureRequest) -> None:
    done = node.run_tests(file, long=request.config.getoption("--long"))
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    counted = next(line for line in done.stdout.splitlines() if line.startswith("# pass "))
    assert int(counted.removeprefix("# pass ")) >= FEWEST[file]
