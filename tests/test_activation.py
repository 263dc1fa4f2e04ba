"""Maps of expert activation: the numbers behind them, and that colour and place say what they should."""

from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import to_hex

from hoi_lib.activation import FAINTEST, activation, activation_map, faded, lights, shades, strips
from hoi_lib.errors import ConfigError
from hoi_lib.routing import ActionNoiseRouter, RoutingTable

ACTIONS = ["pour", "shake"]
LEVELS = [0, 500, 999]


def table(winners, gates=None, experts=3):
    """A table (A, T, 1, 1, M) whose winners and gates are given."""
    winners = torch.tensor(winners)
    mask = torch.nn.functional.one_hot(winners, experts).bool()[:, :, None, None]
    gates = torch.ones(winners.shape) if gates is None else torch.tensor(gates)
    gate = mask * gates[:, :, None, None, None]
    return RoutingTable(mask, gate, gate)


def routed(**kinds):
    torch.manual_seed(0)
    routers = [ActionNoiseRouter(8, 6, **kinds) for _ in range(4)]
    return RoutingTable.of(routers, 3 * torch.randn(2, 8), 3 * torch.randn(3, 6))


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_shares_and_chances_are_those_of_a_table_worked_by_hand():
    found = activation(table([[0, 0, 1], [0, 2, 1]], [[0.5, 0.4, 0.3], [0.6, 0.2, 0.9]]))
    assert found.winner[..., 0, 0].tolist() == [[0, 0, 1], [0, 2, 1]]
    assert np.allclose(found.gate[..., 0, 0], [[0.5, 0.4, 0.3], [0.6, 0.2, 0.9]])
    assert np.allclose(found.share[0, 0], [3 / 6, 2 / 6, 1 / 6])
    assert found.by_action[0, 0] == pytest.approx((0 + 1 / 2 + 0) / 3)  # only at the second level do they differ
    assert found.by_level[0, 0] == pytest.approx((4 / 9 + 6 / 9) / 2)


def test_a_router_without_a_branch_does_not_depend_on_it():
    deaf = activation(routed(branches=("time",)))
    assert not deaf.by_action.any() and deaf.by_level.any()
    constant = activation(routed(branches=("action",)))
    assert not constant.by_level.any() and constant.by_action.any()


def test_two_active_experts_share_two_per_decision():
    found = activation(routed(active=2))
    assert np.allclose(found.share.sum(-1), 2)
    assert found.winner.shape == (2, 3, 4, 3)


def test_the_highest_noise_is_on_the_left_and_colour_is_the_winner():
    gates = [[0.5, 0.4, 0.3], [0.6, 0.2, 0.9]]
    figure = activation_map(table([[0, 0, 1], [0, 2, 1]], gates), ACTIONS, LEVELS, ["finger"])
    panel = figure.axes[0]
    rows = [np.asarray(image.get_array()) for image in panel.get_images()]
    assert [row.shape for row in rows] == [(1, 3, 3), (1, 3, 3)]
    strength = FAINTEST + (1 - FAINTEST) * (np.array([0.9, 0.2, 0.6]) - 0.2) / 0.7  # 0.2 and 0.9 are the extremes
    expected = faded(shades("finger", 3)[[1, 2, 0]], strength)
    assert np.allclose(rows[1][0], expected)
    assert [text.get_text() for text in panel.get_xticklabels()] == ["999", "500", "0"]
    assert [text.get_text() for text in panel.get_yticklabels()] == ACTIONS
    assert panel.get_title() == "finger"


def test_levels_may_come_in_any_order():
    falling = activation_map(table([[2, 1, 0], [0, 0, 0]]), ACTIONS, [999, 500, 0], ["hand"])
    rising = activation_map(table([[0, 1, 2], [0, 0, 0]]), ACTIONS, [0, 500, 999], ["hand"])
    pictures = [[np.asarray(i.get_array()) for i in f.axes[0].get_images()] for f in (falling, rising)]
    assert all(np.array_equal(a, b) for a, b in zip(*pictures, strict=True))


