"""A hand with 21 numbers: a bend per finger joint, a spread per finger, and the turn of the thumb that opposes it.

Free rotations let a solver break knuckles; these cannot. Order of the 21: the 15 bends in MANO's joint order (index,
middle, pinky, ring, thumb, three each), the five spreads, the thumb's twist. Radians; a bend is positive towards the
palm, a spread towards the thumb's side (the thumb's own: away from the palm).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hoi_lib.hand import HandModel
from hoi_lib.rotations import axis_angle_to_matrix, matrix_to_axis_angle

DOF = 21
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
_LONG = ([-0.15, 1.55], [-0.05, 1.75], [-0.05, 1.25])
_THUMB = ([-0.45, 1.05], [-0.3, 0.95], [-0.25, 1.25])
LIMITS = torch.tensor([*_LONG * 4, *_THUMB, *[[-0.25, 0.25]] * 4, [-0.5, 0.95], [-0.85, 0.3]])  # (21, 2) comfortable
ANATOMY = 0.2  # radians beyond the comfortable range at which a joint would hurt


@dataclass(frozen=True, eq=False)
class Fingers:
    """Axes (15, 3) of bending and (5, 3) of spreading of one hand, and the vertices that touch things.

    ``pads`` maps a name ("index_3", "thumb_2", "index_side", "palm") to pairs (n, 2) of vertex numbers, the touching
    one and the one opposite it, so that their difference points out of the skin.
    """

    flexion: Float[Tensor, "15 3"]
    spread: Float[Tensor, "5 3"]
    pads: dict[str, Tensor]

    def rotations(self, dof: Float[Tensor, "... 21"]) -> Float[Tensor, "... 15 3 3"]:
        """Rotation matrices of the 15 finger joints; a finger's spread turns its first joint, after the bend."""
        bend = axis_angle_to_matrix(self.flexion * dof[..., :15, None])
        spread = axis_angle_to_matrix(self.spread * dof[..., 15:20, None])
        twist = axis_angle_to_matrix(torch.linalg.cross(self.flexion[12], self.spread[4]) * dof[..., 20:])
        first = spread @ bend[..., ::3, :, :]
        thumb = spread[..., 4:, :, :] @ twist[..., None, :, :] @ bend[..., 12:13, :, :]
        first = torch.cat([first[..., :4, :, :], thumb], -3)
        later = bend.unflatten(-3, (5, 3))[..., 1:, :, :]
        return torch.cat([first[..., None, :, :], later], -3).flatten(-4, -3)

    def angles(self, rotations: Float[Tensor, "... 15 3 3"]) -> Float[Tensor, "... 15 3"]:
        """Bend, spread and twist (..., 15, 3) of each joint: its rotation vector along the three axes."""
        spread = self.spread.repeat_interleave(3, 0)
        twist = torch.linalg.cross(self.flexion, spread)
        vector = matrix_to_axis_angle(rotations)
        return torch.stack([(vector * axis).sum(-1) for axis in (self.flexion, spread, twist)], -1)


@lru_cache(maxsize=8)
def fingers_of(hand: HandModel) -> Fingers:
    """The :class:`Fingers` of a hand, found from its axes, rest shape and skinning weights alone."""
    flexion = torch.as_tensor(hand.flexion_axes, dtype=torch.float32)
    spread = torch.as_tensor(hand.abduction_axes, dtype=torch.float32)[::3]
    with torch.no_grad():
        rest = hand.from_matrices(torch.eye(3).expand(16, 3, 3), torch.zeros(3))
    vertices, joints = rest.vertices.double().numpy(), rest.joints.double().numpy()
    owner = hand.weights.argmax(-1).numpy()
    pads: dict[str, list[tuple[int, int]]] = {}
    for f, finger in enumerate(FINGERS):
        ends = [joints[1 + 3 * f], joints[2 + 3 * f], joints[3 + 3 * f], joints[16 + f]]
        for k in range(3):
            mine = np.flatnonzero(owner == 1 + 3 * f + k)
            axis = flexion[3 * f + k].double().numpy()
            at = 0.62 if k == 2 else 0.5
            pads[f"{finger}_{k + 1}"] = [_pad(vertices, mine, ends[k], ends[k + 1], at, axis, None)]
            if k == 1:
                pads[f"{finger}_side"] = [_pad(vertices, mine, ends[k], ends[k + 1], at, axis, axis)]
    pads["palm"] = _palm_pads(vertices, joints, owner, spread[1].double().numpy())
    return Fingers(flexion, spread, {name: torch.tensor(pairs) for name, pairs in pads.items()})


def _pad(
    vertices: np.ndarray, mine: np.ndarray, start: np.ndarray, end: np.ndarray, at: float, axis: np.ndarray,
    out: np.ndarray | None,
) -> tuple[int, int]:  # fmt: skip
    """The vertex of a phalanx furthest towards the palm (or along ``out``) near the share ``at``, and its opposite."""
    along = (end - start) / np.linalg.norm(end - start)
    out = np.cross(axis, along) if out is None else out
    offset = vertices[mine] - start
    away = np.abs(offset @ along / np.linalg.norm(end - start) - at)
    reach = offset @ out
    return int(mine[(reach - 0.02 * away).argmax()]), int(mine[(reach + 0.02 * away).argmin()])


def _palm_pads(
    vertices: np.ndarray, joints: np.ndarray, owner: np.ndarray, dorsal: np.ndarray
) -> list[tuple[int, int]]:
    """Three places of the palm: at the root of the index, at that of the little finger, and in the middle."""
    wrist, index, middle, little = joints[0], joints[1], joints[4], joints[7]
    spots = [0.12 * wrist + 0.88 * index, 0.14 * wrist + 0.86 * little, 0.4 * wrist + 0.6 * middle]
    mine = np.flatnonzero(~np.isin(owner, [j for j in range(1, 16) if j % 3 != 1]))
    pairs = []
    for spot in spots:
        offset = vertices[mine] - spot
        height = offset @ dorsal
        away = np.linalg.norm(offset - height[:, None] * dorsal, axis=-1)
        below, above = height < -0.004, height > 0.004
        pairs.append(
            (int(mine[np.where(below, away, np.inf).argmin()]), int(mine[np.where(above, away, np.inf).argmin()]))
        )
    return pairs
