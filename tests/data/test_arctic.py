"""ARCTIC: what is read is where it was, what is left out is left out by rule, and mistakes and damage do not pass."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from fixtures import arctic as fixture
from fixtures.motion import canonical, close, cut, one_handed, rest_wrist, world
from scipy.spatial.transform import Rotation

from hoi_lib.data import raw
from hoi_lib.data.arctic import Arctic, read_description
from hoi_lib.data.arctic_objects import read_obj, read_object
from hoi_lib.errors import ConfigError, RawDataError
from hoi_lib.hand import hand_data
from hoi_lib.motion import SIDES

EXACT = 1e-6  # metres


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Text2HOI's variant with seven sequences, and what has to be read from it."""
    folder = tmp_path_factory.mktemp("arctic")
    return folder, fixture.write(folder)


@pytest.fixture(scope="module")
def reader(tree):
    return Arctic(tree[0])


@pytest.fixture
def copy(tree, tmp_path):
    """A copy that a test may damage: the folder with raw_seqs, meta and description."""
    return shutil.copytree(tree[0], tmp_path / "copy") / "downloads" / "data"


def everything(reader):
    return [clip for sequence in reader.sequences() for clip in reader.read(sequence)]


def apart(item, clip, model):
    """Largest distance in metres between a known clip and a read one: joints, hand and object vertices."""
    if clip.hands.keys() != item.clip.hands.keys() or clip.frames != item.clip.frames:
        return np.inf
    truth, found = (world(c, blank(m)) for c, m in ((item.clip, item.model), (clip, model)))
    placed = [m.posed_vertices(c.object.angle) for c, m in ((item.clip, item.model), (clip, model))]
    placed = [v @ np.swapaxes(c.object.rotation, -1, -2) + c.object.transl[:, None]
              for v, c in zip(placed, (item.clip, clip), strict=True)]  # fmt: skip
    return max(close(truth, found), np.abs(placed[0] - placed[1]).max())


def blank(model):
    """The model with all its samples at the origin: what is measured by its vertices needs none."""
    model = replace(model)
    model.__dict__["_samples"] = *np.zeros((2, 1024, 3), np.float32), np.zeros(1024, np.int64)
    return model


# ------------------------------------------------------------------------------------------------------- the records


def test_everything_is_where_the_generator_put_it(tree, reader):
    clips = everything(reader)
    assert [clip.name for clip in clips] == [item.clip.name for item in tree[1]]
    for item, clip in zip(tree[1], clips, strict=True):
        assert close(world(*item), world(clip, reader.object(clip.object.name))) < EXACT
        assert all(array.dtype == np.float64 for hand in clip.hands.values() for array in (hand.transl, hand.rotations))
    assert {clip.object.angle is None for clip in clips} == {True, False}
    assert {tuple(clip.hands) for clip in clips} == {("left",), ("right",), ("left", "right")}
    assert all(np.abs(hand.betas).max() > 0.1 for clip in clips for hand in clip.hands.values())


def test_verbs_words_subjects_and_captions_are_those_of_the_annotation(tree, reader):
    for item, clip in zip(tree[1], everything(reader), strict=True):
        for field in ("verb", "subject", "caption", "fps", "labels"):
            assert getattr(clip, field) == getattr(item.clip, field)
        assert (clip.object.name, clip.object.category) == (item.clip.object.name, item.clip.object.category)
        assert all(hand.valid.all() for hand in clip.hands.values())
    assert {clip.subject for clip in everything(reader)} == {"s01", "s10"}
    assert reader.splits["test"] == ("s10",) and "s03" not in {s for split in reader.splits.values() for s in split}


def test_frames_are_counted_from_1_and_the_last_one_counts(copy, reader):
    sequence = reader.sequences()[1]
    text = copy / "description" / sequence / "description.txt"
    text.write_text("1-20 grasp, right hand\n\n21-40 lift right hand\n")  # the comma may be missing
    clips = Arctic(copy).read(sequence)
    assert [(clip.frames, clip.verb) for clip in clips] == [(20, "grasp"), (20, "lift")]
    numbers = raw.load_npy(copy / "raw_seqs" / f"{sequence}.object.npy")
    np.testing.assert_allclose(clips[0].object.transl, numbers[:20, 4:] / 1000, atol=1e-12)
    np.testing.assert_allclose(clips[1].object.transl, numbers[20:40, 4:] / 1000, atol=1e-12)


