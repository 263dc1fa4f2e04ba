"""The hand: agreement with smplx and with a slow float64 reference, mirror, closed wrist, tips, files, gradients."""

import contextlib
import io

import numpy as np
import pytest
import smplx
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from hoi_lib import standin
from hoi_lib.errors import HandFileError
from hoi_lib.hand import (
    SIDES,
    abduction_axes,
    boundary_loop,
    flexion_axes,
    hand_data,
    load_hand,
    mirror_pose,
    mirror_track,
    named_pose,
    smplx_layer,
    vertex_normals,
)
from hoi_lib.motion import HandTrack, pack_pose, unpack_pose
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import axis_angle_to_matrix
from hoi_lib.standin_skeleton import TIPS

POSES = ("rest", "relaxed", "fist", "pinch", "point", "spread")


def random_hand(seed: int, batch: int = 4, size: float = 0.7):
    g = torch.Generator().manual_seed(seed)
    rotations = axis_angle_to_matrix(torch.randn(batch, 16, 3, generator=g) * size)
    return rotations, torch.randn(batch, 3, generator=g), torch.randn(batch, 10, generator=g)


def reference(data, rotations, transl, betas):
    """Vertices and 16 joints of one frame in float64, one 4 × 4 matrix per joint as the MANO paper prints them."""
    template = data["v_template"] + data["shapedirs"][..., :10] @ betas
    joints = data["J_regressor"] @ template
    posed = template + data["posedirs"] @ (rotations[1:] - np.eye(3)).reshape(135)
    world = [np.eye(4)] * 16
    for j in range(16):
        local = np.eye(4)
        parent = int(data["kintree_table"][0, j]) if j else None
        local[:3, :3] = rotations[j]
        local[:3, 3] = joints[j] - (joints[parent] if j else 0)
        world[j] = local if j == 0 else world[parent] @ local
    places = np.array([w[:3, 3] for w in world])
    vertices = np.zeros((778, 3))
    for j in range(16):
        relative = world[j].copy()
        relative[:3, 3] -= world[j][:3, :3] @ joints[j]
        vertices += data["weights"][:, j, None] * (posed @ relative[:3, :3].T + relative[:3, 3])
    return vertices + transl, places + transl


@pytest.mark.parametrize("side", SIDES)
def test_agrees_with_a_float64_reference(side):
    hand, data = load_hand(side), hand_data(side)
    rotations, transl, betas = (x.double() for x in random_hand(0))
    out = hand.from_matrices(rotations.float(), transl.float(), betas.float())
    for n in range(4):
        vertices, joints = reference(data, rotations[n].numpy(), transl[n].numpy(), betas[n].numpy())
        assert np.abs(out.vertices[n].numpy() - vertices).max() < 1e-6
        assert np.abs(out.joints[n, :16].numpy() - joints).max() < 1e-6


@pytest.mark.parametrize("side", SIDES)
def test_agrees_with_smplx(side):
    layer, hand = smplx_layer(side), load_hand(side)
    rotations, transl, betas = random_hand(1, batch=6)
    theirs = layer(betas=betas, global_orient=rotations[:, :1], hand_pose=rotations[:, 1:], transl=transl)
    ours = hand.from_matrices(rotations, transl, betas)
    assert_close(ours.vertices, theirs.vertices, atol=1e-6, rtol=0)
    assert_close(ours.joints[:, :16], theirs.joints, atol=1e-6, rtol=0)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", [smplx.MANO, smplx.MANOLayer])
