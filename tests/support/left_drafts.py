"""A patient's browser and a clinic's, in Python: what each of them would send."""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from marketplace.chain.joint_keys import joint_key_of
from marketplace.drafts import Drafts
from marketplace.sealing.columns import column_randomness
from marketplace.sealing.row import to_row
from marketplace.sealing.seal import _seal
from marketplace.vocabulary import Epoch, Lane
from marketplace.wire import feldman
from marketplace.wire.browser_keys import Place, Root, new_root
from marketplace.wire.dictionary import Row, encode_row
from marketplace.wire.eip712 import sign
from marketplace.wire.http import to_hex
from marketplace.wire.opening import (
    IssuerDesk,
    Opening,
    OpeningContext,
    code_hash,
    new_code,
    seal_opening,
)
from marketplace.wire.record import NONCE_BYTES, RecordContext, SealedRecord, dump
from marketplace.wire.structs import RecordAttestation
from marketplace.wire.tally import SealedTally
from marketplace.wire.voucher import Seen, Voucher, committee_hash
from ml.homomorphic import validity
from ml.homomorphic.curve import Point
from ml.homomorphic.elgamal import encrypt
from tests.support.custody_world import CustodyWorld, seats_of

DAY = 86_400


@dataclass(frozen=True)
class Left:
    """What a patient leaves: `document` and `opening` go to the operator, with the hash of `code`."""

    record: SealedRecord
    opening: bytes
    code: bytes

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(dump(self.record)))


@dataclass(frozen=True)
class Browser:
    """Somebody with a root."""

    custody: CustodyWorld
    root: Root = field(default_factory=new_root)

    @property
    def place(self) -> Place:
        chain = self.custody.chain
        registry = chain.manifest.address("DatasetRegistry")
        return Place(chain.chain_id, registry, self.custody.dataset)

    @property
    def account(self) -> LocalAccount:
        made: LocalAccount = Account.from_key(self.root.patient_key(self.place))
        return made

    def seals(
        self,
        values: Mapping[str, Any],
        code: bytes,
        desk_key: bytes,
        *,
        version: int = 1,
        patient: str | None = None,
        secret: int | None = None,
        shown: int | None = None,
        encrypted: Mapping[str, Any] | None = None,
    ) -> Left:
        """`secret` is used in place of the derived one; `shown` is what the opening says that it is. Where
        the dictionary has an encoding, the columns are those of `values`, or of `encrypted` in their place.
        """
        custody = self.custody
        context = custody.record_context(patient or self.account.address, version)
        committee, nonce = custody.chain.committee(), secrets.token_bytes(NONCE_BYTES)
        own = secret or self.root.record_secret(context, nonce)
        tallied = to_row(custody.dictionary, values if encrypted is None else encrypted)
        sealed = _seal(
            encode_row(custody.dictionary, to_row(custody.dictionary, values)),
            context,
            seats_of(committee),
            Epoch(committee.epoch),
            self._tally(tallied, context, own),
            coefficients=feldman.draw_coefficients(own, committee.quorum),
            nonce=nonce,
        )
        told = Opening(code, shown or own)
        return Left(sealed, seal_opening(told, desk_key, OpeningContext.of(sealed)), code)

    def _tally(self, row: Row, context: RecordContext, secret: int) -> SealedTally | None:
        """As a browser makes it: by the secret of the box."""
        encoding, chain = self.custody.dictionary.encoding, self.custody.chain
        if encoding is None:
            return None
        key = joint_key_of(chain, int(chain.current_epoch()))
        assert key is not None
        about, public = context.in_lane(Lane.HOMOMORPHIC).aad(), Point.from_bytes(key)
        randomness = column_randomness(secret, about, key, len(encoding.columns))
        columns = encrypt(encoding.values(row), randomness, public)
        stated = validity.Statement(about, public, encoding.relation, columns)
        return SealedTally(
            key, columns, validity.prove(stated, encoding.stated(row).vector, randomness)
        )


@dataclass(frozen=True)
class Clinic:
    """An issuer with a desk."""

    custody: CustodyWorld
    drafts: Drafts
    issuer: LocalAccount
    root: Root = field(default_factory=new_root)
    custodians: Sequence[str] = ("https://custodian-0.example",)
    """Where they answer, as it knows them."""

    @property
    def place(self) -> Place:
        return Browser(self.custody, self.root).place

    @property
    def desk_key(self) -> bytes:
        return self.root.desk_key(self.place).public

    def desk(self, **changes: Any) -> dict[str, Any]:
        """The signed statement; `key` and `until` may be others."""
        said = {"key": self.desk_key, "until": int(time.time()) + 30 * DAY, **changes}
        statement = IssuerDesk(
            dataset=self.custody.dataset,
            issuer=self.issuer.address,
            key=said["key"],
            until=said["until"],
        )
        domain = self.custody.chain.domain("DatasetRegistry")
        return {
            "desk": statement.to_json(),
            "signature": to_hex(sign(statement, domain, self.issuer)),
        }

    def opens_desk(self) -> None:
        made = self.desk()
        self.drafts.post_desk(made["desk"], made["signature"])

    def invites(self, number: int = 1, days: int = 7) -> list[bytes]:
        codes = [new_code() for _ in range(number)]
        vouched = dict(zip(map(code_hash, codes), self.vouches(*codes), strict=True))
        self.drafts.invite(self.custody.dataset, self.issuer.address, vouched, days)
        return codes

    def vouches(self, *codes: bytes) -> list[Voucher]:
        """For the market and the committee as the chain has them, one for each code."""
        chain = self.custody.chain
        committee, token = chain.committee(), chain.token
        seen = Seen(
            chain_id=chain.chain_id,
            contracts={name: each.address for name, each in chain.manifest.contracts.items()},
            token=(chain.manifest.token, token.decimals, token.symbol),
            dataset=self.custody.dataset,
            issuer=self.issuer.address,
            desk=self.desk_key,
            committee=committee_hash(
                committee.epoch,
                committee.quorum,
                [each.signer for each in committee.members],
                [each.keys[1] for each in committee.members],
            ),
        )
        return [Voucher.of(code, seen, committee.epoch, self.custodians) for code in codes]

    def attestation(self, record: SealedRecord, number: str, **changes: Any) -> tuple[Any, str]:
        """For the patient with this number: the struct as JSON and its signature."""
        signer = changes.pop("signer", self.issuer)
        attested = RecordAttestation(
            **{
                "dataset": self.custody.dataset,
                "patient": record.context.patient,
                "person": self.root.person(self.place, number),
                "commitment": record.commitment,
                "version": record.context.record_version,
                "issuer": self.issuer.address,
                "deadline": self.custody.later(),
                **changes,
            }
        )
        domain = self.custody.chain.domain("DatasetRegistry")
        return attested.to_json(), to_hex(sign(attested, domain, signer))
