"""Pictures of expert groups: what their texts speak of, whom they listen to, who works, and what each one adds.

V vertices, L frames, n words, G groups, M experts per group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hoi_lib.hand import load_hand
from hoi_lib.motion import MotionClip
from hoi_lib.objects import ObjectModel
from hoi_lib.plots import COLORS, Mesh, dots, skeleton
from hoi_lib.render import rgb
from hoi_lib.scene import scene_of
from hoi_lib.selection import Selector, probabilities
from hoi_lib.widgets import Bars, Frame, Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PALE = "#E9DED4"
HATCHES = ("", "//", "..")


def level_panels(
    clip: MotionClip, model: ObjectModel, side: str, frame: int, named: Mapping[str, Sequence[int]]
) -> list[list[Mesh]]:
    """A held object three times, for :func:`hoi_lib.plots.show`: the whole hand in the hand group's colour, the fingers
    that ``named["finger"]`` moves in the finger group's, the joints of ``named["joint"]`` in the joint group's.
    """
    hand, track, scene = load_hand(side), clip.hands[side], scene_of(clip, model)
    things = [m for m, t in zip(scene.meshes(frame), scene.tracks, strict=True) if t.name not in clip.hands]
    out = hand.from_matrices(*(torch.as_tensor(x) for x in (track.rotations[frame], track.transl[frame], track.betas)))
    joints, skin = out.joints[:16].numpy(), (out.vertices.numpy(), hand.faces.numpy())
    owned = hand.weights[:, list(named["finger"])].sum(1, keepdim=True).numpy()
    share = np.clip(2.5 * owned - 1.5, 0, 1)  # a knuckle's skin is shared with the palm
    fingers = share * rgb(COLORS["finger"]) + (1 - share) * rgb(PALE)
    lit = dots(joints[list(named["joint"])], 0.0065, COLORS["joint"])
    return [
        [Mesh(*skin, COLORS["hand"]), *things],
        [Mesh(*skin, vertex_colors=fingers), *things],
        [
            Mesh(*skin, "#BFD8CE", opacity=0.3),
            *skeleton(joints, "#B5B5B5", radius=0.004),
            lit,
            *(replace(m, opacity=0.35) for m in things),
        ],
    ]


def attention_maps(maps: Mapping[str, tuple[Sequence[str], Tensor]]) -> Figure:
    """Maps side by side of who listens to which word: title to words (n) and shares (L, n)."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(maps), figsize=(3.6 * len(maps), 5.6), squeeze=False)
    for axis, (title, (words, shares)) in zip(axes[0], maps.items(), strict=True):
        image = axis.imshow(np.asarray(shares).T, aspect="auto", cmap="Blues", vmin=0, vmax=0.8, interpolation="none")
        axis.set(yticks=range(len(words)), xlabel="frame", title=title)
        axis.set_yticklabels(words, fontsize=11)
        axis.grid(False)
    figure.colorbar(image, ax=axes, label="share of the attention", shrink=0.7)
    return figure


def active_bars(groups: Sequence[str], sizes: Sequence[float], marks: Mapping[str, float]) -> Figure:
    """What works in a block, for each of the M^G ways to choose one expert in every group, smallest first. ``sizes``
    are the parameters of a group's experts in millions; ``marks`` are dashed lines with their words."""
    import matplotlib.pyplot as plt

    routes = sorted(product(range(len(sizes)), repeat=len(groups)), key=lambda r: (sum(sizes[m] for m in r), r))
    places, bottom = np.arange(len(routes)), np.zeros(len(routes))
    figure, axis = plt.subplots(figsize=(7.2, 4.4))
    for g, name in enumerate(groups):
        height = np.array([sizes[route[g]] for route in routes])
        style = {"color": COLORS[name], "hatch": HATCHES[g % 3], "edgecolor": "white", "linewidth": 0.6}
        axis.bar(places, height, bottom=bottom, width=0.85, label=f"{name} group", **style)
        bottom = bottom + height
    for words, value in marks.items():
        axis.axhline(value, color=COLORS["ink"], ls="--", lw=1.5)
        axis.text(-0.4, value + 0.02 * max(marks.values()), words)
    axis.set(ylabel="parameters (millions)", xticks=[], ylim=(0, 1.1 * max(*marks.values(), bottom.max())))
    axis.set_xlabel("the ways to choose, from three small experts to three large ones")
    axis.legend(ncols=len(groups), loc="upper left", bbox_to_anchor=(0, 0.88))
    axis.grid(axis="x", visible=False)
    return figure


def gate_frame(
    logits: Tensor, normalise: str, groups: Sequence[str], experts: Sequence[int], sizes: Sequence[float]
) -> Frame:
    """One state of a widget: the softmax of each group (pale), the weights (G, M) that survive at K = 1 (coloured), and
    in words who works with which weight, and how many million parameters that is (``sizes``, of a group's experts)."""
    count, scores = len(experts), probabilities(logits)
    mask, gate = Selector("sample_topk", 1, normalise=normalise)(scores, logits)
    bars: list = [Bars(range(len(groups) * count), scores.flatten(), "#C9CED6", "softmax", width=0.9)]
    bars += [Bars(range(g * count, (g + 1) * count), gate[g], name, name, width=0.5) for g, name in enumerate(groups)]
    names = tuple(str(m + 1) for m in range(count)) * len(groups)
    words = f"expert of a group, {', '.join(map(str, experts))} wide"
    plot = Plot(bars, ylabel="weight", ylim=(0.0, 1.05), xlabel=words, xnames=names)
    chosen = mask.int().argmax(-1).tolist()
    working = [
        f"{name} {experts[m]} with {gate[g, m]:.2f}" for g, (name, m) in enumerate(zip(groups, chosen, strict=True))
    ]
    at_work, held = sum(sizes[m] for m in chosen), len(groups) * sum(sizes)
    return Frame(plot, f"At work: {', '.join(working)}; {at_work:.2f} of {held:.2f} million parameters.")
