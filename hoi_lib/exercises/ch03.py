"""Checks of chapter 3, "The hand and its stand-in"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoi_lib.exercises import exercise, require

OPENPOSE = (0, 13, 14, 15, 20, 1, 2, 3, 16, 4, 5, 6, 17, 10, 11, 12, 19, 7, 8, 9, 18)


@exercise(
    "hand_numbers",
    chapter="03",
    hint="(a) The wrist has no pose blend shapes: there is no knuckle to repair. (b) What does the root turn about? "
    "(c) A joint does not move itself, only what hangs on it, and the tips are joints too.",
    wrong=[[144, 20, 2], [15, 20, 2], [135, 21, 2], [135, 20, 3], [135, 20, 1]],
)
def hand_numbers(answer: Sequence[int]) -> None:
    """How many features drive the pose blend shapes, and how many joints move when the root or one knuckle turns?"""
    features, by_root, by_knuckle = answer
    require(features != 144, "(a) the wrist is left out: the whole hand turns with it and nothing bends")
    require(features == 135, "(a) every joint but the wrist gives a matrix minus the identity")
    require(by_root != 21, "(b) MANO turns the hand about its own wrist, not about the origin")
    require(by_root == 20, "(b) count the joints that do not lie at the wrist, tips included")
    require(by_knuckle == 2, "(c) the second joint of a finger carries its third joint and its tip, and stays itself")


@exercise(
    "joint_order",
    chapter="03",
    hint="In this library's order the thumb's joints are 13, 14, 15 and its tip is 20. Each finger needs three joints "
    "and the tip that belongs to it, and MANO has the little finger before the ring finger.",
    wrong=[
        lambda joints: joints,
        lambda joints: joints[..., [0, 13, 14, 15, 1, 2, 3, 4, 5, 6, 10, 11, 12, 7, 8, 9, 20, 16, 17, 19, 18], :],
        lambda joints: joints[..., [0, 13, 14, 15, 20, 1, 2, 3, 16, 4, 5, 6, 17, 7, 8, 9, 18, 10, 11, 12, 19], :],
        lambda joints: joints[..., [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20], :],
    ],
)
def joint_order(answer: Callable) -> None:
    """Does the function turn this library's 21 joints into OpenPose's order?"""
    import torch

    joints = torch.randn(2, 5, 21, 3, generator=torch.Generator().manual_seed(3))
    found = answer(joints)
    require(found.shape == joints.shape, "the shape has to stay (..., 21, 3)")
    for finger, slots in zip(("thumb", "index", "middle", "ring", "little"), range(1, 21, 4), strict=True):
        wanted = joints[..., OPENPOSE[slots : slots + 4], :]
        require(torch.equal(found[..., slots : slots + 4, :], wanted), f"the {finger} finger is not in its place")
    require(torch.equal(found[..., 0, :], joints[..., 0, :]), "the wrist comes first")


@exercise(
    "mirror_hand",
    chapter="03",
    hint="S = diag(−1, 1, 1) mirrors a point. A rotation of mirrored points is S R S: mirror back, turn, mirror again.",
    wrong=[
        lambda transl, rotations: (transl, rotations),
        lambda transl, rotations: (transl * transl.new_tensor([-1, 1, 1]), rotations),
        lambda transl, rotations: (transl * transl.new_tensor([-1, 1, 1]), rotations.mT),
        lambda transl, rotations: (transl, rotations * _signs(rotations)),
    ],
)
def mirror_hand(answer: Callable) -> None:
    """Does the function turn any right hand into its exact left mirror image?"""
    import torch

    from hoi_lib.hand import load_hand
    from hoi_lib.rotations import axis_angle_to_matrix, is_rotation

    generator = torch.Generator().manual_seed(4)
    rotations = axis_angle_to_matrix(0.6 * torch.randn(3, 16, 3, generator=generator))
    transl, betas = torch.randn(3, 3, generator=generator), torch.randn(3, 10, generator=generator)
    left_transl, left_rotations = answer(transl, rotations)
    require(left_rotations.shape == (3, 16, 3, 3), "the rotations have to keep their shape (..., 16, 3, 3)")
    require(is_rotation(left_rotations), "what comes out has to be rotations: is S on both sides of R?")
    right = load_hand("right").from_matrices(rotations, transl, betas)
    left = load_hand("left").from_matrices(left_rotations, left_transl, betas)
    flip = torch.tensor([-1.0, 1.0, 1.0])
    pose = (left.joints - left.joints[:, :1] - (right.joints - right.joints[:, :1]) * flip).abs().max()
    require(pose < 1e-5, "the fingers do not mirror: look at the rotations")
    require(
        torch.allclose(left.vertices, right.vertices * flip, atol=1e-5), "it stands elsewhere: mirror the translation"
    )


@exercise(
    "missing_mean",
    chapter="03",
    hint="The middle joint of a finger is a hinge: it bends towards the palm, hardly ever back. Look at its angle "
    "about flexion_axes() in the most open tenth of the frames.",
    wrong=[
        lambda rotations: False,
        lambda rotations: True,
        lambda rotations: bool(((rotations - rotations.mean(0)) ** 2).mean() > 1e-3),
    ],
)
def missing_mean(answer: Callable) -> None:
    """Does the detector tell files whose mean pose was left out from whole ones, for grasping and for flat hands?"""
    for name, rotations, missing in _files():
        found = answer(rotations)
        require(isinstance(found, bool), "the answer is True or False")
        require(found == missing, f"{name}: it says {found}")


def _signs(rotations: Any) -> Any:
    flip = rotations.new_tensor([-1, 1, 1])
    return flip[:, None] * flip


def _files() -> list[tuple[str, Any, bool]]:
    """Files of absolute rotations (N, 16, 3, 3) by description, and whether the mean pose is missing from them."""
    import numpy as np
    import torch

    from hoi_lib.hand import hand_data
    from hoi_lib.rotations import axis_angle_to_matrix
    from hoi_lib.standin import sample_poses

    mean, files = hand_data()["hands_mean"], []
    for name, whole in (
        ("grasping and open hands", sample_poses(300, seed=11)),
        ("flat hands", np.random.default_rng(12).normal(0, 0.03, (300, 45))),
    ):
        for missing in (False, True):
            numbers = torch.as_tensor(whole - mean * missing).reshape(-1, 15, 3)
            local = torch.cat([torch.zeros(len(numbers), 1, 3), numbers], 1).float()
            files.append((name + (" without their mean" if missing else ""), axis_angle_to_matrix(local), missing))
    return files
