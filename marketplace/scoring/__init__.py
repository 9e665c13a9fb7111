"""Published models on encrypted records: what the operator keeps, computes and hands out.

Everything here is public or ciphertext. A score is opened by its patient alone (`client.scores`); no part of
the operator takes, keeps or returns a number that was decrypted.
"""

from marketplace.scoring.models import Models
from marketplace.scoring.service import Scoring

__all__ = ["Models", "Scoring"]
