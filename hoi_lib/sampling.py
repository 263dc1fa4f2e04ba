"""Sampling hands from a denoiser: what does not depend on the noise level is computed once, before the first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from hoi_lib.denoiser import Denoiser
from hoi_lib.diffusion import Denoise, Guide, Schedule, Step, sample_ddim, sample_ddpm
from hoi_lib.encoders import TextEncoder
from hoi_lib.motion import Batch

SHIPPED = Path(__file__).parent / "assets" / "checkpoint"


def load_denoiser(run: str | Path | None = None) -> Denoiser:
    """The denoiser of a run folder, of an exported folder, or the shipped one; raises :class:`CheckpointError`."""
    return Denoiser.from_pretrained(weights_file(run if run is not None else SHIPPED).parent)


def weights_file(run: str | Path) -> Path:
    """Where the weights of a run folder or of an exported folder are."""
    folder = Path(run)
    return (folder / "denoiser" if (folder / "denoiser").is_dir() else folder) / "model.safetensors"


@torch.no_grad()
def sample_batch(
    denoiser: Denoiser,
    batch: Batch,
    encoder: TextEncoder,
    steps: int | None = None,
    generator: torch.Generator | None = None,
    callback: Callable[[Step], None] | None = None,
    guide: Guide | None = None,
) -> Float[Tensor, "B L 99"]:
    """Sample the hands of a batch and return their 99 numbers a frame in the world frame.

    The sampler is the config's own; ``steps`` replaces its number of DDIM steps. ``guide`` is applied to every
    estimate of the clean hand before the step is taken.
    """
    denoiser.eval()
    config, device = denoiser.config, next(denoiser.parameters()).device
    batch, schedule = batch.to(device), Schedule.of(config.schedule)
    noise = torch.randn(batch.pose.shape, generator=generator).to(device)
    if config.sampler == "ddpm":
        levels, sampler = range(schedule.steps), sample_ddpm
    else:
        steps = steps or config.sampling_steps
        levels, sampler = schedule.spaced(steps), partial(sample_ddim, steps=steps)
    denoise = planned(denoiser, batch, encoder, levels)
    return denoiser.to_world(
        sampler(denoise, noise, schedule, generator=generator, callback=callback, guide=guide), batch
    )


@torch.no_grad()
def planned(denoiser: Denoiser, batch: Batch, encoder: TextEncoder, levels: Sequence[int]) -> Denoise:
    """The network as a sampler wants it, for the noise levels that it will visit: conditions, text, time and routing
    are worked out before the first step, and a step costs the blocks alone. The maps of the cross-attentions are worked
    into the texts (:meth:`~hoi_lib.experts.CrossAttention.absorb`), so the weights must stay as they are meanwhile."""
    conditions = denoiser.prepare(batch, encoder)
    blocks = zip(denoiser.blocks, conditions.heard, strict=False)  # nothing is heard without expert groups
    conditions = replace(conditions, heard=tuple(block.feedforward.absorb(heard) for block, heard in blocks))
    plan = denoiser.plan(levels, conditions)
    valid = None if bool(batch.valid.all()) else batch.valid

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return denoiser.estimate(x, t, conditions, valid, plan[int(t[0])]).x0

    return denoise
