"""The world of 64 hands: what is asked, how experts learn it, and when they collapse."""

from __future__ import annotations

import pytest
import torch

from hoi_lib import toy_experts as toy
from hoi_lib.hand import load_hand


@pytest.fixture(scope="module")
def world():
    return toy.world()


def test_sixteen_hands_of_each_gesture_with_its_thumb(world):
    assert world.gesture.bincount().tolist() == [16] * 4
    assert world.tokens.shape == (64, 3) and bool((world.tokens[:, 2] == 1).all())
    assert torch.equal(world.thumbs, torch.tensor(toy.THUMBS, dtype=toy.EXACT)[world.gesture])
    nearest = torch.cdist(world.tokens[:, :2], torch.tensor(toy.FINGERS, dtype=toy.EXACT)).argmin(1)
    assert torch.equal(nearest, world.gesture), "gestures do not overlap"


def test_four_experts_with_the_right_router_have_no_error(world):
    router = 40 * torch.cat([torch.tensor(toy.FINGERS), torch.zeros(4, 1)], 1).to(toy.EXACT)
    _, _, gate = toy.route(world.tokens, router[None])
    proposed = gate[:, 0, 0] @ torch.tensor(toy.THUMBS, dtype=toy.EXACT)
    assert torch.allclose(proposed, world.thumbs, atol=1e-6)


def test_a_run_comes_out_the_same_alone_and_beside_others(world):
    together = toy.train(world, [0.0, 0.1, 0.1], [5, 5, 6], steps=40, moments=[0, 20])
    alone = toy.train(world, [0.1], [5], steps=40, moments=[0, 20])
    assert [m.step for m in together] == [0, 20, 40]
    for many, one in zip(together, alone, strict=True):
        assert torch.allclose(many.router[1], one.router[0], atol=1e-9)
        assert torch.allclose(many.experts[1], one.experts[0], atol=1e-9)


def test_without_the_balance_loss_experts_idle_and_with_it_all_work(world):
    seeds = list(range(8))
    end = toy.train(world, [0.0] * 8 + [0.1] * 8, seeds * 2)[-1]
    working = (end.load > 0.125).all(1)
    assert working[:8].sum() <= 5 and working[8:].all()
    assert end.degrees[8:].median() < 3 < end.degrees[:8].median()
    assert torch.allclose(end.load.sum(1), torch.ones(16, dtype=toy.EXACT))


def test_a_lone_gate_divided_by_itself_never_moves_the_router(world):
    end = toy.train(world, [0.0], [3], normalise="group", steps=50)[-1]
    before, experts = toy.begin([3])
    assert torch.allclose(end.router, before, atol=1e-6) and not torch.allclose(end.experts, experts, atol=0.01)


def test_the_thumb_goes_where_it_is_told_and_nothing_else_moves():
    hand = load_hand("right")
    one, other = (toy.posed(hand, (0.0, 0.0), thumb) for thumb in ((0.0, 0.0), (0.7, 0.4)))
    moved = (one - other).norm(dim=-1)
    tip, index = hand.from_matrices(torch.eye(3).expand(16, 3, 3), torch.zeros(3)).joints[[20, 16]]
    near = (hand.template - tip).norm(dim=-1) < 0.01
    assert moved[near].min() > 0.01
    assert moved[(hand.template - index).norm(dim=-1) < 0.01].max() < 1e-6
