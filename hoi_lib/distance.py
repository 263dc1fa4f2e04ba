"""Exact signed distance to triangle meshes (NVIDIA Warp, CPU and CUDA), and a trilinear grid of it for solvers.

Warp's bounding-volume hierarchy finds the nearest triangle in float32; the nearest point on it is then computed in
float64. The sign comes from that triangle's normal where it is beyond doubt (outside the bounding box, or the nearest
point well inside a triangle of a closed surface), and from the generalised winding number everywhere else. That is
exact for a watertight surface, robust for one with holes, and several times faster than winding numbers alone.
"""

# ruff: noqa: UP018 - warp takes int(0) for a variable
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import warp as wp
from jaxtyping import Float
from torch import Tensor

from hoi_lib.shapes import Surface
from hoi_lib.warp_start import start_warp

CHUNK = 1 << 20  # queries in one launch: 1 M points, under 100 MB of buffers
SLIM, SHORT = 30.0, 0.01  # triangles longer than SHORT metres are split until at most SLIM times as long as high
CLOSE = wp.constant(1.0e-4)  # nearer than this the faces around are compared in float64

start_warp()


@wp.struct
class Bodies:
    """B meshes with their exact corners: body b has the faces from ``first[b]`` on, in a box, ``low`` to ``high``."""

    mesh: wp.array(dtype=wp.uint64)
    first: wp.array(dtype=wp.int32)
    low: wp.array(dtype=wp.vec3d)
    high: wp.array(dtype=wp.vec3d)
    closed: wp.array(dtype=wp.int32)
    corners: wp.array2d(dtype=wp.vec3d)


@wp.func
def nearest_weights(p: wp.vec3d, a: wp.vec3d, b: wp.vec3d, c: wp.vec3d) -> wp.vec3d:
    """Barycentric weights of the point of triangle abc nearest to p (Ericson, Real-Time Collision Detection, 5.1.5)."""
    zero, one = wp.float64(0.0), wp.float64(1.0)
    ab, ac, ap, bp, cp = b - a, c - a, p - a, p - b, p - c
    d1, d2, d3, d4, d5, d6 = (
        wp.dot(ab, ap),
        wp.dot(ac, ap),
        wp.dot(ab, bp),
        wp.dot(ac, bp),
        wp.dot(ab, cp),
        wp.dot(ac, cp),
    )
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    if d1 <= zero and d2 <= zero:
        return wp.vec3d(one, zero, zero)
    if d3 >= zero and d4 <= d3:
        return wp.vec3d(zero, one, zero)
    if d6 >= zero and d5 <= d6:
        return wp.vec3d(zero, zero, one)
    if vc <= zero and d1 >= zero and d3 <= zero:
        v = d1 / (d1 - d3)
        return wp.vec3d(one - v, v, zero)
    if vb <= zero and d2 >= zero and d6 <= zero:
        w = d2 / (d2 - d6)
        return wp.vec3d(one - w, zero, w)
    if va <= zero and d4 >= d3 and d5 >= d6:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return wp.vec3d(zero, one - w, w)
    return wp.vec3d(va, vb, vc) / (va + vb + vc)


@wp.func
def point_on(bodies: Bodies, face: int, weights: wp.vec3d) -> wp.vec3d:
    """The point of a face with these barycentric weights."""
    return (
        bodies.corners[face, 0] * weights[0]
        + bodies.corners[face, 1] * weights[1]
        + bodies.corners[face, 2] * weights[2]
    )


@wp.func
def nearest_face(bodies: Bodies, b: int, p: wp.vec3d, p32: wp.vec3) -> int:
    """The face of body b nearest to p: Warp's choice and, this close to the surface, every face that may beat it."""
    best = bodies.first[b] + wp.mesh_query_point_no_sign(bodies.mesh[b], p32, 1.0e30).face
    weights = nearest_weights(p, bodies.corners[best, 0], bodies.corners[best, 1], bodies.corners[best, 2])
    distance = wp.length(p - point_on(bodies, best, weights))
    if distance < wp.float64(CLOSE):
        reach = float(distance) * 1.001 + 1.0e-7
        around = wp.mesh_query_aabb(bodies.mesh[b], p32 - wp.vec3(reach), p32 + wp.vec3(reach))
        face = int(0)
        while wp.mesh_query_aabb_next(around, face):
            other = bodies.first[b] + face
            weights = nearest_weights(p, bodies.corners[other, 0], bodies.corners[other, 1], bodies.corners[other, 2])
            length = wp.length(p - point_on(bodies, other, weights))
            if length < distance:
                distance = length
                best = other
    return best


