"""The scripts behind make: the stamp notices every change that a page could show, and nothing hides a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import build_book  # noqa: E402
import run_tests  # noqa: E402


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small project with a library, a record and a build."""
    for name in (
        "hoi_lib/a.py",
        "hoi_lib/assets/b.json",
        "book/records/r.json",
        "requirements.txt",
        "_build/html/x.html",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(build_book, "ROOT", tmp_path)
    monkeypatch.setattr(build_book, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(build_book, "STAMP", tmp_path / "_build" / "stamp.txt")
    build_book.STAMP.write_text(build_book.stamp())
    return tmp_path


def test_an_unchanged_project_keeps_its_build(project):
    build_book.drop_stale_build()
    assert (project / "_build/html/x.html").exists()


@pytest.mark.parametrize("name", ["hoi_lib/a.py", "hoi_lib/assets/b.json", "book/records/r.json", "requirements.txt"])
def test_a_changed_file_drops_the_build(project, name):
    (project / name).write_text("2")
    build_book.drop_stale_build()
    assert not (project / "_build/html").exists() and build_book.STAMP.read_text() == build_book.stamp()


def test_another_profile_drops_the_build(project, monkeypatch):
    monkeypatch.setenv("HOI_PROFILE", "laptop")
    build_book.drop_stale_build()
    assert not (project / "_build/html").exists()


def test_a_build_without_a_stamp_is_not_trusted(project):
    build_book.STAMP.unlink()
    build_book.drop_stale_build()
    assert not (project / "_build/html").exists()


def test_the_contents_name_notebooks_that_exist():
    assert build_book.chapters() and all(path.exists() for path in build_book.chapters())


def test_every_chapter_on_disk_stands_in_the_contents():
    assert set(build_book.chapters()) == set(ROOT.glob("book/*/*.ipynb"))


def test_a_failed_step_fails_the_whole_and_the_rest_still_runs(monkeypatch, capfd):
    good, bad = (
        [sys.executable, "-c", "print('3 passed')"],
        [sys.executable, "-c", "print('1 failed'); raise SystemExit(1)"],
    )
    monkeypatch.setattr(run_tests, "steps", lambda jobs: {"first": bad, "second": good})
    assert run_tests.main() == 1
    said = capfd.readouterr().out
    assert "FAIL  first" in said and "ok    second" in said and "FAILED: first" in said


def test_one_line_says_that_there_was_no_browser(monkeypatch, capfd):
    many = [sys.executable, "-c", f"print('SKIPPED [9] a.py: {run_tests.ABSENT}\\n' * 5 + '1 passed, 45 skipped')"]
    monkeypatch.setattr(run_tests, "steps", lambda jobs: {"pages": many})
    monkeypatch.setattr(run_tests, "find_chromium", lambda: None)
    assert run_tests.main() == 0
    said = capfd.readouterr().out.splitlines()
    assert [line for line in said if run_tests.ABSENT in line and not line.startswith("+")] == [
        f"note  {run_tests.ABSENT}"
    ]


def test_the_steps_leave_out_no_test_and_no_notebook():
    steps = run_tests.steps("2")
    assert [step for step in steps] == ["lint", "unit tests", "book", "pages", "notebooks"]
    assert "tests" in steps["unit tests"] and run_tests.PAGES in steps["pages"]
    assert {str(p.relative_to(ROOT)) for p in ROOT.glob("book/*/*.ipynb")} <= set(steps["notebooks"])


def test_continuous_integration_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK) and script.read_text().rstrip().endswith("exec make test")


@pytest.mark.parametrize("target", ["setup", "book", "test", "lint", "clean"])
def test_a_target_is_there_and_sets_up_by_itself(target):
    done = subprocess.run(["make", "-n", target, "VENV=/nowhere"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("-m venv /nowhere" in done.stdout) == (target != "clean")
