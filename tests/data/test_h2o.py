"""H2O: what is read is where it was, frames stay together, and neither mistakes nor damage pass."""

import shutil
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from fixtures import h2o as fixture
from fixtures.motion import Canonical, canonical, close, cut, rest_wrist, world
from hypothesis import given, settings
from hypothesis import strategies as st

from hoi_lib.data import raw
from hoi_lib.data.framefiles import last_known, read_folder, span_of
from hoi_lib.data.h2o import H2O
from hoi_lib.data.vocabulary import H2O_ACTIONS, H2O_OBJECTS
from hoi_lib.errors import ConfigError, RawDataError
from hoi_lib.hand import hand_data
from hoi_lib.motion import SIDES
from hoi_lib.rotations import is_rotation

EXACT = 1e-6  # metres
PLACE = fixture.PLACES[0]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree with five sequences, the folders' names spelt as in the set's description, and what is to be read."""
    folder = tmp_path_factory.mktemp("h2o")
    return folder, fixture.write(folder)


@pytest.fixture(scope="module")
def reader(tree):
    return H2O(tree[0])


@pytest.fixture(scope="module")
def clips(reader):
    return everything(reader)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One short sequence of both hands as it would be written, and a folder that holds its object alone."""
    clip, model = canonical(hinged=False, both=True, count=1)[0]
    item = Canonical(cut(clip, slice(18, 66)), model)
    recordings, models = fixture.recorded([item])
    folder = tmp_path_factory.mktemp("small")
    (folder / "object" / "book").mkdir(parents=True)
    fixture.write_obj(folder / "object" / "book" / "book.obj", models["book"].vertices, models["book"].faces)
    return folder, recordings[0]


@pytest.fixture
def planted(small, tmp_path):
    """A function that writes the short sequence after a change of its numbers: its folder, and what is expected."""

    def write(change=None, official=False):
        folder = shutil.copytree(small[0], tmp_path / "planted")
        recording = deepcopy(small[1])
        if change:
            change(recording)
        fixture.write_recording(folder, recording, official)
        return folder, recording.expected

    return write


def everything(reader):
    return [clip for sequence in reader.sequences() for clip in reader.read(sequence)]


def faults(clips, expected):
    """What is wrong with the clips, in words; an empty list when all is as it was."""
    if [clip.name for clip in clips] != [item.clip.name for item in expected]:
        return ["names"]
    wrong = []
    for clip, (truth, model) in zip(clips, expected, strict=True):
        if clip.hands.keys() != truth.hands.keys():
            wrong.append("hands")
        elif any((clip.hands[s].valid != truth.hands[s].valid).any() for s in clip.hands):
            wrong.append("valid")
        elif not close(world(clip, model), world(truth, model)) < EXACT:
            wrong.append("place")
        elif not max(np.abs(clip.hands[s].betas - truth.hands[s].betas).max() for s in clip.hands) < EXACT:
            wrong.append("betas")
        elif (clip.verb, clip.caption, clip.subject) != (truth.verb, truth.caption, truth.subject):
            wrong.append("words")
    return wrong


# ------------------------------------------------------------------------------------------------------------- exact


def test_joints_vertices_and_object_points_are_where_they_were(tree, clips):
    assert len(clips) == 10
    assert {tuple(sorted(clip.hands)) for clip in clips} == {("left",), ("right",), ("left", "right")}
    assert all(np.abs(hand.betas).max() > 0.1 for clip in clips for hand in clip.hands.values())
    assert faults(clips, tree[1]) == []


def test_the_fixture_has_frames_that_are_not_valid_in_every_way(clips):
    invalid = [(~hand.valid).sum() for clip in clips for hand in clip.hands.values()]
    assert sorted(set(invalid)) == [0, 1, 3]


def test_records_are_float64_rotations_without_labels_or_hinge_at_30_frames_a_second(clips):
    for clip in clips:
        assert clip.fps == 30 and clip.labels is None and clip.object.angle is None
        for hand in clip.hands.values():
            assert hand.transl.dtype == hand.rotations.dtype == hand.betas.dtype == np.float64
            assert is_rotation(hand.rotations, 1e-9)
            assert len(hand.transl) == len(hand.valid) == clip.frames
        assert is_rotation(clip.object.rotation, 1e-9)


