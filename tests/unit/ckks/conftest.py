"""One owner, one layout and three fitted models for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ml.ckks.keys import Material, OwnerKey
from ml.ckks.layout import Layout, layout_of
from ml.ckks.models import Model
from tests.support import framingham
from tests.support.framingham import People


@dataclass(frozen=True)
class Owner:
    key: OwnerKey
    material: Material


@pytest.fixture(scope="session")
def owner() -> Owner:
    return Owner(*OwnerKey.generate())


@pytest.fixture(scope="session")
def stranger() -> Owner:
    return Owner(*OwnerKey.generate())


@pytest.fixture(scope="session")
def layout() -> Layout:
    return layout_of(framingham.layout_document())


@pytest.fixture(scope="session")
def fitted() -> dict[str, Model]:
    """Of each kind one, fitted to all of whom nothing is absent."""
    people = framingham.everybody().complete()
    fits = (framingham.linear, framingham.logistic, framingham.network)
    return {model.kind: model for model in (fit(people) for fit in fits)}


@pytest.fixture(scope="session")
def people() -> People:
    """Of whom nothing is absent."""
    return framingham.everybody().complete()
