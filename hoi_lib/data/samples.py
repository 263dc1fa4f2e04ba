"""One hand of one clip as tensors: what a store gives to a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import torch
from torch.utils.data import Dataset

from hoi_lib.data.store import ClipStore
from hoi_lib.errors import ConfigError
from hoi_lib.hand import load_hand
from hoi_lib.motion import MAX_FRAMES, SIDES, MotionClip, Sample, pack_object, pack_pose
from hoi_lib.objects import ObjectModel

WINDOWS = ("first", "tiled")
SHORTEST = 20  # frames that a later window needs at least


class SampleSet(Dataset):
    """Every hand that takes part in the clips of ``store``, as :class:`~hoi_lib.motion.Sample`.

    ``points`` object points are kept of the 1 024 (they come farthest-first, so any prefix covers the surface). Windows
    are fixed: of a clip longer than ``frames``, "first" gives its beginning and "tiled" windows side by side, each a
    sample of its own, without a rest of fewer than 20 frames. A window in which the hand is valid nowhere gives no
    sample. ``betas`` "zero" gives every subject the mean hand, its wrist where the subject's was (:func:`shapeless`).

    >>> batch = collate([SampleSet(store)[0]])        # pose (1, L, 99)
    """

    def __init__(
        self,
        store: ClipStore,
        points: int = 1024,
        frames: int = MAX_FRAMES,
        betas: str = "subject",
        windows: str = "first",
    ):
        self.store, self.points, self.frames, self.betas = store, points, frames, betas
        chosen = [
            ((i, side), start)
            for i, row in enumerate(store.table)
            for side in SIDES
            if side in row["hands"]
            for start in _starts(row["frames"], frames, windows)
            if self._takes_part(row, side, start)
        ]
        self.index, self.starts = [pair for pair, _ in chosen], [start for _, start in chosen]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Sample:
        number, side = self.index[i]
        clip, start = self.store[number], self.starts[i]
        sample = sample_of(clip, side, self.store.object(clip.object.name), self.points, self.frames, start)
        return shapeless(sample) if self.betas == "zero" else sample

    def _takes_part(self, row: dict, side: str, start: int) -> bool:
        """Whether the hand is valid in any frame of a window; reads nothing but the flags."""
        first = row["hands"][side]["start"]
        return bool(self.store.raw("hand_valid")[first + start : first + min(start + self.frames, row["frames"])].any())


def _starts(length: int, frames: int, windows: str) -> Iterator[int]:
    """The first frames of the windows of a clip; raises :class:`ConfigError` for a rule that does not exist."""
    if windows not in WINDOWS:
        raise ConfigError(f"windows {windows!r}: expected {' or '.join(WINDOWS)}.")
    yield 0
    if windows == "tiled":
        yield from range(frames, length - SHORTEST + 1, frames)


def sample_of(
    clip: MotionClip, side: str, model: ObjectModel, points: int = 1024, frames: int = MAX_FRAMES, start: int = 0
) -> Sample:
    """The hand ``side`` of ``clip`` with the first ``points`` surface points of its object: at most ``frames`` frames,
    from frame ``start`` on."""
    track, item = clip.hands[side], clip.object
    cut = slice(start, start + frames)
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
