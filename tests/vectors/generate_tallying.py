"""Regenerates tallying.json: python -m tests.vectors.generate_tallying

What answers of the homomorphic lane are bound to. Receipts are for ever: none of these values may change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from marketplace.vocabulary import Address
from marketplace.wire.eip712 import Domain
from marketplace.wire.structs import CountedSums
from marketplace.wire.tallying import (
    Reveal,
    SumsWord,
    TallySession,
    encode_sealed,
    noised,
    own_recipient,
    recipient,
    result_hash,
)
from ml.homomorphic.curve import times_base
from ml.homomorphic.noise import Contribution
from ml.homomorphic.threshold import Sum
from tests.vectors.generate_web import written
from tests.vectors.tagging import hexed, seeded

FILE = Path(__file__).parent / "tallying.json"
SESSION = TallySession(
    31337, Address("0x" + "11" * 20), seeded("tallying request"), seeded("tallying root"), 3
)


def pair(first: int, second: int) -> Sum:
    return Sum(times_base(first), times_base(second))


def document() -> dict[str, Any]:
    sums = [pair(2, 3), Sum.zero(), pair(5, 7)]
    columns = b"".join(pair(11 + i, 13 + i).to_bytes() for i in range(3))
    contribution = Contribution(columns, seeded("tallying proof", 64))
    whole = noised(sums, [contribution])
    root, noise = seeded("tallying ciphertexts"), seeded("tallying noise")
    aggregate = SESSION.aggregate(root, noise, whole)
    word = SumsWord(SESSION.sums(root, sums), seeded("tallying signature", 65))
    reveal = Reveal(3, contribution, (seeded("tallying digest"), contribution.digest))
    said = CountedSums(SESSION.request, SESSION.root, SESSION.epoch, 2, word.digest)
    registry = Domain("Usufruct NoiseRegistry", "1", SESSION.chain_id, SESSION.market)
    secrets = [1, 2, 3, 0x5EED]
    return {
        "schema": "usufruct-vectors-tallying/1",
        "session": hexed(SESSION.name()),
        "sums": [hexed(each.to_bytes()) for each in sums],
        "counted": word.to_json(),
        "counted_digest": hexed(said.digest(registry)),
        "noised": [hexed(each.to_bytes()) for each in whole],
        "aggregate": hexed(aggregate),
        "partials": [hexed(SESSION.partial(place, aggregate)) for place in range(3)],
        "result_hash": hexed(result_hash(aggregate)),
        "sealed_result": hexed(encode_sealed(whole)),
        "reveal": reveal.to_json(),
        "commitment": hexed(reveal.commitment(SESSION.contributor(1), 2)),
        "recipients": [
            {
                "secret": str(secret),
                "own": str(own_recipient(secret)[0]),
                "delivery_key": hexed(own_recipient(secret)[1]),
                "point": hexed(recipient(own_recipient(secret)[1]).to_bytes()),
            }
            for secret in secrets
        ],
    }


def main() -> None:
    FILE.write_text(written(document()))


if __name__ == "__main__":
    main()
