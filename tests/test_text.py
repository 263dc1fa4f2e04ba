"""Captions, what a sentence asks for, and its refinement."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoi_lib.errors import HoiError, TextError
from hoi_lib.text import CATEGORIES, FAMILIES, HANDS, VERBS, captions, parse, read_refinements, refine, refinement_for


def test_the_four_forms_of_a_caption():
    assert list(captions("hand over", "lidded_box", "both")) == [
        "Hand over the lidded box with both hands.",
        "Handing over the lidded box with both hands.",
        "Both hands hand over the lidded box.",
        "The lidded box is handed over with both hands.",
    ]
    assert captions("pour", "bottle", "left").active == "Left hand pours the bottle."
    assert captions("open", "pliers", "right").passive == "The pliers are opened with right hand."


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("hands", HANDS)
def test_every_form_of_every_caption_is_understood(verb, hands):
    for category in CATEGORIES:
        for text in captions(verb, category, hands):
            assert (parse(text).verb, parse(text).object, parse(text).hands) == (verb, category, hands), text


@pytest.mark.parametrize(
    ("text", "verb", "noun", "hands"),
    [
        ("Pick up the mug and pour with right hand.", "pour", "mug", "right"),
        ("pick up the CUP", "lift", "mug", None),
        ("Please hand the ball over with my left hand", "hand over", "ball", "left"),
        ("Juggle three torches.", None, None, None),
        ("Use the left and the right hand to open the laptop", "open", "laptop", "both"),
        ("take the lidded box", "grasp", "lidded box", None),
        ("Opening closed boxes", "open", "box", None),
    ],
)
def test_free_sentences(text, verb, noun, hands):
    parsed = parse(text)
    assert (parsed.verb, parsed.object, parsed.hands) == (verb, noun, hands)


@pytest.mark.parametrize("text", ["", "   ", "123 !?", "\n"])
def test_a_sentence_without_words_is_refused(text):
    with pytest.raises(TextError, match="holds no words"):
        parse(text)


@given(st.text(max_size=80))
def test_parsing_never_fails_in_another_way(text):
    try:
        parsed = parse(text)
    except TextError:
        return
    assert parsed.verb in {None, *VERBS} and parsed.hands in {None, *HANDS}


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


@pytest.mark.parametrize("family", FAMILIES)
def test_the_known_grasp_family_decides_the_fingers(family):
    assert FAMILIES[family][0].lower() in refine("Grasp the can with left hand.", family).finger.lower()


def test_a_verb_outside_the_vocabulary_keeps_its_own_words():
    assert "Juggle the ball" in refine("Juggle the ball with both hands.").hand


def release_file(path, **changes):
    levels = {"hand_level": "The hand reaches.", "finger_level": "Fingers wrap.", "joint_level": "Joints bend."}
    entry = {"text": "Grab the box.", "lh_refine_text": None, "rh_refine_text": levels | changes}
    path.write_text(json.dumps({"arctic_0": entry}))
    return path


def test_the_layout_of_the_release_is_read(tmp_path):
    path = release_file(tmp_path / "refined.json")
    assert refinement_for("Grab the box.", "file", path).finger == "Fingers wrap."
    assert list(read_refinements(path)) == [("Grab the box.", "right")]


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"a": 3}', "{"])
def test_a_damaged_refinement_file_is_named(tmp_path, content):
    path = tmp_path / "refined.json"
    path.write_text(content)
    with pytest.raises(TextError, match="refined.json"):
        read_refinements(path)


def test_a_missing_level_is_named(tmp_path):
    with pytest.raises(TextError, match="arctic_0.rh_refine_text.finger_level"):
        read_refinements(release_file(tmp_path / "refined.json", finger_level=None))


@pytest.mark.parametrize(("method", "path"), [("file", None), ("magic", None), ("file", "nowhere.json")])
def test_bad_refiner_settings(method, path):
    with pytest.raises(HoiError):
        refinement_for("Grab the box.", method, path)


def test_unknown_words_in_a_caption_are_refused():
    with pytest.raises(TextError):
        captions("juggle", "ball", "left")
    with pytest.raises(TextError):
        captions("grasp", "ball", "third")
