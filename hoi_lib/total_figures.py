"""Figures of the smoothness and of the total: a hand between its neighbours in time, who pulls how much, and what for.

V vertices, L frames. Metres, unless a name says millimetres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from hoi_lib import plots
from hoi_lib.drawables import Mesh
from hoi_lib.interaction_figures import push_arrows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {
    "diff": ("numbers", "noise", ""),
    "rec": ("positions", "hand", "//"),
    "dist": ("distance", "prediction", ""),
    "con": ("contact", "contact", "\\\\"),
    "pen": ("penetration", "penetration", ""),
    "acc": ("smoothness", "joint", "xx"),
    "balance": ("balance", "highlight", ""),
}
"""The terms of Eq. 16 in print order: words, colour, hatching."""


def between_neighbours(
    skins: Float[Tensor, "3 V 3"], push: Float[Tensor, "V 3"], faces: np.ndarray, longest: float = 0.04
) -> list[Mesh]:
    """A hand at one frame with ``push`` as arrows, the longest ``longest`` metres long, and the hands of the frames
    before and after it as grey ghosts."""
    before, now, after = skins.detach().numpy()
    ghosts = [Mesh(x, faces, plots.COLORS["noise"], opacity=0.25) for x in (before, after)]
    solid = Mesh(now, faces, plots.COLORS["skin"], opacity=0.75)
    return [*ghosts, solid, push_arrows(skins[1], push, plots.COLORS["joint"], spots=70, longest=longest)]


def shares_figure(curves: Mapping[str, Mapping[str, list]], ends: Mapping[str, Mapping[str, float]]) -> Figure:
    """Shares of the gradient: above over the steps of a run from its ``share/…`` curves, below bars of other runs, a
    share for each term by the run's words."""
    import matplotlib.pyplot as plt

    figure, (area, bars) = plt.subplots(2, 1, figsize=(6, 6.4), height_ratios=(1.7, 1))
    steps = curves["share/diff"]["step"]
    values = [curves[f"share/{name}"]["value"] for name in LOOKS]
    colors = [plots.COLORS[color] for _, color, _ in LOOKS.values()]
    layers = area.stackplot(steps, values, colors=colors, edgecolor="white", lw=0.6)
    for layer, (_, _, hatch) in zip(layers, LOOKS.values(), strict=True):
        layer.set_hatch(hatch)
    area.set(xlim=(steps[0], steps[-1]), ylim=(0, 1), xlabel="step", ylabel="share of the gradient")
    area.set_title("the printed weights, from the first step on")
    shared_bars(bars, ends)
    _key(figure)
    return figure


def shared_bars(axis: Axes, rows: Mapping[str, Mapping[str, float]]) -> None:
    """A lying bar from 0 to 1 for each row, cut by the shares of its terms; a part of 8 % or more says its number."""
    for k, shares in enumerate(rows.values()):
        left = 0.0
        for name, (_, color, hatch) in LOOKS.items():
            share = shares.get(name, 0.0)
            axis.barh(k, share, left=left, color=plots.COLORS[color], hatch=hatch, ec="white", height=0.72)
            if share >= 0.08:
                words: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 11}
                words["bbox"] = {"fc": "white", "ec": "none", "pad": 1.2, "alpha": 0.85}
                axis.text(left + share / 2, k, f"{share:.0%}", **words)
            left += share
    axis.set(yticks=range(len(rows)), yticklabels=list(rows), xlim=(0, 1), xticks=[0, 0.5, 1])
    axis.set_xticklabels(["0", "50 %", "100 %"])
    axis.invert_yaxis()
    axis.grid(False)


def _key(figure: Figure) -> None:
    """Which colour and hatching is which term, below the figure."""
    from matplotlib.patches import Rectangle

    handles = [Rectangle((0, 0), 1, 1, fc=plots.COLORS[c], hatch=h, ec="white") for _, c, h in LOOKS.values()]
    figure.legend(handles, [words for words, *_ in LOOKS.values()], loc="outside lower center", ncols=4, fontsize=12)


