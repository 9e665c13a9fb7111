"""Data dictionaries of the datasets on chain: kept by the operator, proved by their hash."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from marketplace.analyses.variables import variables_of
from marketplace.chain.adapter import Chain
from marketplace.errors import Refusal
from marketplace.wire.dictionary import Dictionary, load
from marketplace.wire.kept import Documents
from ml.dp.domain import Variable


@dataclass(frozen=True)
class Dictionaries:
    """A folder of dictionaries, one file each, named by hash."""

    folder: Path
    chain: Chain

    @cached_property
    def _kept(self) -> Documents[Dictionary]:
        return Documents(self.folder, load, "dictionaries")

    def keep(self, raw: bytes) -> Dictionary:
        """Keeps a dictionary that some dataset on chain names. Keeping it twice changes nothing.

        Raises:
            BadDictionary: as the wire format refuses it.
            Refusal: `unknown_dictionary`, if no dataset on chain has this hash; `storage_full`,
                `storage_unavailable`.
        """
        dictionary = load(raw)
        known = {self.chain.dictionary_of(each) for each in self.chain.datasets()}
        if dictionary.hash() not in known:
            raise Refusal(
                code="unknown_dictionary",
                message="No dataset on chain has this dictionary.",
                remedy="Publish the dataset with this dictionary's hash first.",
                field="dictionary",
            )
        self._kept.keep(dictionary)
        return dictionary

    def of(self, dataset: bytes) -> Dictionary:
        """The dictionary of a dataset.

        Raises:
            Refusal: `unknown_dataset`, `dictionary_missing`.
        """
        digest = self.chain.require_dataset(dataset)
        found = self._kept.find(digest)
        if found is None:
            raise Refusal(
                code="dictionary_missing",
                message="The steward has not handed this dataset's dictionary to the operator.",
                remedy="Ask the steward to send it (POST /api/v1/dictionaries).",
                field="dataset",
            )
        return found

    def variables(self, dataset: bytes) -> dict[str, Variable]:
        """The dataset's variables as analyses take them, by name."""
        return variables_of(self.of(dataset))
