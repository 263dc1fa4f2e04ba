"""Expert groups: what they hear, how they are mixed, and that both executors and any planning give the same."""

from dataclasses import replace

import pytest
import torch
from marks import equation
from random_batches import WordHash, random_batch

from hoi_lib.conditions import given
from hoi_lib.denoiser import ROWS, Denoiser, DenoiserConfig, ablated, hollow, paper, recommended, release
from hoi_lib.diffusion import Schedule
from hoi_lib.encoders import TextFeatures
from hoi_lib.experts import Absorbed, Context, CrossAttention, ExpertGroup, HierarchicalExperts, Routing, rows_of
from hoi_lib.refiner import Refinement
from hoi_lib.routing import Assignment, Stats, route_all
from hoi_lib.sampling import planned, sample_batch

SMALL = {"text_dim": WordHash.dim, "level_dim": WordHash.dim, "points": 32, "point_width": 16, "dropout": 0.0}
READINGS = {"paper": paper, "release": release, "recommended": recommended}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def small(preset=recommended, **changes):
    return preset(16, 2, 2, **{**SMALL, **changes})


def model_of(config, seed=0):
    torch.manual_seed(seed)
    model = Denoiser(config).eval()
    model.fit_normaliser([random_batch()])
    return model


def estimate(model, batch, levels=(5, 100, 500, 999), **kwargs):
    x = torch.randn(8, 40, 99, generator=torch.Generator().manual_seed(0))[: len(batch), : batch.pose.shape[1]]
    conditions = model.prepare(batch, WordHash())
    return model.estimate(x, torch.tensor(levels)[: len(batch)], conditions, batch.valid, **kwargs)


def text(batch=3, tokens=5, width=16, seed=0):
    gen = torch.Generator().manual_seed(seed)
    mask = torch.arange(tokens) < torch.tensor([tokens, 3, 1, 2, 4])[:batch, None]
    return TextFeatures(
        torch.randn(batch, width, generator=gen), torch.randn(batch, tokens, width, generator=gen), mask
    )


def assignment(gate):
    return Assignment(gate > 0, gate, gate.sum() * 0, Stats(gate.sum(0), gate.mean(0), torch.tensor(float(len(gate)))))


# --- Eq. 2: hearing a text ---


@equation("MoEG-HOI", 2)
def test_cross_attention_equals_the_loop_over_heads_tokens_and_keys():
    attention, tokens, said = CrossAttention(small()), torch.randn(3, 4, 16), text()
    answer = attention(tokens, attention.hear(said))
    q, k, v = attention.query(tokens), attention.key(said.states), attention.value(said.states)
    for b in range(3):
        for s in range(4):
            heads = []
            for part in (slice(0, 8), slice(8, 16)):
                score = (k[b, :, part] @ q[b, s, part] / 8**0.5).masked_fill(~said.mask[b], float("-inf"))
                heads.append(score.softmax(0) @ v[b, :, part])
            assert torch.allclose(answer[b, s], attention.out(torch.cat(heads)), atol=1e-5)


def test_what_stands_in_a_texts_padding_is_not_heard():
    attention, tokens, said = CrossAttention(small()), torch.randn(3, 4, 16), text()
    noisy = replace(said, states=torch.where(said.mask[..., None], said.states, torch.tensor(9.0)))
    assert torch.equal(attention(tokens, attention.hear(said)), attention(tokens, attention.hear(noisy)))


def test_with_a_single_key_every_token_gets_the_same_answer_and_queries_and_keys_never_learn():
    attention, tokens = CrossAttention(small()).double(), torch.randn(3, 4, 16).double()
    one = text(tokens=1)
    answer = attention(tokens, attention.hear(replace(one, states=one.states.double())))
    assert torch.allclose(answer, answer[:, :1].expand_as(answer), atol=1e-12)
    answer.square().sum().backward()
    learns = attention.value.weight.grad.abs().max()
    assert (
        attention.query.weight.grad.abs().max() < 1e-12 * learns
        and attention.key.weight.grad.abs().max() < 1e-12 * learns
    )


