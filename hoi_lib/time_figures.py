"""Pictures of how a noise level is told: as the hands of clocks, as a road of vectors, and as loud as the action.

T noise levels, D width of a code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hoi_lib import plots
from hoi_lib.widgets import Line, Plot, Text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RING = np.linspace(0, 2 * math.pi, 33)


def clock_faces(level: int, step: int, rates: Sequence[float], columns: int = 4) -> Plot:
    """Clocks that turn by ``rates`` radians per level: solid hands at ``level``, dashed ones a ``step`` later, and
    under each face the levels that it needs for a turn."""
    parts: list = []
    for n, rate in enumerate(rates):
        x, y = 2.4 * (n % columns), -3.2 * (n // columns)
        parts.append(Line(x + np.sin(RING).round(3), y + np.cos(RING).round(3), "noise", width=1.0))
        for when, color, wide in ((level + step, "penetration", 2.2), (level, "ink", 2.6)):
            tip = round(x + 0.88 * math.sin(rate * when), 2), round(y + 0.88 * math.cos(rate * when), 2)
            parts.append(Line([x, tip[0]], [y, tip[1]], color, width=wide, dash=when != level))
        parts.append(Text(x, y - 1.6, f"{2 * math.pi / rate:,.0f}".replace(",", " "), "ink", "middle"))
    rows = -(-len(rates) // columns)
    limits = {"xlim": (-1.2, 2.4 * columns - 1.2), "ylim": (1.2 - 3.2 * rows, 1.2)}
    return Plot(parts, title=f"{len(rates)} clocks, levels per turn", equal=True, bare=True, **limits)


def main_directions(features: Float[Tensor, "T D"]) -> tuple[Float[Tensor, "T 2"], float]:
    """Rows in the two directions in which they vary most, and the share of their variance that lies there."""
    centred = features - features.mean(0)
    _, size, axes = torch.linalg.svd(centred, full_matrices=False)
    return centred @ axes[:2].T, float(size[:2].square().sum() / size.square().sum())


def roads(features: Mapping[str, Float[Tensor, "T D"]], named: Sequence[int] = (0, 400, 600, 800)) -> Figure:
    """The features of all levels, each set in its own two main directions, coloured by level, some levels named."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(len(features), 1, figsize=(6.4, 4.2 * len(features)), squeeze=False)
    for axis, (name, rows) in zip(panels[:, 0], features.items(), strict=True):
        path, share = main_directions(rows.detach())
        cloud = axis.scatter(*path.T, c=torch.arange(len(path)), s=9, cmap="viridis")
        for level in (*(k for k in named if k < len(path)), len(path) - 1):
            box = {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 1}
            axis.text(*path[level], str(level), fontsize=15, ha="left", va="bottom", bbox=box)
        axis.set(xticks=[], yticks=[], aspect="equal")
        axis.set_title(f"{name}: {share:.0%} of the variance", fontsize=17)
        axis.margins(0.12)
    bar = figure.colorbar(cloud, ax=panels, location="bottom", shrink=0.7, aspect=35)
    bar.set_label("noise level t", fontsize=15)
    bar.ax.tick_params(labelsize=14)
    return figure


def loudness(legs: Mapping[str, tuple[float, float]], ratios: Mapping[str, float], label: str) -> Figure:
    """Features as right triangles to one scale, legs (common part, spread) and the length between them; under them bars
    of ``ratios`` with a dashed line at 1. The first feature has the action's colour, the second the time's."""
    import matplotlib.pyplot as plt

    figure, (top, low) = plt.subplots(2, 1, figsize=(6.6, 8.4), height_ratios=[1.1, 1])
    x = 0.0
    for (name, (common, spread)), color in zip(legs.items(), ("hand", "noise"), strict=True):
        corners = np.array([[x, 0], [x + common, 0], [x + common, spread], [x, 0]])
        top.fill(*corners.T, color=plots.COLORS[color], alpha=0.18, lw=0)
        top.plot(*corners.T, color=plots.COLORS[color], lw=2.5)
        top.text(x + common / 2, -0.15, f"common\n{common:.1f}", ha="center", va="top", fontsize=15)
        top.text(x + common + 0.12, spread / 2, f"spread\n{spread:.1f}", va="center", fontsize=15)
        words = f"{name}:\nlength {math.hypot(common, spread):.1f}"
        top.text(x, spread + 0.2, words, fontsize=16, fontweight="bold", color=plots.COLORS[color], va="bottom")
        x += common + 2.2
    top.set(aspect="equal")
    top.set_xlim(right=x)
    top.margins(0.06)
    top.axis("off")
    bars = low.barh(list(ratios), list(ratios.values()), color=plots.COLORS["hand"], height=0.6)
    low.bar_label(bars, [f"{ratio:.1f}" for ratio in ratios.values()], padding=4, fontsize=15)
    low.axvline(1, color=plots.COLORS["truth"], lw=1.2, ls="--")
    low.tick_params(labelsize=15)
    low.set_xlabel(label, fontsize=15)
    low.invert_yaxis()
    low.set_xlim(right=1.15 * max(ratios.values()))
    low.grid(axis="y")
    return figure
