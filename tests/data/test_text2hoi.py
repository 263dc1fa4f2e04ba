"""Text2HOI's processed files: what is read is where it was, an export gives itself back, and mistakes do not pass."""

import io
import json
import pickle
import pickletools
import shutil
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from fixtures import text2hoi as fixture
from fixtures.motion import canonical, close, world
from scipy.spatial.distance import cdist

from hoi_lib import data
from hoi_lib.data import ingest, raw
from hoi_lib.data.npzrows import Rows
from hoi_lib.data.text2hoi import Text2HOI, contacts, write
from hoi_lib.data.text2hoi_numbers import with_mean_pose, without_mean_pose
from hoi_lib.data.text2hoi_parts import ORDER, named, starts_over
from hoi_lib.errors import ConfigError, HoiError, OutputError, RawDataError
from hoi_lib.motion import SIDES

EXACT = 1e-6  # metres
FLAVOURS = ("arctic", "grab", "h2o")


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A folder of each flavour in float32, as published, and what has to be read from it."""
    folders = {flavour: tmp_path_factory.mktemp(flavour) for flavour in FLAVOURS}
    return {flavour: (folder, fixture.write(folder, flavour)) for flavour, folder in folders.items()}


def read_all(reader):
    return [clip for sequence in reader.sequences() for clip in reader.read(sequence)]


def farthest(clips, reader, expected):
    """Largest distance between what was read and what was written, metres."""
    return max(
        close(world(clip, reader.object(clip.object.name)), world(known.clip, known.model))
        for clip, known in zip(clips, expected, strict=True)
    )


def said(clip):
    return clip.subject, clip.verb, clip.caption, clip.object.name, clip.object.category, clip.fps, list(clip.hands)


# ------------------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_joints_vertices_and_points_are_where_the_generator_put_them(trees, flavour):
    folder, expected = trees[flavour]
    reader = Text2HOI(folder)
    clips = read_all(reader)
    assert farthest(clips, reader, expected) < EXACT
    assert [said(clip) for clip in clips] == [said(known.clip) for known in expected]
    assert len({clip.name for clip in clips}) == len(clips)
    for clip, known in zip(clips, expected, strict=True):
        assert (clip.object.angle is None) == (known.model.hinge is None)
        for side, track in clip.hands.items():
            assert track.transl.dtype == np.float64 and track.valid.all()
            assert np.abs(track.betas - known.clip.hands[side].betas).max() < 1e-6
    assert reader.name == flavour and set(reader.splits["test"]) <= {clip.subject for clip in clips}
    kinds = {tuple(clip.hands) for clip in clips}
    assert kinds == {("left",), ("right",), SIDES}


def test_stored_points_are_the_samples_of_the_model(trees):
    folder, expected = trees["arctic"]
    model = Text2HOI(folder).object("laptop")
    known = next(e.model for e in expected if e.model.name == "laptop")
    assert np.array_equal(model.points, known.points) and np.array_equal(model.point_part, known.point_part)
    assert model.hinge is not None and model.category == "laptop"


def test_betas_that_are_left_out_leave_every_wrist_in_its_place(trees):
    folder, expected = trees["h2o"]
    for clip, known in zip(read_all(Text2HOI(folder, betas="zero")), expected, strict=True):
        there, here = world(clip, known.model), world(known.clip, known.model)
        for side, joints in there.joints.items():
            assert not clip.hands[side].betas.any()
            assert np.abs(joints[:, 0] - here.joints[side][:, 0]).max() < EXACT


def test_betas_that_change_in_a_clip_become_their_mean_with_the_wrist_in_its_place(tmp_path):
    def wander(entries, table):
        rng = np.random.default_rng(0)
        for entry in entries:
            for key in ("lhand_beta", "rhand_beta"):
                entry.arrays[key] += rng.normal(0, 0.2, entry.arrays[key].shape)
                letter = key[0]
                shift = [fixture.rest_wrist({"l": "left", "r": "right"}[letter], b) for b in entry.arrays[key]]
                rest = entry.arrays[f"{letter}hand_org"]
                entry.arrays[f"x_{letter}hand"][:, :3] += rest - shift

    expected = fixture.write(tmp_path, "h2o", dtype=np.float64, clips=2, plant=wander)
    for clip, known in zip(read_all(Text2HOI(tmp_path)), expected, strict=True):
        for side, joints in world(clip, known.model).joints.items():
            assert np.abs(joints[:, 0] - world(known.clip, known.model).joints[side][:, 0]).max() < EXACT


def test_frames_of_zeros_are_not_valid_and_hold_the_pose_before(tmp_path):
    def lose(entries, table):
        entries[0].arrays["x_lhand"][5:9] = 0
        entries[0].arrays["x_lhand"][0] = 0

    expected = fixture.write(tmp_path, "h2o", plant=lose)
    [clip] = Text2HOI(tmp_path).read("00000")
    track = clip.hands["left"]
    assert np.flatnonzero(~track.valid).tolist() == [0, 5, 6, 7, 8]
    assert np.allclose(track.transl[5:9], expected[0].clip.hands["left"].transl[4], atol=1e-6)
    assert np.allclose(track.transl[0], track.transl[1])


def test_a_compressed_file_is_read_alike(trees, tmp_path):
    expected = fixture.write(tmp_path, "h2o", compressed=True)
    reader = Text2HOI(tmp_path)
    assert farthest(read_all(reader), reader, expected) < EXACT


def test_hulls_stand_in_for_meshes_that_are_not_there_only_when_asked_for(trees, tmp_path):
    folder = shutil.copytree(trees["arctic"][0], tmp_path / "copy", ignore=shutil.ignore_patterns("downloads"))
    with pytest.raises(RawDataError, match="missing, the mesh of laptop") as error:
        Text2HOI(folder).read("00000")
    assert "meshes=DIR" in error.value.mend
    model = Text2HOI(folder, meshes="hull").object("laptop")
    assert set(model.part) == {0, 1} and "convex hull" in model.notes[0]
    inside = model.vertices[model.part == 0].mean(0)
    assert model.signed_distance(inside[None], 0.0)[0] < 0
    meshes = trees["arctic"][0] / "downloads/data/meta/object_vtemplates"
    assert Text2HOI(folder, meshes=str(meshes)).object("laptop").hinge is not None


# ----------------------------------------------------------------------------------------------------------- subjects


@pytest.mark.parametrize("flavour", ["arctic", "grab"])
def test_a_folder_without_the_test_subject_is_understood(flavour, tmp_path):
    left_out = {"s10"}

    def leave_out(entries, table):
        entries[:] = [e for e in entries if e.expected.clip.subject not in left_out]

    fixture.write(tmp_path, flavour, plant=leave_out)
    found = [clip.subject for clip in read_all(Text2HOI(tmp_path))]
    assert found == [line[0] for line in fixture.CAST[flavour] if line[0] not in left_out]


def test_subjects_that_cannot_be_told_are_asked_for(tmp_path):
    fixture.write(tmp_path, "arctic", clips=3)
    with pytest.raises(RawDataError, match="whose clips these are") as error:
        Text2HOI(tmp_path)
    assert "--option subjects=FILE" in error.value.mend
    assert [clip.subject for clip in read_all(Text2HOI(tmp_path, subjects="s04,s10"))] == ["s04", "s04", "s10"]
    for content, kind in (('["a", "b", "c"]', "names.json"), ("a\nb\nc\n", "names.txt")):
        (tmp_path / kind).write_text(content)
        reader = Text2HOI(tmp_path, subjects=str(tmp_path / kind))
        assert [reader.read(s)[0].subject for s in reader.sequences()] == ["a", "b", "c"]
    (tmp_path / "short.txt").write_text("a b")
    for option in (str(tmp_path / "short.txt"), "s01,s02,s04", "s01,"):
        with pytest.raises(RawDataError, match=r"one for each clip|in 2 runs"):
            Text2HOI(tmp_path, subjects=option)


@pytest.mark.parametrize(("subject", "background"), [("h1", "0"), ("downloads", None)])
def test_h2os_subject_is_found_where_its_field_holds_another_part_of_the_path(tmp_path, subject, background):
    def shift(entries, table):
        for number, entry in enumerate(entries):
            who = entry.fields["subject"]
            entry.fields |= {"subject": subject, "background": who if background is None else str(number % 2)}

    expected = fixture.write(tmp_path, "h2o", plant=shift)
    assert [c.subject for c in read_all(Text2HOI(tmp_path))] == [known.clip.subject for known in expected]


def test_grabs_subjects_come_in_the_order_of_their_paths_as_text():
    assert list(ORDER["grab"]) == sorted(ORDER["grab"], key=lambda subject: f"{subject}/")
    keys = ["b_", "c_", "a_", "c_"]
    assert starts_over(keys).tolist() == [0, 0, 1, 1] and named("grab", [starts_over(keys)]) is None


# ------------------------------------------------------------------------------------------------------------ writing


@pytest.fixture(scope="module")
def sample():
    """Clips of every kind, with a frame in which a hand is not valid."""
    items = [*canonical(hinged=True, both=True, count=1), *canonical(hinged=True, both=False, count=1),
             *canonical(hinged=False, both=True, count=1), *canonical(hinged=False, both=False, count=2)]  # fmt: skip
    clip = items[-1].clip
    valid = np.arange(clip.frames) != 7
    hands = {side: replace(track, valid=valid) for side, track in clip.hands.items()}
    return [*items[:-1], items[-1]._replace(clip=replace(clip, hands=hands))]


def export(folder, items, flavour, **options):
    models = {item.model.name: item.model for item in items}
    return write(folder, [item.clip for item in items], models.__getitem__, flavour, **options)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_export_gives_itself_back(sample, flavour, tmp_path):
    items = [item for item in sample if flavour == "arctic" or item.model.hinge is None]
    reader = Text2HOI(export(tmp_path / "out", items, flavour, dtype=np.float64))
    clips = read_all(reader)
    assert farthest(clips, reader, items) < 1e-7  # points are float32
    for clip, item in zip(clips, items, strict=True):
        assert said(clip) == said(item.clip) and clip.name == item.clip.name
        for side, track in item.clip.hands.items():
            assert np.array_equal(clip.hands[side].transl, track.transl)
            assert np.array_equal(clip.hands[side].betas, track.betas)
            assert np.array_equal(clip.hands[side].valid, track.valid)
            assert np.abs(clip.hands[side].rotations - track.rotations).max() < 1e-12


def test_a_second_export_holds_the_bytes_of_the_first(sample, tmp_path):
    rigid = [item for item in sample if item.model.hinge is None]
    reader = Text2HOI(export(tmp_path / "one", rigid, "grab"))
    write(tmp_path / "two", read_all(reader), reader.object, "grab")
    assert (tmp_path / "two/obj.pkl").read_bytes() == (tmp_path / "one/obj.pkl").read_bytes()
    for name in ("text.json", "text_length.json", "text_count.json", "balance_weights.pkl"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    one, two = (np.load(tmp_path / name / "data.npz", allow_pickle=True) for name in ("one", "two"))
    for key in one.files:
        if one[key].dtype == object:  # a joint at 2 cm exactly may fall either way
            counts = [sum(map(len, file[key])) for file in (one, two)]
            assert abs(counts[0] - counts[1]) <= 2, key
        elif one[key].dtype.kind == "f":
            assert np.abs(one[key] - two[key]).max() < 1e-6, key
        else:
            assert np.array_equal(one[key], two[key]), key


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_sparse_contacts_are_those_of_comparing_all_with_all(trees, sample, flavour, tmp_path):
    items = [item for item in sample if flavour == "arctic" or item.model.hinge is None]
    found = contacts(export(tmp_path / "out", items, flavour))
    for index, item in enumerate(items):
        known = world(item.clip, item.model)
        for side in SIDES:
            frame, point, joint, distance = (found[f"{side[0]}{k}"][index]
                                             for k in ("cf_idx", "cov_idx", "chj_idx", "dist_value"))  # fmt: skip
            assert frame.dtype == point.dtype == joint.dtype == np.int64 and distance.dtype == np.float32
            if side not in item.clip.hands:
                assert not len(frame)
                continue
            every = np.array([cdist(p, j) for p, j in zip(known.points, known.joints[side], strict=True)])
            near = np.argwhere(every < 0.02)
            assert len(frame) and abs(len(frame) - len(near)) <= 2  # a joint at 2 cm exactly may fall either way
            assert np.abs(every[frame, point, joint] - distance).max() < EXACT
            assert len(np.unique(np.stack([frame, point, joint]), axis=1).T) == len(frame)


def test_contacts_written_by_the_generator_are_read(trees):
    folder, expected = trees["grab"]
    found = contacts(folder)
    assert len(found["lcf_idx"]) == len(expected)
    assert all((len(v) > 0) == ("left" in e.clip.hands) for v, e in zip(found["lcf_idx"], expected, strict=True))


def test_what_the_original_code_opens_is_there_in_its_types(sample, tmp_path):
    folder = export(tmp_path / "out", sample, "arctic")
    with np.load(folder / "data.npz", allow_pickle=True) as file:
        content = dict(file)
    count, longest = len(sample), max(item.clip.frames for item in sample)
    for key, width in {"x_lhand": (99,), "j_rhand": (21, 3), "x_obj": (9,), "x_obj_angle": (1,), "lhand_beta": (10,),
                       "rhand_org": (3,)}.items():  # fmt: skip
        assert content[key].shape == (count, longest, *width) and content[key].dtype == np.float32
    assert content["lcf_idx"].dtype == object and content["rdist_value"].shape == (count,)
    assert not content["x_obj"][0, sample[0].clip.frames :].any()
    table = pickle.loads((folder / "obj.pkl").read_bytes())
    name = sample[0].model.name
    assert table["obj_pcs"][name].shape == table["obj_pc_normals"][name].shape == (1024, 3)
    assert table["obj_pc_top"][name].sum() and table["point_sets"][name].dtype == np.int64
    names = {argument for opcode, argument, _ in pickletools.genops((folder / "obj.pkl").read_bytes())
             if opcode.name == "SHORT_BINUNICODE" and str(argument).startswith("numpy")}  # fmt: skip
    assert names <= {"numpy", "numpy.core.multiarray", "numpy._core.multiarray"}
    keys = json.loads((folder / "text_count.json").read_text())
    texts = json.loads((folder / "text.json").read_text())
    assert set(keys) <= set(texts) and sum(keys.values()) == count
    assert {len(forms) for forms in texts.values()} == {4}
    lengths = json.loads((folder / "text_length.json").read_text())
    assert {key: len(values) for key, values in lengths.items()} == keys and max(map(max, lengths.values())) <= 150
    weights = pickle.loads((folder / "balance_weights.pkl").read_bytes())
    assert len(weights) == count and all(isinstance(w, float) for w in weights)


def test_joints_of_an_export_are_those_without_betas_and_the_wrist_is_where_it_was(sample, tmp_path):
    folder = export(tmp_path / "out", sample[:1], "arctic")
    clip, model = sample[0]
    plain = replace(clip, hands={s: replace(t, betas=np.zeros(10)) for s, t in clip.hands.items()})
    with np.load(folder / "data.npz", allow_pickle=True) as file:
        assert np.abs(file["j_lhand"][0] - world(plain, model).joints["left"]).max() < EXACT
        assert np.abs(file["lhand_org"][0] - world(clip, model).joints["left"][:, 0]).max() < EXACT


def test_offsets_that_would_turn_too_far_are_written_the_other_way_round_or_refused():
    straight = np.tile(np.eye(3), (1, 16, 1, 1))
    for turn in (0.0, 1.0, 2.5, 3.1):
        bent = straight.copy()
        bent[:, 3] = fixture.Rotation.from_rotvec([0, 0, turn]).as_matrix()
        again = with_mean_pose(without_mean_pose(bent, "right"), "right")
        assert np.abs(again - bent).max() < 1e-9
    mean = fixture.hand_data("right")["hands_mean"].reshape(15, 3)
    joint = int(np.linalg.norm(mean, axis=1).argmax())
    across = np.cross(mean[joint], [1.0, 0.3, 0.2])
    bent = straight.copy()
    bent[:, joint + 1] = fixture.Rotation.from_rotvec(np.pi * 0.9999 * across / np.linalg.norm(across)).as_matrix()
    with pytest.raises(ConfigError, match="a finger is bent so far"):
        without_mean_pose(bent, "right", "clip")


def test_an_export_needs_room_for_its_hinges_its_frames_and_itself(sample, tmp_path):
    with pytest.raises(ConfigError, match="has a hinge"):
        export(tmp_path / "out", sample, "grab")
    with pytest.raises(ConfigError, match="60 frames a second"):
        export(tmp_path / "out", [sample[0]._replace(clip=replace(sample[0].clip, fps=60))], "arctic")
    with pytest.raises(ConfigError, match="expected one of arctic"):
        export(tmp_path / "out", sample, "else")
    with pytest.raises(ConfigError, match="no clip"):
        write(tmp_path / "out", [], None, "grab")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/diary.txt").write_text("dear")
    with pytest.raises(OutputError, match="no export"):
        export(tmp_path / "mine", sample, "arctic")
    assert (tmp_path / "mine/diary.txt").exists()


def test_slips_are_written_when_asked_for(tmp_path):
    item = canonical(hinged=False, both=False, count=1)[0]
    item = item._replace(clip=replace(item.clip, verb="open"))
    for slips, word in ((False, "Opening"), (True, "Openning")):
        folder = export(tmp_path / word, [item], "h2o", slips=slips)
        assert word in json.loads((folder / "text.json").read_text())["Open milk with left hand."][1]


# ------------------------------------------------------------------------------------------- stores and command line


def test_a_store_goes_out_and_comes_back_through_the_command_line(hoi, small_set, tmp_path):
    part = data.load(small_set.folder)[:4]
    stored = data.store.write(tmp_path / "store", part, part.object, source="synthetic", profile="smoke", seed=0)
    code, out, err = hoi("data", "export", tmp_path / "store", "--out", tmp_path / "exported", "--as", "arctic")
    assert code == 0 and "4 clips" in out, err
    code, out, err = hoi("data", "build", "text2hoi", "--raw", tmp_path / "exported", "--out", tmp_path / "back",
                         "--workers", 1)  # fmt: skip
    assert code == 0, err
    back = data.load(tmp_path / "back")
    assert back.source == "arctic" and back.splits == stored.splits
    assert [row["name"] for row in back.table] == [row["name"] for row in stored.table]
    assert [row["caption"] for row in back.table] == [row["caption"] for row in stored.table]
    for one, two in zip(back, stored, strict=True):
        assert close(world(one, back.object(one.object.name)), world(two, stored.object(two.object.name))) < EXACT
    code, _, err = hoi("data", "export", tmp_path / "nowhere", "--out", tmp_path / "other")
    assert code == 2 and "no data set here" in err and not (tmp_path / "other").exists()


def test_a_damaged_clip_is_skipped_and_named_and_the_others_are_built(trees, tmp_path):
    def break_two(entries, table):
        entries[3].arrays["x_obj"][4, 2] = np.nan
        entries[5].fields["nframes"] = 9999

    fixture.write(tmp_path / "raw", "h2o", plant=break_two)
    report = ingest.build("text2hoi", tmp_path / "raw", tmp_path / "out", workers=1, progress=False)
    assert report.clips == 4 and [sequence for sequence, _ in report.skipped] == ["00003", "00005"]
    assert "not finite" in report.skipped[0][1] and "nframes is 9999" in report.skipped[1][1]


# ----------------------------------------------------------------------------------------------------------- the rows


def test_rows_of_a_large_file_are_read_without_the_rest(tmp_path):
    array = np.random.default_rng(0).normal(size=(4000, 100, 10)).astype(np.float32)  # 16 MB
    np.savez(tmp_path / "large.npz", x=array, y=np.arange(3.0))
    rows = Rows(tmp_path / "large.npz", "x")
    tracemalloc.start()
    for index in (0, 3999, 17):
        assert np.array_equal(rows[index], array[index])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6 and rows.shape == array.shape and len(rows) == 4000
    with pytest.raises(IndexError):
        rows[4000]


def test_a_bit_that_turned_in_a_large_array_is_noticed(tmp_path):
    path = tmp_path / "file.npz"
    np.savez(path, x=np.ones((50, 8)))
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    with pytest.raises(RawDataError, match="x: Bad CRC-32"):
        Rows(path, "x")[0]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"y": np.ones(3)}, "lacks x"),
        ({"x": np.array(["a", "b"])}, "expected rows of numbers"),
        ({"x": np.array(3.0)}, "expected rows of numbers"),
        ({"x": np.asfortranarray(np.ones((4, 5)))}, "not its rows"),
        ({"x": np.array([{}, {}], object)}, "expected rows of numbers"),
    ],
)
def test_an_array_that_has_no_rows_of_numbers_is_refused(tmp_path, arrays, reason):
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(RawDataError, match=reason):
        Rows(tmp_path / "file.npz", "x")


def test_a_file_that_states_more_rows_than_it_has_is_refused(tmp_path):
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 4)})
    with zipfile.ZipFile(tmp_path / "file.npz", "w") as archive:
        archive.writestr("x.npy", member.getvalue() + bytes(320))
    with pytest.raises(RawDataError, match="do not hold"):
        Rows(tmp_path / "file.npz", "x")


# ------------------------------------------------------------------------------------------------------ planted bugs


def each(change):
    """A plant that changes every entry."""
    return lambda entries, table: [change(entry) for entry in entries]


def rows_for_columns(entry):
    for key in ("x_lhand", "x_rhand"):
        pairs = entry.arrays[key][:, 3:].reshape(-1, 16, 3, 2)
        third = np.cross(pairs[..., 0], pairs[..., 1])
        matrices = np.concatenate([pairs, third[..., None]], -1)
        entry.arrays[key][:, 3:] = matrices[..., :2, :].reshape(-1, 96)


def poses_with_offset(times):
    def change(entry):
        for side, track in entry.expected.clip.hands.items():
            turned = fixture.offsets(track.rotations, side, times)
            entry.arrays[f"x_{side[0]}hand"][:, 3:] = fixture.six(turned).reshape(-1, 96)

    return change


def transposed(entry):
    pairs = entry.arrays["x_obj"][:, 3:].reshape(-1, 3, 2)
    matrices = np.concatenate([pairs, np.cross(pairs[..., 0], pairs[..., 1])[..., None]], -1)
    entry.arrays["x_obj"][:, 3:] = fixture.six(matrices.transpose(0, 2, 1))


def all_frames(entries, table):
    longest = max(len(entry.arrays["x_obj"]) for entry in entries)
    for entry in entries:
        entry.fields["nframes"] = longest


def both_hands(entry):
    entry.fields |= {"is_lhand": 1, "is_rhand": 1}


def no_angle(entry):
    entry.arrays["x_obj_angle"][:] = 0


def hinge_reversed(entry):
    entry.arrays["x_obj_angle"] *= -1


def millimetres(entry):
    entry.arrays["x_obj"][:, :3] *= 1000


def sides_swapped(entry):
    arrays = entry.arrays
    arrays["x_lhand"], arrays["x_rhand"] = arrays["x_rhand"], arrays["x_lhand"]


def other_part(entries, table):
    table["obj_pc_top"] = {name: 1 - top for name, top in table["obj_pc_top"].items()}


def points_in_millimetres(entries, table):
    table["obj_pcs"] = {name: 1000 * points for name, points in table["obj_pcs"].items()}


def no_betas(entry):
    for key in ("lhand_beta", "rhand_beta"):
        entry.arrays[key][:] = 0


def wrist_for_translation(entry):
    for letter in "lr":
        entry.arrays[f"x_{letter}hand"][:, :3] = entry.arrays[f"{letter}hand_org"]


# flavour, plant, and what names it; None where what is read must differ from what was meant by more than a millimetre
BUGS = {
    "rows for columns": ("h2o", each(rows_for_columns), "first two rows, not columns"),
    "mean pose not taken off": ("arctic", each(poses_with_offset(0)), None),
    "mean pose taken off twice": ("arctic", each(poses_with_offset(2)), None),
    "mean pose taken off where none is": ("h2o", each(poses_with_offset(1)), None),
    "rotation for columns in GRAB": ("grab", each(transposed), None),
    "rotation for rows in H2O": ("h2o", each(transposed), None),
    "padding kept as frames": ("h2o", all_frames, "no rotations"),
    "absent hand kept": ("h2o", each(both_hands), None),
    "angle dropped": ("arctic", each(no_angle), None),
    "hinge reversed": ("arctic", each(hinge_reversed), None),
    "millimetres": ("h2o", each(millimetres), "expected at most 10"),
    "sides swapped": ("h2o", each(sides_swapped), None),
    "parts swapped": ("arctic", other_part, "lie on the other part"),
    "points in millimetres": ("grab", points_in_millimetres, "expected at most 1.5"),
    "no betas": ("h2o", each(no_betas), None),
    "wrist for translation": ("arctic", each(wrist_for_translation), None),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_mistaken_convention_does_not_pass(bug, tmp_path):
    flavour, plant, named_as = BUGS[bug]
    expected = fixture.write(tmp_path, flavour, plant=plant)
    reader = Text2HOI(tmp_path)
    if named_as is None:
        assert farthest(read_all(reader), reader, expected) > 1e-3
    else:
        with pytest.raises(HoiError, match=named_as):
            farthest(read_all(reader), reader, expected)


def test_the_right_folder_passes_where_the_mistaken_ones_do_not(trees):
    for folder, expected in trees.values():
        reader = raw.reader_for("text2hoi", folder)
        assert farthest(read_all(reader), reader, expected) < EXACT


# ------------------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (each(lambda e: e.fields.update(is_lhand=0, is_rhand=0)), "no hand takes part"),
        (each(lambda e: e.fields.update(object_idx=77)), "object_idx is 77"),
        (each(lambda e: e.fields.update(action_name="4")), "action_name is '4'"),
        (each(lambda e: e.arrays["x_lhand"].__imul__(0) + e.arrays["x_rhand"].__imul__(0)), "nothing but zeros"),
        (lambda entries, table: table["obj_pcs"].clear(), "no object called"),
        (lambda entries, table: table["obj_path"].update(book="../../book.obj"), "leads out of this folder"),
        (lambda entries, table: table["obj_pc_normals"].update(book=np.ones((3, 3))), "the normals of book"),
    ],
)
def test_a_clip_that_is_not_what_the_format_says_is_named(tmp_path, plant, reason):
    fixture.write(tmp_path, "h2o", clips=6, plant=plant)
    reader = Text2HOI(tmp_path)
    with pytest.raises(RawDataError, match=reason):
        for clip in read_all(reader):
            reader.object(clip.object.name)


def test_a_folder_of_another_layout_and_a_wrong_option_are_refused(trees, tmp_path):
    with pytest.raises(RawDataError, match=r"data.npz: missing, the file of all clips") as error:
        Text2HOI(trees["arctic"][0].parent)
    assert "names" in error.value.mend
    np.savez(tmp_path / "data.npz", x=np.ones(3))
    with pytest.raises(RawDataError, match="none of the fields object_name"):
        Text2HOI(tmp_path)
    for option in ({"betas": "some"}, {"speed": "fast"}):
        with pytest.raises(ConfigError):
            raw.reader_for("text2hoi", trees["h2o"][0], **option)
    with pytest.raises(RawDataError, match="holds no clip '77777'"):
        Text2HOI(trees["h2o"][0]).read("77777")


def test_a_pickle_that_would_run_something_is_refused(trees, tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    folder = shutil.copytree(trees["h2o"][0], tmp_path / "copy")
    (folder / "obj.pkl").write_bytes(pickle.dumps({"obj_pcs": Evil()}))
    with pytest.raises(RawDataError, match="refused"):
        Text2HOI(folder).read("00000")
    np.savez(folder / "data.npz", **{**dict(np.load(folder / "data.npz", allow_pickle=True)), "lcf_idx": [Evil()] * 6})
    with pytest.raises(RawDataError, match="refused"):
        contacts(folder)


def test_a_list_of_names_that_does_not_fit_is_named(sample, tmp_path):
    folder = export(tmp_path / "out", sample, "arctic")
    for content in ("[]", '{"clips": []}', '{"clips": [1]}', "{"):
        (folder / "clips.json").write_text(content)
        with pytest.raises(RawDataError, match="clips.json"):
            Text2HOI(folder)
