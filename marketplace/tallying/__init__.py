"""Carrying the answer of one request between custodians: any machine can, and none is trusted with more.

Noise: commitments of all on chain, then reveals, each with its maker's word on the sums, verified here and by
every custodian, then the set that counts on chain: of custodians that add up the same. Answer: partial
decryptions, verified against the noised sums that a quorum of custodians agrees on, combined to what the
researcher alone can open, and signed by a quorum. Whoever is silent, wrong or says something else than before
is left out and named; a quorum of the others goes on.
"""

from marketplace.tallying.answer import Decrypted, Part, Tallying, settlement_body
from marketplace.tallying.asked import Tell
from marketplace.tallying.noise import Revealed
from marketplace.tallying.rounds import TallyMissing
from marketplace.tallying.tardy import Tardy

__all__ = [
    "Decrypted",
    "Part",
    "Revealed",
    "TallyMissing",
    "Tallying",
    "Tardy",
    "Tell",
    "settlement_body",
]
