"""GRAB, from the folder as downloaded: whole people who take everyday objects, at 120 frames a second.

One ``.npz`` is one sequence and becomes one clip. What its files mean, and what the records of this library need:

=================  =============================================  ==============================================
GRAB               stored                                         here
=================  =============================================  ==============================================
time               120 frames a second                            every 4th frame, 30 a second
object rotation    ``v' = v Rodrigues(w) + t``, rows times it     its transpose, once, so that ``v' = R v + t``
finger pose        ``fullpose``, absolute: no mean pose is added  as it is (from the PCA numbers where it is missing)
hand shape         a mesh of each subject's hand, no betas        betas fitted to that mesh; the wrist stays in place
hands that act     not told, both are recorded                    those that come within 2 cm of the object
the action         recorded from table to table                   from the first to the last frame with contact
=================  =============================================  ==============================================

The cut and the naming of actions and objects are Text2HOI's, so that its counts hold.
"""

from __future__ import annotations

import os
import re
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from hoi_lib.data.published import PUBLISHED
from hoi_lib.data.raw import AGAIN, CHAPTER, Reader, damaged, expect, inside, load_npz
from hoi_lib.data.vocabulary import VOCABULARIES, caption_forms, hands_of
from hoi_lib.errors import ConfigError, MeshError, RawDataError
from hoi_lib.hand import HandModel, hand_data, load_hand
from hoi_lib.motion import FPS, SIDES, HandTrack, MotionClip, ObjectTrack
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import axis_angle_to_matrix

TOUCH = 0.02  # metres between a joint and an object point from which on a hand takes part
WIDEST = 10.0  # metres: no recording goes farther from the origin
TURN = 100.0  # radians: no rotation vector is longer
LAST_CONTACT = 55  # contact labels are parts of the body, 1 to 55; 0 is no contact
STRAY = 0.02  # metres: a vertex of a subject's hand lies closer than this to the fitted shape
SHAPES = ("template", "zero")
FIELDS = ("sbj_id", "obj_name", "motion_intent", "framerate", "n_frames", "lhand", "rhand", "object")


@dataclass(frozen=True)
class Layout:
    """Where a variant of the folder keeps its ``sequences`` and object ``meshes``; ``name`` for the notes."""

    name: str
    sequences: str
    meshes: str


LAYOUTS = (
    Layout("official", "grab", "tools/object_meshes/contact_meshes"),
    Layout("text2hoi", ".", "contact_meshes"),
)
TEMPLATES = "tools/subject_meshes"


@dataclass(frozen=True, eq=False)
class HandShape:
    """A subject's hand in the betas of the hand model: ``betas`` (10,), ``shift`` (3,) metres to add to GRAB's
    translation so that the wrist stays where it was, ``mean`` and ``worst`` distance of a vertex to the fit, metres."""

    betas: Float[np.ndarray, "10"]
    shift: Float[np.ndarray, "3"]
    mean: float = 0.0
    worst: float = 0.0


NO_SHAPE = HandShape(np.zeros(10), np.zeros(3))


