"""What anybody can look at before asking or consenting: analyses, datasets, everybody's requests.

All of it is the operator's word, shown as it was told beside what it means.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from marketplace.cli.environment import from_environment
from marketplace.cli.say import refusals_as_words, say
from marketplace.client import CatalogueEntry, Dataset, ListedRequest, Marketplace
from marketplace.client.documents import catalogue_of, dataset_of, request_of
from marketplace.client.http import objects
from marketplace.client.waiting import DATE
from marketplace.wire.dictionary import Kind, Variable
from marketplace.wire.http import to_hex
from marketplace.wire.plain import counted

URL = from_environment("--url", default="http://127.0.0.1:8000", show_default=True)


@click.command()
@URL
@refusals_as_words
def catalogue(url: str) -> None:
    """List every analysis that can be asked for, with its parameters and an example."""
    told = objects(Marketplace(url).api.get("/api/v1/catalogue"), "analyses")
    words = [analysis_words(catalogue_of(each)) for each in told]
    say({"in_words": words, "analyses": told})


@click.command()
@URL
@refusals_as_words
def datasets(url: str) -> None:
    """List every dataset: its variables, what each class permits, and how many consents are live."""
    told = objects(Marketplace(url).api.get("/api/v1/datasets"), "datasets")
    words = [line for each in told for line in dataset_words(dataset_of(each))]
    say({"in_words": words, "datasets": told})


@click.command()
@URL
@refusals_as_words
def requests(url: str) -> None:
    """List the latest requests of everybody: dataset, purpose, stage, and how long the notice runs."""
    told = objects(Marketplace(url).api.get("/api/v1/requests"), "requests")
    say({"in_words": [listed_words(request_of(each)) for each in told], "requests": told})


def analysis_words(entry: CatalogueEntry) -> str:
    """One analysis in a sentence."""
    return f"{entry.id}: {entry.title}. Takes {', '.join(entry.parameters)}. Releases {entry.releases}."


def dataset_words(dataset: Dataset) -> Iterator[str]:
    """One dataset in sentences: itself, its variables, each of its classes."""
    name = dataset.name or "a dataset whose dictionary the operator does not have"
    retired = " It is retired: nothing more can be asked of it." if dataset.retired else ""
    yield f"{to_hex(dataset.id)}: {name}, {counted(dataset.live, 'live consent')}.{retired}"
    if dataset.dictionary is not None:
        yield f"Variables: {', '.join(map(_variable, dataset.dictionary.variables))}."
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
    return (
        f"{found.request}: {found.analysis} of dataset {found.dataset}, for {found.purpose}; "
        f"{found.stage}.{notice}"
    )


def _variable(variable: Variable) -> str:
    if variable.kind is Kind.CATEGORY:
        return f"{variable.name} ({', '.join(variable.categories)})"
    unit = f" {variable.unit}" if variable.unit else ""
    return f"{variable.name} ({variable.lower} to {variable.upper}{unit})"
