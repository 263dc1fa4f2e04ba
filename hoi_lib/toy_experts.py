"""A world of 64 hands and four experts, small enough to watch a mixture of experts learn, and collapse.

A token says how far a hand's index finger and its other three fingers are bent; asked for is where the thumb goes.
Hands come in four gestures with a thumb each, and an expert is the smallest there is: it always proposes the same
thumb. So four experts can be right about every hand, and one can only propose the mean.

S tokens, N runs side by side (each with its own seed and balance weight), M experts, H moments of a training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hoi_lib.selection import Selector, balance_terms, probabilities

if TYPE_CHECKING:
    from hoi_lib.hand import HandModel

GESTURES = ("open", "point", "ok", "fist")
FINGERS = ((-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0))  # index, others: −1 stretched, 1 bent
THUMBS = ((-0.35, -0.3), (0.7, 0.1), (0.2, 0.8), (0.75, 0.6))  # flexion and abduction in radians
BENDS = (70.0, 88.0, 58.0)  # degrees at the three joints of a bent finger
EXPERTS = 4
EXACT = torch.float64  # so that what is 0 on paper is 0 here, on every machine


@dataclass(frozen=True)
class World:
    """What is asked: ``gesture`` (S,) counts as :data:`GESTURES`; ``tokens`` (S, 3) hold the bend of the index finger,
    that of the others and a constant 1; ``thumbs`` (S, 2) are the right answers, flexion and abduction in radians."""

    gesture: Int[Tensor, "S"]
    tokens: Float[Tensor, "S 3"]
    thumbs: Float[Tensor, "S 2"]


def world(each: int = 16, spread: float = 0.6, seed: int = 0) -> World:
    """``each`` hands of every gesture, their fingers up to ``spread`` away from the gesture's own."""
    gesture = torch.arange(len(GESTURES)).repeat_interleave(each)
    away = spread * (2 * torch.rand(len(gesture), 2, generator=torch.Generator().manual_seed(seed), dtype=EXACT) - 1)
    fingers = torch.tensor(FINGERS, dtype=EXACT)[gesture] + away
    tokens = torch.cat([fingers, torch.ones(len(gesture), 1, dtype=EXACT)], 1)
    return World(gesture, tokens, torch.tensor(THUMBS, dtype=EXACT)[gesture])


@dataclass(frozen=True)
class Moment:
    """All runs before step ``step``: ``router`` (N, M, 3) holds the routers' weights, ``experts`` (N, M, 2) the thumb
    that each expert proposes, ``load`` (N, M) the share of all choices that each expert got, ``balance`` (N,) the
    balance loss and ``degrees`` (N,) how far the thumbs are off, as a root mean square."""

    step: int
    router: Float[Tensor, "N M 3"]
    experts: Float[Tensor, "N M 2"]
    load: Float[Tensor, "N M"]
    balance: Float[Tensor, "N"]
    degrees: Float[Tensor, "N"]


def begin(seeds: Sequence[int]) -> tuple[Float[Tensor, "N M 3"], Float[Tensor, "N M 2"]]:
    """Router and experts before training, one draw for each seed."""
    dice = [torch.Generator().manual_seed(seed) for seed in seeds]
    router = torch.stack([0.1 * torch.randn(EXPERTS, 3, generator=g, dtype=EXACT) for g in dice])
    return router, torch.stack([0.3 * torch.randn(EXPERTS, 2, generator=g, dtype=EXACT) for g in dice])


def route(
    tokens: Float[Tensor, "S 3"], router: Float[Tensor, "N M 3"], active: int = 1, normalise: str = "none"
) -> tuple[Float[Tensor, "S N 1 M"], Tensor, Tensor]:
    """Scores, mask and gates (S, N, 1, M) of all runs; ``active`` and ``normalise`` as in
    :class:`~hoi_lib.selection.Selector`."""
    logits = torch.einsum("sf,nmf->snm", tokens, router)[:, :, None]
    scores = probabilities(logits)
    return scores, *Selector("token_topk", active, normalise)(scores, logits)


def train(
    what: World,
    weights: Sequence[float],
    seeds: Sequence[int],
    active: int = 1,
    normalise: str = "none",
    steps: int = 700,
    rate: float = 0.03,
    moments: Sequence[int] = (),
) -> list[Moment]:
    """Train one run for each balance weight and seed (two equally long lists) with Adam on all tokens at every step.

    Returns the ``moments`` asked for, in order, and the end, always last. Runs don't see each other: a run comes out
    as it would alone.
    """
    router, experts = (x.requires_grad_() for x in begin(seeds))
    weight = torch.tensor(weights, dtype=EXACT)
    adam = torch.optim.Adam([router, experts], rate)
    kept = []
    for step in range(steps + 1):
        scores, mask, gate = route(what.tokens, router, active, normalise)
        proposed = torch.einsum("snm,nmo->sno", gate[:, :, 0], experts)
        error = (proposed - what.thumbs[:, None]).square().mean((0, 2))
        balance = balance_terms(scores[:, None], active)[:, 0]
        if step in moments or step == steps:
            load = mask[:, :, 0].to(EXACT).mean(0) / active
            degrees = error.detach().sqrt() * 180 / math.pi
            now = (router, experts, load, balance, degrees)
            kept.append(Moment(step, *(x.detach().clone() for x in now)))
        adam.zero_grad()
        (error + weight * balance).sum().backward()
        adam.step()
    return kept


def posed(
    hand: HandModel, fingers: Float[Tensor, "2"] | Sequence[float], thumb: Float[Tensor, "2"] | Sequence[float]
) -> Float[Tensor, "V 3"]:
    """The skin of a right hand whose index finger and other three are bent as ``fingers`` says (−1 to 1) and whose
    thumb has this flexion and abduction in radians."""
    from hoi_lib.hand import abduction_axes, flexion_axes
    from hoi_lib.rotations import axis_angle_to_matrix

    flexion, abduction = (torch.from_numpy(x).float() for x in (flexion_axes(), abduction_axes()))
    along = torch.linalg.cross(flexion, abduction)
    index, others = (torch.as_tensor(fingers).float().clamp(-1, 1) + 1) / 2
    bend = torch.deg2rad(torch.tensor(BENDS))
    flex, abduct = torch.as_tensor(thumb).float()
    angles = torch.cat([index * bend, (others * bend).repeat(3), flex * torch.tensor([0.5, 0.8, 0.9])])
    vectors = angles[:, None] * flexion
    vectors[12] += abduct * (abduction[12] - 0.8 * along[12])
    turns = torch.cat([torch.eye(3)[None], axis_angle_to_matrix(vectors)])
    return hand.from_matrices(turns, torch.zeros(3)).vertices