class Grab(Reader):
    """The sequences of a GRAB folder: the official layout (``grab/s1``…, ``tools/``) or Text2HOI's (``s1``…,
    ``contact_meshes/``).

    ``betas="template"`` fits each subject's hand, ``"zero"`` gives everyone the mean hand with the wrist in its place.
    Where the folder holds no hands of subjects at all everyone has zero betas; :attr:`notes` says so.
    """

    name = "grab"
    splits = PUBLISHED["grab"].splits
    version = 1

    def __init__(self, folder: str | os.PathLike, betas: str = "template"):
        if betas not in SHAPES:
            raise ConfigError(f"betas {betas!r}: expected one of {', '.join(SHAPES)}.", None, CHAPTER)
        self.betas = betas
        self.folder, self.layout = _layout(Path(folder))
        self._sequences, self._meshes = self.folder / self.layout.sequences, self.folder / self.layout.meshes
        self._models: dict[str, tuple[ObjectModel, cKDTree]] = {}
        self._shapes: dict[Path, HandShape] = {}

    def sequences(self) -> list[str]:
        """Names such as "s4/mug_pass_1", sorted."""
        files = self._sequences.glob("s*/*.npz")
        return sorted(
            f"{f.parent.name}/{f.stem}" for f in files if re.fullmatch(r"s\d+", f.parent.name) and f.name[0] != "."
        )

    def files(self, sequence: str) -> list[Path]:
        """The sequence, the mesh of the object in its name, and the subject's hands."""
        subject, _, stem = sequence.partition("/")
        hands = [file for file in self._templates if file.stem.startswith(f"{subject}_")]
        return [self._file(sequence), self._meshes / f"{stem.partition('_')[0]}.ply", *hands]

    @cached_property
    def objects(self) -> tuple[str, ...]:
        """Names of the object meshes, sorted."""
        return tuple(sorted(file.stem for file in self._meshes.glob("*.ply") if file.name[0] != "."))

    def object(self, name: str) -> ObjectModel:
        """The object of a contact mesh, in metres; :class:`RawDataError` for a mesh that is missing or damaged."""
        return self._object(name)[0]

    @property
    def notes(self) -> dict:
        """Layout, options, the hand model that betas refer to, and how well they fit each subject's hand (mm)."""
        return {
            "layout": self.layout.name,
            "frames": f"every {PUBLISHED['grab'].native_fps // FPS}th, from the first to the last with contact",
            "betas": self.betas if self._templates else "zero (no hands of subjects in the folder)",
            "hand_model": load_hand("right").content_hash,
            "fit_mm": {file.stem: self._fit_note(file) for file in self._templates},
        }

    @property
    def cautions(self) -> list[str]:
        """That every hand has the mean shape, where no mesh of a subject's hand was found."""
        if self._templates or self.betas == "zero":
            return []
        return [f"{TEMPLATES}: no meshes of the subjects' hands were found, so all hands have the mean shape."]

    def read(self, sequence: str) -> list[MotionClip]:
        """The one clip of a sequence; raises :class:`RawDataError`.

        Frames run from the first one in which any vertex of the object carries a contact label up to, but without,
        the last, after every 4th was kept.
        """
        path = self._file(sequence)
        content = load_npz(path, FIELDS)
        subject, name, action = (_text(path, content, key) for key in ("sbj_id", "obj_name", "motion_intent"))
        if subject != path.parent.name:
            raise damaged(path, f"belongs to subject {subject!r}, but lies in the folder {path.parent.name!r}")
        words = VOCABULARIES[self.name]
        verb, word = words.verb(action), words.word(name)
        if verb not in words.verbs:
            raise damaged(path, f"motion_intent {action!r} is no action of GRAB")
        total = int(_number(path, content, "n_frames"))
        frames = self._window(path, name, total, _stride(path, content))
        thing = _object_track(path, content, total, frames, name, word)
        recorded = {side: self._hand(path, content, side, total, frames) for side in SIDES}
        _, points = self._object(name)
        hands = {side: track for side, track in recorded.items() if self._touches(side, track, thing, points)}
        if not hands:
            raise damaged(path, f"no hand comes within {100 * TOUCH:g} cm of the object", None)
        caption = caption_forms(self.name, verb, word, hands_of(hands)).imperative
        return [MotionClip(f"{subject}_{path.stem}", hands, thing, verb, subject, caption)]

    # ------------------------------------------------------------------------------------------------------ objects

    def _file(self, sequence: str) -> Path:
        return inside(self._sequences, f"{sequence}.npz")

    def _mesh(self, name: str) -> Path:
        """The contact mesh of an object of this folder."""
        if name not in self.objects:
            raise damaged(self._meshes / f"{name}.ply", "missing", "Extract tools/ again.")
        return self._meshes / f"{name}.ply"

    def _object(self, name: str) -> tuple[ObjectModel, cKDTree]:
        """The model and a search tree over its 1 024 points, made once."""
        if name not in self._models:
            path = self._mesh(name)
            try:
                model = ObjectModel.from_mesh(path, name, VOCABULARIES[self.name].word(name), scale="m")
            except MeshError as error:
                raise RawDataError(error.what, AGAIN, CHAPTER) from error
            longest = float(np.ptp(model.bounds, axis=0).max())
            if not 0.01 <= longest <= 1.0:
                raise damaged(path, f"{longest:.4g} m long: no object of GRAB, whose meshes are in metres")
            self._models[name] = model, cKDTree(model.points.astype(np.float64))
        return self._models[name]

    def _window(self, path: Path, name: str, total: int, stride: int) -> Int[np.ndarray, "L"]:
        """Indices into the recording of the frames of the clip.

        The labels are the bulk of a sequence (frames × 50 000 vertices): they are looked at in place, and let go.
        """
        contact = load_npz(path, ("contact",))["contact"]
        labels = contact.get("object") if isinstance(contact, dict) else None
        shape = total, _vertex_count(self._mesh(name))
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "biuf" or labels.shape != shape:
            held = f"{labels.dtype} {labels.shape}" if isinstance(labels, np.ndarray) else type(labels).__name__
            raise damaged(path, f"contact of the object is {held}, expected numbers {shape}")
        labels = labels[::stride]
        if not (labels.min() >= 0 and labels.max() <= LAST_CONTACT):
            raise damaged(path, f"contact of the object holds labels outside 0 to {LAST_CONTACT}")
        touched = np.flatnonzero(labels.any(1))
        if len(touched) < 2 or touched[-1] - touched[0] < 2:
            raise damaged(path, f"the object is touched in {len(touched)} frames: too few for a clip", None)
        return np.arange(touched[0], touched[-1]) * stride

    # -------------------------------------------------------------------------------------------------------- hands

    @cached_property
    def _hands(self) -> dict[str, HandModel]:
        """The hand model of each side in float64."""
        return {side: deepcopy(load_hand(side)).double() for side in SIDES}

    @cached_property
    def _templates(self) -> list[Path]:
        """Meshes of subjects' hands, as they lie in the download."""
        files = (self.folder / TEMPLATES).glob("*/*.ply")
        return sorted(file for file in files if re.fullmatch(r"s\d+_[lr]hand", file.stem))

    def _hand(self, path: Path, content: dict, side: str, total: int, frames: Int[np.ndarray, "L"]) -> HandTrack:
        """The track of one hand over ``frames``, whether or not it takes part."""
        key = f"{side[0]}hand"
        hand, params = content[key], _params(path, content, key)
        root = expect(path, f"{key} global_orient", params.get("global_orient"), (total, 3), within=TURN)[frames]
        if "fullpose" in params:
            fingers = expect(path, f"{key} fullpose", params["fullpose"], (total, 45), within=TURN)[frames]
        else:
            weights = expect(path, f"{key} hand_pose", params.get("hand_pose"), (total, None), within=TURN)[frames]
            if weights.shape[1] > 45:
                raise damaged(path, f"{key} hand_pose has {weights.shape[1]} components, expected at most 45")
            fingers = weights @ self._hands[side].components[: weights.shape[1]].numpy()
        rotations = axis_angle_to_matrix(np.concatenate([root, fingers], 1).reshape(-1, 16, 3))
        shape = self._shape(path, side, hand.get("vtemp"))
        transl = expect(path, f"{key} transl", params.get("transl"), (total, 3), within=WIDEST)[frames] + shape.shift
        return HandTrack(transl, rotations, shape.betas.copy(), np.ones(len(frames), bool))

    def _shape(self, path: Path, side: str, template: object) -> HandShape:
        """The shape of the hand whose mesh a sequence names by a path within the folder."""
        if not isinstance(template, str):
            raise damaged(path, f"{side[0]}hand names no hand of the subject (vtemp)")
        file = inside(self.folder, template)
        if not self._templates:
            return NO_SHAPE
        fitted = self._fitted(file, side)
        if self.betas == "template":
            return fitted
        hand = self._hands[side]
        return HandShape(NO_SHAPE.betas, fitted.shift + (hand.rest_wrist(torch.as_tensor(fitted.betas))
                                                     - hand.rest_wrist()).numpy())  # fmt: skip

    def _fitted(self, file: Path, side: str) -> HandShape:
        """The fit to a hand's mesh, made once; raises :class:`RawDataError` for a mesh that is no such hand."""
        if file not in self._shapes:
            vertices = expect(file, "the hand", _vertices(file), (778, 3), within=1.0)
            shape = fit_shape(self._hands[side], vertices)
            if not shape.worst <= STRAY:
                raise damaged(
                    file,
                    f"a vertex lies {1000 * shape.worst:.3g} mm from the nearest {side} hand of the hand model",
                    "Set HOI_MANO_DIR to the MANO files that GRAB was made with, or download tools/ again.",
                )
            self._shapes[file] = shape
        return self._shapes[file]

    def _fit_note(self, file: Path) -> dict | str:
        try:
            shape = self._fitted(file, "left" if file.stem.endswith("_lhand") else "right")
        except RawDataError as error:
            return error.what
        return {"mean": round(1000 * shape.mean, 3), "worst": round(1000 * shape.worst, 3)}

    def _touches(self, side: str, track: HandTrack, thing: ObjectTrack, points: cKDTree) -> bool:
        """True if in some frame one of the 21 joints is within 2 cm of one of the object's 1 024 points."""
        rotations, transl, betas = map(torch.from_numpy, (track.rotations, track.transl, track.betas))
        joints = self._hands[side].joints(rotations, transl, betas).numpy()  # (L, 21, 3)
        local = (joints - thing.transl[:, None]) @ thing.rotation  # rows times R: the inverse turn
        return bool(np.isfinite(points.query(local.reshape(-1, 3), distance_upper_bound=TOUCH)[0]).any())


