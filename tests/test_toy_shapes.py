"""The small classifier of shapes: it learns, and the clouds that try to fool it are what they say."""

import pytest
import torch

from hoi_lib.toy_shapes import drawn, told_right, trained


def guess(net, points):
    offset = points - points.mean(1, keepdim=True)
    unit = offset / offset.norm(dim=-1).amax(1)[:, None, None]
    return net[1](net[0](unit).amax(1))


@pytest.fixture(scope="module")
def shapes():
    """A rod, a disc and a ball."""
    cloud = torch.randn(1, 400, 3, generator=torch.Generator().manual_seed(0)).repeat(3, 1, 1)
    return 0.05 * cloud * torch.tensor([[[0.1, 0.1, 1.0]], [[1.0, 1.0, 0.1]], [[1.0, 1.0, 1.0]]])


def test_it_learns_to_tell_a_rod_from_a_disc_and_a_ball_and_the_seed_decides_all(shapes):
    net = trained(shapes, guess, steps=60)
    assert told_right(net, shapes, guess) > 0.9
    assert told_right(net, shapes, guess, away=0.1) == pytest.approx(told_right(net, shapes, guess), abs=0.02)
    assert all(
        torch.equal(*pair) for pair in zip(net.parameters(), trained(shapes, guess, 60).parameters(), strict=True)
    )


def test_a_crowd_moves_the_mean_of_the_points(shapes):
    even, crowded = (drawn(shapes[2:].repeat(50, 1, 1), torch.Generator().manual_seed(1), c) for c in (1, 8))
    assert crowded.mean(1).norm(dim=-1).mean() > 2 * even.mean(1).norm(dim=-1).mean()


def test_no_point_is_drawn_twice_and_none_is_made_up(shapes):
    points = drawn(shapes, torch.Generator().manual_seed(2), stretch=0.0)
    gaps = torch.cdist(points, shapes)
    assert gaps.amin(-1).max() < 1e-4
    assert all(len(set(row.tolist())) == 64 for row in gaps.argmin(-1))
