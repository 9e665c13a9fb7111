"""Both at once: every step is done to the contracts and to the reference model, and compared.

A schedule is a list of `Step`: an action's name and three small numbers, of which each action makes
what it needs (a patient, a class, a cap...), so that any list is a schedule and shrinks well. After
each step the two must agree on the outcome (a refusal's name is one of the model's true reasons) and
then on every object: consents, rooms, words, cohorts, requests, credits, bonds and balances.
"""

from tests.contracts.accounting_compare import compare
from tests.contracts.accounting_requests import RequestSteps
from tests.contracts.accounting_setting import BOND, HIGHEST_COST, OPERATOR, Setting
from tests.contracts.pyrevm_chain import GENESIS_TIME

Step = tuple[str, int, int, int]


class World(RequestSteps):
    """One schedule's two worlds, from the setting's snapshot on: most patients have granted."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        arguments = (self.s.market, OPERATOR.address, "postBond", BOND)
        self.both("post_bond", lambda: self.model.post_bond(BOND), *arguments)
        for who, class_ in enumerate((1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3)):
            cap = HIGHEST_COST[class_] * (3 + who % 4) // 2
            self.grant(who, class_, cap, GENESIS_TIME + 60 + 30 * who, 1)
        compare(self)

    def run(self, schedule: list[Step]) -> None:
        for action, a, b, c in schedule:
            getattr(self, f"do_{action}")(a, b, c)
            compare(self)