def fit_shape(hand: HandModel, vertices: Float[np.ndarray, "778 3"]) -> HandShape:
    """The betas that bring the resting ``hand`` (float64) closest to a subject's hand, by least squares.

    A common shift of all vertices is fitted along and is no part of the shape. MANO turns the hand about its rest
    wrist, so the difference between the wrist of the mesh and that of the betas goes into :attr:`HandShape.shift`: the
    wrist of every posed hand then stays where the mesh had it, however well the shape is met.
    """
    basis = hand.shapedirs.numpy().reshape(-1, 10)
    columns = np.concatenate([basis, np.tile(np.eye(3), (len(vertices), 1))], 1)
    target = (vertices - hand.template.numpy()).reshape(-1)
    found = np.linalg.lstsq(columns, target, rcond=None)[0]
    distance = np.linalg.norm((target - columns @ found).reshape(-1, 3), axis=1)
    betas = found[:10]
    wrist = _wrist_regressor(hand.side) @ vertices
    shift = wrist - hand.rest_wrist(torch.as_tensor(betas)).numpy()
    return HandShape(betas, shift, float(distance.mean()), float(distance.max()))


def _wrist_regressor(side: str) -> Float[np.ndarray, "778"]:
    """The row of MANO's joint regressor that finds the wrist in a resting mesh."""
    return hand_data(side, os.environ.get("HOI_MANO_DIR") or None)["J_regressor"][0]


