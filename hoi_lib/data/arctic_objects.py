"""The objects of ARCTIC: templates in millimetres with one hinge, and which of their vertices turn.

A template is a folder with ``mesh.obj`` (one mesh of both parts) and ``parts.json`` (a number per vertex of it); beside
them ``top.obj`` and ``bottom.obj`` hold the parts apart, in other triangles but in the same place.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from hoi_lib.catalogue import Hinge
from hoi_lib.data import raw
from hoi_lib.data.vocabulary import VOCABULARIES
from hoi_lib.objects import ObjectModel
from hoi_lib.topology import is_closed

HINGE = Hinge(np.zeros(3), np.array([0.0, 0.0, -1.0]), np.array([0.0, np.pi]))
UNITS = {"mm": 1e-3, "m": 1.0}  # metres in one unit


def read_object(folder: Path, name: str, units: str = "mm", top: int = 0) -> ObjectModel:
    """The object in a template's folder, in metres: part 1, whose vertices carry the number ``top``, turns about
    (0, 0, −1) through the origin. Without any such vertex the object is rigid.

    Raises :class:`RawDataError` for a damaged file, a size that no hand holds (another unit, then), a list of parts
    of another mesh, and one that ``top.obj`` and ``bottom.obj`` contradict.
    """
    scale = UNITS[units]
    path, parts_path = folder / "mesh.obj", folder / "parts.json"
    vertices, faces = read_obj(path)
    longest = np.ptp(vertices, axis=0).max() * scale
    if not 0.01 <= longest <= 1.5:
        other = "m" if units == "mm" else "mm"
        mend = f"Read in {units}; pass --option units={other} if this copy is in {other}."
        raise raw.damaged(path, f"the object would be {longest:.3g} m long", mend)
    flags = raw.expect(parts_path, "the list of parts", raw.load_json(parts_path), (len(vertices),))
    if not np.isin(flags, (0, 1)).all():
        raise raw.damaged(parts_path, "holds a number that is neither 0 nor 1")
    moves = flags == top
    if moves.all():
        raise raw.damaged(parts_path, "every vertex is marked as the moving part")
    notes = _compare_parts(folder, vertices, moves, top)
    for part, which in (("top", moves), ("bottom", ~moves)):
        own = faces[which[faces[:, 0]]]
        if len(own) and not is_closed(own):
            notes.append(f"The {part} is not watertight.")
    hinge = HINGE if moves.any() else None
    word = VOCABULARIES["arctic"].word(name)
    return ObjectModel(name, word, vertices * scale, faces, moves.astype(np.int64), hinge, tuple(notes))


def _compare_parts(
    folder: Path, vertices: Float[np.ndarray, "V 3"], moves: Bool[np.ndarray, "V"], top: int
) -> list[str]:
    """Hold ``parts.json`` against ``top.obj`` and ``bottom.obj``, where both are there: notes, or an error if it is the
    other way round. Vertices do not coincide between the files, so what counts is which has one nearer."""
    paths = [folder / "top.obj", folder / "bottom.obj"]
    if not all(path.is_file() for path in paths) or not moves.any():
        return []
    meshes = [read_obj(path)[0] for path in paths]
    if np.abs(_box(np.concatenate(meshes)) - _box(vertices)).max() > 0.2 * np.ptp(vertices, axis=0).max():
        return ["top.obj and bottom.obj lie elsewhere than mesh.obj: the parts could not be compared."]
    to_top, to_bottom = (cKDTree(mesh).query(vertices)[0] for mesh in meshes)
    agree = float(np.where(moves, to_top <= to_bottom, to_bottom <= to_top).mean())
    if agree < 0.5:
        raise raw.damaged(
            folder / "parts.json",
            f"{1 - agree:.0%} of the vertices marked as moving or resting lie on the other part's mesh",
            f"Pass --option top={1 - top}: this copy marks the moving part with {1 - top}.",
        )
    return [] if agree > 0.9 else [f"Only {agree:.0%} of parts.json agrees with top.obj and bottom.obj."]


def _box(points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "2 3"]:
    return np.stack([points.min(0), points.max(0)])


def read_obj(path: Path) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]:
    """Vertices in the order and unit of an .obj file, none merged (``parts.json`` counts them so), and triangles.

    Polygons become fans. Raises :class:`RawDataError` for a line that is none and a face without its vertices.
    """
    points, corners = [], []
    try:
        for line in raw.read_bytes(path).decode("latin1").splitlines():
            kind, *words = line.split() or [""]
            if kind == "v":
                points.append([float(word) for word in words[:3]])
            elif kind == "f":
                ids = [int(word.split("/", 1)[0]) for word in words]
                ids = [i - 1 if i > 0 else len(points) + i for i in ids]
                corners += [(ids[0], b, c) for b, c in pairwise(ids[1:])]
        vertices, faces = np.array(points, np.float64), np.array(corners, np.int64)
    except raw.DAMAGE as error:
        raise raw.damaged(path, f"no readable .obj file ({error})") from error
    vertices = raw.expect(path, "the list of vertices", vertices, (None, 3))
    faces = raw.expect(path, "the list of faces", faces, (None, 3)).astype(np.int64)
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise raw.damaged(path, "a face names a vertex that is not there")
    return vertices, faces