def test_smplx_loads_the_stand_in_from_a_folder(kind, side, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "smplx"
    if not folder.exists():
        standin.export(folder)
    options = {"use_pca": False, "flat_hand_mean": True} if kind is smplx.MANO else {}
    with contextlib.redirect_stdout(io.StringIO()):
        layer = kind(str(folder), is_rhand=side == "right", ext="npz", **options)
    assert (layer.faces.astype(int) == load_hand(side).faces.numpy()).all()
    assert_close(layer().vertices[0], load_hand(side).template, atol=1e-6, rtol=0)
    assert layer.parents.tolist() == list(load_hand(side).parents)


def test_smplx_layer_prints_nothing(capsys):
    smplx_layer()
    assert capsys.readouterr().out == ""


def test_the_99_numbers_and_the_matrices_give_the_same_hand():
    rotations, transl, betas = random_hand(2)
    a = load_hand()(pack_pose(transl, rotations), betas)
    b = load_hand().from_matrices(rotations, transl, betas)
    assert_close(a.vertices, b.vertices, atol=1e-6, rtol=0)
    assert_close(a.joints, b.joints, atol=1e-6, rtol=0)


@pytest.mark.parametrize("tips", TIPS)
def test_joints_path_and_vertex_subset_equal_the_whole_mesh(tips):
    hand = load_hand(tips=tips)
    rotations, transl, betas = random_hand(3)
    whole = hand.from_matrices(rotations, transl, betas)
    assert_close(hand.joints(rotations, transl, betas), whole.joints, atol=1e-6, rtol=0)
    ids = torch.tensor([777, 0, 317, 5, 5])
    part = hand.from_matrices(rotations, transl, betas, vertex_ids=ids)
    assert_close(part.vertices, whole.vertices[:, ids], atol=1e-6, rtol=0)
    assert_close(part.joints, whole.joints, atol=1e-6, rtol=0)
    expected = whole.vertices[:, [TIPS[tips][f] for f in ("index", "middle", "pinky", "ring", "thumb")]]
    assert_close(whole.joints[:, 16:], expected)


def test_shapes_of_a_clip_serve_all_its_frames():
    rotations, transl, betas = random_hand(4, batch=6)
    hand, shape = load_hand(), (2, 3)
    clip = hand.joints(rotations.reshape(2, 3, 16, 3, 3), transl.reshape(2, 3, 3), betas[:2])
    alone = hand.joints(rotations, transl, betas[:2].repeat_interleave(3, 0))
    assert_close(clip, alone.reshape(*shape, 21, 3))
    assert_close(hand.joints(rotations, transl, betas[0]), hand.joints(rotations, transl, betas[:1].expand(6, 10)))
    assert_close(hand.joints(rotations, transl), hand.joints(rotations, transl, torch.zeros(10)))


def test_the_wrist_stays_at_its_rest_place_however_the_root_turns():
    rotations, transl, betas = random_hand(5)
    joints = load_hand().joints(rotations, transl, betas)
    assert_close(joints[:, 0], load_hand().rest_wrist(betas) + transl, atol=1e-6, rtol=0)
    assert_close(load_hand().rest_wrist(), torch.tensor([0.096, 0.006, 0.006]), atol=1e-6, rtol=0)


def test_bones_keep_their_lengths_and_only_what_hangs_below_a_joint_moves():
    hand = load_hand()
    rotations = torch.eye(3).repeat(2, 16, 1, 1)
    rotations[1, 5] = axis_angle_to_matrix(torch.tensor([0.3, -0.5, 0.9]))  # the middle finger's second joint
    joints = hand.joints(rotations, torch.zeros(2, 3))
    moved = (joints[1] - joints[0]).norm(dim=-1) > 1e-4
    assert moved.nonzero()[:, 0].tolist() == [6, 17]
    parents = torch.tensor(hand.parents[1:])
    lengths = (joints[:, 1:16] - joints[:, parents]).norm(dim=-1)
    assert_close(lengths[1], lengths[0], atol=1e-6, rtol=0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 3.0))
def test_a_mirrored_pose_gives_the_mirrored_hand(seed, size):
    rotations, transl, betas = random_hand(seed, batch=2, size=size)
    pose, flip = pack_pose(transl, rotations), torch.tensor([-1.0, 1.0, 1.0])
    right, left = load_hand("right")(pose, betas), load_hand("left")(mirror_pose(pose), betas)
    assert_close(left.vertices, right.vertices * flip, atol=1e-6, rtol=0)
    assert_close(left.joints, right.joints * flip, atol=1e-6, rtol=0)
    assert_close(mirror_pose(mirror_pose(pose)), pose)


