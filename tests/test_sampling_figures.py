"""The film of a sampling run shows what the sampler saw and answered, and measures it as the library does."""

import numpy as np
import pytest
import torch
from random_batches import WordHash
from tiny_store import tiny_store

from hoi_lib.data.samples import SampleSet
from hoi_lib.denoiser import Denoiser, hollow
from hoi_lib.diffusion import Step
from hoi_lib.generate import contact_distance
from hoi_lib.motion import SIDES, collate
from hoi_lib.sampling_figures import Film

CONFIG = hollow(16, 2, 2, text_dim=WordHash.dim, points=32, point_width=16)
SIZE = (96, 80)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A film of two recorded hands, the true motions as answers of its last step and noise as that of its first."""
    store = tiny_store(tmp_path_factory.mktemp("store"))
    everything = SampleSet(store.subset("train"), 32)
    samples = [everything[i] for i in range(2)]
    torch.manual_seed(0)
    network, batch = Denoiser(CONFIG).eval(), collate(samples)
    network.fit_normaliser([batch])
    truth = network.to_model(batch).detach()
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    return Film(network, samples, store), Step(999, noise, truth), Step(0, truth, truth)


def test_a_true_answer_is_filmed_as_the_recorded_motion(filmed):
    film, _, last = filmed
    for row, sample in enumerate(film.samples):
        made = film.clip(last.x0, row).hands[SIDES[sample.side]]
        assert np.allclose(made.transl, sample.pose[:, :3].numpy(), atol=1e-5)
        assert len(made.transl) == len(sample.pose), "the padding is cut off"


def test_the_drawn_frame_lies_within_the_contact(filmed):
    film, _, _ = filmed
    for row, sample in enumerate(film.samples):
        held = sample.contact.nonzero()[:, 0]
        frame = film.frame(row)
        assert not len(held) or held.min() <= frame <= held.max()
        assert 0 <= frame < len(sample.pose)


def test_the_two_pictures_show_bones_and_a_hand_and_the_eye_sees_the_first_noise(filmed):
    film, first, last = filmed
    look = film.look(first, last, 0, SIZE)
    noised, answer = film.pictures(first, 0, **look)
    assert noised.shape == answer.shape == (SIZE[1], SIZE[0], 3)
    assert not np.array_equal(noised, answer)
    bones = np.concatenate([m.vertices for m in film.bones(first.x, 0)])
    places = look["eye"].project(bones, *SIZE)
    assert (places[:, 0] > 0).all() and (places[:, 0] < SIZE[0]).all()
    assert (places[:, 1] > 0).all() and (places[:, 1] < SIZE[1]).all()


def test_a_reading_is_the_librarys_contact_and_the_way_of_the_wrist(filmed):
    film, first, last = filmed
    clip, sample = film.clip(last.x0, 0), film.samples[0]
    gap = contact_distance(clip, film.store.object(sample.object_name))[SIDES[sample.side]]
    touch, deep, far = film.reading(last, last, 0)
    assert touch == pytest.approx((gap < 0.005).mean()) and deep == pytest.approx(max(-1000 * gap.min(), 0))
    assert far == 0
    shifted = last.x0 + torch.eye(99)[0]  # one standard deviation along one axis of the translation
    moved = film.reading(Step(0, first.x, shifted), last, 0).far
    spread = float(film.denoiser.standard_hand.undo(shifted, film.batch.side)[0, 0, 0])
    spread -= float(film.denoiser.standard_hand.undo(last.x0, film.batch.side)[0, 0, 0])
    assert moved == pytest.approx(1000 * abs(spread), rel=1e-3)
