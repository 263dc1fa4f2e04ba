"""Watertight surfaces from formulas: profiles swept round an outline, and level sets of a signed distance.

Everything here is numpy in metres and knows nothing of objects: a surface is ``(vertices (V, 3) float64, faces (F, 3)
int64)`` with outward orientation. :func:`sweep` makes cans, bottles, bowls, boxes and phones; :func:`level_set` makes
what has a handle growing out of its side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

Surface = tuple[np.ndarray, np.ndarray]
Outline = Callable[[float], np.ndarray]


def circle(radius: float, count: int = 48) -> Outline:
    """Outline of a circle in the plane; ``outline(inset)`` is the ring (count, 2) ``inset`` metres further in."""
    angle = 2 * np.pi * np.arange(count) / count
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)
    return lambda inset: (radius - inset) * ring


def rounded_rectangle(width: float, depth: float, corner: float, steps: int = 6, spacing: float = 0.02) -> Outline:
    """Outline of a rectangle with round corners, centred; insets keep the walls parallel.

    ``corner`` is the corner radius at inset 0, ``steps`` the segments of one corner, ``spacing`` the largest distance
    of two points on a straight side. An inset beyond ``corner`` leaves sharp corners and no point out of order.
    """
    turn = np.linspace(0, np.pi / 2, steps + 1)
    arc = np.stack([np.cos(turn), np.sin(turn)], -1)
    counts = [max(1, round((length - 2 * corner) / spacing)) for length in (width, depth)]

    def ring(inset: float) -> np.ndarray:
        half = np.array([width, depth]) / 2 - inset
        radius = max(corner - inset, 0.0)
        sides = []
        for quarter, signs in enumerate(([1, 1], [-1, 1], [-1, -1], [1, -1])):
            c, s = np.round([np.cos(quarter * np.pi / 2), np.sin(quarter * np.pi / 2)])
            corner_points = radius * arc @ np.array([[c, s], [-s, c]]) + np.array(signs) * (half - radius)
            sides.append(corner_points)
        points = []
        for quarter, side in enumerate(sides):
            following = sides[(quarter + 1) % 4][0]
            share = np.linspace(0, 1, counts[quarter % 2] + 1)[1:-1, None]
            points += [side, side[-1] + share * (following - side[-1])]
        return np.concatenate(points)

    return ring


def superellipse(width: float, depth: float, exponent: float, count: int = 48) -> Outline:
    """Outline ``|2x/width|^exponent + |2y/depth|^exponent = 1``; an inset shrinks both half axes by as much."""
    angle = 2 * np.pi * np.arange(count) / count
    c, s = np.cos(angle), np.sin(angle)
    radius = (np.abs(c) ** exponent + np.abs(s) ** exponent) ** (-1 / exponent)
    ring = np.stack([radius * c, radius * s], -1)
    return lambda inset: ring * (np.array([width, depth]) / 2 - inset)


def fillet(points: Sequence[tuple[float, float]], radii: Sequence[float], steps: int = 5) -> Float[np.ndarray, "N 2"]:
    """A polyline with its inner corners replaced by arcs.

    ``points`` (n, 2) the corners, ``radii`` (n - 2,) the radius of each inner one; 0 keeps it sharp. A radius that two
    neighbours cannot both have is cut so that the arcs just meet.
    """
    corners = np.asarray(points, float)
    out = [corners[:1]]
    for before, corner, after, radius in zip(corners, corners[1:], corners[2:], radii, strict=False):
        out.append(_arc(before, corner, after, radius, steps))
    return np.concatenate([*out, corners[-1:]])


def _arc(before: np.ndarray, corner: np.ndarray, after: np.ndarray, radius: float, steps: int) -> np.ndarray:
    u, v = before - corner, after - corner
    lengths = np.linalg.norm(u), np.linalg.norm(v)
    u, v = u / lengths[0], v / lengths[1]
    half = np.arccos(np.clip(u @ v, -1, 1)) / 2
    if radius <= 0 or half > np.pi / 2 - 1e-6:
        return corner[None]
    reach = min(radius / np.tan(half), 0.5 * min(lengths))
    radius = reach * np.tan(half)
    centre = corner + (u + v) / np.linalg.norm(u + v) * radius / np.sin(half)
    start, end = corner + u * reach - centre, corner + v * reach - centre
    share = np.linspace(0, 1, steps + 1)[:, None]
    sweep_angle = np.pi - 2 * half
    return centre + (np.sin((1 - share) * sweep_angle) * start + np.sin(share * sweep_angle) * end) / np.sin(
        sweep_angle
    )


def densify(profile: Float[np.ndarray, "N 2"], spacing: float) -> Float[np.ndarray, "M 2"]:
    """The same polyline with no segment longer than ``spacing``."""
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
    rows = [np.column_stack([outline(inset), np.full(len(outline(inset)), z)]) for inset, z in profile]
    shrink = np.linspace(0, 1, cap_rings + 1)[1:]
    ends = rows[0].mean(0), rows[-1].mean(0)
    first = [ends[0] + s * (rows[0] - ends[0]) for s in shrink[:-1]]
    last = [ends[1] + s * (rows[-1] - ends[1]) for s in shrink[:-1][::-1]]
    return loft(np.stack([*first, *rows, *last]), ends[0], ends[1])


def loft(rows: Float[np.ndarray, "N K 3"], start: Float[np.ndarray, "3"], end: Float[np.ndarray, "3"]) -> Surface:
    """Join N closed rings of K points into a tube and close it with a fan to ``start`` and one to ``end``."""
    n, k, _ = rows.shape
    vertices = np.concatenate([rows.reshape(-1, 3), start[None], end[None]])
    ring = np.arange(k)
    following = np.roll(ring, -1)
    base = k * np.arange(n - 1)[:, None]
    a, b, c, d = base + ring, base + following, base + k + following, base + k + ring
    faces = [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    top = k * (n - 1)
    faces.append(np.stack([np.full(k, n * k), following, ring], -1))
    faces.append(np.stack([np.full(k, n * k + 1), top + ring, top + following], -1))
    return vertices, np.concatenate(faces)


def sphere(radius: float, subdivisions: int = 4) -> Surface:
    """A sphere of ``20 · 4^subdivisions`` nearly equal triangles."""
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64)


def level_set(
    distance: Callable[[np.ndarray], np.ndarray],
    low: Sequence[float],
    high: Sequence[float],
    spacing: float,
    faces: int,
) -> Surface:
    """The surface where ``distance`` (points (N, 3) → (N,) metres) is zero, inside the box ``low``..``high``.

    Marching cubes on a grid of ``spacing`` metres, every vertex then moved onto the level set by Newton steps, and
    quadric decimation down to about ``faces`` triangles.
    """
    import fast_simplification
    from skimage.measure import marching_cubes

    axes = [np.arange(a, b + spacing, spacing) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    values = distance(grid.reshape(-1, 3)).reshape(grid.shape[:3])
    vertices, triangles, _, _ = marching_cubes(values, 0.0, spacing=(spacing,) * 3)
    vertices = project(distance, vertices + np.asarray(low), spacing)
    share = 1 - faces / len(triangles)
    if share > 0:
        vertices, triangles = fast_simplification.simplify(vertices.astype(np.float32), triangles, share)
        vertices = project(distance, vertices.astype(float), spacing)
    triangles = triangles.astype(np.int64)
    if signed_volume(vertices, triangles) < 0:
        triangles = triangles[:, ::-1]
    return vertices, triangles


def project(
    distance: Callable[[np.ndarray], np.ndarray], vertices: Float[np.ndarray, "V 3"], limit: float, steps: int = 3
) -> Float[np.ndarray, "V 3"]:
    """Move points onto the level set 0 by Newton steps along the gradient, none farther than ``limit`` metres."""
    h = 1e-5
    for _ in range(steps):
        value = distance(vertices)
        shifts = [distance(vertices + h * e) - distance(vertices - h * e) for e in np.eye(3)]
        gradient = np.stack(shifts, -1) / (2 * h)
        step = value / np.maximum((gradient**2).sum(-1), 0.05)
        vertices = vertices - np.clip(step, -limit, limit)[:, None] * gradient
    return vertices


def signed_volume(vertices: Float[np.ndarray, "V 3"], faces: np.ndarray) -> float:
    """Volume enclosed by a closed surface, in cubic metres; negative if its faces look inwards."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def smooth_union(distances: Sequence[np.ndarray], radius: float) -> np.ndarray:
    """Distance (N,) to a union whose seams are filled with a fillet of about ``radius`` metres."""
    out = distances[0]
    for other in distances[1:]:
        mix = np.clip(0.5 + 0.5 * (other - out) / radius, 0, 1)
        out = other * (1 - mix) + out * mix - radius * mix * (1 - mix)
    return out


