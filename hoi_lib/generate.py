"""From a sentence and a mesh to a moving hand: what ``hoi generate`` does, callable.

L frames at 30 per second, metres, world frame with z up. The object's path is given or made here; the denoiser fills
in the hand or hands that the sentence names.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hoi_lib import text as language
from hoi_lib import viewer
from hoi_lib.data.choreography import SCRIPTS, SECONDS, Stage
from hoi_lib.diffusion import Step
from hoi_lib.encoders import load_encoder
from hoi_lib.errors import OutputError, TrajectoryError
from hoi_lib.hand import load_hand
from hoi_lib.motion import FPS, SIDES, Batch, MotionClip, ObjectTrack, Sample, collate, hand_track, pack_object
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import is_rotation, rot6d_to_matrix
from hoi_lib.sampling import load_denoiser, sample_batch

CONTACT = 0.005  # metres from the surface, as the contact ratio counts it
MIN_FRAMES, MAX_PATH_FRAMES = 16, 300
REACH, LEAVE = 21, 8  # frames before a made path begins and after it ends


@dataclass(frozen=True)
class Trajectory:
    """An object's path: ``transl`` (L, 3) in metres, ``rotation`` (L, 3, 3), ``angle`` (L,) radians or None."""

    transl: Tensor
    rotation: Tensor
    angle: Tensor | None = None

    def __len__(self) -> int:
        return len(self.transl)


