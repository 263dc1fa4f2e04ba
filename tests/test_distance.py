"""Signed distance against formulas and against brute force in float64, and the grid against the exact distance."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from hoi_lib.distance import DistanceGrid, SurfaceQuery, distance_grid, is_simple, split_slim
from hoi_lib.objects import load_object
from hoi_lib.shapes import Surface, block, circle, cylinder, sphere, sweep, torus
from hoi_lib.topology import winding_number


def signed(surface, points, closed=True):
    points = torch.as_tensor(points)
    nearest, normal = SurfaceQuery([surface], [closed])(points)
    return ((points - nearest) * normal).sum(-1).numpy()


def samples(surface, count=3000, seed=0):
    """Points of the box around a surface, half of them within a millimetre of it."""
    rng = np.random.default_rng(seed)
    low, high = surface.vertices.min(0) - 0.02, surface.vertices.max(0) + 0.02
    corners = surface.vertices[surface.faces[rng.integers(0, len(surface.faces), count)]]
    on = (corners * rng.dirichlet([1, 1, 1], count)[..., None]).sum(1)
    close = on + rng.normal(size=(count, 3)) * 10 ** rng.uniform(-6, -3, (count, 1))
    return np.concatenate([rng.uniform(low, high, (count, 3)), close])


def box_formula(p, half):
    q = np.abs(p) - half
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0)


def capsule_formula(p, length, radius):
    return np.linalg.norm(p - np.array([0, 0, 1]) * np.clip(p[:, 2:], -length / 2, length / 2), axis=-1) - radius


def torus_formula(p, radius, wire):
    return np.hypot(np.hypot(p[:, 0], p[:, 1]) - radius, p[:, 2]) - wire


def formulas():
    turn = np.linspace(-1, 1, 202)[1:-1] * np.pi / 2
    side = np.column_stack([0.02 - 0.02 * np.cos(turn), 0.02 * np.sin(turn) + 0.04 * np.sign(turn)])
    return {
        "sphere": (sphere(0.05, 6), lambda p: np.linalg.norm(p, axis=-1) - 0.05),
        "box": (block(0.04, 0.06, -0.05, 0.05), lambda p: box_formula(p, np.array([0.02, 0.03, 0.05]))),
        "torus": (torus(0.05, 0.015, count=320, wire_count=160), lambda p: torus_formula(p, 0.05, 0.015)),
        "capsule": (sweep(circle(0.02, 256), side), lambda p: capsule_formula(p, 0.08, 0.02)),
    }


@pytest.mark.parametrize("name", ["sphere", "box", "torus", "capsule"])
def test_distance_equals_its_formula_within_a_hundredth_of_a_millimetre(name):
    surface, formula = formulas()[name]
    points = samples(surface)
    expected = formula(points)
    distance = signed(surface, points)
    assert np.abs(distance - expected).max() < 1e-5
    clear = np.abs(expected) > 1e-5
    assert (np.sign(distance) == np.sign(expected))[clear].all()


def triangle_distance(p, triangles):
    """Distance to the nearest triangle in float64: to its three sides, and to its plane where p stands above it."""
    a, b, c = triangles.transpose(1, 0, 2)
    best = np.inf
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    above = np.ones(len(triangles), bool)
    for u, v in ((a, b), (b, c), (c, a)):
        side = v - u
        share = np.clip(((p - u) * side).sum(1) / (side * side).sum(1), 0, 1)
        best = min(best, np.linalg.norm(p - u - share[:, None] * side, axis=1).min())
        above &= (np.cross(normal, side) * (p - u)).sum(1) >= 0
    return min(best, np.abs(((p - a) * normal).sum(1))[above].min(initial=np.inf))


def brute_force(surface, points):
    triangles = surface.vertices[surface.faces]
    distance = np.array([triangle_distance(p, triangles) for p in points])
    inside = [winding_number(p, surface.vertices, surface.faces) > 0.5 for p in points]
    return np.where(inside, -distance, distance)


@pytest.mark.parametrize("name", ["mug_small", "hammer_large", "laptop_medium", "notebook_small", "pliers_medium"])
def test_distance_equals_brute_force_on_meshes_with_long_thin_triangles(name):
    model = load_object(name)
    surface = Surface(model.vertices, model.faces[model.part[model.faces[:, 0]] == 0])
    points = samples(surface, 75)
    expected = brute_force(surface, points)
    for closed in (True, False):
        assert np.abs(signed(surface, points, closed) - expected).max() < 2e-6


def test_normals_are_the_gradient_of_the_distance_and_the_faces_own_on_the_surface():
    surface = block(0.04, 0.06, -0.05, 0.05)
    query = SurfaceQuery([surface], [True])
    points = torch.from_numpy(samples(surface))
    nearest, normal = query(points)
    assert torch.allclose(normal.norm(dim=-1), torch.ones(len(points), dtype=torch.float64))
    step = 1e-4
    moved = points + step * normal
    gain = ((moved - query(moved)[0]) * query(moved)[1]).sum(-1) - ((points - nearest) * normal).sum(-1)
    away = ((points - nearest) * normal).sum(-1) > 1e-5  # nearer than that an edge may be named for its face
    assert torch.allclose(gain[away], torch.full_like(gain[away], step), atol=1e-8)
    on = torch.tensor([[0.02, 0.01, 0.01], [0.0, 0.0, 0.05]], dtype=torch.float64)
    assert torch.allclose(query(on)[1], torch.tensor([[1.0, 0, 0], [0, 0, 1]], dtype=torch.float64))


def test_overlapping_bodies_are_one_union():
    a, b = sphere(0.03), sphere(0.03).moved(x=0.02)
    points = torch.from_numpy(samples(a))
    nearest, normal = SurfaceQuery([a, b], [True, True])(points)
    union = ((points - nearest) * normal).sum(-1).numpy()
    assert np.allclose(union, np.minimum(signed(a, points), signed(b, points)), atol=1e-12)


def test_a_surface_through_itself_is_not_trusted_and_has_no_false_outside():
    a = cylinder(0.02, -0.04, 0.04)
    b = a.along("x")
    both = Surface(np.concatenate([a.vertices, b.vertices]), np.concatenate([a.faces, b.faces + len(a.vertices)]))
    assert is_simple(a)
    assert not is_simple(both)
    hidden = np.array([[0.0199, 0, 0.0]])  # inside one cylinder, just under the side of the other
    assert signed(both, hidden, closed=False)[0] < 0


def test_an_open_surface_has_its_inside_by_winding_number():
    ball = sphere(0.05)
    cup = Surface(ball.vertices, ball.faces[ball.vertices[ball.faces].mean(1)[:, 2] < 0.03])
    inside, outside = signed(cup, np.array([[0, 0, 0.0], [0, 0, 0.049]]), closed=False)
    assert inside == pytest.approx(-0.05, abs=2e-4)
    assert outside > 0


def test_far_from_the_origin_nothing_is_lost():
    ball = sphere(0.05, 3)
    points = samples(ball, 500)
    assert np.abs(signed(ball.moved(50, -20, 30), points + [50, -20, 30]) - signed(ball, points)).max() < 1e-9


def test_the_dtype_is_kept_and_chunks_change_nothing(monkeypatch):
    ball = sphere(0.05, 3)
    points = torch.from_numpy(samples(ball, 500)).float()
    whole = SurfaceQuery([ball], [True])(points)
    assert all(x.dtype == torch.float32 for x in whole)
    monkeypatch.setattr("hoi_lib.distance.CHUNK", 64)
    assert all(torch.equal(x, y) for x, y in zip(whole, SurfaceQuery([ball], [True])(points), strict=False))


def test_splitting_keeps_the_surface_and_shortens_what_is_slim():
    slim = np.array([[(0, 0, 0), (0.3, 0, 0), (0.3, 0.0008, 0)], [(0, 0, 0), (0.01, 0, 0), (0, 0.01, 0)]], float)
    parts = split_slim(slim)

    def area(t):
        return np.linalg.norm(np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]), axis=-1) / 2

    assert area(parts).sum() == pytest.approx(area(slim).sum())
    length = np.linalg.norm(np.roll(parts, -1, 1) - parts, axis=-1).max(1)
    assert length.max() < 0.03
    assert np.cross(parts[:, 1] - parts[:, 0], parts[:, 2] - parts[:, 0])[:, 2].min() > 0
    assert len(split_slim(np.zeros((1, 3, 3)) + [[0, 0, 0], [0.3, 0, 0], [0.1, 0, 0]])) <= 2**12


def test_the_grid_is_close_to_the_exact_distance_and_exact_in_the_middle_of_a_plane():
    surface = block(0.04, 0.06, -0.05, 0.05, corner=0.004, edge=0.004)
    query = SurfaceQuery([surface], [True])
    grid = distance_grid(query, 0.002, 0.03)
    points = torch.from_numpy(samples(surface)).float()
    nearest, normal = query(points)
    exact = ((points - nearest) * normal).sum(-1)
    assert (grid(points) - exact).abs().max() < 0.002
    assert (grid(points) - exact).abs().mean() < 2e-4
    flat = torch.tensor([[0.0231, 0.0, 0.01], [0.0171, 0.005, -0.02]])
    assert torch.allclose(grid(flat), torch.tensor([0.0031, -0.0029]), atol=1e-6)


def test_the_grid_has_gradients_of_about_one_everywhere_even_far_outside():
    grid = distance_grid(SurfaceQuery([sphere(0.03)], [True]), 0.002, 0.02)
    points = torch.tensor([[0.035, 0, 0], [0.02, 0.01, 0], [0.3, 0.1, 0], [0, 0, -1.0]], requires_grad=True)
    grid(points).sum().backward()
    assert torch.allclose(points.grad.norm(dim=-1), torch.ones(4), atol=0.15)
    assert (points.grad * points).sum(-1).gt(0).all()


def test_the_grid_is_continuous_at_its_border_and_differentiable_in_float64():
    grid = distance_grid(SurfaceQuery([sphere(0.03)], [True]), 0.004, 0.01).double()
    border = float(grid.origin[0]) + grid.spacing * (grid.values.shape[0] - 1)
    pair = torch.tensor([[border - 1e-9, 0.003, 0.001], [border + 1e-9, 0.003, 0.001]], dtype=torch.float64)
    assert grid(pair).diff().abs() < 1e-7
    points = (torch.rand(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) - 0.5) * 0.12
    assert torch.autograd.gradcheck(grid, points.requires_grad_(), eps=1e-9, atol=1e-4)


def test_the_grid_travels_with_a_module_and_takes_any_shape():
    grid = distance_grid(SurfaceQuery([sphere(0.03)], [True]), 0.004, 0.01)
    assert isinstance(grid, DistanceGrid) and set(grid.state_dict()) == {"values", "origin"}
    assert grid(torch.zeros(2, 5, 3)).shape == (2, 5)
    assert grid(torch.zeros(3)).item() == pytest.approx(-0.03, abs=1e-3)


def test_a_query_can_be_pickled_and_asked_again():
    query = SurfaceQuery([sphere(0.03)], [True])
    points = torch.rand(10, 3) * 0.1
    before = query(points)
    assert all(torch.equal(a, b) for a, b in zip(before, pickle.loads(pickle.dumps(query))(points), strict=False))


def test_several_processes_with_an_empty_cache_in_no_usable_home_agree_and_say_nothing(tmp_path):
    blocked = tmp_path / "not_a_folder"
    blocked.write_text("")
    environment = {k: v for k, v in os.environ.items() if k != "WARP_CACHE_PATH"}
    environment |= {"HOME": str(blocked), "HOI_CACHE": str(blocked), "TMPDIR": str(tmp_path)}
    code = (
        "from hoi_lib.objects import load_object\n"
        "print(load_object('ball_small').signed_distance([[0.0, 0.0, 0.0], [0.0, 0.0, 0.1]]).round(4).tolist())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        assert out.decode().strip() == "[-0.025, 0.075]"
        assert err.decode() == ""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same_distances():
    surface = sphere(0.05, 3)
    points = torch.from_numpy(samples(surface, 500)).float()
    query = SurfaceQuery([surface], [True])
    assert all(torch.allclose(a, b.cpu(), atol=1e-6) for a, b in zip(query(points), query(points.cuda()), strict=False))
