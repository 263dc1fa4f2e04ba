"""H2O: two hands and one of eight rigid objects, seen by a camera on the head, one text file per frame.

Frames are 30 a second. Hands and object are stored in the frame of the camera, which moves with the head;
``cam_pose`` E = [Re | te] takes them to the world. A hand turns about its rest wrist J₀(β), not about the origin, so
its translation goes through the wrist: ``t' = Re (J₀(β) + t) + te − J₀(β)``. What the files hold, all in metres:

==================  ========================================================================================
``cam_pose``        16 numbers: camera → world, 4×4 by rows
``hand_pose_mano``  124: left, then right, each flag, translation, 48 absolute axis-angle numbers, 10 betas
``obj_pose_rt``     17: the object's number, then object → camera, 4×4 by rows
``action_label``    1: the action, 0 to 36; only beside the camera on the head
==================  ========================================================================================

The set's own description says 59 numbers a hand; there are 62. A clip is a run of frames of one action, as Text2HOI
cuts them; unlike there, the folders are joined by the number in a file's name, and a hand whose flag says that it was
not found is not valid in that frame.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from hoi_lib.data import raw
from hoi_lib.data.arctic_objects import read_obj
from hoi_lib.data.framefiles import FrameFiles, last_known, read_folder, span_of
from hoi_lib.data.published import PUBLISHED
from hoi_lib.data.vocabulary import H2O_ACTIONS, H2O_OBJECTS, VOCABULARIES, caption_forms, hands_of
from hoi_lib.errors import MeshError, RawDataError
from hoi_lib.hand import load_hand
from hoi_lib.motion import FPS, SIDES, HandTrack, MotionClip, ObjectTrack
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import axis_angle_to_matrix

CHAPTER = "chapter 4, “H2O”"
PLACES = (".", "h2o", "data/h2o", "data", "h2odataset")  # of object/ and subject1/
COUNTS = {"cam_pose": 16, "hand_pose_mano": 124, "obj_pose_rt": 17, "action_label": 1}
HAND = 62  # numbers of one hand: flag, 3 translation, 48 pose, 10 betas
HEAD = "cam4"  # the camera on the head
CAMERAS = tuple(f"cam{n}" for n in range(5))
UNLABELLED = ("subject4",)  # the actions of the test set are kept back
SHORTEST = 21  # frames; a shorter run is no clip
TOUCH = 0.02  # metres from a joint to an object point within which a hand takes part
GAPS = 0.1  # share of a folder's files that may be missing
LARGEST = 20.0  # that no axis-angle number and no beta is
STEP = 1.0  # metres that nothing moves in a frame
ROOM = 10.0  # metres that nothing is away from the camera, nor the camera from the world's origin
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}
WORDS = VOCABULARIES["h2o"]


@dataclass(frozen=True, eq=False)
class Recording:
    """One sequence of L frames in the world: ``hands`` that were ever found; the object's ``transl`` (L, 3) and
    ``rotation`` (L, 3, 3) where ``item`` (L,), its number, is not 0; ``action`` (L,). ``first`` is the number of the
    first frame."""

    first: int
    hands: dict[str, HandTrack]
    transl: Float[np.ndarray, "L 3"]
    rotation: Float[np.ndarray, "L 3 3"]
    item: Int[np.ndarray, "L"]
    action: Int[np.ndarray, "L"]


class H2O(raw.Reader):
    """H2O's sequences as :class:`MotionClip` records.

    ``folder`` holds ``object`` and ``subject1`` …, as official or with Text2HOI's spelling of the folder names, or has
    them in ``h2o`` or ``data/h2o``. A hand takes part in a clip if one of its 21 joints comes within 2 cm of the
    object's points; a clip without such a hand is left out, and so are runs of 20 frames or fewer and ``subject4``,
    whose actions are not published. Options:

    - ``camera``: "cam4", on the head, the only one with actions and the one that the published counts are of. The four
      others saw the same motion: with "cam0" poses come from there and actions from cam4; never add them up.
    - ``betas``: "fitted", as published, or "zero" with every wrist kept in its place.
    - ``mesh_units``: "m", as published, "cm" or "mm", for meshes that somebody has converted.
    """

    name = "h2o"
    splits = PUBLISHED["h2o"].splits

    def __init__(self, folder: str | os.PathLike, camera: str = HEAD, betas: str = "fitted", mesh_units: str = "m"):
        self.camera = raw.choice("camera", camera, CAMERAS)
        self.betas = raw.choice("betas", betas, ("fitted", "zero"))
        self.mesh_units = raw.choice("mesh_units", mesh_units, tuple(UNITS))
        self.folder = _data_root(Path(folder))
        self._subjects = _subjects(self.folder)
        self._models: dict[str, ObjectModel] = {}
        self._trees: dict[str, cKDTree] = {}

    # ------------------------------------------------------------------------------------------------------- listing

    def sequences(self) -> list[str]:
        """Names such as "subject1/h1/0", with or without a folder of the camera that is asked for."""
        return sorted(
            f"{subject}/{place}/{number}"
            for subject, home in self._subjects.items()
            for place in raw.folders(home)
            for number in raw.folders(home / place)
        )

    def files(self, sequence: str) -> list[Path]:
        """The folders of frames that a sequence needs and those of the objects' meshes."""
        subject, _, rest = sequence.partition("/")
        home = self._subjects[subject] / rest
        frames = [self._frames_folder(home, kind) for kind in COUNTS]
        return [*frames, *(self.folder / "object" / name for name in H2O_OBJECTS)]

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the objects that have a mesh, sorted."""
        return tuple(name for name in sorted(H2O_OBJECTS) if self._meshes(name))

    @property
    def notes(self) -> dict:
        """Options, the mesh file of each object, and the hand whose rest wrist was used."""
        return {
            "layout": "official",
            "camera": self.camera,
            "betas": self.betas,
            "meshes": {name: self._mesh(name).name for name in self.objects},
            "left_out": list(UNLABELLED),
            "left_shapedirs": "as in MANO's file",
            "hand": load_hand("right").content_hash,
        }

    # ------------------------------------------------------------------------------------------------------- reading

    def read(self, sequence: str) -> list[MotionClip]:
        """The clips of one sequence in the order of time, float64.

        An action whose clip cannot be read does not cost the others: :class:`~hoi_lib.data.raw.PartlyRead` brings them.
        """
        subject, _, rest = sequence.partition("/")
        home = self._subjects[subject] / rest
        recording = self._recording(home)
        clips, faults = [], []
        for run in _runs(recording.action):
            try:
                clips.append(self._clip(sequence, home, recording, run))
            except RawDataError as error:
                faults.append(error)
        found = [clip for clip in clips if clip is not None]
        if faults and not found:
            raise faults[0]
        if faults:
            rest = f"{len(faults)} of {len(faults) + len(clips)} actions left out, the others were read"
            raise raw.PartlyRead(f"{faults[0].what} ({rest})", found)
        return found

    def object(self, name: str) -> ObjectModel:
        """The mesh of one object in metres, mended; read once."""
        import trimesh

        if name not in self._models:
            path = self._mesh(name)
            vertices, faces = read_obj(path)
            longest = np.ptp(vertices, axis=0).max() * UNITS[self.mesh_units]
            if not 0.01 <= longest <= 1.0:
                mend = f"Read in {self.mesh_units}; pass --option mesh_units=mm if this copy is in millimetres."
                raise raw.damaged(path, f"the object would be {longest:.3g} m long", mend)
            mesh = trimesh.Trimesh(vertices, faces, process=False)
            try:
                scale = UNITS[self.mesh_units]
                self._models[name] = ObjectModel.from_mesh(mesh, name, WORDS.word(name), scale)
            except MeshError as error:
                raise raw.damaged(path, error.what, error.mend) from error
        return self._models[name]

    def _mesh(self, name: str) -> Path:
        """The mesh of an object: the file that has its name, or else the last of its folder, as Text2HOI takes it."""
        files = self._meshes(name)
        if not files:
            reason = "holds no .obj file" if name in H2O_OBJECTS else f"expected one of {', '.join(H2O_OBJECTS)}"
            raise raw.damaged(self.folder / "object" / name, reason, "Download and unpack H2O's object.zip too.")
        return next((path for path in files if path.stem.lower() == name), files[-1])

    def _meshes(self, name: str) -> list[Path]:
        folder = raw.inside(self.folder / "object", name)
        return sorted(path for path in folder.glob("*") if path.suffix.lower() == ".obj" and path.name[0] != ".")

    def _frames_folder(self, home: Path, kind: str) -> Path:
        """The folder of one ``kind`` of file, whichever way its name is spelt."""
        camera = home / (HEAD if kind == "action_label" else self.camera)
        return next((camera / name for name in raw.folders(camera) if name.lower() == kind), camera / kind)

    def _recording(self, home: Path) -> Recording:
        """Everything that the files of one sequence hold, in the world."""
        if not (home / self.camera).is_dir():
            there = ", ".join(raw.folders(home)) or "nothing"
            raise raw.damaged(home / self.camera, f"missing (there is {there})", "Download the pose archives.")
        hint = " (62 a hand: flag, translation, 48 pose, 10 betas)"
        tables = {
            kind: read_folder(self._frames_folder(home, kind), count, hint if count == 2 * HAND else "")
            for kind, count in COUNTS.items()
        }
        span = span_of(tuple(tables.values()), GAPS)
        camera, seen = _rigid(tables["cam_pose"], 0, span, "the camera")
        item, placed = _items(tables["obj_pose_rt"], span)
        local, _ = _rigid(tables["obj_pose_rt"], 1, span, "the object", tables["obj_pose_rt"].rows[:, 0] > 0)
        pose = camera @ local
        hands = {side: self._hand(tables["hand_pose_mano"], side, span, camera, seen) for side in SIDES}
        return Recording(
            span.start,
            {side: hand for side, hand in hands.items() if hand is not None},
            pose[:, :3, 3],
            pose[:, :3, :3],
            np.where(seen & placed, item, 0),
            _actions(tables["action_label"], span),
        )

    def _hand(
        self, table: FrameFiles, side: str, span: range, camera: Float[np.ndarray, "L 4 4"], seen: Bool[np.ndarray, "L"]
    ) -> HandTrack | None:
        """One hand in the world, with its last known pose where it was not found; None if it never was."""
        columns = slice(SIDES.index(side) * HAND, (SIDES.index(side) + 1) * HAND)
        flag = table.rows[:, columns.start]
        table.refuse(~np.isin(flag, (0, 1)), f"the flag of the {side} hand is neither 0 nor 1")
        table.refuse_infinite(flag == 1, columns)
        reach = np.abs(np.where(flag[:, None] == 1, table.rows[:, columns], 0))
        table.refuse(reach[:, 1:4].max(1) > ROOM, f"the {side} hand is over {ROOM:g} m away: H2O stores metres", None)
        table.refuse(reach[:, 4:].max(1) > LARGEST, f"a pose or shape number of the {side} hand is over {LARGEST:g}")
        rows, there = table.spread(span)
        rows = rows[:, columns]
        valid = there & seen & (rows[:, 0] == 1)
        if not valid.any():
            return None
        rows, camera = (x[last_known(valid)] for x in (rows, camera))
        transl, vectors, betas = np.split(rows[:, 1:], [3, 51], 1)
        shape = np.median(betas[valid], 0) if self.betas == "fitted" else np.zeros(10)
        rotations = axis_angle_to_matrix(vectors.reshape(-1, 16, 3))
        rotations[:, 0] = camera[:, :3, :3] @ rotations[:, 0]
        wrist = (camera[:, :3, :3] @ (_rest(side, betas) + transl)[..., None])[..., 0] + camera[:, :3, 3]
        _steady(table.folder, span.start, wrist, valid, f"the {side} hand")
        return HandTrack(wrist - _rest(side, shape), rotations, shape, valid)

    def _clip(self, sequence: str, home: Path, recording: Recording, run: slice) -> MotionClip | None:
        """One run of an action, or None where neither hand touches the object."""
        verb, word = H2O_ACTIONS[recording.action[run.start] - 1]
        folder = self._frames_folder(home, "obj_pose_rt")
        known = recording.item[run] == H2O_OBJECTS.index(word) + 1
        if 2 * known.sum() <= len(known):
            wrong = recording.first + run.start + int((~known).argmax())
            raise raw.damaged(
                folder / f"{wrong:06d}.txt",
                f"the action is “{verb} {word}”, but the object is another or missing",
                None,
            )
        held = run.start + last_known(known)
        _steady(folder, recording.first + run.start, recording.transl[held], known, "the object")
        track = ObjectTrack(word, WORDS.word(word), recording.transl[held], recording.rotation[held])
        cut = {
            side: HandTrack(hand.transl[run], hand.rotations[run], hand.betas, hand.valid[run] & known)
            for side, hand in recording.hands.items()
        }
        hands = {side: hand for side, hand in cut.items() if self._touches(side, hand, track)}
        if not hands:
            return None
        first, stop = recording.first + run.start, recording.first + run.stop
        return MotionClip(
            f"{sequence.replace('/', '_')}_{first:06d}_{stop:06d}",
            hands,
            track,
            verb,
            sequence.partition("/")[0],
            caption_forms("h2o", verb, word, hands_of(hands)).imperative,
            FPS,
        )

    def _touches(self, side: str, hand: HandTrack, track: ObjectTrack) -> bool:
        """Whether one of the joints ever comes within 2 cm of one of the object's points while the hand is valid."""
        if not hand.valid.any():
            return False
        if track.name not in self._trees:
            self._trees[track.name] = cKDTree(self.object(track.name).points)
        rotations, transl, betas = (torch.from_numpy(x) for x in (hand.rotations, hand.transl, hand.betas))
        joints = load_hand(side).joints(rotations, transl, betas).numpy()
        local = (joints - track.transl[:, None]) @ track.rotation  # rows times R: R transposed times columns
        distance, _ = self._trees[track.name].query(local[hand.valid].reshape(-1, 3), distance_upper_bound=TOUCH)
        return bool(np.isfinite(distance).any())


