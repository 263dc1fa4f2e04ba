"""Classic mistakes in reading a recording, made on purpose: what a clip looks like when one convention is missed.

Each function takes a sound clip and its object's model and returns both as a reader would hand them out that makes
this one mistake. The book shows them side by side; a check of data sets has to find them. :func:`witnesses` are six
numbers of a clip by which some of them can be noticed. L frames. Metres, radians.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from hoi_lib.data.fingers import LIMITS, fingers_of
from hoi_lib.errors import ConfigError
from hoi_lib.hand import load_hand
from hoi_lib.metrics import hand_object_distance
from hoi_lib.motion import HandTrack, MotionClip
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import axis_angle_to_matrix, matrix_to_axis_angle, matrix_to_rot6d, rot6d_to_matrix

Array = np.ndarray
Read = tuple[MotionClip, ObjectModel]


@dataclass(frozen=True)
class Mistake:
    """One mistake: ``words`` for a title, the data sets ``where`` it is easily made, what was ``missed``, and the
    function that makes it. ``hinged`` mistakes need an object with a hinge."""

    words: str
    where: tuple[str, ...]
    missed: str
    make: Callable[[MotionClip, ObjectModel], Read]
    hinged: bool = False


def planted(name: str, clip: MotionClip, model: ObjectModel) -> Read:
    """The clip and model with the mistake ``name`` of :data:`MISTAKES`; the given ones stay as they are.

    Raises :class:`ConfigError` for an unknown name, and for a hinge's mistake on an object that has none.
    """
    if name not in MISTAKES:
        raise ConfigError(f"no mistake is called {name!r}: expected one of {', '.join(MISTAKES)}.")
    if MISTAKES[name].hinged and model.hinge is None:
        raise ConfigError(f"{name!r} needs an object with a hinge, and {model.name!r} has none.")
    return MISTAKES[name].make(clip, model)


def moving_camera(frames: int, seed: int = 0) -> Array:
    """Poses (L, 4, 4) camera → world of a camera on the head of somebody who looks at a table.

    The camera looks along its own z, with x to the right and y down. The eye sways by centimetres and the head turns by
    some ten degrees in five seconds.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[:, None] / 30
    waves = [rng.normal(size=3) * np.sin(2 * np.pi * rate * time + rng.uniform(0, 6, 3)) for rate in (0.12, 0.23)]
    eye = np.array([0.45, -0.3, 0.5]) + 0.06 * waves[0] + 0.03 * waves[1]
    look = np.array([0.05, 0.1, 0.1]) + 0.05 * waves[1] + 0.04 * waves[0] - eye
    z = look / np.linalg.norm(look, axis=1, keepdims=True)
    x = np.cross(z, [0.0, 0.0, 1.0] + 0.1 * waves[0])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    pose = np.tile(np.eye(4), (frames, 1, 1))
    pose[:, :3, :3] = np.stack([x, np.cross(z, x), z], -1)
    pose[:, :3, 3] = eye
    return pose


def seen_from(clip: MotionClip, camera: Array) -> MotionClip:
    """The clip in the coordinates of ``camera`` (L, 4, 4) camera → world, hands and object alike, in MANO's terms.

    A hand turns about its rest wrist J₀(β), so the wrist is what is carried: t' = Rᵀ (J₀ + t − c) − J₀.
    """
    turn, place = camera[:, :3, :3].swapaxes(1, 2), camera[:, :3, 3]
    hands = {}
    for side, track in clip.hands.items():
        rest = rest_wrist(side, track)
        rotations = track.rotations.copy()
        rotations[:, 0] = turn @ track.rotations[:, 0]
        carried = (turn @ (track.transl + rest - place)[..., None])[..., 0] - rest
        hands[side] = replace(track, transl=carried.astype(track.transl.dtype), rotations=rotations)
    item = clip.object
    moved = replace(
        item,
        transl=(turn @ (item.transl - place)[..., None])[..., 0].astype(item.transl.dtype),
        rotation=(turn @ item.rotation).astype(item.rotation.dtype),
    )
    return replace(clip, hands=hands, object=moved)


