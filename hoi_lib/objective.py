"""One training step as one module: noise the hand, estimate it, pose both hands, compare.

It is what accelerate wraps, so that a single call holds everything that several GPUs have to agree on. B batch, L
frames, J 21 joints, V the vertices that the losses see.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hoi_lib.denoiser import Denoiser
from hoi_lib.diffusion import Schedule
from hoi_lib.encoders import TextEncoder
from hoi_lib.feed import Posed
from hoi_lib.hand import HandModel
from hoi_lib.losses import LOSSES, compare, posed_hands, total_loss
from hoi_lib.motion import Batch
from hoi_lib.trainconfig import TrainConfig


class Objective(nn.Module):
    """Loss terms of a denoiser on a batch. Losses are float32 whatever the network's precision."""

    def __init__(
        self,
        denoiser: Denoiser,
        config: TrainConfig,
        encoder: TextEncoder,
        schedule: Schedule,
        hands: Mapping[str, HandModel],
        vertex_ids: Int[Tensor, "V"],
    ):
        super().__init__()
        self.denoiser, self.config, self.encoder, self.schedule = denoiser, config, encoder, schedule
        self.hands = nn.ModuleDict({side: deepcopy(hand) for side, hand in hands.items()})  # theirs may stay elsewhere
        self.register_buffer("vertex_ids", vertex_ids)
        self.weights = {name: config.weights.get(name, term.weight) for name, term in LOSSES.items()}

    def forward(
        self,
        batch: Batch,
        truth: Posed | None,
        t: Int[Tensor, "B"],
        noise: Float[Tensor, "B L 99"],
        generator: torch.Generator | None = None,
    ) -> tuple[dict[str, Float[Tensor, ""]], Float[Tensor, "N G M"] | None]:
        """Raw value of every loss term and their weighted sum under ``total``; beside them the experts' load, if any.

        ``truth`` is what :func:`~hoi_lib.losses.posed_hands` makes of the batch, if it is known already. In training
        mode ``generator`` decides which conditions are withheld.
        """
        x0 = self.denoiser.to_model(batch)
        conditions = self.denoiser.prepare(batch, self.encoder, generator)
        with torch.autocast(x0.device.type, torch.bfloat16, enabled=self.config.precision == "bf16" and x0.is_cuda):
            estimate = self.denoiser.estimate(self.schedule.noised(x0, t, noise), t, conditions, batch.valid)
        numbers = estimate.x0.float()
        if truth is None:
            with torch.no_grad():
                truth = self._posed(batch.pose, batch)
        posed = self._posed(self.denoiser.to_world(numbers, batch), batch)
        prediction = replace(compare(numbers, x0, posed, truth, batch.valid), balance=estimate.balance.float())
        total, raw = total_loss(prediction, self.weights)
        return {**raw, "total": total}, estimate.load

    def _posed(self, pose: Float[Tensor, "B L 99"], batch: Batch) -> Posed:
        return posed_hands(pose, batch.betas, batch.side, dict(self.hands.items()), self.vertex_ids)
