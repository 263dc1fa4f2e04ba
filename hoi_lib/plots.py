"""The book's look: one colour per idea, one style for curves, one soft light for everything in 3D.

Call :func:`setup` once per notebook. :func:`show` lays rendered panels side by side; :func:`film_strip` shows a motion
as a row of moments. The renderer itself is :mod:`hoi_lib.render`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from hoi_lib.drawables import Mesh, arrows, dots, joined, rods, skeleton
from hoi_lib.render import BACKGROUND, VIEWS, Camera, camera, render

__all__ = [
    "BACKGROUND",
    "COLORS",
    "VIEWS",
    "Camera",
    "Mesh",
    "arrows",
    "camera",
    "dots",
    "joined",
    "render",
    "rods",
    "setup",
    "show",
    "skeleton",
]

COLORS = MappingProxyType(
    {
        # Okabe–Ito: told apart by every kind of colour vision
        "hand": "#0072B2",
        "finger": "#E69F00",
        "joint": "#009E73",
        "truth": "#000000",
        "prediction": "#CC79A7",
        "contact": "#56B4E9",
        "penetration": "#D55E00",
        "noise": "#999999",
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


def setup() -> None:
    """Set the house style of matplotlib and plotly; call it once at the top of a notebook.

    In the book's build (``HOI_BOOK=1``) plotly figures become plain ``div``s that share one local copy of plotly.js;
    elsewhere plotly keeps the renderer that suits the notebook program.
    """
    import matplotlib as mpl

    mpl.rcParams.update(_style())
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")
    except ImportError:  # no notebook around us
        pass
    _setup_plotly()


def _style() -> dict:
    from cycler import cycler

    return {
        "figure.facecolor": "white",
        "figure.figsize": (6.4, 3.6),
        "figure.dpi": 100,
        "savefig.dpi": 200,
        "savefig.bbox": "tight",
        "figure.constrained_layout.use": True,
        "font.size": 11,
        "axes.titlesize": 12,
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


def _setup_plotly() -> None:
    if os.environ.get("HOI_BOOK") != "1":
        return
    try:
        import plotly.io as pio
        from plotly.io.base_renderers import MimetypeRenderer
    except ImportError:
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
    display(HTML('<script src="../../_static/plotly.min.js"></script>'))


def show(
    panels: Sequence,
    titles: Sequence[str] | None = None,
    views: Sequence | None = None,
    columns: int | None = None,
    size: float = 2.6,
    pixels: int = 420,
    shadow: bool = True,
    zoom: float = 1.0,
):
    """Draw each panel (a Mesh, a list of them, or a picture) and return one matplotlib figure.

    ``views`` is one view for all panels or one per panel; ``size`` is the side of a panel in inches, ``pixels`` its
    side in pixels; ``columns`` defaults to at most four.
    """
    import matplotlib.pyplot as plt

    panels = list(panels)
    columns = columns or min(len(panels), 4)
    rows = -(-len(panels) // columns)
    one = views is None or isinstance(views, str) or np.isscalar(views[0])
    views = [views or "three_quarter"] * len(panels) if one else list(views)
    figure, axes = plt.subplots(rows, columns, figsize=(size * columns, size * rows * 1.1), squeeze=False)
    for k, axis in enumerate(axes.flat):
        axis.axis("off")
        if k < len(panels):
            picture = panels[k]
            if not isinstance(picture, np.ndarray):
                picture = render(picture, views[k], (pixels, pixels), shadow=shadow, zoom=zoom)
            axis.imshow(picture, interpolation="lanczos")
            if titles is not None:
                axis.set_title(titles[k], fontsize=11)
    return figure
