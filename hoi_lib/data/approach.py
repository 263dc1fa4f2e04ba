"""How a hand comes to a grasp and leaves it: fingers open, and the wrist draws back along a free direction.

``u`` is the share of withdrawal, 0 in contact and 1 at the pre-grasp: first the fingers open, then the wrist leaves.
A reach runs it backwards, behind a minimum-jerk path from the resting hand.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hoi_lib.data.choreography import minimum_jerk
from hoi_lib.data.energy import Energy, Grasps
from hoi_lib.data.fields import Field
from hoi_lib.data.fingers import FINGERS, LIMITS
from hoi_lib.data.repertoire import FAMILIES, Slot

DISTANCE = 0.09  # metres between pre-grasp and grasp at normal style
_OPENING = torch.tensor([0.45, 0.4, 0.2])
_THUMB_OPENING = torch.tensor([0.4, 0.15, 0.1])


def opening(family: str) -> Float[Tensor, "21"]:
    """How much each of the 21 finger numbers is reduced when the hand opens fully; fingers that do not touch stay."""
    change = torch.zeros(21)
    used = {pad.split("_")[0] for pad in FAMILIES[family].pads}
    for i, finger in enumerate(FINGERS):
        if finger in used:
            change[3 * i : 3 * i + 3] = _THUMB_OPENING if finger == "thumb" else _OPENING
    return change * (0.4 if family in ("press", "clamp", "rest") else 1.0)


def opened(dof: Float[Tensor, "... 21"], family: str, amount: Float[Tensor, "..."] | float) -> Float[Tensor, "... 21"]:
    """Fingers opened by a share ``amount`` of :func:`opening`, never beyond a flat hand."""
    amount = torch.as_tensor(amount, dtype=dof.dtype)[..., None]
    floor = torch.minimum(dof, LIMITS[:, 0].to(dof.dtype))
    return torch.maximum(dof - amount * opening(family).to(dof.dtype), floor)


def finger_share(u: Float[np.ndarray, "..."] | float) -> Float[np.ndarray, "..."]:
    """How far the fingers are open at withdrawal ``u``: fully at 0.65."""
    return minimum_jerk(np.asarray(u) / 0.65)


def wrist_share(u: Float[np.ndarray, "..."] | float) -> Float[np.ndarray, "..."]:
    """How far the wrist has drawn back at withdrawal ``u``; it stays until 0.15."""
    return minimum_jerk((np.asarray(u) - 0.15) / 0.85)


@torch.no_grad()
def retreats(energy: Energy, grasps: Grasps) -> Float[Tensor, "N E 3"]:
    """The freest direction to draw back in, per grasp and at the first and last hinge angle (E is 1 or 2).

    Unit vectors in the frame of the slot's part. Of several directions in the hand's frame, with and without an
    upward share, the one along which the opening hand runs least into object and table.
    """
    slot, field = energy.slot, energy.field
    ends = [0] if len(energy.angles) == 1 else [0, len(energy.angles) - 1]
    candidates = _candidates(grasps.rotation)  # (N, C, 3)
    n, c = candidates.shape[:2]
    cost = torch.zeros(n, c, len(ends)) + 0.0004 * torch.arange(c)[:, None]
    every = torch.linspace(0, 777, 200).long()
    for u in (0.1, 0.25, 0.4, 0.6, 0.8, 1.0):
        dof = opened(grasps.dof, slot.family, float(finger_share(u)))
        vertices, joints = energy.pose(grasps.rotation, grasps.wrist, dof, every)
        for e, k in enumerate(ends):
            shift = _in_base(field, slot, candidates, energy.angles[k]) * DISTANCE * float(wrist_share(u))
            moved = vertices[:, k, None] + shift[:, :, None]
            angle = energy.angles[k].expand(1, 1, 1) if slot.angles else None
            outside = torch.stack(field.distances(moved, angle)).amin(0)
            bones = torch.stack(field.distances(joints[:, k, None, 1:] + shift[:, :, None], angle)).amin(0)
            deepest = torch.relu(0.001 - outside).amax(-1) + torch.relu(0.003 - bones).amax(-1)
            floor = torch.relu(field.bottom - moved[..., 2]).amax(-1)
            cost[:, :, e] += deepest + 0.5 * floor
    best = cost.argmin(1)  # (N, E)
    return candidates.gather(1, best[..., None].expand(-1, -1, 3))


def _candidates(rotation: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N C 3"]:
    """Directions to try: out of the back of the hand, back along the forearm, between, and each lifted a little."""
    away, back, side = rotation[:, :, 1], rotation[:, :, 0], rotation[:, :, 2]
    mixes = [
        away + 0.4 * back,
        away,
        away + back,
        back + 0.4 * away,
        back,
        away + 0.5 * side,
        back + 0.5 * side,
        back - 0.4 * side,
    ]
    plain = torch.stack(mixes, 1)
    plain = torch.nn.functional.normalize(plain, dim=-1)
    up = torch.tensor([0.0, 0.0, 0.5])
    return torch.nn.functional.normalize(torch.cat([plain, plain + up], 1), dim=-1)


def _in_base(field: Field, slot: Slot, directions: Tensor, angle: Tensor) -> Tensor:
    """Directions of the slot's frame in the base's, at a hinge angle."""
    if slot.part == 0 or not slot.angles:
        return directions
    return field.turn(directions + field.origin, angle.expand(1, 1)) - field.origin
