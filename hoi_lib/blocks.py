"""The transformer's parts: position code, self-attention, the dense feed-forward, and the block that holds them.

B batch, S tokens, D width, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from hoi_lib.denoiserconfig import DenoiserConfig
from hoi_lib.experts import Context, Expert, HierarchicalExperts


class DenseFeedForward(nn.Module):
    """Two layers for every token alike. It stands where the expert groups stand: same arguments, context unused."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.layers = Expert(config, config.hidden)

    def forward(self, tokens: Float[Tensor, "B S D"], context: Context) -> tuple[Float[Tensor, "B S D"], Tensor]:
        """The same function of each token, whatever the context; nothing to balance."""
        return self.layers(tokens), tokens.new_zeros(())


def dit_moe(config: DenoiserConfig) -> nn.Module:
    """The token-routed mixture of DiT-MoE, a baseline that is imported only where it is asked for."""
    from hoi_lib.baselines.dit_moe import DiTMoE

    return DiTMoE(config)


FEEDFORWARDS: dict[str, Callable[[DenoiserConfig], nn.Module]] = {
    "dense": DenseFeedForward,
    "experts": HierarchicalExperts,
    "dit_moe": dit_moe,
}
"""What may stand in a block after the attention: ``module(tokens, context)`` gives tokens and a balance loss."""


class SelfAttention(nn.Module):
    """Multi-head attention among all tokens (Vaswani et al., 2017); padding is never attended to."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, tokens: Float[Tensor, "B S D"], mask: Bool[Tensor, "B 1 1 S"] | None) -> Tensor:
        """``mask`` is True where a token may be seen; None lets every token be seen."""
        # fmt: off
        p = self.dropout if self.training else 0.0
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, S, D/H) each
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)            # (B, H, S, D/H)
        return self.out(mixed.transpose(1, 2).flatten(-2))                                    # (B, S, D)
        # fmt: on


class Block(nn.Module):
    """Tokens look at each other, then each is worked on in its context; both are added to what came in.

    ``norm`` "pre" normalises what goes into each half, "post" the sum after it.
    """

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.attention = SelfAttention(config)
        self.feedforward = FEEDFORWARDS[config.feedforward](config)
        self.dropout = nn.Dropout(config.dropout)
        self.pre = config.norm == "pre"

    def forward(self, tokens: Tensor, mask: Tensor | None, context: Context) -> tuple[Float[Tensor, "B S D"], Tensor]:
        """The tokens after both halves, and the balance loss of the feed-forward's routing."""
        if self.pre:
            tokens = tokens + self.dropout(self.attention(self.norm1(tokens), mask))
            change, balance = self.feedforward(self.norm2(tokens), context)
            return tokens + self.dropout(change), balance
        tokens = self.norm1(tokens + self.dropout(self.attention(tokens, mask)))
        change, balance = self.feedforward(tokens, context)
        return self.norm2(tokens + self.dropout(change)), balance


def sinusoid(position: Tensor, width: int) -> Float[Tensor, "... D"]:
    """Sines and cosines of a position (a frame, a noise level): ``width / 2`` wavelengths, 2π to nearly 20 000 π."""
    rate = torch.exp(torch.arange(width // 2, device=position.device) * (-2 * math.log(1e4) / width))
    angle = position[..., None].float() * rate
    return torch.cat([angle.sin(), angle.cos()], -1)
