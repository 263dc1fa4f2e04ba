"""Checks of the second half of chapter 4, "Real data: four sets, four conventions"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hoi_lib.exercises import Unanswered, exercise, require, require_close


@exercise(
    "slow_motion",
    chapter="04b",
    hint="The clip seems to last as long as 480 frames do at 30 a second. A velocity has this time in it once, an "
    "acceleration twice.",
    wrong=[[4, 0.25, 0.0625], [16, 4, 16], [16, 0.25, 0.25], [16, 1, 1]],
)
def slow_motion(answer: Sequence[float]) -> None:
    """How long does a clip seem, and by which factors are velocity and acceleration wrong, if 120 is read as 30?"""
    seconds, velocity, acceleration = answer
    require(abs(float(seconds) - 4) > 1e-6, "four seconds is how long it was; how long does it seem?")
    require_close(seconds, 16, "480 frames, believed to be 30 a second")
    require(abs(float(velocity) - 4) > 1e-6, "seen over true: does it seem faster or slower?")
    require_close(velocity, 0.25, "the same way in four times the time")
    require(abs(float(acceleration) - 0.25) > 1e-6, "an acceleration is a change of velocity over a time")
    require_close(acceleration, 0.0625, "the time is in an acceleration twice")


def _bare(track: Any) -> Any:
    import numpy as np

    return replace(track, betas=np.zeros_like(track.betas))


def _shifted(track: Any, side: str, times: float) -> Any:
    from hoi_lib.data.mistakes import rest_wrist

    bare = _bare(track)
    return replace(bare, transl=track.transl + times * (rest_wrist(side, track) - rest_wrist(side, bare)))


def _mended_as(side: str) -> Callable:
    """A wrong answer: the rest wrist of one side for both."""
    return lambda track, _: _shifted(track, side, 1.0)


@exercise(
    "same_wrist",
    chapter="04b",
    hint="The wrist is at rest_wrist(side, track) + transl, before and after. Solve for the new transl.",
    wrong=[
        lambda track, side: _bare(track),
        lambda track, side: _shifted(track, side, -1.0),
        _mended_as("left"),
        lambda track, side: track,
    ],
)
def same_wrist(answer: Callable) -> None:
    """Which track has betas of zero and the wrist where it was?"""
    import numpy as np

    from hoi_lib.data.mistakes import rest_wrist

    for seed, side in enumerate(("right", "left", "right")):
        track = _track(seed)
        before, betas = track.transl + rest_wrist(side, track), track.betas.copy()
        found = answer(track, side)
        if found.transl is ...:
            raise Unanswered
        require(np.array_equal(track.betas, betas), "make a new track with replace, and leave the given one as it is")
        require(not np.any(found.betas), "the betas are to be zero")
        require(np.array_equal(found.rotations, track.rotations), "the rotations stay as they are")
        moved = np.linalg.norm(found.transl + rest_wrist(side, found) - before, axis=1).max()
        require(moved < 1e-9, f"the {side} wrist has moved by {1000 * moved:.1f} mm")


def _track(seed: int) -> Any:
    """A made-up hand (float64) with large betas, so that a wrong wrist is centimetres away."""
    import numpy as np

    from hoi_lib.motion import HandTrack
    from hoi_lib.rotations import axis_angle_to_matrix

    rng = np.random.default_rng(seed)
    rotations = axis_angle_to_matrix(rng.normal(size=(9, 16, 3)))
    return HandTrack(rng.normal(size=(9, 3)), rotations, rng.normal(size=10) * 2, np.ones(9, bool))


def _moves(transl: Any, rotation: Any, contact: Any, way: bool = True, turn: bool = True, after: bool = True) -> bool:
    """Whether the object gets away from its first pose before the first contact, or (``after``) after the last."""
    import numpy as np

    from hoi_lib.rotations import geodesic_angle

    parts = [slice(0, int(contact.argmax()))]
    parts += [slice(len(contact) - int(contact[::-1].argmax()), None)] if after else []
    for part in parts:
        far = np.linalg.norm(transl[part] - transl[part][:1], axis=-1).max(initial=0)
        much = np.degrees(geodesic_angle(rotation[part][:1], rotation[part])).max(initial=0)
        if (way and far > 0.005) or (turn and much > 2):
            return True
    return False


def _untouched_together(transl: Any, rotation: Any, contact: Any) -> bool:
    """A wrong answer: all frames without contact in one pot, so that putting down elsewhere looks like a camera."""
    import numpy as np

    free = transl[~contact]
    return bool(np.linalg.norm(free - free[:1], axis=-1).max(initial=0) > 0.005)


@exercise(
    "moving_camera",
    chapter="04b",
    hint="Ask the frames before the first contact and those after the last one by themselves: places by a norm, turns "
    "by geodesic_angle(R[:1], R), which is in radians. A stretch without frames has moved by nothing: max(initial=0).",
    wrong=[
        lambda *clip: True,
        lambda *clip: False,
        lambda *clip: _moves(*clip, turn=False),
        lambda *clip: _moves(*clip, way=False),
        lambda *clip: _moves(*clip, after=False),
        _untouched_together,
    ],
)
def moving_camera(answer: Callable) -> None:
    """Does this object move or turn while nobody touches it, so that the clip cannot be in the world?"""
    for words, moves, clip in _recordings():
        require(bool(answer(*clip)) == moves, words)


def _recordings() -> list[tuple[str, bool, tuple]]:
    """(what is wrong if it is judged otherwise, whether the camera moves, (transl, rotation, contact))."""
    import numpy as np

    from hoi_lib.rotations import axis_angle_to_matrix

    rng, time = np.random.default_rng(0), np.linspace(0, 1, 60)[:, None]
    held = (time[:, 0] > 0.3) & (time[:, 0] < 0.7)
    carried = np.clip((time - 0.3) / 0.4, 0, 1) * np.array([0.3, 0.1, 0.0])
    trembling = carried + rng.normal(size=(60, 3)) * 0.0003
    turned = axis_angle_to_matrix(np.clip((time - 0.3) / 0.4, 0, 1) * np.array([0.0, 0.0, 1.2]))
    shaking = axis_angle_to_matrix(np.radians(0.25) * rng.normal(size=(60, 3))) @ turned
    swaying = carried + 0.05 * np.sin(6 * time) * np.array([1.0, -1.0, 0.5])
    late = carried + 0.04 * np.clip(time - 0.72, 0, 1) * np.array([1.0, 0.0, 0.0]) * 4
    looking = axis_angle_to_matrix(0.4 * np.sin(5 * time) * np.array([0.2, 1.0, 0.3])) @ turned
    whole, lifted = np.ones(60, bool), time[:, 0] > 0.3
    return [
        ("it rests in the world and only trembles", False, (trembling, shaking, held)),
        ("a hand carried it from here to there: that is no camera", False, (carried, turned, held)),
        ("it slides while nobody touches it", True, (swaying, turned, held)),
        ("it turns while nobody touches it, though its place stays", True, (carried, looking, held)),
        ("it rests before it is taken, and slides after it was put down", True, (late, turned, held)),
        ("it is held from the first frame to the last: no witness, no verdict", False, (swaying, looking, whole)),
        ("it is held up to the end: the frames before have to do", False, (carried, turned, lifted)),
        ("it is held up to the end, and slid before", True, (swaying, turned, lifted)),
    ]
