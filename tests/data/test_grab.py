"""GRAB's reader against motion that is known: exact where the files are right, an error where they are damaged."""

import json
import shutil
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from fixtures import grab as fixture
from fixtures.motion import Canonical, World, canonical, close, cut, exact_hand, world

from hoi_lib.data import raw
from hoi_lib.data.grab import FIELDS, Grab, fit_shape
from hoi_lib.errors import ConfigError, RawDataError
from hoi_lib.hand import hand_data, smplx_layer
from hoi_lib.motion import SIDES

EXACT = 1e-6  # metres
ONE, BOTH = "s10/cubesmall_offhand_1", "s9/bowl_pass_1"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The official layout and what has to be read from it, by sequence."""
    folder = tmp_path_factory.mktemp("grab")
    return folder, _named(fixture.write(folder))


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Two short sequences of it, one with a right hand and one with both."""
    folder = tmp_path_factory.mktemp("grab_short")
    return folder, _named(fixture.write(folder, [*_some(ONE), *_some(BOTH)]))


@pytest.fixture
def copied(short, tmp_path):
    """A copy of the short sequences that a test may damage, and what :data:`ONE` has to give."""
    shutil.copytree(short[0], tmp_path / "copy")
    return tmp_path / "copy", short[1][ONE]


def _named(expected: list[Canonical]) -> dict[str, Canonical]:
    return {item.clip.name.replace("_", "/", 1): item for item in expected}


def _some(name: str = ONE) -> list[Canonical]:
    """The motion behind one sequence, its middle alone: the tests are many."""
    cast = {value: key for key, value in fixture.CAST.items()}
    wanted = cast[tuple(name.partition("/")[2].split("_")[:2])]
    (item,) = [item for item in canonical(hinged=False) if item.clip.name == wanted]
    middle = item.clip.frames // 2
    return [Canonical(cut(item.clip, slice(middle - 20, middle + 20)), item.model)]


def _error(reader: Grab, sequence: str, item: Canonical) -> float:
    """Largest difference of a joint, vertex or object point, metres."""
    (clip,) = reader.read(sequence)
    if clip.frames != item.clip.frames:
        return np.inf
    return close(_truth(item), world(clip, reader.object(clip.object.name)))


def _truth(item: Canonical) -> World:
    """The world of one of the fixture's clips, found once."""
    key = item.clip.name, item.clip.frames
    if key not in _WORLDS:
        _WORLDS[key] = world(*item)
    return _WORLDS[key]


_WORLDS: dict[tuple[str, int], World] = {}


def _changed(folder: Path, sequence: str, **content: object) -> Grab:
    """The reader, after some keys of one sequence were replaced, or left out where the value is None."""
    path = folder / "grab" / f"{sequence}.npz"
    with np.load(path, allow_pickle=True) as file:
        whole = {key: file[key] for key in file.files}
    whole |= {key: fixture._boxed(value) for key, value in content.items()}
    np.savez(path, **{key: value for key, value in whole.items() if content.get(key, 0) is not None})
    return Grab(folder)


def _content(folder: Path, sequence: str) -> dict:
    with np.load(folder / "grab" / f"{sequence}.npz", allow_pickle=True) as file:
        return {key: file[key].item() for key in file.files}


# --------------------------------------------------------------------------------------------------- right files


@pytest.mark.parametrize("text2hoi", [False, True])
def test_every_joint_vertex_and_object_point_is_where_the_generator_put_it(tmp_path, text2hoi):
    expected = fixture.write(tmp_path, text2hoi=text2hoi)
    reader = Grab(tmp_path)
    assert reader.sequences() == list(_named(expected))
    for sequence, item in _named(expected).items():
        assert _error(reader, sequence, item) < EXACT


