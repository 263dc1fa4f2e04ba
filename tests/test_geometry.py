"""Nearest neighbours against brute force, gradients against finite differences, means against numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from hoi_lib import geometry
from hoi_lib.geometry import masked_mean, nearest, nearest_distance, safe_norm


def clouds(*shape_and_sizes, seed=0, dtype=torch.float32):
    *batch, n, m = shape_and_sizes
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*batch, k, 3, generator=generator, dtype=dtype) * 0.1 for k in (n, m))


@pytest.mark.parametrize("shape", [(7, 11), (3, 50, 40), (2, 3, 5, 4), (4, 1, 1), (2, 300, 700)])
def test_indices_equal_brute_force(shape):
    query, target = clouds(*shape)
    brute = (query[..., :, None, :] - target[..., None, :, :]).square().sum(-1).argmin(-1)
    assert torch.equal(nearest(query, target), brute)


@pytest.mark.parametrize("cache", [1, 1000, 30_000, 2**20])
def test_the_block_size_changes_nothing(monkeypatch, cache):
    query, target = clouds(5, 60, 70)
    expected = nearest(query, target)
    monkeypatch.setattr(geometry, "CACHE_BYTES", cache)
    assert torch.equal(nearest(query, target), expected)


def test_no_block_is_larger_than_it_may_be(monkeypatch):
    sizes = []
    plain = geometry._nearest_block
    monkeypatch.setattr(
        geometry, "_nearest_block", lambda q, t: sizes.append(q[..., 0].numel() * t.shape[1]) or plain(q, t)
    )
    nearest(*clouds(6, 5000, 3000))
    assert 4 * max(sizes) <= geometry.CACHE_BYTES <= geometry.BLOCK_BYTES


def test_leading_axes_broadcast_and_empty_queries_are_fine():
    query, target = clouds(4, 6, 9)
    shared = target[0]
    assert torch.equal(nearest(query, shared), torch.stack([nearest(q, shared) for q in query]))
    assert nearest(query[:, :0], target).shape == (4, 0)
    assert nearest_distance(query[:0], target[:0]).shape == (0, 6)
    with pytest.raises(ValueError, match="no points"):
        nearest(query, target[:, :0])


def test_distances_agree_with_a_tree():
    query, target = clouds(400, 300, dtype=torch.float64)
    expected, _ = cKDTree(target.numpy()).query(query.numpy())
    assert np.allclose(nearest_distance(query, target).numpy(), expected, atol=1e-14)


def test_millimetres_survive_a_metre_from_the_origin_where_the_expanded_form_loses_them():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(500, 3, generator=generator, dtype=torch.float64) * 0.1 + 1.0
    query = target + 0.0005 * torch.nn.functional.normalize(
        torch.randn(500, 3, generator=generator, dtype=torch.float64)
    )
    exact = nearest_distance(query, target)
    ours = nearest_distance(query.float(), target.float())
    assert (ours - exact).abs().max() < 5e-7
    q, t = query.float(), target.float()
    expanded = (q.square().sum(-1)[:, None] + t.square().sum(-1) - 2 * q @ t.T).clamp(min=0).sqrt().amin(-1)
    assert (expanded - exact).abs().max() > 1e-4


def test_the_gradient_of_the_distance_is_its_finite_difference():
    query, target = clouds(2, 5, 8, dtype=torch.float64)
    assert torch.autograd.gradcheck(nearest_distance, (query.requires_grad_(), target.requires_grad_()))


def test_the_gradient_is_finite_where_a_point_meets_its_target():
    _, target = clouds(3, 4, dtype=torch.float64)
    query = target[:2].clone().requires_grad_()
    distance = nearest_distance(query, target)
    distance.sum().backward()
    assert torch.equal(distance, torch.zeros(2, dtype=torch.float64))
    assert torch.equal(query.grad, torch.zeros_like(query))


def test_only_the_chosen_target_has_a_gradient():
    query, target = clouds(6, 9)
    target.requires_grad_()
    nearest_distance(query, target).sum().backward()
    touched = target.grad.abs().sum(-1) > 0
    assert set(torch.nonzero(touched).flatten().tolist()) == set(nearest(query, target).tolist())


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 1000))
def test_no_target_is_nearer_than_the_one_named(n, m, seed):
    query, target = clouds(n, m, seed=seed)
    assert (nearest_distance(query, target)[:, None] <= torch.cdist(query, target) + 1e-5).all()


def test_the_norm_has_a_finite_gradient_at_zero_and_the_right_one_elsewhere():
    x = torch.tensor([[0.0, 0, 0], [3, 4, 0], [1e-20, 0, 0]], dtype=torch.float64, requires_grad=True)
    length = safe_norm(x)
    length.sum().backward()
    assert torch.allclose(length, torch.tensor([0.0, 5, 1e-20], dtype=torch.float64))
    assert torch.allclose(x.grad[1], torch.tensor([0.6, 0.8, 0], dtype=torch.float64))
    assert torch.isfinite(x.grad).all()


def test_a_masked_mean_ignores_what_is_masked_out_even_nan():
    x = torch.tensor([[1.0, 2, float("nan")], [4, float("inf"), 6]], requires_grad=True)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    mean = masked_mean(x, mask)
    mean.backward()
    assert mean.item() == pytest.approx(7 / 3)
    assert torch.equal(x.grad, torch.where(mask, 1 / 3, 0.0))


def test_a_mean_over_nothing_is_zero_with_a_zero_gradient():
    x = torch.randn(3, 4, requires_grad=True)
    mean = masked_mean(x, torch.zeros(3, 4, dtype=torch.bool))
    mean.backward()
    assert mean.item() == 0 and torch.equal(x.grad, torch.zeros(3, 4))


def test_the_mask_broadcasts():
    x = torch.arange(12.0).reshape(3, 4)
    rows = torch.tensor([[True], [False], [True]])
    assert masked_mean(x, rows).item() == pytest.approx(x[[0, 2]].mean().item())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_fused_search_on_cuda_names_the_same_points():
    query, target = clouds(3, 778, 1024)
    assert torch.equal(nearest(query.cuda(), target.cuda()).cpu(), nearest(query, target))
