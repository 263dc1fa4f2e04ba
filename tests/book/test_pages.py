"""The built pages in a real browser with no network: nothing fetched, nothing broken, fits a phone, words everywhere.

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
sys.path[:0] = [str(ROOT / "scripts"), str(Path(__file__).resolve().parent)]
from browser import Browser, find_chromium  # noqa: E402
from build_book import STAMP, chapters, stamp  # noqa: E402
from rules import pages  # noqa: E402

if not (HTML / "book" / "index.html").exists():
    pytest.skip("the book is not built: run `make book` first", allow_module_level=True)

PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("book/**/*.html"))
CHAPTERS = [f"{path.relative_to(ROOT).with_suffix('').as_posix()}.html" for path in chapters()]
needs_browser = pytest.mark.skipif(find_chromium() is None, reason="no chromium: no page was opened in a browser")


@pytest.fixture(scope="module")
def browser():
    """One browser for all pages."""
    with Browser() as opened:
        yield opened


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


@needs_browser
@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_offline_on_a_desk_and_on_a_phone(page, browser):
    browser.resize(1280, 900)
    browser.open(HTML / page)
    assert browser.errors == [], "errors were logged"
    assert browser.outside == [] and browser.failed == []
    maths = browser.run("document.querySelectorAll('.math').length")
    assert not maths or browser.run("document.querySelectorAll('mjx-container').length") >= maths
    assert browser.run("document.querySelectorAll('mjx-merror').length") == 0, "an equation with an error in it"
    plots = "[...document.querySelectorAll('.plotly-graph-div')].filter((p) => !p.querySelector('.main-svg')).length"
    assert browser.run(plots) == 0, "a plot stayed empty"
    assert browser.run("document.querySelectorAll('.hoi-widget:not(.is-live)').length") == 0
    broken = "[...document.images].filter((i) => i.complete && !i.naturalWidth && i.src).map((i) => i.src)"
    assert browser.run(broken) == []
    browser.resize(390, 844)
    browser.pause(0.3)
    assert browser.run("document.documentElement.scrollWidth") <= 390, "wider than a phone"


@needs_browser
@pytest.mark.parametrize("page", CHAPTERS)
def test_every_slider_of_a_chapter_answers_to_the_keyboard(page, browser):
    browser.resize(1280, 900)
    browser.open(HTML / page)
    for i in range(browser.run("document.querySelectorAll('.hoi-widget').length")):
        widget = f"document.querySelectorAll('.hoi-widget')[{i}]"
        if not browser.run(f"{widget}.querySelectorAll('input[type=range]').length"):
            continue
        said = f"{widget}.querySelector('.hoi-readout').textContent"
        browser.run(f"{widget}.querySelector('input[type=range]').focus()")
        browser.press("Home")
        first = browser.run(said)
        browser.press("End")
        assert browser.run(said) != first, f"widget {i}: the read-out did not follow"


@needs_browser
@pytest.mark.parametrize("page", CHAPTERS)
def test_a_folded_solution_opens_and_shows_its_verdict(page, browser):
    browser.resize(1280, 900)
    browser.open(HTML / page)
    solutions = browser.run("document.querySelectorAll('div.solution').length")
    verdicts = browser.run("[...document.querySelectorAll('div.solution .hoi-verdict')].map((v) => v.textContent)")
    assert solutions == len(verdicts) and all("✓ right" in v for v in verdicts)