def test_words_subjects_and_hands_are_those_of_the_recording(tree):
    folder, expected = tree
    for sequence, (want, _) in expected.items():
        (clip,) = Grab(folder).read(sequence)
        for name in ("name", "subject", "verb", "caption", "fps", "frames", "labels"):
            assert getattr(clip, name) == getattr(want, name)
        assert (clip.object.name, clip.object.category) == (want.object.name, want.object.category)
        assert clip.object.angle is None and list(clip.hands) == [side for side in SIDES if side in want.hands]
        arrays = [clip.object.transl, clip.object.rotation, *(t.betas for t in clip.hands.values())]
        assert all(array.dtype == np.float64 for array in arrays)
    clips = {s: Grab(folder).read(s)[0] for s in expected}
    assert clips[ONE].caption == "Hand over cube with right hand."
    assert {tuple(clip.hands) for clip in clips.values()} == {("left",), ("right",), ("left", "right")}


def test_betas_are_those_that_the_subjects_hand_was_made_with(tree):
    folder, expected = tree
    for sequence, item in expected.items():
        for side, track in Grab(folder).read(sequence)[0].hands.items():
            assert np.abs(track.betas).max() > 0.1
            assert np.allclose(track.betas, item.clip.hands[side].betas, atol=1e-5)


@pytest.mark.parametrize(("gap", "hands"), [(0.019, ["left", "right"]), (0.021, ["right"])])
def test_a_hand_takes_part_from_two_centimetres_on(tmp_path, gap, hands):
    (item,) = _some()
    points, betas = world(*item).points, item.clip.hands["right"].betas
    rest = np.broadcast_to(np.eye(3), (item.clip.frames, 16, 3, 3)).copy()
    flat = torch.as_tensor(rest[0])
    joints = exact_hand("left").joints(flat, torch.zeros(3, dtype=flat.dtype), torch.as_tensor(betas)).numpy()
    lowest = points[np.arange(len(points)), points[..., 2].argmin(1)]  # the hand hangs this far below the object
    transl = lowest - [0.0, 0.0, gap] - joints[joints[:, 2].argmax()]
    below = replace(item.clip.hands["right"], transl=transl, rotations=rest)
    fixture.write(tmp_path, [item._replace(clip=replace(item.clip, hands={"left": below, **item.clip.hands}))])
    (clip,) = Grab(tmp_path).read(ONE)
    assert list(clip.hands) == hands
    assert clip.caption.endswith("both hands." if len(hands) == 2 else "right hand.")


@pytest.mark.parametrize(("count", "exact"), [(45, True), (24, False)])
def test_pca_numbers_stand_in_for_a_missing_full_pose(tmp_path, count, exact):
    def without_full_pose(recording: fixture.Recording) -> None:
        for key, side in (("lhand", "left"), ("rhand", "right")):
            params = recording.content[key]["params"]
            basis = exact_hand(side).components.numpy()
            params["hand_pose"] = (params.pop("fullpose") @ np.linalg.inv(basis))[:, :count]

    (item,) = fixture.write(tmp_path, _some(), plant=without_full_pose)
    assert (_error(Grab(tmp_path), ONE, item) < EXACT) == exact


def test_without_hands_of_subjects_everybody_has_zero_betas_and_the_notes_say_so(tmp_path):
    (item,) = fixture.write(tmp_path, _some(), templates=False)
    reader = Grab(tmp_path)
    (track,) = reader.read(ONE)[0].hands.values()
    assert not track.betas.any() and np.allclose(track.transl, item.clip.hands["right"].transl, atol=EXACT)
    assert reader.notes["betas"].startswith("zero") and Grab(tmp_path).notes["fit_mm"] == {}


def test_zero_betas_leave_every_wrist_where_it_was(short):
    folder, expected = short
    reader = Grab(folder, betas="zero")
    (clip,) = reader.read(BOTH)
    truth = _truth(expected[BOTH])
    for side, joints in world(clip, expected[BOTH].model).joints.items():
        assert not clip.hands[side].betas.any()
        assert np.abs(joints - truth.joints[side]).max() > 1e-3
        assert np.abs(joints[:, 0] - truth.joints[side][:, 0]).max() < EXACT


