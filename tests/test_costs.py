"""Costs on paper against torch's own counter, against what autograd keeps, and against the printed sizes."""

from dataclasses import replace

import pytest
import torch
from random_batches import WordHash, random_batch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hoi_lib import costs
from hoi_lib.denoiser import Denoiser
from hoi_lib.denoiserconfig import hollow, paper, recommended, release
from hoi_lib.hand import load_hand

LENGTHS = (24, 24, 24, 24)
PRESETS = {
    "hollow": hollow(32, 2, 4),
    "recommended": recommended(32, 2, 4),
    "constant text": recommended(32, 2, 4, cross_attention="constant"),
    "attention in every expert": recommended(32, 2, 4, attention_in="expert"),
    "no text": recommended(32, 2, 4, guidance="none"),
    "paper": paper(32, 2, 4),
    "release": release(32, 2, 4),
    "DiT-MoE": recommended(32, 2, 4, feedforward="dit_moe"),
    "DiT-MoE, all experts": recommended(32, 2, 4, feedforward="dit_moe", executor="dense"),
    "dense executor": recommended(32, 2, 4, executor="dense"),
}
EVERY = pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)


def small(config, **changes):
    sizes = {"text_dim": WordHash.dim, "level_dim": WordHash.dim, "points": 32, "point_width": 16, "dropout": 0.0}
    return replace(config, **{**sizes, **changes})


def words(model, batch):
    """Tokens of the refined texts, mean over the groups: each group's texts are padded to its own longest."""
    if model.levels is None:
        return 0
    texts = model.levels.texts(batch, model.refiner)
    longest = [WordHash().encode(column).states.shape[1] for column in texts]
    return sum(longest) / len(longest)


def counted_flop(model, batch):
    x, t = torch.randn_like(batch.pose), torch.zeros(len(batch), dtype=torch.long)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(x, t, model.prepare(batch, WordHash()), batch.valid)
    return counter.get_total_flops()


@EVERY
def test_multiply_adds_agree_with_the_counter_of_torch(config):
    # experts of one width: then it does not matter which of them the untrained router happens to choose
    config = small(config, experts=(40, 40, 40), trajectory="raw")
    batch, model = random_batch(LENGTHS), Denoiser(config).eval()
    assert costs.forward_flop(config, 4, LENGTHS[0], words(model, batch)) == counted_flop(model, batch)


def test_with_experts_of_different_width_the_dense_executor_is_counted_exactly():
    config = small(PRESETS["dense executor"], trajectory="raw")
    batch, model = random_batch(LENGTHS), Denoiser(config).eval()
    assert costs.forward_flop(config, 4, LENGTHS[0], words(model, batch)) == counted_flop(model, batch)


@EVERY
def test_every_parameter_belongs_to_one_part(config):
    model = Denoiser(config)
    total = costs.totals(costs.breakdown(config))
    assert total.parameters == sum(p.numel() for p in model.parameters()) == costs.parameters(config)
    assert 0 <= total.idle < total.parameters and 0 < total.active <= total.parameters


def test_idle_parameters_are_those_without_a_gradient():
    config, batch = small(release(16, 2, 2)), random_batch(LENGTHS)
    model = Denoiser(config).train()
    x, t = torch.randn_like(batch.pose), torch.zeros(len(batch), dtype=torch.long)
    model(x, t, model.prepare(batch, WordHash()), batch.valid).square().sum().backward()
    never = [p for name, p in model.named_parameters() if ".query." in name or ".key." in name]
    assert all(p.grad is None for p in never)
    assert costs.totals(costs.breakdown(config)).idle == sum(p.numel() for p in never)


@EVERY
def test_kept_numbers_are_what_autograd_keeps_to_a_fifth(config):
    config, batch = small(config), random_batch((60,) * 4)
    model, kept = Denoiser(config).train(), {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(x):
        storage = x.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return x

    x, t = torch.randn_like(batch.pose), torch.randint(1000, (len(batch),))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        model(x, t, model.prepare(batch, WordHash()), batch.valid)
    measured = sum(storage.nbytes() for storage in kept.values())
    expected = costs.step_cost(config, 4, 60, round(words(model, batch))).activations
    assert expected == pytest.approx(measured, rel=0.2)


def test_the_presets_have_the_sizes_that_are_known_of_them():
    sizes = {"encoder": "clip", "level_encoder": "longclip", "text_dim": 512, "level_dim": 512}
    printed = costs.totals(costs.breakdown(paper(**sizes)))
    published = costs.totals(costs.breakdown(release(**sizes)))
    assert 76e6 < printed.parameters < 83e6
    assert published.parameters == pytest.approx(131.6e6, rel=0.005)
    assert published.idle == pytest.approx(37.8e6, rel=0.002)  # 72 queries and as many keys, 512 × 513 each
    experts = {part.name: part for part in costs.breakdown(paper(**sizes))}["experts"]
    assert 2 * 32 * experts.macs == pytest.approx(146.6e9, rel=0.01)  # three routed experts in 8 blocks, 32 samples


def test_doubling_multiplies_as_the_formulas_say():
    table = costs.growth(recommended())
    assert table["clips"] == {**dict.fromkeys(("parameters", "network", "pairs", "memory"), 1.0), "steps": 2.0}
    assert table["object points"]["pairs"] == table["frames"]["pairs"] == table["batch"]["pairs"] == 2
    assert 3.5 < table["width"]["parameters"] < 4 and 3.5 < table["width"]["network"] < 4
    more = table["experts per group"]
    assert more["parameters"] > 1.5 and more["network"] == pytest.approx(1, abs=1e-3) and more["pairs"] == 1


def test_a_step_adds_up():
    cost = costs.step_cost(recommended(), batch=32)
    assert cost.network == pytest.approx(3 * costs.forward_flop(recommended(), 32))
    assert cost.pairs == pytest.approx(30.6e9, rel=0.01)  # 32 · 150 · 778 · 1024 pairs, 8 FLOP each
    assert cost.flop == cost.network + cost.hands + cost.pairs
    half = costs.step_cost(recommended(), batch=32, bytes_per_number=2)
    assert half.activations == cost.activations / 2 and half.state == cost.state


def test_posing_a_hand_costs_what_the_counter_counts():
    rotations = torch.eye(3).expand(10, 16, 3, 3)
    with FlopCounterMode(display=False) as counter:
        load_hand("right").from_matrices(rotations, torch.zeros(10, 3), torch.zeros(10, 10))
    assert counter.get_total_flops() == pytest.approx(2 * 10 * costs.HAND_MACS, rel=0.01)
