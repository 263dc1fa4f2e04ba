"""Grasps: the fingers' 21 numbers, the arm, the library that is shipped, and solving afresh."""

from collections import defaultdict

import numpy as np
import pytest
import torch

from hoi_lib.data import library
from hoi_lib.data.approach import finger_share, opened, wrist_share
from hoi_lib.data.body import discomfort, forearm, hand_frame, wrist_bend
from hoi_lib.data.choreography import turn
from hoi_lib.data.fingers import DOF, LIMITS, fingers_of
from hoi_lib.data.grasps import Field, mirrored, solve
from hoi_lib.data.people import PEOPLE
from hoi_lib.data.repertoire import FAMILIES, SLOTS
from hoi_lib.hand import load_hand
from hoi_lib.objects import HELD_OUT_SEEDS, catalogue, load_object
from hoi_lib.rotations import is_rotation


@pytest.fixture(scope="module")
def hand():
    return load_hand("right")


def test_bends_come_back_from_the_rotations_they_make(hand):
    shape = fingers_of(hand)
    dof = LIMITS[:, 0] + torch.rand(50, DOF, generator=torch.Generator().manual_seed(0)) * (LIMITS[:, 1] - LIMITS[:, 0])
    dof[:, 15:] = 0
    angles = shape.angles(shape.rotations(dof))
    torch.testing.assert_close(angles[..., 0], dof[:, :15], atol=1e-4, rtol=0)
    assert angles[..., 1:].abs().max() < 1e-4
    assert is_rotation(shape.rotations(dof))


def test_both_hands_take_the_same_numbers(hand):
    left, right = (fingers_of(load_hand(side)) for side in ("left", "right"))
    dof = torch.rand(DOF, generator=torch.Generator().manual_seed(1)) * 0.5
    flip = torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(left.rotations(dof), right.rotations(dof) * flip[:, None] * flip, atol=1e-6, rtol=0)


def test_pads_look_out_of_the_palm(hand):
    shape = fingers_of(hand)
    for name in ("index_3", "middle_2", "pinky_3", "palm"):
        pairs = shape.pads[name]
        out = hand.template[pairs[:, 0]] - hand.template[pairs[:, 1]]
        assert (torch.nn.functional.normalize(out, dim=-1)[:, 1] < -0.6).all(), name


def test_a_straight_wrist_is_not_bent_and_a_folded_one_is():
    wrist = np.array([[0.1, 0.1, 0.15]])
    root = np.eye(3)[None]
    for _ in range(20):  # turn the hand until it continues the forearm
        along = hand_frame(root, "right")[0]
        target = forearm(wrist, along, "right")
        axis = np.cross(along, target)[0]
        angle = np.arcsin(np.clip(np.linalg.norm(axis), 0, 1))
        if np.linalg.norm(axis) < 1e-9:
            break
        root = turn(axis, np.array([angle])) @ root
    assert wrist_bend(wrist, root, "right")[0] < 5
    assert wrist_bend(wrist, turn(root[0][:, 2], np.array([2.0])) @ root, "right")[0] > 50


def test_the_body_is_its_own_mirror_image():
    rng = np.random.default_rng(0)
    root = np.stack([np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(20)])
    root *= np.sign(np.linalg.det(root))[:, None, None]
    wrist = rng.uniform(-0.2, 0.3, (20, 3))
    flip = np.array([-1.0, 1, 1])
    np.testing.assert_allclose(
        discomfort(wrist * flip, root * flip[:, None] * flip, "left"), discomfort(wrist, root, "right"), atol=1e-9
    )


def test_opening_never_bends_a_finger_backwards():
    dof = torch.rand(30, DOF, generator=torch.Generator().manual_seed(2)) * 1.2
    wide = opened(dof, "power", 1.0)
    assert (wide <= dof + 1e-6).all() and (wide[:, :15] >= torch.minimum(dof, LIMITS[:, 0])[:, :15] - 1e-6).all()
    torch.testing.assert_close(opened(dof, "power", 0.0), dof)
    tripod = opened(dof, "tripod", 1.0)
    torch.testing.assert_close(tripod[:, 6:12], dof[:, 6:12])  # the little and the ring finger do not take part


