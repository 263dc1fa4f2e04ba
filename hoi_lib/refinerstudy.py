"""Looking into refined texts: refiners that are wrong on purpose, how alike texts are, and which words set them apart.

n texts, E width of the features.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hoi_lib.encoders import TextEncoder
from hoi_lib.errors import TextError
from hoi_lib.refiner import Refinement, Refiner
from hoi_lib.text import VERBS, captions, parse

EXAMPLES = Path(__file__).parent / "assets" / "refined" / "long.json"
"""Refined texts of four captions, written for the book, as long as the prompt of :mod:`hoi_lib.llm` asks for."""


def rotated(refiner: Refiner) -> Refiner:
    """The same three texts, each told to the wrong group: the hand's group hears of the fingers, the fingers' of the
    joints, the joints' of the hand."""

    def refine(text: str, side: str | None = None) -> Refinement:
        levels = refiner(text, side)
        return Refinement(hand=levels.finger, finger=levels.joint, joint=levels.hand)

    return refine


def of_another_verb(refiner: Refiner, further: int = 6) -> Refiner:
    """The texts of the right object, hand and level for a wrong action: that ``further`` verbs down the vocabulary.

    Raises :class:`TextError` for a sentence without a verb of :data:`~hoi_lib.text.VERBS` or without a hand.
    """
    verbs = list(VERBS)

    def refine(text: str, side: str | None = None) -> Refinement:
        asked = parse(text)
        if asked.verb not in VERBS or asked.hands is None:
            raise TextError(f"{text!r} names no verb of the vocabulary or no hand: expected a caption.")
        other = verbs[(verbs.index(asked.verb) + further) % len(verbs)]
        return refiner(captions(other, asked.noun or "object", asked.hands).imperative, side)

    return refine


def similarity(texts: Sequence[str], encoder: TextEncoder) -> Float[Tensor, "n n"]:
    """The cosine between the pooled features of every two texts, 1 for those that mean the same to the encoder."""
    features = torch.nn.functional.normalize(encoder.encode(texts).pooled, dim=-1)
    return features @ features.T


def kinds_of_pairs(levels: int, actions: int) -> dict[str, Bool[Tensor, "n n"]]:
    """Which pairs of ``levels`` × ``actions`` texts, level by level, are of two actions at one level, of one action at
    two levels, and of neither; a text is no pair with itself."""
    level, action = (x.flatten() for x in torch.meshgrid(torch.arange(levels), torch.arange(actions), indexing="ij"))
    one_level, one_action = level[:, None] == level, action[:, None] == action
    return {
        "two actions, one level": one_level & ~one_action,
        "one action, two levels": ~one_level & one_action,
        "both different": ~one_level & ~one_action,
    }


def telling_words(text: str, others: Sequence[str]) -> list[tuple[str, bool]]:
    """The words of ``text`` in their order, each with whether it tells it apart: whether it stands, whatever its case
    and the marks around it, in none of the ``others``."""
    known = {_bare(word) for other in others for word in other.split()}
    return [(word, bool(others) and _bare(word) not in known) for word in text.split()]


def _bare(word: str) -> str:
    return re.sub(r"[\W_]+", "", word.lower())
