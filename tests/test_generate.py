"""Trajectories as users bring them, and the path from a sentence to a moving hand."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hoi_lib import cli
from hoi_lib import generate as generation
from hoi_lib.errors import CheckpointError, ConfigError, MeshError, OutputError, TrajectoryError
from hoi_lib.generate import (
    MIN_FRAMES,
    Trajectory,
    contact_distance,
    generate,
    is_guided,
    load_denoiser,
    object_for,
    output_folder,
    path_for,
    read_trajectory,
)
from hoi_lib.motion import FPS
from hoi_lib.objects import HELD_OUT_SEEDS, ObjectModel, load_object, random_shape
from hoi_lib.rotations import axis_angle_to_matrix, is_rotation, matrix_to_rot6d
from hoi_lib.text import VERBS

FRAMES = 40


def good_arrays():
    turn = axis_angle_to_matrix(torch.linspace(0, 1, FRAMES)[:, None] * torch.tensor([0.0, 0.0, 1.0])).numpy()
    return {"t": np.linspace([0, 0, 0.1], [0, 0.2, 0.3], FRAMES), "R": turn}


def write(path, **changes):
    arrays = good_arrays() | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_rotations_may_come_as_matrices_or_as_six_numbers(tmp_path):
    matrices = read_trajectory(write(tmp_path / "a.npz"))
    six = matrix_to_rot6d(torch.from_numpy(good_arrays()["R"])).numpy()
    assert torch.allclose(read_trajectory(write(tmp_path / "b.npz", R=None, rot6d=six)).rotation, matrices.rotation)
    assert len(matrices) == FRAMES and matrices.angle is None


def mirrored(arrays):
    return arrays["R"] @ np.diag([1.0, 1.0, -1.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t": None}, "expected t and R"),
        ({"R": None}, "expected t and R"),
        ({"t": np.zeros((FRAMES, 2))}, r"t has shape \(40, 2\)"),
        ({"t": np.zeros((FRAMES - 1, 3))}, r"R has shape \(40, 3, 3\): expected \(39, 3, 3\)"),
        ({"angle": np.zeros(3)}, "angle has shape"),
        ({"t": np.full((FRAMES, 3), np.nan)}, "t is not finite at frame 0"),
        ({"R": mirrored(good_arrays())}, "no rotation"),
        ({"R": good_arrays()["R"] * 1.1}, "no rotation"),
        ({"t": good_arrays()["t"] * 1000}, "millimetres"),
        ({"t": np.zeros((5, 3)), "R": np.tile(np.eye(3), (5, 1, 1))}, f"expected {MIN_FRAMES} to"),
        ({"t": np.zeros((500, 3)), "R": np.tile(np.eye(3), (500, 1, 1))}, "500 frames"),
        ({"t": np.array("hello")}, "not readable|shape"),
    ],
)
def test_a_bad_trajectory_is_named(tmp_path, changes, message):
    with pytest.raises(TrajectoryError, match=message):
        read_trajectory(write(tmp_path / "path.npz", **changes))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"not an archive"])
def test_a_damaged_or_missing_archive_is_named(tmp_path, content):
    path = tmp_path / "path.npz"
    with pytest.raises(TrajectoryError, match="no such file"):
        read_trajectory(path)
    path.write_bytes(content)
    with pytest.raises(TrajectoryError, match="path.npz: not readable"):
        read_trajectory(path)


def test_a_pickle_inside_the_archive_is_never_opened(tmp_path):
    np.savez(tmp_path / "path.npz", t=np.array([{"a": 1}], dtype=object), R=np.zeros(3))
    with pytest.raises(TrajectoryError, match="not readable"):
        read_trajectory(tmp_path / "path.npz")


@pytest.mark.parametrize("verb", [*VERBS, None])
@pytest.mark.parametrize(("name", "side"), [("mug_medium", "right"), ("laptop_small", "left")])
def test_a_made_path_starts_on_the_table_and_never_jumps(verb, name, side):
    model = load_object(name)
    path = path_for(verb, model, side, seed=1)
    posed = model.vertices @ path.rotation[0].double().numpy().T + path.transl[0].double().numpy()
    assert abs(posed[:, 2].min()) < 1e-5
    assert is_rotation(path.rotation) and (path.angle is None) == (model.hinge is None)
    assert float((path.transl.diff(n=2, dim=0).norm(dim=-1) * FPS**2).max()) < 30


def test_a_made_path_does_what_the_verb_asks():
    model = load_object("bottle_medium")
    tilt = {v: float(path_for(v, model).rotation[:, 2, 2].acos().max()) for v in ("pour", "lift")}
    assert tilt["pour"] > 1.2 > 0.2 > tilt["lift"]
    rise = path_for(None, model).transl[:, 2]
    assert float(rise[-1] - rise[0]) > 0.15  # without a verb: a lift, held at the end


def short(path, frames):
    return Trajectory(path.transl[:frames], path.rotation[:frames], None)


def test_both_hands_follow_the_object_and_the_same_seed_gives_the_same_motion():
    model = load_object("box_medium")
    path = short(path_for("lift", model), 24)
    clip, notes = generate("Lift the box with both hands.", model, path, steps=2, seed=3)
    again, _ = generate("Lift the box with both hands.", model, path, steps=2, seed=3)
    assert set(clip.hands) == {"left", "right"} and clip.frames == 24 and not notes
    assert all(np.array_equal(clip.hands[s].rotations, again.hands[s].rotations) for s in clip.hands)
    assert all(len(gap) == 24 and np.isfinite(gap).all() for gap in contact_distance(clip, model).values())


def test_an_unknown_verb_generates_with_a_note():
    model = load_object("ball_medium")
    clip, notes = generate("Juggle it with left hand.", model, short(path_for(None, model), 20), steps=1)
    assert list(clip.hands) == ["left"] and "no verb" in notes[0]


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        load_denoiser(tmp_path / "nowhere")


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        output_folder(tmp_path / "file")


# --- guidance ---


@pytest.fixture
def mug_of_a_user():
    """A mug whose name is in the catalogue and whose shape is not."""
    mug = load_object("mug_medium")
    return ObjectModel("mug_medium", "mug", 1.1 * mug.vertices, mug.faces, mug.part)


def test_only_objects_outside_the_catalogue_are_guided_unasked(mug_of_a_user):
    assert not is_guided(load_object("mug_medium"))
    assert is_guided(mug_of_a_user) and is_guided(random_shape(HELD_OUT_SEEDS[0]))
    assert is_guided(load_object("mug_medium"), True) and not is_guided(mug_of_a_user, False)


def test_guidance_samples_the_same_noise_again_and_says_what_it_changed():
    model = random_shape(HELD_OUT_SEEDS[4])
    path, drawn = short(path_for("lift", model), 30), []
    plain, silent = generate("Lift it with right hand.", model, path, steps=6, guide=False)
    guided, notes = generate("Lift it with right hand.", model, path, steps=6, callback=drawn.append)
    assert (
        not silent
        and len(drawn) == 12
        and all(torch.equal(a.x, b.x) for a, b in zip(drawn[:1], drawn[6:7], strict=True))
    )
    gaps = [contact_distance(clip, model)["right"] for clip in (plain, guided)]
    assert not np.array_equal(*gaps)
    touches, deepest = ([f"{value(gap):{form}}" for gap in gaps] for value, form in WORDS)
    assert f"right hand touches in {touches[0]} → {touches[1]} of the frames" in notes[0]
    assert f"deepest {deepest[0]} → {deepest[1]} mm" in notes[0] and "s more" in notes[0]


WORDS = ((generation._touching, ".0%"), (generation._deepest, ".0f"))


def test_an_object_is_a_mesh_or_a_name_of_the_catalogue(tmp_path):
    assert object_for("bowl_small") is load_object("bowl_small")
    with pytest.raises(ConfigError, match="size of its own"):
        object_for("bowl_small", scale=2.0)
    with pytest.raises(MeshError):
        object_for(tmp_path / "bowl_small")
    mesh = tmp_path / "ball.obj"
    ball = load_object("ball_medium")
    mesh.write_text("".join(f"v {x} {y} {z}\n" for x, y, z in ball.vertices)
                    + "".join(f"f {a} {b} {c}\n" for a, b, c in ball.faces + 1))  # fmt: skip
    assert object_for(mesh, scale=1.0).name == "ball" and is_guided(object_for(mesh, scale=1.0))


@pytest.mark.parametrize(("flag", "guided"), [((), False), (("--guide",), True), (("--no-guide",), False)])
def test_the_flag_reaches_the_sampler(tmp_path, monkeypatch, flag, guided):
    asked = []

    def stand_in(text, model, path, hand, run, seed, steps, callback, guide):
        asked.append(guide)
        raise ConfigError("far enough")

    monkeypatch.setattr(generation, "generate", stand_in)
    line = ["generate", "--text", "Lift it.", "--object", "mug_medium", "--out", str(tmp_path / "out"), *flag]
    result = CliRunner().invoke(cli.app, line)
    assert isinstance(result.exception, ConfigError) and asked == [guided]


def test_a_guide_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def broken(*arguments):
        raise ConfigError("no guide today")

    monkeypatch.setattr(generation, "Guide", broken)
    out = tmp_path / "out"
    line = ["generate", "--text", "Lift it.", "--object", "ball_small", "--guide", "--steps", "1", "--out", str(out)]
    result = CliRunner().invoke(cli.app, line)
    assert isinstance(result.exception, ConfigError) and list(out.iterdir()) == []
