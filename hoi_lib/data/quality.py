"""Is a data set what it claims to be? Every figure that the synthetic set promises, measured on the stored bytes.

The geometry is measured with the same code as a model's output (:mod:`hoi_lib.metrics`), so the scores of the ground
truth printed here are the ceiling of every table. Metres, radians, seconds; reported lengths in millimetres.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from hoi_lib.data import recorded
from hoi_lib.data.body import MOST_BEND, wrist_bend
from hoi_lib.data.conventions import FOUND, UNKNOWN, Finding, examine
from hoi_lib.data.figures import Row
from hoi_lib.data.fingers import ANATOMY, LIMITS, fingers_of
from hoi_lib.data.splits import SPLITS, leaks
from hoi_lib.data.store import ClipStore, load
from hoi_lib.data.verbs import recognise
from hoi_lib.data.workers import run
from hoi_lib.hand import load_hand
from hoi_lib.metrics import hand_object_distance
from hoi_lib.motion import MAX_FRAMES, MotionClip, ObjectTrack

FRAMES = 40_000  # hand frames that are measured; a larger set is thinned evenly
ENOUGH_CLIPS = 300  # to train and test the little verb classifier
SHAPELESS = 5  # every which measured frame is measured with zero betas too


def measure(folder: str | os.PathLike, progress: bool = True, workers: int | None = None) -> list[Row]:
    """Open a store, comparing every file with its hash, and measure it; raises :class:`StoreError` if it is damaged.

    The synthetic sets are held to their promises, recorded ones to what a reader must get right
    (:mod:`hoi_lib.data.recorded`); the conventions are examined in both.
    """
    store = load(folder)
    real = recorded.is_recorded(store)
    rows = [*(recorded.table_rows(store) if real else table_rows(store)), *number_rows(store, real)]
    chunks = [(str(store.folder), names, step) for names, step in _chunks(store)]
    measured = [m for part in run(measure_clips, chunks, workers, progress, "measuring clips") for m in part]
    if measured:
        rows += (
            recorded.geometry_rows(measured) if real else [*geometry_rows(measured), *recorded.shapeless_rows(measured)]
        )
    if len(store) >= ENOUGH_CLIPS and not real:
        share = recognise(store)
        rows.append(Row("verb recognised from motion, test subject", f"{share:.3f}", "≥ 0.900", share >= 0.9))
    return rows + convention_rows(examine(store))


def convention_rows(findings: list[Finding]) -> list[Row]:
    """How many conventions were missed, and a row for each with its sentence and evidence."""
    found = [f for f in findings if f.state == FOUND]
    open_ = sum(f.state == UNKNOWN for f in findings)
    told = f"{len(found)} of {len(findings)}" + (f", {open_} cannot be told" if open_ else "")
    rows = [Row("conventions missed", told, "0", not found)]
    return rows + [Row(f"convention “{f.name}”", "missed", "", False, f"{f.sentence} ({f.evidence})") for f in found]


def _chunks(store: ClipStore) -> Iterable[tuple[list[str], int]]:
    """Names of clips, one object after another, and the stride in frames that keeps the work within bounds."""
    total = sum(row["frames"] * len(row["hands"]) for row in store.table)
    step = max(1, total // FRAMES)
    by_object = defaultdict(list)
    for row in store.table:
        by_object[row["object"]].append(row["name"])
    return [(names[i : i + 20], step) for names in by_object.values() for i in range(0, len(names), 20)]


# -------------------------------------------------------------------------------------------------- table and numbers


def table_rows(store: ClipStore) -> list[Row]:
    """What the clip table alone can tell: counts, splits, lengths, phases."""
    table = store.table
    parts = {split: {r["subject"] for r in store.subset(split).table} for split in SPLITS}
    shared = leaks(parts["train"], parts["val"] | parts["test"]) | leaks(parts["val"], parts["test"])
    smallest = min(len(store.subset(split)) for split in SPLITS)
    lengths = [r["frames"] for r in table]
    categories = {r["category"] for r in table}
    verbs = {r["verb"] for r in table}
    return [
        Row("clips, all files intact", str(len(table)), "> 0", True),
        Row("subjects in more than one split", str(len(shared)), "0", not shared),
        Row("clips in the smallest split", str(smallest), "> 0", smallest > 0),
        Row("verbs", str(len(verbs)), "≥ 12", len(verbs) >= 12),
        Row("kinds of objects", str(len(categories)), "≥ 12", len(categories) >= 12),
        Row(
            "frames per clip",
            f"{min(lengths)}–{max(lengths)}",
            f"60–{MAX_FRAMES}",
            min(lengths) >= 60 and max(lengths) <= MAX_FRAMES,
        ),
    ]


def number_rows(store: ClipStore, real: bool = False) -> list[Row]:
    """Sanity of the stored numbers: finite, in metres, rotations orthonormal; ``real`` rooms and things are larger."""
    hands, objects = store.raw("hand_pose"), store.raw("object_pose")
    finite = bool(np.isfinite(hands).all() and np.isfinite(objects).all())
    reach = max(float(np.abs(hands[:, :3]).max()), float(np.abs(objects[:, :3]).max()))
    seen = hands[np.flatnonzero(store.raw("hand_valid"))[::7], 3:]
    crooked = max(_crooked(seen.reshape(-1, 16, 3, 2)), _crooked(objects[:, None, 3:9].reshape(-1, 1, 3, 2)))
    sizes = [np.ptp(store.object(name).vertices, axis=0).max() for name in store.objects]
    far, large = (5, 1.5) if real else (3, 1)
    sound = min(sizes) >= 0.01 and max(sizes) <= large
    return [
        Row("numbers are finite", "yes" if finite else "no", "yes", finite),
        Row("farthest translation (m)", f"{reach:.2f}", f"≤ {far}", finite and reach <= far),
        Row("rotations off orthonormal", f"{crooked:.1e}", "≤ 1e-3", crooked <= 1e-3),
        Row("object sizes (m)", f"{min(sizes):.2f}–{max(sizes):.2f}", f"0.01–{large}", sound),
    ]


def _crooked(columns: np.ndarray) -> float:
    """Largest deviation of stored column pairs (n, j, 3, 2) from unit length and right angles."""
    gram = np.einsum("njik,njil->njkl", columns, columns, dtype=np.float64)
    return float(np.abs(gram - np.eye(2)).max(initial=0))


# ----------------------------------------------------------------------------------------------------------- geometry


class Measured(NamedTuple):
    """One hand of one clip; per measured frame ``distance``, ``depth`` (m), ``contact`` (bool), ``held`` phases; over
    the clip the rest: largest angle beyond the joint limits (rad), peak wrist acceleration (m/s²), the 98th percentile
    of the wrist's bend (degrees), the lowest vertex (m), the nearest other hand's joint (m), the share of the joints'
    acceleration power above 10 Hz, and the share of frames of reach and release. ``shapeless_distance`` and
    ``shapeless_depth`` are those of the same numbers read with zero betas, in every fifth measured frame."""

    distance: np.ndarray
    depth: np.ndarray
    contact: np.ndarray
    beyond: float
    acceleration: float
    bend: float
    lowest: float
    apart: float
    rough: float
    edges: float
    shapeless_distance: np.ndarray
    shapeless_depth: np.ndarray


def measure_clips(job: tuple[str, list[str], int]) -> list[Measured]:
    """Measure the named clips of a store, every ``step``-th frame: the work of one process."""
    folder, names, step = job
    store = load(folder, verify=False)
    return [m for name in names for m in _measure(store.clip(name), store, step)]


@torch.no_grad()
def _measure(clip: MotionClip, store: ClipStore, step: int) -> list[Measured]:
    model, found, joints = store.object(clip.object.name), [], {}
    for side, whole in clip.hands.items():
        seen = np.flatnonzero(whole.valid)
        frames, hand = seen[::step], load_hand(side)
        if len(seen) < 3:
            continue
        tensors = [torch.as_tensor(getattr(whole, k)) for k in ("rotations", "transl", "betas")]
        joints[side] = hand.joints(*tensors).numpy()
        vertices = hand.from_matrices(tensors[0][frames], tensors[1][frames], tensors[2]).vertices.numpy()
        near = hand_object_distance(vertices, _at(clip.object, frames), model)
        few = frames[::SHAPELESS]
        shapeless = hand.from_matrices(tensors[0][few], tensors[1][few]).vertices.numpy()
        bare = hand_object_distance(shapeless, _at(clip.object, few), model)
        contact = np.ones(len(frames), bool) if clip.labels is None else clip.labels.contact[side][frames]
        edges = 0.0 if clip.labels is None else float(np.isin(clip.labels.phase, (0, 3)).mean())
        wrist, track = joints[side][seen, 0].astype(np.float64), whole.rotations[seen]
        found.append(
            Measured(
                near.distance_L, near.depth_L, contact, _beyond(track, side), _push(wrist, seen, clip.fps),
                float(np.quantile(wrist_bend(wrist, track[:, 0].astype(np.float64), side), 0.98)),
                float(vertices[..., 2].min()), _apart(joints, clip), _rough(joints[side][seen], clip.fps), edges,
                bare.distance_L, bare.depth_L,
            )
        )  # fmt: skip
    return found


def _at(track: ObjectTrack, frames: np.ndarray) -> ObjectTrack:
    """An object's track in some frames."""
    angle = None if track.angle is None else track.angle[frames]
    return replace(track, transl=track.transl[frames], rotation=track.rotation[frames], angle=angle)


