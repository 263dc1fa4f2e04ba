"""Figures of the losses between hand and object: arrows on the skin, what touches, a fingertip, a ball through a hand.

V vertices, P object points, F faces. Metres, unless a name says millimetres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hoi_lib import plots
from hoi_lib.drawables import Mesh, sphere
from hoi_lib.hand import load_hand, named_pose
from hoi_lib.interaction import contact_sets, fields_between, skin_normals
from hoi_lib.losses import contact_loss, distance_loss, penetration_loss
from hoi_lib.metrics import spread_vertices

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BALL = 0.02  # m, radius of the ball that goes through the hand
ONE = torch.ones(1, 1, dtype=torch.bool)


def push_arrows(
    vertices: Float[Tensor, "V 3"],
    push: Float[Tensor, "V 3"],
    color: str,
    spots: int = 220,
    longest: float = 0.036,
    least: float = 0.1,
) -> Mesh:
    """A field of pushes as arrows: those around each of ``spots`` vertices are added up, the longest sum is drawn
    ``longest`` metres long, and sums below ``least`` of it are left out. A field of zeros gives one point."""
    skin = vertices.detach().numpy()
    chosen, owner = spread_vertices(skin, spots)
    total = torch.zeros(len(chosen), 3, dtype=push.dtype).index_add(0, torch.from_numpy(owner), push)
    size = total.norm(dim=-1)
    on = size >= least * size.max()
    vectors = longest * total[on] / size.max().clamp(min=1e-12)
    return plots.arrows(skin[chosen][on.numpy()], vectors.numpy(), 0.0011, color)


def touched(
    vertices: Float[Tensor, "V 3"],
    faces: np.ndarray,
    points: Float[Tensor, "P 3"],
    on_skin: Bool[Tensor, "V"],
    on_object: Bool[Tensor, "P"],
) -> list[Mesh]:
    """A hand whose skin is painted where ``on_skin``, and dots at the object's points where ``on_object``."""
    from matplotlib.colors import to_rgb

    tones = np.array([to_rgb("#EADFD6"), to_rgb(plots.COLORS["contact"])])
    skin = Mesh(vertices.detach().numpy(), faces, vertex_colors=tones[on_skin.long().numpy()])
    return [skin, *marks(points, {"contact": on_object}, 0.0014)]


def marks(points: Float[Tensor, "P 3"], groups: Mapping[str, Bool[Tensor, "P"]], radius: float = 0.0016) -> list[Mesh]:
    """Dots at ``points``, one mesh per group that has any, in the colour of the book that names the group."""
    return [plots.dots(points[on].numpy(), radius, plots.COLORS[name]) for name, on in groups.items() if on.any()]


def fingertip(radius: float = 0.008, count: int = 2500) -> tuple[Float[Tensor, "1 1 V 3"], Float[Tensor, "1 1 V 3"]]:
    """A ball of evenly spread vertices that rests on the plane z = 0, and its outward unit normals."""
    turn = (torch.arange(count) + 0.5) / count
    height, angle = 1 - 2 * turn, turn * count * torch.pi * (1 + 5**0.5)
    wide = (1 - height**2).sqrt()
    outward = torch.stack([wide * angle.cos(), wide * angle.sin(), height], -1)[None, None]
    return radius * outward + torch.tensor([0.0, 0.0, radius]), outward


def table(half: float = 0.016, step: float = 0.0006) -> Float[Tensor, "1 1 P 3"]:
    """Points of the plane z = 0 on a square grid around the origin."""
    along = torch.arange(-half, half + step / 2, step)
    return torch.cartesian_prod(along, along, torch.zeros(1))[None, None]


def fingertip_figure(depths: Tensor, pull: Tensor, push: Tensor, radius: float = 0.008) -> Figure:
    """The fingertip on the table, at rest and where ``pull`` is least, beside both curves and their sum over depth."""
    import matplotlib.pyplot as plt

    figure, (drawing, axis) = plt.subplots(1, 2, figsize=(7.2, 3.6), width_ratios=(2, 3))
    _sunk(drawing, float(depths[pull.argmin()]), radius)
    curves = {"contact": (pull, "contact", "--"), "penetration": (push, "penetration", "-.")}
    curves["both, equal weights"] = (pull + push, "truth", "-")
    for name, (curve, color, line) in curves.items():
        axis.plot(1000 * depths, 1000 * curve, line, color=plots.COLORS[color])
        end, up = (1000 * float(depths[-1]), 1000 * float(curve[-1])), -24 if name == "contact" else 7
        place = {"ha": "right", "va": "top" if up < 0 else "bottom", "textcoords": "offset points"}
        axis.annotate(name, end, (0, up), **place)
        least = curve.argmin()
        axis.plot(1000 * depths[least], 1000 * curve[least], "o", color=plots.COLORS[color], ms=8, clip_on=False)
    axis.set(xlabel="fingertip inside the table by (mm)", ylabel="loss (mm)", ylim=(0, 13.5))
    return figure


def _sunk(axis: Axes, depth: float, radius: float) -> None:
    """The outline of a ball on a table, and the same ball ``depth`` metres lower."""
    around = np.linspace(0, 2 * np.pi, 200)
    for s, line, color, words in ((0.0, "-", "truth", "the truth"), (depth, "--", "contact", "where the pull ends")):
        ring = radius * np.cos(around), radius * (1 + np.sin(around)) - s
        axis.plot(1000 * ring[0], 1000 * ring[1], line, color=plots.COLORS[color], label=words)
    axis.axhspan(-7, 0, color=plots.COLORS["object"])
    axis.axhline(10, color=plots.COLORS["noise"], lw=1, ls=":")
    axis.text(-15.5, 10.4, "τ")
    axis.set(xlim=(-16, 16), ylim=(-7, 23), aspect="equal", xlabel="mm", ylabel="height (mm)")
    axis.legend(loc="upper center", fontsize=11)
    axis.grid(False)


