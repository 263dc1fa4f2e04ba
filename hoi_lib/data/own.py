"""Your own recordings: a folder of ``.npz`` files, one a clip, and of meshes, read like a downloaded data set.

::

    mine/
      dataset.json            optional: {"splits": {"train": ["anna"], "test": ["ben"]}, "scale": "mm"}
      anna/pour_01.npz        clips, in folders as you like
      objects/mug.obj         a rigid object: .obj, .ply, .glb, .stl or .off
      objects/box/            a hinged one: base.obj, moving.obj, hinge.json {"origin": […], "axis": […]}

Fields of a clip of L frames, in metres and radians, world frame with z up, ``v' = R v + t``; those that
``hoi generate`` writes into its ``motion.npz``, so such a file is a clip too:

- ``fps``, ``verb``, ``subject``, ``object_name``; optional ``caption`` and ``object_category``, the word in captions;
- the object: ``t`` (L, 3); ``R`` (L, 3, 3), ``rot6d`` (L, 6) or ``axis_angle`` (L, 3); ``angle`` (L,) if it is hinged;
- a hand or two, ``left_…`` and ``right_…``: ``transl`` (L, 3), MANO's translation; ``rotations`` (L, 16, 3, 3),
  ``rot6d`` (L, 16, 6) or ``axis_angle`` (L, 16, 3) with ``flat_hand_mean`` (True if the fingers are absolute, False if
  the mean pose is to be added); optional ``betas`` (10,) and ``valid`` (L,), whether the hand takes part.

Six numbers are two columns, row by row (:func:`hoi_lib.rotations.matrix_to_rot6d`). Other frame rates are resampled
to 30. Nothing is guessed: a field that can be misread has to be said, and whatever does not fit is named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from hoi_lib.catalogue import Hinge
from hoi_lib.data import raw
from hoi_lib.data.vocabulary import caption_forms
from hoi_lib.errors import HoiError, MeshError, RawDataError
from hoi_lib.hand import load_hand
from hoi_lib.meshfile import UNITS
from hoi_lib.meshfile import read as read_mesh
from hoi_lib.motion import FPS, SIDES, HandTrack, MotionClip, ObjectTrack
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import axis_angle_to_matrix, is_rotation, rot6d_to_matrix, slerp

CHAPTER = "the appendix “Bring your own data”"
MESHES = (".obj", ".ply", ".glb", ".stl", ".off")
SPLITS = ("train", "val", "test")
SETTINGS = {"splits", "scale"}
REACH = 20.0  # metres: farther from the origin nothing stands on a table
SIZE = (0.005, 2.0)  # metres: longest side of something that hands hold
SHORTEST = 16  # frames at 30 per second
FAR_BETA = 20.0  # shapes beyond are no hands
Array = np.ndarray


class Own(raw.Reader):
    """The clips of a folder in the layout of this module's description.

    Without ``splits`` in ``dataset.json`` the last subject by name is for the test and, of three or more, the last
    but one for validation.
    """

    name = "own"
    version = 1

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self._settings = self._read_settings()
        if not self.sequences():
            raise fault(self.folder, "holds no clip", "Put .npz files into it, one a clip.")
        if not (self.folder / "objects").is_dir():
            raise fault(self.folder / "objects", "missing", "It holds the meshes of the objects.")

    def sequences(self) -> list[str]:
        """Paths of the clips below the folder, without ``.npz``, sorted."""
        paths = (path.relative_to(self.folder).with_suffix("") for path in self.folder.rglob("*.npz"))
        shown = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
        stores = {path.parent.relative_to(self.folder) for path in self.folder.rglob("manifest.json")}
        return sorted(p.as_posix() for p in shown if p.parts[0] != "objects" and stores.isdisjoint(p.parents))

    def files(self, sequence: str) -> list[Path]:
        """The clip and the settings."""
        return [raw.inside(self.folder, f"{sequence}.npz"), self.folder / "dataset.json"]

    def read(self, sequence: str) -> list[MotionClip]:
        """The one clip of this name; raises :class:`RawDataError` naming the field that does not fit."""
        path = raw.inside(self.folder, f"{sequence}.npz")
        fields = raw.load_npz(path)
        words = {key: _word(path, fields, key) for key in ("verb", "subject", "object_name")}
        word = _word(path, fields, "object_category", words["object_name"].replace("_", " "))
        frames, fps = _length(path, fields), _rate(path, fields)
        hinged = self._mesh(path, words["object_name"]).is_dir()
        track = _object(path, fields, frames, words["object_name"], word, hinged)
        hands = {side: _hand(path, fields, frames, side) for side in SIDES if f"{side}_transl" in fields}
        if not any(hand.valid.any() for hand in hands.values()):
            raise fault(path, "no hand takes part", "A hand needs left_transl or right_transl, and frames in valid.")
        who = "both" if len(hands) == 2 else next(iter(hands))
        caption = _word(path, fields, "caption", caption_forms("own", words["verb"], word, who).imperative)
        name = sequence.replace("/", "_")
        clip = MotionClip(name, hands, track, words["verb"], words["subject"], caption)
        clip = resampled(clip, fps)
        if clip.frames < SHORTEST:
            raise fault(path, f"{clip.frames} frames at {FPS} per second, at least {SHORTEST} are needed", None)
        return [clip]

    def object(self, name: str) -> ObjectModel:
        """The mesh ``objects/<name>.*``, or the hinged object in ``objects/<name>/``; raises :class:`RawDataError`."""
        path = self._mesh(self.folder, name)
        if not path.is_dir():
            vertices, faces, notes = self._surface(path)
            return ObjectModel(name, name, vertices, faces, np.zeros(len(vertices), np.int64), None, tuple(notes))
        meshes = [_one_mesh(path / part) for part in ("base", "moving")]
        if None in meshes:
            raise fault(path, "holds no mesh base, or none that is called moving", f"Such as base{MESHES[0]}.")
        parts = [self._surface(mesh) for mesh in meshes]
        vertices = np.concatenate([part[0] for part in parts])
        faces = np.concatenate([parts[0][1], parts[1][1] + len(parts[0][0])])
        part = np.repeat([0, 1], [len(part[0]) for part in parts])
        notes = tuple(note for part in parts for note in part[2])
        return ObjectModel(name, name, vertices, faces, part, self._hinge(path / "hinge.json"), notes)

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the meshes and of the folders of hinged objects."""
        paths = (self.folder / "objects").iterdir()
        return tuple(sorted({p.stem for p in paths if p.is_dir() or p.suffix.lower() in MESHES}))

    @cached_property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """Subjects of each split, from ``dataset.json`` or by the rule above; a damaged clip's subject is unknown."""
        subjects = {subject for sequence in self.sequences() if (subject := self._subject(sequence))}
        given = self._settings.get("splits")
        if given is None:
            order = sorted(subjects)
            held = {"test": order[-1:] if len(order) > 1 else [], "val": order[-2:-1] if len(order) > 2 else []}
            given = held | {"train": [s for s in order if s not in held["test"] + held["val"]]}
        listed = [subject for split in SPLITS for subject in given.get(split, ())]
        path = self.folder / "dataset.json"
        if twice := {subject for subject in listed if listed.count(subject) > 1}:
            raise fault(path, f"{', '.join(sorted(twice))} in more than one split", "A test hand is never trained on.")
        if strangers := subjects - set(listed):
            raise fault(path, f"{', '.join(sorted(strangers))} in no split", "List every subject of the clips.")
        return {split: tuple(given.get(split, ())) for split in SPLITS}

    @property
    def notes(self) -> dict:
        """The settings as given."""
        return {"format": "npz folder", **self._settings}

    def _subject(self, sequence: str) -> str | None:
        path = raw.inside(self.folder, f"{sequence}.npz")
        try:
            return _word(path, raw.load_npz(path, ["subject"]), "subject")
        except RawDataError:  # reading the clip will say why
            return None

    def _read_settings(self) -> dict:
        path = self.folder / "dataset.json"
        if not path.exists():
            return {}
        settings = raw.load_json(path)
        if not isinstance(settings, dict) or (unknown := set(settings) - SETTINGS):
            said = f"knows no {', '.join(sorted(unknown))}" if isinstance(settings, dict) else "holds no object"
            raise fault(path, said, f"Its keys are {' and '.join(sorted(SETTINGS))}.")
        splits = settings.get("splits", {})
        sound = isinstance(splits, dict) and set(splits) <= set(SPLITS)
        if not sound or not all(_are_words(subjects) for subjects in splits.values()):
            raise fault(path, "splits maps train, val and test to lists of subjects", 'Such as {"test": ["ben"]}.')
        scale = settings.get("scale", "m")
        number = isinstance(scale, int | float) and not isinstance(scale, bool) and 0 < scale < np.inf
        if not number and scale not in UNITS:
            raise fault(path, f"scale is {scale!r}", "It is metres per unit of the meshes, or m, cm or mm.")
        return settings

    def _mesh(self, asking: Path, name: str) -> Path:
        """The mesh file or the folder of an object that a clip names."""
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise fault(asking, f"object_name {name!r} is no name of a file", "Use letters, digits, - and _.")
        folder = raw.inside(self.folder / "objects", name)
        if folder.is_dir():
            return folder
        if mesh := _one_mesh(folder):
            return mesh
        said = f"It is one of {' '.join(MESHES)}, or a folder with a hinge.json."
        raise fault(asking, f"there is no such mesh as objects/{name}", said)

    def _surface(self, path: Path) -> tuple[Array, Array, list[str]]:
        """Vertices in metres, faces and notes of a mesh of a size that hands hold."""
        try:
            _, vertices, faces, notes = read_mesh(path, self._settings.get("scale", "m"))
        except MeshError as error:
            raise RawDataError(error.what, error.mend, error.chapter) from error
        longest = float(np.ptp(vertices, axis=0).max())
        if not SIZE[0] <= longest <= SIZE[1]:
            said = 'Say {"scale": "mm"} in dataset.json if that is its unit.'
            raise fault(path, f"its longest side is {longest:.4g} m, which no hand holds", said)
        return vertices, faces, notes

    def _hinge(self, path: Path) -> Hinge:
        content = raw.load_json(path)
        if not isinstance(content, dict) or not {"origin", "axis"} <= set(content):
            raise fault(path, "needs origin and axis", "Three numbers each, in the frame and unit of the meshes.")
        origin, axis = (expect(path, key, content[key], (3,)) for key in ("origin", "axis"))
        limits = expect(path, "limits", content.get("limits", [0.0, np.pi]), (2,), within=2 * np.pi)
        length = np.linalg.norm(axis)
        if length < 1e-6 or limits[0] > limits[1]:
            raise fault(path, "axis has no direction, or limits are not in order", None)
        scale = self._settings.get("scale", "m")
        return Hinge(origin * UNITS.get(scale, scale), axis / length, limits)


