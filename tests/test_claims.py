"""A false assert stops the book and its tests, and in a reader's own session is told while the chapter goes on."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from hoi_lib.claims import Softener, reader_session

BOOK = Path(__file__).resolve().parents[1] / "book" / "foundations"
PREPARE = 'import runpy\nrunpy.run_path("../prepare.py")'
CLAIM = "width = 48\nassert width == 32, 'as printed'\nprint('after it')"
SOLUTION = 'from hoi_lib.exercises import check\ncheck("numbers_in_a_clip", 7, strict=True)\nprint("and after this")'


def executed(*cells):
    """What a notebook of these cells prints, all of it in one text."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in (PREPARE, *cells)])
    NotebookClient(book, kernel_name="python3", resources={"metadata": {"path": str(BOOK)}}).execute()
    return "".join(o.get("text", "") for c in book.cells for o in c.outputs)


def test_in_a_readers_session_claims_and_solutions_speak_and_the_chapter_goes_on(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "book/foundations/01_diffusion.ipynb")
    said = executed(CLAIM, CLAIM.replace("48", "32"), SOLUTION)
    assert said.count("No longer true here: width == 32.") == 1
    assert said.count("after it") == 2 and "and after this" in said


@pytest.mark.parametrize("cell, error", [(CLAIM, "as printed"), (SOLUTION, "ExerciseError")])
def test_elsewhere_they_stop_everything(monkeypatch, cell, error):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    with pytest.raises(CellExecutionError, match=error):
        executed(cell)


@pytest.mark.parametrize(
    "names, environment, is_reader",
    [
        ({}, {}, False),
        ({}, {"JPY_PARENT_PID": "1", "HOI_BOOK": "1"}, False),
        ({}, {"JPY_SESSION_NAME": "a.ipynb"}, True),
        ({"__vsc_ipynb_file__": "a.ipynb"}, {}, True),
        ({}, {"COLAB_RELEASE_TAG": "r"}, True),
    ],
)
def test_a_session_is_a_readers_where_a_notebook_was_opened(names, environment, is_reader):
    assert reader_session(SimpleNamespace(user_ns=names), environment) is is_reader
    assert reader_session(None, environment) is False


def test_asserts_inside_functions_and_loops_are_softened_too():
    source = "def f(x):\n    for y in x:\n        assert y > 0\n    return 5\nresult = f([-1])"
    told, names = [], {}
    names["__claim__"] = lambda holds, text: told.append((holds, text))
    exec(compile(Softener().visit(ast.parse(source)), "cell", "exec"), names)
    assert told == [(False, "y > 0")] and names["result"] == 5
