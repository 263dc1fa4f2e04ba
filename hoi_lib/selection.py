"""From logits to who works: selectors, gates, the balance loss and its counts.

A row is what routing decides about: a sample (B,) or a token (B, S). G groups, M experts per group, K active.
:mod:`hoi_lib.routing` builds the routers of both papers from these parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from torch import Tensor

from hoi_lib.errors import ConfigError

CHAPTER = "the docstrings of hoi_lib.selection"
KINDS = ("dense", "sample_topk", "token_topk", "expert_topk", "bias_threshold")
NORMALISE = ("none", "group", "all")
SCOPES = ("sample", "batch")
BALANCE = ("none", "branches", "total", "bias_sign")
COMBINE = ("sum", "release")


def one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Raise :class:`ConfigError` unless ``value`` is known."""
    if value not in known:
        raise ConfigError(f"{name} {value!r}: expected one of {', '.join(known)}.", chapter=CHAPTER)


@dataclass(frozen=True)
class Stats:
    """How the rows of a batch were spread, without gradient; padding is not counted.

    ``load`` (…, G, M) is the number of rows that each expert took, ``probability`` (…, G, M) the mean softmax, ``rows``
    the number of rows that were counted.
    """

    load: Float[Tensor, "*N G M"]
    probability: Float[Tensor, "*N G M"]
    rows: Float[Tensor, ""]


@dataclass(frozen=True)
class Assignment:
    """Who works for whom: ``gate`` (…, G, M) is the weight of each expert's output, 0 wherever ``mask`` is False.

    The leading axes are (B,) where whole samples are routed and (B, S) where tokens are. ``aux`` is the balance loss of
    this router, to be added once to the total with its weight.
    """

    mask: Bool[Tensor, "*rows G M"]
    gate: Float[Tensor, "*rows G M"]
    aux: Float[Tensor, ""]
    stats: Stats


def probabilities(logits: Float[Tensor, "*rows G M"]) -> Float[Tensor, "*rows G M"]:
    """Softmax over the experts of each group (MoEG-HOI Eq. 8), never in less than float32."""
    return logits.softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def top(scores: Float[Tensor, "*rows M"], active: int) -> Bool[Tensor, "*rows M"]:
    """True for the ``active`` largest of the last axis (MoEG-HOI Eq. 4); of equal ones the first wins."""
    if active == 1:
        index = scores.argmax(-1, keepdim=True)
    else:
        index = scores.sort(dim=-1, descending=True, stable=True).indices[..., :active]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, index, True)


def expert_choice(
    scores: Float[Tensor, "B S G M"], valid: Bool[Tensor, "B S"], active: float | int, scope: str = "sample"
) -> Bool[Tensor, "B S G M"]:
    """Each expert takes its ⌊n K / M⌋ best tokens of the n valid ones in every sample, or in the whole batch."""
    batch, experts = scores.shape[0], scores.shape[-1]
    if scope == "batch":
        scores, valid = scores.flatten(0, 1)[None], valid.flatten()[None]
    capacity = (valid.sum(1) * active / experts).floor()  # (B or 1,)
    scores = scores.masked_fill(~valid[..., None, None], -torch.inf)
    rank = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    chosen = (rank < capacity[:, None, None, None]) & valid[..., None, None]
    return chosen.unflatten(1, (batch, -1))[0] if scope == "batch" else chosen


