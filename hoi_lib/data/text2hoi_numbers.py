"""How Text2HOI's numbers are made from poses and back: offsets from the mean pose, sparse contacts, template frames.

L frames. A clip's rotations are absolute; ARCTIC's fingers are stored as offsets from MANO's mean pose, which are added
as axis-angle numbers, joint by joint: no product of rotations does the same.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from hoi_lib.catalogue import Hinge
from hoi_lib.data.arctic_objects import HINGE
from hoi_lib.errors import ConfigError
from hoi_lib.hand import hand_data
from hoi_lib.motion import ObjectTrack
from hoi_lib.objects import ObjectModel

REACH = 0.02  # metres: a joint this close to a point is in contact
Array = np.ndarray


def _mean_pose(side: str) -> Array:
    """The mean rotation vectors (15, 3) of the fingers of one side, radians, of the hand in use."""
    return _mean_pose_of(side, os.environ.get("HOI_MANO_DIR") or None)


@cache
def _mean_pose_of(side: str, source: str | None) -> Array:
    return hand_data(side, source)["hands_mean"].astype(np.float64).reshape(15, 3)


def with_mean_pose(rotations: Array, side: str) -> Array:
    """Rotations (L, 16, 3, 3) whose fingers had been offsets from the mean pose; the root is kept."""
    offsets = Rotation.from_matrix(rotations[:, 1:].reshape(-1, 3, 3)).as_rotvec().reshape(-1, 15, 3)
    fingers = Rotation.from_rotvec((offsets + _mean_pose(side)).reshape(-1, 3)).as_matrix()
    return np.concatenate([rotations[:, :1], fingers.reshape(-1, 15, 3, 3)], 1)


def without_mean_pose(rotations: Array, side: str, name: str = "") -> Array:
    """Rotations (L, 16, 3, 3) whose fingers are offsets from MANO's mean pose: the inverse of adding it.

    Of the rotation vectors that mean the same pose, the one is taken whose offset is shorter than π, since a longer one
    would not survive as a rotation. Raises :class:`ConfigError` where there is none.
    """
    mean = _mean_pose(side)
    fingers = np.asarray(rotations[:, 1:], np.float64)
    vectors = Rotation.from_matrix(fingers.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 15, 3)
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    other = vectors * (1 - 2 * np.pi / np.maximum(angle, 1e-9))
    near, far = vectors - mean, np.where(angle > 1e-9, other, vectors) - mean
    offset = np.where(np.linalg.norm(near, axis=-1, keepdims=True) < np.pi, near, far)
    if not (np.linalg.norm(offset, axis=-1) < np.pi).all():
        raise ConfigError(f"{name}: a finger is bent so far that its offset from the mean pose is no rotation.")
    turned = Rotation.from_rotvec(offset.reshape(-1, 3)).as_matrix().reshape(fingers.shape)
    return np.concatenate([rotations[:, :1], turned], 1)


def posed_points(track: ObjectTrack, model: ObjectModel) -> Array:
    """The 1 024 points (L, 1024, 3) of an object in the world, float64."""
    points = model.points.astype(np.float64)[None]
    if track.angle is not None and model.hinge is not None:
        turn = Rotation.from_rotvec(np.outer(track.angle, model.hinge.axis)).as_matrix()
        turned = (points - model.hinge.origin) @ turn.transpose(0, 2, 1) + model.hinge.origin
        points = np.where((model.point_part == 1)[:, None], turned, points)
    return points @ np.swapaxes(track.rotation, -1, -2) + track.transl[:, None]


def sparse_contacts(points: Array, joints: Array) -> tuple[Array, Array, Array, Array]:
    """Frame, point, joint (int64) and distance (float32, metres) of every joint (L, 21, 3) that is less than 2 cm from
    a point (L, P, 3), in that order; empty for a hand without joints."""
    found = [np.zeros((3, 0), np.int64)], [np.zeros(0)]
    for frame in range(len(joints)):
        distance = np.linalg.norm(points[frame, :, None] - joints[frame, None], axis=-1)
        point, joint = np.nonzero(distance < REACH)
        found[0].append(np.stack([np.full_like(point, frame), point, joint]))
        found[1].append(distance[point, joint])
    return *np.concatenate(found[0], 1), np.concatenate(found[1]).astype(np.float32)


def template_frame(model: ObjectModel) -> tuple[Array, Array]:
    """Turn (3, 3) and origin (3,) of the frame ``v' = turn (v − origin)`` in which the hinge is −z through the origin;
    the identity for a rigid object and for one that is like that already."""
    if model.hinge is None or (np.array_equal(model.hinge.axis, HINGE.axis) and not np.any(model.hinge.origin)):
        return np.eye(3), np.zeros(3)
    turn, _ = Rotation.align_vectors(HINGE.axis[None], np.asarray(model.hinge.axis)[None])
    return turn.as_matrix(), np.asarray(model.hinge.origin, np.float64)


def in_template_frame(model: ObjectModel) -> ObjectModel:
    """The same object in the frame of :func:`template_frame`, its surface samples moved along."""
    turn, origin = template_frame(model)
    if model.hinge is None or np.array_equal(turn, np.eye(3)) and not origin.any():
        return model
    hinge = Hinge(np.zeros(3), HINGE.axis, model.hinge.limits)
    moved = replace(model, vertices=(model.vertices - origin) @ turn.T, hinge=hinge)
    samples = (model.points - origin) @ turn.T, model.normals @ turn.T, model.point_part
    moved.__dict__["_samples"] = samples
    return moved
