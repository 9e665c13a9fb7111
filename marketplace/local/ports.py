"""On which ports of this machine a local market listens."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from marketplace.errors import Refusal

CUSTODIANS: Final = 3


@dataclass(frozen=True)
class Ports:
    """First port of each kind."""

    chain: int = 8545
    operator: int = 8000
    custodian: int = 8101
    gate: int = 8201

    @classmethod
    def beside(cls, operator: int) -> Ports:
        """Ports that move with the operator's, so that two markets can run on one machine."""
        moved = operator - cls.operator
        return cls(cls.chain + moved, operator, cls.custodian + moved, cls.gate + moved)

    def require_free(self) -> None:
        """Raises Refusal (`port_taken`) if something listens on a port of this market."""
        hosts = [first + i for first in (self.custodian, self.gate) for i in range(CUSTODIANS)]
        for port in (self.chain, self.operator, *hosts):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    raise Refusal(
                        code="port_taken",
                        message=f"Something listens on port {port} already: a market that still runs?",
                        remedy="Stop it (Ctrl-C where it was started), or give another --port.",
                        field="port",
                    )