def test_both_spellings_of_the_folders_give_the_same(planted):
    folder, expected = planted(official=False)
    assert faults(everything(H2O(folder)), expected) == []
    assert (folder / PLACE / "cam4" / "hand_pose_mano").is_dir()


def test_text2hois_place_and_an_archives_own_folder_name_are_found(planted, tmp_path):
    folder, expected = planted()
    (tmp_path / "work" / "data").mkdir(parents=True)
    home = folder.rename(tmp_path / "work" / "data" / "h2o")
    (home / "subject1").rename(home / "subject1_pose")
    assert faults(everything(H2O(tmp_path / "work")), expected) == []


def test_objects_are_those_of_the_meshes(tree, reader):
    for clip, model in tree[1]:
        found = reader.object(clip.object.name)
        assert found.hinge is None and found.category == clip.object.name
        assert np.array_equal(found.vertices, model.vertices) and np.array_equal(found.points, model.points)


# ------------------------------------------------------------------------------------------------ what makes a clip


def test_a_run_of_20_frames_and_one_that_touches_nothing_are_no_clips(small, planted):
    assert (small[1].action > 0).sum() > sum(item.clip.frames for item in small[1].expected)
    folder, expected = planted()
    assert len(everything(H2O(folder))) == len(expected) == 2


def test_a_run_of_21_frames_is_a_clip(planted):
    def lengthen(recording):
        short = slice(*np.flatnonzero(np.diff(recording.action))[[3, 4]] + 1)
        assert short.stop - short.start == 20
        recording.action[short.stop] = recording.action[short.start]

    clips = everything(H2O(planted(lengthen)[0]))
    assert [clip.frames for clip in clips] == [24, 24, 21]


def test_a_subject_without_published_actions_is_left_out(tree, reader):
    assert (tree[0] / "subject4").is_dir()
    assert [s.split("/")[0] for s in reader.sequences()] == ["subject1"] * 2 + ["subject2"] + ["subject3"] * 2
    assert reader.notes["left_out"] == ["subject4"]


def test_every_action_has_its_verb_and_object(planted):
    def rename(recording, action):
        item = H2O_OBJECTS.index(H2O_ACTIONS[action - 1][1]) + 1
        recording.action[recording.action > 0] = action
        recording.item[:] = item

    folder, _ = planted(lambda recording: rename(recording, 36))
    shutil.copytree(folder / "object" / "book", folder / "object" / "lotion")
    clip, *_ = everything(H2O(folder))
    assert (clip.verb, clip.object.name, clip.caption) == ("squeeze", "lotion", "Squeeze lotion with both hands.")


def test_another_camera_sees_the_same_world_and_takes_its_actions_from_the_head(tree):
    other = H2O(tree[0], camera="cam0")
    expected = [item for item in tree[1] if item.clip.name.startswith(PLACE.replace("/", "_"))]
    assert faults(other.read(PLACE), expected) == []
    with pytest.raises(RawDataError, match=r"k1/1/cam0: missing \(there is cam4\)"):
        other.read("subject2/k1/1")


def test_the_mesh_with_the_objects_name_comes_first_and_else_the_last_one(reader):
    assert reader.notes["meshes"]["book"] == "book.obj"
    assert reader.notes["meshes"]["cappuccino"] == "z_last.obj"
    assert np.ptp(reader.object("cappuccino").vertices, axis=0).max() == pytest.approx(0.2)


# -------------------------------------------------------------------------------------------------------------- hand


def test_zero_betas_keep_every_wrist_in_its_place(planted):
    folder, expected = planted()
    for clip, (truth, model) in zip(everything(H2O(folder, betas="zero")), expected, strict=True):
        found, known = world(clip, model), world(truth, model)
        for side in clip.hands:
            assert not clip.hands[side].betas.any()
            assert np.abs(found.joints[side][:, 0] - known.joints[side][:, 0]).max() < EXACT
            assert np.abs(found.joints[side] - known.joints[side]).max() > 1e-3


