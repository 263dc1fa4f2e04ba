"""Standardising numbers: subtract the mean and divide by the spread that training data showed.

B batch, L frames, N rows, K kinds of rows (sides of the body), X numbers in a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hoi_lib.errors import ConfigError

SMALLEST_SPREAD = 1e-2  # metres, or an entry of a rotation matrix: what varies less is not blown up to one


class Moments:
    """Running count, mean and spread of rows, merged batch by batch in float64 (Chan et al., 1983)."""

    def __init__(self, dim: int):
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self.squares = torch.zeros(dim, dtype=torch.float64)  # summed squared distance to the mean

    def add(self, rows: Float[Tensor, "N X"]) -> None:
        """Take in N rows, on any device."""
        if not len(rows):
            return
        rows = rows.detach().double().cpu()
        mean, seen, count = rows.mean(0), self.count, self.count + len(rows)
        self.squares += (rows - mean).square().sum(0) + (mean - self.mean).square() * seen * len(rows) / count
        self.mean += (mean - self.mean) * len(rows) / count
        self.count = count

    def std(self) -> Float[Tensor, "X"]:
        """Population standard deviation of all rows so far."""
        return (self.squares / self.count).sqrt()


class Normaliser(nn.Module):
    """``(x − mean) / std`` with one row of figures per kind; the figures are buffers and travel with a checkpoint.

    A left hand is the mirror image of a right one and has its own mean: that is what kinds are for.
    """

    def __init__(self, dim: int, kinds: int = 1):
        super().__init__()
        self.register_buffer("mean", torch.zeros(kinds, dim))
        self.register_buffer("std", torch.ones(kinds, dim))

    def forward(self, x: Float[Tensor, "B L X"], kind: Int[Tensor, "B"]) -> Float[Tensor, "B L X"]:
        """Standardise each sample by the figures of its kind."""
        return (x - self.mean[kind][:, None]) / self.std[kind][:, None]

    def undo(self, x: Float[Tensor, "B L X"], kind: Int[Tensor, "B"]) -> Float[Tensor, "B L X"]:
        """The inverse: from standardised numbers back to metres and matrix entries."""
        return x * self.std[kind][:, None] + self.mean[kind][:, None]

    def fit(self, moments: Sequence[Moments]) -> None:
        """Take the figures from one :class:`Moments` per kind; a kind never seen takes those of the first seen.

        Raises :class:`ConfigError` if no row was seen at all.
        """
        seen = [m for m in moments if m.count]
        if not seen:
            raise ConfigError("no valid frame to standardise by.", "Fit on the training split of a data set.")
        for kind, m in enumerate(moments):
            source = m if m.count else seen[0]
            self.mean[kind] = source.mean
            self.std[kind] = source.std().clamp(min=SMALLEST_SPREAD)
