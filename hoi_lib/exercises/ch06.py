"""Checks of chapter 6, "Text refinement with a language model"."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from hoi_lib.exercises import exercise, require

GOOD = {
    "hand_level": "The right hand comes from the side and tilts the bottle.",
    "finger_level": "All five fingers wrap around the body below the neck.",
    "joint_level": "The knuckles bend deeply while the wrist rolls.",
}
FORECAST = {"cr": "unclear", "pen": "unclear", "mpjpe": "worse"}


@exercise(
    "cut_texts",
    chapter="06",
    hint="len(tokenizer(text)['input_ids']) counts the tokens of a text with both marks. read_refinements(EXAMPLES) "
    "holds the five hands; the longest text loses what it has beyond 77.",
    wrong=[[0, 3, 8], [0, 15, 22], [0, 5, 99], [0, 5, 20], [58, 5, 22], [0, 0, 0]],
)
def cut_texts(answer: Sequence[int]) -> None:
    """How many texts of either kind exceed CLIP's 77 tokens, and how many tokens does the longest of them lose?"""
    by_rules, longer, lost = answer
    require(by_rules == 0, "by_rules: count the tokens of the longest text by rules")
    require(longer != 3, "longer: words are not tokens; punctuation and the two marks count as well")
    require(longer == 5, "longer: another number of the fifteen texts has more than 77 tokens")
    require(lost != 99, "lost: that is how long it is; 77 tokens of it are read")
    require(lost == 22, "lost: the longest text has another number of tokens beyond 77, both marks included")


def _swapped(caption: str, side: str | None = None) -> Any:
    from hoi_lib.refiner import Refinement, refine

    levels = refine(caption, side)
    return Refinement(hand=levels.joint, finger=levels.hand, joint=levels.finger)


def _rotated(caption: str, side: str | None = None) -> Any:
    from hoi_lib.refiner import refine
    from hoi_lib.refinerstudy import rotated

    return rotated(refine)(caption, side)


def _unchanged(caption: str, side: str | None = None) -> Any:
    from hoi_lib.refiner import refine

    return refine(caption, side)


@exercise(
    "changed_places",
    chapter="06",
    hint="Refinement(hand=…, finger=…, joint=…) takes any three texts. For the forecast, look at the figure at the "
    "top: how far is a text from those that a group was trained on, and which metric compares with the recording?",
    wrong=[
        [_unchanged, FORECAST],
        [_swapped, FORECAST],
        [_rotated, FORECAST | {"mpjpe": "unclear"}],
        [_rotated, FORECAST | {"cr": "better"}],
        [_rotated, dict.fromkeys(FORECAST, "worse")],
        [_rotated, dict.fromkeys(FORECAST, "unclear")],
    ],
)
def changed_places(answer: Sequence) -> None:
    """Does the refiner tell each group the next level's text, and is the forecast what the record says?"""
    from hoi_lib.refiner import Refinement, refine

    refiner, forecast = answer
    caption = "Screw the bottle with left hand."
    right, found = refine(caption, "left"), refiner(caption, "left")
    require(isinstance(found, Refinement), "the refiner returns a Refinement")
    require(found.hand == right.finger, "the hand's group hears the finger text")
    require(found.finger == right.joint, "the finger's group hears the joint text")
    require(found.joint == right.hand, "the joint's group hears the hand text")
    for metric, good in (("cr", 1), ("pen", -1), ("mpjpe", -1)):
        require(forecast[metric] == _change(metric, good), f"{metric}: the record of five seeds says something else")


def _change(metric: str, good: int) -> str:
    """What the record with rotated levels says of a metric; ``good`` is +1 where more is better."""
    from hoi_lib import records

    change = records.book()["levels_rotated"]["curves"][f"difference/{metric}/seeds"]["value"]
    signs = {(good * x > 0) - (good * x < 0) for x in change}
    return {frozenset([1]): "better", frozenset([-1]): "worse"}.get(frozenset(signs), "unclear")


def _any_json(answer: str) -> bool:
    try:
        return isinstance(json.loads(answer), dict)
    except (ValueError, RecursionError):
        return False


def _keys_only(answer: str) -> bool:
    return _any_json(answer) and set(json.loads(answer)) == set(GOOD)


def _no_blanks(answer: str) -> bool:
    return _keys_only(answer) and all(isinstance(x, str) and x.strip() for x in json.loads(answer).values())


def _keys_among_others(answer: str) -> bool:
    return _any_json(answer) and set(GOOD) <= set(json.loads(answer)) and len(set(json.loads(answer).values())) == 3


@exercise(
    "validator",
    chapter="06",
    hint="json.loads reads more than objects: a list, a number and null are JSON as well. A value may be a number or a "
    "list, and neither has .strip(). Compare the stripped texts, not the raw ones.",
    wrong=[lambda answer: True, lambda answer: False, _any_json, _keys_only, _no_blanks, _keys_among_others],
)
def validator(answer: Callable) -> None:
    """Does the function accept every usable answer of a language model, refuse every other one, and never raise?"""
    require(answer(json.dumps(GOOD)) is True, "a good answer is refused, or the function does not return True")
    require(answer(json.dumps(GOOD, indent=2)) is True, "white space between the keys does no harm")
    for what, said in _nonsense().items():
        require(answer(said) is False, f"{what}: accepted, or the function does not return False")


def _nonsense() -> dict[str, str]:
    """Answers that cannot be used, by what is wrong with them."""
    objects = {
        "a key is missing": {k: v for k, v in GOOD.items() if k != "joint_level"},
        "a key too many": GOOD | {"note": "as you wished"},
        "a key misspelt": {k.replace("hand", "Hand"): v for k, v in GOOD.items()},
        "a blank level": GOOD | {"finger_level": " \n"},
        "an empty level": GOOD | {"hand_level": ""},
        "a number": GOOD | {"joint_level": 90},
        "a list of sentences": GOOD | {"finger_level": [GOOD["finger_level"]]},
        "an object in a level": GOOD | {"hand_level": {"text": GOOD["hand_level"]}},
        "null in a level": GOOD | {"joint_level": None},
        "two levels the same": GOOD | {"joint_level": GOOD["finger_level"]},
        "two levels the same but for white space": GOOD | {"joint_level": f" {GOOD['finger_level']}\n"},
        "no keys": {},
    }
    whole = json.dumps(GOOD)
    return {what: json.dumps(said) for what, said in objects.items()} | {
        "cut off": whole[:-30],
        "prose": "I cannot help with that.",
        "prose around it": f"Here you are: {whole}",
        "nothing": "",
        "a list": f"[{whole}]",
        "a number alone": "3",
        "null": "null",
        "a string": json.dumps(whole),
        "brackets without end": "[" * 100_000,
    }