def rest_wrist(side: str, track: HandTrack) -> Array:
    """J₀(β), where this person's wrist lies at rest: (3,) in the number type of the track's translation."""
    with torch.no_grad():
        rest = load_hand(side).rest_wrist(torch.as_tensor(track.betas))
    return rest.numpy().astype(track.transl.dtype)


def _hands(clip: MotionClip, change: Callable[[str, HandTrack], HandTrack]) -> MotionClip:
    return replace(clip, hands={side: change(side, track) for side, track in clip.hands.items()})


def _transposed(clip: MotionClip, model: ObjectModel) -> Read:
    return replace(clip, object=replace(clip.object, rotation=clip.object.rotation.swapaxes(1, 2).copy())), model


def _bent(track: HandTrack, side: str, times: float | int) -> HandTrack:
    """The fingers with ``times`` the mean pose of the hand's file added, as vectors, which is how layers add it."""
    mean = load_hand(side).hands_mean.numpy().reshape(15, 3)
    fingers = matrix_to_axis_angle(np.asarray(track.rotations[:, 1:], np.float64)) + times * mean
    rotations = track.rotations.copy()
    rotations[:, 1:] = axis_angle_to_matrix(fingers)
    return replace(track, rotations=rotations)


def _mean_missing(clip: MotionClip, model: ObjectModel) -> Read:
    return _hands(clip, lambda side, track: _bent(track, side, -1)), model


def _mean_twice(clip: MotionClip, model: ObjectModel) -> Read:
    return _hands(clip, lambda side, track: _bent(track, side, 1)), model


def _rows(clip: MotionClip, model: ObjectModel) -> Read:
    def mixed(side: str, track: HandTrack) -> HandTrack:
        rotations = rot6d_to_matrix(matrix_to_rot6d(track.rotations, layout="columns"), layout="rows")
        return replace(track, rotations=rotations)

    return _hands(clip, mixed), model


def _millimetres(clip: MotionClip, model: ObjectModel) -> Read:
    return replace(clip, object=replace(clip.object, transl=1000 * clip.object.transl)), model


def _camera_kept(clip: MotionClip, model: ObjectModel) -> Read:
    return seen_from(clip, moving_camera(clip.frames)), model


def _wrist_not_carried(clip: MotionClip, model: ObjectModel) -> Read:
    """To the camera as it should be, and back with t' = R t + c, as if the hand turned about the origin."""
    camera = moving_camera(clip.frames)
    turn, place = camera[:, :3, :3], camera[:, :3, 3]
    recorded = seen_from(clip, camera)

    def back(side: str, track: HandTrack) -> HandTrack:
        moved = (turn @ recorded.hands[side].transl[..., None])[..., 0] + place
        return replace(track, transl=moved.astype(track.transl.dtype))

    return _hands(clip, back), model


def _shapeless(clip: MotionClip, model: ObjectModel) -> Read:
    return _hands(clip, lambda side, track: replace(track, betas=np.zeros_like(track.betas))), model


def _sides_swapped(clip: MotionClip, model: ObjectModel) -> Read:
    other = {"left": "right", "right": "left"}
    return replace(clip, hands={other[side]: track for side, track in clip.hands.items()}), model


def _hinge_reversed(clip: MotionClip, model: ObjectModel) -> Read:
    return replace(clip, object=replace(clip.object, angle=-clip.object.angle)), model


def _parts_swapped(clip: MotionClip, model: ObjectModel) -> Read:
    return clip, replace(model, part=1 - model.part)


def _slow(clip: MotionClip, model: ObjectModel) -> Read:
    """Four times the frames, as a recording at 120 frames a second has them, under the name of 30."""
    steps = np.arange(4 * (clip.frames - 1) + 1) / 4
    before = np.minimum(steps.astype(int), clip.frames - 2)
    share = (steps - before)[:, None]

    def between(x: Array) -> Array:
        weight = share.reshape(-1, *[1] * (x.ndim - 1))
        return ((1 - weight) * x[before] + weight * x[before + 1]).astype(x.dtype)

    def turned(rotation: Array) -> Array:
        mixed = matrix_to_rot6d(between(rotation))
        return rot6d_to_matrix(mixed)

    hands = {
        side: HandTrack(between(t.transl), turned(t.rotations), t.betas, t.valid[np.round(steps).astype(int)])
        for side, t in clip.hands.items()
    }
    item = clip.object
    angle = None if item.angle is None else between(item.angle)
    moved = replace(item, transl=between(item.transl), rotation=turned(item.rotation), angle=angle)
    return replace(clip, hands=hands, object=moved, labels=None), model