# ------------------------------------------------------------------------------------------------------------ layout


def _data_root(folder: Path) -> Path:
    """The folder with ``object`` and the subjects, ``folder`` or one below it."""
    for place in PLACES:
        root = folder / place
        if _subjects(root):
            if not set(raw.folders(root / "object")) & set(H2O_OBJECTS):
                mend = "Download and unpack H2O's object.zip too."
                raise RawDataError(f"{root / 'object'}: no object meshes beside the subjects.", mend, CHAPTER)
            return root
    found = next((path for place in PLACES for path in sorted((folder / place).glob("subject*.*"))), None)
    mend = f"Unpack {found} first." if found else "--raw names the folder with object and subject1 to subject3."
    raise RawDataError(f"{folder}: no subject1, subject2 or subject3 with recordings here.", mend, CHAPTER)


def _subjects(root: Path) -> dict[str, Path]:
    """The folders of the labelled subjects by name; "subject1_pose", as an archive may unpack, will do for subject1."""
    found = {}
    for name in reversed(raw.folders(root)):  # the plain name comes last and wins
        if (subject := re.fullmatch(r"(subject\d+)(_\w+)?", name)) and subject[1] not in UNLABELLED:
            inner = root / name / subject[1]  # where an archive was unpacked into a folder of its own name
            found[subject[1]] = inner if inner.is_dir() else root / name
    return {subject: found[subject] for subject in sorted(found)}


