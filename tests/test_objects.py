"""ObjectModel: hinges, samples, files, and signed distance through the public door."""

import numpy as np
import pytest
import torch

from hoi_lib.catalogue import Hinge
from hoi_lib.errors import OutputError, StoreError
from hoi_lib.motion import pose_object_points
from hoi_lib.objects import ObjectModel, farthest_points, load_object, random_shape
from hoi_lib.shapes import block, sphere

RNG = np.random.default_rng(0)


def two_blocks():
    """A base, and a lid on it that turns about a known edge: every distance has a formula."""
    base, lid = block(0.1, 0.08, -0.02, 0.0), block(0.1, 0.08, 0.001, 0.011)
    hinge = Hinge(np.array([0, 0.04, 0.0005]), np.array([-1.0, 0, 0]), np.array([0, 2.0]))
    return ObjectModel(
        "two",
        "box",
        np.concatenate([base.vertices, lid.vertices]),
        np.concatenate([base.faces, lid.faces + len(base.vertices)]),
        np.repeat([0, 1], [len(base.vertices), len(lid.vertices)]),
        hinge,
    )


def box_distance(p, low, high):
    q = np.abs(p - (np.add(low, high) / 2)) - np.subtract(high, low) / 2
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0)


def two_blocks_distance(p, angle):
    c, s = np.cos(angle), np.sin(angle)
    back = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])  # minus the angle about minus x
    pivot = np.array([0, 0.04, 0.0005])
    lid = box_distance((p - pivot) @ back.T + pivot, (-0.05, -0.04, 0.001), (0.05, 0.04, 0.011))
    return np.minimum(box_distance(p, (-0.05, -0.04, -0.02), (0.05, 0.04, 0.0)), lid)


@pytest.mark.parametrize("angle", [None, 0, 0.4, 1.0, 2.0])
def test_a_hinged_object_has_the_distance_of_its_formula(angle):
    points = RNG.uniform(-0.1, 0.1, (2000, 3))
    distance = two_blocks().signed_distance(points, angle)
    assert np.abs(distance - two_blocks_distance(points, angle or 0.0)).max() < 1e-7


def test_angles_by_frame_equal_one_frame_at_a_time():
    model = load_object("laptop_small")
    angle = np.linspace(0, 2, 5)
    points = RNG.uniform(-0.15, 0.15, (5, 40, 3))
    together = model.closest(points, angle)
    for i in range(5):
        alone = model.closest(points[i], float(angle[i]))
        assert all(np.allclose(a[i], b, atol=1e-12) for a, b in zip(together, alone, strict=False))
    assert np.allclose(model.signed_distance(points, angle[:, None]), together[0])
    with pytest.raises(ValueError, match="does not fit"):
        model.signed_distance(points, np.zeros(4))


@pytest.mark.parametrize("name", ["lidded_box_small", "pliers_medium", "notebook_large"])
def test_posed_vertices_lie_on_the_posed_surface(name):
    model = load_object(name)
    angle = np.array([0.0, 0.3, model.hinge.limits[1]])
    vertices = model.posed_vertices(angle)
    assert vertices.shape == (3, len(model.vertices), 3)
    assert np.abs(model.signed_distance(vertices, angle)).max() < 1e-6
    assert (vertices[:, model.part == 0] == model.vertices[model.part == 0]).all()


def test_posing_agrees_with_the_points_that_the_model_sees():
    model = load_object("laptop_medium")
    angle = torch.tensor([[0.0, 0.7, 2.0]])
    points = pose_object_points(
        torch.from_numpy(model.points)[None],
        torch.from_numpy(model.point_part)[None],
        torch.from_numpy(model.hinge_numbers())[None],
        angle,
    )
    distance = model.signed_distance(points, angle)
    assert distance.shape == (1, 3, 1024) and distance.abs().max() < 1e-6


