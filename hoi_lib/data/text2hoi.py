"""Text2HOI's processed files: ARCTIC, GRAB or H2O as ``data.npz``, read clip by clip, and written from any clips.

N clips stand in one file, padded with zeros to the longest, F frames: ``x_lhand`` and ``x_rhand`` (N, F, 99),
``x_obj`` (N, F, 9), ``lhand_beta`` and ``rhand_beta`` (N, F, 10), in metres and in the world frame, six numbers a
rotation in the layout ``columns``. What differs between the sets, and what the records of this library need:

===================  =======================================  =============================================
stored               meaning                                  here
===================  =======================================  =============================================
ARCTIC's fingers     offsets from MANO's mean pose            the mean is added, as axis-angle numbers
GRAB's x_obj[3:9]    a rotation for rows, ``v R + t``         its transpose, so that ``v' = R v + t``
ARCTIC's angle       ``x_obj_angle`` (N, F, 1)                :attr:`ObjectTrack.angle`, with a moving part
x_lhand of a clip    there even if that hand is idle          only hands with ``is_lhand`` or ``is_rhand``
frames ≥ nframes     padding                                  left out
ARCTIC's, GRAB's     no field                                 found from the order of the clips, or an option
subjects
===================  =======================================  =============================================
"""

from __future__ import annotations

import os
import re
from copy import deepcopy
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from hoi_lib.data import raw
from hoi_lib.data.npzrows import Rows, keys
from hoi_lib.data.published import PUBLISHED
from hoi_lib.data.text2hoi_export import SIDECAR, contacts, write
from hoi_lib.data.text2hoi_numbers import with_mean_pose
from hoi_lib.data.text2hoi_parts import changes, from_option, object_model, object_table, recovered, starts_over
from hoi_lib.data.vocabulary import VOCABULARIES, caption_forms, hands_of
from hoi_lib.errors import ConfigError, RawDataError
from hoi_lib.hand import HandModel, load_hand
from hoi_lib.motion import SIDES, HandTrack, MotionClip, ObjectTrack
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import rot6d_to_matrix
from hoi_lib.text import known_verbs

__all__ = ["FLAVOURS", "Text2HOI", "contacts", "write"]

CHAPTER = "chapter 4, “Text2HOI's files”"
FLAVOURS = {"arctic": "object_name", "grab": "obj_name", "h2o": "object_idx"}  # the field that tells which set it is
TABLE = ("is_lhand", "is_rhand", "nframes", "action_name")
HANDS = {"left": "l", "right": "r"}
ROOM = 10.0  # metres: nothing is farther from the origin
UNIT = 1e-2  # how far stored axes may be from unit length and a right angle


