"""The built pages, as files and in a real browser with no network. What is asked of them there is in page_rules.py.

The book has to be built (`make book`; `make test` does it first). Without a chromium on the machine these tests say in
one line that they did not run.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
sys.path.insert(0, str(ROOT / "scripts"))
from build_book import STAMP, chapters, stamp  # noqa: E402
from rules import pages  # noqa: E402

from tests.book import page_rules  # noqa: E402
from tests.book.browser import Browser  # noqa: E402

if not (HTML / "book" / "index.html").exists():
    pytest.skip("the book is not built: run `make book` first", allow_module_level=True)

PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("book/**/*.html"))
CHAPTERS = [f"{path.relative_to(ROOT).with_suffix('').as_posix()}.html" for path in chapters()]


@pytest.fixture(scope="module")
def browser():
    """One browser for all pages."""
    with Browser() as started:
        yield started


@pytest.fixture(scope="module", params=PAGES)
def opened(request, browser):
    """Each page in turn, loaded once for all rules."""
    browser.open(HTML / request.param)
    return browser


def test_the_book_was_built_from_this_library():
    assert STAMP.read_text() == stamp(), "the library changed since the book was built: run `make book`"


def test_every_chapter_has_its_page():
    assert set(CHAPTERS) <= set(PAGES)


def test_no_page_fetches_from_elsewhere_and_every_picture_has_words():
    assert [str(f) for f in pages.check(ROOT)] == []


def test_no_page_shows_a_number_that_was_not_found():
    assert not [page for page in PAGES if "hoi-missing" in (HTML / page).read_text(encoding="utf-8")]


def test_no_page_shows_a_role_as_it_was_typed():
    shown = {page: re.sub(r"(?s)<(pre|code|script)\b.*?</\1>", "", (HTML / page).read_text("utf-8")) for page in PAGES}
    assert not [page for page, text in shown.items() if re.search(r"\{(record|doc|term|ref|eq|numref|cite:\w)\}", text)]


@pytest.mark.parametrize("page", CHAPTERS)
def test_badges_and_provenance_are_there(page):
    text = (HTML / page).read_text(encoding="utf-8")
    assert 'class="hoi-badges"' in text and 'class="hoi-foot"' in text
    assert "hoi-badge-time" in text, "no measured time: run scripts/time_chapters.py"
    assert 'class="hoi-map"' in text, "the where-we-are map"


@pytest.mark.parametrize("rule", page_rules.RULES, ids=lambda rule: rule.__name__)
def test_a_page_in_a_browser_keeps(rule, opened):
    assert rule(opened) == []
