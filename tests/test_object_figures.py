"""Figures of the object encoder: winners, coverage, and the same scene in other axes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hoi_lib import plots
from hoi_lib.motion import Sample, pack_object, pose_object_points, unpack_object
from hoi_lib.object_figures import (
    _moves,
    bare,
    cloud_of,
    control_figure,
    coverage_figure,
    dropping_widget,
    other_axes,
    scored,
    surface_points,
    told_figure,
    turned,
    turning_figure,
    wins,
)
from hoi_lib.pointnet import PointNet
from hoi_lib.rotations import axis_angle_to_matrix

TURN = axis_angle_to_matrix(torch.tensor([0.3, -0.7, 1.2]))


def block(hinged=False):
    """A box of 2 × 4 × 6 cm with as many points as corners."""
    vertices = np.array([[x, y, z] for x in (-0.01, 0.01) for y in (-0.02, 0.02) for z in (-0.03, 0.03)])
    faces = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]])
    faces = np.concatenate([faces, [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]])
    hinge = np.array([0, 0.02, 0, 1, 0, 0], np.float32) if hinged else np.zeros(6, np.float32)
    return SimpleNamespace(
        vertices=vertices, faces=faces, points=vertices.astype(np.float32), hinge_numbers=lambda: hinge,
        normals=(vertices / np.linalg.norm(vertices, axis=1, keepdims=True)).astype(np.float32),
        point_part=np.arange(8) % 2,
    )  # fmt: skip


def a_sample():
    cloud, rest = cloud_of(block(hinged=True)), torch.zeros(5)
    rotation = axis_angle_to_matrix(torch.linspace(0, 1, 5)[:, None] * torch.tensor([0.0, 1.0, 0.5]))
    path = pack_object(torch.linspace(0, 1, 5)[:, None] * torch.ones(3), rotation, torch.linspace(0, 1.5, 5))
    points, normals, part, hinge = (x[0] for x in cloud)
    return Sample(
        torch.zeros(5, 99), path, rest > -1, torch.zeros(10), torch.zeros(3), rest > -1, 1, points, normals, part,
        hinge, "", "open", "block", "clip",
    )  # fmt: skip


def in_the_world(sample):
    transl, rotation, angle = unpack_object(sample.object_pose)
    local = pose_object_points(sample.points[None], sample.part[None], sample.hinge[None], angle[None])[0]
    return local @ rotation.mT + transl[:, None]


def test_a_cloud_is_the_beginning_of_each_objects_points():
    cloud = cloud_of(block(), block(hinged=True), count=5)
    assert [tuple(x.shape) for x in cloud] == [(2, 5, 3), (2, 5, 3), (2, 5), (2, 6)]
    assert cloud.hinge[0].abs().max() == 0 and cloud.hinge[1].abs().max() == 1


def test_turning_there_and_back_gives_the_same_cloud():
    cloud = cloud_of(block(hinged=True))
    for before, after in zip(cloud, turned(turned(cloud, TURN), TURN.T), strict=True):
        assert torch.allclose(before, after, atol=1e-6)
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(cloud[:2], turned(cloud, TURN)[:2], strict=True))


def test_other_axes_leave_every_point_where_it_was_in_the_world():
    sample = a_sample()
    other = other_axes(sample, TURN)
    assert torch.allclose(in_the_world(sample), in_the_world(other), atol=1e-6)
    assert (sample.points - other.points).abs().max() > 1e-3


def test_every_channel_is_won_once_and_ties_go_to_the_first():
    features = torch.tensor([[1.0, 0.0, 2.0], [1.0, 5.0, 0.0], [0.0, 0.0, 0.0]])
    assert wins(features).tolist() == [2, 1, 0]


def test_points_are_drawn_in_three_sizes_and_losers_in_grey():
    meshes = scored(block(), torch.from_numpy(block().points), torch.tensor([0, 1, 2, 3, 5, 6, 90, 0]))
    assert [mesh.color for mesh in meshes[1:]] == [plots.COLORS["noise"], *[plots.COLORS["hand"]] * 3]
    assert len(scored(block(), torch.from_numpy(block().points), torch.ones(8, dtype=torch.long))) == 2


def test_surface_points_lie_on_the_surface_and_are_spread_by_area():
    points = surface_points(block(), 6000, seed=3)
    on = (points.abs() / torch.tensor([0.01, 0.02, 0.03]) - 1).abs() < 1e-5
    assert bool(on.any(1).all())
    assert float(on[:, 0].float().mean()) == pytest.approx(24 / 44, abs=0.03)  # two faces of 24 of 88 cm²
    assert torch.equal(points, surface_points(block(), 6000, seed=3))


def test_what_no_point_is_near_is_painted_deep():
    mesh, dots = bare(block(), torch.tensor([[0.01, 0.02, 0.03]]), full=0.05)
    red_over_blue = mesh.vertex_colors[:, 0] - mesh.vertex_colors[:, 2]
    gap = np.linalg.norm(mesh.vertices - [0.01, 0.02, 0.03], axis=1)
    assert red_over_blue[gap.argmax()] > 0.5 > 0.2 > red_over_blue[gap.argmin()]
    assert dots.color == plots.COLORS["ink"]


def test_the_figure_of_coverage_names_the_largest_bare_patch():
    surface = surface_points(block(), 500)
    choices = {"at random": surface, "farthest first": torch.from_numpy(block().points)}
    figure = coverage_figure(block(), choices, surface, 4, [2, 4, 8])
    worst = 1000 * float(torch.cdist(surface, surface[:4]).amin(1).max())
    assert figure.axes[1].get_title() == f"at random: {worst:.0f} mm"
    assert len(figure.axes[0].lines) == 2


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return PointNet(width=32, out=8, points=8)


def test_the_whole_cloud_moves_no_token_and_neither_do_losers_that_are_dropped(encoder):
    cloud = cloud_of(block(hinged=True))
    with torch.no_grad():
        offset = cloud.points - cloud.points.mean(1, keepdim=True)
        unit = offset / offset.norm(dim=-1).amax(1)[:, None, None]
        features = encoder.each(torch.cat([unit, cloud.normals, cloud.part[..., None].float()], -1))[0]
        features[5:] -= 100  # three points that win nothing
        whole = encoder.whole(_input(features, cloud))
        few = encoder.whole(_input(features[:2], cloud))
    order = torch.arange(8)
    moves = _moves(encoder, cloud, features, order, [8, 5, 2])
    assert moves[:2].max() < 1e-6
    assert torch.allclose(moves[2], (few - whole).norm(), atol=1e-6)


def _input(features, cloud):
    points, hinge = cloud.points[0], cloud.hinge[0]
    centre = points.mean(0)
    radius = (points - centre).norm(dim=-1).max()[None]
    return torch.cat([features.amax(0), 10 * centre, 10 * radius, 10 * hinge[:3], hinge[3:]])


def test_the_encoder_itself_gives_the_token_that_moves_are_counted_from(encoder):
    cloud = cloud_of(block(hinged=True))
    with torch.no_grad():
        offset = cloud.points - cloud.points.mean(1, keepdim=True)
        unit = offset / offset.norm(dim=-1).amax(1)[:, None, None]
        features = encoder.each(torch.cat([unit, cloud.normals, cloud.part[..., None].float()], -1))[0]
        assert torch.allclose(encoder.whole(_input(features, cloud)), encoder(*cloud)[0], atol=1e-5)


def test_the_widget_tells_every_order_and_number(encoder):
    cloud = cloud_of(block())
    features = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    widget = dropping_widget(encoder, block(), cloud, features, 1.0, [8, 4])
    for words in ("losers first", "at random", "winners first", "4 points left"):
        assert words in widget.html


def test_figures_show_one_curve_or_mark_for_each_thing_they_compare():
    curves = turning_figure(torch.arange(3.0), torch.rand(3, 2), ["ball", "mug"]).axes[0]
    assert [line.get_label() for line in curves.lines][:2] == ["ball", "mug"]
    marks = told_figure({"truth": [1.0, 2.0], "lie": [3.0, 4.0], "other": [5.0, 6.0]}, ["a", "b"]).axes[0]
    assert len(marks.lines) == 3 and [text.get_text() for text in marks.get_yticklabels()] == ["a", "b"]
    right = {(net, test): 0.5 for net in ("max", "mean", "loose") for test in ("plain", "moved")}
    bars = control_figure(right, 0.1).axes[0]
    assert len(bars.patches) == 6 and bars.texts[0].get_text() == "50%"
