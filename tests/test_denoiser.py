"""The denoiser: padding, conditions, coordinates, standardising, checkpoints, and that it can learn."""

import json
from dataclasses import fields, replace

import pytest
import torch
from random_batches import WordHash, random_batch
from safetensors.torch import load_file, save_file

from hoi_lib import blocks
from hoi_lib.blocks import DenseFeedForward, sinusoid
from hoi_lib.denoiser import Denoiser, DenoiserConfig, for_profile, hollow
from hoi_lib.diffusion import Schedule, sample_ddim
from hoi_lib.errors import CheckpointError, ConfigError, OutputError
from hoi_lib.motion import world_to_object
from hoi_lib.profiles import PROFILES

TINY = hollow(16, 2, 2, text_dim=WordHash.dim, points=32, point_width=16)


def tiny(seed=0, **changes):
    torch.manual_seed(seed)
    return Denoiser(replace(TINY, **changes))


@pytest.fixture(scope="module")
def model():
    made = tiny().eval()
    made.fit_normaliser([random_batch()])
    return made


@pytest.fixture
def encoder():
    return WordHash()


def run(model, batch, encoder, level=300, seed=0, x=None):
    """Output for noise that depends on sample and frame only, never on the padding."""
    if x is None:
        x = torch.randn(8, 40, 99, generator=torch.Generator().manual_seed(seed))[: len(batch), : batch.pose.shape[1]]
    t = torch.full((len(batch),), level)
    with torch.no_grad():
        return model(x, t, model.prepare(batch, encoder), batch.valid)


# --- property ---


def test_padding_changes_nothing(model, encoder):
    batch, padded = random_batch(), random_batch(length=20)
    short, long = run(model, batch, encoder), run(model, padded, encoder)
    assert torch.allclose(short[batch.valid], long[padded.valid], atol=1e-5)


def test_what_stands_in_the_padding_changes_nothing(model, encoder):
    batch = random_batch(length=20)
    garbage = replace(
        batch,
        pose=torch.where(batch.valid[..., None], batch.pose, torch.tensor(7.0)),
        object_pose=torch.where(batch.valid[..., None], batch.object_pose, torch.randn(4, 20, 10)),
    )
    assert torch.allclose(run(model, batch, encoder)[batch.valid], run(model, garbage, encoder)[batch.valid], atol=1e-5)


def test_without_the_mask_the_padding_is_heard(model, encoder):
    batch = random_batch(length=20)
    deaf = replace(batch, valid=torch.ones_like(batch.valid))
    assert (run(model, batch, encoder) - run(model, deaf, encoder))[batch.valid].abs().max() > 1e-3


def test_samples_of_a_batch_do_not_hear_each_other(model, encoder):
    both = run(model, random_batch((12, 12)), encoder)
    alone = run(model, random_batch((12,)), encoder)
    assert torch.allclose(both[:1], alone, atol=1e-5)


def test_frames_are_told_apart_by_their_position_code_alone(encoder, monkeypatch):
    model, batch = tiny().eval(), random_batch((12, 12))
    conditions = model.prepare(batch, encoder)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    x = torch.randn(2, 12, 99)
    shuffled = replace(conditions, frames=conditions.frames[:, order])
    t = torch.tensor([10, 500])
    with_code = model(x, t, conditions)[:, order] - model(x[:, order], t, shuffled)
    assert with_code.abs().max() > 1e-3
    monkeypatch.setattr(model, "positions", lambda frames: torch.zeros(frames, 16))
    assert torch.allclose(model(x, t, conditions)[:, order], model(x[:, order], t, shuffled), atol=1e-5)


def test_longer_clips_than_in_training_are_welcome(model, encoder):
    assert bool(run(model, random_batch((300,)), encoder, x=torch.randn(1, 300, 99)).isfinite().all())


@pytest.mark.parametrize("change", ["noise level", "text", "verb", "side", "betas", "points", "trajectory"])
def test_every_condition_is_heard(model, encoder, change):
    batch = random_batch((12, 12))
    other = {
        "noise level": batch,
        "text": replace(batch, caption=["Shake it.", "Open it."]),
        "verb": replace(batch, verb=["shake", "open"]),
        "side": replace(batch, side=1 - batch.side),
        "betas": replace(batch, betas=batch.betas + 1),
        "points": replace(batch, points=batch.points * torch.tensor([1.0, 2.0, 1.0])),
        "trajectory": replace(batch, object_pose=batch.object_pose.flip(1)),
    }[change]
    level = 20 if change == "noise level" else 300
    assert (run(model, batch, encoder) - run(model, other, encoder, level)).abs().max() > 1e-4