def read_trajectory(path: str | Path) -> Trajectory:
    """Read ``t`` (L, 3), ``R`` (L, 3, 3) or ``rot6d`` (L, 6), and optionally ``angle`` (L,) from an ``.npz``.

    Raises :class:`TrajectoryError` saying which array is missing, of the wrong shape or length, not finite, no
    rotation, or in millimetres.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {
                key: np.asarray(file[key], np.float64) for key in file.files if key in {"t", "R", "rot6d", "angle"}
            }
    except FileNotFoundError:
        raise TrajectoryError(f"{path}: no such file.", "Give an .npz with t (L,3) and R (L,3,3).") from None
    except Exception as error:  # numpy raises half a dozen kinds for damaged archives
        raise TrajectoryError(
            f"{path}: not readable as .npz ({error}).", "Write it with numpy.savez(path, t=…, R=…)."
        ) from None
    if "t" not in arrays or not {"R", "rot6d"} & set(arrays):
        raise TrajectoryError(f"{path}: holds {sorted(arrays) or 'nothing'}: expected t and R (or rot6d).")
    frames = len(arrays["t"])
    shapes = {"t": (frames, 3), "R": (frames, 3, 3), "rot6d": (frames, 6), "angle": (frames,)}
    for key, array in arrays.items():
        if array.shape != shapes[key]:
            raise TrajectoryError(f"{path}: {key} has shape {array.shape}: expected {shapes[key]}, one row a frame.")
        if not np.isfinite(array).all():
            bad = int(np.argwhere(~np.isfinite(array))[0][0])
            raise TrajectoryError(f"{path}: {key} is not finite at frame {bad}.", "Fill or cut the gaps first.")
    tensors = {key: torch.from_numpy(array).float() for key, array in arrays.items()}
    rotation = tensors["R"] if "R" in tensors else rot6d_to_matrix(tensors["rot6d"])
    return checked(Trajectory(tensors["t"], rotation, tensors.get("angle")), str(path))


def checked(path: Trajectory, name: str = "trajectory") -> Trajectory:
    """Return ``path`` if its length, units and rotations make sense, else raise :class:`TrajectoryError`."""
    if not MIN_FRAMES <= len(path) <= MAX_PATH_FRAMES:
        raise TrajectoryError(
            f"{name}: {len(path)} frames: expected {MIN_FRAMES} to {MAX_PATH_FRAMES} at {FPS} per second.",
            "Cut it, or resample it.",
        )
    if not is_rotation(path.rotation):
        worst = int((torch.linalg.det(path.rotation) - 1).abs().argmax())
        raise TrajectoryError(
            f"{name}: R at frame {worst} is no rotation (expected orthonormal columns, determinant 1).",
            "Check the order of its axes and that no scale is mixed in.",
            "chapter 2",
        )
    reach = float(path.transl.abs().max())
    if reach > 20:
        raise TrajectoryError(
            f"{name}: translations reach {reach:.0f} m.",
            "Divide by 1000 if they are millimetres.",
            "chapter 4, “Units”",
        )
    return path


def path_for(verb: str | None, model: ObjectModel, side: str = "right", seed: int = 0) -> Trajectory:
    """The path for a user who gives none: the object stands on the table while the hand comes, then does what the verb
    asks (a lift where no verb is known), and stands again, or stays in the hand that lifts it.

    The scripts are those of :mod:`hoi_lib.data.choreography`; ``seed`` varies heights, tilts and speeds.
    """
    verb = verb if verb in SCRIPTS else "lift"
    sign = -1.0 if side == "left" else 1.0
    rng = np.random.default_rng(seed)
    seconds = float(np.mean(SECONDS[verb]))
    frames = round(FPS * seconds)
    height = -float(model.vertices[:, 2].min())
    arm = np.array([-0.5 * sign, 0.85, -0.15]) / np.linalg.norm([0.5, 0.85, 0.15])
    palm = np.array([0.03 * sign, -0.02, 0.0])
    angles = (0.0, 0.0) if model.hinge is None else tuple(model.hinge.limits)
    angles = angles[::-1] if verb == "close" else angles
    action = SCRIPTS[verb](Stage(np.linspace(0, 1, frames), seconds, angles, arm, palm, 1.0, False, rng))
    hold = np.r_[np.zeros(REACH, int), np.arange(frames), np.full(0 if action.ends_held else LEAVE, frames - 1)]
    turn = action.rotation[hold]
    transl = np.array([0.05 * sign, 0.07, height]) + action.shift[hold] + action.pivot - turn @ action.pivot
    angle = None if model.hinge is None else torch.as_tensor(action.angle[hold], dtype=torch.float32)
    return Trajectory(torch.as_tensor(transl).float(), torch.as_tensor(turn).float(), angle)


def sample_for(text: str, side: str, model: ObjectModel, path: Trajectory, points: int = 1024) -> Sample:
    """The :class:`Sample` of one requested hand: everything but its motion, which is zero."""
    frames = len(path)
    return Sample(
        pose=torch.zeros(frames, 99),
        object_pose=pack_object(path.transl, path.rotation, path.angle),
        valid=torch.ones(frames, dtype=torch.bool),
        betas=torch.zeros(10),
        wrist_rest=load_hand(side).rest_wrist(torch.zeros(10)),
        contact=torch.zeros(frames, dtype=torch.bool),
        side=SIDES.index(side),
        points=torch.as_tensor(model.points[:points], dtype=torch.float32),
        normals=torch.as_tensor(model.normals[:points], dtype=torch.float32),
        part=torch.as_tensor(model.point_part[:points]),
        hinge=torch.as_tensor(model.hinge_numbers(), dtype=torch.float32),
        caption=text,
        verb=language.parse(text).verb or "",
        object_name=model.name,
        clip_name="generated",
    )


def generate(
    text: str,
    model: ObjectModel,
    path: Trajectory | None = None,
    hands: str | None = None,
    run: str | Path | None = None,
    seed: int = 0,
    steps: int = 50,
    callback: Callable[[Step], None] | None = None,
) -> tuple[MotionClip, list[str]]:
    """Generate the hand motion that ``text`` asks for on ``model``; returns the clip and notes for the user.

    ``hands`` ("left", "right", "both") overrides what the sentence says; a sentence without hands gets the right one.
    ``run`` is a trained run or an exported checkpoint, the shipped one by default.
    """
    parsed, notes = language.parse(text), []
    if parsed.verb is None:
        notes.append("no verb of the vocabulary was found: the sentence alone guides the motion")
    hands = hands or parsed.hands or "right"
    sides = SIDES if hands == "both" else (hands,)
    path = checked(path or path_for(parsed.verb, model, sides[-1], seed))
    denoiser = load_denoiser(run)
    batch = collate([sample_for(text, side, model, path, denoiser.config.points) for side in sides])
    generator = torch.Generator().manual_seed(seed)
    poses = sample_batch(denoiser, batch, load_encoder(denoiser.config.encoder), steps, generator, callback)
    return clip_of(text, parsed.verb or "", sides, poses, batch, model), notes


def clip_of(
    text: str, verb: str, sides: tuple[str, ...], poses: Tensor, batch: Batch, model: ObjectModel
) -> MotionClip:
    """Put the hands of one batch together as the :class:`MotionClip` of one interaction."""
    tracks = {side: hand_track(pose, betas) for side, pose, betas in zip(sides, poses, batch.betas, strict=True)}
    transl, rotation, angle = _object_arrays(batch.object_pose[0])
    angle = angle if model.hinge is not None else None
    track = ObjectTrack(model.name, model.category, transl, rotation, angle)
    return MotionClip("generated", tracks, track, verb, "generated", text)


def _object_arrays(object_pose: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rotation = rot6d_to_matrix(object_pose[:, 3:9])
    return object_pose[:, :3].numpy(), rotation.numpy(), object_pose[:, 9].numpy()


def contact_distance(clip: MotionClip, model: ObjectModel) -> dict[str, Float[np.ndarray, "L"]]:
    """For each hand the distance in metres, per frame, from its nearest vertex to the object's surface.

    Negative values say how deep the deepest vertex lies inside.
    """
    return {side: _surface_gap(side, track, clip.object, model) for side, track in clip.hands.items()}


def _surface_gap(side: str, track, path: ObjectTrack, model: ObjectModel) -> np.ndarray:
    hand = load_hand(side)
    vertices = hand.from_matrices(*(torch.as_tensor(a) for a in (track.rotations, track.transl, track.betas))).vertices
    local = (vertices.numpy() - path.transl[:, None]) @ path.rotation
    return np.asarray(model.signed_distance(local, path.angle)).min(-1)


def output_folder(path: str | Path) -> Path:
    """Create the folder for results, or raise :class:`OutputError` when it cannot be written."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}.", "Choose another --out.") from None
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: is read-only.", "Choose another --out.")
    return folder


