"""The equation index: every printed equation has a function that names it and a test, and the index cannot go stale."""

import importlib
import json
import re

import pytest

from hoi_lib import equations
from hoi_lib.equations import MOEG_HOI, ROOT, TABLES, docstring_of, index, marked_tests, numbers_in, source_of

ALL = pytest.mark.parametrize("equation", index(), ids=lambda e: f"{e.paper} {e.number}")


@ALL
def test_an_equation_has_a_function_that_names_it_and_a_test(equation):
    assert equation.status == "tested", equation.code


@ALL
def test_the_named_code_can_be_imported_and_stands_where_the_index_says(equation):
    module, _, qualname = equation.code.partition(":")
    found = importlib.import_module(f"hoi_lib.{module}")
    for name in qualname.split("."):
        found = getattr(found, name)
    assert callable(found)
    text = (ROOT / equation.source.path).read_text(encoding="utf-8").splitlines()
    shown = "\n".join(text[equation.source.first - 1 : equation.source.last])
    assert re.search(rf"^\s*(def|class) {qualname.split('.')[-1]}\b", shown, re.M)


@ALL
def test_a_label_that_an_equation_names_is_in_its_chapter(equation):
    if equation.label is not None:
        assert equation.chapters
        assert any(f"({equation.label})" in (ROOT / f"{page}.ipynb").read_text("utf-8") for page in equation.chapters)


@ALL
def test_the_latex_is_balanced(equation):
    assert equation.latex.count("{") == equation.latex.count("}")
    assert len(re.findall(r"\\begin\{(\w+)\}", equation.latex)) == len(re.findall(r"\\end\{(\w+)\}", equation.latex))
    assert equation.title and equation.reading.endswith(".")


def test_the_sixteen_equations_are_listed_once_and_in_order():
    assert [e.number for e in TABLES[MOEG_HOI]] == list(range(1, 17))


def test_every_mark_and_every_chapter_names_an_equation_that_is_printed():
    printed = {(e.paper, e.number) for e in index()}
    assert marked_tests().keys() <= printed
    assert equations.taught().keys() <= printed


def test_no_docstring_of_the_library_names_an_equation_beyond_the_last():
    for path in sorted((ROOT / "hoi_lib").rglob("*.py")):
        for sentence in re.findall(r"MoEG-HOI,? (Eqs?\..*)", path.read_text(encoding="utf-8")):
            assert numbers_in(sentence.partition(")")[0]) <= set(range(1, 17)), f"{path.name}: {sentence}"


def test_code_that_does_not_exist_has_no_source():
    assert source_of("losses:no_such_loss") is None
    assert source_of("no_such_module:anything") is None
    assert docstring_of("losses:no_such_loss") == ""


def test_a_decorator_belongs_to_the_lines_of_a_definition():
    place = source_of("diffusion:Schedule.posterior")
    first = (ROOT / place.path).read_text(encoding="utf-8").splitlines()[place.first - 1]
    assert first.strip() == "@cached_property"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Pull together (MoEG-HOI Eq. 13).", {13}),
        ("Top-K per group, normalised (Eqs. 4, 5 and 8).", {4, 5, 8}),
        ("The geometric terms, Eqs. 12–14; Eq. 9 aside.", {9, 12, 13, 14}),
        ("Equation five, Eq 5, 5.", set()),
    ],
)
def test_numbers_are_read_from_words(text, numbers):
    assert numbers_in(text) == numbers


def test_marks_are_found_in_every_spelling_stacked_and_in_classes(tmp_path):
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_it.py").write_text(
        '@equation("P", 1)\n@pytest.mark.equation("P", 2)\ndef test_a(): ...\n\n'
        'class TestB:\n    @marks.equation("P", 2)\n    def test_b(self): ...\n\n'
        '@equation("P", 3)\ndef helper(): ...\n'
    )
    found = marked_tests(folder)
    assert {key: [(t.path, t.line, t.name) for t in tests] for key, tests in found.items()} == {
        ("P", 1): [("tests/test_it.py", 3, "test_a")],
        ("P", 2): [("tests/test_it.py", 3, "test_a"), ("tests/test_it.py", 7, "test_b")],
    }


def test_a_mark_that_cannot_be_read_is_an_error_that_says_where(tmp_path):
    (tmp_path / "test_it.py").write_text('@equation("P", number)\ndef test_a(): ...\n')
    with pytest.raises(ValueError, match=r"test_it.py:1: equation\('P', number\)"):
        marked_tests(tmp_path)


def test_without_tests_and_book_the_index_is_still_there(tmp_path):
    assert marked_tests(tmp_path / "tests") == {} and equations.taught(tmp_path / "book") == {}


def test_chapters_are_read_from_their_metadata(tmp_path):
    page = tmp_path / "book" / "model" / "07_router.ipynb"
    page.parent.mkdir(parents=True)
    page.write_text(json.dumps({"metadata": {"hoi": {"equations": ["MoEG-HOI 7", "MoEG-HOI 8"]}}}))
    assert equations.taught(tmp_path / "book") == {
        ("MoEG-HOI", 7): ("book/model/07_router",),
        ("MoEG-HOI", 8): ("book/model/07_router",),
    }


def test_the_status_names_what_is_missing():
    equation = TABLES[MOEG_HOI][0]
    place = equations.TestPlace("tests/test_x.py", 1, "test_x")
    source = equations.Source("hoi_lib/x.py", 1, 2)
    steps = [{}, {"source": source}, {"source": source, "named": True}]
    steps.append({**steps[-1], "tests": (place,)})
    wanted = ["no code", "unnamed", "untested", "tested"]
    assert [equations.replace(equation, **step).status for step in steps] == wanted
