"""PointNet: an object's surface points to one vector (Qi et al., 2017).

B batch, P points, D width. The same small network reads every point and a maximum over the points forgets their
order, so a shape is a set and not a list.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

POINT_DIM = 7  # xyz in a unit ball, normal, part
EXTRA_DIM = 10  # centroid, radius, hinge
DECIMETRES = 10  # per metre: what goes around the network should be near one


class PointNet(nn.Module):
    """Object points, normals, part labels and hinge to ``f_obj`` (B, ``out``).

    Points are centred and scaled to a unit ball first; the centroid and the radius go around the network, beside the
    hinge, so that the size is not lost. Only the first ``points`` of the cloud are read: object models store their
    points in farthest-point order, and any beginning of that order covers the whole surface.
    """

    def __init__(self, width: int, out: int, points: int = 1024):
        super().__init__()
        self.points = points
        self.each = nn.Sequential(
            nn.Linear(POINT_DIM, width // 4),
            nn.ReLU(),
            nn.Linear(width // 4, width // 2),
            nn.ReLU(),
            nn.Linear(width // 2, width),
        )
        self.whole = nn.Sequential(nn.Linear(width + EXTRA_DIM, out), nn.SiLU(), nn.Linear(out, out))

    def forward(
        self,
        points: Float[Tensor, "B P 3"],
        normals: Float[Tensor, "B P 3"],
        part: Int[Tensor, "B P"],
        hinge: Float[Tensor, "B 6"],
    ) -> Float[Tensor, "B out"]:
        """``points`` and ``hinge`` (a point on it, its axis; zeros when rigid) in metres, in the object's frame."""
        # fmt: off
        points, normals, part = (x[:, : self.points] for x in (points, normals, part))
        centre = points.mean(1)                                                           # (B, 3)
        offset = points - centre[:, None]                                                 # (B, P, 3)
        radius = offset.norm(dim=-1).amax(1).clamp(min=1e-6)[:, None]                     # (B, 1)
        unit = offset / radius[:, None]                                                   # (B, P, 3)
        features = self.each(torch.cat([unit, normals, part[..., None].to(unit)], -1))    # (B, P, width)
        size = torch.cat([centre, radius, hinge[:, :3]], -1) * DECIMETRES                 # (B, 7)
        return self.whole(torch.cat([features.amax(1), size, hinge[:, 3:]], -1))          # (B, out)
        # fmt: on
