"""The refiner: from a caption to three descriptions, one for each expert group (MoEG-HOI, section 3.3).

Three principles rule all of them: *hierarchical* (one text for the hand, one for its fingers, one for their joints),
*coarse to fine* (from the pose as a whole to local detail, in the order of the motion), and *specific* (which part of
the object is touched, and what the other hand does). There are three ways to get them:

- ``rules`` writes them from tables of verb, grasp family and object part: offline, and always the same;
- ``file`` reads them from JSON in the layout of the paper's release;
- ``llm`` asks a language model (:mod:`hoi_lib.llm`) and remembers every answer.

>>> refiner_for("rules")("Pour the mug with right hand.", "right").finger
'All five fingers wrap around the body beside the handle, the thumb closing against the index and middle finger; \
they keep their hold.'
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from tqdm import tqdm

from hoi_lib import records
from hoi_lib.errors import ConfigError, OutputError, TextError
from hoi_lib.motion import SIDES
from hoi_lib.text import parse

METHODS = ("rules", "file", "llm")
LEVELS = ("hand", "finger", "joint")
QUIET = 2.0  # seconds before a progress bar appears
CHAPTER = "chapter 6, “By a language model”"


@dataclass(frozen=True)
class Refinement:
    """Three descriptions of one interaction, from coarse to fine: one for each expert group."""

    hand: str
    finger: str
    joint: str


Refiner = Callable[..., Refinement]  # (text, side) → Refinement; side "left", "right" or None: the one that is named


class RefinerError(TextError):
    """The refiner itself cannot work (no such model, no network): another sentence would fare no better."""


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
    "spread": (
        "the tips of all five fingers",
        "spread round {part} and close on it from every side",
        "the knuckles bend by half, the end joints slightly; the thumb base turns to face the middle finger",
    ),
    "edge": (
        "the thumb and the four fingers",
        "close over {part}, the thumb on one face and the fingertips on the other",
        "the knuckles bend deeply, the other finger joints stay almost straight; the thumb lies straight against them",
    ),
    "handle": (
        "index, middle and ring finger",
        "go round {part} while the thumb presses on it from above",
        "middle joints bend deeply and the knuckles more than half; the thumb end joint stays almost straight",
    ),
    "clamp": (
        "the palm and the flat fingers",
        "lie along one side of {part} and press it towards the other hand",
        "all finger joints stay almost straight; the thumb base rests beside the index finger",
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
# what recorded sets add to that
VERB_RULES |= {
    "cut": ("opens and shuts {object} to cut", "open and close together", "stretch and bend in turn", "handle"),
    "operate": ("reaches out and works the controls of {object}", "push and turn", "give slightly under load", "press"),
    "point": ("comes near and points at {object}", "hold still as it points", "stay as they are", "press"),
    "sprinkle": ("turns {object} over and shakes it gently", "grip firmly", "stay stiff; the wrist swings", "power"),
    "type": ("hovers above {object} and types", "tap down one after the other", "dip and rise in turn", "press"),
    "browse": ("holds {object} and pages through it", "slide along and turn over", "bend and stretch lightly", "pinch"),
    "brush": ("leads {object} to the mouth and moves it to and fro", "keep their hold", "stay fixed", "lateral"),
    "call": ("raises {object} to the ear and holds it there", "keep their hold", "stay fixed", "power"),
    "chop": ("raises {object} and brings it down again and again", "grip firmly", "stay stiff", "handle"),
    "clean": ("takes {object} and wipes over it", "rub along the surface", "bend and stretch lightly", "pinch"),
    "cook": ("holds {object} level and swings it", "grip firmly", "stay stiff; the wrist swings", "handle"),
    "drink": ("raises {object} to the mouth and tilts it", "keep their hold", "stay fixed; the wrist rolls", "power"),
    "eat": ("raises {object} to the mouth", "hold lightly", "stay almost still", "tripod"),
    "fly": ("lifts {object} and lets it glide through the air", "hold lightly", "stay almost still", "tripod"),
    "peel": ("holds {object} and strips its skin off", "pinch and pull", "bend as they pull", "pinch"),
    "play": ("holds {object} and plays with it", "press down in turn", "dip and rise in turn", "tripod"),
    "see": ("raises {object} to the eyes", "hold lightly", "stay almost still", "tripod"),
    "set": ("takes {object} and sets it", "turn its small parts", "bend and stretch in turn", "pinch"),
    "stamp": ("lifts {object} and presses it down", "grip firmly", "stay stiff under the load", "power"),
    "staple": ("presses {object} together from above", "push down and ease", "give slightly under load", "press"),
    "switch on": ("holds {object} and presses its switch", "push down and lift off", "give under load", "power"),
    "take picture": ("raises {object} to the eyes and presses its release", "hold it level", "stay still", "tripod"),
    "toast": ("raises {object} and moves it forward", "keep their hold", "stay fixed", "power"),
    "use": ("takes {object} and does with it what it is made for", "keep their hold", "stay fixed", "power"),
    "wear": ("carries {object} to the body and puts it on", "spread as it slides on", "stretch slowly", "pinch"),
    "take out": ("reaches in, takes {object} and draws it out", "keep their hold", "stay fixed as it rises", "power"),
    "put in": ("carries {object} in and sets it down", "let go last", "open slowly at the end", "power"),
    "apply": ("holds {object} and spreads it on the other hand", "press lightly", "give under load", "power"),
    "read": ("holds {object} open before the eyes", "keep it open", "stay almost still", "edge"),
    "spray": ("aims {object} and presses its head", "push down and ease", "bend a little more, then ease", "power"),
}
PARTS = {
    "mug": "the body beside the handle", "hammer": "the handle", "bottle": "the body below the neck", "bowl": "the rim",
    "laptop": "the front edge of the screen", "lidded box": "the rim of the lid", "notebook": "the edge of the cover",
    "pliers": "the two grips", "phone": "the long edges", "knife": "the handle", "frying pan": "the handle",
    "teapot": "the handle", "wineglass": "the stem", "toothbrush": "the handle", "headphones": "the two shells",
    "coffeemug": "the body beside the handle", "camera": "the two sides", "eyeglasses": "the two temples",
}  # fmt: skip
UNKNOWN_VERB = ("moves with {object} as told: {text}", "adapt to its shape", "bend until contact", "power")


@lru_cache(maxsize=4096)
def refine(text: str, side: str | None = None, family: str | None = None) -> Refinement:
    """Rewrite a caption as three descriptions, by rules alone: same text, same answer.

    ``side`` says which hand is meant; without it the text decides. ``family`` names the grasp family where the data
    know it (a key of :data:`FAMILIES`); otherwise the verb decides. Raises :class:`TextError` for a text without words.
    """
    if family is not None and family not in FAMILIES:
        raise TextError(f"grasp family {family!r}: expected one of {', '.join(FAMILIES)}.")
    parsed = parse(text)
    motion, fingers, joints, usual = VERB_RULES.get(parsed.verb, UNKNOWN_VERB)
    noun = parsed.noun or "object"
    workers, hold, bend = FAMILIES[family or usual]
    part = PARTS.get(parsed.object, f"the body of the {noun}")
    who, meanwhile = _hands(parsed.hands, side)
    return Refinement(
        f"{who} {motion.format(object=f'the {noun}', text=text.strip().rstrip('.'))}. {meanwhile}".strip(),
        f"{workers[0].upper()}{workers[1:]} {hold.format(part=part)}; they {fingers}.",
        f"{bend[0].upper()}{bend[1:]}; then the joints {joints}.",
    )


def _hands(named: str | None, side: str | None) -> tuple[str, str]:
    """Who acts, and what the other hand does, when the text names ``named`` and the hand ``side`` is described."""
    acting = named if side is None else side
    if named == "both":
        other = {"left": "right", "right": "left"}.get(acting)
        together = f"Together with the {other} hand, the {side} hand" if other else "Both hands work together: each"
        return together, "One hand steadies, the other acts."
    if acting is None:
        return "The hand", ""
    return f"The {acting} hand", f"The {'left' if acting == 'right' else 'right'} hand rests."


def side_of(text: str) -> str:
    """The hand whose refinement is meant when nobody says so: the one that the text names, else the right one."""
    hands = parse(text).hands
    return hands if hands in SIDES else "right"


def refiner_for(
    method: str = "rules",
    path: str | Path | None = None,
    model: str | None = None,
    url: str | None = None,
) -> Refiner:
    """The refiner called ``method``: a function of a text and a side that gives a :class:`Refinement`.

    ``path`` is the JSON of ``file``; ``model`` and ``url`` are those of ``llm`` (see :func:`hoi_lib.llm.endpoint`).
    Raises :class:`ConfigError` for another method or an option that does not belong to it.
    """
    if method not in METHODS:
        raise ConfigError(f"refiner {method!r}: expected {', '.join(METHODS)}.")
    if method != "llm" and (model or url):
        raise ConfigError(f"the refiner {method} has no model and no address.", "They belong to the refiner llm.")
    if method != "file" and path is not None:
        raise ConfigError(f"the refiner {method} reads no file.", "A file belongs to the refiner file.")
    if method == "rules":
        return refine
    if method == "llm":
        from hoi_lib.llm import ChatRefiner, endpoint

        return ChatRefiner(endpoint(url, model))
    if path is None:
        raise ConfigError("the refiner file needs a path.", "Pass --file refined.json.")
    return FileRefiner(path)


class FileRefiner:
    """Looks refinements up in a JSON file in the layout of the release (:func:`read_refinements`)."""

    def __init__(self, path: str | Path):
        self.path, self.table = Path(path), read_refinements(path)

    def __call__(self, text: str, side: str | None = None) -> Refinement:
        """The refinement in the file; raises :class:`TextError` for a text that it lacks."""
        side = side or side_of(text)
        if (text, side) not in self.table:
            raise TextError(
                f"{self.path}: no refined text for {text!r} with the {side} hand.",
                "Use --with rules for new sentences.",
            )
        return self.table[text, side]


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
                    *(_field(levels, f"{level}_level", path, f"{key}.{field}") for level in LEVELS)
                )
    if not refined:
        raise TextError(f"{path}: no entry holds refined texts.", "Expected lh_refine_text or rh_refine_text.")
    return refined


def _field(entry: object, name: str, path: Path, key: str) -> str:
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise TextError(f"{path}: {key}.{name} is missing or empty: expected a sentence.")
    return value


def refine_all(
    texts: Iterable[str | tuple[str, str]], refiner: Refiner, workers: int | None = None, progress: bool = True
) -> tuple[dict[tuple[str, str | None], Refinement], dict[tuple[str, str | None], TextError]]:
    """Refine many texts, or (text, side) pairs: what could be refined, and the errors of what could not.

    Each distinct pair is asked once, by ``workers`` threads at the same time (as many as the refiner wishes by
    default); a progress bar appears after two seconds. A text that cannot be refined is left out and reported; a
    :class:`RefinerError` ends the batch. A refiner that remembers its answers goes on where it stopped when the same
    batch is started again. The keys are pairs, with side None for a plain text.
    """
    pairs = list(dict.fromkeys((text, None) if isinstance(text, str) else text for text in texts))
    refined, failed = {}, {}

    def attempt(pair: tuple[str, str | None]) -> Refinement | TextError:
        try:
            return refiner(*pair)
        except RefinerError:
            raise
        except TextError as error:
            return error

    bar = tqdm(desc="refining", total=len(pairs), delay=QUIET, disable=None if progress else True, leave=False)
    results = _in_threads(attempt, pairs, workers or getattr(refiner, "workers", 1))
    with bar, closing(results):
        for pair, result in results:
            bar.update()
            (failed if isinstance(result, TextError) else refined)[pair] = result
    return {pair: refined[pair] for pair in pairs if pair in refined}, failed


def _in_threads(work: Callable, items: Sequence, workers: int) -> Generator[tuple]:
    """(item, result) as they come. What ``work`` raises is raised here, and no further item is begun; nor is one when
    nobody listens any more."""
    waiting, done = SimpleQueue(), SimpleQueue()
    for item in items:
        waiting.put(item)

    def take() -> Generator:
        with suppress(Empty):
            while True:
                yield waiting.get_nowait()

    def labour() -> None:
        for item in take():
            try:
                done.put((item, work(item), None))
            except Exception as error:
                list(take())
                done.put((item, None, error))

    for _ in range(min(workers, len(items))):
        Thread(target=labour, daemon=True).start()
    try:
        for _ in items:
            item, result, error = done.get()
            if error is not None:
                raise error
            yield item, result
    finally:
        list(take())


def refine_clips(
    clips: Sequence[Mapping], refiner: Refiner, out: str | Path, source: str = "clips", progress: bool = True
) -> tuple[int, dict[tuple[str, str], TextError]]:
    """Refine the captions of a data set into one JSON file in the layout of the release.

    ``clips`` are rows of a store's table (``caption``, ``hands``, ``verb``, ``object``); entry ``<source>_<row>`` holds
    the text and, for each hand that takes part, its object, its verb and its three descriptions. The file is written
    whole or not at all, after the last answer. Returns how many distinct texts it holds, and what had to be left out.
    """
    place = next(folder for folder in Path(out).absolute().parents if folder.exists())
    if Path(out).is_dir() or not os.access(place, os.W_OK):  # known before anybody is asked
        raise OutputError(f"{out}: cannot be written.", "Give another file with --out.")
    wanted = [(row["caption"], side) for row in clips for side in SIDES if side in row["hands"]]
    refined, failed = refine_all(wanted, refiner, progress=progress)
    if not refined:
        raise next(iter(failed.values()), TextError(f"{source}: no clips, so there is nothing to refine."))
    entries = {f"{source}_{number}": _entry(row, refined) for number, row in enumerate(clips)}
    with records.atomic(out) as temporary:
        temporary.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(refined), failed


def _entry(row: Mapping, refined: Mapping[tuple[str, str], Refinement]) -> dict:
    entry: dict = {"text": row["caption"]}
    for side, hand in zip(SIDES, ("lh", "rh"), strict=True):
        takes_part = side in row["hands"]
        levels = refined.get((row["caption"], side)) if takes_part else None
        entry |= {
            f"{hand}_obj_list": [row["object"]] if takes_part else [],
            f"{hand}_primitive": row["verb"] if takes_part else None,
            f"{hand}_refine_text": levels and {f"{level}_level": getattr(levels, level) for level in LEVELS},
        }
    return entry