@pytest.mark.parametrize("mode", ["pooled", "constant"])
def test_the_pooled_form_is_the_one_key_attention_computed_once(mode):
    full, cheap = CrossAttention(small()), CrossAttention(small(cross_attention=mode))
    cheap.load_state_dict({k: v for k, v in full.state_dict().items() if k in cheap.state_dict()})
    said, tokens = text(tokens=1), torch.randn(3, 4, 16)
    naive = full(tokens, full.hear(said))
    heard = cheap(tokens, cheap.hear(replace(said, pooled=said.states[:, 0])))
    assert heard.shape == (3, 1, 16) and torch.allclose(naive, heard.expand_as(naive), atol=1e-6)
    assert (cheap.query is None) == (mode == "constant")


def test_dropout_of_the_single_weight_is_drawn_per_token_and_head():
    attention = CrossAttention(small(cross_attention="constant", dropout=0.5)).train()
    torch.nn.init.eye_(attention.out.weight)
    torch.nn.init.zeros_(attention.out.bias)
    said, torch_seed = text(1), torch.manual_seed(0)
    answer = attention(torch.zeros(1, 4000, 16), attention.hear(said))
    assert torch_seed and answer.shape == (1, 4000, 16)
    heads = answer.unflatten(-1, (2, 8)) / attention.value(said.pooled).unflatten(-1, (2, 8))[:, None]
    weight = heads.mean(-1)  # 0 or 2 for every token and head
    assert torch.allclose(heads, weight[..., None].expand_as(heads), atol=1e-4)
    assert set(weight.round(decimals=3).unique().tolist()) == {0.0, 2.0}
    assert float(weight.detach().mean()) == pytest.approx(1.0, abs=0.05)
    assert not torch.equal(weight[..., 0], weight[..., 1])


@equation("MoEG-HOI", 2)
@pytest.mark.parametrize("mode", ["tokens", "pooled", "constant"])
def test_a_text_with_the_maps_worked_in_answers_as_the_text_itself(mode):
    attention, tokens = CrossAttention(small(cross_attention=mode)), torch.randn(3, 4, 16)
    heard = attention.hear(text(tokens=4))  # of 4, 3 and 1 tokens: 2 heads times 4 is less than the width
    absorbed = attention.absorb(heard)
    assert isinstance(absorbed, Absorbed)
    rows = torch.tensor([2, 0])
    assert torch.allclose(attention(tokens, absorbed), attention(tokens, heard), atol=1e-5)
    assert torch.allclose(attention(tokens[rows], absorbed.of(rows)), attention(tokens, heard)[rows], atol=1e-5)


def test_a_long_text_keeps_its_keys_because_working_the_maps_in_would_cost_more():
    attention, tokens = CrossAttention(small()), torch.randn(3, 4, 16)
    for words, absorbs in ((15, True), (17, False)):  # 2 heads, width 16: 2 · 16 n against 16² + 16 n
        said = TextFeatures(torch.zeros(3, 16), torch.randn(3, words, 16), torch.ones(3, words).bool())
        heard = attention.hear(said)
        assert isinstance(attention.absorb(heard), Absorbed) == absorbs
        assert torch.allclose(attention(tokens, attention.absorb(heard)), attention(tokens, heard), atol=1e-5)


# --- Eq. 6: the mixture ---


@equation("MoEG-HOI", 6)
@pytest.mark.parametrize("where", ["group", "expert"])
@pytest.mark.parametrize("mode", ["tokens", "pooled"])
def test_the_mixture_is_the_weighted_sum_over_groups_and_active_experts(mode, where):
    config = small(cross_attention=mode, attention_in=where, active=2)
    layer = HierarchicalExperts(config).eval()
    texts = [text(seed=g) for g in range(3)]
    gate = torch.rand(3, 3, 3) * torch.tensor([[1.0, 0, 1], [0, 1, 1], [1, 1, 0]])
    routed = assignment(gate / gate.sum((1, 2), keepdim=True))
    tokens = torch.randn(3, 6, 16)
    heard = layer.hear(texts)
    y, aux = layer(tokens, Context(Routing(routed, rows_of([routed])[0]), heard))
    expected = torch.zeros_like(tokens)
    for b in range(3):
        for g, group in enumerate(layer.groups):
            for m, expert in enumerate(group.experts):
                guide = group.guides[0 if where == "group" else m]
                mine = guide.attention.hear(
                    TextFeatures(*(getattr(texts[g], f)[b : b + 1] for f in ("pooled", "states", "mask")))
                )
                guided = guide.norm(tokens[b : b + 1] + guide.attention(tokens[b : b + 1], mine))
                expected[b] += routed.gate[b, g, m] * expert(guided)[0]
    assert torch.allclose(y, expected, atol=1e-5) and float(aux) == 0


