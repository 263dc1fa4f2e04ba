"""Pictures of a sampler at work: what the network sees, drawn as bones, and what it answers, drawn as a hand.

L frames, X the 99 numbers of a hand, standardised as the network sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hoi_lib import plots
from hoi_lib.data.store import ClipStore
from hoi_lib.denoiser import Denoiser
from hoi_lib.diffusion import Step
from hoi_lib.generate import CONTACT, clip_of, contact_distance
from hoi_lib.hand import load_hand
from hoi_lib.motion import SIDES, MotionClip, Sample, collate, unpack_pose
from hoi_lib.scene import best_view, scene_of


class Reading(NamedTuple):
    """One answer in numbers: the share of the frames that ``touch``, how ``deep`` the deepest vertex of the clip lies
    inside in millimetres (0 outside), and how ``far`` the wrist is from another answer's, a mean in millimetres."""

    touch: float
    deep: float
    far: float


class Film:
    """The steps of one sampling run as pictures: one frame of each sample, the middle of its recorded contact.

    ``samples`` are those of the batch that is sampled, in its order, and ``store`` knows their objects.
    """

    def __init__(self, denoiser: Denoiser, samples: Sequence[Sample], store: ClipStore):
        self.denoiser, self.samples, self.store = denoiser, list(samples), store
        self.batch = collate(self.samples)

    def frame(self, row: int) -> int:
        """The frame of a sample that is drawn; the middle of the clip where nothing ever touches."""
        held = self.samples[row].contact.nonzero()[:, 0]
        return int(held.float().median()) if len(held) else len(self.samples[row].pose) // 2

    @torch.no_grad()
    def clip(self, x0: Float[Tensor, "B L X"], row: int) -> MotionClip:
        """One sample of an estimate as a clip in the world."""
        sample = self.samples[row]
        pose = self.denoiser.to_world(x0, self.batch)[row, None, : len(sample.pose)]
        model = self.store.object(sample.object_name)
        return clip_of(sample.caption, sample.verb, (SIDES[sample.side],), pose, collate([sample]), model)

    @torch.no_grad()
    def bones(self, x: Float[Tensor, "B L X"], row: int) -> list[plots.Mesh]:
        """The hand of a noised state as a skeleton, in the drawn frame."""
        transl, rotations = unpack_pose(self.denoiser.to_world(x, self.batch)[row, self.frame(row)])
        hand = load_hand(SIDES[self.samples[row].side])
        joints = hand.joints(rotations, transl, self.batch.betas[row]).numpy()
        return plots.skeleton(joints, plots.COLORS["noise"], plots.COLORS["noise"])

    def pictures(self, moment: Step, row: int, **look: object) -> list[np.ndarray]:
        """Two pictures of one step: what the network saw and what it answered; ``look`` is :meth:`look`'s."""
        *things, hand = self._meshes(moment.x0, row)
        return [plots.render(meshes, **look) for meshes in ([*things, *self.bones(moment.x, row)], [*things, hand])]

    def look(
        self, first: Step, last: Step, row: int, size: tuple[int, int], zoom: float | int = 0.95
    ) -> dict[str, object]:
        """Arguments of a renderer whose eye sees the object, the noise of the first step and the hand of the last."""
        view = best_view(scene_of(self.clip(last.x0, row), self.store.object(self.samples[row].object_name)))
        points = np.concatenate([m.vertices for m in self._meshes(last.x0, row) + self.bones(first.x, row)])
        return {"eye": plots.camera(points, view, size, zoom), "size": size, "shadow": False, "samples": 2}

    def reading(self, moment: Step, other: Step, row: int) -> Reading:
        """How good an answer is, and how far its wrist is from that of another step's answer."""
        side, model = SIDES[self.samples[row].side], self.store.object(self.samples[row].object_name)
        one, two = (self.clip(step.x0, row) for step in (moment, other))
        gap = contact_distance(one, model)[side]
        off = np.linalg.norm(one.hands[side].transl - two.hands[side].transl, axis=-1)
        return Reading(float((gap < CONTACT).mean()), max(-1e3 * float(gap.min()), 0.0), 1e3 * float(off.mean()))

    def _meshes(self, x0: Tensor, row: int) -> list[plots.Mesh]:
        """The object's parts and, last, the hand, in the drawn frame."""
        model = self.store.object(self.samples[row].object_name)
        return scene_of(self.clip(x0, row), model).meshes(self.frame(row))