def test_mirror_track_agrees_with_mirror_pose():
    rotations, transl, betas = random_hand(6)
    track = HandTrack(transl.numpy(), rotations.numpy(), betas[0].numpy(), np.ones(4, bool))
    mirrored = mirror_track(track)
    t, R = unpack_pose(mirror_pose(pack_pose(transl, rotations)))
    assert_close(torch.from_numpy(mirrored.transl), t)
    assert_close(torch.from_numpy(mirrored.rotations), R, atol=1e-6, rtol=0)
    assert mirrored.betas is track.betas


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", POSES)
def test_the_closed_hand_is_watertight_and_faces_outwards(side, name):
    hand = load_hand(side)
    assert len(hand.wrist_loop) == 16 and hand.closed_faces.shape == (1554, 3)
    closed = hand.close(hand(named_pose(name, side)).vertices)
    mesh = trimesh.Trimesh(closed.numpy(), hand.closed_faces.numpy(), process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert 250e-6 < mesh.volume < 420e-6  # 250 to 420 ml, an adult hand


def test_the_open_loop_is_found_in_any_mesh():
    cylinder = trimesh.creation.cylinder(1, 2, sections=9)
    side = cylinder.faces[np.abs(cylinder.face_normals[:, 2]) < 0.5]
    top = cylinder.faces[cylinder.face_normals[:, 2] > 0.5]
    assert len(boundary_loop(np.vstack([side, top]))) == 9
    with pytest.raises(HandFileError, match="closed"):
        boundary_loop(cylinder.faces)
    with pytest.raises(HandFileError, match="more than one hole"):
        boundary_loop(side)


def test_gradients_are_finite_at_rest_and_reach_every_input():
    hand = load_hand()
    rotations = torch.eye(3).repeat(2, 16, 1, 1).requires_grad_()
    transl, betas = torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 10, requires_grad=True)
    out = hand.from_matrices(rotations, transl, betas)
    (out.vertices.square().sum() + out.joints.square().sum()).backward()
    for x in (rotations, transl, betas):
        assert x.grad.isfinite().all() and x.grad.abs().max() > 0
    assert (rotations.grad.flatten(2).abs().amax(-1) > 0).all()


def test_gradient_agrees_with_finite_differences():
    hand = load_hand()
    rotations, transl, betas = (x.double() for x in random_hand(7, batch=1))
    inputs = [x.requires_grad_() for x in (rotations, transl, betas)]
    ids = torch.tensor([10, 400])
    assert torch.autograd.gradcheck(lambda *x: hand.from_matrices(*x, vertex_ids=ids), inputs, atol=1e-6)


@pytest.mark.parametrize("side", SIDES)
def test_flexion_curls_each_finger_towards_the_palm_and_abduction_spreads_it(side):
    hand = load_hand(side)
    for first, tip in zip((1, 4, 7, 10), (16, 17, 18, 19), strict=True):
        rest = hand.joints(torch.eye(3).expand(16, 3, 3), torch.zeros(3))
        for axes, coordinate, sign in ((flexion_axes(side), 1, -1), (abduction_axes(side), 2, 1)):
            rotations = torch.eye(3).repeat(16, 1, 1)
            rotations[first] = axis_angle_to_matrix(torch.tensor(axes[first - 1] * 0.5)).float()
            moved = hand.joints(rotations, torch.zeros(3)) - rest
            assert sign * moved[tip, coordinate] > 0.02
            assert moved[tip].norm() > 0.02