@wp.kernel(enable_backward=False)
def find_nearest(
    bodies: Bodies,
    points: wp.array(dtype=wp.vec3d),
    nearest: wp.array(dtype=wp.vec3d),
    normal: wp.array(dtype=wp.vec3d),
):
    """Nearest point of the union and the outward normal there, one query a thread."""
    i = wp.tid()
    p = points[i]
    p32 = wp.vec3(float(p[0]), float(p[1]), float(p[2]))
    best = wp.float64(1.0e30)
    for b in range(bodies.mesh.shape[0]):
        face = nearest_face(bodies, b, p, p32)
        x, y, z = bodies.corners[face, 0], bodies.corners[face, 1], bodies.corners[face, 2]
        weights = nearest_weights(p, x, y, z)
        c = point_on(bodies, face, weights)
        n = wp.normalize(wp.cross(y - x, z - x))
        d = wp.length(p - c)
        cosine = wp.dot(p - c, n) / wp.max(d, wp.float64(1.0e-12))
        sign = wp.float64(1.0)
        outside = bool(False)
        for k in range(3):
            if p[k] < bodies.low[b][k] or p[k] > bodies.high[b][k]:
                outside = True
        if not outside:
            if bodies.closed[b] != 0 and wp.min(weights) > wp.float64(1.0e-3) and wp.abs(cosine) > wp.float64(0.999):
                sign = wp.sign(cosine)
            else:
                sign = wp.float64(wp.mesh_query_point_sign_winding_number(bodies.mesh[b], p32, 1.0e30).sign)
        if sign * d < best:
            best = sign * d
            nearest[i] = c
            if d > wp.float64(1.0e-9):
                n = (p - c) * (sign / d)
            normal[i] = n


