"""Checks of chapter 4, "Data: sequences of hands and objects"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoi_lib.exercises import exercise, require, require_close

HANDS, FRAMES = 6, 60
BROKEN = 3  # the clip whose rotations are transposed
BUSY = (1, 4)  # clips whose hand rightly wanders over the object


@exercise(
    "three_means",
    chapter="04",
    hint="Add up all errors: 2 frames of 4 mm and 6 frames of 2 mm. The first mean divides by all places of the box, "
    "the second by the frames that exist. For the third, take the mean of each clip first.",
    wrong=[[2.5, 2.5, 3], [1.25, 3, 2.5], [1.25, 2.5, 2.5], [0.00125, 0.0025, 0.003]],
)
def three_means(answer: Sequence[float]) -> None:
    """What are the naive mean, the masked mean, and the mean of the clips' means of one padded batch?"""
    naive, pooled, per_clip = answer
    require(abs(float(pooled) - 0.0025) > 1e-6, "in millimetres, please")
    require(abs(float(naive) - 2.5) > 1e-6, "the naive mean does not know that padded frames are none")
    require_close(naive, 1.25, "the naive mean is the sum of all errors over all 16 places of the box")
    require(abs(float(pooled) - 3) > 1e-6, "the masked mean pools the frames of all clips before it divides")
    require_close(pooled, 2.5, "the masked mean is the sum of all errors over the frames that exist")
    require_close(per_clip, 3, "each clip has a mean of its own; the third number is the mean of these two")


@exercise(
    "path_numbers",
    chapter="04",
    hint="Where it is, how it is turned, how far it is open: 3, 6 and 1. A hand has 99, and there are two of them.",
    wrong=[[6, 7, 205], [12, 13, 211], [9, 10, 109], [9, 9, 207], [9, 15, 213]],
)
def path_numbers(answer: Sequence[int]) -> None:
    """How many numbers a frame describe a rigid object, a hinged one, and two hands that open a box?"""
    rigid, hinged, scene = answer
    require(rigid != 6, "a turn takes six numbers here, not three, for the reasons of chapter 2")
    require(rigid != 12, "of the matrix only two columns are kept")
    require(rigid == 9, "count its place and its turn")
    require(hinged != 9, "how far it is open has to be told, too")
    require(hinged == 10, "one angle is enough: the hinge's place and axis do not change during a clip")
    require(scene != 109, "there are two hands")
    require(scene == 208, "two hands of 99 numbers each, and the box")


def _largest_change(train: Any, test: Any, other: Any, floor: float = 0.01) -> float:
    """Largest change of standardised test numbers when the figures come from ``other`` instead of ``train``."""
    by_train, by_other = (
        (test - x.mean(0)) / (x.std(0, correction=0).clamp(min=floor) if floor else x.std(0, correction=0))
        for x in (train, other)
    )
    return float((by_other - by_train).abs().max())


def _on_test_alone(train: Any, test: Any) -> float:
    return _largest_change(train, test, test)


def _without_floor(train: Any, test: Any) -> float:
    import torch

    return _largest_change(train, test, torch.cat([train, test]), floor=0.0)


@exercise(
    "leak",
    chapter="04",
    hint="seen(train) is what it should be, seen(torch.cat([train, test])) what it becomes. Both speak about the test "
    "rows. Clamp the spread at 0.01 in both.",
    wrong=[_on_test_alone, _without_floor, lambda train, test: float((train.mean(0) - test.mean(0)).abs().max())],
)
def leak(answer: Callable) -> None:
    """By how much does fitting the normaliser on everybody change what the network sees of the test person?"""
    import torch

    for seed in range(3):
        train, test = _people(seed)
        found = float(answer(train, test))
        require(found == found and found >= 0, "the largest change is a number, and not below zero")
        alone = _on_test_alone(train, test)
        require(abs(found - alone) > 1e-2 * alone, "everybody means the training people and the test person together")
        bare = _without_floor(train, test)
        require(abs(found - bare) > 1e-2 * bare, "one of the numbers hardly varies: where is the floor of 0.01?")
        expected = _largest_change(train, test, torch.cat([train, test]))
        require_close(found, expected, "compare the standardised test rows of both fits, number by number", rtol=2e-2)


