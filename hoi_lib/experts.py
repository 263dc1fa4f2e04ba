"""Hierarchical Semantics-guided Experts (HSE): a hand, a finger and a joint group, each of which hears its own text.

B batch, S tokens, D width, H heads, n tokens of a text, G groups, M experts per group. What a group hears does not
depend on the noise level: :meth:`HierarchicalExperts.hear` works it out once, ``forward`` uses it at every level, and
:meth:`HierarchicalExperts.absorb` works more of it out where the weights are done learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import dropout, scaled_dot_product_attention

from hoi_lib.denoiserconfig import DenoiserConfig
from hoi_lib.encoders import TextFeatures
from hoi_lib.routing import ActionNoiseRouter, Assignment

ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU}
Rows = tuple[tuple[Int[Tensor, "_"] | None, ...], ...]
"""Per group and expert the samples that it works on; None stands for all of them."""


class Heard(NamedTuple):
    """A text as a cross-attention uses it. Token by token: ``keys`` and ``values`` (B, H, n, D/H) and their ``mask``
    (B, 1, 1, n). One pooled vector: ``values`` (B, H, 1, D/H) alone."""

    keys: Tensor | None
    values: Tensor
    mask: Tensor | None

    def of(self, rows: Tensor | None) -> Heard:
        """What the samples ``rows`` hear; None for all."""
        return self if rows is None else Heard(*(x if x is None else x[rows] for x in self))


class Absorbed(NamedTuple):
    """A text with the maps of queries and outputs worked in, for weights that no longer learn: ``keys`` (B, D, H n)
    meet the tokens themselves, plus ``bias`` (B, 1, H n), −∞ in the padding; ``values`` (B, H n, D) are added up as
    they are. Without ``keys`` the one row of ``values`` (B, 1, D) is the answer to every token."""

    keys: Tensor | None
    bias: Tensor | None
    values: Tensor

    def of(self, rows: Tensor | None) -> Absorbed:
        """What the samples ``rows`` hear; None for all."""
        return self if rows is None else Absorbed(*(x if x is None else x[rows] for x in self))


class Routing(NamedTuple):
    """One block's :class:`~hoi_lib.routing.Assignment`, and the same as rows for the fast executor."""

    assignment: Assignment
    rows: Rows


@dataclass(frozen=True)
class Context:
    """What a block's feed-forward may use beside its tokens: the routing and the text of this block (None and () for a
    dense one), and which tokens are real (B, S), None where all are."""

    routing: Routing | None = None
    heard: tuple[tuple[Heard | Absorbed, ...], ...] = ()
    valid: Bool[Tensor, "B S"] | None = None


