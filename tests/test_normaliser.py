"""Standardising: moments merged batch by batch, figures by kind."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hoi_lib.errors import ConfigError
from hoi_lib.normaliser import SMALLEST_SPREAD, Moments, Normaliser


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.integers(0, 1000))
def test_merged_moments_are_those_of_all_rows_at_once(sizes, seed):
    gen = torch.Generator().manual_seed(seed)
    parts = [1e4 + torch.randn(n, 3, generator=gen, dtype=torch.float64) for n in sizes]
    moments, rows = Moments(3), torch.cat(parts)
    for part in parts:
        moments.add(part)
    assert moments.count == len(rows)
    if len(rows):
        assert torch.allclose(moments.mean, rows.mean(0), rtol=1e-12)
        assert torch.allclose(moments.std(), rows.std(0, unbiased=False), atol=1e-9)


def test_undoing_is_the_inverse_for_each_kind():
    standard, rows = Normaliser(4, kinds=2), [torch.randn(9, 4) * 3 + 5, torch.randn(9, 4) - 2]
    standard.fit([_moments(r) for r in rows])
    x, kind = torch.randn(3, 6, 4), torch.tensor([0, 1, 0])
    assert torch.allclose(standard.undo(standard(x, kind), kind), x, atol=1e-5)
    own = standard(rows[1][None], torch.tensor([1]))
    assert torch.allclose(own.mean((0, 1)), torch.zeros(4), atol=1e-5)
    assert torch.allclose(own.std((0, 1), unbiased=False), torch.ones(4), atol=1e-5)
    assert not torch.allclose(own, standard(rows[1][None], torch.tensor([0])))


def test_what_never_varies_is_not_blown_up():
    standard = Normaliser(2)
    standard.fit([_moments(torch.tensor([[1.0, 0.0], [1.0, 4.0]]))])
    assert standard.std.tolist() == [[pytest.approx(SMALLEST_SPREAD), 2.0]]


def test_an_unseen_kind_takes_the_figures_of_a_seen_one_and_nothing_seen_is_refused():
    standard = Normaliser(2, kinds=2)
    standard.fit([Moments(2), _moments(torch.randn(5, 2))])
    assert torch.equal(standard.mean[0], standard.mean[1])
    with pytest.raises(ConfigError, match="no valid frame"):
        standard.fit([Moments(2), Moments(2)])


def test_the_figures_travel_with_the_weights():
    standard = Normaliser(2)
    standard.fit([_moments(torch.randn(5, 2))])
    assert set(standard.state_dict()) == {"mean", "std"} and not list(standard.parameters())


def _moments(rows):
    moments = Moments(rows.shape[1])
    moments.add(rows)
    return moments
