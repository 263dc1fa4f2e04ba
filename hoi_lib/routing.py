"""Routers: which experts work for which sample or token.

One contract for both papers: a :class:`Scorer` (a sum of named linear branches), a
:class:`~hoi_lib.selection.Selector` (who takes whom) and a :class:`~hoi_lib.selection.Balancer` give an
:class:`~hoi_lib.selection.Assignment`. :class:`ActionNoiseRouter` (MoEG-HOI) and :class:`TemporalSelection` (InterMoE)
are two configurations of it. Nothing is stored on a router in ``forward``.

B batch, S tokens, N routers (one per block), G groups, M experts per group, K active, A actions, T diffusion steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear

from hoi_lib.errors import ConfigError
from hoi_lib.selection import (
    Assignment,
    Balancer,
    Selector,
    Stats,
    balance_loss,
    balance_terms,
    count,
    probabilities,
    reduce_stats,
)

__all__ = [
    "ActionNoiseRouter",
    "Assignment",
    "Balancer",
    "Router",
    "RoutingTable",
    "Scorer",
    "Selector",
    "Stats",
    "TemporalSelection",
    "balance_loss",
    "reduce_stats",
    "route_all",
]

ACTION_NOISE = ("action", "time")


class Scorer(nn.ModuleDict):
    """Logits as a sum of named branches, each a linear map without bias (MoEG-HOI Eq. 7).

    ``branches`` maps a branch's name to the width of what it reads. ``scale`` multiplies the logits of the branches
    that it names. Weights begin uniform in ±1/√width, or normal with deviation ``std`` where that is given.
    """

    def __init__(
        self,
        branches: Mapping[str, int],
        groups: int,
        experts: int,
        scale: Mapping[str, float] | None = None,
        std: float | None = None,
    ):
        super().__init__({name: nn.Linear(width, groups * experts, bias=False) for name, width in branches.items()})
        self.groups, self.experts, self.scale = groups, experts, dict(scale or {})
        if std is not None:
            for branch in self.values():
                nn.init.normal_(branch.weight, std=std)

    def forward(self, features: Mapping[str, Float[Tensor, "..."]]) -> dict[str, Float[Tensor, "..."]]:
        """Each branch's logits (…, G, M) from its features (…, X); branches may have leading axes that broadcast."""
        return score({name: branch.weight for name, branch in self.items()}, features, self.experts, self.scale)


def score(
    weights: Mapping[str, Float[Tensor, "GM X"]],
    features: Mapping[str, Float[Tensor, "..."]],
    experts: int,
    scale: Mapping[str, float],
) -> dict[str, Float[Tensor, "..."]]:
    """The linear maps of a :class:`Scorer`, in the weights' own precision whatever the surrounding autocast says."""
    logits = {}
    for name, weight in weights.items():
        with torch.autocast(weight.device.type, enabled=False):
            logits[name] = linear(features[name].to(weight.dtype), weight).unflatten(-1, (-1, experts))
        if name in scale:
            logits[name] = scale[name] * logits[name]
    return logits


class Router(nn.Module):
    """Scorer, selector, balancer: the contract that every router of the library keeps."""

    def __init__(self, scorer: Scorer, selector: Selector, balancer: Balancer):
        super().__init__()
        self.scorer, self.selector, self.balancer = scorer, selector, balancer
        if selector.active > scorer.experts:
            raise ConfigError(f"active {selector.active} of {scorer.experts} experts: expected at most all of them.")

    def forward(
        self, features: Mapping[str, Float[Tensor, "..."]], valid: Bool[Tensor, "*rows"] | None = None
    ) -> Assignment:
        """Assign rows to experts. ``features`` holds what each branch reads, (B, S, X) for tokens; (B, X) for what is
        the same for a whole sample, given to all its tokens. Rows that are not valid get no expert and count nowhere.
        """
        return self.assign(self.scorer(aligned(features)), valid)

    def assign(
        self,
        branches: Mapping[str, Float[Tensor, "..."]],
        valid: Bool[Tensor, "*rows"] | None = None,
        bias: Float[Tensor, "G M"] | None = None,
    ) -> Assignment:
        """The decision from each branch's logits (…, G, M), whose sum is what the selector sees (MoEG-HOI Eq. 8)."""
        logits = sum(branches.values())
        scores = probabilities(logits)
        mask, gate = self.selector(scores, logits, valid, bias)
        rows = None if valid is None else valid.flatten()
        stats = count(mask.flatten(0, -3), scores.flatten(0, -3), rows)
        return Assignment(mask, gate, self._balance(branches, scores, valid), stats)

    def _balance(self, branches: Mapping[str, Tensor], scores: Tensor, valid: Tensor | None) -> Float[Tensor, ""]:
        if self.balancer.kind not in ("branches", "total"):
            return scores.new_zeros(())
        each = [scores] if self.balancer.kind == "total" else [probabilities(x) for x in branches.values()]
        each = [x.expand_as(scores) for x in each]
        active, across = int(self.selector.active), self.training and torch.is_grad_enabled()
        return balance_loss(each, active, self.balancer.combine, valid, across)


