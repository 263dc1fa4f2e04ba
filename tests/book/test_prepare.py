"""A chapter in a bare Jupyter: what it lacks is installed, what is there is left alone, and the clone is importable."""

from __future__ import annotations

import runpy
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from hoi_lib import claims

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "book" / "prepare.py"


@pytest.fixture
def pip(monkeypatch):
    """The commands that would have been run."""
    calls = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append(command))
    return calls


def test_nothing_is_installed_where_all_is_there(pip):
    runpy.run_path(str(SCRIPT))
    assert pip == []


def test_only_what_is_missing_or_too_old_is_installed(pip):
    script = runpy.run_path(str(SCRIPT))
    versions = {"torch": "2.99.0+cu128", "numpy": "1.20.0"}  # a newer torch stays

    def version(name):
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    lines = ["torch>=2.6,<2.14", "numpy>=1.26,<3", "smplx==0.1.28"]
    assert script["missing"](lines, version) == ["numpy>=1.26,<3", "smplx==0.1.28"]


def test_it_asks_for_all_that_the_library_needs_and_for_no_tool_of_the_book():
    script = runpy.run_path(str(SCRIPT))
    names = {line.split(">=")[0].split("==")[0] for line in script["wanted"]((ROOT / "requirements.txt").read_text())}
    assert {"torch", "numpy", "smplx", "trimesh", "warp-lang", "matplotlib", "jaxtyping", "click"} <= names
    assert not names & {"jupyter-book", "pytest", "ipykernel", "ruff", "-e ."}


def test_a_plain_clone_is_put_on_the_path_and_pip_is_given_the_missing_lines(tmp_path, pip, monkeypatch, capsys):
    (tmp_path / "book").mkdir()
    (tmp_path / "requirements.txt").write_text("# the book\njupyter-none>=1\n# geometry\nno-such-mesh>=2\n")
    copy = tmp_path / "book" / "prepare.py"
    copy.write_text(SCRIPT.read_text())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("importlib.import_module", lambda name: claims)
    runpy.run_path(str(copy))
    assert pip == [[sys.executable, "-m", "pip", "install", "-q", "no-such-mesh>=2"]]
    assert sys.path[0] == str(tmp_path) and "no-such-mesh" in capsys.readouterr().out
