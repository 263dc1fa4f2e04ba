"""Mistakes that show by themselves: lengths a thousand times too long, objects that move before any hand is there, …

Each function looks at the excerpts of a set (:mod:`hoi_lib.data.probe`) and returns one :class:`Finding`. L frames.

Measured on the synthetic smoke set, sound and with the mistake: an untouched object moves at 0.0 and, seen from a
moving head, 9.7 cm/s; wrists reach 0.90 m/s within 0.18 s, and in slow motion 0.28 m/s within 0.41 s; the share of
finger joints that are as a hand can bend is 1.00, with rows for columns 0.30, scrambled 0.13; hand and object turn
apart by 0.00 of the object's speed, and transposed by 1.90.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float

from hoi_lib.catalogue import Hinge
from hoi_lib.data.fingers import fingers_of
from hoi_lib.data.probe import Excerpt, per_clip, with_item, with_track
from hoi_lib.data.store import ClipStore
from hoi_lib.drawables import sphere
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import axis_angle_to_matrix, matrix_to_axis_angle, matrix_to_rot6d, rot6d_to_matrix

Array = np.ndarray
FOUND, CLEAR, UNKNOWN = "found", "clear", "cannot tell"
LEAST_CLIPS = 3  # that a verdict needs
FARTHEST = 5.0  # metres from the origin, or across, beyond which the unit is doubted
TURNING, PUSHED = 0.5, 0.1  # rad/s and m/s from which an object counts as moving
LAGS = 6  # frames by which hand and object may be out of step
STEP = 0.25  # what is left of the slip between hand and object at another lag, for that lag to be believed
SLIP = 0.1  # m/s between wrist and object at the right lag, at most
AWAY = 0.03  # metres between skin and surface from which nobody touches the object
ADRIFT, SPINNING = 0.02, 0.1  # m/s and rad/s of an untouched object
SLOW_SPEED, FAST_SPEED = 0.55, 5.0  # m/s: median over the clips of the wrist's highest speed
SLOW_SWING = 0.36  # s: highest speed over highest acceleration; a reach of a second has 0.33
WELL, LOST = 0.8, 0.3  # shares of frames held: above the one there is no doubt, below the other fits are not just poor
OFFSET = 0.025  # metres that no poor fit is off by
KNOWN = 0.14  # rad: a joint's rotation this near to one of a table is explained by it


@dataclass(frozen=True)
class Finding:
    """A verdict on one mistake: its ``name``, ``state`` ("found", "clear" or "cannot tell"), the ``evidence`` in
    figures, and one plain ``sentence`` that names the mistake."""

    name: str
    evidence: str
    sentence: str
    state: str = FOUND


# ------------------------------------------------------------------------------------------------------------- lengths


def lengths(excerpts: Sequence[Excerpt]) -> tuple[Finding, list[Excerpt]]:
    """Lengths in millimetres or centimetres; with them the excerpts in metres."""
    reach = {
        "object paths": np.median([np.abs(e.item.transl).max() for e in excerpts]),
        "hand paths": np.median([np.abs(e.track.transl).max() for e in excerpts]),
        "meshes": np.median([np.ptp(e.model.vertices, axis=0).max() for e in excerpts]),
    }
    wrong = [what for what, far in reach.items() if far > FARTHEST]
    evidence = ", ".join(f"{what} reach {far:.3g} m" for what, far in reach.items())
    if not wrong:
        return Finding("millimetres", evidence, "Lengths are in metres.", CLEAR), list(excerpts)
    scale = {what: 1000 if reach[what] > 60 else 100 for what in wrong}
    unit = "millimetres" if max(scale.values()) == 1000 else "centimetres"
    sentence = f"Lengths look like {unit}: {' and '.join(wrong)} must be divided by {max(scale.values())}."
    return Finding("millimetres", evidence, sentence), [_in_metres(e, scale) for e in excerpts]


def _in_metres(excerpt: Excerpt, scale: dict[str, int]) -> Excerpt:
    if "object paths" in scale:
        excerpt = with_item(excerpt, transl=excerpt.item.transl / scale["object paths"])
    if "hand paths" in scale:
        excerpt = with_track(excerpt, transl=excerpt.track.transl / scale["hand paths"])
    if "meshes" in scale:
        excerpt = replace(excerpt, model=_smaller(excerpt.model, scale["meshes"]))
    return excerpt


@lru_cache(maxsize=64)
def _smaller(model: ObjectModel, scale: int) -> ObjectModel:
    hinge = model.hinge and Hinge(model.hinge.origin / scale, model.hinge.axis, model.hinge.limits)
    return replace(model, vertices=model.vertices / scale, hinge=hinge)


def degrees(excerpts: Sequence[Excerpt]) -> tuple[Finding, list[Excerpt]]:
    """Hinge angles in degrees; with them the excerpts in radians."""
    widest = [np.abs(e.item.angle).max() for e in excerpts if e.item.angle is not None]
    if not widest:
        return Finding("degrees", "no object has a hinge", "Hinge angles are in radians.", UNKNOWN), list(excerpts)
    evidence = f"hinges open by up to {max(widest):.3g}"
    if np.median(widest) <= 2 * np.pi:
        return Finding("degrees", evidence, "Hinge angles are in radians.", CLEAR), list(excerpts)
    turned = [e if e.item.angle is None else with_item(e, angle=np.radians(e.item.angle)) for e in excerpts]
    return Finding("degrees", evidence, "Hinge angles look like degrees: store radians."), turned


# --------------------------------------------------------------------------------------------------------- hand poses


def flags(store: ClipStore) -> Finding:
    """Hands that are marked as there but hold zeros, as absent ones do."""
    poses, valid = store.raw("hand_pose"), store.raw("hand_valid")
    empty = (np.abs(poses[:, :3]).max(1) == 0) & valid
    evidence = f"{int(empty.sum())} of {len(poses)} hand frames lie at the origin and are marked valid"
    sentence = "Absent hands look present: the valid flags were not read, and zeros were taken for poses."
    return Finding("flags ignored", evidence, sentence, FOUND if empty.any() else CLEAR)


def shapes(store: ClipStore) -> Finding:
    """All betas zero: left out, or never known. No figure can decide which."""
    betas = np.asarray(store.raw("hand_betas"))
    evidence = (
        f"{int((np.abs(betas).max(1) > 0).sum())} of {len(betas)} hands have betas, {len(store.subjects)} subjects"
    )
    sentence = "All hands have zero betas: true shapes were left out or never known, so contact is a lower bound."
    return Finding("no betas", evidence, sentence, CLEAR if np.abs(betas).max() > 0 else UNKNOWN)


def scrambled(excerpts: Sequence[Excerpt]) -> list[Finding]:
    """Six numbers read in the wrong layout, and poses that no hand can take.

    A table of poses that a finger joint can take is misread in both ways; what a set holds is looked up in it.
    """
    shares = {layout: [] for layout in ("plain", "rows", "columns")}
    for e in excerpts:
        joints = e.rotations[:, 1:].transpose(0, 1)  # (15, F, 3, 3)
        for layout, table in _tables(e.hand).items():
            cosine = torch.einsum("jfab,jtab->jft", joints, table).amax(-1)
            shares[layout].append(float((cosine > 1 + 2 * np.cos(KNOWN)).float().mean()))
    known = {layout: float(np.median(values)) for layout, values in shares.items()}
    strain = float(np.mean([e.strain.mean() for e in excerpts]))
    evidence = (
        f"of the finger joints {known['plain']:.2f} are as a hand can bend, {known['rows']:.2f} are such rows read as "
        f"columns, {known['columns']:.2f} columns read as rows"
    )
    misread = max(known["rows"], known["columns"])
    rows = misread > 0.5 and known["plain"] < 0.5
    garbled = not rows and known["plain"] < 0.2 and strain > 0.1
    stored, read = ("rows", "columns") if known["rows"] > known["columns"] else ("columns", "rows")
    told = f"Rotations look misread: six numbers stored as two {stored} were read as two {read}."
    wild = "Finger poses are such as no hand can take: the numbers were probably cut at the wrong places."
    sane = CLEAR if known["plain"] > 0.5 else UNKNOWN
    return [
        Finding(
            "rows",
            evidence,
            told if rows else "Six numbers are read in the layout of columns.",
            FOUND if rows else sane,
        ),
        Finding(
            "scrambled",
            f"{evidence}; joints lie {strain:.2f} rad beyond comfort on average",
            wild,
            FOUND if garbled else sane,
        ),
    ]


@lru_cache(maxsize=4)
def _tables(hand: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Rotations (15, T, 3, 3) that each finger joint can take, as they are and misread in the two ways."""
    shape = fingers_of(hand)
    spread = shape.spread.repeat_interleave(3, 0)
    twist = torch.linalg.cross(shape.flexion, spread)
    grid = torch.cartesian_prod(
        torch.linspace(-0.4, 1.8, 23), torch.linspace(-0.6, 0.6, 7), torch.linspace(-0.6, 0.6, 7)
    )
    vectors = sum(grid[:, k, None] * axis[:, None] for k, axis in enumerate((shape.flexion, spread, twist)))
    plain = axis_angle_to_matrix(vectors)
    six = {layout: matrix_to_rot6d(plain, layout=layout) for layout in ("rows", "columns")}
    return {
        "plain": plain,
        "rows": rot6d_to_matrix(six["rows"], layout="columns"),
        "columns": rot6d_to_matrix(six["columns"], layout="rows"),
    }


