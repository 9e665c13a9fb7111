"""A program that says what it is: what it was given, what it holds open, what it draws.

    python -m tests.support.self_portrait [words] [waits | fails]

It draws as the product does: from the libraries that a program has imported before it starts.
"""

import atexit
import json
import os
import random
import secrets
import sys
import time
from pathlib import Path

import numpy as np

from ml.dp.noise import add_gaussian, gaussian_noise
from ml.homomorphic.noise import gaussian

WIDE = 10**9


def _held() -> list[Path]:
    """What is open, but for the folder that is listed for it."""
    links = list(Path("/proc/self/fd").iterdir())
    return [each.readlink() for each in links if each.exists()]


def portrait() -> dict[str, object]:
    return {
        "words": sys.argv[1:],
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
        "input": sys.stdin.read(),
        "open": sorted(str(each) for each in _held()),
        "drawn": {
            "random": random.getrandbits(64),
            "secrets": secrets.randbits(64),
            "numpy": int(np.random.default_rng().integers(2**62)),
            "noise": add_gaussian([0] * 4, gaussian_noise(1, WIDE**2, WIDE)),
            "contribution": gaussian(float(WIDE), 4),
        },
    }


if __name__ == "__main__":
    print(json.dumps(portrait()), flush=True)
    atexit.register(print, "ended in order", flush=True)
    if "waits" in sys.argv:
        time.sleep(600)
    if "fails" in sys.argv:
        sys.exit("this is why")
