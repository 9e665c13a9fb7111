"""The README's market with remote custodians: all that it tells a reader to type, typed, on a real node."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from marketplace.wire import keyfiles
from marketplace.wire.http import to_hex
from tests.support import readme
from tests.support.nodes import anvil_node
from tests.support.reader import Reader
from tests.support.readme import Command

SETTING_UP = readme.section("A real node and remote custodians")
CHANGING = readme.section("When custodians change, or lose their memory")
ANVIL = ("--mixed-mining", "--block-time", "1", "--slots-in-an-epoch", "1")
PLACES = range(3)
CUSTODIANS = [f"custodian-{place}" for place in PLACES]
GATES = [f"gate-{place}" for place in PLACES]
PATIENTS = 21
"""One more than the smallest cohort: one leaves."""
NOTICE = 2
"""Seconds, in place of the README's day."""
PRICE = 600_000
"""Token units: what 30,000,000 nano-rho cost at the README's floor of 20,000 for each 1,000,000."""


@dataclass
class Typed:
    """Everything that the README's first chapter has typed, and what each command answered last."""

    reader: Reader
    answers: dict[str, Any] = field(default_factory=dict)

    def all(self) -> None:
        for command in readme.commands(SETTING_UP):
            act = ACTS.get(command.name, Typed.by_its_key)
            self.answers[command.name] = act(self, command)

    def by_its_key(self, command: Command) -> Any:
        """Whoever has the key types it, with the file that the README shows for it."""
        party = command.files(".key")[0].removesuffix(".key")
        for file in command.files(".json"):
            if file in self.reader.documents:
                self.reader.write(party, file)
        return self.reader.run(party, command)

    def keys(self, command: Command) -> None:
        """Everybody whose key the README names makes it; those get gas who, it says, need it."""
        named = set(re.findall(r"`([a-z]+)\.key`", SETTING_UP.partition("```")[0]))
        made = {
            party: self.reader.run(party, command.put("deployer", party)) for party in sorted(named)
        }
        self.reader.facts |= {party.upper(): each["address"] for party, each in made.items()}
        gas = named - {"issuer", "patient"}
        self.reader.give_gas(*(made[party]["address"] for party in gas))

    def deploy(self, command: Command) -> None:
        self.reader.run("deployer", Command(f"{command.line} --notice-window {NOTICE}"))
        takers = [*CUSTODIANS, *GATES, "admin", "operator", "steward", "authority", "issuer"]
        takers += ["researcher"]
        self.reader.hand("manifest.json", "deployer", *takers, "anybody")

    def make_hosts(self, command: Command) -> None:
        """Three custodians, or gates; what they print goes to the admin."""
        kind = command.words[0]
        for party in (f"{kind}-{place}" for place in PLACES):
            public = self.reader.run(party, command.put(f"{kind}-0", party))
            self.reader.hand(f"{party}.json", party, "admin")
            self.reader.facts[party] = public["signer"]
            if "relay" in public:
                self.reader.give_gas(public["relay"])

    def serve_custodians(self, command: Command) -> None:
        for place in PLACES:
            self.reader.configure(CUSTODIANS[place], "custodian.json", place=place)
            self.reader.start(CUSTODIANS[place], command)

    def serve_gates(self, command: Command) -> None:
        for party in GATES:
            self.reader.configure(party, "gate.json")
            self.reader.start(party, command)

    def serve_operator(self, command: Command) -> None:
        self.reader.configure("operator", "operator.json")
        self.reader.start("operator", command)
        self.reader.await_health([*CUSTODIANS, *GATES, "operator"])

    def publish_dataset(self, command: Command) -> Any:
        shown = self.by_its_key(command)
        self.reader.facts["DATASET"] = shown["dataset"]
        return shown

    def seal(self, command: Command) -> None:
        """The clinic seals the README's patient, and others of other ages and pressures."""
        for number in range(PATIENTS):
            self.reader.write("issuer", "bundle.json", **bundle(self.reader, number))
            own = command.put("record.json", f"record-{number}.json")
            person = to_hex(keccak(text=f"person {number}"))
            self.reader.run("issuer", own, PATIENT=self.patient(number), PERSON=person)

    def patient(self, number: int) -> str:
        """The address of a patient's own key."""
        if number == 0:
            return self.reader.facts["PATIENT"]
        path = self.reader.home(f"patient-{number}") / "patient.key"
        keyfiles.create(path, keyfiles.new_signing_key())
        return str(keyfiles.Signer.of(keyfiles.read(path)).address)

    def upload(self, command: Command) -> Any:
        files = " ".join(f"record-{number}.json" for number in range(PATIENTS))
        return self.reader.run("issuer", command.put("record.json", files))

    def grant(self, command: Command) -> Any:
        parties = ["patient", *(f"patient-{number}" for number in range(1, PATIENTS))]
        return [self.reader.run(party, command) for party in parties]

    def request(self, command: Command) -> Any:
        shown = self.by_its_key(command)
        self.reader.facts["REQUEST"] = shown["request"]
        return shown

    def result(self, command: Command) -> Any:
        return self.reader.run("researcher", command)

    def verify(self, command: Command) -> Any:
        self.reader.hand("receipt.json", "researcher", "anybody")
        return self.reader.run("anybody", command)

    def withdraw(self, command: Command) -> Any:
        own = keyfiles.Signer.of(keyfiles.new_signing_key())
        self.reader.facts["ELSEWHERE"] = own.address
        return self.by_its_key(command)

    # --- the second chapter

    def succeed(self) -> None:
        """Another custodian takes place 0."""
        steps, reader = readme.commands(CHANGING), self.reader
        reader.hand("manifest.json", "deployer", "new")
        new = reader.run("new", readme.only(steps, "custodian init"))
        reader.hand("new.json", "new", "admin", CUSTODIANS[0])
        reader.give_gas(new["relay"])
        reader.configure("new", "custodian.json")
        reader.start("new", readme.only(steps, "custodian"))
        reader.run("admin", readme.only(steps, "open-epoch"))
        reader.await_health(["new"], ["handover_unfinished"])
        reader.await_final()
        reader.run(CUSTODIANS[0], readme.only(steps, "custodian rewrap"))
        reader.await_health(["new"])

    def move_to(self, new: str) -> None:
        """Operator and gates are told where the new custodian answers, and start again."""
        self.reader.stop(*GATES, "operator")
        for party in (*GATES, "operator"):
            name = "operator" if party == "operator" else "gate"
            path = self.reader.home(party) / f"{name}.json"
            old = self.reader.url(CUSTODIANS[0])
            path.write_text(path.read_text().replace(old, self.reader.url(new)))
            serves = "serve" if party == "operator" else "gate"
            self.reader.start(party, readme.only(readme.commands(SETTING_UP), serves))
        self.reader.await_health([*GATES, "operator"])


