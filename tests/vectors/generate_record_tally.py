"""Regenerates record_tally.json, what the browser's records with a tally must agree with:
python -m tests.vectors.generate_record_tally

Everything that is drawn at random is given, so that whole records can be the same byte for byte. Each is
one that the product loads and finds valid.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from marketplace.sealing.columns import column_randomness, require_same_row
from marketplace.sealing.row import Value, to_row
from marketplace.vocabulary import DatasetId, DictionaryHash, Epoch, Lane, address, patient_address
from marketplace.wire import dictionary, feldman, record
from marketplace.wire.dictionary import Dictionary, Row
from marketplace.wire.header import RecordHeader
from marketplace.wire.record import RecordContext, SealedRecord
from marketplace.wire.tally import SealedTally, TallyHeader, column_root, require_valid
from ml.homomorphic import validity
from ml.homomorphic.curve import times_base
from ml.homomorphic.elgamal import COLUMN_BYTES, encrypt
from tests.vectors import generate
from tests.vectors.generate_tally import WHOLE
from tests.vectors.generate_web import written
from tests.vectors.tagging import hexed, outcome, seeded, tag

FILE = Path(__file__).parent / "record_tally.json"
SCHEMA = "usufruct-vectors-record-tally/1"
COUNTS = (*range(1, 10), 16, 17, 31, 200, 512)
VALUES: tuple[dict[str, Value], ...] = (
    {},
    {"age": Decimal(57), "smoker": "c2", "weight": Decimal("70.5"), "sex": "c1"},
    {"age": Decimal(120), "weight": Decimal("-5.0")},
)
EPOCH = Epoch(5)
FILL = 349_500
"""Letters of base64: alone within the bounds of a tally, with columns beyond them."""


def vectors() -> dict[str, Any]:
    records = [_record(*each) for each in ((1, 1, 0), (2, 3, 1), (3, 5, 2), (9, 16, 1))]
    return {
        "schema": SCHEMA,
        "trees": {
            "roots": [_root(count) for count in COUNTS],
            "leaves": [_leaf(str(which)) for which in range(3)],
        },
        "records": {"whole": records},
        "documents": {"any": _documents(json.loads(records[1]["document"]))},
    }


def _root(count: int) -> dict[str, Any]:
    columns = seeded(f"columns.{count}", COLUMN_BYTES * count)
    return {"columns": hexed(columns), "root": hexed(column_root(columns))}


def _leaf(name: str) -> dict[str, Any]:
    dictionary_hash = seeded(f"dictionary.{name}")
    header = TallyHeader(seeded(f"key.{name}", 33), seeded(f"root.{name}"), seeded(f"proof.{name}"))
    return {
        "publicKey": hexed(header.public_key),
        "columnRoot": hexed(header.column_root),
        "proofHash": hexed(header.proof_hash),
        "dictionaryHash": hexed(dictionary_hash),
        "leaf": hexed(header.leaf(dictionary_hash)),
    }


def _scalar(name: str) -> int:
    return int.from_bytes(seeded(name), "big") % (feldman.ORDER - 1) + 1


def _scalars(name: str, count: int) -> list[int]:
    return [_scalar(f"{name}.{i}") for i in range(count)]


def _hexes(scalars: list[int]) -> list[str]:
    return [f"0x{each:064x}" for each in scalars]


def _context(read: Dictionary) -> RecordContext:
    return RecordContext(
        chain_id=31337,
        registry=address("0x" + seeded("registry", 20).hex()),
        dataset=DatasetId(seeded("dataset", 30) + bytes(2)),
        patient=patient_address("0x" + seeded("patient", 20).hex()),
        dictionary_hash=DictionaryHash(read.hash()),
        record_version=3,
    )


def _tally(
    read: Dictionary, row: Row, where: RecordContext, name: str, secret: int
) -> tuple[SealedTally, dict[str, Any]]:
    """Columns and proof with nothing left to chance, and what was drawn for them."""
    encoding = read.encoding
    if encoding is None:
        raise AssertionError("the dictionary has an encoding")
    relation, key = encoding.relation, times_base(_scalar(f"{name}.key"))
    context = where.in_lane(Lane.HOMOMORPHIC).aad()
    randomness = column_randomness(secret, context, key.to_bytes(), len(relation.columns))
    entries, drawn = _scalars(f"{name}.a", relation.size), _scalars(f"{name}.drawn", 5)
    columns = encrypt(encoding.values(row), randomness, key)
    about = validity.Statement(context, key, relation, columns)
    proof = validity._prove(about, encoding.stated(row).vector, randomness, entries, drawn)
    tally = SealedTally(key.to_bytes(), columns, proof)
    if require_valid([(tally, context)], encoding, tally.public_key) != [None]:
        raise AssertionError("the product does not accept what it should")
    shown = {"key": hexed(tally.public_key), "context": hexed(context)}
    draws = {"randomness": randomness, "entries": entries, "drawn": drawn}
    return tally, {**shown, **{each: _hexes(found) for each, found in draws.items()}}


def _record(quorum: int, custodians: int, which: int) -> dict[str, Any]:
    """One sealing, what was drawn for it, and the document and the header that it makes."""
    read, name = dictionary.from_json(WHOLE), f"record.{quorum}"
    where, row = _context(read), to_row(read, VALUES[which])
    coefficients = _scalars(f"{name}.c", quorum)
    tally, drawn = _tally(read, row, where, name, coefficients[0])
    nonce = seeded(f"{name}.nonce", record.NONCE_BYTES)
    dealt = feldman.deal(coefficients, custodians)
    box = record.close_box(coefficients[0], where, dictionary.encode_row(read, row), nonce=nonce)
    unshared = SealedRecord(where, EPOCH, box, dealt.commitments, (), tally)
    shares = tuple(_share(unshared, each, name) for each in dealt.shares)
    sealed = SealedRecord(where, EPOCH, box, dealt.commitments, shares, tally)
    document = record.dump(sealed)
    if record.load(document, where) != sealed:
        raise AssertionError("the product does not read what it writes")
    require_same_row(sealed, coefficients[0], read, row)
    places = range(1, custodians + 1)
    return {
        "dictionary": WHOLE,
        "values": tag(VALUES[which])["o"],
        "row": list(row),
        "context": _context_json(where),
        "epoch": EPOCH,
        "quorum": quorum,
        "coefficients": [str(each) for each in coefficients],
        "nonce": hexed(nonce),
        "ephemerals": [hexed(seeded(f"{name}.e.{i}")) for i in places],
        "custodians": [hexed(seeded(f"custodian.{i}")) for i in places],
        "tally": drawn,
        "leaves": [
            hexed(each) for each in record.record_leaves(where, box, dealt.commitments, tally)
        ],
        "header": RecordHeader.of(sealed).to_json(),
        "document": document.decode(),
    }


def _share(unshared: SealedRecord, share: feldman.Share, name: str) -> record.SealedShare:
    info = record.share_info(unshared.context, unshared.commitment, EPOCH, share.index)
    to = generate.public(seeded(f"custodian.{share.index}"))
    drawn = seeded(f"{name}.e.{share.index}")
    return record.SealedShare(share.index, generate.hpke_seal(share.to_bytes(), to, info, drawn))


def _context_json(where: RecordContext) -> dict[str, Any]:
    return {
        "chainId": where.chain_id,
        "registry": where.registry,
        "dataset": hexed(where.dataset),
        "patient": where.patient,
        "dictionaryHash": hexed(where.dictionary_hash),
        "recordVersion": where.record_version,
        "lane": int(where.lane),
    }


def _documents(good: dict[str, Any]) -> list[dict[str, Any]]:
    """Damaged documents, and what becomes of each. In place of @ stand `fill` letters A."""
    texts = [json.dumps(each) for each in (*_spoilt(good), good)]
    large = {**good, "tally": good["tally"] | {"proof": "@"}}
    compact = json.dumps(large, separators=(",", ":"), sort_keys=True)
    filled = [compact, compact.replace('"schema":', '"schema": ')]
    both = [*((each, 0) for each in texts), *((each, FILL) for each in filled)]
    return [
        {"document": text, "fill": fill, **outcome(partial(_loaded, text, fill))}
        for text, fill in both
    ]


def _loaded(text: str, fill: int) -> None:
    record.load(text.replace("@", "A" * fill).encode())


def _spoilt(good: dict[str, Any]) -> list[Any]:
    tally = good["tally"]
    plain = {name: value for name, value in good.items() if name != "tally"}
    other = "0x02" + seeded("another key").hex()
    nothings: tuple[Any, ...] = (None, 5, [], {}, "")
    changes: list[Callable[[], Any]] = [
        lambda: plain,
        lambda: plain | {"schema": record.SCHEMA},
        lambda: good | {"schema": record.SCHEMA},
        lambda: good | {"schema": "usufruct-record/3"},
        lambda: good | {"lane": 2},
        *(partial(good.__or__, {"tally": each}) for each in nothings),
        *(
            partial(good.__or__, {"tally": tally | {name: each}})
            for name in tally
            for each in (None, 5, "", "!", "0x", tally[name][:-4])
        ),
        *(
            partial(good.__or__, {"tally": {key: tally[key] for key in tally if key != name}})
            for name in tally
        ),
        lambda: good | {"tally": tally | {"more": 1}},
        lambda: good | {"tally": tally | {"public_key": other}},
        lambda: good | {"tally": tally | {"public_key": other + "00"}},
        lambda: good | {"tally": tally | {"columns": tally["proof"]}},
        lambda: good | {"tally": tally | {"columns": tally["columns"][88:]}},
        lambda: good | {"tally": tally | {"proof": tally["proof"][4:]}},
    ]
    return [change() for change in changes]


if __name__ == "__main__":
    FILE.write_text(written(vectors()), encoding="utf-8")
