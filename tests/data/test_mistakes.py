"""Mistakes made on purpose: each changes what it is about and nothing else, and undoing it gives the clip back."""

import numpy as np
import pytest
from fixtures.motion import axis_angle, canonical, close, one_handed, world

from hoi_lib.data.mistakes import (
    BOUNDS,
    MISTAKES,
    moving_camera,
    objections,
    planted,
    rest_wrist,
    seen_from,
    witnesses,
)
from hoi_lib.errors import ConfigError
from hoi_lib.hand import load_hand
from hoi_lib.rotations import is_rotation


@pytest.fixture(scope="module")
def rigid():
    return one_handed("right", 1, hinged=False)[0]


@pytest.fixture(scope="module")
def hinged():
    return next(item for item in canonical(hinged=True, both=True) if np.ptp(item.clip.object.angle) > 0.5)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_moves_something_and_leaves_the_given_clip_alone(name, rigid, hinged):
    clip, model = hinged if MISTAKES[name].hinged else rigid
    before = world(clip, model)
    found, wrong = planted(name, clip, model)
    assert close(before, world(clip, model)) == 0
    assert not close(before, world(found, wrong)) < 1e-3
    for rotations in (found.object.rotation, *(hand.rotations for hand in found.hands.values())):
        assert np.isfinite(rotations).all() and is_rotation(rotations, 1e-6)  # it raises no error: that is the trouble


@pytest.mark.parametrize("name", ["transposed", "sides swapped", "hinge reversed", "parts swapped"])
def test_made_twice_these_undo_themselves(name, rigid, hinged):
    clip, model = hinged if MISTAKES[name].hinged else rigid
    assert close(world(clip, model), world(*planted(name, *planted(name, clip, model)))) < 1e-9


def test_a_mean_pose_left_out_and_added_is_the_pose(rigid):
    clip, model = rigid
    assert close(world(clip, model), world(*planted("mean twice", *planted("mean missing", clip, model)))) < 1e-6
    [(side, track)] = clip.hands.items()
    missing = planted("mean missing", clip, model)[0].hands[side]
    offset = axis_angle(track.rotations[:, 1:]) - load_hand(side).hands_mean.numpy().reshape(15, 3)
    assert np.abs(axis_angle(missing.rotations[:, 1:]) - offset).max() < 1e-6


def test_the_wrist_is_off_by_what_the_rotation_does_to_the_rest_wrist(rigid):
    clip, model = rigid
    [(side, track)] = clip.hands.items()
    wrong = planted("wrist not carried", clip, model)[0].hands[side]
    rest, turn = rest_wrist(side, track), moving_camera(clip.frames)[:, :3, :3]
    assert np.abs(wrong.transl - track.transl - (rest - turn @ rest)).max() < 1e-9
    assert np.abs(wrong.rotations - track.rotations).max() < 1e-9


def test_a_camera_sees_the_same_scene_from_elsewhere(rigid):
    clip, model = rigid
    camera, seen = moving_camera(clip.frames), seen_from(clip, moving_camera(clip.frames))
    assert is_rotation(camera[:, :3, :3], 1e-9)
    truth, there = world(clip, model), world(seen, model)
    turn, place = camera[:, :3, :3], camera[:, None, :3, 3]
    for a, b in ((truth.points, there.points), *((truth.vertices[s], there.vertices[s]) for s in clip.hands)):
        assert np.abs(b @ turn.swapaxes(1, 2) + place - a).max() < 1e-7


def test_slow_motion_is_the_motion_at_every_fourth_frame(hinged):
    clip, model = hinged
    slow, _ = planted("slow motion", clip, model)
    assert slow.frames == 4 * (clip.frames - 1) + 1 and slow.fps == 30
    truth, found = world(clip, model), world(slow, model)
    assert np.abs(found.points[::4] - truth.points).max() < 1e-9
    assert all(np.abs(found.joints[s][::4] - truth.joints[s]).max() < 1e-7 for s in clip.hands)


def test_a_hinges_mistake_needs_a_hinge_and_an_unknown_one_is_refused(rigid):
    with pytest.raises(ConfigError, match="needs an object with a hinge"):
        planted("hinge reversed", *rigid)
    with pytest.raises(ConfigError, match="transposed"):
        planted("transpose", *rigid)


def test_witnesses_keep_silent_about_a_sound_clip_and_not_about_millimetres(rigid):
    clip, model = rigid
    [(side, track)] = clip.hands.items()
    joints = world(clip, model)
    held = np.linalg.norm(joints.joints[side][:, 16:, None] - joints.points[:, None], axis=-1).min((1, 2)) < 0.01
    sound = witnesses(clip, model, held)
    assert list(sound) == list(BOUNDS) and objections(sound) == []
    assert {"reach (m)", "touch"} <= set(objections(witnesses(*planted("millimetres", clip, model), held)))
    slow = witnesses(*planted("slow motion", clip, model), held)
    assert abs(slow["speed (m/s)"] / sound["speed (m/s)"] - 0.25) < 0.01