def test_widths_halve_within_a_group_and_each_group_has_its_own_weights():
    layer = HierarchicalExperts(paper())
    assert [[e[0].out_features for e in group.experts] for group in layer.groups] == [[1024, 512, 256]] * 3
    assert len({id(p) for p in layer.parameters()}) == len(list(layer.parameters()))


def test_without_guidance_a_group_is_its_experts_alone():
    group = ExpertGroup(small(guidance="none"))
    assert not group.guides and group.shared
    tokens, gate = torch.randn(2, 4, 16), torch.tensor([[1.0, 0, 0], [0, 0.5, 0]])
    y = group(tokens, (), gate, [torch.tensor([0]), torch.tensor([1]), torch.tensor([], dtype=torch.long)])
    assert torch.allclose(y, torch.stack([group.experts[0](tokens[0]), 0.5 * group.experts[1](tokens[1])]), atol=1e-6)


# --- executors ---


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("active", [1, 2, 3])
def test_the_fast_executor_agrees_with_the_dense_one_in_value_and_gradient(reading, active):
    found = []
    for executor in ("fast", "dense"):
        model = model_of(small(READINGS[reading], active=active, executor=executor))
        out = estimate(model, random_batch()).x0
        (out * torch.linspace(-1, 1, 99)).sum().backward()
        grads = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()}
        found.append((out.detach(), grads))
    (fast, fast_grads), (dense, dense_grads) = found
    assert torch.allclose(fast, dense, atol=1e-5)
    for name, grad in fast_grads.items():
        assert torch.allclose(grad, dense_grads[name], atol=1e-4 * (1 + float(dense_grads[name].abs().max()))), name


def test_the_fast_executor_runs_nobody_else(monkeypatch):
    model, batch = model_of(small()), random_batch()
    seen = []
    for block in model.blocks:
        for group in block.feedforward.groups:
            for expert in group.experts:
                expert.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    estimate(model, batch)
    assert sum(seen) == len(batch) * 2 * 3  # every sample once per block and group


def test_rows_name_everyone_once_and_none_stands_for_all():
    gate = torch.zeros(4, 2, 3)
    gate[:, 0, 1] = 1
    gate[torch.arange(4), 1, torch.tensor([0, 2, 0, 0])] = 1
    routed = assignment(gate)
    hand, finger = rows_of([routed, routed])[1]
    assert hand[1] is None and [len(hand[0]), len(hand[2])] == [0, 0]
    assert [r.tolist() for r in finger] == [[0, 2, 3], [], [1]]
    assert rows_of([routed], "dense") == [((None,) * 3,) * 2]


def test_a_sample_is_worked_on_alike_whoever_is_beside_it():
    model = model_of(small())
    batch = random_batch((12, 12, 12, 12))
    together = estimate(model, batch).x0
    for i, level in enumerate((5, 100, 500, 999)):
        alone = replace(batch, **{k: v[i : i + 1] for k, v in vars(batch).items()})
        x = torch.randn(8, 40, 99, generator=torch.Generator().manual_seed(0))[i : i + 1, :12]
        mine = model(x, torch.tensor([level]), model.prepare(alone, WordHash()), alone.valid)
        assert torch.allclose(together[i : i + 1], mine, atol=1e-5)


def test_padding_changes_nothing_under_experts_either():
    model = model_of(small())
    short, long = random_batch(), random_batch(length=20)
    a, b = estimate(model, short).x0, estimate(model, long)
    assert torch.allclose(a[short.valid], b.x0[long.valid], atol=1e-5)
    assert float(b.balance) == pytest.approx(float(estimate(model, short).balance), rel=1e-6)


# --- planning ---


