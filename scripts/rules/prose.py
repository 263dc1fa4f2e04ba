"""Rules for prose, in Markdown files and in the Markdown cells of chapters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from . import Finding
from .notebooks import load

METRIC = r"\b(?:CR|Pen|FID|MPJPE|MPVPE|PSKL-?J|contact ratio|penetration ratio)\b"
NUMBER = r"(?<![\w.])\d+(?:\.\d+|\s?%|(?:\.\d+)?\s?mm\b)"
TYPED = re.compile(rf"{METRIC}[^.;\n]{{0,40}}?{NUMBER}|{NUMBER}[^.;\n]{{0,25}}?{METRIC}")
IMAGE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<target>[^)\s]+)")
DIRECTIVE = re.compile(
    r"^(?P<fence>[`:]{3,})\{(?:image|figure)\}\s*(?P<target>\S+)\n(?P<body>.*?)^(?P=fence)", re.M | re.S
)
CARD = re.compile(r":img-top:\s*(?P<target>\S+)\n(?P<body>(?::\S+:.*\n)*)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^(`{3,}|:{3,}).*?^\1\s*$", re.M | re.S)


def texts(root: Path) -> Iterator[tuple[Path, str, str]]:
    """(file, place, text) of all prose of the project."""
    for path in sorted([*root.glob("*.md"), *root.glob("book/**/*.md")]):
        yield path.relative_to(root), "", path.read_text(encoding="utf-8")
    for path in sorted(root.glob("book/*/*.ipynb")):
        for i, cell in enumerate(load(path)["cells"]):
            if cell["cell_type"] == "markdown":
                yield path.relative_to(root), f"cell {i}", cell["source"]


def typed_numbers(path: Path, where: str, text: str) -> Iterator[Finding]:
    """No measured number is typed next to the name of a metric."""
    plain = re.sub(r"\{\w[\w:]*\}`[^`]*`|`[^`]*`|\$\$?[^$]*\$\$?|\]\([^)]*\)", " ", FENCE.sub(" ", text))
    for match in TYPED.finditer(plain):
        words = " ".join(match.group().split())
        yield Finding(path, where, "typed", f"“{words}”: a number beside a metric comes from a record, {{record}}`…`")


def images(path: Path, where: str, text: str) -> Iterator[Finding]:
    """Every picture says what it shows."""
    for match in IMAGE.finditer(_without_code(text)):
        if len(match["alt"].split()) < 5:
            yield Finding(path, where, "alt", f"the picture {match['target']} needs words in its brackets")
    for match in CARD.finditer(text):
        alt = re.search(r":img-alt:\s*(.+)", match["body"])
        if not alt or len(alt[1].split()) < 5:
            yield Finding(path, where, "alt", f"the picture {match['target']} needs an :img-alt: line")
    for match in DIRECTIVE.finditer(text):
        alt = re.search(r":alt:\s*(.+)", match["body"])
        if not alt or len(alt[1].split()) < 5:
            yield Finding(path, where, "alt", f"the picture {match['target']} needs an :alt: line")


def links(root: Path, path: Path, where: str, text: str) -> Iterator[Finding]:
    """Relative links and pictures lead to files that are there."""
    text = _without_code(text)
    targets = [m["target"] for pattern in (IMAGE, LINK) for m in pattern.finditer(text)]
    targets += [m["target"] for pattern in (DIRECTIVE, CARD) for m in pattern.finditer(text)]
    for target in targets:
        file = target.split("#")[0]
        if not file or re.match(r"[a-z]+:", file):
            continue
        base = root / path.parent
        if not any((base / name).exists() for name in (file, f"{file}.md", f"{file}.ipynb")):
            yield Finding(path, where, "link", f"leads nowhere: {target}")


def _without_code(text: str) -> str:
    """Text without code fences (directives stay) and inline code."""
    fences = re.sub(r"^(`{3,})(?!\{)[^\n]*\n.*?^\1\s*$", " ", text, flags=re.M | re.S)
    return re.sub(r"(?<!\})`[^`\n]+`", " ", fences)


def check(root: Path) -> Iterator[Finding]:
    """Hold all prose under ``root`` against the rules."""
    for path, where, text in texts(root):
        yield from typed_numbers(path, where, text)
        yield from images(path, where, text)
        yield from links(root, path, where, text)
