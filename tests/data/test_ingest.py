"""Building from a download: every sequence once, in any number of processes, whatever is wrong with some."""

import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_reader import MESH, NAME, Toy, plant, reads

from hoi_lib import data
from hoi_lib.data import ingest, pieces, raw
from hoi_lib.errors import ConfigError, OutputError, RawDataError
from hoi_lib.objects import load_object


@pytest.fixture
def toys(tmp_path):
    return plant(tmp_path / "raw")


def build(folder, out, **changed):
    return ingest.build(NAME, folder, out, **{"workers": 1, "progress": False} | changed)


@pytest.fixture(autouse=True)
def toy_for_arctic(monkeypatch):
    """The command line finds the toy set in ARCTIC's place."""
    monkeypatch.setitem(raw.READERS, "arctic", NAME)


def test_a_build_holds_every_clip_in_the_order_of_the_sequences(toys, tmp_path):
    report = build(toys, tmp_path / "out")
    assert (report.clips, report.sequences, report.skipped) == (8, 5, [])
    store = data.load(tmp_path / "out")
    expected = [clip for sequence in sorted(p.stem for p in toys.glob("*.txt")) for clip in Toy(toys).read(sequence)]
    assert [clip.name for clip in store] == [clip.name for clip in expected]
    for clip, truth in zip(store, expected, strict=True):
        np.testing.assert_allclose(clip.hands["right"].transl, truth.hands["right"].transl, atol=1e-6)
        np.testing.assert_allclose(clip.hands["right"].betas, truth.hands["right"].betas, atol=1e-6)
        np.testing.assert_allclose(clip.object.transl, truth.object.transl, atol=1e-6)
        assert (clip.subject, clip.caption, clip.labels) == (truth.subject, truth.caption, None)
    assert store.source == "toy" and store.notes == {"scale": 1.0} and store.object(MESH).points.shape == (1024, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "raw"]  # no piece is left


def test_subjects_are_split_as_the_set_says(toys, tmp_path):
    store = build(toys, tmp_path / "out").store
    assert [len(store.subset(s)) for s in ("train", "val", "test")] == [7, 0, 1]
    assert store.splits == Toy.splits
    store = build(toys, tmp_path / "out", val=["s2"]).store
    assert [len(store.subset(s)) for s in ("train", "val", "test")] == [3, 4, 1]
    assert store.subset("val").subjects == ("s2",)
    with pytest.raises(ConfigError, match="s9: no training subject"):
        build(toys, tmp_path / "out", val=["s9"])


def test_the_number_of_processes_changes_no_byte(toys, tmp_path):
    plant(toys, s1_c="broken", s2_c="bug")
    one, two = build(toys, tmp_path / "one"), build(toys, tmp_path / "two", workers=2)
    assert one.store.fingerprint == two.store.fingerprint and one.skipped == two.skipped
    assert len(one.skipped) == 2


def test_the_place_of_the_download_changes_no_byte(toys, tmp_path):
    plant(toys, s1_c="broken")
    other = plant(tmp_path / "elsewhere" / "raw")
    plant(other, s1_c="broken")
    assert build(toys, tmp_path / "one").store.fingerprint == build(other, tmp_path / "two").store.fingerprint


@pytest.mark.parametrize(
    "words, reason",
    [
        ("broken", "s1_x.txt: is broken"),
        ("bug", "s1_x: cannot be read (ZeroDivisionError: division by zero)"),
        ("2 20 twice", "s1_x: a clip is called 's1_a_0' like one before"),
        ("1 20 mesh", "lost.obj: is lost"),
        ("some words", "cannot be read (ValueError"),
    ],
)
def test_what_cannot_be_read_is_skipped_named_and_kept_in_the_store(toys, tmp_path, words, reason):
    plant(toys, s1_x=words)
    report = build(toys, tmp_path / "out")
    assert report.clips == 8 and report.sequences == 6
    assert [sequence for sequence, _ in report.skipped] == ["s1_x"] and reason in report.skipped[0][1]
    assert data.load(tmp_path / "out").skipped == report.skipped


def test_a_mesh_with_loose_vertices_is_doubted(toys, tmp_path, monkeypatch):
    whole = load_object(MESH)
    cut = replace(whole, faces=whole.faces[:-40])
    assert build(toys, tmp_path / "whole").doubts == [] and ingest.doubt_of(cut)
    monkeypatch.setattr(Toy, "object", lambda self, name: cut)
    (doubt,) = build(toys, tmp_path / "out").doubts
    assert re.match(rf"object {MESH}: \d+ of {len(whole.vertices)} vertices belong to no face", doubt)


def test_a_sequence_without_clips_is_no_fault(toys, tmp_path):
    plant(toys, s1_x="0 0")
    assert build(toys, tmp_path / "out").skipped == []


