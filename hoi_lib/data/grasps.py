"""Grasps are solved: wrist and fingers together, many starts at once, by minimising one energy.

A grasp of :mod:`hoi_lib.data.repertoire` starts from poses that an arm can reach, spread over the slot's approach
directions. The energy asks the family's pads to touch the surface and to face it, the rest of the hand, bones
included, to stay out of it and of the table, the joints to stay in their ranges, and the fingers to curl together.
N starts, K hinge angles, V vertices; metres, radians, object frame. Everything is solved for a right hand; a left one
is its mirror.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import binary_fill_holes, distance_transform_edt
from torch import Tensor

from hoi_lib.data.body import discomfort
from hoi_lib.data.fingers import DOF, FINGERS, LIMITS, fingers_of
from hoi_lib.data.repertoire import FACING, FAMILIES, FLAT, Family, Slot
from hoi_lib.distance import DistanceGrid
from hoi_lib.hand import HandModel
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import axis_angle_to_matrix, geodesic_angle

STAND = 0.08  # metres of free air under an object of FLAT
WHERE = np.array([0.06, 0.06, 0.0])  # where on the table an object is thought to stand for a right hand
_AXES = {"+x": [1, 0, 0], "-x": [-1, 0, 0], "+y": [0, 1, 0], "-y": [0, -1, 0], "+z": [0, 0, 1]}
_YAWS = np.linspace(-np.pi, np.pi, 24, endpoint=False)


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


# ------------------------------------------------------------------------------------------------------------- starts


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


def starts(
    hand: HandModel, field: Field, slot: Slot, count: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """``count`` starting wrists: rotation (N, 3, 3), place (N, 3), fingers (N, 21), the most natural of many tried."""
    family, tries = FAMILIES[slot.family], 24 * count
    aim, outward = _aims(field, slot, tries, rng)
    turn = _orientations(outward, family, slot, tries, rng)
    dof = starting_pose(family).repeat(tries, 1) + 0.05 * torch.tensor(
        rng.standard_normal((tries, DOF)), dtype=torch.float32
    )
    wrist = _place(hand, family, turn, dof, aim, outward)
    cost = _unease(field, slot, turn.numpy().astype(float), wrist.numpy().astype(float))
    cost += 0.15 * rng.random(tries)
    if slot.thumb is not None:
        cost += 1.0 - turn.numpy()[:, :, 2] @ np.array(_AXES[slot.thumb]) * (
            -1 if field.mirror and slot.thumb[1] == "x" else 1
        )
    best = torch.tensor(_spread_out(turn, wrist, np.argsort(cost)[: 5 * count], count))
    return turn[best], wrist[best], dof[best]


def _aims(field: Field, slot: Slot, tries: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Points of the surface to start from, and the outward approach directions, (N, 3) each."""
    low, high = field.bounds[slot.part]
    region = np.array(slot.region)
    share = rng.uniform(region[:, 0], region[:, 1], (tries, 3))
    sign = -1.0 if field.mirror else 1.0
    if field.mirror:
        share[:, 0] = 1 - share[:, 0]
    inner = torch.tensor(low + share * (high - low), dtype=torch.float32)
    names = rng.choice(slot.directions, tries)
    out = np.empty((tries, 3))
    for i, name in enumerate(names):
        azimuth = rng.uniform(0, 2 * np.pi)
        out[i] = [np.cos(azimuth), np.sin(azimuth), 0] if name == "around" else _AXES[name]
    out[:, 0] *= sign
    out += np.tan(np.radians(slot.cone)) * rng.uniform(-0.7, 0.7, (tries, 3))
    outward = torch.nn.functional.normalize(torch.tensor(out, dtype=torch.float32), dim=-1)
    point = inner + 0.4 * outward
    for _ in range(40):
        step = field.grids[slot.part](point * field.flip)
        point = point - outward * step.clamp(-0.01, 0.1)[:, None]
    missed = ((point - inner) * outward).sum(-1) < -0.03
    return torch.where(missed[:, None], inner, point), outward