def test_what_text2hoi_leaves_out_is_left_out(copy, reader):
    assert "s01/espressomachine_use_01" in reader.sequences()
    assert reader.read("s01/espressomachine_use_01") == []
    path = copy / "description.txt"
    path.write_text("1-19 grasp, left hand\n1-20 write, left hand\n21-60 push, both hands\n1-20 grasp, both hands\n")
    assert [s.verb for s in read_description(path, "notebook")] == ["push", "grasp"]
    assert [s.verb for s in read_description(path, "capsulemachine")] == ["write", "grasp"]


def test_a_description_may_reach_a_little_beyond_its_sequence(copy, reader):
    sequence = reader.sequences()[1]
    frames = len(raw.load_npy(copy / "raw_seqs" / f"{sequence}.object.npy"))
    text = copy / "description" / sequence / "description.txt"
    text.write_text(f"{frames - 29}-{frames + 10} grasp, right hand\n{frames - 5}-{frames + 20} lift, right hand\n")
    assert [clip.frames for clip in Arctic(copy).read(sequence)] == [30]
    text.write_text(f"{frames - 29}-{frames + 31} grasp, right hand\n")
    with pytest.raises(RawDataError, match=f"holds {frames} frames, but frames"):
        Arctic(copy).read(sequence)


def test_without_descriptions_a_clip_is_a_whole_sequence_of_both_hands(tmp_path):
    known = one_handed("right", 1, hinged=True) or canonical(hinged=True, both=True, count=1)
    fixture.write(tmp_path, known, text2hoi=False)
    reader = Arctic(tmp_path)
    assert reader.notes["layout"] == "official" and reader.notes["clips"] == "whole sequences"
    whole = next(clip for clip in everything(reader) if clip.object.name != "espressomachine")
    frames = known[0].clip.frames
    assert whole.frames == fixture.LEAD + frames + fixture.TAIL and set(whole.hands) == set(SIDES)
    assert whole.verb == "use" and whole.caption.startswith("Use ")
    inner, (item,) = cut(whole, slice(fixture.LEAD, fixture.LEAD + frames)), fixture.recorded(known)[0][0].expected[:1]
    inner = replace(inner, hands={side: inner.hands[side] for side in item.clip.hands})
    assert apart(item, inner, reader.object(whole.object.name)) < EXACT


def test_windows_follow_one_another_and_a_short_rest_is_dropped(tmp_path):
    known = canonical(hinged=False, both=False, count=1)
    fixture.write(tmp_path, known, text2hoi=False)
    frames = fixture.LEAD + known[0].clip.frames + fixture.TAIL
    reader = Arctic(tmp_path, window="40")
    sequence = next(s for s in reader.sequences() if "espresso" not in s)
    clips = reader.read(sequence)
    expected = [40] * (frames // 40) + [frames % 40] * (frames % 40 >= 20)
    assert [clip.frames for clip in clips] == expected
    (whole,) = Arctic(tmp_path).read(sequence)
    np.testing.assert_array_equal(clips[1].object.transl, whole.object.transl[40:80])


def test_zero_betas_keep_every_wrist_in_its_place(tree, reader):
    zeroed = everything(Arctic(tree[0], betas="zero"))
    for clip, item in zip(zeroed, tree[1], strict=True):
        for side, hand in clip.hands.items():
            truth = item.clip.hands[side]
            assert not hand.betas.any()
            wrist = hand.transl + rest_wrist(side, hand.betas)
            assert np.abs(wrist - truth.transl - rest_wrist(side, truth.betas)).max() < EXACT


def test_an_object_has_its_parts_its_hinge_and_its_word(tree, reader):
    assert set(reader.objects) >= {"laptop", "espressomachine"}
    for item in tree[1]:
        model = reader.object(item.model.name)
        assert model is reader.object(item.model.name) and model.category == item.model.category
        np.testing.assert_allclose(model.vertices, item.model.vertices, atol=1e-12)
        np.testing.assert_array_equal(model.part, item.model.part)
        assert (model.hinge is None) == (item.model.hinge is None) and not model.notes
        if model.hinge is not None:
            np.testing.assert_array_equal(model.hinge_numbers(), [0, 0, 0, 0, 0, -1])


def test_part_meshes_that_say_little_leave_a_note(copy):
    folder = copy / "meta" / "object_vtemplates" / "laptop"
    vertices, faces = read_obj(folder / "mesh.obj")
    parts = np.array(json.loads((folder / "parts.json").read_text()))
    wrong = parts.copy()
    wrong[:: len(parts) // 200] ^= 1
    (folder / "parts.json").write_text(json.dumps(wrong.tolist()))
    assert any("of parts.json agrees with top.obj" in note for note in read_object(folder, "laptop").notes)
    (folder / "parts.json").write_text(json.dumps(parts.tolist()))
    fixture.write_obj(folder / "top.obj", *_moved(read_obj(folder / "top.obj"), 500))
    assert read_object(folder, "laptop").notes == (
        "top.obj and bottom.obj lie elsewhere than mesh.obj: the parts could not be compared.",
    )
    fixture.write_obj(folder / "mesh.obj", vertices, faces[1:])
    assert any(note.endswith("is not watertight.") for note in read_object(folder, "laptop").notes)


def _moved(mesh, shift):
    return mesh[0] + shift, mesh[1]


def test_polygons_texture_numbers_and_negative_numbers_are_read(tmp_path):
    path = tmp_path / "mesh.obj"
    path.write_text("# x\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 0\nvt 0 0\nf 1/1 2/1/1 3//1 4\nf -5 -3 -2\n")
    vertices, faces = read_obj(path)
    assert len(vertices) == 5  # none merged
    assert faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 2, 3]]


