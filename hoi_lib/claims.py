"""Let the asserts of a chapter speak instead of stopping it, in a reader's own session.

Chapters prove what they claim with plain ``assert``. Built or tested, a claim that fails stops everything. A reader
who changes a width, a verb or a loss weight would be stopped by the same line, and would have to mend a cell that has
nothing to do with the change. So in Jupyter, VS Code and Colab a false ``assert`` is told in one line, and the cell
goes on.
"""

from __future__ import annotations

import ast
import os
from typing import Any

NAME = "__claim__"
WORDS = "No longer true here: {}. If you changed something above, this is what it did; the chapter goes on."


class Softener(ast.NodeTransformer):
    """Turns ``assert x`` into a call that says so when x is false."""

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        """``assert condition`` as ``__claim__(condition, "condition")``; a message of its own is left out."""
        call = ast.Call(ast.Name(NAME, ast.Load()), [node.test, ast.Constant(ast.unparse(node.test))], [])
        return ast.fix_missing_locations(ast.copy_location(ast.Expr(call), node))


def claim(holds: Any, text: str) -> None:
    """Say in one line that ``text`` no longer holds, or nothing if it does."""
    if not holds:
        print(WORDS.format(text))


def reader_session(shell: Any, environment: dict[str, str] | os._Environ[str] = os.environ) -> bool:
    """True in a kernel that somebody opened a notebook with; False for the book's build, for nbval and for scripts."""
    if shell is None:
        return False
    return (
        "JPY_SESSION_NAME" in environment  # Jupyter, classic and Lab
        or "__vsc_ipynb_file__" in shell.user_ns  # VS Code
        or "COLAB_RELEASE_TAG" in environment
    )


def soften() -> bool:
    """From the next cell on, tell a false assert instead of stopping, in a reader's session; True if this is one."""
    shell = _shell()
    if not reader_session(shell):
        return False
    shell.user_ns[NAME] = claim
    if not softened():
        shell.ast_transformers.append(Softener())
    return True


def softened() -> bool:
    """True after :func:`soften` took effect."""
    shell = _shell()
    return shell is not None and any(isinstance(t, Softener) for t in shell.ast_transformers)


def _shell() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()
