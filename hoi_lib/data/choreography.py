"""How things move: minimum-jerk time courses, and one script per verb.

A script says where the object goes while it is held, at which angle its hinge stands, and what the hand does beside
holding: opens a little, slides round the object, rocks on a fingertip. Time is ``s``, (M,) from 0 to 1 over the frames
of holding; metres, radians, seconds; world frame relative to where the object stood. A script is a function of
:class:`Stage` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

UPRIGHT = np.array([0.0, 0.0, 1.0])


def minimum_jerk(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The course from 0 to 1 with the least jerk, ``10 x³ − 15 x⁴ + 6 x⁵``; 0 before and 1 after.

    Velocity and acceleration are zero at both ends, so courses can be put one after another or added.
    """
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x * x)


def course(s: Float[np.ndarray, "..."], start: float, end: float) -> Float[np.ndarray, "..."]:
    """A minimum-jerk step from 0 to 1 between two times."""
    return minimum_jerk((s - start) / (end - start))


def bump(s: Float[np.ndarray, "..."], start: float, top: float, leave: float, end: float) -> Float[np.ndarray, "..."]:
    """Up from 0 to 1 between ``start`` and ``top``, down again between ``leave`` and ``end``."""
    return course(s, start, top) - course(s, leave, end)


def turn(
    axis: Sequence[int | float] | Float[np.ndarray, "3"], angle: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "... 3 3"]:
    """Rotation matrices about a unit axis, float64."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.asarray(angle, float)[..., None, None]
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


@dataclass(frozen=True)
class Stage:
    """What a script knows: the times ``s`` (M,) and the length ``seconds``, the hinge angles ``angles`` (first, last)
    over which the grasp holds, the forearm's direction ``arm`` (3,) and the place ``palm`` (3,) of the main hand
    relative to the object's origin, the person's ``vigour`` (about 1), ``held`` if a second hand keeps the object
    still, and ``rng``."""

    s: np.ndarray
    seconds: float
    angles: tuple[float, float]
    arm: np.ndarray
    palm: np.ndarray
    vigour: float
    held: bool
    rng: np.random.Generator


@dataclass
class Action:
    """What a script gives back, M frames: ``shift`` (M, 3) and ``rotation`` (M, 3, 3) of the object about ``pivot``
    (3,), hinge ``angle`` (M,), how far the main hand's fingers ``open`` (M,) in radians, its ``slide`` (M,) about the
    object's own z axis and its ``rock`` (M,) about the touching fingertip. ``ends_held``: the clip ends in the hand."""

    shift: np.ndarray
    rotation: np.ndarray
    pivot: np.ndarray
    angle: np.ndarray
    open: np.ndarray
    slide: np.ndarray
    rock: np.ndarray
    ends_held: bool = False


def still(stage: Stage) -> Action:
    """Nothing moves: where every script begins."""
    m = len(stage.s)
    zero = np.zeros(m)
    return Action(
        np.zeros((m, 3)), np.broadcast_to(np.eye(3), (m, 3, 3)).copy(), np.zeros(3),
        np.full(m, stage.angles[0]), zero.copy(), zero.copy(), zero.copy(),
    )  # fmt: skip


def grasp(stage: Stage) -> Action:
    """Take hold and keep hold."""
    return still(stage)


def lift(stage: Stage) -> Action:
    """Straight up, and held there."""
    act, rng = still(stage), stage.rng
    act.shift[:, 2] = rng.uniform(0.16, 0.26) * course(stage.s, 0.0, rng.uniform(0.6, 0.8))
    act.shift[:, :2] = rng.uniform(-0.02, 0.02, 2) * course(stage.s, 0.1, 0.8)[:, None]
    act.rotation = turn(stage.arm, rng.uniform(-0.12, 0.12) * course(stage.s, 0.1, 0.8))
    act.ends_held = True
    return act


def place(stage: Stage) -> Action:
    """Up, across the table and down again somewhere else."""
    act, rng, s = still(stage), stage.rng, stage.s
    side, far = rng.choice([-1.0, 1.0]), rng.uniform(0.16, 0.26)
    side = -1.0 if stage.palm[0] > 0 and rng.random() < 0.7 else side
    act.shift[:, :2] = np.array([side * far, rng.uniform(-0.03, 0.06)]) * course(s, 0.1, 0.88)[:, None]
    act.shift[:, 2] = rng.uniform(0.06, 0.11) * bump(s, 0.0, 0.38, 0.6, 1.0)
    act.rotation = turn(UPRIGHT, -side * rng.uniform(0.05, 0.35) * course(s, 0.1, 0.88))
    return act


def pour(stage: Stage) -> Action:
    """Up, tilted about the forearm until it would run out, and back."""
    act, rng, s = still(stage), stage.rng, stage.s
    act.shift[:, 2] = rng.uniform(0.10, 0.16) * bump(s, 0.0, 0.28, 0.76, 1.0)
    act.shift[:, 1] = rng.uniform(0.0, 0.05) * bump(s, 0.0, 0.28, 0.76, 1.0)
    tilt = rng.uniform(1.35, 1.8) * bump(s, 0.2, 0.46, 0.6, 0.84)
    axis = np.array([stage.arm[0], stage.arm[1], 0.0])
    act.rotation, act.pivot = turn(axis, -tilt), 0.6 * stage.palm
    return act


