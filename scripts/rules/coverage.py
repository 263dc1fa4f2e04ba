"""Rules for what chapters claim: equations and records are shown where they are claimed, and none is left out."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from . import Finding
from .notebooks import code_cells, load

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the lint also runs where the library is not installed
from hoi_lib.equations import MOEG_HOI, TABLES, numbers_in

ROLE = re.compile(r"\{record\}`\s*([\w-]+)\s*:")
CLAIM = re.compile(rf"^({'|'.join(map(re.escape, TABLES))}) (\d+)$")
LONG = re.compile(r"\b[Ee]quations?\s+(?=\d)")  # "Equation 13" is read as "Eq. 13"
MEASURED = re.compile(r"chapters_\w+")  # the badge row of every chapter reads these


def prose(book: dict) -> str:
    """All Markdown of a chapter."""
    return "\n\n".join(c["source"] for c in book["cells"] if c["cell_type"] == "markdown")


def equations(root: Path, books: dict[Path, dict]) -> Iterator[Finding]:
    """What a chapter claims is printed somewhere and appears in the chapter; every printed equation is claimed."""
    printed = {(e.paper, e.number): e for table in TABLES.values() for e in table}
    claimed = set()
    for path, book in books.items():
        text = prose(book)
        named = numbers_in(LONG.sub("Eq. ", text))
        for claim in book["metadata"].get("hoi", {}).get("equations", []):
            match = CLAIM.match(claim)
            key = (match[1], int(match[2])) if match else None
            if key not in printed:
                yield Finding(path, "", "equation", f"claims {claim!r}, which the equation index does not hold")
                continue
            claimed.add(key)
            if key[1] not in named and f"({printed[key].label})" not in text:
                yield Finding(path, "", "equation", f"claims {claim} and neither shows nor names it")
    for number in sorted(e.number for e in TABLES[MOEG_HOI] if (e.paper, e.number) not in claimed):
        yield Finding("book", "", "equation", f"no chapter claims {MOEG_HOI} {number}")


def records(root: Path, books: dict[Path, dict]) -> Iterator[Finding]:
    """A chapter lists the records that it shows and shows those that it lists; every record is there and is named."""
    there = {path.stem for path in (root / "book" / "records").glob("*.json")}
    named = {name for path in root.glob("book/**/*.md") for name in ROLE.findall(path.read_text(encoding="utf-8"))}
    for path, book in books.items():
        listed = set(book["metadata"].get("hoi", {}).get("records", []))
        code = [cell["source"] for _, cell in code_cells(book)]
        shown = set(ROLE.findall(prose(book)))
        shown |= {name for source in code for name in strings(source) if name in there | listed}
        put_together = {name for source in code for name in listed if re.fullmatch(built(source), name)}
        named |= listed | shown
        for name in sorted(shown - listed):
            yield Finding(path, "", "record", f"shows the record {name} and does not list it in its metadata")
        for name in sorted(listed - shown - put_together):
            yield Finding(path, "", "record", f"lists the record {name} and shows no number of it")
        for name in sorted((listed | shown) - there):
            yield Finding(path, "", "record", f"names the record {name}, and there is no book/records/{name}.json")
    for name in sorted(there - named):
        if not MEASURED.fullmatch(name):
            yield Finding(f"book/records/{name}.json", "", "record", "no page names it")


def strings(source: str) -> set[str]:
    """The strings in a cell, folders and ``.json`` left out."""
    found = (n.value for n in _nodes(source, ast.Constant) if isinstance(n.value, str))
    return {text.rpartition("/")[2].removesuffix(".json") for text in found}


def built(source: str) -> str:
    """A pattern of the names that a cell puts together, such as ``.*_training`` for ``f"{name}_training"``."""
    parts = [
        [v.value if isinstance(v, ast.Constant) else None for v in n.values] for n in _nodes(source, ast.JoinedStr)
    ]
    named = [p for p in parts if any(part and re.search(r"\w{5}", part) for part in p)]
    return "|".join("".join(".*" if part is None else re.escape(part) for part in p) for p in named)


def _nodes(source: str, kind: type[ast.AST]) -> list[ast.AST]:
    """The nodes of a kind in a cell; none in a cell that is no Python, which fails when it is run."""
    plain = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
    try:
        return [n for n in ast.walk(ast.parse(plain)) if isinstance(n, kind)]
    except SyntaxError:
        return []


def check(root: Path) -> Iterator[Finding]:
    """Hold the claims of all chapters under ``root`` against what they show."""
    books = {path.relative_to(root): load(path) for path in sorted(root.glob("book/*/*.ipynb"))}
    for rule in (equations, records):
        yield from rule(root, books)
