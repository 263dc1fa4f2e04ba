"""Nearest neighbours between two clouds of points, within a fixed memory; means over masks.

Indices are found without gradient, block by block; the distance is then taken again between the chosen pairs, so that
the gradient touches N pairs instead of N · M. Distances are always taken in the difference form ``Σ (x - y)²``: the
expanded form ``x² - 2 x·y + y²`` loses up to a millimetre a metre away from the origin. Where it is used at all, in the
first look of :func:`nearest_pair`, it is written about the clouds' own centre and decides between groups of points.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float, Int
from torch import Tensor

BLOCK_BYTES = 64 * 2**20  # most that the squared distances of one block may take
CACHE_BYTES = 2**20  # what a block takes on the CPU, where one that fits the cache is twice as fast
FUSED_PAIRS = 2**30  # pairs in one fused kernel on CUDA, which stores none of them
PAIR_BYTES = 4 * 2**20  # what a block of nearest_pair takes on the CPU: its products like larger ones
GROUP = 32  # points that the first look of nearest_pair does not tell apart


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
    return safe_norm(query - take(target, nearest(query, target)))


@torch.no_grad()
def nearest_pair(
    a: Float[Tensor, "*#batch N 3"], b: Float[Tensor, "*#batch M 3"]
) -> tuple[Int[Tensor, "*batch N"], Int[Tensor, "*batch M"]]:
    """Index of the point of ``b`` nearest to each point of ``a``, and the reverse, from one pass over the pairs.

    On the CPU a first look, one matrix product, names the nearest group of 32 points in both directions; the nearest
    point of that group is then found in the difference form. Two points that are equally near to within 1e-7 times the
    square of the clouds' size may be taken for one another (2 µm at 5 mm for clouds of 30 cm). On CUDA both directions
    are the fused search of :func:`nearest`. Raises ``ValueError`` if a cloud has no points.
    """
    n, m = a.shape[-2], b.shape[-2]
    if n == 0 or m == 0:
        raise ValueError("a cloud has no points: there is no nearest one")
    if a.is_cuda:
        return nearest(a, b), nearest(b, a)
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    flat_a, flat_b = (x.expand(*batch, *x.shape[-2:]).reshape(batch.numel(), *x.shape[-2:]) for x in (a, b))
    to_b, to_a = (torch.empty(batch.numel(), k, dtype=torch.long) for k in (n, m))
    step = max(1, PAIR_BYTES // (n * m * a.element_size()))
    for i in range(0, batch.numel(), step):
        to_b[i : i + step], to_a[i : i + step] = _pair_block(flat_a[i : i + step], flat_b[i : i + step])
    return to_b.reshape(*batch, n), to_a.reshape(*batch, m)


def _pair_block(a: Float[Tensor, "B N 3"], b: Float[Tensor, "B M 3"]) -> tuple[Int[Tensor, "B N"], Int[Tensor, "B M"]]:
    """Both directions at once: which group of the other cloud is nearest, then which of its points."""
    n, m = a.shape[1], b.shape[1]
    a, b = (torch.cat([x, x[:, -1:].expand(-1, -x.shape[1] % GROUP, -1)], 1) for x in (a, b))  # whole groups
    left, right = _factors(a, b)
    rows = GROUP * max(1, PAIR_BYTES // (GROUP * b.shape[1] * a.element_size()))
    group_b, lowest_a = [], []
    for i in range(0, a.shape[1], rows):
        square = left[:, i : i + rows] @ right
        group_b.append(square.unflatten(2, (-1, GROUP)).amin(3).argmin(2))
        lowest_a.append(square.unflatten(1, (-1, GROUP)).amin(2))
    group_a = torch.cat(lowest_a, 1).argmin(1)
    to_b, to_a = _within(a, b, torch.cat(group_b, 1)), _within(b, a, group_a)
    return to_b[:, :n].clamp(max=m - 1), to_a[:, :m].clamp(max=n - 1)


def _factors(a: Float[Tensor, "B N 3"], b: Float[Tensor, "B M 3"]) -> tuple[Tensor, Tensor]:
    """Two matrices whose product is every squared distance, (B, N, 5) and (B, 5, M)."""
    centre = torch.cat([a, b], 1).mean(1, keepdim=True)
    a, b = a - centre, b - centre
    square_a, square_b = (x.square().sum(-1, keepdim=True) for x in (a, b))
    left = torch.cat([-2 * a, square_a, torch.ones_like(square_a)], -1)
    return left, torch.cat([b, torch.ones_like(square_b), square_b], -1).transpose(1, 2).contiguous()


def _within(
    query: Float[Tensor, "B N 3"], target: Float[Tensor, "B M 3"], group: Int[Tensor, "B N"]
) -> Int[Tensor, "B N"]:
    """Index of the point of ``target`` nearest to each query among the ``GROUP`` points of its ``group``."""
    batch, groups = len(target), target.shape[1] // GROUP
    table = target.unflatten(1, (groups, GROUP)).transpose(2, 3).reshape(batch * groups, 3 * GROUP)
    rows = group + groups * torch.arange(batch)[:, None]
    square = table.index_select(0, rows.flatten()).view(*group.shape, 3, GROUP).sub_(query[..., None]).square_()
    return GROUP * group + square[:, :, 0].add_(square[:, :, 1]).add_(square[:, :, 2]).argmin(-1)


def take(points: Float[Tensor, "*#batch N 3"], index: Int[Tensor, "*batch K"]) -> Float[Tensor, "*batch K 3"]:
    """The chosen points, differentiable; the leading axes of ``points`` broadcast to those of ``index``."""
    spread = points.expand(*index.shape[:-1], *points.shape[-2:])
    return spread.gather(-2, index[..., None].expand(*index.shape, 3))


def safe_norm(x: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """Length of a vector, with gradient 0 where it is 0."""
    square = (x * x).sum(-1)
    zero = square == 0
    return torch.where(zero, torch.zeros_like(square), torch.where(zero, torch.ones_like(square), square).sqrt())


def masked_mean(x: Float[Tensor, "*shape"], mask: Bool[Tensor, "*#shape"]) -> Float[Tensor, ""]:
    """Mean of ``x`` over the entries where ``mask`` (broadcast to it) is True; exactly 0 if there is none.

    What is masked out has no gradient and no effect, NaN and infinity included. Inside :func:`counted_over_ranks` the
    entries of all processes are counted.
    """
    mask = mask.expand_as(x)
    return torch.where(mask, x, torch.zeros_like(x)).sum() / _count(mask)


_OVER_RANKS: ContextVar[bool] = ContextVar("over_ranks", default=False)


@contextmanager
def counted_over_ranks(on: bool = True) -> Iterator[None]:
    """Every :func:`masked_mean` inside divides by the mean count of all processes instead of its own.

    A share of a batch has its own number of valid frames and of points in contact; counted together, the mean of the
    processes' values and gradients is that of the whole batch. Every process must then take the same means. Changes
    nothing where there is one process.
    """
    many = on and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    token = _OVER_RANKS.set(many)
    try:
        yield
    finally:
        _OVER_RANKS.reset(token)


def _count(mask: Bool[Tensor, "*shape"]) -> Tensor:
    count = mask.sum()
    if not _OVER_RANKS.get():
        return count.clamp(min=1)
    dist.all_reduce(count)
    return count.clamp(min=1) / dist.get_world_size()
