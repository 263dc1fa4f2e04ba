"""Nearest neighbours between two clouds of points, accurate and within a fixed memory.

Indices are found without gradient, block by block; distances are then taken again in difference form, so that the
gradient touches N pairs instead of N · M and a distance of millimetres keeps its digits a metre from the origin.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BLOCK_BYTES = 64 * 2**20


@torch.no_grad()
def nearest(query: Float[Tensor, "*batch N 3"], target: Float[Tensor, "*batch M 3"]) -> Int[Tensor, "*batch N"]:
    """Index of the point of ``target`` nearest to each point of ``query``; the leading axes broadcast."""
    batch = torch.broadcast_shapes(query.shape[:-2], target.shape[:-2])
    q = query.expand(*batch, *query.shape[-2:]).reshape(-1, *query.shape[-2:])
    t = target.expand(*batch, *target.shape[-2:]).reshape(-1, *target.shape[-2:])
    rows = max(1, BLOCK_BYTES // (q.element_size() * max(1, t.shape[1]) * 2))
    out = torch.empty(q.shape[:2], dtype=torch.long, device=q.device)
    for b in range(len(q)):
        for start in range(0, q.shape[1], rows):
            block = q[b, start : start + rows]
            square = (block[:, None, 0] - t[b, None, :, 0]).square_()
            for axis in (1, 2):
                square += (block[:, None, axis] - t[b, None, :, axis]).square_()
            out[b, start : start + rows] = square.argmin(-1)
    return out.reshape(*batch, -1)


def nearest_distance(
    query: Float[Tensor, "*batch N 3"], target: Float[Tensor, "*batch M 3"]
) -> Float[Tensor, "*batch N"]:
    """Distance in metres from each point of ``query`` to the nearest of ``target``; its gradient is finite at 0."""
    index = nearest(query, target)
    chosen = target.expand(*index.shape[:-1], *target.shape[-2:]).gather(-2, index[..., None].expand(*index.shape, 3))
    return safe_norm(query - chosen)


def safe_norm(x: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """Length of a vector, with gradient 0 where it is 0."""
    square = (x * x).sum(-1)
    zero = square == 0
    return torch.where(zero, torch.zeros_like(square), torch.where(zero, torch.ones_like(square), square).sqrt())


def masked_mean(x: Float[Tensor, "..."], mask: Bool[Tensor, "..."]) -> Float[Tensor, ""]:
    """Mean of ``x`` over the entries where ``mask`` (broadcast to it) is True; exactly 0 if there is none."""
    mask = mask.expand_as(x)
    return torch.where(mask, x, torch.zeros_like(x)).sum() / mask.sum().clamp(min=1)
