"""The ten people of the synthetic set: hand shape, pace, handedness and manner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoi_lib.data.splits import SUBJECTS


@dataclass(frozen=True, eq=False)
class Person:
    """``betas`` (10,) the hand's shape; ``pace`` how fast (about 1); ``right`` the share of one-handed actions done
    with the right hand; ``arc`` metres by which a reach bows upwards; ``caution`` scales how far ahead of the object
    the hand opens; ``vigour`` scales quick motions."""

    name: str
    betas: np.ndarray
    pace: float
    right: float
    arc: float
    caution: float
    vigour: float


def _person(number: int, name: str) -> Person:
    rng = np.random.default_rng([90_210, number])
    betas = np.clip(rng.normal(0, 0.8, 10), -1.6, 1.6).astype(np.float32)
    left_handed = number in (4, 8)
    return Person(
        name, betas, rng.uniform(0.88, 1.16), 0.25 if left_handed else 0.75, rng.uniform(0.02, 0.06),
        rng.uniform(0.85, 1.25), rng.uniform(0.9, 1.12),
    )  # fmt: skip


PEOPLE = {name: _person(i, name) for i, name in enumerate(SUBJECTS)}