def test_a_reader_is_named_listed_and_says_what_it_did(tree, reader):
    found = raw.reader_for("arctic", tree[0])
    assert type(found).__name__ == "Arctic" and found.sequences() == reader.sequences() == sorted(reader.sequences())
    assert any(s.endswith("_retake") for s in reader.sequences())
    assert json.loads(json.dumps(reader.notes))["layout"] == "text2hoi"
    assert all(path.exists() for path in reader.files(reader.sequences()[1]))
    with pytest.raises(ConfigError, match="no option 'frames'"):
        raw.reader_for("arctic", tree[0], frames=3)


@pytest.mark.parametrize("options", [{"units": "cm"}, {"top": 2}, {"betas": "mean"}, {"window": 10}, {"window": "x"}])
def test_an_option_that_cannot_be_is_one_clear_error(tree, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Arctic(tree[0], **options)


# -------------------------------------------------------------------------------------------- planted convention bugs


def _poses(recording, change):
    for side, hand in recording.hands.items():
        hand["pose"] = change(hand["pose"], hand_data(side)["hands_mean"])


def mean_left_in(recording, template):
    _poses(recording, lambda pose, mean: pose + mean)


def mean_taken_twice(recording, template):
    _poses(recording, lambda pose, mean: pose - mean)


def mean_as_a_turn(recording, template):
    def turned(pose, mean):
        turn = (
            Rotation.from_rotvec((pose + mean).reshape(-1, 3))
            * Rotation.from_rotvec(np.tile(mean.reshape(15, 3), (len(pose), 1))).inv()
        )
        return turn.as_rotvec().reshape(pose.shape)

    _poses(recording, turned)


def sides_swapped(recording, template):
    recording.hands = dict(zip(("right", "left"), (recording.hands[s] for s in SIDES), strict=True))


def wrist_for_translation(recording, template):
    for side, hand in recording.hands.items():
        hand["trans"] = hand["trans"] + rest_wrist(side, np.atleast_2d(hand["shape"])[0])


def betas_forgotten(recording, template):
    for hand in recording.hands.values():
        hand["shape"] = np.zeros(10)


def object_transposed(recording, template):
    recording.object = recording.object * [1, -1, -1, -1, 1, 1, 1]


def hinge_reversed(recording, template):
    recording.object = recording.object * [-1, 1, 1, 1, 1, 1, 1]


def hinge_beside_the_origin(recording, template):
    away = np.array([0.0, 40.0, 0.0])
    template.vertices = template.vertices + away
    recording.object = recording.object.copy()
    recording.object[:, 4:] -= Rotation.from_rotvec(recording.object[:, 1:4]).apply(away)


def parts_swapped(recording, template):
    template.parts = 1 - template.parts


def vertices_reordered(recording, template):
    order = np.argsort(template.vertices[:, 0])
    place = np.argsort(order)
    template.vertices, template.faces = template.vertices[order], place[template.faces]


def frames_from_0(recording, template):
    recording.lines = [(max(a - 1, 1), b - 1, *rest) for a, b, *rest in recording.lines]


def last_frame_left_out(recording, template):
    recording.lines = [(a, b + 1, *rest) for a, b, *rest in recording.lines]


CONVENTIONS = (
    mean_left_in, mean_taken_twice, mean_as_a_turn, sides_swapped, wrist_for_translation, betas_forgotten,
    object_transposed, hinge_reversed, hinge_beside_the_origin, parts_swapped, vertices_reordered, frames_from_0,
    last_frame_left_out,
)  # fmt: skip


@pytest.fixture(scope="module")
def one():
    """A single clip with both hands of an object whose hinge turns."""
    return [next(item for item in canonical(hinged=True, both=True) if np.ptp(item.clip.object.angle) > 0.3)]


@pytest.mark.parametrize("plant", CONVENTIONS)
def test_a_planted_convention_bug_moves_hand_or_object(one, tmp_path, plant):
    expected = fixture.write(tmp_path, one, plant=plant, part_meshes=False)
    reader = Arctic(tmp_path)
    clips = everything(reader)
    assert max(apart(item, clip, reader.object(clip.object.name))
               for item, clip in zip(expected, clips, strict=True)) > 1e-3  # fmt: skip


def test_without_a_planted_bug_the_same_clip_is_exact(one, tmp_path):
    expected = fixture.write(tmp_path, one, part_meshes=False)
    reader = Arctic(tmp_path)
    for item, clip in zip(expected, everything(reader), strict=True):
        assert apart(item, clip, reader.object(clip.object.name)) < EXACT


def object_in_metres(recording, template):
    recording.object = recording.object / [1, 1, 1, 1, 1e3, 1e3, 1e3]


def hands_in_millimetres(recording, template):
    for hand in recording.hands.values():
        hand["trans"] = hand["trans"] * 1000


def template_in_metres(recording, template):
    template.vertices = template.vertices / 1000


@pytest.mark.parametrize(
    "plant, message",
    [
        (object_in_metres, "these are metres, ARCTIC stores millimetres"),
        (hands_in_millimetres, r"the left hand is up to \d+.* m from the origin"),
        (template_in_metres, r"the object would be 0\.000\d+ m long"),
        (parts_swapped, "lie on the other part's mesh\n.*--option top=1"),
    ],
)
def test_a_wrong_unit_and_swapped_parts_are_named(one, tmp_path, plant, message):
    fixture.write(tmp_path, one, plant=plant)
    reader = Arctic(tmp_path)
    with pytest.raises(RawDataError, match=message):
        reader.read(reader.sequences()[-1])


def test_the_options_that_the_errors_name_mend_them(one, tmp_path):
    def converted(recording, template):
        parts_swapped(recording, template)
        object_in_metres(recording, template)
        template_in_metres(recording, template)

    expected = fixture.write(tmp_path, one, plant=converted)
    reader = Arctic(tmp_path, top=1, units="m")
    for item, clip in zip(expected, everything(reader), strict=True):
        assert apart(item, clip, reader.object(clip.object.name)) < EXACT


# ------------------------------------------------------------------------------------------------------------- damage


def test_a_folder_of_another_layout_says_what_was_expected(tmp_path, copy):
    with pytest.raises(RawDataError, match="no raw_seqs folder"):
        Arctic(tmp_path / "elsewhere")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "raw_seqs.zip").write_bytes(b"PK")
    with pytest.raises(RawDataError, match="Unpack .*raw_seqs.zip"):
        Arctic(tmp_path / "packed")
    with pytest.raises(RawDataError, match="holds no folders of descriptions"):
        Arctic(copy, descriptions=tmp_path / "packed")
    shutil.rmtree(copy / "meta")
    with pytest.raises(RawDataError, match="no object templates"):
        Arctic(copy)