def test_an_empty_verb_or_caption_is_the_withheld_one(encoder):
    model = tiny().train()
    model.config = replace(model.config, condition_dropout=1.0)
    batch = random_batch((12, 12))
    withheld = model.prepare(batch, encoder)
    model.eval()
    silent = model.prepare(replace(batch, caption=["", " "], verb=["", ""]), encoder)
    assert torch.equal(withheld.tokens, silent.tokens) and float(silent.action.abs().sum()) == 0
    assert not torch.equal(withheld.tokens, model.prepare(batch, encoder).tokens)


def test_conditions_are_dropped_in_training_only_at_the_set_rate_and_by_the_generator(encoder):
    model, batch = tiny(condition_dropout=0.25), random_batch((2,) * 400, points=4)
    full = model.eval().prepare(batch, encoder).tokens
    model.train()
    gens = [torch.Generator().manual_seed(s) for s in (0, 0, 1)]
    runs = [model.prepare(batch, encoder, g).tokens for g in gens]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    dropped = (runs[0] != full).any(-1)  # (B, 5)
    assert torch.allclose(dropped.float().mean(0)[:2], torch.tensor(0.25), atol=0.08)
    assert float(dropped[:, 2:].sum()) == 0
    assert float((dropped[:, 0] & dropped[:, 1]).float().mean()) == pytest.approx(0.0625, abs=0.05)  # independent


def test_the_object_frame_makes_the_model_blind_to_where_in_the_world_it_happens(model, encoder):
    batch = random_batch((12, 12))
    shift = torch.tensor([4.0, -3.0, 0.0])
    moved = replace(
        batch,
        pose=torch.cat([batch.pose[..., :3] + shift, batch.pose[..., 3:]], -1),
        object_pose=torch.cat([batch.object_pose[..., :3] + shift, batch.object_pose[..., 3:]], -1),
    )
    assert torch.allclose(model.to_model(batch), model.to_model(moved), atol=1e-3)
    assert torch.allclose(run(model, batch, encoder), run(model, moved, encoder), atol=1e-3)


def test_nothing_is_left_behind_on_another_device(encoder):
    """The meta device computes no numbers, but refuses to mix with the CPU as any accelerator does."""
    model, batch, schedule = tiny().to("meta"), random_batch().to("meta"), Schedule.cosine()
    conditions = model.prepare(batch, encoder, torch.Generator())
    x0 = model.to_model(batch)
    t = torch.zeros(4, dtype=torch.long, device="meta")
    estimate = model(schedule.noised(x0, t, torch.randn_like(x0)), t, conditions, batch.valid)
    assert model.to_world(estimate, batch).device.type == "meta"
    x = sample_ddim(
        lambda x, t: model(x, t, conditions, batch.valid), x0, schedule, 3, 1.0, generator=torch.Generator()
    )
    assert x.device.type == "meta"


# --- analytic ---


@pytest.mark.parametrize("coordinates", ["object", "world"])
def test_world_and_model_numbers_are_inverse(coordinates):
    model, batch = tiny(coordinates=coordinates), random_batch()
    model.fit_normaliser([batch])
    assert torch.allclose(model.to_world(model.to_model(batch), batch), batch.pose, atol=1e-5)


@pytest.mark.parametrize("coordinates", ["object", "world"])
def test_standardised_training_data_has_mean_zero_and_spread_one_on_each_side(coordinates):
    model, batch = tiny(coordinates=coordinates), random_batch((40, 30, 20, 40), length=60)
    model.fit_normaliser([batch])
    x = model.to_model(batch)
    for side in (0, 1):
        rows = x[batch.valid & (batch.side == side)[:, None]]
        spread = model.standard_hand.std[side] > 0.0101  # the others are at the floor
        assert rows.mean(0).abs().max() < 1e-3
        assert torch.allclose(rows.std(0, unbiased=False)[spread], torch.tensor(1.0), atol=1e-2)


def test_fitting_on_parts_equals_fitting_on_the_whole():
    whole, parts = tiny(), tiny()
    whole.fit_normaliser([random_batch()])
    parts.fit_normaliser([random_batch(), random_batch(length=30)])  # the same frames twice, and padding
    for name, buffer in whole.named_buffers():
        assert torch.allclose(buffer, dict(parts.named_buffers())[name], atol=1e-6)


