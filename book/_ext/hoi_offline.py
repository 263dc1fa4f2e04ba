"""Everything a page needs comes from the book itself: plotly.js, MathJax with its fonts, the 3D viewer.

Copies them into ``_static`` once per build, removes the theme's doubled inline scripts (each page would log an error),
and tells the notebooks' kernels through ``HOI_BOOK=1`` that their figures will stand on such a page.
"""

from __future__ import annotations

import os
import re
import shutil
from importlib.metadata import files
from importlib.resources import files as package_files
from pathlib import Path

MATHJAX = "sphinx-mathjax-offline"
MATHJAX_SCRIPTS = ("mathjax/tex-mml-chtml.js", "mathjax/input/tex/extensions/html.js")  # the second colours equations
PLOTLY = re.compile(
    r"<script>window\.Plotly\|\|document\.write\([^<]*<script[^<]*plotly\.min\.js[^<]*<\\/script>'\)</script>"
)


def copy_assets(app) -> None:
    """Fill ``_static`` with plotly.js, the needed part of MathJax, and the viewer of ``hoi_lib``."""
    if app.builder.format != "html":
        return
    import plotly

    static = Path(app.outdir) / "_static"
    _copy(Path(plotly.__file__).parent / "package_data" / "plotly.min.js", static / "plotly.min.js")
    for entry in files(MATHJAX) or ():
        path = str(entry)
        if path.endswith(MATHJAX_SCRIPTS) or "/chtml/fonts/woff-v2/" in path:
            _copy(entry.locate(), static / "mathjax" / path.split("static/mathjax/", 1)[1])
    viewer = Path(str(package_files("hoi_lib") / "assets" / "viewer"))
    for file in viewer.rglob("*") if viewer.is_dir() else ():
        if file.is_file():
            _copy(file, static / "hoi" / file.relative_to(viewer))


def _copy(source, target: Path) -> None:
    if target.exists() and target.stat().st_size == Path(source).stat().st_size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def drop_doubled_scripts(app, page, template, context, doctree) -> None:
    """Keep each inline script of a page once."""
    seen, kept = set(), []
    for script in context.get("script_files", []):
        body = (getattr(script, "attributes", None) or {}).get("body")
        if body is None or body not in seen:
            kept.append(script)
            seen.add(body)
    context["script_files"] = kept


def drop_idle_plotly(app, page, template, context, doctree) -> None:
    """Take the 4.7 MB of plotly.js off a page on which nothing is drawn with it."""
    body = context.get("body", "")
    if "plotly-graph-div" not in body:
        context["body"] = PLOTLY.sub("", body)


def setup(app) -> dict:
    """Register with Sphinx."""
    os.environ.setdefault("HOI_BOOK", "1")
    app.connect("builder-inited", copy_assets)
    app.connect("html-page-context", drop_doubled_scripts, priority=900)
    app.connect("html-page-context", drop_idle_plotly, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
