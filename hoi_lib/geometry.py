"""Nearest neighbours between two clouds of points, exact and within a fixed memory; means over masks.

Indices are found without gradient, block by block; the distance is then taken again between the chosen pairs, so that
the gradient touches N pairs instead of N · M. Both use the difference form ``Σ (x - y)²``: the expanded form
``x² - 2 x·y + y²`` is no faster for three coordinates and loses up to a millimetre a metre away from the origin.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BLOCK_BYTES = 64 * 2**20  # most that the squared distances of one block may take
CACHE_BYTES = 2**20  # what a block takes on the CPU, where one that fits the cache is twice as fast
FUSED_PAIRS = 2**30  # pairs in one fused kernel on CUDA, which stores none of them


@torch.no_grad()
def nearest(query: Float[Tensor, "*#batch N 3"], target: Float[Tensor, "*#batch M 3"]) -> Int[Tensor, "*batch N"]:
    """Index of the point of ``target`` nearest to each point of ``query``; the leading axes broadcast.

    The first of several equally near ones is taken. Raises ``ValueError`` if ``target`` has no points.
    """
    count, targets = query.shape[-2], target.shape[-2]
    if targets == 0:
        raise ValueError("target has no points: there is no nearest one")
    batch = torch.broadcast_shapes(query.shape[:-2], target.shape[:-2])
    q = query.expand(*batch, count, 3).reshape(batch.numel(), count, 3)
    t = target.expand(*batch, targets, 3).reshape(batch.numel(), targets, 3)
    find, most = _nearest_block, CACHE_BYTES // (2 * q.element_size())
    if q.is_cuda:
        find, most = _fused()
    rows = max(1, min(count, most // targets))
    batches = max(1, most // (targets * max(rows, 1)))
    out = torch.empty(len(q), count, dtype=torch.long, device=q.device)
    for b in range(0, len(q), batches):
        for n in range(0, count, rows):
            out[b : b + batches, n : n + rows] = find(q[b : b + batches, n : n + rows], t[b : b + batches])
    return out.reshape(*batch, count)


def _nearest_block(q: Float[Tensor, "B N 3"], t: Float[Tensor, "B M 3"]) -> Int[Tensor, "B N"]:
    square = (q[..., None, 0] - t[:, None, :, 0]).square()
    for axis in (1, 2):
        square = square + (q[..., None, axis] - t[:, None, :, axis]).square()
    return square.argmin(-1)


@lru_cache(maxsize=1)
def _fused() -> tuple[Callable, int]:
    """The block search for CUDA and the most pairs it takes: compiled into one kernel, or plain where that fails."""
    compiled = torch.compile(_nearest_block, dynamic=True)
    try:
        compiled(*(torch.rand(2, n, 3, device="cuda") for n in (3, 5)))
        return compiled, FUSED_PAIRS
    except Exception as error:  # no Triton, no compiler, an unknown card: slower is better than nothing
        warnings.warn(f"nearest neighbours run uncompiled: {type(error).__name__}", stacklevel=2)
        return _nearest_block, BLOCK_BYTES // 12


def nearest_distance(
    query: Float[Tensor, "*#batch N 3"], target: Float[Tensor, "*#batch M 3"]
) -> Float[Tensor, "*batch N"]:
    """Distance from each point of ``query`` to the nearest of ``target``, in their unit.

    Differentiable in both; where a point meets its target the gradient is 0.
    """
    index = nearest(query, target)
    spread = target.expand(*index.shape[:-1], *target.shape[-2:])
    chosen = spread.gather(-2, index[..., None].expand(*index.shape, 3))
    return safe_norm(query - chosen)


def safe_norm(x: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """Length of a vector, with gradient 0 where it is 0."""
    square = (x * x).sum(-1)
    zero = square == 0
    return torch.where(zero, torch.zeros_like(square), torch.where(zero, torch.ones_like(square), square).sqrt())


def masked_mean(x: Float[Tensor, "*shape"], mask: Bool[Tensor, "*#shape"]) -> Float[Tensor, ""]:
    """Mean of ``x`` over the entries where ``mask`` (broadcast to it) is True; exactly 0 if there is none.

    What is masked out has no gradient and no effect, NaN and infinity included.
    """
    mask = mask.expand_as(x)
    return torch.where(mask, x, torch.zeros_like(x)).sum() / mask.sum().clamp(min=1)