def write_results(clip: MotionClip, model: ObjectModel, folder: Path) -> Iterator[tuple[str, float]]:
    """Write motion.npz, .glb, .html and .gif into ``folder``, each whole or not at all; yields name and seconds."""
    gaps = contact_distance(clip, model)
    contact = {side: gap < CONTACT for side, gap in gaps.items()}
    scene = viewer.scene_of(clip, model, contact=contact)
    writers = {
        "motion.npz": lambda path: viewer.save_npz(clip, path),
        "motion.glb": lambda path: viewer.save_glb(scene, path),
        "motion.html": lambda path: viewer.save_html(scene, path),
        "motion.gif": lambda path: viewer.save_gif(scene, path),
    }
    for name, write in writers.items():
        start = time.perf_counter()
        write(folder / name)
        yield name, time.perf_counter() - start


def summary(clip: MotionClip, model: ObjectModel) -> str:
    """One line a hand: how much of the clip it touches the object, how deep it goes, and where the wrist stays."""
    lines = []
    for side, gap in contact_distance(clip, model).items():
        touching = gap < CONTACT
        wrist = clip.hands[side].transl + load_hand(side).rest_wrist(torch.zeros(10)).numpy()
        away = np.linalg.norm(wrist - clip.object.transl, axis=-1)
        depth = -min(gap.min(), 0) * 1e3
        line = f"{side} hand: touches in {touching.mean():.0%} of {clip.frames} frames, deepest {depth:.0f} mm"
        lines.append(line + (f", wrist {away[touching].mean() * 100:.0f} cm from the object" if touching.any() else ""))
    return "\n".join(lines)
