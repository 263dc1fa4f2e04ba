"""Sentences: the four forms of a caption, and what a sentence asks for.

A caption names a verb, an object and the hands that take part. :mod:`hoi_lib.refiner` turns it into descriptions of
hand, fingers and joints; :mod:`hoi_lib.encoders` turns both into numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from hoi_lib.errors import TextError

HANDS = ("left", "right", "both")


@dataclass(frozen=True)
class Forms:
    """The word forms of a verb: base ("pour"), gerund ("pouring"), third person ("pours"), participle ("poured")."""

    base: str
    gerund: str
    third: str
    participle: str


VERBS: dict[str, Forms] = {
    "grasp": Forms("grasp", "grasping", "grasps", "grasped"),
    "lift": Forms("lift", "lifting", "lifts", "lifted"),
    "place": Forms("place", "placing", "places", "placed"),
    "pour": Forms("pour", "pouring", "pours", "poured"),
    "shake": Forms("shake", "shaking", "shakes", "shaken"),
    "inspect": Forms("inspect", "inspecting", "inspects", "inspected"),
    "screw": Forms("screw", "screwing", "screws", "screwed"),
    "squeeze": Forms("squeeze", "squeezing", "squeezes", "squeezed"),
    "press": Forms("press", "pressing", "presses", "pressed"),
    "open": Forms("open", "opening", "opens", "opened"),
    "close": Forms("close", "closing", "closes", "closed"),
    "hand over": Forms("hand over", "handing over", "hands over", "handed over"),
}

# what recorded sets have people do beside that; the forms follow from :func:`forms`
FURTHER_VERBS = (
    "cut", "operate", "point", "sprinkle", "type", "browse", "brush", "call", "chop", "clean", "cook", "drink", "eat",
    "fly", "peel", "play", "see", "set", "stamp", "staple", "switch on", "take picture", "toast", "use", "wear",
    "take out", "put in", "apply", "read", "spray",
)  # fmt: skip
PARTICIPLES = {
    "cut": "cut", "shake": "shaken", "put": "put", "take": "taken", "drink": "drunk", "eat": "eaten", "fly": "flown",
    "see": "seen", "set": "set", "read": "read", "wear": "worn", "hold": "held", "give": "given", "write": "written",
    "throw": "thrown", "spin": "spun", "swing": "swung", "catch": "caught", "break": "broken", "hit": "hit",
}  # fmt: skip

# words a user may choose for a verb of the vocabulary; longer phrases are tried first
SYNONYMS = {
    "pick up": "lift", "raise": "lift", "take": "grasp", "grab": "grasp", "hold": "grasp", "grip": "grasp",
    "put down": "place", "put": "place", "set down": "place", "tilt": "pour", "rattle": "shake", "look at": "inspect",
    "examine": "inspect", "turn over": "inspect", "twist": "screw", "unscrew": "screw", "push": "press", "tap": "press",
    "shut": "close", "give": "hand over", "pass": "hand over",
}  # fmt: skip
MISSPELT = {"openning": "open", "takes take": "take out", "pictured": "take picture"}  # in published captions
OBJECT_SYNONYMS = {
    "cup": "mug", "tin": "can", "sphere": "ball", "cube": "box", "flask": "bottle", "smartphone": "phone",
    "dish": "bowl", "mallet": "hammer", "computer": "laptop", "book": "notebook", "chest": "lidded box",
    "scissors": "pliers",
}  # fmt: skip
# further things that recorded sets have people take; words that mean something else as well stand in LOOSE_OBJECTS
FURTHER_OBJECTS = (
    "capsulemachine", "ketchup", "microwave", "mixer", "waffleiron", "espressomachine", "airplane", "apple", "banana",
    "binoculars", "camera", "coffeemug", "doorknob", "duck", "elephant", "eyeglasses", "flashlight", "flute",
    "headphones", "knife", "mouse", "rubberduck", "stapler", "teapot", "toothbrush", "toothpaste", "wineglass",
    "wristwatch", "cylinder", "pyramid", "torus", "alarm clock", "frying pan", "game controller", "light bulb",
    "piggy bank", "stanford bunny", "water bottle", "cubemiddle", "espresso", "lotion", "milk", "cocoa", "chips",
    "cappuccino",
)  # fmt: skip
LOOSE_OBJECTS = ("hand", "body", "table", "train", "watch", "stamp", "spray")
CATEGORIES = (
    "ball", "box", "can", "bottle", "mug", "bowl", "hammer", "phone", "laptop", "lidded box", "notebook", "pliers",
)  # fmt: skip
PLURALS = ("pliers",)
PREPARING = ("grasp", "lift", "use", "see", "set")  # "pick up the mug and pour" asks for pouring


@dataclass(frozen=True)
class Captions:
    """One meaning in four forms, as Text2HOI writes its training sentences."""

    imperative: str
    gerund: str
    active: str
    passive: str

    def __iter__(self):
        return iter((self.imperative, self.gerund, self.active, self.passive))


@dataclass(frozen=True)
class Parsed:
    """What a sentence asks for; None where it does not say.

    ``verb`` and ``object`` are words of the vocabulary, ``noun`` is the object in the sentence's own word ("cup" where
    ``object`` is "mug"), ``hands`` "left", "right" or "both".
    """

    verb: str | None
    object: str | None
    hands: str | None
    noun: str | None = None


def forms(verb: str) -> Forms:
    """The word forms of any verb: those of :data:`VERBS`, else by the rules of English spelling.

    What follows the first word is carried along: "switch on" gives "switching on". A verb that names its own object
    has a passive of its own.

    >>> forms("take out").gerund, forms("grab").participle
    ('taking out', 'grabbed')
    """
    if verb in VERBS:
        return VERBS[verb]
    head, *tail = verb.split(" ")
    rest = "".join(f" {word}" for word in tail)
    stem = head + head[-1] if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", head) else head
    gerund = f"{stem[:-1] if re.search('[^eoy]e$', stem) else stem}ing{rest}"
    third = f"{_with_ies(head)}{'es' if re.search('(s|x|z|ch|sh|o)$', head) else 's'}{rest}"
    regular = f"{_with_ies(stem).removesuffix('e')}ed"
    participle = "used to take picture" if verb == "take picture" else PARTICIPLES.get(head, regular) + rest
    return Forms(verb, gerund, third, participle)


def _with_ies(word: str) -> str:
    """The stem to which -s and -d are added: a y after a consonant becomes ie."""
    return re.sub("([^aeiou])y$", r"\1ie", word)


def captions(verb: str, category: str, hands: str) -> Captions:
    """The four forms for a verb of :data:`VERBS`, an object word and "left", "right" or "both".

    >>> captions("pour", "bottle", "right").imperative
    'Pour the bottle with right hand.'
    """
    if verb not in VERBS:
        raise TextError(f"verb {verb!r} is not in the vocabulary: expected one of {', '.join(VERBS)}.")
    if hands not in HANDS:
        raise TextError(f"hands {hands!r}: expected left, right or both.")
    forms, noun = VERBS[verb], category.replace("_", " ")
    who = "both hands" if hands == "both" else f"{hands} hand"
    doing = forms.base if hands == "both" else forms.third
    return Captions(
        f"{forms.base.capitalize()} the {noun} with {who}.",
        f"{forms.gerund.capitalize()} the {noun} with {who}.",
        f"{who.capitalize()} {doing} the {noun}.",
        f"The {noun} {'are' if noun in PLURALS else 'is'} {forms.participle} with {who}.",
    )


def parse(text: str) -> Parsed:
    """Find the verb, the object word and the hands in a sentence, in any of the four forms or with a common synonym.

    Where several verbs are named, one that only prepares (grasp, lift) gives way to the other. Raises
    :class:`TextError` for a sentence without a single letter.
    """
    if not re.search(r"[^\W\d_]", text):
        raise TextError(
            f"the text {text!r} holds no words: expected a sentence.",
            'Write one such as "Pour the bottle with right hand."',
            "chapter 4, “Captions”",
        )
    words = " ".join(re.findall(r"[^\W_]+", text.lower()))
    telling = _without_hands(words)
    verbs = [verb for verb, _ in _find(_LEADING_NOUN.sub("", telling), _verb_phrases())]
    acting = [v for i, v in enumerate(verbs) if v not in PREPARING and (i == 0 or v not in LOOSE_OBJECTS)]
    verb = (acting or verbs or [None])[0]
    nouns = _find(re.sub(r"\bhand(?:s|ed|ing)? over\b", " ", telling), _nouns())
    firm = [pair for pair in nouns if pair[0] not in LOOSE_OBJECTS] or [pair for pair in nouns if pair[0] != verb]
    thing, noun = (firm or nouns or [(None, None)])[0]
    return Parsed(verb, thing, _hands(words), noun)


@cache
def known_verbs() -> tuple[str, ...]:
    """Every verb whose forms a sentence is searched for, those of :data:`VERBS` first."""
    return (*VERBS, *FURTHER_VERBS)


@cache
def _verb_phrases() -> dict[str, str]:
    phrases = SYNONYMS | MISSPELT
    for verb in known_verbs():
        named = forms(verb)
        phrases |= dict.fromkeys((named.base, named.gerund, named.third, named.participle), verb)
    for verb in SYNONYMS:
        named = forms(verb)
        phrases = dict.fromkeys((named.gerund, named.third, named.participle), SYNONYMS[verb]) | phrases
    return phrases


@cache
def _nouns() -> dict[str, str]:
    own = (*CATEGORIES, *FURTHER_OBJECTS, *LOOSE_OBJECTS)
    return {**{word: word for word in own}, **OBJECT_SYNONYMS}


def _find(words: str, phrases: Mapping[str, str]) -> list[tuple[str, str]]:
    """(value, phrase) of the phrases in ``words``, in their order there; a longer phrase hides those inside it."""
    found = _pattern(tuple(phrases)).finditer(words)
    return [(phrases[m.group(1)], m.group(1)) for m in found]


@cache
def _pattern(phrases: tuple[str, ...]) -> re.Pattern:
    alternatives = "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True))
    return re.compile(rf"\b({alternatives})(?:e?s)?\b")


def _without_hands(words: str) -> str:
    """Take out the hands, lest "right hand" be read as a verb, and write "hand the ball over" in one piece."""
    words = re.sub(r"\b(?:(?:both|two|left|right) hands?|with (?:my |your |the )?hands?)\b(?! over)", " ", words)
    return re.sub(r"\b(hand(?:s|ing|ed)?) ((?:(?!(?:is|are|hand\w*) )\w+ ){1,4}?)over\b", r"\1 over \2", words)


# "Stamp is passed" tells of no stamping
_LEADING_NOUN = re.compile(rf"^(?:{'|'.join(LOOSE_OBJECTS)}) (?=(?:is|are|handed) )")


def _hands(words: str) -> str | None:
    if re.search(r"\b(?:both|two) hands\b", words) or (
        re.search(r"\bleft\b", words) and re.search(r"\bright\b", words)
    ):
        return "both"
    side = re.search(r"\b(left|right)\b", words)
    return side.group(1) if side else None