def test_a_shape_that_no_betas_meet_keeps_the_wrist_and_is_told_in_the_notes(tmp_path):
    """GRAB's own decoding, by smplx with the subject's mesh as its template, is the oracle."""
    bump = 0.004 * np.random.default_rng(0).normal(size=(778, 3))

    def lumpy(recording: fixture.Recording) -> None:
        recording.templates = {side: v + bump + [0.0, 0.01, 0.0] for side, v in recording.templates.items()}

    (item,) = fixture.write(tmp_path, _some(), plant=lumpy)
    reader = Grab(tmp_path)
    (clip,) = reader.read(ONE)
    layer = smplx_layer("right").double()
    betas = item.clip.hands["right"].betas
    layer.v_template = torch.as_tensor(fixture.template("right", betas) + bump + [0.0, 0.01, 0.0])
    track = item.clip.hands["right"]
    turns, transl = torch.as_tensor(track.rotations), torch.as_tensor(track.transl)
    truth = layer(global_orient=turns[:, :1], hand_pose=turns[:, 1:], transl=transl).joints.numpy()
    joints = world(clip, item.model).joints["right"]
    assert np.abs(joints[:, 0] - truth[:, 0]).max() < EXACT
    assert 1e-4 < np.linalg.norm(joints[:, :16] - truth[:, :16], axis=-1).mean() < 4e-3
    fit = reader.notes["fit_mm"]["s10_rhand"]
    assert 4 < fit["mean"] < 8 and fit["mean"] < fit["worst"] < 20


def test_the_fit_ignores_where_the_mesh_lies_and_puts_that_into_the_shift():
    hand, betas = exact_hand("left"), np.linspace(-1.5, 1.5, 10)
    moved = fixture.template("left", betas) + [0.1, -0.2, 0.3]
    shape = fit_shape(hand, moved)
    assert np.allclose(shape.betas, betas, atol=1e-6) and shape.worst < 1e-9
    assert np.allclose(shape.shift, [0.1, -0.2, 0.3], atol=1e-6)
    wrist = hand_data("left")["J_regressor"][0] @ moved
    assert np.allclose(hand.rest_wrist(torch.as_tensor(shape.betas)).numpy() + shape.shift, wrist)


def test_any_multiple_of_thirty_frames_a_second_is_thinned_to_thirty(tmp_path):
    (item,) = fixture.write(tmp_path, _some())
    reader = _changed(tmp_path, ONE, framerate=60)
    assert reader.read(ONE)[0].frames > 1.9 * item.clip.frames
    with pytest.raises(RawDataError, match="framerate is 100"):
        _changed(tmp_path, ONE, framerate=100.0).read(ONE)


def test_the_folder_the_options_and_the_notes(tree, tmp_path):
    folder, expected = tree
    reader = raw.reader_for("grab", folder, betas="zero")
    assert isinstance(reader, Grab) and reader.betas == "zero"
    assert raw.reader_for("grab", folder / "grab").sequences() == list(expected)
    assert reader.objects == ("bowl", "cubelarge", "cubesmall", "mug", "waterbottle")
    assert reader.splits["test"] == ("s10",) and reader.splits["val"] == () and len(reader.splits["train"]) == 9
    assert all(file.is_file() for file in reader.files(ONE)) and len(reader.files(ONE)) == 4
    assert json.loads(json.dumps(reader.notes)) == reader.notes
    with pytest.raises(ConfigError, match="betas 'mean'"):
        raw.reader_for("grab", folder, betas="mean")
    with pytest.raises(RawDataError, match="no GRAB folder"):
        Grab(tmp_path)


# ------------------------------------------------------------------------------------------------- planted mistakes


