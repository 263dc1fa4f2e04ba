"""Checks of chapter 15, "Training"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoi_lib.exercises import Unanswered, exercise, require, require_close

BUGS = ("router", "average", "batch", "normaliser", "gradient")
PLANTED = {"A": "average", "B": "batch", "C": "router"}


# --- does it go on? --------------------------------------------------------------------------------------------------


class ToyTrainer:
    """Four weights that learn a line by Adam, with noise of their own and a running average.

    ``step()`` takes a step, ``save()`` returns what the next step depends on, ``load(state)`` goes back to it;
    ``weights``, ``average`` (4,) are what comes out. ``fault`` names what is wrong with it.
    """

    def __init__(self, fault: str = ""):
        import torch

        self.fault, self.number = fault, 0
        self.weights, self.average = torch.zeros(4), torch.zeros(4)
        self.first, self.second = torch.zeros(4), torch.zeros(4)
        self.dice = torch.Generator().manual_seed(0)

    def step(self) -> float:
        """One step; returns the loss before it."""
        import torch

        if self.fault != "generator":
            self.dice.manual_seed(1000 + self.number)
        x = torch.randn(8, 4, generator=self.dice)
        target = x @ torch.tensor([1.0, -2.0, 0.5, 3.0]) + 0.1 * torch.randn(8, generator=self.dice)
        error = x @ self.weights - target
        slope = 2 * x.T @ error / 8
        self.first.mul_(0.9).add_(0.1 * slope)
        self.second.mul_(0.99).add_(0.01 * slope**2)
        self.number += 1
        rate = 0.05 / self.number**0.5
        self.weights.sub_(rate * self.first / (self.second.sqrt() + 1e-8))
        self.average.lerp_(self.weights, 0.2)
        return float((error**2).mean())

    def save(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        parts = {name: getattr(self, name) for name in ("weights", "average", "first", "second")}
        if self.fault != "reference":
            parts = {name: x.clone() for name, x in parts.items()}
        if self.fault == "half":
            parts["weights"] = parts["weights"].half().float()
        return parts | {"number": self.number}

    def load(self, state: dict[str, Any]) -> None:
        """Go back to what :meth:`save` returned."""
        forgotten = {"moments": ("first", "second"), "average": ("average",), "number": ("number",)}
        for name, value in state.items():
            if name not in forgotten.get(self.fault, ()):
                setattr(self, name, value if name == "number" else value.clone())


FAULTS = {
    "moments": "a trainer that forgets the moments of its optimiser",
    "number": "a trainer that forgets how many steps it has taken",
    "average": "a trainer that forgets its running average: look at more than the weights",
    "generator": "a trainer whose noise goes on from a generator that it does not save",
    "reference": "a trainer whose checkpoint goes on changing when the training goes on: save, take a step, then load",
    "half": "a trainer that rounds its weights when it saves: equal means equal in every bit",
}


def _goes_on(make: Callable, before: int = 3, extra: int = 1, names: Sequence[str] = ("weights", "average")) -> bool:
    import torch

    whole, first, second = make(), make(), make()
    for _ in range(6):
        whole.step()
    for _ in range(before):
        first.step()
    state = first.save()
    for _ in range(extra):
        first.step()
    second.load(state)
    for _ in range(6 - before):
        second.step()
    return all(torch.equal(getattr(whole, name), getattr(second, name)) for name in names)


@exercise(
    "resume_test",
    chapter="15",
    hint="Six steps in one go; then three steps, save, one step more (a checkpoint must not change any longer), load "
    "into a fresh trainer, three steps. Compare weights and average with torch.equal.",
    wrong=[
        lambda make: True,
        lambda make: _goes_on(make, before=0),
        lambda make: _goes_on(make, extra=0),
        lambda make: _goes_on(make, names=("weights",)),
    ],
)
def resume_test(answer: Callable) -> None:
    """Does a test accept a trainer that goes on bit for bit, and refuse six that do not?"""
    verdict = answer(ToyTrainer)
    if verdict is None or verdict is ...:
        raise Unanswered
    require(bool(verdict), "it refuses a trainer that goes on bit for bit")
    for fault, words in FAULTS.items():
        require(not bool(answer(lambda fault=fault: ToyTrainer(fault))), f"it accepts {words}")


# --- how long will it take? ------------------------------------------------------------------------------------------


def _line(points: dict[int, float], batch: float) -> float:
    (b, u), (c, v) = sorted(points.items())
    return u + (v - u) / (c - b) * (batch - b)


@exercise(
    "wall_time",
    chapter="15",
    hint="Through two points goes one line: its slope is what one more sample costs, its height at 0 what a step costs "
    "before it has seen any. Then multiply by the number of steps.",
    wrong=[
        lambda points, batch, steps: steps * batch * max(points.values()) / max(points),
        lambda points, batch, steps: steps * sum(points.values()) / 2,
        lambda points, batch, steps: _line(points, batch),
    ],
)
def wall_time(answer: Callable) -> None:
    """How long will a training take, given the seconds of one step at two batch sizes?"""
    for points, batch, steps in (
        ({4: 0.30, 16: 0.66}, 32, 3000),
        ({8: 0.10, 32: 0.10}, 64, 500),
        ({16: 1.0, 2: 0.3}, 4, 800),
    ):
        found = answer(dict(points), batch, steps)
        if found is None or found is ...:
            raise Unanswered
        expected = steps * _line(points, batch)
        per_step = "that is one step; how many are there?"
        require(abs(found - expected / steps) > 1e-6 * expected, per_step)
        words = f"two points {points}: a batch of {batch} for {steps} steps takes another time"
        require_close(found, expected, words, rtol=1e-3)


# --- which bug is it? ------------------------------------------------------------------------------------------------


@exercise(
    "planted_bugs",
    chapter="15",
    hint="Ask of each: which curve would this bug leave exactly as it was at the start? Which curve would it let fall "
    "too far?",
    wrong=[
        {"A": "router", "B": "batch", "C": "average"},
        {"A": "average", "B": "gradient", "C": "router"},
        {"A": "average", "B": "batch", "C": "normaliser"},
        {"A": "gradient", "B": "average", "C": "batch"},
    ],
)
def planted_bugs(answer: dict[str, str]) -> None:
    """Which of five bugs was planted in each of three runs?"""
    for run, bug in answer.items():
        require(bug in BUGS, f"{run}: name one of {', '.join(BUGS)}")
    for run, bug in PLANTED.items():
        require(answer[run] == bug, f"run {run} has another bug")


# --- more than the seed? ---------------------------------------------------------------------------------------------


@exercise(
    "more_than_the_seed",
    chapter="15",
    hint="With one run on a side nothing can be said. With more, divide the difference of the means by its standard "
    "error, the root of var(a)/n + var(b)/m with ddof=1, and ask for at least 3.",
    wrong=[
        lambda a, b: sum(a) / len(a) != sum(b) / len(b),
        lambda a, b: max(a) < min(b) or max(b) < min(a),
        lambda a, b: False,
        lambda a, b: abs(sum(a) / len(a) - sum(b) / len(b)) > 0.05 * abs(sum(a) / len(a)),
    ],
)
def more_than_the_seed(answer: Callable) -> None:
    """Does a rule tell two configs apart only if they differ by more than their seeds make them?"""
    import numpy as np

    random = np.random.default_rng(15)
    draw = lambda mean, n: list(random.normal(mean, 1.0, n))  # noqa: E731
    verdict = answer([40.0], [45.0])
    if verdict is None or verdict is ...:
        raise Unanswered
    require(not verdict, "one run of each: how much the seed does is not known, so nothing can be said")
    same = np.mean([bool(answer(draw(40, 4), draw(40, 4))) for _ in range(400)])
    require(same <= 0.05, f"the same config twice, four seeds each: it sees a difference in {same:.0%} of the cases")
    apart = np.mean([bool(answer(draw(40, 4), draw(45, 4))) for _ in range(400)])
    require(apart >= 0.8, f"two configs five standard deviations apart: it sees that in only {apart:.0%} of the cases")
    shifted = np.mean([bool(answer(draw(1000, 4), draw(995, 4))) for _ in range(400)])
    require(shifted >= 0.8, "the same two configs, measured from another zero, are still as far apart")