def test_folders_above_the_data_and_descriptions_elsewhere_are_found(tree, tmp_path):
    copy = shutil.copytree(tree[0] / "downloads" / "data", tmp_path / "arctic_data" / "data")
    assert Arctic(tmp_path).sequences() == Arctic(tmp_path / "arctic_data").sequences() == Arctic(copy).sequences()
    (copy / "description").rename(tmp_path / "words")
    assert Arctic(copy).descriptions is None and Arctic(tree[0], descriptions="no").descriptions is None
    assert len(everything(Arctic(copy, descriptions=tmp_path / "words"))) == len(tree[1])


def _resave(path, change):
    content = raw.load_npy(path)
    np.save(path, change(content))


def _hand_changed(key, change):
    def changed(content):
        return content | {"left": content["left"] | {key: change(content["left"][key])}}

    return changed


def nan(x):
    x = np.array(x)
    x[3] = np.nan
    return x


def leap(x):
    x = np.array(x)
    x[20:] += 1.5
    return x


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: {"left": c["left"]}, "lacks rot, pose, trans, shape of the right hand"),
        (lambda c: c["left"]["rot"], "holds no dictionary"),
        (_hand_changed("trans", nan), "left trans holds 3 values that are not finite"),
        (_hand_changed("trans", leap), r"the left hand leaps by 2\.6 m after frame 20"),
        (_hand_changed("pose", lambda x: x[:, :24]), r"left pose is float64 \(\d+, 24\), expected numbers \(\d+, 45\)"),
        (_hand_changed("pose", lambda x: x * 1e6), "left pose reaches"),
        (_hand_changed("shape", lambda x: np.full(10, 40.0)), "left shape reaches 40"),
        (_hand_changed("shape", lambda x: x[:9]), r"left shape is float64 \(9,\)"),
        (_hand_changed("shape", str), "left shape is <U"),
        (_hand_changed("rot", lambda x: x[:50]), "left rot is"),
        (lambda c: {side: {k: v[:60] if k != "shape" else v for k, v in hand.items()} for side, hand in c.items()},
         r"object\.npy: holds \d+ frames, .*mano\.npy 60"),
    ],
)  # fmt: skip
def test_damaged_hands_are_named(copy, reader, change, message):
    sequence = reader.sequences()[1]
    path = copy / "raw_seqs" / f"{sequence}.mano.npy"
    _resave(path, change)
    with pytest.raises(RawDataError, match=message) as caught:
        Arctic(copy).read(sequence)
    assert str(caught.value).startswith(str(copy / "raw_seqs" / sequence))


