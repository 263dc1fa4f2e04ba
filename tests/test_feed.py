"""What a step sees depends on the seed and the step alone."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_store import tiny_store

from hoi_lib import feed
from hoi_lib.data.samples import SampleSet
from hoi_lib.feed import Feed, caption_weights, generator, order, steps_per_epoch
from hoi_lib.hand import load_hand
from hoi_lib.interaction import true_fields

HANDS = {side: load_hand(side) for side in ("left", "right")}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=80), st.integers(1, 16), st.integers(0, 99))
def test_an_epoch_shows_every_sample_at_most_once_in_full_batches(lengths, batch, epoch):
    batches = order(lengths, batch, seed=0, epoch=epoch)
    shown = [i for rows in batches for i in rows]
    size = min(batch, len(lengths))
    assert len(set(shown)) == len(shown) == len(lengths) // size * size
    assert {len(rows) for rows in batches} == {size}


def test_order_depends_on_seed_and_epoch_and_on_nothing_else():
    lengths = list(range(40))
    torch.manual_seed(1)
    first = order(lengths, 4, seed=0, epoch=0)
    torch.manual_seed(2)
    assert order(lengths, 4, seed=0, epoch=0) == first
    assert order(lengths, 4, seed=0, epoch=1) != first
    assert order(lengths, 4, seed=1, epoch=0) != first


def test_a_batch_holds_clips_of_similar_length():
    lengths = torch.randint(60, 151, (640,), generator=generator(0)).tolist()
    padded = sum(len(rows) * max(lengths[i] for i in rows) for rows in order(lengths, 16, 0, 0))
    assert padded / sum(lengths) < 1.08  # batches at random pad by about 1.35


def test_every_sample_comes_up_over_a_few_epochs():
    lengths = [5] * 10
    shown = {i for epoch in range(8) for rows in order(lengths, 4, 0, epoch) for i in rows}
    assert shown == set(range(10))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    found = SampleSet(tiny_store(tmp_path_factory.mktemp("feed") / "store"), points=16)
    return [found[i] for i in range(len(found))]


def test_kept_truth_is_the_posed_hand_held_in_the_padding(samples, monkeypatch):
    ids = torch.tensor([0, 300, 777])
    keeping = Feed(samples, 4, 0, HANDS, ids)
    batch, truth = keeping.batch([0, 1, 2], length=30)
    joints, vertices = truth.posed
    assert joints.shape == (3, 30, 21, 3) and vertices.shape == (3, 30, 3, 3) and truth.fields is None
    expected = feed.posed_hands(batch.pose, batch.betas, batch.side, HANDS, ids)
    assert torch.allclose(joints, expected[0], atol=1e-6) and torch.allclose(vertices, expected[1], atol=1e-6)
    monkeypatch.setattr(feed, "IN_MEMORY_BYTES", 10)
    assert Feed(samples, 4, 0, HANDS, ids, 8).batch([0, 1])[1] == feed.Truth()


@pytest.mark.parametrize("stride, offset", [(1, 0), (4, 0), (4, 3), (50, 12)])
def test_kept_fields_are_those_of_the_looked_at_frames(samples, stride, offset):
    source = Feed(samples, 4, 0, HANDS, torch.tensor([0]), loss_points=8, stride=stride)
    frames = max(source.lengths[:3]) + 2
    batch, truth = source.batch([0, 1, 2], frames, offset)
    looked = slice(offset, None, stride)
    expected = true_fields(batch, HANDS, looked, 8)
    valid = batch.valid[:, looked]
    assert truth.offset == offset and truth.fields.to_hand.shape == (3, valid.shape[1], 8)
    assert truth.fields.to_object.shape == (3, valid.shape[1], 778)
    for kept, fresh in zip(truth.fields[:2], expected[:2], strict=True):
        assert torch.allclose(kept.float()[valid], fresh[valid], rtol=1e-3, atol=1e-6)


def test_an_offset_behind_every_clip_looks_at_the_last_frame(samples):
    source = Feed(samples, 4, 0, HANDS, torch.tensor([0]), loss_points=8, stride=50)
    batch, truth = source.batch([0, 1], offset=49)
    assert truth.offset == batch.pose.shape[1] - 1 and truth.fields.to_hand.shape == (2, 1, 8)
    assert torch.equal(truth.fields.to_hand, source.batch([0, 1], offset=truth.offset)[1].fields.to_hand)


def test_fields_are_worked_out_once_and_do_not_depend_on_the_batch(samples, monkeypatch):
    source = Feed(samples, 4, 0, HANDS, torch.tensor([0]), loss_points=8, stride=4)
    calls = []
    monkeypatch.setattr(feed, "true_fields", lambda *a: calls.append(1) or true_fields(*a))
    first = source.batch([0, 1], offset=1)[1].fields
    again = source.batch([1, 0], offset=1)[1].fields
    assert len(calls) == 2
    assert torch.equal(first.to_hand[1], again.to_hand[0]) and torch.equal(first.to_object[0], again.to_object[1])
    source.batch([0], offset=2)
    assert len(calls) == 3


def test_the_offset_repeats_for_a_step_and_visits_every_frame_over_the_steps():
    source = Feed([], 4, 0, HANDS, torch.tensor([0]), stride=5)
    offsets = [source.offset(step) for step in range(60)]
    assert offsets == [Feed([], 8, 0, HANDS, torch.tensor([0]), stride=5).offset(step) for step in range(60)]
    assert set(offsets) == set(range(5)) and len(set(offsets[:10])) > 1
    assert offsets != [Feed([], 4, 1, HANDS, torch.tensor([0]), stride=5).offset(step) for step in range(60)]


def test_noise_and_levels_repeat_for_a_step_and_differ_between_steps(samples):
    source = Feed(samples, 4, 0, HANDS, torch.tensor([0]))
    t, noise = source.draw(7, 4, 20, 1000)
    again = source.draw(7, 4, 20, 1000)
    other = source.draw(8, 4, 20, 1000)
    assert torch.equal(t, again[0]) and torch.equal(noise, again[1])
    assert not torch.equal(noise, other[1])
    assert int(t.min()) >= 0 and int(t.max()) < 1000


def test_levels_reach_both_ends():
    source = Feed([], 4, 0, HANDS, torch.tensor([0]))
    seen = torch.cat([source.draw(step, 64, 1, 5)[0] for step in range(8)])
    assert set(seen.tolist()) == {0, 1, 2, 3, 4}


# --- the balanced sampler --------------------------------------------------------------------------------------------

RARE = ["common"] * 30 + ["rare"] * 2  # captions of 32 samples


def drawn(epochs, weights):
    return [i for epoch in range(epochs) for rows in order([9] * 32, 8, 0, epoch, weights) for i in rows]


def test_a_balanced_epoch_draws_all_captions_equally_often():
    weights = caption_weights(RARE)
    assert weights == [1 / 30] * 30 + [1 / 2] * 2
    share = sum(RARE[i] == "rare" for i in drawn(200, weights)) / (200 * 32)
    assert abs(share - 0.5) < 0.025  # four standard deviations of 6 400 fair draws; at random it would be 1/16
    assert set(drawn(200, weights)) == set(range(32))


def test_a_balanced_epoch_is_as_long_as_a_shuffled_one_and_depends_on_seed_and_epoch_alone():
    weights, lengths = caption_weights(RARE), list(range(1, 33))
    batches = order(lengths, 5, 0, 3, weights)
    assert [len(rows) for rows in batches] == [5] * (32 // 5) and len(batches) == steps_per_epoch(32, 5)
    torch.manual_seed(7)
    assert order(lengths, 5, 0, 3, weights) == batches
    assert order(lengths, 5, 0, 4, weights) != batches and order(lengths, 5, 1, 3, weights) != batches
    assert [len(rows) for rows in order(lengths[:3], 5, 0, 0, weights[:3])] == [3]


def test_a_feed_balances_the_captions_of_its_samples(samples):
    rare = [replace(sample, caption="rare" if i == 0 else "common") for i, sample in enumerate(samples)]
    shares = {}
    for sampler in ("shuffled", "balanced"):
        source = Feed(rare, 4, 0, HANDS, torch.tensor([0]), sampler=sampler)
        steps = [source.indices(step) for step in range(400)]
        again = Feed(rare, 4, 0, HANDS, torch.tensor([0]), sampler=sampler)
        assert steps == [again.indices(step) for step in range(400)]
        shares[sampler] = sum(rows.count(0) for rows in steps) / 1600
    assert shares["shuffled"] == pytest.approx(1 / len(rare), rel=0.15) and abs(shares["balanced"] - 0.5) < 0.05


def test_a_sampler_that_ignores_the_captions_is_caught(samples, monkeypatch):
    monkeypatch.setattr(feed, "caption_weights", lambda captions: [1.0] * len(captions))
    with pytest.raises(AssertionError):
        test_a_feed_balances_the_captions_of_its_samples(samples)
