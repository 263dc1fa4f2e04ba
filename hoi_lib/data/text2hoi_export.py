"""Clips written as Text2HOI's processed folder: ``data.npz`` and the files beside it.

Arrays go to the disk clip by clip and into the archive array by array, so memory holds one clip whatever their number.
What the format has no room for (names, subjects, free captions, frames in which a hand is not valid) stands in
``clips.json``, which the reader uses where it finds it and Text2HOI ignores.
"""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from io import BufferedIOBase
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from tqdm import tqdm

from hoi_lib.data import raw
from hoi_lib.data.text2hoi_numbers import (
    in_template_frame,
    posed_points,
    sparse_contacts,
    template_frame,
    without_mean_pose,
)
from hoi_lib.data.vocabulary import H2O_ACTIONS, H2O_OBJECTS, VOCABULARIES, caption_forms, hands_of
from hoi_lib.errors import ConfigError, OutputError
from hoi_lib.hand import load_hand
from hoi_lib.motion import FPS, MAX_FRAMES, SIDES, HandTrack, MotionClip, ObjectTrack
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import matrix_to_rot6d

SIDECAR = "clips.json"
CONTACTS = ("cf_idx", "cov_idx", "chj_idx", "dist_value")  # frame, point, joint, distance
Array = np.ndarray


def write(
    folder: str | Path,
    clips: Sequence[MotionClip],
    objects: Callable[[str], ObjectModel] | None = None,
    flavour: str | None = None,
    dtype: type = np.float32,
    slips: bool = False,
    progress: bool = False,
) -> Path:
    """Write ``clips`` (a store, or any sequence) as a processed folder of the set ``flavour`` and return it; by default
    of the set that a store comes from, or of "arctic".

    ``objects`` gives the model of each object name; a store brings its own. "arctic" alone has room for hinges: its
    objects are turned so that the hinge is −z through the origin, which moves nothing in the world. Hands are written
    with their own betas, poses of "arctic" as offsets from the mean pose, rotations of objects of "grab" transposed.
    ``slips`` writes the published slips of the pen into ``text.json``. The format is float32; ``dtype`` may widen it.
    A folder of that name that :func:`write` did not write raises :class:`OutputError`; so does a full disk. A hinge in
    a flavour without one, another frame rate, and a pose that has no offset raise :class:`ConfigError`.
    """
    if flavour is None:
        source = getattr(clips, "source", None)
        flavour = source if source in VOCABULARIES else "arctic"
    if flavour not in VOCABULARIES:
        raise ConfigError(f"flavour {flavour!r}: expected one of {', '.join(VOCABULARIES)}.")
    folder = Path(folder)
    if folder.exists() and (folder.is_file() or (any(folder.iterdir()) and not (folder / SIDECAR).is_file())):
        raise OutputError(f"{folder}: holds files that are no export.", "Choose an empty or a new --out folder.")
    if len(clips) == 0:
        raise ConfigError("no clip to write: an export needs at least one.")
    models = cache(objects or clips.object)
    part = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        _Export(part, clips, models, flavour, np.dtype(dtype), slips).run(progress)
        part.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        part.replace(folder)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror or error}).", "Choose another --out."
        ) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def contacts(folder: str | Path) -> dict[str, list[Array]]:
    """The sparse contacts of a processed folder: ``lcf_idx`` frames, ``lcov_idx`` points, ``lchj_idx`` joints (N
    vectors of int64 each), ``ldist_value`` metres, and the same of the right hand, ``r…``.

    All of them are held in memory. Raises :class:`RawDataError` for a damaged file.
    """
    path = Path(folder) / "data.npz"
    names = [f"{side}{name}" for side in "lr" for name in CONTACTS]
    table = raw.load_npz(path, names)
    for name, column in table.items():
        if not isinstance(column, np.ndarray) or not column.ndim or not all(_is_vector(row) for row in column):
            raise raw.damaged(path, f"{name} is no list of vectors")
    return {name: list(column) for name, column in table.items()}


def _is_vector(row: object) -> bool:
    return isinstance(row, np.ndarray) and row.ndim == 1 and row.dtype.kind in "iuf"


# ----------------------------------------------------------------------------------------------------------- the file


