"""The badge row under a chapter's title and the provenance line at its foot, generated and never typed.

The badges come from the notebook's ``hoi`` metadata and from the record ``chapters_<profile>`` that
``scripts/time_chapters.py`` writes; the foot from git, the installed versions and what this build executed.
"""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from html import escape
from pathlib import Path

from docutils import nodes
from hoi_records import PAGE, load_all, slug, used_records
from sphinx.util.docutils import SphinxDirective

from hoi_lib import records
from hoi_lib.diagrams import where_am_i
from hoi_lib.plots import COLORS
from hoi_lib.profiles import profile

DATA = {
    "none": "no data needed",
    "synthetic": "data: synthetic, made on the spot",
}
THIN = re.compile(r"(?<=\d) (?=\d{3}(?!\d)|%)")  # the space inside 30 000 and before a %


def meta(app, page: str) -> dict:
    """The ``hoi`` metadata of the notebook behind a page, or {}."""
    path = Path(app.srcdir) / f"{page}.ipynb"
    return json.loads(path.read_text(encoding="utf-8"))["metadata"].get("hoi", {}) if path.exists() else {}


def badges(app, page: str, found: dict) -> list[tuple[str, str]]:
    """(kind, words) of every badge of a chapter."""
    about, name = meta(app, page), Path(page).name
    row = []
    for size in ("smoke", "laptop", "full"):
        record = found.get(f"chapters_{size}")
        seconds = record and record["metrics"].get(f"{name}/seconds")
        if seconds:
            memory = record["metrics"][f"{name}/memory"]["value"] / 1000
            where = record["hardware"]["gpu"] or f"{record['config']['reference_cores']} CPU cores"
            row.append(("time", f"{size}: {_duration(seconds['value'])}, {memory:.1f} GB on {where}"))
    row.append(("data", DATA.get(about["data"], f"data: {about['data']}")))
    if about.get("equations"):
        row.append(("equations", "equations: " + ", ".join(about["equations"])))
    return row


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def foot(app, page: str) -> str:
    """The provenance line of a chapter, as HTML."""
    installed = records.packages()
    about = meta(app, page)
    parts = [f"commit {escape(_commit(app.srcdir))}"]
    parts.append("Python {python}, torch {torch}, numpy {numpy}".format(**installed))
    run = getattr(app.env, "nb_metadata", {}).get(page, {}).get("exec_data") or {}
    seconds = f" in {run['runtime']:.0f} s" if run.get("runtime") else ""
    parts.append(f"executed{seconds} under the profile {profile.name}")
    names = sorted({*used_records(app.env, page), *about.get("records", [])})
    link = app.builder.get_relative_uri(page, PAGE)
    named = ", ".join(f'<a href="{link}#record-{slug(n)}">{escape(n)}</a>' for n in names)
    parts.append(f"numbers from {named}" if names else "no numbers from records")
    return f'<p class="hoi-foot">{" · ".join(parts)}</p>'


@cache
def _commit(folder) -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=10", "HEAD") + (" with local changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a checkout)"


def furnish(app, page, template, context, doctree) -> None:
    """Put badges and foot into the page of a chapter."""
    body = context.get("body")
    if not body or not meta(app, page):
        return
    row = "".join(
        f'<li class="hoi-badge-{kind}">{escape(words)}</li>' for kind, words in badges(app, page, load_all(app))
    )
    top = f'</h1>\n<ul class="hoi-badges" aria-label="About this chapter">{row}</ul>'
    context["body"] = re.sub("</h1>", lambda _: top, body, count=1) + foot(app, page)


def number_title(app, doctree) -> None:
    """Put the chapter's number, from its metadata, before its title, here and in every list of contents."""
    chapter = meta(app, app.env.docname).get("chapter", "")
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is not None and re.fullmatch(r"\d+[a-z]?", chapter):
        title.insert(0, nodes.Text(f"{chapter.lstrip('0') or '0'} · "))


def keep_numbers_whole(app, doctree) -> None:
    """Numbers such as 30 000, and a number and its %, are never broken at the end of a line or in a narrow cell."""
    as_typed = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.raw)
    for text in list(doctree.findall(nodes.Text)):
        whole = THIN.sub("\u00a0", text)
        if whole != text and not isinstance(text.parent, as_typed):
            text.parent.replace(text, nodes.Text(whole))


def point_to_origin(app, config) -> None:
    """Launch buttons of a clone or fork on GitHub point to itself."""
    try:
        command = ["git", "-C", app.srcdir, "remote", "get-url", "origin"]
        origin = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return
    match = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?$", origin)
    if match:
        config.html_theme_options["repository_url"] = f"https://github.com/{match[1]}"


class PipelineMap(SphinxDirective):
    """The directive ``pipeline-map``: the where-we-are map on a page without cells."""

    optional_arguments = 10

    def run(self):
        """Return the map as HTML."""
        return [nodes.raw("", where_am_i(*self.arguments).html, format="html")]


class ColorLegend(SphinxDirective):
    """The directive ``color-legend``: every named colour of the book with its idea."""

    def run(self):
        """Return the swatches as HTML."""
        rows = "".join(
            f'<li><span style="background: {code}"></span>{escape(name.replace("_", ", "))}</li>'
            for name, code in COLORS.items()
            if name not in ("background", "ink")
        )
        return [nodes.raw("", f'<ul class="hoi-swatches">{rows}</ul>', format="html")]


def setup(app) -> dict:
    """Register with Sphinx."""
    app.add_directive("pipeline-map", PipelineMap)
    app.add_directive("color-legend", ColorLegend)
    app.connect("config-inited", point_to_origin)
    app.connect("doctree-read", number_title, priority=400)  # before Sphinx collects the titles
    app.connect("doctree-read", keep_numbers_whole)
    app.connect("html-page-context", furnish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
