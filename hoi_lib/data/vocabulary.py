"""The words of the recorded sets: verbs, objects, their pairs, and captions as Text2HOI writes them.

A caption here has no article ("Grab book with right hand."); its imperative form is the *key* under which Text2HOI
counts clips and balances its sampling. Where the published sentences have a slip of the pen, ours are right, and
``slips=True`` gives theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

from hoi_lib.errors import TextError
from hoi_lib.text import HANDS, Captions, Forms, forms


@dataclass(frozen=True)
class Vocabulary:
    """What people do with what in one recorded set.

    ``verbs`` maps a verb to its word forms and ``objects`` the key of an object in the set's files to its word in
    captions. ``pairs`` are (verb, word) as published, empty where no list was; ``skipped`` those that are left out.
    ``renames`` maps a verb in the set's files to ours, ``slips`` a verb to its published slips by form ("gerund",
    "third", or "passive", that one with its auxiliary).
    """

    verbs: dict[str, Forms]
    objects: dict[str, str]
    pairs: tuple[tuple[str, str], ...] = ()
    renames: dict[str, str] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    slips: dict[str, dict[str, str]] = field(default_factory=dict)

    def verb(self, raw: str) -> str:
        """The verb that the set's files call ``raw``."""
        return self.renames.get(raw, raw)

    def word(self, raw: str) -> str:
        """The word in captions for the object that the set's files call ``raw``; the key itself if it has none."""
        return self.objects.get(raw, raw)

    @property
    def words(self) -> tuple[str, ...]:
        """The words for objects, sorted, each once."""
        return tuple(sorted(set(self.objects.values())))


def _pairs(verbs: str, words: str) -> tuple[tuple[str, str], ...]:
    """Every verb of a comma-separated list with every word of a blank-separated one."""
    return tuple(product((verb.strip() for verb in verbs.split(",")), words.split()))


def _forms(pairs: tuple[tuple[str, str], ...]) -> dict[str, Forms]:
    return {verb: forms(verb) for verb, _ in pairs}


def _same(words: str) -> dict[str, str]:
    return {word: word for word in words.split()}


_HINGED = "box capsulemachine ketchup laptop microwave mixer notebook phone waffleiron"
_ARCTIC = (
    *_pairs("close", _HINGED),
    ("cut", "scissors"),
    *_pairs("grasp, lift", f"{_HINGED} scissors"),
    *_pairs("open", _HINGED),
    ("operate", "microwave"),
    *_pairs("place", f"{_HINGED} scissors"),
    ("point", "notebook"),
    *_pairs("shake, sprinkle", "ketchup"),
    *_pairs("type", "laptop phone"),
)

# object ids 1–8 and action ids 1–36, in the order of the set's own labels
H2O_OBJECTS = ("book", "espresso", "lotion", "spray", "milk", "cocoa", "chips", "cappuccino")
H2O_ACTIONS = (
    *_pairs("grab, place", " ".join(H2O_OBJECTS)),
    *_pairs("open, close", "lotion milk chips"),
    ("pour", "milk"),
    *_pairs("take out", "espresso cocoa chips cappuccino"),
    *_pairs("put in", "espresso cocoa cappuccino"),
    *_pairs("apply", "lotion spray"),
    *_pairs("read", "book espresso"),
    ("spray", "spray"),
    ("squeeze", "lotion"),
)

_GRAB_VERBS = (
    "hand over", "browse", "brush", "call", "chop", "clean", "cook", "drink", "eat", "fly", "inspect", "lift", "open",
    "pass", "peel", "play", "pour", "screw", "see", "set", "shake", "squeeze", "stamp", "staple", "switch on",
    "take picture", "toast", "use", "wear",
)  # fmt: skip
_GRAB_OBJECTS = {
    **_same(
        "airplane apple banana binoculars body bowl camera coffeemug cubemiddle cup doorknob duck elephant eyeglasses "
        "flashlight flute hammer hand headphones knife mouse mug phone rubberduck scissors stamp stapler table teapot "
        "toothbrush toothpaste train watch wineglass wristwatch"
    ),
    **{f"{shape}{size}": shape for shape in ("cube", "cylinder", "pyramid", "sphere", "torus")
       for size in ("large", "medium", "small")},
    "alarmclock": "alarm clock", "fryingpan": "frying pan", "gamecontroller": "game controller",
    "lightbulb": "light bulb", "piggybank": "piggy bank", "stanfordbunny": "stanford bunny",
    "waterbottle": "water bottle",
}  # fmt: skip

VOCABULARIES: dict[str, Vocabulary] = {
    "arctic": Vocabulary(
        _forms(_ARCTIC),
        _same(f"{_HINGED} scissors"),
        _ARCTIC,
        skipped=(("write", "notebook"), ("operate", "waffleiron"), ("push", "capsulemachine")),
    ),
    "grab": Vocabulary(
        {verb: forms(verb) for verb in _GRAB_VERBS},
        _GRAB_OBJECTS,
        renames={"offhand": "hand over", "switchON": "switch on", "takepicture": "take picture"},
        slips={"hand over": {"passive": "handed over"}, "take picture": {"passive": "is pictured"}},
    ),
    "h2o": Vocabulary(
        _forms(H2O_ACTIONS),
        _same(" ".join(H2O_OBJECTS)),
        H2O_ACTIONS,
        slips={"open": {"gerund": "openning"}, "take out": {"third": "takes take"}},
    ),
}


def caption_forms(set_name: str, verb: str, word: str, hands: str, slips: bool = False) -> Captions:
    """The four published forms of a caption: imperative, gerund, active, passive.

    ``verb`` is the verb after renaming, ``word`` the object's word, ``hands`` "left", "right" or "both", else
    :class:`TextError`. A set or a verb that :data:`VOCABULARIES` does not list is written by the same rules.

    >>> caption_forms("h2o", "take out", "cocoa", "right").active
    'Right hand takes out cocoa.'
    """
    if hands not in HANDS:
        raise TextError(f"hands {hands!r}: expected left, right or both.")
    known = VOCABULARIES.get(set_name)
    words = known.verbs.get(verb, forms(verb)) if known else forms(verb)
    slip: Mapping[str, str] = known.slips.get(verb, {}) if known and slips else {}
    who = "both hands" if hands == "both" else f"{hands} hand"
    doing = words.base if hands == "both" else slip.get("third", words.third)
    passive = slip.get("passive", f"is {words.participle}")
    return Captions(
        f"{words.base} {word} with {who}.".capitalize(),
        f"{slip.get('gerund', words.gerund)} {word} with {who}.".capitalize(),
        f"{who.capitalize()} {doing} {word}.",
        f"{word} {passive} with {who}.".capitalize(),
    )


def key(verb: str, word: str, hands: str) -> str:
    """The text key of Text2HOI: the imperative, first letter upper and all others lower case.

    >>> key("grab", "book", "both")
    'Grab book with both hands.'
    """
    return caption_forms("", verb, word, hands).imperative


def hands_of(sides: Mapping[str, object] | set[str] | tuple[str, ...]) -> str:
    """ "left", "right" or "both" for the sides that take part."""
    return "both" if len(sides) == 2 else next(iter(sides))
