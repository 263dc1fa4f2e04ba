"""A clip as each recorded set would have written it down: folders in the official layouts, made from known motion.

Of such a folder the truth is known, so a reader can be tried on it, by the book and by you, without a download. Each
function writes one sequence and its object below ``folder`` in double precision and returns the name by which the
set's reader knows it; :func:`world` says what has to come out. L frames. Metres, radians, the world's frame.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh
from jaxtyping import Float

from hoi_lib.data.mistakes import planted, seen_from
from hoi_lib.data.text2hoi_numbers import in_template_frame, template_frame
from hoi_lib.data.vocabulary import H2O_ACTIONS, H2O_OBJECTS
from hoi_lib.hand import load_hand
from hoi_lib.motion import SIDES, HandTrack, MotionClip, ObjectTrack
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import matrix_to_axis_angle, matrix_to_rot6d, rot6d_to_matrix

Array = np.ndarray
FRAMES_WITHOUT_CONTACT = 8  # before and after, of 120 a second


def exact(clip: MotionClip) -> MotionClip:
    """The clip in float64, its rotations orthonormal to the last digit, without labels: nothing hides in rounding."""

    def wide(track: HandTrack | ObjectTrack) -> HandTrack | ObjectTrack:
        floats = {k: v for k, v in vars(track).items() if getattr(v, "dtype", None) == np.float32}
        fields = {k: np.array(v, np.float64) for k, v in floats.items()}  # plain arrays, no memory maps
        turns = {k: rot6d_to_matrix(matrix_to_rot6d(v)) for k, v in fields.items() if k.startswith("rotation")}
        return replace(track, **fields | turns)

    hands = {side: wide(hand) for side, hand in clip.hands.items()}
    return replace(clip, hands=hands, object=wide(clip.object), labels=None)


def world(clip: MotionClip, model: ObjectModel) -> Float[Array, "L N 3"]:
    """Where a clip puts everything: the joints of its hands, left first, and the vertices of its object."""
    found = []
    for side in sorted(clip.hands):
        track = clip.hands[side]
        numbers = (torch.as_tensor(x) for x in (track.rotations, track.transl, track.betas))
        with torch.no_grad():
            found.append(load_hand(side).joints(*numbers).numpy())
    item = clip.object
    things = model.posed_vertices(item.angle) @ item.rotation.swapaxes(1, 2) + item.transl[:, None]
    return np.concatenate([*found, things], 1)


def on_template_hinge(clip: MotionClip, model: ObjectModel) -> tuple[MotionClip, ObjectModel]:
    """The same motion with the object in a frame of its own whose hinge is −z through the origin, as ARCTIC has it."""
    turn, origin = template_frame(model)
    item = clip.object
    moved = replace(item, rotation=item.rotation @ turn.T, transl=item.transl + item.rotation @ origin)
    return replace(clip, object=moved), in_template_frame(model)


def write_arctic(folder: Path, clip: MotionClip, model: ObjectModel, name: str = "box") -> str:
    """A clip of two hands and an object with the hinge −z (:func:`on_template_hinge`) as ARCTIC's."""
    sequence = folder / "raw_seqs" / clip.subject / f"{name}_use_01"
    template = folder / "meta" / "object_vtemplates" / name
    for place in (sequence.parent, template):
        place.mkdir(parents=True, exist_ok=True)
    hands = {}
    for side, track in clip.hands.items():
        vectors = matrix_to_axis_angle(track.rotations)
        offsets = vectors[:, 1:].reshape(-1, 45) - load_hand(side).hands_mean.numpy()
        hands[side] = {"rot": vectors[:, 0], "pose": offsets, "trans": track.transl, "shape": np.array(track.betas)}
    np.save(f"{sequence}.mano.npy", hands)
    item = clip.object
    numbers = [item.angle[:, None], matrix_to_axis_angle(item.rotation), 1000 * item.transl]
    np.save(f"{sequence}.object.npy", np.concatenate(numbers, 1))
    _save_mesh(template / "mesh.obj", 1000 * model.vertices, model.faces)
    (template / "parts.json").write_text(json.dumps((1 - model.part).tolist()))
    return f"{clip.subject}/{sequence.name}"


