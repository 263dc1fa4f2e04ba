"""Pictures of the world of 64 hands: nothing that was counted is left out."""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from hoi_lib import toy_experts as toy
from hoi_lib import toy_figures

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def world():
    return toy.world()


def test_a_moment_is_drawn_with_all_its_hands_and_loads(world):
    axis = plt.subplots()[1]
    moment = toy.train(world, [0.0], [1], steps=0)[-1]
    toy_figures.draw(axis, world, moment)
    assert sum(len(dots.get_offsets()) for dots in axis.collections) == 64
    assert [bar.get_height() for bar in axis.patches] == pytest.approx(moment.load[0].tolist())


def test_every_run_has_its_mark_over_its_weight():
    working, degrees = torch.tensor([[2, 4, 3], [4, 4, 4]]), torch.rand(2, 3)
    axes = toy_figures.over_weights([0.0, 0.1], working, degrees, 25.0).axes
    for axis, values in zip(axes, (working, degrees), strict=True):
        drawn = [line.get_ydata().tolist() for line in axis.lines[:2]]
        assert drawn == [row.sort().values.tolist() for row in values]
    assert [text.get_text() for text in axes[1].get_xticklabels()] == ["0", "0.1"]


def test_kinds_of_runs_stand_apart_by_name_and_marker():
    runs = {name: (1 + torch.rand(4), torch.rand(4)) for name in ("one", "two", "three")}
    axis = toy_figures.against_balance(runs).axes[0]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["one", "two", "three"]
    assert len({line.get_marker() for line in axis.lines[:3]}) == 3


def test_who_serves_whom_is_marked_and_who_is_served_by_nobody_hatched():
    mask = torch.zeros(8, 4, dtype=torch.bool)
    mask[:6, 0], mask[:2, 1] = True, True
    axis = toy_figures.choices(torch.rand(8, 4), {"token choice": mask}).axes[0]
    assert [len(line.get_xdata()) for line in axis.lines] == [6, 2, 0, 0]
    assert len(axis.patches) == 2
    assert axis.get_title(loc="left") == "token choice: 2 hands get no expert, 2 get two or more"