def aligned(features: Mapping[str, Float[Tensor, "..."]]) -> dict[str, Float[Tensor, "..."]]:
    """Features (B, X) beside features (B, S, X) get a token axis of one, so that their logits can be added."""
    most = max(x.dim() for x in features.values())
    return {name: x[:, None] if x.dim() < most else x for name, x in features.items()}


class ActionNoiseRouter(Router):
    """The action-and-noise router ANR (MoEG-HOI Eqs. 3–5, 7–9), for all groups of one block.

    The verb's feature and the embedded noise level each give logits by a linear map without bias; their sum goes
    through a softmax over the M experts of each group, the ``active`` best of each group are kept, and their weights
    are divided by the sum over *all* groups. Inside a single group that sum would make a lone weight exactly 1 and take
    every gradient from the router.

    ``branches`` leaves one of the two out. ``joint`` puts both features through one linear map and balances its softmax
    alone; without a bias that is the same family of functions, so what it changes is the balance. ``balance`` is how
    the two terms of Eq. 9 combine: "sum", or "release" (:func:`~hoi_lib.selection.balance_loss`).
    """

    def __init__(
        self,
        action_dim: int,
        time_dim: int,
        groups: int = 3,
        experts: int = 3,
        active: int = 1,
        branches: Sequence[str] = ACTION_NOISE,
        joint: bool = False,
        balance: str = "sum",
    ):
        widths = {"action": action_dim, "time": time_dim}
        if not branches or set(branches) - set(widths) or (joint and len(branches) < 2):
            raise ConfigError(
                f"router branches {', '.join(branches) or 'none'}{' as one joint map' if joint else ''}: expected "
                "action, time or both, and both for a joint map."
            )
        read = {"joint": action_dim + time_dim} if joint else {name: widths[name] for name in branches}
        super().__init__(
            Scorer(read, groups, experts),
            Selector("sample_topk", active, normalise="all"),
            Balancer("branches", balance),
        )

    def logits(self, action: Float[Tensor, "B A"], time: Float[Tensor, "B T"]) -> dict[str, Float[Tensor, "B G M"]]:
        """Each branch's logits (MoEG-HOI Eq. 7): "action" and "time", or "joint"."""
        return self.scorer(_heard("joint" in self.scorer, action, time))

    def forward(self, action: Float[Tensor, "B A"], time: Float[Tensor, "B T"]) -> Assignment:
        """One decision per sample and group: mask and gate (B, G, M), from the verb's feature and the noise level's."""
        return route_all([self], action, time)[0]


def _heard(joint: bool, action: Tensor, time: Tensor) -> dict[str, Tensor]:
    """What each branch reads. Leading axes of action and time may broadcast against each other."""
    if not joint:
        return {"action": action, "time": time}
    rows = torch.broadcast_shapes(action.shape[:-1], time.shape[:-1])
    return {"joint": torch.cat([action.expand(*rows, -1), time.expand(*rows, -1)], -1)}


def _branches(routers: Sequence[ActionNoiseRouter], action: Tensor, time: Tensor) -> dict[str, Float[Tensor, "..."]]:
    """The logits (…, N, G, M) of all routers: one product per branch, with the weights of all blocks side by side."""
    first = routers[0]
    if any(_shape(router) != _shape(first) for router in routers):
        raise ConfigError("routers of different shape: expected the same branches, groups, experts and active in all.")
    weights = {name: torch.cat([router.scorer[name].weight for router in routers]) for name in first.scorer}
    logits = score(weights, _heard("joint" in weights, action, time), first.scorer.experts, {})
    return {name: x.unflatten(-2, (len(routers), -1)) for name, x in logits.items()}


def _shape(router: ActionNoiseRouter) -> tuple:
    widths = {name: branch.in_features for name, branch in router.scorer.items()}
    return widths, router.scorer.groups, router.scorer.experts, router.selector, router.balancer


def route_all(
    routers: Sequence[ActionNoiseRouter], action: Float[Tensor, "B A"], time: Float[Tensor, "B T"]
) -> list[Assignment]:
    """The decisions of all blocks at once, each as its own router would make it (MoEG-HOI Eqs. 3–5 and 7–9).

    Routing depends on nothing that a block computes, so all of it is one small product per branch, one softmax over the
    experts of each group and one selection before the first block runs. Raises :class:`ConfigError` if the routers
    differ in shape.
    """
    first = routers[0]
    branches = _branches(routers, action, time)  # (B, N, G, M) each
    logits = sum(branches.values())
    scores = probabilities(logits)
    mask, gate = first.selector(scores, logits)
    stats = count(mask, scores)
    aux = balance_terms(
        torch.stack([probabilities(x) for x in branches.values()], 1),
        int(first.selector.active),
        first.balancer.combine,
        across_ranks=first.training and torch.is_grad_enabled(),
    ).sum(-1)  # (N,)
    return [
        Assignment(mask[:, n], gate[:, n], aux[n], Stats(stats.load[n], stats.probability[n], stats.rows))
        for n in range(len(routers))
    ]