def test_a_side_without_training_data_takes_the_figures_of_the_other():
    model, batch = tiny(), random_batch((12, 12))
    model.fit_normaliser([replace(batch, side=torch.ones(2, dtype=torch.long))])
    assert torch.equal(model.standard_hand.mean[0], model.standard_hand.mean[1])
    with pytest.raises(ConfigError, match="no valid frame"):
        model.fit_normaliser([replace(batch, valid=torch.zeros_like(batch.valid))])


def test_object_coordinates_are_the_hand_beside_the_resting_object(model):
    batch = random_batch()
    pose = model.standard_hand.undo(model.to_model(batch), batch.side)
    assert torch.allclose(pose, world_to_object(batch.pose, batch.object_pose, batch.wrist_rest), atol=1e-5)


def test_the_sinusoid_has_its_closed_form():
    table = sinusoid(torch.tensor([0, 3]), 8)
    assert torch.equal(table[0], torch.tensor([0.0, 0, 0, 0, 1, 1, 1, 1]))
    rates = torch.tensor([1.0, 0.1, 0.01, 0.001])
    assert torch.allclose(table[1], torch.cat([(3 * rates).sin(), (3 * rates).cos()]), atol=1e-6)


# --- equivalence ---


def test_attention_equals_the_loop_over_heads_and_tokens(encoder):
    attention = tiny().blocks[0].attention
    tokens = torch.randn(2, 5, 16)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    fast = attention(tokens, mask[:, None, None])
    q, k, v = attention.qkv(tokens).chunk(3, -1)
    for b in range(2):
        for i in range(5):
            rows = []
            for h in range(2):
                part = slice(8 * h, 8 * h + 8)
                score = (k[b, :, part] @ q[b, i, part]) / 8**0.5
                weight = score.masked_fill(~mask[b], float("-inf")).softmax(0)
                rows.append(weight @ v[b, :, part])
            assert torch.allclose(fast[b, i], attention.out(torch.cat(rows)), atol=1e-5)


def test_preparing_once_equals_preparing_at_every_step(model, encoder):
    batch = random_batch()
    conditions = model.prepare(batch, encoder)
    noise, schedule = torch.randn(4, 12, 99), Schedule.cosine(100)
    once = sample_ddim(lambda x, t: model(x, t, conditions, batch.valid), noise, schedule, 5)
    again = sample_ddim(lambda x, t: model(x, t, model.prepare(batch, encoder), batch.valid), noise, schedule, 5)
    assert torch.equal(once, again)


def test_the_feedforward_is_built_from_the_config_and_knows_what_is_padding(encoder, monkeypatch):
    seen = []

    class Spy(DenseFeedForward):
        def forward(self, tokens, context):
            seen.append((context.valid.sum(1).tolist(), context.routing, context.heard))
            return super().forward(tokens, context)

    monkeypatch.setitem(blocks.FEEDFORWARDS, "dense", Spy)
    run(tiny(), random_batch((12, 9)), encoder)
    assert seen == [([6 + 12, 6 + 9], None, ())] * 2


# --- gradient ---


def test_every_weight_receives_a_gradient(encoder):
    model, batch = tiny().train(), random_batch()
    model.config = replace(model.config, condition_dropout=0.5)
    x = model.to_model(batch)
    out = model(x, torch.tensor([0, 10, 500, 999]), model.prepare(batch, encoder), batch.valid)
    (out - x)[batch.valid].square().mean().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or float(p.grad.abs().max()) == 0]
    assert silent == []


def test_world_poses_pass_a_gradient_back(model):
    batch = random_batch()
    x = model.to_model(batch).requires_grad_()
    model.to_world(x, batch).square().sum().backward()
    assert bool(x.grad.isfinite().all()) and bool((x.grad[batch.valid].abs().sum(-1) > 0).all())


def test_a_few_steps_of_training_lower_the_loss(encoder):
    model, batch, schedule = tiny(), random_batch((20, 20, 20, 20)), Schedule.cosine()
    model.fit_normaliser([batch])
    x0, gen = model.to_model(batch), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        t = torch.randint(0, 1000, (4,), generator=gen)
        x = schedule.noised(x0, t, torch.randn(x0.shape, generator=gen))
        loss = (model(x, t, model.prepare(batch, encoder, gen), batch.valid) - x0)[batch.valid].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


