"""The denoiser's forward pass, laid open: who attends to whom, what each line makes, what comes out, and a poster.

B batch, L frames, C condition tokens, S = C + L tokens, D width, H heads, N blocks, W numbers of one token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hoi_lib.conditions import Conditions
from hoi_lib.denoiser import Denoiser
from hoi_lib.hand import load_hand
from hoi_lib.interaction import posed_hands
from hoi_lib.motion import SIDES, Batch, hand_track, with_hands
from hoi_lib.plots import COLORS, camera, render
from hoi_lib.scene import best_view, scene_of
from hoi_lib.widgets import Bars, Choice, Frame, Picture, Plot, Slider, StaticWidget, static_widget
from hoi_lib.widgets import Line as Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hoi_lib.motion import MotionClip
    from hoi_lib.objects import ObjectModel

WIDE = 8  # a condition token is drawn as wide as this many frames
NOISY, CLEAN = (COLORS["noise"], "#FFFFFF", "#111111"), (COLORS["hand"], "#FFFFFF", COLORS["finger"])


@dataclass(frozen=True)
class Line:
    """One line of a forward pass: its ``code``, the ``shape`` in letters, the ``size`` in numbers, and the ``values``
    (tokens, W) of the first sample. ``prefix`` of them are condition tokens; ``frames``: whether others are there."""

    code: str
    shape: str
    size: tuple[int, ...]
    values: Float[Tensor, "S W"]
    prefix: int
    frames: bool = True


@contextmanager
def watched(modules: dict[str, nn.Module]) -> Iterator[dict[str, tuple[tuple, object]]]:
    """Inside, every call of one of the ``modules`` leaves (arguments, result) under its name."""
    seen: dict[str, tuple[tuple, object]] = {}

    def keep(name: str) -> Callable:
        return lambda _, given, made: seen.__setitem__(name, (given, made))

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def attention_maps(
    denoiser: Denoiser,
    x: Float[Tensor, "B L 99"],
    t: Int[Tensor, "B"],
    conditions: Conditions,
    valid: Bool[Tensor, "B L"] | None = None,
) -> Float[Tensor, "N B H S S"]:
    """How much each token (second last axis) takes from each other (last axis), in every block and head.

    Rows sum to 1; what may not be seen has exactly 0. The weights are those of the forward pass itself: its queries and
    keys, with the softmax that the fused kernel never writes down.
    """
    with watched({str(n): block.attention for n, block in enumerate(denoiser.blocks)}) as seen:
        denoiser(x, t, conditions, valid)
    maps = []
    for n, block in enumerate(denoiser.blocks):
        (tokens, mask), _ = seen[str(n)]
        q, k, _ = block.attention.qkv(tokens).unflatten(-1, (3, block.attention.heads, -1)).permute(2, 0, 3, 1, 4)
        score = q @ k.mT / q.shape[-1] ** 0.5
        maps.append((score if mask is None else score.masked_fill(~mask, -torch.inf)).softmax(-1))
    return torch.stack(maps)


@torch.no_grad()
def trace(
    denoiser: Denoiser,
    x: Float[Tensor, "B L 99"],
    t: Int[Tensor, "B"],
    conditions: Conditions,
    valid: Bool[Tensor, "B L"] | None = None,
) -> list[Line]:
    """Run a denoiser once and keep what each line of its forward pass made; every shape is the tensor's own."""
    parts = {"time": denoiser.time, "hand": denoiser.hand, "merge": denoiser.merge, "head": denoiser.head}
    parts |= {str(n): block for n, block in enumerate(denoiser.blocks)}
    with watched(parts) as seen:
        denoiser(x, t, conditions, valid)
    made = {name: result[0] if name.isdigit() else result for name, (_, result) in seen.items()}
    prefix = torch.cat([made["time"][:, None], conditions.tokens], 1)
    count = prefix.shape[1]
    rows = [
        ("x_t", "(B, L, 99)", x, 0),
        ("hand(x_t)", "(B, L, D)", made["hand"], 0),
        ("conditions.frames", "(B, L, D)", conditions.frames, 0),
        ("frames = merge(both)", "(B, L, D)", made["merge"], 0),
        ("prefix = [time, conditions]", "(B, C, D)", prefix, count),
        ("tokens = [prefix, frames + place]", "(B, S, D)", seen["0"][0][0], count),
        *[(f"tokens = block {n + 1}(tokens)", "(B, S, D)", made[str(n)], count) for n in range(len(denoiser.blocks))],
        ("x̂₀ = head(norm(frames))", "(B, L, 99)", made["head"], 0),
    ]
    return [Line(c, s, tuple(v.shape), v[0], p, v is not prefix) for c, s, v, p in rows]


