"""A hand in a few numbers: the smallest model that has to choose which mistakes to make.

N rows, X numbers of a row (99), K numbers that are kept. ``x̂ = (x − c) E D + c``, with E (X, K) and D (K, X).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Squeeze(NamedTuple):
    """``encode`` (X, K), ``decode`` (K, X) and ``centre`` (X,); called on rows (N, X), it gives them back as well as K
    numbers can."""

    encode: Tensor
    decode: Tensor
    centre: Tensor

    def __call__(self, x: Float[Tensor, "N X"]) -> Float[Tensor, "N X"]:
        """Squeeze and unfold."""
        return (x - self.centre) @ self.encode @ self.decode + self.centre


def closed_form(x: Float[Tensor, "N X"], keep: int, scale: Float[Tensor, "X"] | None = None) -> Squeeze:
    """The squeeze with the smallest mean squared error of ``scale * x`` on these rows: principal component analysis.

    ``scale`` (default: ones) says in which units errors count. With ``keep`` = X nothing is lost.
    """
    scale = torch.ones_like(x[0]) if scale is None else scale
    centre = (x * scale).mean(0)
    directions = torch.linalg.svd(x * scale - centre, full_matrices=False)[2][:keep]  # (K, X)
    return Squeeze(scale[:, None] * directions.T, directions / scale, centre / scale)


def fitted(
    start: Squeeze,
    x: Float[Tensor, "N X"],
    loss: Callable[[Float[Tensor, "n X"], Int[Tensor, "n"]], Tensor],
    steps: int = 250,
    batch: int = 128,
    lr: float = 1e-2,
    seed: int = 0,
) -> Squeeze:
    """The squeeze that Adam finds from ``start`` for any ``loss(x̂, rows)``, where ``rows`` says which rows x̂ stands
    for; the learning rate falls to a fiftieth. Every call draws the same rows."""
    parts = [part.clone().requires_grad_() for part in start]
    adam = torch.optim.Adam(parts, lr=lr)
    slower = torch.optim.lr_scheduler.LinearLR(adam, 1, 0.02, steps)
    dice = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(x), (batch,), generator=dice)
        adam.zero_grad()
        loss(Squeeze(*parts)(x[rows]), rows).backward()
        adam.step()
        slower.step()
    return Squeeze(*(part.detach() for part in parts))