MISTAKES: dict[str, Mistake] = {
    "transposed": Mistake("rotation transposed", ("grab",), "objects turn as v R, which is Rᵀ v", _transposed),
    "mean missing": Mistake("mean pose missing", ("arctic",), "poses are offsets from the mean pose", _mean_missing),
    "mean twice": Mistake("mean pose twice", ("grab", "h2o"), "poses already hold the mean pose", _mean_twice),
    "rows": Mistake("rows for columns", ("text2hoi",), "six numbers are two columns, row by row", _rows),
    "millimetres": Mistake("millimetres", ("arctic",), "objects are in millimetres", _millimetres),
    "camera kept": Mistake("camera kept", ("h2o",), "every frame has a frame of reference of its own", _camera_kept),
    "wrist not carried": Mistake(
        "wrist not carried", ("h2o",), "a hand turns about its rest wrist, not about the origin", _wrist_not_carried
    ),
    "no betas": Mistake("betas left out", ("text2hoi",), "the rest wrist moves with the betas", _shapeless),
    "sides swapped": Mistake("sides swapped", ("h2o",), "the left hand stands first", _sides_swapped),
    "hinge reversed": Mistake("hinge reversed", ("arctic",), "the axis is −z", _hinge_reversed, hinged=True),
    "parts swapped": Mistake(
        "parts swapped", ("arctic",), "label 0 is the part that moves", _parts_swapped, hinged=True
    ),
    "slow motion": Mistake("120 read as 30", ("grab",), "120 frames are one second", _slow),
}
"""Every mistake by its name, in the order in which the book shows them."""


# --------------------------------------------------------------------------------------------------------- witnesses

BOUNDS = {"reach (m)": 3.0, "touch": 0.9, "depth (mm)": 10.0, "bend (rad)": 0.2, "drift (mm)": 5.0, "speed (m/s)": 0.4}
AT_LEAST = ("touch", "speed (m/s)")  # the others are at most their bound


def witnesses(clip: MotionClip, model: ObjectModel, held: Array) -> dict[str, float]:
    """Six numbers by which a broken clip may be known, under the names of :data:`BOUNDS`.

    How far from the origin the object gets; in which share of the frames ``held`` (of any length: they are stretched
    to the clip's) some hand touches; how deep one gets; how far a finger's bend exceeds what is comfortable; how far
    the object moves before it is held; and how fast a wrist ever is.
    """
    held = held[np.minimum(np.arange(clip.frames) * len(held) // clip.frames, len(held) - 1)]
    near, bend, speed = [], 0.0, 0.0
    for side, track in clip.hands.items():
        rotations, transl, betas = (torch.as_tensor(x).float() for x in (track.rotations, track.transl, track.betas))
        with torch.no_grad():
            vertices = load_hand(side).from_matrices(rotations, transl, betas).vertices
        near.append(hand_object_distance(vertices, clip.object, model))
        angles = fingers_of(load_hand(side)).angles(rotations[:, 1:])[..., 0]
        low, high = LIMITS[:15].T
        bend = max(bend, float(torch.maximum(low - angles, angles - high).amax()))
        steps = np.diff(track.transl + rest_wrist(side, track), axis=0)
        speed = max(speed, clip.fps * float(np.linalg.norm(steps, axis=1).max()))
    places, first = clip.object.transl, max(int(held.argmax()), 1)
    touching = np.min([n.distance_L for n in near], axis=0) <= 0.005
    drift = np.linalg.norm(places[:first] - places[0], axis=1).max()
    found = (np.abs(places).max(), touching[held].mean(), 1000 * max(n.depth_L.max() for n in near))
    return dict(zip(BOUNDS, map(float, (*found, bend, 1000 * drift, speed)), strict=True))


def objections(found: dict[str, float]) -> list[str]:
    """The witnesses whose number breaks its bound."""
    return [k for k, bound in BOUNDS.items() if (found[k] < bound if k in AT_LEAST else found[k] > bound)]
