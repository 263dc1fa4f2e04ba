"""Checks of chapter 1, "Diffusion from one dimension to motion"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoi_lib.exercises import Unanswered, exercise, require, require_close

FIRST_DROWNED = {"as printed": 261, "as usual": 827}
LEFT = {"as printed": 2.1e-47, "as usual": 4.0e-5}


@exercise(
    "drowning",
    chapter="01",
    hint="The first entry of schedule.snr() that is below 1e-3 has an index; the step is one more than that.",
    wrong=[
        {"first": {"as printed": 260, "as usual": 826}, "left": LEFT},
        {"first": {"as printed": 827, "as usual": 261}, "left": LEFT},
        {"first": FIRST_DROWNED, "left": {"as printed": 0.0, "as usual": 4.0e-5}},
        {"first": FIRST_DROWNED, "left": {"as printed": 0.2, "as usual": 0.02}},
    ],
)
def drowning(answer: dict[str, dict]) -> None:
    """At which step does the signal drown under two linear schedules, and how much is left at the end?"""
    first, left = answer["first"], answer["left"]
    for name, step in FIRST_DROWNED.items():
        require(first[name] != step - 1, "the index of the table counts from 0, steps count from 1")
        require(first[name] == step, f"{name}: the first step whose signal-to-noise ratio is below 1/1000 is another")
    for name, share in LEFT.items():
        require_close(left[name], share, f"{name}: the last entry of ᾱ is another number, within 5 %", rtol=0.05)


def _one_over(x0: Any, x: Any, before: Any, here: Any, beta: Any) -> Any:
    """A typical wrong mean: the noise first, then back to the signal by dividing by √ᾱ."""
    noise = ((1 / here).sqrt() * x - x0) / (1 / here - 1).sqrt()
    return (x - beta / (1 - here).sqrt() * noise) / (1 - beta).sqrt()


@exercise(
    "both_ends",
    chapter="01",
    hint="First: ᾱ.float(), then 1 / ᾱ and isinf. Second: before step 1 nothing has been added, so ᾱ₀ = 1. "
    "Third: the equation of the posterior, factor by factor.",
    wrong=[
        [911, (1.0, 0.0), lambda x0, *_: x0],
        [912, (0.0, 1.0), lambda x0, *_: x0],
        [912, (1.0, 0.0), lambda x0, *_: x0],
        [912, (1.0, 0.0), _one_over],
    ],
)
def both_ends(answer: Sequence) -> None:
    """Where does 1/ᾱ overflow in float32, what is the posterior at step 1, and how to write its mean safely?"""
    overflow, (factor, variance), mean = answer
    require(overflow != 911, "the index counts from 0, steps count from 1")
    require(overflow == 912, "1 / ᾱ in float32 first becomes infinite at another step")
    require_close(factor, 1, "at step 1 the clean signal is the mean itself", atol=1e-9)
    require_close(variance, 0, "at step 1 nothing is left to chance", atol=1e-12)
    _mean_is_right_and_finite(mean)


def _mean_is_right_and_finite(mean: Callable) -> None:
    import torch

    from hoi_lib.diffusion import Schedule

    schedule = Schedule.linear(end=0.2)
    x0, x = torch.tensor([0.8, -1.1]), torch.tensor([-0.3, 2.0])
    for t in (1, 40, 300, 911, 999):
        before, here, beta = (table.float() for table in _around(schedule, t))
        found = mean(x0, x, before, here, beta)
        if found is None or found is ...:
            raise Unanswered
        require(torch.isfinite(found).all(), f"at step {t + 1} the mean is not finite in float32")
        expected, _ = schedule.posterior_mean_variance(x0, x, torch.tensor([t, t]))
        require(torch.allclose(found, expected, atol=1e-3), f"at step {t + 1} the mean is not the posterior's")


def _around(schedule: Any, t: int) -> tuple:
    return schedule.alpha_bar[t - 1], schedule.alpha_bar[t], schedule.beta[t]


@exercise(
    "trusted_samples",
    chapter="01",
    hint="Sort the samples. The share of them below a value should be near the toy world's, which is a weighted sum of "
    "two torch.special.ndtr, at every value.",
    wrong=[
        lambda samples: True,
        lambda samples: bool(samples.mean().abs() < 0.1 and (samples.std() - 1).abs() < 0.1),
        lambda samples: bool(((samples < -0.4).double().mean() - 0.35).abs() < 0.05),
    ],
)
def trusted_samples(answer: Callable) -> None:
    """Does a test accept right samples of the toy world, whatever the seed, and refuse broken ones?"""
    import torch

    right, broken = _toy_samples()
    for samples in right:
        require(bool(answer(samples)), "it refuses the samples of a right sampler: allow for chance")
    for name, samples in broken.items():
        require(not bool(answer(samples)), f"it trusts {name}")
    require(not torch.is_tensor(answer(right[0])) or answer(right[0]).numel() == 1, "one verdict for all samples")


def _toy_samples() -> tuple[list, dict]:
    """Five right sets of 2000 samples of the toy world (N, 1), and broken ones by the words that describe them."""
    import torch

    weight, centre, width = torch.tensor([[0.35, 0.65], [-1.3, 0.7], [0.2, 0.34]], dtype=torch.float64)

    def draw(seed: int, width=width) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        which = torch.multinomial(weight, 2000, replacement=True, generator=generator)
        noise = torch.randn(2000, generator=generator, dtype=torch.float64)
        return (centre[which] + width[which] * noise)[:, None]

    def plain_noise(seed: int) -> torch.Tensor:
        return torch.randn(2000, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    broken = {
        "a sampler that has lost the open fingers": 0.7 + 0.02 * plain_noise(1),
        "a sampler that hands back its noise: mean 0, variance 1, but one bell instead of two": plain_noise(2),
        "a sampler whose two bells are only points": draw(3, 0 * width),
        "a sampler that mixed up open and closed": -draw(4),
    }
    return [draw(seed) for seed in range(10, 15)], broken
