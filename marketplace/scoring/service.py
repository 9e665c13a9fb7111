"""Everything about scores that one operator does, put together."""

from __future__ import annotations

from dataclasses import dataclass

from marketplace.chain.adapter import Chain
from marketplace.dictionaries import Dictionaries
from marketplace.scoring.files import ScoreFiles
from marketplace.scoring.forgetting import Forgetting
from marketplace.scoring.models import Models
from marketplace.scoring.records import ScoreRecords
from marketplace.scoring.rounds import Rounds
from marketplace.store import Database


@dataclass(frozen=True)
class Scoring:
    """What an operator's API and worker call."""

    models: Models
    records: ScoreRecords
    rounds: Rounds
    forgetting: Forgetting

    @classmethod
    def at(cls, url: str, chain: Chain, database: Database, dictionaries: Dictionaries) -> Scoring:
        """Over the folder of this fsspec URL."""
        files, models = ScoreFiles(url), Models(chain, database)
        shared = (chain, database, dictionaries, files, models)
        return cls(
            models,
            ScoreRecords(*shared),
            Rounds(*shared),
            Forgetting(chain, database, files),
        )
