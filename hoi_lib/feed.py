"""What each training step sees: a function of the seed and the step's number, and of nothing else.

Order, noise levels and noise are drawn from generators seeded with (seed, purpose, step). A run that is stopped and
resumed at any step therefore sees exactly what an uninterrupted one sees, with no random state to carry along, and a
run on four GPUs sees what a run on one sees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from hoi_lib.hand import HandModel
from hoi_lib.interaction import Fields, Posed, posed_hands, true_fields
from hoi_lib.motion import Batch, Sample, collate

IN_MEMORY_BYTES = 1 << 30  # most that the true hands may take, and most that their distance fields may
POOL = 8  # batches that are sorted by length together
SAMPLERS = ("shuffled", "balanced")


def generator(seed: int, *purpose: int) -> torch.Generator:
    """A CPU generator for one purpose; different numbers give unrelated streams."""
    state = np.random.SeedSequence((seed, *purpose)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def steps_per_epoch(samples: int, batch: int) -> int:
    """Whole batches that ``samples`` fill; fewer samples than ``batch`` make one batch of all."""
    return samples // min(batch, samples)


def caption_weights(captions: Sequence[str]) -> list[float]:
    """One over how often each caption occurs: drawn with these weights, all captions come up equally often."""
    count = Counter(captions)
    return [1 / count[caption] for caption in captions]


def order(
    lengths: Sequence[int], batch: int, seed: int, epoch: int, weights: Sequence[float] | None = None
) -> list[list[int]]:
    """The batches of one epoch: indices into ``lengths``, clips of similar length together.

    Each sample comes up at most once; with ``weights``, as many are drawn with replacement, in proportion to them. A
    batch is padded to its longest clip, so what was drawn is sorted by length within pools of eight batches, and the
    batches are shuffled again. What does not fill a batch is left out of this epoch; fewer samples than ``batch`` make
    one batch of all.
    """
    shuffle = generator(seed, 0, epoch)
    batch, count = min(batch, len(lengths)), steps_per_epoch(len(lengths), batch) * min(batch, len(lengths))
    if weights is None:
        drawn = torch.randperm(len(lengths), generator=shuffle).tolist()[:count]
    else:
        likely = torch.tensor(weights, dtype=torch.float64)
        drawn = torch.multinomial(likely, count, replacement=True, generator=shuffle).tolist()
    batches = []
    for start in range(0, len(drawn), POOL * batch):
        pool = sorted(drawn[start : start + POOL * batch], key=lambda i: lengths[i])
        batches += [pool[i : i + batch] for i in range(0, len(pool), batch)]
    return [batches[i] for i in torch.randperm(len(batches), generator=shuffle).tolist()]


@dataclass(frozen=True)
class Truth:
    """What is known of a batch beforehand: the true hands and their distance fields, each None where it did not fit
    into memory. The fields, like the losses that they are for, look at the frames ``offset``, ``offset + stride``, …"""

    offset: int = 0
    posed: Posed | None = None
    fields: Fields | None = None

    def to(self, device: torch.device | str) -> Truth:
        """The same with every tensor on ``device``."""
        posed = None if self.posed is None else (self.posed[0].to(device), self.posed[1].to(device))
        fields = None if self.fields is None else Fields(*(x.to(device) for x in self.fields[:2]))
        return Truth(self.offset, posed, fields)


class Feed:
    """Batches of ``samples`` by step number, with what the losses know of them beforehand (:class:`Truth`).

    Joints and the chosen vertices of every sample are posed once, in the world frame. The distance fields between all
    vertices and ``loss_points`` object points (0: none are wanted) are worked out on ``device`` when a sample's frames
    are first asked for, and kept as float16, exact to half a thousandth. Neither is kept where all samples together
    would take more than a gigabyte. The ``sampler`` "balanced" draws samples by :func:`caption_weights`.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        batch: int,
        seed: int,
        hands: Mapping[str, HandModel],
        vertex_ids: Int[Tensor, "V"],
        loss_points: int = 0,
        stride: int = 1,
        device: torch.device | str = "cpu",
        sampler: str = "shuffled",
    ):
        self.samples, self.size, self.seed, self.hands = samples, batch, seed, hands
        self.loss_points, self.stride, self.device = loss_points, stride, device
        self.lengths = [len(sample.pose) for sample in samples]
        self.truth: list[Posed] | None = None
        if sum(self.lengths) * 4 * 3 * (21 + len(vertex_ids)) <= IN_MEMORY_BYTES:
            self.truth = [_truth(sample, hands, vertex_ids) for sample in samples]
        per_frame = 2 * (len(hands["right"].template) + loss_points)
        self.keeps_fields = loss_points > 0 and sum(self.lengths) * per_frame <= IN_MEMORY_BYTES
        self.fields: dict[tuple[int, int], Fields] = {}
        weights = caption_weights([sample.caption for sample in samples]) if sampler == "balanced" else None
        self.epoch = lru_cache(maxsize=2)(lambda number: order(self.lengths, self.size, self.seed, number, weights))

    def __len__(self) -> int:
        return len(self.samples)

    def chunks(self, size: int) -> list[list[int]]:
        """All indices once, in order, ``size`` at a time."""
        return [list(range(i, min(i + size, len(self)))) for i in range(0, len(self), size)]

    def indices(self, step: int) -> list[int]:
        """The samples of a step, counted from 0."""
        per_epoch = len(self.epoch(0))
        return self.epoch(step // per_epoch)[step % per_epoch]

    def offset(self, step: int) -> int:
        """The first frame that the losses between hand and object look at in a step, 0 … stride − 1."""
        return int(torch.randint(self.stride, (), generator=generator(self.seed, 4, step)))

    def batch(self, indices: Sequence[int], length: int | None = None, offset: int = 0) -> tuple[Batch, Truth]:
        """These samples padded to ``length`` frames, and what is known of them, held in the padding.

        An ``offset`` behind the last frame becomes that frame.
        """
        batch = collate([self.samples[i] for i in indices], length)
        frames, posed, fields = batch.pose.shape[1], None, None
        offset = min(offset, frames - 1)
        if self.truth is not None:
            posed = tuple(torch.stack([_held(self.truth[i][k], frames) for i in indices]) for k in range(2))
        if self.keeps_fields:
            looked = len(range(offset, frames, self.stride))
            rows = [self._fields(i, offset) for i in indices]
            fields = Fields(*(torch.stack([_held(row[k], looked) for row in rows]) for k in range(2)))
        return batch, Truth(offset, posed, fields)

    def _fields(self, index: int, offset: int) -> Fields:
        """Distance fields (L', P) and (L', V) of one sample, float16; at least one row, for the padding to hold."""
        if (index, offset) not in self.fields:
            frames = slice(min(offset, self.lengths[index] - 1), None, self.stride)
            batch = collate([self.samples[index]])
            found = true_fields(batch, self.hands, frames, self.loss_points, self.device)
            self.fields[index, offset] = Fields(*(x[0].half().cpu() for x in found[:2]))
        return self.fields[index, offset]

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
