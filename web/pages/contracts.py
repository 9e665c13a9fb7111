"""Which contracts hold consent, budget and money, and the rules that they were deployed with."""

from __future__ import annotations

from typing import Final

import flask

from web.site import site

PURPOSES: Final = {
    "DatasetRegistry": "Datasets, their classes and issuers, and the commitment to each record.",
    "ResearcherRegistry": "Credentials of researchers.",
    "ConsentRegistry": "Consents, revocations, lifetime budgets and earnings.",
    "NoiseRegistry": "Whose noise protects an answer computed on ciphertext: commitments, then the set.",
    "ResearchMarket": "Requests, escrow, seals, settlement, bonds and credits.",
    "CustodianCommittee": "Custodians and gates of each epoch, their keys, and the key that they share.",
    "TestEuro": "The token that everything is paid in.",
}
"""What each contract holds."""

WINDOWS: Final = (
    (
        "notice_window",
        "Notice before a freeze",
        "After a request is paid for, patients have this long to rest their consent for it.",
    ),
    (
        "freeze_window",
        "Longest freeze",
        "From freeze to seal at most. Meanwhile patients can leave the group and nobody can join it.",
    ),
    (
        "turn_window",
        "Least time from seal to settle",
        "What every request leaves custodians, gate and operator for their part after the seal.",
    ),
    (
        "gate_window",
        "Time for a gate to record its key",
        "If the drawn gate has recorded none by then, another may be drawn.",
    ),
    (
        "certificate_window",
        "Time to prove a default",
        "After the settle deadline, anybody can show for so long that the keys were turned.",
    ),
)
"""The policy's times: name, label, and what each is there for."""

routes = flask.Blueprint("contracts", __name__)


@routes.get("/contracts")
def show() -> str:
    """Addresses, code hashes and policy as the node has them now; nobody can change the policy."""
    deployment = site().operator.public.contracts()
    return flask.render_template(
        "contracts/show.html",
        market=site().operator.reads.market(),
        deployment=deployment,
        purposes=PURPOSES,
        windows=[
            (label, getattr(deployment.policy, name), means) for name, label, means in WINDOWS
        ],
    )
