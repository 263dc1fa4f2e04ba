"""Nearest neighbours against brute force, gradients against finite differences, means against numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from hoi_lib import geometry
from hoi_lib.geometry import masked_mean, nearest, nearest_distance, nearest_pair, safe_norm, take


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


# --- both directions at once ---


@pytest.mark.parametrize("shape", [(7, 11), (3, 50, 40), (2, 3, 5, 4), (4, 1, 1), (1, 33), (2, 64, 96), (2, 300, 700)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pair_of_clouds_is_searched_both_ways_as_one_at_a_time(shape, dtype):
    a, b = clouds(*shape, dtype=dtype)
    to_b, to_a = nearest_pair(a, b)
    assert torch.equal(to_b, nearest(a, b)) and torch.equal(to_a, nearest(b, a))


@pytest.mark.parametrize("cache", [1, 5000, 40_000, 2**20])
def test_the_block_size_changes_nothing_in_either_direction(monkeypatch, cache):
    a, b = clouds(5, 130, 70)
    expected = nearest_pair(a, b)
    monkeypatch.setattr(geometry, "PAIR_BYTES", cache)
    assert all(torch.equal(x, y) for x, y in zip(nearest_pair(a, b), expected, strict=True))


def test_a_pair_broadcasts_and_refuses_an_empty_cloud():
    a, b = clouds(4, 6, 9)
    one, other = nearest_pair(a, b[0])
    assert one.shape == (4, 6) and other.shape == (4, 9)
    assert torch.equal(one[2], nearest(a[2], b[0])) and torch.equal(other[3], nearest(b[0], a[3]))
    assert nearest_pair(a[:0], b[:0])[0].shape == (0, 6)
    for x, y in ((a[:, :0], b), (a, b[:, :0])):
        with pytest.raises(ValueError, match="no points"):
            nearest_pair(x, y)


def test_the_first_look_loses_no_micrometre_a_metre_from_the_origin():
    """Its expanded form is written about the clouds' centre; about the origin it errs by a tenth of a millimetre."""
    generator = torch.Generator().manual_seed(0)
    b = torch.rand(500, 3, generator=generator, dtype=torch.float64) * 0.1 + 5.0
    a = b[torch.randperm(500, generator=generator)] + 0.003 * torch.randn(500, 3, generator=generator).double()
    to_b, to_a = nearest_pair(a.float(), b.float())
    for query, target, index in ((a, b, to_b), (b, a, to_a)):
        chosen = (query - target[index]).norm(dim=-1)
        assert float((chosen - nearest_distance(query, target)).max()) < 5e-6


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 1000))
def test_neither_direction_of_a_pair_has_a_nearer_point(n, m, seed):
    a, b = clouds(n, m, seed=seed, dtype=torch.float64)
    for query, target, index in zip((a, b), (b, a), nearest_pair(a, b), strict=True):
        chosen = (query - take(target, index)).norm(dim=-1)
        assert torch.equal(index < len(target), torch.ones(len(query), dtype=torch.bool))
        assert float((chosen - torch.cdist(query, target).amin(-1)).abs().max()) < 1e-9


def test_points_are_taken_by_index_and_give_their_gradient_back():
    points = torch.arange(12.0).reshape(4, 3).requires_grad_()
    index = torch.tensor([[3, 3, 0], [1, 3, 0]])
    taken = take(points, index)
    assert torch.equal(taken, points[index])
    taken.sum().backward()
    assert torch.equal(points.grad[:, 0], torch.tensor([2.0, 1, 0, 3]))


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
    pair = nearest_pair(query.cuda(), target.cuda())
    assert all(torch.equal(x.cpu(), y) for x, y in zip(pair, nearest_pair(query, target), strict=True))
