"""A classifier of shapes small enough to train in two seconds, and clouds that try to fool it.

N objects, P = 64 points drawn from each, K kinds. The network is two halves: what it makes of each point, and what it
makes of all of them once they are pooled.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

POINTS = 64
Guess = Callable[[nn.ModuleList, Tensor], Tensor]  # the two halves and points (N, P, 3) to scores (N, K)


def drawn(
    shapes: Float[Tensor, "N Q 3"], generator: torch.Generator, crowd: float | int = 1.0, stretch: float = 0.15
) -> Float[Tensor, "N 64 3"]:
    """64 points of each shape's Q, at random, the shape stretched by up to ``stretch`` along each axis.

    The points on one side of the middle, a side drawn for each, are ``crowd`` times as likely.
    """
    scale = 1 - stretch + 2 * stretch * torch.rand(len(shapes), 1, 3, generator=generator)
    whole, towards = shapes * scale, torch.randn(len(shapes), 3, 1, generator=generator)
    near = ((whole - whole.mean(1, keepdim=True)) @ towards)[..., 0] > 0
    chosen = torch.multinomial(torch.where(near, float(crowd), 1.0), POINTS, generator=generator)
    return torch.gather(whole, 1, chosen[..., None].expand(-1, -1, 3))


def trained(shapes: Float[Tensor, "K Q 3"], guess: Guess, steps: int = 300, seed: int = 0) -> nn.ModuleList:
    """Both halves of a network, trained to tell which of the K shapes 64 points were drawn from (two draws a step)."""
    kind, twice, generator = _kinds(shapes, 2), shapes.repeat(2, 1, 1), torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        each = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64))
        net = nn.ModuleList([each, nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, len(shapes)))])
        optimiser = torch.optim.Adam(net.parameters(), 0.01)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total_steps=steps)
        for _ in range(steps):
            optimiser.zero_grad()
            nn.functional.cross_entropy(guess(net, drawn(twice, generator)), kind).backward()
            optimiser.step()
            rate.step()
    return net


@torch.no_grad()
def told_right(
    net: nn.ModuleList,
    shapes: Float[Tensor, "K Q 3"],
    guess: Guess,
    crowd: float | int = 1.0,
    away: float | int = 0.0,
    draws: int = 40,
) -> float:
    """The share of new clouds whose kind is told right; ``crowd`` as in :func:`drawn`, ``away`` metres along each
    axis are added to all points."""
    generator = torch.Generator().manual_seed(1)
    points = drawn(shapes.repeat(draws, 1, 1), generator, crowd) + away
    return float((guess(net, points).argmax(-1) == _kinds(shapes, draws)).float().mean())


def _kinds(shapes: Float[Tensor, "K Q 3"], draws: int) -> Int[Tensor, "N"]:
    return torch.arange(len(shapes)).repeat(draws)