def test_when_nothing_can_be_read_nothing_is_written(tmp_path):
    folder = plant(tmp_path / "raw", s1_a="broken", s2_a="bug")
    with pytest.raises(RawDataError, match=r"none of 2 sequences gives a clip; first: s1_a\.txt: is broken"):
        build(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change, fault",
    [
        (lambda c: {"name": "../up"}, "a name that no file can have"),
        (lambda c: {"verb": "../lift"}, "'../lift' is no name of an action"),
        (lambda c: {"subject": ""}, "'' is no name"),
        (lambda c: {"caption": "Lift\nball."}, "no line of text"),
        (lambda c: {"fps": 120}, "at 120 a second"),
        (lambda c: {"hands": {}}, r"hands \[\]"),
        (lambda c: {"hands": {"middle": c.hands["right"]}}, "hands"),
        (lambda c: {"object": replace(c.object, transl=c.object.transl * np.nan)}, "not finite"),
        (lambda c: {"object": replace(c.object, transl=c.object.transl * 1e39)}, "not finite"),
        (lambda c: {"object": replace(c.object, rotation=c.object.rotation * 1.01)}, "no rotations"),
        (lambda c: {"object": replace(c.object, rotation=-c.object.rotation)}, "no rotations"),
        (lambda c: {"object": replace(c.object, angle=np.zeros(3))}, "hinge angles"),
        (lambda c: {"hands": {"right": replace(c.hands["right"], betas=np.zeros(9))}}, "shape numbers"),
        (lambda c: {"hands": {"right": replace(c.hands["right"], valid=np.ones(3, bool))}}, "valid flags"),
        (lambda c: {"hands": {"right": replace(c.hands["right"], transl=np.zeros((3, 3)))}}, "translations"),
        (lambda c: {"hands": {"right": replace(c.hands["right"], rotations=c.object.rotation)}}, "rotations"),
    ],
)
def test_a_record_that_is_unsound_reaches_no_store(toys, tmp_path, monkeypatch, change, fault):
    honest = Toy._clip

    def wrong(self, name, *rest):
        clip = honest(self, name, *rest)
        return replace(clip, **change(clip)) if name.startswith("s1_a") else clip

    monkeypatch.setattr(Toy, "_clip", wrong)
    assert pieces.fault_of(honest(Toy(toys), "x", "s1_a", 20, MESH)) is None
    report = build(toys, tmp_path / "out")
    assert [sequence for sequence, _ in report.skipped] == ["s1_a"] and report.clips == 6
    assert re.search(fault, report.skipped[0][1])


