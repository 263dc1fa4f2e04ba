"""Diffusion from noise to motion: the schedules, the forward process, the posterior and two samplers.

T steps, B batch, ``...`` any shape of one sample. Index ``t`` runs from 0 (the first, weakest noising step) to T − 1;
the clean signal stands before index 0 and has ``ᾱ = 1``. The network estimates the clean signal (x0-prediction). All
tables are float64 and built from ``log ᾱ``, and no formula divides by ``ᾱ``: a schedule that ends at ``ᾱ = 2e-47``,
as the printed one does, is as safe as any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hoi_lib.errors import ConfigError

SPACINGS = ("t", "log-snr")
DROWNED = 1e-4  # below this signal-to-noise ratio a step teaches a sampler nothing
CHAPTER = "chapter 1, “Diffusion from one dimension to motion”"

Denoise = Callable[[Tensor, Tensor], Tensor]
"""``denoise(x_t, t)`` with ``t`` (B,) long returns the estimate of the clean signal, in the shape of ``x_t``."""

Guide = Callable[[Tensor, int], Tensor]
"""``guide(x_0, t)`` returns the estimate that the sampler shall use in place of the network's, in the same shape."""


class Posterior(NamedTuple):
    """``q(x_{t−1} | x_t, x_0)`` is normal: mean ``x0 · x_0 + x_t · x_t`` and this ``variance``; three (T,) tables."""

    x0: Tensor
    x_t: Tensor
    variance: Tensor


@dataclass(frozen=True)
class Step:
    """What a sampler shows its callback: at noise level ``t`` the network saw ``x`` and estimated ``x0``.

    Where the sampler has a guide, ``x0`` is the guided estimate: the one that the step is made of.
    """

    t: int
    x: Tensor
    x0: Tensor


