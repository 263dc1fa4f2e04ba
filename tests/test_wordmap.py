"""The map of words: nearness by angle, places that do not overlap, and one arrow for every word."""

import matplotlib
import numpy as np
import pytest
import torch

from hoi_lib.wordmap import cosines, lay_out, nearest, word_map

matplotlib.use("agg")


@pytest.fixture
def features():
    return torch.randn(9, 24, generator=torch.Generator().manual_seed(3))


def test_nearness_is_the_angle_and_no_length(features):
    longer = features * torch.linspace(0.2, 9, 9)[:, None]
    assert torch.allclose(cosines(features), cosines(longer), atol=1e-5)
    assert torch.allclose(cosines(features).diagonal(), torch.ones(9), atol=1e-5)
    assert torch.allclose(cosines(features, features[:2]), cosines(features)[:, :2], atol=1e-5)


def test_the_nearest_row_is_another_row(features):
    found = nearest(torch.cat([features, features[:1] + 0.01]))
    assert found[0] == 9 and found[9] == 0 and (found != torch.arange(10)).all()


def test_the_page_keeps_distances_that_two_dimensions_can_hold():
    angle = torch.tensor([0.0, 0.1, 0.25, 0.4, 0.45])
    flat = lay_out(torch.stack([angle.cos(), angle.sin()], -1))
    wanted = 1 - torch.cos(angle[:, None] - angle[None])
    drawn = torch.cdist(flat, flat)
    pairs = torch.triu_indices(5, 5, 1)
    both = torch.stack([wanted[pairs[0], pairs[1]], drawn[pairs[0], pairs[1]]])
    assert torch.corrcoef(both)[0, 1] > 0.9


def test_no_two_places_overlap(features):
    place = lay_out(features, gap=0.5)
    apart = (place[:, None] - place[None]).abs().amax(-1) + torch.eye(9)
    assert apart.min() > 0.45 and torch.equal(place, lay_out(features, gap=0.5))


@pytest.mark.parametrize("pictured", [True, False])
def test_every_word_is_drawn_with_its_arrow_and_the_nearest_pair_with_its_cosine(features, pictured):
    import matplotlib.pyplot as plt

    names = [f"word {k}" for k in range(9)]
    figure, axis = plt.subplots()
    word_map(axis, names, features, [np.zeros((4, 4, 3), np.uint8)] * 9 if pictured else None)
    table = cosines(features).fill_diagonal_(-1)
    texts = [text.get_text() for text in axis.texts]
    assert set(names) <= set(texts) and f"{float(table.max()):.2f}" in texts
    assert sum(text.arrow_patch is not None for text in axis.texts if hasattr(text, "arrow_patch")) == 9
    assert len(axis.images) == (9 if pictured else 0)
    plt.close(figure)
