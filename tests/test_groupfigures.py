"""Pictures of expert groups: what is drawn is what was given."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from tiny_store import tiny_store

from hoi_lib.groupfigures import active_bars, attention_maps, gate_frame, level_panels
from hoi_lib.plots import COLORS

GROUPS, EXPERTS, SIZES = ("hand", "finger", "joint"), (1024, 512, 256), (1.0, 0.5, 0.25)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_levels_of_a_grasp_are_three_pictures_of_the_same_hand_and_object(tmp_path):
    store = tiny_store(tmp_path / "store")
    clip = store[0]
    panels = level_panels(clip, store.object(clip.object.name), "right", 8, {"finger": range(1, 16), "joint": [1, 4]})
    hands = [panel[0] for panel in panels]
    assert all(np.array_equal(hand.vertices, hands[0].vertices) for hand in hands)
    assert hands[0].color == COLORS["hand"] and hands[2].opacity < 1
    things = [panel[-1] for panel in panels]
    assert all(np.array_equal(thing.vertices, things[0].vertices) for thing in things)
    assert not any(thing.vertices.shape == hands[0].vertices.shape for thing in things), "the other hand is left out"


def test_the_fingers_are_coloured_and_the_wrist_stays_pale(tmp_path):
    store = tiny_store(tmp_path / "store")
    clip = store[0]
    named = {"finger": range(1, 16), "joint": [1]}
    colors = level_panels(clip, store.object(clip.object.name), "right", 8, named)[1][0].vertex_colors
    orange = np.abs(colors - to_rgb(COLORS["finger"])).max(1) < 1e-6
    assert 0.3 < orange.mean() < 0.9


def test_the_attention_to_each_word_is_one_row_of_its_map():
    shares = torch.rand(12, 3)
    figure = attention_maps({"hand": (["a", "mug", "."], shares), "finger": (["all", "five"], shares[:, :2])})
    axis = figure.axes[0]
    assert np.allclose(axis.images[0].get_array(), shares.T)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "mug", "."]


def test_there_is_a_bar_for_every_way_to_choose_from_the_least_to_the_most():
    axis = active_bars(GROUPS, SIZES, {"all": 5.25}).axes[0]
    heights = np.array([[bar.get_height() for bar in bars] for bars in axis.containers]).sum(0)
    assert len(heights) == 27 and np.all(np.diff(heights) >= 0)
    assert heights[0] == pytest.approx(0.75) and heights[-1] == pytest.approx(3.0)


def test_a_state_of_the_gates_shows_and_says_who_works():
    logits = torch.tensor([[2.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    frame = gate_frame(logits, "all", GROUPS, EXPERTS, SIZES)
    softmax, *groups = frame.panels.series
    winners = logits.softmax(-1).amax(-1)
    assert np.allclose(softmax.y, logits.softmax(-1).flatten())
    assert np.allclose([float(np.max(np.asarray(bars.y))) for bars in groups], winners / winners.sum())
    assert "hand 1024 with 0.4" in frame.text and "1.75 of 5.25 million" in frame.text


def test_divided_inside_each_group_every_winner_says_one():
    frame = gate_frame(torch.randn(3, 3), "group", GROUPS, EXPERTS, SIZES)
    assert frame.text.count("with 1.00") == 3