def write_grab(folder: Path, clip: MotionClip, model: ObjectModel, name: str = "bowl", action: str = "pass") -> str:
    """A clip of two hands and a rigid object as a sequence of GRAB: 120 frames a second, every fourth one ours.

    Contact begins and ends :data:`FRAMES_WITHOUT_CONTACT` frames from the ends, so that many are not read back.
    """
    fast, _ = planted("slow motion", clip, model)
    subject, count = f"s{int(clip.subject[1:])}", fast.frames
    contact = np.zeros((count, len(model.vertices)), np.int8)
    contact[FRAMES_WITHOUT_CONTACT:-FRAMES_WITHOUT_CONTACT] = 41  # a part of the right hand
    turn = -matrix_to_axis_angle(fast.object.rotation)  # for rows: v' = v Rodrigues(w) + t
    content = {"sbj_id": subject, "obj_name": name, "motion_intent": action, "framerate": 120.0, "n_frames": count}
    content |= {"contact": {"object": contact}}
    content |= {"object": {"params": {"transl": fast.object.transl, "global_orient": turn}}}
    for side, track in fast.hands.items():
        key, vectors = f"{side[0]}hand", matrix_to_axis_angle(track.rotations).reshape(count, 48)
        numbers = {"transl": track.transl, "global_orient": vectors[:, :3], "fullpose": vectors[:, 3:]}
        scan = f"tools/subject_meshes/male/{subject}_{key}.ply"
        content[key] = {"params": numbers, "vtemp": scan}
        hand = load_hand(side)
        resting = hand.template.double() + hand.shapedirs.double() @ torch.as_tensor(track.betas)
        _save_mesh(folder / scan, resting.numpy(), hand.faces.numpy())
    path = folder / "grab" / subject / f"{name}_{action}_1.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{key: np.array(value, dtype=object) for key, value in content.items()})
    _save_mesh(folder / "tools" / "object_meshes" / "contact_meshes" / f"{name}.ply", model.vertices, model.faces)
    return f"{subject}/{path.stem}"


def write_h2o(
    folder: Path,
    clip: MotionClip,
    model: ObjectModel,
    camera: Float[Array, "L 4 4"],
    name: str = "milk",
    verb: str = "pour",
) -> str:
    """A clip with a rigid object as a sequence of H2O, seen by ``camera`` (camera → world): a text file a frame."""
    seen = seen_from(clip, camera)
    hands = [_h2o_hand(seen.hands.get(side), clip.frames) for side in SIDES]
    pose = np.tile(np.eye(4), (clip.frames, 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = seen.object.rotation, seen.object.transl
    item = np.full((clip.frames, 1), H2O_OBJECTS.index(name) + 1)
    rows = {
        "cam_pose": camera.reshape(-1, 16),
        "hand_pose_mano": np.concatenate(hands, 1),
        "obj_pose_rt": np.concatenate([item, pose.reshape(-1, 16)], 1),
        "action_label": np.full((clip.frames, 1), H2O_ACTIONS.index((verb, name)) + 1),
    }
    sequence = "subject1/h1/0"
    for kind, numbers in rows.items():
        place = folder / sequence / "cam4" / kind
        place.mkdir(parents=True, exist_ok=True)
        for frame, line in enumerate(numbers.tolist()):
            (place / f"{frame:06d}.txt").write_text(" ".join(map(repr, line)))
    _save_mesh(folder / "object" / name / f"{name}.obj", model.vertices, model.faces)
    return sequence


def _h2o_hand(track: HandTrack | None, frames: int) -> Float[Array, "L 62"]:
    """One hand's part of a line: found or not, translation, 48 absolute numbers, betas; zeros for a hand not there."""
    if track is None:
        return np.zeros((frames, 62))
    pose = matrix_to_axis_angle(track.rotations).reshape(frames, 48)
    return np.concatenate([np.ones((frames, 1)), track.transl, pose, np.tile(track.betas, (frames, 1))], 1)


def _save_mesh(path: Path, vertices: Array, faces: Array) -> None:
    """A mesh file with its vertices in their order; an .obj keeps twelve digits, a .ply is in single precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    mesh.export(path, **({"digits": 12} if path.suffix == ".obj" else {}))
