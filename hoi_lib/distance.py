"""Exact signed distance to triangle meshes (NVIDIA Warp), and a trilinear grid of it for solvers.

The nearest point comes from a bounding-volume hierarchy over the triangles, the sign from the generalised winding
number, which is exact for a watertight surface and robust for one with holes. Both run on the CPU and on CUDA.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import warp as wp
from jaxtyping import Float
from torch import Tensor

from hoi_lib.shapes import Surface

CHUNK = 1 << 21  # queries in one launch: 2 M points, under 100 MB of buffers
FAR = 1.0e6


def _start() -> None:
    """Start Warp once, silently, with its kernel cache in a folder that can be written."""
    wp.config.quiet = True
    if "WARP_CACHE_PATH" not in os.environ:
        wp.config.kernel_cache_dir = str(_cache_folder() / wp.__version__)
    wp.init()


def _cache_folder() -> Path:
    home = os.environ.get("HOI_CACHE") or Path("~/.cache/hoi_lib").expanduser()
    for folder in (Path(home) / "warp", Path(tempfile.gettempdir()) / f"hoi_lib_{os.getuid()}" / "warp"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="hoi_lib_warp_"))


_start()


@wp.kernel
def _nearest_surface(
    meshes: wp.array(dtype=wp.uint64),
    points: wp.array(dtype=wp.vec3),
    nearest: wp.array(dtype=wp.vec3),
    normal: wp.array(dtype=wp.vec3),
):
    i = wp.tid()
    p = points[i]
    best = float(FAR)
    for b in range(meshes.shape[0]):
        hit = wp.mesh_query_point_sign_winding_number(meshes[b], p, float(FAR))
        if hit.result:
            c = wp.mesh_eval_position(meshes[b], hit.face, hit.u, hit.v)
            length = wp.length(p - c)
            if hit.sign * length < best:
                best = hit.sign * length
                nearest[i] = c
                n = wp.mesh_eval_face_normal(meshes[b], hit.face)
                if length > 1.0e-6:
                    n = hit.sign * (p - c) / length
                normal[i] = n


class SurfaceQuery:
    """Nearest surface point of a union of closed bodies.

    ``bodies`` are surfaces in metres. Calling it with points (N, 3) gives the nearest points (N, 3) and the outward
    unit normals (N, 3) there, such that ``(point - nearest) · normal`` is the signed distance: the gradient of the
    distance off the surface, the face's normal on it. Between bodies the smaller signed distance wins, so where they
    overlap the depth is that below the deeper one.
    """

    def __init__(self, bodies: Sequence[Surface]):
        every = np.concatenate([vertices for vertices, _ in bodies])
        self.centre = (every.min(0) + every.max(0)) / 2
        self.bodies = [(np.asarray(v - self.centre, np.float32), np.asarray(f, np.int32)) for v, f in bodies]
        self._on_device: dict[str, tuple[list[wp.Mesh], wp.array]] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_on_device": {}}  # handles belong to one process

    @torch.no_grad()
    def __call__(self, points: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"]]:
        device = points.device if points.is_cuda and wp.is_cuda_available() else torch.device("cpu")
        ids = self._meshes(str(device))
        centre = torch.as_tensor(self.centre, dtype=points.dtype, device=device)
        nearest, normal = torch.empty_like(points), torch.empty_like(points)
        for start in range(0, len(points), CHUNK):
            block = slice(start, start + CHUNK)
            local = (points[block].to(device) - centre).to(torch.float32).contiguous()
            spots, normals = torch.zeros_like(local), torch.zeros_like(local)
            arrays = [wp.from_torch(x, dtype=wp.vec3) for x in (local, spots, normals)]
            wp.launch(_nearest_surface, len(local), inputs=[ids, *arrays], device=str(device))
            nearest[block] = spots.to(points.dtype) + centre
            normal[block] = normals.to(points.dtype)
        return nearest, normal

    def surfaces(self) -> list[Surface]:
        """The bodies in the frame they came in, float64 metres."""
        return [(vertices.astype(np.float64) + self.centre, faces) for vertices, faces in self.bodies]

    def _meshes(self, device: str) -> wp.array:
        if device not in self._on_device:
            meshes = [
                wp.Mesh(
                    points=wp.array(vertices, dtype=wp.vec3, device=device),
                    indices=wp.array(faces.ravel(), dtype=wp.int32, device=device),
                    support_winding_number=True,
                )
                for vertices, faces in self.bodies
            ]
            self._on_device[device] = meshes, wp.array([m.id for m in meshes], dtype=wp.uint64, device=device)
        return self._on_device[device][1]


class DistanceGrid(torch.nn.Module):
    """Signed distance by trilinear look-up in a regular grid: fast, and smooth enough for a solver.

    ``values`` (X, Y, Z) metres at ``origin + spacing · index``. Beyond the grid the distance to its box is added, so
    the field stays continuous and its gradient leads back. Calling it with points (..., 3) gives (...) metres.
    """

    def __init__(self, values: Float[Tensor, "X Y Z"], origin: Float[Tensor, "3"], spacing: float):
        super().__init__()
        self.register_buffer("values", values)
        self.register_buffer("origin", origin)
        self.register_buffer("last", torch.tensor(values.shape, dtype=origin.dtype, device=origin.device) - 1)
        self.spacing = spacing

    def forward(self, points: Float[Tensor, "... 3"]) -> Float[Tensor, "..."]:
        x = (points - self.origin.to(points.dtype)) / self.spacing
        last = self.last.to(points.dtype)
        inside = x.clamp(min=torch.zeros_like(last), max=last)
        beyond = (x - inside).square().sum(-1)
        outside = beyond > 0
        beyond = torch.where(outside, beyond, 1.0).sqrt() * outside
        grid = (2 * inside / last - 1).flip(-1).reshape(1, -1, 1, 1, 3)
        values = self.values.to(points.dtype)[None, None]
        value = torch.nn.functional.grid_sample(values, grid, align_corners=True, padding_mode="border")
        return value.reshape(points.shape[:-1]) + self.spacing * beyond


def distance_grid(query: SurfaceQuery, spacing: float, margin: float) -> DistanceGrid:
    """Sample a :class:`SurfaceQuery` every ``spacing`` metres in its bounding box widened by ``margin``."""
    every = np.concatenate([vertices for vertices, _ in query.bodies]) + query.centre
    low, high = every.min(0) - margin, every.max(0) + margin
    counts = np.ceil((high - low) / spacing).astype(int) + 1
    axes = [torch.arange(n, dtype=torch.float64) * spacing + a for n, a in zip(counts, low, strict=True)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    nearest, normal = query(points)
    values = ((points - nearest) * normal).sum(-1).reshape(*counts)
    return DistanceGrid(values.float(), torch.as_tensor(low, dtype=torch.float32), spacing)
