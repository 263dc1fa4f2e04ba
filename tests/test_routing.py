"""Routing: gates, selectors, the balance loss, what the two routers can and cannot express, tables, ranks."""

import itertools
import math
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import equation
from torch import nn

from hoi_lib.errors import ConfigError
from hoi_lib.routing import (
    ActionNoiseRouter,
    Balancer,
    Router,
    RoutingTable,
    Scorer,
    Selector,
    Stats,
    TemporalSelection,
    balance_loss,
    reduce_stats,
    route_all,
)
from hoi_lib.selection import balance_terms, expert_choice, probabilities, top

WORKED = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.327, 0.333, 0.34]])
"""Softmax weights of three groups whose winners are .6, .5 and .34."""

SEEDS = st.integers(0, 2**31 - 1)


def ones(*shape):
    return torch.ones(shape)


def saying(weights_GM, **kinds):
    """A router that gives these weights to the action 1, whatever the noise level."""
    router = ActionNoiseRouter(1, 1, *weights_GM.shape, **kinds)
    with torch.no_grad():
        router.scorer["action"].weight.copy_(weights_GM.log().reshape(-1, 1))
        router.scorer["time"].weight.zero_()
    return router


def random_router(seed=0, action=5, time=7, dtype=None, **kinds):
    torch.manual_seed(seed)
    router = ActionNoiseRouter(action, time, **kinds)
    with torch.no_grad():
        for weight in router.parameters():
            weight.mul_(4)  # decided weights, so that winners differ between rows
    return router.to(dtype)


def some(rows, seed=1, dtype=None):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(rows, 5, generator=generator, dtype=dtype),
        torch.randn(rows, 7, generator=generator, dtype=dtype),
    )


# ---- gates ----


@equation("MoEG-HOI", 4)
@equation("MoEG-HOI", 5)
def test_weights_of_the_winners_are_divided_by_their_sum_over_all_groups():
    assignment = saying(WORKED)(ones(1, 1), ones(1, 1))
    expected = torch.zeros(3, 3)
    expected[0, 0], expected[1, 1], expected[2, 2] = 0.6 / 1.44, 0.5 / 1.44, 0.34 / 1.44
    assert torch.allclose(assignment.gate[0], expected, atol=1e-6)
    assert [round(x, 3) for x in assignment.gate[assignment.mask].tolist()] == [0.417, 0.347, 0.236]
    assert torch.equal(assignment.mask[0], expected > 0)


@equation("MoEG-HOI", 5)
def test_two_active_experts_per_group_are_normalised_over_all_six():
    gate = saying(WORKED, active=2)(ones(1, 1), ones(1, 1)).gate[0]
    kept = torch.tensor([[0.6, 0.3, 0.0], [0.0, 0.5, 0.3], [0.0, 0.333, 0.34]])
    assert torch.allclose(gate, kept / kept.sum(), atol=1e-6)


