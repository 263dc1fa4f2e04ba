"""A map of words: features laid out on a page by how near they are, and who is whose nearest neighbour.

A words, E width of a feature. Nearness is the cosine of the angle between two features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hoi_lib import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hoi_lib.data.store import ClipStore


def cosines(features: Float[Tensor, "A E"], others: Float[Tensor, "C E"] | None = None) -> Float[Tensor, "A C"]:
    """Cosine of the angle between each row of ``features`` and each row of ``others`` (of ``features``, by default)."""
    others = features if others is None else others
    return torch.nn.functional.normalize(features, dim=-1) @ torch.nn.functional.normalize(others, dim=-1).T


def nearest(features: Float[Tensor, "A E"]) -> Int[Tensor, "A"]:
    """For each row the other row that points most nearly its way."""
    return cosines(features).fill_diagonal_(-torch.inf).argmax(-1)


def lay_out(features: Float[Tensor, "A E"], gap: float = 0.0, tries: int = 8, steps: int = 300) -> Float[Tensor, "A 2"]:
    """Places on a page whose distances follow 1 − cosine as well as two dimensions allow, mean distance 1.

    Least squares over all pairs, near ones weighted most, from ``tries`` random starts of which the best is taken.
    No two places come nearer than about ``gap``, across or upright, so that what is drawn there does not overlap.
    """
    wanted = (1 - cosines(features)).detach().double()
    first, second = torch.triu_indices(len(wanted), len(wanted), 1)
    goal = wanted[first, second].clamp(min=1e-3)
    goal = goal / goal.mean()
    start = torch.randn(tries, len(wanted), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    place = start.requires_grad_()
    optimiser = torch.optim.Adam([place], 0.05)
    for step in range(steps):
        between = place[:, first] - place[:, second]
        apart = between.square().sum(-1).add(1e-9).sqrt()
        stress = ((apart - goal).square() / goal**4).sum(-1)
        crowd = (gap - between.abs().amax(-1)).clamp(min=0).square().sum(-1)  # what is drawn is a square
        optimiser.zero_grad()
        (stress + 400 * step / steps * crowd).sum().backward()
        optimiser.step()
    best = place[(stress + 400 * crowd).argmin()].detach()
    return (best - best.mean(0)).float()


def portrait(store: ClipStore, verb: str, when: float = 0.55, pixels: int = 160) -> np.ndarray:
    """A picture (H, H, 3) of the first clip of ``store`` that shows ``verb``, at the share ``when`` of its time."""
    from hoi_lib.data.gallery import at_frames
    from hoi_lib.scene import scene_of

    clip = store.clip(next(row["name"] for row in store.table if row["verb"] == verb))
    moment = at_frames(clip, np.array([round(when * (clip.frames - 1))]))
    scene, size = scene_of(moment, store.object(clip.object.name)), (pixels, pixels)
    eye = scene.eye("best", size, 1.2)
    return plots.render(scene.meshes(0), size=size, eye=eye, ground=scene.ground, samples=2)


def word_map(
    axis: Axes,
    names: Sequence[str],
    features: Float[Tensor, "A E"],
    pictures: Sequence[np.ndarray] | None = None,
    side: float = 0.2,
) -> None:
    """Draw the map: each word at its place, under its picture (H, W, 3) if it has one, with an arrow to its nearest
    neighbour; the nearest pair of all is drawn bold and carries its cosine. ``side`` is half the side of a picture."""
    side = side if pictures else 0.05
    place, near = lay_out(features, 2.5 * side).numpy(), nearest(features)
    table = cosines(features).fill_diagonal_(-torch.inf)
    best = sorted(divmod(int(table.argmax()), len(names)))
    for a, b in enumerate(near.tolist()):
        _arrow(axis, place[a], place[b], side, sorted((a, b)) == best, mutual=int(near[b]) == a)
    for k, (name, (x, y)) in enumerate(zip(names, place, strict=True)):
        look = {
            "ha": "center",
            "va": "top",
            "fontsize": 16,
            "zorder": 6,
            "fontweight": "bold" if k in best else "normal",
        }
        if pictures:
            area = (x - side, x + side, y - side, y + side)
            axis.imshow(pictures[k], extent=area, zorder=3, interpolation="lanczos")
            _frame(axis, float(x) - side, float(y) - side, 2 * side, k in best)
        axis.text(x, y - 1.05 * side if pictures else y, name, **look, bbox={"fc": "white", "ec": "none", "pad": 0.5})
    red, middle = plots.COLORS["penetration"], (place[best[0]] + place[best[1]]) / 2
    look = {"color": red, "fontweight": "bold", "fontsize": 16, "zorder": 7, "ha": "center", "va": "center"}
    axis.text(*middle, f"{float(table.max()):.2f}", **look, bbox={"fc": "white", "ec": red, "pad": 2})
    low, high = place.min(0) - 1.2 * side, place.max(0) + 1.2 * side
    axis.set(xlim=(low[0], high[0]), ylim=(low[1] - 0.4 * side, high[1]), aspect="equal")
    axis.axis("off")


def _frame(axis: Axes, x: float, y: float, width: float, strong: bool) -> None:
    from matplotlib.patches import Rectangle

    color = plots.COLORS["penetration" if strong else "noise"]
    axis.add_patch(Rectangle((x, y), width, width, fill=False, ec=color, lw=3 if strong else 0.8, zorder=4))


def _arrow(axis: Axes, start: np.ndarray, end: np.ndarray, side: float, bold: bool, mutual: bool) -> None:
    """From the rim of one square to the rim of another; with two heads where both are each other's nearest."""
    way = end - start
    tail, tip = (min(_under(sign * way, side), 0.45) for sign in (1, -1))
    color = plots.COLORS["penetration" if bold else "hand"]
    look = {"arrowstyle": "<|-|>" if mutual else "-|>", "color": color, "lw": 3 if bold else 1.8, "mutation_scale": 18}
    axis.annotate(
        "", start + (1 - tip) * way, start + tail * way, arrowprops=look | {"shrinkA": 0, "shrinkB": 0}, zorder=2
    )


def _under(way: np.ndarray, side: float) -> float:
    """Which share of a way away from a square's middle lies under the square, or under the word below it."""
    across, upright = side * 1.05, side * (1.5 if way[1] < 0 else 1.05)
    return float(1 / max(abs(way[0]) / across, abs(way[1]) / upright))
