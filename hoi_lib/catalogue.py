"""The procedural objects: twelve everyday things in three sizes, and endless random ones.

Each maker returns a :class:`Solid`: one watertight surface per part, in metres, in the object's own frame (origin in
the middle, z up as the thing stands or lies on a table, its front towards -y) and, if it opens, its hinge. A hinge
angle of 0 is closed; within the limits the parts never touch. Nothing is loaded from files and no number is random,
except in :func:`random_solid`, which is a function of its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hoi_lib.shapes import (
    Surface,
    circle,
    densify,
    fillet,
    level_set,
    profile_distance,
    round_cone_chain,
    rounded_box_distance,
    rounded_rectangle,
    signed_volume,
    smooth_difference,
    smooth_union,
    sphere,
    superellipse,
    sweep,
)

GAP = 0.0005  # metres left free between two parts, so that they never share a point
SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class Hinge:
    """The axis about which part 1 turns: a point ``origin`` (3,) on it in metres, its unit ``axis`` (3,), and the
    ``limits`` (2,) of the angle in radians. Positive angles turn by the right-hand rule and open the object."""

    origin: np.ndarray
    axis: np.ndarray
    limits: np.ndarray


@dataclass(frozen=True)
class Solid:
    """Watertight surfaces, one per part (part 0 is the base, part 1 moves), and the hinge that joins them."""

    parts: tuple[Surface, ...]
    hinge: Hinge | None = None


def ball(diameter: float) -> Solid:
    """A ball."""
    return Solid((sphere(diameter / 2),))


def box(width: float, depth: float, height: float) -> Solid:
    """A closed carton with softly rounded edges."""
    outline = rounded_rectangle(width, depth, 0.004, steps=4, spacing=0.012)
    return Solid((sweep(outline, _slab(-height / 2, height / 2, 0.004, 0.012)),))


def can(diameter: float, height: float) -> Solid:
    """A drinks can: chamfered shoulder and foot, a raised rim round the sunken lid."""
    h, rim = height / 2, 0.0035
    profile = fillet(
        [
            (0.012, -h + 0.004), (0.009, -h), (0.006, -h), (0, -h + 0.008), (0, h - 0.011),
            (0.005, h - 0.0025), (0.005, h), (0.005 + rim, h), (0.005 + rim + 0.001, h - 0.005), (0.014, h - 0.005),
        ],
        [0.001, 0.001, 0.004, 0.006, 0.001, 0.001, 0.001, 0.001],
    )  # fmt: skip
    return Solid((sweep(circle(diameter / 2), densify(profile, 0.012)),))


def bottle(diameter: float, height: float) -> Solid:
    """A bottle with a rounded shoulder, a slender neck and a cap."""
    r, h = diameter / 2, height / 2
    neck, cap = r - 0.0125, r - 0.015
    shoulder = h - 0.27 * height
    profile = fillet(
        [
            (0.35 * r, -h), (0, -h), (0, shoulder), (neck, h - 0.105 * height), (neck, h - 0.026),
            (cap - 0.001, h - 0.0245), (cap, h), (r - 0.006, h),
        ],
        [0.006, 0.45 * diameter, 0.035, 0.0005, 0.001, 0.002],
        steps=8,
    )  # fmt: skip
    return Solid((sweep(circle(r), densify(profile, 0.014)),))


def mug(diameter: float, height: float) -> Solid:
    """A hollow mug with a handle towards +x that grows out of its wall."""
    r, h, wall = diameter / 2, height / 2, 0.0042
    inner, floor = r - wall, -h + 0.006
    cup = fillet(
        [(0, -h), (r, -h), (r, h), (inner, h), (inner, floor), (0, floor)], [0.006, 0.0019, 0.0019, 0.008], steps=8
    )
    polygon = np.concatenate([cup, cup[:1]])
    turn = np.linspace(-0.5, 0.5, 25) * np.pi * 1.02
    bend_x, bend_z = 0.031, 0.33 * height
    centres = np.stack([r + 0.0005 + bend_x * np.maximum(np.cos(turn), 0) ** 0.8, 0 * turn, bend_z * np.sin(turn)], -1)
    centres = centres[np.isfinite(centres).all(-1)]
    handle_radii = 0.0052 + 0.0016 * np.abs(np.linspace(-1, 1, len(centres))) ** 3

    def distance(p: np.ndarray) -> np.ndarray:
        radial = np.stack([np.hypot(p[:, 0], p[:, 1]), p[:, 2]], -1)
        body = profile_distance(radial, polygon)
        flat = p * np.array([1, 0.72, 1])  # a handle a little wider than thick
        handle = round_cone_chain(flat, centres, handle_radii)
        hollow = inner - 0.0006 - radial[:, 0]
        handle = np.maximum(handle, hollow)
        return smooth_union([body, handle], 0.006)

    low, high = (-r - 0.004, -r - 0.004, -h - 0.004), (r + bend_x + 0.014, r + 0.004, h + 0.004)
    return Solid((level_set(distance, low, high, 0.0016, 5000),))


def bowl(diameter: float, height: float) -> Solid:
    """A hollow round bowl on a foot ring."""
    r, h, wall = diameter / 2, height / 2, 0.004
    t = np.linspace(0.22, 1, 14)[:, None]
    curve = np.column_stack(
        [np.sin(t * np.pi / 2) ** 0.9 * r, -h + 0.005 + (1 - np.cos(t * np.pi / 2)) * (height - 0.005)]
    )
    step = np.gradient(curve, axis=0)
    inward = np.column_stack([-step[:, 1], step[:, 0]]) / np.linalg.norm(step, axis=1, keepdims=True)
    inside = (curve + wall * inward)[::-1]
    inside[0] = curve[-1] - [wall, 0]
    foot = 0.42 * r
    outline = fillet(
        [
            (foot - 0.008, -h + 0.002),
            (foot - 0.005, -h),
            (foot, -h),
            *curve[2:],
            *inside[:-1],
            (0.2 * r, inside[-1, 1]),
        ],
        [0.0005, 0.001, 0.002, *[0] * (len(curve) - 4), 0.0018, 0.0018, *[0] * (len(inside) - 2)],
    )
    return Solid((sweep(circle(r), np.column_stack([r - outline[:, 0], outline[:, 1]])),))


def hammer(length: float, head: float) -> Solid:
    """A claw hammer lying on its side: handle along x, head at +x, striking face towards -y."""
    x0, x1 = -length / 2, length / 2 - 0.014
    grip = np.array([x0 + 0.012, x0 + 0.035, x0 + 0.42 * length, x0 + 0.6 * length, x1 + 0.01])
    radii = np.array([0.0145, 0.0135, 0.0155, 0.0105, 0.0105]) * head / 0.1
    centres = np.column_stack([grip, np.zeros((5, 2))])
    s = head / 0.1
    claw = np.array([[0, 0.012, 0], [-0.002, 0.03, 0], [-0.010, 0.046, 0], [-0.022, 0.058, 0]]) * s + [x1, 0, 0]

    def distance(p: np.ndarray) -> np.ndarray:
        handle = round_cone_chain(p * [1, 1, 1.22], centres, radii)
        q = p - [x1, 0, 0]
        block = rounded_box_distance(q - np.array([0, -0.004, 0]) * s, np.array([0.0135, 0.024, 0.0135]) * s, 0.004 * s)
        lengthwise = np.abs(q[:, 1] + 0.033 * s) - 0.012 * s
        across = np.hypot(q[:, 0], q[:, 2]) - 0.0145 * s
        outside = np.maximum(np.stack([lengthwise, across], -1) + 0.0025 * s, 0)
        face = (
            np.linalg.norm(outside, axis=-1) - 0.0025 * s + np.minimum(np.maximum(lengthwise, across) + 0.0025 * s, 0)
        )
        tail = round_cone_chain(p * [1, 1, 0.8], claw, np.array([0.0115, 0.0085, 0.006, 0.0035]) * s)
        notch = np.abs(p[:, 2]) - np.clip((q[:, 1] - 0.03 * s) * 0.16, -0.01, 0.004)
        tail = smooth_difference(tail, notch, 0.001)
        return smooth_union([smooth_union([block, face, tail], 0.005 * s), handle], 0.003 * s)

    low, high = (x0 - 0.006, -0.05 * s, -0.02 * s), (x1 + 0.02 * s, 0.068 * s, 0.02 * s)
    return _centred(Solid((level_set(distance, low, high, 0.0013, 4000),)))


def phone(width: float, length: float, thickness: float) -> Solid:
    """A phone lying on its back: round corners, softly rounded edges, the screen a hair below the rim."""
    h = thickness / 2
    outline = rounded_rectangle(width, length, 0.011, steps=8, spacing=0.009)
    profile = fillet(
        [(0.012, -h), (0, -h), (0, h), (0.0022, h), (0.0024, h - 0.0003), (0.012, h - 0.0003)],
        [0.0028, 0.0018, 0.0001, 0.0001],
    )
    return Solid((sweep(outline, profile, cap_rings=4),))


def laptop(width: float, depth: float, thickness: float) -> Solid:
    """A laptop: a base with a sunken keyboard field and a lid with a sunken screen, hinged at the back edge."""
    lid = 0.4 * thickness
    base_top = -thickness / 2 + thickness - lid - GAP
    radius = lid / 2
    hinge = Hinge(
        np.array([0.0, depth / 2 - radius, base_top + GAP + radius]), np.array([-1.0, 0, 0]), np.array([0, 2.3])
    )
    outline = rounded_rectangle(width, depth, 0.012, steps=5, spacing=0.03)
    inner = 0.022
    base = fillet(
        [
            (0.016, -thickness / 2), (0, -thickness / 2 + 0.001), (0, base_top), (inner, base_top),
            (inner + 0.0006, base_top - 0.0012), (inner + 0.012, base_top - 0.0012),
        ],
        [0.003, 0.001, 0.0002, 0.0002],
    )  # fmt: skip
    screen = fillet(
        [
            (inner / 2 + 0.012, base_top + GAP + 0.0008), (inner / 2 + 0.0006, base_top + GAP + 0.0008),
            (inner / 2, base_top + GAP), (0, base_top + GAP), (0, thickness / 2), (0.016, thickness / 2),
        ],
        [0.0002, 0.0002, radius * 0.98, radius * 0.98],
    )  # fmt: skip
    return Solid((sweep(outline, base, cap_rings=4), sweep(outline, screen, cap_rings=4)), hinge)


def lidded_box(width: float, depth: float, height: float) -> Solid:
    """A hollow chest with a thick lid, hinged along the back."""
    wall, lid = 0.005, max(0.012, 0.2 * height)
    top = height / 2 - lid - GAP
    outline = rounded_rectangle(width, depth, 0.008, steps=5, spacing=0.02)
    floor = -height / 2 + wall
    base = fillet(
        [(0.012, -height / 2), (0, -height / 2), (0, top), (wall, top), (wall, floor), (0.014, floor)],
        [0.004, 0.0015, 0.0015, 0.003],
        steps=4,
    )
    under = top + GAP
    cap = fillet(
        [
            (0.016, under + lid - wall), (wall, under + lid - wall), (wall, under), (0, under),
            (0, height / 2), (0.016, height / 2),
        ],
        [0.003, 0.0015, 0.0015, 0.006],
        steps=4,
    )  # fmt: skip
    hinge = Hinge(np.array([0, depth / 2, top + GAP / 2]), np.array([-1.0, 0, 0]), np.array([0, 1.9]))
    return Solid((sweep(outline, densify(base, 0.02)), sweep(outline, densify(cap, 0.02))), hinge)


def notebook(width: float, length: float, thickness: float) -> Solid:
    """A hardcover notebook that opens in the middle and lies flat: each half is a cover with its pages."""
    cover = 0.0025
    half = thickness / 2
    outline = rounded_rectangle(width, length, 0.006, steps=4, spacing=0.015)
    page = 0.003
    upper = fillet(
        [(0.014, GAP / 2), (page, GAP / 2), (page, half - cover), (0, half - cover), (0, half), (0.014, half)],
        [0.0006, 0.0002, 0.0005, 0.0009],
        steps=3,
    )
    lower = upper[::-1] * [1, -1]
    hinge = Hinge(np.array([-width / 2, 0, 0]), np.array([0, -1.0, 0]), np.array([0, np.pi]))
    return Solid((sweep(outline, lower, cap_rings=5), sweep(outline, upper, cap_rings=5)), hinge)


def pliers(length: float) -> Solid:
    """Flat-nose pliers lying on the table: jaws towards +x, two handles that cross at the pivot."""
    s = length / 0.18
    thick, pivot = 0.0055 * s, 0.0125 * s
    handle = np.array([[-0.012, -0.009], [-0.026, -0.016], [-0.06, -0.0235], [-0.09, -0.023], [-0.125, -0.017]]) * s
    radii = np.array([0.005, 0.006, 0.0075, 0.0078, 0.0065]) * s
    nose = np.array(
        [[0, GAP / 2], [0.052 * s, GAP / 2], [0.052 * s, 0.0055 * s], [0.012 * s, 0.0125 * s], [0, 0.0125 * s]]
    )

    def half(p: np.ndarray) -> np.ndarray:
        """The half whose jaw is above the x axis and whose pivot plate is the lower one."""
        flat = np.column_stack([handle, np.zeros(5)])
        grip = round_cone_chain(p * [1, 1, 1.1], flat, radii)
        planar = profile_distance(p[:, :2], nose)
        taper = np.clip(1 - p[:, 0] / (0.13 * s), 0.5, 1)
        jaw = np.maximum(planar, np.abs(p[:, 2]) - thick * taper)
        plate = np.maximum(np.hypot(p[:, 0], p[:, 1]) - pivot, np.abs(p[:, 2] + thick / 2) - thick / 2)
        body = smooth_union([smooth_union([jaw, plate], 0.0015 * s), grip], 0.004 * s)
        room = np.maximum(np.hypot(p[:, 0], p[:, 1]) - pivot - 2 * GAP, -p[:, 2] - GAP / 2)
        return smooth_difference(body, room, 0.0008 * s)

    low, high = (-0.14 * s, -0.034 * s, -0.012 * s), (0.056 * s, 0.016 * s, 0.012 * s)
    vertices, faces = level_set(half, low, high, 0.0009 * s, 2200)
    other = vertices * [1, -1, -1]  # half a turn about x: the second half is the first one turned over
    solid = Solid(((vertices, faces), (other, faces)), Hinge(np.zeros(3), np.array([0, 0, -1.0]), np.array([0, 0.5])))
    return _centred(solid)


def _slab(low: float, high: float, radius: float, spacing: float) -> np.ndarray:
    """Profile of a block with both edges rounded."""
    reach = 1.5 * radius
    return densify(fillet([(reach, low), (0, low), (0, high), (reach, high)], [radius, radius]), spacing)


def _centred(solid: Solid) -> Solid:
    """The solid with the middle of its bounding box at the origin."""
    every = np.concatenate([vertices for vertices, _ in solid.parts])
    middle = (every.min(0) + every.max(0)) / 2
    hinge = solid.hinge and Hinge(solid.hinge.origin - middle, solid.hinge.axis, solid.hinge.limits)
    return Solid(tuple((vertices - middle, faces) for vertices, faces in solid.parts), hinge)


# category: maker and its measures in metres, small, medium, large
MAKERS: dict[str, tuple[Callable[..., Solid], tuple[tuple[float, ...], ...]]] = {
    "ball": (ball, ((0.050,), (0.068,), (0.088,))),
    "box": (box, ((0.045, 0.062, 0.085), (0.055, 0.078, 0.110), (0.066, 0.096, 0.145))),
    "can": (can, ((0.053, 0.090), (0.066, 0.116), (0.074, 0.138))),
    "bottle": (bottle, ((0.055, 0.165), (0.064, 0.215), (0.073, 0.255))),
    "mug": (mug, ((0.070, 0.078), (0.080, 0.094), (0.088, 0.106))),
    "bowl": (bowl, ((0.108, 0.045), (0.130, 0.055), (0.152, 0.066))),
    "hammer": (hammer, ((0.235, 0.085), (0.285, 0.1), (0.325, 0.112))),
    "phone": (phone, ((0.064, 0.132, 0.0080), (0.071, 0.147, 0.0085), (0.078, 0.163, 0.0092))),
    "laptop": (laptop, ((0.270, 0.190, 0.0165), (0.305, 0.215, 0.0175), (0.345, 0.240, 0.0190))),
    "lidded_box": (lidded_box, ((0.095, 0.070, 0.055), (0.125, 0.085, 0.070), (0.160, 0.105, 0.090))),
    "notebook": (notebook, ((0.092, 0.140, 0.0140), (0.130, 0.195, 0.0170), (0.160, 0.220, 0.0200))),
    "pliers": (pliers, ((0.150,), (0.180,), (0.205,))),
}


def make(category: str, size: str) -> Solid:
    """The catalogue's object of this category in this size; raises ``KeyError`` for a name it does not have."""
    maker, measures = MAKERS[category]
    return maker(*measures[SIZES.index(size)])