def _orientations(outward: Tensor, family: Family, slot: Slot, tries: int, rng: np.random.Generator) -> Tensor:
    """Wrist rotations with the palm towards the surface, any roll, and the family's pitch."""
    roll = torch.tensor(rng.uniform(-np.pi, np.pi, tries), dtype=torch.float32)
    pitch = torch.tensor(np.radians(rng.uniform(*family.pitch, tries)), dtype=torch.float32)
    other = torch.where(outward[:, 2:].abs() > 0.8, torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0]))
    e1 = torch.nn.functional.normalize(torch.linalg.cross(other, outward), dim=-1)
    e2 = torch.linalg.cross(outward, e1)
    flat = roll.cos()[:, None] * e1 + roll.sin()[:, None] * e2
    along = pitch.cos()[:, None] * flat - pitch.sin()[:, None] * outward
    palm = -pitch.cos()[:, None] * outward - pitch.sin()[:, None] * flat
    return torch.stack([-along, -palm, torch.linalg.cross(along, palm)], -1)


def _place(hand: HandModel, family: Family, turn: Tensor, dof: Tensor, aim: Tensor, outward: Tensor) -> Tensor:
    """Wrist places (N, 3) that put the family's anchor on the aimed point."""
    shape = fingers_of(hand)
    pads = {name: shape.pads[name][:, 0] for name in ("thumb_3", "palm", *family.pads)}
    wrist = torch.zeros_like(aim)
    rotations = torch.cat([turn[:, None], shape.rotations(dof)], 1)
    where = hand.from_matrices(rotations, wrist - hand.rest_wrist()).vertices
    spot = {name: where[:, ids].mean(1) for name, ids in pads.items()}
    touching = torch.stack([spot[p] for p in family.pads if p != "palm" and not p.startswith("thumb")]).mean(0)
    if family.anchor == "palm":
        return aim + 0.004 * outward - spot["palm"] + 0.012 * turn[:, :, 0]  # the roots of the fingers, a little ahead
    anchor = touching if family.anchor == "fingers" else 0.5 * (touching + spot["thumb_3"])
    return aim + (0.004 - family.inset) * outward - anchor


def _unease(field: Field, slot: Slot, turn: np.ndarray, wrist: np.ndarray) -> np.ndarray:
    """Discomfort (N,) of wrists in the object's frame at the slot's worst hinge angle and the object's best yaw."""
    worst = np.zeros(len(turn))
    yaws = _YAWS if field.model.category not in FACING else np.array([-0.15, 0.0, 0.15])
    where = WHERE - [0, 0, field.bottom]
    for angle in slot.angles or (None,):
        R, p = _posed(field, slot, turn, wrist, angle)
        found = []
        for yaw in yaws:
            c, s = np.cos(yaw), np.sin(yaw)
            spin = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
            found.append(discomfort(p @ spin.T + where, spin @ R, "right"))
        worst = np.maximum(worst, np.min(found, axis=0))
    return worst


def _posed(
    field: Field, slot: Slot, turn: np.ndarray, wrist: np.ndarray, angle: float | None
) -> tuple[np.ndarray, np.ndarray]:
    if slot.part == 0 or angle is None:
        return turn, wrist
    spin = axis_angle_to_matrix(field.axis.double() * angle).numpy()
    origin = field.origin.double().numpy()
    return spin @ turn, (wrist - origin) @ spin.T + origin


def _spread_out(turn: Tensor, wrist: Tensor, ranked: np.ndarray, count: int) -> list[int]:
    """``count`` of the ranked poses, the best first, then always the one furthest from those taken."""
    ranked = list(ranked)
    chosen = [ranked[0]]
    while len(chosen) < min(count, len(ranked)):
        turns = geodesic_angle(turn[ranked][:, None], turn[chosen][None])
        places = (wrist[ranked][:, None] - wrist[chosen][None]).norm(dim=-1)
        gap = (turns + 8 * places).min(1).values
        chosen.append(ranked[int(gap.argmax())])
    return chosen


# ------------------------------------------------------------------------------------------------------------- energy


class Energy:
    """The energy of N hands at K hinge angles, and the measures by which solutions are judged."""

    def __init__(self, hand: HandModel, field: Field, slot: Slot, betas: Float[Tensor, "N 10"], vertices: int = 260):
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
        inside = torch.relu(0.0005 - self._outside(vertices, angle)).mean((1, 2))
        pierced = torch.relu(0.0065 - self._outside(bones, angle)).mean((1, 2))
        floor = torch.relu(self.field.bottom + 0.003 - vertices[..., 2]).mean((1, 2))
        if self.family.half:
            floor = floor + torch.relu(0.012 - vertices[..., 0]).mean((1, 2))
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