def validate(folder: str | os.PathLike) -> list[tuple[str, str]]:
    """Read every clip and every object that one names: what does not fit, as (sequence, message), in order.

    An empty list means that :func:`hoi_lib.data.ingest.build` will skip nothing. Raises :class:`RawDataError` where
    the folder as a whole is wrong.
    """
    reader = Own(folder)
    reader.splits  # noqa: B018  raises where a subject is in no split or in two
    found: list[tuple[str, str]] = []
    used: dict[str, str] = {}
    for sequence in reader.sequences():
        found += _complaints(sequence, lambda s: used.setdefault(reader.read(s)[0].object.name, s))
    for name, sequence in used.items():
        found += _complaints(sequence, lambda _, name=name: reader.object(name))
    return found


def _complaints(sequence: str, action: Callable[[str], object]) -> Iterator[tuple[str, str]]:
    try:
        action(sequence)
    except HoiError as error:
        yield sequence, str(error)


def resampled(clip: MotionClip, fps: float) -> MotionClip:
    """A clip recorded at ``fps`` frames per second, at 30: every nth frame where that is one, else in between.

    Places go along straight lines between frames, rotations along the shortest turn; ``valid`` and the shape of the
    hands come from the nearest frame.
    """
    place = np.arange(int((clip.frames - 1) * FPS / fps + 1e-9) + 1) * fps / FPS
    before = np.minimum(np.floor(place + 1e-9).astype(int), clip.frames - 1)
    after, share = np.minimum(before + 1, clip.frames - 1), place - before
    nearest, whole = np.where(share < 0.5, before, after), bool(np.all(np.abs(share) < 1e-9))

    def between(x: Array) -> Array:
        weight = share.reshape(-1, *[1] * (x.ndim - 1))
        return x[before] if whole else (1 - weight) * x[before] + weight * x[after]

    def turned(R: Array) -> Array:
        weight = np.array(np.broadcast_to(share.reshape(-1, *[1] * (R.ndim - 3)), (len(share), *R.shape[1:-2])))
        return R[before] if whole else slerp(R[before], R[after], weight)

    item = clip.object
    angle = None if item.angle is None else between(item.angle)
    track = ObjectTrack(item.name, item.category, between(item.transl), turned(item.rotation), angle)
    hands = {
        side: HandTrack(between(hand.transl), turned(hand.rotations), hand.betas, hand.valid[nearest])
        for side, hand in clip.hands.items()
    }
    return MotionClip(clip.name, hands, track, clip.verb, clip.subject, clip.caption)


