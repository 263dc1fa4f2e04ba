"""The command line: what it makes, and one clear line with exit code 2 for everything a user can get wrong."""

import errno
import os
import pickle

import numpy as np
import pytest
import trimesh
from tiny_store import tiny_store

from hoi_lib import viewer
from hoi_lib.sampling import SHIPPED

TEXT = "Pick up the mug and pour with right hand."
RESULTS = {"motion.npz", "motion.glb", "motion.html", "motion.gif"}


@pytest.fixture
def mesh(tmp_path):
    path = tmp_path / "torus.obj"
    trimesh.creation.torus(0.045, 0.018).export(path)
    return path


def assert_one_clear_line(result, *words):
    code, _, err = result
    assert code == 2, err
    assert err.startswith("hoi: ") and "Traceback" not in err and "internal error" not in err
    assert len(err.strip().splitlines()) <= 2, err  # the line, and the hint below it
    for word in words:
        assert word in err, err


def trajectory(path, frames=40, **changes):
    arrays = {"t": np.zeros((frames, 3)), "R": np.tile(np.eye(3), (frames, 1, 1))} | changes
    np.savez(path, **arrays)
    return path


def test_generate_writes_four_files_and_says_how_the_hand_touches(hoi, mesh, tmp_path):
    path = trajectory(tmp_path / "path.npz", frames=24)
    code, out, err = hoi(
        "generate", "--text", TEXT, "--object", mesh, "--trajectory", path, "--steps", 2, "--out", tmp_path / "o"
    )
    assert code == 0, err
    assert {p.name for p in (tmp_path / "o").iterdir()} == RESULTS
    assert "right hand: touches in" in out


def test_an_unknown_verb_generates_with_a_note(hoi, mesh, tmp_path):
    path = trajectory(tmp_path / "path.npz", frames=20)
    options = ("--object", mesh, "--trajectory", path, "--steps", 1, "--out", tmp_path / "o")
    code, out, _ = hoi("generate", "--text", "Juggle the torus.", *options)
    assert code == 0 and "note: no verb of the vocabulary" in out


def generate(hoi, tmp_path, mesh, *more, text=TEXT):
    return hoi("generate", "--text", text, "--object", mesh, "--steps", 1, "--out", tmp_path / "o", *more)


def mesh_cases():
    def nan(path):
        path.write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")

    return {
        "missing": lambda path: None,
        "empty": lambda path: path.write_text(""),
        "nan": nan,
        "points only": lambda path: path.write_text("v 0 0 0\nv 1 0 0\n"),
        "not a mesh": lambda path: path.write_bytes(b"\x00\x01garbage"),
    }


@pytest.mark.parametrize("case", mesh_cases())
def test_a_bad_mesh(hoi, tmp_path, case):
    path = tmp_path / "bad.obj"
    mesh_cases()[case](path)
    assert_one_clear_line(generate(hoi, tmp_path, path), "bad.obj")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"t": np.zeros((39, 3))}, "expected (39, 3, 3)"),
        ({"R": np.tile(np.diag([1.0, 1, -1]), (40, 1, 1))}, "no rotation"),
    ],
)
def test_a_bad_trajectory(hoi, tmp_path, mesh, changes, word):
    path = trajectory(tmp_path / "path.npz", **changes)
    assert_one_clear_line(generate(hoi, tmp_path, mesh, "--trajectory", path), "path.npz", word)


@pytest.mark.parametrize("text", ["", "  ", "?!"])
def test_a_text_without_words(hoi, tmp_path, mesh, text):
    assert_one_clear_line(generate(hoi, tmp_path, mesh, text=text), "holds no words")


def test_a_damaged_checkpoint(hoi, tmp_path, mesh):
    folder = tmp_path / "run"
    folder.mkdir()
    for file in SHIPPED.iterdir():
        (folder / file.name).write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert_one_clear_line(generate(hoi, tmp_path, mesh, "--run", folder), "run")


@pytest.mark.parametrize("content", [None, "", "{", "{}"])
def test_a_damaged_store(hoi, tmp_path, content):
    folder = tmp_path / "store"
    if content is not None:
        folder.mkdir()
        (folder / "manifest.json").write_text(content)
    assert_one_clear_line(hoi("data", "check", folder), "store")


def test_a_folder_without_mano_files(hoi, tmp_path, mesh, monkeypatch):
    monkeypatch.setenv("HOI_MANO_DIR", str(tmp_path / "no-mano"))
    assert_one_clear_line(generate(hoi, tmp_path, mesh), "no-mano")


