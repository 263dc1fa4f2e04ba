"""Checks of chapter 16, "Sampling"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hoi_lib.exercises import Unanswered, exercise, require

RATIO, GRADIENTS, DROWNED = 20, 64, 37


@exercise(
    "network_calls",
    chapter="16",
    hint="schedule.spaced(50) lists the visited levels. The guide acts where t is at most 0.15 · 999, and takes its "
    "steps at each of those visits.",
    wrong=[
        {"ratio": 50, "gradients": 64},
        {"ratio": 20, "gradients": 8},
        {"ratio": 20, "gradients": 400},
        {"ratio": 20, "gradients": 56},
    ],
)
def network_calls(answer: dict[str, int]) -> None:
    """How much fewer calls do 50 steps need than the whole way, and how many gradients does a guide take?"""
    require(answer["ratio"] != 50, "50 is the number of calls that are left; by which factor is that fewer?")
    require(answer["ratio"] == RATIO, "divide the number of levels by the number of visits")
    require(answer["gradients"] != 8, "8 visits are guided; how many steps does the guide take at each?")
    require(answer["gradients"] != 400, "early visits are not guided: only those with t ≤ 0.15 · 999")
    require(answer["gradients"] == GRADIENTS, "count the visits with t ≤ 0.15 · 999, level 0 included, times 8")


@exercise(
    "map_from_noise",
    chapter="16",
    hint="Call the sampler twice with one noise and two generators, then with another noise. Two answers must be the "
    "same to the last bit, and two must not.",
    wrong=[
        lambda sampler: True,
        lambda sampler: _same(sampler, seeds=(0, 1)),
        lambda sampler: not _same(sampler, noises=(3, 4)),
        lambda sampler: _same(sampler, seeds=(0, 0)) and not _same(sampler, noises=(3, 4)),
    ],
)
def map_from_noise(answer: Callable) -> None:
    """Is a sampler a map from noise to motion: one noise, one motion, whatever the generator?"""
    samplers = _samplers()
    verdicts = {name: answer(sampler) for name, (sampler, _) in samplers.items()}
    if any(verdict is None or verdict is ... for verdict in verdicts.values()):
        raise Unanswered
    for name, (_, expected) in samplers.items():
        said = "does not pass, and is one" if expected else "passes, and is none"
        require(bool(verdicts[name]) == expected, f"{name} {said}")


def _draw(seed: int) -> Any:
    import torch

    return torch.Generator().manual_seed(seed)


def _same(sampler: Callable, noises: tuple = (3, 3), seeds: tuple = (0, 0)) -> bool:
    """Whether two calls of a sampler give the same, for noises and generators made from these seeds."""
    import torch

    made = [
        sampler(torch.randn(2, 6, generator=_draw(noise)), _draw(seed))
        for noise, seed in zip(noises, seeds, strict=True)
    ]
    return bool(torch.equal(*made))


def _samplers() -> dict[str, tuple[Callable, bool]]:
    """Samplers ``(noise, generator) -> samples`` of a one-bell world, and whether each is a map from its noise."""
    import torch

    from hoi_lib.diffusion import Schedule, sample_ddim, sample_ddpm

    schedule = Schedule.cosine(40)

    def denoise(x: Any, t: Any) -> Any:
        return 0.8 * schedule.alpha_bar[t].sqrt()[:, None].to(x.dtype) * x

    return {
        "DDIM with η = 0": (lambda x, g: sample_ddim(denoise, x, schedule, 10, generator=g), True),
        "DDIM with η = 0.3": (lambda x, g: sample_ddim(denoise, x, schedule, 10, 0.3, generator=g), False),
        "DDPM": (lambda x, g: sample_ddpm(denoise, x, schedule, g), False),
        "a sampler that does not look at its noise": (lambda x, g: torch.ones_like(x), False),
    }


@exercise(
    "drowned_visits",
    chapter="16",
    hint="First: printed.snr() at the levels of printed.spaced(50). Second: which entry of schedule.log_snr() is "
    "nearest to printed.log_snr()[t]?",
    wrong=[
        [36, lambda t: 0],
        [37, lambda t: t],
        [13, lambda t: t],
        [37, lambda t: 999 - t],
    ],
)
def drowned_visits(answer: list) -> None:
    """Which of 50 visits to the printed schedule see no signal, and which cosine level looks the same?"""
    drowned, translate = answer
    require(drowned != 50 - DROWNED, "that is how many see something; how many do not?")
    require(drowned == DROWNED, "count the visited levels whose signal-to-noise ratio is below 1/1000")
    _translates(translate)


def _translates(translate: Callable) -> None:
    from hoi_lib.diffusion import Schedule

    printed, cosine = Schedule.of("linear"), Schedule.of("cosine")
    for t in (0, 41, 82, 204):
        found = translate(t)
        if found is None or found is ...:
            raise Unanswered
        nearest = int((cosine.log_snr() - printed.log_snr()[t]).abs().argmin())
        require(abs(int(found) - nearest) <= 1, f"level {t} of the printed schedule looks like another cosine level")
    require(int(translate(999)) >= 998, "where nothing is left of the signal, the last cosine level is the nearest")