def _one_mesh(stem: Path) -> Path | None:
    """The file of this name in any format of meshes that is read, if there is one."""
    paths = (stem.with_name(f"{stem.name}{suffix}") for suffix in MESHES)
    return next((path for path in paths if path.is_file()), None)


# ----------------------------------------------------------------------------------------------------------- fields


def fault(path: Path, reason: str, mend: str | None) -> RawDataError:
    """The error for something that does not fit, ready to raise."""
    return RawDataError(f"{path}: {reason}.", mend, CHAPTER)


def expect(path: Path, what: str, array: object, shape: raw.Shape, within: float | None = None) -> Array:
    """:func:`hoi_lib.data.raw.expect` with a remedy for data that were not downloaded."""
    try:
        return raw.expect(path, what, array, shape, within=within)
    except RawDataError as error:
        mend = "Divide by 1000 if they are millimetres." if "reaches" in error.what else None
        raise RawDataError(f"{error.what}.", mend, CHAPTER) from None


def _word(path: Path, fields: dict, key: str, otherwise: str | None = None) -> str:
    value = np.asarray(fields[key]) if key in fields else np.asarray(otherwise or "")
    if value.ndim or value.dtype.kind != "U" or not str(value).strip():
        raise fault(path, f"{key} is missing or no text", f'Add {key}="…" when you save the file.')
    return str(value).strip()