def smooth_difference(body: np.ndarray, tool: np.ndarray, radius: float) -> np.ndarray:
    """Distance (N,) to ``body`` without ``tool``, the new edge rounded by about ``radius`` metres."""
    return -smooth_union([-body, tool], radius)


def round_cone_chain(points: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Distance (N,) to a chain of capsules through ``centres`` (K, 3) whose radius runs linearly between ``radii``."""
    out = np.full(len(points), np.inf)
    for a, b, ra, rb in zip(centres, centres[1:], radii, radii[1:], strict=False):
        along = b - a
        t = np.clip((points - a) @ along / (along @ along), 0, 1)
        out = np.minimum(out, np.linalg.norm(points - a - t[:, None] * along, axis=-1) - (ra + t * (rb - ra)))
    return out


def rounded_box_distance(points: np.ndarray, half: Sequence[float], radius: float) -> np.ndarray:
    """Distance (N,) to a box of half sizes ``half`` with edges of ``radius``, centred at the origin."""
    q = np.abs(points) - (np.asarray(half) - radius)
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0) - radius


def profile_distance(points: Float[np.ndarray, "N 2"], polygon: Float[np.ndarray, "M 2"]) -> Float[np.ndarray, "N"]:
    """Signed distance in the plane to a closed polygon, negative inside."""
    best = np.full(len(points), np.inf)
    inside = np.zeros(len(points), bool)
    for a, b in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        edge, offset = b - a, points - a
        t = np.clip(offset @ edge / max(edge @ edge, 1e-30), 0, 1)
        best = np.minimum(best, ((offset - t[:, None] * edge) ** 2).sum(-1))
        crosses = (a[1] <= points[:, 1]) != (b[1] <= points[:, 1])
        side = edge[0] * offset[:, 1] - edge[1] * offset[:, 0]
        inside ^= crosses & ((side > 0) == (b[1] > a[1]))
    return np.where(inside, -1, 1) * np.sqrt(best)
