"""The book's look: one colour per idea, one style for curves, one soft light for everything in 3D.

Call :func:`setup` once per notebook. :func:`show` lays rendered panels side by side; :func:`film_strip` shows a motion
as a row of moments. The renderer itself is :mod:`hoi_lib.render`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from textwrap import fill
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from hoi_lib.drawables import Mesh, arrows, dots, joined, rods, skeleton
from hoi_lib.render import BACKGROUND, VIEWS, Camera, camera, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hoi_lib.scene import Scene

__all__ = [
    "BACKGROUND",
    "COLORS",
    "VIEWS",
    "WIDEST",
    "Camera",
    "Mesh",
    "arrows",
    "camera",
    "dots",
    "film_strip",
    "joined",
    "render",
    "rods",
    "setup",
    "show",
    "skeleton",
]

COLORS = MappingProxyType(
    {
        # Okabe–Ito, told apart by every kind of colour vision; noise is a darker grey than usual, for the usual one
        # and the purple of predictions are one colour to eyes without green cones
        "hand": "#0072B2",
        "finger": "#E69F00",
        "joint": "#009E73",
        "truth": "#000000",
        "prediction": "#CC79A7",
        "contact": "#56B4E9",
        "penetration": "#D55E00",
        "noise": "#6B6B6B",
        "highlight": "#F0E442",
        # materials
        "skin": "#DDA88C",
        "skin_left": "#CF9A80",
        "object": "#CBC3B4",
        "object_moving": "#A9B0AE",
        "background": BACKGROUND,
        "ink": "#2B2B2B",
    }
)
"""One colour per idea, everywhere: figures, equations, diagrams, widgets."""

CYCLE = ("hand", "finger", "joint", "prediction", "contact", "penetration", "noise", "truth")

WIDEST = 7.2
"""Inches across a figure: a phone shows it at half its size, and letters of 12 points are still read there."""

PLOTLY_LOADER = (
    "window.Plotly||document.write('<script src=\"'+(document.documentElement.dataset.content_root||'../../')"
    "+'_static/plotly.min.js\"><\\/script>')"
)


def setup() -> None:
    """Set the house style of matplotlib and plotly; call it once at the top of a notebook.

    In the book's build (``HOI_BOOK=1``) plotly figures become plain ``div``s that share one local copy of plotly.js;
    elsewhere plotly keeps the renderer that suits the notebook program.
    """
    import matplotlib as mpl

    mpl.rcParams.update(_style())
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and shell.has_trait("kernel"):  # a notebook, not a script or a terminal
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")
    _setup_plotly(in_book=os.environ.get("HOI_BOOK") == "1")


def _style() -> dict:
    from cycler import cycler

    return {
        "figure.facecolor": "white",
        "figure.figsize": (5.8, 3.4),
        "figure.dpi": 100,
        "savefig.dpi": 200,
        "savefig.bbox": "tight",
        "figure.constrained_layout.use": True,
        "font.size": 12,
        "axes.titlesize": 13,
        "axes.labelcolor": COLORS["ink"],
        "text.color": COLORS["ink"],
        "axes.edgecolor": "#8A8A8A",
        "xtick.color": "#5A5A5A",
        "ytick.color": "#5A5A5A",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#E6E4DF",
        "grid.linewidth": 0.8,
        "axes.axisbelow": True,
        "lines.linewidth": 2.0,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "axes.prop_cycle": cycler(color=[COLORS[c] for c in CYCLE]),
        "svg.fonttype": "none",
    }


def _setup_plotly(in_book: bool) -> None:
    try:
        import plotly.graph_objects as go
        import plotly.io as pio
        from plotly.io.base_renderers import MimetypeRenderer
    except ImportError:  # a small install, without the book's figures
        return
    pio.templates["hoi"] = go.layout.Template(layout=_plotly_layout())
    pio.templates.default = "plotly_white+hoi"
    if not in_book:
        return
    from IPython.display import HTML, display

    class Book(MimetypeRenderer):
        """A plain ``div`` per figure; plotly.js itself is loaded once from the book's static files."""

        def to_mimebundle(self, fig: dict) -> dict[str, str]:
            html = pio.to_html(
                fig,
                include_plotlyjs=False,
                include_mathjax=False,
                full_html=False,
                auto_play=False,
                default_width="100%",
                default_height=450,
            )
            return {"text/html": html}

    pio.renderers["book"] = Book()
    pio.renderers.default = "book"
    display(HTML(f"<script>{PLOTLY_LOADER}</script>"))


