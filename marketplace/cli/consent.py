"""Commands of patients, and of guardians where `--patient` says whose guardian signs.

Only an erasure asks whether it is meant: nothing stands between a patient and a revocation.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from marketplace.cli.agreement import require_erasure_meant
from marketplace.cli.carrying import acts_for, carried, seen, signed, whose_word
from marketplace.cli.environment import from_environment
from marketplace.cli.granting import before_granting, cap_in_words
from marketplace.cli.own_key import OwnKey, signs
from marketplace.cli.say import FILE, HEX32, Whole, refusals_as_words, say, tell
from marketplace.cli.status import guardian_words, state_words
from marketplace.cli.way import CUSTODIAN, GAS, Way, travels
from marketplace.client import account_of
from marketplace.client.messages import HIGHEST_SEQUENCE
from marketplace.errors import Refusal
from marketplace.vocabulary import address
from marketplace.wire import keyfiles

ENDED = ("none", "moved")
DAY = 86_400
LONGEST_DAYS = 365 * 100
REVOKED = "Revoked. Every request that is not sealed yet leaves you out."
NOTHING_TO_REVOKE = (
    "Nothing changed: no consent was in force. A grant that is not on chain yet is void now."
)
RESTED = (
    "Paused. Every request that is not sealed yet leaves you out, until `usufruct wake`; consent and "
    "budget are kept."
)
ERASED = (
    "Erased. Your consent has ended, and every request that is not sealed yet leaves you out. Custodians "
    "destroy their shares once this is final, and nothing brings the record back; a clinic can seal and "
    "attest another (`usufruct seal --version`)."
)
DISMISSED = "No guardian acts for you any more."
MOVED = (
    "Moved from {old} to {new} for good: record, consent, earnings and spent budget. From now on sign "
    "with {file}. A guardian has to be appointed again."
)
DATASET = from_environment("--dataset", type=HEX32, required=True)
DAYS = click.option(
    "--days", default=365, show_default=True, type=Whole(1, LONGEST_DAYS), help="From now."
)
PATIENT = click.option(
    "--patient", help="Act as this patient's guardian: the key file is then the guardian's."
)


@click.command()
@travels(GAS)
@signs
@DATASET
@PATIENT
@click.option(
    "--class", "index", default=1, show_default=True, type=Whole(1), help="Index of the class."
)
@click.option("--cap", required=True, type=Whole(1), help="Lifetime budget, nano-rho.")
@DAYS
@refusals_as_words
def grant(
    way: Way,
    key: OwnKey,
    dataset: bytes,
    patient: str | None,
    index: int,
    cap: int,
    days: int,
) -> None:
    """Consent to one class, up to a lifetime budget, until an expiry.

    Says before it signs what the class permits and pays, and what the whole budget lets somebody guess.
    """
    own = signing(way, key, dataset, patient)
    who, route = acts_for(own, patient), way.route(own)
    before = route.consent(dataset, who)
    class_, expiry = route.class_of(dataset, index), int(time.time()) + days * DAY
    for sentence in before_granting(way, class_, cap, before["spent"], expiry):
        tell(sentence)
    message = way.market.grant_message(
        own, class_.named, cap, expiry, before["sequence"] + 1, who, own_node=way.past_operator
    )
    with cap_in_words(cap, before["spent"]):
        transaction = route.carry(message)
    after = seen(
        route,
        dataset,
        who,
        lambda now: (
            (now["class"], now["cap"]) == (class_.named["class"], cap)
            and now["sequence"] > before["sequence"]
        ),
    )
    left = max(0, after["cap"] - after["spent"])
    spent = (
        f"of the cap of {after['cap']:,} nano-rho, {after['spent']:,} are spent and {left:,} left"
    )
    say(
        {
            **after,
            "left": left,
            "transaction": transaction,
            "in_words": [f"Granted: {spent}.", *whose_word(way)],
        }
    )


@click.command()
@travels(GAS, CUSTODIAN)
@signs
@DATASET
@PATIENT
@refusals_as_words
def revoke(way: Way, key: OwnKey, dataset: bytes, patient: str | None) -> None:
    """Stop now. Every request that is not sealed yet leaves you out."""
    own = signing(way, key, dataset, patient)
    who, route = acts_for(own, patient), way.route(own)
    before = route.consent(dataset, who)
    message = way.market.revocation_message(
        own, dataset, before["sequence"], who, own_node=way.past_operator
    )
    transaction = route.carry(message)
    after = seen(
        route,
        dataset,
        who,
        lambda now: (
            now["state"] == "moved"
            or (
                now["state"] == "none"
                and now["sequence"] >= min(before["sequence"] + 1, HIGHEST_SEQUENCE)
            )
        ),
    )
    words = NOTHING_TO_REVOKE if before["state"] in ENDED else REVOKED
    told = [words, *whose_word(way)]
    say({**after, "outcome": "revoked", "transaction": transaction, "in_words": told})


@click.command()
@travels(GAS)
@signs
@DATASET
@PATIENT
@refusals_as_words
def rest(way: Way, key: OwnKey, dataset: bytes, patient: str | None) -> None:
    """Pause: keep the consent, but be in no cohort until you wake it. Costs and pays nothing."""
    after = signed(
        way,
        signing(way, key, dataset, patient),
        dataset,
        patient,
        lambda market: market.rest_message,
        _is_rested,
    )
    say({**after, "in_words": [RESTED, *whose_word(way)]})


@click.command()
@travels(GAS)
@signs
@DATASET
@PATIENT
@refusals_as_words
def wake(way: Way, key: OwnKey, dataset: bytes, patient: str | None) -> None:
    """End a pause. While a cohort is being counted, it takes effect after that."""
    after = signed(
        way,
        signing(way, key, dataset, patient),
        dataset,
        patient,
        lambda market: market.wake_message,
        _is_awake,
    )
    say({**after, "in_words": [f"Woken. {state_words(after)}", *whose_word(way)]})


@click.command()
@travels(GAS)
@signs
@DATASET
@click.option("--to", required=True, help="Address that is paid.")
@refusals_as_words
def withdraw(way: Way, key: OwnKey, dataset: bytes, to: str) -> None:
    """Have your earnings paid to an address of your choice."""
    own = key.of(dataset)
    message = way.market.withdrawal_message(own, dataset, to)
    route = way.route(own)
    paid = int(route.consent(dataset, account_of(own))["owed"])
    transaction = route.carry(message)
    seen(route, dataset, account_of(own), lambda now: int(now["owed"]) < paid)
    words = [f"{way.amount(paid)} paid to {to}.", *whose_word(way)]
    shown = {"paid": str(paid), "to": to, "balance": str(route.balance(to))}
    say({**shown, "transaction": transaction, "in_words": words})


@click.command("appoint-guardian")
@travels(GAS)
@signs
@DATASET
@click.option("--guardian", required=True, help="The guardian's address.")
@DAYS
@click.option("--may-grant", is_flag=True, help="Also grant and wake; without it, revoke and rest.")
@refusals_as_words
def appoint_guardian(
    way: Way, key: OwnKey, dataset: bytes, guardian: str, days: int, may_grant: bool
) -> None:
    """Let somebody act for you in one dataset, in place of any guardian before. Never withdraws."""
    own = key.of(dataset)
    trusted, expiry = address(guardian, "guardian"), int(time.time()) + days * DAY
    message = way.market.guardianship_message(own, dataset, trusted, expiry, may_grant)
    after = carried(
        way,
        own,
        dataset,
        message,
        lambda now: (
            now["guardian"] == {"address": trusted, "expiry": expiry, "may_grant": may_grant}
        ),
    )
    say({**after, "in_words": [*guardian_words(after["guardian"]), *whose_word(way)]})


@click.command("dismiss-guardian")
@travels(GAS)
@signs
@DATASET
@refusals_as_words
def dismiss_guardian(way: Way, key: OwnKey, dataset: bytes) -> None:
    """End a guardian's powers."""
    own = key.of(dataset)
    message = way.market.dismissal_message(own, dataset)
    after = carried(way, own, dataset, message, lambda now: now["guardian"] is None)
    say({**after, "in_words": [DISMISSED, *whose_word(way)]})


