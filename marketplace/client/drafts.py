"""The clinic's side of a draft: opened, and held against the clinic's own files. No value is sent on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from marketplace.client.marketplace import Marketplace
from marketplace.errors import Refusal
from marketplace.sealing.opened import open_draft
from marketplace.sealing.row import Value, to_row
from marketplace.vocabulary import DatasetId
from marketplace.wire import record
from marketplace.wire.browser_keys import Place, Root
from marketplace.wire.canonical import canonical
from marketplace.wire.dictionary import Dictionary, Kind, Row, Variable
from marketplace.wire.http import binary_field
from marketplace.wire.opening import OPENING_BYTES
from marketplace.wire.record import SealedRecord


@dataclass(frozen=True)
class LeftRecord:
    """A draft that opened: the record, and the row that custodians will find in it, which does not print."""

    record: SealedRecord
    dictionary: Dictionary
    row: Row = field(repr=False)

    def require_same(self, values: Mapping[str, Value]) -> None:
        """The record holds exactly what the clinic has.

        Raises:
            Refusal: values_differ, naming the variables and no value; bad_parameter, out_of_dictionary.
        """
        own = to_row(self.dictionary, values)
        pairs = zip(self.dictionary.variables, self.row, own, strict=True)
        differing = [variable.name for variable, theirs, ours in pairs if theirs != ours]
        if differing:
            raise Refusal(
                code="values_differ",
                message=f"The record has other values than the bundle: {', '.join(differing)}.",
                remedy="Do not attest it. Decline the draft (values_differ); its patient can leave another.",
                field=differing[0],
            )

    def shown(self) -> list[str]:
        """`name: value unit` of every variable, for the clinic's own eyes: these are health data."""
        pairs = zip(self.dictionary.variables, self.row, strict=True)
        return [f"{variable.name}: {_in_words(variable, value)}" for variable, value in pairs]


def place_of(market: Marketplace, dataset: bytes) -> Place:
    """A dataset of the market's deployment."""
    registry = market.manifest.address("DatasetRegistry")
    return Place(market.manifest.chain_id, registry, DatasetId(dataset))


def open_left(
    market: Marketplace, dataset: bytes, document: object, root: Root, code: bytes
) -> LeftRecord:
    """Opens a draft with the desk key of this root. Dictionary and deployment are the chain's own.

    Args:
        document: what the clinic's page saves: an object with `record` and `opening` (base64).
        code: the invitation that was handed to the person in question, 16 bytes.

    Raises:
        Refusal: malformed_draft, record_unreadable, draft_mismatch, envelope_unreadable, wrong_secret;
            wrong_person, it was left under another invitation.
    """
    sealed, opening = _read(document)
    dictionary, place = market.dictionary_on_chain(dataset), place_of(market, dataset)
    found = open_draft(sealed, opening, root.desk_key(place), dictionary, place)
    if found.code != code:
        raise Refusal(
            code="wrong_person",
            message="The record was left under another invitation than this one.",
            remedy="Do not attest it for this person. Check the code, or decline the draft (wrong_person).",
            field="code",
        )
    return LeftRecord(sealed, dictionary, found.row)


def _read(document: object) -> tuple[SealedRecord, bytes]:
    if not isinstance(document, dict) or not {"record", "opening"} <= set(document):
        raise Refusal(
            code="malformed_draft",
            message="The file has no record and opening.",
            remedy="Save the draft again, with the clinic's page.",
            field="draft",
        )
    sealed = record.load(canonical(document["record"]))
    return sealed, binary_field(document["opening"], "opening", OPENING_BYTES)


def _in_words(variable: Variable, value: int | None) -> str:
    if value is None:
        return "none"
    if variable.kind is Kind.CATEGORY:
        return variable.categories[value]
    return f"{Decimal(value).scaleb(-variable.decimals):f} {variable.unit}"
