"""Clips on disk: memory-mapped arrays, one table, one fingerprint.

A store is a folder. Frames of all clips stand one after another in a few ``.npy`` files (hands as the 99 numbers,
objects as the 10), ``manifest.json`` says which rows belong to which clip, ``objects/`` holds every mesh, so the folder
needs nothing else. The fingerprint is the SHA-256 of the manifest's content, which itself holds the SHA-256 of every
file: two stores with one fingerprint hold the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hoi_lib.data.pieces import COLUMNS, Column, Piece, pack
from hoi_lib.data.splits import SPLITS, subjects_of
from hoi_lib.errors import OutputError, StoreError
from hoi_lib.motion import ClipLabels, HandTrack, MotionClip, ObjectTrack, unpack_object, unpack_pose
from hoi_lib.objects import ObjectModel

SCHEMA = 1
MANIFEST = "manifest.json"
CHAPTER = "chapter 4, “Stores”"


class ClipStore(Sequence[MotionClip]):
    """A folder of clips, or a part of it, read as a sequence of :class:`MotionClip`.

    Frames stay on disk until a clip is asked for. ``folder`` is where it lives, ``fingerprint`` names its content,
    ``profile`` and ``seed`` how it was made, ``table`` holds one row per clip (name, subject, verb, object, …),
    ``objects`` the names of the object models that these clips use.
    """

    def __init__(self, folder: Path, manifest: dict, arrays: dict[str, NDArray], rows: list[int] | None = None):
        self.folder, self._manifest, self._arrays = folder, manifest, arrays
        self._rows = list(range(len(manifest["clips"]))) if rows is None else rows
        self._objects: dict[str, ObjectModel] = {}

    fingerprint = property(lambda self: self._manifest["fingerprint"], doc="SHA-256 over the content of the store.")
    profile = property(lambda self: self._manifest["profile"], doc="Profile that the store was built for.")
    seed = property(lambda self: self._manifest["seed"], doc="Seed that the store was built from.")
    source = property(lambda self: self._manifest["source"], doc="What the clips are: “synthetic”, “arctic”, …")
    skipped = property(
        lambda self: [tuple(pair) for pair in self._manifest.get("skipped", [])],
        doc="Sequences (name, reason) that could not be read when the store was built.",
    )
    notes = property(lambda self: self._manifest.get("notes", {}), doc="What the reader of a real set said of it.")

    @property
    def table(self) -> list[dict]:
        """One dictionary per clip, as in the manifest; cheap, no frame is read."""
        return [self._manifest["clips"][row] for row in self._rows]

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the objects that occur in these clips, sorted."""
        return tuple(sorted({row["object"] for row in self.table}))

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects that occur in these clips, sorted."""
        return tuple(sorted({row["subject"] for row in self.table}))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice) -> MotionClip | ClipStore:
        if isinstance(index, slice):
            return self._view(self._rows[index])
        return self._clip(self._manifest["clips"][self._rows[index]])

    def clip(self, name: str) -> MotionClip:
        """The clip called ``name``; raises :class:`StoreError` if there is none."""
        for row in self.table:
            if row["name"] == name:
                return self._clip(row)
        raise StoreError(f"{self.folder}: no clip is called {name!r}.", "See store.table for the names.")

    def object(self, name: str) -> ObjectModel:
        """The model of an object of this store, loaded once; raises :class:`StoreError` for an unknown name."""
        if name not in self._objects:
            if name not in self._manifest["objects"]:
                raise StoreError(f"{self.folder}: no object is called {name!r}.", "See store.objects for the names.")
            self._objects[name] = ObjectModel.load(self.folder / self._manifest["objects"][name])
        return self._objects[name]

    @property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """Subjects of "train", "val" and "test": those of the manifest, else those of the synthetic set."""
        stated = self._manifest.get("splits", SPLITS)
        return {split: tuple(stated.get(split, ())) for split in SPLITS}

    def subset(self, split: str) -> ClipStore:
        """The clips of ``"train"``, ``"val"`` or ``"test"``, chosen by subject; none where :attr:`splits` has none."""
        members = subjects_of(split, self.splits)
        return self.where(lambda row: row["subject"] in members)

    def where(self, keep: Callable[[dict], bool]) -> ClipStore:
        """The clips whose row of :attr:`table` satisfies ``keep``, as a view of the same folder."""
        return self._view([r for r in self._rows if keep(self._manifest["clips"][r])])

    def raw(self, name: str) -> NDArray:
        """A whole memory-mapped array of the folder: "hand_pose" (M, 99), "object_pose" (N, 10), …, all clips."""
        return self._arrays[name]

    def _view(self, rows: list[int]) -> ClipStore:
        view = ClipStore(self.folder, self._manifest, self._arrays, rows)
        view._objects = self._objects
        return view

    def _clip(self, row: dict) -> MotionClip:
        frames = slice(row["start"], row["start"] + row["frames"])
        hands = {side: self._hand(row, side) for side in row["hands"]}
        transl, rotation, angle = unpack_object(torch.from_numpy(self._arrays["object_pose"][frames].copy()))
        track = ObjectTrack(
            row["object"], row["category"], transl.numpy(), rotation.numpy(), angle.numpy() if row["hinged"] else None
        )
        return MotionClip(
            row["name"],
            hands,
            track,
            row["verb"],
            row["subject"],
            row["caption"],
            row["fps"],
            self._labels(row, frames),
        )

    def _hand(self, row: dict, side: str) -> HandTrack:
        hand = row["hands"][side]
        frames = slice(hand["start"], hand["start"] + row["frames"])
        transl, rotations = unpack_pose(torch.from_numpy(self._arrays["hand_pose"][frames].copy()))
        betas, valid = self._arrays["hand_betas"][hand["index"]], self._arrays["hand_valid"][frames]
        return HandTrack(transl.numpy(), rotations.numpy(), betas.copy(), valid.copy())

    def _labels(self, row: dict, frames: slice) -> ClipLabels | None:
        if "onset" not in next(iter(row["hands"].values())):
            return None
        contact = {
            side: self._arrays["hand_contact"][hand["start"] : hand["start"] + row["frames"]].copy()
            for side, hand in row["hands"].items()
        }
        named = [{side: hand[key] for side, hand in row["hands"].items()} for key in ("onset", "grasp", "role")]
        return ClipLabels(self._arrays["phase"][frames].copy(), contact, *named)


def load(folder: str | os.PathLike, verify: bool = True) -> ClipStore:
    """Open a store. Arrays are memory-mapped; ``verify`` compares every file with its SHA-256 first (about 1 GB/s).

    Raises :class:`StoreError`, naming the file and the remedy, if a file is missing, truncated or changed.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    for name, expected in manifest["files"].items():
        _check_file(folder / name, expected, verify)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in COLUMNS}
    return ClipStore(folder, manifest, arrays)


