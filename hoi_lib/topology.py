"""What a triangle list says about its surface: closed or not, which way it looks, its rims and its pieces.

V vertices, F faces; faces are (F, 3) integers, counter-clockwise seen from outside. Everything is vectorised, so that a
mesh of a million triangles costs seconds.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Faces = Int[np.ndarray, "F 3"]


def weld(
    vertices: Float[np.ndarray, "V 3"], faces: Faces, tolerance: float = 1e-7
) -> tuple[Float[np.ndarray, "W 3"], Int[np.ndarray, "G 3"]]:
    """Merge vertices closer than ``tolerance`` times the mesh's size, drop faces without area and repeated faces.

    Order of what stays is kept, so the same surface with shuffled or repeated vertices has the same shape.
    """
    size = max(float(np.ptp(vertices, axis=0).max()), 1e-300)
    keys = np.round((vertices - vertices.min(0)) / (tolerance * size)).astype(np.int64)
    _, first, merged = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    faces = first[merged.reshape(-1)][faces]
    a, b, c = vertices[faces].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=-1)
    distinct = (faces != np.roll(faces, 1, 1)).all(1)
    faces = faces[distinct & (area > (1e-9 * size) ** 2)]
    _, kept = np.unique(np.sort(faces, 1), axis=0, return_index=True)
    faces = faces[np.sort(kept)]
    used, compact = np.unique(faces, return_inverse=True)
    return vertices[used], compact.reshape(-1, 3)


def directed_edges(faces: Faces) -> Int[np.ndarray, "E 2"]:
    """The 3 F edges (from, to) of the faces, edge k of face f in row ``3 f + k``."""
    return np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2)


def _keys(edges: Int[np.ndarray, "E 2"]) -> Int[np.ndarray, "E"]:
    return edges[:, 0] * (int(edges.max(initial=0)) + 1) + edges[:, 1]


def is_closed(faces: Faces) -> bool:
    """True if every edge is used once in each direction: a watertight surface with one orientation."""
    edges = directed_edges(faces)
    forth, back = np.sort(_keys(edges)), np.sort(_keys(edges[:, ::-1]))
    return len(faces) > 0 and bool((forth == back).all() and (np.diff(forth) > 0).all())


def components(faces: Faces) -> Int[np.ndarray, "F"]:
    """Number of the connected piece, from 0, to which each face belongs; faces that share an edge are connected."""
    i, j, _ = _neighbours(faces)
    return connected_components(coo_matrix((np.ones_like(i), (i, j)), (len(faces), len(faces))), directed=False)[1]


def _neighbours(faces: Faces) -> tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"], Bool[np.ndarray, "N"]]:
    """Pairs of faces that share an edge, and whether they clash: both run along it in the same direction."""
    edges = directed_edges(faces)
    key = _keys(np.sort(edges, 1))
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    i, j = order[same], order[same + 1]
    return i // 3, j // 3, edges[i, 0] == edges[j, 0]


def orient(faces: Faces) -> tuple[Faces, int]:
    """Make neighbours agree on their orientation, piece by piece; returns the faces and how many were turned.

    The smaller part of a piece is turned. Every face stands in a graph twice, as it is and turned; neighbours link
    what agrees, so that a piece with two sides falls into two halves. One without (a Möbius strip) is left as it is.
    """
    count = len(faces)
    i, j, clash = _neighbours(faces)
    rows, columns = np.concatenate([i, i + count]), np.concatenate([j + count * clash, j + count * ~clash])
    half = connected_components(coo_matrix((np.ones_like(rows), (rows, columns)), (2 * count,) * 2), directed=False)[1]
    piece = components(faces)
    chosen = np.full(piece.max() + 1, -1)
    chosen[piece[::-1]] = half[:count][::-1]  # the half with the first face as it is
    turned = (half[:count] != chosen[piece]) & (half[:count] != half[count:])
    share = np.bincount(piece, turned) / np.bincount(piece)
    turned ^= (share > 0.5)[piece]
    return turn(faces, turned), int(turned.sum())


def turn(faces: Faces, which: Bool[np.ndarray, "F"]) -> Faces:
    """The faces with those of ``which`` looking the other way."""
    return np.where(which[:, None], faces[:, ::-1], faces)


def volume(vertices: Float[np.ndarray, "V 3"], faces: Faces) -> float:
    """Volume enclosed, negative for a surface that looks inwards: ``Σ a · (b × c) / 6`` about the surface's middle.

    For a surface with holes it is that of the solid which cones from the middle would close.
    """
    a, b, c = (vertices[faces] - vertices[faces].mean((0, 1))).transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)


def winding_number(point: Float[np.ndarray, "3"], vertices: Float[np.ndarray, "V 3"], faces: Faces) -> float:
    """How often the surface wraps round a point: 1 inside a closed outward one, 0 outside (van Oosterom, Strackee)."""
    a, b, c = (vertices[faces] - point).transpose(1, 0, 2)
    la, lb, lc = (np.linalg.norm(x, axis=-1) for x in (a, b, c))
    triple = (a * np.cross(b, c)).sum(-1)
    rest = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return float(np.arctan2(triple, rest).sum() / (2 * np.pi))


def boundary_loops(faces: Faces) -> list[Int[np.ndarray, "_"]]:
    """The rims of a surface, each as its vertices in the order in which the faces walk it.

    Where rims touch at a vertex they are taken apart into loops that pass it once each. Open ends, which only a
    surface that disagrees with itself has, are left out.
    """
    edges = directed_edges(faces)
    following: dict[int, list[int]] = {}
    for a, b in edges[~np.isin(_keys(edges), _keys(edges[:, ::-1]))].tolist():
        following.setdefault(a, []).append(b)
    loops = []
    for first in list(following):
        walk = [first]
        while walk:
            if not following.get(walk[-1]):
                walk.pop()
                continue
            vertex = following[walk[-1]].pop()
            if vertex in walk:
                start = walk.index(vertex)
                loops.append(np.array(walk[start:]))
                del walk[start + 1 :]
            else:
                walk.append(vertex)
    return [loop for loop in loops if len(loop) > 2]


def bodies(
    vertices: Float[np.ndarray, "V 3"], faces: Faces, most: int = 16
) -> list[tuple[Int[np.ndarray, "_ 3"], bool]]:
    """Split a surface into solids: the faces of each, and whether it is closed and looks outwards.

    Every closed piece is a solid with the cavities in it; all open pieces together are one more, since a surface in
    loose patches only has an inside as a whole. Beyond ``most`` pieces everything is one.
    """
    piece = components(faces)
    pieces = [faces[piece == k] for k in range(piece.max() + 1)] if piece.max() < most else []
    solids = [p for p in pieces if is_closed(p)]
    loose = [p for p in pieces if not is_closed(p)]
    if not pieces:
        return [(faces, False)]
    outer = sorted((p for p in solids if volume(vertices, p) > 0), key=lambda p: volume(vertices, p))
    grown = [[p] for p in outer]
    for cavity in (p for p in solids if volume(vertices, p) <= 0):
        home = next((k for k, p in enumerate(outer) if contains(vertices, p, cavity)), None)
        (grown[home] if home is not None else loose).append(cavity)
    found = [(np.concatenate(parts), True) for parts in grown]
    return [*found, (np.concatenate(loose), False)] if loose else found


def contains(vertices: Float[np.ndarray, "V 3"], outer: Faces, inner: Int[np.ndarray, "G 3"]) -> bool:
    """True if the first vertex of ``inner`` is inside the closed surface ``outer``, whichever way that looks."""
    return abs(winding_number(vertices[inner[0, 0]], vertices, outer)) > 0.5


def face_outwards(vertices: Float[np.ndarray, "V 3"], faces: Faces) -> tuple[Faces, int]:
    """Turn every outermost piece that looks inwards, with all that is in it; returns the faces and how many turned.

    What lies inside another piece keeps its sense relative to that: a cavity stays a cavity. A flat sheet stays too.
    """
    least = -1e-6 * np.linalg.norm(np.ptp(vertices, axis=0)) ** 3
    piece = components(faces)
    if piece.max() >= 64:  # crumbs are judged together
        inwards = volume(vertices, faces) < least
        return turn(faces, np.full(len(faces), inwards)), int(inwards)
    pieces = [faces[piece == k] for k in range(piece.max() + 1)]
    shells = [k for k, p in enumerate(pieces) if is_closed(p)]
    volumes = [volume(vertices, p) for p in pieces]
    inwards = np.zeros(len(pieces), bool)
    for k, p in enumerate(pieces):
        around = [j for j in shells if j != k and contains(vertices, pieces[j], p)]
        outermost = max([*around, k], key=lambda j: abs(volumes[j]))
        inwards[k] = volumes[outermost] < least
    return turn(faces, inwards[piece]), int(inwards.sum())
