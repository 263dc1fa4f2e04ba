"""Figures of the reconstruction losses: what is drawn is what was given."""

import matplotlib
import numpy as np
import pytest
import torch

from hoi_lib.hand import load_hand, named_pose
from hoi_lib.reconstruction_figures import broken_figure, painted, pulled, rulers_figure, run_figure, thinning_figure

matplotlib.use("agg")


@pytest.fixture(scope="module")
def pair():
    hand = load_hand("right")
    return hand, hand(named_pose("relaxed")), hand(named_pose("fist"))


def test_a_skin_is_pale_where_it_belongs_and_its_ghost_is_the_truth(pair):
    hand, true, guess = pair
    skin, ghost = painted(hand, guess.vertices, true.vertices)
    still = painted(hand, true.vertices, true.vertices)[0]
    assert np.ptp(still.vertex_colors, axis=0).max() == 0 and np.ptp(skin.vertex_colors, axis=0).max() > 0.1
    assert np.array_equal(ghost.vertices, true.vertices.numpy()) and ghost.opacity < 1


def test_pulls_end_at_the_truth(pair):
    hand, true, guess = pair
    pulls = true.joints - guess.joints, true.vertices - guess.vertices
    bones, skin = pulled(hand, guess.joints, guess.vertices, pulls)
    for scene, goals, pull in ((bones, true.joints, pulls[0]), (skin, true.vertices[::6], pulls[1][::6])):
        tips = torch.from_numpy(scene[-1].vertices)
        assert (
            torch.cdist(goals[pull.norm(dim=-1) > 1e-4].double(), tips).amin(1).max() < 1e-5
        )  # the wrist stays where it is
        assert np.allclose(scene[0].vertices, true.vertices, atol=1e-6)


def test_curves_show_the_values_that_they_were_given():
    thinned = thinning_figure(np.zeros((4, 4, 3), np.uint8), [10, 778], torch.tensor([2.0, 1.0]))
    assert thinned.axes[1].lines[0].get_ydata().tolist() == [2, 1]
    rulers = rulers_figure(["a", "b"], {name: torch.tensor([1.0, 10.0]) for name in "xyz"})
    assert [axis.lines[0].get_xdata().tolist() for axis in rulers.axes] == [[1, 10]] * 3
    shares = {"metres": {"rec": 0.75, "diff": 0.25}, "millimetres": {"rec": 1.0, "diff": 0.0}}
    broken = broken_figure({98: (1e-4, 2e-4), 150: (1e-4, 4e-4)}, shares, {0.0: (0, 0), 10.0: (1e-4, 0)})
    assert broken.axes[0].lines[1].get_ydata() == pytest.approx([2, 4])
    assert [bar.get_height() for bar in broken.axes[1].patches] == [0.75, 0.25, 1.0, 0.0]


def test_half_of_equation_11_is_shown_as_a_distance():
    curve = {"step": [1], "value": [0.0018]}
    run = run_figure({f"{part}/{term}": curve for part in ("training", "validation") for term in ("diff", "rec")})
    assert float(run.axes[1].lines[0].get_ydata()[0]) == pytest.approx(30, rel=1e-5)