@pytest.mark.parametrize(
    "change, message",
    [
        (nan, "the object holds 7 values that are not finite"),
        (lambda x: x[:, :6], r"the object is float64 \(\d+, 6\), expected numbers \(any, 7\)"),
        (lambda x: x * 40, "reaches"),
        (lambda x: x + [0, 0, 0, 0, 0, 0, 2e4], "the object is up to"),
        (lambda x: x.astype(str), "the object is <U"),
        (lambda x: np.zeros((0, 7)), "expected numbers"),
    ],
)
def test_a_damaged_object_is_named(copy, reader, change, message):
    sequence = reader.sequences()[1]
    _resave(copy / "raw_seqs" / f"{sequence}.object.npy", change)
    with pytest.raises(RawDataError, match=message):
        Arctic(copy).read(sequence)


@pytest.mark.parametrize("suffix", [".mano.npy", ".object.npy"])
def test_half_a_sequence_is_listed_and_named(copy, reader, suffix):
    sequence = reader.sequences()[1]
    (copy / "raw_seqs" / f"{sequence}{suffix}").unlink()
    assert Arctic(copy).sequences() == reader.sequences()
    with pytest.raises(RawDataError, match=f"{suffix}: missing"):
        Arctic(copy).read(sequence)


def test_a_description_without_its_sequence_is_listed_and_so_is_a_sequence_without_description(copy, reader):
    sequence = reader.sequences()[1]
    shutil.rmtree(copy / "description" / sequence)
    (copy / "description" / "s01" / "box_use_09").mkdir()
    damaged = Arctic(copy)
    assert {sequence, "s01/box_use_09"} <= set(damaged.sequences())
    for name in (sequence, "s01/box_use_09"):
        with pytest.raises(RawDataError, match=r"description\.txt: missing"):
            damaged.read(name)


@pytest.mark.parametrize(
    "text, message",
    [
        ("1-40 grasp right\n", "line 1 is '1-40 grasp right', expected such as"),
        ("\n1-40 grosp, right hand\n", "line 2: the annotation knows no verb 'grosp'"),
        ("0-40 grasp, right hand\n", "line 1: frames 0 to 40"),
        ("40-1 grasp, right hand\n", "line 1: frames 40 to 1"),
        ("1-40 grasp, right hand\n1-40 lift, right hand\n", "line 2: frames 1 to 40, right hand, for the second time"),
        ("900-940 grasp, right hand\n", "frames, but frames 900 to 940 are described"),
        ("", "empty file"),
    ],
)
def test_a_damaged_description_is_named_with_its_line(copy, reader, text, message):
    sequence = reader.sequences()[1]
    (copy / "description" / sequence / "description.txt").write_text(text)
    with pytest.raises(RawDataError, match=message):
        Arctic(copy).read(sequence)


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("parts.json", "[0, 1]", r"parts\.json: the list of parts is int64 \(2,\)"),
        ("parts.json", "{", "no readable JSON"),
        ("mesh.obj", "v 0 0 0\nv 1 x 0\n", "no readable .obj file"),
        ("mesh.obj", "v 0 0 0\nv 100 0 0\nv 0 100 0\nf 1 2 4\n", "a face names a vertex that is not there"),
        ("mesh.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "list of faces"),
        ("top.obj", "v 0 0\nv 1 1 1\nf 1 2 1\n", r"top\.obj"),
    ],
)
def test_a_damaged_template_is_named(copy, reader, name, text, message):
    (copy / "meta" / "object_vtemplates" / "laptop" / name).write_text(text)
    with pytest.raises(RawDataError, match=message):
        Arctic(copy).object("laptop")


