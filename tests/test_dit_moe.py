"""DiT-MoE: its gates, its size, its two executors, and padding."""

from dataclasses import replace

import pytest
import torch

from hoi_lib.baselines.dit_moe import DiTMoE, matched_hidden
from hoi_lib.denoiserconfig import paper
from hoi_lib.errors import ConfigError
from hoi_lib.experts import Context, Expert
from hoi_lib.routing import balance_loss

SMALL = replace(paper(16, 1, 2), dropout=0.0)


def made(seed=0, active=None, **changes):
    torch.manual_seed(seed)
    layer = DiTMoE(replace(SMALL, **changes), active)
    with torch.no_grad():
        layer.router.scorer["token"].weight.mul_(3)
    return layer


def some(batch=3, length=10, seed=1, dtype=None):
    generator = torch.Generator().manual_seed(seed)
    valid = torch.arange(length)[None] < torch.tensor([length, 4, 7])[:batch, None]
    return torch.randn(batch, length, 16, generator=generator, dtype=dtype), Context(valid=valid)


def weights(module):
    return sum(p.numel() for p in module.parameters())


def test_nine_routed_experts_three_active_and_one_shared():
    layer = made()
    assert len(layer.experts) == 9
    assert layer.router.selector.active == 3
    assert made(active=2).router.selector.active == 2
    widths = {expert[0].out_features for expert in (*layer.experts, layer.shared)}
    assert widths == {layer.shared[0].out_features}


@pytest.mark.parametrize("active", [None, 2, 3])
def test_as_many_weights_are_at_work_as_in_the_expert_groups(active):
    config = paper()
    assert matched_hidden(config, 4) == 448
    with torch.device("meta"):
        layer = DiTMoE(config, active)
        groups = len(config.groups) * sum(weights(Expert(config, h)) for h in config.experts) / len(config.experts)
        working = (layer.router.selector.active + 1) * weights(layer.shared)
    assert working == pytest.approx(groups, rel=2e-3)


def test_each_token_is_the_shared_expert_plus_its_best_experts_with_raw_softmax_weights():
    layer = made()
    tokens, _ = some()
    mixed, _ = layer(tokens, Context())
    for token, found in zip(tokens.flatten(0, 1), mixed.flatten(0, 1), strict=True):
        scores = (layer.router.scorer["token"].weight @ token).softmax(0)
        best = scores.sort(descending=True).indices[:3].tolist()
        expected = layer.shared(token) + sum(scores[e] * layer.experts[e](token) for e in best)
        assert torch.allclose(found, expected, atol=1e-6)


def test_both_executors_agree_in_value_and_gradient():
    tokens, context = some(dtype=torch.float64)
    target = torch.randn(tokens.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = []
    for executor in ("dense", "fast"):
        layer = made(executor=executor).double()
        x = tokens.clone().requires_grad_()
        mixed, aux = layer(x, context)
        ((mixed * target)[context.valid].sum() + aux).backward()
        found.append([mixed[context.valid], aux, x.grad, *(p.grad for p in layer.parameters())])
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("executor", ["dense", "fast"])
def test_padding_changes_neither_the_tokens_nor_the_balance(executor):
    layer = made(executor=executor)
    tokens, context = some()
    mixed, aux = layer(tokens, context)
    noise = torch.where(context.valid[..., None], tokens, 30 * torch.randn_like(tokens))
    again, noisy_aux = layer(noise, context)
    assert torch.equal(mixed[context.valid], again[context.valid])
    assert aux == noisy_aux
    alone, alone_aux = layer(tokens[context.valid][None], Context())
    assert torch.allclose(alone[0], mixed[context.valid], atol=1e-6)
    assert alone_aux.item() == pytest.approx(aux.item(), rel=1e-5)


def test_the_balance_is_one_when_even_and_three_when_three_experts_take_all():
    layer = made()
    tokens, context = some()
    with torch.no_grad():
        layer.router.scorer["token"].weight.zero_()
    assert layer(tokens, context)[1].item() == pytest.approx(1)  # undecided: every choice costs 1
    with torch.no_grad():
        layer.router.scorer["token"].weight[:3] = 1e3 * torch.eye(16)[:1]
    positive = tokens.abs() + 0.1
    assert layer(positive, context)[1].item() == pytest.approx(3)
    scores = (tokens @ made().router.scorer["token"].weight.T).softmax(-1)[context.valid][:, None]
    assert made()(tokens, context)[1].item() == pytest.approx(balance_loss([scores], active=3).item())


def test_the_router_learns_from_the_task_with_one_active_expert():
    layer = made(active=1)
    tokens, context = some()
    layer(tokens, context)[0].square().mean().backward()
    assert layer.router.scorer["token"].weight.grad.abs().max() > 1e-4


def test_an_expert_without_tokens_has_a_gradient_of_zero():
    layer = made(active=1)
    with torch.no_grad():
        layer.router.scorer["token"].weight.zero_()  # of equal ones the first wins
    tokens, context = some()
    layer(tokens, context)[0].sum().backward()
    assert all(not p.grad.any() for p in layer.experts[8].parameters())
    assert layer.experts[0][0].weight.grad.any()


def test_it_can_be_trained_to_a_function_that_differs_between_tokens():
    layer = made()
    tokens, context = some()
    target = tokens.sign() * tokens.roll(1, -1)
    optimiser = torch.optim.Adam(layer.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        mixed, aux = layer(tokens, context)
        loss = (mixed - target)[context.valid].square().mean() + 0.01 * aux
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_more_active_experts_than_there_are_is_refused():
    with pytest.raises(ConfigError, match="10 of 9"):
        made(active=10)
