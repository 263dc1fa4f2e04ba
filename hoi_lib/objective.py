"""One training step as one module: noise the hand, estimate it, pose both hands, compare.

It is what accelerate wraps, so that a single call holds everything that several GPUs have to agree on. B batch, L
frames, J 21 joints, V the vertices that Eqs. 11 and 15 see, N blocks, G groups, M experts per group.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hoi_lib.denoiser import Denoiser, Estimate
from hoi_lib.diffusion import Schedule
from hoi_lib.encoders import TextEncoder
from hoi_lib.errors import ConfigError
from hoi_lib.feed import Truth
from hoi_lib.geometry import counted_over_ranks
from hoi_lib.hand import HandModel
from hoi_lib.interaction import (
    Interaction,
    Posed,
    full_precision,
    in_object_frame,
    object_points,
    posed_hands,
    skin_normals,
    true_fields,
)
from hoi_lib.losses import BETWEEN, LOSSES, Prediction, compare, total_loss
from hoi_lib.motion import Batch
from hoi_lib.topology import directed_edges
from hoi_lib.trainconfig import TrainConfig


class Objective(nn.Module):
    """Loss terms of a denoiser on a batch.

    Losses are float32 whatever the network's precision. Eqs. 11 and 15 look at ``vertex_ids`` in every frame; Eqs.
    12–14 at all vertices and ``config.loss_points`` object points in every ``config.stride``-th frame, so that what
    they aim at is never thinned. The batch's first ``config.denoiser.points`` points are what the network sees.
    Raises :class:`ConfigError` for an edge loss without all vertices.
    """

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
        every = torch.arange(len(hands["right"].template))
        self.whole = torch.equal(vertex_ids.cpu(), every)
        self.register_buffer("edges", _edges(hands) if self.weights["edge"] else None)
        if self.weights["edge"] and not self.whole:
            raise ConfigError(
                f"the edge loss needs all {len(every)} vertices in their order, and the losses see {len(vertex_ids)}.",
                f"Set vertices={len(every)}, or weights.edge=0.",
            )

    def forward(
        self,
        batch: Batch,
        truth: Truth,
        t: Int[Tensor, "B"],
        noise: Float[Tensor, "B L 99"],
        generator: torch.Generator | None = None,
    ) -> tuple[dict[str, Float[Tensor, ""]], Float[Tensor, "N G M"] | None]:
        """Raw value of every loss term and their weighted sum under ``total``; beside them the experts' load, if any.

        ``truth`` is what the feed knows of the batch beforehand. In training mode ``generator`` decides which
        conditions are withheld.
        """
        x0, estimate = self._estimate(batch, t, noise, generator)
        with full_precision(x0.device.type), counted_over_ranks(self.training):
            total, raw = total_loss(self._prediction(batch, truth, x0, estimate), self.weights)
        return {**raw, "total": total}, estimate.load

    @torch.enable_grad()
    def gradient_shares(
        self,
        batch: Batch,
        truth: Truth,
        t: Int[Tensor, "B"],
        noise: Float[Tensor, "B L 99"],
        generator: torch.Generator | None = None,
    ) -> dict[str, float]:
        """How much of the pull on the network's weights each term has: the norm of its weighted gradient over the sum
        of these norms. As slow as one backward pass per term; leaves no gradient behind.

        Raises ``ValueError`` if no weight of the network can learn.
        """
        learning = [p for p in self.denoiser.parameters() if p.requires_grad]
        if not learning:
            raise ValueError("no weight of the network asks for a gradient: expected the one that is trained.")
        x0, estimate = self._estimate(batch, t, noise, generator)
        with full_precision(x0.device.type):
            _, raw = total_loss(self._prediction(batch, truth, x0, estimate), self.weights)
        norms = {name: 0.0 for name in raw}
        for name, value in raw.items():
            if value.requires_grad:
                pull = torch.autograd.grad(value, learning, retain_graph=True, allow_unused=True)
                squares = [float(g.double().square().sum()) for g in pull if g is not None]
                norms[name] = abs(self.weights[name]) * sum(squares) ** 0.5
        return {name: norm / (sum(norms.values()) or 1.0) for name, norm in norms.items()}

    def _estimate(
        self, batch: Batch, t: Tensor, noise: Tensor, generator: torch.Generator | None
    ) -> tuple[Float[Tensor, "B L 99"], Estimate]:
        """The clean numbers, and the network's estimate of them in float32."""
        x0, count = self.denoiser.to_model(batch), self.config.denoiser.points
        batch = replace(
            batch, points=batch.points[:, :count], normals=batch.normals[:, :count], part=batch.part[:, :count]
        )
        conditions = self.denoiser.prepare(batch, self.encoder, generator)
        with torch.autocast(x0.device.type, torch.bfloat16, enabled=self.config.precision == "bf16" and x0.is_cuda):
            estimate = self.denoiser.estimate(self.schedule.noised(x0, t, noise), t, conditions, batch.valid)
        return x0, replace(estimate, x0=estimate.x0.float(), balance=estimate.balance.float())

    def _prediction(self, batch: Batch, truth: Truth, x0: Tensor, estimate: Estimate) -> Prediction:
        """Both hands posed, and the estimated one beside its object if any weight asks for that."""
        posed_truth = truth.posed
        if posed_truth is None:
            with torch.no_grad():
                posed_truth = self._posed(batch.pose, batch)
        pose = self.denoiser.to_world(estimate.x0, batch)
        posed = self._posed(pose, batch)
        beside = self._beside(batch, truth, pose, posed) if any(self.weights[name] for name in BETWEEN) else None
        parts = {"interaction": beside, "balance": estimate.balance, "edges": self.edges}
        return compare(estimate.x0, x0, posed, posed_truth, batch.valid, **parts)

    def _beside(self, batch: Batch, truth: Truth, pose: Float[Tensor, "B L 99"], posed: Posed) -> Interaction:
        """The estimated hand and the object at the frames that Eqs. 12–14 look at."""
        frames, hands = slice(truth.offset, None, self.config.stride), dict(self.hands.items())
        vertices = posed[1][:, frames] if self.whole else self._skin(pose[:, frames], batch, hands)
        vertices = in_object_frame(vertices, batch.object_pose[:, frames])
        return Interaction(
            vertices,
            skin_normals(vertices, batch.side, hands),
            object_points(batch, frames, self.config.loss_points),
            truth.fields or true_fields(batch, hands, frames, self.config.loss_points),
            batch.valid[:, frames],
        )

    def _posed(self, pose: Float[Tensor, "B L 99"], batch: Batch) -> Posed:
        ids = None if self.whole else self.vertex_ids
        return posed_hands(pose, batch.betas, batch.side, dict(self.hands.items()), ids)

    @staticmethod
    def _skin(pose: Float[Tensor, "B F 99"], batch: Batch, hands: Mapping[str, HandModel]) -> Float[Tensor, "B F V 3"]:
        return posed_hands(pose, batch.betas, batch.side, hands)[1]


def _edges(hands: Mapping[str, HandModel]) -> Int[Tensor, "E 2"]:
    """Every edge of the hands' mesh once; :class:`ConfigError` if left and right are not the same mesh."""
    found = [np.unique(np.sort(directed_edges(hand.faces.cpu().numpy()), 1), axis=0) for hand in hands.values()]
    if any(not np.array_equal(edges, found[0]) for edges in found):
        raise ConfigError("the edge loss needs hands with the same edges left and right.", "Set weights.edge=0.")
    return torch.from_numpy(found[0])
