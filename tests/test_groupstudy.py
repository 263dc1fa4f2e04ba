"""Looking into expert groups: what is overheard is what was heard, and a silent group is missing and nothing else."""

from dataclasses import replace

import pytest
import torch
from random_batches import WordHash, random_batch

from hoi_lib.denoiser import Denoiser, hollow, recommended
from hoi_lib.errors import ConfigError
from hoi_lib.groupstudy import overheard, without

SMALL = {"text_dim": WordHash.dim, "level_dim": WordHash.dim, "points": 32, "point_width": 16}


@pytest.fixture
def batch():
    return random_batch()


def model_of(preset, batch, **changes):
    torch.manual_seed(0)
    model = Denoiser(preset(16, 2, 2, **{**SMALL, **changes})).eval()
    model.fit_normaliser([batch])
    return model


def given(model, batch):
    x = torch.randn(batch.pose.shape, generator=torch.Generator().manual_seed(0))
    return x, torch.full((len(batch),), 300), model.prepare(batch, WordHash()), batch.valid


def test_what_is_overheard_is_what_each_cross_attention_answers_to(batch):
    model = model_of(recommended, batch)
    inputs = given(model, batch)
    found = overheard(model, *inputs)
    assert [len(row) for row in found] == [3, 3]
    tokens = found[0][0][0]
    assert tokens.shape == (len(batch), 1 + len(model.config.tokens) + batch.pose.shape[1], 16)
    assert all(torch.equal(tokens, row[0]) for row in found[0]), "all groups of a block are asked by the same tokens"
    assert all(heard is inputs[2].heard[n][g][0] for n, row in enumerate(found) for g, (_, heard) in enumerate(row))


def test_overhearing_leaves_no_hook_behind(batch):
    model = model_of(recommended, batch)
    overheard(model, *given(model, batch))
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(("preset", "changes"), [(hollow, {}), (recommended, {"guidance": "none"})])
def test_where_no_text_guides_there_is_nothing_to_overhear(preset, changes, batch):
    model = model_of(preset, batch, **changes)
    with pytest.raises(ConfigError, match="no text guides"):
        overheard(model, *given(model, batch))


@pytest.mark.parametrize("group", range(3))
def test_a_silent_group_is_as_if_its_experts_answered_nothing(group, batch):
    model = model_of(recommended, batch)
    x, t, conditions, valid = given(model, batch)
    level = model.plan([300], conditions)[300]
    with torch.no_grad():
        silent = model.estimate(x, t, conditions, valid, without(level, group)).x0
        for block in model.blocks:
            for expert in block.feedforward.groups[group].experts:
                expert[-1].weight.zero_()
                expert[-1].bias.zero_()
        mute = model.estimate(x, t, conditions, valid, level).x0
    assert torch.allclose(silent, mute, atol=1e-6)


def test_silencing_leaves_the_given_level_as_it_was(batch):
    model = model_of(recommended, batch)
    level = model.plan([300], model.prepare(batch, WordHash()))[300]
    before = [r.assignment.gate.clone() for r in level.routing]
    without(level, 1)
    assert all(torch.equal(r.assignment.gate, gate) for r, gate in zip(level.routing, before, strict=True))


@pytest.mark.parametrize("group", [-1, 3])
def test_a_group_that_is_not_there_cannot_be_silenced(group, batch):
    model = model_of(recommended, batch)
    level = model.plan([300], model.prepare(batch, WordHash()))[300]
    with pytest.raises(ConfigError, match="no such expert group"):
        without(level, group)
    with pytest.raises(ConfigError, match="no such expert group"):
        without(replace(level, routing=()), 0)
