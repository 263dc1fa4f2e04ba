"""What can be drawn: meshes with smooth or sharp edges, and dots, skeletons and arrows made of meshes.

V vertices, F faces, E edges, N points. Metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CLAY = "#CBC3B4"
SMOOTH, SHARP = np.cos(np.radians(50)), np.cos(np.radians(80))
BONES = ((0, 1, 2, 3), (0, 4, 5, 6), (0, 7, 8, 9), (0, 10, 11, 12), (0, 13, 14, 15))
TIPS = (16, 17, 18, 19, 20)


@dataclass(frozen=True)
class Mesh:
    """A surface to draw: ``vertices`` (V, 3) in metres, ``faces`` (F, 3), one ``color`` or ``vertex_colors`` (V, 3).

    ``color`` is anything that matplotlib takes, ``vertex_colors`` are RGB in [0, 1]; ``opacity`` below 1 lets what is
    behind or inside show through. Faces that meet at a slight angle are drawn as one smooth skin, sharp edges stay.
    """

    vertices: np.ndarray
    faces: np.ndarray
    color: object = CLAY
    vertex_colors: np.ndarray | None = None
    opacity: float | int = 1.0


def corner_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals per face corner (F, 3, 3): the faces around a vertex are averaged unless a crease parts them.

    Each neighbour counts by its area and by the angle between the two faces, fully up to 50°, not at all above 80°.
    Vertices at the same place count as one, whatever the file says.
    """
    faces = np.asarray(faces, int)
    area, unit = _areas(vertices, faces)
    mine, other = _meeting(_places(vertices)[faces].reshape(-1))
    weight = np.clip(((unit[mine // 3] * unit[other // 3]).sum(1) - SHARP) / (SMOOTH - SHARP), 0, 1)
    total = np.stack([np.bincount(mine, weight * area[other // 3, k], minlength=faces.size) for k in range(3)], -1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-20, total / np.maximum(length, 1e-20), np.repeat(unit, 3, 0)).reshape(-1, 3, 3)


def _areas(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each face its normal as long as twice its area, and of unit length, both (F, 3)."""
    a, b, c = (np.asarray(vertices, float)[faces[:, k]] for k in range(3))
    area = np.cross(b - a, c - a)
    return area, area / np.maximum(np.linalg.norm(area, axis=1, keepdims=True), 1e-20)


def _meeting(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of corners that meet at one place, each with itself too; ``place`` is a number per corner (3 F,)."""
    order, counts = np.argsort(place, kind="stable"), np.bincount(place)
    starts = np.cumsum(counts) - counts
    mine = np.repeat(np.arange(len(place)), counts[place])
    begin = np.cumsum(counts[place]) - counts[place]
    return mine, order[starts[place][mine] + np.arange(len(mine)) - begin[mine]]


def _places(vertices: np.ndarray) -> np.ndarray:
    """A number per vertex (V,), the same for vertices at the same place (to a tenth of a micrometre)."""
    keys = np.round(vertices * 1e7).astype(np.int64)
    order = np.lexsort(keys.T)
    new = np.r_[True, (np.diff(keys[order], axis=0) != 0).any(1)] if len(keys) else np.zeros(0, bool)
    place = np.empty(len(keys), int)
    place[order] = np.cumsum(new) - 1
    return place


def rounded(mesh: Mesh) -> Mesh:
    """The mesh with every face cut in four, and smooth edges bent into the curve that their normals ask for.

    The midpoint of edge ab moves to ``(a + b)/2 − ((b − a)·n_a n_a + (a − b)·n_b n_b)/8``, the middle of the cubic
    with these end normals (the edge rule of curved point-normal triangles), so outlines lose their corners and
    vertices stay. Creases, borders and long edges, as of a flat box, keep their straight midpoints.
    """
    vertices, faces = np.asarray(mesh.vertices, float), np.asarray(mesh.faces, int)
    pairs, sides, fine = quartered(faces, len(vertices))
    normals = corner_normals(vertices, faces)
    one, other = (_end_normals(normals, faces, sides[:, k], pairs) for k in (0, 1))
    smooth = ((one * other).sum(-1) > 0.98).all(1) & (sides[:, 1] >= 0)
    a, b = vertices[pairs[:, 0]], vertices[pairs[:, 1]]
    short = np.linalg.norm(b - a, axis=1) < 0.12 * np.linalg.norm(np.ptp(vertices, axis=0))
    bend = [((b - a) * n).sum(1, keepdims=True) * n for n in (one[:, 0], one[:, 1])]
    middle = (a + b) / 2 - np.where((smooth & short)[:, None], (bend[0] - bend[1]) / 8, 0)
    colors = mesh.vertex_colors
    if colors is not None:
        colors = np.asarray(colors, float)
        colors = np.concatenate([colors, colors[pairs].mean(1)])
    return Mesh(np.concatenate([vertices, middle]), fine, mesh.color, colors, mesh.opacity)


def quartered(faces: np.ndarray, vertices: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut every face in four at the middles of its edges, numbered on from ``vertices``.

    Returns the edges as vertex ``pairs`` (E, 2), lower number first, the two faces on their ``sides`` (E, 2), −1 where
    there is none, and the fine faces (4 F, 3).
    """
    faces = np.asarray(faces, int)
    pairs = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    _, first, edge = np.unique(pairs[:, 0] * vertices + pairs[:, 1], return_index=True, return_inverse=True)
    last = np.zeros(len(first), int)
    last[edge] = np.arange(len(pairs))
    sides = np.stack([first // 3, np.where(last != first, last // 3, -1)], 1)
    (a, b, c), (ab, bc, ca) = faces.T, vertices + edge.reshape(-1, 3).T
    fine = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return pairs[first], sides, fine


def _end_normals(normals: np.ndarray, faces: np.ndarray, side: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Normals (E, 2, 3) that the faces ``side`` (E,) have at the two ends of edges ``pairs`` (E, 2)."""
    corner = (faces[side][:, None] == pairs[..., None]).argmax(-1)
    return normals[side[:, None], corner]


def parted(vertices: np.ndarray, faces: np.ndarray, crease: float | int = 55.0) -> tuple[np.ndarray, np.ndarray]:
    """Give each side of a sharp edge its own vertices, so that one normal per vertex shades it right.

    Corners of faces that meet at a place become one vertex if their faces are less than ``crease`` degrees apart, or
    are linked by others that are; a sliver goes with the largest face there. Returns ``source`` (W,), the old number
    of each new vertex, and the new faces (F, 3).
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    faces = np.asarray(faces, int)
    area, unit = _areas(vertices, faces)
    size = np.repeat(np.linalg.norm(area, axis=1), 3)
    place = _places(vertices)[faces].reshape(-1)
    mine, other = _meeting(place)
    largest = np.zeros(place.max(initial=-1) + 1)
    np.maximum.at(largest, place, size)
    thin = size < 0.02 * largest[place]
    smooth = (unit[mine // 3] * unit[other // 3]).sum(1) > np.cos(np.radians(crease))
    linked = np.where(thin[mine] | thin[other], thin[mine] & (size == largest[place])[other], smooth)
    mine, other = mine[linked], other[linked]
    links = coo_matrix((np.ones(len(mine)), (mine, other)), shape=(faces.size, faces.size))
    count, label = connected_components(links, directed=False)
    source = np.zeros(count, int)
    source[label] = faces.reshape(-1)
    return source, label.reshape(-1, 3)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals per vertex (..., V, 3), the mean of the faces around it weighted by their area."""
    vertices = np.asarray(vertices, float)
    a, b, c = (vertices[..., faces[:, k], :] for k in range(3))
    area = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(np.moveaxis(total, -2, 0), faces[:, k], np.moveaxis(area, -2, 0))
    return total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-20)


def sphere(level: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A unit sphere of 20 · 4**level faces: vertices (V, 3), faces (F, 3)."""
    golden = (1 + np.sqrt(5)) / 2
    ring = np.array([[s, t * golden, 0.0] for s in (-1, 1) for t in (-1, 1)])
    vertices = np.concatenate([ring, ring[:, [2, 0, 1]], ring[:, [1, 2, 0]]])
    distance = np.linalg.norm(vertices[:, None] - vertices[None], axis=-1)
    near = (distance > 0) & (distance < 2.1)
    i, j, k = np.nonzero(near[:, :, None] & near[:, None] & near[None])
    faces = np.stack([i, j, k], 1)[(i < j) & (j < k)]
    volume = np.linalg.det(vertices[faces])
    faces[volume < 0] = faces[volume < 0][:, ::-1]
    mesh = Mesh(vertices, faces)
    for _ in range(level):
        mesh = rounded(Mesh(mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True), mesh.faces))
    return mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True), mesh.faces


def dots(
    points: np.ndarray, radius: float | int = 0.002, color: object = CLAY, colors: np.ndarray | None = None
) -> Mesh:
    """Small spheres at ``points`` (N, 3) as one mesh; ``colors`` (N, 3) RGB paints each its own colour."""
    points = np.asarray(points, float).reshape(-1, 3)
    ball, faces = sphere(1 if len(points) < 300 else 0)
    vertices = (points[:, None] + radius * ball).reshape(-1, 3)
    faces = (faces + len(ball) * np.arange(len(points))[:, None, None]).reshape(-1, 3)
    return Mesh(vertices, faces, color, None if colors is None else np.repeat(np.asarray(colors, float), len(ball), 0))


def rods(
    starts: np.ndarray, ends: np.ndarray, radius: float | int = 0.001, color: object = CLAY, tip: float | int = 1.0
) -> Mesh:
    """Round rods from ``starts`` (N, 3) to ``ends`` (N, 3) as one mesh; ``tip`` scales the radius at the end."""
    starts, ends = np.asarray(starts, float).reshape(-1, 3), np.asarray(ends, float).reshape(-1, 3)
    along = ends - starts
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
    across = np.cross(along, np.where(np.abs(along[:, 2:]) < 0.9, [[0, 0, 1.0]], [[1.0, 0, 0]]))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    sides = 12
    turn = np.arange(sides) * 2 * np.pi / sides
    ring = radius * (across[:, None] * np.cos(turn)[:, None] + np.cross(along, across)[:, None] * np.sin(turn)[:, None])
    vertices = np.concatenate([starts[:, None] + ring, ends[:, None] + tip * ring, starts[:, None], ends[:, None]], 1)
    k, nxt = np.arange(sides), (np.arange(sides) + 1) % sides
    wall = [np.stack(t, 1) for t in ((k, nxt, sides + k), (nxt, sides + nxt, sides + k))]
    caps = [np.stack(t, 1) for t in ((nxt, k, k * 0 + 2 * sides), (sides + k, sides + nxt, k * 0 + 2 * sides + 1))]
    faces = np.concatenate(wall + caps)
    faces = (faces + vertices.shape[1] * np.arange(len(starts))[:, None, None]).reshape(-1, 3)
    return Mesh(vertices.reshape(-1, 3), faces, color)


def arrows(starts: np.ndarray, vectors: np.ndarray, radius: float | int = 0.001, color: object = CLAY) -> Mesh:
    """Arrows from ``starts`` (N, 3) along ``vectors`` (N, 3) as one mesh; heads are six radii long."""
    starts, vectors = np.asarray(starts, float).reshape(-1, 3), np.asarray(vectors, float).reshape(-1, 3)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    neck = starts + vectors * np.maximum(1 - 6 * radius / np.maximum(length, 1e-9), 0.4)
    return joined([rods(starts, neck, radius), rods(neck, starts + vectors, 2.5 * radius, tip=0.02)], color)


def skeleton(
    joints: np.ndarray, color: object = "#009E73", bone: object = "#8A8A8A", radius: float | int = 0.004
) -> list:
    """Joints (16, 3) or, with finger tips, (21, 3) as dots, and the bones between them as rods: two meshes."""
    joints = np.asarray(joints, float)
    chains = [list(c) + ([t] if len(joints) == 21 else []) for c, t in zip(BONES, TIPS, strict=True)]
    pairs = np.array([(a, b) for c in chains for a, b in zip(c[:-1], c[1:], strict=True)])
    return [dots(joints, radius, color), rods(joints[pairs[:, 0]], joints[pairs[:, 1]], 0.45 * radius, bone)]


def joined(meshes: Sequence[Mesh], color: object = None) -> Mesh:
    """Several meshes as one, in ``color`` or, without it, the colour of the first."""
    sizes = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    vertices = np.concatenate([np.asarray(m.vertices, float) for m in meshes])
    faces = np.concatenate([np.asarray(m.faces, int) + s for m, s in zip(meshes, sizes, strict=True)])
    return Mesh(vertices, faces, color or meshes[0].color)
