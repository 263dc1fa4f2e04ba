"""What a processed Text2HOI folder does not say outright: whose clip it is, and which surface the points lie on.

Clips of ARCTIC and GRAB carry no subject. They were written subject by subject, so runs of clips are found and named:
in ARCTIC the betas change with the person, in GRAB the paths were sorted as text (s1, s10, s2, …), so a new person
begins where the names of objects start over. H2O has a subject field that, with a data folder of two parts, holds the
place ("h1") instead; sorted paths start over there too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial import ConvexHull, QhullError, cKDTree

from hoi_lib.data import raw
from hoi_lib.data.arctic_objects import HINGE, read_object
from hoi_lib.data.published import PUBLISHED
from hoi_lib.errors import MeshError, RawDataError
from hoi_lib.objects import ObjectModel
from hoi_lib.topology import turn

CHAPTER = "chapter 4, “Text2HOI's files”"
MESHES = ("meshes", "downloads/data/meta/object_vtemplates", "processed_object_meshes", "contact_meshes", "object", ".")
ASIDE = 0.02  # metres by which the box of the points may miss that of their mesh
AGREE = 0.5  # share of the points whose part is that of the nearest vertex; thin parts that lie together are mixed up
POINTS = 1024
SAME_SHAPE = 1e-4  # betas of one person, stored as float32, differ by less

# in the order in which the clips of a set were written
ORDER = {
    "arctic": ("s01", "s02", "s04", "s05", "s06", "s07", "s08", "s09", "s10"),
    "grab": ("s1", "s10", *(f"s{n}" for n in range(2, 10))),
    "h2o": ("subject1", "subject2", "subject3"),
}


# ---------------------------------------------------------------------------------------------------------- subjects


def starts_over(keys: Sequence[str]) -> np.ndarray:
    """Block (N,) of each entry, counted from 0: a new one begins where a key is less than the one before."""
    return np.cumsum([0, *(b < a for a, b in zip(keys, keys[1:], strict=False))])


def changes(rows: np.ndarray, tolerance: float = SAME_SHAPE) -> np.ndarray:
    """Block (N,) of each row of numbers (N, D): a new one begins where any of them changes by more than rounding."""
    return np.cumsum([0, *(np.abs(np.diff(rows, axis=0)).max(1, initial=0) > tolerance)])


def named(flavour: str, candidates: Sequence[np.ndarray]) -> list[str] | None:
    """Subjects (N,) of the first candidate with as many blocks as the set has subjects, or one less (without the test
    subject, as Text2HOI's "comment or not" allows); None where no candidate has."""
    known = ORDER[flavour]
    test = PUBLISHED[flavour].splits["test"]
    for order in (known, tuple(subject for subject in known if subject not in test)):
        for blocks in candidates:
            if blocks[-1] + 1 == len(order):
                return [order[block] for block in blocks]
    return None


def recovered(
    flavour: str, objects: Sequence[str], betas: np.ndarray, subject: Sequence[str], background: Sequence[str]
) -> list[str] | None:
    """Subjects (N,) of the clips of a folder, or None where they cannot be told.

    ``objects`` (N,) are the raw names; ``betas`` (N, 20) of both hands, for ARCTIC; ``subject`` and ``background``
    (N,) H2O's own fields, which hold what two parts of a path held.
    """
    if flavour == "arctic":
        return named(flavour, (changes(betas), starts_over([f"{name}_" for name in objects])))
    if flavour == "grab":
        return named(flavour, (starts_over([f"{name}_" for name in objects]),))
    for field in (subject, background):
        if set(field) <= set(ORDER["h2o"]):
            return list(field)
    if all(re.fullmatch(r"[a-z]\d", place) for place in subject):
        return named(flavour, (starts_over([f"{place}/{n}/" for place, n in zip(subject, background, strict=True)]),))
    return None


def from_option(option: str, blocks: np.ndarray, path: Path) -> list[str]:
    """Subjects (N,) as the user gives them: a file with one name per clip (a JSON list or lines), or names for the
    runs of clips in their order, separated by commas."""
    file = Path(option)
    if file.is_file():
        text = raw.read_text(file)
        names = raw.load_json(file) if text.lstrip().startswith("[") else text.split()
        if not isinstance(names, list) or len(names) != len(blocks) or not all(isinstance(n, str) and n for n in names):
            raise raw.damaged(file, f"holds no list of {len(blocks)} subjects, one for each clip", None)
        return names
    names = [name.strip() for name in option.split(",")]
    if len(names) != blocks[-1] + 1 or not all(names):
        raise RawDataError(
            f"{path}: subjects={option!r} names {len(names)} subjects, the clips come in {blocks[-1] + 1} runs.",
            "Give a file with one subject per clip: --option subjects=FILE.", CHAPTER,
        )  # fmt: skip
    return [names[block] for block in blocks]


# ----------------------------------------------------------------------------------------------------------- objects


def object_table(path: Path) -> dict:
    """The content of ``obj.pkl``, its keys checked: object_name, obj_pcs, obj_pc_normals, obj_path, …"""
    table = raw.load_pickle(path)
    wanted = ("obj_pcs", "obj_pc_normals", "obj_path")
    if not isinstance(table, dict) or not all(isinstance(table.get(key), dict) for key in wanted):
        raise raw.damaged(path, f"holds no {', '.join(wanted)} of objects")
    names = table.get("object_name")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise raw.damaged(path, "object_name is no list of names")
    return table


def object_model(path: Path, table: dict, name: str, word: str, flavour: str, meshes: str | None) -> ObjectModel:
    """The model of one object: the mesh that ``obj_path`` names, with the 1 024 points of ``table`` as its samples.

    ``meshes`` is the folder of the meshes, None to look for it beside ``path``, or "hull" to wrap the points in their
    convex hull, part by part, where there are none. Raises :class:`RawDataError`.
    """
    if name not in table["obj_pcs"]:
        raise raw.damaged(path, f"holds no object called {name!r}", None)
    points, normals, part = _cloud(path, table, name)
    model = None
    if meshes != "hull":
        model = _from_mesh(_mesh_file(path, table, name, meshes), name, word, flavour)
        miss = np.abs(model.bounds - np.stack([points.min(0), points.max(0)])).max()
        if miss > ASIDE:
            raise raw.damaged(
                path, f"the points of {name} lie {1000 * miss:.0f} mm beside its mesh: another object or unit", None
            )
        nearest = cKDTree(model.vertices).query(points)[1]
        if not (agree := (model.part[nearest] == part).mean()) >= AGREE:
            raise raw.damaged(path, f"{1 - agree:.0%} of the points of {name} lie on the other part of its mesh", None)
    else:
        model = _hull(points.astype(np.float64), part, name, word)
    model.__dict__["_samples"] = points, normals, part
    return model


def _cloud(path: Path, table: dict, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points = raw.expect(path, f"the points of {name}", table["obj_pcs"][name], (POINTS, 3), within=1.5)
    normals = raw.expect(
        path, f"the normals of {name}", table["obj_pc_normals"].get(name), (POINTS, 3), within=1.0 + 1e-3
    )
    part = np.zeros(POINTS, np.int64)
    if isinstance(table.get("obj_pc_top"), dict):
        top = raw.expect(path, f"the parts of {name}", table["obj_pc_top"].get(name), (POINTS,))
        if not np.isin(top, (0, 1)).all():
            raise raw.damaged(path, f"the parts of {name} hold a number that is neither 0 nor 1")
        part = top.astype(np.int64)
    return points.astype(np.float32), normals.astype(np.float32), part


def _mesh_file(path: Path, table: dict, name: str, meshes: str | None) -> Path:
    stated = table["obj_path"].get(name)
    if not isinstance(stated, str):
        raise raw.damaged(path, f"obj_path names no file for {name}")
    roots = [Path(meshes)] if meshes else [path.parent / place for place in MESHES]
    for root in roots:
        if (file := raw.inside(root, stated)).is_file():
            return file
    raise RawDataError(
        f"{raw.inside(roots[0], stated)}: missing, the mesh of {name}.",
        "Name their folder with --option meshes=DIR, or do with the hull of the points: meshes=hull.",
        CHAPTER,
    )


def _from_mesh(file: Path, name: str, word: str, flavour: str) -> ObjectModel:
    if flavour == "arctic":
        return replace(read_object(file.parent, name), category=word)
    try:
        return ObjectModel.from_mesh(file, name, word, scale="m")
    except MeshError as error:
        raise RawDataError(error.what, error.mend, CHAPTER) from error


def _hull(points: np.ndarray, part: np.ndarray, name: str, word: str) -> ObjectModel:
    """The convex hull of the points of each part, for want of a mesh."""
    vertices, faces, parts, offset = [], [], [], 0
    for number in np.unique(part):
        own = points[part == number]
        try:
            hull = ConvexHull(own)
        except QhullError as error:
            raise MeshError(f"{name}: its points span no volume.") from error
        corners = np.unique(hull.simplices)
        a, b, c = own[hull.simplices].transpose(1, 0, 2)
        inwards = (np.cross(b - a, c - a) * hull.equations[:, :3]).sum(1) < 0
        vertices.append(own[corners])
        faces.append(turn(np.searchsorted(corners, hull.simplices).astype(np.int64), inwards) + offset)
        parts.append(np.full(len(corners), number))
        offset += len(corners)
    note = "No mesh: the convex hull of its points stands for it, hollows and handles filled."
    hinge = HINGE if part.any() else None
    return ObjectModel(
        name, word, np.concatenate(vertices), np.concatenate(faces), np.concatenate(parts), hinge, (note,)
    )