def _read_manifest(folder: Path) -> dict:
    path = folder / MANIFEST
    remedy = f"Build it again: hoi data build synthetic --out {folder}"
    if not path.is_file():
        raise StoreError(f"{folder}: no data set here, {MANIFEST} is missing.", remedy, CHAPTER)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["schema"] != SCHEMA:
            raise StoreError(f"{path}: schema {manifest['schema']}, this version reads {SCHEMA}.", remedy, CHAPTER)
        whole = manifest["fingerprint"] == _fingerprint(manifest)
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise StoreError(f"{path}: not a readable manifest.", remedy, CHAPTER) from None
    if not whole:
        raise StoreError(f"{path}: its content does not match its fingerprint.", remedy, CHAPTER)
    return manifest


def _check_file(path: Path, expected: dict, verify: bool) -> None:
    remedy = "The folder is damaged: build or copy it again."
    if not path.is_file():
        raise StoreError(f"{path}: missing, though the manifest lists it.", remedy, CHAPTER)
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise StoreError(f"{path}: {size} bytes, the manifest says {expected['bytes']}.", remedy, CHAPTER)
    if verify and _file_hash(path) != expected["sha256"]:
        raise StoreError(f"{path}: its content has changed since it was written.", remedy, CHAPTER)


def write(
    folder: str | os.PathLike,
    clips: Iterable[MotionClip | Piece],
    objects: Callable[[str], ObjectModel],
    *,
    source: str,
    profile: str,
    seed: int,
    extra: dict | None = None,
    splits: Mapping[str, Iterable[str]] | None = None,
) -> ClipStore:
    """Write ``clips`` as a store and open it.

    Clips are taken one after the other and their frames go straight to disk, so ``clips`` may be a generator over
    more than fits into memory. ``objects`` gives the model of each object name; ``extra`` is kept in the manifest
    (subjects, versions), and so are ``splits`` where they are not those of the synthetic set. Everything is written
    to a folder beside ``folder`` that takes its name at the end, so a store is whole or not there. An older store of
    that name is replaced; any other folder with content, a full disk or a read-only place raises
    :class:`OutputError`.
    """
    folder = Path(folder)
    _refuse_foreign(folder)
    partial = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        manifest = {"schema": SCHEMA, "source": source, "profile": profile, "seed": seed, **(extra or {})}
        if splits is not None:
            manifest["splits"] = {split: list(splits.get(split, ())) for split in SPLITS}
        manifest |= _write_arrays(partial, clips)
        manifest["objects"] = _write_objects(partial, manifest["clips"], objects)
        manifest["files"] = _list_files(partial)
        manifest["fingerprint"] = _fingerprint(manifest)
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        partial.chmod(0o755)
        _replace(partial, folder)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror or error}).", "Choose another --out or make room."
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return load(folder, verify=False)