def _plotly_layout() -> dict:
    axis = {"gridcolor": "#E6E4DF", "zerolinecolor": "#C9C6BF", "linecolor": "#8A8A8A", "ticks": "outside"}
    solid = {"backgroundcolor": COLORS["background"], "gridcolor": "#E6E4DF", "zerolinecolor": "#C9C6BF"}
    return {
        "font": {"family": "system-ui, sans-serif", "size": 14, "color": COLORS["ink"]},
        "colorway": [COLORS[c] for c in CYCLE],
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 50, "r": 15, "t": 45, "b": 45},
        "xaxis": axis,
        "yaxis": axis,
        "scene": {"xaxis": solid, "yaxis": solid, "zaxis": solid, "aspectmode": "data"},
        "legend": {"orientation": "h", "y": 1.08, "x": 0},
        "hoverlabel": {"font": {"size": 13}},
    }


def show(
    panels: Sequence,
    titles: Sequence[str] | None = None,
    views: str | Sequence | None = None,
    columns: int | None = None,
    size: float | int = 2.6,
    pixels: int = 420,
    shadow: bool = True,
    zoom: float | int = 1.0,
) -> Figure:
    """Draw each panel (a Mesh, a list of them, or a picture (H, W, 3)) and return one matplotlib figure.

    ``views`` is one view for all panels or a list of one per panel; ``size`` is the width of a panel in inches, less
    where the figure would become wider than :data:`WIDEST`, ``pixels`` its side in pixels; ``columns`` defaults to at
    most three. Titles are broken to the width of their panel.
    """
    import matplotlib.pyplot as plt

    panels = list(panels)
    columns = columns or min(len(panels), 3)
    rows, size = -(-len(panels) // columns), min(size, WIDEST / columns)
    one = views is None or isinstance(views, str | tuple)
    each = [views or "three_quarter"] * len(panels) if one else list(views)
    pictures = [
        panel if isinstance(panel, np.ndarray) else render(panel, view, (pixels, pixels), shadow=shadow, zoom=zoom)
        for panel, view in zip(panels, each, strict=True)
    ]
    words = [_broken(title, int(9.6 * size)) for title in titles or ()]
    lines = max((text.count("\n") + 1 for text in words), default=0)
    tall = size * max(picture.shape[0] / picture.shape[1] for picture in pictures) + 0.25 * lines
    figure, axes = plt.subplots(rows, columns, figsize=(size * columns, tall * rows), squeeze=False)
    for k, axis in enumerate(axes.flat):
        axis.axis("off")
        if k >= len(pictures):
            continue
        axis.imshow(pictures[k], interpolation="lanczos")
        if words:
            axis.set_title(words[k])
    return figure


def _broken(title: str, letters: int) -> str:
    """A title in lines of at most so many letters, where its words allow it, and these of about one length."""
    lines = []
    for line in title.split("\n"):
        tries = [fill(line, width, break_long_words=False) for width in range(1, letters + 1)]
        few = tries[-1].count("\n")
        lines.append(next(text for text in tries if text.count("\n") <= few))
    return "\n".join(lines)


def film_strip(
    scene: Scene,
    frames: Sequence[int] | int = 5,
    view: str | tuple = "best",
    size: tuple[int, int] = (360, 360),
    zoom: float | int = 1.0,
) -> np.ndarray:
    """A motion as one wide picture (H, n W, 3) uint8: the same eye looks at each of ``frames``.

    ``view`` is "best" for both hands and object, a name of :data:`VIEWS`, or degrees. A number instead of a list takes
    that many frames, evenly spaced from the first to the last.
    """
    if isinstance(frames, int):
        frames = np.linspace(0, scene.frames - 1, frames).round().astype(int).tolist()
    if view == "best":
        from hoi_lib.scene import best_view

        view = best_view(scene)
    moments = [scene.meshes(frame) for frame in frames]
    points = np.concatenate([np.asarray(m.vertices) for meshes in moments for m in meshes])
    eye = camera(points, view, size, zoom)
    return np.concatenate([render(m, size=size, eye=eye, ground=scene.ground) for m in moments], axis=1)
