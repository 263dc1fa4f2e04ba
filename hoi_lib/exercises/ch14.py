"""Checks of chapter 14, "Smoothness, balance, and the total"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hoi_lib.exercises import Unanswered, exercise, require, require_close


@exercise(
    "second_differences",
    chapter="14",
    hint="Write the steps between neighbours first, 1, 3, 5, 7, and then the steps between the steps. For the tremble "
    "take three neighbours, 0, 1, 0.",
    wrong=[[16, 2, 2], [6, 6, 2], [6, 2, 1], [6, 2, 4], [12, 4, 2], [0, 0, 2]],
)
def second_differences(answer: Sequence[float]) -> None:
    """What is Eq. 15 of 0, 1, 4, 9, 16 as a sum and as a mean, and of a tremble of a millimetre?"""
    total, mean, tremble = answer
    require(total != 16, "16 is the sum of the steps: a velocity. Eq. 15 takes the steps between the steps")
    require_close(total, 6, "five places have three second differences", rtol=1e-6)
    require_close(mean, 2, "the library divides by the number of triples", rtol=1e-6)
    require(tremble != 4, "the place runs from 0 to 1 and not from −1 to 1")
    require_close(tremble, 2, "of 0, 1, 0 the second difference is 0 − 2 · 1 + 0, and its length counts", rtol=1e-6)


@exercise(
    "effective_weight",
    chapter="14",
    hint="A factor inside the loss and a weight before it are multiplied. An even routing gives 1 for each of the "
    "network's blocks, groups and branches.",
    wrong=[[0.01, 48, 0.48], [1e-4, 24, 0.0024], [1e-4, 48, 0.48], [0.02, 48, 0.96]],
)
def effective_weight(answer: Sequence[float]) -> None:
    """What is left of the balance loss's weight if DiT-MoE's factor and λ₆ are both applied?"""
    weight, even, part = answer
    require(abs(weight - 0.01) > 1e-9, "both factors are 0.01, and both apply")
    require_close(weight, 1e-4, "the product of the two factors", rtol=1e-6)
    require(even != 24, "Eq. 9 adds two branches")
    require_close(even, 48, "blocks times groups times branches, each even one counts 1", rtol=1e-6)
    require_close(part, 0.0048, "the effective weight times the even value", rtol=1e-6)


def _by_weight(curves: Mapping, step: int) -> tuple[str, float]:
    return "rec", 20.0


def _at_the_end(curves: Mapping, step: int) -> tuple[str, float]:
    shares = {name: curve["value"][-1] for name, curve in curves.items() if name.startswith("share/")}
    name = max(shares, key=lambda key: shares[key])
    return name.removeprefix("share/"), shares[name]


def _by_value(curves: Mapping, step: int) -> tuple[str, float]:
    values = {name: curve["value"][0] for name, curve in curves.items() if name.startswith("training/")}
    return "balance", values.get("training/balance", 1.0)


@exercise(
    "loudest_term",
    chapter="14",
    hint="Each curve is a dict of two lists, step and value. Take the curves whose name begins with share/, look the "
    "step up in their list of steps, and find the largest value.",
    wrong=[_by_weight, _at_the_end, _by_value, lambda curves, step: "con"],
)
def loudest_term(answer: Callable) -> None:
    """Which term pulls hardest at a step of a recorded run, and by which share?"""
    from hoi_lib import records

    small = {
        "training/rec": {"step": [5, 10], "value": [9.0, 9.0]},
        "share/rec": {"step": [0, 10], "value": [0.7, 0.2]},
        "share/pen": {"step": [0, 10], "value": [0.3, 0.8]},
    }
    real = records.book()["shares_training"]["curves"]
    for curves, step, where in ((small, 0, "a made-up run"), (small, 10, "a made-up run"), (real, 0, "the record")):
        found = answer(curves, step)
        if found is None or found is ...:
            raise Unanswered
        require(isinstance(found, tuple) and len(found) == 2, "return a name and a share")
        name, share = found
        at = {k.removeprefix("share/"): c for k, c in curves.items() if k.startswith("share/")}
        shares = {k: c["value"][c["step"].index(step)] for k, c in at.items()}
        best = max(shares, key=lambda key: shares[key])
        require(name == best, f"at step {step} of {where} it is not {name!r}")
        require_close(share, shares[best], f"its share at step {step} of {where} is another", rtol=1e-6)


def _mask(vertices: Any, valid: Any) -> tuple[Any, Any]:
    second = vertices[:, 2:] - 2 * vertices[:, 1:-1] + vertices[:, :-2]
    return second, valid[:, 2:] & valid[:, 1:-1] & valid[:, :-2]


def _broken() -> dict[str, Callable]:
    """Broken smoothness losses ``loss(vertices, valid)`` by what is wrong with them."""

    def velocity(x: Any, valid: Any) -> Any:
        return (x[:, 1:] - x[:, :-1]).norm(dim=-1)[valid[:, 1:] & valid[:, :-1]].mean()

    def squared(x: Any, valid: Any) -> Any:
        second, kept = _mask(x, valid)
        return second.square().sum(-1)[kept].mean()

    def unmasked(x: Any, valid: Any) -> Any:
        return _mask(x, valid)[0].norm(dim=-1).mean()

    def one_end(x: Any, valid: Any) -> Any:
        return _mask(x, valid)[0].norm(dim=-1)[valid[:, :-2]].mean()

    def summed(x: Any, valid: Any) -> Any:
        second, kept = _mask(x, valid)
        return second.norm(dim=-1)[kept].sum()

    return {
        "a loss on velocities": velocity,
        "a loss that squares": squared,
        "a loss that forgets the mask": unmasked,
        "a loss that asks only the first frame of three whether it is valid": one_end,
        "a loss that adds up the triples, so that long clips count more": summed,
    }


def _only_even(loss: Callable) -> bool:
    """A control that only asks for the famous five places."""
    import torch

    places = torch.tensor([0.0, 1, 4, 9, 16])[None, :, None, None] * torch.tensor([1.0, 0, 0])
    return bool(abs(float(loss(places, torch.ones(1, 5, dtype=torch.bool))) - 2) < 1e-5)


@exercise(
    "trusted_smoothness",
    chapter="14",
    hint="Four questions: what do 0, 1, 4, 9, 16 give? What does twice that motion give: twice as much, or four times? "
    "What changes if the clip is longer? And if rubbish stands in frames that are not valid, also right after the last "
    "valid one?",
    wrong=[lambda loss: True, lambda loss: False, _only_even],
)
def trusted_smoothness(answer: Callable) -> None:
    """Does a control accept Eq. 15 as a masked mean and refuse five broken versions of it?"""
    from hoi_lib.losses import acceleration_loss

    require(bool(answer(acceleration_loss)), "it refuses the library's own function")
    for name, loss in _broken().items():
        require(not bool(answer(loss)), f"it trusts {name}")