class SurfaceQuery:
    """Nearest surface point of a union of bodies.

    ``bodies`` are surfaces in metres; ``closed`` says of each whether it is watertight and looks outwards everywhere.
    Calling it with points (N, 3) gives the nearest points (N, 3) and the outward unit normals (N, 3) there, such that
    ``(point - nearest) · normal`` is the signed distance: the gradient of the distance off the surface, the face's
    normal on it. The smallest signed distance wins, so in an overlap of bodies the depth is that below the deeper one.
    """

    def __init__(self, bodies: Sequence[Surface], closed: Sequence[bool]):
        corners = [vertices[faces] for vertices, faces in bodies]
        self.low, self.high = (f([f(c, (0, 1)) for c in corners], 0) for f in (np.min, np.max))
        self.centre = (self.low + self.high) / 2
        self.corners = [split_slim(c - self.centre) for c in corners]
        self.closed = list(closed)
        self._on_device: dict[str, tuple[Bodies, list[wp.Mesh]]] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_on_device": {}}  # handles belong to one process

    @torch.no_grad()
    def __call__(self, points: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"]]:
        """Nearest surface points and outward unit normals there, in the dtype and on the device of ``points``."""
        device = str(points.device) if points.is_cuda and wp.is_cuda_available() else "cpu"
        bodies = self._bodies(device)
        centre = torch.as_tensor(self.centre, device=device)
        nearest, normal = torch.empty_like(points), torch.empty_like(points)
        for start in range(0, len(points), CHUNK):
            block = slice(start, start + CHUNK)
            local = (points[block].to(device, torch.float64) - centre).contiguous()
            spots, normals = torch.empty_like(local), torch.empty_like(local)
            arrays = [wp.from_torch(x, dtype=wp.vec3d) for x in (local, spots, normals)]
            wp.launch(find_nearest, len(local), inputs=[bodies, *arrays], device=device)
            nearest[block] = (spots + centre).to(nearest)
            normal[block] = normals.to(normal)
        return nearest, normal

    def _bodies(self, device: str) -> Bodies:
        if device not in self._on_device:
            meshes, out = [], Bodies()
            for corners in self.corners:
                points = wp.array(corners.reshape(-1, 3).astype(np.float32), dtype=wp.vec3, device=device)
                indices = wp.array(np.arange(3 * len(corners), dtype=np.int32), dtype=wp.int32, device=device)
                meshes.append(wp.Mesh(points=points, indices=indices, support_winding_number=True))
            counts = [len(corners) for corners in self.corners]
            boxes = [(c.min((0, 1)), c.max((0, 1))) for c in self.corners]
            out.mesh = wp.array([mesh.id for mesh in meshes], dtype=wp.uint64, device=device)
            out.first = wp.array(np.cumsum([0, *counts[:-1]]).astype(np.int32), dtype=wp.int32, device=device)
            out.low = wp.array([low for low, _ in boxes], dtype=wp.vec3d, device=device)
            out.high = wp.array([high for _, high in boxes], dtype=wp.vec3d, device=device)
            out.closed = wp.array([int(c) for c in self.closed], dtype=wp.int32, device=device)
            out.corners = wp.array(np.concatenate(self.corners), dtype=wp.vec3d, device=device)
            self._on_device[device] = out, meshes
        return self._on_device[device][0]


def is_simple(surface: Surface, samples: int = 1000) -> bool:
    """True if just outside a closed surface is outside and just inside it is inside, at up to ``samples`` faces.

    A surface that runs through itself fails, and is then judged by winding numbers alone.
    """
    step = 1e-5 * np.ptp(surface.vertices[surface.faces], axis=(0, 1)).max()
    corners = surface.vertices[surface.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    double_area = np.linalg.norm(normal, axis=1)
    length = np.linalg.norm(np.roll(corners, -1, 1) - corners, axis=-1).max(1)
    fair = np.flatnonzero(double_area > 10 * step * length)  # a needle lies within a step of its neighbours
    fair = fair[:: max(1, len(fair) // samples)]
    corners, normal = corners[fair], normal[fair] / double_area[fair, None]
    points = torch.from_numpy(np.concatenate([corners.mean(1) + side * step * normal for side in (1, -1)]))
    nearest, outward = SurfaceQuery([surface], [False])(points)
    outside = ((points - nearest) * outward).sum(-1) > 0
    return bool(outside[: len(corners)].all() and not outside[len(corners) :].any())


def split_slim(corners: Float[np.ndarray, "F 3 3"]) -> Float[np.ndarray, "G 3 3"]:
    """Halve long thin triangles across their longest edge until they are well enough shaped for float32 queries.

    The surface stays the same set of points; neighbours need not match for a nearest-point query.
    """
    done = []
    for _ in range(12):
        edges = np.linalg.norm(np.roll(corners, -1, 1) - corners, axis=-1)  # edge k runs from corner k to k + 1
        length = edges.max(1)
        double_area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
        split = (length > SHORT) & (length**2 > SLIM * double_area)
        done.append(corners[~split])
        if not split.any():
            break
        order = (edges[split].argmax(1)[:, None] + np.arange(3)) % 3
        a, b, c = np.take_along_axis(corners[split], order[..., None], 1).transpose(1, 0, 2)
        middle = (a + b) / 2
        corners = np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
    else:
        done.append(corners)
    return np.concatenate(done)


class DistanceGrid(torch.nn.Module):
    """Signed distance by trilinear look-up in a regular grid: fast, and smooth enough for a solver.

    ``values`` (X, Y, Z) metres at ``origin + spacing · index``. Beyond the grid the distance to its box is added, so
    the field stays continuous and its gradient leads back. Calling it with points (..., 3) gives (...) metres,
    differentiable in the points.
    """

    def __init__(self, values: Float[Tensor, "X Y Z"], origin: Float[Tensor, "3"], spacing: float):
        super().__init__()
        self.register_buffer("values", values)
        self.register_buffer("origin", origin)
        self.spacing = spacing

    def forward(self, points: Float[Tensor, "... 3"]) -> Float[Tensor, "..."]:
        """Interpolated signed distance in metres at ``points``."""
        last = torch.tensor(self.values.shape, dtype=points.dtype, device=points.device) - 1
        x = (points - self.origin.to(points.dtype)) / self.spacing
        inside = x.clamp(torch.zeros_like(last), last)
        square = (x - inside).square().sum(-1)
        beyond = torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)
        grid = (2 * inside / last - 1).flip(-1).reshape(1, -1, 1, 1, 3)
        value = torch.nn.functional.grid_sample(self.values.to(points.dtype)[None, None], grid, align_corners=True)
        return value.reshape(points.shape[:-1]) + self.spacing * beyond


def distance_grid(query: SurfaceQuery, spacing: float, margin: float) -> DistanceGrid:
    """Sample a :class:`SurfaceQuery` every ``spacing`` metres in its bounding box widened by ``margin`` metres."""
    low, high = query.low - margin, query.high + margin
    counts = np.ceil((high - low) / spacing).astype(int) + 1
    axes = [torch.arange(int(n), dtype=torch.float64) * spacing + float(a) for n, a in zip(counts, low, strict=True)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    nearest, normal = query(points)
    values = ((points - nearest) * normal).sum(-1).reshape(*counts)
    return DistanceGrid(values.float(), torch.as_tensor(low, dtype=torch.float32), spacing)
