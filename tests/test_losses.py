"""Losses: values worked out by hand, slow loops, masks, finite differences, and the table that sums them.

The losses between hand and object (Eqs. 12–14) and the edges have their own file, test_interaction.py.
"""

from dataclasses import replace

import pytest
import torch
from marks import equation
from random_batches import random_batch

from hoi_lib.errors import ConfigError
from hoi_lib.hand import load_hand
from hoi_lib.interaction import Interaction, fields_between
from hoi_lib.losses import (
    LOSSES,
    Prediction,
    acceleration_loss,
    balance_loss,
    compare,
    diffusion_loss,
    posed_hands,
    reconstruction_loss,
    squared_distance,
    total_loss,
)

VALID = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


EDGES = torch.tensor([[0, 1], [1, 2], [2, 0]])


def prediction(valid=VALID, seed=0):
    """Random numbers, joints and skin; an object of seven points spread through the skin; whatever Eq. 9 gave."""
    numbers, true_numbers = (rand(2, 6, 7, seed=seed + i) for i in range(2))
    joints, true_joints = (rand(2, 6, 5, 3, seed=seed + 2 + i) for i in range(2))
    vertices, true_vertices = (rand(2, 6, 9, 3, seed=seed + 4 + i) for i in range(2))
    beside = between(vertices, true_vertices, valid)
    balance = torch.tensor(3.0, dtype=torch.float64)
    return Prediction(
        numbers, true_numbers, joints, true_joints, vertices, true_vertices, valid, beside, balance, EDGES
    )


def between(vertices, true_vertices, valid):
    points, normals = 0.5 * rand(2, 6, 7, 3, seed=90), torch.nn.functional.normalize(rand(2, 6, 9, 3, seed=91), dim=-1)
    return Interaction(vertices, normals, points, fields_between(points, true_vertices), valid)


def perfect(seed=0):
    """The truth itself, its object 1 m in front of the palm: no contact and nothing inside."""
    p = prediction(seed=seed)
    normals = torch.zeros_like(p.true_vertices) + torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    points = 0.1 * rand(2, 6, 7, 3) + p.true_vertices.amax((2, 3))[..., None, None] + 1
    beside = Interaction(p.true_vertices, normals, points, fields_between(points, p.true_vertices), p.valid)
    return replace(p, numbers=p.true_numbers, joints=p.true_joints, vertices=p.true_vertices, interaction=beside)


# --- analytic ---


@equation("MoEG-HOI", 10)
def test_a_constant_error_costs_its_square():
    truth = rand(2, 6, 7)
    assert float(diffusion_loss(truth + 0.5, truth, VALID)) == pytest.approx(0.25)


@equation("MoEG-HOI", 11)
def test_a_shift_of_three_and_four_centimetres_costs_its_squared_length_twice():
    joints, vertices = rand(2, 6, 5, 3), rand(2, 6, 9, 3, seed=1)
    shift = torch.tensor([0.03, 0.04, 0.0], dtype=torch.float64)
    assert float(reconstruction_loss(joints + shift, joints, vertices + shift, vertices, VALID)) == pytest.approx(0.005)
    assert float(squared_distance(joints + shift, joints, VALID)) == pytest.approx(0.0025)


@equation("MoEG-HOI", 15)
def test_a_vertex_at_0_1_4_9_16_costs_two():
    path = torch.zeros(1, 5, 1, 3, dtype=torch.float64)
    path[0, :, 0, 1] = torch.tensor([0.0, 1, 4, 9, 16])
    assert float(acceleration_loss(path, torch.ones(1, 5, dtype=torch.bool))) == 2
    assert float(acceleration_loss(path, torch.tensor([[True, True, True, True, False]]))) == 2