# -------------------------------------------------------------------------------------------------------------- solve


def minimise(
    energy: Energy, rotation: Tensor, wrist: Tensor, dof: Tensor, steps: int, push: tuple[float, float]
) -> Grasps:
    """Run Adam on N starts at once; ``push`` grows from its first to its last value over 60 % of the steps."""
    angles = energy.angles if energy.slot.fingers_on is not None else energy.angles[:1]
    turn = torch.zeros_like(wrist, requires_grad=True)
    place = wrist.clone().requires_grad_(True)
    bend = (dof if dof.dim() == 3 else dof[:, None].repeat(1, len(angles), 1)).clone().requires_grad_(True)
    groups = [{"params": [turn, bend], "lr": 0.03}, {"params": [place], "lr": 0.002}]
    optimiser = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: 1.0 if i < 0.6 * steps else 0.3 if i < 0.85 * steps else 0.1
    )
    for i in range(steps):
        weight = push[0] + (push[1] - push[0]) * min(1.0, i / (0.6 * steps))
        optimiser.zero_grad()
        full = bend.expand(-1, len(energy.angles), -1)
        cost = energy(rotation @ axis_angle_to_matrix(turn), place, full, weight) + 0.3 * turn.square().sum(-1)
        cost.sum().backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        full = bend.expand(-1, len(energy.angles), -1)
        return energy.judge(rotation @ axis_angle_to_matrix(turn), place.detach(), full.detach())


def choose(grasps: Grasps, field: Field, slot: Slot, count: int, depth: float = 0.004, touch: float = 0.7) -> Grasps:
    """``count`` good and different grasps: low energy first, then the furthest from those already taken.

    Grasps deeper than ``depth``, touching with less than ``touch`` of their pads or unnatural for the arm come last.
    """
    unease = torch.tensor(_unease(field, slot, grasps.rotation.double().numpy(), grasps.wrist.double().numpy()))
    score = grasps.energy + 1.2 * unease
    score = score + 20 * (grasps.depth > depth) + 10 * (grasps.touch < touch) + 20 * (unease > 1.3)
    order = score.argsort().numpy()
    good = int(((score - score.min()) < 0.4).sum())
    ranked = order[: max(good, count)]
    return grasps[torch.tensor(_spread_out(grasps.rotation, grasps.wrist, ranked, count))]


def solve(
    hand: HandModel,
    field: Field,
    slot: Slot,
    betas: Float[Tensor, "S 10"],
    count: int = 4,
    tries: int = 32,
    seed: int = 0,
) -> list[Grasps]:
    """``count`` grasps of one slot for each of S hand shapes.

    ``tries`` starts are solved for the mean shape; the best and most different of them are then solved again for each
    shape, so that grasp number i is the same idea on every hand. Random starts come from ``seed``.
    """
    rng = np.random.default_rng(seed)
    turn, wrist, dof = starts(hand, field, slot, tries, rng)
    mean = betas.mean(0, keepdim=True)
    first = minimise(Energy(hand, field, slot, mean.expand(tries, -1)), turn, wrist, dof, 160, (8.0, 70.0))
    best = choose(first, field, slot, count)
    many = betas.repeat_interleave(len(best), 0)
    again = [
        getattr(best, name).repeat(len(betas), *[1] * (getattr(best, name).dim() - 1))
        for name in ("rotation", "wrist", "dof")
    ]
    if slot.fingers_on is None:
        again[2] = again[2][:, :1]
    solved = minimise(Energy(hand, field, slot, many), *again, 200, (20.0, 90.0))
    return [solved[torch.arange(len(best)) + i * len(best)] for i in range(len(betas))]


def mirrored(grasps: Grasps) -> Grasps:
    """The other hand's grasps of the object mirrored in the plane x = 0; the 21 finger numbers stay."""
    flip = torch.tensor([-1.0, 1.0, 1.0])
    return replace(grasps, rotation=grasps.rotation * flip[:, None] * flip, wrist=grasps.wrist * flip)
