"""Rotations: closed-form answers, stability at no turn and half a turn, layouts, and continuity."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hoi_lib.motion import pack_pose, unpack_pose
from hoi_lib.rotations import (
    axis_angle_to_matrix,
    cross_matrix,
    geodesic_angle,
    is_rotation,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    matrix_to_rot6d,
    rot6d_to_matrix,
    slerp,
)

PI = math.pi
TOLERANCE = {torch.float32: 2e-6, torch.float64: 5e-15}
DTYPES = tuple(TOLERANCE)
# every axis through a corner, an edge or a face of a cube: 26 of them, in both directions
AXES = torch.nn.functional.normalize(
    torch.tensor([a for a in itertools.product((-1.0, 0.0, 1.0), repeat=3) if any(a)], dtype=torch.float64), dim=-1
)
ANGLES = (0.0, 1e-12, 1e-9, 1e-6, 1e-4, 0.0099, 0.0101, 0.5, 2.0, 3.0, PI - 1e-4, PI - 1e-6, PI - 1e-9, PI)

numbers = st.floats(-1, 1, width=64)
vectors = st.tuples(numbers, numbers, numbers).filter(lambda v: math.hypot(*v) > 1e-3)
turns = st.tuples(vectors, st.floats(0, PI)).map(lambda p: p[1] * np.array(p[0]) / math.hypot(*p[0]))


def turn(axis: str, degrees: float) -> torch.Tensor:
    """The matrix of a turn about a coordinate axis, in float64."""
    return axis_angle_to_matrix(math.radians(degrees) * torch.eye(3, dtype=torch.float64)["xyz".index(axis)])


def degrees(a: torch.Tensor, b: torch.Tensor) -> float:
    return math.degrees(geodesic_angle(a, b))


# Axis-angle and matrix


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("angle", ANGLES)
def test_axis_angle_gives_a_rotation_and_comes_back(dtype, angle):
    x = (AXES * angle).to(dtype)
    R = axis_angle_to_matrix(x)
    back = matrix_to_axis_angle(R)
    assert R.dtype == back.dtype == dtype
    assert torch.allclose(R @ R.mT, torch.eye(3, dtype=dtype), atol=TOLERANCE[dtype])
    assert torch.allclose(torch.linalg.det(R), torch.ones((), dtype=dtype), atol=TOLERANCE[dtype])
    assert torch.allclose(axis_angle_to_matrix(back), R, atol=TOLERANCE[dtype])
    other_axis_is_as_good = angle > PI - 1e-5
    error = torch.minimum((back - x).norm(dim=-1), (back + x).norm(dim=-1)) if other_axis_is_as_good else back - x
    assert error.abs().max() < 3 * TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("angle", ANGLES)
def test_gradients_are_finite_and_of_order_one_everywhere(dtype, angle):
    x = (AXES * angle).to(dtype).requires_grad_(True)
    weights = torch.linspace(-1, 1, 9, dtype=dtype).reshape(3, 3)
    (axis_angle_to_matrix(x) * weights).sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().max() < 4
    x.grad = None
    (matrix_to_axis_angle(axis_angle_to_matrix(x)) * weights[0]).sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().max() < 10


@pytest.mark.parametrize("angle", [a for a in ANGLES if a < PI - 1e-7])
def test_there_and_back_has_the_identity_as_its_jacobian(angle):
    def there_and_back(x):
        return matrix_to_axis_angle(axis_angle_to_matrix(x))

    for axis in AXES[::5]:
        jacobian = torch.autograd.functional.jacobian(there_and_back, axis * angle)
        assert torch.allclose(jacobian, torch.eye(3, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-3, 0.0099999, 0.0100001, 1.0, PI - 1e-3])
def test_gradients_agree_with_finite_differences(angle):
    x = (AXES[[0, 4, 11, 20]] * angle).requires_grad_(True)
    assert torch.autograd.gradcheck(axis_angle_to_matrix, x, atol=1e-7)
    assert torch.autograd.gradcheck(lambda x: matrix_to_axis_angle(axis_angle_to_matrix(x)), x, atol=1e-7)
    assert torch.autograd.gradcheck(rot6d_to_matrix, matrix_to_rot6d(axis_angle_to_matrix(x.detach())).requires_grad_())


def test_a_quarter_turn_about_z_takes_x_to_y():
    R = turn("z", 90)
    assert torch.allclose(R @ torch.tensor([1.0, 0, 0], dtype=torch.float64), torch.tensor([0, 1.0, 0]).double())
    assert torch.allclose(
        matrix_to_quaternion(R), torch.tensor([1.0, 0, 0, 1.0], dtype=torch.float64) / 2**0.5, atol=1e-15
    )


def test_no_turn_is_exactly_the_identity():
    assert torch.equal(axis_angle_to_matrix(torch.zeros(3)), torch.eye(3))
    assert torch.equal(matrix_to_axis_angle(torch.eye(3)), torch.zeros(3))


def test_the_angle_that_comes_back_is_never_more_than_half_a_turn():
    back = matrix_to_axis_angle(axis_angle_to_matrix(AXES * math.radians(270)))
    assert torch.allclose(back, -AXES * math.radians(90), atol=1e-14)


def test_series_and_formula_meet_without_a_step():
    below, above = (axis_angle_to_matrix(AXES * a) for a in (0.01 - 1e-15, 0.01 + 1e-15))
    assert (below - above).abs().max() < 1e-14


def test_turns_about_one_axis_add():
    a, b = axis_angle_to_matrix(AXES * 0.7), axis_angle_to_matrix(AXES * 1.9)
    assert torch.allclose(a @ b, axis_angle_to_matrix(AXES * 2.6), atol=1e-14)


def test_the_cross_matrix_crosses():
    x, v = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose((cross_matrix(x) @ v[..., None])[..., 0], torch.linalg.cross(x, v), atol=1e-6)


@given(turns)
@settings(max_examples=200, deadline=None)
def test_axis_angle_agrees_with_scipy(x):
    from scipy.spatial.transform import Rotation

    R = axis_angle_to_matrix(x)
    assert np.allclose(R, Rotation.from_rotvec(x).as_matrix(), atol=1e-13)
    xyzw = Rotation.from_matrix(R).as_quat()
    assert abs(float(matrix_to_quaternion(R) @ np.roll(xyzw, 1))) == pytest.approx(1, abs=1e-13)


@given(turns, st.sampled_from(["columns", "rows"]))
@settings(max_examples=200, deadline=None)
def test_round_trips_through_six_numbers_and_axis_angle(x, layout):
    R = axis_angle_to_matrix(x)
    assert np.allclose(rot6d_to_matrix(matrix_to_rot6d(R, layout), layout), R, atol=1e-13)
    assert np.allclose(axis_angle_to_matrix(matrix_to_axis_angle(R)), R, atol=1e-13)


# Six numbers


def test_the_layout_columns_stores_the_first_two_columns_row_by_row_and_rows_the_first_two_rows():
    R = torch.arange(9.0).reshape(3, 3)
    assert matrix_to_rot6d(R).tolist() == [0, 1, 3, 4, 6, 7]
    assert matrix_to_rot6d(R, "rows").tolist() == [0, 1, 2, 3, 4, 5]
    assert matrix_to_rot6d(R, layout="columns").tolist() == matrix_to_rot6d(R).tolist()


def test_an_unknown_layout_is_refused():
    for function, x in ((matrix_to_rot6d, torch.eye(3)), (rot6d_to_matrix, torch.ones(6))):
        with pytest.raises(ValueError, match="diagonals"):
            function(x, layout="diagonals")


def test_gram_schmidt_of_a_diagonal_and_y_is_an_eighth_of_a_turn():
    R = rot6d_to_matrix(torch.tensor([1.0, 0, 1, 1, 0, 0], dtype=torch.float64))  # columns (1, 1, 0) and (0, 1, 0)
    assert degrees(torch.eye(3, dtype=torch.float64), R) == pytest.approx(45, abs=1e-9)
    assert torch.allclose(R, turn("z", 45), atol=1e-15)


@pytest.mark.parametrize("angle", [10, 30, 80])
def test_rows_read_as_columns_turn_back_instead_of_forth(angle):
    R = turn("z", angle)
    first_rows = matrix_to_rot6d(R, "rows").reshape(2, 3)
    mistaken = rot6d_to_matrix(first_rows.T.flatten())  # the two rows put where the two columns belong
    assert torch.allclose(mistaken, R.T, atol=1e-15)
    assert degrees(R, mistaken) == pytest.approx(2 * angle, abs=1e-9)


def test_the_two_layouts_are_not_interchangeable_even_at_rest():
    eye = torch.eye(3, dtype=torch.float64)
    assert degrees(eye, rot6d_to_matrix(matrix_to_rot6d(eye, "rows"), "columns")) > 40
    R = turn("z", 30)
    assert degrees(R, rot6d_to_matrix(matrix_to_rot6d(R, "rows"), "columns")) == pytest.approx(56.6003, abs=1e-4)


def test_a_hand_has_99_numbers():
    transl, rotations = torch.zeros(5, 3), axis_angle_to_matrix(torch.full((5, 16, 3), 0.3))
    pose = pack_pose(transl, rotations)
    assert pose.shape == (5, 3 + 16 * 6) == (5, 99)
    back = unpack_pose(pose)
    assert torch.equal(back[0], transl) and torch.allclose(back[1], rotations, atol=1e-6)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=6, max_size=6), st.sampled_from(DTYPES))
@settings(max_examples=200, deadline=None)
def test_any_six_numbers_give_a_rotation_with_a_finite_gradient(six, dtype):
    x = torch.tensor(six, dtype=dtype, requires_grad=True)
    R = rot6d_to_matrix(x)
    assert is_rotation(R)
    R[2].sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["columns", "rows"])
def test_zero_and_parallel_vectors_give_a_rotation_and_no_gradient_where_nothing_is_determined(dtype, layout):
    a = torch.tensor([0.3, 0.7, 0.1], dtype=dtype)
    pairs = [(0 * a, 0 * a), (a, 0 * a), (0 * a, a), (a, 3 * a), (a, -a), (1e-12 * a, a), (a.abs() * 1e6, a * 1e6)]
    for first, second in pairs:
        x = torch.stack([first, second], 0 if layout == "rows" else 1).flatten().requires_grad_(True)
        R = rot6d_to_matrix(x, layout)
        assert is_rotation(R, tolerance=1e-5)
        R.square().cumsum(0).sum().backward()
        assert torch.isfinite(x.grad).all() and x.grad.abs().max() < 1e3
    assert torch.equal(rot6d_to_matrix(torch.zeros(6)), torch.eye(3))


def test_what_is_not_a_number_stays_visible():
    assert rot6d_to_matrix(torch.tensor([1.0, 0, float("nan"), 1, 0, 0])).isnan().any()


def test_six_numbers_ignore_length_and_lean():
    R = turn("x", 20) @ turn("z", 75)
    first, second = R[:, 0], R[:, 1]
    leaning = torch.stack([5 * first, 0.2 * second - 3 * first], 1).flatten()
    assert torch.allclose(rot6d_to_matrix(leaning), R, atol=1e-14)


def test_turning_the_six_numbers_turns_the_matrix():
    generator = torch.Generator().manual_seed(1)
    pair = torch.randn(50, 3, 2, generator=generator, dtype=torch.float64)
    Q = axis_angle_to_matrix(torch.randn(50, 3, generator=generator, dtype=torch.float64))
    turned = rot6d_to_matrix((Q @ pair).flatten(-2))
    assert torch.allclose(turned, Q @ rot6d_to_matrix(pair.flatten(-2)), atol=1e-12)


def test_six_numbers_move_no_further_than_the_rotation_and_axis_angle_jumps():
    angles = torch.linspace(0, 2 * PI, 721, dtype=torch.float64)  # twice half a turn, through the jump at π
    R = axis_angle_to_matrix(angles[:, None] * AXES[7])
    step = PI / 360
    six, three = matrix_to_rot6d(R), matrix_to_axis_angle(R)
    assert (six[1:] - six[:-1]).norm(dim=-1).max() < 2**0.5 * step
    assert (three[1:] - three[:-1]).norm(dim=-1).max() > 2 * PI - 2 * step


def test_the_mean_of_170_and_minus_170_degrees_is_half_a_turn_in_six_numbers_and_none_in_axis_angle():
    pair = torch.stack([turn("z", 170), turn("z", -170)])
    in_axis_angle = axis_angle_to_matrix(matrix_to_axis_angle(pair).mean(0))
    in_six = rot6d_to_matrix(matrix_to_rot6d(pair).mean(0))
    assert degrees(in_axis_angle, turn("z", 0)) == pytest.approx(0, abs=1e-9)
    assert degrees(in_six, turn("z", 180)) == pytest.approx(0, abs=1e-9)


# Between rotations


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("angle", ANGLES)
def test_the_geodesic_angle_is_exact_at_both_ends_with_a_finite_gradient(dtype, angle):
    x = (AXES * angle).to(dtype).requires_grad_(True)
    found = geodesic_angle(torch.eye(3, dtype=dtype).expand(len(AXES), 3, 3), axis_angle_to_matrix(x))
    assert torch.allclose(found, torch.full_like(found, angle), atol=3 * TOLERANCE[dtype])
    found.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_the_geodesic_angle_does_not_care_about_order_or_frame():
    generator = torch.Generator().manual_seed(2)
    a, b, q = axis_angle_to_matrix(torch.randn(3, 40, 3, generator=generator, dtype=torch.float64))
    assert torch.allclose(geodesic_angle(a, b), geodesic_angle(b, a), atol=1e-13)
    assert torch.allclose(geodesic_angle(q @ a, q @ b), geodesic_angle(a, b), atol=1e-13)


@given(turns, turns, st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_slerp_walks_the_shortest_turn_at_constant_speed(x, y, t):
    start, end = torch.from_numpy(axis_angle_to_matrix(np.stack([x, y])))
    way = geodesic_angle(start, end)
    there = slerp(start, end, torch.tensor(t, dtype=torch.float64))
    assert is_rotation(there, 1e-9)
    assert torch.allclose(geodesic_angle(start, there), t * way, atol=1e-9)
    assert torch.allclose(geodesic_angle(there, end), (1 - t) * way, atol=1e-9)


def test_slerp_ends_where_it_should_and_batches():
    start, end = turn("x", 10), turn("y", -120)
    path = slerp(start, end, torch.linspace(0, 1, 9, dtype=torch.float64))
    assert path.shape == (9, 3, 3)
    assert torch.allclose(path[0], start, atol=1e-14) and torch.allclose(path[-1], end, atol=1e-14)


def test_only_rotations_pass_as_rotations():
    R = turn("y", 33)
    assert is_rotation(R) and is_rotation(R.expand(4, 3, 3)) and is_rotation(R.float())
    assert not is_rotation(1.01 * R)
    assert not is_rotation(R @ torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)))  # a mirror
    assert not is_rotation(torch.stack([R, R * float("nan")]))
    assert not is_rotation(torch.zeros(3, 3))


# Arrays


def test_numpy_goes_in_and_numpy_comes_out():
    x = np.array([[0.1, 0.2, 0.3], [0, 0, 0]], np.float32)
    R = axis_angle_to_matrix(x)
    assert isinstance(R, np.ndarray) and R.dtype == np.float32 and R.shape == (2, 3, 3)
    assert np.allclose(matrix_to_axis_angle(R), x, atol=1e-6)
    assert np.array_equal(rot6d_to_matrix(matrix_to_rot6d(R, layout="rows"), layout="rows").shape, (2, 3, 3))
    assert is_rotation(R) is True
    assert isinstance(slerp(R[0], R[1], np.float32([0.5])), np.ndarray)


def test_any_batch_shape_is_kept_the_empty_one_too():
    for shape in ((), (0,), (2, 0), (2, 5)):
        x = torch.zeros(*shape, 3)
        assert axis_angle_to_matrix(x).shape == (*shape, 3, 3)
        assert matrix_to_axis_angle(axis_angle_to_matrix(x)).shape == (*shape, 3)
        assert rot6d_to_matrix(torch.ones(*shape, 6)).shape == (*shape, 3, 3)
        assert matrix_to_rot6d(torch.ones(*shape, 3, 3)).shape == (*shape, 6)
