"""The bones of the stand-in hand: five fingers of an adult right hand, their joints, profiles and axes.

Everything in this file is in millimetres, for a right hand at rest in MANO's frame: the wrist near (96, 6, 6), fingers
along −x, the palm facing −y, the thumb towards +z. Bone lengths are those of a hand of about 19 cm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.interpolate import PchipInterpolator

FINGERS = ("index", "middle", "pinky", "ring", "thumb")  # MANO's order of joints 1-3, 4-6, 7-9, 10-12, 13-15
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
WRIST = np.array([96.0, 6.0, 6.0])
WEB = {"index": 16.5, "middle": 18.5, "ring": 17.5, "pinky": 20.5}  # where the webs lie, from the knuckle


@dataclass(frozen=True)
class Finger:
    """One finger at rest: ``base`` its first joint, an orthonormal frame (``along`` the finger, ``dorsal`` out of the
    back of the hand, ``axis`` the flexion axis with axis × dorsal = along), ``bones`` three lengths with the last one
    reaching the tip, ``droop`` the pitch of each bone towards the palm in radians, ``profile`` rows of (distance along,
    half width, half height above, half height below), and ``rings`` the distances along at which vertices lie."""

    base: np.ndarray
    along: np.ndarray
    dorsal: np.ndarray
    axis: np.ndarray
    bones: tuple[float, float, float]
    droop: tuple[float, float, float]
    profile: np.ndarray
    rings: tuple[float, ...]

    @property
    def joints(self) -> np.ndarray:
        """The three joints and the tip, (4, 3)."""
        steps = [
            b * (np.cos(p) * self.along - np.sin(p) * self.dorsal) for b, p in zip(self.bones, self.droop, strict=True)
        ]
        return self.base + np.vstack([np.zeros(3), np.cumsum(steps, axis=0)])

    @property
    def stations(self) -> np.ndarray:
        """Distances of the three joints and the tip along the finger, (4,)."""
        return (self.joints - self.base) @ self.along

    def local(self, points: np.ndarray) -> np.ndarray:
        """Coordinates (…, 3) of points in the finger's frame: along, above the centre line, sideways (+ radial)."""
        x, h, w = np.moveaxis((points - self.base) @ np.stack([self.along, self.dorsal, self.axis], 1), -1, 0)
        return np.stack([x, h - np.interp(x, self.stations, (self.joints - self.base) @ self.dorsal), w], -1)

    def point(self, x: np.ndarray, h: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Inverse of :meth:`local`."""
        h = h + np.interp(x, self.stations, (self.joints - self.base) @ self.dorsal)
        return self.base + x[..., None] * self.along + h[..., None] * self.dorsal + w[..., None] * self.axis

    def widths(self, x: np.ndarray) -> np.ndarray:
        """Half width, half height above and below at a distance along the finger, (…, 3)."""
        at, sizes = self.profile[:, 0], self.profile[:, 1:]
        return PchipInterpolator(at, sizes)(np.clip(x, at[0], at[-1]))

    def distance(self, points: np.ndarray) -> np.ndarray:
        """About the signed distance to the finger alone, negative inside: ellipses along, an ellipsoid at the tip."""
        x, h, w = np.moveaxis(self.local(points), -1, 0)
        side, above, below = np.moveaxis(self.widths(x), -1, 0)
        height = np.where(h > 0, above, below)
        end = self.profile[-1, 0]
        past = np.maximum(x - end, 0) / (self.stations[-1] - end) + np.minimum(x - self.profile[0, 0], 0) / 9
        return (np.sqrt((w / side) ** 2 + (h / height) ** 2 + past**2 + 1e-12) - 1) * np.sqrt(side * height)


def _finger(base, yaw, roll, bones, droop, scale, web) -> Finger:
    """A long finger that fans out by ``yaw`` and is turned about its own length by ``roll`` (degrees)."""
    yaw, roll = np.radians([yaw, roll])
    along = np.array([-np.cos(yaw), 0, np.sin(yaw)])
    side = np.array([np.sin(yaw), 0, np.cos(yaw)])
    dorsal = np.cos(roll) * np.array([0, 1.0, 0]) + np.sin(roll) * side
    p, m, d = bones
    table = [  # distance, half width, above, below
        (-4, 10.2, 9.8, 10.4),
        (0.55 * p, 9.5, 8.7, 10.5),
        (p, 9.9, 9.4, 8.3),
        (p + 0.5 * m, 8.9, 7.8, 9.6),
        (p + m, 8.7, 7.6, 7.4),
        (p + m + 0.42 * d, 8.5, 6.2, 8.4),
        (p + m + d - 7.0 * scale, 7.3, 5.5, 6.6),
    ]
    profile = np.array([(s, a * scale, b * scale, c * scale) for s, a, b, c in table])
    tip = p + m + d
    rings = (
        *np.linspace(web + 1, p - 5.2 * scale, 4)[1:],
        p,
        p + 5.2 * scale,
        p + 0.5 * m,
        p + m - 4.8 * scale,
        p + m,
        p + m + 4.8 * scale,
        tip - 4.6 * scale,
    )
    return Finger(
        np.array(base, float),
        along,
        dorsal,
        np.cross(along, -dorsal),
        bones,
        tuple(np.radians(droop)),
        profile,
        rings,
    )


def _thumb() -> Finger:
    """The thumb, set apart by 43° in the plane of the palm and rolled by 50° so that it bends across the palm."""
    along = np.array([-0.72, -0.15, 0.67])
    along /= np.linalg.norm(along)
    side = np.cross(along, [0, 1.0, 0])  # in the plane of the palm, towards the fingers
    side /= np.linalg.norm(side)
    up = np.cross(side, along)
    roll = np.radians(50)
    dorsal = np.cos(roll) * up - np.sin(roll) * side
    m, p, d = 44.0, 31.5, 25.5
    profile = np.array(
        [
            (8, 13.5, 12.0, 14.0),
            (0.55 * m, 12.5, 11.5, 13.5),
            (m, 11.0, 10.6, 10.6),
            (m + 0.5 * p, 9.9, 9.2, 10.2),
            (m + p, 10.3, 8.9, 8.9),
            (m + p + 0.42 * d, 10.2, 6.8, 9.0),
            (m + p + d - 8.5, 8.9, 6.0, 7.4),
        ]
    )
    rings = (
        m - 11.5,
        m - 5.0,
        m,
        m + 6.0,
        m + 0.52 * p,
        m + p - 5.8,
        m + p,
        m + p + 5.8,
        m + p + d - 5.6,
    )
    return Finger(
        np.array([73.0, -5.0, 28.0]),
        along,
        dorsal,
        np.cross(along, -dorsal),
        (m, p, d),
        tuple(np.radians((0, 3, 5))),
        profile,
        rings,
    )


@cache
def skeleton() -> dict[str, Finger]:
    """The five fingers by name."""
    return {
        "index": _finger((6.0, 6.0, 27.5), 7, 5, (41.0, 24.5, 20.5), (1, 4, 6), 0.97, WEB["index"]),
        "middle": _finger((4.0, 9.0, 5.0), 1, 0, (45.0, 27.5, 21.5), (1, 4, 6), 1.0, WEB["middle"]),
        "pinky": _finger((25.0, 0.0, -34.0), -14, -10, (33.5, 19.5, 19.0), (1, 4, 6), 0.84, WEB["pinky"]),
        "ring": _finger((11.5, 6.0, -16.0), -6, -4, (42.0, 26.5, 21.0), (1, 4, 6), 0.95, WEB["ring"]),
        "thumb": _thumb(),
    }


def joints() -> np.ndarray:
    """Rest places of the 16 joints, (16, 3)."""
    return np.vstack([WRIST, *(skeleton()[name].joints[:3] for name in FINGERS)])


def axes() -> tuple[np.ndarray, np.ndarray]:
    """Flexion and abduction axes of joints 1–15 of the right hand, (15, 3) each, unit."""
    flexion = np.repeat([skeleton()[n].axis for n in FINGERS], 3, axis=0)
    abduction = np.repeat([skeleton()[n].dorsal for n in FINGERS], 3, axis=0)
    return flexion, abduction


def turn(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotation matrices about one unit axis, (n, 3, 3) for angles (n,)."""
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.asarray(angle, float)[..., None, None]
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


# where smplx and Text2HOI look for the five fingertips
TIPS = {
    "smplx": {"thumb": 744, "index": 320, "middle": 443, "ring": 554, "pinky": 671},
    "text2hoi": {"thumb": 745, "index": 317, "middle": 445, "ring": 556, "pinky": 673},
}