class CrossAttention(nn.Module):
    """Tokens ask, a text answers (MoEG-HOI Eq. 2): queries from the tokens, keys and values from the text.

    With a single key, as the release has it, the softmax is 1 whatever is asked, so that the answer is the same for
    every token and queries and keys never learn. Modes "pooled" and "constant" therefore compute ``W_o W_v f`` once;
    "pooled" still holds the queries and keys, as the release does, "constant" does not.
    """

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.heads, self.mode, self.dropout = config.heads, config.cross_attention, config.dropout
        asked = self.mode != "constant"
        self.query = nn.Linear(config.width, config.width) if asked else None
        self.key = nn.Linear(config.width, config.width) if asked else None
        self.value = nn.Linear(config.width, config.width)
        self.out = nn.Linear(config.width, config.width)

    def hear(self, text: TextFeatures) -> Heard:
        """Keys and values of a text of width D."""
        if self.mode == "tokens":
            return Heard(
                self._split(self.key(text.states)), self._split(self.value(text.states)), text.mask[:, None, None]
            )
        return Heard(None, self._split(self.value(text.pooled[:, None])), None)

    @torch.no_grad()
    def absorb(self, heard: Heard) -> Heard | Absorbed:
        """``heard`` for many calls with these weights: ``(W_q z)·k = z·(W_qᵀ k)`` and ``W_o Σ p v = Σ p (W_o v)``, so
        that no token is projected any more. A text so long that this would cost more comes back as it is.
        """
        if heard.keys is None:
            return Absorbed(None, None, self._join(heard.values))
        width, (batch, heads, words, channels) = self.query.in_features, heard.keys.shape
        if heads * words * width > width * width + words * width:  # per token, on either side of the softmax
            return heard
        keys = heard.keys * channels**-0.5
        query, out = (x.unflatten(axis, (heads, -1)) for x, axis in ((self.query.weight, 0), (self.out.weight, 1)))
        bias = (keys @ self.query.bias.view(heads, channels, 1))[..., 0].masked_fill(~heard.mask[:, 0], -torch.inf)
        return Absorbed(
            torch.einsum("bhnd,hdx->bxhn", keys, query).flatten(2),
            bias.view(batch, 1, -1),
            torch.einsum("bhnd,xhd->bhnx", heard.values, out).flatten(1, 2),
        )

    def forward(
        self, tokens: Float[Tensor, "B S D"], heard: Heard | Absorbed
    ) -> Float[Tensor, "B S D"] | Float[Tensor, "B 1 D"]:
        """The answer to every token; (B, 1, D) where it is the same for all."""
        if isinstance(heard, Absorbed):
            return self._absorbed(tokens, heard)
        p = self.dropout if self.training else 0.0
        if self.mode == "tokens":
            q = self._split(self.query(tokens))
            return self._join(scaled_dot_product_attention(q, heard.keys, heard.values, heard.mask, p))
        if p:  # dropout of the one attention weight, drawn for every token and head
            weight = dropout(tokens.new_ones(len(tokens), self.heads, tokens.shape[1], 1), p)
            return self._join(weight * heard.values)
        return self._join(heard.values)

    def _absorbed(self, tokens: Float[Tensor, "B S D"], heard: Absorbed) -> Tensor:
        if heard.keys is None:
            return heard.values
        # fmt: off
        scores = torch.baddbmm(heard.bias, tokens, heard.keys)                   # (B, S, H n)
        shares = scores.unflatten(-1, (self.heads, -1)).softmax(-1).flatten(-2)  # (B, S, H n)
        return torch.baddbmm(self.out.bias[None, None], shares, heard.values)    # (B, S, D)
        # fmt: on

    def _split(self, x: Float[Tensor, "B n D"]) -> Float[Tensor, "B H n d"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _join(self, x: Float[Tensor, "B H n d"]) -> Float[Tensor, "B n D"]:
        return self.out(x.transpose(1, 2).flatten(-2))


class Guidance(nn.Module):
    """Tokens that have heard their text: ``z' = LayerNorm(z + CrossAttn(z, f))``, Eq. 2 with the residual and the norm
    that the paper leaves out and its release has."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.attention = CrossAttention(config)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens: Float[Tensor, "B S D"], heard: Heard | Absorbed) -> Float[Tensor, "B S D"]:
        """Guided tokens."""
        return self.norm(tokens + self.attention(tokens, heard))


class Expert(nn.Sequential):
    """A two-layer MLP of inner width ``hidden``."""

    def __init__(self, config: DenoiserConfig, hidden: int):
        layers = [nn.Linear(config.width, hidden), ACTIVATIONS[config.activation](), nn.Linear(hidden, config.width)]
        super().__init__(*(layers if not config.dropout else [*layers[:2], nn.Dropout(config.dropout), layers[2]]))


class ExpertGroup(nn.Module):
    """M experts of falling width that share a text: one cross-attention for the group, or one in every expert."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        ears = {"none": 0, "group": 1, "expert": len(config.experts)}
        count = ears["none" if config.guidance == "none" else config.attention_in]
        self.guides = nn.ModuleList(Guidance(config) for _ in range(count))
        self.experts = nn.ModuleList(Expert(config, hidden) for hidden in config.experts)
        self.shared = count < len(config.experts)  # guidance, if any, comes before the experts

    def hear(self, text: TextFeatures) -> tuple[Heard, ...]:
        """What each cross-attention of the group makes of the group's text."""
        return tuple(guide.attention.hear(text) for guide in self.guides)

    def absorb(self, heard: Sequence[Heard]) -> tuple[Heard | Absorbed, ...]:
        """What was heard, worked in deeper; see :meth:`CrossAttention.absorb`."""
        return tuple(guide.attention.absorb(text) for guide, text in zip(self.guides, heard, strict=True))

    def forward(
        self,
        tokens: Float[Tensor, "B S D"],
        heard: Sequence[Heard | Absorbed],
        gate_BM: Float[Tensor, "B M"],
        rows: Sequence[Tensor | None],
    ) -> Float[Tensor, "B S D"]:
        """The group's part of Eq. 6: each expert works on its ``rows``, weighted by the gate."""
        if self.shared and self.guides:
            tokens = self.guides[0](tokens, heard[0])
        total = torch.zeros_like(tokens)
        for m, (expert, chosen) in enumerate(zip(self.experts, rows, strict=True)):
            if chosen is not None and not len(chosen) and not torch.is_grad_enabled():
                continue  # in training the empty share still gives every weight a gradient, on every process
            mine = tokens if chosen is None else tokens[chosen]
            if not self.shared:
                mine = self.guides[m](mine, heard[m].of(chosen))
            gate = gate_BM[:, m] if chosen is None else gate_BM[chosen, m]
            part = (gate[:, None, None] * expert(mine)).to(total.dtype)
            total = total.add_(part) if chosen is None else total.index_add_(0, chosen, part)
        return total


class HierarchicalExperts(nn.Module):
    """The feed-forward of MoEG-HOI: ``y = Σ_i Σ_k w'_{i,k} E_{i,k}(z'_i)`` over groups and active experts (Eq. 6).

    The weights come from an :class:`~hoi_lib.routing.ActionNoiseRouter`; a sample's tokens all go the same way.
    """

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.router = ActionNoiseRouter(
            config.text_dim,
            config.width,
            groups=len(config.groups),
            experts=len(config.experts),
            active=config.active,
            branches=config.branches,
            joint=config.joint_router,
            balance=config.balance,
        )
        self.groups = nn.ModuleList(ExpertGroup(config) for _ in config.groups)

    def hear(self, texts: Sequence[TextFeatures]) -> tuple[tuple[Heard, ...], ...]:
        """What each group makes of its own text (width D); nothing where no text guides."""
        return tuple(group.hear(text) for group, text in zip(self.groups, texts, strict=True)) if texts else ()

    def absorb(self, heard: Sequence[Sequence[Heard]]) -> tuple[tuple[Heard | Absorbed, ...], ...]:
        """What each group heard, worked in deeper, for weights that no longer learn."""
        return tuple(group.absorb(texts) for group, texts in zip(self.groups, heard, strict=True))

    def forward(self, tokens: Float[Tensor, "B S D"], context: Context) -> tuple[Float[Tensor, "B S D"], Tensor]:
        """The mixture for every token, and the balance loss of its routing (Eq. 9)."""
        assignment, rows = context.routing
        heard = context.heard or ((),) * len(self.groups)
        parts = (group(tokens, heard[g], assignment.gate[:, g], rows[g]) for g, group in enumerate(self.groups))
        return sum(parts), assignment.aux


def rows_of(assignments: Sequence[Assignment], executor: str = "fast") -> list[Rows]:
    """Which samples each expert of each block works on, for the executor "fast" (those routed to it) or "dense" (all).

    The masks of all blocks (B, G, M) come to the host in one transfer.
    """
    groups, experts = assignments[0].mask.shape[1:]
    if executor == "dense":
        return [((None,) * experts,) * groups] * len(assignments)
    device = assignments[0].mask.device
    mask_NGMB = torch.stack([a.mask for a in assignments]).permute(0, 2, 3, 1).cpu()
    counts = mask_NGMB.sum(-1).flatten().tolist()
    chosen = mask_NGMB.nonzero()[:, -1].to(device).split(counts)
    whole = mask_NGMB.shape[-1]
    parts = iter(None if count == whole else part for count, part in zip(counts, chosen, strict=True))
    return [tuple(tuple(next(parts) for _ in range(experts)) for _ in range(groups)) for _ in assignments]
