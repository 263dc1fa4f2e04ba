"""Every rule of the lint finds the offence planted for it, names the place, and is silent about a clean chapter."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from rules import coverage, library, notebooks, pages, prose  # noqa: E402


def code(source: str, *tags: str, outputs: tuple = (), **metadata) -> dict:
    count = metadata.pop("count", 1 if outputs else None)
    kept = {"tags": list(tags), **metadata}
    return {"cell_type": "code", "metadata": kept, "source": source, "outputs": list(outputs), "execution_count": count}


def text(source: str) -> dict:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def printed(words: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": words}


ALT = {"mystnb": {"image": {"alt": "A line that rises from left to right."}}}
CLEAN = [
    text("# A chapter"),
    code("import torch\nfrom hoi_lib.exercises import check", "setup"),
    code("print(1)", "nbval-check-output", "keep_output", outputs=(printed("1\n"),)),
    code("plt.plot([1, 2])", "hide-input", **ALT),
    code('static_widget(state, slider, alt="A curve that moves.")'),
    text("```{exercise-start} Twice\n:label: ex-twice\n```\nWhat is it?"),
    code('a = ...  # your number\ncheck("twice", a)', "stub"),
    text("```{exercise-end}\n```"),
    text("```{solution-start} ex-twice\n:class: dropdown\n```"),
    code('a = 2 * 2\ncheck("twice", a, strict=True)', "solution"),
    text("```{solution-end}\n```"),
    *[code(f"x = {k}") for k in range(8)],
]
META = {
    "hoi": {"chapter": "01", "stage": "hand", "data": "none", "equations": [], "records": []},
    "kernelspec": {"name": "python3"},
}


def plant(tmp_path: Path, cells: list, metadata: dict = META) -> Path:
    """A project with one chapter of these cells."""
    folder = tmp_path / "book" / "part"
    folder.mkdir(parents=True, exist_ok=True)
    cells = [{**cell, "id": f"c{i}"} for i, cell in enumerate(copy.deepcopy(cells))]
    book = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    (folder / "01_chapter.ipynb").write_text(json.dumps(book))
    return tmp_path


def faults(module, root: Path) -> list:
    return [f for f in module.check(root) if not f.note]


def test_a_clean_chapter_is_clean(tmp_path):
    root = plant(tmp_path, CLEAN)
    assert list(notebooks.check(root)) == [] and list(prose.check(root)) == []


def swap(place: int, cell: dict) -> list:
    return [*CLEAN[:place], cell, *CLEAN[place + 1 :]]


OFFENCES = {
    "output left in a cell": ("outputs", swap(11, code("x = 0", outputs=(printed("0"),)))),
    "a stored output that nbval takes for never run": (
        "outputs",
        swap(2, code("print(1)", "nbval-check-output", "keep_output", outputs=(printed("1\n"),), count=None)),
    ),
    "a count left in a cell": ("outputs", swap(11, code("x = 0", count=7))),
    "a kept picture": (
        "outputs",
        swap(11, code("x", "keep_output", outputs=({"output_type": "display_data", "data": {"image/png": "a"}},))),
    ),
    "a page of kept text": ("outputs", swap(11, code("x", "keep_output", outputs=(printed("long " * 2000),)))),
    "a checked cell without output": ("checked", swap(2, code("print(1)", "nbval-check-output", "keep_output"))),
    "a checked cell that would be stripped": (
        "checked outputs",
        swap(2, code("print(1)", "nbval-check-output", outputs=(printed("1\n"),))),
    ),
    "no checked cell": ("checked", swap(2, code("print(1)"))),
    "a cell of 41 lines": ("budget", swap(11, code("\n".join(f"x = {k}" for k in range(41))))),
    "cells of nine lines": ("budget", CLEAN[:11] + [code("\n".join(f"x = {k}" for k in range(9)))] * 12),
    "a tenth of long cells": ("budget", CLEAN + [code("\n".join(f"x = {k}" for k in range(30)))] * 3),
    "no setup": ("metadata", swap(1, code("import torch"))),
    "no title": ("metadata", CLEAN[1:]),
    "a branch on the profile": ("profile", swap(11, code('if profile.name == "smoke":\n    x = 1'))),
    "the variable read in a cell": ("profile", swap(11, code('import os\nos.environ["HOI_PROFILE"]'))),
    "a figure without words": ("alt", swap(3, code("plt.plot([1, 2])", "hide-input"))),
    "a figure with three words": (
        "alt",
        swap(3, code("plots.show([mesh])", mystnb={"image": {"alt": "a nice figure"}})),
    ),
    "a widget without words": ("alt", swap(4, code("static_widget(state, slider)"))),
    "a check outside an exercise": ("exercise", swap(11, code('check("twice", 4)'))),
    "a solution that is not strict": ("exercise", swap(9, code('a = 2 * 2\ncheck("twice", a)', "solution"))),
    "a strict stub": ("exercise", swap(6, code('a = ...\ncheck("twice", a, strict=True)', "stub"))),
    "a stub without a solution": ("exercise", swap(9, code("a = 4"))),
    "a label that fits no exercise": ("exercise", swap(5, text("```{exercise-start} Twice\n:label: ex-two\n```"))),
    "a stub line foreign to the solution": ("stub", swap(6, code('b = ...\ncheck("twice", b)', "stub"))),
}


@pytest.mark.parametrize("name", OFFENCES)
def test_a_planted_offence_is_found_and_nothing_else(name, tmp_path):
    rule, cells = OFFENCES[name]
    found = faults(notebooks, plant(tmp_path, cells))
    assert found and {f.rule for f in found} == set(rule.split()), [str(f) for f in found]


def test_missing_metadata_and_a_foreign_kernel_are_found(tmp_path):
    found = faults(notebooks, plant(tmp_path, CLEAN, {"kernelspec": {"name": "my-env"}}))
    assert [f.rule for f in found] == ["metadata", "metadata"]


def test_a_very_short_chapter_is_noted_without_failing(tmp_path):
    found = list(notebooks.check(plant(tmp_path, CLEAN[:4])))
    assert [f.note for f in found] == [True]


@pytest.mark.parametrize(
    "stub, solution, odd",
    [
        ("x = ...", "x = f(\n    1,\n)", []),
        ("def f(x):\n    return ...", "def f(x):\n    return 2 * x", []),
        ("y = g(..., 3)", "y = g(2, 3)", []),
        ("# a comment\nx = ...", "x = 1", []),
        ("y = g(..., 3)", "y = g(2, 4)", ["y = g(..., 3)"]),
        ("z = 1\nx = ...", "x = 1", ["z = 1"]),
    ],
)
def test_a_stub_is_its_solution_with_holes(stub, solution, odd):
    assert notebooks.strangers(stub, solution) == odd


TYPED = [
    "The FID falls to 0.73 after training.",
    "a CR of 87 % on the test set",
    "It reaches 12.4 mm MPJPE.",
    "**MPVPE** of 9.1 mm",
    "contact ratio: we measured 0.91",
    "| CR | 0.91 |",
]
FREE = [
    "The FID is {record}`laptop:metrics.fid | .2f` after training.",
    "CR counts frames whose distance stays below `0.005`.",
    "The first FID paper appeared in 2017.",
    "Contact is judged at 5 mm. CR is a share.",
    "$\\mathrm{FID} = 0.5$ in the exercise",
    "rotations by 0.3 rad",
]


@pytest.mark.parametrize("words", TYPED)
def test_a_number_typed_beside_a_metric_is_found(words, tmp_path):
    assert [f.rule for f in prose.check(plant(tmp_path, [*CLEAN, text(words)]))] == ["typed"]


@pytest.mark.parametrize("words", FREE)
def test_other_numbers_are_free(words, tmp_path):
    assert list(prose.check(plant(tmp_path, [*CLEAN, text(words)]))) == []


def test_pictures_without_words_and_dead_links_are_found(tmp_path):
    root = plant(tmp_path, CLEAN)
    (tmp_path / "README.md").write_text(
        "![](book/part/01_chapter.ipynb) [here](nowhere.md) [there](book/part) `[x](y)`"
    )
    (tmp_path / "book" / "a.md").write_text("```{image} part/01_chapter.ipynb\n:width: 3\n```\n[net](https://x.org)\n")
    (tmp_path / "book" / "b.md").write_text("```{card} A\n:img-top: lost.png\n:link: a\n```\n")
    assert sorted(f.rule for f in prose.check(root)) == ["alt", "alt", "alt", "link", "link"]


@pytest.fixture
def package(tmp_path):
    (tmp_path / "hoi_lib").mkdir()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def test_long_files_long_functions_and_unfinished_words_are_found(package):
    body = "\n".join(f"    x = {k}" for k in range(60))
    (package / "hoi_lib" / "long.py").write_text(f"def f() -> None:\n{body}\n" + "\n" * 400)
    (package / "hoi_lib" / "later.py").write_text("# TO" + "DO: the rest\n")
    assert [f.rule for f in library.check(package)] == ["size", "size", "unfinished"]


def test_a_library_without_types_is_found(package):
    (package / "hoi_lib" / "bare.py").write_text("def f(a, b):\n    return a\n")
    assert [f.rule for f in library.check(package)] == ["types"]


def test_a_heavy_file_is_found(package):
    (package / "big.bin").write_bytes(b"0" * 10_000_001)
    subprocess.run(["git", "-C", package, "add", "big.bin"], check=True)
    assert [(f.rule, str(f.path)) for f in library.check(package)] == [("weight", "big.bin")]


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        "<link rel='stylesheet' href='//fonts.example/a.css'>",
        '<img alt="five words or more here" src="http://example.org/a.png">',
        "<style>@import url(https://example.org/a.css)</style>",
        "<div style=\"background: url('https://example.org/a.png')\"></div>",
        '<iframe src="https://example.org"></iframe>',
    ],
)
def test_pages_that_fetch_from_elsewhere_are_found(html, tmp_path):
    folder = tmp_path / "_build" / "html" / "book"
    folder.mkdir(parents=True)
    (folder / "page.html").write_text(html)
    assert [f.rule for f in pages.check(tmp_path)] == ["network"]


def test_links_that_a_reader_follows_are_free_and_pictures_need_words(tmp_path):
    folder = tmp_path / "_build" / "html" / "book"
    folder.mkdir(parents=True)
    (folder / "page.html").write_text('<a href="https://x.org">x</a><img src="a.png" alt="_images/a.png">')
    assert [f.rule for f in pages.check(tmp_path)] == ["alt"]


def test_a_book_that_is_not_built_is_said_to_be_so(tmp_path):
    assert [(f.rule, f.note) for f in pages.check(tmp_path)] == [("pages", True)]


LEFT_OUT = ("no chapter claims", "no page names it")  # what a book of one chapter cannot help


def claims(tmp_path: Path, words: str = "", equations: tuple = (), records: tuple = (), cell: str = "x = 0") -> list:
    """What the rules of coverage say of the one chapter of a book; ``run`` is the only record."""
    folder = tmp_path / "book" / "records"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text("{}")
    about = {**META["hoi"], "equations": list(equations), "records": list(records)}
    root = plant(tmp_path, [*CLEAN, text(words), code(cell)], {**META, "hoi": about})
    return [f for f in coverage.check(root) if not f.message.startswith(LEFT_OUT)]


SHOWN = "{record}`run:metrics.cr | .3f`"


@pytest.mark.parametrize(
    "words, fault",
    [
        ("Nothing of the kind.", "neither shows nor names it"),
        ("By Eq. 12 and Eqs. 14-16.", "neither shows nor names it"),
        ("By Eqs. 12–14.", None),
        ("Equation 13 says it.", None),
        ("$$x$$ (eq-interaction-con)", None),
    ],
)
def test_an_equation_that_a_chapter_claims_has_to_be_in_it(words, fault, tmp_path):
    found = claims(tmp_path, words, ["MoEG-HOI 13"])
    assert [f.rule for f in found] == ["equation"] * bool(fault)
    assert all(fault in f.message and "MoEG-HOI 13" in f.message for f in found)


@pytest.mark.parametrize("claim", ["MoEG-HOI 17", "MoEG-HOI", "Another 1"])
def test_a_claim_of_an_equation_that_is_not_printed_is_found(claim, tmp_path):
    found = claims(tmp_path, "Eq. 17", [claim])
    assert [f.rule for f in found] == ["equation"] and claim in found[0].message


@pytest.mark.parametrize(
    "words, listed, cell, fault",
    [
        (SHOWN, (), "x = 0", "shows the record run and does not list it"),
        ("", (), 'records.book()["run"]', "shows the record run and does not list it"),
        ("", ("run",), "x = 0", "lists the record run and shows no number"),
        ("{record}`lost:metrics.cr`", ("lost",), "x = 0", "there is no book/records/lost.json"),
        ("", ("lost",), 'records.load("../records/lost.json")', "there is no book/records/lost.json"),
        (SHOWN, ("run",), "x = 0", None),
        ("", ("run",), 'records.load("../records/run.json")', None),
        ("", ("lost_training",), 'kept[f"{name}_training"]', "there is no book/records/lost_training.json"),
        ("", ("run",), 'print(f"{name}: {number}")', "lists the record run and shows no number"),
    ],
)
def test_a_chapter_lists_the_records_that_it_shows_and_they_are_there(words, listed, cell, fault, tmp_path):
    found = claims(tmp_path, words, (), listed, cell)
    assert [f.rule for f in found] == ["record"] * bool(fault), [str(f) for f in found]
    assert all(fault in f.message for f in found)


def test_what_nobody_claims_is_a_fault(tmp_path):
    assert claims(tmp_path) == []
    found = faults(coverage, tmp_path)
    assert [f.rule for f in found] == ["equation"] * 16 + ["record"]
    assert "MoEG-HOI 9" in found[8].message and "run.json" in str(found[-1].path)
    (tmp_path / "book" / "a.md").write_text(SHOWN)
    assert {f.rule for f in faults(coverage, tmp_path)} == {"equation"}


def test_the_book_itself_claims_and_shows_what_it_should():
    assert [str(f) for f in coverage.check(ROOT)] == []
