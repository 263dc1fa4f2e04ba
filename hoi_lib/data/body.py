"""The person behind the hands: two shoulders, two-bone arms, and how comfortable a wrist is.

Data hold hands only, yet a hand that no arm could carry looks wrong at once. This little body stands at the near side
of a table (plane z = 0), looks along +y and is used to choose where an object stands and which grasp takes it. Nothing
of it is stored. Numpy, metres, degrees; shapes ``...`` broadcast.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

SHOULDER = {"left": np.array([-0.18, -0.36, 0.40]), "right": np.array([0.18, -0.36, 0.40])}
UPPER_ARM, FOREARM = 0.30, 0.26
MOST_BEND = 70.0  # degrees between forearm and hand beyond which a wrist looks broken
_SWIVEL = np.radians(np.arange(-20.0, 111.0, 10.0))  # the elbow hangs at 0 and is lifted outwards at 90
_UP = np.array([0.0, 0.0, 1.0])


def hand_frame(rotation: Float[np.ndarray, "... 3 3"], side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors of a hand with root ``rotation``: along the fingers, out of the palm, towards the thumb."""
    along = -rotation[..., :, 0] if side == "right" else rotation[..., :, 0]
    return along, -rotation[..., :, 1], rotation[..., :, 2]


def forearm(wrist: Float[np.ndarray, "... 3"], along: Float[np.ndarray, "... 3"], side: str) -> np.ndarray:
    """Unit vector from elbow to wrist (..., 3) for the elbow that bends the wrist least.

    The elbow lies on a circle about the line from shoulder to wrist. A wrist out of reach moves the shoulder after it,
    as a person leans.
    """
    shoulder = SHOULDER[side]
    reach = wrist - shoulder
    distance = np.linalg.norm(reach, axis=-1, keepdims=True)
    line = reach / np.maximum(distance, 1e-9)
    d = np.clip(distance, 0.12, 0.98 * (UPPER_ARM + FOREARM))
    x = (d**2 + FOREARM**2 - UPPER_ARM**2) / (2 * d)  # from the wrist back to the centre of the circle
    radius = np.sqrt(np.maximum(FOREARM**2 - x**2, 0))
    hang = -_UP + line * line[..., 2:]
    hang = hang / np.maximum(np.linalg.norm(hang, axis=-1, keepdims=True), 1e-9)
    outward = np.cross(line, hang) if side == "left" else np.cross(hang, line)
    swing = np.cos(_SWIVEL)[:, None] * hang[..., None, :] + np.sin(_SWIVEL)[:, None] * outward[..., None, :]
    back = -line[..., None, :] * x[..., None, :] + radius[..., None, :] * swing  # wrist to elbow, one per swivel
    candidates = -back / FOREARM
    cost = -(candidates * along[..., None, :]).sum(-1) + 0.05 * np.abs(_SWIVEL)
    best = cost.argmin(-1)
    return np.take_along_axis(candidates, best[..., None, None], -2)[..., 0, :]


def wrist_bend(
    wrist: Float[np.ndarray, "... 3"], rotation: Float[np.ndarray, "... 3 3"], side: str
) -> Float[np.ndarray, "..."]:
    """Angle in degrees between the forearm and the hand: 0 is a straight wrist."""
    along, _, _ = hand_frame(rotation, side)
    return _angle(forearm(wrist, along, side), along)


def pronation(
    wrist: Float[np.ndarray, "... 3"], rotation: Float[np.ndarray, "... 3 3"], side: str
) -> Float[np.ndarray, "..."]:
    """Turn of the hand about the forearm in degrees: 0 thumb up, 90 palm down, -90 palm up."""
    along, _, thumb = hand_frame(rotation, side)
    arm = forearm(wrist, along, side)
    straight = _carry(along, arm, thumb)
    up = _UP - arm * arm[..., 2:]
    up = up / np.maximum(np.linalg.norm(up, axis=-1, keepdims=True), 1e-6)
    turn = np.arctan2((np.cross(up, straight) * arm).sum(-1), (up * straight).sum(-1))
    return np.degrees(turn) * (-1 if side == "right" else 1)


def discomfort(
    wrist: Float[np.ndarray, "... 3"], rotation: Float[np.ndarray, "... 3 3"], side: str
) -> Float[np.ndarray, "..."]:
    """How far a hand is from a natural one, in units where 1 is the edge of what looks right.

    Squared share of the allowed wrist bend, plus what the forearm is turned beyond 85° palm up or 110° palm down, plus
    an arm that comes from below the table.
    """
    bend = wrist_bend(wrist, rotation, side) / MOST_BEND
    turn = pronation(wrist, rotation, side)
    beyond = (np.maximum(turn - 110, 0) + np.maximum(-85 - turn, 0)) / 30
    along, _, _ = hand_frame(rotation, side)
    below = np.maximum(along[..., 2] - 0.45, 0) / 0.25
    return bend**2 + beyond**2 + below**2


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


def _carry(start: np.ndarray, end: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Turn ``vector`` by the smallest rotation that takes the unit vector ``start`` to ``end``."""
    axis, cosine = np.cross(start, end), (start * end).sum(-1, keepdims=True)
    along = (axis * vector).sum(-1, keepdims=True) * axis / np.maximum(1 + cosine, 1e-6)
    return vector * cosine + np.cross(axis, vector) + along
