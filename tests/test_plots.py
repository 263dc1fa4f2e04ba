"""The house style, the renderer and what can be drawn (analytic and property tests)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoi_lib import drawables, plots, render
from hoi_lib.drawables import Mesh

OKABE_ITO = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
IDEAS = ("hand", "finger", "joint", "truth", "prediction", "contact", "penetration", "noise")
BACK = np.array([0xFB, 0xFA, 0xF7])


def ball(centre=(0, 0, 0), radius=0.05, **look) -> Mesh:
    vertices, faces = drawables.sphere(3)
    return Mesh(vertices * radius + np.asarray(centre), faces, **look)


def box(low=(-1, -1, -1), high=(1, 1, 1), **look) -> Mesh:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in sides for t in ((a, b, c), (a, c, d))])
    return Mesh(np.asarray(low) + corners * (np.asarray(high) - np.asarray(low)), faces, **look)


def volume(mesh: Mesh) -> float:
    return float(np.linalg.det(mesh.vertices[mesh.faces]).sum() / 6)


def is_closed(faces: np.ndarray) -> bool:
    """Every edge is passed once in each direction."""
    half = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    return sorted(map(tuple, half)) == sorted(map(tuple, half[:, ::-1]))


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Run ``code`` in an interpreter of its own."""
    options = {"capture_output": True, "text": True, "timeout": 300, "cwd": Path(__file__).parents[1]}
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, **options)


def drawn(picture: np.ndarray) -> np.ndarray:
    """Where the picture (H, W, 3) is not background."""
    return (np.abs(picture.astype(int) - BACK) > 1).any(-1)


# ------------------------------------------------------------------ colours


def test_every_idea_has_its_own_colour_from_the_okabe_ito_set():
    chosen = [plots.COLORS[idea] for idea in IDEAS]
    assert len(set(chosen)) == len(IDEAS)
    assert set(chosen) - {plots.COLORS["noise"]} <= OKABE_ITO
    assert np.ptp(render.rgb(plots.COLORS["noise"])) == 0


@pytest.mark.parametrize(
    "loss",
    [
        np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),  # protanopia
        np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),  # deuteranopia
    ],
    ids=["protanopia", "deuteranopia"],
)
def test_ideas_stay_apart_for_eyes_without_red_or_green_cones(loss):
    linear = np.array([render.to_linear(render.rgb(plots.COLORS[idea])) for idea in IDEAS])
    seen = render.to_srgb(np.clip(linear @ loss.T, 0, 1))
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + 10 * np.eye(len(IDEAS))
    assert apart.min() > 0.12


def test_linear_light_and_srgb_are_inverse():
    values = np.linspace(0, 1, 300)
    assert np.allclose(render.to_srgb(render.to_linear(values)), values, atol=1e-12)


# ------------------------------------------------------------------ meshes


def test_normals_of_a_sphere_point_outwards_and_those_of_a_box_are_its_sides():
    round_ = ball()
    unit = round_.vertices[round_.faces] / 0.05
    assert np.abs(drawables.corner_normals(round_.vertices, round_.faces) - unit).max() < 0.02
    flat = box()
    sides = drawables.corner_normals(flat.vertices, flat.faces)
    assert np.allclose(np.abs(sides).max(-1), 1) and np.allclose(np.abs(sides).sum(-1), 1)


def test_a_larger_zoom_brings_the_eye_nearer():
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (50, 3))
    far, usual, near = (np.linalg.norm(render.camera(points, zoom=zoom).eye) for zoom in (0.5, 1.0, 2.0))
    assert near < 0.7 * usual < 0.5 * far


def test_doubled_vertices_are_smoothed_as_one():
    mesh = ball()
    torn = Mesh(mesh.vertices[mesh.faces.reshape(-1)], np.arange(mesh.faces.size).reshape(-1, 3))
    expected = drawables.corner_normals(mesh.vertices, mesh.faces)
    assert np.allclose(drawables.corner_normals(torn.vertices, torn.faces), expected)


