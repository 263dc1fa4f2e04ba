"""Suspected mistakes that can be undone: undo each on the excerpts, and see whether the hands then meet the objects.

A mistake in a convention tears hand and object apart. If undoing it brings them together again, in clip after clip and
by much, it was there; if that tears them apart, it was not; and where it changes little, nothing can be told.

The bounds below lie between what was measured on the synthetic smoke set (40 clips). Sound, it has a misfit of 1.4 mm
and holds 0.99 of the frames; undoing a mistake that is not there leaves 3.2 mm (transposed), 4.4 (parts), 7.7 and 10.8
(mean pose), 13.6 (hinge) and 41.7 (sides), and undoing one that is there goes back from these to 1.0 to 1.6. Hands
pressed 8 mm into what they hold have 4 mm, of which no undoing takes away more than a third.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from hoi_lib.data.probe import Excerpt, per_clip, with_item, with_track
from hoi_lib.hand import load_hand
from hoi_lib.objects import ObjectModel
from hoi_lib.rotations import axis_angle_to_matrix, matrix_to_axis_angle

Array = np.ndarray
Pair = tuple[Excerpt, Excerpt]
LEAST_CLIPS = 3  # that a verdict needs
HELPED, HURT = 0.002, 0.001  # metres: a clip that undoing brings together, and one that it tears apart
ONE_HURT_IN = 5  # clips helped for each clip hurt, at least
MET = 0.012  # metres of misfit that are left on average, at most: hands meet their objects then
RATIO, STRIKING = 0.60, 0.30  # what is left of the misfit, at most; and for two clips to be enough
SETTLED, HUGE, PLAIN = (
    0.10,
    0.012,
    0.45,
)  # more frames held, metres gained, or misfit left: one is asked beside the rest


@dataclass(frozen=True)
class Trial:
    """One suspicion: its ``name``, the ``sentence`` that states it, ``short`` words for the undoing, and ``undo``, the
    excerpt without the mistake, or None where it would leave no trace. ``half`` undoes it by half, as a control
    against data whose hands merely float or sink: that must not do as well."""

    name: str
    sentence: str
    short: str
    undo: Callable[[Excerpt], Pair | None]
    half: Callable[[Excerpt], Pair | None] | None = None


@dataclass(frozen=True)
class Outcome:
    """What a trial found over ``clips`` clips: mean misfit ``before`` and ``after`` (metres), shares of frames held
    ``held`` (before, after), and the ``verdict``: "found", "clear" or "cannot tell"."""

    verdict: str
    clips: int
    before: float = np.nan
    after: float = np.nan
    held: tuple[float, float] = (np.nan, np.nan)

    @property
    def gain(self) -> float:
        """Metres by which undoing it brings skin and surface together."""
        return self.before - self.after

    def evidence(self, short: str) -> str:
        """The figures in words."""
        if self.clips < LEAST_CLIPS:
            return f"it would show in {self.clips} of the clips looked at, too few to judge"
        a, b = self.held
        gaps = f"misfit of skin and surface {1000 * self.before:.1f} mm and {1000 * self.after:.1f} mm"
        return f"held {a:.2f} of the frames as stored, {b:.2f} {short}; {gaps} ({self.clips} clips)"


def hold(trial: Trial, excerpts: Sequence[Excerpt]) -> Outcome:
    """Hold one trial over the excerpts."""
    pairs = [pair for excerpt in excerpts if (pair := trial.undo(excerpt)) is not None]
    if not pairs:
        return Outcome("cannot tell", 0)
    stored, undone = ([pair[i] for pair in pairs] for i in (0, 1))
    before, after = (per_clip(stored, [e.misfit.mean() for e in side]) for side in (stored, undone))
    held = tuple(float(per_clip(stored, [e.held.mean() for e in side]).mean()) for side in (stored, undone))
    outcome = Outcome("cannot tell", len(before), float(before.mean()), float(after.mean()), held)
    if len(before) < LEAST_CLIPS:
        return outcome
    if outcome.gain < -HURT:
        return replace(outcome, verdict="clear")
    if _convincing(before, after, held) and not _half_does(trial, excerpts, outcome):
        return replace(outcome, verdict="found")
    return outcome


def _convincing(before: Array, after: Array, held: tuple[float, float]) -> bool:
    gain = before - after
    helped, hurt = int((gain > HELPED).sum()), int((gain < -HURT).sum())
    left = after.mean() / before.mean()
    least = LEAST_CLIPS - 1 if left < STRIKING else LEAST_CLIPS
    many = helped >= max(least, len(gain) / 6) and hurt * ONE_HURT_IN <= helped
    much = left < RATIO and after.mean() < MET
    return bool(many and much and (held[1] - held[0] > SETTLED or gain.mean() > HUGE or left < PLAIN))


def _half_does(trial: Trial, excerpts: Sequence[Excerpt], outcome: Outcome) -> bool:
    """True if undoing the mistake by half brings at least nine tenths of the gain."""
    if trial.half is None:
        return False
    pairs = [pair for excerpt in excerpts if (pair := trial.half(excerpt)) is not None]
    halved = per_clip([p[0] for p in pairs], [p[1].misfit.mean() for p in pairs]).mean()
    return bool(outcome.before - halved > 0.9 * outcome.gain)


# ------------------------------------------------------------------------------------------------------------- undoing


def transpose(excerpt: Excerpt) -> Pair | None:
    """The object's rotation transposed, in the frames where that makes a difference of 20° and more."""
    rotation = excerpt.item.rotation
    turned = np.linalg.norm(rotation - rotation.swapaxes(1, 2), axis=(1, 2)) > 0.5
    frames = excerpt.frames[turned[excerpt.moments]]
    if not len(frames):
        return None
    stored = replace(excerpt, frames=frames)
    return stored, with_item(stored, rotation=rotation.swapaxes(1, 2))