@equation("MoEG-HOI", 15)
def test_even_motion_costs_nothing_and_a_still_hand_has_no_gradient():
    even = torch.arange(6.0, dtype=torch.float64)[None, :, None, None] * rand(2, 1, 9, 3)
    assert float(acceleration_loss(even, VALID)) < 1e-12
    still = torch.ones(2, 6, 9, 3, dtype=torch.float64, requires_grad=True)
    acceleration_loss(still, VALID).backward()
    assert float(still.grad.abs().max()) == 0


@equation("MoEG-HOI", 15)
@pytest.mark.parametrize("frames", [1, 2])
def test_a_clip_without_three_frames_has_no_acceleration(frames):
    vertices = rand(2, frames, 9, 3).requires_grad_()
    loss = acceleration_loss(vertices, torch.ones(2, frames, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0 and float(vertices.grad.abs().max()) == 0


@equation("MoEG-HOI", 10)
@equation("MoEG-HOI", 11)
@equation("MoEG-HOI", 12)
@equation("MoEG-HOI", 14)
def test_a_perfect_prediction_costs_nothing_but_its_floors():
    """Eq. 9 is at least 1 per group and branch (3 here), Eq. 13 what touches in the truth (nothing here: see
    test_interaction.py), and Eq. 15 the true skin's own acceleration."""
    p = perfect()
    _, raw = total_loss(p, {"edge": 1.0})
    assert {name for name, value in raw.items() if float(value) != 0} == {"acc", "balance"}
    second = p.true_vertices[:, 2:] - 2 * p.true_vertices[:, 1:-1] + p.true_vertices[:, :-2]
    lengths = torch.linalg.norm(second, dim=-1)
    assert float(raw["acc"]) == pytest.approx(float(torch.cat([lengths[0], lengths[1, :2]]).mean()))
    assert float(raw["balance"]) == 3


@equation("MoEG-HOI", 9)
def test_even_experts_cost_one_per_group_and_a_collapsed_choice_the_number_of_experts():
    even = torch.full((9, 3, 3), 1e-3) + torch.eye(3).repeat(3, 1)[:, None]
    even = even / even.sum(-1, keepdim=True)
    collapsed = torch.eye(3)[torch.zeros(9, 3, dtype=torch.long)]
    assert float(balance_loss([even])) == pytest.approx(3 * 1.0, abs=1e-4)
    assert float(balance_loss([collapsed])) == pytest.approx(3 * 3.0)


# --- equivalence ---


@equation("MoEG-HOI", 10)
@equation("MoEG-HOI", 11)
@equation("MoEG-HOI", 15)
def test_every_term_equals_its_slow_loop():
    p = prediction()
    diff, joint, vertex, acc = [], [], [], []
    for b in range(2):
        for i in range(6):
            if not p.valid[b, i]:
                continue
            diff += [(p.numbers[b, i, x] - p.true_numbers[b, i, x]) ** 2 for x in range(7)]
            joint += [sum((p.joints[b, i, j] - p.true_joints[b, i, j]) ** 2) for j in range(5)]
            vertex += [sum((p.vertices[b, i, v] - p.true_vertices[b, i, v]) ** 2) for v in range(9)]
            if i >= 2:
                acc += [torch.linalg.norm(_second(p.vertices[b, :, v], i)) for v in range(9)]
    _, raw = total_loss(p)
    assert float(raw["diff"]) == pytest.approx(_mean(diff))
    assert float(raw["rec"]) == pytest.approx(_mean(joint) + _mean(vertex))
    assert float(raw["acc"]) == pytest.approx(_mean(acc))


def _mean(rows):
    return float(sum(rows) / len(rows))


def _second(path, i):
    return path[i] - 2 * path[i - 1] + path[i - 2]


# --- property ---


def test_nothing_in_the_padding_is_counted():
    p = prediction()
    noisy = {
        name: torch.where(VALID.view(2, 6, *[1] * (x.ndim - 2)), x, torch.tensor(1e6, dtype=x.dtype))
        for name in ("numbers", "joints", "vertices")
        for x in [getattr(p, name)]
    }
    i = p.interaction
    beside = Interaction(noisy["vertices"], i.normals, i.points, i.truth, i.valid)
    weights = {"edge": 1.0}
    other = total_loss(replace(p, **noisy, interaction=beside), weights)[1]
    for name, value in total_loss(p, weights)[1].items():
        assert float(other[name]) == pytest.approx(float(value), rel=1e-12), name


def test_an_acceleration_needs_three_valid_frames():
    vertices, valid = rand(1, 7, 2, 3), torch.tensor([[True, True, False, True, True, True, False]])
    only = torch.linalg.norm(vertices[0, 5] - 2 * vertices[0, 4] + vertices[0, 3], dim=-1).mean()
    assert float(acceleration_loss(vertices, valid)) == pytest.approx(float(only))


def test_a_batch_without_a_valid_frame_costs_nothing_and_pulls_nowhere():
    p = prediction(valid=torch.zeros(2, 6, dtype=torch.bool))
    leaves = [x.requires_grad_() for x in (p.numbers, p.joints, p.vertices)]
    p = replace(p, interaction=between(p.vertices, p.true_vertices, p.valid))
    total, raw = total_loss(p, {"edge": 1.0})
    total.backward()
    assert all(float(value.detach()) == 0 for name, value in raw.items() if name != "balance")
    assert all(float(x.grad.abs().max()) == 0 for x in leaves)


def test_thinning_equal_errors_leaves_the_loss_alone():
    p = prediction()
    p = replace(p, vertices=p.true_vertices + 0.01)
    thin = replace(p, vertices=p.vertices[:, :, ::3], true_vertices=p.true_vertices[:, :, ::3])
    assert float(total_loss(p)[1]["rec"]) == pytest.approx(float(total_loss(thin)[1]["rec"]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_keep_the_number_type(dtype):
    p = cast(prediction(), dtype)
    total, raw = total_loss(p, {"edge": 1.0})
    assert total.dtype == dtype and all(value.dtype == dtype for value in raw.values())


def cast(p, dtype):
    def change(x):
        return x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    i = p.interaction
    truth = i.truth._replace(to_hand=change(i.truth.to_hand), to_object=change(i.truth.to_object))
    beside = Interaction(change(i.vertices), change(i.normals), change(i.points), truth, i.valid)
    return Prediction(**{k: change(getattr(p, k)) for k in p.__dataclass_fields__} | {"interaction": beside})


# --- gradient ---


@pytest.mark.parametrize("name", LOSSES)
@equation("MoEG-HOI", 10)
@equation("MoEG-HOI", 11)
@equation("MoEG-HOI", 12)
@equation("MoEG-HOI", 13)
@equation("MoEG-HOI", 14)
@equation("MoEG-HOI", 15)
def test_gradients_agree_with_finite_differences(name):
    p = prediction()
    p = replace(p, vertices=p.true_vertices + 0.02 * rand(2, 6, 9, 3, seed=5), balance=p.balance.requires_grad_())
    near_truth = p.true_vertices[:, :, :7] + 0.004 * rand(2, 6, 7, 3, seed=6)  # some within τ, some not
    truth = fields_between(near_truth, p.true_vertices)

    def loss(numbers, joints, vertices, points, balance):
        beside = Interaction(vertices, p.interaction.normals, points, truth, p.valid)
        changed = replace(p, numbers=numbers, joints=joints, vertices=vertices, interaction=beside, balance=balance)
        return LOSSES[name].function(changed)

    leaves = tuple(
        x.clone().detach().requires_grad_() for x in (p.numbers, p.joints, p.vertices, near_truth, p.balance)
    )
    assert float(loss(*leaves).detach()) > 0
    assert torch.autograd.gradcheck(loss, leaves, eps=1e-7, atol=1e-6)


# --- the table ---


@equation("MoEG-HOI", 16)
def test_the_total_is_the_weighted_sum_with_the_papers_weights():
    assert {name: (term.weight, term.equation) for name, term in LOSSES.items()} == {
        "diff": (1, 10),
        "rec": (20, 11),
        "dist": (20, 12),
        "con": (20, 13),
        "pen": (20, 14),
        "acc": (20, 15),
        "balance": (0.01, 9),
        "edge": (0, None),
    }
    total, raw = total_loss(prediction())
    twenty = raw["rec"] + raw["dist"] + raw["con"] + raw["pen"] + raw["acc"]
    assert float(raw["dist"]) > 0 and float(raw["pen"]) > 0
    assert float(total) == pytest.approx(float(raw["diff"] + 20 * twenty + 0.01 * raw["balance"]))


def test_weights_are_replaced_by_name_and_a_zero_leaves_a_term_out():
    p = prediction()
    full = total_loss(p)[1]
    out = dict.fromkeys(("acc", "dist", "con", "pen", "balance"), 0.0)
    total, raw = total_loss(p, {"rec": 3.0, **out})
    assert set(raw) == {"diff", "rec"}
    assert float(total) == pytest.approx(float(full["diff"] + 3 * full["rec"]))
    assert float(total_loss(p, dict.fromkeys(LOSSES, 0.0))[0]) == 0
    with pytest.raises(ConfigError, match="no loss is called recc"):
        total_loss(p, {"recc": 1.0})


@pytest.mark.parametrize("part, term", [("interaction", "con"), ("balance", "balance"), ("edges", "edge")])
def test_a_term_that_is_weighed_does_not_pass_over_a_missing_part_in_silence(part, term):
    only = dict.fromkeys(LOSSES, 0.0) | {term: 1.0}
    assert float(total_loss(prediction(), only)[0]) >= 0
    with pytest.raises(ConfigError, match=f"the loss {term} needs the prediction's {part}"):
        total_loss(replace(prediction(), **{part: None}), only)


# --- hands ---


@pytest.fixture(scope="module")
def hands():
    return {side: load_hand(side) for side in ("left", "right")}


def test_left_and_right_hands_of_one_batch_are_each_posed_by_their_own_model(hands):
    batch = random_batch((4, 4, 4))
    batch = replace(batch, side=torch.tensor([1, 1, 0]))
    joints, vertices = posed_hands(batch.pose, batch.betas, batch.side, hands)
    assert joints.shape == (3, 4, 21, 3) and vertices.shape == (3, 4, 778, 3)
    for b, side in enumerate(("right", "right", "left")):
        alone = hands[side](batch.pose[b], batch.betas[b])
        assert torch.allclose(joints[b], alone.joints, atol=1e-5)
        assert torch.allclose(vertices[b], alone.vertices, atol=1e-5)


def test_chosen_vertices_are_those_of_the_whole_hand(hands):
    batch, ids = random_batch((3, 3)), torch.tensor([700, 3, 41])
    joints, vertices = posed_hands(batch.pose, batch.betas, batch.side, hands)
    thin_joints, thin = posed_hands(batch.pose, batch.betas, batch.side, hands, ids)
    assert torch.allclose(vertices[:, :, ids], thin, atol=1e-6) and torch.allclose(joints, thin_joints, atol=1e-6)


def test_reconstruction_pulls_the_99_numbers_towards_the_truth(hands):
    batch = random_batch((5, 5))
    truth = posed_hands(batch.pose, batch.betas, batch.side, hands)
    pose = (batch.pose + 0.05 * rand(*batch.pose.shape).float()).requires_grad_()
    optimiser, only = torch.optim.Adam([pose], 0.005), dict.fromkeys(LOSSES, 0.0) | {"rec": 20.0}
    values = []
    for _ in range(30):
        posed = posed_hands(pose, batch.betas, batch.side, hands)
        total, raw = total_loss(compare(pose, batch.pose, posed, truth, batch.valid), only)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        values.append(raw["rec"].item())
    assert bool(pose.grad.isfinite().all()) and values[-1] < 0.1 * values[0]