@pytest.mark.parametrize("mistake", fixture.PLANTS)
def test_files_in_another_convention_are_not_read_as_if_nothing_were(tmp_path, mistake):
    (item,) = fixture.write(tmp_path, _some(), plant=fixture.PLANTS[mistake])
    try:
        assert _error(Grab(tmp_path), ONE, item) > 1e-3
    except RawDataError as error:
        assert "grab" in str(error) and ONE.rpartition("/")[2] in str(error)


# what a line of the reader becomes; each has to be seen in one of the two sequences read
BUGS = {
    "object rotation not transposed": ("np.swapaxes(axis_angle_to_matrix(turn), -1, -2).copy()",
                                       "axis_angle_to_matrix(turn)"),
    "120 frames a second kept": ("return int(rate // FPS)", "return 1"),
    "mean pose added": ("np.concatenate([root, fingers], 1)",
                        "np.concatenate([root, fingers + self._hands[side].hands_mean.numpy()], 1)"),
    "the subject's hand ignored": ("if not self._templates:", "if True:"),
    "last frame of contact kept": ("np.arange(touched[0], touched[-1])", "np.arange(touched[0], touched[-1] + 1)"),
    "contact of the fingers only": ("labels.any(1)", "(labels > 20).any(1)"),
    "contact looked for before thinning": ("* stride\n", "* stride - 3\n"),
    "contact not looked at": ("np.arange(touched[0], touched[-1])", "np.arange(len(labels))"),
    "every recorded hand takes part": ("if self._touches(side, track, thing, points)", "if track"),
    "two centimetres taken for two metres": ("TOUCH = 0.02", "TOUCH = 2.0"),
    "left and right exchanged": ('key = f"{side[0]}hand"', 'key = "rhand" if side == "left" else "lhand"'),
    "names not changed": ("words.verb(action), words.word(name)", "action, name"),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_in_the_reader_is_seen(short, monkeypatch, bug):
    folder, expected = short
    faulty = _faulty(monkeypatch, *BUGS[bug])(folder)
    with suppress(RawDataError):  # it finds no action, or no hand near the object, where there is one
        assert max(_error(faulty, sequence, expected[sequence]) for sequence in (ONE, BOTH)) > 1e-3


def _faulty(monkeypatch, old: str, new: str) -> type[Grab]:
    """The reader with one piece of its source replaced."""
    source = Path(sys.modules["hoi_lib.data.grab"].__file__).read_text(encoding="utf-8")
    assert source.count(old) == 1, f"{old!r} is not in the reader once"
    module = ModuleType("faulty_grab")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source.replace(old, new), "faulty_grab.py", "exec"), module.__dict__)
    return module.Grab


# ----------------------------------------------------------------------------------------------------- damaged files


def _params(part: str, key: str, change) -> object:
    def damage(folder: Path) -> dict:
        record = _content(folder, ONE)[part]
        record["params"][key] = change(record["params"][key])
        return {part: record}

    return damage


def _first_is_nan(array: np.ndarray) -> np.ndarray:
    array[0, 0] = np.nan
    return array


def _vtemp(path: str) -> object:
    return lambda folder: {"rhand": _content(folder, ONE)["rhand"] | {"vtemp": path}}


def _labels(change) -> object:
    return lambda folder: {"contact": {"object": change(_content(folder, ONE)["contact"]["object"])}}