def test_a_shape_that_wavers_becomes_its_median_with_every_wrist_in_its_place(planted):
    betas = {}

    def waver(recording):
        for side, rows in recording.hands.items():
            found = rows[:, 0] == 1
            betas[side] = np.median(rows[found, 52:], 0)
            shaken = betas[side] + np.resize([-0.3, 0.3, 0.0, 0.0, 0.0], (found.sum(), 1))
            moved = [rest_wrist(side, betas[side]) - rest_wrist(side, b) for b in shaken]
            rows[found, 52:] = shaken
            rows[found, 1:4] += np.array(moved)  # the wrist was fitted, so it does not waver

    folder, expected = planted(waver)
    for clip, (truth, model) in zip(everything(H2O(folder)), expected, strict=True):
        found, known = world(clip, model), world(truth, model)
        for side in clip.hands:
            assert np.abs(clip.hands[side].betas - betas[side]).max() < 1e-12
            assert np.abs(found.joints[side][:, 0] - known.joints[side][:, 0]).max() < EXACT


def test_a_hand_that_was_never_found_takes_no_part(planted):
    def lose(recording):
        recording.hands["left"][:] = 0

    assert {tuple(clip.hands) for clip in everything(H2O(planted(lose)[0]))} == {("right",)}


# ---------------------------------------------------------------------------------------------------- planted mistakes


def camera_frame_kept(r):
    """The files hold world numbers: as if the reader forgot the camera, seen from the other side."""
    r.hands = {side: fixture.seen_by(rows, side, r.camera) for side, rows in r.hands.items()}
    r.pose = r.camera @ r.pose


def wrist_not_re_expressed(r):
    """``t' = Re t + te``: as if the hand turned about the camera's origin."""
    for side, rows in r.hands.items():
        found = rows[:, 0] == 1
        rest = np.array([rest_wrist(side, betas) for betas in rows[found, 52:]])
        turned = np.swapaxes(r.camera[found, :3, :3], 1, 2) @ rest[..., None]
        rows[found, 1:4] += rest - turned[..., 0]


def lines_of_59_numbers_a_hand(r):
    r.hands = {side: rows[:, :59] for side, rows in r.hands.items()}


def valid_flag_ignored(r):
    for rows in r.hands.values():
        rows[:, 0] = 1


def folders_joined_by_position(r):
    """From the 20th frame on a hand's numbers are those of the frame after: a file was missing and nobody looked."""
    for rows in r.hands.values():
        rows[20:-1] = rows[21:]


def camera_pose_inverted(r):
    r.camera = np.linalg.inv(r.camera)


def mean_pose_taken_off(r):
    """The numbers are offsets, as in other sets: the absolute pose would get the mean pose again."""
    for side, rows in r.hands.items():
        rows[rows[:, 0] == 1, 7:52] -= hand_data(side)["hands_mean"]


def hands_swapped(r):
    r.hands = dict(zip(SIDES, reversed(r.hands.values()), strict=True))


def millimetres(r):
    for rows in r.hands.values():
        rows[:, 1:4] *= 1000


def object_in_millimetres(r):
    r.pose[:, :3, 3] *= 1000


def object_rotation_transposed(r):
    r.pose[:, :3, :3] = r.pose[:, :3, :3].swapaxes(1, 2).copy()


def matrices_by_columns(r):
    r.camera, r.pose = r.camera.swapaxes(1, 2), r.pose.swapaxes(1, 2)


def object_already_in_the_world(r):
    r.pose = r.camera @ r.pose


def root_already_in_the_world(r):
    for side, rows in r.hands.items():
        rows[:, 4:7] = fixture.seen_by(rows, side, r.camera)[:, 4:7]


def actions_one_frame_late(r):
    r.action = np.roll(r.action, 1)


def betas_left_out(r):
    for rows in r.hands.values():
        rows[:, 52:] = 0


def betas_before_pose(r):
    for rows in r.hands.values():
        rows[:, 4:] = np.roll(rows[:, 4:], 10, 1)


def objects_counted_from_zero(r):
    r.item = r.item - 1


MISTAKES = [
    camera_frame_kept,
    wrist_not_re_expressed,
    lines_of_59_numbers_a_hand,
    valid_flag_ignored,
    folders_joined_by_position,
    camera_pose_inverted,
    mean_pose_taken_off,
    hands_swapped,
    millimetres,
    object_in_millimetres,
    object_rotation_transposed,
    matrices_by_columns,
    object_already_in_the_world,
    root_already_in_the_world,
    actions_one_frame_late,
    betas_left_out,
    betas_before_pose,
    objects_counted_from_zero,
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.__name__)
def test_a_mistake_in_the_convention_does_not_pass(planted, mistake):
    folder, expected = planted(mistake)
    try:
        found = faults(everything(H2O(folder)), expected)
    except RawDataError as error:
        found = [str(error)]
    assert found