def shake(stage: Stage) -> Action:
    """Up, and to and fro two or three times a second."""
    act, rng, s = still(stage), stage.rng, stage.s
    act.shift[:, 2] = rng.uniform(0.09, 0.14) * bump(s, 0.0, 0.2, 0.82, 1.0)
    beat = np.sin(2 * np.pi * rng.uniform(2.1, 2.8) * stage.vigour * s * stage.seconds) * bump(s, 0.14, 0.3, 0.72, 0.86)
    direction = np.array([0.35 * rng.standard_normal(), 0.35 * rng.standard_normal(), 1.0])
    act.shift += rng.uniform(0.020, 0.030) * beat[:, None] * direction / np.linalg.norm(direction)
    act.rotation = turn(np.cross(stage.arm, UPRIGHT), rng.uniform(0.06, 0.16) * beat)
    return act


def inspect(stage: Stage) -> Action:
    """Up and nearer to the eyes, turned this way and that."""
    act, rng, s = still(stage), stage.rng, stage.s
    near = bump(s, 0.0, 0.26, 0.8, 1.0)
    act.shift = near[:, None] * np.array([0.0, rng.uniform(-0.06, -0.02), rng.uniform(0.15, 0.22)])
    look = bump(s, 0.18, 0.32, 0.7, 0.84)
    roll = np.sin(2 * np.pi * rng.uniform(0.9, 1.3) * (s - 0.2)) * rng.uniform(0.55, 0.85)
    nod = np.sin(2 * np.pi * rng.uniform(0.6, 0.9) * (s - 0.2) + 1.0) * rng.uniform(0.15, 0.3)
    act.rotation = turn(stage.arm, roll * look) @ turn(UPRIGHT, nod * look)
    act.pivot = 0.5 * stage.palm
    return act


def screw(stage: Stage) -> Action:
    """Turned with the fingers, stroke by stroke; between strokes the fingers slide back round it."""
    act, rng, s = still(stage), stage.rng, stage.s
    strokes = int(np.clip(round(stage.seconds / 0.85), 2, 4))
    reach, edges = rng.uniform(0.65, 0.9), np.linspace(0.03, 0.97, strokes + 1)
    sense = rng.choice([-1.0, 1.0])
    hand, thing = np.full(len(s), -reach / 2), np.zeros(len(s))
    first = course(s, 0.0, edges[0] + 0.06)
    hand = hand * first
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        begin, middle = start + 0.06 * (start == edges[0]), start + 0.56 * (end - start)
        hand += reach * (course(s, begin, middle) - course(s, middle, end))
        thing += reach * course(s, begin, middle)
    hand += reach / 2 * course(s, edges[-1] - 0.02, 1.0)
    if stage.held:
        act.slide = sense * hand
        return act
    act.rotation = turn(UPRIGHT, sense * thing)
    act.slide = sense * (hand - thing)
    return act


def squeeze(stage: Stage) -> Action:
    """The fingers loosen and tighten; a hinge under them closes and springs back."""
    act, rng, s = still(stage), stage.rng, stage.s
    beats = int(np.clip(round(stage.seconds / 0.75), 2, 4))
    pulse = 0.5 - 0.5 * np.cos(2 * np.pi * beats * np.clip((s - 0.06) / 0.88, 0, 1))
    low, high = min(stage.angles), max(stage.angles)
    if high > low:
        act.angle = high - (high - low) * rng.uniform(0.8, 1.0) * pulse
    else:
        act.open = rng.uniform(0.22, 0.34) * pulse
    return act


def press(stage: Stage) -> Action:
    """The hand rocks on the fingertip that presses."""
    act, rng, s = still(stage), stage.rng, stage.s
    beats = int(np.clip(round(stage.seconds / 0.6), 2, 5))
    act.rock = rng.uniform(0.10, 0.17) * (0.5 - 0.5 * np.cos(2 * np.pi * beats * np.clip((s - 0.05) / 0.9, 0, 1)))
    return act


def open_(stage: Stage) -> Action:
    """The hinge goes from the first angle to the last."""
    act, rng = still(stage), stage.rng
    first, last = stage.angles
    act.angle = first + (last - first) * course(stage.s, rng.uniform(0.0, 0.08), rng.uniform(0.88, 1.0))
    return act


def hand_over(stage: Stage) -> Action:
    """Up and out towards somebody on the other side of the table, and held there."""
    act, rng, s = still(stage), stage.rng, stage.s
    out = course(s, 0.08, rng.uniform(0.62, 0.75))
    act.shift[:, 1] = rng.uniform(0.24, 0.32) * out
    act.shift[:, 0] = -0.3 * stage.palm[0] * out
    act.shift[:, 2] = rng.uniform(0.12, 0.19) * course(s, 0.0, 0.55)
    act.rotation = turn(stage.arm, rng.uniform(-0.15, 0.15) * out)
    act.ends_held = True
    return act


SCRIPTS: dict[str, Callable[[Stage], Action]] = {
    "grasp": grasp,
    "lift": lift,
    "place": place,
    "pour": pour,
    "shake": shake,
    "inspect": inspect,
    "screw": screw,
    "squeeze": squeeze,
    "press": press,
    "open": open_,
    "close": open_,  # the stage's angles run the other way
    "hand over": hand_over,
}
SECONDS = {  # how long an action takes at normal speed, shortest and longest
    "grasp": (1.5, 2.2), "lift": (1.5, 2.6), "place": (1.7, 2.8), "pour": (2.6, 3.7), "shake": (2.0, 3.4),
    "inspect": (2.7, 3.8), "screw": (2.2, 3.6), "squeeze": (1.7, 3.0), "press": (1.5, 2.8), "open": (1.6, 2.8),
    "close": (1.6, 2.8), "hand over": (1.7, 2.8),
}  # fmt: skip
