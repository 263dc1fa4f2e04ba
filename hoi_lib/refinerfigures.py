"""Pictures of refined texts: how alike they are, which words tell them apart, and hands that were told them.

n texts, V verbs, 3 levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from hoi_lib.hand import load_hand
from hoi_lib.motion import SIDES, Sample, unpack_pose
from hoi_lib.objects import ObjectModel
from hoi_lib.plots import COLORS, Mesh
from hoi_lib.refiner import LEVELS
from hoi_lib.render import render
from hoi_lib.scene import scene_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hoi_lib.motion import MotionClip

CARD, LINE = 340, 23  # pixels: width of a card, height of its lines
PLAIN, BOLD = 8.2, 10.0  # pixels: a character's width at 15 px, on the safe side


def similarity_map(cosine: Tensor, kinds: Mapping[str, Tensor]) -> Figure:
    """A matrix (3 V, 3 V) of cosines, level by level, and below it how the pairs of texts of each kind lie.

    ``kinds`` maps a label to a mask (3 V, 3 V) of pairs; each becomes one row of dots with its mean.
    """
    import matplotlib.pyplot as plt

    count = len(cosine) // len(LEVELS)
    figure, (above, below) = plt.subplots(2, 1, figsize=(5.6, 7.6), height_ratios=[3.1, 1], layout="constrained")
    image = above.imshow(cosine, vmin=0, vmax=1, cmap="viridis")
    figure.colorbar(image, ax=above, label="cosine", location="top", aspect=30, shrink=0.9)
    middles = [count * (k + 0.5) - 0.5 for k in range(len(LEVELS))]
    for edge in (count - 0.5, 2 * count - 0.5):
        above.axhline(edge, color="white", lw=2.5)
        above.axvline(edge, color="white", lw=2.5)
    for i, y in enumerate(middles):
        for j, x in enumerate(middles):
            mean = cosine[i * count : (i + 1) * count, j * count : (j + 1) * count].mean()
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "boxstyle": "round,pad=0.2"}
            above.text(x, y, f"{mean:.2f}", ha="center", va="center", bbox=box, fontsize=14, color=COLORS["ink"])
    above.set_xticks(middles, LEVELS, fontsize=14)
    above.set_yticks(middles, LEVELS, fontsize=14, rotation=90, va="center")
    above.grid(False)
    for row, mask in enumerate(kinds.values()):
        values = cosine[mask].sort().values.numpy()
        spread = 0.22 * np.sin(np.arange(len(values)) * 2.4)
        below.scatter(values, row + spread, s=8, alpha=0.45, color=COLORS[("joint", "penetration")[row % 2]], lw=0)
        below.plot([values.mean()] * 2, [row - 0.36, row + 0.36], color=COLORS["ink"], lw=2.5)
    names = [",\n".join(kind.split(", ")) if ", " in kind else kind.replace(" ", "\n") for kind in kinds]
    below.set_yticks(range(len(kinds)), names, fontsize=13)
    below.set(xlabel="cosine", xlim=(0, 1.03), ylim=(len(kinds) - 0.45, -0.55))
    return figure


def text_card(words: Sequence[tuple[str, bool]], title: str, color: str) -> str:
    """An SVG card with a text of (word, whether it is marked); marked words are bold, underlined and in ``color``, a
    name of :data:`~hoi_lib.plots.COLORS`."""
    lines, room = [[]], 0.0
    for word, marked in words:
        width = (len(word) + 1) * (BOLD if marked else PLAIN)
        if lines[-1] and room + width > CARD - 24:
            lines, room = [*lines, []], 0.0
        lines[-1].append((word, marked))
        room += width
    height = 52 + LINE * len(lines)
    texts = "".join(f'<text x="14" y="{58 + LINE * k}">{_runs(line)}</text>' for k, line in enumerate(lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{CARD}" height="{height}" viewBox="0 0 {CARD} {height}">'
        f"<style>text{{font:15px system-ui,sans-serif;fill:{COLORS['ink']}}}"
        f".m{{font-weight:700;text-decoration:underline;fill:{COLORS['penetration']}}}</style>"
        f'<rect width="{CARD}" height="{height}" rx="8" fill="#fff"/>'
        f'<rect width="{CARD}" height="32" rx="8" fill="{COLORS[color]}" fill-opacity="0.25"/>'
        f'<text x="14" y="22" style="font-weight:700">{escape(title)}</text>{texts}</svg>'
    )


def _runs(line: Sequence[tuple[str, bool]]) -> str:
    """The words of a line, neighbours of one kind in one piece."""
    runs: list[tuple[list[str], bool]] = []
    for word, marked in line:
        if runs and runs[-1][1] == marked:
            runs[-1][0].append(word)
        else:
            runs.append(([word], marked))
    pieces = (escape(" ".join(words)) for words, _ in runs)
    marked = (m for _, m in runs)
    return " ".join(f'<tspan class="m">{p}</tspan>' if m else p for p, m in zip(pieces, marked, strict=True))


def recorded(clip: MotionClip, model: ObjectModel, size: tuple[int, int] = (340, 250)) -> np.ndarray:
    """The middle of a recording as a picture (H, W, 3): the hands and what they hold, close up."""
    scene = scene_of(clip, model)
    return render(scene.meshes(clip.frames // 2), (-55.0, 25.0), size)


def told(
    clip: MotionClip, model: ObjectModel, sample: Sample, poses: Mapping[str, Tensor], frame: int
) -> list[list[Mesh]]:
    """One panel for each of ``poses``, a colour's name to world poses (L, 99) of ``sample``: the hand at ``frame`` in
    that colour with the object, and the recorded hand, pale."""
    hand, scene = load_hand(SIDES[sample.side]), scene_of(clip, model)
    things = [m for m, t in zip(scene.meshes(frame), scene.tracks, strict=True) if t.name not in clip.hands]

    def body(pose: Tensor, color: str, **look: float) -> Mesh:
        transl, rotations = unpack_pose(pose[frame])
        vertices = hand.from_matrices(rotations, transl, sample.betas).vertices
        return Mesh(vertices.numpy(), hand.faces.numpy(), COLORS[color], **look)

    return [[*things, body(sample.pose, "skin", opacity=0.4), body(pose, color)] for color, pose in poses.items()]