def _push(wrist: np.ndarray, frames: np.ndarray, fps: int) -> float:
    """Highest acceleration (m/s²) over three frames in a row of those in which the hand is seen."""
    whole = frames[2:] - frames[:-2] == 2
    return float((np.linalg.norm(np.diff(wrist, 2, axis=0), axis=-1) * whole).max(initial=0) * fps**2)


def _beyond(rotations: np.ndarray, side: str) -> float:
    """Largest angle, radians, by which a joint of ``rotations`` (L, 16, 3, 3) is outside its comfortable range."""
    shape = fingers_of(load_hand(side))
    bend, spread, twist = shape.angles(torch.as_tensor(rotations[:, 1:])).unbind(-1)
    low, high = LIMITS.unbind(-1)
    out = [low[:15] - bend, bend - high[:15], spread[:, :12].abs() - 0.25, twist[:, :12].abs() - 0.25]
    out += [
        low[19] - 0.3 - spread[:, 12],
        spread[:, 12] - high[19] - 0.3,
        twist[:, 12].abs() - 1.15,
        twist[:, 13:].abs() - 0.1,
    ]
    return float(max(x.max() for x in out))


def _apart(joints: dict[str, np.ndarray], clip: MotionClip) -> float:
    """Smallest distance between joints of two hands in frames that show both, m; infinite with one hand."""
    if len(joints) < 2:
        return np.inf
    both = clip.hands["left"].valid & clip.hands["right"].valid
    if not both.any():
        return np.inf
    left, right = joints["left"][both], joints["right"][both]
    return float(np.linalg.norm(left[:, :, None] - right[:, None], axis=-1).min())