def rulers_of_pull(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """One lying bar per ruler, each divided among the terms by what that ruler says of them."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.2, 4.6))
    shared_bars(axis, {name: {k: v / sum(row.values()) for k, v in row.items()} for name, row in rows.items()})
    _key(figure)
    return figure


def gain_figure() -> Figure:
    """What Eq. 15 makes of a millimetre of motion to and fro, against how often it goes there and back in a second."""
    import matplotlib.pyplot as plt

    from hoi_lib.motion import FPS

    hertz = np.linspace(0, FPS / 2, 200)
    gain = 2 - 2 * np.cos(2 * np.pi * hertz / FPS)
    figure, axis = plt.subplots(figsize=(6, 3.4))
    axis.plot(hertz, gain, color=plots.COLORS["joint"], lw=3)
    for at, words, (dx, dy) in ((0.7, "a reach", (2, 58)), (3, "a shake", (14, -6)), (15, "a tremble", (-4, -54))):
        y = 2 - 2 * np.cos(2 * np.pi * at / FPS)
        axis.plot(at, y, "o", ms=9, color=plots.COLORS["penetration"])
        side: dict[str, Any] = {"textcoords": "offset points", "ha": "left" if dx > 0 else "right", "fontsize": 13}
        axis.annotate(f"{words}: {y:.2g}", (at, y), (dx, dy), **side)
    axis.set(xlabel="there and back per second (Hz)", ylabel="mm/frame² per mm", xticks=[0, 5, 10, 15], yticks=range(5))
    return figure


def smoothing_figure(
    speeds: Mapping[str, Sequence[float]], table: Mapping[float, tuple[float, float]], jittered: float
) -> Figure:
    """Above, the speed of a fingertip over the frames of a quick grasp by words; below, by the weight of Eq. 15, how
    far the skin is from the truth (mm) and the share that is left of the quickest moment. ``jittered`` is the error
    (mm) that the fits begin with."""
    import matplotlib.pyplot as plt

    figure, (top, below) = plt.subplots(2, 1, figsize=(6, 6.4))
    looks = (("noise", "-", 1.2), ("truth", "--", 2.2), ("joint", "-", 2.6), ("penetration", "-.", 2.6))
    for (words, speed), (color, line, width) in zip(speeds.items(), looks, strict=False):
        top.plot(speed, line, color=plots.COLORS[color], lw=width, label=words)
    top.set(xlabel="frame", ylabel="fingertip (mm per frame)", ylim=(0, None))
    top.legend(fontsize=12)
    weights = list(table)
    below.plot(weights, [x[0] for x in table.values()], "o-", color=plots.COLORS["hand"], lw=2.5)
    below.axhline(jittered, color=plots.COLORS["noise"], ls=":")
    below.text(weights[0], jittered * 1.05, "as seen, trembling", color=plots.COLORS["noise"], fontsize=12)
    below.set(xscale="log", xlabel="weight of Equation 15", ylim=(0, None))
    below.set_ylabel("off the truth (mm), ●", color=plots.COLORS["hand"])
    other = below.twinx()
    other.plot(weights, [x[1] for x in table.values()], "s--", color=plots.COLORS["penetration"], lw=2)
    other.set(ylim=(0, 1.15), yticks=[0, 0.5, 1], yticklabels=["0", "50 %", "100 %"])
    other.set_ylabel("quickest moment left, ■", color=plots.COLORS["penetration"])
    other.grid(False)
    return figure


def bought_figure(runs: Mapping[str, Sequence[tuple[float, float, float, float]]]) -> Figure:
    """Penetration and contact ratio against the share of the gradient that Eq. 14 has at the end of a run; each run is
    (weight of Eq. 14, share, penetration, contact ratio), each kind of network by its words."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 1, figsize=(6, 6), sharex=True)
    for (words, rows), (marker, color) in zip(runs.items(), (("s", "joint"), ("o", "hand")), strict=False):
        rows = sorted(rows)
        share = [row[1] for row in rows]
        for k, panel in enumerate(panels):
            y = [row[2 + k] for row in rows]
            panel.plot(share, y, marker + "-", color=plots.COLORS[color], ms=9, lw=1.2, label=words)
            for x, v, row in zip(share, y, rows, strict=True):
                up = 10 if (color == "joint") == (k == 0) else -20  # away from the other line
                panel.annotate(f"{row[0]:g}", (x, v), (0, up), textcoords="offset points", ha="center", fontsize=12)
            panel.margins(x=0.06, y=0.28)
    panels[0].set(ylabel="penetration")
    panels[1].set(ylabel="contact ratio", xlabel="share of the gradient that Equation 14 has")
    panels[0].legend(fontsize=12)
    return figure


def left_out_figure(runs: Mapping[str, Mapping[str, Mapping[str, list]]]) -> Figure:
    """Eq. 15 over the steps of a run that keeps it and of one that leaves it out, by their words: training and
    validation, in mm/frame²."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.6))
    looks = (("joint", "-", "o"), ("penetration", "--", "s"))
    for (words, curves), (color, line, marker) in zip(runs.items(), looks, strict=True):
        for part, style in (("training", {"ls": line}), ("validation", {"ls": "", "marker": marker, "ms": 9})):
            curve = curves[f"{part}/acc"]
            values = [1000 * x for x in curve["value"]]
            label = f"{words}, {part}"
            axis.plot(curve["step"], values, color=plots.COLORS[color], lw=2.5, label=label, **style)
    axis.set(xlabel="step", ylabel="Equation 15 (mm/frame²)", xlim=(20, 104))
    axis.legend(fontsize=12)
    return figure
