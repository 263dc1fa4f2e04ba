"""Records drive the pages: another number in one changes the page that shows it and nothing else, and none may go."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "book" / "_ext"), str(ROOT / "scripts")]
from hoi_records import insert  # noqa: E402
from rules import coverage, notebooks  # noqa: E402

from hoi_lib import records  # noqa: E402

RECORDS = ROOT / "book" / "records"
PAGES = {
    "index": "# A book\n\n```{toctree}\nshows\nother\n```\n",
    "shows": "# The result\n\nIt touches in {record}`first:metrics.cr | .1%` of the frames.\n",
    "other": "# Another\n\nAnother run: {record}`second:metrics.cr | .1%`.\n",
}
CONF = """import sys
sys.path.insert(0, {ext!r})
extensions = ['myst_parser', 'hoi_records']
html_theme, html_last_updated_fmt, html_show_sourcelink = 'basic', None, False
"""


def write(folder: Path, name: str, share: float) -> None:
    """A record with one number, the same at any time and place apart from it."""
    record = records.new(
        name,
        config={},
        seeds=[0],
        data={"fingerprint": "f", "profile": "smoke"},
        metrics={"cr": records.metric(share, 8)},
        wall_time_s=1.0,
        sameness="close",
    )
    fixed = {"command": "hoi", "created": "2026-01-01T00:00:00+00:00", "peak_memory_mb": 1.0}
    records.write({**record, **fixed}, folder / "book" / "records" / f"{name}.json")


def build(folder: Path) -> tuple[int, dict[str, str], str]:
    """Build the book that is in a folder: (exit code, every HTML page, what was said)."""
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", ".", "out"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    pages = {p.relative_to(folder / "out").as_posix(): p.read_text("utf-8") for p in folder.glob("out/**/*.html")}
    return done.returncode, pages, done.stderr


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A book of three pages and two records, built once, and its pages; a test puts back what it changed."""
    folder = tmp_path_factory.mktemp("book")
    for name, words in PAGES.items():
        (folder / f"{name}.md").write_text(words, encoding="utf-8")
    (folder / "conf.py").write_text(CONF.format(ext=str(ROOT / "book" / "_ext")))
    write(folder, "first", 0.8764)
    write(folder, "second", 0.5)
    code, pages, said = build(folder)
    assert code == 0, said
    assert "87.6%" in pages["shows.html"] and "50.0%" in pages["other.html"]
    return folder, pages


def test_another_number_in_a_record_changes_the_page_that_shows_it_and_nothing_else(book):
    folder, before = book
    write(folder, "first", 0.1234)
    code, after, said = build(folder)
    write(folder, "first", 0.8764)
    assert code == 0, said
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == ["shows.html"]
    assert after["shows.html"] == before["shows.html"].replace("87.6%", "12.3%")


def test_a_record_that_is_gone_fails_the_build_and_is_named_with_the_page(book):
    (book[0] / "book" / "records" / "first.json").unlink()
    code, _, said = build(book[0])
    write(book[0], "first", 0.8764)
    assert code != 0 and "'first' is not in book/records" in said and "shows.md" in said and "other.md" not in said


def test_a_record_that_a_chapter_names_cannot_be_deleted_unseen(tmp_path):
    wanted: dict[str, set[str]] = {}
    for path in ROOT.glob("book/*/*.ipynb"):
        to = tmp_path / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
        for name in json.loads(path.read_text(encoding="utf-8"))["metadata"].get("hoi", {}).get("records", []):
            wanted.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    found = [f for f in coverage.check(tmp_path) if "there is no book/records/" in f.message]
    named = {name: {str(f.path) for f in found if f"book/records/{name}.json" in f.message} for name in wanted}
    assert wanted and named == wanted


def test_every_number_that_a_page_inserts_is_in_its_record():
    found, wrong = records.book(RECORDS), []
    for path in [*ROOT.glob("book/**/*.md"), *ROOT.glob("book/*/*.ipynb")]:
        text = notebooks_text(path) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
        for words in re.findall(r"\{record\}`([^`]+)`", text):
            try:
                insert(found, words.replace(r"\|", "|"))
            except ValueError as error:
                wrong.append(f"{path.relative_to(ROOT)}: {error}")
    assert not wrong


def notebooks_text(path: Path) -> str:
    """The Markdown of a chapter."""
    return coverage.prose(notebooks.load(path))
