"""Which record lies at which row of a folder of columns: a folder and a journal restored from different
backups must not be taken for each other's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

FILE: Final = "commitments"
BYTES: Final = 32


class RowMarks:
    """32 bytes a row. What a crash loses is only written again, and the row with it."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o600)

    def is_of(self, row: int, commitment: bytes) -> bool:
        """Whether this record was written at this row."""
        return os.pread(self._file, BYTES, BYTES * row) == commitment

    def put(self, row: int, commitment: bytes) -> None:
        """After its columns were."""
        os.pwrite(self._file, commitment, BYTES * row)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)