@dataclass
class _Export:
    """One export in the making, in a folder of its own."""

    folder: Path
    clips: Sequence[MotionClip]
    models: Callable[[str], ObjectModel]
    flavour: str
    dtype: np.dtype
    slips: bool

    def run(self, progress: bool) -> None:
        """Spool the clips, pack the archive, write what stands beside it."""
        longest = max(row["frames"] for row in self.clips.table) if hasattr(self.clips, "table") else 0
        longest = longest or max(clip.frames for clip in self.clips)
        spool = Path(tempfile.mkdtemp(dir=self.folder))
        rows, counts = [], []
        with ExitStack() as stack:
            files: dict[str, BufferedIOBase] = {}
            for clip in tqdm(self.clips, "exporting", unit="clip", disable=None if progress else True, leave=False):
                arrays, found, row = self._clip(clip)
                for name, array in {**arrays, **found}.items():
                    if name not in files:
                        files[name] = stack.enter_context(open(spool / name, "wb"))
                    files[name].write(np.ascontiguousarray(array).data)
                    if name in arrays:
                        files[name].write(bytes((longest - len(array)) * array[0].nbytes))
                counts.append({name: len(array) for name, array in found.items()})
                rows.append(row)
        widths = {name: array.shape[1:] for name, array in arrays.items()}
        self._archive(spool, longest, widths, counts, rows)
        shutil.rmtree(spool)
        self._beside(rows)

    def _clip(self, clip: MotionClip) -> tuple[dict[str, Array], dict[str, Array], dict]:
        """Arrays with one row per frame, sparse contacts, and the clip's entries of the tables."""
        if clip.fps != FPS:
            raise ConfigError(f"{clip.name}: {clip.fps} frames a second, the format has {FPS}.")
        model = self.models(clip.object.name)
        if model.hinge is not None and self.flavour != "arctic":
            raise ConfigError(
                f"{clip.name}: {clip.object.name} has a hinge, for which the format of {self.flavour} has no room.",
                "Export it as arctic.",
            )
        arrays = self._object_arrays(clip.object, model)
        found: dict[str, Array] = {}
        points = posed_points(clip.object, model)
        for side in SIDES:
            track, letter = clip.hands.get(side), side[0]
            hand, joints = self._hand_arrays(track, side, clip)
            arrays |= {name.replace("?", letter): array for name, array in hand.items()}
            touching = sparse_contacts(points, joints)
            found |= {f"{letter}{name}": vector for name, vector in zip(CONTACTS, touching, strict=True)}
        return {name: array.astype(self.dtype) for name, array in arrays.items()}, found, self._row(clip)

    def _object_arrays(self, track: ObjectTrack, model: ObjectModel) -> dict[str, Array]:
        turn, origin = template_frame(model) if self.flavour == "arctic" else (np.eye(3), np.zeros(3))
        rotation = track.rotation @ turn.T
        transl = track.transl + track.rotation @ origin
        if self.flavour == "grab":
            rotation = rotation.transpose(0, 2, 1)
        numbers = np.concatenate([transl, _six(rotation)], 1)
        if self.flavour != "arctic":
            return {"x_obj": numbers}
        angle = np.zeros(len(transl)) if track.angle is None else track.angle
        return {"x_obj": numbers, "x_obj_angle": angle[:, None]}

    def _hand_arrays(self, track: HandTrack | None, side: str, clip: MotionClip) -> tuple[dict[str, Array], Array]:
        """The five arrays of one hand ("?" for its letter), zeros where it is idle, and its joints with its betas."""
        frames = clip.frames
        if track is None:
            shapes = {"x_?hand": (99,), "j_?hand": (21, 3), "?hand_beta": (10,), "?hand_org": (3,)}
            return {name: np.zeros((frames, *shape)) for name, shape in shapes.items()}, np.zeros((0, 21, 3))
        hand = load_hand(side)
        rotations, transl = torch.as_tensor(track.rotations), torch.as_tensor(track.transl)
        betas = torch.as_tensor(track.betas, dtype=rotations.dtype)
        with torch.no_grad():
            plain = hand.joints(rotations, transl).numpy()
            joints = hand.joints(rotations, transl, betas.expand(frames, -1)).numpy()
            rest = hand.rest_wrist(betas).numpy()
        written = rotations.numpy()
        if self.flavour == "arctic":
            written = without_mean_pose(written, side, clip.name)
        return {
            "x_?hand": np.concatenate([track.transl, _six(written).reshape(frames, 96)], 1),
            "j_?hand": plain,
            "?hand_beta": np.tile(track.betas, (frames, 1)),
            "?hand_org": joints[:, 0] if self.flavour == "arctic" else np.tile(rest, (frames, 1)),
        }, joints

    def _row(self, clip: MotionClip) -> dict:
        word = clip.object.category.replace("_", " ")
        if self.flavour == "arctic":
            word = clip.object.name  # the format has one name for both
        invalid = {side: np.flatnonzero(~track.valid).tolist() for side, track in clip.hands.items()}
        row = {"name": clip.name, "subject": clip.subject, "category": clip.object.category, "caption": clip.caption}
        return {
            "side": row | ({"invalid": invalid} if any(invalid.values()) else {}),
            "verb": clip.verb,
            "word": word,
            "object": clip.object.name,
            "hands": tuple(clip.hands),
            "frames": clip.frames,
        }

    # ---------------------------------------------------------------------------------------------------- the archive

    def _archive(self, spool: Path, longest: int, widths: dict, counts: list[dict], rows: list[dict]) -> None:
        """``data.npz``, array by array; uncompressed, so that rows can be read in place."""
        with zipfile.ZipFile(self.folder / "data.npz", "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, width in widths.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member, open(spool / name, "rb") as file:
                    _header(member, self.dtype, (len(rows), longest, *width))
                    shutil.copyfileobj(file, member, 1 << 20)
            for name in counts[0]:
                kind = np.dtype(np.float32 if "dist" in name else np.int64)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member, open(spool / name, "rb") as file:
                    _write_vectors(member, file, kind, [count[name] for count in counts])
            for name, column in self._columns(rows).items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.array(column), allow_pickle=False)

    def _columns(self, rows: list[dict]) -> dict[str, list]:
        """The fields with one entry per clip."""
        columns = {
            "is_lhand": [int("left" in row["hands"]) for row in rows],
            "is_rhand": [int("right" in row["hands"]) for row in rows],
            "action_name": [row["verb"] for row in rows],
            "nframes": [row["frames"] for row in rows],
        }
        names = [row["object"] for row in rows]
        if self.flavour == "arctic":
            return columns | {"object_name": names}
        if self.flavour == "grab":
            return columns | {"obj_name": names, "proc_obj_name": [row["word"] for row in rows]}
        listed = self._object_names(rows)
        numbers = {pair: number for number, pair in enumerate(H2O_ACTIONS, 1)}
        return columns | {
            "action_name": [f"{row['verb']} {row['word']}" for row in rows],
            "action": [numbers.get((row["verb"], row["word"]), 0) for row in rows],
            "object_idx": [listed.index(name) for name in names],
            "subject": [row["side"]["subject"] for row in rows],
            "background": ["h1"] * len(rows),
        }

    def _object_names(self, rows: list[dict]) -> list[str]:
        """``object_name`` of obj.pkl; that of H2O begins with an empty one, for id 0."""
        used = sorted({row["object"] for row in rows})
        if self.flavour != "h2o":
            return used
        return ["", *(H2O_OBJECTS if set(used) <= set(H2O_OBJECTS) else used)]

    # ----------------------------------------------------------------------------------------------------- beside it

    def _beside(self, rows: list[dict]) -> None:
        """Texts, counts, weights, objects and the list of what the format has no room for."""
        pairs = dict.fromkeys((*VOCABULARIES[self.flavour].pairs, *((row["verb"], row["word"]) for row in rows)))
        texts = {}
        for (verb, word), hands in ((pair, hands) for pair in pairs for hands in ("left", "right", "both")):
            forms = caption_forms(self.flavour, verb, word, hands, self.slips)
            texts[forms.imperative] = list(forms)
        keys = [caption_forms("", row["verb"], row["word"], hands_of(row["hands"])).imperative for row in rows]
        counts = Counter(keys)
        lengths: dict[str, list[int]] = {key: [] for key in counts}
        for key, row in zip(keys, rows, strict=True):
            lengths[key].append(min(row["frames"], MAX_FRAMES))
        splits = getattr(self.clips, "splits", None)
        side = {"splits": splits and {k: list(v) for k, v in splits.items()}, "clips": [row["side"] for row in rows]}
        for name, content in {"text": texts, "text_length": lengths, "text_count": dict(counts), "clips": side}.items():
            (self.folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        _pickle(self.folder / "balance_weights.pkl", [1 / counts[key] for key in keys])
        self._write_objects(rows)

    def _write_objects(self, rows: list[dict]) -> None:
        table: dict = {"object_name": self._object_names(rows)}
        clouds = ("obj_pcs", "obj_pc_normals", "point_sets", "obj_path", "obj_pc_top")
        table |= {key: {} for key in (clouds if self.flavour == "arctic" else clouds[:-1])}
        for name in sorted({row["object"] for row in rows}):
            model = in_template_frame(self.models(name)) if self.flavour == "arctic" else self.models(name)
            table["obj_pcs"][name] = model.points.astype(np.float32)
            table["obj_pc_normals"][name] = model.normals.astype(np.float32)
            table["point_sets"][name] = cKDTree(model.vertices).query(model.points)[1].astype(np.int64)
            table["obj_path"][name] = _write_mesh(self.folder / "meshes", model, name, self.flavour)
            if self.flavour == "arctic":
                table["obj_pc_top"][name] = model.point_part.astype(np.int64)
        _pickle(self.folder / "obj.pkl", table)


# -------------------------------------------------------------------------------------------------------------- files


def _six(matrices: Array) -> Array:
    return matrix_to_rot6d(torch.as_tensor(np.ascontiguousarray(matrices))).numpy()


def _header(file: BufferedIOBase, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    entries = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, entries)


class _Later:
    """A vector that a pickler takes from a file when its turn comes, and lets go again."""

    def __init__(self, file: BufferedIOBase, kind: np.dtype, count: int):
        self.file, self.kind, self.count = file, kind, count

    def __reduce__(self) -> tuple:
        return np.frombuffer(self.file.read(self.count * self.kind.itemsize), self.kind).__reduce__()


def _write_vectors(member: BufferedIOBase, file: BufferedIOBase, kind: np.dtype, counts: list[int]) -> None:
    """An object array (N,) of vectors as numpy writes it, without ever holding all of them."""
    vectors = np.empty(len(counts), object)
    for index, count in enumerate(counts):
        vectors[index] = _Later(file, kind, count)
    _header(member, vectors.dtype, vectors.shape)
    pickler = pickle.Pickler(member, protocol=4)
    pickler.fast = True  # remembers nothing
    pickler.dump(vectors)


def _pickle(path: Path, content: object) -> None:
    with open(path, "wb") as file:
        pickle.dump(content, file, protocol=4)


def _write_mesh(folder: Path, model: ObjectModel, name: str, flavour: str) -> str:
    """The mesh in the unit and place of the set's own files below ``folder``; returns ``obj_path``."""
    lines: Iterator[str]
    if flavour == "grab":
        stated = f"{name}.ply"
        head = ["ply", "format ascii 1.0", f"element vertex {len(model.vertices)}"]
        head += [f"property double {axis}" for axis in "xyz"]
        head += [f"element face {len(model.faces)}", "property list uchar int vertex_indices", "end_header"]
        body = [f"{x!r} {y!r} {z!r}" for x, y, z in model.vertices.tolist()]
        lines = iter([*head, *body, *(f"3 {a} {b} {c}" for a, b, c in model.faces.tolist())])
    else:
        stated = f"{name}/mesh.obj" if flavour == "arctic" else f"{name}/{name}.obj"
        vertices = model.vertices * (1000 if flavour == "arctic" else 1)
        corners = (model.faces + 1).tolist()
        lines = iter([*(f"v {x!r} {y!r} {z!r}" for x, y, z in vertices.tolist()),
                      *(f"f {a} {b} {c}" for a, b, c in corners)])  # fmt: skip
    path = raw.inside(folder, stated)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]))
    if flavour == "arctic":
        (path.parent / "parts.json").write_text(json.dumps((1 - model.part).tolist()))
    return stated