@equation("MoEG-HOI", 3)
@given(seed=SEEDS, active=st.integers(1, 3), rows=st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_every_group_activates_k_experts_and_gates_sum_to_one(seed, active, rows):
    assignment = random_router(seed, active=active)(*some(rows, seed))
    assert (assignment.mask.sum(-1) == active).all()
    assert torch.allclose(assignment.gate.sum((1, 2)), ones(rows))
    assert ((assignment.gate > 0) == assignment.mask).all()


@equation("MoEG-HOI", 8)
def test_weights_are_the_softmax_of_the_added_logits_inside_each_group():
    router = random_router(active=3)
    action, time = some(4)
    logits = router.logits(action, time)
    weights = (logits["action"] + logits["time"]).exp()
    weights = weights / weights.sum(-1, keepdim=True)
    assert torch.allclose(router(action, time).gate, weights / 3, atol=1e-6)  # all active: each group sums to 1


@equation("MoEG-HOI", 7)
def test_each_branch_is_a_linear_map_without_a_bias():
    router = random_router()
    action, time = some(4)
    logits = router.logits(action, time)
    for name, feature in {"action": action, "time": time}.items():
        weight_GMX = router.scorer[name].weight.view(3, 3, -1)
        assert torch.allclose(logits[name], torch.einsum("bx,gmx->bgm", feature, weight_GMX), atol=1e-5)
    assert all(not x.any() for x in router.logits(torch.zeros(1, 5), torch.zeros(1, 7)).values())


def test_weights_begin_uniform_within_one_over_the_root_of_the_width():
    torch.manual_seed(0)
    weight = ActionNoiseRouter(400, 100).scorer["action"].weight
    assert weight.abs().max() <= 1 / 20
    assert abs(weight.std().item() - 1 / 20 / math.sqrt(3)) < 1e-3


def test_of_equal_weights_the_first_expert_wins():
    assert top(torch.zeros(2, 3), 1).tolist() == [[True, False, False]] * 2
    assert top(torch.tensor([[1.0, 2.0, 2.0, 2.0]]), 2).tolist() == [[False, True, True, False]]


@equation("MoEG-HOI", 5)
def test_the_task_reaches_the_router_with_one_active_expert():
    router = random_router()
    router(*some(8)).gate.square().sum().backward()
    for branch in ("action", "time"):
        assert router.scorer[branch].weight.grad.abs().max() > 1e-2


def test_a_sum_inside_each_group_would_cut_the_router_off():
    router = random_router()
    router.selector = Selector("sample_topk", 1, normalise="group")
    assignment = router(*some(8))
    assert torch.equal(assignment.gate, assignment.mask.float())
    (assignment.gate.square() * torch.rand(8, 3, 3)).sum().backward()
    assert router.scorer["action"].weight.grad.abs().max() < 1e-6


def test_the_gate_has_the_gradient_of_finite_differences():
    router = random_router(dtype=torch.float64)
    features = tuple(x.requires_grad_() for x in some(3, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda a, t: router(a, t).gate, features)
    assert torch.autograd.gradcheck(lambda a, t: router(a, t).aux, features)


def test_autocast_does_not_round_the_decision():
    router = random_router()
    action, time = some(32)
    plain = router(action, time)
    with torch.autocast("cpu", torch.bfloat16):
        cast = router(action, time)
    assert torch.equal(plain.gate, cast.gate)


# ---- what additive logits can say ----


def swaps(winner_AT):
    """Two actions and two noise levels with winners i, j in one row and j, i in the other."""
    found = 0
    for (a, b), (s, t) in itertools.product(
        itertools.combinations(range(len(winner_AT)), 2), itertools.combinations(range(winner_AT.shape[1]), 2)
    ):
        i, j = winner_AT[a, s].item(), winner_AT[a, t].item()
        found += i != j and winner_AT[b, s].item() == j and winner_AT[b, t].item() == i
    return found


@equation("MoEG-HOI", 7)
@equation("MoEG-HOI", 8)
@given(seed=SEEDS, joint=st.booleans())
@settings(max_examples=25, deadline=None)
def test_no_noise_level_swaps_the_experts_of_two_actions(seed, joint):
    router = random_router(seed, joint=joint)
    (actions, _), (_, times) = some(5, seed), some(6, seed + 1)
    winner_ATG = RoutingTable.of([router], actions, times).gate[:, :, 0].argmax(-1)
    assert sum(swaps(winner_ATG[..., g]) for g in range(3)) == 0


def test_a_nonlinear_router_of_both_features_swaps_them():
    torch.manual_seed(0)
    (actions, _), (_, times) = some(5), some(6)
    grid = torch.cat([actions[:, None].expand(5, 6, 5), times[None].expand(5, 6, 7)], -1)
    found = 0
    for _ in range(20):
        network = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 3))
        found += swaps(network(8 * grid).argmax(-1))
    assert found > 0


# ---- balance ----


def one_hot(choices_BG, experts=3):
    return nn.functional.one_hot(torch.tensor(choices_BG), experts).float()


EVEN = one_hot([[0, 1], [1, 2], [2, 0]])
COLLAPSED = one_hot([[0, 1], [0, 1], [0, 1]])


@equation("MoEG-HOI", 9)
def test_balance_is_one_per_branch_and_group_when_even_and_m_when_collapsed():
    assert balance_loss([EVEN]).item() == pytest.approx(2)  # two groups
    assert balance_loss([COLLAPSED]).item() == pytest.approx(6)
    assert balance_loss([EVEN, COLLAPSED]).item() == pytest.approx(8)
    assert balance_loss([torch.full((4, 2, 3), 1 / 3)]).item() == pytest.approx(2)  # undecided: every choice costs 1