@click.command()
@travels(GAS)
@signs
@DATASET
@click.option("--new-key-file", type=FILE, required=True, help="Key of the address to move to.")
@refusals_as_words
def rotate(way: Way, key: OwnKey, dataset: bytes, new_key_file: Path) -> None:
    """Move record, consent, earnings and lifetime spend to a fresh address. Anybody can link the two.

    Both keys sign. A guardian has to be appointed again.
    """
    own, new = key.of(dataset), keyfiles.read(new_key_file)
    route, fresh = way.route(own), account_of(new)
    route.carry(way.market.rotation_message(own, new, dataset))
    seen(route, dataset, account_of(own), lambda now: now["state"] == "moved")
    words = [
        MOVED.format(old=account_of(own), new=fresh, file=new_key_file),
        *whose_word(way),
    ]
    say({"address": fresh, **route.consent(dataset, fresh), "in_words": words})


@click.command()
@travels(GAS, CUSTODIAN)
@signs
@DATASET
@click.option("--yes", is_flag=True, help="Erase without a question.")
@refusals_as_words
def erase(way: Way, key: OwnKey, dataset: bytes, yes: bool) -> None:
    """Revoke, and have the custodians destroy their shares of your record, for good.

    It asks at a terminal; elsewhere it erases only with --yes. `usufruct revoke` never asks.
    """
    own = key.of(dataset)
    who = account_of(own)
    record = way.route(own).consent(dataset, who)["record"]
    version = max(record["version"], record["pending_version"])
    if version == 0:
        raise Refusal(
            code="no_record",
            message="This address has no record in the dataset.",
            remedy="Use the key of the address that the record was attested to.",
            field="key_file",
        )
    require_erasure_meant(who, yes)
    message = way.market.erasure_message(own, dataset, version)
    after = carried(way, own, dataset, message, _is_erased)
    say({**after, "in_words": [ERASED, *whose_word(way)]})


def signing(way: Way, key: OwnKey, dataset: bytes, patient: str | None) -> bytes:
    """The key that signs: of this person's own address in the dataset, or of it as the patient's guardian."""
    if patient is None:
        return key.of(dataset)
    address(patient, "patient")  # told before anybody is asked
    manifest = way.market.manifest
    return key.as_guardian(manifest.chain_id, manifest.address("DatasetRegistry"))


def _is_erased(now: dict[str, Any]) -> bool:
    """Also of a record that was erased before, and attested anew since."""
    kept = (now["record"]["commitment"], now["record"]["pending"])
    return bool(now["record"]["erased"]) and not any(int(each, 16) for each in kept)


def _is_rested(now: dict[str, Any]) -> bool:
    return bool(now["state"] == "rested_by_patient")


def _is_awake(now: dict[str, Any]) -> bool:
    return not _is_rested(now)
