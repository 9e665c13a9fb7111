"""The chapters of the story."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from eth_utils.crypto import keccak
from rich.console import Console

from marketplace.client import Ask, Marketplace
from marketplace.client import steward as stewarding
from marketplace.client.researcher import ENDED
from marketplace.demo.asking import BUNDLE, Asking, about_gap
from marketplace.demo.setting import (
    ANCESTRY,
    CAREFUL,
    CAREFUL_CAP,
    CLASS_COST,
    COST,
    MEAN,
    MODEL,
    PATIENTS,
    SEED,
    YEAR,
    Person,
    class_page,
    class_terms,
    purpose,
    researcher_credential,
)
from marketplace.fhir.demo import demo_bundles, tallied_dictionary
from marketplace.fhir.extract import extract
from marketplace.local import EUR, Local, await_health
from marketplace.vocabulary import Lane
from marketplace.wire import hpke, keyfiles
from marketplace.wire.amounts import Token

BATCH: Final = 100
FIRST: Final = "mean systolic blood pressure"


@dataclass
class Story(Asking):
    """Consent, payment, private answers, refusals, revocation, restart."""

    # --- chapter 1: a dataset, its patients, their consent

    def publish(self) -> None:
        """Steward, authority and operator set the market up."""
        chain, local = self.market.chain, self.local
        dictionary = tallied_dictionary()
        self.dataset = stewarding.publish_dataset(
            chain, local.key("steward"), dictionary, bytes(keccak(text="demo"))
        )
        stewarding.publish_class(chain, local.key("steward"), self.dataset, class_terms())
        stewarding.add_issuer(chain, local.key("steward"), self.dataset, local.account("issuer"))
        stewarding.hand_over_dictionary(self.market.api, dictionary)
        stewarding.hand_over_page(self.market.api, class_page())
        credential = researcher_credential(chain.now())
        stewarding.give_credential(
            chain, local.key("authority"), local.account("researcher"), credential
        )
        for role in ("operator", "researcher", "stranger"):
            stewarding.mint(chain, local.key("deployer"), local.account(role), 100_000 * EUR)
        stewarding.post_bond(chain, local.key("operator"), 10_000 * EUR)
        self.leave_examples()
        self.tell("dataset published", "published", dataset="0x" + self.dataset.hex())

    def leave_examples(self) -> None:
        """What a visitor needs to play a clinic or a researcher: a bundle of nobody's, a purpose, a model."""
        folder = self.local.folder / "examples"
        folder.mkdir()
        (bundle,) = demo_bundles(1, SEED + 1)
        (folder / "bundle.json").write_bytes(bundle)
        (folder / "purpose.json").write_text(json.dumps(purpose().to_json(), indent=2))
        (folder / "model.json").write_text(json.dumps(MODEL, indent=2))

    def bring_patients(self) -> None:
        """200 patients' FHIR records are sealed where they are, attested, stored by custodians."""
        dictionary = tallied_dictionary()
        bundles = demo_bundles(PATIENTS, SEED)
        self.people = [
            Person(keyfiles.new_signing_key(), extract(bundle, dictionary)) for bundle in bundles
        ]
        for person in self.people[:CAREFUL]:
            person.cap = CAREFUL_CAP
        sealer, issuer = self.market.sealer(self.dataset), self.local.key("issuer")
        entries = [
            self.market.attest(sealer(p.address, p.values, 1), keccak(text=f"person {i}"), issuer)
            for i, p in enumerate(self.progress(self.people, "sealing"))
        ]
        for part in self.progress(_parts(entries), "storing"):
            outcomes = self.market.upload(part)
            self.expect(all(each["outcome"] == "stored" for each in outcomes), str(outcomes[:2]))
        self.tell("records sealed, attested and stored", "stored", records=PATIENTS)

    def grant_all(self) -> None:
        """Patients consent by signed message; the operator relays them in batches."""
        class_ = self.market.dataset(self.dataset).classes[0].named
        expiry = self.market.chain.now() + YEAR
        messages = [self.market.grant_message(p.key, class_, p.cap, expiry, 1) for p in self.people]
        for part in self.progress(_parts(messages), "granting"):
            self.expect(not stewarding.refusals(self.market.relay(part)), "a grant was refused")
        live = self.market.dataset(self.dataset).live
        self.expect(live == PATIENTS, f"{live} consents are live, not {PATIENTS}")
        self.tell("patients consent", "granted", live=live)

    # --- chapter 2: requests

    def first_request(self) -> None:
        """A credentialed researcher sees price, privacy cost and error, pays, and is answered."""
        step = self.request_mean(FIRST, self.people, cost=COST)
        self.note(about_gap(step["result"], step["truth"]))
        earned = int(self.market.consent(self.dataset, self.people[0].address)["owed"])
        self.expect(earned > 0, "patients earned nothing")
        paid = int(step["balances_after"]["owed:earnings"])
        self.expect(paid == earned * PATIENTS, "earnings do not add up")

    def other_lane(self) -> None:
        """The same question about the same people where nobody ever opens a record."""
        step = self.request_mean(
            "the same in the homomorphic lane", self.people, lane=Lane.HOMOMORPHIC, cost=COST
        )
        vault = next(each for each in self.steps if each["name"] == FIRST)
        self.note(
            f"Both lanes, the same {PATIENTS} patients: {' to '.join(vault['interval'])} from a gate that "
            f"saw their records in memory, {' to '.join(step['interval'])} from sums that nobody could open "
            f"but the researcher. The truth is {step['truth']}. The second is wider: nothing can be clipped "
            "in a sum, and each custodian adds noise enough for those who may collude."
        )

    def withdraw(self) -> None:
        """One patient has the earnings paid to another address, without gas."""
        patient = self.people[-1]
        before = self.balances()
        owed = int(self.market.consent(self.dataset, patient.address)["owed"])
        message = self.market.withdrawal_message(patient.key, self.dataset, self.destination)
        self.expect(not stewarding.refusals(self.market.relay([message])), "withdrawal refused")
        after = self.balances()
        self.expect(int(after["patient_destination"]) == owed, "the destination was not paid")
        self.tell(
            "a patient withdraws",
            "paid",
            amount=str(owed),
            paid=Token().amount(owed),
            balances_before=before,
            balances_after=after,
        )
        self.note("No gas was needed: the operator carried the signed message.")

    def revoke(self) -> None:
        """A patient revokes through the command line; the next cohort lacks exactly that patient."""
        patient = self.people[-1]
        key_file = self.local.folder / "keys" / "patient.key"
        keyfiles.create(key_file, patient.key)
        self.usufruct(
            "revoke",
            "--url",
            self.local.url,
            "--key-file",
            str(key_file),
            "--dataset",
            "0x" + self.dataset.hex(),
        )
        state = self.market.consent(self.dataset, patient.address)["state"]
        self.expect(state == "none", f"the consent is {state} after revocation")
        self.tell("a patient revokes", "revoked", patient=patient.address)
        self.note("The same question again: its cohort must lack exactly that patient.")
        others = self.people[:-1]
        self.request_mean("the same question after the revocation", others, cost=COST)

    def grant_again(self) -> None:
        """The patient grants again; the lifetime budget is not reset."""
        patient = self.people[-1]
        before = self.market.consent(self.dataset, patient.address)
        class_ = self.market.dataset(self.dataset).classes[0].named
        expiry = self.market.chain.now() + YEAR
        message = self.market.grant_message(
            patient.key, class_, patient.cap, expiry, before["sequence"] + 1
        )
        self.expect(not stewarding.refusals(self.market.relay([message])), "the grant was refused")
        after = self.market.consent(self.dataset, patient.address)
        self.expect(after["state"] == "live", f"the consent is {after['state']}")
        self.expect(after["spent"] == before["spent"] == 2 * COST, "the lifetime budget was reset")
        self.tell("the patient grants again", "granted", lifetime_spent=after["spent"])
        self.note(
            f"The {after['spent']:,} nano-rho spent before are still spent: budgets are for life."
        )

    def refusals(self) -> None:
        """What consent, budget and credentials do not cover is refused, with the reason."""
        quote = self.ask.quote(self.dataset, [1], "mean.v1", MEAN, cost=COST)
        ancestry = self.ask.terms(self.dataset, [1], quote, purpose(uses=ANCESTRY))
        self.refused(
            "a purpose that consent does not cover",
            "purpose_not_permitted",
            lambda: self.ask.open(ancestry),
        )
        stranger = Ask(self.market, self.local.key("stranger"), hpke.generate())
        terms = stranger.terms(self.dataset, [1], quote, purpose())
        self.refused(
            "a researcher without a credential", "credential_missing", lambda: stranger.open(terms)
        )
        dear = self.ask.quote(self.dataset, [1], "mean.v1", MEAN, cost=2 * CLASS_COST)
        beyond = self.ask.terms(self.dataset, [1], dear, purpose())
        self.refused(
            "a request beyond what the class allows",
            "cost_above_class",
            lambda: self.ask.open(beyond),
        )

    def beyond_budget(self) -> None:
        """Patients whose budget is used up are left out; their cap holds for life."""
        able = self.people[CAREFUL:]
        self.request_mean("a request beyond some patients' budget", able, cost=COST)
        left_out = self.market.consent(self.dataset, self.people[0].address)
        self.expect(left_out["state"] == "resting", f"{left_out['state']}, not resting")
        self.expect(left_out["spent"] == 3 * COST <= CAREFUL_CAP, "a cap was passed")
        self.note(
            f"{CAREFUL} patients who allowed {CAREFUL_CAP:,} nano-rho for life were left out: "
            f"{3 * COST:,} are spent, and {COST:,} more do not fit."
        )

    # --- chapter 3: restart, and verification with the operator down

    def restart(self) -> None:
        """Everything is stopped and started again; nothing is lost."""
        before = self._state("before")
        self.local.stop()
        self.local.start()
        await_health([self.local.url])
        self.market = Marketplace(self.local.url, self.local.node_url)
        self.ask = Ask(self.market, self.local.key("researcher"), self.ask.delivery)
        after = self._state("after")
        self.expect(before == after, "the restart changed something")
        self.tell(
            "everything stopped and started again", "unchanged", balances_after=self.balances()
        )

    def _state(self, when: str) -> dict[str, Any]:
        """Everything that a restart must keep."""
        self.note(
            f"every consent, balance, request and result is read, as it is {when} the restart"
        )
        people = self.progress(self.people, "reading consents")
        consents = [self.market.consent(self.dataset, p.address) for p in people]
        requests = self.market.api.get("/api/v1/requests")["requests"]
        results = [
            self.ask.answer(r["request"]).result for r in requests if r["stage"] in ENDED[:1]
        ]
        return {
            "consents": consents,
            "balances": self.balances(),
            "requests": requests,
            "results": results,
        }

    def verify(self) -> None:
        """A receipt of each lane verifies with the operator down: of sums, with every record's columns."""
        vault, tallied = [step["receipt"] for step in self.steps if "receipt" in step][:2]
        bundle = str(Path(tallied).with_suffix(BUNDLE))
        where = ("--node", self.local.node_url, "--manifest", str(self.local.manifest_path))
        self.local.end("operator")
        self.usufruct("verify-receipt", vault, *where)
        self.tell("a receipt verified with the operator down", "verified", receipt=vault)
        self.usufruct("verify-receipt", tallied, "--bundle", bundle, *where)
        self.tell("encrypted records added up again", "verified", receipt=tallied)
        self.revoke_through_custodian()
        self.local.start_operator()

    def revoke_through_custodian(self) -> None:
        """The operator is down; a custodian carries the revocation."""
        patient = self.people[-2]
        key_file = self.local.folder / "keys" / "another-patient.key"
        keyfiles.create(key_file, patient.key)
        self.usufruct(
            "revoke",
            *("--custodian", self.local.custodian_urls[0], "--node", self.local.node_url),
            *("--manifest", str(self.local.manifest_path), "--key-file", str(key_file)),
            *("--dataset", "0x" + self.dataset.hex()),
        )
        state = self.market.chain.consent_of(self.dataset, patient.address).state.name
        self.expect(state == "NONE", f"the consent is {state} after revocation")
        name = "a patient revokes through a custodian with the operator down"
        self.tell(name, "revoked", patient=patient.address)

    CHAPTERS: ClassVar[tuple[Callable[[Story], None], ...]] = (
        publish, bring_patients, grant_all, first_request, other_lane, withdraw, revoke, grant_again,
        refusals, beyond_budget, restart, verify,
    )  # fmt: skip


def run_story(local: Local, console: Console, json_path: Path | None) -> Story:
    """Tells the whole story on a fresh local market.

    Raises:
        StoryFailed: some outcome was not what the story says.
    """
    story = Story(local, console)
    try:
        for chapter in Story.CHAPTERS:
            chapter(story)
    finally:
        if json_path is not None:
            json_path.write_text(json.dumps({"steps": story.steps}, indent=2))
    return story


def _parts(items: list[Any]) -> list[list[Any]]:
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
