"""The metrics against numbers that can be worked out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hoi_lib import metrics
from hoi_lib.metrics import (
    contact_ratio,
    frechet_distance,
    hand_object_distance,
    mpjpe,
    mpvpe,
    penetration_ratio,
    pskl_j,
)
from hoi_lib.motion import ObjectTrack
from hoi_lib.rotations import axis_angle_to_matrix

EXERCISE = np.array([[3.0, 6.0, 4.9, 5.0, 20.0]]) / 1000  # minimum distances in metres


# --- contact and penetration -----------------------------------------------------------------------------------------


def test_contact_counts_the_threshold_itself():
    assert contact_ratio(EXERCISE, np.ones((1, 5), bool)) == pytest.approx(0.6)
    assert contact_ratio(EXERCISE, np.ones((1, 5), bool), threshold=np.nextafter(0.005, 0)) == pytest.approx(0.4)


def test_contact_in_millimetres_would_score_zero():
    assert contact_ratio(EXERCISE * 1000, np.ones((1, 5), bool)) == 0.0


def test_penetration_is_strictly_deeper_than_one_centimetre():
    depth = np.array([[0.0, 0.01, 0.0101, 0.5]])
    assert penetration_ratio(depth, np.ones((1, 4), bool)) == 0.5


def test_clean_contact_needs_touch_without_depth():
    distance = np.array([[0.001, 0.001, 0.02, 0.005]])
    depth = np.array([[0.0, 0.02, 0.0, 0.01]])
    assert metrics.clean_contact_ratio(distance, depth, np.ones((1, 4), bool)) == 0.5


def test_padding_counts_nowhere_even_when_it_touches_or_is_nan():
    distance = np.array([[0.001, 0.5, 0.001, np.nan]])
    valid = np.array([[True, True, False, False]])
    assert contact_ratio(distance, valid) == 0.5
    assert penetration_ratio(distance, valid) == 0.5


def test_frames_are_pooled_over_clips_so_that_long_clips_count_more():
    distance = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    valid = np.array([[True] * 4, [True, False, False, False]])
    assert contact_ratio(distance, valid) == pytest.approx(4 / 5)  # a mean over clips would say 1/2


def test_numpy_and_torch_of_any_precision_agree():
    valid = np.ones((1, 5), bool)
    answers = {contact_ratio(torch.tensor(EXERCISE), torch.tensor(valid)), contact_ratio(EXERCISE, valid.astype(int))}
    assert answers == {contact_ratio(EXERCISE, valid)}


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: contact_ratio(np.zeros(3), np.ones(3, bool)), "distance_NL"),
        (lambda: contact_ratio(np.zeros((2, 3)), np.ones((3, 2), bool)), "valid_NL"),
        (lambda: penetration_ratio(np.zeros((2, 3)), np.zeros((2, 3), bool)), "no frame is valid"),
        (lambda: contact_ratio(np.full((1, 2), np.nan), np.ones((1, 2), bool)), "not finite"),
        (lambda: mpjpe(np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 4, 3)), np.ones((1, 2), bool)), "generated_NLJ3"),
        (lambda: pskl_j(np.zeros((2, 9, 3, 3)), np.zeros((2, 9, 3, 3)), np.array([9, 10])), "lengths_N"),
        (lambda: pskl_j(np.zeros((2, 9, 3, 3)), np.zeros((2, 9, 3, 3)), np.array([9])), "lengths_N"),
        (lambda: pskl_j(np.zeros((1, 9, 3, 3)), np.zeros((1, 9, 3, 3)), np.array([9]), "max"), "axis_reduction"),
        (lambda: frechet_distance(np.zeros((1, 3)), np.zeros((5, 3))), "real_ND"),
        (lambda: frechet_distance(np.zeros((5, 3)), np.full((5, 3), np.inf)), "generated_MD"),
        (lambda: hand_object_distance(np.zeros((2, 5, 3)), _still(3), Plane()), "vertices_LV3"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(call, word):
    with pytest.raises(ValueError, match=word):
        call()


# --- placement -------------------------------------------------------------------------------------------------------


def test_one_centimetre_of_shift_is_ten_millimetres_of_error():
    real = np.random.default_rng(0).normal(size=(3, 7, 21, 3))
    valid = np.ones((3, 7), bool)
    shifted = real + np.array([0.0, 0.01, 0.0])
    assert mpjpe(shifted, real, valid) == pytest.approx(10.0, abs=1e-9)
    assert mpvpe(shifted, real, valid) == pytest.approx(10.0, abs=1e-9)
    assert mpjpe(shifted, real, valid, root=0) == pytest.approx(0.0, abs=1e-9)
    assert mpjpe(real, real, valid) == 0.0


def test_position_error_is_a_mean_of_norms_over_valid_frames():
    real = np.zeros((1, 3, 2, 3))
    generated = real.copy()
    generated[0, 0, 0] = [0.03, 0.04, 0.0]  # 50 mm on one of the four valid joints
    generated[0, 2] = 9.0  # padding
    assert mpjpe(generated, real, np.array([[True, True, False]])) == pytest.approx(12.5)


def test_averaging_clip_by_clip_with_their_frames_equals_one_call():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 4, 6, 5, 3))
    valid = np.arange(6) < np.array([6, 2, 4, 1])[:, None]
    parts = [mpjpe(a[i : i + 1], b[i : i + 1], valid[i : i + 1]) for i in range(4)]
    assert mpjpe(a, b, valid) == pytest.approx(np.average(parts, weights=valid.sum(1)))


# --- jitter ----------------------------------------------------------------------------------------------------------


def _cosine_motion(frequencies, frames=34, joints=1, amplitude=0.1):
    """A motion whose accelerations are exactly a sum of cosines on the bins of the (L − 2)-point transform."""
    n = frames - 2
    acceleration = sum(np.cos(2 * np.pi * k * np.arange(n) / n) for k in frequencies)
    x = np.zeros(frames)
    for i in range(n):
        x[i + 2] = 2 * x[i + 1] - x[i] + amplitude * acceleration[i]
    return np.broadcast_to(x[None, :, None, None], (1, frames, joints, 3)).copy()


def test_spectral_kl_of_constructed_spectra():
    """One cosine puts ½ on each of two bins; a second, three times weaker in power, takes a quarter of the mass."""
    one = _cosine_motion([3])
    both = one + _cosine_motion([7]) / np.sqrt(3)
    real_to_generated, generated_to_real = pskl_j(one, both, np.array([34]))
    assert real_to_generated == pytest.approx(3 * np.log(4 / 3), rel=1e-5)  # KL((1), (¾, ¼)) on each of x, y, z
    floor = 1e-8 / ((np.abs(np.fft.fft(np.diff(one, n=2, axis=1), axis=1)) ** 2).sum(1)[0, 0, 0] + 32e-8)
    expected = 0.75 * np.log(0.75) + 0.25 * np.log(0.25 / (2 * floor))
    assert generated_to_real == pytest.approx(3 * expected, rel=1e-4)
    assert generated_to_real > 10 * real_to_generated  # the order of the two is part of the contract


def test_axis_reduction_mean_is_a_third_of_the_sum():
    a, b = (_smooth(8, seed) for seed in (0, 1))
    lengths = np.full(8, 60)
    assert np.allclose(3 * np.array(pskl_j(a, b, lengths, "mean")), pskl_j(a, b, lengths, "sum"))


def test_identical_and_motionless_sets_have_no_divergence():
    a = _smooth(4, 0)
    assert pskl_j(a, a, np.full(4, 60)) == (0.0, 0.0)
    assert pskl_j(np.zeros((1, 9, 2, 3)), np.ones((1, 9, 2, 3)), np.array([9])) == (0.0, 0.0)


def test_jitter_raises_both_directions_and_more_jitter_raises_more():
    a, lengths = _smooth(16, 0), np.full(16, 60)
    noise = np.random.default_rng(2).normal(size=a.shape)
    scores = [pskl_j(a, a + sigma * noise, lengths) for sigma in (0.0, 1e-4, 1e-3)]
    assert scores[0][0] < scores[1][0] < scores[2][0]
    assert scores[0][1] < scores[1][1] < scores[2][1]


def test_what_lies_in_the_padding_does_not_matter_and_the_pose_is_held():
    a, b = _smooth(4, 0), _smooth(4, 1)
    lengths = np.array([60, 40, 30, 50])
    expected = pskl_j(a, b, lengths)
    spoilt = b.copy()
    spoilt[1, 40:], spoilt[2, 30:] = 1e3, np.nan
    assert pskl_j(a, spoilt, lengths) == expected
    held = b.copy()
    for n, length in enumerate(lengths):
        held[n, length:] = held[n, length - 1]
    assert pskl_j(a, held, np.full(4, 60)) != expected  # the real set is held as well
    assert pskl_j(held, held, np.full(4, 60)) == (0.0, 0.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_divergence_is_never_negative_and_swapping_the_sets_swaps_the_pair(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 2, 12, 3, 3))
    lengths = rng.integers(3, 13, size=2)
    forward, backward = pskl_j(a, b, lengths)
    assert forward >= 0 and backward >= 0
    assert pskl_j(b, a, lengths) == pytest.approx((backward, forward))


def _smooth(clips, seed, frames=60, joints=5):
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, frames)[None, :, None, None]
    shape = (clips, 1, joints, 3)
    return sum(
        0.1 / k * rng.normal(size=shape) * np.sin(np.pi * k * t + rng.uniform(0, 6, size=shape)) for k in (1, 2, 3)
    )


# --- Fréchet ---------------------------------------------------------------------------------------------------------


def _exact(mean, covariance):
    """Points whose sample mean and unbiased covariance are exactly these."""
    dimensions = len(mean)
    points = np.concatenate([np.eye(dimensions), -np.eye(dimensions)])
    points *= np.sqrt((2 * dimensions - 1) / 2)
    return points @ np.linalg.cholesky(np.asarray(covariance, float)).T + mean


def test_two_unit_gaussians_five_apart_lie_twenty_five_apart():
    assert frechet_distance(_exact([0, 0], np.eye(2)), _exact([3, 4], np.eye(2))) == pytest.approx(25)


def test_scaled_covariances_have_the_closed_form():
    """tr(S₁ + S₂ − 2 (S₁S₂)^½) = (2 − 1)² + (3 − 1)² for commuting covariances."""
    assert frechet_distance(_exact([0, 0], np.eye(2)), _exact([0, 0], np.diag([4.0, 9.0]))) == pytest.approx(5)


def test_covariances_that_do_not_commute_agree_with_the_matrix_root():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6))
    s, t = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_a_set_lies_at_no_distance_from_itself_even_when_flat():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(5, 1)) * np.ones((1, 8))  # rank one in eight dimensions
    assert frechet_distance(flat, flat) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(torch.tensor(flat), flat[::-1]) == pytest.approx(0, abs=1e-6)


# --- distance of a hand to an object ---------------------------------------------------------------------------------


class Plane:
    """The solid below z = 0, sampled at one point per part; part 1 hinges about the y axis through (1, 0, 0)."""

    points = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    point_part = np.array([0, 1])

    def __init__(self, hinged=False):
        self.hinge = np.array([1.0, 0, 0, 0, 1, 0]) if hinged else np.zeros(6)

    def signed_distance(self, points, angle=None):
        self.angle = angle
        return points[..., 2]

    def hinge_numbers(self):
        return self.hinge


def _still(frames, angle=None):
    return ObjectTrack("plane", "plane", np.zeros((frames, 3)), np.tile(np.eye(3), (frames, 1, 1)), angle)


def test_distance_and_depth_follow_the_object():
    turn = axis_angle_to_matrix(torch.tensor([np.pi / 2, 0.0, 0.0], dtype=torch.float64)).numpy()  # z → −y
    track = ObjectTrack("plane", "plane", np.array([[0.0, 0, 5], [0, 0, 0]]), np.stack([np.eye(3), turn]))
    vertices = np.array([[[0.0, 0, 5.2], [0, 0, 4.7]], [[0.0, 0.4, 0], [0.0, -0.1, 0]]])
    found = hand_object_distance(vertices, track, Plane())
    assert np.allclose(found.distance_L, [0.2, 0.1])  # the nearest vertex, on whichever side
    assert np.allclose(found.depth_L, [0.3, 0.4])  # the turned solid fills y > 0
    outside = hand_object_distance(
        vertices + [0, 0, 1.0], ObjectTrack("p", "p", np.zeros((2, 3)), track.rotation), Plane()
    )
    assert outside.depth_L[0] == 0.0


def test_sampled_points_of_a_hinged_part_turn_with_it():
    half = np.array([0.0, np.pi / 2])  # the point at x = 2 turns about x = 1 to (1, 0, −1)
    vertices = np.array([[[2.0, 0, 0.5]], [[1.0, 0, -1.5]]])
    bent = hand_object_distance(vertices, _still(2, half), Plane(hinged=True))
    assert np.allclose(bent.sparse_L, [0.5, 0.5])
    assert np.allclose(_brute_force(vertices, half), bent.sparse_L)


def test_a_rigid_object_is_never_given_an_angle():
    plane = Plane(hinged=False)
    hand_object_distance(np.zeros((2, 1, 3)), _still(2, np.zeros(2)), plane)
    assert plane.angle is None


def test_asking_seldom_finds_the_same_extremes_as_asking_everywhere():
    rng = np.random.default_rng(3)
    hand = rng.normal(size=(1, 400, 3)) * 0.05 + 0.002 * rng.normal(size=(30, 400, 3))
    hand = hand + np.linspace(0.3, 0.0, 30)[:, None, None]  # from far away to all around the ball
    asked = []

    def ball(points, frame):
        asked.append(len(points))
        return np.linalg.norm(points, axis=-1) - 0.04

    least, lowest = metrics._extremes(hand, ball)
    everywhere = ball(hand, None)
    assert np.array_equal(least, np.abs(everywhere).min(1))
    assert np.array_equal(np.minimum(lowest, 0), np.minimum(everywhere.min(1), 0))
    assert sum(asked[:-1]) < 0.7 * hand[..., 0].size


def _brute_force(vertices, angle):
    from hoi_lib.motion import pose_object_points

    plane = Plane(hinged=True)
    as_tensor = lambda x: torch.as_tensor(np.asarray(x))[None]  # noqa: E731
    points = pose_object_points(
        as_tensor(plane.points), as_tensor(plane.point_part), as_tensor(plane.hinge), as_tensor(angle)
    )
    return torch.cdist(torch.as_tensor(vertices), points[0]).amin((1, 2)).numpy()


# --- planted bugs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attribute", "broken", "check"),
    [
        (
            "_held",
            lambda x, lengths: np.nan_to_num(x),
            test_what_lies_in_the_padding_does_not_matter_and_the_pose_is_held,
        ),
        (
            "_spectral_kl",
            lambda p, q: float((q * np.log(q / p)).sum((0, 2)).mean()),
            test_spectral_kl_of_constructed_spectra,
        ),
        (
            "_spectral_kl",
            lambda p, q: float((p * np.log(p / q)).sum(0).mean()),
            test_spectral_kl_of_constructed_spectra,
        ),
        (
            "_moments",
            lambda x: (x.mean(0), np.cov(x.T, bias=True)),
            test_covariances_that_do_not_commute_agree_with_the_matrix_root,
        ),
        ("_unbend", lambda local, angle, hinge: local, test_sampled_points_of_a_hinged_part_turn_with_it),
    ],
)
def test_classic_bugs_turn_a_check_red(monkeypatch, attribute, broken, check):
    monkeypatch.setattr(metrics, attribute, broken)
    with pytest.raises(AssertionError):
        check()
