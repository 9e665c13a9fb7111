"""Two contract types for import-linter that fail closed: what is not allowed is refused.

import-linter's own types forbid named pairs, so a new package would be free until somebody thinks
of it, and they refuse to name a package that does not exist yet. Both matter here.
"""

from collections.abc import Iterator
from typing import Any, cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

Violation = tuple[str, str]


def lies_in(module: str, package: str) -> bool:
    """Is this module the package itself, or inside it?"""
    return module == package or module.startswith(f"{package}.")


def _words(field: fields.ListField) -> list[str]:
    """What a declared field holds on an instance: import-linter puts the parsed value there."""
    return cast(list[str], field)


def _broken(violations: list[Violation]) -> ContractCheck:
    return ContractCheck(kept=not violations, metadata={"violations": violations})


def _print(check: ContractCheck) -> None:
    for importer, imported in check.metadata["violations"]:
        output.print_error(f"{importer} must not import {imported}", bold=False)


class AllowedImports(Contract):
    """Each listed unit imports, of our own code, only itself and what stands after its colon.

    A line reads `marketplace.custodian: marketplace.wire ml`. A module of ours that no line covers
    is refused, so that a new package has to say where it stands. `roots` are exempt from that: the
    bare top packages, whose `__init__` holds nothing.
    """

    roots = fields.ListField(subfield=fields.StringField())
    allowed = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002
        """import-linter's hook: every import that no line allows, and every module that no line covers."""
        table = dict(_parse(line) for line in _words(self.allowed))
        roots = _words(self.roots)
        ours = {m for m in graph.modules if any(lies_in(m, root) for root in roots)}
        found = [pair for module in sorted(ours) for pair in self._violations(graph, module, table)]
        return _broken(found)

    def _violations(
        self, graph: ImportGraph, module: str, table: dict[str, list[str]]
    ) -> Iterator[Violation]:
        unit, roots = _unit(module, table), _words(self.roots)
        if unit is None:
            if module not in roots:
                yield module, "anything: give it a line in the import rules"
            return
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            if any(lies_in(imported, root) for root in roots) and not any(
                lies_in(imported, package) for package in (unit, *table[unit])
            ):
                yield module, imported

    def render_broken_contract(self, check: ContractCheck) -> None:
        """import-linter's hook: a line for each violation that `check` found."""
        _print(check)


class OnlyImportedBy(Contract):
    """These packages, ours or a library's, are imported nowhere but in `importers`."""

    packages = fields.ListField(subfield=fields.StringField())
    importers = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002
        """import-linter's hook: every import of these packages from anywhere else."""
        importers = _words(self.importers)
        found = [
            (importer, package)
            for package in _words(self.packages)
            if package in graph.modules
            for importer in sorted(graph.find_modules_that_directly_import(package))
            if not any(lies_in(importer, allowed) for allowed in (package, *importers))
        ]
        return _broken(found)

    def render_broken_contract(self, check: ContractCheck) -> None:
        """import-linter's hook: a line for each violation that `check` found."""
        _print(check)


def _parse(line: str) -> tuple[str, list[str]]:
    unit, _, imports = line.partition(":")
    return unit.strip(), imports.split()


def _unit(module: str, table: dict[str, Any]) -> str | None:
    covering = [unit for unit in table if lies_in(module, unit)]
    return max(covering, key=len, default=None)
