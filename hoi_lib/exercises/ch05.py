"""Checks of chapter 5, "The object encoder"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoi_lib.exercises import exercise, require, require_close


@exercise(
    "object_numbers",
    chapter="05",
    hint="(a) Does a maximum compute anything? (b) Write the mean as a sum and a number, and double both. "
    "(c) Each channel has one winner. (d) Place, rotation, hinge.",
    wrong=[[1e-7, 0, 192, 10], [0, 1, 192, 10], [0, 0, 64, 10], [0, 0, 0, 10], [0, 0, 192, 9], [0, 0, 192, 23]],
)
def object_numbers(answer: Sequence[float]) -> None:
    """What do shuffling and doubling change, how many points are unheard, how many numbers move a laptop?"""
    shuffled, doubled, unheard, frame = answer
    require(shuffled == 0, "(a) a maximum picks one of the numbers as it is: nothing is rounded")
    require_close(doubled, 0, "(b) the sum doubles, and so does the number that it is divided by", atol=1e-6)
    require(unheard != 64, "(c) 64 is how many can win; the question is how many cannot")
    require(unheard == 192, "(c) every channel has one winner, so at most as many points win as there are channels")
    require(frame != 9, "(d) a laptop has a hinge")
    require(frame == 10, "(d) count the place, six numbers of rotation and the angle of the hinge")


def _only_points(encoder: Any, points: Any, normals: Any, part: Any, hinge: Any, Q: Any) -> Any:
    return (encoder(points @ Q.T, normals, part, hinge) - encoder(points, normals, part, hinge)).norm(dim=-1)


def _no_hinge(encoder: Any, points: Any, normals: Any, part: Any, hinge: Any, Q: Any) -> Any:
    return (encoder(points @ Q.T, normals @ Q.T, part, hinge) - encoder(points, normals, part, hinge)).norm(dim=-1)


def _backwards(encoder: Any, points: Any, normals: Any, part: Any, hinge: Any, Q: Any) -> Any:
    return _turned_right(encoder, points, normals, part, hinge, Q.T)


def _turned_right(encoder: Any, points: Any, normals: Any, part: Any, hinge: Any, Q: Any) -> Any:
    both = (hinge.unflatten(-1, (2, 3)) @ Q.T).flatten(-2)
    return (encoder(points @ Q.T, normals @ Q.T, part, both) - encoder(points, normals, part, hinge)).norm(dim=-1)


@exercise(
    "object_turn",
    chapter="05",
    hint="Four arrays describe an object. Three of them hold places or directions, and one of these holds two vectors "
    "in a row of six. A row p of an array is turned by p @ Q.T.",
    wrong=[_only_points, _no_hinge, _backwards, lambda *given: _turned_right(*given).mean()],
)
def object_turn(answer: Callable) -> None:
    """How far does the token of an encoder move when objects are turned, normals and hinge with them?"""
    import torch

    from hoi_lib.pointnet import PointNet
    from hoi_lib.rotations import axis_angle_to_matrix

    with torch.random.fork_rng():
        torch.manual_seed(5)
        encoder = PointNet(width=32, out=16, points=48)
        normals = torch.nn.functional.normalize(torch.randn(3, 48, 3), dim=-1)
        cloud = normals * torch.tensor([0.03, 0.05, 0.09]), normals, (normals[..., 0] > 0).long(), torch.randn(3, 6)
        turn = axis_angle_to_matrix(torch.tensor([0.4, -1.1, 0.7]))
    with torch.no_grad():
        found, expected = (f(encoder, *cloud, turn) for f in (answer, _turned_right))
        still = answer(encoder, *cloud, torch.eye(3))
    require(tuple(getattr(found, "shape", ())) == (3,), "one length for each object of the batch is expected, (B,)")
    require(still.abs().max() < 1e-6, "the turn that turns nothing must change nothing")
    part = torch.allclose(found, _only_points(encoder, *cloud, turn), atol=1e-5)
    require(not part, "the points have turned and the normals have not: the surface now faces elsewhere")
    require(not torch.allclose(found, _no_hinge(encoder, *cloud, turn), atol=1e-5), "the hinge stayed where it was")
    require(torch.allclose(found, expected, atol=1e-5), "that is the length for another turn: Q acts on columns")


@exercise(
    "object_order",
    chapter="05",
    hint="When a point was taken, no later point was farther from those taken before. torch.cummin along the rows of "
    "the table of distances tells how far every point is from the first, the first two, the first three …",
    wrong=[
        lambda points: True,
        lambda points: False,
        lambda points: bool(_when_taken(points).min() > 0.05),
        lambda points: bool((points[1:] - points[:-1]).norm(dim=-1).mean() > 0.5),
    ],
)
def object_order(answer: Callable) -> None:
    """Does a test tell farthest-first orders from random and from sorted ones?"""
    for what, points, claim in _orders():
        found = answer(points)
        require(isinstance(found, bool), "the answer is True or False")
        require(found == claim, f"{what}: it says {found}")


def _when_taken(points: Any) -> Any:
    """The distance of each point but the first to those before it."""
    import torch

    return torch.cdist(points, points).cummin(0).values[:-1].diagonal(1)


def _orders() -> list[tuple[str, Any, bool]]:
    """Points (64, 3) in some order by description, and whether that order is farthest first."""
    import torch

    from hoi_lib.objects import farthest_points

    orders = []
    for seed in (7, 8, 9):
        generator = torch.Generator().manual_seed(seed)
        dense = torch.randn(600, 3, generator=generator) * torch.tensor([1.0, 0.6, 0.3])
        dense = dense / dense.norm(dim=-1, keepdim=True)
        kept = dense[torch.from_numpy(farthest_points(dense.numpy(), 64))]
        late = kept.clone()
        late[[20, 40]] = kept[[40, 20]]
        orders += [
            ("a true order", kept, True),
            ("points drawn at random", dense[:64], False),
            ("a true choice, sorted by height", kept[kept[:, 2].argsort()], False),
            ("a true choice, shuffled", kept[torch.randperm(64, generator=generator)], False),
            ("a true order with two points exchanged", late, False),
        ]
    return orders
