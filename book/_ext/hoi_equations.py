"""The appendix "Equation index": every printed equation → chapter → source lines → tests → status.

All of it comes from ``hoi_lib.equations.index()`` at build time; the source is shown on the page, so it works offline.
An equation that is not implemented, named and tested is a warning, and with ``-W`` an error.
"""

from __future__ import annotations

import re

from docutils import nodes
from hoi_nodes import folded, table
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from hoi_lib import equations

log = logging.getLogger(__name__)
PAGE = "book/appendices/equations"
SHOWN = 6  # tests listed in the open; more are folded

# What an equation is about, told by the colours of all figures (book.css); words and symbols say it too.
COLOURS = {
    r"\\text\{(hand|finger|joint)\}": r"\\class{hoi-c-\1}{\\text{\1}}",
    r"\\epsilon": r"\\class{hoi-c-noise}{\\epsilon}",
    r"\\hat ([A-Za-z])(_(?:\{[^}]*\}|\\[a-z]+|\w))?": r"\\class{hoi-c-prediction}{\\hat \1\2}",
}


class EquationIndex(SphinxDirective):
    """The directive ``equation-index``: an overview, then one section for every printed equation."""

    def run(self):
        """Return a section for each paper."""
        found = equations.index()
        for e in found:
            if e.status != "tested":
                log.warning(
                    "equation %s of %s: %s (%s)", e.number, e.paper, e.status, e.code, location=self.env.docname
                )
        papers = dict.fromkeys(e.paper for e in found)
        return [self._paper(paper, [e for e in found if e.paper == paper]) for paper in papers]

    def _paper(self, paper: str, found: list[equations.Equation]) -> nodes.section:
        section = nodes.section(ids=[f"equations-{_slug(paper)}"], names=[paper])
        section += nodes.title(text=paper)
        section += _overview(found)
        section += [self._equation(e) for e in found]
        return section

    def _equation(self, e: equations.Equation) -> nodes.section:
        name = f"Eq. {e.number} · {e.title}"
        section = nodes.section(ids=[_anchor(e)], names=[name], classes=["hoi-equation"])
        section += nodes.title(text=name)
        section += nodes.math_block(e.latex, coloured(e.latex), number=None, nowrap=False)
        section += nodes.paragraph(text=e.reading)
        rows = nodes.field_list(classes=["hoi-facts"])
        rows += _field("taught in", self._chapters(e))
        rows += _field("code", _code(e))
        rows += _field("tests", _tests(e))
        rows += _field("status", [nodes.paragraph("", "", _badge(e))])
        section += rows
        return section

    def _chapters(self, e: equations.Equation) -> list[nodes.Node]:
        line = nodes.paragraph()
        for page in (p for p in e.chapters if p in self.env.found_docs):
            line += nodes.Text(", " if len(line) else "")
            line += self._link("std", "doc", f"/{page}")
            if e.label:
                line += [nodes.Text(", equation "), self._link("math", "eq", e.label)]
        return [line if len(line) else nodes.paragraph(text="a chapter that is still to come")]

    def _link(self, domain: str, kind: str, target: str) -> nodes.Node:
        link = addnodes.pending_xref(
            "", refdomain=domain, reftype=kind, reftarget=target, refexplicit=False, refdoc=self.env.docname
        )
        link += nodes.inline(text=target)
        return link


def coloured(latex: str) -> str:
    """LaTeX whose hand, finger, joint, noise and estimates carry the classes of their colours."""
    for pattern, replacement in COLOURS.items():
        latex = re.sub(pattern, replacement, latex)
    return latex


def _overview(found: list[equations.Equation]) -> nodes.table:
    rows = []
    for e in found:
        link = nodes.reference(text=e.title, refuri=f"#{_anchor(e)}", internal=True)
        rows.append((str(e.number), link, nodes.literal(text=e.code.replace(":", ".")), _badge(e)))
    return table(["Eq.", "what it says", "code", "status"], rows, "hoi-overview")


def _code(e: equations.Equation) -> list[nodes.Node]:
    if e.source is None:
        return [nodes.paragraph(text=f"{e.code} does not exist")]
    lines = (equations.ROOT / e.source.path).read_text(encoding="utf-8").splitlines()
    text = "\n".join(lines[e.source.first - 1 : e.source.last])
    block = nodes.literal_block(text, text, language="python", linenos=True)
    block["highlight_args"] = {"linenostart": e.source.first}
    return folded(f"<code>{e.code.replace(':', '.')}</code> · {e.source}", block)


def _tests(e: equations.Equation) -> list[nodes.Node]:
    places = nodes.bullet_list()
    for test in e.tests:
        line = nodes.paragraph("", test.name.removeprefix("test_").replace("_", " "))
        line += [nodes.Text(" · "), nodes.literal(text=f"{test.path}:{test.line}", classes=["hoi-place"])]
        item = nodes.list_item()
        item += line
        places += item
    if not e.tests:
        return [nodes.paragraph(text="none")]
    return [places] if len(e.tests) <= SHOWN else folded(f"{len(e.tests)} tests", places)


def _badge(e: equations.Equation) -> nodes.inline:
    count = f"{len(e.tests)} test{'s' * (len(e.tests) != 1)}"
    good = e.status == "tested"
    words = f"✓ tested, {count}" if good else f"✗ {e.status}"
    return nodes.inline(text=words, classes=["hoi-status", "hoi-good" if good else "hoi-bad"])


def _field(name: str, content: list[nodes.Node]) -> nodes.field:
    field = nodes.field()
    field += nodes.field_name(text=name)
    body = nodes.field_body()
    body += content
    field += body
    return field


def _anchor(e: equations.Equation) -> str:
    return f"equation-{_slug(e.paper)}-{e.number}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def setup(app) -> dict:
    """Register with Sphinx."""
    app.add_directive("equation-index", EquationIndex)
    app.connect("env-get-outdated", lambda app, env, *_: [PAGE] if PAGE in env.found_docs else [])  # tests come and go
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
