"""ARCTIC: two hands and a hinged object, from the official download or from Text2HOI's variant of it.

Frames are 30 a second in one world frame. A hand is stored as axis-angle numbers to which MANO's mean pose is still to
be added (as numbers, before they become rotations), in metres; an object as a hinge angle, an axis-angle vector and a
translation in *millimetres*. A template is in millimetres too; those of its vertices that ``parts.json`` marks with 0
turn by the angle about (0, 0, −1) through the origin before the whole is turned and moved.

Text2HOI adds ``description/<subject>/<sequence>/description.txt``, lines such as ``1-40 grasp, right hand`` that count
frames from 1 and include the last: each line is a clip. Without that folder a clip is a whole sequence, or a window.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from hoi_lib.data import raw
from hoi_lib.data.arctic_objects import UNITS, read_object
from hoi_lib.data.vocabulary import VOCABULARIES, caption_forms
from hoi_lib.errors import ConfigError, RawDataError
from hoi_lib.hand import hand_data, load_hand
from hoi_lib.motion import FPS, SIDES, HandTrack, MotionClip, ObjectTrack
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import axis_angle_to_matrix

CHAPTER = "chapter 4, “ARCTIC”"
SPLITS = {"train": ("s01", "s02", "s04", "s05", "s06", "s07", "s08", "s09"), "val": (), "test": ("s10",)}
PLACES = (".", "data", "arctic_data/data", "downloads/data", "unpack/arctic_data/data")  # of raw_seqs/ and meta/
SEQUENCE = re.compile(r"([a-z]+)_([a-z]+)_\d+(?:_retake)?")
LINE = re.compile(r"(\d{1,6})-(\d{1,6})\s+([A-Za-z]+),?\s+(both|left|right)\s+\S+")
UNDESCRIBED = ("espressomachine",)  # in the set, but not in Text2HOI's annotation
WORDS = VOCABULARIES["arctic"]
SHORTEST = 20  # frames; a shorter segment is no clip
OVERHANG = 30  # frames by which a description may reach beyond its sequence; what is there is taken
ROOM = 10.0  # metres from the world's origin that nothing leaves
STEP = 1.0  # metres that nothing moves in a frame
SUFFIXES = (".mano.npy", ".object.npy")


@dataclass(frozen=True)
class Segment:
    """Frames ``first`` up to but without ``stop``, counted from 0, in which ``hands`` ("left", "right" or "both") do
    what ``verb`` says."""

    first: int
    stop: int
    verb: str
    hands: str


class Arctic(raw.Reader):
    """ARCTIC's sequences as :class:`MotionClip` records.

    ``folder`` is ``arctic_data/data`` or a folder above it, or Text2HOI's ``data/arctic``. Options:

    - ``descriptions``: the folder of Text2HOI's annotation; None looks for ``description`` beside the data and goes
      on without where there is none; "no" does without. Then both hands take part in every clip, the verb is that of
      the sequence's name ("grab", "use"), and a clip is a whole sequence or, with ``window``, that many frames of it,
      without overlap.
    - ``units``: "mm", as published, or "m", for objects that somebody has converted.
    - ``top``: the number that marks the moving part in ``parts.json``. The documentation says 1; the code that wrote
      and reads the set says 0, which is the default and is compared with ``top.obj`` and ``bottom.obj``.
    - ``betas``: "fitted", as published, or "zero" with every wrist kept in its place. The fitted ones of left hands
      belong to MANO's left file as it is (``load_hand(fix_left_shapedirs=False)``), bent fingers included.
    """

    name = "arctic"
    splits = SPLITS

    def __init__(
        self,
        folder: str | os.PathLike,
        descriptions: str | os.PathLike | None = None,
        window: int | str = 0,
        units: str = "mm",
        top: int | str = 0,
        betas: str = "fitted",
    ):
        self.folder = _data_root(Path(folder))
        self.descriptions = _descriptions(Path(folder), self.folder, descriptions)
        self._declined = str(descriptions) == "no"
        self.units = raw.choice("units", units, UNITS)
        self.top = int(raw.choice("top", str(top), ("0", "1")))
        self.betas = raw.choice("betas", betas, ("fitted", "zero"))
        self.window = int(window) if str(window).isdigit() else -1
        if self.window != 0 and self.window < SHORTEST:
            raise ConfigError(f"window={window!r}: expected 0 or at least {SHORTEST} frames.", None, CHAPTER)
        source = os.environ.get("HOI_MANO_DIR") or None
        self._means = {side: hand_data(side, source)["hands_mean"].astype(np.float64) for side in SIDES}
        self._models: dict[str, ObjectModel] = {}

    # ------------------------------------------------------------------------------------------------------- listing

    def sequences(self) -> list[str]:
        """Names such as "s01/box_grab_01" of all that either file or, beside a subject's files, a description names."""
        found = set()
        for subject in raw.folders(self.folder / "raw_seqs"):
            for suffix in SUFFIXES:
                files = (self.folder / "raw_seqs" / subject).glob(f"*{suffix}")
                found |= {f"{subject}/{path.name.removesuffix(suffix)}" for path in files if path.name[0] != "."}
            if self.descriptions:
                found |= {f"{subject}/{name}" for name in raw.folders(self.descriptions / subject)}
        return sorted(found)

    def files(self, sequence: str) -> list[Path]:
        """The sequence's two files, its description, and the folder of its object's template."""
        subject, _, stem = sequence.partition("/")
        files = [self.folder / "raw_seqs" / subject / f"{stem}{suffix}" for suffix in SUFFIXES]
        if self.descriptions:
            files.append(self.descriptions / subject / stem / "description.txt")
        named = SEQUENCE.fullmatch(stem)
        return [*files, self._template(named[1])] if named else files

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the object templates, sorted."""
        return tuple(raw.folders(self.folder / "meta" / "object_vtemplates"))

    @property
    def notes(self) -> dict:
        """Layout, options, and the hand whose mean pose was added."""
        cuts = f"windows of {self.window} frames" if self.window else "whole sequences"
        return {
            "layout": "text2hoi" if self.descriptions else "official",
            "clips": "descriptions" if self.descriptions else cuts,
            "units": self.units,
            "top": self.top,
            "betas": self.betas,
            "left_shapedirs": "as in MANO's file",
            "hand": load_hand("right").content_hash,
        }

    @property
    def cautions(self) -> list[str]:
        """That clips are not Text2HOI's, where its annotation was neither found nor declined."""
        if self.descriptions or self._declined:
            return []
        return ["no folder of descriptions was found: each clip is a whole sequence, its verb “grab” or “use”."]

    # ------------------------------------------------------------------------------------------------------- reading

    def read(self, sequence: str) -> list[MotionClip]:
        """The clips of one sequence, float64; none where Text2HOI's annotation or its rules leave it out."""
        subject, _, stem = sequence.partition("/")
        named = SEQUENCE.fullmatch(stem)
        motion, thing = (self.folder / "raw_seqs" / subject / f"{stem}{suffix}" for suffix in SUFFIXES)
        if not named:
            raise raw.damaged(motion, "its name is not <object>_<verb>_<number>")
        key, action = named.groups()
        segments = None
        if self.descriptions:
            if key in UNDESCRIBED:
                return []
            segments = read_description(self.descriptions / subject / stem / "description.txt", key)
        hands, track = self._hands(motion), self._track(thing, key)
        frames = len(track.transl)
        for side, hand in hands.items():
            if len(hand.transl) != frames:
                raise raw.damaged(thing, f"holds {frames} frames, {motion.name} {len(hand.transl)} of the {side} hand")
        if segments is None:
            segments = self._cuts(frames, action)
        return [_clip(sequence, segment, hands, track) for segment in _fitting(segments, frames, motion)]

    def object(self, name: str) -> ObjectModel:
        """The template of one object with its two parts, in metres; read once."""
        if name not in self._models:
            folder = self._template(name)
            if name not in self.objects:
                raise raw.damaged(folder, f"no object is called {name!r}: expected {', '.join(self.objects)}", None)
            self._models[name] = read_object(folder, name, self.units, self.top)
        return self._models[name]

    def _template(self, name: str) -> Path:
        return raw.inside(self.folder / "meta" / "object_vtemplates", name)

    def _cuts(self, frames: int, verb: str) -> list[Segment]:
        """The whole sequence, or its windows."""
        step = self.window or frames
        return [Segment(first, min(first + step, frames), verb, "both") for first in range(0, frames, step)]

    def _hands(self, path: Path) -> dict[str, HandTrack]:
        """Both hands of all frames."""
        content = raw.load_npy(path)
        if not isinstance(content, dict):
            raise raw.damaged(path, "holds no dictionary of two hands")
        return {side: self._hand(path, side, content.get(side)) for side in SIDES}

    def _hand(self, path: Path, side: str, content: object) -> HandTrack:
        """One hand: the mean pose added to its fingers' numbers, which then become rotations."""
        keys = ("rot", "pose", "trans", "shape")
        if not isinstance(content, dict) or not set(keys) <= content.keys():
            raise raw.damaged(path, f"lacks {', '.join(keys)} of the {side} hand")
        transl = raw.expect(path, f"{side} trans", content["trans"], (None, 3))
        _in_metres(path, f"the {side} hand", transl)
        frames = len(transl)
        turn = raw.expect(path, f"{side} rot", content["rot"], (frames, 3), within=4 * np.pi)
        offsets = raw.expect(path, f"{side} pose", content["pose"], (frames, 45), within=4 * np.pi)
        vectors = np.concatenate([turn, offsets + self._means[side]], 1).reshape(frames, 16, 3)
        betas = _betas(path, side, content["shape"], frames)
        if self.betas == "zero":
            hand = load_hand(side)
            transl = transl + (hand.rest_wrist(torch.from_numpy(betas)) - hand.rest_wrist()).numpy()
            betas = np.zeros(10)
        return HandTrack(transl, axis_angle_to_matrix(vectors), betas, np.ones(frames, bool))

    def _track(self, path: Path, key: str) -> ObjectTrack:
        """The object of all frames, in metres; without an angle where its template has no moving part."""
        numbers = raw.expect(path, "the object", raw.load_npy(path), (None, 7))
        raw.expect(path, "hinge angle and rotation", numbers[:, :4], (None, 4), within=4 * np.pi)
        angle, vector, transl = np.split(numbers, [1, 4], 1)
        if self.units == "mm" and len(transl) >= SHORTEST and np.abs(transl).max() < ROOM:
            raise raw.damaged(
                path, f"translations reach {np.abs(transl).max():.3g}: these are metres, ARCTIC stores millimetres",
                "Pass --option units=m if the objects of this copy are in metres.",
            )  # fmt: skip
        transl = transl * UNITS[self.units]
        _in_metres(path, "the object", transl)
        rigid = self.object(key).hinge is None
        if rigid and np.abs(angle).max() > 1e-3:
            raise raw.damaged(path, f"its hinge turns, but {key}'s template has no moving part (see parts.json)")
        return ObjectTrack(key, WORDS.word(key), transl, axis_angle_to_matrix(vector), None if rigid else angle[:, 0])