class Text2HOI(raw.Reader):
    """The clips of a processed folder: ``data.npz``, ``obj.pkl``, and meshes.

    Options:

    - ``subjects``: a file with one subject per clip, or names for the runs of clips, separated by commas; without it
      they are found from betas (ARCTIC), from the order of the clips (GRAB), or read (H2O).
    - ``meshes``: the folder in which ``obj_path`` is looked for; "hull" takes the convex hull of the points instead.
    - ``betas``: "stored", or "zero" with every wrist kept in its place.

    ``name`` is that of the set ("arctic", "grab" or "h2o"), whatever the file came through. Memory holds one clip.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        subjects: str | None = None,
        meshes: str | None = None,
        betas: str = "stored",
    ):
        self.folder = Path(folder)
        self.path, self._things = self.folder / "data.npz", self.folder / "obj.pkl"
        if betas not in ("stored", "zero"):
            raise ConfigError(f"betas={betas!r}: expected stored or zero.", None, CHAPTER)
        self.betas, self._meshes = betas, meshes
        self.name = _flavour(self.path)
        self._words = VOCABULARIES[self.name]
        self._rows = {key: Rows(self.path, key) for key in _framewise(self.name)}
        self._check_shapes()
        self._table = self._read_table()
        self._sidecar = self._read_sidecar()
        self.splits = self._sidecar.get("splits") or PUBLISHED[self.name].splits
        self._subjects = self._find_subjects(subjects)
        self._models: dict[str, ObjectModel] = {}

    # ------------------------------------------------------------------------------------------------------- listing

    def __len__(self) -> int:
        return len(self._rows["x_obj"])

    def sequences(self) -> list[str]:
        """The number of each clip, "00000" for the first."""
        return [f"{index:05d}" for index in range(len(self))]

    def files(self, sequence: str) -> list[Path]:
        """The two files that all clips share, and the list of names beside them."""
        return [self.path, self._things, self.folder / SIDECAR]

    @cached_property
    def objects(self) -> tuple[str, ...]:
        """Names of the objects with points in ``obj.pkl``, sorted."""
        return tuple(sorted(self._objects_table["obj_pcs"]))

    @property
    def notes(self) -> dict:
        """Layout, options, and the hand whose mean pose was added."""
        return {
            "layout": "text2hoi, processed",
            "betas": self.betas,
            "meshes": "convex hulls of the points" if self._meshes == "hull" else "as in obj_path",
            "mean_pose": "added" if self.name == "arctic" else "none to add",
            "hand": load_hand("right").content_hash,
        }

    def object(self, name: str) -> ObjectModel:
        """The mesh of an object with the stored 1 024 points as its samples, read once."""
        if name not in self._models:
            word = self._words.word(name)
            self._models[name] = object_model(self._things, self._objects_table, name, word, self.name, self._meshes)
        return self._models[name]

    # ------------------------------------------------------------------------------------------------------- reading

    def read(self, sequence: str) -> list[MotionClip]:
        """The one clip of this number, float64; raises :class:`RawDataError`."""
        if not re.fullmatch(r"\d{5,7}", sequence) or int(sequence) >= len(self):
            raise raw.damaged(self.path, f"holds no clip {sequence!r}, but {len(self)}", None)
        index = int(sequence)
        frames = int(self._table["nframes"][index])
        if not 1 <= frames <= self._rows["x_obj"].shape[1]:
            raise self._bad(index, f"nframes is {frames}, the file holds 1 to {self._rows['x_obj'].shape[1]}")
        verb, word, key = self._names(index)
        thing = self._object_track(index, frames, key, word)
        acting = [side for side in SIDES if self._table[f"is_{HANDS[side]}hand"][index]]
        if not acting:
            raise self._bad(index, "no hand takes part")
        hands = {side: self._hand(index, frames, side) for side in acting}
        subject = self._subjects[index]
        named = {
            "name": f"{subject}_{key}_{verb.replace(' ', '_')}_{sequence}",
            "category": word,
            "caption": caption_forms(self.name, verb, word, hands_of(hands)).imperative,
        } | self._sidecar_row(index)
        for side, idle in named.get("invalid", {}).items():
            if side in hands:
                hands[side].valid[[frame for frame in idle if 0 <= frame < frames]] = False
        thing = ObjectTrack(key, named["category"], thing.transl, thing.rotation, thing.angle)
        return [MotionClip(named["name"], hands, thing, verb, subject, named["caption"])]

    def _names(self, index: int) -> tuple[str, str, str]:
        """Verb, word of the object, and its key."""
        action = str(self._table["action_name"][index])
        if not re.fullmatch(r"[A-Za-z][\w ]*", action):
            raise self._bad(index, f"action_name is {action!r}")
        if self.name == "h2o":
            number = int(self._table["object_idx"][index])
            listed = self._objects_table["object_name"]
            if not 1 <= number < len(listed):
                raise self._bad(index, f"object_idx is {number}, obj.pkl lists {len(listed) - 1}")
            return *_split_action(action), listed[number]
        key = str(self._table[FLAVOURS[self.name]][index])
        word = str(self._table["proc_obj_name"][index]) if self.name == "grab" else self._words.word(key)
        return self._words.verb(action), word, key

    def _object_track(self, index: int, frames: int, key: str, word: str) -> ObjectTrack:
        """The pose of the object, and the angle of its hinge where it has one."""
        numbers = self._numbers("x_obj", index, frames)
        rotation = self._rotations("x_obj", index, numbers[:, None, 3:9])[:, 0]
        if self.name == "grab":
            rotation = rotation.transpose(0, 2, 1)  # stored for rows: v R + t
        angle = None
        if self.name == "arctic":
            angle = self._numbers("x_obj_angle", index, frames)[:, 0]
            if np.abs(angle).max() > 2 * np.pi:
                raise self._bad(index, f"x_obj_angle reaches {np.abs(angle).max():.3g}, expected radians")
            if self.object(key).hinge is None:
                if np.abs(angle).max() > 1e-3:
                    raise self._bad(index, f"its hinge turns, but {key} has no moving part")
                angle = None
        return ObjectTrack(key, word, numbers[:, :3], rotation, angle)

    def _hand(self, index: int, frames: int, side: str) -> HandTrack:
        """One hand with absolute rotations and one shape for all frames."""
        key = f"x_{HANDS[side]}hand"
        numbers = self._numbers(key, index, frames)
        valid = numbers.any(1)
        if not valid.any():
            raise self._bad(index, f"{key} is nothing but zeros, though that hand takes part")
        numbers = numbers[np.maximum.accumulate(np.where(valid, np.arange(frames), valid.argmax()))]
        rotations = self._rotations(key, index, numbers[:, 3:].reshape(-1, 16, 6))
        if self.name == "arctic":
            rotations = with_mean_pose(rotations, side)
        shapes = self._numbers(f"{HANDS[side]}hand_beta", index, frames)
        steady = np.abs(shapes - shapes[0]).max() == 0
        betas = shapes[0] if steady else shapes[valid].mean(0)
        wanted = np.zeros(10) if self.betas == "zero" else betas
        transl = numbers[:, :3] + self._wrist(side, shapes) - self._wrist(side, wanted)
        return HandTrack(transl if np.any(shapes != wanted) else numbers[:, :3], rotations, wanted, valid)

    @cached_property
    def _layers(self) -> dict[str, HandModel]:
        return {side: deepcopy(load_hand(side)).double() for side in SIDES}

    def _wrist(self, side: str, betas: Float[np.ndarray, "... 10"]) -> Float[np.ndarray, "... 3"]:
        return self._layers[side].rest_wrist(torch.as_tensor(betas)).numpy()

    def _numbers(self, key: str, index: int, frames: int) -> Float[np.ndarray, "L D"]:
        """The frames of one clip of an array, float64, finite and of a believable size."""
        row = self._rows[key][index][:frames]
        return raw.expect(self.path, f"{key} of clip {index}", row, row.shape, within=ROOM)

    def _rotations(self, key: str, index: int, six: Float[np.ndarray, "L J 6"]) -> Float[np.ndarray, "L J 3 3"]:
        """Matrices from six numbers, which must be two unit columns at a right angle."""
        if not (off := _crooked(six[..., 0::2], six[..., 1::2])) <= UNIT:
            rows = _crooked(six[..., :3], six[..., 3:]) <= UNIT
            reason = (
                "its six numbers are the first two rows, not columns" if rows else f"no rotations, off by {off:.3g}"
            )
            raise self._bad(index, f"{key}: {reason}")
        return rot6d_to_matrix(torch.as_tensor(six)).numpy()

    def _bad(self, index: int, reason: str) -> RawDataError:
        return raw.damaged(self.path, f"clip {index}: {reason}", None)

    # ------------------------------------------------------------------------------------------------------- opening

    def _check_shapes(self) -> None:
        count, longest = self._rows["x_obj"].shape[:2]
        if not count or not longest:
            raise raw.damaged(self.path, "holds no clip")
        for key, wanted in _framewise(self.name).items():
            rows = self._rows[key]
            if rows.shape != (count, longest, wanted) or rows.dtype.kind != "f":
                raise raw.damaged(
                    self.path, f"{key} is {rows.dtype} {rows.shape}, expected numbers {(count, longest, wanted)}"
                )

    def _read_table(self) -> dict[str, np.ndarray]:
        """The fields with one entry per clip."""
        more = {"arctic": (), "grab": ("proc_obj_name",), "h2o": ("subject", "background")}[self.name]
        table = raw.load_npz(self.path, (*TABLE, FLAVOURS[self.name], *more))
        for key, column in table.items():
            kinds = "biu" if key.startswith("is_") or key in ("nframes", "object_idx") else "U"
            if not isinstance(column, np.ndarray) or column.shape != (len(self),) or column.dtype.kind not in kinds:
                found = f"{column.dtype} {column.shape}" if isinstance(column, np.ndarray) else type(column).__name__
                raise raw.damaged(self.path, f"{key} is {found}, expected {len(self)} entries")
        return table

    @cached_property
    def _objects_table(self) -> dict:
        return object_table(self._things)

    def _read_sidecar(self) -> dict:
        """Names, subjects and captions that the format has no room for, where :func:`write` left them."""
        path = self.folder / SIDECAR
        if not path.exists():
            return {}
        content = raw.load_json(path)
        rows = content.get("clips") if isinstance(content, dict) else None
        fields = ("name", "subject", "category", "caption")
        fits = isinstance(rows, list) and len(rows) == len(self) and all(
            isinstance(row, dict) and all(isinstance(row.get(f), str) and row[f] for f in fields) for row in rows
        )  # fmt: skip
        if not fits or len({row["name"] for row in rows}) != len(rows):
            raise raw.damaged(path, f"holds no list of {len(self)} clips with {', '.join(fields)}", "Delete it.")
        splits = content.get("splits")
        content["splits"] = {key: tuple(map(str, splits[key])) for key in splits} if isinstance(splits, dict) else None
        return content

    def _sidecar_row(self, index: int) -> dict:
        return self._sidecar["clips"][index] if "clips" in self._sidecar else {}

    def _find_subjects(self, option: str | None) -> list[str]:
        """The subject of each clip; an option goes before what the files say."""
        objects = [str(name) for name in self._table[FLAVOURS[self.name]]]
        betas = np.zeros((1, 20))
        if self.name == "arctic":
            betas = np.stack(
                [np.concatenate([self._rows[f"{s}hand_beta"][i][0] for s in "lr"]) for i in range(len(self))]
            )
        if option is not None:
            blocks = changes(betas) if self.name == "arctic" else starts_over([f"{name}_" for name in objects])
            return from_option(str(option), blocks, self.path)
        if self._sidecar:
            return [row["subject"] for row in self._sidecar["clips"]]
        places = [[str(v) for v in self._table.get(field, ())] for field in ("subject", "background")]
        found = recovered(self.name, objects, betas, *places)
        if found is None:
            raise RawDataError(
                f"{self.path}: whose clips these are is not told and cannot be found from their order.",
                "Give a file with one subject per clip: --option subjects=FILE.",
                CHAPTER,
            )
        return found


def _framewise(flavour: str) -> dict[str, int]:
    """The arrays of frames that are read, and their width."""
    widths = {"x_obj": 9, "x_lhand": 99, "x_rhand": 99, "lhand_beta": 10, "rhand_beta": 10}
    return widths | ({"x_obj_angle": 1} if flavour == "arctic" else {})


def _flavour(path: Path) -> str:
    """The set whose fields are in the file."""
    if not path.is_file():
        inner = sorted(p.parent.name for p in path.parent.glob("*/data.npz"))
        mend = f"--raw names one of its folders: {', '.join(inner)}." if inner else "--raw names such as data/arctic."
        raise RawDataError(f"{path}: missing, the file of all clips.", mend, CHAPTER)
    found = keys(path)
    for flavour, field in FLAVOURS.items():
        if field in found:
            return flavour
    raise raw.damaged(path, f"has none of the fields {', '.join(FLAVOURS.values())}", None)


def _split_action(action: str) -> tuple[str, str]:
    """Verb and noun of "take out espresso": the longest verb that is known, else the first word."""
    verbs = [verb for verb in known_verbs() if action.startswith(f"{verb} ")]
    verb = max(verbs, key=len, default=action.split(" ")[0])
    return verb, action[len(verb) :].strip() or "object"


def _crooked(a: Float[np.ndarray, "... 3"], b: Float[np.ndarray, "... 3"]) -> float:
    """How far vectors are from being unit and at right angles in pairs, at worst."""
    norms = [np.abs(np.linalg.norm(x, axis=-1) - 1).max(initial=0) for x in (a, b)]
    return float(max(*norms, np.abs((a * b).sum(-1)).max(initial=0)))
