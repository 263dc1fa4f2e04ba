"""Training losses: one pure function per printed equation, and one table that weighs and sums them.

B batch, L frames, X the 99 numbers, J joints (21 with tips), V vertices (those that the run looks at). Metres and
frames. Every reduction is a mean over what is valid: padding counts nowhere, and a batch without a valid frame gives
exactly 0. The functions work in the number type that they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hoi_lib.errors import ConfigError
from hoi_lib.geometry import masked_mean, safe_norm
from hoi_lib.hand import HandModel
from hoi_lib.motion import SIDES, unpack_pose
from hoi_lib.routing import balance_loss

__all__ = ["balance_loss"]  # Eq. 9 lives beside the routers


@dataclass(frozen=True)
class Prediction:
    """What the losses look at: an estimate of the clean motion beside the truth.

    ``numbers`` are the standardised ones that the network gives; joints and vertices are in metres, all in one frame
    that moves evenly (the world), or accelerations would mean nothing. ``balance`` is Eq. 9 as the network worked it
    out while it routed; None stands for 0.
    """

    numbers: Float[Tensor, "B L X"]
    true_numbers: Float[Tensor, "B L X"]
    joints: Float[Tensor, "B L J 3"]
    true_joints: Float[Tensor, "B L J 3"]
    vertices: Float[Tensor, "B L V 3"]
    true_vertices: Float[Tensor, "B L V 3"]
    valid: Bool[Tensor, "B L"]
    balance: Float[Tensor, ""] | None = None


class Term(NamedTuple):
    """One row of :data:`LOSSES`: ``function`` of a :class:`Prediction`, its weight in Eq. 16, where it is printed,
    and the unit of its raw value."""

    function: Callable[[Prediction], Tensor]
    weight: float
    equation: int
    unit: str


def diffusion_loss(
    predicted: Float[Tensor, "B L X"], true: Float[Tensor, "B L X"], valid: Bool[Tensor, "B L"]
) -> Float[Tensor, ""]:
    """Make the network's estimate the clean motion (MoEG-HOI Eq. 10).

    Mean squared difference over numbers, valid frames and batch, in whatever units the numbers have: the paper's are
    metres and matrix entries, ours are standardised.
    """
    return masked_mean((predicted - true).square(), valid[..., None])


def reconstruction_loss(
    joints: Float[Tensor, "B L J 3"],
    true_joints: Float[Tensor, "B L J 3"],
    vertices: Float[Tensor, "B L V 3"],
    true_vertices: Float[Tensor, "B L V 3"],
    valid: Bool[Tensor, "B L"],
) -> Float[Tensor, ""]:
    """Put joints and skin where they belong (MoEG-HOI Eq. 11).

    Mean squared distance of the joints plus that of the vertices, in m²: means and not sums, so that thinning the
    vertices leaves the scale alone.
    """
    return squared_distance(joints, true_joints, valid) + squared_distance(vertices, true_vertices, valid)


def squared_distance(
    points: Float[Tensor, "B L N 3"], true: Float[Tensor, "B L N 3"], valid: Bool[Tensor, "B L"]
) -> Float[Tensor, ""]:
    """Mean over points, valid frames and batch of the squared distance to the truth; one half of Eq. 11."""
    return masked_mean((points - true).square().sum(-1), valid[..., None])


def acceleration_loss(vertices: Float[Tensor, "B L V 3"], valid: Bool[Tensor, "B L"]) -> Float[Tensor, ""]:
    """Keep the skin from trembling (MoEG-HOI Eq. 15).

    Mean length of ``v_i − 2 v_{i−1} + v_{i−2}`` over vertices and over the triples of frames that are valid
    throughout, in metres per frame²: a vertex at 0, 1, 4, 9, 16 gives 2, whatever the length of the clip (the printed
    sum would give 6). Clips shorter than three frames give 0. The gradient is 0, not undefined, where a vertex moves
    evenly.
    """
    if vertices.shape[1] < 3:
        return vertices.sum() * 0
    second = vertices[:, 2:] - 2 * vertices[:, 1:-1] + vertices[:, :-2]
    return masked_mean(safe_norm(second), (valid[:, 2:] & valid[:, 1:-1] & valid[:, :-2])[..., None])


LOSSES: dict[str, Term] = {
    "diff": Term(lambda p: diffusion_loss(p.numbers, p.true_numbers, p.valid), 1.0, 10, "1"),
    "rec": Term(
        lambda p: reconstruction_loss(p.joints, p.true_joints, p.vertices, p.true_vertices, p.valid), 20.0, 11, "m²"
    ),
    "acc": Term(lambda p: acceleration_loss(p.vertices, p.valid), 20.0, 15, "m/frame²"),
    "balance": Term(lambda p: p.numbers.new_zeros(()) if p.balance is None else p.balance, 0.01, 9, "1"),
}
"""The terms of Eq. 16 with the paper's weights."""


def total_loss(
    prediction: Prediction, weights: Mapping[str, float] | None = None
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Weigh and sum the table (MoEG-HOI Eq. 16): the total, and each term's raw value before its weight.

    ``weights`` replaces those of the table by name; a weight of 0 leaves a term out altogether, uncomputed. Raises
    :class:`ConfigError` for a name that the table does not have.
    """
    weights = weights or {}
    if unknown := weights.keys() - LOSSES.keys():
        raise ConfigError(f"no loss is called {', '.join(sorted(unknown))}: expected {', '.join(LOSSES)}.")
    weights = {name: weights.get(name, term.weight) for name, term in LOSSES.items()}
    raw = {name: term.function(prediction) for name, term in LOSSES.items() if weights[name] != 0}
    total = sum((weights[name] * value for name, value in raw.items()), prediction.numbers.new_zeros(()))
    return total, raw


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
    parts, order = [], []
    for index, name in enumerate(SIDES):
        rows = (side == index).nonzero()[:, 0]
        if len(rows):
            parts.append(hands[name].from_matrices(rotations[rows], transl[rows], betas[rows], vertex_ids))
            order.append(rows)
    back = torch.cat(order).argsort()
    return torch.cat([p.joints for p in parts])[back], torch.cat([p.vertices for p in parts])[back]


def compare(
    numbers: Float[Tensor, "B L X"],
    true_numbers: Float[Tensor, "B L X"],
    posed: tuple[Float[Tensor, "B L J 3"], Float[Tensor, "B L V 3"]],
    true_posed: tuple[Float[Tensor, "B L J 3"], Float[Tensor, "B L V 3"]],
    valid: Bool[Tensor, "B L"],
) -> Prediction:
    """A :class:`Prediction` from the network's numbers and from what :func:`posed_hands` made of both poses."""
    (joints, vertices), (true_joints, true_vertices) = posed, true_posed
    return Prediction(numbers, true_numbers, joints, true_joints, vertices, true_vertices, valid)
