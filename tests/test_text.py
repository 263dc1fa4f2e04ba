"""Captions, and what a sentence asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoi_lib.errors import TextError
from hoi_lib.text import CATEGORIES, HANDS, VERBS, Forms, captions, forms, known_verbs, parse


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


@pytest.mark.parametrize(
    ("text", "verb", "noun"),
    [
        ("Chop apple with right hand.", "chop", "apple"),
        ("Take out cocoa with both hands.", "take out", "cocoa"),
        ("Camera is used to take picture with left hand.", "take picture", "camera"),
        ("Hand over hand with right hand.", "hand over", "hand"),
        ("Left hand lifts stamp.", "lift", "stamp"),
        ("Stamp is stamped with both hands.", "stamp", "stamp"),
        ("Hand it over with the hand", "hand over", None),
        ("Grabbing book with right hand.", "grasp", "book"),
        ("Spray the table with the spray", "spray", "table"),
    ],
)
def test_words_of_recorded_sets_are_understood_as_they_are_written(text, verb, noun):
    assert (parse(text).verb, parse(text).noun) == (verb, noun)


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        ("grab", Forms("grab", "grabbing", "grabs", "grabbed")),
        ("switch on", Forms("switch on", "switching on", "switches on", "switched on")),
        ("see", Forms("see", "seeing", "sees", "seen")),
        ("apply", Forms("apply", "applying", "applies", "applied")),
        ("toggle", Forms("toggle", "toggling", "toggles", "toggled")),
        ("fly", Forms("fly", "flying", "flies", "flown")),
    ],
)
def test_the_forms_of_a_verb_follow_the_rules_of_spelling(verb, expected):
    assert forms(verb) == expected


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
    assert parsed.verb in {None, *known_verbs()} and parsed.hands in {None, *HANDS}


def test_unknown_words_in_a_caption_are_refused():
    with pytest.raises(TextError):
        captions("juggle", "ball", "left")
    with pytest.raises(TextError):
        captions("grasp", "ball", "third")