def test_rounding_brings_a_coarse_sphere_nearer_to_the_true_one_and_leaves_a_box_alone():
    vertices, faces = drawables.sphere(2)
    fine = drawables.rounded(Mesh(vertices, faces))
    straight = (vertices[faces][:, [0, 1, 2]] + vertices[faces][:, [1, 2, 0]]) / 2
    missed = 1 - np.linalg.norm(straight, axis=-1).min()
    assert np.array_equal(fine.vertices[: len(vertices)], vertices)
    assert np.abs(np.linalg.norm(fine.vertices, axis=1) - 1).max() < missed / 5
    assert len(fine.faces) == 4 * len(faces) and is_closed(fine.faces)
    cube = drawables.rounded(drawables.rounded(box()))
    assert np.isclose(volume(cube), 8) and np.isclose(np.abs(cube.vertices).max(), 1)


def test_rounding_paints_the_middle_of_an_edge_with_the_mean_of_its_ends():
    vertices, faces = drawables.sphere(0)
    colors = np.random.default_rng(0).uniform(size=vertices.shape)
    fine = drawables.rounded(Mesh(vertices, faces, vertex_colors=colors))
    pairs, _, _ = drawables.quartered(faces, len(vertices))
    assert np.allclose(fine.vertex_colors[len(vertices) :], colors[pairs].mean(1))


def test_sharp_edges_part_the_vertices_of_a_box_and_not_those_of_a_sphere():
    cube, round_ = box(), ball()
    source, faces = drawables.parted(cube.vertices, cube.faces)
    assert len(source) == 24 and np.array_equal(cube.vertices[source][faces], cube.vertices[cube.faces])
    normals = drawables.vertex_normals(cube.vertices[source], faces)
    assert np.allclose(normals[faces], drawables.corner_normals(cube.vertices, cube.faces))
    assert len(drawables.parted(round_.vertices, round_.faces)[0]) == len(round_.vertices)


def test_a_sliver_does_not_part_a_smooth_surface():
    round_ = ball(radius=1.0)
    a, b, c = round_.faces[0]
    middle = (round_.vertices[a] + round_.vertices[b]) / 2 * (1 - 1e-7)
    vertices = np.vstack([round_.vertices, middle])
    faces = np.vstack(
        [round_.faces[1:], [[a, len(vertices) - 1, c], [len(vertices) - 1, b, c], [b, a, len(vertices) - 1]]]
    )
    assert len(drawables.parted(vertices, faces)[0]) == len(vertices)


def test_drawn_bodies_are_closed_and_look_outwards():
    vertices, faces = drawables.sphere(3)
    assert len(faces) == 20 * 4**3 and is_closed(faces)
    assert np.isclose(volume(Mesh(vertices, faces)), 4 / 3 * np.pi, rtol=0.01)
    spots = drawables.dots(np.eye(3), 0.1)
    assert is_closed(spots.faces) and np.isclose(volume(spots), 3 * 4 / 3 * np.pi * 1e-3, rtol=0.15)
    rod = drawables.rods(np.zeros((1, 3)), np.array([[0, 0, 2.0]]), 0.5)
    assert is_closed(rod.faces) and np.isclose(volume(rod), np.pi * 0.25 * 2, rtol=0.06)
    arrow = drawables.arrows(np.zeros((1, 3)), np.array([[0.3, 0.4, 0]]), 0.01)
    assert volume(arrow) > 0 and np.isclose((arrow.vertices @ [0.6, 0.8, 0]).max(), 0.5)


def test_a_skeleton_has_one_dot_a_joint_and_one_rod_a_bone():
    joints = np.random.default_rng(1).normal(size=(21, 3))
    spots, bones = drawables.skeleton(joints)
    ball_size, rod_size = len(drawables.sphere(1)[0]), len(drawables.rods(np.zeros((1, 3)), np.eye(3)[:1]).vertices)
    assert len(spots.vertices) == 21 * ball_size and len(bones.vertices) == 20 * rod_size


# ------------------------------------------------------------------ pictures


def test_a_sphere_covers_exactly_the_disc_that_perspective_predicts():
    mesh, size = ball(), 300
    eye = render.camera(mesh.vertices, "front", (size, size))
    picture = render.render(mesh, size=(size, size), eye=eye, shadow=False)
    assert picture.shape == (size, size, 3) and picture.dtype == np.uint8
    away = np.linalg.norm(eye.eye)
    radius = eye.focal * size / 2 * 0.05 / np.sqrt(away**2 - 0.05**2)
    assert abs(drawn(picture).sum() / (np.pi * radius**2) - 1) < 0.015


