"""The stand-in: MANO's layout, the committed file equals a rebuild, and what a good hand needs."""

import copy

import numpy as np
import pytest
import torch
import trimesh

from hoi_lib import standin
from hoi_lib.hand import boundary_loop, load_hand, named_pose
from hoi_lib.rotations import axis_angle_to_matrix
from hoi_lib.standin_mesh import build_mesh, skin
from hoi_lib.standin_skeleton import FINGERS, skeleton, turn


@pytest.fixture(scope="module")
def built():
    return standin.build()


def test_the_committed_file_equals_a_rebuild(built):
    with np.load(standin.ASSET) as file:
        assert set(file.files) == set(built)
        for key, value in built.items():
            assert file[key].dtype == value.dtype, key
            if value.dtype.kind == "f":
                assert np.abs(file[key] - value).max() < 1e-9, key
            else:
                assert (file[key] == value).all(), key


def test_writing_rebuilds_the_same_file(tmp_path):
    a, b = standin.write(tmp_path / "a.npz"), standin.write(tmp_path / "b.npz")
    assert a.read_bytes() == b.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_layout_is_manos(built):
    shapes = {key: value.shape for key, value in built.items()}
    assert shapes["v_template"] == (778, 3) and shapes["f"] == (1538, 3)
    assert shapes["shapedirs"] == (778, 3, 10) and shapes["posedirs"] == (778, 3, 135)
    assert built["f"].dtype == np.uint32 and built["kintree_table"].dtype == np.uint32
    assert built["kintree_table"][0].tolist() == [2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
    assert str(built["bs_style"]) == "lbs" and str(built["bs_type"]) == "lrotmin"


def test_one_open_loop_of_sixteen_and_no_other_flaw(built):
    faces = built["f"].astype(np.int64)
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert np.bincount(uses).tolist() == [0, 16, 2299]
    loop = boundary_loop(faces)
    assert len(loop) == 16 and np.ptp(built["v_template"][loop, 0]) < 1e-9  # cut flat
    assert len(np.unique(faces)) == 778
    mesh = trimesh.Trimesh(built["v_template"], faces, process=False)
    assert mesh.is_winding_consistent and mesh.body_count == 1 and mesh.euler_number == 1


def test_every_vertex_lies_on_the_skin_and_no_triangle_is_a_sliver():
    mesh = build_mesh()
    assert np.abs(skin(mesh.vertices)).max() < 0.05  # millimetres
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    lengths2 = sum(((p - q) ** 2).sum(1) for p, q in ((a, b), (b, c), (c, a)))
    quality = 4 * np.sqrt(3) * area / lengths2  # 1 for an equilateral triangle
    assert quality.min() > 0.1 and np.median(quality) > 0.8


def test_size_of_an_adult_hand(built):
    joints = built["J"]
    assert np.allclose(joints[0], [0.096, 0.006, 0.006])
    tips = {name: skeleton()[name].joints[3] / 1000 for name in FINGERS}
    assert 0.175 < np.linalg.norm(tips["middle"] - joints[0]) < 0.195
    lengths = {name: sum(skeleton()[name].bones) for name in FINGERS}
    assert lengths["middle"] > lengths["ring"] > lengths["index"] > lengths["pinky"]
    assert tips["thumb"][2] > tips["index"][2] > tips["middle"][2] > tips["ring"][2] > tips["pinky"][2]


def test_regressor_is_sparse_and_gives_the_joints(built):
    regressor = built["J_regressor"]
    assert np.abs(regressor @ built["v_template"] - built["J"]).max() < 1e-12
    assert np.allclose(regressor.sum(1), 1) and ((regressor != 0).sum(1) <= 24).all()


def test_weights_are_smooth_sparse_and_do_not_bleed_between_fingers(built):
    weights, faces = built["weights"], built["f"].astype(np.int64)
    assert np.allclose(weights.sum(1), 1) and weights.min() == 0
    assert (weights > 0).sum(1).max() <= 4
    step = np.abs(weights[faces] - weights[np.roll(faces, 1, 1)]).max()
    assert step < 0.75
    mesh = build_mesh()
    for i, name in enumerate(FINGERS):
        others = [j for j in range(1, 16) if not 1 + 3 * i <= j <= 3 + 3 * i]
        assert weights[mesh.owner == name][:, others].max() == 0


@pytest.mark.parametrize("k", range(10))
def test_each_shape_direction_changes_what_its_name_says_by_a_few_per_cent(k, built):
    vertices = built["v_template"] + built["shapedirs"][..., k]
    joints, rest = built["J_regressor"] @ vertices, built["J"]
    length = np.linalg.norm(built["shapedirs"][..., k], axis=-1).max()
    assert 0.0004 < length < 0.010
    bone = lambda j, a, b: np.linalg.norm(j[a] - j[b])  # noqa: E731
    grows = {0: (0, 4), 1: (4, 5), 3: (1, 7), 4: (14, 15), 5: (0, 4), 7: (10, 11), 9: (7, 8)}
    if k in grows:
        a, b = grows[k]
        assert 1.015 < bone(joints, a, b) / bone(rest, a, b) < 1.08
    else:  # flesh only: the joints stay
        assert np.abs(joints - rest).max() < 0.0015


def thickness(hand, joint: int, degrees: float) -> float:
    """Mean distance, in the plane of the bend, from a knuckle to the vertices that both of its bones hold."""
    axis = hand.flexion_axes[joint - 1]
    rotations = torch.eye(3).repeat(16, 1, 1)
    rotations[joint] = axis_angle_to_matrix(axis * float(np.radians(degrees)))
    child, parent = hand.weights[:, joint], hand.weights[:, hand.parents[joint]]
    ring = torch.nonzero((child > 0.3) & (parent > 0.3))[:, 0]
    offset = hand.from_matrices(rotations, torch.zeros(3), vertex_ids=ring).vertices - hand.rest_joints[joint]
    return float((offset - (offset @ axis)[:, None] * axis).norm(dim=-1).mean())


@pytest.mark.parametrize("joint", [2, 5, 8, 11, 3, 6, 15])
def test_a_knuckle_bent_by_90_degrees_does_not_collapse(joint):
    hand, bare = load_hand(), copy.deepcopy(load_hand())
    bare.posedirs.zero_()
    rest = thickness(hand, joint, 0)
    assert thickness(hand, joint, 90) > 0.97 * rest
    assert thickness(bare, joint, 90) < 0.83 * rest  # without the blend shapes it does


def test_the_bent_finger_keeps_its_volume(built):
    hand = load_hand()
    rest, fist = (hand.close(hand(named_pose(n)).vertices).numpy() for n in ("rest", "fist"))
    volume = [trimesh.Trimesh(v, hand.closed_faces.numpy(), process=False).volume for v in (rest, fist)]
    assert abs(volume[1] / volume[0] - 1) < 0.05


def test_the_pinch_touches_and_the_spread_spreads():
    hand = load_hand()
    pinch, spread, rest = (hand(named_pose(n)) for n in ("pinch", "spread", "rest"))
    thumb, index = hand.pads["thumb_tip"], hand.pads["index_tip"]
    assert torch.cdist(pinch.vertices[thumb], pinch.vertices[index]).min() < 0.003
    gap = lambda out: (out.joints[16] - out.joints[18]).norm()  # noqa: E731
    assert gap(spread) > 1.3 * gap(rest)


def test_hands_components_are_an_orthonormal_basis_of_the_sampled_poses(built):
    components, poses = built["hands_components"], standin.sample_poses(standin.POSES)
    assert np.abs(components @ components.T - np.eye(45)).max() < 1e-12
    spread = (built["hands_coeffs"] ** 2).mean(0)
    assert (np.diff(spread) <= 1e-12).all()
    assert spread[:6].sum() > 0.8 * spread.sum()  # a few numbers say most of a pose
    assert np.abs(built["hands_coeffs"] @ components + built["hands_mean"] - poses).max() < 1e-12


def test_mirroring_twice_gives_the_hand_back(built):
    twice = standin.mirrored(standin.mirrored(built))
    for key, value in built.items():
        assert (twice[key] == value).all(), key


def test_turn_is_a_rotation_about_its_axis():
    axis = np.array([1.0, -2.0, 2.0]) / 3
    R = turn(axis, np.radians([0, 90]))
    assert np.allclose(R[0], np.eye(3)) and np.allclose(R[1] @ axis, axis)
    assert np.allclose(R[1], axis_angle_to_matrix(torch.tensor(axis * np.pi / 2)).numpy())
