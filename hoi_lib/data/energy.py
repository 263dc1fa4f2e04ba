"""The energy of a grasp, and the measures by which solved grasps are judged.

Low energy means that the family's pads touch the surface and face it, that the rest of the hand, bones included, is
outside of it and above the table, that joints keep to their ranges and fingers curl together. N hands, K hinge angles,
V vertices; metres, radians, object frame, right hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hoi_lib.data.fields import Field
from hoi_lib.data.fingers import DOF, FINGERS, LIMITS, fingers_of
from hoi_lib.data.repertoire import FAMILIES, Family, Slot
from hoi_lib.hand import HandModel


@dataclass(frozen=True, eq=False)
class Grasps:
    """N grasps of one slot: ``rotation`` (N, 3, 3) and ``wrist`` (N, 3) in the frame of the slot's part, ``dof``
    (N, K, 21) the fingers at each of the slot's K hinge angles (1 for a rigid object), ``energy`` (N,), and for the
    choice among them ``depth`` (N,) the deepest vertex in metres and ``touch`` (N,) the share of pads that touch."""

    rotation: Tensor
    wrist: Tensor
    dof: Tensor
    energy: Tensor
    depth: Tensor
    touch: Tensor

    def __len__(self) -> int:
        return len(self.wrist)

    def __getitem__(self, keep: Tensor) -> Grasps:
        return Grasps(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


def starting_pose(family: Family) -> Tensor:
    """The 21 numbers with which a solve begins."""
    dof = torch.zeros(DOF)
    used = {pad.split("_")[0] for pad in family.pads} | (
        {"index", "middle", "ring", "pinky"} if not family.pads else set()
    )
    for i, finger in enumerate(FINGERS):
        bend = family.thumb if finger == "thumb" else family.flexion if finger in used else family.idle
        dof[3 * i : 3 * i + 3] = torch.tensor(bend)
    dof[19], dof[20] = (0.9, -0.6) if family.wraps else (0.35, -0.35) if family.opposed else (0.0, 0.0)
    return dof


class Energy:
    """The energy of N hands at K hinge angles, and the measures by which solutions are judged."""

    def __init__(self, hand: HandModel, field: Field, slot: Slot, betas: Float[Tensor, "N 10"], vertices: int = 390):
        self.hand, self.field, self.slot, self.family = hand, field, slot, FAMILIES[slot.family]
        self.shape, self.betas = fingers_of(hand), betas
        self.angles = torch.tensor(slot.angles or (0.0,))
        every = torch.linspace(0, 777, vertices).long()
        pairs = torch.cat([self.shape.pads[name] for name in self.family.pads])
        self.ids = torch.cat([pairs[:, 0], pairs[:, 1], every])
        self.pads = len(pairs)
        names = [name for name in self.family.pads for _ in self.shape.pads[name]]
        thumb_like = torch.tensor([n.startswith("thumb") or n == "palm" for n in names])
        self.thumb, self.fingers = thumb_like, ~thumb_like
        self.tips = torch.tensor([1 if n.startswith("thumb") else 0 if n == "palm" else 2 for n in names])
        touching = {name.split("_")[0] for name in self.family.pads}
        self.idle = torch.tensor([f not in touching for f in FINGERS]).repeat_interleave(3)
        self.posture = starting_pose(self.family)
        self.rest_wrist = hand.rest_wrist(betas).detach()

    def pose(self, rotation: Tensor, wrist: Tensor, dof: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor]:
        """Vertices (N, K, V, 3) and joints (N, K, 21, 3) in the base's frame."""
        n, k = len(wrist), dof.shape[1]
        fingers = self.shape.rotations(dof)
        rotations = torch.cat([rotation[:, None, None].expand(n, k, 1, 3, 3), fingers], 2)
        transl = (wrist - self.rest_wrist)[:, None].expand(n, k, 3)
        out = self.hand.from_matrices(rotations, transl, self.betas, ids)
        if self.slot.part == 0 or not self.slot.angles:
            return out.vertices, out.joints
        angle = self.angles[None, :, None]
        return self.field.turn(out.vertices, angle), self.field.turn(out.joints, angle)

    def __call__(self, rotation: Tensor, wrist: Tensor, dof: Tensor, push: float) -> Tensor:
        """Energy (N,); ``push`` grows during a solve and weighs what is inside the object."""
        vertices, joints = self.pose(rotation, wrist, dof, self.ids)
        angle = self.angles[None, :, None] if self.slot.angles else None
        pads, backs, skin = vertices.split([self.pads, self.pads, vertices.shape[2] - 2 * self.pads], 2)
        off = self._on_surface(pads, angle).abs().clamp(max=0.05)
        facing = self._facing(pads, backs, angle, rotation[:, :, 2])
        bones = _bones(joints)
        depth = torch.relu(0.0005 - self._outside(vertices, angle)).flatten(1)
        inside = depth.mean(1) + 0.01 * depth.amax(1)
        pierced = torch.relu(0.0065 - self._outside(bones, angle)).mean((1, 2))
        below = torch.relu(self.field.bottom + 0.003 - vertices[..., 2]).flatten(1)
        floor = below.mean(1) + 0.02 * below.amax(1)
        if self.family.half:
            floor = floor + torch.relu(0.008 - vertices[..., 0]).mean((1, 2))
        elbow = (joints[:, :, 0] + 1.2 * (joints[:, :, 0] - joints[:, :, 4]))[..., 2]
        floor = floor + 0.3 * torch.relu(self.field.bottom + 0.03 - elbow).mean(1)
        squeezed = self._crossing(joints)
        if self.family.wraps:  # the thumb goes round as well, and does not lie beside the index finger
            stray = ((joints[:, :, [15, 20]] - joints[:, :, 1:2]) * rotation[:, None, None, :, 2]).sum(-1)
            squeezed = squeezed + 0.1 * torch.relu(stray + 0.004).mean((1, 2))
        return (
            100 * off.mean((1, 2))
            + 0.4 * facing
            + 200 * push * (inside + 0.7 * pierced + 0.5 * floor)
            + 300 * squeezed
            + self._posture(dof)
        )

    def _outside(self, points: Tensor, angle: Tensor | None) -> Tensor:
        return torch.stack(self.field.distances(points, angle, not self.slot.reaches_in)).amin(0)

    def _on_surface(self, pads: Tensor, angle: Tensor | None) -> Tensor:
        """Distance (N, K, pads) of each pad to the part that it must touch."""
        parts = self.field.distances(pads, angle)
        either = torch.stack(parts).amin(0)
        thumb = either if self.slot.surface is None else parts[self.slot.surface]
        if self.slot.fingers_on is None:
            return thumb
        return torch.where(self.fingers, parts[self.slot.fingers_on], parts[1 - self.slot.fingers_on])

    def _facing(self, pads: Tensor, backs: Tensor, angle: Tensor | None, side: Tensor) -> Tensor:
        """How far the pads look away from the surface beneath them, thumb and fingers fail to oppose, and the hand
        fails to go round an axis along its thumb's ``side`` (N, 3); (N,)."""
        skin = torch.nn.functional.normalize(pads - backs, dim=-1)
        with torch.no_grad():
            step = 0.003 * torch.eye(3)
            ahead = [self._on_surface(pads + s, angle) - self._on_surface(pads - s, angle) for s in step]
            normal = torch.nn.functional.normalize(torch.stack(ahead, -1), dim=-1)
        cost = 1 + (skin * normal).sum(-1).mean((1, 2))
        if self.family.opposed:
            thumb, fingers = normal[:, :, self.tips == 1].mean(2), normal[:, :, self.tips == 2].mean(2)
            own = skin[:, :, self.tips == 1].mean(2)
            cost = cost + torch.relu((own * skin[:, :, self.tips == 2].mean(2)).sum(-1) + 0.5).mean(1)
            cost = cost + torch.relu((thumb * fingers).sum(-1) + 0.3).mean(1)
        if self.family.wraps:
            along = (normal * side[:, None, None]).sum(-1).square()
            cost = cost + along[:, :, self.tips == 1].mean((1, 2)) + 0.7 * along[:, :, self.fingers].mean((1, 2))
        return cost

    def _crossing(self, joints: Tensor) -> Tensor:
        """How far thumb and fingers run into each other, (N,): bones of 16 mm that come closer than that."""
        last = (joints[:, :, [15, 3, 6, 9, 12]] + joints[:, :, [20, 16, 17, 18, 19]]) / 2
        thumb = torch.cat([joints[:, :, 14:16], last[:, :, :1]], 2)
        middles = [(joints[:, :, a] + joints[:, :, a + 1]) / 2 for a in (1, 2, 4, 5)]
        others = torch.cat([joints[:, :, [1, 2, 3, 4, 5, 6]], torch.stack(middles, 2), last[:, :, 1:]], 2)
        gap = (thumb[:, :, :, None] - others[:, :, None]).norm(dim=-1)
        return torch.relu(0.0165 - gap).sum((2, 3)).mean(1)

    def _posture(self, dof: Tensor) -> Tensor:
        low, high = LIMITS[:, 0], LIMITS[:, 1]
        beyond = torch.relu(low - dof) + torch.relu(dof - high)
        long = dof[..., :12].unflatten(-1, (4, 3))
        apart = long.var(2).mean(-1) * (0.15 if not self.idle[:12].any() else 0.0)
        linked = (long[..., 2] - 0.6 * long[..., 1]).square().mean(-1)
        idle = (self.idle * (dof[..., :15] - self.posture[:15])).square().mean(-1)
        spread = dof[..., 15:19].square().mean(-1)
        change = (dof[:, 1:] - dof[:, :-1]).square().mean((1, 2)) if dof.shape[1] > 1 else 0.0
        return (20 * beyond.square().sum(-1) + apart + 0.1 * linked + 0.6 * idle + 0.5 * spread).mean(1) + change

    @torch.no_grad()
    def judge(self, rotation: Tensor, wrist: Tensor, dof: Tensor) -> Grasps:
        """The solutions with their deepest vertex (bones count as 6 mm thick) and the share of pads within 5 mm."""
        angle = self.angles[None, :, None] if self.slot.angles else None
        vertices, joints = self.pose(rotation, wrist, dof, None)
        pads = vertices[:, :, self.ids[: self.pads]]
        touch = (self._on_surface(pads, angle).abs() < 0.005).float().mean((1, 2))
        depth = torch.relu(-self._outside(vertices, angle)).amax((1, 2))
        through = torch.relu(0.004 - self._outside(_bones(joints), angle)).amax((1, 2))
        floor = torch.relu(self.field.bottom - vertices[..., 2]).amax((1, 2))
        energy = self(rotation, wrist, dof, 70.0)
        return Grasps(rotation, wrist, dof, energy, torch.stack([depth, through, floor]).amax(0), touch)


def _bones(joints: Float[Tensor, "N K 21 3"]) -> Float[Tensor, "N K P 3"]:
    """Points every few millimetres inside the fingers and between wrist and knuckles."""
    starts_, ends = [], []
    for f in range(5):
        chain = [1 + 3 * f, 2 + 3 * f, 3 + 3 * f]
        starts_ += [0, *chain]
        ends += [*chain, 16 + f]
    share = torch.tensor([0.1, 0.35, 0.6, 0.8])
    a, b = joints[:, :, starts_], joints[:, :, ends]
    return (a[:, :, :, None] + share[:, None] * (b - a)[:, :, :, None]).flatten(2, 3)
