"""Checks of chapter 13, "Interaction losses: distance, contact, penetration"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoi_lib.exercises import exercise, require, require_close


@exercise(
    "contact_by_hand",
    chapter="13",
    hint="Find the distance of each of the four to the other side; three are at most 10 mm. The means are taken "
    "over the points in contact and over the vertices in contact, each side by itself.",
    wrong=[[0.006, 0.0035], [21, 3.5], [6, 6], [6, 2], [3.5, 6]],
)
def contact_by_hand(answer: Sequence[float]) -> None:
    """What is the contact loss of two vertices and two points on a line, with sums and with means?"""
    sums, means = answer
    require(abs(float(sums) - 0.006) > 1e-6, "in millimetres, please")
    require(abs(float(sums) - 21) > 1e-6, "the point at 20 mm is 15 mm from the hand: it is not in contact")
    require_close(sums, 6, "with sums: one point at 1 mm, and vertices that are 1 and 4 mm from it")
    require(abs(float(means) - 2) > 1e-6, "each side has a mean of its own; the two means are added")
    require_close(means, 3.5, "with means: the mean of the points in contact plus the mean of the vertices in contact")


def _contact_loss(judge: str) -> Callable:
    """A contact loss whose sets come from the "truth", the "estimate", "either" or "both"."""
    from hoi_lib.interaction import ContactSets, contact_sets, fields_between
    from hoi_lib.losses import contact_loss

    def loss(vertices: Any, points: Any, truth: Any) -> Any:
        import torch

        then, now = contact_sets(truth), contact_sets(fields_between(points, vertices))
        pairs = list(zip(then, now, strict=True))
        sets = {
            "truth": then,
            "estimate": now,
            "either": ContactSets(*(a | b for a, b in pairs)),
            "both": ContactSets(*(a & b for a, b in pairs)),
        }[judge]
        return contact_loss(vertices, points, sets, torch.ones(vertices.shape[:2], dtype=torch.bool))

    return loss


def _only_let_go(loss: Callable) -> bool:
    """A typical half of the test: a hand that has let go is pulled back."""
    point, near, far, fields_between = _line()
    return bool(loss(far, point, fields_between(point, near)) > 0)


def _only_stray(loss: Callable) -> bool:
    """The other half: a hand that strays onto the object is left alone."""
    point, near, far, fields_between = _line()
    return bool(loss(near, point, fields_between(point, far)) == 0)


def _line() -> tuple:
    import torch

    from hoi_lib.interaction import fields_between

    point = torch.zeros(1, 1, 1, 3)
    return point, point + torch.tensor([0, 0, 0.004]), point + torch.tensor([0, 0, 0.08]), fields_between


@exercise(
    "reads_truth",
    chapter="13",
    hint="Take one vertex and one point. Once they touch in the truth and are far apart in the estimate, and once the "
    "other way round. A loss that reads the truth is above 0 in the first case and 0 in the second.",
    wrong=[lambda loss: True, lambda loss: False, _only_let_go, _only_stray],
)
def reads_truth(answer: Callable) -> None:
    """How can one tell whether a contact loss takes its sets from the truth?"""
    require(bool(answer(_contact_loss("truth"))), "it refuses a loss whose sets come from the truth")
    require(not answer(_contact_loss("estimate")), "it passes a loss whose sets come from the estimate")
    said = "it passes a loss that takes whatever touches in the truth or in the estimate: let a hand stray"
    require(not answer(_contact_loss("either")), said)
    said = "it passes a loss that takes only what touches in the truth and in the estimate: let a hand let go"
    require(not answer(_contact_loss("both")), said)


def _rests(con: float, pen: float) -> float:
    """A typical answer in closed form, for a fingertip that is only a little inside (mm)."""
    return max(0.0, 5 * (1 - pen / (4 * con)))


@exercise(
    "fingertip_balance",
    chapter="13",
    hint="Weigh and add the two curves, and take the depth at which the sum is smallest. For the ratio: both halves of "
    "the contact loss have a slope of −1 at depth 0, the push has 1/2.",
    wrong=[
        [lambda con, pen: _rests(con, pen) / 1000, 4],
        [lambda con, pen: 5.0, 4],
        [lambda con, pen: _rests(pen, con), 4],
        [_rests, 2],
        [_rests, 0.25],
    ],
)
def fingertip_balance(answer: Sequence) -> None:
    """How deep does a fingertip come to rest, and from which ratio of the weights does it stay on the table?"""
    rest, ratio = answer
    require(float(rest(20.0, 0.0)) > 0.1, "in millimetres, please")
    require_close(rest(20.0, 0.0), 5.2, "contact alone sinks the fingertip by about half of τ", atol=0.6)
    require_close(rest(20.0, 20.0), 3.8, "at equal weights it rests at another depth", atol=0.6)
    require_close(rest(2.0, 4.0), 2.4, "at twice the weight for penetration it rests at another depth", atol=0.7)
    require_close(rest(2.0, 30.0), 0.0, "at the settled weights it stays on the table", atol=0.4)
    require(abs(float(ratio) - 2) > 1e-6, "both halves of the contact loss pull: points and vertices")
    require_close(ratio, 4, "set the sum of the slopes to 0 at depth 0, and mind which weight is divided by which")