# -------------------------------------------------------------------------------------------------------------- motion


def turning(excerpts: Sequence[Excerpt]) -> tuple[str, str]:
    """Does the object turn as the hand that holds it, or does its transpose? A state and the figures."""
    pairs = []
    for e in excerpts:
        hand = _spin(e.track.rotations[:, 0])
        slips = []
        for rotation in (e.item.rotation, e.item.rotation.swapaxes(1, 2)):
            spin = _spin(rotation)
            speed = np.linalg.norm(spin, axis=1)
            moving = speed > TURNING
            slip = np.linalg.norm(spin - hand, axis=1)[moving] / speed[moving]
            slips.append(float(np.median(slip)) if moving.sum() >= 8 else np.nan)
        pairs.append(slips)
    stored, other = (per_clip(excerpts, column) for column in np.array(pairs).T)
    known = np.isfinite(stored + other)
    if known.sum() < LEAST_CLIPS:
        return UNKNOWN, f"objects turn in {int(known.sum())} of the clips looked at"
    stored, other = stored[known], other[known]
    evidence = (
        f"hand and object turn apart by {np.median(stored):.2f} of the object's speed as stored and by "
        f"{np.median(other):.2f} transposed ({len(stored)} clips)"
    )
    better, worse = (other < 0.6 * stored).sum(), (stored < 0.6 * other).sum()
    if better >= LEAST_CLIPS and worse * 5 <= better and np.median(other) < 0.6:
        return FOUND, evidence
    return (CLEAR if worse > 2 * better else UNKNOWN), evidence


