"""Samples: one hand of one clip as tensors, and the cached default set."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_store import tiny_store

from hoi_lib import data
from hoi_lib.data import synthetic
from hoi_lib.errors import ConfigError
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


def test_tiled_windows_stand_side_by_side_and_cover_a_clip_but_for_a_short_rest(small_set):
    whole, tiled = data.SampleSet(small_set), data.SampleSet(small_set, frames=40, windows="tiled")
    assert len(tiled) > len(whole)
    for number, pair in enumerate(whole.index):
        rows = [i for i, other in enumerate(tiled.index) if other == pair]
        joined = torch.cat([tiled[i].pose for i in rows])
        assert [tiled.starts[i] for i in rows] == list(range(0, 40 * len(rows), 40))
        assert torch.equal(joined, whole[number].pose[: len(joined)])
        assert torch.equal(torch.cat([tiled[i].contact for i in rows]), whole[number].contact[: len(joined)])
        assert len(whole[number].pose) - len(joined) < 20 and min(len(tiled[i].pose) for i in rows) >= 20


def test_an_unknown_rule_for_windows_is_named(small_set):
    with pytest.raises(ConfigError, match="windows 'random': expected first or tiled"):
        data.SampleSet(small_set, windows="random")


def test_a_window_in_which_the_hand_is_nowhere_valid_is_no_sample(tmp_path):
    def late(clip):
        """Hands that a tracker finds from frame 12 on."""
        found = {s: replace(h, valid=np.arange(clip.frames) >= 12) for s, h in clip.hands.items()}
        return replace(clip, hands=found)

    store = tiny_store(tmp_path / "store", change=late)
    assert len(data.SampleSet(store, frames=12)) == 0
    longer = [len(clip.hands) for clip in store if clip.frames > 12]
    assert len(data.SampleSet(store, frames=13)) == sum(longer) > 0


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
