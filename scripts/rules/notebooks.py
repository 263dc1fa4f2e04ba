"""Rules for chapters: outputs, sizes, tags, alt text, exercises."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

from . import Finding

MEDIAN, NINETY, HARD = 8, 20, 40  # lines in a code cell
CELLS = (12, 22)  # code cells in a chapter: outside is a note
STORED = 5_000  # bytes of kept text output in a cell
META = {"chapter", "stage", "data", "equations", "records"}
DRAWS = re.compile(
    r"\bplt\.|\bplots\.(show|film_strip)\(|(?<![\w.])show\(|\.(plot|imshow|scatter|bar|barh|hist|quiver|savefig)\("
)
SHOWS = re.compile(r"\b(static_widget|embed)\(")
BRANCH = re.compile(r"profile\.name\s*(==|!=|in\b)|os\.environ(\.get)?[\[(]\s*[\"']HOI_PROFILE")


def load(path: Path) -> dict:
    """The notebook as a dictionary, with every source joined to one string."""
    book = json.loads(path.read_text(encoding="utf-8"))
    for cell in book["cells"]:
        cell["source"] = "".join(cell["source"])
        cell["tags"] = set(cell["metadata"].get("tags", []))
    return book


def code_cells(book: dict) -> list[tuple[int, dict]]:
    """(position, cell) of every code cell."""
    return [(i, c) for i, c in enumerate(book["cells"]) if c["cell_type"] == "code"]


def lines(cell: dict) -> int:
    """Lines that are not empty."""
    return sum(bool(line.strip()) for line in cell["source"].splitlines())


def outputs(path: Path, book: dict) -> Iterator[Finding]:
    """Only cells tagged ``keep_output`` store output, and only text; every checked cell does."""
    checked = 0
    for i, cell in code_cells(book):
        kept, stored = "keep_output" in cell["tags"], cell.get("outputs", [])
        if stored and not kept:
            yield Finding(path, f"cell {i}", "outputs", "has stored output: run scripts/store_outputs.py on it")
        if any(o["output_type"] == "error" or "image/png" in o.get("data", {}) for o in stored):
            yield Finding(path, f"cell {i}", "outputs", "keeps a picture or a traceback; keep text only")
        if len(json.dumps(stored)) > STORED:
            yield Finding(path, f"cell {i}", "outputs", f"keeps more than {STORED} bytes of output")
        if (cell.get("execution_count") is None) == bool(stored):
            said = "an execution count belongs to stored output, and only there: run scripts/store_outputs.py"
            yield Finding(path, f"cell {i}", "outputs", said)
        if "nbval-check-output" in cell["tags"]:
            checked += 1
            if not kept or not stored:
                yield Finding(
                    path, f"cell {i}", "checked", "is compared with an output that is not stored: it cannot fail"
                )
    if not checked:
        yield Finding(path, "", "checked", "no cell is tagged nbval-check-output")


def budgets(path: Path, book: dict) -> Iterator[Finding]:
    """Length of cells and number of cells."""
    sizes = [lines(c) for _, c in code_cells(book)]
    for i, cell in code_cells(book):
        if lines(cell) > HARD:
            yield Finding(
                path, f"cell {i}", "budget", f"has {lines(cell)} lines; move code into the library (at most {HARD})"
            )
    if len(sizes) > 1:
        if median(sizes) > MEDIAN:
            yield Finding(
                path, "", "budget", f"half of the code cells have over {median(sizes):g} lines (at most {MEDIAN})"
            )
        tenth = quantiles(sizes, n=10, method="inclusive")[8]
        if tenth > NINETY:
            yield Finding(path, "", "budget", f"a tenth of the code cells have over {tenth:g} lines (at most {NINETY})")
    working = [c for _, c in code_cells(book) if not c["tags"] & {"stub", "solution"}]
    if not CELLS[0] <= len(working) <= CELLS[1]:
        text = f"{len(working)} code cells without exercises; a chapter usually has {CELLS[0]} to {CELLS[1]}"
        yield Finding(path, "", "budget", text, note=True)


def metadata(path: Path, book: dict) -> Iterator[Finding]:
    """The ``hoi`` metadata behind the badge row, a kernel that every machine has, one title, one setup cell."""
    about = book["metadata"].get("hoi")
    if not about or set(about) != META:
        yield Finding(path, "", "metadata", f"notebook metadata 'hoi' must have exactly {', '.join(sorted(META))}")
    if book["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield Finding(path, "", "metadata", "the kernel must be python3")
    first = book["cells"][0] if book["cells"] else None
    if not first or first["cell_type"] != "markdown" or not first["source"].startswith("# "):
        yield Finding(path, "cell 0", "metadata", "a chapter begins with its title")
    if sum("setup" in c["tags"] for c in book["cells"]) != 1:
        yield Finding(path, "", "metadata", "exactly one cell has the tag setup")
    ids = [c.get("id") for c in book["cells"]]
    if None in ids or len(set(ids)) != len(ids):
        yield Finding(path, "", "metadata", "every cell needs an id of its own")


def branches(path: Path, book: dict) -> Iterator[Finding]:
    """Cells read the profile's sizes and never ask for its name."""
    for i, cell in code_cells(book):
        if BRANCH.search(cell["source"]):
            yield Finding(path, f"cell {i}", "profile", "branches on the profile: read its fields instead")


