"""Objects: a mesh, perhaps with a hinge, its 1 024 surface points, and its exact signed distance.

The object frame has z up as the thing stands on a table, metres. Part 0 is the base; part 1, where there is one, turns
by the hinge angle about the hinge's axis. Catalogue objects, random ones and meshes of a user's own are all the same
:class:`ObjectModel`.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from hoi_lib import catalogue as _catalogue
from hoi_lib import random_shapes as _random_shapes
from hoi_lib.catalogue import Hinge, Solid
from hoi_lib.errors import MeshError, StoreError
from hoi_lib.records import atomic
from hoi_lib.rotations import axis_angle_to_matrix
from hoi_lib.shapes import Surface

if TYPE_CHECKING:
    from hoi_lib.distance import DistanceGrid, SurfaceQuery

__all__ = [
    "ARTICULATED",
    "CATEGORIES",
    "HELD_OUT_SEEDS",
    "Hinge",
    "ObjectModel",
    "catalogue",
    "load_object",
    "random_shape",
]

CATEGORIES = tuple(_catalogue.MAKERS)
ARTICULATED = ("laptop", "lidded_box", "notebook", "pliers")
HELD_OUT_SEEDS = _random_shapes.HELD_OUT_SEEDS
POINTS = 1024
Array = np.ndarray
Points = Num[Array, "... 3"] | Float[Tensor, "... 3"] | Sequence


@dataclass(frozen=True, eq=False)
class ObjectModel:
    """A rigid or hinged object in its own frame.

    ``vertices`` (V, 3) float64 metres at hinge angle 0, ``faces`` (F, 3) int64 looking outwards, ``part`` (V,) 0 for
    the base and 1 for what moves, ``hinge`` or None. ``notes`` tells in words what was guessed or mended on reading.
    """

    name: str
    category: str
    vertices: Array
    faces: Array
    part: Array
    hinge: Hinge | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def from_mesh(
        cls,
        source: object,
        name: str | None = None,
        category: str = "object",
        scale: float | int | str | None = None,
    ) -> ObjectModel:
        """Read a user's mesh: a path in any format trimesh knows, or a trimesh mesh or scene.

        ``scale`` is metres per unit of the file, or "mm", "cm", "m"; None guesses it from the size. The frame of the
        file is kept. Raises :class:`MeshError` where there is no surface to hold.
        """
        from hoi_lib.meshfile import read

        stem, vertices, faces, notes = read(source, scale)
        return cls(name or stem, category, vertices, faces, np.zeros(len(vertices), np.int64), None, tuple(notes))

    @property
    def bounds(self) -> Float[Array, "2 3"]:
        """Lowest and highest corner of the closed object's box, metres."""
        return np.stack([self.vertices.min(0), self.vertices.max(0)])

    @cached_property
    def _samples(self) -> tuple[Array, Array, Array]:
        return _farthest_samples(self.vertices, self.faces, self.part, POINTS)

    @property
    def points(self) -> Float[Array, "1024 3"]:
        """Farthest-point samples of the surface at hinge angle 0, float32 metres."""
        return self._samples[0]

    @property
    def normals(self) -> Float[Array, "1024 3"]:
        """Outward unit normals of the faces on which :attr:`points` lie, float32."""
        return self._samples[1]

    @property
    def point_part(self) -> Array:
        """Part (1024,) of each of :attr:`points`, int64."""
        return self._samples[2]

    def hinge_numbers(self) -> Float[Array, "6"]:
        """A point on the hinge and its unit axis, float32; zeros for a rigid object."""
        if self.hinge is None:
            return np.zeros(6, np.float32)
        return np.concatenate([self.hinge.origin, self.hinge.axis]).astype(np.float32)

    def posed_vertices(self, angle: float | int | Array | None = None) -> Array:
        """Vertices in the object's frame at a hinge angle: (V, 3), or (L, V, 3) for an angle (L,)."""
        if angle is None or self.hinge is None:
            shape = np.shape(angle) if angle is not None else ()
            return np.broadcast_to(self.vertices, (*shape, *self.vertices.shape)).copy()
        turned = self._turn(torch.from_numpy(self.vertices), torch.as_tensor(angle, dtype=torch.float64)[..., None])
        return np.where((self.part == 1)[:, None], turned.numpy(), self.vertices)

    def signed_distance(self, points: Points, angle: float | int | Array | Tensor | None = None) -> Array | Tensor:
        """Exact distance (...) in metres from points in the object's frame to its surface, negative inside.

        ``angle`` is None (closed), a number, or an array that broadcasts over the leading axes: points (L, N, 3) with
        angle (L,). The object is the union of its parts. Numpy in, numpy out; torch in, torch out, differentiable in
        the points and the angle.
        """
        return self.closest(points, angle)[0]

    def closest(
        self, points: Points, angle: float | int | Array | Tensor | None = None
    ) -> tuple[Array, Array, Array] | tuple[Tensor, Tensor, Tensor]:
        """Signed distance (...), nearest surface point (..., 3) and outward unit normal (..., 3) there.

        The normal is the gradient of the distance; on the surface itself it is the face's. Shapes and ``angle`` as in
        :meth:`signed_distance`.
        """
        if isinstance(points, Tensor):
            return self._closest(points, angle)
        array = np.ascontiguousarray(points)
        array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
        return tuple(x.numpy() for x in self._closest(torch.from_numpy(array), angle))

    def grid(self, spacing: float = 0.002, margin: float = 0.03, part: int = 0) -> DistanceGrid:
        """Signed distance to one part in its closed place, sampled every ``spacing`` metres for solvers.

        The grid covers the part's box and ``margin`` metres round it. For part 1 at a hinge angle, turn the points
        back with :meth:`unhinge` first.
        """
        from hoi_lib.distance import distance_grid

        return distance_grid(self._queries[part], spacing, margin)

    def unhinge(self, points: Float[Tensor, "... 3"], angle: float | int | Array | Tensor) -> Float[Tensor, "... 3"]:
        """Points (..., 3) turned back about the hinge by ``angle``: where part 1 is closed again, as they see it."""
        return self._turn(points, -self._spread(points, angle))

    def save(self, path: str | os.PathLike) -> None:
        """Write everything, samples included, to one ``.npz`` in one piece; or raise :class:`OutputError`."""
        hinge = {f"hinge_{k}": v for k, v in vars(self.hinge).items()} if self.hinge else {}
        arrays = {k: getattr(self, k) for k in ("vertices", "faces", "part", "points", "normals", "point_part")}
        words = {"name": self.name, "category": self.category, "notes": np.array(self.notes, dtype=np.str_)}
        with atomic(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays, **hinge, **words)

    @classmethod
    def load(cls, path: str | os.PathLike) -> ObjectModel:
        """Read what :meth:`save` wrote; raises :class:`StoreError` for a file that is missing or damaged."""
        try:
            with np.load(path, allow_pickle=False) as file:
                data = dict(file)
            hinge = None
            if "hinge_axis" in data:
                hinge = Hinge(data["hinge_origin"], data["hinge_axis"], data["hinge_limits"])
            model = cls(
                str(data["name"]), str(data["category"]), data["vertices"], data["faces"], data["part"], hinge,
                tuple(str(note) for note in data["notes"]),
            )  # fmt: skip
            model.__dict__["_samples"] = data["points"], data["normals"], data["point_part"]
            return model
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise StoreError(
                f"{path}: no readable object model ({type(error).__name__}).", "Build the data folder again."
            ) from error

    @cached_property
    def _queries(self) -> list[SurfaceQuery]:
        """One query per part, in order."""
        vertices = np.asarray(self.vertices, np.float64).tobytes()
        parts = range(1 if self.hinge is None else 2)
        return [_query(vertices, self.faces[self.part[self.faces[:, 0]] == part].tobytes()) for part in parts]

    def _origin(self, like: Tensor) -> Tensor:
        return torch.as_tensor(self.hinge.origin, dtype=like.dtype, device=like.device)

    def _turn(self, points: Tensor, angle: Tensor) -> Tensor:
        """Turn points (..., 3) about the hinge by angle (...)."""
        axis = torch.as_tensor(self.hinge.axis, dtype=points.dtype, device=points.device)
        turn = axis_angle_to_matrix(axis * angle[..., None])
        return (turn @ (points - self._origin(points))[..., None])[..., 0] + self._origin(points)

    def _spread(self, points: Tensor, angle: float | int | Array | Tensor) -> Tensor:
        """The angle as a tensor that broadcasts over points (..., 3), aligned with their leading axes."""
        spread = torch.as_tensor(angle, dtype=points.dtype, device=points.device)
        lead = points.shape[: spread.dim()]
        if spread.dim() >= points.dim() or any(a not in (1, b) for a, b in zip(spread.shape, lead, strict=True)):
            raise ValueError(
                f"angle {tuple(spread.shape)} does not fit the leading axes of points {tuple(points.shape)}"
            )
        return spread.reshape(*spread.shape, *[1] * (points.dim() - 1 - spread.dim()))

    def _closest(self, points: Tensor, angle: float | int | Array | Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Nearest over the parts; the query points are turned back for part 1, and its answers forth."""
        best = None
        for part, query in enumerate(self._queries):
            turn = None if part == 0 or angle is None else self._spread(points, angle)
            local = points if turn is None else self._turn(points, -turn)
            nearest, normal = (x.reshape(points.shape) for x in query(local.detach().reshape(-1, 3)))
            distance = ((local - nearest) * normal).sum(-1)
            if turn is not None:
                with torch.no_grad():
                    nearest = self._turn(nearest, turn)
                    normal = self._turn(normal + self._origin(normal), turn) - self._origin(normal)
            if best is not None:
                closer = distance < best[0]
                nearest = torch.where(closer[..., None], nearest, best[1])
                normal = torch.where(closer[..., None], normal, best[2])
                distance = torch.where(closer, distance, best[0])
            best = distance, nearest, normal
        return best


@lru_cache(maxsize=32)  # the same object comes back from every store that holds it
def _query(vertices: bytes, faces: bytes) -> SurfaceQuery:
    """The query of one part: float64 vertices (V, 3) and int64 faces (F, 3), as bytes, which can be looked up."""
    from hoi_lib.distance import SurfaceQuery, is_simple
    from hoi_lib.topology import bodies

    corners = np.frombuffer(vertices).reshape(-1, 3)
    solids = bodies(corners, np.frombuffer(faces, np.int64).reshape(-1, 3))
    surfaces = [Surface(corners, triangles) for triangles, _ in solids]
    trusted = [closed and is_simple(s) for s, (_, closed) in zip(surfaces, solids, strict=True)]
    return SurfaceQuery(surfaces, trusted)


def catalogue() -> tuple[str, ...]:
    """Names of the procedural objects, ``"<category>_<small|medium|large>"``."""
    return tuple(f"{category}_{size}" for category in CATEGORIES for size in _catalogue.SIZES)


@cache
def load_object(name: str) -> ObjectModel:
    """The catalogue object of this name, or ``"shape_<seed>"`` for a random one; raises :class:`MeshError`."""
    kind, _, tail = name.rpartition("_")
    if kind in CATEGORIES and tail in _catalogue.SIZES:
        return _model(name, kind, _catalogue.make(kind, tail))
    if kind == "shape" and tail.isdigit():
        return random_shape(int(tail))
    raise MeshError(
        f"no object is called {name!r}: expected a category and a size, such as {catalogue()[0]!r}.",
        f"The categories are {', '.join(CATEGORIES)}.",
    )


def random_shape(seed: int) -> ObjectModel:
    """A random lathed or superquadric object, the same for the same seed."""
    return _model(f"shape_{seed}", "object", _random_shapes.random_solid(seed))


def _model(name: str, category: str, solid: Solid) -> ObjectModel:
    offsets = np.cumsum([0, *(len(v) for v, _ in solid.parts)])
    return ObjectModel(
        name,
        category,
        np.concatenate([v for v, _ in solid.parts]),
        np.concatenate([f + o for (_, f), o in zip(solid.parts, offsets, strict=False)]),
        np.repeat(np.arange(len(solid.parts)), np.diff(offsets)),
        solid.hinge,
    )


def _farthest_samples(vertices: Array, faces: Array, part: Array, count: int) -> tuple[Array, Array, Array]:
    """``count`` points spread over the surface: farthest ones among sixteen times as many area-weighted samples."""
    rng = np.random.default_rng(0)
    corners = vertices[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=-1)
    levels = (np.arange(16 * count) + rng.random(16 * count)) / (16 * count)
    face = np.minimum(np.searchsorted(np.cumsum(area) / area.sum(), levels), len(faces) - 1)
    u, v = rng.random((2, len(face), 1))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    a, b, c = (corners[face, i] for i in range(3))
    dense = (a + u * (b - a) + v * (c - a)).astype(np.float32)
    keep = farthest_points(dense, count)
    normal = cross[face[keep]] / np.maximum(area[face[keep], None], 1e-300)
    return dense[keep], normal.astype(np.float32), part[faces[face[keep], 0]]


def farthest_points(points: Float[Array, "N 3"], count: int) -> Array:
    """Indices (count,) of points chosen one after the other, each farthest from those before."""
    columns = np.ascontiguousarray(points.T)
    distance = np.full(len(points), np.inf, points.dtype)
    keep = np.zeros(count, np.int64)
    for i in range(1, count):
        x, y, z = columns - points[keep[i - 1], :, None]
        np.minimum(distance, x * x + y * y + z * z, out=distance)
        keep[i] = distance.argmax()
    return keep
