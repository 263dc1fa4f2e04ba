"""Rules for the library and the repository: sizes, annotations, words that mean unfinished."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from . import Finding

FUNCTION, FILE = 60, 400  # lines
ANNOTATED = 0.95
BIG, ALL = 10_000_000, 60_000_000  # bytes of a file, of the repository
LONG: dict[str, str] = {}  # "path" or "path:function" → why it may be longer
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError|except Exception:\s*pass")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method."""
    return (n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))


def sizes(root: Path) -> Iterator[Finding]:
    """No file of ``hoi_lib`` over 400 lines, no function over 60."""
    for path in sorted((root / "hoi_lib").rglob("*.py")):
        name, text = str(path.relative_to(root)), path.read_text(encoding="utf-8")
        count = len(text.splitlines())
        if count > FILE and name not in LONG:
            yield Finding(name, "", "size", f"has {count} lines (at most {FILE})")
        for function in functions(ast.parse(text)):
            count = function.end_lineno - function.lineno + 1
            if count > FUNCTION and f"{name}:{function.name}" not in LONG:
                yield Finding(
                    name, str(function.lineno), "size", f"{function.name} has {count} lines (at most {FUNCTION})"
                )


def annotations(root: Path) -> Iterator[Finding]:
    """At least 95 % of the arguments and results in ``hoi_lib`` have a type."""
    bare, total = [], 0
    for path in sorted((root / "hoi_lib").rglob("*.py")):
        for function in functions(ast.parse(path.read_text(encoding="utf-8"))):
            arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            arguments = [a for a in arguments if a.arg not in ("self", "cls", "_")]
            missing = [a.arg for a in arguments if a.annotation is None] + ["result"] * (function.returns is None)
            total += len(arguments) + 1
            bare += [f"{path.relative_to(root)}:{function.lineno} {function.name}({name})" for name in missing]
    if total and 1 - len(bare) / total < ANNOTATED:
        share = 1 - len(bare) / total
        yield Finding(
            "hoi_lib", "", "types", f"{share:.1%} annotated, {ANNOTATED:.0%} needed; first: {', '.join(bare[:5])}"
        )


def unfinished(root: Path) -> Iterator[Finding]:
    """No word and no construct that stands for work left undone."""
    for path in sorted((root / "hoi_lib").rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if UNFINISHED.search(line):
                yield Finding(path.relative_to(root), str(number), "unfinished", line.strip())


def repository(root: Path) -> Iterator[Finding]:
    """Committed files stay small: 10 MB each, 60 MB together."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, text=True)
    if listed.returncode:
        yield Finding(
            root, "", "weight", "is no git checkout: the weight of the repository was not measured", note=True
        )
        return
    files = [root / name for name in listed.stdout.split("\0") if name and (root / name).is_file()]
    weights = {path: path.stat().st_size for path in files}
    for path, weight in weights.items():
        if weight > BIG:
            yield Finding(path.relative_to(root), "", "weight", f"{weight / 1e6:.0f} MB (at most {BIG // 1_000_000})")
    if sum(weights.values()) > ALL:
        yield Finding(root, "", "weight", f"{sum(weights.values()) / 1e6:.0f} MB in all (at most {ALL // 1_000_000})")


def check(root: Path) -> Iterator[Finding]:
    """Hold the library and the repository under ``root`` against the rules."""
    for rule in (sizes, annotations, unfinished, repository):
        yield from rule(root)
