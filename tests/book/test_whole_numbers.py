"""Numbers of more than three digits stay in one piece on the page, and code stays as it was written."""

from __future__ import annotations

import sys
from pathlib import Path

from docutils import nodes

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
from hoi_pages import keep_numbers_whole  # noqa: E402


def test_spaces_inside_numbers_do_not_break_and_those_of_words_and_code_do():
    words = nodes.paragraph(text="30 000 steps of 4 clips, 74 % of 1 024 points")
    code = nodes.literal_block(text="1 000 %")
    page = nodes.section("", words, nodes.paragraph("", "", nodes.literal(text="1 000")), code)
    keep_numbers_whole(None, page)
    assert words.astext() == "30\u00a0000 steps of 4 clips, 74\u00a0% of 1\u00a0024 points"
    assert "\u00a0" not in page.children[1].astext() + code.astext()
