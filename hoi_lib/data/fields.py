"""What the solver looks up: signed distances to the parts of an object, at any hinge angle, mirrored or filled."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import binary_fill_holes, distance_transform_edt
from torch import Tensor

from hoi_lib.data.repertoire import FLAT
from hoi_lib.distance import DistanceGrid
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import axis_angle_to_matrix

STAND = 0.08  # metres of free air under an object of FLAT


class Field:
    """Signed distance of an object's parts, on grids, mirrored in x if asked: what the solver looks up."""

    def __init__(self, model: ObjectModel, mirror: bool = False, spacing: float | None = None):
        low, high = model.bounds
        spacing = spacing or (0.002 if (high - low).max() < 0.2 else 0.003)
        flip = np.array([-1.0, 1.0, 1.0]) if mirror else np.ones(3)
        self.model, self.mirror = model, mirror
        self.flip = torch.tensor(flip, dtype=torch.float32)
        count = 1 if model.hinge is None else 2
        self.grids = [model.grid(spacing, 0.03, part) for part in range(count)]
        self.full = [_filled(grid) for grid in self.grids]
        self.bounds = [_box(model.vertices[model.part == part] * flip) for part in range(count)]
        self.bottom = float(low[2]) - (STAND if model.category in FLAT else 0.0)
        if model.hinge is not None:
            self.origin = torch.tensor(model.hinge.origin * flip, dtype=torch.float32)
            self.axis = torch.tensor(model.hinge.axis * -flip if mirror else model.hinge.axis, dtype=torch.float32)

    def turn(self, points: Float[Tensor, "... 3"], angle: Float[Tensor, "..."]) -> Float[Tensor, "... 3"]:
        """Points of the moving part's rest frame where the hinge angle carries them."""
        spin = axis_angle_to_matrix(self.axis * angle[..., None])
        return (spin @ (points - self.origin)[..., None])[..., 0] + self.origin

    def distances(
        self, points: Float[Tensor, "... 3"], angle: Float[Tensor, "..."] | None, full: bool = False
    ) -> list[Tensor]:
        """Signed distance (...) to each part at a hinge angle, for points in the base's frame; ``full`` counts the
        hollow of a vessel as its inside."""
        grids = self.full if full else self.grids
        found = [grids[0](points * self.flip)]
        if len(grids) == 2:
            found.append(grids[1]((points if angle is None else self.turn(points, -angle)) * self.flip))
        return found


def _filled(grid: DistanceGrid) -> DistanceGrid:
    """The same distance with every hollow that opens upwards filled, level by level."""
    inside = grid.values.numpy() < 0
    solid = np.stack([binary_fill_holes(level) for level in np.moveaxis(inside, 2, 0)], 2)
    if (solid == inside).all():
        return grid
    out = distance_transform_edt(~solid) * grid.spacing - grid.spacing / 2
    deep = distance_transform_edt(solid) * grid.spacing - grid.spacing / 2
    hollow = solid & ~inside
    values = np.where(hollow, -deep, np.where(solid, grid.values.numpy(), np.minimum(grid.values.numpy(), out)))
    return DistanceGrid(torch.tensor(values, dtype=torch.float32), grid.origin, grid.spacing)


def _box(vertices: np.ndarray) -> np.ndarray:
    return np.stack([vertices.min(0), vertices.max(0)])
