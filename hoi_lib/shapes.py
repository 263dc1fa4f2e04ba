"""Watertight surfaces from formulas: profiles swept round an outline, tubes along a path, and their unions.

Metres, and z upwards. :func:`sweep` makes cans, bottles, bowls, boxes and phones, :func:`tube` makes handles; ``|`` and
``-`` join and cut them exactly (Manifold's boolean operations). Nothing here knows what an object is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Number = float | int
Rows = Sequence[Sequence[Number] | np.ndarray] | np.ndarray
Outline = Callable[[Number], np.ndarray]


class Surface(NamedTuple):
    """A closed triangle mesh: ``vertices`` (V, 3) float64 metres, ``faces`` (F, 3) int64, outward orientation."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]

    def moved(self, x: Number = 0.0, y: Number = 0.0, z: Number = 0.0) -> Surface:
        """The same surface shifted by metres."""
        return Surface(self.vertices + np.array([x, y, z]), self.faces)

    def along(self, axis: str) -> Surface:
        """The same surface with what pointed along z now along ``axis``; x, y and z are exchanged in a cycle."""
        return Surface(np.roll(self.vertices, "zxy".index(axis), axis=1), self.faces)

    def __or__(self, other: Surface) -> Surface:
        """Union of two solids."""
        return union(self, other)

    def __sub__(self, other: Surface) -> Surface:
        """This solid without the other one."""
        return _from_manifold(_manifold(self) - _manifold(other))

    @property
    def volume(self) -> float:
        """Enclosed volume in cubic metres, negative where the faces look inwards: ``Σ a · (b × c) / 6``."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return float((a * np.cross(b, c)).sum() / 6)


def union(*surfaces: Surface) -> Surface:
    """The solid that is inside any of ``surfaces``, as one closed surface."""
    from manifold3d import Manifold, OpType

    return _from_manifold(Manifold.batch_boolean([_manifold(s) for s in surfaces], OpType.Add))


def hull(points: Float[np.ndarray, "N 3"]) -> Surface:
    """The convex hull of points."""
    from manifold3d import Manifold

    return _from_manifold(Manifold.hull_points(np.ascontiguousarray(points)))


def circle(radius: Number, count: int = 40) -> Outline:
    """Outline of a circle in the plane; ``outline(inset)`` is the ring (count, 2) ``inset`` metres further in."""
    angle = 2 * np.pi * np.arange(count) / count
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)
    return lambda inset: (radius - inset) * ring


def rounded_rectangle(width: Number, depth: Number, corner: Number, steps: int = 5, spacing: Number = 0.02) -> Outline:
    """Outline of a centred rectangle with round corners, counter-clockwise; insets keep the walls parallel.

    ``corner`` is the corner radius at inset 0, ``steps`` the segments of one corner (0 with ``corner`` 0 for four
    points in all), ``spacing`` roughly the distance of points on a straight side.
    """
    turn = np.linspace(0, np.pi / 2, steps + 1)
    arc = np.stack([np.cos(turn), np.sin(turn)], -1)
    pieces = [max(1, round((length - 2 * corner) / spacing)) for length in (width, depth)]

    def ring(inset: Number) -> np.ndarray:
        half = np.array([width, depth]) / 2 - inset
        radius = max(corner - inset, 0.0)
        turned = [arc, arc[:, ::-1] * [-1, 1], -arc, arc[:, ::-1] * [1, -1]]
        corners = [radius * a + s * (half - radius) for a, s in zip(turned, _CORNERS, strict=True)]
        points = []
        for i, here in enumerate(corners):
            share = np.linspace(0, 1, pieces[i % 2] + 1)[1:-1, None]
            points += [here, here[-1] + share * (corners[(i + 1) % 4][0] - here[-1])]
        return np.concatenate(points)

    return ring


_CORNERS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])


def superellipse(half: Float[np.ndarray, "2"], exponent: Number, count: int = 40) -> Float[np.ndarray, "count 2"]:
    """Ring of points with ``|x/a|^e + |y/b|^e = 1``, counter-clockwise; ``e = 2`` is an ellipse, large is a box."""
    angle = 2 * np.pi * (np.arange(count) + 0.5) / count
    c, s = np.cos(angle), np.sin(angle)
    radius = (np.abs(c) ** exponent + np.abs(s) ** exponent) ** (-1 / exponent)
    return np.stack([radius * c, radius * s], -1) * half


def fillet(points: Rows, radii: Sequence[Number]) -> Float[np.ndarray, "N 2"]:
    """A polyline with its inner corners replaced by arcs.

    ``points`` are the corners, ``radii`` one radius for each inner one; 0 keeps it sharp. A radius for which a side is
    too short is cut, and arcs are divided so that no chord strays more than 0.06 mm.
    """
    corners = np.asarray(points, float)
    sides = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    room = np.concatenate([sides[:1], sides[1:-1] / 2, sides[-1:]])  # inner sides are shared by two arcs
    inner = [_arc(*corners[i : i + 3], radius, 0.999 * room[i : i + 2].min()) for i, radius in enumerate(radii)]
    return np.concatenate([corners[:1], *inner, corners[-1:]])


def _arc(before: np.ndarray, corner: np.ndarray, after: np.ndarray, radius: Number, room: Number) -> np.ndarray:
    """The arc that touches both sides of a corner no farther than ``room`` from it."""
    u, v = before - corner, after - corner
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    half = np.arccos(np.clip(u @ v, -1, 1)) / 2
    if radius <= 0 or half > np.pi / 2 - 1e-6:
        return corner[None]
    reach = min(radius / np.tan(half), room)
    radius = reach * np.tan(half)
    centre = corner + (u + v) / np.linalg.norm(u + v) * radius / np.sin(half)
    start, end = corner + u * reach - centre, corner + v * reach - centre
    angle = np.pi - 2 * half
    steps = max(3, int(np.ceil(angle / (2 * np.arccos(max(0.5, 1 - 6e-5 / radius))))))
    share = np.linspace(0, 1, steps + 1)[:, None]
    return centre + (np.sin((1 - share) * angle) * start + np.sin(share * angle) * end) / np.sin(angle)


def densify(profile: Float[np.ndarray, "N 2"], spacing: Number) -> Float[np.ndarray, "M 2"]:
    """The same polyline with no segment longer than ``spacing`` metres."""
    pieces = [profile[:1]]
    for a, b in zip(profile, profile[1:], strict=False):
        count = max(1, int(np.ceil(np.linalg.norm(b - a) / spacing)))
        pieces.append(a + np.linspace(0, 1, count + 1)[1:, None] * (b - a))
    return np.concatenate(pieces)


def sweep(outline: Outline, profile: Float[np.ndarray, "N 2"], cap_rings: int = 3) -> Surface:
    """Sweep a profile round an outline: row i is ``outline(inset_i)`` at height ``z_i``, both ends closed flat.

    ``profile`` (N, 2) holds (inset, z) in metres. Walked upwards with the outline counter-clockwise it gives an
    outward surface; a hollow body walks up its outside, over the rim and down its inside. ``cap_rings`` rings divide
    each flat end, so that it samples and shades well.
    """
    rows = [np.column_stack([ring := outline(inset), np.full(len(ring), z)]) for inset, z in profile]
    start, end = rows[0].mean(0), rows[-1].mean(0)
    shares = np.arange(1, cap_rings) / cap_rings
    first = [start + s * (rows[0] - start) for s in shares]
    last = [end + s * (rows[-1] - end) for s in shares[::-1]]
    return loft(np.stack([*first, *rows, *last]))


def block(
    width: Number,
    depth: Number,
    low: Number,
    high: Number,
    corner: Number = 0.0,
    edge: Number = 0.0,
    spacing: Number = 0.02,
) -> Surface:
    """A box between two heights, its upright edges rounded by ``corner`` and its upper and lower ones by ``edge``."""
    outline = rounded_rectangle(width, depth, corner, steps=5 if corner > 0 else 0, spacing=spacing)
    reach = max(1.5 * edge, 1e-4)
    profile = fillet([(reach, low), (0, low), (0, high), (reach, high)], [edge, edge])
    return sweep(outline, densify(profile, spacing))


def cylinder(radius: Number, low: Number, high: Number, edge: Number = 0.0, count: int = 40) -> Surface:
    """An upright cylinder between two heights, its edges rounded by ``edge``."""
    reach = max(1.5 * edge, 0.3 * radius)
    profile = fillet([(reach, low), (0, low), (0, high), (reach, high)], [edge, edge])
    return sweep(circle(radius, count), profile, cap_rings=1)


def sphere(radius: Number, subdivisions: int = 4) -> Surface:
    """A sphere of ``20 · 4^subdivisions`` nearly equal triangles."""
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return Surface(np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64))


def torus(radius: Number, wire: Number, count: int = 20, wire_count: int = 6) -> Surface:
    """A ring about the z axis: ``radius`` to the middle of a wire of radius ``wire``."""
    import trimesh

    mesh = trimesh.creation.torus(radius, wire, major_sections=count, minor_sections=wire_count)
    return Surface(np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64))


def tube(
    path: Rows,
    halves: Rows,
    exponent: Number | Float[np.ndarray, "N"] = 2.0,
    up: Sequence[Number] | None = None,
    ends: tuple[Number, Number] = (0.0, 0.0),
    count: int = 24,
) -> Surface:
    """A closed tube through ``path`` whose cross-section has half sizes ``halves`` and is a superellipse.

    With ``up`` None the sections stay horizontal and ``halves`` are along x and y: what one turns on a lathe. Else
    they stand across the path, the second half size towards ``up``, which the path must never be parallel to. A
    rounded end of ``ends`` metres is added to either end, a dome where that is the half size or more.
    """
    centres, halves = np.asarray(path, float), np.asarray(halves, float)
    exponents = np.broadcast_to(np.asarray(exponent, float), len(centres))
    tangents = np.gradient(centres, axis=0)
    tangents = np.array([[0.0, 0, 1]]) + 0 * tangents if up is None else tangents
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    side = np.array([[1.0, 0, 0]]) + 0 * tangents if up is None else np.cross(np.asarray(up, float), tangents)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    across = np.cross(tangents, side)

    def row(i: int, phi: Number = 0.0, reach: Number = 0.0) -> np.ndarray:
        half = halves[i] - np.minimum(abs(reach), 0.999 * halves[i]) * (1 - np.cos(phi))
        ring = superellipse(half, exponents[i], count)
        return centres[i] + reach * np.sin(phi) * tangents[i] + ring[:, :1] * side[i] + ring[:, 1:] * across[i]

    bends = [np.linspace(0, np.pi / 2, 6)[1:] if end > 0 else () for end in ends]
    first = [row(0, phi, -ends[0]) for phi in bends[0][::-1]]
    last = [row(len(centres) - 1, phi, ends[1]) for phi in bends[1]]
    return loft(np.stack([*first, *(row(i) for i in range(len(centres))), *last]))


def interpolate(keys: Rows, count: int) -> Float[np.ndarray, "count K"]:
    """``count`` rows on a smooth, never overshooting curve through the rows of ``keys``, whose first column rises."""
    from scipy.interpolate import PchipInterpolator

    table = np.asarray(keys, float)
    return PchipInterpolator(table[:, 0], table)(np.linspace(table[0, 0], table[-1, 0], count))


def loft(rows: Float[np.ndarray, "N K 3"]) -> Surface:
    """Join N rings of K points, each counter-clockwise seen from the next one, and close both ends with a fan."""
    n, k, _ = rows.shape
    ring, following = np.arange(k), np.roll(np.arange(k), -1)
    base = k * np.arange(n - 1)[:, None]
    a, b, c, d = base + ring, base + following, base + k + following, base + k + ring
    top = k * (n - 1)
    faces = [
        np.stack([a, b, c], -1).reshape(-1, 3),
        np.stack([a, c, d], -1).reshape(-1, 3),
        np.stack([np.full(k, n * k), following, ring], -1),
        np.stack([np.full(k, n * k + 1), top + ring, top + following], -1),
    ]
    vertices = np.concatenate([rows.reshape(-1, 3), rows[[0, -1]].mean(1)])
    return cleaned(Surface(vertices, np.concatenate(faces)))


def cleaned(surface: Surface, tolerance: Number = 1e-7) -> Surface:
    """The same surface with coincident vertices merged and the faces that this closes taken out."""
    keys = np.round(surface.vertices / tolerance).astype(np.int64)
    _, first, merged = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    faces = merged.reshape(-1)[surface.faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    used, compact = np.unique(faces, return_inverse=True)
    return Surface(surface.vertices[first][used], compact.reshape(-1, 3).astype(np.int64))


def _manifold(surface: Surface):
    from manifold3d import Manifold, Mesh64

    vertices = np.ascontiguousarray(surface.vertices, np.float64)
    return Manifold(Mesh64(vertices, np.ascontiguousarray(surface.faces, np.uint64)))


def _from_manifold(solid) -> Surface:
    mesh = solid.simplify(2e-5).to_mesh64()
    return cleaned(Surface(np.array(mesh.vert_properties[:, :3]), np.array(mesh.tri_verts, np.int64)))