DAMAGE = {
    **{f"{key} missing": (lambda folder, key=key: {key: None}, key) for key in (*FIELDS, "contact")},
    "a value that is not finite": (_params("rhand", "transl", _first_is_nan), "rhand transl holds 1 values"),
    "fewer frames than stated": (_params("lhand", "fullpose", lambda a: a[:-1]), "lhand fullpose is"),
    "words for numbers": (_params("object", "transl", lambda a: a.astype(str)), "object transl is"),
    "no parameters": (lambda _: {"object": {"transl": 0}}, "object holds no params"),
    "not a hand": (lambda _: {"lhand": "gone"}, "lhand holds no params"),
    "an action that GRAB lacks": (lambda _: {"motion_intent": "juggle"}, "'juggle' is no action of GRAB"),
    "another subject's file": (lambda _: {"sbj_id": "s3"}, "belongs to subject 's3'"),
    "a number for a name": (lambda _: {"obj_name": 7}, "obj_name is 7"),
    "an object without mesh": (lambda _: {"obj_name": "../../mug"}, "missing"),
    "another object's labels": (_labels(lambda a: a[:, :-1]), "contact of the object is int8"),
    "no labels": (_labels(lambda a: a.tolist()), "contact of the object is list"),
    "labels of no body part": (_labels(lambda a: a + 20), "labels outside 0 to 55"),
    "never touched": (_labels(lambda a: 0 * a), "the object is touched in 0 frames"),
    "a hand from elsewhere": (_vtemp("../../../etc/hand.ply"), "leads out of this folder"),
    "a hand that is not there": (_vtemp("tools/subject_meshes/male/s11_rhand.ply"), "s11_rhand.ply: missing"),
    "no hand": (_vtemp(None), "rhand names no hand"),
    "far from any object": (_params("rhand", "transl", lambda a: a + 2.0), "no hand comes within 2 cm"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_error_that_names_file_and_reason(copied, damage):
    folder, _ = copied
    change, reason = DAMAGE[damage]
    with pytest.raises(RawDataError) as caught:
        _changed(folder, ONE, **change(folder)).read(ONE)
    assert str(caught.value).startswith(str(folder)) and reason in str(caught.value)


@pytest.mark.parametrize(
    ("file", "reason"),
    [("tools/subject_meshes/male/s10_rhand.ply", "mm from the nearest right hand"),
     ("tools/object_meshes/contact_meshes/cubesmall.ply", "no object of GRAB, whose meshes are in metres")],
)  # fmt: skip
def test_a_mesh_of_another_size_is_refused(copied, file, reason):
    folder, (_, model) = copied
    hand = exact_hand("right")
    stretched = hand.template.numpy() * [1.0, 3.0, 1.0], hand.faces.numpy()
    vertices, faces = (1000 * model.vertices, model.faces) if "cubesmall" in file else stretched
    fixture.write_ply(folder / file, vertices, faces)
    with pytest.raises(RawDataError, match=reason):
        Grab(folder).read(ONE)


def test_a_pickle_that_asks_for_code_is_refused(copied):
    folder, _ = copied

    class Trap:
        def __reduce__(self):
            return Path.touch, (folder / "ran",)

    with pytest.raises(RawDataError, match="refused"):
        _changed(folder, ONE, sbj_id=Trap()).read(ONE)
    assert not (folder / "ran").exists()


def test_damaged_bytes_end_in_an_error_or_in_the_right_record(copied):
    """Files cut off, and flipped bits in a sequence; in a part of it that is not read they change nothing."""
    folder, item = copied
    rng = np.random.default_rng(0)
    files = [folder / f"grab/{ONE}.npz", *sorted((folder / "tools").rglob("*.ply"))]
    refused = 0
    for trial in range(48):
        path = files[trial % 2 and rng.integers(len(files))]
        content = path.read_bytes()
        broken = bytearray(content)
        if trial % 4 == 3 or path.suffix == ".ply":
            del broken[rng.integers(len(broken)) :]
        else:
            broken[rng.integers(len(broken))] ^= 1 << rng.integers(8)
        path.write_bytes(broken)
        try:
            assert _error(Grab(folder), ONE, item) < EXACT
        except RawDataError as error:
            refused += str(error).startswith(str(folder))
        path.write_bytes(content)
    assert refused > 15
    assert _error(Grab(folder), ONE, item) < EXACT


def test_a_folder_without_hands_of_subjects_cautions(tree, tmp_path):
    assert Grab(tree[0]).cautions == []
    fixture.write(tmp_path, templates=False)
    assert "mean shape" in Grab(tmp_path).cautions[0] and Grab(tmp_path, betas="zero").cautions == []
