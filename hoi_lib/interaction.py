"""A hand beside its object: what the losses between the two look at (MoEG-HOI Eqs. 12–14).

Everything is in the object's own frame, where the points of a rigid object never move and numbers stay small. B batch,
L the frames that are looked at, V 778 vertices, P object points. Metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hoi_lib.geometry import BLOCK_BYTES, nearest_pair, safe_norm, take
from hoi_lib.hand import HandModel, vertex_normals
from hoi_lib.motion import SIDES, Batch, pose_object_points, unpack_object, unpack_pose

CONTACT = 0.010  # metres: τ of Eq. 13

Posed = tuple[Tensor, Tensor]
"""Joints (…, 21, 3) and vertices (…, V, 3) in metres, as :func:`posed_hands` gives them."""


class Fields(NamedTuple):
    """The distance fields of a hand and an object: ``to_hand`` of every object point to its nearest vertex,
    ``to_object`` of every vertex to its nearest object point; ``vertex`` says which vertex, if it was kept."""

    to_hand: Float[Tensor, "B L P"]
    to_object: Float[Tensor, "B L V"]
    vertex: Int[Tensor, "B L P"] | None = None


class ContactSets(NamedTuple):
    """Which object points and which vertices are in contact."""

    points: Bool[Tensor, "B L P"]
    vertices: Bool[Tensor, "B L V"]


@dataclass(frozen=True)
class Interaction:
    """An estimated hand, the object, and the true distances, at the frames that Eqs. 12–14 look at.

    ``normals`` are those of the estimated skin, pointing outwards, constants like ``truth``. What several losses need
    is found once, when the first of them asks.
    """

    vertices: Float[Tensor, "B L V 3"]
    normals: Float[Tensor, "B L V 3"]
    points: Float[Tensor, "B L P 3"]
    truth: Fields
    valid: Bool[Tensor, "B L"]

    @cached_property
    def near(self) -> Fields:
        """The estimate's own distance fields, differentiable."""
        return fields_between(self.points, self.vertices)

    @cached_property
    def contact(self) -> ContactSets:
        """What touches in the ground truth."""
        return contact_sets(self.truth)


def fields_between(points: Float[Tensor, "B L P 3"], vertices: Float[Tensor, "B L V 3"]) -> Fields:
    """Both distance fields from one search; differentiable in points and vertices, not in the choice of pairs."""
    vertex, point = nearest_pair(points, vertices)
    return Fields(safe_norm(points - take(vertices, vertex)), safe_norm(vertices - take(points, point)), vertex)


def contact_sets(fields: Fields, threshold: float = CONTACT) -> ContactSets:
    """Points and vertices within ``threshold`` metres of the other side; constants, whatever made the fields."""
    return ContactSets(fields.to_hand.detach() <= threshold, fields.to_object.detach() <= threshold)


def posed_hands(
    pose: Float[Tensor, "B L 99"],
    betas: Float[Tensor, "B 10"],
    side: Int[Tensor, "B"],
    hands: Mapping[str, HandModel],
    vertex_ids: Int[Tensor, "V"] | None = None,
) -> tuple[Float[Tensor, "B L J 3"], Float[Tensor, "B L V 3"]]:
    """The 21 joints and the vertices, in metres, of a batch that mixes left and right hands.

    ``hands`` maps "left" and "right" to their models; each poses its own samples, all of them in one go. Rotations go
    from six numbers to matrices and straight into the hand. ``vertex_ids`` thins the skin (None: all 778).
    """
    transl, rotations = unpack_pose(pose)
    parts = []
    rows, back = _by_side(side)
    for name, mine in rows.items():
        parts.append(hands[name].from_matrices(rotations[mine], transl[mine], betas[mine], vertex_ids))
    return torch.cat([p.joints for p in parts])[back], torch.cat([p.vertices for p in parts])[back]


@torch.no_grad()
def skin_normals(
    vertices: Float[Tensor, "B L V 3"], side: Int[Tensor, "B"], hands: Mapping[str, HandModel]
) -> Float[Tensor, "B L V 3"]:
    """Outward unit normals of whole hands, without gradient.

    The wrist is closed first: on an open rim the normals would let points far behind the hand pass for inside it.
    """
    rows, back = _by_side(side)
    parts = []
    for name, mine in rows.items():
        hand, flat = hands[name], vertices[mine].flatten(0, 1)
        size = max(1, BLOCK_BYTES // (9 * flat.element_size() * len(hand.closed_faces)))  # three corners a face
        blocks = [vertex_normals(hand.close(block), hand.closed_faces)[:, :-1] for block in flat.split(size)]
        parts.append(torch.cat(blocks).unflatten(0, (-1, vertices.shape[1])) if len(flat) else vertices[mine])
    return torch.cat(parts)[back]


def _by_side(side: Int[Tensor, "B"]) -> tuple[dict[str, Tensor], Tensor]:
    """Rows of the batch by side, sides that occur alone, and the order that puts them back."""
    rows = {name: (side == index).nonzero()[:, 0] for index, name in enumerate(SIDES)}
    rows = {name: mine for name, mine in rows.items() if len(mine)}
    return rows, torch.cat(list(rows.values())).argsort()


def in_object_frame(
    vertices: Float[Tensor, "B L V 3"], object_pose: Float[Tensor, "B L 10"]
) -> Float[Tensor, "B L V 3"]:
    """World vertices as the object sees them, ``Rᵀ (v − t)``."""
    transl, rotation, _ = unpack_object(object_pose)
    return (vertices - transl[..., None, :]) @ rotation  # rows: v R is Rᵀ v


def object_points(batch: Batch, frames: slice = slice(None), count: int | None = None) -> Float[Tensor, "B L P 3"]:
    """The first ``count`` points of the objects in their own frame, bent at their hinges, at some frames."""
    return pose_object_points(
        batch.points[:, :count], batch.part[:, :count], batch.hinge, batch.object_pose[:, frames, 9]
    )


@torch.no_grad()
def true_fields(
    batch: Batch,
    hands: Mapping[str, HandModel],
    frames: slice = slice(None),
    count: int | None = None,
    device: torch.device | str | None = None,
) -> Fields:
    """The distance fields of the batch's own hands, all vertices against ``count`` points: constants of Eqs. 12, 13.

    ``device`` is where the pairs are searched; None stays with the batch.
    """
    device = device or batch.pose.device
    _, vertices = posed_hands(batch.pose[:, frames], batch.betas, batch.side, hands)
    local = in_object_frame(vertices, batch.object_pose[:, frames])
    return fields_between(object_points(batch, frames, count).to(device), local.to(device))._replace(vertex=None)


@contextmanager
def full_precision(device_type: str):
    """Products in the numbers' own type: no autocast, no TF32. Millimetres are lost in either."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
