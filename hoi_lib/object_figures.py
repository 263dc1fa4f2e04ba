"""Figures of the object encoder: which points win the maximum, what a choice of points leaves bare, other axes.

B batch, P points of an object, W channels of a point. Metres, the object's frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hoi_lib import plots
from hoi_lib.drawables import CLAY, Mesh
from hoi_lib.motion import Sample, pack_object, unpack_object
from hoi_lib.pointnet import DECIMETRES, PointNet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hoi_lib.motion import MotionClip
    from hoi_lib.objects import ObjectModel
    from hoi_lib.widgets import StaticWidget

LOOKS = ((1, 2, 0.0085), (3, 5, 0.0125), (6, 10**6, 0.018))  # wins from, to, radius of the dot per metre of the object


class Cloud(NamedTuple):
    """What an encoder is given of B objects at rest: ``points`` and ``normals`` (B, P, 3), ``part`` (B, P), 0 or 1,
    and ``hinge`` (B, 6), a point on it and its axis, zeros where there is none."""

    points: Float[Tensor, "B P 3"]
    normals: Float[Tensor, "B P 3"]
    part: Int[Tensor, "B P"]
    hinge: Float[Tensor, "B 6"]


def cloud_of(*models: ObjectModel, count: int = 1024) -> Cloud:
    """The first ``count`` points of each object's farthest-point order, as one batch."""
    names = ("points", "normals", "point_part")
    framed = [torch.from_numpy(np.stack([getattr(m, name)[:count] for m in models])) for name in names]
    return Cloud(*framed, torch.from_numpy(np.stack([m.hinge_numbers() for m in models])))


def turned(cloud: Cloud, turn: Float[Tensor, "3 3"]) -> Cloud:
    """The same objects turned by a rotation about the origin of their frame, normals and hinges with them."""
    points, normals, part, hinge = cloud
    return Cloud(points @ turn.T, normals @ turn.T, part, torch.cat([hinge[:, :3] @ turn.T, hinge[:, 3:] @ turn.T], 1))


def other_axes(sample: Sample, turn: Float[Tensor, "3 3"]) -> Sample:
    """The same scene, had the object's file been written in axes turned by ``turn``.

    Points, normals and hinge are turned, and the object's rotation is ``R turnᵀ``: every point stays where it was in
    the world.
    """
    points, normals, part, hinge = turned(
        Cloud(sample.points[None], sample.normals[None], sample.part[None], sample.hinge[None]), turn
    )
    transl, rotation, angle = unpack_object(sample.object_pose)
    object_pose = pack_object(transl, rotation @ turn.T, angle)
    return replace(sample, points=points[0], normals=normals[0], hinge=hinge[0], object_pose=object_pose)


def wins(features: Float[Tensor, "P W"]) -> Int[Tensor, "P"]:
    """In how many channels each point has the largest value; the first of several equal ones counts."""
    return torch.bincount(features.argmax(0), minlength=len(features))


def scored(model: ObjectModel, points: Float[Tensor, "P 3"], won: Int[Tensor, "P"]) -> list[Mesh]:
    """The object with a dot at each of ``points``: small and grey where it wins nothing, else blue, and the larger the
    more channels it has ``won``."""
    size = float(np.linalg.norm(np.ptp(model.vertices, axis=0)))
    meshes = [Mesh(model.vertices, model.faces, CLAY)]
    if bool((won == 0).any()):
        meshes.append(plots.dots(points[won == 0].numpy(), 0.005 * size, plots.COLORS["noise"]))
    for low, high, radius in LOOKS:
        on = (won >= low) & (won <= high)
        if bool(on.any()):
            meshes.append(plots.dots(points[on].numpy(), radius * size, plots.COLORS["hand"]))
    return meshes