# ------------------------------------------------------------------------------------------------------------ layout


def _data_root(folder: Path) -> Path:
    """The folder with ``raw_seqs`` and ``meta/object_vtemplates``, ``folder`` or one below it."""
    for place in PLACES:
        root = folder / place
        if (root / "raw_seqs").is_dir():
            if not raw.folders(root / "meta" / "object_vtemplates"):
                raise RawDataError(
                    f"{root / 'meta' / 'object_vtemplates'}: no object templates beside raw_seqs.",
                    "Download and unpack ARCTIC's meta.zip too.", CHAPTER,
                )  # fmt: skip
            return root
    packed = next((path for place in PLACES for path in (folder / place).glob("raw_seqs*.zip")), None)
    mend = f"Unpack {packed} first." if packed else "--raw names arctic_data/data or Text2HOI's data/arctic."
    raise RawDataError(f"{folder}: no raw_seqs folder here or in {', '.join(PLACES[1:])}.", mend, CHAPTER)


def _descriptions(folder: Path, root: Path, option: str | os.PathLike | None) -> Path | None:
    """The folder of Text2HOI's annotation, or None to do without."""
    if option is None:
        places = (root / "description", folder / "description")
        return next((place for place in places if raw.folders(place)), None)
    if str(option) == "no":
        return None
    if not raw.folders(Path(option)):
        raise RawDataError(f"{option}: holds no folders of descriptions, such as s01/box_grab_01.", None, CHAPTER)
    return Path(option)