@equation("MoEG-HOI", 9)
def test_balance_multiplies_the_share_of_choices_with_the_mean_probability():
    p = torch.tensor([[[0.7, 0.2, 0.1]], [[0.6, 0.3, 0.1]], [[0.1, 0.1, 0.8]], [[0.5, 0.4, 0.1]]])
    by_hand = 3 * (0.75 * (0.7 + 0.6 + 0.1 + 0.5) / 4 + 0.25 * (0.1 + 0.1 + 0.8 + 0.1) / 4)
    assert balance_loss([p]).item() == pytest.approx(by_hand)
    two = 3 * (0.5 * (1.9 / 4) + 0.375 * (1.0 / 4) + 0.125 * (1.1 / 4))  # of 8 choices: 4, 3 and 1
    with_tie_to_the_first = balance_loss([p], active=2).item()
    assert with_tie_to_the_first == pytest.approx(two)


@equation("MoEG-HOI", 9)
def test_each_branch_is_judged_by_its_own_choices():
    """Branches that each use every expert evenly, while their sum always picks the first expert."""
    a = torch.tensor([[3.0, 3.1, 0.0], [3.1, 3.0, 0.0], [3.0, 0.0, 3.1]])[:, None]
    t = torch.tensor([[3.0, 0.0, 3.1], [3.0, 3.1, 0.0], [3.1, 3.0, 0.0]])[:, None]
    assert ((a + t).argmax(-1) == 0).all()
    router = ActionNoiseRouter(3, 3, groups=1)
    with torch.no_grad():
        router.scorer["action"].weight.copy_(a[:, 0].T)
        router.scorer["time"].weight.copy_(t[:, 0].T)
    assignment = router(torch.eye(3), torch.eye(3))
    assert assignment.stats.load.tolist() == [[3, 0, 0]]
    shares = torch.tensor([[1, 1, 1], [1, 1, 1]]) / 3  # counts from a and from t, each even
    by_hand = sum(3 * (f * p.softmax(-1).mean((0, 1))).sum() for f, p in zip(shares, (a, t), strict=True))
    assert assignment.aux.item() == pytest.approx(by_hand.item())
    assert assignment.aux.item() == pytest.approx(2, abs=1e-6)


def test_the_release_adds_mean_and_difference_of_the_branches_in_each_group():
    a = torch.stack([EVEN[:, 0], COLLAPSED[:, 0]], 1)
    t = torch.stack([COLLAPSED[:, 0], EVEN[:, 0]], 1)
    assert balance_loss([a, t], combine="release").item() == pytest.approx(2 * ((1 + 3) / 2 + 2))
    assert balance_loss([a, a], combine="release").item() == pytest.approx(1 + 3)
    assert balance_loss([a], combine="release").item() == pytest.approx(1 + 3)  # one branch left: itself
    with pytest.raises(ConfigError, match="at most two"):
        balance_loss([a, t, a], combine="release")


def test_balance_pushes_probability_away_from_the_crowded_expert():
    logits = torch.tensor([[[2.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]], [[0.0, 0.0, 0.5]]], requires_grad=True)
    balance_loss([logits.softmax(-1)]).backward()
    assert (logits.grad[:, 0, 0] > 0).all()  # a descent step lowers the favourite's logit
    assert (logits.grad[:, 0, 1] < 0).all()


def test_balance_of_padded_rows_is_that_of_the_valid_ones():
    p = torch.rand(2, 5, 3, 4).softmax(-1)
    valid = torch.tensor([[True] * 5, [True, True, False, False, False]])
    padded = balance_loss([p], active=2, valid=valid)
    assert padded.item() == pytest.approx(balance_loss([p[valid]], active=2).item())
    assert balance_loss([p], valid=torch.zeros(2, 5, dtype=torch.bool)).item() == 0


