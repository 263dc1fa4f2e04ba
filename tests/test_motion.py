"""Records and coordinates: round trips, padding, and a hand that stays where it is whatever frame describes it."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_batches import random_batch, random_sample

from hoi_lib.hand import load_hand
from hoi_lib.motion import (
    FPS,
    POSE_DIM,
    RICH_OBJECT_DIM,
    Batch,
    MotionClip,
    ObjectTrack,
    Sample,
    collate,
    hand_track,
    object_to_world,
    pack_object,
    pack_pose,
    pose_object_points,
    rich_trajectory,
    unpack_object,
    unpack_pose,
    with_hands,
    world_to_object,
)
from hoi_lib.rotations import axis_angle_to_matrix, is_rotation

F64 = torch.float64


def rotations(*shape, seed=0):
    return axis_angle_to_matrix(torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed), dtype=F64) * 2)


# --- packing ---


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_poses_and_objects_come_back_from_their_numbers(seed):
    gen = torch.Generator().manual_seed(seed)
    transl, turn = torch.randn(2, 3, 3, generator=gen, dtype=F64), rotations(2, 3, 16, seed=seed)
    pose = pack_pose(transl, turn)
    assert pose.shape == (2, 3, POSE_DIM) and pose.dtype == F64
    back = unpack_pose(pose)
    assert torch.equal(back[0], transl) and torch.allclose(back[1], turn, atol=1e-12)
    angle = torch.randn(2, 3, generator=gen, dtype=F64)
    back = unpack_object(pack_object(transl, turn[..., 0, :, :], angle))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(back, (transl, turn[..., 0, :, :], angle), strict=True))


def test_the_numbers_are_laid_out_as_translation_then_two_columns_row_by_row():
    transl, turn = torch.tensor([1.0, 2, 3]), torch.arange(144.0).reshape(16, 3, 3)
    pose = pack_pose(transl, turn)
    assert pose[:3].tolist() == [1, 2, 3] and pose[3:9].tolist() == [0, 1, 3, 4, 6, 7]
    assert pose[93:].tolist() == [135, 136, 138, 139, 141, 142]


def test_a_rigid_object_has_angle_zero():
    assert float(pack_object(torch.ones(4, 3), rotations(4).float())[..., 9].abs().max()) == 0


def test_unpacked_rotations_are_orthonormal_whatever_the_numbers():
    assert is_rotation(unpack_pose(torch.randn(5, POSE_DIM, generator=torch.Generator().manual_seed(0)))[1])


# --- coordinates ---


def test_object_coordinates_and_back_are_exact():
    batch = random_batch(dtype=F64)
    inside = world_to_object(batch.pose, batch.object_pose, batch.wrist_rest)
    assert torch.allclose(object_to_world(inside, batch.object_pose, batch.wrist_rest), batch.pose, atol=1e-12)
    assert torch.equal(inside[..., 9:], batch.pose[..., 9:])  # fingers keep their very numbers
    assert not torch.allclose(inside[..., :9], batch.pose[..., :9], atol=0.1)


def test_float32_keeps_the_hand_within_a_micrometre_or_so():
    batch = random_batch()
    inside = world_to_object(batch.pose, batch.object_pose, batch.wrist_rest)
    back = object_to_world(inside, batch.object_pose, batch.wrist_rest)
    assert (back - batch.pose).abs().max() < 3e-6


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_hand_described_in_the_objects_frame_is_the_same_hand(side):
    """Every vertex, posed in the object's frame and then carried along with the object, is where it was."""
    hand, batch = load_hand(side), random_batch((6, 6), dtype=F64)
    batch = replace(batch, wrist_rest=hand.rest_wrist(batch.betas))
    world = hand(batch.pose, batch.betas).vertices
    inside = hand(world_to_object(batch.pose, batch.object_pose, batch.wrist_rest), batch.betas).vertices
    transl, turn, _ = unpack_object(batch.object_pose)
    carried = torch.einsum("blij,blvj->blvi", turn, inside) + transl[:, :, None]
    assert (carried - world).abs().max() < 1e-6  # metres


