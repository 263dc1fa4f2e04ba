"""Samples: one hand of one clip as tensors, and the cached default set."""

import numpy as np
import pytest
import torch

from hoi_lib import data
from hoi_lib.data import synthetic
from hoi_lib.hand import load_hand
from hoi_lib.motion import collate, unpack_pose


def test_every_hand_that_takes_part_is_one_sample(small_set):
    samples = data.SampleSet(small_set)
    assert len(samples) == sum(len(clip.hands) for clip in small_set)
    batch = collate([samples[i] for i in range(len(samples))])
    assert batch.pose.shape == (len(samples), batch.valid.shape[1], 99)
    assert batch.valid.sum(1).tolist() == [len(samples[i].pose) for i in range(len(samples))]
    assert set(batch.side.tolist()) == {0, 1}


def test_a_sample_is_its_clip(small_set):
    samples = data.SampleSet(small_set, points=200)
    number, side = samples.index[3]
    clip, sample = small_set[number], samples[3]
    transl, rotations = unpack_pose(sample.pose)
    np.testing.assert_allclose(transl.numpy(), clip.hands[side].transl)
    np.testing.assert_allclose(rotations.numpy(), clip.hands[side].rotations, atol=1e-6)
    assert sample.points.shape == sample.normals.shape == (200, 3) and sample.part.shape == (200,)
    assert (
        sample.clip_name == clip.name
        and sample.caption == clip.caption
        and sample.side == ("left", "right").index(side)
    )
    rest = load_hand(side).rest_wrist(torch.as_tensor(clip.hands[side].betas))
    torch.testing.assert_close(sample.wrist_rest, rest)
    assert sample.contact.tolist() == clip.labels.contact[side].tolist()


def test_rigid_objects_have_no_hinge_and_hinged_ones_a_unit_axis(small_set):
    for sample in data.SampleSet(small_set):
        model = small_set.object(sample.object_name)
        if model.hinge is None:
            assert not sample.hinge.any() and not sample.object_pose[:, 9].any() and not sample.part.any()
        else:
            assert sample.hinge[3:].norm().item() == pytest.approx(1) and sample.part.any()


def test_long_clips_are_cut_at_the_end_always_in_the_same_way(small_set):
    whole, cut = data.SampleSet(small_set), data.SampleSet(small_set, frames=40)
    assert len(cut[0].pose) == 40
    assert torch.equal(cut[0].pose, whole[0].pose[:40]) and torch.equal(cut[0].contact, whole[0].contact[:40])


def test_default_builds_once_and_mends_what_is_damaged(monkeypatch, tmp_path):
    monkeypatch.setenv("HOI_CACHE", str(tmp_path))
    built = []
    original = synthetic.build

    def build(folder, profile, progress):
        built.append(folder)
        return original(folder, profile, clips=4, workers=1, progress=progress)

    monkeypatch.setattr(synthetic, "build", build)
    first = data.default(progress=False)
    assert data.default(progress=False).fingerprint == first.fingerprint and len(built) == 1
    (first.folder / "phase.npy").unlink()
    assert data.default(progress=False).fingerprint == first.fingerprint and len(built) == 2