@pytest.mark.parametrize("reading", READINGS)
def test_sampling_by_plan_equals_working_everything_out_at_every_step(reading):
    model, batch, schedule = model_of(small(READINGS[reading])), random_batch(), Schedule.cosine()
    levels = schedule.spaced(6)
    denoise = planned(model, batch, WordHash(), levels)
    x = torch.randn(batch.pose.shape, generator=torch.Generator().manual_seed(1))
    for t in levels:
        step = torch.full((len(batch),), t)
        with torch.no_grad():
            plain = model(x, step, model.prepare(batch, WordHash()), batch.valid)
        assert torch.allclose(denoise(x, step), plain, atol=1e-5)


def test_a_trained_router_is_a_table_of_its_own_decisions():
    model, batch = model_of(small()), random_batch()
    table = model.routing_table(["pour", "shake"], WordHash(), [0, 400, 999])
    assert table.gate.shape == (2, 3, 2, 3, 3)  # (A, T, N, G, M)
    verbs = replace(batch, verb=["shake"] * 4)
    level = model._level(torch.full((4,), 400), model.prepare(verbs, WordHash()))
    for n, routing in enumerate(level.routing):
        assert torch.allclose(routing.assignment.gate[2], table.gate[1, 1, n], atol=1e-6)
        assert torch.equal(routing.assignment.mask[2], table.mask[1, 1, n])


def test_all_blocks_are_routed_in_one_product_as_each_would_by_itself():
    model = model_of(small())
    action, time = torch.randn(5, 8), torch.randn(5, 16)
    for router, routed in zip(model.routers, route_all(model.routers, action, time), strict=True):
        assert torch.allclose(router(action, time).gate, routed.gate, atol=1e-6)


def test_the_estimate_reports_the_load_and_the_balance_of_every_router():
    model, batch = model_of(small()), random_batch()
    out = estimate(model, batch)
    assert out.load.shape == (2, 3, 3) and torch.equal(out.load.sum(-1), torch.full((2, 3), 4.0))
    floor = 2 * 3 * 2 * 1.0  # blocks × groups × branches, were all even
    assert floor * 0.9 < float(out.balance) < 3 * floor
    assert estimate(model_of(small(hollow)), batch).load is None


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_both_samplers_are_repeatable_and_end_in_world_poses(sampler, monkeypatch):
    monkeypatch.setitem(__import__("hoi_lib.diffusion").diffusion.SCHEDULES, "cosine", lambda: Schedule.cosine(20))
    model, batch = model_of(small(sampler=sampler, sampling_steps=4)), random_batch()
    seen = []
    runs = [
        sample_batch(model, batch, WordHash(), None, torch.Generator().manual_seed(s), lambda step: seen.append(step.t))
        for s in (0, 0, 1)
    ]
    assert len(seen) == 3 * (4 if sampler == "ddim" else 20)
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    assert runs[0].shape == batch.pose.shape


# --- text ---


def test_each_group_hears_its_own_level(monkeypatch):
    model, batch = model_of(small()), random_batch()
    heard = []
    monkeypatch.setattr(
        WordHash, "encode", lambda self, texts: heard.append(list(texts)) or super(WordHash, self).encode(texts)
    )
    model.refiner = lambda caption, side: Refinement(f"{side} hand", "finger", "joint")
    model.prepare(batch, WordHash())
    assert heard[-3:] == [["left hand", "right hand"] * 2, ["finger"] * 4, ["joint"] * 4]


@pytest.mark.parametrize(("guidance", "listens"), [("refined", True), ("caption", False), ("none", False)])
def test_only_the_refined_guidance_depends_on_the_refiner(guidance, listens):
    model, batch = model_of(small(guidance=guidance)), random_batch()
    before = estimate(model, batch).x0
    model.refiner = lambda caption, side: Refinement("other words", "for", "all three levels")
    assert torch.equal(before, estimate(model, batch).x0) != listens


def test_a_withheld_text_is_withheld_from_the_groups_too():
    batch = random_batch((12, 12))
    model = model_of(small(condition_dropout=1.0))
    silent = replace(batch, caption=["", " "], verb=["", ""])
    one = model.eval().prepare(silent, WordHash())
    two = model.train().prepare(batch, WordHash())
    first = [h.values[:, :, 0] for block in one.heard for group in block for h in group]
    other = [h.values[:, :, 0] for block in two.heard for group in block for h in group]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(first, other, strict=True))
    assert not given(silent, 0.0, None).any() and given(batch, 0.0, None).all()