# ----------------------------------------------------------------------------------------------------------- numbers


def _rigid(
    table: FrameFiles, column: int, span: range, what: str, matters: Bool[np.ndarray, "N"] | None = None
) -> tuple[Float[np.ndarray, "L 4 4"], Bool[np.ndarray, "L"]]:
    """The 4×4 matrices from ``column`` on for every frame, rotations made exact, and where there is a file.

    Raises :class:`RawDataError` for what is no rigid motion in a row that ``matters``, or leads out of the room.
    """
    matters = np.ones(len(table.rows), bool) if matters is None else matters
    table.refuse_infinite(matters, slice(column, column + 16))
    given = np.where(matters[:, None], table.rows[:, column : column + 16], np.eye(4).ravel())
    matrices = given.reshape(-1, 4, 4)
    bottom = np.abs(matrices[:, 3] - [0, 0, 0, 1]).max(1) > 1e-6
    table.refuse(bottom, f"the last row of the matrix of {what} is not 0 0 0 1")
    table.refuse(np.abs(matrices[:, :3, 3]).max(1) > ROOM, f"{what} is over {ROOM:g} m away: H2O stores metres", None)
    u, stretch, vt = np.linalg.svd(matrices[:, :3, :3])
    crooked = (np.abs(stretch - 1).max(1) > 1e-2) | (np.linalg.det(u @ vt) < 0)
    table.refuse(crooked, f"the matrix of {what} is no rotation")
    matrices[:, :3, :3] = u @ vt
    spread, there = FrameFiles(table.folder, table.frames, matrices.reshape(-1, 16)).spread(span)
    spread[~there] = np.eye(4).ravel()
    return spread.reshape(-1, 4, 4), there


