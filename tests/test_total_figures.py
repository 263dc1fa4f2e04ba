"""Figures of the total: shares add up to one bar, nothing is left out, and arrows follow the push."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from hoi_lib.losses import LOSSES
from hoi_lib.total_figures import LOOKS, between_neighbours, gain_figure, rulers_of_pull, shared_bars


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_every_term_of_the_total_has_a_look_of_its_own():
    assert set(LOOKS) == {name for name, term in LOSSES.items() if term.equation}
    assert len({color for _, color, _ in LOOKS.values()}) == len(LOOKS)


def test_a_bar_is_cut_in_proportion_and_ends_at_one():
    figure, axis = plt.subplots()
    shared_bars(axis, {"one": {"rec": 0.25, "pen": 0.75}})
    widths = [patch.get_width() for patch in axis.patches]
    assert sum(widths) == pytest.approx(1) and sorted(widths)[-2:] == [0.25, 0.75]
    assert [text.get_text() for text in axis.texts] == ["25%", "75%"]


def test_rulers_are_divided_by_their_sums():
    axis = rulers_of_pull({"weights": {"rec": 20.0, "pen": 60.0}}).axes[0]
    assert max(patch.get_width() for patch in axis.patches) == pytest.approx(0.75)


def test_the_gain_ends_at_four_where_a_tremble_turns_round_at_every_frame():
    line = gain_figure().axes[0].lines[0]
    assert line.get_ydata()[0] == pytest.approx(0) and line.get_ydata()[-1] == pytest.approx(4)
    assert line.get_xdata()[-1] == 15


def test_a_hand_stands_between_its_ghosts_and_its_arrows_follow_the_push():
    points = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    skins = torch.stack([points - 0.1, points, points + 0.1])
    push = torch.tensor([0.0, 0.0, 1.0]).expand(40, 3)
    *ghosts, solid, arrows = between_neighbours(skins, push, np.array([[0, 1, 2]]), longest=0.5)
    assert len(ghosts) == 2 and all(g.opacity < solid.opacity for g in ghosts)
    assert np.allclose(solid.vertices, points)
    assert arrows.vertices[:, 2].max() > points[:, 2].max() + 0.2
    assert arrows.vertices[:, 0].max() < points[:, 0].max() + 0.05
