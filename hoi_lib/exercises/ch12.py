"""Checks of chapter 12, "Reconstruction losses"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoi_lib.exercises import Unanswered, exercise, require, require_close


@exercise(
    "loss_units",
    chapter="12",
    hint="(a) A square of what? (b) The mean divides by how many numbers? (c) mse_loss takes its mean over coordinates "
    "too; squared_distance adds them up, because a distance has three.",
    wrong=[[1e3, 2334, 3], [1e6, 778, 3], [1e6, 2334, 1], [1e6, 2334, 1 / 3]],
)
def loss_units(answer: Sequence[float]) -> None:
    """By what factor do millimetres, a sum for a mean, and a distance for a mean over coordinates change Eq. 11?"""
    unit, reduction, axis = answer
    require(unit != 1e3, "(a) the loss is a square, and so is its unit")
    require_close(unit, 1e6, "(a) one metre is 1000 millimetres, one square metre is more", rtol=1e-6)
    require(reduction != 778, "(b) each vertex has three coordinates, and this mean counts them one by one")
    require_close(reduction, 2334, "(b) the sum is the mean times the number of entries", rtol=1e-6)
    require(abs(axis - 1 / 3) > 1e-3, "(c) the other way round: which of the two is the larger?")
    require_close(axis, 3, "(c) both count vertices alike; only the three coordinates differ", rtol=1e-6)


def _forward(f: Callable, x: Any, k: int) -> Any:
    moved = x.clone()
    moved[k] += 1e-4
    return (f(moved) - f(x)) / 1e-4


def _not_halved(f: Callable, x: Any, k: int) -> Any:
    return 2 * _central(f, x, k)


def _central(f: Callable, x: Any, k: int, h: float = 1e-4) -> Any:
    up, down = x.clone(), x.clone()
    up[k] += h
    down[k] -= h
    return (f(up) - f(down)) / (2 * h)


def _every_number(f: Callable, x: Any, k: int) -> Any:
    return (f(x + 1e-4) - f(x - 1e-4)) / 2e-4


@exercise(
    "slope_through_the_hand",
    chapter="12",
    hint="Make two copies of x, one with h more and one with h less in place k, and divide the difference of the two "
    "losses by how far apart the copies are.",
    wrong=[_forward, _not_halved, _every_number, lambda f, x, k: f(x)],
)
def slope_through_the_hand(answer: Callable) -> None:
    """What is the slope of a loss along one of the 99 numbers, by finite differences through the hand?"""
    import torch

    loss, pose = _loss_of_a_pose()
    before, x = pose.clone(), pose.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    for k in (0, 2, 3, 7, 10, 40, 98):
        found = answer(loss, pose, k)
        if found is None or found is ...:
            raise Unanswered
        require(torch.equal(pose, before), "it changes the pose that it was given: work on a copy")
        error = abs(float(found) - float(gradient[k]))
        require(error < 1e-6, f"number {k}: autograd says {float(gradient[k]):.6f}, this says {float(found):.6f}")


def _loss_of_a_pose() -> tuple[Callable, Any]:
    """Eq. 11 of a fist against a relaxed hand, float64, as a function of the 99 numbers; and the fist."""
    import torch

    from hoi_lib.hand import load_hand, named_pose
    from hoi_lib.losses import reconstruction_loss

    hand, valid = load_hand("right"), torch.ones(1, 1, dtype=torch.bool)
    truth = hand(named_pose("relaxed").double())

    def loss(pose: Any) -> Any:
        out = hand(pose)
        pairs = ((out.joints, truth.joints), (out.vertices, truth.vertices))
        return reconstruction_loss(*(x[None, None] for pair in pairs for x in pair), valid)

    return loss, named_pose("fist").double()


@exercise(
    "numbers_without_effect",
    chapter="12",
    hint="Six numbers are made into a rotation. How many numbers does a rotation have by itself? The rest of the six "
    "is thrown away, at each of the sixteen joints.",
    wrong=[51, 0, 3, 16, 45, 63],
)
def numbers_without_effect(answer: int) -> None:
    """Along how many of the 99 directions can the numbers change without moving a single vertex?"""
    require(answer != 51, "51 directions move the hand: how many are left?")
    require(answer != 45, "the wrist has six numbers too")
    require(answer == 48, "three of the six numbers of a joint are undone by Gram-Schmidt; there are sixteen joints")


def _fair(loss: Callable) -> bool:
    """A control that only asks for one known value."""
    import torch

    truth, valid = torch.zeros(1, 4, 5, 3), torch.ones(1, 4, dtype=torch.bool)
    return bool(abs(loss(truth + torch.tensor([0.03, 0.04, 0.0]), truth, valid) - 0.0025) < 1e-6)


@exercise(
    "trusted_loss",
    chapter="12",
    hint="Ask three things. What does a shift of 3 cm and 4 cm cost, in square metres? Does the answer change when "
    "frames that are not valid are filled with rubbish? What does a hand cost that is 1 cm too far left in one frame, "
    "and 1 cm too far right in the next?",
    wrong=[lambda loss: True, lambda loss: False, _fair],
)
def trusted_loss(answer: Callable) -> None:
    """Does a control accept the mean squared distance and refuse four broken versions of it?"""
    from hoi_lib.losses import squared_distance

    require(bool(answer(squared_distance)), "it refuses the library's own function")
    for name, loss in _broken().items():
        require(not bool(answer(loss)), f"it trusts {name}")


def _broken() -> dict[str, Callable]:
    """Broken mean squared distances ``loss(points, true, valid)`` by what is wrong with them."""

    def counted(x: Any, valid: Any) -> Any:
        return (x * valid[..., None]).sum() / (valid.sum().clamp(min=1) * x.shape[-1])

    return {
        "a loss that forgets the mask": lambda p, q, valid: (p - q).square().sum(-1).mean(),
        "a loss in square millimetres": lambda p, q, valid: 1e6 * counted((p - q).square().sum(-1), valid),
        "a loss that takes its mean over coordinates too": lambda p, q, valid: counted(
            (p - q).square().mean(-1), valid
        ),
        "a loss that takes the mean over frames before the square": lambda p, q, valid: (
            (((p - q) * valid[..., None, None]).sum(1) / valid.sum(1)[:, None, None]).square().sum(-1).mean()
        ),
    }
