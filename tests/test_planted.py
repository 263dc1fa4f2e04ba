"""The list of planted bugs fits the code: every text is there once, every mutated file is Python, every test exists."""

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import mutations  # noqa: E402
from mutations import BUGS, Bug, planted, stale  # noqa: E402


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_can_be_planted_and_its_file_still_compiles(bug):
    assert stale([bug]) == []


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_single_tests_that_a_bug_names_are_there(bug):
    for file, _, name in (test.partition("::") for test in bug.tests):
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert not name or name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_names_are_unique_and_every_bug_teaches_something():
    assert max(Counter(bug.name for bug in BUGS).values()) == 1
    assert all(bug.lesson.endswith(".") and bug.tests for bug in BUGS)
    assert len(BUGS) >= 20


def test_a_list_that_no_longer_fits_is_named(tmp_path):
    (tmp_path / "hoi_lib").mkdir()
    (tmp_path / "hoi_lib" / "x.py").write_text("a = 1\nb = 1\n")
    (tmp_path / "test_x.py").touch()

    def bug(old, new="2", test="test_x.py"):
        return Bug("it", "hoi_lib/x.py", old, new, (test,), "Nothing.")

    assert planted(bug("a = 1"), tmp_path) == "2\nb = 1\n"
    assert stale([bug("a = 1")], tmp_path) == []
    assert "occurs 2 times" in stale([bug("= 1")], tmp_path)[0]
    assert "occurs 0 times" in stale([bug("c = 1")], tmp_path)[0]
    assert len(stale([bug("a = 1", "a = (")], tmp_path)) == 1
    assert "there is no test_y.py" in stale([bug("a = 1", test="test_y.py")], tmp_path)[0]


def test_a_hunt_tells_a_bug_that_is_seen_from_one_that_is_not(tmp_path, monkeypatch):
    (tmp_path / "hoi_lib" / "assets").mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "hoi_lib" / "__init__.py").write_text("seen = 1\nunseen = 1\n")
    (tmp_path / "tests" / "test_it.py").write_text("import hoi_lib\n\ndef test_it():\n    assert hoi_lib.seen == 1\n")
    monkeypatch.setattr(mutations, "ROOT", tmp_path)
    seen = Bug("seen", "hoi_lib/__init__.py", "\nunseen = 1", "\nseen = 2", ("tests/test_it.py",), "It shows.")
    unseen = Bug("unseen", "hoi_lib/__init__.py", "\nunseen = 1", "\nunseen = 2", ("tests/test_it.py",), "It does not.")
    assert mutations.hunt(seen).caught_by == "tests/test_it.py::test_it"
    assert mutations.hunt(unseen).caught_by is None
    assert mutations.red_without_a_bug([seen], 1) == []