def test_a_joint_map_has_one_term_and_a_lone_branch_its_own():
    action, time = some(6)
    joint = random_router(joint=True)
    assert list(joint.logits(action, time)) == ["joint"]
    one_term = balance_loss([joint.logits(action, time)["joint"].softmax(-1)])
    assert joint(action, time).aux.item() == pytest.approx(one_term.item())
    both = torch.cat([action, time], -1)
    assert torch.allclose(joint.logits(action, time)["joint"].flatten(1), both @ joint.scorer["joint"].weight.T)
    lone = random_router(branches=("action",))
    assert torch.equal(lone(action, time).gate, lone(action, torch.randn(6, 7)).gate)
    one_term = balance_loss([lone.logits(action, time)["action"].softmax(-1)])
    assert lone(action, time).aux.item() == pytest.approx(one_term.item())
    late = random_router(branches=("time",))
    assert torch.equal(late(action, time).mask, late(torch.randn(6, 5), time).mask)


# ---- all blocks at once, and as a table ----


@pytest.mark.parametrize(
    "kinds",
    [
        {},
        {"active": 2, "balance": "release"},
        {"groups": 1, "experts": 9, "active": 3},
        {"branches": ("action",)},
        {"branches": ("time",), "balance": "release"},
        {"joint": True},
        {"experts": 2},
        {"experts": 4},
    ],
)
def test_all_routers_at_once_and_as_a_table_decide_as_one_by_one(kinds):
    routers = [random_router(seed, **kinds) for seed in range(4)]
    (actions, _), (_, times) = some(4), some(6)
    action, t = torch.tensor([0, 3, 3, 1, 2, 0, 1]), torch.tensor([5, 0, 1, 2, 2, 4, 0])
    one_by_one = [router(actions[action], times[t]) for router in routers]
    at_once = route_all(routers, actions[action], times[t])
    table = RoutingTable.of(routers, actions, times)
    assert table.gate.shape == (4, 6, 4, *one_by_one[0].gate.shape[1:])
    for one, other, looked in zip(one_by_one, at_once, table.look_up(action, t), strict=True):
        for same in (other, looked):
            assert torch.equal(one.mask, same.mask)
            assert torch.allclose(one.gate, same.gate, atol=1e-6)
            assert torch.equal(one.stats.load, same.stats.load)
            assert torch.allclose(one.stats.probability, same.stats.probability, atol=1e-6)
        assert other.aux.item() == pytest.approx(one.aux.item(), rel=1e-5)
        assert looked.aux == 0
        assert one.mask.sum() == len(action) * one.mask.shape[1] * kinds.get("active", 1)


def test_every_router_gets_its_own_gradient_when_all_run_at_once():
    routers = [random_router(seed) for seed in range(3)]
    target = torch.rand(8, 3, 3)
    gradients = []
    for found in ([router(*some(8)) for router in routers], route_all(routers, *some(8))):
        loss = sum((a.gate * target).sum() * (n + 1) + a.aux for n, a in enumerate(found))
        gradients.append(torch.autograd.grad(loss, [router.scorer["time"].weight for router in routers]))
    assert all(torch.allclose(x, y, atol=1e-6) for x, y in zip(*gradients, strict=True))


def test_routers_of_different_shape_do_not_run_at_once():
    with pytest.raises(ConfigError, match="different shape"):
        route_all([random_router(), random_router(active=2)], *some(2))


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"active": 4}, "3 experts"),
        ({"active": 0}, "active 0"),
        ({"branches": ()}, "none"),
        ({"branches": ("text",)}, "text"),
        ({"branches": ("time",), "joint": True}, "joint"),
        ({"balance": "mean"}, "mean"),
    ],
)
def test_an_impossible_router_is_refused(kinds, message):
    with pytest.raises(ConfigError, match=message):
        ActionNoiseRouter(5, 7, **kinds)


@pytest.mark.parametrize(
    "kinds", [{"kind": "race"}, {"normalise": "experts"}, {"scope": "frame"}, {"kind": "token_topk", "active": 1.5}]
)
def test_an_unknown_selector_is_refused(kinds):
    with pytest.raises(ConfigError):
        Selector(**kinds)


# ---- selectors for tokens ----


def tokens(batch=3, length=12, seed=0, width=6):
    generator = torch.Generator().manual_seed(seed)
    valid = torch.arange(length)[None] < torch.tensor([length, 7, 9])[:batch, None]
    return torch.randn(batch, length, width, generator=generator), valid


def token_router(kind="token_topk", active=2, balancer="total", experts=4, **kinds):
    torch.manual_seed(0)
    return Router(Scorer({"token": 6}, 1, experts), Selector(kind, active, **kinds), Balancer(balancer))