def _are_words(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _rate(path: Path, fields: dict) -> float:
    if "fps" not in fields:
        raise fault(path, "fps is missing", "Say how many frames are a second: fps=30.")
    rate = float(expect(path, "fps", np.atleast_1d(fields["fps"]), (1,))[0])
    if not 5 <= rate <= 1000:
        raise fault(path, f"fps is {rate:g}", "Between 5 and 1000 frames are a second.")
    return rate


def _length(path: Path, fields: dict) -> int:
    if "t" not in fields:
        raise fault(path, "t is missing", "t (L, 3) is the path of the object.")
    return len(expect(path, "t", fields["t"], (None, 3), REACH))


def _object(path: Path, fields: dict, frames: int, name: str, word: str, hinged: bool) -> ObjectTrack:
    if hinged != ("angle" in fields):
        said = "needs angle (L,): its object has a hinge" if hinged else "has an angle, and its object has no hinge"
        raise fault(path, said, f"A hinged object is a folder, objects/{name}/.")
    transl = expect(path, "t", fields["t"], (frames, 3), REACH)
    rotation = _rotations(path, fields, "", (frames,))
    angle = expect(path, "angle", fields["angle"], (frames,), 2 * np.pi) if hinged else None
    return ObjectTrack(name, word, transl, rotation, angle)


def _hand(path: Path, fields: dict, frames: int, side: str) -> HandTrack:
    transl = expect(path, f"{side}_transl", fields[f"{side}_transl"], (frames, 3), REACH)
    rotations = _rotations(path, fields, f"{side}_", (frames, 16))
    betas = expect(path, f"{side}_betas", fields.get(f"{side}_betas", np.zeros(10)), (10,), FAR_BETA)
    valid = np.asarray(fields.get(f"{side}_valid", np.ones(frames, bool)))
    if valid.shape != (frames,) or valid.dtype != bool:
        raise fault(path, f"{side}_valid is {valid.dtype} {valid.shape}, expected bool ({frames},)", None)
    return HandTrack(transl, rotations, betas, valid.copy())


def _rotations(path: Path, fields: dict, prefix: str, lead: tuple[int, ...]) -> Array:
    """Rotations (*lead, 3, 3) from whichever of the three forms is there, and only from one."""
    matrices = "R" if not prefix else f"{prefix}rotations"
    sizes = {matrices: (3, 3), f"{prefix}rot6d": (6,), f"{prefix}axis_angle": (3,)}
    there = [key for key in sizes if key in fields]
    if len(there) != 1:
        raise fault(path, f"holds {' and '.join(there) or 'no rotation'}", f"One of {', '.join(sizes)} is needed.")
    key = there[0]
    numbers = expect(path, key, fields[key], (*lead, *sizes[key]), within=100.0)
    if key.endswith("axis_angle"):
        return axis_angle_to_matrix(numbers + _mean(path, fields, prefix) if prefix else numbers)
    if key.endswith("rot6d"):
        return _from_six(path, key, numbers)
    if not is_rotation(numbers, 1e-3):
        wrong = np.abs(numbers.swapaxes(-1, -2) @ numbers - np.eye(3)).reshape(lead[0], -1).max(1)
        raise fault(
            path, f"{key} at frame {wrong.argmax()} is no rotation", "Columns of length 1, at right angles, det +1."
        )
    return numbers


def _from_six(path: Path, key: str, numbers: Array) -> Array:
    """Rotations from six numbers that have to be exact: what is laid out in rows is named, not mended."""
    columns = numbers.reshape(*numbers.shape[:-1], 3, 2)
    if _orthonormal(columns):
        return rot6d_to_matrix(numbers)
    if _orthonormal(numbers.reshape(*numbers.shape[:-1], 2, 3).swapaxes(-1, -2)):
        raise fault(path, f"{key} is laid out in rows", 'Use matrix_to_rot6d(R), whose layout is "columns".')
    raise fault(path, f"{key} holds no two unit vectors at a right angle", "Use matrix_to_rot6d(R).")


def _orthonormal(columns: Array) -> bool:
    return bool(np.abs(columns.swapaxes(-1, -2) @ columns - np.eye(columns.shape[-1])).max() < 1e-3)


def _mean(path: Path, fields: dict, prefix: str) -> Array:
    """What is to be added to the axis-angle numbers (16, 3) of a hand before they are absolute."""
    flat = np.asarray(fields.get("flat_hand_mean", fields.get(f"{prefix}flat_hand_mean", 0)))
    if flat.ndim or flat.dtype != bool:
        said = "True if the fingers' numbers are absolute, False if they are offsets from MANO's mean pose."
        raise fault(path, "axis_angle needs flat_hand_mean, True or False", said)
    mean = np.zeros(48)
    if not flat:
        with torch.no_grad():
            mean[3:] = load_hand(prefix.rstrip("_")).hands_mean.numpy()
    return mean.reshape(16, 3)
