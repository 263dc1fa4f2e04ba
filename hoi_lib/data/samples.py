"""One hand of one clip as tensors: what a store gives to a model."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch
from torch.utils.data import Dataset

from hoi_lib.data.store import ClipStore
from hoi_lib.hand import load_hand
from hoi_lib.motion import MAX_FRAMES, SIDES, MotionClip, Sample, pack_object, pack_pose
from hoi_lib.objects import ObjectModel


class SampleSet(Dataset):
    """Every hand that takes part in the clips of ``store``, as :class:`~hoi_lib.motion.Sample`.

    ``points`` object points are kept of the 1 024 (they come farthest-first, so any prefix covers the surface). A clip
    longer than ``frames`` is cut at its end, always in the same way. ``betas`` "zero" gives every subject the mean
    hand, its wrist where the subject's was (:func:`shapeless`).

    >>> batch = collate([SampleSet(store)[0]])        # pose (1, L, 99)
    """

    def __init__(self, store: ClipStore, points: int = 1024, frames: int = MAX_FRAMES, betas: str = "subject"):
        self.store, self.points, self.frames, self.betas = store, points, frames, betas
        self.index = [(i, side) for i, row in enumerate(store.table) for side in SIDES if side in row["hands"]]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Sample:
        number, side = self.index[i]
        clip = self.store[number]
        sample = sample_of(clip, side, self.store.object(clip.object.name), self.points, self.frames)
        return shapeless(sample) if self.betas == "zero" else sample


def sample_of(clip: MotionClip, side: str, model: ObjectModel, points: int = 1024, frames: int = MAX_FRAMES) -> Sample:
    """The hand ``side`` of ``clip`` with the first ``points`` surface points of its object, at most ``frames`` long."""
    track, item = clip.hands[side], clip.object
    cut = slice(0, frames)
    angle = None if item.angle is None else torch.as_tensor(item.angle)[cut]
    contact = torch.zeros(clip.frames, dtype=torch.bool)
    if clip.labels is not None:
        contact = torch.as_tensor(clip.labels.contact[side])
    betas = torch.as_tensor(track.betas)
    return Sample(
        pose=pack_pose(torch.as_tensor(track.transl)[cut], torch.as_tensor(track.rotations)[cut]),
        object_pose=pack_object(torch.as_tensor(item.transl)[cut], torch.as_tensor(item.rotation)[cut], angle),
        valid=torch.as_tensor(track.valid)[cut],
        betas=betas,
        wrist_rest=_rest_wrist(side, tuple(betas.tolist())),
        contact=contact[cut],
        side=SIDES.index(side),
        points=torch.as_tensor(model.points[:points], dtype=torch.float32),
        normals=torch.as_tensor(model.normals[:points], dtype=torch.float32),
        part=torch.as_tensor(model.point_part[:points], dtype=torch.long),
        hinge=torch.as_tensor(model.hinge_numbers(), dtype=torch.float32),
        caption=clip.caption,
        verb=clip.verb,
        object_name=item.name,
        clip_name=clip.name,
    )


def shapeless(sample: Sample) -> Sample:
    """The same motion on the mean hand (all betas 0), which is what the paper's preprocessing does.

    Rotations stay and the wrist stays in its place; the fingers then end where the mean hand's do, so that a grasp may
    open or sink in.
    """
    betas = torch.zeros_like(sample.betas)
    rest = _rest_wrist(SIDES[sample.side], tuple(betas.tolist()))
    transl = sample.pose[:, :3] + sample.wrist_rest - rest
    return replace(sample, pose=torch.cat([transl, sample.pose[:, 3:]], -1), betas=betas, wrist_rest=rest)


@lru_cache(maxsize=256)
def _rest_wrist(side: str, betas: tuple[float, ...]) -> torch.Tensor:
    with torch.no_grad():
        return load_hand(side).rest_wrist(torch.tensor(betas)).clone()