def add_mean(times: float | int) -> Callable[[Excerpt], Pair]:
    """The fingers with ``times`` the mean pose of the hand's file added, as rotation vectors."""

    def undo(excerpt: Excerpt) -> Pair:
        mean = excerpt.hand.hands_mean.numpy().reshape(15, 3)
        rotations = excerpt.track.rotations.copy()
        asked = rotations[excerpt.frames, 1:].astype(np.float64)
        rotations[excerpt.frames, 1:] = axis_angle_to_matrix(matrix_to_axis_angle(asked) + times * mean)
        return excerpt, with_track(excerpt, rotations=rotations)

    return undo


def reverse_hinge(excerpt: Excerpt) -> Pair | None:
    """The hinge turned the other way, in the frames in which it is open by 10° and more."""
    stored = _opened(excerpt)
    return stored and (stored, with_item(stored, angle=-stored.item.angle))


def swap_parts(excerpt: Excerpt) -> Pair | None:
    """The base turned in place of the moving part."""
    stored = _opened(excerpt)
    return stored and (stored, replace(stored, model=swapped_parts(stored.model)))


def _opened(excerpt: Excerpt) -> Excerpt | None:
    if excerpt.item.angle is None or excerpt.model.hinge is None:
        return None
    frames = excerpt.frames[np.abs(excerpt.item.angle[excerpt.moments]) > 0.17]
    return replace(excerpt, frames=frames) if len(frames) else None


@lru_cache(maxsize=64)
def swapped_parts(model: ObjectModel) -> ObjectModel:
    """The object with base and moving part exchanged, made once."""
    return replace(model, part=1 - model.part)


def swap_sides(excerpt: Excerpt) -> Pair:
    """The numbers read as those of the other hand."""
    return excerpt, replace(excerpt, hand=load_hand("right" if excerpt.hand.side == "left" else "left"))


def move_wrist(times: int) -> Callable[[Excerpt], Pair]:
    """The hand moved by ``times`` its rest wrist J₀(β)."""

    def undo(excerpt: Excerpt) -> Pair:
        with torch.no_grad():
            rest = excerpt.hand.rest_wrist(torch.as_tensor(excerpt.track.betas, dtype=torch.float32)).numpy()
        return excerpt, with_track(excerpt, transl=excerpt.track.transl + times * rest)

    return undo


TRIALS = (
    Trial("transposed", "Object rotations look transposed: store R with v' = R v + t.", "transposed", transpose),
    Trial(
        "mean missing",
        "Fingers look too straight: the mean pose of the hand's file was not added.",
        "with the mean pose added",
        add_mean(1),
        add_mean(0.5),
    ),
    Trial(
        "mean twice",
        "Fingers look too bent: the mean pose was added to poses that already hold it.",
        "with the mean pose taken away",
        add_mean(-1),
        add_mean(-0.5),
    ),
    Trial(
        "hinge reversed", "The hinge looks reversed: its axis or its angle has the wrong sign.", "reversed",
        reverse_hinge,
    ),
    Trial(
        "parts swapped", "Base and moving part look exchanged: the labels of the parts are inverted.", "exchanged",
        swap_parts,
    ),
    Trial(
        "sides swapped", "Left and right hand look exchanged: the numbers fit the other hand.", "as the other hand",
        swap_sides,
    ),
    Trial(
        "wrist as origin",
        "Translations look like places of the wrist: take the rest wrist J₀(β) off them.",
        "with J₀(β) taken off",
        move_wrist(-1),
    ),
)  # fmt: skip
"""Every suspicion that can be tried by undoing it."""
