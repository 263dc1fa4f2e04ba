"""Rules for the built pages: nothing is fetched from elsewhere, every picture has words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from . import Finding

FETCH = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*?\b(?:src|srcset|data)=[\"'](?P<a>(?:https?:)?//[^\"']+)"
    r"|<link\b(?=[^>]*\brel=[\"'](?:stylesheet|preload|prefetch|icon|shortcut icon|modulepreload)[\"'])"
    r"[^>]*\bhref=[\"'](?P<b>(?:https?:)?//[^\"']+)"
    r"|@import\s+(?:url\()?[\"']?(?P<c>(?:https?:)?//[^\"')\s]+)|url\([\"']?(?P<d>(?:https?:)?//[^\"')]+)",
    re.I,
)
IMG = re.compile(r"<img\b[^>]*>", re.I)


def outside(root: Path, html: Path) -> Iterator[Finding]:
    """Scripts, styles, fonts and pictures come from the book itself."""
    for path in sorted([*html.rglob("*.html"), *html.rglob("_static/**/*.css")]):
        for match in FETCH.finditer(path.read_text(encoding="utf-8", errors="replace")):
            address = next(filter(None, match.groupdict().values()))
            yield Finding(path.relative_to(root), "", "network", f"fetches {address}")


def pictures(root: Path, html: Path) -> Iterator[Finding]:
    """Each picture on a page of the book has alt text that is no file name; a purely decorative one has alt=\"\"."""
    for path in sorted(html.glob("book/**/*.html")):
        for tag in IMG.findall(path.read_text(encoding="utf-8")):
            alt = re.search(r"\balt=\"([^\"]*)\"", tag)
            decorative = "_static/images/logo" in tag or "aria-hidden" in tag
            if not decorative and (not alt or len(alt[1].split()) < 5):
                yield Finding(path.relative_to(root), "", "alt", f"a picture without words: {tag[:110]}")


def check(root: Path) -> Iterator[Finding]:
    """Hold the built book against the rules, if there is one."""
    html = root / "_build" / "html"
    if not html.exists():
        yield Finding("_build/html", "", "pages", "the book is not built: its pages were not looked at", note=True)
        return
    yield from outside(root, html)
    yield from pictures(root, html)
