"""Sentences: the four caption forms, what a sentence asks for, and its refinement for hand, finger and joint.

A caption names a verb, an object and the hands that take part. The *refiner* turns it into three descriptions, one
per expert group, by the three principles of MoEG-HOI section 3.3: hierarchical (hand, finger, joint), coarse to fine,
and specific about the touched part and the other hand. ``rules`` writes them from tables, offline and always the
same; ``file`` reads them from JSON in the layout of the paper's release.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hoi_lib.errors import ConfigError, TextError

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

# words a user may choose for a verb of the vocabulary; longer phrases are tried first
SYNONYMS = {
    "pick up": "lift", "raise": "lift", "take": "grasp", "grab": "grasp", "hold": "grasp", "grip": "grasp",
    "put down": "place", "put": "place", "set down": "place", "tilt": "pour", "rattle": "shake", "look at": "inspect",
    "examine": "inspect", "turn over": "inspect", "twist": "screw", "unscrew": "screw", "push": "press", "tap": "press",
    "shut": "close", "give": "hand over", "pass": "hand over",
}  # fmt: skip
OBJECT_SYNONYMS = {
    "cup": "mug", "tin": "can", "sphere": "ball", "cube": "box", "flask": "bottle", "smartphone": "phone",
    "dish": "bowl", "mallet": "hammer", "computer": "laptop", "book": "notebook", "chest": "lidded box",
    "scissors": "pliers",
}  # fmt: skip
CATEGORIES = (
    "ball", "box", "can", "bottle", "mug", "bowl", "hammer", "phone", "laptop", "lidded box", "notebook", "pliers",
)  # fmt: skip
PLURALS = ("pliers",)
PREPARING = ("grasp", "lift")  # "pick up the mug and pour" asks for pouring


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
    """What a sentence asks for; None where it does not say."""

    verb: str | None
    object: str | None
    hands: str | None


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
    found = _find(words, _verb_phrases())
    acting = [verb for verb in found if verb not in PREPARING]
    nouns = _find(words, {**{c: c for c in CATEGORIES}, **OBJECT_SYNONYMS})
    return Parsed((acting or found or [None])[0], (nouns or [None])[0], _hands(words))


def _verb_phrases() -> dict[str, str]:
    phrases = dict(SYNONYMS)
    for verb, forms in VERBS.items():
        phrases |= dict.fromkeys((forms.base, forms.gerund, forms.third, forms.participle), verb)
    return phrases


def _find(words: str, phrases: Mapping[str, str]) -> list[str]:
    """Values of the phrases that occur in ``words``, in their order there; a longer phrase hides those inside it."""
    alternatives = "|".join(re.escape(p) for p in sorted(phrases, key=len, reverse=True))
    return [phrases[m.group(1)] for m in re.finditer(rf"\b({alternatives})(?:e?s)?\b", _join_hand_over(words))]


def _join_hand_over(words: str) -> str:
    """Take out the hands, lest "right hand" be read as a verb, and write "hand the ball over" in one piece."""
    words = re.sub(r"\b(?:both|two|left|right) hands?\b(?! over)", " ", words)
    return re.sub(r"\b(hand(?:s|ing|ed)?) ((?:\w+ ){1,4}?)over\b", r"\1 over \2", words)


def _hands(words: str) -> str | None:
    if re.search(r"\b(?:both|two) hands\b", words) or (
        re.search(r"\bleft\b", words) and re.search(r"\bright\b", words)
    ):
        return "both"
    side = re.search(r"\b(left|right)\b", words)
    return side.group(1) if side else None


@dataclass(frozen=True)
class Refinement:
    """Three descriptions of one interaction, from coarse to fine: one for each expert group."""

    hand: str
    finger: str
    joint: str


# family: (fingers that work, how they lie, how the joints bend)
FAMILIES = {
    "power": (
        "all five fingers",
        "wrap around {part}, the thumb closing against the index and middle finger",
        "knuckles, middle and end joints of the four fingers bend deeply and evenly; the thumb base swings inwards",
    ),
    "pinch": (
        "thumb and index finger",
        "meet on opposite sides of {part} with their tips, the other fingers staying loosely curled",
        "the index knuckle bends by half, its end joints slightly; the thumb base turns to face the index tip",
    ),
    "tripod": (
        "thumb, index and middle finger",
        "hold {part} between three tips while ring and little finger curl away",
        "index and middle knuckles bend by half, their end joints slightly; the thumb end joint stays almost straight",
    ),
    "press": (
        "the index finger",
        "lays its tip on {part} while the others fold into the palm",
        "the index joints stay nearly straight; the other knuckles and middle joints bend fully",
    ),
    "hook": (
        "the four fingers",
        "hook through {part} with their inner pads, the thumb resting on top",
        "the middle joints bend deeply, the knuckles little; the thumb end joint presses down",
    ),
    "lateral": (
        "the thumb and the side of the index finger",
        "clamp {part} between the thumb pad and the index finger's side",
        "the index joints bend in a firm arch; the thumb end joint is straight and pushes sideways",
    ),
}
# verb: (motion of the whole hand, change of the fingers, change of the joints, usual family)
VERB_RULES = {
    "grasp": ("reaches for {object} and holds it still", "close at one pace", "bend until contact, then rest", "power"),
    "lift": ("takes {object} and carries it straight up", "keep their hold", "stay fixed while it rises", "power"),
    "place": ("carries {object} across and sets it down", "let go last", "open slowly at the end", "power"),
    "pour": ("takes {object} and tilts it sideways to pour", "keep their hold", "stay fixed; the wrist rolls", "power"),
    "shake": ("takes {object} and shakes it to and fro", "grip firmly", "stay stiff; the wrist swings", "power"),
    "inspect": ("raises {object} and turns it before the eyes", "hold lightly", "stay almost still", "tripod"),
    "screw": ("turns {object} about its upright axis", "roll it between them", "bend and stretch in turn", "tripod"),
    "squeeze": ("holds {object} and squeezes it", "press inwards together", "bend a little more, then ease", "power"),
    "press": ("comes from above and presses {object}", "push down and lift off", "give slightly under load", "press"),
    "open": ("takes the moving part of {object} and opens it", "follow the hinge", "ease as it swings out", "pinch"),
    "close": ("takes the moving part of {object} and closes it", "follow the hinge", "bend as it swings in", "pinch"),
    "hand over": ("takes {object} and reaches it to someone", "open at the end", "straighten to let go", "power"),
}
PARTS = {
    "mug": "the body beside the handle", "hammer": "the handle", "bottle": "the body below the neck", "bowl": "the rim",
    "laptop": "the front edge of the screen", "lidded box": "the rim of the lid", "notebook": "the edge of the cover",
    "pliers": "the two grips", "phone": "the long edges",
}  # fmt: skip
UNKNOWN_VERB = ("moves with {object} as told: {text}", "adapt to its shape", "bend until contact", "power")


def refine(text: str, family: str | None = None) -> Refinement:
    """Rewrite a caption as three descriptions, by rules alone: same text, same answer.

    ``family`` names the grasp family where the data know it (a key of :data:`FAMILIES`); otherwise the verb decides.
    """
    if family is not None and family not in FAMILIES:
        raise TextError(f"grasp family {family!r}: expected one of {', '.join(FAMILIES)}.")
    parsed = parse(text)
    motion, fingers, joints, usual = VERB_RULES.get(parsed.verb, UNKNOWN_VERB)
    noun = parsed.object or "object"
    workers, hold, bend = FAMILIES[family or usual]
    who = {"both": "Both hands work together: each", "left": "The left hand", "right": "The right hand"}
    rest = {
        "both": "One hand steadies, the other acts.",
        "left": "The right hand rests.",
        "right": "The left hand rests.",
    }
    whole = motion.format(object=f"the {noun}", text=text.strip().rstrip("."))
    part = PARTS.get(noun, f"the body of the {noun}")
    return Refinement(
        f"{who.get(parsed.hands, 'The hand')} {whole}. {rest.get(parsed.hands, '')}".strip(),
        f"{workers[0].upper()}{workers[1:]} {hold.format(part=part)}; they {fingers}.",
        f"{bend[0].upper()}{bend[1:]}; then the joints {joints}.",
    )


def read_refinements(path: str | Path) -> dict[tuple[str, str], Refinement]:
    """Read refined texts from JSON in the layout of the paper's release: {(text, side): Refinement}.

    Entries hold ``text`` and ``lh_refine_text`` / ``rh_refine_text`` with ``hand_level``, ``finger_level`` and
    ``joint_level``; a side that takes no part may be missing or null. Raises :class:`TextError` naming the entry.
    """
    path = Path(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TextError(f"{path}: {error.strerror}.", "Give the JSON file with the refined texts.") from None
    except ValueError as error:
        raise TextError(f"{path}: no JSON ({error}).", "Expected the layout of the release.") from None
    if not isinstance(entries, dict):
        raise TextError(f"{path}: expected an object of entries, got {type(entries).__name__}.")
    refined = {}
    for key, entry in entries.items():
        for side, field in (("left", "lh_refine_text"), ("right", "rh_refine_text")):
            levels = entry.get(field) if isinstance(entry, dict) else None
            if levels:
                refined[(_field(entry, "text", path, key), side)] = Refinement(
                    *(_field(levels, f"{level}_level", path, f"{key}.{field}") for level in ("hand", "finger", "joint"))
                )
    if not refined:
        raise TextError(f"{path}: no entry holds refined texts.", "Expected lh_refine_text or rh_refine_text.")
    return refined


def _field(entry: object, name: str, path: Path, key: str) -> str:
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise TextError(f"{path}: {key}.{name} is missing or empty: expected a sentence.")
    return value


def refinement_for(text: str, method: str = "rules", path: str | Path | None = None, side: str = "right") -> Refinement:
    """Refine with the named ``method``: "rules", or "file" with its ``path``."""
    if method == "rules":
        return refine(text)
    if method != "file":
        raise ConfigError(f"refiner {method!r}: expected rules or file.")
    if path is None:
        raise ConfigError("the refiner file needs a path.", "Pass --file refined.json.")
    table = read_refinements(path)
    if (text, side) not in table:
        raise TextError(
            f"{path}: no refined text for {text!r} with the {side} hand.", "Use --with rules for new sentences."
        )
    return table[(text, side)]
