"""What the browser's modules sign, seal and believe where somebody lies: rules, one test each, in Node."""

from __future__ import annotations

from tests.support import node

FEWEST = 50


def test_every_rule_of_trust_holds() -> None:
    done = node.run_tests("trust.test.mjs")
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    counted = next(line for line in done.stdout.splitlines() if line.startswith("# pass "))
    assert int(counted.removeprefix("# pass ")) >= FEWEST