@pytest.mark.parametrize("name", ["index", "middle", "pinky", "ring", "thumb"])
def test_fingertip_vertices_lie_at_the_tip(name):
    hand = load_hand()
    i = ("index", "middle", "pinky", "ring", "thumb").index(name)
    last = hand.rest_joints[3 + 3 * i]
    reach = (hand.template - last)[hand.weights[:, 3 + 3 * i] > 0.9].norm(dim=-1).max()
    for table in TIPS.values():
        assert (hand.template[table[name]] - last).norm() > 0.85 * reach
    assert (hand.template[TIPS["smplx"][name]] - hand.template[TIPS["text2hoi"][name]]).norm() < 0.006


def test_pads_lie_on_the_gripping_side_of_their_own_bone():
    hand = load_hand()
    normals, owner = vertex_normals(hand.template, hand.faces), hand.weights.argmax(1)
    assert set(hand.pads) >= {"index_tip", "thumb_tip", "pinky_inner", "palm"}
    for name, ids in hand.pads.items():
        assert len(ids) >= 5
        if name != "palm":
            joint = int(owner[ids[0]])
            assert (owner[ids] == joint).all()
            assert (normals[ids] @ hand.abduction_axes[joint - 1] < -0.5).all()


def test_vertex_normals_point_outwards_and_turn_with_the_hand():
    hand = load_hand()
    turn = axis_angle_to_matrix(torch.tensor([0.3, -1.0, 0.4]))
    normals = vertex_normals(hand.template, hand.faces)
    assert_close(vertex_normals(hand.template @ turn.T, hand.faces), normals @ turn.T, atol=1e-5, rtol=0)
    mesh = trimesh.Trimesh(hand.close(hand.template).numpy(), hand.closed_faces.numpy(), process=False)
    just_outside = (hand.template + 0.0005 * normals).numpy()[::9]
    assert (ObjectModel.from_mesh(mesh, scale=1.0).signed_distance(just_outside) > 0).mean() > 0.95


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="middle"):
        load_hand("middle")
    with pytest.raises(ValueError, match="no pose"):
        named_pose("wave")


def test_a_hand_is_loaded_once():
    assert load_hand() is load_hand()
    assert load_hand("left").content_hash != load_hand("right").content_hash


# ---------------------------------------------------------------------------------------------------- MANO folders


def test_hoi_mano_dir_switches_the_library_to_the_files_in_it(tmp_path, monkeypatch):
    right = hand_data()
    right["v_template"] = right["v_template"] * 1.5
    np.savez(tmp_path / "MANO_RIGHT.npz", **right)
    monkeypatch.setenv("HOI_MANO_DIR", str(tmp_path))
    assert_close(load_hand().template.double().numpy(), right["v_template"], atol=1e-6, rtol=0)
    monkeypatch.delenv("HOI_MANO_DIR")
    assert load_hand().template.abs().max() < 0.12


@pytest.mark.parametrize("content", ["no folder", "empty", "left missing"])
def test_a_wrong_mano_folder_is_one_clear_line(content, tmp_path, monkeypatch):
    folder = tmp_path / "mano"
    if content != "no folder":
        folder.mkdir()
    if content == "left missing":
        np.savez(folder / "MANO_RIGHT.npz", **hand_data())
    monkeypatch.setenv("HOI_MANO_DIR", str(folder))
    with pytest.raises(HandFileError) as error:
        load_hand("left")
    assert "\n" not in error.value.what and str(folder) in error.value.what
    assert "HOI_MANO_DIR" in error.value.mend


def test_the_left_shape_directions_are_mended_only_on_request(tmp_path):
    right, left = hand_data("right"), hand_data("left")
    np.savez(tmp_path / "MANO_RIGHT.npz", **right)
    np.savez(tmp_path / "MANO_LEFT.npz", **{**left, "shapedirs": right["shapedirs"]})  # the fault of the official file
    good = torch.tensor(left["shapedirs"]).float()
    assert_close(load_hand("left", tmp_path, fix_left_shapedirs=True).shapedirs, good)
    assert not torch.allclose(load_hand("left", tmp_path).shapedirs, good, atol=1e-4)
    assert_close(load_hand("left", fix_left_shapedirs=True).shapedirs, good)
