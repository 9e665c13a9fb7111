"""Executes a notebook in a kernel of this very environment, and says what it printed and showed.

Run as a program, since Jupyter's event loops and sockets are not the tests' business.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tools.readme import ROOT

FIRST_QUESTION = ROOT / "marketplace" / "client" / "notebooks" / "first_question.ipynb"
CELL_SECONDS = 300
"""Until a cell is done, on a slow machine."""
KERNEL = "python3"
"""Which ipykernel brings with it; the manager puts this interpreter in the place of its name."""


def executed(notebook: Path, folder: Path, environment: Mapping[str, str]) -> str:
    """All texts that its cells printed or showed, in their order. Fails with the cell that failed.

    Args:
        folder: where it runs, and where the kernel keeps its files.
    """
    own = {"JUPYTER_RUNTIME_DIR": str(folder), "IPYTHONDIR": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.notebooks", str(notebook), str(folder)],
        cwd=ROOT,
        env={**os.environ, **own, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return "\n".join(json.loads(done.stdout))


def _shown(cell: Mapping[str, Any]) -> Iterator[str]:
    for output in cell.get("outputs", ()):
        if output["output_type"] == "stream":
            yield output["text"]
        elif "data" in output:
            yield output["data"]["text/plain"]


def _main(notebook: Path, folder: Path) -> None:
    read = nbformat.read(notebook, as_version=4)
    # Over files in a folder of its own: no port that somebody else could want or reach.
    manager = AsyncKernelManager(kernel_name=KERNEL, transport="ipc", ip=str(folder / "kernel"))
    client = NotebookClient(
        read, km=manager, timeout=CELL_SECONDS, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    print(json.dumps([text for cell in read.cells for text in _shown(cell)]))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
