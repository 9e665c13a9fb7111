"""Having custodians generate their joint key, or hand it on, and recording it on chain."""

from marketplace.keygen.faults import Fault
from marketplace.keygen.generating import Generated, generate, new_session, record

__all__ = ["Fault", "Generated", "generate", "new_session", "record"]
