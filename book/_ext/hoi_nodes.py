"""The pieces of a page that several directives build: tables and folds."""

from __future__ import annotations

from collections.abc import Sequence

from docutils import nodes


def table(head: Sequence[str], rows: Sequence[Sequence[str | nodes.Node]], *classes: str) -> nodes.table:
    """A table in the book's look; cells are words or inline nodes. No ``head`` makes a table without one."""
    width = len(rows[0])
    made = nodes.table(classes=["hoi-table", *classes])
    group = nodes.tgroup(cols=width)
    made += group
    for _ in range(width):
        group += nodes.colspec(colwidth=1)
    if head:
        top = nodes.thead()
        top += _row(head)
        group += top
    body = nodes.tbody()
    for row in rows:
        body += _row(row)
    group += body
    return made


def folded(title: str, *content: nodes.Node) -> list[nodes.Node]:
    """Content behind a line that opens it; ``title`` is HTML."""
    opening = nodes.raw("", f'<details class="hoi-fold"><summary>{title}</summary>', format="html")
    return [opening, *content, nodes.raw("", "</details>", format="html")]


def _row(cells: Sequence[str | nodes.Node]) -> nodes.row:
    row = nodes.row()
    for cell in cells:
        entry = nodes.entry()
        entry += nodes.paragraph("", "", cell if isinstance(cell, nodes.Node) else nodes.Text(str(cell)))
        row += entry
    return row
