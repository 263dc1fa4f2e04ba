"""What the API reference is made of: the public names of a module, their signatures and docstrings, read from its file.

Nothing is imported to read it. A name that is public and has no docstring is listed with an empty one; the page and
the tests say so.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hoi_lib import equations

LINE = 88  # a signature up to here stays on one line
NAMED = re.compile(r"MoEG-HOI,? (Eqs?\.[^)]*)")


@dataclass(frozen=True)
class Entry:
    """One public name: what it is, how it is called, what its docstring says, where it stands."""

    module: str
    name: str
    kind: str
    signature: str
    doc: str
    line: int
    members: tuple[Entry, ...] = ()

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return "api-" + re.sub(r"[^A-Za-z0-9]+", "-", f"{self.module}-{self.name}")

    @property
    def numbers(self) -> tuple[int, ...]:
        """The printed equations of MoEG-HOI that it computes or names."""
        code = f"{self.module}:{self.name}"
        listed = {e.number for e in equations.TABLES[equations.MOEG_HOI] if e.code == code}
        for words in NAMED.findall(" ".join(self.doc.split())):
            listed |= equations.numbers_in(words)
        return tuple(sorted(listed))

    def all(self) -> Iterator[Entry]:
        """This entry and those inside it."""
        yield self
        for member in self.members:
            yield from member.all()


@dataclass(frozen=True)
class Module:
    """One file of the library: its docstring and its public names in the order of the file."""

    name: str
    path: Path
    doc: str
    entries: tuple[Entry, ...]

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return "api-" + self.name.replace(".", "-")


def names(root: Path) -> list[str]:
    """Every module of the library, dotted, ``hoi_lib`` left out."""
    found = [p.relative_to(root).with_suffix("") for p in sorted(root.rglob("*.py"))]
    dotted = [".".join(p.parts[:-1] if p.name == "__init__" else p.parts) for p in found]
    return [name for name in dotted if name and name != "__main__"]


def read(root: Path, name: str) -> Module:
    """The module ``name`` (such as ``data.store``) below the folder ``root``."""
    path = root.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return Module(name, path, ast.get_docstring(tree) or "", tuple(_entries(name, tree.body)))


def chapters_of(book: Path) -> dict[str, str]:
    """The page of every chapter number, such as ``"04b"``, found in the metadata of the notebooks."""
    return {number: page for page, number, _ in _notebooks(book) if number}


def used_in(book: Path) -> dict[tuple[str, str], list[str]]:
    """The chapters whose cells take a name of a module: (module, name) → pages."""
    found: dict[tuple[str, str], list[str]] = {}
    for page, _, source in _notebooks(book):
        for key in sorted(_taken(source)):
            found.setdefault(key, []).append(page)
    return found


def _notebooks(book: Path) -> Iterator[tuple[str, str, str]]:
    for path in sorted(book.glob("*/*.ipynb"), key=lambda p: p.name):
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = ["".join(c["source"]) for c in content["cells"] if c["cell_type"] == "code"]
        page = path.relative_to(book.parent).with_suffix("").as_posix()
        yield page, content["metadata"].get("hoi", {}).get("chapter", ""), "\n".join(cells)


def _taken(source: str) -> set[tuple[str, str]]:
    """(module, name) of everything that a chapter's code takes from the library."""
    kept = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
    modules, found = {}, set()
    try:
        tree = ast.parse(kept)
    except SyntaxError:  # the build says so when it runs the cell
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "hoi_lib":
            base = node.module.partition(".")[2]
            found |= {(base, a.name) for a in node.names}
            modules.update({a.asname or a.name: ".".join(filter(None, [base, a.name])) for a in node.names})
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found.add((modules[node.value.id], node.attr))
    return found


def _entries(module: str, body: list[ast.stmt], inside: str = "") -> Iterator[Entry]:
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield _function(module, node, inside)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield _class(module, node)
        elif not inside and (name := _constant(node)) and _words(after):
            yield Entry(module, name, "constant", "", _words(after), node.lineno)


def _function(module: str, node: ast.FunctionDef, inside: str) -> Entry:
    marks = {ast.unparse(d).split("(")[0].split(".")[-1] for d in node.decorator_list}
    kind = "function" if not inside else next(iter(marks & {"property", "cached_property", "classmethod"}), "method")
    name = f"{inside}.{node.name}" if inside else node.name
    returns = f" → {ast.unparse(node.returns)}" if node.returns else ""
    bound = bool(inside) and "staticmethod" not in marks
    called = "" if kind.endswith("property") else _brackets(_arguments(node.args, bound), len(name) + len(returns))
    return Entry(module, name, kind.removeprefix("cached_"), called + returns, _doc(node), node.lineno)


def _class(module: str, node: ast.ClassDef) -> Entry:
    init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if init is not None:
        arguments = _arguments(init.args, bound=True)
    else:
        arguments = [ast.unparse(n) for n in node.body if isinstance(n, ast.AnnAssign) and _public(n.target)]
    members = tuple(_entries(module, node.body, node.name))
    called = _brackets(arguments, len(node.name)) if arguments else ""
    return Entry(module, node.name, "class", called, _doc(node), node.lineno, members)


def _arguments(arguments: ast.arguments, bound: bool) -> list[str]:
    """Every argument as it is written, the first left out where it is ``self`` or ``cls``."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    shown = [_argument(a, d) for a, d in zip(plain, defaults, strict=True)][bound:]
    if arguments.vararg:
        shown.append("*" + _argument(arguments.vararg, None))
    elif arguments.kwonlyargs:
        shown.append("*")
    shown += [_argument(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return shown + (["**" + _argument(arguments.kwarg, None)] if arguments.kwarg else [])


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    name = argument.arg + (f": {ast.unparse(argument.annotation)}" if argument.annotation else "")
    equals = " = " if argument.annotation else "="
    return name if default is None else f"{name}{equals}{ast.unparse(default)}"


def _brackets(arguments: list[str], beside: int) -> str:
    line = ", ".join(arguments)
    return f"({line})" if len(line) + beside <= LINE else "(\n    " + ",\n    ".join(arguments) + ",\n)"


def _constant(node: ast.stmt) -> str | None:
    """The public name in capitals that a statement assigns to."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if _public(target) and target.id.isupper() else None


def _public(target: ast.expr | None) -> bool:
    return isinstance(target, ast.Name) and not target.id.startswith("_")


def _words(node: ast.stmt | None) -> str:
    """The docstring that a statement is, or an empty string."""
    value = node.value if isinstance(node, ast.Expr) else None
    text = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
    return "\n".join(line.strip() for line in text.splitlines())


def _doc(node: ast.FunctionDef | ast.ClassDef) -> str:
    return ast.get_docstring(node) or ""