def test_the_wrong_wrist_moves_the_hand():
    hand, batch = load_hand("right"), random_batch((6,), dtype=F64)
    inside = world_to_object(batch.pose, batch.object_pose, torch.zeros(1, 3, dtype=F64))
    transl, turn, _ = unpack_object(batch.object_pose)
    carried = torch.einsum("blij,blvj->blvi", turn, hand(inside, batch.betas).vertices) + transl[:, :, None]
    assert (carried - hand(batch.pose, batch.betas).vertices).abs().max() > 1e-2


def test_coordinates_pass_gradients():
    batch = random_batch((3,), dtype=F64)
    place, wrist = batch.object_pose, batch.wrist_rest
    for change in (world_to_object, object_to_world):
        pose = batch.pose.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda p, change=change: change(p, place, wrist), (pose,), atol=1e-6)


# --- trajectories ---


def test_the_rich_trajectory_is_what_an_even_motion_feels_like():
    steps = torch.arange(5, dtype=F64)
    spin = torch.tensor([0.0, 0.0, 0.1], dtype=F64)  # radians per frame about the vertical
    turn = axis_angle_to_matrix(steps[:, None] * spin)
    transl = torch.tensor([2.0, 3.0, 1.0], dtype=F64) + steps[:, None] * torch.tensor([0.0, 0.0, 0.02], dtype=F64)
    rich = rich_trajectory(pack_object(transl, turn, 0.05 * steps)[None])[0]
    assert rich.shape == (5, RICH_OBJECT_DIM)
    moved, pose, displaced, speed, angular, hinge, gravity = rich.split([3, 7, 3, 3, 3, 1, 3], -1)
    assert torch.allclose(moved, transl - transl[0])
    assert torch.equal(pose, pack_object(transl, turn, 0.05 * steps)[:, 3:])
    assert torch.allclose(displaced, transl - transl[0])  # along the axis of the turn nothing changes
    assert torch.allclose(speed[1:, 2], torch.tensor(0.02 * FPS, dtype=F64)) and float(speed[0].abs().max()) == 0
    assert torch.allclose(angular[1:], spin * FPS) and torch.allclose(hinge[1:], torch.tensor(0.05 * FPS, dtype=F64))
    assert torch.allclose(gravity, torch.tensor([0.0, 0, -1], dtype=F64))


def test_what_the_object_feels_does_not_depend_on_the_heading_of_the_world():
    sample = random_sample(dtype=F64)
    transl, turn, angle = unpack_object(sample.object_pose)
    heading = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 1.2], dtype=F64))
    turned = pack_object(transl @ heading.T + 5, heading @ turn, angle)
    felt, felt_turned = (rich_trajectory(x[None])[0, :, 10:] for x in (sample.object_pose, turned))
    assert torch.allclose(felt, felt_turned, atol=1e-9)


def test_gravity_points_down_in_the_objects_axes():
    transl, turn = torch.zeros(1, 1, 3, dtype=F64), rotations(1, 1)
    gravity = rich_trajectory(pack_object(transl, turn))[0, 0, -3:]
    assert torch.allclose(turn[0, 0] @ gravity, torch.tensor([0.0, 0, -1], dtype=F64), atol=1e-9)


def test_a_trajectory_never_looks_ahead_and_knows_its_place_only_if_asked():
    place = random_batch((9,), dtype=F64).object_pose
    assert torch.allclose(rich_trajectory(place)[:, :5], rich_trajectory(place[:, :5]))
    assert torch.equal(rich_trajectory(place, placed=True)[..., :3], place[..., :3])
    assert torch.equal(rich_trajectory(place)[..., :3], place[..., :3] - place[:, :1, :3])


# --- batches ---


def test_collate_pads_with_the_last_frame_and_marks_it_invalid():
    samples = [random_sample(n, side=i % 2, seed=i) for i, n in enumerate((4, 7, 2))]
    samples[1] = replace(samples[1], contact=torch.tensor([False, True, True, False, False, False, True]))
    batch = collate(samples)
    assert batch.pose.shape == (3, 7, 99) and len(batch) == 3 and batch.side.tolist() == [0, 1, 0]
    assert batch.valid.sum(1).tolist() == [4, 7, 2] and batch.contact.sum(1).tolist() == [0, 3, 0]
    assert torch.equal(batch.pose[2, 2:], batch.pose[2, 1:2].expand(5, -1))
    assert torch.equal(batch.object_pose[0, 4:], samples[0].object_pose[3:].expand(3, -1))
    assert is_rotation(unpack_pose(batch.pose)[1])