def random_solid(seed: int) -> Solid:
    """A plausible graspable thing that is a function of ``seed``: a lathed vase or a superquadric.

    30–85 mm across and 50–190 mm tall, watertight, centred, with z up. Half of the seeds give a lathe with a smooth
    random profile (every third of them hollow), half a superquadric that may taper or bulge.
    """
    rng = np.random.default_rng([7211, seed])
    solid = _random_lathe(rng) if rng.random() < 0.5 else _random_superquadric(rng)
    assert all(signed_volume(*part) > 0 for part in solid.parts)
    return _centred(solid)


def _random_lathe(rng: np.random.Generator) -> Solid:
    from scipy.interpolate import PchipInterpolator

    height, widest = rng.uniform(0.06, 0.19), rng.uniform(0.016, 0.042)
    knots = rng.uniform(0.45, 1.0, rng.integers(3, 7))
    radii = widest * knots / knots.max()
    z = np.linspace(-height / 2, height / 2, 24)
    radius = PchipInterpolator(np.linspace(-height / 2, height / 2, len(radii)), radii)(z)
    edge = min(0.006, 0.45 * radius.min())
    side = list(zip(radius, z, strict=True))
    inner = [0.0] * (len(side) - 2)
    if rng.random() < 1 / 3 and radius.min() > 0.014:
        wall = 0.0045
        keep = z > -height / 2 + 1.5 * wall
        inside = [(r - wall, h) for r, h in zip(radius[keep], z[keep], strict=True)][::-1]
        points = [(0.4 * radius[0], z[0]), *side, *inside, (0.4 * radius[0], inside[-1][1])]
        radii_of_edges = [edge, *inner, wall * 0.45, wall * 0.45, *[0.0] * (len(inside) - 2), 0.004]
    else:
        points = [(0.4 * radius[0], z[0]), *side, (0.4 * radius[-1], z[-1])]
        radii_of_edges = [edge, *inner, edge]
    profile = fillet(points, radii_of_edges)
    return Solid((sweep(circle(widest), np.column_stack([widest - profile[:, 0], profile[:, 1]])),))


def _random_superquadric(rng: np.random.Generator) -> Solid:
    width, depth, height = rng.uniform(0.034, 0.085), rng.uniform(0.030, 0.075), rng.uniform(0.05, 0.17)
    plan, upright = rng.uniform(2, 7), rng.uniform(2, 8)
    taper, bulge = rng.uniform(-0.3, 0.3), rng.uniform(-0.15, 0.15)
    polar = np.linspace(-np.pi / 2, np.pi / 2, 34)[1:-1]
    c, s = np.cos(polar), np.sin(polar)
    reach = (np.abs(c) ** upright + np.abs(s) ** upright) ** (-1 / upright)
    share, z = reach * c, reach * s
    share = share * (1 + taper * z) * (1 - bulge * np.cos(np.pi * z))
    share /= share.max()
    outline = superellipse(width, depth, plan)(0.0)
    rows = np.stack(
        [np.column_stack([k * outline, np.full(len(outline), height / 2 * h)]) for k, h in zip(share, z, strict=True)]
    )
    from hoi_lib.shapes import loft

    pole = np.array([0, 0, height / 2])
    return Solid((loft(rows, -pole, pole),))