def test_a_killed_build_goes_on_and_reads_nothing_twice(toys, tmp_path):
    whole = build(toys, tmp_path / "whole").store.fingerprint
    (toys / "reads.log").unlink()
    (toys / "s2_a.txt").write_text("1 60 kill")
    script = (
        f"from hoi_lib.data.ingest import build; build({NAME!r}, {str(toys)!r}, {str(tmp_path / 'out')!r}, workers=1)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert ended.returncode == -9 and not (tmp_path / "out").exists()
    assert reads(toys) == ["s1_a", "s1_b", "s2_a"]
    (toys / "spare").touch()
    assert build(toys, tmp_path / "out").store.fingerprint == whole
    assert reads(toys) == ["s1_a", "s1_b", "s2_a", "s2_a", "s2_b", "s9_a"]


def stopped(toys, out):
    """Leave a build half done: its pieces are there, its store is not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest.store, "write", lambda *a, **k: pytest.fail("stopped"))
        with pytest.raises(pytest.fail.Exception):
            build(toys, out)


def test_what_has_changed_meanwhile_is_read_again(toys, tmp_path):
    stopped(toys, tmp_path / "out")
    (toys / "s1_b.txt").write_text("2 30")
    assert build(toys, tmp_path / "out").clips == 9
    assert reads(toys)[5:] == ["s1_b"]


def test_what_failed_is_tried_again(toys, tmp_path):
    plant(toys, s1_x="broken")
    stopped(toys, tmp_path / "out")
    assert len(build(toys, tmp_path / "out").skipped) == 1
    assert reads(toys)[6:] == ["s1_x"]


def test_a_build_after_mending_reads_what_was_mended_and_nothing_else(toys, tmp_path):
    plant(toys, s1_x="broken")
    assert len(build(toys, tmp_path / "out").skipped) == 1
    before = len(reads(toys))
    (toys / "s1_x.txt").write_text((toys / "s1_a.txt").read_text())
    assert build(toys, tmp_path / "out").skipped == [] and reads(toys)[before:] == ["s1_x"]
    assert not (tmp_path / ".out.partial").exists()


def test_the_rest_of_a_sequence_is_kept_and_what_is_missing_told_until_it_is_mended(toys, tmp_path):
    plant(toys, s1_x="part")
    report = build(toys, tmp_path / "out")
    assert report.skipped == [("s1_x", "s1_x.txt: its end is broken")] and report.clips == 9
    assert "s1_x_0" in {row["name"] for row in report.store.table}
    plant(toys, s1_x="2 20")
    report = build(toys, tmp_path / "out")
    assert report.skipped == [] and report.clips == 10 and reads(toys)[6:] == ["s1_x"]


def test_nothing_is_left_where_nothing_could_be_read(toys, tmp_path):
    for path in toys.glob("*.txt"):
        path.write_text("broken")
    with pytest.raises(RawDataError, match="none of 5 sequences"):
        build(toys, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_what_a_reader_cautions_against_is_told(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(Toy, "cautions", ["no shapes were found"])
    assert "no shapes were found" in build(toys, tmp_path / "out").doubts


def test_a_piece_that_is_damaged_is_read_again(toys, tmp_path):
    stopped(toys, tmp_path / "out")
    for path in (tmp_path / ".out.partial").glob("*.npz"):
        os.truncate(path, 100)
    assert build(toys, tmp_path / "out").clips == 8
    assert len(reads(toys)) == 10


def test_other_options_are_another_build(toys, tmp_path):
    stopped(toys, tmp_path / "out")
    store = build(toys, tmp_path / "out", options={"scale": "2"}).store
    assert len(reads(toys)) == 10 and store.notes == {"scale": 2.0}


def test_a_full_disk_is_no_fault_of_the_sequence(toys, tmp_path, monkeypatch):
    def full(*_):
        raise OutputError("the disk is full")

    monkeypatch.setattr(pieces, "save", full)
    with pytest.raises(OutputError, match="disk is full"):
        build(toys, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_files_are_never_overwritten_nor_anything_read(toys, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="no data set"):
        build(toys, tmp_path / "out")
    assert reads(toys) == []


def test_the_command_ends_with_0_1_or_2(toys, tmp_path, hoi):
    out = tmp_path / "out"
    code, said, err = hoi("data", "build", "arctic", "--raw", toys, "--out", out, "--workers", 1)
    assert code == 0 and "8 clips" in said and "skipped" not in err
    plant(toys, s1_x="broken", s2_x="bug")
    code, said, err = hoi("data", "build", "arctic", "--raw", toys, "--out", out, "--workers", 1, "--val", "s2")
    assert code == 1 and "8 clips" in said and "Traceback" not in err
    assert "skipped s1_x: s1_x.txt: is broken" in err and "2 of 7 sequences were skipped" in err
    assert data.load(out).subset("val").subjects == ("s2",)
    for path in toys.glob("*.txt"):
        path.write_text("broken")
    before = data.load(out).fingerprint
    code, _, err = hoi("data", "build", "arctic", "--raw", toys, "--out", out, "--workers", 1)
    assert code == 2 and "none of 7 sequences" in err and data.load(out).fingerprint == before


def test_archives_are_unpacked_and_built_from(toys, tmp_path, hoi):
    for subject in ("s1", "s2"):
        with zipfile.ZipFile(tmp_path / f"{subject}.zip", "w") as archive:
            for path in toys.glob(f"{subject}_*.txt"):
                archive.write(path, path.name)
    found = hoi("data", "unpack", tmp_path / "s1.zip", tmp_path / "s2.zip", "--out", tmp_path / "all")
    assert found[0] == 0 and "4 files of 2 archives" in found[1]
    assert build(tmp_path / "all", tmp_path / "out").clips == 7
    code, _, err = hoi("data", "unpack", tmp_path / "s1.zip", tmp_path / "none.zip", "--out", tmp_path / "other")
    assert code == 2 and "none.zip: missing" in err and not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["arctic"], "Pass --raw"),
        (["arctic", "--raw", "nowhere"], "nowhere: no such folder"),
        (["arctic", "--raw", ".", "--option", "size=3"], "no option 'size'"),
        (["arctic", "--raw", ".", "--option", "size"], "expected KEY=VALUE"),
        (["arctic", "--raw", ".", "--option", "folder=x"], "no option 'folder'"),
        (["arctic", "--raw", ".", "--option", "self=x"], "no option 'self'"),
        (["arctic", "--raw", ".", "--option", "name=x"], "no option 'name'"),
        (["arctic", "--raw", ".", "--val", "s7"], "s7: no training subject"),
        (["synthetic", "--raw", "."], "takes no --raw"),
    ],
)
def test_wrong_arguments_are_one_clear_line(toys, tmp_path, hoi, monkeypatch, arguments, words):
    monkeypatch.chdir(toys)
    code, _, err = hoi("data", "build", *arguments, "--out", tmp_path / "out")
    assert code == 2 and words in err and "Traceback" not in err and err.startswith("hoi: ")
    assert len(err.strip().splitlines()) <= 2 and not (tmp_path / "out").exists()
