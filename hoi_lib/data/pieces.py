"""Clips in the shape in which a store keeps them, and the files that grow as they come.

A :class:`Piece` is what one process makes of one sequence: rows of the clip table, counted from the piece's own
beginning, and the frames of all of them in a few arrays. A store is pieces laid end to end.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hoi_lib.motion import FPS, OBJECT_DIM, POSE_DIM, SIDES, HandTrack, MotionClip, ObjectTrack, pack_object, pack_pose
from hoi_lib.records import atomic

# numbers in a row (None: one alone) and their type
COLUMNS: dict[str, tuple[int | None, type]] = {
    "object_pose": (OBJECT_DIM, np.float32),
    "phase": (None, np.uint8),
    "hand_pose": (POSE_DIM, np.float32),
    "hand_valid": (None, np.bool_),
    "hand_contact": (None, np.bool_),
    "hand_betas": (10, np.float32),
}
NAME = re.compile(r"[\w+-][\w .+-]*")  # of a clip or an object: one that may be a file's
WORDS = re.compile(r"\w[\w '’.,&()+-]{0,80}")  # of a caption, in any language
SLACK = 1e-4  # by which R Rᵀ may miss the identity


@dataclass(frozen=True)
class Piece:
    """Clips as a store keeps them: one row of its table each, and their frames one after another in ``columns``."""

    rows: list[dict]
    columns: dict[str, NDArray]

    def rows_behind(self, lengths: Mapping[str, int]) -> list[dict]:
        """The rows counted on behind columns that already hold so many rows."""
        moved = []
        for row in self.rows:
            hands = {
                side: hand
                | {"start": hand["start"] + lengths["hand_pose"], "index": hand["index"] + lengths["hand_betas"]}
                for side, hand in row["hands"].items()
            }
            moved.append(row | {"start": row["start"] + lengths["object_pose"], "hands": hands})
        return moved


def pack(clips: Iterable[MotionClip]) -> Piece:
    """The piece that holds ``clips``; labels that they lack become zeros."""
    rows: list[dict] = []
    parts: dict[str, list[NDArray]] = {name: [] for name in COLUMNS}
    for clip in clips:
        _pack_clip(rows, parts, clip)
    return Piece(rows, {name: _joined(parts[name], *kind) for name, kind in COLUMNS.items()})


def _pack_clip(rows: list[dict], parts: dict[str, list[NDArray]], clip: MotionClip) -> None:
    row = {
        "name": clip.name,
        "subject": clip.subject,
        "verb": clip.verb,
        "object": clip.object.name,
        "category": clip.object.category,
        "hinged": clip.object.angle is not None,
        "caption": clip.caption,
        "fps": clip.fps,
        "start": sum(map(len, parts["object_pose"])),
        "frames": clip.frames,
        "hands": {},
    }
    parts["object_pose"].append(_object_numbers(clip.object))
    parts["phase"].append(np.zeros(clip.frames, np.uint8) if clip.labels is None else clip.labels.phase)
    for side in (s for s in SIDES if s in clip.hands):
        track = clip.hands[side]
        place = {"start": sum(map(len, parts["hand_pose"])), "index": len(parts["hand_betas"])}
        row["hands"][side] = place | _hand_labels(clip, side)
        parts["hand_pose"].append(_hand_numbers(track))
        parts["hand_valid"].append(track.valid)
        parts["hand_contact"].append(np.zeros(clip.frames, bool) if not clip.labels else clip.labels.contact[side])
        parts["hand_betas"].append(track.betas[None])
    rows.append(row)


def _joined(parts: list[NDArray], width: int | None, dtype: type) -> NDArray:
    empty = np.zeros((0,) if width is None else (0, width), dtype)
    return np.concatenate([empty, *(np.asarray(part, dtype) for part in parts)])


def _object_numbers(track: ObjectTrack) -> NDArray:
    angle = None if track.angle is None else _tensor(track.angle)
    return pack_object(_tensor(track.transl), _tensor(track.rotation), angle).numpy()


def _hand_numbers(track: HandTrack) -> NDArray:
    return pack_pose(_tensor(track.transl), _tensor(track.rotations)).numpy()


def _tensor(array: NDArray) -> torch.Tensor:
    return torch.from_numpy(np.array(array))  # a copy, for torch warns of arrays that cannot be written


def _hand_labels(clip: MotionClip, side: str) -> dict:
    if clip.labels is None:
        return {}
    labels = clip.labels
    return {"onset": int(labels.onset[side]), "grasp": labels.grasp[side], "role": labels.role[side]}


# ----------------------------------------------------------------------------------------------------------- checking


def fault_of(clip: MotionClip) -> str | None:
    """What makes ``clip`` unfit for a store, in words; None for a sound one.

    Looks at names, words, lengths, shapes, numbers that float32 cannot hold, and matrices that are no rotations.
    """
    if not NAME.fullmatch(clip.name) or not NAME.fullmatch(clip.object.name):
        return f"a name that no file can have: {clip.name!r} with {clip.object.name!r}"
    words = (clip.verb, clip.subject, clip.object.category)
    if odd := [word for word in words if not WORDS.fullmatch(word)]:
        return f"{clip.name}: {odd[0]!r:.80} is no name of an action, a subject or an object"
    if not clip.caption.isprintable() or not clip.caption.strip():
        return f"{clip.name}: the caption {clip.caption!r:.80} is no line of text"
    if clip.fps != FPS or not clip.frames:
        return f"{clip.name}: {clip.frames} frames at {clip.fps} a second, expected some at {FPS}"
    if not clip.hands or set(clip.hands) - set(SIDES):
        return f"{clip.name}: hands {sorted(clip.hands)}, expected left, right or both"
    tracks = {"the object": (clip.object.transl, clip.object.rotation[:, None])}
    for side, hand in clip.hands.items():
        if np.shape(hand.betas) != (10,) or np.shape(hand.valid) != (clip.frames,) or not _fits(hand.betas):
            return f"{clip.name}: shape numbers or valid flags of the {side} hand are not what they should be"
        tracks[f"the {side} hand"] = hand.transl, hand.rotations
    for what, (transl, rotations) in tracks.items():
        count = 1 if what == "the object" else 16
        if np.shape(transl) != (clip.frames, 3) or np.shape(rotations) != (clip.frames, count, 3, 3):
            return f"{clip.name}: {what} has translations {np.shape(transl)}, rotations {np.shape(rotations)}"
        if not _fits(transl) or not _turns(rotations):
            return f"{clip.name}: {what} has translations that are not finite, or matrices that are no rotations"
    angle = clip.object.angle
    if angle is not None and (np.shape(angle) != (clip.frames,) or not _fits(angle)):
        return f"{clip.name}: hinge angles {np.shape(angle)}, expected {clip.frames} finite ones"
    return None


def _fits(numbers: NDArray) -> bool:
    """Whether float32 holds the numbers."""
    return bool((np.abs(np.asarray(numbers, np.float64)) < np.finfo(np.float32).max).all())


def _turns(matrices: NDArray) -> bool:
    """Whether (…, 3, 3) are rotations: orthonormal, and no mirror."""
    with np.errstate(all="ignore"):
        error = np.abs(matrices @ np.swapaxes(matrices, -1, -2) - np.eye(3)).max()
        return bool(error < SLACK and (np.linalg.det(matrices) > 0).all())


# -------------------------------------------------------------------------------------------------------------- files


class Column:
    """An ``.npy`` file that grows row by row; whole, with its length in its header, once it is closed."""

    rows: int  # written so far

    def __init__(self, path: Path, width: int | None, dtype: type):
        self.rows, self._width, self._dtype = 0, () if width is None else (width,), np.dtype(dtype)
        self._file = open(path, "wb")  # noqa: SIM115
        self._write_header()

    def append(self, rows: NDArray) -> None:
        """Write rows (N, …) behind those before."""
        rows = np.ascontiguousarray(rows, self._dtype).reshape(len(rows), *self._width)
        self._file.write(rows.data)
        self.rows += len(rows)

    def __enter__(self) -> Column:
        return self

    def __exit__(self, *_) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        """Numpy pads its headers so that the number of rows may grow in place."""
        description = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.rows, *self._width),
        }
        np.lib.format.write_array_header_1_0(self._file, description)


def save(path: Path, piece: Piece, head: dict) -> None:
    """Write a piece and a head (JSON values) to one ``.npz``, whole or not at all; raises :class:`OutputError`."""
    text = json.dumps(head | {"rows": piece.rows})
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, head=np.array(text), **piece.columns)


def load_head(path: Path) -> dict | None:
    """The head of a saved piece and its ``rows``; None where the file is not there or not whole."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return json.loads(str(file["head"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def load(path: Path) -> Piece:
    """The piece that :func:`save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return Piece(json.loads(str(file["head"]))["rows"], {name: file[name] for name in COLUMNS})
