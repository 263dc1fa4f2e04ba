"""What the tables report: contact, penetration, jitter, placement, and the distance between two feature clouds.

N clips (one hand each), L frames, J joints, V vertices, D features; lengths come in metres, reported errors are
millimetres. Every function takes numpy arrays or torch tensors, works in float64 and returns plain floats. Averages are
*micro* averages: all valid frames of all clips are pooled before dividing, so a long clip counts for more. Frames that
are not valid count nowhere, whatever they hold. An input that cannot be scored (wrong shape, no valid frame, a value
that is not finite in a valid frame) raises :class:`ValueError` and says which argument it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from hoi_lib.motion import ObjectTrack
from hoi_lib.rotations import axis_angle_to_matrix

Array = np.ndarray | Tensor
AXIS_REDUCTIONS = ("sum", "mean")


def contact_ratio(distance_NL: Array, valid_NL: Array, threshold: float = 0.005) -> float:
    """CR: the share of valid frames whose hand is within ``threshold`` metres of the object's surface (higher: better).

    ``distance_NL`` is the unsigned distance of the nearest hand vertex. The paper says "within 5 mm", so a distance of
    exactly the threshold is contact. A hand deep inside the object may count as contact: read CR beside Pen.
    """
    distance, valid = _frames("distance_NL", distance_NL, valid_NL)
    return float((distance[valid] <= threshold).mean())


def penetration_ratio(depth_NL: Array, valid_NL: Array, threshold: float = 0.01) -> float:
    """Pen: the share of valid frames with a hand vertex deeper than ``threshold`` metres in the object (lower: better).

    ``depth_NL`` is the depth of the deepest vertex, 0 when none is inside. "Deeper than 1 cm" is strict: exactly the
    threshold does not count.
    """
    depth, valid = _frames("depth_NL", depth_NL, valid_NL)
    return float((depth[valid] > threshold).mean())


def clean_contact_ratio(
    distance_NL: Array, depth_NL: Array, valid_NL: Array, threshold: float = 0.005, deepest: float = 0.01
) -> float:
    """The share of valid frames that count for CR and not for Pen: the hand touches, and no vertex is too deep.

    Not the paper's, but what its two numbers leave open: a hand stuck in the middle of an object has CR 1.
    """
    distance, valid = _frames("distance_NL", distance_NL, valid_NL)
    depth, _ = _frames("depth_NL", depth_NL, valid_NL)
    return float(((distance[valid] <= threshold) & (depth[valid] <= deepest)).mean())


def pskl_j(
    real_NLJ3: Array, generated_NLJ3: Array, lengths_N: Array, axis_reduction: str = "sum"
) -> tuple[float, float]:
    """PSKL-J: how far the power spectra of joint accelerations lie apart, as (KL(real‖generated), KL(generated‖real)).

    The recipe of TaMF: after the last valid frame the last pose is held in both sets; accelerations are second
    differences (not divided by dt²); the power |FFT|² keeps all L − 2 bins, is summed over clips, gets 1e-8 and is
    normalised over frequency for every joint and axis; KL in nats, **summed** over x, y, z and averaged over joints
    (``axis_reduction="mean"`` divides by three, as MotionGAN does). Identical sets give 0, and so do two sets that both
    stand still. It measures jitter and is biased in small sets, so compare only sets of the same clips and state N.
    """
    real, generated = _motions("real_NLJ3", real_NLJ3, "generated_NLJ3", generated_NLJ3)
    lengths = _numpy(lengths_N).astype(int)
    clips, frames = real.shape[:2]
    if lengths.shape != (clips,) or frames < 3 or clips == 0 or lengths.min() < 1 or lengths.max() > frames:
        raise ValueError(
            f"lengths_N: expected {clips} numbers from 1 to L = {frames} with L ≥ 3 and at least one clip, "
            f"got shape {lengths.shape}" + (f" from {lengths.min()} to {lengths.max()}." if lengths.size else ".")
        )
    if axis_reduction not in AXIS_REDUCTIONS:
        raise ValueError(f"axis_reduction {axis_reduction!r}: expected one of {AXIS_REDUCTIONS}.")
    p, q = (_acceleration_spectrum(_held(x, lengths)) for x in (real, generated))
    scale = 1.0 if axis_reduction == "sum" else 1 / 3
    return scale * _spectral_kl(p, q), scale * _spectral_kl(q, p)


def frechet_distance(real_ND: Array, generated_MD: Array) -> float:
    """FID: squared Fréchet distance between Gaussians fitted to two feature sets (lower: better).

    ``|μ₁ − μ₂|² + tr(S₁ + S₂ − 2 (S₁ S₂)^½)`` with unbiased covariances (N − 1); the trace of the root comes from the
    eigenvalues of ``S₁^½ S₂ S₁^½``, which is symmetric, so nothing complex ever appears. Each set needs two rows.
    Biased in small sets: comparable only for equal N and the same features.
    """
    a, b = (_numpy(x).astype(np.float64) for x in (real_ND, generated_MD))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"real_ND, generated_MD: expected (N, D) and (M, D) with N, M ≥ 2, got {a.shape} and {b.shape}."
        )
    _check_finite("real_ND", a)
    _check_finite("generated_MD", b)
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a), _moments(b)
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
    squared = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    return float(max(squared, 0.0))


def mpjpe(generated_NLJ3: Array, real_NLJ3: Array, valid_NL: Array, root: int | None = None) -> float:
    """Mean distance in **millimetres** between generated and real joints given in metres, over valid frames and joints.

    Nothing is aligned: errors of placement count, as in the paper. ``root`` names a joint to subtract from both first
    (the root-aligned extra column, which is not the paper's).
    """
    generated, real = _motions("generated_NLJ3", generated_NLJ3, "real_NLJ3", real_NLJ3)
    if root is not None:
        generated, real = (x - x[:, :, root : root + 1] for x in (generated, real))
    error, valid = _frames("generated − real", np.linalg.norm(generated - real, axis=-1).mean(-1), valid_NL)
    return float(1000 * error[valid].mean())


def mpvpe(generated_NLV3: Array, real_NLV3: Array, valid_NL: Array) -> float:
    """:func:`mpjpe` of the vertices: mean distance in millimetres over valid frames and all vertices, unaligned."""
    return mpjpe(generated_NLV3, real_NLV3, valid_NL)


@runtime_checkable
class Surface(Protocol):
    """What :func:`hand_object_distance` asks of an object: :class:`hoi_lib.objects.ObjectModel` has it."""

    points: np.ndarray
    point_part: np.ndarray

    def signed_distance(self, points: np.ndarray, angle: np.ndarray | None = None) -> np.ndarray:
        """Distance in metres of ``points`` (K, 3) in the object's frame at hinge ``angle`` (K,), negative inside."""

    def hinge_numbers(self) -> np.ndarray:
        """Hinge origin and unit axis, (6,), zeros for a rigid object."""


@dataclass(frozen=True)
class HandObjectDistance:
    """Per frame, in metres: ``distance_L`` of the nearest hand vertex to the object's surface (unsigned), ``depth_L``
    of the deepest vertex inside it (0 if none), ``sparse_L`` of the nearest vertex to the object's sampled points."""

    distance_L: np.ndarray
    depth_L: np.ndarray
    sparse_L: np.ndarray


def hand_object_distance(vertices_LV3: Array, track: ObjectTrack, surface: Surface) -> HandObjectDistance:
    """Measure a hand (world frame) against the surface of a moving object, frame by frame.

    The hand is carried into the object's frame, ``Rᵀ (v − t)``, so the mesh is never moved; a hinged object is bent by
    ``track.angle`` radians. ``sparse_L`` is for ``cr_1024``, the variant that only knows the sampled points: they lie
    up to 8 mm apart on a box, so it misses touches that ``distance_L`` sees.
    """
    vertices = _numpy(vertices_LV3).astype(np.float64)
    if vertices.ndim != 3 or vertices.shape[2] != 3 or len(vertices) != len(track.transl):
        raise ValueError(
            f"vertices_LV3: expected ({len(track.transl)}, V, 3) for this object track, got {vertices.shape}."
        )
    angle = track.angle if surface.hinge_numbers().any() else None
    local = (vertices - track.transl[:, None]) @ track.rotation  # rows: v R is Rᵀ v

    def exact(points_K3: np.ndarray, frame_K: np.ndarray) -> np.ndarray:
        return np.asarray(surface.signed_distance(points_K3, None if angle is None else angle[frame_K]))

    def sampled(points_K3: np.ndarray, frame_K: np.ndarray) -> np.ndarray:
        return _distance_to_points(points_K3, None if angle is None else angle[frame_K], surface)

    distance_L, lowest_L = _extremes(local, exact)
    sparse_L, _ = _extremes(local, sampled)
    return HandObjectDistance(distance_L, np.clip(-lowest_L, 0, None), sparse_L)


def _extremes(
    vertices_LV3: np.ndarray, distance: Callable[[np.ndarray, np.ndarray], np.ndarray], anchors: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Per frame the least |d| and the least d over the vertices, asking ``distance(points_K3, frame_K)`` seldom.

    A distance changes by at most as much as the point moves. So it is asked at a few anchor vertices, and then only at
    those vertices that could still beat the best anchor: exact, and several times cheaper than asking everywhere.
    """
    frames = len(vertices_LV3)
    anchor_A, owner_V = spread_vertices(vertices_LV3[0], anchors)
    at_LA3 = vertices_LV3[:, anchor_A]
    d_LA = distance(at_LA3.reshape(-1, 3), np.repeat(np.arange(frames), len(anchor_A))).reshape(frames, -1)
    least_L, lowest_L = np.abs(d_LA).min(1), d_LA.min(1)
    reach_LV = np.linalg.norm(vertices_LV3 - at_LA3[:, owner_V], axis=-1)
    nearer = np.abs(d_LA)[:, owner_V] - reach_LV < least_L[:, None]
    deeper = d_LA[:, owner_V] - reach_LV < np.minimum(lowest_L, 0)[:, None]
    frame_K, vertex_K = np.nonzero((nearer | deeper) & (reach_LV > 0))
    d_K = distance(vertices_LV3[frame_K, vertex_K], frame_K)
    np.minimum.at(least_L, frame_K, np.abs(d_K))
    np.minimum.at(lowest_L, frame_K, d_K)
    return least_L, lowest_L


def spread_vertices(vertices_V3: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of at most ``count`` vertices, farthest first, and for every vertex which of them is nearest."""
    chosen, owner = [0], np.zeros(len(vertices_V3), int)
    distance = np.linalg.norm(vertices_V3 - vertices_V3[0], axis=1)
    while len(chosen) < count and distance.max() > 0:
        chosen.append(int(distance.argmax()))
        to_new = np.linalg.norm(vertices_V3 - vertices_V3[chosen[-1]], axis=1)
        owner[to_new < distance] = len(chosen) - 1
        distance = np.minimum(distance, to_new)
    return np.array(chosen), owner


def _distance_to_points(points_K3: np.ndarray, angle_K: np.ndarray | None, surface: Surface) -> np.ndarray:
    """Distance to the nearest sampled point; for the moving part the query is turned back, not the samples."""
    best = np.full(len(points_K3), np.inf)
    for which in np.unique(surface.point_part):
        query = points_K3 if which == 0 or angle_K is None else _unbend(points_K3, angle_K, surface.hinge_numbers())
        tree = cKDTree(surface.points[surface.point_part == which])
        best = np.minimum(best, tree.query(query)[0])
    return best


def _unbend(points_K3: np.ndarray, angle_K: np.ndarray, hinge_6: np.ndarray) -> np.ndarray:
    """Points in the object's frame as the moving part sees them at rest: turned by −angle about the hinge."""
    origin, axis = hinge_6[:3], hinge_6[3:]
    turn_K33 = axis_angle_to_matrix(torch.from_numpy(np.asarray(angle_K, np.float64)[:, None] * axis)).numpy()
    return ((points_K3 - origin)[:, None] @ turn_K33)[:, 0] + origin


def _held(x_NLJ3: np.ndarray, lengths_N: np.ndarray) -> np.ndarray:
    """Repeat each clip's last valid pose to the end, so that padding has no acceleration."""
    frame_NL = np.minimum(np.arange(x_NLJ3.shape[1]), lengths_N[:, None] - 1)
    held = np.take_along_axis(x_NLJ3, frame_NL[:, :, None, None], axis=1)
    _check_finite("joints", held)
    return held


def _acceleration_spectrum(x_NLJ3: np.ndarray) -> np.ndarray:
    """Power over frequency (L − 2, J, 3) of the accelerations of all clips together; sums to 1 over frequency."""
    power = (np.abs(np.fft.fft(np.diff(x_NLJ3, n=2, axis=1), axis=1)) ** 2).sum(0) + 1e-8
    return power / power.sum(0)


def _spectral_kl(p_FJ3: np.ndarray, q_FJ3: np.ndarray) -> float:
    """KL(p‖q) in nats over frequency, summed over axes, averaged over joints."""
    return float((p_FJ3 * np.log(p_FJ3 / q_FJ3)).sum((0, 2)).mean())


def _moments(x_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and unbiased covariance (D, D)."""
    mean = x_ND.mean(0)
    centred = x_ND - mean
    return mean, centred.T @ centred / (len(x_ND) - 1)


def _frames(name: str, value_NL: Array, valid_NL: Array) -> tuple[np.ndarray, np.ndarray]:
    """A number per frame and its mask, checked: same shape (N, L), some valid frame, finite where valid."""
    value, valid = _numpy(value_NL).astype(np.float64), _numpy(valid_NL) != 0
    if value.ndim != 2 or value.shape != valid.shape:
        raise ValueError(f"{name}, valid_NL: expected the same shape (N, L), got {value.shape} and {valid.shape}.")
    if not valid.any():
        raise ValueError("valid_NL: no frame is valid, so there is nothing to average.")
    _check_finite(name, value[valid])
    return value, valid


def _motions(name_a: str, a: Array, name_b: str, b: Array) -> tuple[np.ndarray, np.ndarray]:
    """Two motions of the same shape (N, L, ·, 3) in float64."""
    a, b = _numpy(a).astype(np.float64), _numpy(b).astype(np.float64)
    if a.ndim != 4 or a.shape[-1] != 3 or a.shape != b.shape:
        raise ValueError(f"{name_a}, {name_b}: expected the same shape (N, L, ·, 3), got {a.shape} and {b.shape}.")
    return a, b


def _check_finite(name: str, x: np.ndarray) -> None:
    if not np.isfinite(x).all():
        raise ValueError(f"{name}: holds a value that is not finite.")


def _numpy(x: Array) -> np.ndarray:
    return x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