def stills(
    clip: MotionClip,
    model: ObjectModel,
    side: str,
    pose: Float[Tensor, "L 99"],
    moments: Sequence[int],
    size: tuple[int, int] = (270, 280),
    zoom: float = 0.85,
) -> list[np.ndarray]:
    """Pictures of an estimated hand beside the object of its clip, at some frames.

    ``pose`` are the world's 99 numbers of the hand ``side``. Each moment is seen by an eye that looks at the *true*
    hand and object, so that estimates of one moment can be compared.
    """
    truth = scene_of(clip, model)
    view = best_view(truth)
    played = scene_of(with_hands(clip, {side: hand_track(pose, torch.as_tensor(clip.hands[side].betas))}), model)
    pictures = []
    for frame in moments:
        eye = camera(np.concatenate([mesh.vertices for mesh in truth.meshes(frame)]), view, size, zoom)
        pictures.append(render(played.meshes(frame), size=size, eye=eye, shadow=False))
    return pictures


@torch.no_grad()
def joint_gap(
    denoiser: Denoiser, a: Float[Tensor, "B L 99"], b: Float[Tensor, "B L 99"], batch: Batch
) -> Float[Tensor, "B L"]:
    """Mean distance, in mm, between the 21 joints of two hands that are given as the network's numbers."""
    hands = {name: load_hand(name) for name in SIDES}
    poses = (denoiser.to_world(numbers, batch) for numbers in (a, b))
    ours, theirs = (posed_hands(pose, batch.betas, batch.side, hands, torch.arange(1))[0] for pose in poses)
    return 1000 * (ours - theirs).norm(dim=-1).mean(-1)


def draw_attention(
    maps: Float[Tensor, "N H S S"], heads: Sequence[tuple[int, int]], frames: int, prefix: int, edges: Sequence[int]
) -> Figure:
    """Maps of some (block, head), counted from 1, two in a row; the brightest is five times an even share or more.

    ``frames`` of the frames exist, what is behind them is hatched; dotted lines stand at the frames ``edges``.
    """
    import matplotlib.pyplot as plt

    length = maps.shape[-1] - prefix
    rows = -(-len(heads) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(6.4, 2.8 * rows), sharex=True, sharey=True, squeeze=False)
    for axis, (block, head) in zip(axes.flat, heads, strict=True):
        share = (maps[block - 1, head - 1] * (prefix + frames)).clamp(max=5)  # 1: an even share
        axis.imshow(share, cmap="cividis", extent=(-prefix, length, length, -prefix), interpolation="nearest")
        axis.axvspan(frames, length, facecolor="white", hatch="////", edgecolor="#B5B0A6", lw=0)
        for edge in edges:
            axis.axhline(edge, color="white", lw=1, ls=":")
            axis.axvline(edge, color="white", lw=1, ls=":")
        axis.set(title=f"block {block}, head {head}", ylim=(frames, -prefix), xlim=(-prefix, length))
        axis.grid(False)
    figure.supxlabel("is asked (frame)")
    figure.supylabel("asks (frame)")
    return figure


def attention_widget(
    maps: Float[Tensor, "N H S S"],
    names: Sequence[str],
    asking: Sequence[int],
    pictures: dict[int, np.ndarray],
    alt: str,
    title: str,
) -> StaticWidget:
    """Choose a token, a block and a head, and see what it takes from the frames and from each condition.

    ``names`` are those of the condition tokens, ``asking`` the frames that may be chosen beside them, and ``pictures``
    (h, w, 3) uint8 show some frames: the one nearest to the frame that is asked most stands first.
    """
    prefix, at = len(names), np.array(sorted(pictures))
    rows = {name: k for k, name in enumerate(names)} | {f"frame {k}": prefix + k for k in asking}

    def state(choice: str, block: int, head: int) -> Frame:
        taken = 100 * maps[block - 1, head - 1, rows[choice]].numpy()
        most, top = int(taken[prefix:].argmax()), float(taken[prefix:].max())
        curve = [Curve(range(len(taken) - prefix), taken[prefix:], "hand")]
        if rows[choice] >= prefix:
            here = rows[choice] - prefix
            curve.append(Curve([here, here], [0, top], "finger", "who asks", dash=True))
        plot = Plot(curve, "from the frames", "frame", "share (%)", ylim=(0.0, 1.08 * top))
        bars = Plot([Bars(range(prefix), taken[:prefix], "joint")], "from the conditions", "", "share (%)")
        bars = replace(bars, xnames=tuple(names), ylim=(0.0, max(1.0, 1.08 * float(taken[:prefix].max()))))
        said = f"Block {block}, head {head}: “{choice}” takes {taken[:prefix].sum():.0f} % from the conditions"
        still = Picture(pictures[int(at[np.abs(at - most).argmin()])], "asked most", quality=60)
        return Frame([still, plot, bars], f"{said}; of the frames it asks number {most} most.")

    blocks, heads = (
        Slider(word, range(1, count + 1)) for word, count in zip(("block", "head"), maps.shape, strict=False)
    )
    return static_widget(state, [Choice("token", list(rows)), blocks, heads], alt=alt, title=title)


