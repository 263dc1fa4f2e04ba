"""A folder of one's own recordings: what fits comes back exactly, and what does not is named."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures.motion import Canonical, axis_angle, canonical, close, cut, world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hoi_lib.data.own import Own, resampled, validate
from hoi_lib.data.raw import reader_for
from hoi_lib.errors import ConfigError, RawDataError
from hoi_lib.hand import load_hand
from hoi_lib.motionfile import save_npz
from hoi_lib.rotations import is_rotation, matrix_to_rot6d

FRAMES = slice(0, 24)


def fields_of(clip):
    """The fields of a clip file, exact, rotations as matrices."""
    fields = {"fps": 30, "verb": clip.verb, "subject": clip.subject, "caption": clip.caption}
    fields |= {"object_name": clip.object.name, "object_category": clip.object.category}
    fields |= {"t": clip.object.transl, "R": clip.object.rotation}
    if clip.object.angle is not None:
        fields["angle"] = clip.object.angle
    for side, hand in clip.hands.items():
        parts = {"transl": hand.transl, "rotations": hand.rotations, "betas": hand.betas, "valid": hand.valid}
        fields |= {f"{side}_{key}": value for key, value in parts.items()}
    return fields


def write_mesh(path, vertices, faces):
    """A Wavefront file with every digit."""
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in vertices.tolist()]
    lines += ["f " + " ".join(str(i + 1) for i in face) for face in faces.tolist()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def write_object(folder, model):
    """The mesh, or the folder, of one object."""
    if model.hinge is None:
        return write_mesh(folder / f"{model.name}.obj", model.vertices, model.faces)
    for number, part in enumerate(("base", "moving")):
        used, faces = np.unique(model.faces[model.part[model.faces[:, 0]] == number], return_inverse=True)
        write_mesh(folder / model.name / f"{part}.obj", model.vertices[used], faces.reshape(-1, 3))
    hinge = {key: np.asarray(value).tolist() for key, value in vars(model.hinge).items()}
    (folder / model.name / "hinge.json").write_text(json.dumps(hinge))


def write_set(folder, items, **changes):
    """A folder of clips and their objects; ``changes`` replace fields (None removes one)."""
    for clip, model in items:
        content = {k: v for k, v in (fields_of(clip) | changes).items() if v is not None}
        path = folder / clip.subject / f"{clip.name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **content)
        write_object(folder / "objects", model)
    return folder


@pytest.fixture(scope="module")
def items():
    """A rigid and a hinged clip, one hand and two."""
    found = [*canonical(hinged=False, both=False, count=1), *canonical(hinged=True, both=True, count=1)]
    return [Canonical(cut(clip, FRAMES), model) for clip, model in found]


def test_what_is_written_comes_back_to_a_millionth_of_a_metre(items, tmp_path):
    reader = reader_for("own", write_set(tmp_path, items))
    assert reader.sequences() == sorted(f"{clip.subject}/{clip.name}" for clip, _ in items)
    for clip, model in items:
        found = reader.read(f"{clip.subject}/{clip.name}")[0]
        assert close(world(clip, model), world(found, model)) < 1e-6
        assert (found.verb, found.subject, found.caption, found.fps) == (clip.verb, clip.subject, clip.caption, 30)
        again = reader.object(model.name)
        assert np.abs(again.bounds - model.bounds).max() < 1e-9 and (again.hinge is None) == (model.hinge is None)
        assert len(again.vertices) == len(model.vertices)
    assert validate(tmp_path) == []


def test_a_motion_file_of_generate_is_a_clip(items, tmp_path):
    clip, model = items[0]
    write_set(tmp_path, items[:1])
    save_npz(clip, tmp_path / "made.npz")
    found = Own(tmp_path).read("made")[0]
    assert close(world(clip, model), world(found, model)) < 1e-6


@pytest.mark.parametrize("form", ["rot6d", "absolute", "offsets"])
def test_the_three_forms_of_a_rotation_are_one(items, tmp_path, form):
    clip, model = items[1]
    changes = {"R": None}
    vectors, item = {s: axis_angle(h.rotations) for s, h in clip.hands.items()}, clip.object
    for side, hand in clip.hands.items():
        changes[f"{side}_rotations"] = None
        if form == "rot6d":
            changes[f"{side}_rot6d"] = matrix_to_rot6d(hand.rotations)
            continue
        mean = np.concatenate([np.zeros(3), load_hand(side).hands_mean.numpy()]).reshape(16, 3)
        changes[f"{side}_axis_angle"] = vectors[side] - (mean if form == "offsets" else 0)
    if form == "rot6d":
        changes["rot6d"] = matrix_to_rot6d(item.rotation)
    else:
        changes |= {"axis_angle": axis_angle(item.rotation), "flat_hand_mean": form == "absolute"}
    reader = Own(write_set(tmp_path, items[1:], **changes))
    assert close(world(clip, model), world(reader.read(reader.sequences()[0])[0], model)) < 1e-6


def test_without_the_flag_axis_angle_is_refused(items, tmp_path):
    vectors = axis_angle(items[0].clip.hands[next(iter(items[0].clip.hands))].rotations)
    side = next(iter(items[0].clip.hands))
    folder = write_set(tmp_path, items[:1], **{f"{side}_rotations": None, f"{side}_axis_angle": vectors})
    assert "needs flat_hand_mean" in validate(folder)[0][1]


def in_rows(clip, side):
    return {f"{side}_rotations": None, f"{side}_rot6d": matrix_to_rot6d(clip.hands[side].rotations, layout="rows")}


BROKEN = {
    "reaches": lambda c, s: {"t": 1000 * (c.object.transl + 1)},
    "fps is missing": lambda c, s: {"fps": None},
    "fps is 0.0333333": lambda c, s: {"fps": 1 / 30},
    "t is missing": lambda c, s: {"t": None},
    "verb is missing": lambda c, s: {"verb": None},
    "subject is missing": lambda c, s: {"subject": 7},
    "no name of a file": lambda c, s: {"object_name": "../mug"},
    "no such mesh": lambda c, s: {"object_name": "elephant"},
    "no hand takes part": lambda c, s: {f"{s}_valid": np.zeros(c.frames, bool)},
    "expected bool": lambda c, s: {f"{s}_valid": np.ones(c.frames)},
    "is no rotation": lambda c, s: {"R": -c.object.rotation},
    "laid out in rows": in_rows,
    "no two unit vectors": lambda c, s: {"R": None, "rot6d": np.ones((c.frames, 6))},
    "holds R and rot6d": lambda c, s: {"rot6d": matrix_to_rot6d(c.object.rotation)},
    "holds no rotation": lambda c, s: {"R": None},
    "has an angle": lambda c, s: {"angle": np.zeros(c.frames)},
    "expected numbers (24, 16, 3, 3)": lambda c, s: {f"{s}_rotations": c.hands[s].rotations[1:]},
    "not finite": lambda c, s: {f"{s}_transl": np.full((c.frames, 3), np.nan)},
    "expected numbers (10,)": lambda c, s: {f"{s}_betas": np.zeros((c.frames, 10))},
    "at least 16": lambda c, s: {"fps": 60},
}


@pytest.mark.parametrize("said", BROKEN)
def test_what_does_not_fit_is_named_with_its_file(items, tmp_path, said):
    clip = items[0].clip
    folder = write_set(tmp_path, items[:1], **BROKEN[said](clip, next(iter(clip.hands))))
    [(sequence, message)] = validate(folder)
    assert said in message and f"{sequence}.npz" in message.splitlines()[0] and "appendix" in message


def test_a_damaged_file_is_named_and_the_others_are_read(items, tmp_path):
    folder = write_set(tmp_path, items)
    (folder / "torn.npz").write_bytes(b"PK\x03\x04 and nothing else")
    assert [sequence for sequence, _ in validate(folder)] == ["torn"]
    assert sum(map(len, Own(folder).splits.values())) == len({clip.subject for clip, _ in items})


def test_a_hinged_object_needs_its_angle_and_a_sound_hinge(items, tmp_path):
    folder = write_set(tmp_path, items[1:], angle=None)
    assert "needs angle" in validate(folder)[0][1]
    write_set(tmp_path, items[1:])
    hinge = folder / "objects" / items[1].model.name / "hinge.json"
    for content, said in (('{"origin": [0, 0, 0]}', "needs origin and axis"),
                          ('{"origin": [0, 0, 0], "axis": [0, 0, 0]}', "no direction"),
                          ('{"origin": [0, 0], "axis": [0, 0, 1]}', "expected numbers (3,)")):  # fmt: skip
        hinge.write_text(content)
        assert said in validate(folder)[0][1]
    (hinge.parent / "moving.obj").unlink()
    hinge.write_text('{"origin": [0, 0, 0], "axis": [0, 0, 2]}')
    assert "moving" in validate(folder)[0][1]


def test_meshes_in_millimetres_are_refused_until_it_is_said(items, tmp_path):
    clip, model = items[0]
    folder = write_set(tmp_path, items[:1])
    write_mesh(folder / "objects" / f"{model.name}.obj", 1000 * model.vertices, model.faces)
    assert '"scale": "mm"' in validate(folder)[0][1]
    (folder / "dataset.json").write_text('{"scale": "mm"}')
    assert validate(folder) == []
    assert np.abs(Own(folder).object(model.name).bounds - model.bounds).max() < 1e-9


def test_the_last_subjects_are_held_out_unless_it_is_said_otherwise(items, tmp_path):
    clip, model = items[0]
    for subject in ("cy", "anna", "ben"):
        write_set(tmp_path, items[:1], subject=subject)
        (tmp_path / clip.subject / f"{clip.name}.npz").rename(tmp_path / f"{subject}.npz")
    assert Own(tmp_path).splits == {"train": ("anna",), "val": ("ben",), "test": ("cy",)}
    (tmp_path / "dataset.json").write_text('{"splits": {"train": ["anna", "ben", "cy"]}}')
    assert Own(tmp_path).splits == {"train": ("anna", "ben", "cy"), "val": (), "test": ()}
    for splits, said in (({"train": ["anna"]}, "ben, cy in no split"),
                         ({"train": ["anna", "ben", "cy"], "test": ["cy"]}, "cy in more than one"),
                         ({"train": "anna"}, "splits maps"), ({"all": []}, "splits maps")):  # fmt: skip
        (tmp_path / "dataset.json").write_text(json.dumps({"splits": splits}))
        with pytest.raises(RawDataError, match=said):
            validate(tmp_path)


@pytest.mark.parametrize(
    "content", ["[]", '{"split": {}}', '{"scale": -1}', '{"scale": "inch"}', "{", '{"scale": true}']
)
def test_settings_that_make_no_sense_are_refused(items, tmp_path, content):
    folder = write_set(tmp_path, items[:1])
    (folder / "dataset.json").write_text(content)
    with pytest.raises(RawDataError, match="dataset.json"):
        Own(folder)


def test_a_folder_without_clips_or_objects_is_refused(tmp_path):
    with pytest.raises(RawDataError, match="holds no clip"):
        Own(tmp_path)
    np.savez(tmp_path / "a.npz", t=np.zeros((20, 3)))
    with pytest.raises(RawDataError, match="objects"):
        Own(tmp_path)
    with pytest.raises(ConfigError, match="no option"):
        reader_for("own", tmp_path, guess=True)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fps=st.sampled_from([12.0, 15.0, 25.0, 29.97, 50.0, 60.0, 90.0, 120.0]), seed=st.integers(0, 99))
def test_another_frame_rate_gives_the_motion_at_thirty(items, fps, seed):
    """A steady turn and a steady path are the same at every rate."""
    axis, speed = np.random.default_rng(seed).normal(size=(2, 3))
    clip = items[0].clip

    def played(rate, count):
        time = np.arange(count) / rate
        item = clip.object.__class__("ball", "ball", time[:, None] * speed,
                                     Rotation.from_rotvec(time[:, None] * axis).as_matrix())  # fmt: skip
        hands = {s: h.__class__(time[:, None] * speed, np.tile(np.eye(3), (count, 16, 1, 1)), h.betas,
                                np.ones(count, bool)) for s, h in clip.hands.items()}  # fmt: skip
        return clip.__class__("a", hands, item, "lift", "anna", "Lift ball.", labels=None)

    found = resampled(played(fps, int(2 * fps) + 1), fps)
    wanted = played(30, found.frames)
    assert found.frames >= 2 * 30 - 2 and found.fps == 30
    assert np.abs(found.object.transl - wanted.object.transl).max() < 1e-9
    assert np.abs(found.object.rotation - wanted.object.rotation).max() < 1e-6
    assert is_rotation(torch.from_numpy(found.object.rotation), 1e-9)


def test_every_fourth_frame_of_120_is_exact(items, tmp_path):
    clip, model = items[0]
    dense = {"t": np.repeat(clip.object.transl, 4, 0), "R": np.repeat(clip.object.rotation, 4, 0)}
    for side, hand in clip.hands.items():
        dense |= {f"{side}_transl": np.repeat(hand.transl, 4, 0), f"{side}_rotations": np.repeat(hand.rotations, 4, 0)}
        dense[f"{side}_valid"] = np.repeat(hand.valid, 4)
    folder = write_set(tmp_path, items[:1], fps=120, **dense)
    found = Own(folder).read(Own(folder).sequences()[0])[0]
    assert found.frames == clip.frames and close(world(clip, model), world(found, model)) < 1e-9


def test_the_example_of_the_appendix_is_a_data_set(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "book" / "appendices" / "own_data.md").read_text(encoding="utf-8")
    example, checking = re.findall(r"```python\n(.*?)```", page, re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "own_data.md", "exec"), {})
    exec(compile(checking.replace("print(message)", "raise AssertionError(message)"), "own_data.md", "exec"), {})
    [clip] = Own(tmp_path / "mine").read("anna/lift_ball_01")
    assert (clip.frames, clip.caption, list(clip.hands)) == (90, "Lift ball with right hand.", ["right"])
    depth = Own(tmp_path / "mine").object("ball").signed_distance(np.zeros((1, 3)))
    assert abs(depth[0] + 0.035) < 0.002
