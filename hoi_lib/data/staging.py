"""One clip: a person, an object, a skill, and everything that happens between the first and the last frame.

Every clip is staged with the right hand as the main one and, for a left-handed clip, mirrored whole. The hand is
rigid to the object (or to its moving part) while it holds; what a verb adds comes from
:mod:`hoi_lib.data.choreography`, what the reach adds from :mod:`hoi_lib.data.approach`. A draft with a fault (a hand
inside the object, a broken wrist, two hands in each other) is thrown away and drafted again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from hoi_lib.data.approach import DISTANCE, finger_share, opened, wrist_share
from hoi_lib.data.body import discomfort, hand_frame
from hoi_lib.data.choreography import SCRIPTS, SECONDS, UPRIGHT, Action, Stage, bump, course, turn
from hoi_lib.data.draft import Draft, faults, hand_rotations
from hoi_lib.data.fields import STAND
from hoi_lib.data.fingers import fingers_of
from hoi_lib.data.library import Entry, Library, mirror_axis
from hoi_lib.data.people import PEOPLE, Person
from hoi_lib.data.repertoire import FACING, FLAT, Skill
from hoi_lib.hand import load_hand, mirror_track
from hoi_lib.motion import FPS, MAX_FRAMES, ClipLabels, HandTrack, MotionClip, ObjectTrack
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import slerp
from hoi_lib.text import captions

SHORTEST = 60  # frames
ATTEMPTS = 48
_RELAXED = torch.tensor([0.24, 0.38, 0.21, 0.30, 0.45, 0.24, 0.45, 0.52, 0.28, 0.38, 0.49, 0.26, 0.1, 0.17, 0.24,
                         0, 0, 0, 0, 0.1, -0.1])  # fmt: skip


@dataclass(frozen=True)
class ClipSpec:
    """What a clip is to show: its ``name``, the random ``key`` (seed, number), ``subject``, ``skill``, the ``object``
    by name, and whether the ``left`` hand is the main one."""

    name: str
    key: tuple[int, int]
    subject: str
    skill: Skill
    object: str
    left: bool


def make_clip(spec: ClipSpec, library: Library, model: ObjectModel) -> MotionClip:
    """Stage one clip; a pure function of its arguments.

    Of at most :data:`ATTEMPTS` drafts the first without a fault is taken, or the one with the least.
    """
    person = PEOPLE[spec.subject]
    best, least = None, np.inf
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([*spec.key, attempt])
        draft = _draft(spec.skill, model, library, person, rng, 0.25 * (1 + attempt))
        fault = faults(draft, model, person)
        if fault < least:
            best, least = draft, fault
        if fault < 1.0:
            break
    clip = _clip(spec, best, model, person, np.random.default_rng([*spec.key, 99]))
    return mirror_clip(clip, mirror_axis(model)) if spec.left else clip


# ----------------------------------------------------------------------------------------------------------- drafting


def _draft(
    skill: Skill, model: ObjectModel, library: Library, person: Person, rng: np.random.Generator, chance: float
) -> Draft:
    entries = {"right": library.entry(model.name, model.category, skill.main, "right", person.name)}
    if skill.other:
        entries["left"] = library.entry(model.name, model.category, skill.other, "left", person.name)
    angles = _angles(skill, entries["right"], model, rng)
    place = _where(model, len(entries) == 2, rng)
    chosen, spin = _agree(entries, model, place, angles, rng, chance)
    grips = {side: _Grip(entries[side], chosen[side], model) for side in entries}
    counts = _frames(skill, person, rng)
    action = _act(skill, grips, spin, angles, counts[2], person, rng)
    vertices = model.posed_vertices(None if model.hinge is None else angles[0]) @ spin.T + place
    extent = np.stack([vertices.min(0), vertices.max(0)])
    return _assemble(grips, action, place, spin, extent, counts, person, rng)


def _where(model: ObjectModel, both: bool, rng: np.random.Generator) -> np.ndarray:
    """Where the object's origin stands at the start."""
    height = -model.bounds[0, 2] + (STAND if model.category in FLAT else 0.0)
    x = rng.uniform(-0.03, 0.03) if both else rng.uniform(-0.02, 0.12)
    return np.array([x, rng.uniform(0.02, 0.12), height])