def test_every_group_has_a_panel_and_every_block_a_line():
    figure = activation_map(routed(), ACTIONS, LEVELS, experts=(1024, 512, 256))
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["hand group", "finger group", "joint group"]
    assert figure.axes[2].get_images()[0].get_array().shape == (4, 3, 3)
    one = activation_map(routed(), ACTIONS, LEVELS, blocks=[2])
    (line,) = np.asarray(one.axes[2].get_images()[0].get_array())
    hue = (1 - line) / (1 - line).sum(-1, keepdims=True)  # fading towards white changes no hue
    expected = 1 - shades("joint", 3)[activation(routed()).winner[0, ::-1, 2, 2]]
    assert np.allclose(hue, expected / expected.sum(-1, keepdims=True))
    names = [text.get_text() for text in figure.axes[3].texts]
    assert names == ["1024", "512", "256"]


def test_a_flat_pool_of_nine_experts_is_drawn_too():
    figure = activation_map(routed(groups=1, experts=9, active=3), ACTIONS, LEVELS, ["whole"])
    figure.canvas.draw()
    assert len(np.unique(shades("whole", 9).round(6), axis=0)) == 9


def test_shades_of_a_group_stay_apart_at_every_strength():
    """Also for eyes that see lightness alone."""
    for group in ("hand", "finger", "joint"):
        full = shades(group, 3) @ [0.2126, 0.7152, 0.0722]
        assert (np.diff(full) > 0.15).all()
        middle, light = faded(shades(group, 3)[1:], np.ones(2))
        assert np.linalg.norm(middle - light) > 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": ["pour"]}, "1 actions"),
        ({"levels": [1, 2]}, "2 levels"),
        ({"groups": ["hand"]}, "1 groups"),
        ({"experts": ["a", "b"]}, "2 experts"),
    ],
)
def test_names_that_do_not_fit_the_table_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        activation_map(routed(), **{"actions": ACTIONS, "levels": LEVELS, **change})


def test_a_decision_is_one_lamp_for_every_expert_and_those_that_work_are_lit():
    gate = np.zeros((2, 3, 3))
    gate[0, 0, 1], gate[0, 1, 2], gate[1, 2, 0] = 0.6, 0.3, 0.1
    _, axis = plt.subplots()
    lights(axis, gate)
    lamps = {tuple(np.r_[line.get_xdata(), line.get_ydata()].round(3)): line for line in axis.lines}
    assert len(lamps) == 18
    lit = {place for place, line in lamps.items() if line.get_markersize() > 5}
    assert lit == {(1.0, 0.0), (5.6, 0.0), (7.2, 1.0)}
    assert np.allclose(lamps[1.0, 0.0].get_markerfacecolor(), shades("hand", 3)[1])
    assert axis.get_ylim()[0] > axis.get_ylim()[1]  # the first block on top
    assert [text.get_text() for text in axis.get_xticklabels()] == ["hand", "finger", "joint"]


def test_a_strip_draws_each_run_of_a_winner_once_and_marks_what_it_is_told_to():
    winner, marked = np.array([[0, 0, 2, 2], [1, 1, 1, 1]]), np.array([[False, False, True, False], [False] * 4])
    drawn = strips(winner, ["pour", "<b>"], "joint", 3, marked)
    root = ElementTree.fromstring(drawn)
    paths = {p.get("stroke"): p.get("d") for p in root.iter("{http://www.w3.org/2000/svg}path")}
    names = [to_hex(c) for c in shades("joint", 3)]
    assert [paths[name] for name in names] == ["M84 21h170", "M84 47h340", "M254 21h170"]
    assert [d for name, d in paths.items() if name not in names] == ["M254 33.5h85"]
    words = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words[:2] == ["pour", "<b>"] and "expert 3" in words
