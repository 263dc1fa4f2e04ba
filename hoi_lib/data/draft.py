"""A staged clip before it is finished, its pose, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from hoi_lib.data.body import MOST_BEND, wrist_bend
from hoi_lib.data.fingers import fingers_of
from hoi_lib.data.people import Person
from hoi_lib.hand import HandModel, HandOutput, load_hand
from hoi_lib.motion import FPS
from hoi_lib.objects import ObjectModel

_CHECKED = torch.linspace(0, 777, 180).long()


@dataclass
class Draft:
    """A staged clip before it is judged; right hand main, world frame, L frames, float64.

    ``place`` (L, 3), ``turn`` (L, 3, 3) and ``angle`` (L,) of the object; per side the ``wrist`` (L, 3), ``root``
    (L, 3, 3) and finger numbers ``dof`` (L, 21); ``phase`` (L,), the contact frames and the grasp families.
    """

    place: np.ndarray
    turn: np.ndarray
    angle: np.ndarray
    wrist: dict[str, np.ndarray]
    root: dict[str, np.ndarray]
    dof: dict[str, torch.Tensor]
    phase: np.ndarray
    family: dict[str, str]


@torch.no_grad()
def faults(draft: Draft, model: ObjectModel, person: Person) -> float:
    """How bad a draft is; below 1 it may pass.

    The worst of: depth of the skin and of the bones in the object, distance from it in contact, a wrist bent too far,
    acceleration, a hand under the table, hands that meet; each in units of what can still be borne.
    """
    held = (draft.phase == 1) | (draft.phase == 2)
    some = np.linspace(0, len(held) - 1, 14).astype(int)
    frames = np.union1d(np.flatnonzero(~held), some)
    joints, found = {}, [0.0]
    for side in draft.wrist:
        out = pose(load_hand(side), draft, side, person, frames, _CHECKED)
        joints[side] = out.joints.numpy()
        skin, bones = (_distances(x.numpy(), draft, frames, model) for x in (out.vertices, _inner(out.joints)))
        holding = frames[held[frames]][::4]
        whole = pose(load_hand(side), draft, side, person, holding, None).vertices.numpy()
        away = np.abs(_distances(whole, draft, holding, model)).min(1).max()
        jolt = np.linalg.norm(np.diff(draft.wrist[side], 2, axis=0), axis=1).max() * FPS**2
        sunk = 0.001 - float(out.vertices[..., 2].min())
        bend = np.quantile(wrist_bend(draft.wrist[side], draft.root[side], side), 0.98)
        found += [
            -skin.min() / 0.0055,
            1 - bones.min() / 0.003,
            away / 0.0048,
            bend / MOST_BEND,
            jolt / 29,
            sunk / 0.003,
        ]
    if len(joints) == 2:
        gap = np.linalg.norm(joints["left"][:, :, None] - joints["right"][:, None], axis=-1).min()
        found.append(1 + (0.02 - gap) / 0.01)
    return float(max(found))


def _distances(points: np.ndarray, draft: Draft, frames: np.ndarray, model: ObjectModel) -> np.ndarray:
    """Signed distance (F, N) of world points (F, N, 3) to the object in these frames."""
    local = np.einsum("lji,lvj->lvi", draft.turn[frames], points - draft.place[frames, None])
    return model.signed_distance(local, None if model.hinge is None else draft.angle[frames])


def _inner(joints: torch.Tensor) -> torch.Tensor:
    """Points (F, 40, 3) inside the fingers: where these are in a wall, a finger goes through it."""
    starts, ends = [], []
    for finger in range(5):
        chain = [1 + 3 * finger, 2 + 3 * finger, 3 + 3 * finger]
        starts, ends = [*starts, *chain], [*ends, *chain[1:], 16 + finger]
    share = torch.tensor([0.05, 0.4, 0.75])
    a, b = joints[:, starts], joints[:, ends]
    return (a[:, :, None] + share[:, None] * (b - a)[:, :, None]).flatten(1, 2)


def pose(
    hand: HandModel, draft: Draft, side: str, person: Person, frames: np.ndarray, ids: torch.Tensor | None
) -> HandOutput:
    """The posed hand of a draft in some of its frames."""
    rotations = hand_rotations(hand, draft, side)[frames].float()
    betas = torch.from_numpy(person.betas)
    transl = torch.from_numpy(draft.wrist[side][frames]).float() - hand.rest_wrist(betas)
    return hand.from_matrices(rotations, transl, betas.expand(len(frames), -1), ids)


def hand_rotations(hand: HandModel, draft: Draft, side: str) -> Float[torch.Tensor, "L 16 3 3"]:
    """Root and fingers of a draft as matrices, float64."""
    shape = fingers_of(hand)
    fingers = replace(shape, flexion=shape.flexion.double(), spread=shape.spread.double()).rotations(draft.dof[side])
    return torch.cat([torch.from_numpy(draft.root[side])[:, None], fingers], 1)