@dataclass(frozen=True)
class RoutingTable:
    """Trained routers as a table over (action, noise level): routing depends on nothing else.

    ``mask``, ``gate`` and ``probability`` are (A, T, N, G, M) for the actions and the noise levels it was made of.
    """

    mask: Bool[Tensor, "A T N G M"]
    gate: Float[Tensor, "A T N G M"]
    probability: Float[Tensor, "A T N G M"]

    @classmethod
    @torch.no_grad()
    def of(
        cls, routers: Sequence[ActionNoiseRouter], actions: Float[Tensor, "A X"], times: Float[Tensor, "T Y"]
    ) -> RoutingTable:
        """Every decision of ``routers`` for A features of verbs and T embedded noise levels."""
        logits = sum(_branches(routers, actions[:, None], times[None]).values())
        logits = logits.expand(len(actions), len(times), -1, -1, -1)
        scores = probabilities(logits)
        return cls(*routers[0].selector(scores, logits), scores)

    def look_up(self, action: Int[Tensor, "B"], t: Int[Tensor, "B"]) -> list[Assignment]:
        """The decisions of all N routers for rows of the table, as :func:`route_all` gives them, without a loss."""
        mask, gate, scores = self.mask[action, t], self.gate[action, t], self.probability[action, t]
        stats, zero = count(mask, scores), scores.new_zeros(())
        return [
            Assignment(mask[:, n], gate[:, n], zero, Stats(stats.load[n], stats.probability[n], stats.rows))
            for n in range(mask.shape[1])
        ]

    def to(self, device: torch.device | str) -> RoutingTable:
        """The same table on another device."""
        return RoutingTable(self.mask.to(device), self.gate.to(device), self.probability.to(device))


class TemporalSelection(Router):
    """Dynamic Temporal Selection with the synergistic router (InterMoE Eqs. 1–9).

    Tokens and conditions of their sample give logits by linear maps, weighted ``alpha`` and 1 − ``alpha`` (None: a
    plain sum, as the released code has it). A token goes to every expert with sigmoid(logit) + b > 0, so to none, one
    or many; gates are the softmax over all experts, not normalised again. ``end_step`` moves the thresholds b towards
    ``expected`` experts per token. ``norm`` normalises the tokens before the router reads them.

    ``conditions`` maps the names of what is known about the whole sample (text, time, action, …) to their widths.
    """

    def __init__(
        self,
        token_dim: int,
        conditions: Mapping[str, int],
        experts: int = 8,
        expected: float | int = 1,
        groups: int = 1,
        alpha: float | None = 0.5,
        rate: float = 1e-3,
        start: float = -0.5,
        norm: bool = True,
    ):
        scale = {} if alpha is None else {"token": alpha, **dict.fromkeys(conditions, 1 - alpha)}
        super().__init__(
            Scorer({"token": token_dim, **conditions}, groups, experts, scale, std=0.006),
            Selector("bias_threshold", expected),
            Balancer("bias_sign", rate=rate),
        )
        if not -1 < start < 0:
            raise ConfigError(f"start {start}: expected a threshold between −1 (never selected) and 0 (always).")
        self.norm = nn.LayerNorm(token_dim) if norm else nn.Identity()
        self.register_buffer("bias", torch.full((groups, experts), start))

    def forward(
        self,
        tokens: Float[Tensor, "B S D"],
        conditions: Mapping[str, Float[Tensor, "..."]],
        valid: Bool[Tensor, "B S"] | None = None,
    ) -> Assignment:
        """Decide for every token by itself: mask and gate (B, S, G, M); padding gets no expert and is not counted."""
        features = aligned({"token": self.norm(tokens), **conditions})
        return self.assign(self.scorer(features), valid, self.bias)

    @torch.no_grad()
    def end_step(self, stats: Stats | Sequence[Stats]) -> None:
        """Move the thresholds once per optimiser step, by the counts of all its forward passes and all processes.

        ``stats`` are those of the step's assignments (two people, several micro-batches). Each expert's target is
        ⌊valid tokens · expected / experts⌋.
        """
        whole = reduce_stats(stats)
        target = (whole.rows * self.selector.active / self.scorer.experts).floor()
        self.bias.copy_(self.balancer.moved(self.bias, whole.load, target.item()))
