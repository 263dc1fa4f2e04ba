"""The book's own rules, one module per kind of thing; each rule is a generator of findings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One offence: the file, where in it, the rule's short name, what is wrong. A ``note`` does not fail the lint."""

    path: Path | str
    where: str
    rule: str
    message: str
    note: bool = False

    def __str__(self) -> str:
        return f"{self.path}{':' if self.where else ''}{self.where}: {self.message} [{self.rule}]"
