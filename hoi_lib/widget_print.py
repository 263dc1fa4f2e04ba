"""The printed twin of a widget's plot: the same panel drawn once by matplotlib."""

from __future__ import annotations

import io

import numpy as np


def draw(plot) -> np.ndarray:
    """Draw one :class:`hoi_lib.widgets.Plot` and return its pixels, uint8 (h, w, 3), on white."""
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(4.2, 3.0 if not plot.equal else 3.8), layout="constrained")
    axes = figure.subplots()
    for series in plot.series:
        _DRAW[series.kind](axes, series)
    axes.set(xlim=plot.xlim, ylim=plot.ylim, xscale=plot.xscale, yscale=plot.yscale)
    axes.set(xlabel=plot.xlabel, ylabel=plot.ylabel, title=plot.title)
    if plot.equal:
        axes.set_aspect("equal")
    if plot.xnames:
        axes.set_xticks(range(len(plot.xnames)), plot.xnames)
    axes.spines[["top", "right"]].set_visible(False)
    if plot.bare:
        axes.axis("off")
    if any(getattr(s, "label", None) for s in plot.series):
        axes.legend(fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))


def _color(name: str) -> str:
    from hoi_lib.widgets import color_of

    code = color_of(name)
    return "#24292f" if code == "ink" else code


def _line(axes, s) -> None:
    axes.plot(s.x, s.y, color=_color(s.color), lw=s.width, ls="--" if s.dash else "-", label=s.label)
    if s.arrow:
        ends = {"xy": (s.x[-1], s.y[-1]), "xytext": (s.x[-2], s.y[-2])}
        axes.annotate("", **ends, arrowprops={"arrowstyle": "-|>", "color": _color(s.color), "lw": s.width})


def _points(axes, s) -> None:
    axes.scatter(s.x, s.y, s=s.size**2, color=_color(s.color), label=s.label, alpha=0.85, lw=0)


def _bars(axes, s) -> None:
    axes.bar(s.x, s.y, width=s.width, color=_color(s.color), label=s.label)


def _band(axes, s) -> None:
    axes.fill_between(s.x, s.low, s.high, color=_color(s.color), alpha=0.22, lw=0, label=s.label)


def _text(axes, s) -> None:
    align = {"start": "left", "middle": "center", "end": "right"}[s.anchor]
    axes.text(s.x, s.y, s.text, color=_color(s.color), ha=align)


_DRAW = {"line": _line, "points": _points, "bars": _bars, "band": _band, "text": _text}