def test_nearest_point_normal_and_distance_fit_together_at_any_angle():
    model = load_object("lidded_box_medium")
    points = RNG.uniform(-0.1, 0.1, (300, 3))
    distance, nearest, normal = model.closest(points, 1.1)
    assert np.allclose(((points - nearest) * normal).sum(-1), distance, atol=1e-12)
    assert np.abs(model.signed_distance(nearest, 1.1)).max() < 1e-6
    assert np.allclose(np.linalg.norm(normal, axis=-1), 1)
    outside = distance > 1e-3
    assert np.allclose(nearest[outside] + distance[outside, None] * normal[outside], points[outside], atol=1e-9)


def test_gradients_flow_to_points_and_angle():
    model = two_blocks()
    points = torch.from_numpy(RNG.uniform(-0.08, 0.08, (4, 6, 3))).requires_grad_()
    angle = torch.tensor([0.1, 0.5, 1.0, 1.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model.signed_distance, (points, angle), eps=1e-7, atol=1e-5)


def test_on_the_surface_the_gradient_is_the_normal():
    points = torch.tensor([[0.0, 0, 0.05], [0.02, 0, 0.05]], dtype=torch.float64, requires_grad=True)
    surface = block(0.1, 0.1, -0.05, 0.05)
    model = ObjectModel("b", "box", surface.vertices, surface.faces, np.zeros(len(surface.vertices), np.int64))
    model.signed_distance(points).sum().backward()
    assert torch.allclose(points.grad, torch.tensor([[0.0, 0, 1]], dtype=torch.float64).expand(2, 3))


def test_numpy_gives_numpy_and_torch_gives_torch_of_the_same_type():
    model = load_object("ball_small")
    points = RNG.uniform(-0.05, 0.05, (4, 5, 3))
    for dtype in (np.float32, np.float64):
        array = model.signed_distance(points.astype(dtype))
        tensor = model.signed_distance(torch.from_numpy(points.astype(dtype)))
        assert array.dtype == dtype and array.shape == (4, 5)
        assert np.array_equal(array, tensor.numpy())
    assert model.signed_distance(np.zeros((0, 3))).shape == (0,)
    assert model.signed_distance(np.zeros(3)) == pytest.approx(-0.025, abs=1e-4)
    assert model.signed_distance([[0, 0, 1]])[0] == pytest.approx(0.975, abs=1e-6)
    assert np.array_equal(model.signed_distance(points, 0.7), model.signed_distance(points))  # rigid: no angle


@pytest.mark.parametrize("name", ["ball_large", "mug_medium", "laptop_small", "notebook_medium", "shape_3"])
def test_samples_cover_the_surface_lie_on_it_and_look_out_of_it(name):
    model = load_object(name)
    assert model.points.shape == model.normals.shape == (1024, 3) and model.points.dtype == np.float32
    assert np.abs(model.signed_distance(model.points)).max() < 1e-6
    assert np.allclose(np.linalg.norm(model.normals, axis=1), 1, atol=1e-5)
    step = 1e-4
    outwards = model.signed_distance(model.points.astype(float) + step * model.normals)
    inwards = model.signed_distance(model.points.astype(float) - step * model.normals)
    assert (outwards > 0).mean() > 0.99 and (inwards < 0).mean() > 0.99
    corners = model.vertices[model.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    face = RNG.choice(len(area), 4000, p=area / area.sum())
    anywhere = (corners[face] * RNG.dirichlet([1, 1, 1], 4000)[..., None]).sum(1)
    reach = np.linalg.norm(anywhere[:, None] - model.points[None], axis=-1).min(1)
    assert reach.max() < 2.2 * np.sqrt(area.sum() / 1024 / np.pi)  # discs of this share of the area reach 1.0


def test_farthest_points_are_each_the_farthest_from_those_before():
    cloud = RNG.normal(size=(200, 3)).astype(np.float32)
    order = farthest_points(cloud, 30)
    assert order[0] == 0 and len(set(order)) == 30
    for i in range(1, 30):
        gap = np.linalg.norm(cloud[:, None] - cloud[None, order[:i]], axis=-1).min(1)
        assert gap[order[i]] == pytest.approx(gap.max())


def test_samples_name_their_part():
    model = load_object("lidded_box_medium")
    for part in (0, 1):
        surface_only = model.points[model.point_part == part]
        nearest, _ = model._queries[part](torch.from_numpy(surface_only))
        assert len(surface_only) > 200
        assert np.abs(nearest.numpy() - surface_only).max() < 1e-6
    assert model.point_part.dtype == np.int64
    assert set(load_object("can_small").point_part) == {0}


def test_samples_are_the_same_twice_and_do_not_touch_the_global_generator():
    np.random.seed(5)
    before = np.random.get_state()[1].tobytes()
    first, second = random_shape(11), random_shape(11)
    assert first.points.tobytes() == second.points.tobytes()
    assert np.random.get_state()[1].tobytes() == before


def test_hinge_numbers():
    assert load_object("can_small").hinge_numbers().tolist() == [0] * 6
    model = load_object("notebook_small")
    assert np.allclose(model.hinge_numbers(), np.concatenate([model.hinge.origin, model.hinge.axis]))
    assert model.hinge_numbers().dtype == np.float32


def test_a_rigid_object_poses_to_itself():
    model = load_object("can_small")
    assert (model.posed_vertices() == model.vertices).all()
    assert model.posed_vertices(np.zeros(4)).shape == (4, len(model.vertices), 3)


def test_grids_of_both_parts_make_the_distance_of_the_open_object():
    model = load_object("lidded_box_small")
    points = torch.from_numpy(RNG.uniform(-0.06, 0.06, (500, 3))).float()
    base, lid = model.grid(0.002, 0.04, 0), model.grid(0.002, 0.04, 1)
    grid = torch.minimum(base(points), lid(model.unhinge(points, 0.8)))
    exact = model.signed_distance(points, 0.8)
    near = exact.abs() < 0.02
    assert (grid - exact)[near].abs().max() < 0.0025
    assert (grid - exact)[near].abs().mean() < 3e-4


def test_a_saved_model_comes_back_whole_and_saves_to_the_same_bytes(tmp_path):
    for name in ("laptop_small", "mug_small"):
        model = load_object(name)
        model.save(tmp_path / "a.npz")
        model.save(tmp_path / "b.npz")
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
        back = ObjectModel.load(tmp_path / "a.npz")
        for field in ("vertices", "faces", "part", "points", "normals", "point_part"):
            assert np.array_equal(getattr(back, field), getattr(model, field))
        assert (back.name, back.category, back.notes) == (model.name, model.category, model.notes)
        assert (back.hinge is None) == (model.hinge is None)
        points = RNG.uniform(-0.1, 0.1, (50, 3))
        assert np.array_equal(back.signed_distance(points, 0.5), model.signed_distance(points, 0.5))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 not a zip", b"\x93NUMPY"])
def test_a_damaged_file_is_refused_in_words(tmp_path, content):
    path = tmp_path / "broken.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match="broken.npz"):
        ObjectModel.load(path)


def test_a_truncated_or_foreign_file_is_refused_in_words(tmp_path):
    model = load_object("can_small")
    model.save(tmp_path / "can.npz")
    whole = (tmp_path / "can.npz").read_bytes()
    for size in (100, len(whole) // 2, len(whole) - 30):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        with pytest.raises(StoreError):
            ObjectModel.load(tmp_path / "cut.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(StoreError):
        ObjectModel.load(tmp_path / "other.npz")


def test_nothing_half_written_is_left_where_saving_fails(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        load_object("can_small").save(tmp_path / "file" / "can.npz")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OutputError, match="No space left"):
        load_object("can_small").save(tmp_path / "can.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_bounds_tell_where_the_object_stands():
    low, high = load_object("can_medium").bounds
    assert low[2] == pytest.approx(-0.058) and high[2] == pytest.approx(0.058)


def test_a_ball_made_by_hand_has_the_distance_of_a_sphere():
    ball = sphere(0.05, 6)
    model = ObjectModel("ball", "ball", ball.vertices, ball.faces, np.zeros(len(ball.vertices), np.int64))
    points = RNG.uniform(-0.09, 0.09, (2000, 3))
    assert np.abs(model.signed_distance(points) - (np.linalg.norm(points, axis=1) - 0.05)).max() < 1e-5
