"""The procedural objects: twelve everyday things in three sizes.

Each maker returns a :class:`Solid`: one watertight surface per part, in metres, in the object's own frame (origin in
the middle, z up as the thing stands or lies on a table, its front towards -y) and, if it opens, its hinge. A hinge
angle of 0 is closed; within the limits the parts never touch. Nothing is read from a file and nothing is random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hoi_lib.shapes import (
    Number,
    Surface,
    block,
    circle,
    cylinder,
    densify,
    fillet,
    hull,
    interpolate,
    rounded_rectangle,
    sphere,
    sweep,
    torus,
    tube,
    union,
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


def ball(diameter: Number) -> Solid:
    """A ball."""
    return Solid((sphere(diameter / 2),))


def box(width: Number, depth: Number, height: Number) -> Solid:
    """A closed carton with softly rounded edges."""
    return Solid((block(width, depth, -height / 2, height / 2, corner=0.004, edge=0.004, spacing=0.012),))


def can(diameter: Number, height: Number) -> Solid:
    """A drinks can: tapered shoulder and foot, a rim round the sunken lid, a tab on it."""
    h = height / 2
    profile = fillet(
        [
            (0.013, -h + 0.004), (0.009, -h), (0.006, -h), (0, -h + 0.008), (0, h - 0.011), (0.005, h - 0.0025),
            (0.005, h), (0.0085, h), (0.0095, h - 0.005), (0.014, h - 0.005),
        ],
        [0.001, 0.001, 0.004, 0.006, 0.001, 0.001, 0.001, 0.001],
    )  # fmt: skip
    body = sweep(circle(diameter / 2), densify(profile, 0.014))
    tab = block(0.014, 0.022, h - 0.0055, h - 0.0034, corner=0.0065, edge=0.0006)
    hole = cylinder(0.0038, h - 0.0045, h, count=16)
    return Solid((body | (tab - hole.moved(y=-0.0045)).moved(y=-0.004),))


def bottle(diameter: Number, height: Number) -> Solid:
    """A bottle with a round shoulder, a slender neck and a screw cap."""
    r, h = diameter / 2, height / 2
    neck, cap, shoulder = r - 0.0125, r - 0.015, h - 0.29 * height - 0.008
    profile = fillet(
        [
            (0.4 * r, -h + 0.003), (0.25 * r, -h), (0, -h), (0, shoulder), (neck, shoulder + 0.16 * height),
            (neck, h - 0.026), (cap - 0.001, h - 0.0245), (cap, h), (r - 0.006, h),
        ],
        [0.003, 0.007, 0.5 * diameter, 0.04, 0.0005, 0.001, 0.002],
    )  # fmt: skip
    return Solid((sweep(circle(r), densify(profile, 0.016)),))


def mug(diameter: Number, height: Number) -> Solid:
    """A hollow mug with a handle towards +x that widens into its wall."""
    r, h, wall = diameter / 2, height / 2, 0.0042
    inner, floor = r - wall, -h + 0.006
    outline = fillet(
        [(0.3 * r, -h + 0.002), (0.62 * r, -h + 0.002), (0.66 * r, -h), (r, -h), (r, h), (inner, h), (inner, floor),
         (0.3 * r, floor)],
        [0.001, 0.001, 0.008, 0.002, 0.002, 0.009],
    )  # fmt: skip
    cup = sweep(circle(r, 56), densify(np.column_stack([r - outline[:, 0], outline[:, 1]]), 0.012))
    turn = np.linspace(-np.pi / 2, np.pi / 2, 33)
    path = np.column_stack([r - 0.003 + 0.037 * np.cos(turn) ** 0.8, 0 * turn, 0.31 * height * np.sin(turn)])
    flare = np.exp(-((np.linalg.norm(path - path[0], axis=1) / 0.0045) ** 2))
    flare = np.maximum(flare, flare[::-1])[:, None]
    handle = tube(path, np.array([[0.0044, 0.0066]]) + flare * [[0.005, 0.0045]], exponent=2.4, up=(0, 1, 0))
    return Solid((cup | handle,))


def bowl(diameter: Number, height: Number) -> Solid:
    """A hollow round bowl on a foot ring."""
    r, h, wall = diameter / 2, height / 2, 0.004
    turn = np.linspace(0.25, 1, 13) * np.pi / 2
    outside = np.column_stack([r * np.sin(turn) ** 0.9, -h + 0.005 + (1 - np.cos(turn)) * (height - 0.005)])
    along = np.gradient(outside, axis=0)
    inside = outside + wall * np.column_stack([-along[:, 1], along[:, 0]]) / np.linalg.norm(along, axis=1)[:, None]
    inside[-1] = outside[-1] - [wall, 0]
    foot, floor = 0.42 * r, inside[0, 1] - 0.0015
    outline = fillet(
        [(0.2 * r, -h + 0.002), (foot - 0.008, -h + 0.002), (foot - 0.005, -h), (foot, -h), *outside[1:],
         *inside[::-1], (0.2 * r, floor)],
        [0.001, 0.001, 0.0015, 0.003, *[0] * 10, 0.0018, 0.0018, *[0] * 12],
    )  # fmt: skip
    return Solid((sweep(circle(r, 56), np.column_stack([r - outline[:, 0], outline[:, 1]])),))


def hammer(length: Number, head: Number) -> Solid:
    """A claw hammer lying on its side: handle along x, head at +x, striking face towards -y."""
    s, x0, x1 = head / 0.1, -length / 2, length / 2 - 0.014 * head / 0.1
    shaft = interpolate(
        [
            (x0, 0.0165 * s, 0.0135 * s), (x0 + 0.014, 0.0155 * s, 0.0125 * s),
            (x0 + 0.3 * length, 0.0168 * s, 0.0135 * s), (x0 + 0.5 * length, 0.0135 * s, 0.0108 * s),
            (x0 + 0.66 * length, 0.0105 * s, 0.0088 * s), (x1 + 0.0145 * s, 0.0108 * s, 0.009 * s),
        ],
        26,
    )  # fmt: skip
    path = np.column_stack([0 * shaft[:, :1], 0 * shaft[:, :1], shaft[:, 0]])
    handle = tube(path, shaft[:, 1:], exponent=2.5, ends=(0.006, 0.0015)).along("x")
    # y, half size along x, half size along z, shift along x, exponent of the section
    keys = np.array(
        [
            (-50.0, 14.2, 14.2, 0, 2), (-37, 14.2, 14.2, 0, 2), (-33.5, 10.8, 10.8, 0, 2), (-22, 10.8, 10.8, 0, 2.2),
            (-15.5, 12.8, 12.8, 0, 4), (12, 12.8, 12.8, 0, 4), (20, 11, 13.6, -0.6, 3.5), (32, 7.6, 15.2, -3.8, 3.5),
            (44, 4.6, 16.2, -9.5, 3.5), (54, 1.3, 16.4, -16.5, 3.5),
        ]
    )  # fmt: skip
    rows = interpolate(keys * [*[s / 1000] * 4, 1], 44)
    # sections are written in the plane that `along("y")` turns to (z, x)
    path = np.column_stack([0 * rows[:, 0], rows[:, 3] + x1, rows[:, 0]])
    steel = tube(path, rows[:, [2, 1]], exponent=rows[:, 4], ends=(0.0015 * s, 0.0008 * s), count=32).along("y")
    notch = [(x, y, side * z) for x in (-0.06, 0.02) for y, z in ((0.028, 0), (0.07, 0.0085)) for side in (-1, 1)]
    return centred(Solid(((steel - hull(np.array(notch) * s + [x1, 0, 0])) | handle,)))


def phone(width: Number, length: Number, thickness: Number) -> Solid:
    """A phone lying on its back: round corners, a sunken screen, a camera island with two lenses underneath."""
    h = thickness / 2
    profile = fillet(
        [(0.012, -h), (0, -h), (0, h), (0.0020, h), (0.0023, h - 0.0003), (0.012, h - 0.0003)],
        [0.0028, 0.0016, 0.0001, 0.0001],
    )
    body = sweep(rounded_rectangle(width, length, 0.011, steps=6, spacing=0.012), profile, cap_rings=4)
    island = block(0.025, 0.034, -h - 0.0013, -h + 0.001, corner=0.007, edge=0.0005)
    lens = cylinder(0.0062, -h - 0.0022, -h, edge=0.0004, count=24)
    lenses = (lens.moved(y=-0.008), lens.moved(y=0.008))
    x, y = width / 2 - 0.0175, length / 2 - 0.022
    return Solid((union(body, *(part.moved(x, y) for part in (island, *lenses))),))


def laptop(width: Number, depth: Number, thickness: Number) -> Solid:
    """A laptop: a base with keys and touchpad, and a lid with a sunken screen on a barrel near the back edge."""
    lid, bottom = 0.36 * thickness, -thickness / 2
    deck = thickness / 2 - lid - GAP
    y_hinge, z_hinge = depth / 2 - 0.010, deck + GAP + lid / 2
    base = block(width, depth, bottom, deck, corner=0.012, edge=0.0022, spacing=0.04)
    keys_width, keys_depth, front = width - 0.044, 0.44 * depth, -0.02 * depth
    field = block(keys_width, keys_depth, deck - 0.0013, deck + 0.01, corner=0.003)
    pad = block(0.36 * width, 0.34 * depth, deck - 0.0005, deck + 0.01, corner=0.003)
    base = base - field.moved(y=front + keys_depth / 2) - pad.moved(y=front - 0.022 - 0.17 * depth)
    pitch = np.array([(keys_width - 0.002) / 12, (keys_depth - 0.002) / 5])
    key = sweep(
        rounded_rectangle(*(pitch - 0.003), 0, steps=0, spacing=1),
        np.array([(0, deck - 0.0018), (0.0007, deck - 0.0003)]),
        cap_rings=1,
    )
    middles = [(i * pitch[0], front + keys_depth / 2 + j * pitch[1]) for i in np.arange(12) - 5.5 for j in range(-2, 3)]
    base = union(base, *(key.moved(x, y) for x, y in middles))
    room = cylinder(lid / 2 + GAP, -0.32 * width, 0.32 * width).along("x").moved(y=y_hinge, z=z_hinge)
    barrel = cylinder(lid / 2, -0.32 * width + GAP, 0.32 * width - GAP).along("x").moved(y=y_hinge, z=z_hinge)
    lid_depth = depth / 2 + y_hinge
    panel = block(width, lid_depth, deck + GAP, thickness / 2, corner=0.012, edge=0.49 * lid, spacing=0.04)
    screen = block(width - 0.018, lid_depth - 0.030, deck - 0.01, deck + GAP + 0.0007, corner=0.003, spacing=0.04)
    panel = panel.moved(y=(y_hinge - depth / 2) / 2) - screen.moved(y=(y_hinge - depth / 2) / 2 - 0.006)
    hinge = Hinge(np.array([0, y_hinge, z_hinge]), np.array([-1.0, 0, 0]), np.array([0, 2.3]))
    return Solid((base - room, panel | barrel), hinge)


def lidded_box(width: Number, depth: Number, height: Number) -> Solid:
    """A hollow chest whose lid turns on three knuckles at the back and has a tab to lift it at the front."""
    wall, lid = 0.005, max(0.013, 0.22 * height)
    top = height / 2 - lid - GAP
    floor, under = -height / 2 + wall, top + GAP
    outline = rounded_rectangle(width, depth, 0.008, steps=5, spacing=0.025)
    base = sweep(outline, densify(fillet(
        [(0.012, -height / 2), (0, -height / 2), (0, top), (wall, top), (wall, floor), (0.014, floor)],
        [0.004, 0.001, 0.001, 0.003],
    ), 0.025))  # fmt: skip
    cover = sweep(outline, densify(fillet(
        [(0.016, under + lid - wall), (wall, under + lid - wall), (wall, under), (0, under), (0, height / 2),
         (0.016, height / 2)],
        [0.003, 0.001, 0.001, 0.006],
    ), 0.025))  # fmt: skip
    y, z, radius = depth / 2 + 0.0015, top + GAP / 2, 0.0036

    def knuckle(low: Number, high: Number, grow: Number) -> Surface:
        return cylinder(radius + grow, low - grow, high + grow, count=24).along("x").moved(y=y, z=z)

    spans = [
        (-0.34 * width, -0.16 * width),
        (-0.16 * width + 2 * GAP, 0.16 * width - 2 * GAP),
        (0.16 * width, 0.34 * width),
    ]
    tab = block(0.24 * width, 0.012, under + 0.0005, under + 0.006, corner=0.004, edge=0.0018).moved(y=-depth / 2)
    base = (base - knuckle(*spans[0], GAP) - knuckle(*spans[2], GAP)) | knuckle(*spans[1], 0)
    cover = union(cover - knuckle(*spans[1], GAP), knuckle(*spans[0], 0), knuckle(*spans[2], 0), tab)
    cover = cover - block(width - 2 * wall, depth - 2 * wall, top - 0.01, under + 0.4 * lid, corner=0.004)
    return Solid((base, cover), Hinge(np.array([0, y, z]), np.array([-1.0, 0, 0]), np.array([0, 1.9])))


def notebook(width: Number, length: Number, thickness: Number) -> Solid:
    """A ring-bound notebook that opens in the middle and lies flat: each half is a cover with its pages."""
    half, cover, wire = thickness / 2, 0.0022, 0.0011
    axis = -width / 2 - 0.0015
    pages = block(width - 0.005, length - 0.007, GAP / 2, half - cover / 2, corner=0.002).moved(x=-0.0015)
    upper = pages | block(width, length, half - cover, half, corner=0.006, edge=0.0008, spacing=0.03)
    lower = Surface(upper.vertices * [1, -1, -1], upper.faces)
    ring = torus(half + 0.0022, wire).along("y").moved(x=axis)
    room = torus(half + 0.0022, wire + 1.6 * GAP, count=32).along("y").moved(x=axis)
    count = int((length - 0.02) / 0.018)
    places = (np.arange(count) - (count - 1) / 2) * 0.018
    lower = union(lower, *(ring.moved(y=y) for y in places))
    upper = upper - union(*(room.moved(y=y) for y in places))
    return Solid((lower, upper), Hinge(np.array([axis, 0, 0]), np.array([0, -1.0, 0]), np.array([0, np.pi])))


def pliers(length: Number) -> Solid:
    """Flat-nose pliers lying on the table: jaws towards +x, two handles that cross at a riveted joint."""
    s = length / 0.18
    low = GAP / 2
    keys = np.array([(2, 12.5, 5.2), (12, 12.2, 5), (30, 8.6, 4.2), (54, 5.5, 3)]) * s / 1000  # x, its top, half height
    nose = interpolate(keys, 12)
    middle, half = (nose[:, 1] + low) / 2, (nose[:, 1] - low) / 2
    # sections are written in the plane that `along("x")` turns to (y, z)
    path = np.column_stack([middle, 0 * middle, nose[:, 0]])
    jaw = tube(path, np.column_stack([half, nose[:, 2]]), exponent=9, ends=(0, 0.0012 * s)).along("x")
    keys = [
        (-116, -17.5, 7.2, 7.2), (-108, -20, 7.8, 7.4), (-85, -24, 8, 7.4), (-55, -23.5, 7.6, 7), (-30, -17.5, 6, 5.6),
        (-14, -9, 5.2, 4.6), (-2, -3, 5, 4.2),
    ]  # fmt: skip
    bend = interpolate(np.array(keys) * s / 1000, 28)
    path = np.column_stack([bend[:, 1], 0 * bend[:, 1], bend[:, 0]])
    grip = tube(path, bend[:, 2:], exponent=2.5, up=(0, 1, 0), ends=(0.0072 * s, 0)).along("x")
    plate = cylinder(0.013 * s, -0.0055 * s, -low, edge=0.0008 * s)
    rivet = cylinder(0.0046 * s, -0.0063 * s, -0.005 * s, edge=0.0006 * s, count=28)
    lower = union(jaw, grip, plate, rivet) - cylinder(0.013 * s + 2 * GAP, -low, 0.02)
    upper = Surface(lower.vertices * [1, -1, -1], lower.faces)
    return centred(Solid((lower, upper), Hinge(np.zeros(3), np.array([0, 0, -1.0]), np.array([0, 0.5]))))


def centred(solid: Solid) -> Solid:
    """The solid with the middle of its bounding box at the origin."""
    every = np.concatenate([part.vertices for part in solid.parts])
    middle = (every.min(0) + every.max(0)) / 2
    hinge = solid.hinge and Hinge(solid.hinge.origin - middle, solid.hinge.axis, solid.hinge.limits)
    return Solid(tuple(part.moved(*-middle) for part in solid.parts), hinge)


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