class Passage(NamedTuple):
    """A ball on its ``way`` (n,) in mm through an open hand: one picture per place, and the losses in mm, (n,) each:
    "distance", "contact, judged by the truth", "contact, judged by the estimate", "penetration"."""

    way: list[int]
    pictures: list[np.ndarray]
    losses: dict[str, list[float]]


def ball_through_hand(way: Sequence[int], size: tuple[int, int] = (300, 280)) -> Passage:
    """Move a ball through a relaxed right hand along the palm's normal; at 0, the truth, it lies on the palm."""
    hand = load_hand("right")
    skin = hand(named_pose("relaxed")).vertices[None, None]
    normals = skin_normals(skin, torch.tensor([1]), {"right": hand})
    ball = BALL * fingertip(count=400)[1]
    palm, out = (x[0, 0, hand.pads["palm"]].mean(0) for x in (skin, normals))
    out = torch.nn.functional.normalize(out, dim=0)
    start = palm + out * next(s for s in torch.arange(0.0, 0.06, 0.0005) if not _inside(skin, ball + palm + s * out))
    truth = fields_between(ball + start, skin)
    names = ("distance", "contact, judged by the truth", "contact, judged by the estimate", "penetration")
    losses, pictures = {name: [] for name in names}, []
    eye = plots.camera(
        torch.cat([skin[0, 0], *((ball + start - s / 1000 * out)[0, 0] for s in (way[0], way[-1]))]).numpy(),
        (62.0, 24.0),
        size,
    )
    for mm in way:
        there = ball + start - mm / 1000 * out
        near = fields_between(there, skin)
        values = [distance_loss(skin, there, truth, ONE, near=near)]
        values += [contact_loss(skin, there, contact_sets(judge), ONE, near=near) for judge in (truth, near)]
        values.append(penetration_loss(skin, normals, there, ONE, near=near))
        for name, value in zip(names, values, strict=True):
            losses[name].append(1000 * float(value))
        meshes = _ball_and_hand(skin, there, hand.faces.numpy())
        pictures.append(plots.render(meshes, size=size, eye=eye, shadow=False, samples=2))
    return Passage(list(way), pictures, losses)


def _inside(skin: Float[Tensor, "1 1 V 3"], points: Float[Tensor, "1 1 P 3"]) -> bool:
    """True if any point lies behind its nearest vertex."""
    return bool(_behind(skin, points).any())


def _behind(skin: Float[Tensor, "1 1 V 3"], points: Float[Tensor, "1 1 P 3"]) -> Bool[Tensor, "P"]:
    normals = skin_normals(skin, torch.tensor([1]), {"right": load_hand("right")})[0, 0]
    vertex = fields_between(points, skin).vertex[0, 0]
    return ((points[0, 0] - skin[0, 0, vertex]) * normals[vertex]).sum(-1) < 0


def _ball_and_hand(skin: Float[Tensor, "1 1 V 3"], ball: Float[Tensor, "1 1 P 3"], faces: np.ndarray) -> list[Mesh]:
    unit, ball_faces = sphere(3)
    centre = ball[0, 0].mean(0).numpy()
    body = Mesh(BALL * unit + centre, ball_faces, plots.COLORS["object"])
    glass = Mesh(skin[0, 0].numpy(), faces, plots.COLORS["skin"], opacity=0.6)
    return [body, glass, *marks(ball[0, 0], {"penetration": _behind(skin, ball)}, 0.0012)]


def trade_figure(paths: Mapping[str, Sequence[tuple[str, float, float]]], truth: tuple[float, float]) -> Figure:
    """Contact against penetration: ``paths`` maps a label to networks (words, penetration, contact); an arrow leads to
    the last of each from the one before. ``truth`` is a star."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7.2, 3.9))
    looks = (("o", "hand", -16), ("s", "joint", 12))
    for (label, networks), (marker, color, up) in zip(paths.items(), looks, strict=False):
        x, y = [n[1] for n in networks], [n[2] for n in networks]
        axis.plot(x, y, marker, color=plots.COLORS[color], ms=10, label=label, ls="")
        style: dict[str, Any] = {"arrowstyle": "->", "color": plots.COLORS[color], "lw": 1.5}
        style |= {"shrinkA": 8, "shrinkB": 8}
        axis.annotate("", (x[-1], y[-1]), (x[-2], y[-2]), arrowprops=style)
        for k, (words, *place) in enumerate(networks):
            last = k == len(networks) - 1  # its words stand where no arrow comes from
            side: dict[str, Any] = {"ha": "right" if last else "left", "textcoords": "offset points", "fontsize": 11}
            axis.annotate(words, place, (8 if last else 2, up), **side)
    axis.plot(*truth, "*", color=plots.COLORS["truth"], ms=14, label="ground truth", ls="")
    axis.set(xlabel="penetration: share of frames deeper than 1 cm", ylabel="contact ratio", ylim=(0.67, 0.86))
    axis.set_xlim(-0.02, 0.36)
    axis.legend(loc="lower right")
    return figure