def test_parts_that_cannot_be_are_named(copy, reader):
    folder = copy / "meta" / "object_vtemplates" / "laptop"
    count = len(read_obj(folder / "mesh.obj")[0])
    for value, message in ((0, "every vertex is marked"), (3, "neither 0 nor 1")):
        (folder / "parts.json").write_text(json.dumps([value] * count))
        with pytest.raises(RawDataError, match=message):
            read_object(folder, "laptop")
    (folder / "parts.json").write_text(json.dumps([1] * count))
    turning = "s01/laptop_use_03"
    assert np.ptp(reader.read(turning)[0].object.angle) > 0.3
    with pytest.raises(RawDataError, match="its hinge turns, but laptop's template has no moving part"):
        Arctic(copy).read(turning)
    with pytest.raises(RawDataError, match="no object is called 'spoon'"):
        Arctic(copy).object("spoon")


class Evil:
    """A pickle that would leave a file behind if it were believed."""

    def __reduce__(self):
        return (open, ("evil_was_here.txt", "w"))


def test_a_pickle_that_runs_code_is_refused(copy, reader, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sequence = reader.sequences()[1]
    np.save(copy / "raw_seqs" / f"{sequence}.mano.npy", {"left": Evil(), "right": {}})
    with pytest.raises(RawDataError, match="refused, nothing was run"):
        Arctic(copy).read(sequence)
    assert not (tmp_path / "evil_was_here.txt").exists()


def _corrupted(content, rng):
    """One of the ways in which a file goes bad."""
    way, content = rng.integers(5), bytearray(content)
    at = int(rng.integers(len(content)))
    if way == 0:
        return content[:at]
    if way == 1:
        content[at] ^= 1 << rng.integers(8)
    elif way == 2:
        content[at : at + 64] = rng.bytes(64)
    elif way == 3:
        content[at:at] = rng.bytes(16)
    else:
        content[at : at + 8] = np.float64(np.nan).tobytes()
    return content


def test_damaged_files_end_in_clips_or_in_an_error_that_names_one(tree, reader, tmp_path):
    rng = np.random.default_rng(0)
    copy = shutil.copytree(tree[0], tmp_path / "copy")
    sequence = next(s for s in reader.sequences() if "laptop" in s)
    template = copy / "downloads/data/meta/object_vtemplates/laptop"
    data = copy / "downloads/data"
    files = [data / "raw_seqs" / f"{sequence}{suffix}" for suffix in (".mano.npy", ".object.npy")]
    files += [data / "description" / sequence / "description.txt", template / "mesh.obj", template / "parts.json"]
    named = 0
    for number in range(150):
        path = files[number % len(files)]
        whole = path.read_bytes()
        path.write_bytes(_corrupted(whole, rng))
        try:
            clips = Arctic(copy).read(sequence)
        except RawDataError as error:
            assert str(error).startswith(str(copy))
            named += 1
        else:
            for clip in clips:
                assert all(np.isfinite(hand.rotations).all() for hand in clip.hands.values())
                assert 20 <= clip.frames <= 200 and np.abs(clip.object.transl).max() < 10
        finally:
            path.write_bytes(whole)
    print(f"150 damaged variants, {named} refused")
    assert named > 60 and len(Arctic(copy).read(sequence)) == len(reader.read(sequence))


def test_a_folder_without_descriptions_cautions_unless_they_are_declined(tree, tmp_path):
    assert Arctic(tree[0]).cautions == []
    fixture.write(tmp_path, text2hoi=False)
    assert "whole sequence" in Arctic(tmp_path).cautions[0] and Arctic(tmp_path, descriptions="no").cautions == []


def test_a_description_may_say_it_in_other_letters(tmp_path):
    path = tmp_path / "description.txt"
    path.write_text("1-40 Grasp, right finger\n")
    assert [(s.verb, s.hands) for s in read_description(path, "box")] == [("grasp", "right")]