@dataclass(frozen=True, eq=False)
class Schedule:
    """How much noise each step adds: ``beta`` (T,) float64, each in (0, 1). Everything else follows from it.

    Build one with :meth:`linear` or :meth:`cosine`, or hand in any ``beta`` of your own. A ``beta`` outside (0, 1)
    raises :class:`ConfigError`.
    """

    name: str
    beta: Float[Tensor, "T"]

    def __post_init__(self) -> None:
        beta = torch.as_tensor(self.beta, dtype=torch.float64)
        if beta.ndim != 1 or not len(beta) or not bool(((beta > 0) & (beta < 1)).all()):
            raise ConfigError(
                f"schedule {self.name!r}: every β must lie between 0 and 1, at least one step.",
                "Keep steps ≥ 1 and 0 < start ≤ end < 1.",
                CHAPTER,
            )
        object.__setattr__(self, "beta", beta)

    @classmethod
    def linear(cls, steps: int = 1000, start: float = 1e-4, end: float = 0.2) -> Schedule:
        """β grows evenly from ``start`` to ``end``; 0.2 is what MoEG-HOI prints, 0.02 what Ho et al. (2020) use."""
        return cls("linear", torch.linspace(start, end, steps, dtype=torch.float64))

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008, cap: float = 0.999) -> Schedule:
        """``ᾱ`` falls as a squared cosine (Nichol and Dhariwal, 2021); each β is held below ``cap``."""
        phase = (torch.arange(steps + 1, dtype=torch.float64) / max(steps, 1) + offset) / (1 + offset)
        level = (phase * math.pi / 2).cos().square()
        return cls("cosine", (1 - level[1:] / level[:-1]).clamp(max=cap))

    @classmethod
    def of(cls, name: str) -> Schedule:
        """A schedule of 1000 steps by its name in :data:`SCHEDULES`; :class:`ConfigError` for any other."""
        if name not in SCHEDULES:
            raise ConfigError(f"no schedule is called {name!r}: expected {', '.join(SCHEDULES)}.", chapter=CHAPTER)
        return SCHEDULES[name]()

    @property
    def steps(self) -> int:
        """Number of noising steps T."""
        return len(self.beta)

    @cached_property
    def log_alpha_bar(self) -> Float[Tensor, "T"]:
        """``log ᾱ_t = Σ log(1 − β_s)``: the table from which the others are made, exact at both ends."""
        return torch.log1p(-self.beta).cumsum(0)

    @cached_property
    def alpha_bar(self) -> Float[Tensor, "T"]:
        """``ᾱ_t``, the share of the signal's variance that is left after step t; index 0 = first noising step."""
        return self.log_alpha_bar.exp()

    @cached_property
    def noise_variance(self) -> Float[Tensor, "T"]:
        """``1 − ᾱ_t``, without the cancellation of a subtraction."""
        return -torch.expm1(self.log_alpha_bar)

    def snr(self) -> Float[Tensor, "T"]:
        """Signal-to-noise ratio ``ᾱ / (1 − ᾱ)``."""
        return self.alpha_bar / self.noise_variance

    def log_snr(self) -> Float[Tensor, "T"]:
        """Natural logarithm of :meth:`snr`, finite even where the ratio itself is 1e-47."""
        return self.log_alpha_bar - self.noise_variance.log()

    def noised(self, x0: Float[Tensor, "B ..."], t: Int[Tensor, "B"], noise: Float[Tensor, "B ..."]) -> Tensor:
        """Add noise to a clean signal in one go (MoEG-HOI Eq. 1): ``√ᾱ_t x_0 + √(1 − ᾱ_t) ε``."""
        return _at(self.alpha_bar.sqrt(), t, x0) * x0 + _at(self.noise_variance.sqrt(), t, x0) * noise

    @cached_property
    def posterior(self) -> Posterior:
        """The one-step posterior. At index 0 the clean signal is the mean itself and the variance is 0."""
        before = torch.cat([self.beta.new_zeros(1), self.log_alpha_bar[:-1]])  # log ᾱ_{t−1}
        noise_before = -torch.expm1(before)
        return Posterior(
            x0=(before / 2).exp() * self.beta / self.noise_variance,
            x_t=(1 - self.beta).sqrt() * noise_before / self.noise_variance,
            variance=self.beta * noise_before / self.noise_variance,
        )

    def posterior_mean_variance(
        self, x0: Float[Tensor, "B ..."], x_t: Float[Tensor, "B ..."], t: Int[Tensor, "B"]
    ) -> tuple[Tensor, Tensor]:
        """Mean (B, ...) and variance (B, 1, ...) of ``x_{t−1}`` given ``x_t`` and the clean signal."""
        table = self.posterior
        mean = _at(table.x0, t, x0) * x0 + _at(table.x_t, t, x0) * x_t
        return mean, _at(table.variance, t, x0)

    def jump(self, t: int, to: int, eta: float = 0.0) -> tuple[float, float, float]:
        """One DDIM step from level ``t`` down to ``to`` (−1 = clean): factors of ``x_0``, of ``x_t`` and of new noise.

        ``x_to = a x_0 + b x_t + σ z`` (Song et al., 2021, Eq. 12, with the noise estimate written through ``x_0``).
        ``eta`` = 0 adds no noise; ``eta`` = 1 with ``to = t − 1`` is the one-step posterior.
        """
        log_here = float(self.log_alpha_bar[t])
        log_there = float(self.log_alpha_bar[to]) if to >= 0 else 0.0
        noise_here, noise_there = -math.expm1(log_here), -math.expm1(log_there)
        share = eta**2 * -math.expm1(log_here - log_there) / noise_here  # of the remaining noise, how much is new
        b = math.sqrt(noise_there * max(1 - share, 0.0) / noise_here)
        return math.exp(log_there / 2) - b * math.exp(log_here / 2), b, math.sqrt(noise_there * share)

    def spaced(self, steps: int, spacing: str = "t") -> list[int]:
        """``steps`` different levels from T − 1 down to 0, even in ``t`` or in ``log-snr``; both ends always included.

        ``log-snr`` leaves out the levels whose signal has drowned (SNR < 1e-4, the start aside): under the printed
        schedule those are 70 % of all. Where it would name one index twice, neighbours move up so that exactly
        ``steps`` remain. A single step is T − 1 alone. Raises :class:`ConfigError` for another spacing or step count.
        """
        if spacing not in SPACINGS:
            raise ConfigError(f"spacing {spacing!r}: expected one of {', '.join(SPACINGS)}.", chapter=CHAPTER)
        if not 1 <= steps <= self.steps:
            raise ConfigError(f"{steps} sampling steps: expected 1 to {self.steps}.", chapter=CHAPTER)
        if steps == 1:
            return [self.steps - 1]
        if spacing == "t":
            rising = torch.linspace(0, self.steps - 1, steps, dtype=torch.float64).round().long()
        else:
            falling = self.log_snr()
            floor = max(float(falling[-1]), math.log(DROWNED))
            wanted = torch.linspace(float(falling[0]), floor, steps, dtype=torch.float64)
            rising = (falling[:, None] - wanted).abs().argmin(0)
            rising[-1] = self.steps - 1
        rank = torch.arange(steps)
        rising = torch.minimum((rising - rank).cummax(0).values + rank, self.steps - steps + rank)
        return rising.flip(0).tolist()


SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "cosine": Schedule.cosine,  # the release of MoEG-HOI, Text2HOI, and the default here
    "linear": Schedule.linear,  # MoEG-HOI as printed, β up to 0.2
    "ho2020": lambda: Schedule.linear(end=0.02),
}


@torch.no_grad()
def sample_ddpm(
    denoise: Denoise,
    noise: Float[Tensor, "B ..."],
    schedule: Schedule,
    generator: torch.Generator | None = None,
    callback: Callable[[Step], None] | None = None,
    guide: Guide | None = None,
) -> Tensor:
    """Ancestral sampling (Ho et al., 2020, Algorithm 2) with x0-prediction and the small posterior variance.

    ``noise`` is the start ``x_T``; the noise of the way comes from ``generator``, a CPU generator whatever the
    device, so that the same seed gives the same motion everywhere. The last step adds none. ``guide`` changes every
    estimate before the step is made; the last guided estimate is the result.
    """
    x = noise
    mean_x0, mean_x, variance = schedule.posterior
    for t in reversed(range(schedule.steps)):
        x0 = denoise(x, _level(t, x))
        if guide:
            x0 = guide(x0, t)
        if callback:
            callback(Step(t, x, x0))
        x = float(mean_x0[t]) * x0 + float(mean_x[t]) * x
        if t > 0:
            x = x + float(variance[t]) ** 0.5 * _noise_like(x, generator)
    return x


@torch.no_grad()
def sample_ddim(
    denoise: Denoise,
    noise: Float[Tensor, "B ..."],
    schedule: Schedule,
    steps: int = 50,
    eta: float = 0.0,
    spacing: str = "t",
    generator: torch.Generator | None = None,
    callback: Callable[[Step], None] | None = None,
    guide: Guide | None = None,
) -> Tensor:
    """Denoising diffusion implicit sampling (Song et al., 2021): few steps, deterministic when ``eta`` is 0.

    Visits ``schedule.spaced(steps, spacing)``; the last visited level is 0 and its estimate is the result.
    ``eta`` in [0, 1] mixes in new noise from ``generator`` (on the CPU); another value raises :class:`ConfigError`.
    ``guide`` changes every estimate before the step is made, as in :func:`sample_ddpm`.
    """
    if not 0 <= eta <= 1:
        raise ConfigError(f"eta {eta}: expected a number from 0 (deterministic) to 1 (as noisy as DDPM).")
    x = noise
    levels = schedule.spaced(steps, spacing)
    for t, to in zip(levels, [*levels[1:], -1], strict=True):
        x0 = denoise(x, _level(t, x))
        if guide:
            x0 = guide(x0, t)
        if callback:
            callback(Step(t, x, x0))
        a, b, sigma = schedule.jump(t, to, eta)
        x = a * x0 + b * x
        if sigma > 0:
            x = x + sigma * _noise_like(x, generator)
    return x


def _at(table: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """The entries ``t`` of a float64 table, in the dtype and on the device of ``like``, ready to multiply it."""
    return table.to(like.dtype).to(like.device)[t].reshape(-1, *[1] * (like.ndim - 1))


def _level(t: int, x: Tensor) -> Tensor:
    return torch.full((len(x),), t, dtype=torch.long, device=x.device)


def _noise_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
