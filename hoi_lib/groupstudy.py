"""Looking into expert groups at work: what enters their cross-attentions, and what is missing without one of them.

B batch, L frames, S tokens, D width, G groups, M experts per group.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hoi_lib.conditions import Conditions
from hoi_lib.denoiser import Denoiser, NoiseLevel
from hoi_lib.errors import ConfigError
from hoi_lib.experts import Heard, Routing
from hoi_lib.forward_figures import watched


def without(level: NoiseLevel, group: int) -> NoiseLevel:
    """A noise level (:meth:`Denoiser.plan`) at which one group is silent in every block: its gates are 0, those of the
    others stay what they were. Raises :class:`ConfigError` for a network without that group."""
    if not level.routing or not 0 <= group < level.routing[0].assignment.gate.shape[1]:
        raise ConfigError(f"group {group} cannot be silenced: the network has no such expert group.")
    return replace(level, routing=[_silenced(routing, group) for routing in level.routing])


def _silenced(routing: Routing, group: int) -> Routing:
    gate_BGM = routing.assignment.gate.clone()
    gate_BGM[:, group] = 0
    return routing._replace(assignment=replace(routing.assignment, gate=gate_BGM))


@torch.no_grad()
def overheard(
    denoiser: Denoiser,
    x_BLX: Float[Tensor, "B L 99"],
    t_B: Int[Tensor, "B"],
    conditions: Conditions,
    valid_BL: Bool[Tensor, "B L"] | None = None,
) -> list[list[tuple[Float[Tensor, "B S D"], Heard]]]:
    """What enters the cross-attention of every block and group in one forward pass: the tokens that ask, and what they
    ask. Of a network with one cross-attention per expert it is each group's first; raises :class:`ConfigError` where no
    text guides."""
    ears = [[group.guides[:1] for group in block.feedforward.groups] for block in denoiser.blocks if denoiser.routers]
    if not ears or not all(guides for row in ears for guides in row):
        raise ConfigError("nothing can be overheard: no text guides the groups of this network.")
    parts = {f"{n}/{g}": guides[0].attention for n, row in enumerate(ears) for g, guides in enumerate(row)}
    with watched(parts) as seen:
        denoiser.estimate(x_BLX, t_B, conditions, valid_BL)
    return [[seen[f"{n}/{g}"][0] for g in range(len(row))] for n, row in enumerate(ears)]