def _people(seed: int) -> tuple[Any, Any]:
    """Rows of made-up training people (200, 7) and of a test person (40, 7); the last number hardly varies."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1, 0.5, 0.2, 0.1, 0.05, 0.02, 1e-4])
    train = torch.randn(200, 7, generator=generator) * scale
    test = (torch.randn(40, 7, generator=generator) + torch.linspace(0.2, 1.5, 7)) * scale
    test[:, -1] += 0.004  # forty times its spread, less than half the floor
    return train, test


@exercise(
    "transposed_clip",
    chapter="04",
    hint="pack_object(place, turn.mT, angle) transposes every clip. Only the one that was transposed before gets "
    "better by it: compare how far its wrist wanders in both.",
    wrong=[
        lambda batch: 0,
        lambda batch: int(_wandering(batch, batch.object_pose).argmax()),
        lambda batch: int(_wandering(batch, batch.object_pose).argmin()),
    ],
)
def transposed_clip(answer: Callable) -> None:
    """Which clip of the batch has the rotations of its object transposed?"""
    for seed in range(4):
        found = int(answer(_batch(seed)))
        require(0 <= found < HANDS, "the answer is the number of a clip in the batch, counted from 0")
        require(found not in BUSY, "that hand wanders over its object, rightly so: it opens or screws something")
        require(found == BROKEN, "that clip is sound: compare each clip with its own transpose")


def _wandering(batch: Any, object_pose: Any) -> Any:
    """Mean distance (B,) of held wrists from their mean place in the object's frame."""
    from hoi_lib.motion import world_to_object

    wrist = world_to_object(batch.pose, object_pose, batch.wrist_rest)[..., :3] + batch.wrist_rest[:, None]
    held = batch.contact[..., None]
    middle = (wrist * held).sum(1, keepdim=True) / held.sum(1, keepdim=True)
    return ((wrist - middle).norm(dim=-1) * batch.contact).sum(1) / batch.contact.sum(1)


def _batch(seed: int) -> Any:
    """Six made-up clips: objects carried and turned, hands that hold them after a reach; one object transposed."""
    import torch

    from hoi_lib.motion import Batch, object_to_world, pack_object, pack_pose
    from hoi_lib.rotations import axis_angle_to_matrix

    generator = torch.Generator().manual_seed(seed)
    time = torch.linspace(0, 1, FRAMES)[None, :, None]
    start, axis = (torch.randn(HANDS, 1, 3, generator=generator) for _ in range(2))
    turn = axis_angle_to_matrix(time * axis) @ axis_angle_to_matrix(start)
    where = 0.3 * time * torch.randn(HANDS, 1, 3, generator=generator)
    wrist_rest = torch.tensor([0.096, 0.006, 0.006]).expand(HANDS, 3)
    place = 0.1 * torch.nn.functional.normalize(torch.randn(HANDS, 1, 3, generator=generator), dim=-1)
    slip = 0.001 * torch.randn(HANDS, FRAMES, 3, generator=generator)
    reach = (1 - 4 * time).clamp(min=0) * torch.tensor([0.0, 0.0, 0.2])
    transl = place + slip + reach - wrist_rest[:, None]
    for busy in BUSY:
        transl[busy] += 0.25 * time[0] * torch.tensor([0.0, 1.0, 0.0])
    held_still = axis_angle_to_matrix(0.3 * torch.randn(HANDS, 1, 16, 3, generator=generator))
    local = pack_pose(transl, held_still.expand(HANDS, FRAMES, 16, 3, 3))
    stored = turn.clone()
    stored[BROKEN] = turn[BROKEN].mT
    empty = torch.zeros(HANDS, 1, 3)
    return Batch(
        pose=object_to_world(local, pack_object(where, turn), wrist_rest),
        object_pose=pack_object(where, stored),
        valid=torch.ones(HANDS, FRAMES, dtype=torch.bool),
        betas=torch.zeros(HANDS, 10),
        wrist_rest=wrist_rest,
        contact=(time[..., 0] > 0.25).expand(HANDS, FRAMES),
        side=torch.ones(HANDS, dtype=torch.long),
        points=empty,
        normals=empty,
        part=torch.zeros(HANDS, 1, dtype=torch.long),
        hinge=torch.zeros(HANDS, 6),
    )
