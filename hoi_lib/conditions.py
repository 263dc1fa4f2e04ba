"""What a denoiser knows beside the noised hand, all of it the same at every noise level.

B batch, L frames, C condition tokens, D width, E text width, n tokens of a text, G groups, N blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hoi_lib.denoiserconfig import DenoiserConfig
from hoi_lib.encoders import TextEncoder, TextFeatures
from hoi_lib.experts import Absorbed, Heard
from hoi_lib.motion import SIDES, Batch
from hoi_lib.pointnet import PointNet
from hoi_lib.refiner import Refiner

BETAS = 10


@dataclass(frozen=True)
class Conditions:
    """``tokens`` (B, C − 1, D): the condition tokens but the time's; ``frames`` (B, L, D): the object's motion;
    ``action`` (B, E): the verb's feature, 0 where it is withheld; ``heard``: what each group of each block makes of its
    text, N × G × (one per cross-attention), empty where no text guides."""

    tokens: Float[Tensor, "B C1 D"]
    frames: Float[Tensor, "B L D"]
    action: Float[Tensor, "B E"]
    heard: tuple[tuple[tuple[Heard | Absorbed, ...], ...], ...] = ()


def given(batch: Batch, dropout: float, generator: torch.Generator | None) -> Bool[Tensor, "B 2"]:
    """Which samples' text (first column) and action (second) are heard: those that are not empty and not withheld,
    each withheld with probability ``dropout``, drawn from ``generator`` (CPU)."""
    rows = [[bool(c.strip()), bool(v.strip())] for c, v in zip(batch.caption, batch.verb, strict=True)]
    heard = torch.tensor(rows)
    return heard & (torch.rand(heard.shape, generator=generator) >= dropout) if dropout else heard


class ConditionTokens(nn.Module):
    """One token for each of ``config.tokens``: text, action, object, side and shape of the hand; the time's token is
    made elsewhere. Text and action may be withheld: a learned vector then takes the feature's place.
    """

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        width = config.width
        makers: dict[str, Callable[[], nn.Module]] = {
            "text": lambda: standardised(config.text_dim, width),
            "action": lambda: standardised(config.text_dim, width),
            "object": lambda: PointNet(config.point_width, width, config.points),
            "side": lambda: nn.Embedding(len(SIDES), width),
            "shape": lambda: nn.Linear(BETAS, width),
        }
        self.names = config.tokens
        for name, make in makers.items():
            if name in self.names and not (name == "side" and config.side == "fixed"):
                setattr(self, name, make())
        self.withheld = nn.Parameter(0.02 * torch.randn(2, width))  # instead of text, instead of action
        if config.side == "fixed":
            self.register_buffer("side_rows", torch.eye(1, width) * torch.tensor([[1.0], [0.0]]), persistent=False)

    def forward(
        self, batch: Batch, text: Float[Tensor, "B E"], action: Float[Tensor, "B E"], given: Bool[Tensor, "B 2"]
    ) -> Float[Tensor, "B C1 D"]:
        """``given`` is False where a sample's text (first column) or action (second) is withheld."""
        parts: dict[str, Callable[[], Tensor]] = {
            "text": lambda: torch.where(given[:, :1], self.text(text), self.withheld[0]),
            "action": lambda: torch.where(given[:, 1:], self.action(action), self.withheld[1]),
            "object": lambda: self.object(batch.points, batch.normals, batch.part, batch.hinge),
            "side": lambda: self.side_rows[batch.side] if hasattr(self, "side_rows") else self.side(batch.side),
            "shape": lambda: self.shape(batch.betas),
        }
        return torch.stack([parts[name]() for name in self.names], 1)


class LevelTexts(nn.Module):
    """The text that each group hears, brought to width D by a linear map of its own.

    A withheld text is a learned vector per group.
    """

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.groups, self.refined = config.groups, config.guidance == "refined"
        self.project = nn.ModuleList(standardised(config.level_dim, config.width) for _ in config.groups)
        self.withheld = nn.Parameter(0.02 * torch.randn(len(config.groups), config.width))

    def forward(
        self, batch: Batch, encoder: TextEncoder, refiner: Refiner, given: Bool[Tensor, "B 1"]
    ) -> list[TextFeatures]:
        """Features of width D for each group: its level of the refined text, or the caption for all."""
        device, texts = given.device, self.texts(batch, refiner)
        features = [encoder.encode(column).to(device) for column in texts]
        return [self._projected(g, x, given) for g, x in enumerate(features)]

    def texts(self, batch: Batch, refiner: Refiner) -> list[Sequence[str]]:
        """The sentences of each group, one per sample; an empty caption stays empty."""
        if not self.refined:
            return [batch.caption] * len(self.groups)
        sides = [SIDES[i] for i in batch.side.tolist()]
        refined = [refiner(c, s) if c.strip() else None for c, s in zip(batch.caption, sides, strict=True)]
        return [[getattr(r, group) if r else "" for r in refined] for group in self.groups]

    def _projected(self, group: int, text: TextFeatures, given: Bool[Tensor, "B 1"]) -> TextFeatures:
        project, silent = self.project[group], self.withheld[group]
        pooled = torch.where(given, project(text.pooled), silent)
        states = torch.where(given[..., None], project(text.states), silent)
        return TextFeatures(pooled, states, text.mask)


def standardised(width: int, out: int) -> nn.Sequential:
    """A linear map that first brings its input to mean 0 and spread 1 over its entries."""
    return nn.Sequential(nn.LayerNorm(width, elementwise_affine=False), nn.Linear(width, out))