def test_background_is_left_exactly_as_it_was_asked_for():
    picture = render.render(ball(), size=(80, 80), shadow=False, background="#336699")
    assert picture[0, 0].tolist() == [0x33, 0x66, 0x99]
    empty = render.render([], size=(7, 5), background="#336699")
    assert empty.shape == (5, 7, 3) and (empty == [0x33, 0x66, 0x99]).all()


def test_light_comes_from_the_upper_left():
    picture = render.render(ball(), "front", (120, 120), shadow=False).astype(int).sum(-1)
    assert picture[40, 40] > picture[80, 80] + 60


def test_what_is_nearer_hides_what_is_behind_whatever_the_order():
    red, blue = ball((0, -0.2, 0), color="#ff0000"), ball((0, 0.2, 0), color="#0000ff")
    for meshes in ([red, blue], [blue, red]):
        middle = render.render(meshes, (0, 0), (90, 90), shadow=False)[45, 45].astype(int)
        assert middle[0] > middle[2] + 80


def test_a_transparent_body_lets_the_share_it_should_through():
    look = {"view": (0, 0), "size": (90, 90), "shadow": False}
    shell, core = ball(radius=0.1, color="#0000ff"), ball(radius=0.03, color="#ff0000")
    alone, inside = (render.render(m, **look)[45, 45] for m in (shell, [shell, core]))
    assert alone.tolist() == inside.tolist()
    glass = ball(radius=0.1, color="#0000ff", opacity=0.4)
    seen = render.to_linear(render.render([glass, core], **look)[45, 45] / 255)
    empty = render.to_linear(render.render([glass], **look)[45, 45] / 255)
    assert seen[0] < empty[0] and seen[1] < 0.2 and seen[0] > 3 * seen[1]


def test_vertex_colours_are_drawn_where_they_are():
    mesh = ball(radius=0.1)
    paint = np.where(mesh.vertices[:, :1] < 0, [[1.0, 0, 0]], [[0, 0, 1.0]])
    picture = render.render(Mesh(mesh.vertices, mesh.faces, vertex_colors=paint), (0, 0), (90, 90), shadow=False)
    assert picture[45, 25, 0] > 100 > picture[45, 25, 2] and picture[45, 65, 2] > 100 > picture[45, 65, 0]


@pytest.mark.parametrize(
    ("view", "right", "up"),
    [
        ("front", [1, 0, 0], [0, 0, 1]),
        ("back", [-1, 0, 0], [0, 0, 1]),
        ("right", [0, 1, 0], [0, 0, 1]),
        ("left", [0, -1, 0], [0, 0, 1]),
        ("top", [1, 0, 0], [0, 1, 0]),
        ("palm", [0, 0, 1], [-1, 0, 0]),
        ("back_of_hand", [0, 0, -1], [-1, 0, 0]),
    ],
)
def test_named_views_look_where_their_name_says(view, right, up):
    eye = render.camera(np.eye(3), view)
    assert eye.axes[0] @ right > 0.95 and eye.axes[1] @ up > 0.95
    assert np.allclose(eye.axes @ eye.axes.T, np.eye(3)) and np.isclose(np.linalg.det(eye.axes), 1)


def test_an_unknown_view_is_named_in_the_error():
    with pytest.raises(ValueError, match="sideways"):
        render.camera(np.eye(3), "sideways")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-180, 180), st.floats(-80, 80), st.sampled_from([(200, 200), (300, 150)]))
def test_the_camera_shows_everything_and_no_more(seed, azimuth, elevation, size):
    points = np.random.default_rng(seed).normal(size=(30, 3)) * [0.3, 0.1, 0.2] + [1, 2, 3]
    screen = render.camera(points, (azimuth, elevation), size).project(points, *size)
    assert screen[:, :2].min() > 0 and (screen[:, :2] < size).all()
    used = np.ptp(screen[:, :2], axis=0) / size
    assert used.max() > 0.8


def test_a_shadow_darkens_the_ground_beside_the_body_and_nowhere_far_away():
    mesh = [ball((0, 0, 0.05)), box((0.4, 0, 0), (0.401, 0.001, 0.001))]
    look = {"view": "top", "size": (160, 160)}
    plain, dark = (render.render(mesh, shadow=s, **look).astype(int).sum(-1) for s in (False, True))
    lost = plain - dark
    assert lost.max() > 60 and np.median(lost) < 12
    raised = render.render(mesh, ground=-1.0, **look).astype(int).sum(-1)
    assert (plain - raised).max() < lost.max()


