"""Clocks, roads and triangles: what is drawn is what was given."""

import math

import matplotlib
import pytest
import torch

from hoi_lib.blocks import sinusoid
from hoi_lib.time_figures import clock_faces, loudness, main_directions, roads
from hoi_lib.widgets import Line, Text

matplotlib.use("agg")


def test_a_clock_starts_at_twelve_and_turns_right():
    plot = clock_faces(0, 1, [math.pi / 2])
    hands = [part for part in plot.series if isinstance(part, Line) and len(part.x) == 2]
    later, now = hands
    assert (now.x[1], now.y[1]) == pytest.approx((0, 0.88)) and not now.dash
    assert (later.x[1], later.y[1]) == pytest.approx((0.88, 0)) and later.dash
    assert [part.text for part in plot.series if isinstance(part, Text)] == ["4"]


def test_a_path_in_a_plane_lies_wholly_in_two_directions():
    plane = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    path, share = main_directions(torch.randn(50, 2, generator=torch.Generator().manual_seed(1)) @ plane + 3)
    assert path.shape == (50, 2) and share == pytest.approx(1, abs=1e-5)
    assert torch.allclose(path.mean(0), torch.zeros(2), atol=1e-5)


def test_every_named_level_stands_on_its_road():
    import matplotlib.pyplot as plt

    figure = roads({"code": sinusoid(torch.arange(300), 16)}, named=(0, 200, 400))
    assert [text.get_text() for text in figure.axes[0].texts] == ["0", "200", "299"]
    plt.close(figure)


def test_the_triangle_of_a_feature_names_its_length():
    import matplotlib.pyplot as plt

    figure = loudness({"action": (3.0, 4.0), "time": (1.0, 0.0)}, {"new": 2.0}, "ratio")
    assert "action:\nlength 5.0" in [text.get_text() for text in figure.axes[0].texts]
    assert figure.axes[1].get_xlabel() == "ratio"
    plt.close(figure)
