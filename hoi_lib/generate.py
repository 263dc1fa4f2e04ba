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
from hoi_lib.errors import ConfigError, OutputError, TrajectoryError
from hoi_lib.guidance import Guide
from hoi_lib.hand import load_hand
from hoi_lib.motion import FPS, SIDES, Batch, MotionClip, ObjectTrack, Sample, collate, hand_track, pack_object
from hoi_lib.objects import ObjectModel, catalogue, load_object
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


def object_for(source: str | Path, scale: float | int | str | None = None) -> ObjectModel:
    """The object of a mesh file or, where there is no such file, the one of this name in the catalogue.

    ``scale`` is metres per unit of the file. Raises :class:`MeshError` for a file that holds no usable mesh and
    :class:`ConfigError` for a scale beside a catalogue name.
    """
    if str(source) not in catalogue() or Path(source).exists():
        return ObjectModel.from_mesh(source, scale=scale)
    if scale is not None:
        raise ConfigError(f"{source}: a catalogue object has a size of its own.", "Leave --scale out.")
    return load_object(str(source))


def is_guided(model: ObjectModel, guide: bool | None = None) -> bool:
    """Whether sampling is guided: as asked for, and unasked for every object that models are not trained on."""
    if guide is None:
        return not (model.name in catalogue() and model is load_object(model.name))
    return guide


def generate(
    text: str,
    model: ObjectModel,
    path: Trajectory | None = None,
    hands: str | None = None,
    run: str | Path | None = None,
    seed: int = 0,
    steps: int | None = None,
    callback: Callable[[Step], None] | None = None,
    guide: bool | None = None,
) -> tuple[MotionClip, list[str]]:
    """Generate the hand motion that ``text`` asks for on ``model``; returns the clip and notes for the user.

    ``hands`` ("left", "right", "both") overrides what the sentence says; a sentence without hands gets the right one.
    ``run`` is a trained run or an exported checkpoint, the shipped one by default. Under ``guide`` (None: see
    :func:`is_guided`) the same noise is sampled a second time, guided, and a note says what that changed and cost.
    """
    parsed, notes = language.parse(text), []
    if parsed.verb is None:
        notes.append("no verb of the vocabulary was found: the sentence alone guides the motion")
    hands = hands or parsed.hands or "right"
    sides = SIDES if hands == "both" else (hands,)
    path = checked(path or path_for(parsed.verb, model, sides[-1], seed))
    denoiser = load_denoiser(run)
    batch = collate([sample_for(text, side, model, path, denoiser.config.points) for side in sides])
    encoder = load_encoder(denoiser.config.encoder)

    def draw(guidance: Guide | None = None) -> MotionClip:
        generator = torch.Generator().manual_seed(seed)
        poses = sample_batch(denoiser, batch, encoder, steps, generator, callback, guidance)
        return clip_of(text, parsed.verb or "", sides, poses, batch, model)

    clip = draw()
    if is_guided(model, guide):
        start, plain = time.perf_counter(), clip
        clip = draw(Guide(denoiser, batch, [model] * len(sides)))
        notes.append(gain(plain, clip, model, time.perf_counter() - start))
    return clip, notes


def gain(plain: MotionClip, guided: MotionClip, model: ObjectModel, seconds: float) -> str:
    """One line: what guidance made of how often each hand touches and how deep it goes, and what it took."""
    before, after = (contact_distance(clip, model) for clip in (plain, guided))
    changes = [
        f"{side} hand touches in {_touching(before[side]):.0%} → {_touching(after[side]):.0%} of the frames, "
        f"deepest {_deepest(before[side]):.0f} → {_deepest(after[side]):.0f} mm"
        for side in before
    ]
    return f"guided by contact and penetration: {'; '.join(changes)}; {seconds:.1f} s more"


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


def _touching(gap: np.ndarray) -> float:
    """Share of the frames in which a hand with these gaps (L,) in metres touches or is inside."""
    return float((gap < CONTACT).mean())


def _deepest(gap: np.ndarray) -> float:
    """How far the deepest vertex ever lies inside, millimetres; 0 for a hand that stays outside."""
    return max(-1e3 * float(gap.min()), 0.0)


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
        line = f"{side} hand: touches in {_touching(gap):.0%} of {clip.frames} frames, deepest {_deepest(gap):.0f} mm"
        lines.append(line + (f", wrist {away[touching].mean() * 100:.0f} cm from the object" if touching.any() else ""))
    return "\n".join(lines)
