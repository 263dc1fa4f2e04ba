"""Every row of the paper's ablation tables trains and is measured, and so does every reading of the paper."""

import pytest
import torch
from tiny_store import tiny_store, use_word_hashes

from hoi_lib.denoiser import ROWS, ablated, paper, recommended, release
from hoi_lib.diffusion import SCHEDULES, Schedule
from hoi_lib.evaluate import evaluate
from hoi_lib.profiles import PROFILES
from hoi_lib.train import TrainConfig, config_for, train

READINGS = {"paper": paper, "release": release, "recommended": recommended}
RUNS = [("paper", row) for row in ROWS] + [(reading, None) for reading in READINGS]


def config_of(network):
    return TrainConfig(
        network,
        steps=10,
        batch=4,
        warmup=2,
        vertices=20,
        loss_points=32,
        stride=4,
        threads=1,
        evaluation=0,
        tensorboard=False,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("ablations") / "store")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No language model, and twenty noise levels, so that even DDPM samples in a moment."""
    use_word_hashes(monkeypatch.setattr)
    for name, make in list(SCHEDULES.items()):
        monkeypatch.setitem(SCHEDULES, name, lambda make=make: Schedule(make().name, make().beta[::50]))


@pytest.mark.parametrize(("reading", "row"), RUNS)
def test_every_row_trains_ten_steps_and_is_measured(store, tmp_path, row, reading):
    network = READINGS[reading](16, 2, 2, points=16, point_width=8, sampling_steps=3)
    network = ablated(row, network) if row else network
    record = train(config_of(network), store, tmp_path / "run", progress=False)
    losses = record["curves"]["training/total"]["value"]
    assert len(losses) >= 1 and torch.tensor(losses).isfinite().all()
    measured = evaluate(tmp_path / "run", store, "val", limit=2, progress=False)
    assert measured["metrics"]["mpjpe"]["n"] > 0 and 0 <= measured["metrics"]["cr"]["value"] <= 1
    assert record["config"]["denoiser"]["feedforward"] == network.feedforward
    balance = record["metrics"]["loss/training/balance"]["value"]
    terms = len(network.groups) * network.blocks * (1 if network.joint_router else len(network.branches))
    if network.feedforward == "experts" and network.balance == "sum":
        assert 0.8 * terms < balance < max(3, len(network.experts)) * terms


def test_only_small_profiles_thin_what_the_losses_see():
    seen = {name: (p.vertices, p.loss_points, p.stride) for name, p in PROFILES.items()}
    assert seen["full"] == (778, 1024, 1) == (TrainConfig(paper()).vertices, 1024, TrainConfig(paper()).stride)
    for name in ("smoke", "laptop"):
        config = config_for("paper", PROFILES[name])
        assert (config.vertices, config.loss_points, config.stride) == seen[name] != seen["full"]