def alt_text(path: Path, book: dict) -> Iterator[Finding]:
    """Every cell that draws says what it shows."""
    for i, cell in code_cells(book):
        source = _done_here(cell["source"])
        words = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
        if SHOWS.search(source):
            if "alt=" not in source:
                yield Finding(path, f"cell {i}", "alt", 'a widget or scene needs alt="…" in its call')
        elif DRAWS.search(source) and len(words.split()) < 5:
            yield Finding(path, f"cell {i}", "alt", "draws: metadata mystnb.image.alt needs five words or more")


def exercises(path: Path, book: dict) -> Iterator[Finding]:
    """Stubs and solutions come in pairs, call their check, and every stub line is part of the solution."""
    found: dict[str, dict[str, list]] = {"stub": {}, "solution": {}}
    for i, cell in code_cells(book):
        kinds, calls = cell["tags"] & set(found), check_calls(cell["source"])
        if len(kinds) != 1 and (kinds or calls):
            yield Finding(path, f"cell {i}", "exercise", "calls check() and needs one of the tags stub and solution")
        for kind in kinds:
            if len(calls) != 1:
                yield Finding(path, f"cell {i}", "exercise", f"a {kind} calls check() exactly once")
            for name, strict in calls:
                found[kind].setdefault(name, []).append((i, cell["source"]))
                if strict != (kind == "solution"):
                    yield Finding(path, f"cell {i}", "exercise", "strict=True belongs into solutions, and only there")
    prose = "\n".join(c["source"] for c in book["cells"] if c["cell_type"] == "markdown")
    for name in sorted(set(found["stub"]) | set(found["solution"])):
        yield from _pair(path, name, found["stub"].get(name, []), found["solution"].get(name, []), prose)


def _pair(path: Path, name: str, stubs: list, solutions: list, prose: str) -> Iterator[Finding]:
    """One stub and one solution, both under the exercise's label, the one contained in the other."""
    label = "ex-" + name.replace("_", "-")
    if f":label: {label}" not in prose or not re.search(rf"solution-start\}} {label}\b", prose):
        yield Finding(path, "", "exercise", f"{name}: exercise-start and solution-start need the label {label}")
    if len(stubs) != 1 or len(solutions) != 1:
        yield Finding(path, "", "exercise", f"{name}: {len(stubs)} stubs, {len(solutions)} solutions; one each needed")
        return
    for line in strangers(stubs[0][1], solutions[0][1]):
        yield Finding(path, f"cell {stubs[0][0]}", "stub", f"no line of the solution fits {line!r}")


def check_calls(source: str) -> list[tuple[str, bool]]:
    """(name, strict) of every ``check("name", …)`` in the source."""
    calls = []
    for node in ast.walk(_parse(source)):
        if not isinstance(node, ast.Call) or getattr(node.func, "id", getattr(node.func, "attr", "")) != "check":
            continue
        name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        strict = any(k.arg == "strict" and getattr(k.value, "value", None) is True for k in node.keywords)
        if isinstance(name, str):
            calls.append((name, strict))
    return calls


def strangers(stub: str, solution: str) -> list[str]:
    """Lines of a stub that are no comment, no line of the solution, and none with ``...`` in place of a part."""
    kept = [_bare(line) for line in solution.splitlines()]
    odd = []
    for line in map(_bare, stub.splitlines()):
        pattern = ".*".join(re.escape(part) for part in line.split("..."))
        fits = any(re.fullmatch(pattern, other) or _opens(line, other) for other in kept)
        if line and not fits and "check(" not in line:
            odd.append(line)
    return odd


def _opens(line: str, other: str) -> bool:
    """``x = ...`` also fits a solution in which the value goes over several lines."""
    head = line.split("...")[0].rstrip()
    return line.endswith("...") and bool(head) and other.startswith(head)


def _bare(line: str) -> str:
    """A line without its comment and the white space around it."""
    return re.sub(r"\s+#.*$|^#.*$", "", line.rstrip()).strip()


def _parse(source: str) -> ast.Module:
    return ast.parse("\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()))


def _done_here(source: str) -> str:
    """What the cell does itself, without the functions and classes that it only defines."""
    defined = (ast.FunctionDef, ast.ClassDef)
    return "\n".join(ast.unparse(node) for node in _parse(source).body if not isinstance(node, defined))


RULES = (outputs, budgets, metadata, branches, alt_text, exercises)


def check(root: Path) -> Iterator[Finding]:
    """Hold every chapter under ``root`` against the rules."""
    for path in sorted(root.glob("book/*/*.ipynb")):
        book, name = load(path), path.relative_to(root)
        for rule in RULES:
            yield from rule(name, book)
