"""What a denoiser makes of different ways to be told the noise level, in a world of one number.

The world is that of chapter 1: one finger, open or curled, whose perfect denoiser is known. A small network learns it,
told the level by a code of the reader's choice; what it lacks beyond the perfect answer is the code's doing.

T noise levels, B samples, D width of a code, Q places at which an error is measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hoi_lib.diffusion import Schedule

WEIGHT, CENTRE, WIDTH = torch.tensor([0.35, 0.65]), torch.tensor([-1.3, 0.7]), torch.tensor([0.2, 0.34])
HIDDEN, BATCH, RATE = 48, 256, 5e-3


class Finger(nn.Module):
    """A small denoiser: the noised number and the embedded level are added, as the time's token joins the others."""

    def __init__(self, code: Float[Tensor, "T D"]):
        super().__init__()
        self.register_buffer("code", code.float())
        self.time = nn.Sequential(nn.Linear(code.shape[1], HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN))
        self.number = nn.Linear(1, HIDDEN)
        self.answer = nn.Sequential(nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 1))

    def forward(self, x: Float[Tensor, "B 1"], t: Int[Tensor, "B"]) -> Float[Tensor, "B 1"]:
        """The clean number."""
        return self.answer(self.number(x) + self.time(self.code[t]))


def perfect(x: Float[Tensor, "B 1"], t: Int[Tensor, "B"], schedule: Schedule) -> Float[Tensor, "B 1"]:
    """The average of all clean numbers that may have led to ``x`` at level ``t``: no network can do better."""
    mean, share, _ = _answers(x, t, schedule)
    return (share * mean).sum(-1, keepdim=True)


def _answers(x: Tensor, t: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor, Tensor]:
    """The answer of each of the two bells, how probable each is, and the density of ``x`` (up to a factor)."""
    kept = schedule.alpha_bar[t].float()[:, None]
    variance = kept * WIDTH**2 + 1 - kept
    offset = x - kept.sqrt() * CENTRE
    bell = WEIGHT.log() - offset**2 / (2 * variance) - variance.log() / 2
    mean = CENTRE + kept.sqrt() * WIDTH**2 / variance * offset
    return mean, bell.softmax(-1), bell.logsumexp(-1).exp()


def learn(
    code: Float[Tensor, "T D"],
    schedule: Schedule,
    levels: Sequence[int] | None = None,
    steps: int = 600,
    seed: int = 0,
) -> Finger:
    """A network that was told the noise level by rows of ``code``, trained on ``levels`` (all of them by default).

    The same seed draws the same samples and noise whatever the code is.
    """
    generator = torch.Generator().manual_seed(seed)
    heard = torch.arange(len(code)) if levels is None else torch.as_tensor(list(levels))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Finger(code)
    optimiser = torch.optim.AdamW(network.parameters(), RATE)
    slower = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    for _ in range(steps):
        bell = (torch.rand(BATCH, generator=generator) < WEIGHT[1]).long()
        clean = (CENTRE[bell] + WIDTH[bell] * torch.randn(BATCH, generator=generator))[:, None]
        t = heard[torch.randint(len(heard), (BATCH,), generator=generator)]
        kept = schedule.alpha_bar[t].float()[:, None]
        noised = kept.sqrt() * clean + (1 - kept).sqrt() * torch.randn(BATCH, 1, generator=generator)
        optimiser.zero_grad()
        (network(noised, t) - clean).square().mean().backward()
        optimiser.step()
        slower.step()
    return network.eval()


@torch.no_grad()
def excess(network: nn.Module, schedule: Schedule, levels: Sequence[int], places: int = 81) -> Float[Tensor, "T"]:
    """Mean squared distance to the perfect answer at each of ``levels``, as the noised numbers are spread there."""
    x = torch.linspace(-3, 3, places).repeat(len(levels))[:, None]
    t = torch.as_tensor(list(levels)).repeat_interleave(places)
    weight = _answers(x, t, schedule)[2].view(-1, places)
    wrong = (network(x, t) - perfect(x, t, schedule)).square().view(-1, places)
    return (weight * wrong).sum(-1) / weight.sum(-1)
