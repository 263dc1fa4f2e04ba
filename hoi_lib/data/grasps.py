"""Grasps are solved: wrist and fingers together, many starts at once, by minimising one energy.

A grasp of :mod:`hoi_lib.data.repertoire` starts from poses that an arm can reach, spread over the slot's approach
directions, and is drawn down the energy of :mod:`hoi_lib.data.energy` by Adam. N starts, K hinge angles; metres,
radians, object frame. Everything is solved for a right hand; a left one is its mirror.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hoi_lib.data.body import discomfort
from hoi_lib.data.energy import Energy, Grasps, starting_pose
from hoi_lib.data.fields import Field
from hoi_lib.data.fingers import DOF, fingers_of
from hoi_lib.data.repertoire import FACING, FAMILIES, Family, Slot
from hoi_lib.hand import HandModel
from hoi_lib.rotations import axis_angle_to_matrix, geodesic_angle

WHERE = np.array([0.06, 0.06, 0.0])  # where on the table an object is thought to stand for a right hand
_AXES = {"+x": [1, 0, 0], "-x": [-1, 0, 0], "+y": [0, 1, 0], "-y": [0, -1, 0], "+z": [0, 0, 1]}
_YAWS = np.linspace(-np.pi, np.pi, 24, endpoint=False)


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
        cost += 1.0 - turn.numpy()[:, :, 2] @ np.array(_AXES[slot.thumb])
    best = torch.tensor(_spread_out(turn, wrist, np.argsort(cost)[: 5 * count], count))
    return turn[best], wrist[best], dof[best]


def _aims(field: Field, slot: Slot, tries: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Points of the surface to start from, and the outward approach directions, (N, 3) each."""
    low, high = field.bounds[slot.part]
    region = np.array(slot.region)
    share = rng.uniform(region[:, 0], region[:, 1], (tries, 3))
    inner = torch.tensor(low + share * (high - low), dtype=torch.float32)
    names = rng.choice(slot.directions, tries)
    out = np.empty((tries, 3))
    for i, name in enumerate(names):
        azimuth = rng.uniform(0, 2 * np.pi)
        out[i] = [np.cos(azimuth), np.sin(azimuth), 0] if name == "around" else _AXES[name]
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
    ranked = [int(i) for i in ranked]
    chosen = [ranked[0]]
    while len(chosen) < min(count, len(ranked)):
        turns = geodesic_angle(turn[ranked][:, None], turn[chosen][None])
        places = (wrist[ranked][:, None] - wrist[chosen][None]).norm(dim=-1)
        gap = (turns + 8 * places).min(1).values
        chosen.append(ranked[int(gap.argmax())])
    return chosen


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
