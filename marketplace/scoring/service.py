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
from marketplace.scoring.turns import Turns
from marketplace.store import Database


@dataclass(frozen=True)
class Scoring:
    """What an operator's API and worker call."""

    models: Models
    records: ScoreRecords
    rounds: Rounds
    forgetting: Forgetting

    @classmethod
    def at(
        cls,
        url: str,
        most: int,
        operator: str,
        chain: Chain,
        database: Database,
        dictionaries: Dictionaries,
    ) -> Scoring:
        """Over the folder of this fsspec URL, which other operators and markets may share.

        Args:
            most: records that are kept to be scored.
        """
        owner = f"{chain.chain_id}-{chain.market[2:].lower()}-{operator[2:].lower()}"
        files, models = ScoreFiles(url, owner), Models(chain, database)
        shared, turns = (chain, database, dictionaries, files, models), Turns()
        return cls(
            models,
            ScoreRecords(*shared, turns, most),
            Rounds(*shared),
            Forgetting(chain, database, files, turns),
        )
