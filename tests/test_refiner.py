"""Refinements by rules and from a file, batches of them, and the JSON of a whole data set."""

import json
import os
import sys
import threading
import time

import pytest

from hoi_lib import refiner
from hoi_lib.data.repertoire import FAMILIES as DATA_FAMILIES
from hoi_lib.errors import ConfigError, HoiError, OutputError, TextError
from hoi_lib.refiner import (
    FAMILIES,
    Refinement,
    RefinerError,
    read_refinements,
    refine,
    refine_all,
    refine_clips,
    refiner_for,
    side_of,
)
from hoi_lib.text import CATEGORIES, HANDS, VERBS, captions

# --- rules ---


def test_refinement_names_part_fingers_and_other_hand_and_is_repeatable():
    refined = refine("Pour the mug with right hand.")
    assert refined == refine("Pour the mug with right hand.")
    assert "right hand" in refined.hand and "left hand rests" in refined.hand
    assert "beside the handle" in refined.finger and "thumb" in refined.finger
    assert "joints" in refined.joint


def test_refinements_differ_between_verbs_and_between_levels():
    texts = [refine(captions(verb, "can", "right").imperative) for verb in VERBS]
    assert len({t.hand for t in texts}) == len(VERBS)
    assert all(len({t.hand, t.finger, t.joint}) == 3 for t in texts)


@pytest.mark.parametrize("hands", HANDS)
def test_all_four_forms_of_a_caption_are_refined_alike(hands):
    for verb in VERBS:
        for category in CATEGORIES:
            assert len({refine(text) for text in captions(verb, category, hands)}) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_known_grasp_family_decides_the_fingers(family):
    text = "Grasp the can with left hand."
    assert FAMILIES[family][0].lower() in refine(text, family=family).finger.lower()
    assert refine(text, family=family).hand == refine(text).hand


def test_every_grasp_family_of_the_data_has_its_own_words():
    assert set(DATA_FAMILIES) <= set(FAMILIES)
    refined = [refine("Grasp the can.", family=family) for family in FAMILIES]
    assert len({r.finger for r in refined}) == len({r.joint for r in refined}) == len(FAMILIES)
    with pytest.raises(TextError, match="grasp family 'fist'"):
        refine("Grasp the can.", family="fist")


def test_the_two_hands_of_one_sentence_get_different_texts():
    text = "Open the laptop with both hands."
    left, right = refine(text, "left"), refine(text, "right")
    assert "the left hand takes" in left.hand and "Together with the right hand" in left.hand
    assert "the right hand takes" in right.hand and "Together with the left hand" in right.hand
    assert "Both hands" in refine(text).hand


def test_the_described_hand_wins_over_the_text():
    assert refine("Pour the mug with left hand.", "right").hand.startswith("The right hand")
    assert refine("Pour the mug.", "left").hand.startswith("The left hand")


def test_a_verb_outside_the_vocabulary_keeps_its_own_words():
    assert "Juggle the ball" in refine("Juggle the ball with both hands.").hand


@pytest.mark.parametrize(
    ("text", "side"), [("with left hand", "left"), ("with both hands", "right"), ("Pour", "right")]
)
def test_the_hand_that_is_meant_when_nobody_says_so(text, side):
    assert side_of(text) == side


# --- the file of the release ---


def release_file(path, **changes):
    levels = {"hand_level": "The hand reaches.", "finger_level": "Fingers wrap.", "joint_level": "Joints bend."}
    entry = {"text": "Grab the box.", "lh_refine_text": None, "rh_refine_text": levels | changes}
    path.write_text(json.dumps({"arctic_0": entry}))
    return path


def test_the_layout_of_the_release_is_read(tmp_path):
    path = release_file(tmp_path / "refined.json")
    assert refiner_for("file", path)("Grab the box.").finger == "Fingers wrap."
    assert list(read_refinements(path)) == [("Grab the box.", "right")]
    with pytest.raises(TextError, match="no refined text for 'Grab the box.' with the left hand"):
        refiner_for("file", path)("Grab the box.", "left")


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"a": 3}', "{", "\xff"])
def test_a_damaged_refinement_file_is_named(tmp_path, content):
    path = tmp_path / "refined.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(TextError, match="refined.json"):
        read_refinements(path)


def test_a_missing_level_is_named(tmp_path):
    with pytest.raises(TextError, match="arctic_0.rh_refine_text.finger_level"):
        read_refinements(release_file(tmp_path / "refined.json", finger_level=None))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("file", {}),
        ("magic", {}),
        ("file", {"path": "nowhere.json"}),
        ("rules", {"path": "refined.json"}),
        ("rules", {"model": "tiny"}),
        ("file", {"path": "refined.json", "url": "http://localhost"}),
    ],
)
def test_bad_refiner_settings(method, options):
    with pytest.raises(HoiError):
        refiner_for(method, **options)


