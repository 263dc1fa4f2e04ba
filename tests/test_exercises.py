"""The exercises answer back: checks refuse what is wrong, are kind while nothing is answered, and know their stubs.

That every solution passes is proved where it stands: solution cells call ``check(..., strict=True)``, which raises, the
book's build and nbval execute them, and the lint refuses a solution without ``strict=True``.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest

from hoi_lib import exercises
from hoi_lib.errors import ConfigError
from hoi_lib.exercises import ExerciseError, check, grade, registry, require, require_close

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
from rules.notebooks import check_calls, code_cells, load  # noqa: E402

NOTEBOOKS = sorted(ROOT.glob("book/*/*.ipynb"))
STUBS = [
    pytest.param(path, cell["source"], id=f"{path.stem}-{name}")
    for path in NOTEBOOKS
    for _, cell in code_cells(load(path))
    for name, _ in check_calls(cell["source"])
    if "stub" in cell["tags"]
]


@pytest.fixture
def double(monkeypatch):
    """An exercise of the tests' own: write a function that doubles."""
    registry()
    monkeypatch.setattr(exercises, "_REGISTRY", {})

    @exercises.exercise("double", chapter="99", hint="Add it to itself.", wrong=[lambda x: x])
    def double(answer):
        """Double a number."""
        require(answer(0) == 0, "twice nothing is nothing")
        require_close(answer(2.0), 4.0, "twice two is four")

    monkeypatch.setattr(exercises, "registry", lambda: exercises._REGISTRY)


@pytest.mark.parametrize("name", registry())
def test_every_exercise_has_a_question_a_hint_and_refuses_its_wrong_answers(name):
    task = registry()[name]
    assert task.question.endswith("?") or task.question.endswith("."), "the docstring is the question"
    assert len(task.hint.split()) >= 5 and task.chapter[:2].isdigit()
    assert task.check.__module__ == f"hoi_lib.exercises.ch{task.chapter}"
    assert task.wrong, "at least one wrong answer"
    for answer in task.wrong:
        assert not grade(name, answer).ok, f"accepted {answer!r}"


@pytest.mark.parametrize("name", registry())
def test_nothing_answered_is_neither_right_nor_wrong(name):
    for nothing in (None, ..., [..., 1], {"a": None}):
        assert grade(name, nothing).status == exercises.UNANSWERED


@pytest.mark.parametrize("path, source", STUBS)
def test_a_stub_as_printed_stands_alone_and_is_not_right(path, source, capsys):
    namespace = {}
    for _, cell in code_cells(load(path)):
        for node in ast.parse(cell["source"]).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                exec(compile(ast.Module([node], []), str(path), "exec"), namespace)
    seen = []
    namespace["check"] = lambda name, answer=None, strict=None: seen.append(grade(name, answer))
    exec(compile(source, str(path), "exec"), namespace)
    assert len(seen) == 1 and not seen[0].ok


@pytest.mark.parametrize("name", registry())
def test_every_exercise_stands_in_its_chapter(name):
    chapter = registry()[name].chapter
    paths = [p for p in NOTEBOOKS if p.stem.startswith(f"{chapter}_")]
    assert paths, f"no notebook of chapter {chapter}"
    calls = [n for _, cell in code_cells(load(paths[0])) for n, _ in check_calls(cell["source"])]
    assert calls.count(name) == 2, "one stub and one solution"


def test_a_right_answer_is_right(double):
    assert grade("double", lambda x: 2 * x).ok


def test_a_wrong_answer_names_the_property_that_failed(double):
    verdict = grade("double", lambda x: x)
    assert verdict.status == "not yet" and verdict.message == "twice two is four"


def test_a_function_that_returns_nothing_or_is_not_implemented_counts_as_not_answered(double):
    def later(x):
        raise NotImplementedError

    for empty in (lambda x: None, lambda x: ..., later):
        assert grade("double", empty).status == exercises.UNANSWERED


def test_a_function_that_breaks_is_told_how_and_nothing_is_raised(double):
    assert "ZeroDivisionError" in grade("double", lambda x: 1 / 0).message


def test_numbers_that_are_no_numbers_are_refused(double):
    assert "number is expected" in grade("double", lambda x: x if x == 0 else "four").message
    assert "finite" in grade("double", lambda x: x if x == 0 else float("nan")).message


def test_strict_raises_and_otherwise_the_verdict_is_shown(double, capsys, monkeypatch):
    check("double", lambda x: x)
    assert "not yet: twice two is four" in capsys.readouterr().out
    with pytest.raises(ExerciseError, match="twice two"):
        check("double", lambda x: x, strict=True)
    monkeypatch.setenv("HOI_STRICT", "1")
    with pytest.raises(ExerciseError, match="not answered"):
        check("double")
    check("double", lambda x: 2 * x)
    assert "right" in capsys.readouterr().out


def test_a_notebook_shows_a_mark_and_folds_the_hint(double):
    html = grade("double", lambda x: x)._repr_html_()
    assert "✗" in html and "<details>" in html and "Add it to itself." in html
    assert "<details>" not in grade("double", lambda x: 2 * x)._repr_html_()


def test_no_chapter_takes_the_name_of_anothers_exercise(double):
    with pytest.raises(ValueError, match="'double', in chapters 99 and 98"):
        exercises.exercise("double", chapter="98", hint="Another.")(lambda answer: None)


def test_an_unknown_name_suggests_the_nearest(double):
    with pytest.raises(ConfigError, match="double"):
        grade("dubble", 1)


def test_notebooks_are_json_that_nbformat_accepts():
    import nbformat

    for path in NOTEBOOKS:
        nbformat.validate(json.loads(path.read_text(encoding="utf-8")))