def test_collate_keeps_each_sample_as_it_was():
    samples = [random_sample(n, side=i % 2, seed=i) for i, n in enumerate((4, 7))]
    batch = collate(samples, 10)
    assert batch.pose.shape[1] == 10
    for b, sample in enumerate(samples):
        for f in fields(Sample):
            there, here = getattr(batch, f.name)[b], getattr(sample, f.name)
            framewise = f.name in ("pose", "object_pose", "valid", "contact")
            if isinstance(here, torch.Tensor):
                assert torch.equal(there[: len(here)] if framewise else there, here)
            else:
                assert there == here


def test_collate_cuts_to_a_shorter_length():
    assert collate([random_sample(9)], 5).pose.shape == (1, 5, 99)


def test_a_frame_in_which_the_hand_takes_no_part_stays_invalid():
    sample = replace(random_sample(5), valid=torch.tensor([True, False, True, True, False]))
    assert collate([sample], 7).valid[0].tolist() == [True, False, True, True, False, False, False]


def test_a_batch_moves_whole_to_a_device():
    batch = random_batch().to("meta")
    for f in fields(Batch):
        value = getattr(batch, f.name)
        assert value.device.type == "meta" if isinstance(value, torch.Tensor) else len(value) == 4


# --- hinges and clips ---


def test_a_moving_part_turns_about_its_hinge_and_the_base_stays():
    points = torch.tensor([[[1.0, 0, 0], [2.0, 0, 0], [1.0, 1, 0]]], dtype=F64)
    part, hinge = torch.tensor([[1, 1, 0]]), torch.tensor([[1.0, 0, 0, 0, 0, 1]], dtype=F64)
    angle = torch.tensor([[0.0, torch.pi / 2]], dtype=F64)
    posed = pose_object_points(points, part, hinge, angle)
    assert torch.allclose(posed[:, 0], points)
    turned = torch.tensor([[1.0, 0, 0], [1.0, 1, 0], [1.0, 1, 0]], dtype=F64)  # on the hinge; turned; base
    assert torch.allclose(posed[0, 1], turned, atol=1e-12)


def test_every_sample_turns_about_its_own_hinge():
    points, part = torch.randn(3, 8, 3, dtype=F64), torch.ones(3, 8, dtype=torch.long)
    axis = torch.nn.functional.normalize(torch.randn(3, 3, dtype=F64), dim=-1)
    hinge, angle = torch.cat([torch.randn(3, 3, dtype=F64), axis], -1), torch.randn(3, 4, dtype=F64)
    posed = pose_object_points(points, part, hinge, angle)
    for b in range(3):
        for i in range(4):
            turn = axis_angle_to_matrix(axis[b] * angle[b, i])
            want = (points[b] - hinge[b, :3]) @ turn.T + hinge[b, :3]
            assert torch.allclose(posed[b, i], want, atol=1e-12)


def test_a_rigid_object_ignores_its_angle():
    points, part = torch.randn(1, 4, 3), torch.ones(1, 4, dtype=torch.long)
    assert torch.allclose(pose_object_points(points, part, torch.zeros(1, 6), torch.ones(1, 2))[0, 1], points[0])


def test_a_track_and_a_clip_are_made_from_numbers():
    sample = random_sample(6)
    track = hand_track(sample.pose.requires_grad_(), sample.betas)
    assert track.transl.shape == (6, 3) and track.rotations.shape == (6, 16, 3, 3) and track.valid.all()
    assert all(isinstance(x, np.ndarray) for x in (track.transl, track.rotations, track.betas, track.valid))
    place = ObjectTrack("mug_small", "mug", np.zeros((6, 3)), np.tile(np.eye(3), (6, 1, 1)))
    clip = MotionClip("c", {"left": track}, place, "pour", "s01", "Pour.")
    other = with_hands(clip, {"right": track})
    assert clip.frames == 6 and clip.fps == FPS and set(other.hands) == {"right"} and set(clip.hands) == {"left"}
