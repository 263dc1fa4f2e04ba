"""The words of the recorded sets, their captions, and the published counts."""

from itertools import product

import pytest

from hoi_lib.data.published import PUBLISHED
from hoi_lib.data.vocabulary import H2O_ACTIONS, VOCABULARIES, caption_forms, hands_of, key
from hoi_lib.errors import TextError
from hoi_lib.refiner import VERB_RULES, refine
from hoi_lib.text import HANDS, SYNONYMS, known_verbs, parse

SETS = tuple(VOCABULARIES)


@pytest.mark.parametrize("name", SETS)
def test_the_vocabulary_has_as_many_verbs_pairs_and_objects_as_published(name):
    words, published = VOCABULARIES[name], PUBLISHED[name]
    assert len(words.verbs) == published.verbs
    assert len(words.objects) >= published.objects  # GRAB's list names a few things that no clip is about
    assert published.pairs in (None, len(set(words.pairs)))
    assert {verb for verb, _ in words.pairs} in (set(), set(words.verbs))
    assert {word for _, word in words.pairs} in (set(), set(words.words))


@pytest.mark.parametrize("name", SETS)
def test_every_published_figure_says_where_it_stands(name):
    published = PUBLISHED[name]
    assert all(figure > 0 and source for _, figure, source in published.rows())
    subjects = [s for split in published.splits.values() for s in split]
    assert len(set(subjects)) == len(subjects) == published.subjects and published.source["splits"]


@pytest.mark.parametrize("slips", [False, True])
@pytest.mark.parametrize("name", SETS)
def test_every_caption_of_every_set_is_parsed_and_refined(name, slips):
    words = VOCABULARIES[name]
    pairs = words.pairs or product(words.verbs, words.words)
    for (verb, word), hands in product(pairs, HANDS):
        for text in caption_forms(name, verb, word, hands, slips):
            parsed = parse(text)
            assert (parsed.verb, parsed.noun, parsed.hands) == (SYNONYMS.get(verb, verb), word, hands), text
        refined = refine(caption_forms(name, verb, word, hands).imperative)
        assert f"the {word}" in refined.hand and "as told" not in refined.hand


def test_every_verb_that_is_understood_has_a_rule_for_its_description():
    assert set(known_verbs()) == set(VERB_RULES)


def test_a_caption_has_the_four_published_forms():
    assert list(caption_forms("h2o", "grab", "book", "right")) == [
        "Grab book with right hand.",
        "Grabbing book with right hand.",
        "Right hand grabs book.",
        "Book is grabbed with right hand.",
    ]
    assert caption_forms("arctic", "cut", "scissors", "both").active == "Both hands cut scissors."
    assert caption_forms("grab", "screw", "light bulb", "left").passive == "Light bulb is screwed with left hand."


@pytest.mark.parametrize(
    ("name", "verb", "form", "slip", "right"),
    [
        ("h2o", "open", "gerund", "Openning milk with left hand.", "Opening milk with left hand."),
        ("h2o", "take out", "active", "Left hand takes take milk.", "Left hand takes out milk."),
        ("grab", "hand over", "passive", "Milk handed over with left hand.", "Milk is handed over with left hand."),
        ("grab", "take picture", "passive", "Milk is pictured with left hand.",
         "Milk is used to take picture with left hand."),
    ],
)  # fmt: skip
def test_published_slips_come_only_when_asked_for(name, verb, form, slip, right):
    assert getattr(caption_forms(name, verb, "milk", "left", slips=True), form) == slip
    assert getattr(caption_forms(name, verb, "milk", "left"), form) == right


def test_verbs_and_objects_are_renamed_as_published():
    words = VOCABULARIES["grab"]
    assert [words.verb(raw) for raw in ("offhand", "switchON", "takepicture", "lift")] == [
        "hand over", "switch on", "take picture", "lift",
    ]  # fmt: skip
    assert words.word("cubesmall") == "cube" and words.word("fryingpan") == "frying pan" and words.word("x") == "x"
    assert sum(raw != word for raw, word in words.objects.items()) == 22
    assert H2O_ACTIONS[24 - 1] == ("take out", "espresso") and H2O_ACTIONS[36 - 1] == ("squeeze", "lotion")


def test_a_key_is_written_like_the_published_ones():
    assert key("take out", "chips", hands_of({"left": 1, "right": 2})) == "Take out chips with both hands."
    assert key("switch on", "light bulb", hands_of(("left",))) == "Switch on light bulb with left hand."
    assert caption_forms("a set of one's own", "toggle", "Lamp", "right").gerund == "Toggling lamp with right hand."
    with pytest.raises(TextError, match="expected left, right or both"):
        key("lift", "box", "feet")
