"""A store of a few made-up clips: a ball is carried along an arc by one hand or two."""

from dataclasses import replace

import numpy as np
import torch

from hoi_lib.data.store import write
from hoi_lib.encoders import TextEncoder
from hoi_lib.hand import load_hand
from hoi_lib.motion import ClipLabels, HandTrack, MotionClip, ObjectTrack
from hoi_lib.objects import load_object
from hoi_lib.rotations import axis_angle_to_matrix

SUBJECTS = ("s01", "s02", "s04", "s05", "s03", "s10")
VERBS = ("lift", "pour", "shake")


def tiny_store(folder, clips=12, splits=None, change=lambda clip: clip):
    """``clips`` clips of 12 to 24 frames; every third one shows both hands; all three splits occur.

    ``change`` turns each clip into the one that is stored, ``splits`` are kept with the store.
    """
    made = [change(_clip(i)) for i in range(clips)]
    return write(folder, made, load_object, source="tiny", profile="tiny", seed=0, splits=splits)


def recorded_store(folder, clips=12):
    """The same clips as a recorded set would give them: without labels, and no subject to validate on."""
    splits = {"train": [s for s in SUBJECTS if s != "s10"], "val": [], "test": ["s10"]}
    return tiny_store(folder, clips, splits, lambda clip: replace(clip, labels=None))


def _clip(i):
    rng = np.random.default_rng(i)
    frames = int(rng.integers(12, 25))
    along = np.linspace(0, 1, frames)
    path = np.stack([0.2 * along, 0.1 * np.sin(np.pi * along), 0.8 + 0.1 * along], -1) + rng.normal(size=3) * 0.05
    turn = axis_angle_to_matrix(torch.tensor(np.outer(along, [0, 0, rng.normal()]))).numpy()
    hands = {side: _hand(side, path, along, rng) for side in (("left", "right") if i % 3 == 0 else ("right",))}
    contact = {side: along > 0.3 for side in hands}
    words = {side: "power" for side in hands}
    labels = ClipLabels((along * 3.99).astype(np.int64), contact, {side: frames // 3 for side in hands}, words, words)
    ball = ObjectTrack("ball_small", "ball", path.astype(np.float32), turn.astype(np.float32))
    verb = VERBS[i % len(VERBS)]
    subject = SUBJECTS[i % len(SUBJECTS)]
    return MotionClip(f"{subject}_{i:03d}", hands, ball, verb, subject, f"{verb.title()} the ball.", labels=labels)


def _hand(side, path, along, rng):
    """A hand whose palm meets the ball after the first third of the clip and stays with it."""
    away = np.maximum(0, 1 - along / 0.3)[:, None] * np.array([0, 0, 0.15])
    hand = load_hand(side)
    palm = hand.template[hand.pads["palm"]].mean(0).numpy()
    bend = np.concatenate([[0, 0, 0], hand.hands_mean.numpy()]).reshape(16, 3)
    rotations = axis_angle_to_matrix(torch.tensor(bend)).numpy()
    radius = np.array([0, 0.028, 0])  # the palm of a resting hand looks down, so it lies on top of the ball
    transl = path - palm + radius + away + rng.normal(size=3) * 0.002
    return HandTrack(
        transl.astype(np.float32),
        np.tile(rotations, (len(path), 1, 1, 1)).astype(np.float32),
        np.zeros(10, np.float32),
        np.ones(len(path), bool),
    )


class WordHashes(TextEncoder):
    """Stands in for a language model: every sentence has fixed random features."""

    name, version, dim = "word_hashes", "1", 384

    def read(self, text):
        rng = np.random.default_rng(list(text.encode()))
        return rng.normal(size=(1 + len(text.split()), self.dim)).astype(np.float32)


def use_word_hashes(patch):
    """Let training and evaluation take their text features from :class:`WordHashes`; ``patch`` sets an attribute."""
    from hoi_lib import evaluate, train

    for module in (evaluate, train):
        patch(module, "load_encoder", lambda name: WordHashes())
