"""Refiners that are wrong on purpose, how alike texts are, the words that tell them apart, and their pictures."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from random_batches import WordHash

from hoi_lib import data
from hoi_lib.data.samples import SampleSet
from hoi_lib.errors import TextError
from hoi_lib.refiner import LEVELS, FileRefiner, refine, refiner_for
from hoi_lib.refinerfigures import recorded, similarity_map, text_card, told
from hoi_lib.refinerstudy import EXAMPLES, kinds_of_pairs, of_another_verb, rotated, similarity, telling_words
from hoi_lib.text import VERBS, captions, parse

CAPTION = "Pour the mug with right hand."


def test_rotated_texts_are_the_same_three_and_none_in_its_place():
    right, wrong = refine(CAPTION, "right"), rotated(refine)(CAPTION, "right")
    assert (wrong.hand, wrong.finger, wrong.joint) == (right.finger, right.joint, right.hand)


def test_three_rotations_are_none():
    assert rotated(rotated(rotated(refine)))(CAPTION, "right") == refine(CAPTION, "right")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("hands", ["left", "both"])
def test_another_verb_keeps_object_and_hands(verb, hands):
    asked = []
    spy = of_another_verb(lambda text, side: asked.append((text, side)) or refine(text, side))
    spy(captions(verb, "bottle", hands).passive, "left")
    (text, side), found = asked[0], parse(asked[0][0])
    assert (found.object, found.hands, side) == ("bottle", hands, "left")
    assert found.verb != verb and found.verb in VERBS, text


def test_another_verb_of_an_unnamed_object_is_told_of_the_object():
    asked = []
    of_another_verb(lambda text, side: asked.append(text) or refine(text, side))(
        "The object is lifted with both hands.", None
    )
    assert asked == ["Squeeze the object with both hands."]


@pytest.mark.parametrize("text", ["Juggle the mug with right hand.", "Pour the mug."])
def test_another_verb_of_no_caption_is_refused(text):
    with pytest.raises(TextError, match="expected a caption"):
        of_another_verb(refine)(text)


def test_similarity_is_one_for_equal_texts_and_symmetric():
    found = similarity([CAPTION, "Lift the ball.", CAPTION], WordHash())
    assert torch.allclose(found, found.T) and torch.allclose(found[[0, 1, 0], [0, 1, 2]], torch.ones(3))
    assert found[0, 1] < 0.99


def test_kinds_of_pairs_share_out_all_pairs_of_two_texts():
    kinds = kinds_of_pairs(3, 4)
    assert torch.equal(sum(mask.int() for mask in kinds.values()), 1 - torch.eye(12, dtype=torch.int))
    assert [int(mask.sum()) for mask in kinds.values()] == [3 * 4 * 3, 4 * 3 * 2, 3 * 2 * 4 * 3]
    assert kinds["two actions, one level"][0, 1] and kinds["one action, two levels"][0, 4]


def test_telling_words_ignore_case_and_marks():
    found = telling_words("The hand, rests there.", ["Hand the cup there"])
    assert found == [("The", False), ("hand,", False), ("rests", True), ("there.", False)]


def test_nothing_tells_a_text_apart_from_nothing():
    assert telling_words("the hand", []) == [("the", False), ("hand", False)]


def test_examples_are_refinements_of_captions_and_as_long_as_the_prompt_asks():
    examples = FileRefiner(EXAMPLES)
    assert examples("Pour the bottle with right hand.") != refine("Pour the bottle with right hand.")
    for (text, side), levels in examples.table.items():
        assert parse(text).verb in VERBS and side in ("left", "right")
        lengths = [len(getattr(levels, level).split()) for level in LEVELS]
        assert all(abs(n - asked) <= 14 for n, asked in zip(lengths, (25, 45, 75), strict=True)), (text, lengths)
    assert refiner_for("file", EXAMPLES).table == examples.table


def test_a_card_is_sound_xml_with_all_words_inside_and_marks_the_marked():
    words = [
        (word, k % 3 == 0) for k, word in enumerate(["thumb", "&", "index", "<close>", "over", "the", "edge."] * 5)
    ]
    root = ElementTree.fromstring(text_card(words, "finger", "finger"))
    shown = " ".join(" ".join("".join(t.itertext()) for t in root.iter() if t.tag.endswith("}text")).split()[1:])
    assert shown == " ".join(word for word, _ in words)
    marked = " ".join(t.text for t in root.iter() if t.tag.endswith("tspan"))
    assert marked == " ".join(word for word, m in words if m)
    assert float(root.get("height")) > 52 + 23 * 3


def test_the_map_has_a_row_of_dots_for_each_kind_of_pair():
    cosine = torch.eye(6)
    figure = similarity_map(cosine, {"same": torch.eye(6, dtype=torch.bool), "other": ~torch.eye(6, dtype=torch.bool)})
    assert [len(dots.get_offsets()) for dots in figure.axes[1].collections] == [6, 30]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == list(LEVELS)


def test_pictures_show_the_recording_and_each_pose_that_was_told():
    store = data.default()
    clip = store[0]
    model = store.object(clip.object.name)
    picture = recorded(clip, model, (90, 60))
    assert picture.shape == (60, 90, 3) and picture.std() > 5
    sample = SampleSet(store.where(lambda row: row["name"] == clip.name), 8)[0]
    shifted = sample.pose.clone()
    shifted[:, 0] += 0.1
    panels = told(clip, model, sample, {"hand": sample.pose, "finger": shifted}, 5)
    assert len(panels) == 2
    apart = panels[1][-1].vertices - panels[0][-1].vertices
    assert np.allclose(apart, [0.1, 0, 0], atol=1e-5)