class Foreign:
    """Pickles into a call of os.system."""

    def __reduce__(self):
        return os.system, ("touch it-ran",)


def test_a_pickle_that_names_a_foreign_class_is_refused_before_it_runs(hoi, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps({"v_template": Foreign()}))
    assert_one_clear_line(hoi("mano", "convert", "MANO_RIGHT.pkl", "--out", "out.npz"), "MANO_RIGHT.pkl", "system")
    assert {p.name for p in tmp_path.iterdir()} == {"MANO_RIGHT.pkl"}


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_nothing_half_written(hoi, tmp_path, mesh, monkeypatch):
    path = trajectory(tmp_path / "path.npz", frames=20)
    monkeypatch.setattr(os, "replace", full_disk)
    assert_one_clear_line(generate(hoi, tmp_path, mesh, "--trajectory", path), "No space left")
    assert list((tmp_path / "o").iterdir()) == []


def test_a_read_only_output_folder(hoi, tmp_path, mesh, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: os.path.isfile(path))
    assert_one_clear_line(generate(hoi, tmp_path, mesh), "read-only")


def test_an_output_that_is_a_file(hoi, tmp_path, mesh):
    (tmp_path / "o").write_text("here first")
    assert_one_clear_line(generate(hoi, tmp_path, mesh))
    assert (tmp_path / "o").read_text() == "here first"


@pytest.mark.parametrize(
    "arguments",
    [
        ("refin", "x"),
        ("train", "--out", "r", "--set", "steps"),
        ("train", "--out", "r", "--set", "stepz=3"),
        ("train", "--out", "r", "--set", "steps=many"),
        ("train", "--out", "r", "--preset", "magic"),
        ("train", "--out", "r", "--profile", "giant"),
        ("evaluate", "nowhere"),
        ("refine", "Grab it.", "--with", "file"),
        ("data", "build", "arctic"),
    ],
)
def test_wrong_words_on_the_line(hoi, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert_one_clear_line(hoi(*arguments))
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where_it_happened(hoi):
    code, _, err = hoi("refine", "", "--debug")
    assert code == 2 and "Traceback" in err and "hoi: the text" in err


def test_a_bug_of_ours_is_one_line_and_exit_code_1(hoi, tmp_path, mesh, monkeypatch):
    monkeypatch.setattr(viewer, "scene_of", lambda *a, **k: 1 / 0)
    path = trajectory(tmp_path / "path.npz", frames=20)
    code, _, err = generate(hoi, tmp_path, mesh, "--trajectory", path)
    assert code == 1 and "internal error: ZeroDivisionError" in err and "Traceback" not in err


COMMANDS = [
    "",
    "data build",
    "data check",
    "mano convert",
    "refine",
    "train",
    "evaluate",
    "generate",
    "bench",
    "doctor",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(hoi, command):
    code, out, _ = hoi(*command.split(), "--help")
    assert (
        code == 0
        and ("hoi generate" if not command else f"hoi {command}") in out.split("Example:" if command else "Start")[1]
    )


def test_the_doctor_finds_everything_well(hoi):
    code, out, err = hoi("doctor")
    assert code == 0 and "BROKEN" not in out, out + err


# --- presets of the recorded sets ------------------------------------------------------------------------------------


def test_a_recorded_sets_preset_asks_for_its_data(hoi, tmp_path):
    assert_one_clear_line(hoi("train", "--preset", "paper_h2o", "--out", tmp_path / "run"), "real set", "--data")
    assert_one_clear_line(hoi("train", "--preset", "paper_h20", "--out", tmp_path / "run"), "'paper_h2o'")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("asked", "width"), [((), 512), (("--profile", "laptop"), 128)])
def test_a_recorded_sets_preset_is_as_large_as_the_papers_unless_a_profile_is_asked_for(
    hoi, tmp_path, monkeypatch, asked, width
):
    from hoi_lib import train

    taken = []
    monkeypatch.delenv("HOI_PROFILE", raising=False)
    monkeypatch.setattr(train, "train", lambda config, *_, **__: taken.append(config) or {"wall_time_s": 0.0})
    store = tiny_store(tmp_path / "store").folder
    code, _, err = hoi("train", "--preset", "paper_grab", *asked, "--data", store, "--out", tmp_path / "run")
    assert code == 0, err
    assert taken[0].denoiser.width == width and taken[0].epochs == 100