@dataclass(frozen=True)
class Selector:
    """Turns logits into a mask and gates. Raises :class:`ConfigError` for a choice that does not exist.

    ``kind`` says who selects:

    * ``dense``: every expert works for every row;
    * ``sample_topk``, ``token_topk``: each row takes its ``active`` best experts in each group (rows are samples, or
      tokens);
    * ``expert_topk``: each expert takes its best tokens, ``active`` experts per token on average, within each sample or
      the whole batch (``scope``);
    * ``bias_threshold``: a token and an expert meet where sigmoid(logit) + bias > 0 (InterMoE Eq. 5).

    Gates are the softmax of each group on what was selected; ``normalise`` divides them by their sum in the ``group``,
    over ``all`` groups (MoEG-HOI Eq. 5), or not at all (``none``).
    """

    kind: str = "sample_topk"
    active: float | int = 1
    normalise: str = "none"
    scope: str = "sample"

    def __post_init__(self) -> None:
        one_of("selector", self.kind, KINDS)
        one_of("normalise", self.normalise, NORMALISE)
        one_of("scope", self.scope, SCOPES)
        whole = self.kind not in ("sample_topk", "token_topk") or (self.active == int(self.active) and self.active >= 1)
        if self.active <= 0 or not whole:
            raise ConfigError(f"active {self.active}: expected at least one expert, and whole ones for a top-K.")

    def __call__(
        self,
        scores: Float[Tensor, "*rows G M"],
        logits: Float[Tensor, "*rows G M"],
        valid: Bool[Tensor, "*rows"] | None = None,
        bias: Float[Tensor, "G M"] | None = None,
    ) -> tuple[Bool[Tensor, "*rows G M"], Float[Tensor, "*rows G M"]]:
        """Mask and gates from ``scores``, the softmax of ``logits``; rows that are not valid get neither."""
        mask = self._mask(scores, logits, valid, bias)
        if valid is not None:
            mask = mask & valid[..., None, None]
        gate = scores * mask
        if self.normalise != "none":
            axes = (-1,) if self.normalise == "group" else (-2, -1)
            gate = gate / gate.sum(axes, keepdim=True).clamp(min=torch.finfo(gate.dtype).tiny)
        return mask, gate

    def _mask(self, scores: Tensor, logits: Tensor, valid: Tensor | None, bias: Tensor | None) -> Tensor:
        if self.kind == "dense":
            return torch.ones_like(scores, dtype=torch.bool)
        if self.kind == "bias_threshold":
            return logits.to(scores.dtype).sigmoid() + bias > 0
        if self.kind == "expert_topk":
            seen = torch.ones(scores.shape[:-2], dtype=torch.bool, device=scores.device) if valid is None else valid
            return expert_choice(scores, seen, self.active, self.scope)
        return top(scores, int(self.active))


def balance_terms(
    branches: Float[Tensor, "R Q *N G M"],
    active: int,
    combine: str = "sum",
    valid: Bool[Tensor, "R"] | None = None,
    across_ranks: bool = False,
) -> Float[Tensor, "*N G"]:
    """:func:`balance_loss` before the sum over groups, for Q branches side by side (and N routers at once).

    ``across_ranks`` counts the rows of all processes, so that gradients which are averaged over processes are those of
    the whole batch; the mean of the processes' values is then its loss.
    """
    experts, trailing = branches.shape[-1], (1,) * (branches.dim() - 1)
    weight = branches.new_ones(len(branches)) if valid is None else valid.to(branches.dtype)
    weighted = branches * weight.view(-1, *trailing)
    with torch.no_grad():
        counts = (top(branches, active) * weight.view(-1, *trailing)).sum(0)  # (Q, *N, G, M)
        totals, rows, ranks = _over_ranks(torch.stack([counts, weighted.sum(0)]), weight.sum(), across_ranks)
        rows = rows.clamp(min=1)
        share, mean = totals[0] / (rows * active), totals[1] / rows
        whole = experts * (share * mean).sum(-1)  # (Q, *N, G), of all processes
    terms = experts * (share * (weighted.sum(0) * ranks / rows)).sum(-1)  # (Q, *N, G)
    if combine == "sum" or len(terms) == 1:
        return terms.sum(0)
    return terms.mean(0) + (whole[0] - whole[1]).sign() * (terms[0] - terms[1])


