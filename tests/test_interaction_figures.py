"""Figures of the losses between hand and object: what they show is what was computed."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from hoi_lib.interaction_figures import (
    ball_through_hand,
    fingertip,
    fingertip_figure,
    marks,
    push_arrows,
    table,
    touched,
    trade_figure,
)


@pytest.fixture(scope="module")
def passage():
    return ball_through_hand([-40, 0, 24, 80], size=(60, 56))


def test_arrows_start_on_the_skin_and_the_longest_has_the_length_that_was_asked_for():
    skin, push = torch.rand(50, 3), torch.zeros(50, 3)
    push[7, 2] = 5.0
    mesh = push_arrows(skin, push, "#000000", spots=50, longest=0.02)
    assert np.ptp(mesh.vertices[:, 2]) == pytest.approx(0.02, rel=0.1)
    assert np.abs(mesh.vertices.mean(0)[:2] - skin[7, :2].numpy()).max() < 0.003


def test_arrows_of_neighbours_are_added_up_and_weak_ones_left_out():
    skin = torch.tensor([[0.0, 0, 0], [0.001, 0, 0], [1.0, 0, 0], [2.0, 0, 0]])
    push = torch.tensor([[0.0, 0, 1], [0.0, 0, 1], [0.0, 0, 0.1], [0.0, 0, 2]])
    mesh = push_arrows(skin, push, "#000000", spots=3)
    assert {round(x) for x in mesh.vertices[:, 0]} == {0, 2}


def test_only_what_touches_is_painted_and_dotted():
    triangle, points = torch.eye(3), torch.rand(4, 3)
    on_skin, on_object = torch.tensor([True, False, False]), torch.tensor([True, False, False, False])
    skin, dots = touched(triangle, np.array([[0, 1, 2]]), points, on_skin, on_object)
    assert (skin.vertex_colors[1] == skin.vertex_colors[2]).all() and (
        skin.vertex_colors[0] != skin.vertex_colors[1]
    ).any()
    assert np.allclose(dots.vertices.mean(0), points[0].numpy(), atol=1e-3)
    assert len(touched(triangle, np.array([[0, 1, 2]]), points, on_skin, torch.zeros(4, dtype=torch.bool))) == 1
    assert marks(points, {}) == []


def test_a_fingertip_rests_on_its_table_and_is_as_wide_at_every_height():
    tip, outward = fingertip(0.01, 4000)
    height = tip[0, 0, :, 2]
    assert 0 <= float(height.min()) < 1e-4 and float(height.max()) == pytest.approx(0.02, abs=1e-4)
    assert torch.allclose(outward.norm(dim=-1), torch.ones(1, 1, 4000), atol=1e-5)
    assert float((height < 0.005).float().mean()) == pytest.approx(0.25, abs=0.001)  # Archimedes
    assert float(table()[..., 2].abs().max()) == 0


def test_a_ball_that_goes_through_a_hand_is_inside_on_its_way_alone(passage):
    before, truth, middle, after = passage.losses["penetration"]
    assert before == truth == after == 0 and middle > 1
    assert passage.losses["distance"][1] == 0 and min(passage.losses["distance"][i] for i in (0, 2, 3)) > 1


def test_contact_judged_by_the_estimate_is_nothing_far_away(passage):
    assert passage.losses["contact, judged by the estimate"][0] == 0 < passage.losses["contact, judged by the truth"][0]
    assert len(passage.pictures) == 4 and passage.pictures[0].shape == (56, 60, 3)


def test_the_dots_of_the_fingertip_stand_where_each_curve_is_least():
    depths = torch.linspace(0, 0.008, 9)
    figure = fingertip_figure(depths, (depths - 0.005).abs(), depths)
    dots = [line.get_xdata()[0] for line in figure.axes[1].lines if line.get_marker() == "o"]
    assert [round(float(x)) for x in dots][:2] == [5, 0]
    plt.close(figure)


def test_the_trade_is_drawn_where_the_numbers_are():
    paths = {
        "a": [("first", 0.1, 0.7), ("then", 0.3, 0.8), ("last", 0.05, 0.75)],
        "b": [("x", 0.2, 0.8), ("y", 0.1, 0.7)],
    }
    figure = trade_figure(paths, (0.0, 0.82))
    axis = figure.axes[0]
    assert list(axis.lines[0].get_xdata()) == [0.1, 0.3, 0.05] and list(axis.lines[2].get_ydata()) == [0.82]
    assert {"first", "then", "last", "x", "y"} <= {text.get_text() for text in axis.texts}
    plt.close(figure)
