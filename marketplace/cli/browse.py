"""What anybody can look at before asking or consenting: analyses, datasets, everybody's requests.

All of it is the operator's word, shown as it was told beside what it means.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from marketplace import encodings
from marketplace.cli.environment import from_environment
from marketplace.cli.lanes import LANE
from marketplace.cli.say import FILE, HEX32, refusals_as_words, say
from marketplace.client import CatalogueEntry, Dataset, ListedRequest, Marketplace
from marketplace.client.documents import catalogue_of, dataset_of, request_of
from marketplace.client.http import objects
from marketplace.client.waiting import DATE
from marketplace.errors import Refusal
from marketplace.vocabulary import Lane
from marketplace.wire.dictionary import Dictionary, Kind, Variable
from marketplace.wire.http import to_hex
from marketplace.wire.kept import keep
from marketplace.wire.plain import counted

URL = from_environment("--url", default="http://127.0.0.1:8000", show_default=True)


@click.command()
@URL
@LANE
@refusals_as_words
def catalogue(url: str, lane: Lane) -> None:
    """List every analysis that can be asked for in a lane, with its parameters and an example."""
    told = objects(Marketplace(url).api.get("/api/v1/catalogue"), "analyses")
    entries = [(catalogue_of(each), each) for each in told]
    shown = [(entry, each) for entry, each in entries if entry.lane is lane]
    words = [analysis_words(entry) for entry, _ in shown]
    say({"in_words": words, "analyses": [each for _, each in shown]})


@click.command()
@URL
@from_environment("--dataset", type=HEX32, help="Whose dictionary is written.")
@click.option(
    "--dictionary-out",
    type=FILE,
    help="Write the data dictionary of --dataset here, which verify-receipt and result take.",
)
@refusals_as_words
def datasets(url: str, dataset: bytes | None, dictionary_out: Path | None) -> None:
    """List every dataset: its variables, what each class permits, and how many consents are live."""
    market = Marketplace(url)
    if dictionary_out is not None:
        if dataset is None:
            raise click.UsageError(
                "--dictionary-out needs --dataset: one dataset has one dictionary"
            )
        _write_dictionary(market.dictionary(dataset), dictionary_out)
    told = objects(market.api.get("/api/v1/datasets"), "datasets")
    words = [line for each in told for line in dataset_words(dataset_of(each))]
    say({"in_words": words, "datasets": told})


@click.command()
@URL
@refusals_as_words
def requests(url: str) -> None:
    """List the latest requests of everybody: dataset, purpose, stage, and how long the notice runs."""
    told = objects(Marketplace(url).api.get("/api/v1/requests"), "requests")
    say({"in_words": [listed_words(request_of(each)) for each in told], "requests": told})


def _write_dictionary(dictionary: Dictionary, path: Path) -> None:
    content = dictionary.to_bytes()
    if path.exists() and path.read_bytes() != content:
        raise Refusal(
            code="file_exists",
            message=f"{path} exists already, and is not this dictionary.",
            remedy="Name another file with --dictionary-out.",
            field="dictionary_out",
        )
    keep(path, content, "the dictionary")


def analysis_words(entry: CatalogueEntry) -> str:
    """One analysis in a sentence or two."""
    takes = f"Takes {', '.join(entry.parameters)}. Releases {entry.releases}."
    return f"{entry.id}: {entry.title}. {entry.asks} {takes}".replace("  ", " ")


def dataset_words(dataset: Dataset) -> Iterator[str]:
    """One dataset in sentences: itself, its variables, each of its classes."""
    name = dataset.name or "a dataset whose dictionary the operator does not have"
    retired = " It is retired: nothing more can be asked of it." if dataset.retired else ""
    yield f"{to_hex(dataset.id)}: {name}, {counted(dataset.live, 'live consent')}.{retired}"
    if dataset.dictionary is not None:
        yield f"Variables: {', '.join(map(_variable, dataset.dictionary.variables))}."
        encoded = encodings.told(dataset.dictionary)
        if encoded is not None:
            says = "; ".join(f"{label}: {each}" for label, each in encoded.variables)
            number = counted(len(encoded.products), "product")
            yield f"In the homomorphic lane: {says}; and {number} of them, which its page lists."
    for each in dataset.classes:
        yield " ".join(
            [f"Class {each.index}, {counted(each.live, 'live consent')}.", *each.permits]
        )


def listed_words(found: ListedRequest) -> str:
    """One request in a sentence, with the end of its notice while that runs."""
    notice = (
        f" Patients may rest their consent for it until {found.notice_until.strftime(DATE)}."
        if found.notice_until is not None
        else ""
    )
    lane = found.lane.name.lower()
    return (
        f"{found.request}: {found.analysis} of dataset {found.dataset} in the {lane} lane, "
        f"for {found.purpose}; {found.stage}.{notice}"
    )


def _variable(variable: Variable) -> str:
    if variable.kind is Kind.CATEGORY:
        return f"{variable.name} ({', '.join(variable.categories)})"
    unit = f" {variable.unit}" if variable.unit else ""
    return f"{variable.name} ({variable.lower} to {variable.upper}{unit})"
