"""The files of what is scored: whose each is, destroyed whole, and never another operator's."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from marketplace.scoring.files import MATERIAL_FILE, RECORD_FILE, ScoreFiles
from marketplace.wire.ciphertexts import PART
from ml.ckks import packing
from ml.ckks.context import DEGREE, PRIMES
from ml.ckks.score import EncryptedScore

DATASET, REQUEST, OTHER = ("0x" + digit * 64 for digit in "123")
ADA, BEN = "0x" + "aB" * 20, "0x" + "b0" * 20
MATERIAL, BOX = b"m" * MATERIAL_FILE, b"r" * RECORD_FILE
MINE, ANOTHERS = "31337-market-mine", "31337-market-anothers"


def score(number: int) -> EncryptedScore:
    """A ciphertext of nobody's."""
    pair = np.full((2, 1, DEGREE), number, dtype=np.uint64)
    body = packing.pack(pair, PRIMES[:1])
    return EncryptedScore.from_bytes(packing.frame(packing.Kind.SCORE, bytes(64), body))


ONE, TWO = score(1), score(2)


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield (tmp_path / "scores").as_uri()
        return
    there = f"memory://{tmp_path.name}/scores"
    yield there
    files, root = fsspec.core.url_to_fs(there)
    files.rm(root, recursive=True)


@pytest.fixture
def files(url: str) -> ScoreFiles:
    return ScoreFiles(url, MINE)


def raw(files: ScoreFiles, name: str) -> None:
    """A file in Ada's folder, as something else than this operator left it."""
    files._folder.put({f"{DATASET[2:]}-{ADA[2:].lower()}/{name}": b"left"})


def test_operators_that_share_storage_destroy_nothing_of_each_others(url: str) -> None:
    mine, anothers = ScoreFiles(url, MINE), ScoreFiles(url, ANOTHERS)
    for files in (mine, anothers):
        files.put_record(DATASET, ADA, MATERIAL, BOX)
        files.keep_score(DATASET, ADA, REQUEST, ONE)
    assert mine.forget(DATASET, ADA)
    assert mine.record(DATASET, ADA) is None
    assert mine.score(DATASET, ADA, REQUEST) is None
    assert list(mine.owned()) == []
    assert anothers.record(DATASET, ADA) == (MATERIAL, BOX)
    assert anothers.score(DATASET, ADA, REQUEST) == ONE
    assert len(list(anothers.owned())) == 2


def test_all_of_one_patient_goes_known_or_not_and_nothing_of_the_next(files: ScoreFiles) -> None:
    for patient in (ADA, BEN):
        files.put_record(DATASET, patient, MATERIAL, BOX)
        files.keep_score(DATASET, patient, REQUEST, ONE)
    raw(files, f"{OTHER[2:]}.score")  # whose row went first
    raw(files, f"record.0011{PART}")  # of a hand-in that died
    assert files.forget(DATASET, ADA)
    assert {each.patient for each in files.owned()} == {BEN.lower()}
    assert files.record(DATASET, BEN) == (MATERIAL, BOX)
    assert files.score(DATASET, BEN, REQUEST) == ONE
    assert not files.forget(DATASET, ADA)


def test_every_file_says_whose_it_is(files: ScoreFiles) -> None:
    files.put_record(DATASET, ADA, MATERIAL, BOX)
    files.keep_score(DATASET, ADA, REQUEST, ONE)
    raw(files, f"record.0011{PART}")
    raw(files, f"{OTHER[2:]}.score.0011{PART}")
    found = {each[1:] for each in files.owned()}
    mine = DATASET, ADA.lower()
    assert found == {
        (*mine, None, True),
        (*mine, REQUEST, True),
        (*mine, None, False),
        (*mine, OTHER, False),
    }
    assert all(files.remove(each.file) for each in files.owned())
    assert list(files.owned()) == []


def test_the_first_score_stays_and_one_that_nobody_can_read_is_none(files: ScoreFiles) -> None:
    assert files.keep_score(DATASET, ADA, REQUEST, ONE) == ONE
    assert files.keep_score(DATASET, ADA, REQUEST, TWO) == ONE
    for broken in (b"", ONE.data[:-1], ONE.data[:-1] + b"\0"):
        files._folder.put({f"{DATASET[2:]}-{ADA[2:].lower()}/{REQUEST[2:]}.score": broken})
        assert files.score(DATASET, ADA, REQUEST) is None
        assert files.keep_score(DATASET, ADA, REQUEST, TWO) == TWO
        assert files.score(DATASET, ADA, REQUEST) == TWO


@pytest.mark.parametrize("content", [b"", b"half", MATERIAL])
def test_a_record_that_is_not_whole_is_none(files: ScoreFiles, content: bytes) -> None:
    files._folder.put({f"{DATASET[2:]}-{ADA[2:].lower()}/record": content})
    assert files.record(DATASET, ADA) is None


def test_a_score_that_may_not_be_read_is_replaced(
    files: ScoreFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.keep_score(DATASET, ADA, REQUEST, ONE)

    def denied(path: str) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr(files._folder._files, "cat_file", denied)
        assert files.keep_score(DATASET, ADA, REQUEST, TWO) == TWO
    assert files.score(DATASET, ADA, REQUEST) == TWO
