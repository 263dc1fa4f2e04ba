"""Pictures of the world of 64 hands (:mod:`hoi_lib.toy_experts`): who asks whom, and what comes of it.

S tokens, N runs, M experts, W weights of the balance loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hoi_lib import plots
from hoi_lib.toy_experts import EXACT, EXPERTS, GESTURES, Moment, World

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#414487", "#2A788E", "#22A884", "#7AD151")  # one per expert; a marker and a number always say the same
MARKERS = "os^D"
LOOKS = (("penetration", "x"), ("prediction", "o"), ("noise", "^"))  # of kinds of runs


def draw(axis: Axes, what: World, moment: Moment, run: int = 0) -> None:
    """One run at one moment: every hand at the bend of its fingers, with the marker and colour of the expert that it
    chooses, on the regions in which each expert would be chosen; below them each expert's load."""
    from matplotlib.colors import ListedColormap

    reach, router = 1.75, moment.router[run]
    line = torch.linspace(-reach, reach, 141, dtype=EXACT)
    index, others = torch.meshgrid(line, line, indexing="xy")
    region = (torch.stack([index, others, torch.ones_like(index)], -1) @ router.T).argmax(-1)
    look = {"origin": "lower", "extent": (-reach, reach) * 2, "vmin": 0, "vmax": EXPERTS - 1}
    axis.imshow(region, cmap=ListedColormap(COLORS), alpha=0.16, **look)
    chosen = (what.tokens @ router.T).argmax(-1)
    for m, (color, marker) in enumerate(zip(COLORS, MARKERS, strict=True)):
        mine = what.tokens[chosen == m]
        axis.scatter(mine[:, 0], mine[:, 1], s=22, color=color, marker=marker, edgecolor="white", linewidth=0.5)
        place, width = (m - 1.5) * reach / 2, 0.42 * reach
        share = float(moment.load[run, m])
        axis.bar(place, share, width, bottom=-2.9, color=color, clip_on=False)
        axis.text(place, -2.86 + share, f"{share:.0%}", ha="center", va="bottom", fontsize=11, clip_on=False)
    axis.set(xlim=(-reach, reach), ylim=(-2.95, reach), xticks=[], yticks=[], aspect="equal")
    axis.grid(False)
    axis.spines[["left", "bottom"]].set_visible(False)


def over_weights(
    weights: Sequence[float], working: Int[Tensor, "W N"], degrees: Float[Tensor, "W N"], alone: float
) -> Figure:
    """How many experts work and how far the thumbs are off, a mark for each run (sorted) and a bar for the median, over
    the weights of the balance loss. ``alone`` is the error of a single expert. The first weight is marked by crosses.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(7, 5), sharex=True)
    ink = plots.COLORS["ink"]
    for place in range(len(weights)):
        spread = place + torch.linspace(-0.25, 0.25, working.shape[1])
        color, marker = LOOKS[min(place, 1)]
        for axis, values in zip(axes, (working, degrees), strict=True):
            axis.plot(spread, values[place].sort().values, marker, color=plots.COLORS[color], ms=5)
            axis.hlines(values[place].double().median(), place - 0.32, place + 0.32, color=ink, lw=1.5)
    axes[0].set(ylabel="experts that work", yticks=range(1, EXPERTS + 1), ylim=(0.6, EXPERTS + 0.4))
    axes[1].axhline(alone, ls=":", color=ink)
    axes[1].text(len(weights) - 0.6, alone - 0.6, "one expert alone", ha="right", va="top", fontsize=11)
    axes[1].set(ylabel="thumbs off by (degrees)", ylim=(0, 28), xlabel="weight λ of the balance loss")
    axes[1].set_xticks(range(len(weights)), [f"{w:g}" for w in weights])
    return figure


def against_balance(kinds: Mapping[str, tuple[Float[Tensor, "N"], Float[Tensor, "N"]]]) -> Figure:
    """The error in degrees over the balance loss at the end; ``kinds`` gives both for up to three kinds of runs."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 3.8))
    for (name, (balance, degrees)), (color, marker) in zip(kinds.items(), LOOKS, strict=False):
        look = {"ms": 7, "alpha": 0.85, "mfc": "none", "mew": 1.8}
        axis.plot(balance, degrees, marker, color=plots.COLORS[color], label=name, **look)
    axis.axvline(1, color=plots.COLORS["ink"], lw=0.8, ls=":")
    axis.set(xlabel="balance loss at the end (1: even)", ylabel="thumbs off by (degrees)", ylim=(-1, None))
    axis.legend(fontsize=11)
    return figure


def choices(scores: Float[Tensor, "S M"], masks: Mapping[str, Bool[Tensor, "S M"]]) -> Figure:
    """Tables of experts by hands, the scores in grey: a mark where a mask lets an expert serve a hand, hatched where
    nobody does."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(masks), 1, figsize=(7.2, 2.0 * len(masks)), sharex=True, squeeze=False)
    for axis, (name, mask) in zip(axes[:, 0], masks.items(), strict=True):
        axis.imshow(scores.T, cmap="Greys", aspect="auto", vmin=0, vmax=1.4)
        for m in range(EXPERTS):
            mine = mask[:, m].nonzero()[:, 0]
            axis.plot(mine, [m] * len(mine), MARKERS[m], color=COLORS[m], mec="white", mew=0.6, ms=6.5)
            axis.text(len(mask) + 0.3, m, f"{len(mine)} hands", va="center", fontsize=11)
        served = mask.sum(1)
        for s in (served == 0).nonzero()[:, 0].tolist():
            look = {"facecolor": "none", "edgecolor": plots.COLORS["penetration"], "hatch": "////", "lw": 0}
            axis.axvspan(s - 0.5, s + 0.5, **look)
        counts = f"{int((served == 0).sum())} hands get no expert, {int((served > 1).sum())} get two or more"
        axis.set_title(f"{name}: {counts}", fontsize=11, loc="left")
        axis.set_yticks(range(EXPERTS), [f"expert {m + 1}" for m in range(EXPERTS)])
        axis.grid(False)
    each = len(scores) / len(GESTURES)
    axes[-1, 0].set_xticks([(k + 0.5) * each - 0.5 for k in range(len(GESTURES))], GESTURES)
    return figure
