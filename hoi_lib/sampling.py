"""Sampling hands from a denoiser: what does not depend on the noise level is computed once, before the first step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from hoi_lib.denoiser import Denoiser
from hoi_lib.diffusion import Guide, Schedule, Step, sample_ddim
from hoi_lib.encoders import TextEncoder
from hoi_lib.motion import Batch

SHIPPED = Path(__file__).parent / "assets" / "checkpoint"


def load_denoiser(run: str | Path | None = None) -> Denoiser:
    """The denoiser of a run folder, of an exported folder, or the shipped one; raises :class:`CheckpointError`."""
    folder = Path(run) if run is not None else SHIPPED
    return Denoiser.from_pretrained(folder / "denoiser" if (folder / "denoiser").is_dir() else folder)


@torch.no_grad()
def sample_batch(
    denoiser: Denoiser,
    batch: Batch,
    encoder: TextEncoder,
    steps: int = 50,
    generator: torch.Generator | None = None,
    callback: Callable[[Step], None] | None = None,
    guide: Guide | None = None,
) -> Float[Tensor, "B L 99"]:
    """Sample the hands of a batch with DDIM and return their 99 numbers a frame in the world frame.

    ``guide`` is applied to every estimate of the clean hand before the step is taken.
    """
    denoiser.eval()
    device = next(denoiser.parameters()).device
    batch = batch.to(device)
    conditions = denoiser.prepare(batch, encoder)
    noise = torch.randn(batch.pose.shape, generator=generator).to(device)
    x0 = sample_ddim(
        lambda x, t: denoiser(x, t, conditions, batch.valid),
        noise,
        Schedule.of(denoiser.config.schedule),
        steps=steps,
        generator=generator,
        callback=callback,
        guide=guide,
    )
    return denoiser.to_world(x0, batch)
