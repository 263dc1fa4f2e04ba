"""Hand and object together: distance fields, contact sets, normals, and Eqs. 12–14 on cases worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import equation
from random_batches import random_batch
from scipy.spatial import cKDTree

from hoi_lib import interaction
from hoi_lib.hand import load_hand, named_pose, vertex_normals
from hoi_lib.interaction import (
    ContactSets,
    Fields,
    Interaction,
    contact_sets,
    fields_between,
    full_precision,
    in_object_frame,
    object_points,
    posed_hands,
    skin_normals,
    true_fields,
)
from hoi_lib.losses import contact_loss, distance_loss, edge_loss, penetration_loss
from hoi_lib.motion import object_to_world, pose_object_points, unpack_object, world_to_object

HANDS = {side: load_hand(side) for side in ("left", "right")}
UP = (0.0, 0.0, 1.0)


def at(*rows, frames=1, batch=1):
    """Points (B, L, N, 3), the same in every frame."""
    return torch.tensor(rows, dtype=torch.float64).expand(batch, frames, len(rows), 3).clone()


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def yes(*shape):
    return torch.ones(*shape, dtype=torch.bool)


# --- one vertex, one point ---


@equation("MoEG-HOI", 12)
def test_a_point_at_7_mm_that_should_be_at_3_costs_4_mm_and_a_tenth_of_that_for_the_vertex():
    vertices, points = at((0, 0, 0)), at((0, 0, 0.007))
    truth = fields_between(at((0, 0, 0.003)), vertices)
    assert float(distance_loss(vertices, points, truth, yes(1, 1))) == pytest.approx(0.004 + 0.1 * 0.004, abs=1e-15)
    assert float(distance_loss(vertices, points, truth, yes(1, 1), weight=0.0)) == pytest.approx(0.004, abs=1e-15)


@equation("MoEG-HOI", 12)
def test_a_distance_that_is_too_small_costs_as_much_as_one_that_is_too_large():
    truth = fields_between(at((0, 0, 0.005)), at((0, 0, 0)))
    shallow, deep = (distance_loss(at((0, 0, 0)), at((0, 0, z)), truth, yes(1, 1)) for z in (0.003, 0.007))
    assert float(shallow) == pytest.approx(float(deep)) == pytest.approx(1.1 * 0.002)


@equation("MoEG-HOI", 12)
def test_each_side_of_the_distance_is_a_mean_over_its_own_kind():
    vertices = at((0, 0, 0), (0, 0, 0.1))
    points, true_points = at((0, 0.01, 0), (0, -0.02, 0), (0, 0.03, 0)), at((0, 0.04, 0), (0, -0.04, 0), (0, 0.05, 0))
    truth = fields_between(true_points, vertices)
    to_hand = (0.03 + 0.02 + 0.02) / 3
    far, true_far = (0.01**2 + 0.1**2) ** 0.5, (0.04**2 + 0.1**2) ** 0.5  # of the vertex at 10 cm
    to_object = (0.03 + true_far - far) / 2
    assert float(distance_loss(vertices, points, truth, yes(1, 1))) == pytest.approx(to_hand + 0.1 * to_object)


@equation("MoEG-HOI", 13)
def test_contact_is_the_mean_distance_of_what_touches_in_the_truth_and_of_nothing_else():
    """One point and one vertex touch in the truth (4 mm); in the estimate they are 3 cm apart. The others, 20 cm away,
    never count, though the second point has come to 1 mm of a vertex."""
    true_vertices, true_points = at((0, 0, 0), (0.2, 0, 0)), at((0, 0, 0.004), (0, 0.2, 0))
    contact = contact_sets(fields_between(true_points, true_vertices))
    vertices, points = at((0, 0, 0), (0.2, 0, 0)), at((0, 0, 0.03), (0.2, 0.001, 0))
    assert float(contact_loss(vertices, points, contact, yes(1, 1))) == pytest.approx(0.03 + 0.03)


@equation("MoEG-HOI", 13)
def test_a_perfect_grasp_costs_the_truths_own_distances():
    """Floor of Eq. 13: points 2, 4 and 6 mm above one vertex each give (2 + 4 + 6)/3 mm in both directions."""
    vertices = at((0, 0, 0), (0.1, 0, 0), (0.2, 0, 0))
    points = at((0, 0, 0.002), (0.1, 0, 0.004), (0.2, 0, 0.006))
    contact = contact_sets(fields_between(points, vertices))
    assert float(contact_loss(vertices, points, contact, yes(1, 1))) == pytest.approx(2 * 0.004)


@equation("MoEG-HOI", 13)
def test_contact_begins_at_ten_millimetres_not_metres():
    fields = fields_between(at((0, 0, 0.0099), (1, 0, 0.0101)), at((0, 0, 0), (1, 0, 0)))
    assert contact_sets(fields).points.tolist() == [[[True, False]]]
    assert contact_sets(fields).vertices.tolist() == [[[True, False]]]
    assert contact_sets(fields, 0.02).points.all()


@equation("MoEG-HOI", 13)
def test_without_contact_there_is_no_contact_loss_and_no_pull():
    vertices = rand(2, 3, 4, 3).requires_grad_()
    nothing = ContactSets(~yes(2, 3, 5), ~yes(2, 3, 4))
    loss = contact_loss(vertices, rand(2, 3, 5, 3), nothing, yes(2, 3))
    loss.backward()
    assert float(loss.detach()) == 0 and float(vertices.grad.abs().max()) == 0


@equation("MoEG-HOI", 13)
def test_a_hand_far_from_where_it_touches_is_pulled_back():
    """Sets from the estimate would be empty here, and pull nowhere."""
    contact = contact_sets(fields_between(at((0, 0, 0.001)), at((0, 0, 0))))
    vertices = at((0, 0, -0.3)).requires_grad_()
    contact_loss(vertices, at((0, 0, 0.001)), contact, yes(1, 1)).backward()
    assert torch.allclose(vertices.grad.flatten(), torch.tensor([0.0, 0.0, -2.0], dtype=torch.float64))


@equation("MoEG-HOI", 14)
def test_points_behind_the_skin_cost_their_mean_distance_and_points_before_it_nothing():
    vertices, normals = at((0, 0, 0), (0.1, 0, 0)), at(UP, UP)
    points = at((0, 0, -0.002), (0.1, 0, -0.006), (0, 0, 0.004), (0.1, 0, 0.5))
    assert float(penetration_loss(vertices, normals, points, yes(1, 1))) == pytest.approx((0.002 + 0.006) / 2)
    assert float(penetration_loss(vertices, -normals, points, yes(1, 1))) == pytest.approx((0.004 + 0.5) / 2)


@equation("MoEG-HOI", 14)
def test_nothing_inside_costs_nothing_and_pulls_nowhere():
    vertices = at((0, 0, 0)).requires_grad_()
    loss = penetration_loss(vertices, at(UP), at((0, 0, 0.01), (0.01, 0, 0)), yes(1, 1))
    loss.backward()
    assert float(loss.detach()) == 0 and float(vertices.grad.abs().max()) == 0


@equation("MoEG-HOI", 14)
def test_the_penetration_set_is_the_estimates_and_its_distance_keeps_the_gradient():
    vertices, normals = at((0, 0, 0), (0.1, 0, 0)).requires_grad_(), at(UP, UP).requires_grad_()
    penetration_loss(vertices, normals, at((0, 0, -0.002), (0.1, 0, 0.003)), yes(1, 1)).backward()
    assert torch.allclose(vertices.grad, at((0, 0, 1), (0, 0, 0)))  # the skin goes down, past the point
    assert normals.grad is None


def test_edges_cost_their_mean_absolute_difference_and_a_moved_hand_nothing():
    true = at((0, 0, 0), (1, 0, 0), (0, 2, 0))
    edges = torch.tensor([[0, 1], [0, 2]])
    bent = true + at((0, 0, 0), (0.3, 0, 0), (0, 0, -0.6))
    assert float(edge_loss(bent, true, edges, yes(1, 1))) == pytest.approx((0.3 + 0.6) / 6)
    assert float(edge_loss(true + 5, true, edges, yes(1, 1))) == pytest.approx(0, abs=1e-12)


# --- slow loops, masks, sharing ---


def scene(seed=0, frames=4):
    """Two hands of 40 vertices among 30 points a few centimetres across; the last frames of one are padding."""
    valid = torch.tensor([[True] * frames, [True] * (frames - 2) + [False] * 2])
    vertices, points = 0.02 * rand(2, frames, 40, 3, seed=seed), 0.02 * rand(2, frames, 30, 3, seed=seed + 1)
    normals = torch.nn.functional.normalize(rand(2, frames, 40, 3, seed=seed + 2), dim=-1)
    truth = fields_between(points, vertices + 0.005 * rand(2, frames, 40, 3, seed=seed + 3))
    return Interaction(vertices, normals, points, truth, valid)


@equation("MoEG-HOI", 12)
@equation("MoEG-HOI", 13)
@equation("MoEG-HOI", 14)
def test_all_three_equal_slow_loops_over_trees():
    s = scene()
    rows = {"point": [], "vertex": [], "con_point": [], "con_vertex": [], "pen": []}
    for b, i in s.valid.nonzero().tolist():
        v, p, n = (x[b, i].numpy() for x in (s.vertices, s.points, s.normals))
        to_hand, vertex = cKDTree(v).query(p)
        to_object, _ = cKDTree(p).query(v)
        true_hand, true_object = s.truth.to_hand[b, i].numpy(), s.truth.to_object[b, i].numpy()
        rows["point"] += list(abs(to_hand - true_hand))
        rows["vertex"] += list(abs(to_object - true_object))
        rows["con_point"] += list(to_hand[true_hand <= 0.01])
        rows["con_vertex"] += list(to_object[true_object <= 0.01])
        rows["pen"] += [d for d, q, k in zip(to_hand, p, vertex, strict=True) if (q - v[k]) @ n[k] < 0]
    mean = {name: float(np.mean(values)) for name, values in rows.items()}
    assert min(len(values) for values in rows.values()) > 10
    dist, con, pen = three(s)
    assert float(dist) == pytest.approx(mean["point"] + 0.1 * mean["vertex"])
    assert float(con) == pytest.approx(mean["con_point"] + mean["con_vertex"])
    assert float(pen) == pytest.approx(mean["pen"])


def three(s, **shared):
    return (
        distance_loss(s.vertices, s.points, s.truth, s.valid, **shared),
        contact_loss(s.vertices, s.points, s.contact, s.valid, **shared),
        penetration_loss(s.vertices, s.normals, s.points, s.valid, **shared),
    )


def test_a_search_that_is_shared_changes_no_value():
    s = scene()
    assert all(torch.equal(a, b) for a, b in zip(three(s), three(s, near=s.near), strict=True))
    assert s.near is s.near and s.contact is s.contact


def test_padding_counts_nowhere_and_pulls_nowhere():
    s = scene()
    pad = ~s.valid[..., None, None]
    dirty = replace(s, vertices=s.vertices.masked_fill(pad, 1e6), points=s.points.masked_fill(pad, 0.5))
    leaf = dirty.vertices.requires_grad_()
    for clean, value in zip(three(s), three(dirty), strict=True):
        assert float(value.detach()) == pytest.approx(float(clean), rel=1e-12)
    sum(three(dirty)).backward()
    assert float(leaf.grad.masked_fill(~pad, 0).abs().max()) == 0


def test_no_gradient_reaches_the_truth():
    s = scene()
    to_hand, to_object = (x.clone().requires_grad_() for x in s.truth[:2])
    truth = Fields(to_hand, to_object)
    vertices = s.vertices.requires_grad_()
    total = distance_loss(vertices, s.points, truth, s.valid)
    total = total + contact_loss(vertices, s.points, contact_sets(truth), s.valid)
    total.backward()
    assert to_hand.grad is None and to_object.grad is None and float(vertices.grad.abs().max()) > 0


def test_half_precision_fields_serve_losses_of_any_precision():
    s = scene()
    half = Fields(*(x.half() for x in s.truth[:2]))
    for dtype in (torch.float32, torch.float64):
        value = distance_loss(s.vertices.to(dtype), s.points.to(dtype), half, s.valid)
        assert value.dtype == dtype
        assert float(value) == pytest.approx(float(distance_loss(s.vertices, s.points, s.truth, s.valid)), rel=1e-2)


# --- hands, objects, frames ---


@pytest.fixture(scope="module")
def batch():
    return random_batch((6, 4, 6))


def test_normals_look_out_of_hands_of_either_side_and_close_the_wrist(batch):
    _, vertices = posed_hands(batch.pose, batch.betas, batch.side, HANDS)
    normals = skin_normals(vertices, batch.side, HANDS)
    for b, side in enumerate(("left", "right", "left")):
        hand = HANDS[side]
        expected = vertex_normals(hand.close(vertices[b]), hand.closed_faces)[:, :778]
        assert torch.allclose(normals[b], expected, atol=1e-5)
        volume = torch.linalg.det(hand.close(vertices[b, 0])[hand.closed_faces]).sum() / 6
        grown = torch.linalg.det(hand.close(vertices[b, 0] + 1e-4 * normals[b, 0])[hand.closed_faces]).sum() / 6
        assert 0 < volume < grown


def test_the_size_of_a_block_of_normals_changes_nothing(batch, monkeypatch):
    _, vertices = posed_hands(batch.pose, batch.betas, batch.side, HANDS)
    expected = skin_normals(vertices, batch.side, HANDS)
    monkeypatch.setattr(interaction, "BLOCK_BYTES", 1)
    assert torch.allclose(skin_normals(vertices, batch.side, HANDS), expected, atol=1e-6)
    assert skin_normals(vertices[:, :0], batch.side, HANDS).shape == (3, 0, 778, 3)


@equation("MoEG-HOI", 14)
def test_a_point_in_a_fingertip_is_inside_and_one_before_it_or_behind_the_wrist_is_not():
    hand = HANDS["right"]
    vertices = hand(named_pose("relaxed")).vertices[None, None]
    normals = skin_normals(vertices, torch.tensor([1]), HANDS)
    tip = int(hand.tip_ids[0])
    inside = vertices[0, 0, tip] - 0.004 * normals[0, 0, tip]
    before = vertices[0, 0, tip] + 0.004 * normals[0, 0, tip]
    loop = vertices[0, 0, hand.wrist_loop].mean(0)
    behind = loop + 0.2 * torch.nn.functional.normalize(loop - vertices[0, 0].mean(0), dim=0)
    valid = yes(1, 1)
    found = [float(penetration_loss(vertices, normals, p[None, None, None], valid)) for p in (inside, before, behind)]
    assert 0.001 < found[0] < 0.0045 and found[1] == 0 and found[2] == 0


def test_the_objects_frame_keeps_every_distance_and_leaves_a_rigid_object_where_it_is(batch):
    _, vertices = posed_hands(batch.pose, batch.betas, batch.side, HANDS)
    local = in_object_frame(vertices, batch.object_pose)
    transl, rotation, angle = unpack_object(batch.object_pose)
    points = pose_object_points(batch.points, batch.part, batch.hinge, angle)
    world = points @ rotation.transpose(-1, -2) + transl[..., None, :]
    one, two = fields_between(world, vertices), fields_between(points, local)
    assert torch.allclose(one.to_hand, two.to_hand, atol=1e-6)
    assert torch.allclose(one.to_object, two.to_object, atol=1e-6)
    rigid = replace(batch, part=torch.zeros_like(batch.part))
    assert torch.equal(object_points(rigid), batch.points[:, None].expand(-1, 6, -1, -1))
    assert torch.equal(object_points(batch, slice(1, None, 2), 5), points[:, 1::2, :5])


def test_a_hand_written_in_the_objects_frame_lands_where_the_frame_says(batch):
    local = world_to_object(batch.pose, batch.object_pose, batch.wrist_rest)
    back = object_to_world(local, batch.object_pose, batch.wrist_rest)
    _, direct = posed_hands(local, batch.betas, batch.side, HANDS)
    _, vertices = posed_hands(back, batch.betas, batch.side, HANDS)
    wrists = torch.stack([HANDS[s].rest_wrist(b) for s, b in zip(("left", "right", "left"), batch.betas, strict=True)])
    true = replace(batch, wrist_rest=wrists)
    moved = in_object_frame(vertices, true.object_pose)
    shift = (moved - direct).mean(2, keepdim=True)  # the batch's rest wrists are not the hands' own
    assert torch.allclose(moved - shift, direct, atol=1e-5)


def test_true_fields_are_those_of_the_posed_hand_at_the_chosen_frames(batch):
    found = true_fields(batch, HANDS, slice(1, None, 2), 8)
    _, vertices = posed_hands(batch.pose, batch.betas, batch.side, HANDS)
    local = in_object_frame(vertices, batch.object_pose)[:, 1::2]
    points = object_points(batch)[:, 1::2, :8]
    for b in range(3):
        for i in range(3):
            expected = cKDTree(local[b, i].numpy()).query(points[b, i].numpy())[0]
            assert np.allclose(found.to_hand[b, i].numpy(), expected, atol=2e-5)
            expected = cKDTree(points[b, i].numpy()).query(local[b, i].numpy())[0]
            assert np.allclose(found.to_object[b, i].numpy(), expected, atol=2e-5)
    assert found.vertex is None and not found.to_hand.requires_grad


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_fields_do_not_depend_on_where_the_two_are_together(seed):
    s = scene(seed, frames=2)
    turn = torch.linalg.qr(rand(3, 3, seed=seed))[0]
    moved = fields_between(s.points @ turn + 5, s.vertices @ turn + 5)
    assert torch.allclose(moved.to_hand, s.near.to_hand, atol=1e-12)
    assert torch.allclose(moved.to_object, s.near.to_object, atol=1e-12)


def test_inside_full_precision_neither_autocast_nor_tf32_applies():
    x = torch.randn(4, 4)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert (x @ x).dtype == torch.bfloat16
            with full_precision("cpu"):
                assert (x @ x).dtype == torch.float32
                assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