def test_a_crease_is_darker_than_open_ground():
    floor = box((-1, -1, -0.1), (1, 1, 0), color="#dddddd")
    wall = box((0, -1, 0), (1, 1, 1), color="#dddddd")
    picture = render.render([floor, wall], (-60, 35), (200, 200), shadow=False).astype(int).sum(-1)
    eye = render.camera(np.vstack([floor.vertices, wall.vertices]), (-60, 35), (200, 200))
    spots = eye.project(np.array([[-0.05, 0.0, 0.0], [-0.7, 0.0, 0.0]]), 200, 200)[:, :2].astype(int)
    corner, open_ground = (picture[y, x] for x, y in spots)
    assert corner < open_ground - 30


def test_a_fixed_eye_keeps_still_things_still():
    still = ball((0.3, 0, 0))
    frames = [[still, ball((0, 0, z))] for z in (0.0, 0.2)]
    points = np.concatenate([m.vertices for meshes in frames for m in meshes])
    eye = render.camera(points, "front", (200, 200))
    one, two = (render.render(m, size=(200, 200), eye=eye, shadow=False).astype(int) for m in frames)
    spot = eye.project(np.array([[0.3, 0, 0]]), 200, 200)[0, :2].astype(int)
    patch = (slice(spot[1] - 8, spot[1] + 8), slice(spot[0] - 8, spot[0] + 8))
    assert drawn(one[patch]).all() and np.abs(one[patch] - two[patch]).max() < 25


def test_the_same_scene_gives_the_same_bytes():
    assert np.array_equal(render.render(ball(), size=(100, 100)), render.render(ball(), size=(100, 100)))


def test_the_renderer_compiles_and_starts_without_a_word(tmp_path):
    code = (
        "from hoi_lib import drawables; from hoi_lib.render import render;"
        "render(drawables.dots(drawables.sphere()[0]), size=(64, 64))"
    )
    done = run(code, WARP_CACHE_PATH=str(tmp_path))
    assert done.returncode == 0 and done.stdout + done.stderr == ""
    assert any(tmp_path.rglob("*render_kernels*"))


# ------------------------------------------------------------------ figures


def test_show_lays_out_panels_with_titles_and_hides_empty_places():
    import matplotlib

    matplotlib.use("Agg")
    picture = np.zeros((20, 20, 3), np.uint8)
    figure = plots.show(
        [ball(), [ball()], picture, picture], list("abcd"), ["front", "top", "front", "front"], pixels=40
    )
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["a", "b", "c", "d", "", ""] and len(figure.axes) == 6
    assert not any(axis.axison for axis in figure.axes)


def test_panels_never_make_a_figure_wider_than_a_phone_can_show_and_break_their_titles_instead():
    import matplotlib

    matplotlib.use("Agg")
    tall = np.zeros((60, 40, 3), np.uint8)
    figure = plots.show([tall] * 4, ["a hand of the file", "two\nlines", "c", "d"], columns=4, size=2.6)
    width, height = figure.get_size_inches()
    assert width == plots.WIDEST and 1.5 * width / 4 < height < 2.5 * width / 4
    assert [axis.get_title() for axis in figure.axes][:2] == ["a hand of\nthe file", "two\nlines"]


def test_setup_sets_the_style_and_starts_no_notebook_shell():
    code = (
        "import sys, matplotlib; matplotlib.use('Agg'); from hoi_lib import plots; plots.setup(); plots.setup();"
        "assert matplotlib.rcParams['axes.prop_cycle'].by_key()['color'][0] == plots.COLORS['hand'];"
        "import plotly.io as pio; assert pio.templates.default == 'plotly_white+hoi';"
        "from IPython import get_ipython; assert get_ipython() is None"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_in_the_book_plotly_figures_are_plain_divs_that_share_one_local_script():
    code = (
        "from hoi_lib import plots; plots.setup(); import plotly.io as pio, plotly.graph_objects as go;"
        "page = pio.renderers['book'].to_mimebundle(go.Figure(go.Scatter(y=[1, 2])).to_dict())['text/html'];"
        "assert pio.renderers.default == 'book' and '<div' in page and len(page) < 20_000;"
        "assert 'src=' not in page and '_static/plotly.min.js' in plots.PLOTLY_LOADER"
    )
    done = run(code, HOI_BOOK="1")
    assert done.returncode == 0, done.stderr
