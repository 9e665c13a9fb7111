"""The opening of a request, rehearsed at the chain before anybody pays.

Which terms the market takes is the market's to say: the very call that would open the request is made as a
call that changes nothing, and what the contracts answer is passed on, with the field at fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from marketplace.chain import artifacts
from marketplace.chain.adapter import Chain, ContractRefusal
from marketplace.chain.manifest import TOKEN
from marketplace.chain.reverts import snake_case
from marketplace.chain.sender import call_data
from marketplace.errors import Refusal
from marketplace.releases import ReleaseNotAllowed, require_release_allowed
from marketplace.wire.data_use import RELEASES
from marketplace.wire.terms import MOST_CLASSES, RequestTerms

FIELDS: Final = {
    "unknown_class": "terms.classes",
    "release_not_allowed": "terms.classes",
    "credential_missing": "Usufruct-Auth.address",
    "credential_expired": "Usufruct-Auth.address",
    "credential_is_withdrawn": "Usufruct-Auth.address",
}
"""Which field of what was sent a refusal is about, where the contract has another name for it."""

RELEASE_KIND: Final = "releaseKind"
"""What the contract finds invalid of terms whose kind of release a class does not allow."""

_PAYMENT: Final = {"transfer_short", "safe_erc20_failed_operation", "request_exists"}
"""`request_exists` too: a request that is open already was taken."""


def require_openable(chain: Chain, researcher: str, terms: RequestTerms) -> None:
    """Raises the chain's own refusal of these terms from this researcher, naming the field.

    Payment comes last in the market's call and is not due yet, so a refusal by the token says that all else
    holds.

    Raises:
        ContractRefusal: terms_invalid, release_not_allowed, price_below_floor, purpose_not_permitted, ...
        Refusal: `unknown_class`, `malformed_message`; NodeUnreachable, NodeFault, StaleHead, ...
    """
    _require_bounded(terms)
    chain.require_healthy()  # also lets an idle embedded chain's clock catch up with the deadlines
    with fields_as_sent():
        classes = [chain.class_terms(each) for each in terms.class_ids()]
        data = call_data("ResearchMarket", "open", terms, classes)
        try:
            chain.node.call(chain.market, data, "latest", researcher)
        except ContractRefusal as refusal:
            if not _is_payment(refusal):
                raise _in_terms(_about_classes(chain, refusal, terms), terms) from None


def _about_classes(chain: Chain, refusal: ContractRefusal, terms: RequestTerms) -> ContractRefusal:
    """Where a class does not let out what is asked for, with the classes that do: the kind of release follows
    from the analysis, so nobody could correct it.
    """
    kind = terms.release_kind
    if refusal.facts.get("field") != RELEASE_KIND or kind not in RELEASES:
        return refusal
    try:
        require_release_allowed(chain, terms.dataset, terms.classes, kind, "this analysis")
    except ReleaseNotAllowed as found:
        return ContractRefusal(
            code=found.code,
            message=found.message,
            remedy=found.remedy,
            field=found.field,
            facts=found.facts,
        )
    return refusal


def _in_terms(refusal: ContractRefusal, terms: RequestTerms) -> ContractRefusal:
    """The same, naming a class as the terms do: by its index, since nobody typed its hash."""
    message = refusal.message
    for index, each in zip(terms.classes, terms.class_ids(), strict=True):
        message = message.replace("0x" + each.hex(), str(index))
    return ContractRefusal(
        code=refusal.code,
        message=message,
        remedy=refusal.remedy,
        field=refusal.field,
        facts=refusal.facts,
    )


def _require_bounded(terms: RequestTerms) -> None:
    """What would cost the operator or the chain work without end before it is refused."""
    terms.purpose.require_short("terms.purpose")
    if len(terms.classes) > MOST_CLASSES:
        raise Refusal(
            code="terms_invalid",
            message=f"The request names {len(terms.classes)} classes; {MOST_CLASSES} can be counted.",
            remedy="Ask for fewer classes.",
            field="terms.classes",
        )


def _is_payment(refusal: ContractRefusal) -> bool:
    """Whether the token refused. What no contract of ours can say, as an old token's text, is the token's."""
    return refusal.code in _PAYMENT or refusal.code not in _our_codes()


@cache
def _our_codes() -> frozenset[str]:
    tokens = {error.signature for error in artifacts.load(TOKEN).errors}
    ours = {
        snake_case(error.name)
        for name in artifacts.CONTRACTS
        for error in artifacts.load(name).errors
        if error.signature not in tokens
    }
    return frozenset(ours)


@contextmanager
def fields_as_sent() -> Iterator[None]:
    """A refusal inside names its field as POST /api/v1/requests takes it."""
    try:
        yield
    except Refusal as refusal:
        told = f"terms.{refusal.field}" if refusal.field else None
        refusal.field = FIELDS.get(refusal.code, told)
        raise