# --- batches ---


def test_a_batch_refines_each_text_once_and_keeps_the_order():
    asked = []

    def slow_first(text, side):
        asked.append((text, side))
        time.sleep(0.05 if text == "Pour." else 0)
        return refine(text, side)

    pairs = [("Pour.", "left"), ("Shake.", "right"), ("Pour.", "left"), ("Lift.", "left")]
    refined, failed = refine_all(pairs, slow_first, workers=3)
    assert list(refined) == [("Pour.", "left"), ("Shake.", "right"), ("Lift.", "left")] and not failed
    assert sorted(asked) == sorted(refined) and refined["Lift.", "left"] == refine("Lift.", "left")


def test_plain_texts_are_refined_for_the_hand_they_name():
    refined, _ = refine_all(["Pour with left hand."], refine)
    assert refined["Pour with left hand.", None].hand.startswith("The left hand")


def test_a_batch_really_asks_at_the_same_time():
    meeting = threading.Barrier(4, timeout=5)

    def meet(text, side):
        meeting.wait()
        return refine(text, side)

    assert len(refine_all([f"Pour {i}" for i in range(4)], meet, workers=4)[0]) == 4


def test_one_hopeless_text_is_left_out_and_reported():
    refined, failed = refine_all([("Pour.", "left"), ("123", "left"), ("Lift.", "left")], refine)
    assert len(refined) == 2 and "holds no words" in str(failed["123", "left"])


@pytest.mark.parametrize("error", [RefinerError("the server is gone"), ConfigError("no key"), ZeroDivisionError()])
def test_what_no_other_text_would_survive_ends_the_batch(error):
    asked = []

    def fail(text, side):
        asked.append(text)
        raise error

    with pytest.raises(type(error)):
        refine_all([f"Pour {i}" for i in range(1000)], fail, workers=2)
    time.sleep(0.05)
    assert len(asked) < 1000


def test_a_progress_bar_appears_only_for_what_takes_long(monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    def slow(text, side):
        time.sleep(0.15)
        return refine(text, side)

    refine_all(["Pour", "Lift"], slow)
    assert "refining" not in capfd.readouterr().err
    monkeypatch.setattr(refiner, "QUIET", 0.05)
    refine_all(["Pour", "Lift"], slow)
    assert "refining" in capfd.readouterr().err


# --- a whole data set ---

CLIPS = [
    {"caption": "Pour the mug with right hand.", "hands": ["right"], "verb": "pour", "object": "mug_small"},
    {"caption": "Both hands open the laptop.", "hands": ["left", "right"], "verb": "open", "object": "laptop_large"},
    {"caption": "Pour the mug with right hand.", "hands": ["right"], "verb": "pour", "object": "mug_large"},
]


def test_a_data_set_is_written_in_the_layout_that_is_read(tmp_path):
    out = tmp_path / "new" / "refined.json"
    written, failed = refine_clips(CLIPS, refine, out, "synthetic")
    entries = json.loads(out.read_text())
    assert written == 3 and not failed and list(entries) == ["synthetic_0", "synthetic_1", "synthetic_2"]
    assert entries["synthetic_0"]["lh_refine_text"] is None and entries["synthetic_0"]["lh_obj_list"] == []
    assert entries["synthetic_1"]["rh_primitive"] == "open" and entries["synthetic_2"]["rh_obj_list"] == ["mug_large"]
    known = refiner_for("file", out)
    assert known("Both hands open the laptop.", "left") == refine("Both hands open the laptop.", "left")
    assert set(os.listdir(out.parent)) == {"refined.json"}


def test_texts_that_cannot_be_refined_leave_a_gap_and_nothing_else(tmp_path):
    def only_pours(text, side):
        if "laptop" in text:
            raise TextError("no idea")
        return refine(text, side)

    written, failed = refine_clips(CLIPS, only_pours, tmp_path / "refined.json")
    assert written == 1 and set(failed) == {("Both hands open the laptop.", side) for side in ("left", "right")}
    assert json.loads((tmp_path / "refined.json").read_text())["clips_1"]["lh_refine_text"] is None


def test_a_batch_that_ends_early_writes_nothing(tmp_path):
    def fail(text, side):
        raise RefinerError("gone")

    with pytest.raises(RefinerError):
        refine_clips(CLIPS, fail, tmp_path / "refined.json")
    with pytest.raises(TextError, match="nothing to refine"):
        refine_clips([], refine, tmp_path / "refined.json")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_found_before_anybody_is_asked(tmp_path):
    def never(text, side) -> Refinement:
        raise AssertionError("asked")

    with pytest.raises(OutputError):
        refine_clips(CLIPS, never, tmp_path)