def _spin(rotation: Float[Array, "L 3 3"], step: int = 2, fps: int = 30) -> Float[Array, "K 3"]:
    """Angular velocity in the world, rad/s, over ``step`` frames."""
    rotation = rotation.astype(np.float64)
    return matrix_to_axis_angle(rotation[step:] @ rotation[:-step].swapaxes(1, 2)) * fps / step


def out_of_step(excerpts: Sequence[Excerpt]) -> Finding:
    """Hand and object misaligned in time: the wrist slips less in the object's frame some frames earlier or later."""
    best: dict[str, tuple[float, int]] = {}
    for e in excerpts:
        slip = np.array([_slip(e, lag) for lag in range(-LAGS, LAGS + 1)])
        if np.isfinite(slip).all():
            at = int(slip.argmin())
            believed = slip[at] + 1e-9 < STEP * (slip[LAGS] + 1e-9) and slip[at] < SLIP**2
            best[e.clip] = min(best.get(e.clip, (np.inf, 0)), (slip[at], at - LAGS if believed else 0))
    late = [lag for _, lag in best.values() if lag]
    evidence = f"{len(late)} of {len(best)} clips with a moving object fit better at another frame"
    if late:
        evidence += f", {'later' if np.median(late) > 0 else 'earlier'} by {abs(np.median(late)):.0f} in the middle"
    sentence = "Hand and object are out of step in time: frames were joined by position, not by name, or shifted."
    enough = len(best) >= LEAST_CLIPS
    state = FOUND if enough and len(late) >= max(2, 0.1 * len(best)) else CLEAR if enough and not late else UNKNOWN
    return Finding("out of step", evidence, sentence, state)


