"""Stores: what is written comes back, what is damaged is named, what is half written is not there."""

import json
import os
import shutil
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from hoi_lib import data
from hoi_lib.data import store
from hoi_lib.data.pieces import pack
from hoi_lib.data.splits import SPLITS, leaks, split_of, subjects_of
from hoi_lib.errors import ConfigError, OutputError, StoreError
from hoi_lib.objects import load_object


@pytest.fixture
def copy(small_set, tmp_path):
    """A copy of the small set that a test may damage."""
    return shutil.copytree(small_set.folder, tmp_path / "copy")


def write(folder, clips, **changed):
    return store.write(folder, clips, load_object, **({"source": "test", "profile": "smoke", "seed": 1} | changed))


def test_clips_come_back_as_they_were_written(small_set, tmp_path):
    clips = [small_set[i] for i in (0, 5, 7)]
    again = write(tmp_path / "again", clips)
    assert [c.name for c in again] == [c.name for c in clips]
    for before, after in zip(clips, again, strict=True):
        assert (before.verb, before.subject, before.caption, before.fps) == (
            after.verb,
            after.subject,
            after.caption,
            after.fps,
        )
        assert before.hands.keys() == after.hands.keys()
        for side, track in before.hands.items():
            np.testing.assert_allclose(after.hands[side].rotations, track.rotations, atol=1e-6)
            np.testing.assert_array_equal(after.hands[side].transl, track.transl)
            np.testing.assert_array_equal(after.hands[side].betas, track.betas)
            assert after.hands[side].valid.all() and after.labels.grasp[side] == before.labels.grasp[side]
            np.testing.assert_array_equal(after.labels.contact[side], before.labels.contact[side])
        np.testing.assert_array_equal(after.object.transl, before.object.transl)
        np.testing.assert_allclose(after.object.rotation, before.object.rotation, atol=1e-6)
        assert (after.object.angle is None) == (before.object.angle is None)
        np.testing.assert_array_equal(after.labels.phase, before.labels.phase)


def test_a_store_needs_nothing_but_its_folder(small_set, monkeypatch):
    monkeypatch.setattr("hoi_lib.objects.load_object", None)
    model = data.load(small_set.folder).object(small_set.objects[0])
    assert model.points.shape == (1024, 3)
    assert model.vertices.shape == load_object(small_set.objects[0]).vertices.shape


def test_the_fingerprint_is_a_function_of_the_content(small_set, tmp_path):
    clips = list(small_set[:2])
    assert write(tmp_path / "a", clips).fingerprint == write(tmp_path / "b", clips).fingerprint
    assert write(tmp_path / "c", clips[:1]).fingerprint != write(tmp_path / "d", clips).fingerprint
    assert write(tmp_path / "e", clips, seed=2).fingerprint != write(tmp_path / "f", clips).fingerprint


@pytest.mark.parametrize("name", ["hand_pose.npy", "object_pose.npy", "phase.npy", "objects"])
def test_a_missing_file_is_named(copy, name):
    path = copy / name
    path = next(path.iterdir()) if path.is_dir() else path
    path.unlink()
    with pytest.raises(StoreError, match=path.name):
        data.load(copy)


def test_a_truncated_file_is_named(copy):
    path = copy / "hand_pose.npy"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreError, match=r"hand_pose\.npy.*bytes"):
        data.load(copy)


def test_one_flipped_bit_is_found(copy):
    path = copy / "object_pose.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"object_pose\.npy.*changed"):
        data.load(copy)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"schema": 1}', '{"schema": 99, "fingerprint": ""}'])
def test_a_broken_manifest_is_one_clear_error(copy, text):
    (copy / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match="manifest"):
        data.load(copy)


def test_an_edited_manifest_does_not_match_its_fingerprint(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["clips"][0]["subject"] = "s01" if manifest["clips"][0]["subject"] != "s01" else "s02"
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="fingerprint"):
        data.load(copy)


def test_an_empty_folder_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="no data set here"):
        data.load(tmp_path)


def test_a_failed_build_leaves_nothing_behind(small_set, tmp_path):
    def broken():
        yield small_set[0]
        raise RuntimeError("stopped half way")

    with pytest.raises(RuntimeError, match="half way"):
        write(tmp_path / "out", broken())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_error(small_set, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hoi_lib.data.pieces.Column.append", full)
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path / "out", small_set[:1])
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_store_are_never_overwritten(small_set, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="no data set"):
        write(tmp_path, small_set[:1])
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_older_store_is_replaced(small_set, tmp_path):
    write(tmp_path / "out", small_set[:1])
    assert len(write(tmp_path / "out", small_set[:3])) == 3
    assert len(data.load(tmp_path / "out")) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_frames_are_memory_mapped(small_set):
    assert isinstance(data.load(small_set.folder).raw("hand_pose"), np.memmap)


def test_splits_share_no_subject_and_lose_no_clip(small_set):
    parts = [small_set.subset(split) for split in SPLITS]
    assert sum(len(part) for part in parts) == len(small_set) and all(len(part) for part in parts)
    assert {"s03"} == set(small_set.subset("val").subjects) and {"s10"} == set(small_set.subset("test").subjects)
    names = [clip["name"] for part in parts for clip in part.table]
    assert len(set(names)) == len(names)


def test_the_leak_test_can_fail():
    assert not leaks(subjects_of("train"), subjects_of("test"))
    assert leaks(("s01", "s10"), subjects_of("test")) == {"s10"}
    with pytest.raises(ConfigError, match="no split"):
        subjects_of("training")
    with pytest.raises(ConfigError, match="s11"):
        split_of("s11")


def test_a_store_keeps_splits_of_its_own(small_set, tmp_path):
    assert small_set.splits == SPLITS
    own = write(tmp_path / "own", small_set[:6], splits={"train": ["s01", "s02"], "test": ("s10",)})
    assert data.load(tmp_path / "own").splits == {"train": ("s01", "s02"), "val": (), "test": ("s10",)}
    assert len(own.subset("val")) == 0 and list(own.subset("val")) == [] and own.subset("val").objects == ()
    assert set(own.subset("train").subjects) <= {"s01", "s02"}
    assert own.fingerprint != write(tmp_path / "other", small_set[:6]).fingerprint
    with pytest.raises(ConfigError, match="no split"):
        own.subset("all")


def test_clips_and_pieces_of_them_are_the_same_bytes(small_set, tmp_path):
    clips = list(small_set[:5])
    one = write(tmp_path / "one", clips)
    mixed = write(tmp_path / "mixed", [pack(clips[:2]), clips[2], pack([]), pack(clips[3:])])
    assert one.fingerprint == mixed.fingerprint


def test_memory_does_not_grow_with_the_number_of_clips(small_set, tmp_path):
    clip = small_set[0]

    def peak(count):
        tracemalloc.start()
        write(tmp_path / str(count), (replace(clip, name=f"clip_{i}") for i in range(count)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(2)  # what is imported and sampled once
    frames = 200 * clip.frames * (99 + 10) * 4
    assert peak(220) - peak(20) < frames / 4


def test_slices_and_views_keep_the_folder(small_set):
    view = small_set.subset("train")[1:4]
    assert len(view) == 3 and view.fingerprint == small_set.fingerprint
    assert view.clip(view[0].name).name == view[0].name
    assert view[-1].name == view[2].name
    with pytest.raises(StoreError, match="nobody"):
        view.clip("nobody")
    with pytest.raises(StoreError, match="spoon"):
        view.object("spoon")
    with pytest.raises(IndexError):
        view[3]