def balance_loss(
    probabilities: Sequence[Float[Tensor, "*rows G M"]],
    active: int = 1,
    combine: str = "sum",
    valid: Bool[Tensor, "*rows"] | None = None,
    across_ranks: bool = False,
) -> Float[Tensor, ""]:
    """Keep every expert in use (MoEG-HOI Eq. 9, with the loss of DiT-MoE for each routing branch).

    ``probabilities`` holds the softmax of each branch. Per branch and group M Σ f_e P_e: f_e is the share of this
    branch's *own* top-K choices that fell on expert e (a count, no gradient) and P_e its mean probability; 1 when the
    choices are even, M when all fall on one expert for certain. Summed over groups and, with ``combine`` "sum", over
    branches; "release" takes (L_a + L_t) / 2 + |L_a − L_t| of two branches. No weight inside. Without a valid row it is
    0. Raises :class:`ConfigError` for "release" with more than two branches.
    """
    one_of("balance", combine, COMBINE)
    if combine == "release" and len(probabilities) > 2:
        raise ConfigError(f"balance 'release' with {len(probabilities)} branches: expected at most two.")
    branches = torch.stack(list(probabilities), -3).flatten(0, -4)  # (R, Q, G, M)
    rows = None if valid is None else valid.flatten()
    return balance_terms(branches, active, combine, rows, across_ranks).sum()


@dataclass(frozen=True)
class Balancer:
    """How experts are kept in use.

    ``branches`` adds :func:`balance_loss` on each branch by itself, ``total`` on the softmax of their sum;
    ``bias_sign`` adds nothing and moves the thresholds of ``bias_threshold`` by ``rate`` after each step
    (:meth:`moved`); ``none`` does nothing.
    """

    kind: str = "branches"
    combine: str = "sum"
    rate: float = 1e-3
    bounds: tuple[float, float] = (-0.99, -0.01)

    def __post_init__(self) -> None:
        one_of("balancer", self.kind, BALANCE)
        one_of("balance", self.combine, COMBINE)

    def moved(
        self, bias: Float[Tensor, "G M"], load: Float[Tensor, "G M"], target: float | int
    ) -> Float[Tensor, "G M"]:
        """Bias after one step (InterMoE Eqs. 8 and 9): lower where an expert took more than its target, else higher.

        It stays inside ``bounds``: at −1 an expert would never be selected, at 0 always.
        """
        return (bias - self.rate * (load - target).sign()).clamp(*self.bounds)


def count(
    mask: Bool[Tensor, "R *N G M"], scores: Float[Tensor, "R *N G M"], valid: Bool[Tensor, "R"] | None = None
) -> Stats:
    """The :class:`Stats` of the first axis; ``mask`` is False already where a row is not valid."""
    scores = scores.detach()
    if valid is None:
        rows, total = scores.new_tensor(float(len(scores))), scores.sum(0)
    else:
        rows = valid.sum().to(scores.dtype)
        total = (scores * valid.view(-1, *(1,) * (scores.dim() - 1))).sum(0)
    return Stats(mask.sum(0).to(scores.dtype), total / rows.clamp(min=1), rows)


def reduce_stats(stats: Stats | Sequence[Stats]) -> Stats:
    """The counts of several forward passes and of all processes as one: loads add, probabilities are averaged by rows.

    Every process has to call it. Alone, and with a single record, it gives that record back.
    """
    records = [stats] if isinstance(stats, Stats) else list(stats)
    load = torch.stack([s.load for s in records]).sum(0)
    weighted = torch.stack([s.probability * s.rows for s in records]).sum(0)
    totals, rows, _ = _over_ranks(torch.stack([load, weighted]), torch.stack([s.rows for s in records]).sum(), True)
    return Stats(totals[0], totals[1] / rows.clamp(min=1), rows)


def _over_ranks(totals: Tensor, rows: Tensor, across_ranks: bool) -> tuple[Tensor, Tensor, int]:
    """Sums over all processes in one exchange, and their number; unchanged where there is one process alone."""
    if not (across_ranks and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return totals, rows, 1
    packed = torch.cat([totals.flatten(), rows.flatten()])
    dist.all_reduce(packed)
    return packed[:-1].view_as(totals), packed[-1], dist.get_world_size()