def test_without_a_mistake_nothing_is_found(planted):
    folder, expected = planted()
    assert faults(everything(H2O(folder)), expected) == []


# ------------------------------------------------------------------------------------------------------------ damage


def first_file(home, kind, frame=20):
    return sorted((home / kind).glob("*.txt"))[frame]


def spoil(home, kind, change):
    """Change the words of one file."""
    file = first_file(home, kind)
    file.write_text(change(file.read_text().split()))


def number(position, value):
    return lambda words: " ".join([*words[:position], value, *words[position + 1 :]])


def remove_every_third(home):
    for file in sorted((home / "obj_pose_rt").glob("*.txt"))[::3]:
        file.unlink()


def put_a_folder_for_a_file(home):
    file = first_file(home, "cam_pose")
    file.unlink()
    file.mkdir()


DAMAGE = {
    "a truncated file": (lambda h: spoil(h, "cam_pose", lambda w: " ".join(w[:9])), "holds 9 numbers, expected 16"),
    "59 numbers a hand": (lambda h: spoil(h, "hand_pose_mano", lambda w: " ".join(w[:118])), "118.*62 a hand"),
    "an empty file": (lambda h: first_file(h, "obj_pose_rt").write_text(""), "empty"),
    "a word": (lambda h: spoil(h, "obj_pose_rt", number(5, "abc")), "not a file of numbers"),
    "a word at the end": (lambda h: spoil(h, "cam_pose", number(15, "1.0x")), "not a file of numbers"),
    "bytes": (lambda h: first_file(h, "cam_pose").write_bytes(b"\xff\x00\x80" * 40), "not a file of numbers"),
    "a folder for a file": (put_a_folder_for_a_file, "directory"),
    "NaN in the camera": (lambda h: spoil(h, "cam_pose", number(3, "nan")), "no finite number"),
    "NaN in a hand": (lambda h: spoil(h, "hand_pose_mano", number(30, "nan")), "no finite number"),
    "an infinite object": (lambda h: spoil(h, "obj_pose_rt", number(4, "1e999")), "no finite number"),
    "a flag that is none": (lambda h: spoil(h, "hand_pose_mano", number(62, "0.5")), "flag of the right hand"),
    "no such object": (lambda h: spoil(h, "obj_pose_rt", number(0, "9")), "none of 0 to 8"),
    "no such action": (lambda h: spoil(h, "action_label", number(0, "37")), "none of 0 to 36"),
    "no rotation": (lambda h: spoil(h, "cam_pose", number(0, "1.5")), "no rotation"),
    "a mirror": (lambda h: spoil(h, "cam_pose", lambda w: "-1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"), "no rotation"),
    "no rigid motion": (lambda h: spoil(h, "obj_pose_rt", number(13, "0.2")), "last row"),
    "a far object": (lambda h: spoil(h, "obj_pose_rt", number(4, "512.0")), "metres"),
    "a hand that leaps": (lambda h: spoil(h, "hand_pose_mano", number(1, "4.0")), "leaps by"),
    "an angle that is none": (lambda h: spoil(h, "hand_pose_mano", number(9, "300.0")), "over 20"),
    "a folder missing": (lambda h: shutil.rmtree(h / "obj_pose_rt"), "obj_pose_rt: missing"),
    "actions missing": (lambda h: shutil.rmtree(h / "action_label"), "action_label: missing"),
    "an empty folder": (lambda h: [f.unlink() for f in (h / "cam_pose").iterdir()], "holds no files such as"),
    "the camera missing": (lambda h: h.rename(h.parent / "cam1"), r"cam4: missing \(there is cam1\)"),
    "many files missing": (remove_every_third, "frames are missing, the first 000000.txt"),
    "a frame of another time": (
        lambda h: first_file(h, "cam_pose").rename(h / "cam_pose" / "900000.txt"), "frames are missing"),
    "the mesh missing": (lambda h: (h.parents[3] / "object/book/book.obj").unlink(), "holds no .obj file"),
    "a mesh that is none": (lambda h: (h.parents[3] / "object/book/book.obj").write_text("v 1 2\nf 1 2 3"), "book.obj"),
    "an empty mesh": (lambda h: (h.parents[3] / "object/book/book.obj").write_text(""), "empty file"),
    "a flat mesh": (
        lambda h: (h.parents[3] / "object/book/book.obj").write_text("v 0 0 0\nv 0 .1 0\nv 0 .2 0\nf 1 2 3"),
        "none of its faces has an area"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_named_with_its_file(planted, what):
    folder, _ = planted()
    spread, message = DAMAGE[what]
    spread(folder / PLACE / "cam4")
    with pytest.raises(RawDataError, match=message) as caught:
        H2O(folder).read(PLACE)
    assert str(caught.value).startswith(str(folder)) and "\n" not in caught.value.what


def test_damage_in_one_sequence_leaves_the_others_alone(planted, small):
    folder, expected = planted()
    other = replace(deepcopy(small[1]), place="subject1/h1/1")
    fixture.write_recording(folder, other, official=False)
    spoil(folder / "subject1/h1/1/cam4", "cam_pose", number(2, "x"))
    reader = H2O(folder)
    assert reader.sequences() == [PLACE, "subject1/h1/1"]
    with pytest.raises(RawDataError):
        reader.read("subject1/h1/1")
    assert faults(reader.read(PLACE), expected) == []


def test_another_object_than_the_action_names_is_refused(planted):
    def change(recording):
        recording.item[:] = 3

    with pytest.raises(RawDataError, match="the action is “grab book”, but the object is another or missing"):
        H2O(planted(change)[0]).read(PLACE)


def test_one_action_with_another_object_does_not_cost_the_others(tmp_path, clips):
    fixture.write(tmp_path)
    home = next(p for p in (tmp_path / PLACE / "cam4").iterdir() if p.name.lower() == "obj_pose_rt")
    runs = [clip.name for clip in clips if clip.name.startswith(PLACE.replace("/", "_"))]
    assert len(runs) > 1
    first, stop = (int(number) for number in runs[0].split("_")[-2:])
    for path in home.glob("*.txt"):
        if first <= int(path.stem) < stop:
            item, *pose = path.read_text().split()
            path.write_text(" ".join([str(int(float(item)) % 8 + 1), *pose]))
    with pytest.raises(raw.PartlyRead, match="1 of .* actions left out") as caught:
        H2O(tmp_path).read(PLACE)
    assert [clip.name for clip in caught.value.clips] == runs[1:]


def test_numbers_of_a_hand_that_was_not_found_may_be_anything(planted):
    def garbage(recording):
        recording.hands["right"][recording.hands["right"][:, 0] == 0, 1:] = np.nan

    folder, expected = planted(garbage)
    assert faults(everything(H2O(folder)), expected) == []


def test_a_spoilt_tree_ends_in_an_error_or_in_sound_records(planted):
    """60 seeded spoilings of bytes, names and lengths; what is still read holds finite numbers and rotations."""
    folder, expected = planted()
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f.name != "cam_intrinsics.txt")
    refused = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        file = files[rng.integers(len(files))]
        content = file.read_bytes()
        spoilt = bytearray(content)
        if seed % 3 == 0:
            spoilt = spoilt[: rng.integers(len(content))]
        elif seed % 3 == 1:
            for place in rng.integers(len(content), size=3):
                spoilt[place] ^= 1 << rng.integers(8)
        else:
            spoilt += content[: rng.integers(1, len(content))]
        file.write_bytes(spoilt)
        try:
            for clip in H2O(folder).read(PLACE):
                assert is_rotation(clip.object.rotation, 1e-6) and np.isfinite(clip.object.transl).all()
                for hand in clip.hands.values():
                    assert is_rotation(hand.rotations, 1e-6) and np.isfinite(hand.transl).all()
                    assert np.abs(hand.betas).max() <= 20
        except RawDataError as error:
            assert str(error).startswith(str(folder))
            refused += 1
        file.write_bytes(content)
    assert refused >= 30
    assert faults(everything(H2O(folder)), expected) == []


# ------------------------------------------------------------------------------------------------------------ layout


def test_a_folder_of_another_layout_says_what_is_expected(tmp_path, planted):
    with pytest.raises(RawDataError, match="no subject1, subject2 or subject3"):
        H2O(tmp_path)
    (tmp_path / "subject1_pose_v1_1.tar.gz").write_bytes(b"packed")
    with pytest.raises(RawDataError, match=r"Unpack .*subject1_pose_v1_1.tar.gz first"):
        H2O(tmp_path)
    folder, _ = planted()
    shutil.rmtree(folder / "object")
    with pytest.raises(RawDataError, match="no object meshes beside the subjects"):
        H2O(folder)


def test_options_are_checked(tree):
    for option in ({"camera": "cam7"}, {"betas": "mean"}, {"mesh_units": "inch"}):
        with pytest.raises(ConfigError, match=next(iter(option))):
            H2O(tree[0], **option)
    with pytest.raises(ConfigError, match="no option"):
        raw.reader_for("h2o", tree[0], cameras="cam4")


def test_meshes_in_millimetres_are_refused_and_read_when_told(planted):
    folder, expected = planted()
    mesh = folder / "object" / "book" / "book.obj"
    model = expected[0].model
    fixture.write_obj(mesh, model.vertices * 1000, model.faces)
    with pytest.raises(RawDataError, match=r"book.obj: the object would be \d+ m long"):
        H2O(folder).read(PLACE)
    found = H2O(folder, mesh_units="mm").object("book")
    assert np.abs(found.vertices - model.vertices).max() < 1e-12


def test_the_files_of_a_sequence_are_those_it_is_read_from(tree, reader):
    files = reader.files(PLACE)
    assert [f.name for f in files[:4]] == ["cam_pose", "hand_pose_MANO", "obj_pose_RT", "action_label"]
    assert all(f.is_dir() for f in files[:4]) and tree[0] / "object" / "book" in files


# ------------------------------------------------------------------------------------------------------- frame files


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12).filter(any))
def test_what_is_held_is_the_last_known_frame_or_the_first(known):
    held = last_known(np.array(known))
    for frame, index in enumerate(held):
        before = [i for i in range(frame + 1) if known[i]]
        assert index == (before[-1] if before else known.index(True))