ACTS: dict[str, Callable[[Typed, Command], Any]] = {
    "key": Typed.keys,
    "deploy": Typed.deploy,
    "custodian init": Typed.make_hosts,
    "gate init": Typed.make_hosts,
    "custodian": Typed.serve_custodians,
    "gate": Typed.serve_gates,
    "serve": Typed.serve_operator,
    "publish-dataset": Typed.publish_dataset,
    "seal": Typed.seal,
    "upload": Typed.upload,
    "grant": Typed.grant,
    "request": Typed.request,
    "result": Typed.result,
    "verify-receipt": Typed.verify,
    "withdraw": Typed.withdraw,
}
"""Commands that more than one party types, that serve, or whose answer is needed later."""


def bundle(reader: Reader, number: int) -> dict[str, Any]:
    """The README's patient, as one of many."""
    entry = deepcopy(reader.documents["bundle.json"]["entry"])
    patient, observation = (each["resource"] for each in entry)
    patient["birthDate"] = f"{1961 + number - PATIENTS // 2}-05-04"
    observation["valueQuantity"]["value"] += 3 * (number - PATIENTS // 2)
    return {"entry": entry}


@contextmanager
def readme_market(folder: Path) -> Iterator[Typed]:
    """The first chapter, typed; its servers run meanwhile, each a process of its own."""
    with anvil_node(*ANVIL) as node:
        made = Typed(Reader(folder, node, readme.documents(SETTING_UP)))
        try:
            made.all()
            yield made
        finally:
            made.reader.stop(*made.reader.servers)