def _slip(excerpt: Excerpt, lag: int) -> float:
    """Mean squared speed of the wrist in the object's frame ``lag`` frames later, where the object moves; m²/s²."""
    wrist = _wrist(excerpt)
    frames = np.arange(max(0, -lag), len(wrist) - max(0, lag))
    rotation, transl = (x[frames + lag].astype(np.float64) for x in (excerpt.item.rotation, excerpt.item.transl))
    local = ((wrist[frames] - transl)[:, None] @ rotation)[:, 0]
    moving = np.linalg.norm(np.diff(transl, axis=0), axis=1) * excerpt.fps > PUSHED
    if moving.sum() < 10:
        return np.nan
    return float((np.diff(local, axis=0)[moving] ** 2).sum(1).mean()) * excerpt.fps**2


def _wrist(excerpt: Excerpt) -> Float[Array, "L 3"]:
    with torch.no_grad():
        rest = excerpt.hand.rest_wrist(torch.as_tensor(excerpt.track.betas, dtype=torch.float32)).double().numpy()
    return excerpt.track.transl.astype(np.float64) + rest


def adrift(excerpts: Sequence[Excerpt]) -> Finding:
    """Objects that move while nobody touches them, though hands and objects fit: a moving camera's coordinates."""
    name, sentence = "camera kept", "Objects move before they are touched: poses look left in a moving camera's frame."
    if np.mean([e.held.mean() for e in excerpts]) < 0.3:
        return Finding(name, "hands and objects do not fit, so that touching means little", sentence, UNKNOWN)
    groups: dict[str, list[Excerpt]] = {}
    for e in excerpts:
        groups.setdefault(e.clip, []).append(e)
    speeds, spins = [], []
    for hands in groups.values():
        frames = np.unique(np.linspace(0, len(hands[0].item.transl) - 1, 25).round().astype(int))
        gaps = [np.abs(replace(e, frames=frames).distance).min(1) for e in hands]
        free = np.all([gap > AWAY for gap in gaps], axis=0)
        both = np.flatnonzero(free[1:] & free[:-1])
        if len(both) < 2:
            continue
        seconds = (frames[both + 1] - frames[both]) / hands[0].fps
        transl, rotation = (x.astype(np.float64) for x in (hands[0].item.transl, hands[0].item.rotation))
        speeds.append(np.median(np.linalg.norm(transl[frames[both + 1]] - transl[frames[both]], axis=1) / seconds))
        turn = matrix_to_axis_angle(rotation[frames[both + 1]] @ rotation[frames[both]].swapaxes(1, 2))
        spins.append(np.median(np.linalg.norm(turn, axis=1) / seconds))
    if len(speeds) < LEAST_CLIPS:
        return Finding(name, f"objects are seen untouched in {len(speeds)} of the clips looked at", sentence, UNKNOWN)
    speed, spin = float(np.median(speeds)), float(np.median(spins))
    evidence = f"untouched objects move at {100 * speed:.1f} cm/s and {spin:.2f} rad/s ({len(speeds)} clips)"
    return Finding(name, evidence, sentence, FOUND if speed > ADRIFT or spin > SPINNING else CLEAR)


def pace(excerpts: Sequence[Excerpt]) -> Finding:
    """Hands four times too slow or too fast: frames of another rate under the name of 30."""
    peaks, swings = [], []
    for e in excerpts:
        wrist = _smooth(_wrist(e)[np.asarray(e.track.valid, bool)])
        if len(wrist) < 20:
            continue
        speed = np.linalg.norm(np.diff(wrist, axis=0), axis=1) * e.fps
        push = np.linalg.norm(np.diff(wrist, 2, axis=0), axis=1) * e.fps**2
        peaks.append(np.quantile(speed, 0.98))
        swings.append(np.quantile(speed, 0.98) / (np.quantile(push, 0.98) + 1e-9))
    if len(peaks) < LEAST_CLIPS:
        return Finding("slow motion", "too few frames to judge", "Frames are 1/30 s apart.", UNKNOWN)
    peak, swing = float(np.median(peaks)), float(np.median(swings))
    evidence = f"wrists reach {peak:.2f} m/s, and their highest speed within {swing:.2f} s ({len(peaks)} hands)"
    slow, late = peak < SLOW_SPEED, swing > SLOW_SWING
    if slow and late:
        told = "Hands move in slow motion: 120 frames a second were kept and read as 30; take every fourth."
        return Finding("slow motion", evidence, told)
    if peak > FAST_SPEED:
        told = "Hands move faster than anybody: frames were thinned twice, or are fewer than 30 a second."
        return Finding("slow motion", evidence, told)
    return Finding("slow motion", evidence, "Frames are 1/30 s apart.", UNKNOWN if slow or late else CLEAR)