def _rough(joints: np.ndarray, fps: int) -> float:
    """Share of the joints' acceleration power above 10 Hz."""
    power = np.abs(np.fft.rfft(np.diff(joints.astype(np.float64), 2, axis=0), axis=0)) ** 2
    frequency = np.fft.rfftfreq(len(joints) - 2, 1 / fps)
    return float(power[frequency > 10].sum() / max(power.sum(), 1e-12))


def geometry_rows(measured: list[Measured]) -> list[Row]:
    """The figures of hands and objects, pooled over all frames."""
    distance, depth, contact = (
        np.concatenate([getattr(m, k) for m in measured]) for k in ("distance", "depth", "contact")
    )
    worst = {k: max(getattr(m, k) for m in measured) for k in ("beyond", "acceleration", "bend", "rough", "edges")}
    lowest, apart = min(m.lowest for m in measured), min(m.apart for m in measured)
    everywhere, held = float((distance < 0.005).mean()), float((distance[contact] < 0.005).mean())
    deep, usual = float((depth > 0.01).mean()), 1000 * float(depth[contact].mean())
    bent, rough = float(np.mean([m.bend > MOST_BEND for m in measured])), float(np.mean([m.rough for m in measured]))
    rows = [
        Row("contact ratio, all frames", f"{everywhere:.3f}", "≥ 0.750", everywhere >= 0.75),
        Row("contact ratio, contact phase", f"{held:.3f}", "≥ 0.970", held >= 0.97),
        Row("frames deeper than 10 mm", f"{deep:.4f}", "< 0.0100", deep < 0.01),
        Row("mean depth in the contact phase (mm)", f"{usual:.2f}", "≤ 2", usual <= 2),
        Row("joint beyond its range (rad)", f"{worst['beyond']:.2f}", f"≤ {ANATOMY}", worst["beyond"] <= ANATOMY),
        Row("peak wrist acceleration (m/s²)", f"{worst['acceleration']:.1f}", "< 30", worst["acceleration"] < 30),
        Row("hands with a wrist bent beyond 70°", f"{bent:.3f}", "≤ 0.010", bent <= 0.01),
        Row("lowest vertex over the table (mm)", f"{1000 * lowest:.1f}", "≥ -5", lowest >= -0.005),
        Row("acceleration power above 10 Hz", f"{rough:.4f}", "≤ 0.02", rough <= 0.02),
        Row("reach and release, share of a clip", f"{worst['edges']:.2f}", "≤ 0.25", worst["edges"] <= 0.25),
    ]
    if np.isfinite(apart):
        rows.append(Row("nearest joints of two hands (mm)", f"{1000 * apart:.1f}", "≥ 15", apart >= 0.015))
    return rows