def test_every_weight_learns_save_the_pooled_forms_queries_and_keys():
    for reading, preset in READINGS.items():
        model, batch = model_of(small(preset, active=3, condition_dropout=0.0)).train(), random_batch()
        out = estimate(model, batch)
        (out.x0.square().mean() + 0.01 * out.balance).backward()
        silent = {n for n, p in model.named_parameters() if p.grad is None or float(p.grad.abs().max()) == 0}
        dead = {n for n, _ in model.named_parameters() if ".query." in n or ".key." in n}
        unheard = dead if reading == "release" else {n for n in dead if n.endswith("key.bias")}
        assert silent - {n for n in silent if "withheld" in n} <= unheard, reading
        assert (reading == "release") == (dead <= silent)


# --- readings and ablations ---


def test_the_readings_have_the_sizes_that_the_papers_sizes_imply():
    sizes = {name: sum(p.numel() for p in Denoiser(preset()).parameters()) for name, preset in READINGS.items()}
    assert 76e6 < sizes["paper"] < 83e6
    assert sizes["release"] == pytest.approx(131.6e6, rel=0.01)
    dead = (8 * 9) * 2 * (512 * 512 + 512)  # queries and keys of 72 cross-attentions
    slim = sum(p.numel() for p in Denoiser(release(cross_attention="constant")).parameters())
    assert sizes["release"] - slim == dead


def test_the_presets_differ_where_the_paper_and_its_release_do():
    one, two, ours = paper(), release(), recommended()
    assert (one.schedule, two.schedule, ours.schedule) == ("linear", "cosine", "cosine")
    assert (one.coordinates, two.coordinates, ours.coordinates) == ("world", "world", "object")
    assert (one.sampler, two.sampling_steps, ours.sampling_steps) == ("ddpm", 100, 50)
    assert "shape" not in one.tokens and two.tokens == ("text", "action", "side", "shape", "object")
    assert (one.balance, two.balance) == ("sum", "release") and (one.norm, two.norm) == ("pre", "post")
    assert DenoiserConfig() == hollow()


@pytest.mark.parametrize("base", READINGS)
@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_ablation_tables_is_a_network_that_runs(row, base):
    config = ablated(row, small(READINGS[base]))
    changed = [name for name, value in vars(config).items() if value != getattr(small(READINGS[base]), name)]
    assert len(changed) == (4 if row.startswith("+") else 1)
    model = model_of(config)
    assert bool(estimate(model, random_batch()).x0.isfinite().all())


def test_the_cumulative_rows_keep_three_active_experts_of_one_pool():
    pool, even = ablated("+ w/o expert group", paper()), ablated("+ w/o hierarchical size", paper())
    assert pool.experts == (1024,) * 3 + (512,) * 3 + (256,) * 3 and pool.active == 3
    assert even.experts == (1024,) * 9 and pool.groups == even.groups == ("whole",)


def test_the_side_may_be_the_releases_fixed_vector():
    model, batch = model_of(small(release)), random_batch((12, 12))
    tokens = model.prepare(batch, WordHash()).tokens
    side = model.config.tokens.index("side")
    assert torch.equal(tokens[:, side], torch.eye(1, 16) * torch.tensor([[1.0], [0.0]]))  # left: 1 in front; right: 0


def test_the_release_hears_its_padding_and_the_paper_does_not():
    for preset, deaf in ((paper, True), (release, False)):
        model = model_of(small(preset, trajectory="raw"))
        short, long = random_batch(), random_batch(length=20)
        same = torch.allclose(estimate(model, short).x0[short.valid], estimate(model, long).x0[long.valid], atol=1e-5)
        assert same == deaf


def test_numbers_that_are_not_standardised_stay_metres():
    model, batch = model_of(small(paper)), random_batch()
    assert torch.equal(model.to_model(batch), batch.pose)


@pytest.mark.parametrize("reading", READINGS)
def test_a_reading_comes_back_from_its_checkpoint(tmp_path, reading):
    model, batch = model_of(small(READINGS[reading])), random_batch()
    model.save_pretrained(tmp_path)
    again = Denoiser.from_pretrained(tmp_path)
    assert again.config == model.config
    assert torch.equal(estimate(model, batch).x0, estimate(again, batch).x0)