def _angles(skill: Skill, entry: Entry, model: ObjectModel, rng: np.random.Generator) -> tuple[float, float]:
    """Hinge angles at the start and at the end of the action."""
    if model.hinge is None or not entry.slot.angles:
        return 0.0, 0.0
    low, high = entry.slot.angles[0], entry.slot.angles[-1]
    if skill.verb in ("open", "close", "squeeze"):
        far = rng.uniform(0.85 * high + 0.15 * low, high)
        return (far, low) if skill.verb != "open" else (low, far)
    middle = entry.slot.angles[len(entry.slot.angles) // 2]
    return middle, middle


def _agree(
    entries: dict[str, Entry],
    model: ObjectModel,
    place: np.ndarray,
    angles: tuple[float, float],
    rng: np.random.Generator,
    chance: float,
) -> tuple[dict[str, int], np.ndarray]:
    """One grasp per hand and the object's orientation about the vertical that suit the person; the larger ``chance``,
    the less it is always the same."""
    facing = model.category in FACING
    yaws = rng.uniform(-0.2, 0.2, 5) if facing else rng.uniform(-np.pi, np.pi, 24)
    cost, spins = {}, turn(UPRIGHT, yaws)
    for side, entry in entries.items():
        worst = np.zeros((len(yaws), len(entry)))
        for angle in set(angles):
            grip = [_Grip(entry, i, model).at(np.array([angle])) for i in range(len(entry))]
            root = np.stack([g[0][0] for g in grip])
            wrist = np.stack([g[1][0] for g in grip])
            world = np.einsum("yij,gj->ygi", spins, wrist) + place
            unease = discomfort(world, np.einsum("yij,gjk->ygik", spins, root), side)
            worst = np.maximum(worst, unease)
        flaw = 4 * np.maximum(entry.depth - 0.002, 0) / 0.004 + 4 * np.maximum(0.8 - entry.touch, 0)
        cost[side] = worst + flaw + chance * rng.random(worst.shape)
    total = sum(c.min(1) for c in cost.values())
    yaw = int(total.argmin())
    return {side: int(c[yaw].argmin()) for side, c in cost.items()}, spins[yaw]


class _Grip:
    """One chosen grasp: where wrist and fingers are at any hinge angle."""

    def __init__(self, entry: Entry, index: int, model: ObjectModel):
        self.entry, self.slot, self.hinge = entry, entry.slot, model.hinge
        self.root, self.wrist = entry.rotation[index], entry.wrist[index]
        self.fingers, self.retreat = entry.dof[index], entry.retreat[index]

    def at(self, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Root (M, 3, 3) and wrist (M, 3) in the base's frame."""
        if self.slot.part == 0 or self.hinge is None or not self.slot.angles:
            return np.broadcast_to(self.root, (len(angle), 3, 3)), np.broadcast_to(self.wrist, (len(angle), 3))
        spin = turn(self.hinge.axis, angle)
        return spin @ self.root, (spin @ (self.wrist - self.hinge.origin)) + self.hinge.origin

    def dof(self, angle: np.ndarray) -> np.ndarray:
        """Fingers (M, 21): one pose, or the smooth curve through those solved at three hinge angles."""
        if len(self.fingers) == 1:
            return np.broadcast_to(self.fingers[0], (len(angle), 21))
        a, b, c = self.slot.angles
        x = np.clip(angle, a, c)[:, None]
        parts = (
            (x - b) * (x - c) / ((a - b) * (a - c)),
            (x - a) * (x - c) / ((b - a) * (b - c)),
            (x - a) * (x - b) / ((c - a) * (c - b)),
        )
        return sum(p * f for p, f in zip(parts, self.fingers, strict=True))

    def away(self, angle: float) -> np.ndarray:
        """Free direction (3,) in the base's frame at the end of the range that ``angle`` is nearer to."""
        if len(self.retreat) == 1:
            return self.retreat[0]
        low, high = self.slot.angles[0], self.slot.angles[-1]
        direction = self.retreat[0] if abs(angle - low) <= abs(angle - high) else self.retreat[-1]
        return direction if self.slot.part == 0 else turn(self.hinge.axis, np.array([angle]))[0] @ direction


def _frames(skill: Skill, person: Person, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Frames of approach, contact, manipulation and release: 60 to 150, a quarter of them at most at the ends."""
    reach = int(np.clip(round(FPS * rng.uniform(0.46, 0.58) / person.pace), 13, 18))
    settle = int(rng.integers(4, 8))
    action = round(FPS * rng.uniform(*SECONDS[skill.verb]) / person.pace)
    leave = 0 if skill.verb in ("lift", "hand over") else int(rng.integers(7, 10))
    action = max(action, SHORTEST - reach - settle - leave, 3 * (reach + leave) - settle + 2)
    return reach, settle, min(action, MAX_FRAMES - reach - settle - leave), leave


def _act(skill: Skill, grips: dict, spin: np.ndarray, angles: tuple[float, float], frames: int, person: Person,
         rng: np.random.Generator) -> Action:  # fmt: skip
    root, wrist = grips["right"].at(np.array([angles[0]]))
    along, palm, _ = hand_frame(spin @ root[0], "right")
    centre = spin @ wrist[0] + 0.085 * along + 0.03 * palm
    stage = Stage(
        np.linspace(0, 1, frames),
        frames / FPS,
        angles,
        along,
        centre,
        person.vigour,
        "left" in grips and skill.main != skill.other,
        rng,
    )
    return SCRIPTS[skill.verb](stage)


def _assemble(grips: dict, action: Action, place: np.ndarray, spin: np.ndarray, extent: np.ndarray,
              counts: tuple[int, int, int, int], person: Person, rng: np.random.Generator) -> Draft:  # fmt: skip
    """Put reach, hold and release together, frame by frame; ``extent`` (2, 3) is the standing object's box."""
    reach, settle, frames, leave = counts
    hold = np.concatenate([np.zeros(reach + settle, int), np.arange(frames), np.full(leave, frames - 1)])
    moved = action.rotation[hold]
    world = place + action.shift[hold] + action.pivot - moved @ action.pivot
    draft = Draft(world, moved @ spin, action.angle[hold], {}, {}, {}, np.repeat([0, 1, 2, 3], counts), {})
    for side, grip in grips.items():
        root, wrist, dof = _held(grip, action, hold, main=side == "right")
        root = draft.turn @ root
        wrist = (draft.turn @ wrist[..., None])[..., 0] + world
        style = person.caution * rng.uniform(0.85, 1.15)
        rest = _resting_place(side, extent, rng)
        _reach(draft, grip, side, root, wrist, dof, rest, reach, style, person, rng)
        if leave:
            _leave(draft, grip, wrist, dof, leave, style)
        draft.wrist[side], draft.root[side], draft.dof[side] = wrist, root, dof
        draft.family[side] = grip.slot.family
    return draft


def _held(grip: _Grip, action: Action, hold: np.ndarray, main: bool) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Root, wrist and fingers in the object's frame while the hand holds."""
    angle = action.angle[hold]
    root, wrist = (x.copy() for x in grip.at(angle))
    dof = torch.from_numpy(grip.dof(angle).copy())
    if not main:
        return root, wrist, dof
    if action.slide.any():
        about = turn(UPRIGHT, action.slide[hold])
        root, wrist = about @ root, (about @ wrist[..., None])[..., 0]
    if action.rock.any():
        tip = _fingertip(root[0], wrist[0], dof[0])
        about = turn(root[0][:, 2], action.rock[hold])
        root, wrist = about @ root, (about @ (wrist - tip)[..., None])[..., 0] + tip
    if action.open.any():
        loose = opened(dof, grip.slot.family, torch.from_numpy(action.open[hold]) / 0.45)
        loose[:, [12, 13, 14, 19, 20]] = dof[:, [12, 13, 14, 19, 20]]
        dof = loose
    return root, wrist, dof


def _fingertip(root: np.ndarray, wrist: np.ndarray, dof: torch.Tensor) -> np.ndarray:
    """Place of the index finger's pad for a mean hand shape."""
    hand = load_hand("right")
    pad = fingers_of(hand).pads["index_3"][:, 0]
    rotations = torch.cat([torch.from_numpy(root)[None], fingers_of(hand).rotations(dof.float()).double()])
    return (
        hand.from_matrices(rotations, torch.from_numpy(wrist) - hand.rest_wrist(), vertex_ids=pad).vertices[0].numpy()
    )


def _reach(draft: Draft, grip: _Grip, side: str, root: np.ndarray, wrist: np.ndarray, dof: torch.Tensor,
           rest: np.ndarray, frames: int, style: float, person: Person, rng: np.random.Generator) -> None:  # fmt: skip
    """Fill the first ``frames`` frames in place: from the hand at ``rest``, over the pre-grasp, to contact."""
    t = np.arange(frames) / frames
    u = np.clip(1 - (t - 0.34) / 0.66, 0, 1)
    away = draft.turn[0] @ grip.away(draft.angle[0]) * DISTANCE * style
    far = 1 - course(t, 0.0, 0.78)
    start = _resting_root(side, rng)
    held, first = wrist[0].copy(), root[0].copy()
    wrist[:frames] = held + wrist_share(u)[:, None] * away + far[:, None] * (rest - held - away)
    wrist[:frames, 2] += person.arc * bump(t, 0.0, 0.35, 0.35, 0.8)
    share = torch.from_numpy(course(t, 0.0, 0.8))
    root[:frames] = slerp(
        torch.from_numpy(start).expand(frames, 3, 3), torch.from_numpy(first).expand(frames, 3, 3), share
    ).numpy()
    ready = opened(dof[:1].expand(frames, -1), grip.slot.family, torch.from_numpy(finger_share(u)) * min(style, 1.15))
    dof[:frames] = _RELAXED.double() + torch.from_numpy(course(t, 0.0, 0.62))[:, None] * (ready - _RELAXED.double())


def _resting_place(side: str, extent: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where the wrist (3,) waits: beside and before the object, clear of it by a hand's length."""
    sign = 1.0 if side == "right" else -1.0
    edge = max(sign * extent[:, 0].min(), sign * extent[:, 0].max())
    x = sign * max(rng.uniform(0.2, 0.26), edge + rng.uniform(0.08, 0.12))
    y = min(rng.uniform(-0.24, -0.17), extent[0, 1] - rng.uniform(0.17, 0.2))
    return np.array([x, y, rng.uniform(0.12, 0.18)])


def _resting_root(side: str, rng: np.random.Generator) -> np.ndarray:
    """A hand at rest over the near edge of the table: fingers forward, palm half down."""
    sign = 1.0 if side == "right" else -1.0
    along = np.array([-0.35 * sign, 0.9, -0.15]) + 0.06 * rng.standard_normal(3)
    along /= np.linalg.norm(along)
    thumb = np.array([-0.8 * sign, 0.0, 0.6]) + 0.06 * rng.standard_normal(3)
    thumb -= along * (thumb @ along)
    thumb /= np.linalg.norm(thumb)
    x = -along * sign
    return np.stack([x, np.cross(thumb, x), thumb], -1)


def _leave(draft: Draft, grip: _Grip, wrist: np.ndarray, dof: torch.Tensor, frames: int, style: float) -> None:
    """Fill the last ``frames`` frames in place: fingers open, the hand draws back."""
    u = np.arange(1, frames + 1) / frames
    away = draft.turn[-1] @ grip.away(draft.angle[-1]) * DISTANCE * style
    wrist[-frames:] += wrist_share(u)[:, None] * away
    dof[-frames:] = opened(dof[-frames:], grip.slot.family, torch.from_numpy(finger_share(u)) * min(style, 1.15))


# ---------------------------------------------------------------------------------------------------------- finishing


def _clip(spec: ClipSpec, draft: Draft, model: ObjectModel, person: Person, rng: np.random.Generator) -> MotionClip:
    hands, contact = {}, (draft.phase == 1) | (draft.phase == 2)
    for side in draft.wrist:
        hand = load_hand(side)
        rest = hand.rest_wrist(torch.from_numpy(person.betas)).double().numpy()
        rotations = hand_rotations(hand, draft, side).numpy()
        hands[side] = HandTrack(
            _number(draft.wrist[side] - rest), _number(rotations), person.betas.copy(), np.ones(len(contact), bool)
        )
    angle = None if model.hinge is None else _number(draft.angle)
    track = ObjectTrack(model.name, model.category, _number(draft.place), _number(draft.turn), angle)
    main = "left" if spec.left else "right"
    used = "both" if len(hands) == 2 else main
    caption = list(captions(spec.skill.verb, model.category, used))[rng.integers(4)]
    role = {"right": "manipulates", "left": "manipulates" if spec.skill.mirrored else "supports"}
    labels = ClipLabels(
        draft.phase.astype(np.uint8), {s: contact.copy() for s in hands}, {s: int(contact.argmax()) for s in hands},
        {s: draft.family[s] for s in hands}, {s: role[s] for s in hands},
    )  # fmt: skip
    return MotionClip(spec.name, hands, track, spec.skill.verb, spec.subject, caption, FPS, labels)


def _number(x: np.ndarray) -> np.ndarray:
    """float32, rounded to a millionth so that the last bit of another processor does not change a store."""
    return np.round(x, 6).astype(np.float32)


def mirror_clip(clip: MotionClip, axis: int) -> MotionClip:
    """The whole scene mirrored in the plane x = 0: the other hand, and the object turned into its own mirror image.

    ``axis`` is the one along which the object is symmetric: R' = S R M with M the mirror along it is a rotation again.
    """
    flip, own = np.array([-1.0, 1, 1], np.float32), np.ones(3, np.float32)
    own[axis] = -1
    other = {"left": "right", "right": "left"}
    track = replace(clip.object, transl=clip.object.transl * flip, rotation=clip.object.rotation * flip[:, None] * own)
    swap = {
        name: {other[s]: v for s, v in getattr(clip.labels, name).items()}
        for name in ("contact", "onset", "grasp", "role")
    }
    return replace(
        clip,
        hands={other[s]: mirror_track(h) for s, h in clip.hands.items()},
        object=track,
        labels=replace(clip.labels, **swap),
    )
