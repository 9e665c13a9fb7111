"""One analysis request, one way through the code.

    submit -> fund -> freeze, tidy, seal -> key -> compute -> clear -> settle

Each step is idempotent by request id: it looks at the chain first, does what is missing, and moves the
stage in the log. Whatever a crash left, `advance` (and so `usufruct resume`) finishes. A refusal is
terminal and explained; a fault of the world (a node, a custodian, a disk) leaves the request where it is.
What a reorganisation took away is done again: the request falls back to the stage that the chain shows.
"""

from marketplace.pipeline.deadlines import NeverOpened
from marketplace.pipeline.service import STEPS, Pipeline
from marketplace.pipeline.standing import CHAIN_ENDS
from marketplace.pipeline.submission import UNPAID_FOR

__all__ = ["CHAIN_ENDS", "STEPS", "UNPAID_FOR", "NeverOpened", "Pipeline"]