def test_every_valid_token_takes_k_experts_with_raw_softmax_weights():
    router, (x, valid) = token_router(), tokens()
    assignment = router({"token": x}, valid)
    assert torch.equal(assignment.mask.sum((-1, -2)), 2 * valid)
    scores = (x @ router.scorer["token"].weight.T).softmax(-1)[:, :, None]
    assert torch.allclose(assignment.gate, scores * assignment.mask)
    assert assignment.stats.rows == valid.sum()
    assert assignment.stats.load.sum() == 2 * valid.sum()


@pytest.mark.parametrize("scope", ["sample", "batch"])
def test_every_expert_takes_its_best_tokens_of_each_scope(scope):
    router, (x, valid) = token_router("expert_topk", active=1, scope=scope, balancer="none"), tokens()
    mask = router({"token": x}, valid).mask
    assert not mask[~valid].any()
    if scope == "sample":
        assert torch.equal(mask.sum(1)[:, 0], (valid.sum(1) // 4)[:, None].expand(3, 4))  # ⌊12/4⌋, ⌊7/4⌋, ⌊9/4⌋
    else:
        assert mask.sum((0, 1))[0].tolist() == [valid.sum().item() // 4] * 4
    scores = (x @ router.scorer["token"].weight.T).softmax(-1)
    for e in range(4):
        taken = mask[:, :, 0, e]
        pools = [slice(None)] if scope == "batch" else range(3)
        for pool in pools:
            left = scores[..., e][pool][(valid & ~taken)[pool]]
            assert scores[..., e][pool][taken[pool]].min() >= left.max()


def test_half_an_expert_per_token_halves_what_experts_take():
    scores = torch.rand(2, 16, 1, 4)
    valid = torch.ones(2, 16, dtype=torch.bool)
    assert (expert_choice(scores, valid, 0.5).sum(1) == 2).all()


def test_dense_uses_every_expert_and_normalises_as_told():
    x, valid = tokens()
    gate = token_router("dense", active=1, balancer="none")({"token": x}, valid).gate
    assert torch.allclose(gate.sum((-1, -2)), valid.float())
    torch.manual_seed(0)
    three = Router(Scorer({"token": 6}, 3, 4), Selector("dense", normalise="all"), Balancer("none"))
    assert torch.allclose(three({"token": x}).gate.sum((-1, -2)), ones(3, 12))


def test_padding_changes_no_decision_and_no_count():
    x, valid = tokens()
    for kind, balancer in (("token_topk", "total"), ("token_topk", "branches"), ("expert_topk", "none")):
        router = token_router(kind, 1, balancer)
        full = router({"token": x}, valid)
        noisy = router({"token": torch.where(valid[..., None], x, 1e3 * torch.randn_like(x))}, valid)
        alone = [router({"token": x[b : b + 1, :n]}) for b, n in enumerate(valid.sum(1).tolist())]
        for b, (one, n) in enumerate(zip(alone, valid.sum(1).tolist(), strict=True)):
            assert torch.equal(full.mask[b, :n], one.mask[0])
            assert torch.allclose(full.gate[b, :n], one.gate[0], atol=1e-6)
        assert torch.equal(full.gate, noisy.gate)
        assert full.aux == noisy.aux
        merged = reduce_stats([one.stats for one in alone])
        assert torch.equal(full.stats.load, merged.load)
        assert torch.allclose(full.stats.probability, merged.probability, atol=1e-6)


def test_a_condition_of_the_sample_reaches_all_its_tokens():
    torch.manual_seed(0)
    router = Router(Scorer({"token": 6, "text": 5}, 2, 4), Selector("token_topk", 1), Balancer("branches"))
    x, _ = tokens()
    text = torch.randn(3, 5)
    assignment = router({"token": x, "text": text})
    logits = (x @ router.scorer["token"].weight.T + (text @ router.scorer["text"].weight.T)[:, None]).unflatten(
        -1, (2, 4)
    )
    assert torch.equal(assignment.mask, top(logits.softmax(-1), 1))
    branches = router.scorer({"token": x, "text": text[:, None].expand(3, 12, 5)})
    assert assignment.aux.item() == pytest.approx(balance_loss([v.softmax(-1) for v in branches.values()]).item())


# ---- temporal selection ----


def selection(**kinds):
    torch.manual_seed(0)
    return TemporalSelection(6, {"text": 5}, **{"experts": 4, **kinds})


def test_a_token_meets_an_expert_above_the_threshold_of_its_bias():
    router, (x, valid) = selection(norm=False), tokens()
    text = torch.randn(3, 5)
    with torch.no_grad():
        router.bias.copy_(torch.tensor([[-0.5, -0.49, -0.51, -0.6]]))
        for branch in router.scorer.values():
            branch.weight.mul_(50)
    assignment = router(x, {"text": text}, valid)
    token, said = x @ router.scorer["token"].weight.T, text @ router.scorer["text"].weight.T
    logits = 0.5 * token + 0.5 * said[:, None]
    threshold = torch.log(-router.bias / (1 + router.bias))
    assert torch.equal(assignment.mask[:, :, 0], (logits > threshold) & valid[..., None])
    assert torch.allclose(assignment.gate[:, :, 0], logits.softmax(-1) * assignment.mask[:, :, 0], atol=1e-6)
    counts = set(assignment.mask[valid].sum((-1, -2)).tolist())
    assert len(counts) > 2  # no fixed number of experts per token
    assert assignment.aux == 0


def test_alpha_weighs_tokens_against_conditions():
    x, _ = tokens()
    text = torch.randn(3, 5)
    for alpha, scale in ((0.5, (0.5, 0.5)), (0.9, (0.9, 0.1)), (None, (1.0, 1.0))):
        router = selection(alpha=alpha, norm=False)
        logits = router.scorer({"token": x, "text": text})
        plain = {
            name: linear(feature).unflatten(-1, (1, 4))
            for (name, linear), feature in zip(router.scorer.items(), (x, text), strict=True)
        }
        assert torch.allclose(logits["token"], scale[0] * plain["token"])
        assert torch.allclose(logits["text"], scale[1] * plain["text"])


def settle(router, steps):
    """Load of each expert as a share of its target, over fresh tokens, after ``steps`` steps on such tokens."""
    torch.manual_seed(1)
    text = {"text": torch.randn(1, 5).expand(8, 5)}
    with torch.no_grad():
        for branch in router.scorer.values():
            branch.weight.mul_(40)
        for _ in range(steps):
            router.end_step(router(torch.randn(8, 64, 6), text).stats)
            assert ((router.bias > -1) & (router.bias < 0)).all()
        load = sum(router(torch.randn(8, 64, 6), text).stats.load for _ in range(40)) / 40
    return load / (8 * 64 * router.selector.active / router.scorer.experts)


@pytest.mark.parametrize("expected", [0.5, 1])
def test_loads_settle_at_the_expected_number_of_experts_per_token(expected):
    router = selection(rate=2e-3, expected=expected)
    before = settle(selection(expected=expected), 0)
    after = settle(router, 400)
    assert (before > 1.5).all()  # a bias of −0.5 lets half of all pairs through
    assert ((after > 0.85) & (after < 1.15)).all()


def test_the_bias_stays_between_never_and_always():
    router = selection(rate=0.4)
    for load in (1e6, 0.0):
        for _ in range(5):
            router.end_step(Stats(torch.full((1, 4), load), torch.zeros(1, 4), torch.tensor(8.0)))
            assert ((router.bias > -1) & (router.bias < 0)).all()


def test_one_step_moves_each_bias_by_the_sign_of_its_excess_over_all_passes():
    router = selection(rate=1e-2)
    first = Stats(torch.tensor([[3.0, 1.0, 0.0, 2.0]]), torch.zeros(1, 4), torch.tensor(6.0))
    second = Stats(torch.tensor([[0.0, 1.0, 2.0, 4.0]]), torch.zeros(1, 4), torch.tensor(5.0))
    router.end_step([first, second])  # loads 3, 2, 2, 6; target ⌊11 / 4⌋ = 2
    assert torch.allclose(router.bias, torch.tensor([[-0.51, -0.5, -0.5, -0.51]]))


def test_forward_changes_no_state():
    for router in (selection(), random_router()):
        router.train()
        before = {name: value.clone() for name, value in router.state_dict().items()}
        attributes = set(vars(router))
        if isinstance(router, TemporalSelection):
            router(tokens()[0], {"text": torch.randn(3, 5)})
        else:
            router(*some(4))
        assert all(torch.equal(value, before[name]) for name, value in router.state_dict().items())
        assert set(vars(router)) == attributes
    assert "bias" in selection().state_dict()


def test_a_token_is_selected_whatever_its_neighbours():
    router, (x, valid) = selection(), tokens()
    text = torch.randn(3, 5)
    whole = router(x, {"text": text}, valid)
    for b, n in enumerate(valid.sum(1).tolist()):
        alone = router(x[b : b + 1, :n], {"text": text[b : b + 1]})
        assert torch.equal(alone.mask[0], whole.mask[b, :n])
    padded = router(torch.where(valid[..., None], x, 9 * torch.randn_like(x)), {"text": text}, valid)
    assert torch.equal(padded.stats.load, whole.stats.load)
    assert padded.stats.rows == valid.sum()


def test_the_task_reaches_both_branches_through_selected_pairs():
    router, (x, valid) = selection(), tokens()
    router(x, {"text": torch.randn(3, 5)}, valid).gate.square().sum().backward()
    assert all(branch.weight.grad.abs().max() > 0 for branch in router.scorer.values())
    assert router.bias.grad is None


def test_a_threshold_outside_its_range_is_refused():
    with pytest.raises(ConfigError, match="start"):
        selection(start=0.1)


# ---- several processes ----


def work(rank, folder):
    """Two processes: this one's share of the batch, its gradients averaged, its counts added up."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    share = slice(0, 5) if rank == 0 else slice(5, 8)
    found = {}
    for kind in ("sum", "release"):
        router = random_router(balance=kind)
        assignment = router(*(x[share] for x in some(8)))
        assignment.aux.backward()
        for weight in router.parameters():
            dist.all_reduce(weight.grad)
        found[kind] = [weight.grad / 2 for weight in router.parameters()]
        found[f"{kind} loss"] = assignment.aux.detach() / 2
        dist.all_reduce(found[f"{kind} loss"])
    found["stats"] = reduce_stats(assignment.stats)
    threshold = selection(rate=1e-2)
    threshold.end_step(threshold(tokens()[0][rank::2], {"text": torch.zeros(2 - rank, 5)}).stats)
    found["bias"] = threshold.bias
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@equation("MoEG-HOI", 9)
def test_two_processes_learn_and_count_like_one(tmp_path):
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2)]
    for kind in ("sum", "release"):
        router = random_router(balance=kind)
        alone = router(*some(8))
        alone.aux.backward()
        for found in both:
            assert found[f"{kind} loss"].item() == pytest.approx(alone.aux.item(), rel=1e-5)
            for averaged, weight in zip(found[kind], router.parameters(), strict=True):
                assert torch.allclose(averaged, weight.grad, atol=1e-6)
    threshold = selection(rate=1e-2)
    threshold.end_step(threshold(tokens()[0], {"text": torch.zeros(3, 5)}).stats)
    for found in both:
        assert torch.equal(found["stats"].load, alone.stats.load)
        assert torch.allclose(found["stats"].probability, alone.stats.probability, atol=1e-6)
        assert found["stats"].rows == 8
        assert torch.equal(found["bias"], threshold.bias)


def test_stats_of_several_passes_are_weighted_by_their_rows():
    first = Stats(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.9, 0.1]]), torch.tensor(2.0))
    second = Stats(torch.tensor([[1.0, 5.0]]), torch.tensor([[0.3, 0.7]]), torch.tensor(6.0))
    merged = reduce_stats([first, second])
    assert merged.load.tolist() == [[3.0, 5.0]]
    assert torch.allclose(merged.probability, torch.tensor([[(2 * 0.9 + 6 * 0.3) / 8, (2 * 0.1 + 6 * 0.7) / 8]]))
    assert merged.rows == 8


def test_terms_of_several_routers_are_kept_apart():
    p = probabilities(torch.randn(5, 2, 3, 2, 4))  # rows, branches, routers, groups, experts
    terms = balance_terms(p, 1)
    assert terms.shape == (3, 2)
    for n in range(3):
        assert terms[n].sum().item() == pytest.approx(balance_loss([p[:, 0, n], p[:, 1, n]]).item(), rel=1e-5)
