"""Captions, and what a sentence asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoi_lib.errors import TextError
from hoi_lib.text import CATEGORIES, HANDS, VERBS, captions, parse


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


def test_unknown_words_in_a_caption_are_refused():
    with pytest.raises(TextError):
        captions("juggle", "ball", "left")
    with pytest.raises(TextError):
        captions("grasp", "ball", "third")