# ----------------------------------------------------------------------------------------------------- file contents


def _layout(folder: Path) -> tuple[Path, Layout]:
    """The root of a data set and its variant; :class:`RawDataError` says what was looked for.

    The official ``grab/`` itself may be named instead of the folder that holds it beside ``tools/``.
    """
    for root in (folder, *([folder.resolve().parent] if folder.resolve().name == "grab" else [])):
        for layout in LAYOUTS:
            sequences, meshes = root / layout.sequences, root / layout.meshes
            if next(sequences.glob("s*/*.npz"), None) and next(meshes.glob("*.ply"), None):
                return root, layout
    looked = " or ".join(f"{Path(l.sequences) / 's1' / '*.npz'} with {l.meshes}/*.ply" for l in LAYOUTS)
    raise RawDataError(
        f"{folder}: no GRAB folder: expected {looked}",
        "Extract all archives into one folder and name the folder that holds grab/ and tools/.",
        CHAPTER,
    )


def _text(path: Path, content: dict, key: str) -> str:
    value = content[key]
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not isinstance(value, str) or not value:
        raise damaged(path, f"{key} is {value!r:.60}, expected a word")
    return str(value)


def _number(path: Path, content: dict, key: str) -> float:
    return float(expect(path, key, content[key], ()))


def _stride(path: Path, content: dict) -> int:
    """How many recorded frames make one of the clip."""
    rate = _number(path, content, "framerate")
    if rate < FPS or rate % FPS:
        raise damaged(path, f"framerate is {rate:g}, expected a multiple of {FPS}")
    return int(rate // FPS)


def _params(path: Path, content: dict, key: str) -> dict:
    """The dictionary of arrays of the left hand, the right hand or the object."""
    record = content[key]
    params = record.get("params") if isinstance(record, dict) else None
    if not isinstance(params, dict):
        raise damaged(path, f"{key} holds no params")
    return params


def _object_track(
    path: Path, content: dict, total: int, frames: Int[np.ndarray, "L"], name: str, word: str
) -> ObjectTrack:
    """The object over ``frames``; GRAB's row vectors times a rotation are column vectors times its transpose."""
    params = _params(path, content, "object")
    turn = expect(path, "object global_orient", params.get("global_orient"), (total, 3), within=TURN)[frames]
    transl = expect(path, "object transl", params.get("transl"), (total, 3), within=WIDEST)[frames]
    return ObjectTrack(name, word, transl, np.swapaxes(axis_angle_to_matrix(turn), -1, -2).copy())


def _vertex_count(path: Path) -> int:
    """Number of vertices that the header of a PLY file states."""
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise damaged(path, error) from error
    found = re.search(rb"\nelement vertex (\d{1,9})\s", head)
    if not head.startswith(b"ply") or not found:
        raise damaged(path, "no PLY mesh")
    return int(found[1])


def _vertices(path: Path) -> Float[np.ndarray, "v 3"]:
    """The vertices of a PLY mesh in the order of the file; :class:`RawDataError` for a damaged one."""
    import trimesh

    _vertex_count(path)
    try:
        return np.asarray(trimesh.load(path, process=False, maintain_order=True).vertices)
    except Exception as error:  # a loader may fail in any way on a damaged file
        raise damaged(path, error) from error
