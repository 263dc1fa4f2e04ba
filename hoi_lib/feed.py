"""What each training step sees: a function of the seed and the step's number, and of nothing else.

Order, noise levels and noise are drawn from generators seeded with (seed, purpose, step). A run that is stopped and
resumed at any step therefore sees exactly what an uninterrupted one sees, with no random state to carry along, and a
run on four GPUs sees what a run on one sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from hoi_lib.hand import HandModel
from hoi_lib.losses import posed_hands
from hoi_lib.motion import Batch, Sample, collate

Posed = tuple[Tensor, Tensor]
"""Joints (…, 21, 3) and vertices (…, V, 3) in metres, as :func:`hoi_lib.losses.posed_hands` gives them."""

IN_MEMORY_BYTES = 1 << 30
POOL = 8  # batches that are sorted by length together


def generator(seed: int, *purpose: int) -> torch.Generator:
    """A CPU generator for one purpose; different numbers give unrelated streams."""
    state = np.random.SeedSequence((seed, *purpose)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def order(lengths: Sequence[int], batch: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of one epoch: indices into ``lengths``, each at most once, clips of similar length together.

    A batch is padded to its longest clip, so the shuffled samples are sorted by length within pools of eight batches,
    and the batches are shuffled again. What does not fill a batch is left out of this epoch; fewer samples than
    ``batch`` make one batch of all.
    """
    shuffle = generator(seed, 0, epoch)
    batch = min(batch, len(lengths))
    drawn = torch.randperm(len(lengths), generator=shuffle).tolist()[: len(lengths) // batch * batch]
    batches = []
    for start in range(0, len(drawn), POOL * batch):
        pool = sorted(drawn[start : start + POOL * batch], key=lambda i: lengths[i])
        batches += [pool[i : i + batch] for i in range(0, len(pool), batch)]
    return [batches[i] for i in torch.randperm(len(batches), generator=shuffle).tolist()]


class Feed:
    """Batches of ``samples`` by step number, with the true hands beside them.

    ``truth`` holds joints and the chosen vertices of every sample, in the world frame, so that no step poses a hand
    that never changes; it is None when they would take more than a gigabyte.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        batch: int,
        seed: int,
        hands: Mapping[str, HandModel],
        vertex_ids: Int[Tensor, "V"],
    ):
        self.samples, self.size, self.seed = samples, batch, seed
        self.lengths = [len(sample.pose) for sample in samples]
        bytes_per_frame = 4 * 3 * (21 + len(vertex_ids))
        self.truth: list[Posed] | None = None
        if sum(self.lengths) * bytes_per_frame <= IN_MEMORY_BYTES:
            self.truth = [_truth(sample, hands, vertex_ids) for sample in samples]
        self.epoch = lru_cache(maxsize=2)(lambda number: order(self.lengths, self.size, self.seed, number))

    def __len__(self) -> int:
        return len(self.samples)

    def chunks(self, size: int) -> list[list[int]]:
        """All indices once, in order, ``size`` at a time."""
        return [list(range(i, min(i + size, len(self)))) for i in range(0, len(self), size)]

    def indices(self, step: int) -> list[int]:
        """The samples of a step, counted from 0."""
        per_epoch = len(self.epoch(0))
        return self.epoch(step // per_epoch)[step % per_epoch]

    def batch(self, indices: Sequence[int], length: int | None = None) -> tuple[Batch, Posed | None]:
        """These samples padded to ``length`` frames, and their true hands, held in the padding, if they are kept."""
        batch = collate([self.samples[i] for i in indices], length)
        if self.truth is None:
            return batch, None
        frames = batch.pose.shape[1]
        joints, vertices = (torch.stack([_held(self.truth[i][k], frames) for i in indices]) for k in range(2))
        return batch, (joints, vertices)

    def draw(self, step: int, count: int, frames: int, levels: int) -> tuple[Int[Tensor, "B"], Tensor]:
        """Noise levels (B,), uniform in 0 … levels − 1, and noise (B, L, 99) of a step."""
        dice = generator(self.seed, 1, step)
        return torch.randint(levels, (count,), generator=dice), torch.randn(count, frames, 99, generator=dice)


@torch.no_grad()
def _truth(sample: Sample, hands: Mapping[str, HandModel], vertex_ids: Tensor) -> Posed:
    batch = collate([sample])
    joints, vertices = posed_hands(batch.pose, batch.betas, batch.side, hands, vertex_ids)
    return joints[0], vertices[0]


def _held(x_LK3: Tensor, frames: int) -> Tensor:
    """Repeat the last frame, or cut, to ``frames``."""
    missing = frames - len(x_LK3)
    return x_LK3[:frames] if missing <= 0 else torch.cat([x_LK3, x_LK3[-1:].expand(missing, *x_LK3.shape[1:])])
