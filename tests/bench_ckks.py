"""Scores of encrypted records, each beside the same model in the clear."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from ml.ckks.keys import OwnerKey
from ml.ckks.layout import layout_of
from ml.ckks.models import Model
from ml.ckks.opening import open_score
from ml.ckks.score import PreparedModel
from tests.bench import Contenders, Task, ready
from tests.support import framingham

RECORDS = 8


def score_contenders(
    fit: Callable[[framingham.People], Model],
) -> Callable[[], AbstractContextManager[Contenders]]:
    def contenders() -> AbstractContextManager[Contenders]:
        people = framingham.everybody().complete()
        layout, model = layout_of(framingham.layout_document()), fit(people)
        key, material = OwnerKey.generate()
        values = [people.record(i) for i in range(RECORDS)]
        records = [key.encrypt(each, layout) for each in values]
        prepared = PreparedModel(model, layout)

        def encrypted() -> None:
            for record in records:
                prepared.score(material, record)

        def plain() -> None:
            for each in values:
                model.plain(each)

        return ready({"PreparedModel.score": encrypted, "Model.plain": plain})

    return contenders


def owner_contenders() -> AbstractContextManager[Contenders]:
    """What a patient's own machine does, once a record and once a score."""
    people = framingham.everybody().complete()
    layout, model = layout_of(framingham.layout_document()), framingham.linear(people)
    key, material = OwnerKey.generate()
    values = people.record(0)
    record = key.encrypt(values, layout)
    score = PreparedModel(model, layout).score(material, record)
    sizes = {
        "make a key": len(material.data),
        "encrypt a record": len(record.data),
        "open a score": len(score.data),
    }
    acts: tuple[Callable[[], object], ...] = (
        OwnerKey.generate,
        lambda: key.encrypt(values, layout),
        lambda: open_score(key, score, model, record, values),
    )
    return ready(
        {
            f"{name}, {size:,} bytes": act
            for (name, size), act in zip(sizes.items(), acts, strict=True)
        }
    )


CKKS_TASKS = (
    Task(f"{RECORDS} scores, linear", "records", RECORDS, 5, score_contenders(framingham.linear)),
    Task(
        f"{RECORDS} scores, logistic", "records", RECORDS, 5, score_contenders(framingham.logistic)
    ),
    Task(f"{RECORDS} scores, network", "records", RECORDS, 5, score_contenders(framingham.network)),
    Task("CKKS, the owner's part", "acts", 1, 5, owner_contenders),
)