def prepare(folder: str | os.PathLike) -> None:
    """Make sure, before the work, that a store can be written at ``folder``; raises :class:`OutputError` if not."""
    folder = Path(folder)
    _refuse_foreign(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)).rmdir()
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror or error}).", "Choose another --out or make room."
        ) from error


def _write_arrays(folder: Path, clips: Iterable[MotionClip | Piece]) -> dict:
    """Write the frame arrays, piece by piece; return the clip table under ``clips``."""
    table = []
    with ExitStack() as stack:
        columns = {name: stack.enter_context(Column(folder / f"{name}.npy", *kind)) for name, kind in COLUMNS.items()}
        for item in clips:
            piece = item if isinstance(item, Piece) else pack([item])
            table += piece.rows_behind({name: column.rows for name, column in columns.items()})
            for name, column in columns.items():
                column.append(piece.columns[name])
    if not table:
        raise StoreError("no clip to write: a data set needs at least one.")
    return {"clips": table}


def _write_objects(folder: Path, table: list[dict], objects: Callable[[str], ObjectModel]) -> dict[str, str]:
    (folder / "objects").mkdir()
    paths = {name: f"objects/{name}.npz" for name in sorted({row["object"] for row in table})}
    for name, path in paths.items():
        objects(name).save(folder / path)
    return paths


def _list_files(folder: Path) -> dict[str, dict]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): {"bytes": p.stat().st_size, "sha256": _file_hash(p)} for p in files}


def _fingerprint(manifest: dict) -> str:
    content = {key: value for key, value in manifest.items() if key != "fingerprint"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _refuse_foreign(folder: Path) -> None:
    if folder.is_file():
        raise OutputError(f"{folder}: a file of this name is in the way.", "Choose another --out.")
    if folder.is_dir() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise OutputError(f"{folder}: holds files that are no data set.", "Choose an empty or a new --out folder.")


def _replace(partial: Path, folder: Path) -> None:
    """Give ``partial`` the name ``folder``; a store that had it moves away first and is deleted after."""
    old = None
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
        os.replace(folder, old / "store")
    os.replace(partial, folder)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