def _smooth(x: Float[Array, "L 3"], width: int = 7) -> Float[Array, "K 3"]:
    """Moving average over ``width`` frames: jitter of a recording must not pass for acceleration."""
    total = np.cumsum(np.concatenate([np.zeros((1, 3)), x]), axis=0)
    return (total[width:] - total[:-width]) / width


# ------------------------------------------------------------------------------------------------ hands that are off


def wrist_left(excerpts: Sequence[Excerpt], explained: bool) -> Finding:
    """Hands that were carried from a camera as if they turned about the origin: each is off by J₀ − R J₀.

    R is the camera's and unknown here, so the direction is searched for, hand by hand. A hand that is only near its
    object is mended that way too: unless hands and objects are wholly apart, nothing can be told.
    """
    name = "wrist not carried"
    sentence = "Hands look carried from the camera without their rest wrist: t' = R (J₀ + t) + c − J₀ was missed."
    held = float(np.mean([e.held.mean() for e in excerpts]))
    if held > WELL:
        return Finding(name, f"held {held:.2f} of the frames", sentence, CLEAR)
    if explained or held > LOST or len({e.clip for e in excerpts}) < LEAST_CLIPS:
        return Finding(name, f"held {held:.2f} of the frames: other reasons would do", sentence, UNKNOWN)
    some = [replace(e, frames=e.frames[::2]) for e in excerpts[:24]]
    found = np.array([_carried(e) for e in some])
    before, after, shift = (per_clip(some, column) for column in found.T)
    evidence = (
        f"held {held:.2f} of the frames; misfit of skin and surface {1000 * before.mean():.1f} mm as stored and "
        f"{1000 * after.mean():.1f} mm with the wrist carried by {1000 * np.median(shift):.0f} mm ({len(before)} clips)"
    )
    far = np.median(shift) > OFFSET and (after < 0.5 * before).mean() > 0.7 and after.mean() < 0.4 * before.mean()
    return Finding(name, evidence, sentence, FOUND if far else UNKNOWN)


def _carried(excerpt: Excerpt) -> tuple[float, float, float]:
    """Misfit as stored and with the wrist where it fits best on the sphere of R J₀; metres that lie between them."""
    with torch.no_grad():
        rest = excerpt.hand.rest_wrist(torch.as_tensor(excerpt.track.betas, dtype=torch.float32)).double().numpy()
    radius, track = np.linalg.norm(rest), excerpt.track

    def moved(direction: Array) -> float:
        shifted = track.transl + (radius * direction - rest).astype(np.float32)
        return float(with_track(excerpt, transl=shifted).misfit.mean())

    around = sphere(1)[0]
    tried = {tuple(u): moved(u) for u in (rest / radius, *around)}
    best = min(tried, key=tried.__getitem__)
    for step in (0.25, 0.12, 0.06):
        near = np.array(best) + step * around[::4]
        tried |= {tuple(u): moved(u) for u in near / np.linalg.norm(near, axis=1, keepdims=True)}
        best = min(tried, key=tried.__getitem__)
    return tried[tuple(rest / radius)], tried[best], float(np.linalg.norm(radius * np.array(best) - rest))


def apart(excerpts: Sequence[Excerpt], explained: bool) -> Finding:
    """Hands that never meet their objects for a reason that none of the other verdicts names."""
    held = float(np.mean([e.held.mean() for e in excerpts]))
    gap = float(np.median([np.abs(e.distance).min(1).mean() for e in excerpts]))
    evidence = f"held {held:.2f} of the frames, {1000 * gap:.0f} mm between skin and surface in the middle"
    sentence = "Hands do not meet their objects: they may be in different frames of reference, or each in its own."
    return Finding("apart", evidence, sentence, FOUND if held < 0.25 and gap > 0.01 and not explained else CLEAR)
