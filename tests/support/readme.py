"""What the README tells a reader to type and to write down, as data."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools.readme import README

CODE = re.compile(r"`([^`\n]+)`")
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
CHECKED = re.compile(r"<!-- checked: (\w+) -->\s*```json\n(.*?)```", re.DOTALL)
FILE = re.compile(r"`([a-z]+\.json)`")


@dataclass(frozen=True)
class Command:
    """One line of a shell block, as it stands."""

    line: str

    @property
    def words(self) -> list[str]:
        """As a shell splits them, without `usufruct` and without where its output goes."""
        return shlex.split(self.line.partition(" > ")[0])[1:]

    @property
    def name(self) -> str:
        """The words before the first option or file: `custodian init`."""
        return " ".join(self.words[: self._arguments()])

    @property
    def output(self) -> str:
        """The file that a shell sends its output to; none where it is empty."""
        return self.line.partition(" > ")[2]

    def put(self, old: str, new: str) -> "Command":
        """The same line about another file or party."""
        assert old in self.line
        return Command(self.line.replace(old, new))

    def _arguments(self) -> int:
        plain = [bool(re.fullmatch(r"[a-z-]+", word)) and word[0] != "-" for word in self.words]
        return plain.index(False) if False in plain else len(plain)

    def files(self, suffix: str) -> list[str]:
        """The files that it names."""
        return [word for word in self.words if word.endswith(suffix)]


def text() -> str:
    """The README."""
    return README.read_text()


def section(title: str) -> str:
    """A chapter, by its heading."""
    _, found, rest = text().partition(f"\n## {title}\n")
    assert found, f"the README has no section {title}"
    return rest.partition("\n## ")[0]


def commands(of: str) -> list[Command]:
    """The lines of all shell blocks, in their order."""
    lines = (line.strip() for block in SHELL.findall(of) for line in block.splitlines())
    return [Command(line) for line in lines if line]


def documents(of: str) -> dict[str, Any]:
    """What the JSON blocks say, by the file that the text before each names last."""
    found = {}
    for block in CHECKED.finditer(of):
        named = FILE.findall(of[: block.start()])
        found[named[-1]] = json.loads(block[2])
    return found


def only(found: Sequence[Command], name: str) -> Command:
    """The one command of this name."""
    (command,) = [each for each in found if each.name == name]
    return command
