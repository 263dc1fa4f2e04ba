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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hoi_lib.objects import ObjectModel

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
    vertices, faces = trimesh.remesh.subdivide_to_size(model.vertices, model.faces, size / 40)
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