def _items(table: FrameFiles, span: range) -> tuple[Int[np.ndarray, "L"], Bool[np.ndarray, "L"]]:
    """The object's number (0 none) in every frame, and where there is a file."""
    known = np.arange(len(H2O_OBJECTS) + 1)
    table.refuse(~np.isin(table.rows[:, 0], known), f"the object's number is none of 0 to {known[-1]}")
    rows, there = table.spread(span)
    return rows[:, 0].astype(np.int64), there


def _actions(table: FrameFiles, span: range) -> Int[np.ndarray, "L"]:
    """The action (0 none) of every frame; that of a missing file where the known ones before and after agree."""
    known = np.arange(len(H2O_ACTIONS) + 1)
    table.refuse(~np.isin(table.rows[:, 0], known), f"the action is none of 0 to {known[-1]}")
    rows, there = table.spread(span)
    actions = rows[:, 0].astype(np.int64)
    before, after = actions[last_known(there)], actions[::-1][last_known(there[::-1])][::-1]
    return np.where(before == after, before, 0)


def _steady(folder: Path, first: int, place: Float[np.ndarray, "L 3"], known: Bool[np.ndarray, "L"], what: str) -> None:
    """Raise where something leaps from one known frame to the next: a damaged number."""
    leap = np.linalg.norm(np.diff(place, axis=0), axis=1) * (known[1:] & known[:-1])
    if leap.max(initial=0) > STEP:
        frame = first + 1 + int(leap.argmax())
        raise raw.damaged(folder / f"{frame:06d}.txt", f"{what} leaps by {leap.max():.3g} m to this frame")


def _runs(action: Int[np.ndarray, "L"]) -> Iterator[slice]:
    """The runs of one action that are long enough to be a clip."""
    edges = np.flatnonzero(np.diff(action, prepend=-1, append=-1))
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        if action[start] and stop - start >= SHORTEST:
            yield slice(int(start), int(stop))


def _rest(side: str, betas: Float[np.ndarray, "... 10"]) -> Float[np.ndarray, "... 3"]:
    """Where the wrist of a shape lies at rest, J₀(β)."""
    return load_hand(side).rest_wrist(torch.from_numpy(betas)).numpy()
