"""Reading a user's mesh: any format, any unit, with holes, in pieces; what was guessed or mended is said in words."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from hoi_lib.errors import ConfigError, MeshError
from hoi_lib.topology import boundary_loops, components, face_outwards, is_closed, orient, weld

CHAPTER = "chapter 4, “Your own mesh”"
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}
MOST_FACES = 20_000
FARTHEST = 1e9  # units of a file
GRASPABLE = 0.15  # metres: the longest side given to a mesh whose unit cannot be told
Vertices = Float[np.ndarray, "_ 3"]
Faces = Int[np.ndarray, "_ 3"]


def read(source: object, scale: float | int | str | None = None) -> tuple[str, Vertices, Faces, list[str]]:
    """Name, vertices in metres, outward faces and notes of a mesh file, a trimesh mesh or a trimesh scene.

    ``scale`` is metres per unit of the source, or "mm", "cm", "m". None keeps a mesh made in memory as it is and
    guesses the unit of a file from its size. Coincident vertices are merged, faces without area dropped, orientation
    made consistent, small holes closed, and meshes beyond 20 000 faces decimated. Raises :class:`MeshError` where
    there is no surface, :class:`ConfigError` for a scale that is none.
    """
    notes: list[str] = []
    if scale is not None:
        scale = _factor(scale)
    name = "mesh"
    if isinstance(source, str | os.PathLike):
        name = Path(source).stem
        loaded, label = _load(Path(source)), str(source)
        vertices, faces = _arrays(loaded, label)
        if scale is None:
            scale = _guess_scale(np.ptp(vertices[faces.ravel()], axis=0).max(), loaded, notes)
        if Path(source).suffix.lower() in (".glb", ".gltf"):
            notes.append("glTF files have y up and here z is up: turn the mesh if it lies on its side.")
    else:
        label = f"the given {type(source).__name__}"
        vertices, faces = _arrays(source, label)
    vertices, faces = _mended(vertices * (scale or 1.0), faces, label, notes)
    longest = np.ptp(vertices, axis=0).max()
    if not 0.01 <= longest <= 0.8:
        notes.append(f"The longest side is {_length(longest)}, which no hand grasps: pass scale= if that is wrong.")
    return name, vertices, faces, notes


def _factor(scale: float | int | str) -> float:
    factor = UNITS.get(scale) if isinstance(scale, str) else scale
    if factor is None or not np.isfinite(factor) or factor <= 0:
        raise ConfigError(
            f"scale {scale!r}: expected metres per unit as a positive number, or one of {', '.join(UNITS)}.",
            "A file in millimetres has scale 0.001.",
            CHAPTER,
        )
    return float(factor)


def _load(path: Path) -> object:
    """The trimesh object in a file, untouched."""
    import trimesh

    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise MeshError(f"{path}: {what}.", "Give the path of a mesh file, such as mug.obj.", CHAPTER)
    if path.suffix.lower().lstrip(".") not in trimesh.available_formats():
        known = "OBJ, PLY, STL, OFF or GLB"
        raise MeshError(
            f"{path}: meshes in the format {path.suffix!r} cannot be read.", f"Save it as {known}.", CHAPTER
        )
    with _quiet():
        try:
            if path.stat().st_size == 0:
                raise MeshError(f"{path}: the file is empty.", "Save the mesh again.", CHAPTER)
            return trimesh.load(path, process=False)
        except MeshError:
            raise
        except Exception as error:  # a loader may fail in any way on a damaged file
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise MeshError(
                f"{path}: no mesh can be read from it ({reason}).", "Save it again as OBJ, PLY, STL or GLB.", CHAPTER
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep loaders from printing their own warnings: what matters comes back as one line of ours."""
    logger = logging.getLogger("trimesh")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _arrays(loaded: object, label: str) -> tuple[Vertices, Faces]:
    """All triangles of a mesh or scene in its own frame, checked to be finite and to be there."""
    import trimesh

    with _quiet():
        if isinstance(loaded, trimesh.Scene):
            meshes = [m for m in loaded.dump() if isinstance(m, trimesh.Trimesh) and len(m.faces)]
        else:
            meshes = [loaded] if isinstance(loaded, trimesh.Trimesh) and len(loaded.faces) else []
    if not meshes:
        count = len(getattr(loaded, "vertices", ()))
        held = f"{count} points and no faces" if count else "no faces"
        raise MeshError(
            f"{label}: it holds {held}: expected a triangle mesh.",
            "Turn a point cloud into a surface first (Poisson reconstruction in MeshLab or Open3D)." if count else None,
            CHAPTER,
        )
    if any(np.shape(m.vertices)[1:] != (3,) or np.shape(m.faces)[1:] != (3,) for m in meshes):
        raise MeshError(f"{label}: its vertices have other than three coordinates.", "Save the mesh again.", CHAPTER)
    offsets = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
    vertices = np.concatenate([np.asarray(m.vertices, np.float64) for m in meshes])
    faces = np.concatenate([np.asarray(m.faces, np.int64) + o for m, o in zip(meshes, offsets, strict=True)])
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise MeshError(f"{label}: a face names a vertex that is not there.", "Save the mesh again.", CHAPTER)
    bad = ~(np.abs(vertices) < FARTHEST).all(1)
    if bad.any():
        what = "not finite, or farther away than any unit explains"
        raise MeshError(f"{label}: {bad.sum()} of {len(bad)} vertices are {what}.", "Save the mesh again.", CHAPTER)
    return vertices, faces


