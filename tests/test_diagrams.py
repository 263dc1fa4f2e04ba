"""The where-we-are map: every stage in both layouts, nothing overlapping, words for those who do not see it."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from hoi_lib.diagrams import FLOW, STAGES, TALL, WIDE, where_am_i

INSIDE = {"router", "experts"}


def test_every_stage_stands_in_both_layouts():
    assert set(WIDE) == set(TALL) == set(STAGES)


@pytest.mark.parametrize("layout", [WIDE, TALL], ids=["wide", "tall"])
def test_boxes_do_not_overlap_and_the_denoiser_holds_its_two(layout):
    def apart(a, b):
        (ax, ay, aw, ah), (bx, by, bw, bh) = layout[a], layout[b]
        return ax + aw <= bx or bx + bw <= ax or ay + ah <= by or by + bh <= ay

    for a, b in itertools.combinations(STAGES, 2):
        assert apart(a, b) != ("denoiser" in (a, b) and bool({a, b} & INSIDE)), (a, b)


@pytest.mark.parametrize("stages", [(), ("hand",), ("router", "experts"), tuple(STAGES)])
def test_the_filled_boxes_are_those_asked_for_and_the_words_say_so(stages):
    diagram = where_am_i(*stages)
    for svg in re.findall(r"<svg.*?</svg>", diagram.html, re.S):
        tree = ElementTree.fromstring(svg)
        filled = [box for box in tree.iter("rect") if "on" in box.get("class", "").split()]
        assert len(filled) == len(stages)
        assert len(list(tree.iter("path"))) == 2 * len(FLOW)
    assert all(stage in diagram.alt for stage in stages)
    assert f'aria-label="{diagram.alt}"' in diagram.html


def test_an_unknown_stage_is_refused_by_name():
    with pytest.raises(ValueError, match="'foot'"):
        where_am_i("foot")


def test_a_picture_at_the_end_is_described():
    diagram = where_am_i(end=np.zeros((8, 8, 3), np.uint8), end_alt="A hand holds a mug.")
    assert diagram.alt.endswith("A hand holds a mug.") and diagram.html.count("data:image/png") == 2