def test_files_are_joined_by_their_number_whatever_else_lies_there(tmp_path):
    for frame in (7, 3, 4):
        (tmp_path / f"{frame:06d}.txt").write_text(f"{frame} {frame / 10}\n")
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "000005.txt~").write_text("5 0.5")
    table = read_folder(tmp_path, 2)
    rows, there = table.spread(range(3, 9))
    assert table.frames.tolist() == [3, 4, 7]
    assert there.tolist() == [True, True, False, False, True, False]
    assert rows[there].tolist() == [[3, 0.3], [4, 0.4], [7, 0.7]]


@pytest.mark.parametrize("frames", [[2, 3, 4], [0, 1, 4], [0, 1, 2]])
def test_a_folder_that_lacks_too_many_frames_is_named_with_the_first_of_them(tmp_path, frames):
    for name, there in (("all", range(5)), ("some", frames)):
        (tmp_path / name).mkdir()
        for frame in there:
            (tmp_path / name / f"{frame:06d}.txt").write_text("1")
    tables = [read_folder(tmp_path / name, 1) for name in ("all", "some")]
    first = min(set(range(5)) - set(frames))
    with pytest.raises(RawDataError, match=rf"some: 2 of 5 frames are missing, the first {first:06d}.txt"):
        span_of(tables, 0.1)
    assert span_of(tables, 0.5) == range(5)


def test_an_archive_may_unpack_into_a_folder_of_its_own_name(tree, reader, tmp_path):
    shutil.copytree(tree[0] / "object", tmp_path / "object")
    shutil.copytree(tree[0] / "subject1", tmp_path / "subject1_ego_v1_1" / "subject1")
    expected = [name for name in reader.sequences() if name.startswith("subject1/")]
    assert expected and H2O(tmp_path).sequences() == expected
    pairs = zip(H2O(tmp_path).read(expected[0]), reader.read(expected[0]), strict=True)
    assert all(np.array_equal(found.object.transl, known.object.transl) for found, known in pairs)
