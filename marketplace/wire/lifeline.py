"""A server that somebody's program started for itself ends with that program, however that one ends.

The program keeps the writing end of a pipe that is the server's standard input, and never writes. The
system closes it when the program dies, by SIGKILL too. A server that was started by hand holds no such
line and looks at no standard input.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from typing import Final

VARIABLE: Final = "USUFRUCT_LIFELINE"
"""Of the environment: "stdin" where standard input is such a pipe."""
_STDIN: Final = 0


def environment() -> Mapping[str, str]:
    """What to add to the environment of a process whose standard input is such a pipe."""
    return {VARIABLE: "stdin"}


def hold() -> None:
    """Has this process be sent SIGTERM once whoever started it for itself is gone. Returns at once."""
    # Taken out, so that no process which this one starts reads the same pipe.
    if os.environ.pop(VARIABLE, None) == "stdin":
        threading.Thread(target=_end_with_starter, name="lifeline", daemon=True).start()


def _end_with_starter() -> None:
    while os.read(_STDIN, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