# ------------------------------------------------------------------------------------------------------ descriptions


def read_description(path: Path, key: str) -> list[Segment]:
    """The segments of one sequence of the object ``key``, in the order of the file, without what Text2HOI leaves out:
    segments under 20 frames and three pairs of verb and object (``WORDS.skipped``).

    Raises :class:`RawDataError` for a line that is none, a verb that the annotation does not use, and two segments of
    the same frames and hands.
    """
    verbs = WORDS.verbs.keys() | {verb for verb, _ in WORDS.skipped}
    segments, seen = [], set()
    for number, line in enumerate(raw.read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        found = LINE.fullmatch(line.strip())
        if not found:
            wanted = "1-40 grasp, right hand"
            raise raw.damaged(path, f"line {number} is {line.strip()[:60]!r}, expected such as {wanted!r}")
        first, last, verb, hands = int(found[1]), int(found[2]), found[3].lower(), found[4]
        if verb not in verbs:
            raise raw.damaged(path, f"line {number}: the annotation knows no verb {verb!r}")
        if not 1 <= first <= last:
            raise raw.damaged(path, f"line {number}: frames {first} to {last}, counted from 1")
        if (first, last, hands) in seen:
            raise raw.damaged(path, f"line {number}: frames {first} to {last}, {hands} hand, for the second time")
        seen.add((first, last, hands))
        if (verb, key) not in WORDS.skipped and last - first + 1 >= SHORTEST:
            segments.append(Segment(first - 1, last, verb, hands))
    return segments


def _fitting(segments: list[Segment], frames: int, path: Path) -> list[Segment]:
    """The segments as far as the sequence goes; one that begins after it or reaches far beyond it is an error."""
    for s in segments:
        if s.first >= frames or s.stop > frames + OVERHANG:
            raise raw.damaged(path, f"holds {frames} frames, but frames {s.first + 1} to {s.stop} are described", None)
    cut = [replace(s, stop=min(s.stop, frames)) for s in segments]
    return [s for s in cut if s.stop - s.first >= SHORTEST]


def _clip(sequence: str, segment: Segment, hands: dict[str, HandTrack], track: ObjectTrack) -> MotionClip:
    """One segment of a sequence; float64 views of its frames."""
    cut = slice(segment.first, segment.stop)
    sides = SIDES if segment.hands == "both" else (segment.hands,)
    taking_part = {}
    for side in sides:
        hand = hands[side]
        taking_part[side] = HandTrack(hand.transl[cut], hand.rotations[cut], hand.betas, hand.valid[cut])
    angle = None if track.angle is None else track.angle[cut]
    return MotionClip(
        f"{sequence.replace('/', '_')}_{segment.first:04d}_{segment.stop:04d}_{segment.hands}",
        taking_part,
        replace(track, transl=track.transl[cut], rotation=track.rotation[cut], angle=angle),
        segment.verb,
        sequence.partition("/")[0],
        caption_forms("arctic", segment.verb, track.category, segment.hands).imperative,
        FPS,
    )


# ------------------------------------------------------------------------------------------------------------ checks


def _in_metres(path: Path, what: str, transl: Float[np.ndarray, "L 3"]) -> None:
    """Raise where a translation leaves the room or leaps: a wrong unit, or a damaged number."""
    reach = np.abs(transl).max()
    if reach > ROOM:
        raise raw.damaged(path, f"{what} is up to {reach:.6g} m from the origin, expected at most {ROOM:g}", None)
    leap = np.linalg.norm(np.diff(transl, axis=0), axis=1)
    if len(leap) and leap.max() > STEP:
        raise raw.damaged(path, f"{what} leaps by {leap.max():.3g} m after frame {leap.argmax() + 1}")


def _betas(path: Path, side: str, shape: object, frames: int) -> Float[np.ndarray, "10"]:
    """The ten shape numbers, stored once or, as the documentation has it, in every frame."""
    if np.ndim(shape) == 2:
        rows = raw.expect(path, f"{side} shape", shape, (frames, 10), within=10.0)
        if np.ptp(rows, axis=0).max() > 1e-4:
            raise raw.damaged(path, f"the shape of the {side} hand changes within the sequence")
        return rows[0]
    return raw.expect(path, f"{side} shape", shape, (10,), within=10.0)