def _guess_scale(longest: float, loaded: object, notes: list[str]) -> float:
    """Metres per unit of a file whose longest side is ``longest`` units, such that a hand could hold it."""
    if 0.01 <= longest <= 0.8 or longest == 0:
        return 1.0
    shown = f"The longest side is {longest:.4g} units"
    if 3 < longest <= 30:
        notes.append(f"{shown}: read as centimetres. Pass scale= if that is wrong.")
        return 0.01
    if 30 < longest <= 1500:
        notes.append(f"{shown}: read as millimetres. Pass scale= if that is wrong.")
        return 0.001
    notes.append(f"{shown}, which fits no unit: scaled to {_length(GRASPABLE)}. Pass scale= for the true size.")
    return GRASPABLE / longest


def _mended(vertices: Vertices, faces: Faces, label: str, notes: list[str]) -> tuple[Vertices, Faces]:
    """Merge, drop, decimate, orient and close, noting what changed anything that matters."""
    vertices, faces = weld(vertices, faces)
    if len(faces) == 0:
        raise MeshError(f"{label}: none of its faces has an area.", "Save the mesh again.", CHAPTER)
    if len(faces) > MOST_FACES:
        before = len(faces)
        vertices, faces = _decimated(vertices, faces)
        notes.append(f"Decimated from {before} to {len(faces)} triangles.")
    if not is_closed(faces):
        faces, turned = orient(faces)
        if turned:
            notes.append(f"Turned {turned} triangles that looked the wrong way.")
    vertices, faces, closed = _close_holes(vertices, faces)
    if closed:
        notes.append(f"Closed {closed} small hole{'s' * (closed > 1)}.")
    faces, pieces = face_outwards(vertices, faces)
    if pieces:
        notes.append("Turned the surface inside out: its faces looked inwards.")
    if not is_closed(faces):
        notes.append(
            "The surface is not watertight: inside is where the generalised winding number is above one half"
            " (an open sheet has no inside)."
        )
    return vertices, faces


def _decimated(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    import fast_simplification

    centre, size = vertices.mean(0), np.ptp(vertices, axis=0).max()
    unit = ((vertices - centre) / size).astype(np.float32)
    unit, faces = fast_simplification.simplify(unit, faces.astype(np.int32), target_count=MOST_FACES)
    return weld(unit.astype(np.float64) * size + centre, faces.astype(np.int64))


def _close_holes(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces, int]:
    """Fill each hole whose rim is no wider than a fifth of the mesh with a fan round its middle."""
    limit = 0.2 * np.linalg.norm(np.ptp(vertices, axis=0))
    added_vertices, added_faces = [vertices], [faces]
    count = len(vertices)
    piece = components(faces)
    alone = {frozenset(face) for face in faces[np.bincount(piece)[piece] == 1].tolist()}  # a triangle is no hole
    for loop in boundary_loops(faces):
        rim = vertices[loop]
        if frozenset(loop.tolist()) in alone or np.linalg.norm(np.ptp(rim, axis=0)) > limit:
            continue
        if len(loop) == 3:
            added_faces.append(loop[None, ::-1])
        else:
            added_faces.append(np.stack([np.roll(loop, -1), loop, np.full(len(loop), count)], -1))
            added_vertices.append(rim.mean(0, keepdims=True))
            count += 1
    return np.concatenate(added_vertices), np.concatenate(added_faces), len(added_faces) - 1


def _length(metres: float) -> str:
    return (
        f"{metres:.3g} m" if metres >= 1 else f"{100 * metres:.3g} cm" if metres >= 0.01 else f"{1e3 * metres:.3g} mm"
    )
