"""Training losses: one pure function per printed equation, and one table that weighs and sums them.

B batch, L frames, X the 99 numbers, J joints (21 with tips), V vertices (those that the run looks at). Metres and
frames. Every reduction is a mean over what is valid: padding counts nowhere, and a batch without a valid frame gives
exactly 0. The functions work in the number type that they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hoi_lib.errors import ConfigError
from hoi_lib.geometry import masked_mean, safe_norm, take
from hoi_lib.interaction import ContactSets, Fields, Interaction, Posed, contact_sets, fields_between, posed_hands
from hoi_lib.routing import balance_loss

__all__ = [
    "BETWEEN",
    "LOSSES",
    "ContactSets",
    "Fields",
    "Interaction",
    "Prediction",
    "Term",
    "acceleration_loss",
    "balance_loss",
    "compare",
    "contact_loss",
    "contact_sets",
    "diffusion_loss",
    "distance_loss",
    "edge_loss",
    "fields_between",
    "penetration_loss",
    "posed_hands",
    "reconstruction_loss",
    "squared_distance",
    "total_loss",
]

FAR_SIDE = 0.1  # λ of Eq. 12: what the vertices' distances count beside those of the object points


@dataclass(frozen=True)
class Prediction:
    """What the losses look at: an estimate of the clean motion beside the truth.

    ``numbers`` are the standardised ones that the network gives; joints and vertices are in metres, all in one frame
    that moves evenly (the world), or accelerations would mean nothing. ``interaction`` is the same hand beside its
    object, ``balance`` Eq. 9 as the network worked it out while it routed, ``edges`` those of the hand's mesh. A term
    whose part is None can only be left out (weight 0).
    """

    numbers: Float[Tensor, "B L X"]
    true_numbers: Float[Tensor, "B L X"]
    joints: Float[Tensor, "B L J 3"]
    true_joints: Float[Tensor, "B L J 3"]
    vertices: Float[Tensor, "B L V 3"]
    true_vertices: Float[Tensor, "B L V 3"]
    valid: Bool[Tensor, "B L"]
    interaction: Interaction | None = None
    balance: Float[Tensor, ""] | None = None
    edges: Int[Tensor, "E 2"] | None = None


class Term(NamedTuple):
    """One row of :data:`LOSSES`: ``function`` of a :class:`Prediction`, its weight in Eq. 16, where it is printed
    (None: nowhere), and the unit of its raw value."""

    function: Callable[[Prediction], Tensor]
    weight: float
    equation: int | None
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


def distance_loss(
    vertices: Float[Tensor, "B L V 3"],
    points: Float[Tensor, "B L P 3"],
    truth: Fields,
    valid: Bool[Tensor, "B L"],
    weight: float = FAR_SIDE,
    near: Fields | None = None,
) -> Float[Tensor, ""]:
    """Keep every distance between hand and object what it is in the ground truth (MoEG-HOI Eq. 12).

    Mean over object points of ``|d̂ − d|``, d the distance to the nearest vertex, plus ``weight`` (the paper's λ) times
    the mean over vertices of the same with d the distance to the nearest object point; metres, unsigned, ``truth``
    constant. ``near`` is :func:`fields_between` of the estimate where it is known already.
    """
    near = near or fields_between(points, vertices)
    to_hand, to_object = ((now - then.detach().to(now)).abs() for now, then in zip(near[:2], truth[:2], strict=True))
    return masked_mean(to_hand, valid[..., None]) + weight * masked_mean(to_object, valid[..., None])


def contact_loss(
    vertices: Float[Tensor, "B L V 3"],
    points: Float[Tensor, "B L P 3"],
    contact: ContactSets,
    valid: Bool[Tensor, "B L"],
    near: Fields | None = None,
) -> Float[Tensor, ""]:
    """Pull what touches in the ground truth back together (MoEG-HOI Eq. 13).

    Mean distance, in metres, from every object point in contact to its nearest hand vertex, plus the same from every
    hand vertex in contact to its nearest object point. It has a floor: the truth's own distances, up to τ. Frames that
    are not valid count nowhere; a batch without any contact gives exactly 0 and a zero gradient.
    """
    near = near or fields_between(points, vertices)
    return masked_mean(near.to_hand, contact.points & valid[..., None]) + masked_mean(
        near.to_object, contact.vertices & valid[..., None]
    )


def penetration_loss(
    vertices: Float[Tensor, "B L V 3"],
    normals: Float[Tensor, "B L V 3"],
    points: Float[Tensor, "B L P 3"],
    valid: Bool[Tensor, "B L"],
    near: Fields | None = None,
) -> Float[Tensor, ""]:
    """Push the object out of the hand (MoEG-HOI Eq. 14).

    Mean distance, in metres, of the object points inside the *estimated* hand to their nearest vertices; 0 if none is
    inside. A point is inside where it lies behind its nearest vertex, ``(p − v) · n < 0`` with the outward normal n;
    the set has no gradient, the distance has.
    """
    near = near if near is not None and near.vertex is not None else fields_between(points, vertices)
    with torch.no_grad():
        behind = ((points - take(vertices, near.vertex)) * take(normals, near.vertex)).sum(-1) < 0
    return masked_mean(near.to_hand, behind & valid[..., None])


def edge_loss(
    vertices: Float[Tensor, "B L V 3"],
    true_vertices: Float[Tensor, "B L V 3"],
    edges: Int[Tensor, "E 2"],
    valid: Bool[Tensor, "B L"],
) -> Float[Tensor, ""]:
    """Keep the mesh's edges what they are: an extra of the published code, in no equation of the paper.

    Mean absolute difference of the edge vectors' coordinates, in metres, over edges, valid frames and batch. Moving the
    whole hand costs nothing, turning or bending it does.
    """
    now, then = (x[:, :, edges[:, 1]] - x[:, :, edges[:, 0]] for x in (vertices, true_vertices))
    return masked_mean((now - then).abs(), valid[..., None, None])


def _distance(p: Prediction) -> Tensor:
    i = _part(p.interaction, "interaction", "dist")
    return distance_loss(i.vertices, i.points, i.truth, i.valid, near=i.near)


def _contact(p: Prediction) -> Tensor:
    i = _part(p.interaction, "interaction", "con")
    return contact_loss(i.vertices, i.points, i.contact, i.valid, near=i.near)


def _penetration(p: Prediction) -> Tensor:
    i = _part(p.interaction, "interaction", "pen")
    return penetration_loss(i.vertices, i.normals, i.points, i.valid, near=i.near)


def _part(value: Any, name: str, term: str) -> Any:
    """A part of a prediction that may be missing; raises :class:`ConfigError` where a term that is weighed needs it."""
    if value is None:
        raise ConfigError(f"the loss {term} needs the prediction's {name}, which is None.", f"Weigh {term} with 0.")
    return value


LOSSES: dict[str, Term] = {
    "diff": Term(lambda p: diffusion_loss(p.numbers, p.true_numbers, p.valid), 1.0, 10, "1"),
    "rec": Term(
        lambda p: reconstruction_loss(p.joints, p.true_joints, p.vertices, p.true_vertices, p.valid), 20.0, 11, "m²"
    ),
    "dist": Term(_distance, 20.0, 12, "m"),
    "con": Term(_contact, 20.0, 13, "m"),
    "pen": Term(_penetration, 20.0, 14, "m"),
    "acc": Term(lambda p: acceleration_loss(p.vertices, p.valid), 20.0, 15, "m/frame²"),
    "balance": Term(lambda p: _part(p.balance, "balance", "balance"), 0.01, 9, "1"),
    "edge": Term(
        lambda p: edge_loss(p.vertices, p.true_vertices, _part(p.edges, "edges", "edge"), p.valid), 0.0, None, "m"
    ),
}
"""The terms of Eq. 16 with the paper's weights, and ``edge``, which only the published code has."""

BETWEEN = ("dist", "con", "pen")
"""The terms that look at hand and object together."""


def total_loss(
    prediction: Prediction, weights: Mapping[str, float] | None = None
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Weigh and sum the table (MoEG-HOI Eq. 16): the total, and each term's raw value before its weight.

    ``weights`` replaces those of the table by name; a weight of 0 leaves a term out altogether, uncomputed. Raises
    :class:`ConfigError` for a name that the table does not have and for a term whose part of the prediction is missing.
    """
    weights = weights or {}
    if unknown := weights.keys() - LOSSES.keys():
        raise ConfigError(f"no loss is called {', '.join(sorted(unknown))}: expected {', '.join(LOSSES)}.")
    weights = {name: weights.get(name, term.weight) for name, term in LOSSES.items()}
    raw = {name: term.function(prediction) for name, term in LOSSES.items() if weights[name] != 0}
    total = sum((weights[name] * value for name, value in raw.items()), prediction.numbers.new_zeros(()))
    return total, raw


def compare(
    numbers: Float[Tensor, "B L X"],
    true_numbers: Float[Tensor, "B L X"],
    posed: Posed,
    true_posed: Posed,
    valid: Bool[Tensor, "B L"],
    **parts: Any,
) -> Prediction:
    """A :class:`Prediction` from the network's numbers and from what :func:`posed_hands` made of both poses; ``parts``
    are its interaction, balance and edges."""
    (joints, vertices), (true_joints, true_vertices) = posed, true_posed
    return Prediction(numbers, true_numbers, joints, true_joints, vertices, true_vertices, valid, **parts)
