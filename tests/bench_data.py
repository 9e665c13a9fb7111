"""Sealing and opening records, envelopes, and a private mean, each beside the plain thing below it."""

import secrets
from contextlib import AbstractContextManager

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from marketplace.chain.adapter import Stored
from marketplace.fhir.demo import demo_dictionary
from marketplace.gate.opening import Ciphertext, Opener
from marketplace.gate.quorum import Turn
from marketplace.sealing.row import Value
from marketplace.sealing.seal import CustodianKey, seal_row
from marketplace.vocabulary import (
    CustodianIndex,
    DatasetId,
    Epoch,
    PatientAddress,
    address,
)
from marketplace.wire import feldman, hpke
from marketplace.wire.record import RecordContext, open_box, open_share
from ml.dp.clipping import Clip, Measured
from ml.dp.domain import Table, Variable
from ml.dp.means import noised_mean
from tests.bench import Contenders, Task, ready

ROWS = 1_000_000
COST = 1_000_000  # nano-rho
CUSTODIANS, QUORUM = 3, 2
RECORDS = 50
INFO = b"bench"
PRESSURE = Variable("pressure", "number", "mm[Hg]", 600, 2_600, 1)


def record_contenders() -> AbstractContextManager[Contenders]:
    dictionary = demo_dictionary()
    patient = PatientAddress(address("0x" + "11" * 20))
    registry = address("0x" + "22" * 20)
    context = RecordContext(31_337, registry, DatasetId(bytes(32)), patient, dictionary.hash(), 1)
    keys = [hpke.generate() for _ in range(CUSTODIANS)]
    seats = [CustodianKey(CustodianIndex(n + 1), key.public) for n, key in enumerate(keys)]
    values: dict[str, Value] = {}
    row, cipher = bytes(dictionary.row_bytes), AESGCM(secrets.token_bytes(32))

    def sealed() -> None:
        for _ in range(RECORDS):
            seal_row(dictionary, values, context, seats, Epoch(1), QUORUM)

    def enveloped() -> None:
        for _ in range(RECORDS):
            for key in keys:
                hpke.seal(row, key.public, INFO)

    def plain() -> None:
        for _ in range(RECORDS):
            cipher.encrypt(secrets.token_bytes(12), row, None)

    return ready({"seal_row, 2 of 3": sealed, "3 HPKE envelopes": enveloped, "AES-256-GCM": plain})


def opening_contenders() -> AbstractContextManager[Contenders]:
    """What a gate does with a cohort, and how much of that is the look at every share."""
    dictionary, dataset = demo_dictionary(), DatasetId(bytes(32))
    patient, registry = address("0x" + "11" * 20), address("0x" + "22" * 20)
    at = PatientAddress(patient)
    context = RecordContext(31_337, registry, dataset, at, dictionary.hash(), 1)
    keys = [hpke.generate() for _ in range(CUSTODIANS)]
    seats = [CustodianKey(CustodianIndex(n + 1), key.public) for n, key in enumerate(keys)]
    sealed = seal_row(dictionary, {}, context, seats, Epoch(1), QUORUM)
    shares = [open_share(sealed, n + 1, key) for n, key in enumerate(keys)]
    turns = [Turn(n, (share,) * RECORDS, {}) for n, share in enumerate(shares)]
    stored = [Stored(patient, sealed.commitment, patient, 1)] * RECORDS
    ciphertexts: dict[str, Ciphertext] = {patient: Ciphertext(sealed.box, sealed.key_commitments)}
    opener = Opener(31_337, registry, dataset, dictionary, QUORUM)

    def unchecked() -> None:
        for _ in range(RECORDS):
            open_box(feldman.interpolate(shares[:QUORUM]), context, sealed.box)

    return ready(
        {
            "Opener, 2 of 3": lambda: opener.open_all(stored, ciphertexts, turns),
            "shares not looked at": unchecked,
        }
    )


def envelope_contenders() -> AbstractContextManager[Contenders]:
    key, message = hpke.generate(), secrets.token_bytes(64)
    envelope = hpke.seal(message, key.public, INFO)

    def seal() -> None:
        for _ in range(RECORDS):
            hpke.seal(message, key.public, INFO)

    def unseal() -> None:
        for _ in range(RECORDS):
            hpke.open_envelope(envelope, key, INFO)

    def agree() -> None:
        """What any envelope to a public key must do at least: one fresh key, one agreement."""
        for _ in range(RECORDS):
            fresh = X25519PrivateKey.generate()
            shared = fresh.exchange(X25519PublicKey.from_public_bytes(key.public))
            AESGCM(shared).encrypt(bytes(12), message, INFO)

    return ready({"HPKE seal": seal, "HPKE open": unseal, "bare X25519 and AES-GCM": agree})


def mean_contenders() -> AbstractContextManager[Contenders]:
    values = np.random.default_rng(1).integers(900, 1_900, ROWS, dtype=np.int64)
    table = Table({"pressure": values}, {"pressure": np.ones(ROWS, dtype=np.bool_)}, ROWS)
    measured = Measured(PRESSURE, Clip(800, 2_000))
    return ready(
        {
            "OpenDP, noised": lambda: noised_mean(table, measured, COST),
            "NumPy, clipped": lambda: np.clip(values, 800, 2_000).mean(),
            "NumPy, plain": lambda: values.mean(),
        }
    )


DATA_TASKS = (
    Task(f"seal {RECORDS} records", "records", RECORDS, 9, record_contenders),
    Task(f"open {RECORDS} records", "records", RECORDS, 9, opening_contenders),
    Task(f"{RECORDS} envelopes of 64 bytes", "envelopes", RECORDS, 9, envelope_contenders),
    Task("mean of 1,000,000 rows", "rows", ROWS, 9, mean_contenders),
)