def test_fingers_open_before_the_wrist_leaves():
    u = np.linspace(0, 1, 50)
    fingers, wrist = finger_share(u), wrist_share(u)
    assert fingers[0] == wrist[0] == 0 and fingers[-1] == wrist[-1] == 1
    assert (fingers >= wrist).all()


def test_the_shipped_library_fits_this_hand_and_these_objects(hand):
    shipped = library.read(library.ASSET, hand)
    wanted = {*catalogue(), *library.SHAPES}
    assert wanted <= set(shipped.objects())
    assert [name for name in wanted if not shipped.fits(name)] == []
    assert library.ASSET.stat().st_size < 3_000_000
    assert not set(library.SHAPES) & {f"shape_{seed}" for seed in HELD_OUT_SEEDS}


def test_the_shipped_grasps_are_good(hand):
    shipped = library.read(library.ASSET, hand)
    touch = defaultdict(list)
    for key, rows in shipped.arrays.items():
        name, slot, _ = key.split("/")
        touch[SLOTS[load_object(name).category][slot].family].append(rows[..., 7].ravel())
    depth = np.concatenate([rows[..., 6].ravel() for rows in shipped.arrays.values()])
    assert np.isfinite(depth).all() and np.median(depth) < 0.001 and np.quantile(depth, 0.99) < 0.004
    assert set(touch) == set(FAMILIES)
    for family, shares in touch.items():
        share = np.concatenate(shares)
        if family == "clamp":  # a flat hand is larger than most of what it holds
            assert share.mean() > 0.5
        else:
            assert np.mean(share > 0.6) > (0.85 if family == "power" else 0.97), family


@pytest.mark.parametrize("name, slot", [("can_medium", "power"), ("phone_medium", "spread")])
def test_solving_afresh_gives_grasps_as_good_as_the_shipped_ones(hand, name, slot):
    model = load_object(name)
    betas = torch.tensor(PEOPLE["s01"].betas)[None]
    (grasps,) = solve(hand, Field(model), SLOTS[model.category][slot], betas, count=3, tries=16, seed=3)
    assert (grasps.depth < 0.006).all() and grasps.touch.max() > 0.6
    assert is_rotation(grasps.rotation)
    dof = grasps.dof[:, 0]
    assert ((dof > LIMITS[:, 0] - 0.2) & (dof < LIMITS[:, 1] + 0.2)).all()


def test_the_measured_depth_is_the_exact_one(hand):
    entry = library.read(library.ASSET, hand).entry("can_medium", "can", "power", "right", "s01")
    shape, model = fingers_of(hand), load_object("can_medium")
    betas = torch.tensor(PEOPLE["s01"].betas)
    for i in range(len(entry)):
        rotations = torch.cat(
            [torch.tensor(entry.rotation[i])[None].float(), shape.rotations(torch.tensor(entry.dof[i, 0]).float())]
        )
        vertices = hand.from_matrices(
            rotations, torch.tensor(entry.wrist[i]).float() - hand.rest_wrist(betas), betas
        ).vertices
        exact = max(0.0, -float(model.signed_distance(vertices.numpy()).min()))
        assert exact <= entry.depth[i] + 0.0015


def test_a_mirrored_grasp_is_mirrored(hand):
    model = load_object("ball_small")
    (grasps,) = solve(hand, Field(model), SLOTS["ball"]["spread"], torch.zeros(1, 10), count=1, tries=4, seed=0)
    twice = mirrored(mirrored(grasps))
    torch.testing.assert_close(twice.rotation, grasps.rotation)
    assert mirrored(grasps).wrist[0, 0] == -grasps.wrist[0, 0]


def test_a_filled_mug_has_no_inside():
    field = Field(load_object("mug_medium"))
    middle = torch.zeros(1, 3)
    assert field.distances(middle, None)[0] > 0.02 > -0.02 > field.distances(middle, None, full=True)[0]
    outside = torch.tensor([[0.0, 0.07, 0.0]])
    open_, full = field.distances(outside, None)[0], field.distances(outside, None, full=True)[0]
    torch.testing.assert_close(full, open_, atol=0.0015, rtol=0)  # a grid of two millimetres