# --- checkpoints ---


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_comes_back(tmp_path, encoder, half, capsys):
    model, batch = tiny(coordinates="world", trajectory="raw").eval(), random_batch()
    model.fit_normaliser([batch])
    model.save_pretrained(tmp_path / "run", half=half)
    again = Denoiser.from_pretrained(tmp_path / "run")
    assert again.config == model.config and not again.training
    assert all(p.dtype == torch.float32 for p in again.state_dict().values())
    assert all(p.dtype == torch.float32 for p in model.state_dict().values())
    difference = (run(model, batch, encoder) - run(again, batch, encoder)).abs().max()
    assert difference < 2e-2 if half else difference == 0
    assert sorted(f.name for f in (tmp_path / "run").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert capsys.readouterr().out == ""


def test_saving_again_replaces_the_weights_and_leaves_the_card(tmp_path):
    tiny(0).save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    tiny(1).save_pretrained(tmp_path)
    again = Denoiser.from_pretrained(str(tmp_path))
    assert torch.equal(again.head.weight, tiny(1).head.weight) and (tmp_path / "README.md").read_text() == "mine"


def damage(folder, how):
    weights, config = folder / "model.safetensors", folder / "config.json"
    if how == "no weights":
        weights.unlink()
    elif how == "no config":
        config.unlink()
    elif how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "garbage":
        weights.write_bytes(b"\xff" * 1000)
    elif how == "empty":
        weights.write_bytes(b"")
    elif how == "nan":
        state = load_file(weights)
        state["head.bias"][3] = float("nan")
        save_file(state, weights)
    elif how == "missing tensor":
        save_file({k: v for k, v in load_file(weights).items() if k != "head.bias"}, weights)
    elif how == "another width":
        config.write_text(json.dumps({**json.loads(config.read_text()), "width": 32}))
    elif how == "config is no json":
        config.write_text("{")
    elif how == "config is a list":
        config.write_text("[1]")
    elif how == "future config":
        config.write_text(json.dumps({**json.loads(config.read_text()), "telepathy": True}))
    elif how == "nonsense config":
        config.write_text(json.dumps({**json.loads(config.read_text()), "coordinates": "moon"}))


@pytest.mark.parametrize(
    "how",
    [
        "no weights", "no config", "cut weights", "garbage", "empty", "nan", "missing tensor", "another width",
        "config is no json", "config is a list", "future config", "nonsense config",
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_refused_in_one_clear_message(tmp_path, how):
    tiny().save_pretrained(tmp_path)
    damage(tmp_path, how)
    with pytest.raises(CheckpointError, match="cannot be used") as error:
        Denoiser.from_pretrained(tmp_path)
    assert "\n" not in error.value.what and str(tmp_path) in error.value.what


def test_weights_of_another_width_are_named_with_both_shapes(tmp_path):
    tiny().save_pretrained(tmp_path)
    damage(tmp_path, "another width")
    with pytest.raises(CheckpointError, match=r"do not fit its config.json: size mismatch for .*\[32"):
        Denoiser.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "/nowhere/at/all", "nobody/nothing-of-the-kind"])
def test_a_missing_checkpoint_is_refused(name):
    with pytest.raises(CheckpointError, match="cannot be used"):
        Denoiser.from_pretrained(name, local_files_only=True)


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        tiny().save_pretrained(tmp_path / "file" / "run")


def test_a_failed_save_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch):
    tiny(0).save_pretrained(tmp_path)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_model", full)
    with pytest.raises(OutputError, match="No space left"):
        tiny(1).save_pretrained(tmp_path)
    assert torch.equal(Denoiser.from_pretrained(tmp_path).head.weight, tiny(0).head.weight)
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]


# --- configs ---


def test_every_preset_follows_the_profile():
    for profile in PROFILES.values():
        config = for_profile(profile)
        assert (config.width, config.blocks, config.heads) == (profile.width, profile.blocks, profile.heads)
        assert config.points == profile.points
    assert for_profile(PROFILES["smoke"], coordinates="world").coordinates == "world"


def test_the_laptop_checkpoint_stays_small():
    model = Denoiser(for_profile(PROFILES["laptop"]))
    assert sum(p.numel() for p in model.parameters()) * 2 < 10e6


@pytest.mark.parametrize(
    "change",
    [
        {"width": 18}, {"heads": 3}, {"coordinates": "moon"}, {"trajectory": "poor"}, {"feedforward": "none"},
        {"schedule": "sawtooth"}, {"blocks": 0}, {"dropout": 1.0}, {"condition_dropout": -0.1},
    ],
)  # fmt: skip
def test_impossible_configs_are_refused(change):
    with pytest.raises(ConfigError):
        replace(TINY, **change)


def test_the_config_holds_plain_values_only():
    assert all(isinstance(getattr(DenoiserConfig(), f.name), int | float | str | tuple) for f in fields(DenoiserConfig))