def surface_points(model: ObjectModel, count: int = 8000, seed: int = 0) -> Float[Tensor, "count 3"]:
    """Points drawn evenly at random from the object's surface: any place is as likely as any other."""
    rng = np.random.default_rng(seed)
    a, b, c = (model.vertices[model.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(area), count, p=area / area.sum())
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return torch.from_numpy(a[face] + u * (b - a)[face] + v * (c - a)[face]).float()


def bare(model: ObjectModel, points: Float[Tensor, "P 3"], full: float) -> list[Mesh]:
    """The object painted by how far each place is from the nearest of ``points``: pale at 0, deep at ``full`` metres
    and beyond; the points are dark dots."""
    import trimesh
    from matplotlib.colors import to_rgb

    size = float(np.linalg.norm(np.ptp(model.vertices, axis=0)))
    vertices, faces = trimesh.remesh.subdivide_to_size(model.vertices, model.faces, size / 30)
    gap = torch.cdist(torch.from_numpy(vertices).float(), points).amin(1)
    share = (gap / full).clamp(max=1).square()[:, None].numpy()
    tones = (1 - share) * np.array(to_rgb("#E9E4D9")) + share * np.array(to_rgb(plots.COLORS["penetration"]))
    dark = plots.dots(points.numpy(), 0.013 * size, plots.COLORS["ink"])
    return [Mesh(vertices, faces, vertex_colors=tones), dark]


def coverage_figure(
    model: ObjectModel,
    choices: Mapping[str, Float[Tensor, "P 3"]],
    surface: Float[Tensor, "N 3"],
    count: int,
    counts: Sequence[int],
    view: str | tuple = "three_quarter",
) -> Figure:
    """Two choices of points on an object, painted where they leave it bare, above the radius of the largest bare patch
    over the number of points. ``choices`` maps two names to points in order; the pictures show the first ``count``."""
    import matplotlib.pyplot as plt

    gaps = {name: [_hole(surface, points[:n]) for n in counts] for name, points in choices.items()}
    full = max(_hole(surface, points[:count]) for points in choices.values())
    figure = plt.figure(figsize=(6.2, 6.0))
    grid = figure.add_gridspec(2, 2, height_ratios=(1.25, 1))
    curve, eye = figure.add_subplot(grid[1, :]), plots.camera(model.vertices, view, (440, 440))
    for k, (name, look) in enumerate(zip(choices, (("penetration", "s--"), ("hand", "o-")), strict=True)):
        axis = figure.add_subplot(grid[0, k])
        axis.imshow(plots.render(bare(model, choices[name][:count], full), size=(440, 440), eye=eye))
        axis.set_title(f"{name}: {1000 * _hole(surface, choices[name][:count]):.0f} mm")
        axis.axis("off")
        curve.plot(counts, 1000 * torch.tensor(gaps[name]), look[1], color=plots.COLORS[look[0]], ms=6, label=name)
    curve.set(xscale="log", xlabel="number of points", ylabel="largest bare patch (mm)", ylim=(0, None))
    curve.set_xticks(counts, [str(n) for n in counts])
    curve.minorticks_off()
    curve.legend()
    return figure


def _hole(surface: Float[Tensor, "N 3"], points: Float[Tensor, "P 3"]) -> float:
    return float(torch.cdist(surface, points).amin(1).max())


def dropping_widget(
    encoder: PointNet,
    model: ObjectModel,
    cloud: Cloud,
    features: Float[Tensor, "P W"],
    apart: float,
    left: Sequence[int],
) -> StaticWidget:
    """Points of one object (a cloud of one) are taken away in three orders: how far does its token move?

    ``features`` are the channels of its points and ``apart`` the distance that counts as 1; ``left`` are the numbers
    of points to show. Centre, radius and hinge stay those of the whole cloud.
    """
    from hoi_lib.widgets import Choice, Frame, Line, Picture, Plot, Points, Slider, static_widget

    won, points = wins(features), cloud.points[0]
    losers_first = won.argsort(descending=True, stable=True)
    chance = torch.randperm(len(won), generator=torch.Generator().manual_seed(0))
    orders = {"losers first": losers_first, "at random": chance, "winners first": losers_first.flip(0)}
    moves = {name: _moves(encoder, cloud, features, order, left) / apart for name, order in orders.items()}
    looks = {"losers first": ("hand", False), "at random": ("noise", True), "winners first": ("penetration", False)}
    eye = plots.camera(model.vertices, "three_quarter", (300, 280))

    def state(name: str, n: int) -> Frame:
        keep, here = orders[name][:n], float(moves[name][list(left).index(n)])
        picture = plots.render(scored(model, points[keep], won[keep]), size=(300, 280), eye=eye)
        curves = [Line(left, moves[k], color, k, dash=dash) for k, (color, dash) in looks.items()]
        plot = Plot([*curves, Points([n], [here], "ink", size=6.0)], xlabel="points left", ylabel="move of the token")
        words = f"{n} points left, {name}: the token has moved by {here:.2f}, where 1 is another kind of object."
        return Frame([Picture(picture, quality=55), plot], words)

    return static_widget(
        state,
        [Choice("drop", list(orders)), Slider("points left", list(left), "{}", play=True, interval=700)],
        alt="An object with fewer and fewer dots, and how far its token moves: not at all until the losers are used "
        "up, steadily at random, and at once if the winners go first.",
        title="How many points is a shape?",
    )


@torch.no_grad()
def _moves(encoder: PointNet, cloud: Cloud, features: Tensor, order: Tensor, left: Sequence[int]) -> Tensor:
    """How far the token is from that of all points when only the first few of ``order`` are read."""
    points, hinge = cloud.points[0], cloud.hinge[0]
    centre = points.mean(0)
    radius = (points - centre).norm(dim=-1).amax(0, keepdim=True)
    around = torch.cat([DECIMETRES * torch.cat([centre, radius, hinge[:3]]), hinge[3:]])
    most = torch.stack([features.amax(0), *(features[order[:n]].amax(0) for n in left)])
    tokens = encoder.whole(torch.cat([most, around.expand(len(most), -1)], -1))
    return (tokens[1:] - tokens[0]).norm(dim=-1)


def turning_figure(angles: Float[Tensor, "A"], change: Float[Tensor, "A N"], names: Sequence[str]) -> Figure:
    """How far tokens move when objects are turned, one curve for each of at most five."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5.8, 3.7))
    colors, lines = ("noise", "contact", "hand", "finger", "penetration"), ("o:", "s-.", "D-", "^--", "v-")
    for k, name in enumerate(names):
        axis.plot(angles, change[:, k], lines[k], color=plots.COLORS[colors[k]], ms=5, label=name)
    axis.axhline(1, color=plots.COLORS["truth"], lw=1)
    axis.text(2, 1.05, "another kind of object", fontsize=11)
    axis.set(xlabel="turned about the vertical by (degrees)", ylabel="move of the token", ylim=(0, None))
    axis.set_xticks([0, 45, 90, 135, 180])
    axis.legend(fontsize=11)
    return figure


def axes_figure(clip: MotionClip, model: ObjectModel, sample: Sample, poses: Mapping[str, Tensor]) -> Figure:
    """Hands (L, 99) beside the object of a clip at two moments of contact, one column each; the first is the truth.

    The titles of the others say how far, in mm, their joints are from it in contact.
    """
    from hoi_lib.forward_figures import posed_hands, stills
    from hoi_lib.hand import load_hand
    from hoi_lib.motion import SIDES

    held = sample.contact.nonzero()[:, 0]
    moments = [int(held[int(share * (len(held) - 1))]) for share in (0.05, 0.5)]
    films = [stills(clip, model, SIDES[sample.side], pose, moments, (300, 300)) for pose in poses.values()]
    hands, who = {name: load_hand(name) for name in SIDES}, torch.tensor([sample.side])
    joints = [posed_hands(pose[None], sample.betas[None], who, hands, torch.arange(1))[0][0] for pose in poses.values()]
    gaps = [1000 * float((j - joints[0]).norm(dim=-1)[held].mean()) for j in joints]
    titles = [f"{name}: {gap:.0f} mm" if k else name for k, (name, gap) in enumerate(zip(poses, gaps, strict=True))]
    rows = [film[k] for k in range(len(moments)) for film in films]
    return plots.show(rows, titles + [""] * (len(rows) - len(titles)), columns=len(films), size=2.2)


def told_figure(missed: Mapping[str, Sequence[float]], names: Sequence[str]) -> Figure:
    """Errors in mm, one row for each of ``names`` and one mark for each of three things that a network was told."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5.8, 3.9))
    for name, mark, color in zip(missed, "os^", ("truth", "penetration", "hand"), strict=True):
        axis.plot(missed[name], range(len(names)), mark, color=plots.COLORS[color], ms=9, label=name, alpha=0.85)
    axis.set(yticks=range(len(names)), yticklabels=names, xlabel="joints off by (mm)", xlim=(0, None))
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.legend(loc="upper center", bbox_to_anchor=(0.4, 1.36), fontsize=11)
    return figure


def control_figure(right: Mapping[tuple[str, str], float], chance: float) -> Figure:
    """Shares told right, ``right[network, test]``, as bars grouped by test."""
    import matplotlib.pyplot as plt

    networks, tests = (list(dict.fromkeys(key[k] for key in right)) for k in (0, 1))
    figure, axis = plt.subplots(figsize=(5.8, 3.6))
    for k, (name, color, hatch) in enumerate(
        zip(networks, ("hand", "finger", "penetration"), ("", "..", "///"), strict=False)
    ):
        places, heights = [x + 0.27 * (k - 1) for x in range(len(tests))], [right[name, test] for test in tests]
        axis.bar(places, heights, 0.25, color=plots.COLORS[color], hatch=hatch, edgecolor="white", label=name)
        for x, height in zip(places, heights, strict=True):
            axis.text(x, height + 0.02, f"{height:.0%}", ha="center", fontsize=10)
    axis.axhline(chance, color=plots.COLORS["noise"], ls=":")
    axis.set(xticks=range(len(tests)), xticklabels=tests, ylabel="kinds told right", ylim=(0, 1.1), yticks=[0, 0.5, 1])
    axis.grid(False)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 1.42), fontsize=11)
    return figure
