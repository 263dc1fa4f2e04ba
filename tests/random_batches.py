"""Random but well-formed batches and a text encoder that needs no model: what the tests of the network feed it."""

import zlib

import numpy as np
import torch

from hoi_lib.encoders import TextEncoder
from hoi_lib.motion import Batch, Sample, collate, pack_object, pack_pose
from hoi_lib.rotations import axis_angle_to_matrix


class WordHash(TextEncoder):
    """Eight numbers per word, drawn from the word's own checksum; counts how often it reads."""

    name, version, dim = "wordhash", "1", 8

    def __init__(self, cache=None):
        super().__init__(cache)
        self.reads = 0

    def read(self, text):
        self.reads += 1
        rows = [np.random.default_rng(zlib.crc32(w.encode())).normal(size=self.dim) for w in text.split() or [""]]
        return np.stack([np.mean(rows, 0), *rows]).astype(np.float32)


def random_sample(frames=12, side=1, seed=0, points=32, verb="pour", dtype=torch.float32) -> Sample:
    """A smooth random walk of hand and object; ``valid`` everywhere."""
    gen = torch.Generator().manual_seed(seed)

    def walk(*shape, scale):
        start = torch.randn(shape, generator=gen, dtype=torch.float64) * scale * 5
        return start + torch.randn((frames, *shape), generator=gen, dtype=torch.float64).cumsum(0) * scale

    pose = pack_pose(walk(3, scale=0.01), axis_angle_to_matrix(walk(16, 3, scale=0.05)))
    place = pack_object(walk(3, scale=0.01), axis_angle_to_matrix(walk(3, scale=0.05)), walk(scale=0.02))
    normals = torch.nn.functional.normalize(torch.randn(points, 3, generator=gen, dtype=torch.float64), dim=-1)
    betas, wrist = torch.randn(10, generator=gen, dtype=torch.float64), torch.tensor([0.096, 0.006, 0.006]).double()
    cast = (x.to(dtype) for x in (pose, place, betas, wrist, 0.05 * normals, normals, torch.zeros(6)))
    pose, place, betas, wrist, points_, normals, hinge = cast
    return Sample(
        pose=pose,
        object_pose=place,
        valid=torch.ones(frames, dtype=torch.bool),
        betas=betas,
        wrist_rest=wrist,
        contact=torch.zeros(frames, dtype=torch.bool),
        side=side,
        points=points_,
        normals=normals,
        part=(points_[:, 0] > 0).long(),
        hinge=hinge,
        caption=f"{verb.capitalize()} the bottle with {('left', 'right')[side]} hand.",
        verb=verb,
        object_name="bottle_medium",
        clip_name=f"clip{seed}",
    )


def random_batch(lengths=(12, 9, 12, 5), length=None, **kwargs) -> Batch:
    """One sample per length, sides alternating, padded to the longest or to ``length``."""
    return collate([random_sample(n, side=i % 2, seed=i, **kwargs) for i, n in enumerate(lengths)], length)