def poster(
    lines: Sequence[Line], films: Sequence[Sequence[np.ndarray]], frames: int, names: Sequence[str] = ()
) -> Figure:
    """The forward pass as a poster: one strip of real numbers per line, all on one axis of tokens.

    Of the two ``films`` one stands above, what goes in, and one below, what comes out: pictures (h, w, 3) uint8, evenly
    spaced in time. ``frames`` of the first sample's frames exist; the rest is padding and hatched. ``names`` are
    written above the condition tokens.
    """
    import matplotlib.pyplot as plt

    prefix = max(line.prefix for line in lines)
    heights = [3.6, *[1.0] * len(lines), 3.6]
    with plt.rc_context({"figure.constrained_layout.use": False}):
        figure, axes = plt.subplots(len(heights), 1, figsize=(7.2, 0.38 * sum(heights)), height_ratios=heights)
    figure.subplots_adjust(left=0.005, right=0.79, top=0.995, bottom=0.005, hspace=0.62)  # words stand outside the axes
    length = max(len(line.values) - line.prefix for line in lines if line.frames)
    for axis in axes:
        axis.set(xlim=(-WIDE * prefix - 3, length), ylim=(0, 1))
        axis.axis("off")
    for axis, film, words in ((axes[0], films[0], "the noised hand"), (axes[-1], films[1], "its estimate")):
        _film(axis, film, frames)
        axis.text(-WIDE * prefix - 3, 0.5, fill(words, 11), ha="left", va="center", fontsize=12)
    for axis, line in zip(axes[1:-1], lines, strict=True):
        _strip(axis, line, prefix, frames)
    first = next(axis for axis, line in zip(axes[1:-1], lines, strict=True) if line.prefix)
    for k, name in enumerate(names):
        first.text(WIDE * (k + 0.5 - prefix) - 3, 1.15, name, rotation=90, ha="center", va="bottom", fontsize=11)
    axes[1].text((frames + length) / 2, 1.2, "padding", ha="center", va="bottom", fontsize=11)
    return figure


def _film(axis: Axes, film: Sequence[np.ndarray], frames: int) -> None:
    """Pictures in their own proportions, each in the middle of its share of the frames."""
    from matplotlib.patches import Rectangle

    axis.add_patch(Rectangle((0, 0), frames, 1, fc=COLORS["background"], lw=0, zorder=-1))
    box, (first, last) = axis.get_window_extent(), axis.get_xlim()
    tall = (last - first) * box.height / box.width  # frames that are as long as the axis is high
    for k, picture in enumerate(film):
        height, width = picture.shape[0], picture.shape[1]
        size = min(1.0, frames / len(film) / (tall * width / height))
        middle, half = (k + 0.5) * frames / len(film), size * tall * width / height / 2
        extent = (middle - half, middle + half, 0.5 - size / 2, 0.5 + size / 2)
        axis.imshow(picture, extent=extent, aspect="auto", interpolation="lanczos")
    axis.set(xlim=(first, last), ylim=(0, 1))


def _strip(axis: Axes, line: Line, prefix: int, frames: int) -> None:
    """One line: its code above, its numbers, its shape to the right."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    colors = LinearSegmentedColormap.from_list("poster", NOISY if line.code == "x_t" else CLEAN)
    values = line.values.detach().cpu()
    values = (values / values.std().clamp(min=1e-6)).T
    look = {"cmap": colors, "vmin": -2.2, "vmax": 2.2, "aspect": "auto", "interpolation": "nearest"}
    if line.prefix:
        axis.imshow(values[:, : line.prefix], extent=(-WIDE * prefix - 3, -3, 0, 1), **look)
    if line.frames:
        length = values.shape[1] - line.prefix
        axis.imshow(values[:, line.prefix : line.prefix + frames], extent=(0, frames, 0, 1), **look)
        if length > frames:
            axis.add_patch(Rectangle((frames, 0), length - frames, 1, fc="#F3F1EC", ec="#B5B0A6", hatch="////", lw=0))
    axis.set(xlim=(-WIDE * prefix - 3, axis.get_xlim()[1]), ylim=(0, 1))
    left, right = 0 if not (line.prefix and line.frames) else -WIDE * prefix - 3, axis.get_xlim()[1] + 3
    axis.text(left, 1.06, line.code, ha="left", va="bottom", family="monospace", fontsize=11)
    size = "(" + ", ".join(map(str, line.size)) + ")"
    axis.text(right, 1.06, line.shape, ha="left", va="bottom", family="monospace", fontsize=11)
    axis.text(right, 0.5, size, ha="left", va="center", family="monospace", fontsize=11, color=COLORS["noise"])
