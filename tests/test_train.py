"""Training: it learns, it can be stopped in any way and goes on bit for bit, and it says what it did."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from tiny_store import recorded_store, tiny_store, use_word_hashes

from hoi_lib import checkpoints, profiles, records
from hoi_lib import train as training
from hoi_lib.data.protocols import paper_arctic, paper_grab, paper_h2o
from hoi_lib.data.samples import SampleSet
from hoi_lib.denoiser import Denoiser, DenoiserConfig, for_profile, hollow, paper, release
from hoi_lib.errors import CheckpointError, ConfigError, OutputError, StoreError
from hoi_lib.train import TrainConfig, Trainer, config_for, export, rate, settled, train

TINY = TrainConfig(
    hollow(width=16, blocks=1, heads=2, points=16, point_width=8, dropout=0.1),
    steps=14,
    batch=4,
    lr=5e-4,
    warmup=2,
    ema=0.9,
    vertices=10,
    threads=1,
    checkpoint_every=5,
    log_every=3,
    validate_every=7,
    evaluation=0,
    tensorboard=False,
)

NO_SETS = {"con": 0.0, "pen": 0.0}  # means over sets: they have a floor, and a share of a batch has its own set
EVEN = replace(
    TINY, frames=12, steps=1, weights=NO_SETS, denoiser=replace(TINY.denoiser, dropout=0.0, condition_dropout=0.0)
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("train") / "store")


@pytest.fixture(autouse=True)
def no_language_model(monkeypatch):
    use_word_hashes(monkeypatch.setattr)


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """An uninterrupted run to hold the others against."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        use_word_hashes(patch.setattr)
        return out, train(TINY, store, out, progress=False)


def same_run(a, b, steps=TINY.steps):
    """Weights, averages, optimiser and curves of two finished runs are equal bit for bit."""
    one, two = (checkpoints.latest(Path(x) / "checkpoints") for x in (a, b))
    assert one["step"] == two["step"] == steps
    assert one["curves"] == two["curves"]
    for part in ("model", "average"):
        assert all(torch.equal(one[part][k], two[part][k]) for k in one[part])
    moments = (s["optimizer"]["state"] for s in (one, two))
    assert all(torch.equal(x[k], y[k]) for x, y in zip(*(m.values() for m in moments), strict=True) for k in x)
    return True


def at_step(monkeypatch, step, action):
    """Do something just before the optimiser step of that number (from 0)."""
    update = Trainer.update

    def patched(self):
        if self.step == step:
            action()
        update(self)

    monkeypatch.setattr(Trainer, "update", patched)


# --- stopping and going on -------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from tiny_store import use_word_hashes
use_word_hashes(setattr)
import test_train as t
from hoi_lib.data.store import load
update = t.Trainer.update
def killed(self):
    if self.step == 12:
        os.kill(os.getpid(), signal.SIGKILL)
    update(self)
t.Trainer.update = killed
t.train(t.TINY, load({store!r}), {out!r}, progress=False)
"""


def test_a_run_killed_with_sigkill_goes_on_bit_for_bit(store, whole, tmp_path):
    out = tmp_path / "run"
    script = CHILD.format(tests=str(Path(__file__).parent), store=str(store.folder), out=str(out))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert checkpoints.latest(out / "checkpoints")["step"] == 10
    train(TINY, store, out, resume=True, progress=False)
    assert same_run(out, whole[0])
    assert records.load(out / "record.json")["checkpoint_sha256"] == whole[1]["checkpoint_sha256"]


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_saves_first_and_the_run_goes_on_bit_for_bit(store, whole, tmp_path, monkeypatch, number, error):
    before = signal.getsignal(number)
    with monkeypatch.context() as patch, pytest.raises(error):
        at_step(patch, 7, lambda: os.kill(os.getpid(), number))
        train(TINY, store, tmp_path / "run", progress=False)
    assert signal.getsignal(number) is before
    assert checkpoints.latest(tmp_path / "run" / "checkpoints")["step"] == 8
    train(TINY, store, tmp_path / "run", resume=True, progress=False)
    assert same_run(tmp_path / "run", whole[0])


def test_a_full_disk_stops_with_one_clear_line_and_keeps_the_last_checkpoint(store, whole, tmp_path, monkeypatch):
    class FullDisk(io.FileIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    full = {"now": False}
    with monkeypatch.context() as patch:
        patch.setattr(
            checkpoints, "open", lambda path, mode: (FullDisk if full["now"] else io.FileIO)(path, mode), raising=False
        )
        at_step(patch, 8, lambda: full.update(now=True))
        with pytest.raises(OutputError, match="No space left"):
            train(TINY, store, tmp_path / "run", progress=False)
    kept = list((tmp_path / "run" / "checkpoints").iterdir())
    assert [path.name for path in kept] == ["step-00000005.pt"]
    train(TINY, store, tmp_path / "run", resume=True, progress=False)
    assert same_run(tmp_path / "run", whole[0])


def test_a_damaged_checkpoint_is_passed_over(store, whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        at_step(patch, 12, lambda: os.kill(os.getpid(), signal.SIGINT))
        train(TINY, store, out, progress=False)
    newest = checkpoints.found(out / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="damaged"):
        train(TINY, store, out, resume=True, progress=False)
    assert same_run(out, whole[0])


def test_a_checkpoint_of_another_network_is_refused(store, tmp_path):
    out = tmp_path / "run"
    train(replace(TINY, steps=1), store, out, progress=False)
    state = checkpoints.latest(out / "checkpoints")
    state["model"].pop("head.bias")
    checkpoints.save(out / "checkpoints", 2, state)
    with pytest.raises(CheckpointError, match="does not fit"):
        train(replace(TINY, steps=1), store, out, resume=True, progress=False)


def test_resuming_an_empty_folder_starts_and_resuming_a_finished_run_changes_nothing(store, whole, tmp_path):
    out = tmp_path / "run"
    train(TINY, store, out, resume=True, progress=False)
    assert same_run(out, whole[0])
    again = train(TINY, store, out, resume=True, progress=False)
    assert same_run(out, whole[0]) and again["curves"] == whole[1]["curves"]


def test_resuming_with_other_settings_names_them(store, whole):
    out = whole[0]
    other = replace(TINY, lr=2e-3, denoiser=replace(TINY.denoiser, heads=1), log_every=2)
    with pytest.raises(ConfigError, match=r"another config\.denoiser\.heads, config\.lr\."):
        train(other, store, out, resume=True, progress=False)
    with pytest.raises(ConfigError, match=r"another data\.clips\."):
        train(TINY, store[:6], out, resume=True, progress=False)


def test_an_older_run_or_a_foreign_folder_is_never_written_over(store, whole, tmp_path):
    with pytest.raises(OutputError, match="already holds a run"):
        train(TINY, store, whole[0], progress=False)
    (tmp_path / "holiday.txt").write_text("photos")
    with pytest.raises(OutputError, match="holds no run"):
        train(TINY, store, tmp_path, progress=False)
    (whole[0].parent / "broken").mkdir()
    (whole[0].parent / "broken" / "run.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"run\.json: cannot be read"):
        train(TINY, store, whole[0].parent / "broken", resume=True, progress=False)


# --- learning --------------------------------------------------------------------------------------------------------


def test_the_loss_falls(store, tmp_path):
    config = replace(TINY, steps=90, lr=3e-3, log_every=10, validate_every=30, weights=NO_SETS)
    curves = train(config, store, tmp_path / "run", progress=False)["curves"]
    for name in ("training/total", "validation/total", "validation/rec"):
        first, last = curves[name]["value"][0], curves[name]["value"][-1]
        assert last < 0.9 * first, name


def test_shares_of_a_batch_add_up_to_the_whole(store, tmp_path):
    """Four shares of one give the gradient of a batch of four, as all samples are cut to the same length."""
    for parts in (1, 4):
        train(replace(EVEN, accumulation=parts), store, tmp_path / str(parts), progress=False)
    whole, shares = _gradient(tmp_path / "1"), _gradient(tmp_path / "4")
    assert whole.norm() > 1e-3 and (whole - shares).norm() < 1e-4 * whole.norm()


def test_a_run_may_begin_with_the_weights_of_another(store, tmp_path, whole):
    config = replace(TINY, init=str(whole[0]), steps=1, lr=1e-12)
    record = train(config, store, tmp_path / "run", progress=False)
    before, after = (Denoiser.from_pretrained(x / "denoiser").state_dict() for x in (whole[0], tmp_path / "run"))
    assert all(torch.allclose(before[k], after[k], atol=1e-6) for k in before)
    assert record["notes"][0].startswith(f"began with {whole[0]}")


def test_a_run_that_begins_with_another_network_is_refused(store, tmp_path, whole):
    config = replace(TINY, init=str(whole[0]), denoiser=replace(TINY.denoiser, hidden=8))
    with pytest.raises(ConfigError, match="another network"):
        train(config, store, tmp_path / "run", progress=False)


SHARED = """
import sys
sys.path.insert(0, {tests!r})
from tiny_store import use_word_hashes
use_word_hashes(setattr)
import test_train as t
from hoi_lib.data.store import load
t.train(t.SHARED_CONFIGS[{name!r}], load({store!r}), {out!r}, progress=False)
"""
ALL_TERMS = replace(EVEN, frames=150, weights={}, loss_points=32, stride=2)  # clips of any length, sets of any size
SHARED_CONFIGS = {
    "dense": ALL_TERMS,
    "experts": replace(
        ALL_TERMS, denoiser=paper(16, 2, 2, points=16, point_width=8, dropout=0.0, condition_dropout=0.0)
    ),
    "pooled": replace(
        ALL_TERMS, denoiser=release(16, 2, 2, points=16, point_width=8, dropout=0.0, condition_dropout=0.0)
    ),
}


@pytest.mark.parametrize("name", SHARED_CONFIGS)
def test_two_processes_take_the_step_of_one(store, tmp_path, name):
    config = SHARED_CONFIGS[name]
    script = tmp_path / "shared.py"
    script.write_text(
        SHARED.format(tests=str(Path(__file__).parent), store=str(store.folder), out=str(tmp_path / "two"), name=name)
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    train(config, store, tmp_path / "one", progress=False)
    one, two = _gradient(tmp_path / "one"), _gradient(tmp_path / "two")
    assert one.norm() > 1e-3 and (one - two).norm() < 1e-4 * one.norm()
    losses = [
        records.load(tmp_path / run / "record.json")["curves"]["training/total"]["value"] for run in ("one", "two")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def _gradient(out):
    """The first moments of the optimiser after one step: a tenth of the (clipped) gradient."""
    moments = checkpoints.latest(Path(out) / "checkpoints")["optimizer"]["state"]
    return torch.cat([m["exp_avg"].flatten() for m in moments.values()])


def _fresh(config):
    torch.manual_seed(config.seed)
    return {k: v for k, v in Denoiser(config.denoiser).named_parameters()}


def test_the_average_follows_the_weights_quickly_at_first(store, tmp_path, monkeypatch):
    config = replace(TINY, steps=1)
    train(config, store, tmp_path / "run", progress=False)
    state = checkpoints.latest(tmp_path / "run" / "checkpoints")
    for name, start in _fresh(config).items():
        expected = 0.1 * start + 0.9 * state["model"][name]
        assert torch.allclose(state["average"][name], expected, atol=1e-7), name


def test_the_rate_climbs_then_falls_as_half_a_cosine():
    config = replace(TINY, steps=110, warmup=10, final_lr=0.1)
    assert [rate(config, step) for step in (0, 4, 9, 10)] == [0.1, 0.5, 1.0, 1.0]
    assert rate(config, 60) == pytest.approx(0.55)
    assert rate(config, 110) == pytest.approx(0.1)


def test_a_loss_that_is_no_number_stops_the_run(store, tmp_path):
    config = replace(TINY, weights={"diff": float("inf")})
    with pytest.raises(ConfigError, match="not a finite number at step 3"):
        train(config, store, tmp_path / "run", progress=False)


def test_training_leaves_the_callers_random_numbers_and_threads_alone(store, tmp_path):
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(replace(TINY, steps=2, threads=threads + 1), store, tmp_path / "run", progress=False)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_a_store_without_training_subjects_is_refused(store, tmp_path):
    with pytest.raises(StoreError, match="no hand to train on"):
        train(TINY, store.subset("test"), tmp_path / "run", progress=False)


# --- epochs, samplers, sets without a validation subject -------------------------------------------------------------


def test_epochs_are_counted_in_whole_batches_of_the_training_hands(store, tmp_path):
    config = replace(TINY, batch=5, log_every=1)
    hands = len(SampleSet(store.subset("train")))
    per_epoch = hands // config.batch
    assert hands % config.batch and per_epoch > 1  # or dropping the rest would not show
    for epochs, steps in ((3.0, 3 * per_epoch), (0.5, round(per_epoch / 2)), (0.01, 1)):
        assert settled(replace(config, epochs=epochs), store).steps == steps
    assert settled(replace(config, epochs=2.0, batch=1000), store).steps == 2
    assert settled(config, store) == config
    record = train(replace(config, epochs=2.0), store, tmp_path / "run", progress=False)
    assert record["config"]["steps"] == 2 * per_epoch and record["config"]["epochs"] == 2
    assert record["curves"]["training/total"]["step"] == list(range(1, 2 * per_epoch + 1))


def test_a_balanced_run_by_epochs_goes_on_bit_for_bit(store, tmp_path, monkeypatch):
    config = replace(TINY, epochs=4.0, data_sampler="balanced", ema=0.0, clip=0.0, warmup=0, final_lr=1.0)
    train(config, store, tmp_path / "whole", progress=False)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        at_step(patch, 5, lambda: os.kill(os.getpid(), signal.SIGINT))
        train(config, store, tmp_path / "run", progress=False)
    record = train(config, store, tmp_path / "run", resume=True, progress=False)
    assert same_run(tmp_path / "run", tmp_path / "whole", settled(config, store).steps)
    assert record["rule"].startswith("the weights after the last step")
    state = checkpoints.latest(tmp_path / "run" / "checkpoints")
    assert all(torch.equal(state["model"][name], value) for name, value in state["average"].items())


def test_what_pulls_is_weighed_before_the_first_step(whole):
    shares = {name: curve for name, curve in whole[1]["curves"].items() if name.startswith("share/")}
    assert shares["share/diff"]["step"] == [0, 7, 14]
    assert sum(curve["value"][0] for curve in shares.values()) == pytest.approx(1)


def test_a_watch_sees_every_step_and_changes_nothing(store, whole, tmp_path):
    seen = []
    train(TINY, store, tmp_path / "run", progress=False, watch=lambda run: seen.append(run.step))
    assert seen == list(range(TINY.steps + 1))
    assert same_run(tmp_path / "run", whole[0])


def test_the_sampler_decides_what_a_run_sees(store, tmp_path):
    losses = [
        train(replace(TINY, steps=2, data_sampler=name), store, tmp_path / name, progress=False)["curves"]
        for name in ("shuffled", "balanced")
    ]
    assert losses[0]["training/total"] != losses[1]["training/total"]


def test_a_set_without_a_validation_subject_trains_and_the_record_says_so(tmp_path):
    recorded = recorded_store(tmp_path / "store")
    record = train(replace(TINY, evaluation=4), recorded, tmp_path / "run", progress=False)
    assert any("no validation subject" in note for note in record["notes"])
    assert not [name for name in (*record["metrics"], *record["curves"]) if "validation" in name]
    assert record["data"]["validation_samples"] == 0
    assert {"loss/training/total", "share/diff"} <= set(record["metrics"])


def test_a_run_from_before_a_setting_existed_goes_on(store, whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole[0], out)
    run = json.loads((out / "run.json").read_text())
    for name in ("epochs", "data_sampler", "windows"):
        del run["config"][name]
    del run["config"]["denoiser"]["groups"]
    (out / "run.json").write_text(json.dumps(run))
    train(TINY, store, out, resume=True, progress=False)
    with pytest.raises(ConfigError, match=r"another config\.data_sampler\."):
        train(replace(TINY, data_sampler="balanced"), store, out, resume=True, progress=False)


# --- what a run leaves -----------------------------------------------------------------------------------------------


def test_the_record_says_what_was_done(store, whole):
    out, record = whole
    assert records.load(out / "record.json") == record
    assert record["config"]["denoiser"]["width"] == 16 and record["config"]["vertices"] == 10
    assert record["sameness"] == "bitwise" and "EMA" in record["rule"]
    assert record["data"]["fingerprint"] == store.fingerprint
    assert record["checkpoint_sha256"] == records.file_hash(out / "denoiser" / "model.safetensors")
    assert record["curves"]["training/diff"]["step"] == [3, 6, 9, 12, 14]
    assert record["curves"]["validation/total"]["step"] == [7, 14]
    assert records.value(record, "metrics.loss/validation/total") == record["curves"]["validation/total"]["value"][-1]
    assert len(checkpoints.found(out / "checkpoints")) == 2


def test_the_folder_holds_the_averaged_weights_and_exports_at_half_the_size(whole, tmp_path):
    out, _ = whole
    average = checkpoints.latest(out / "checkpoints")["average"]
    loaded = Denoiser.from_pretrained(out / "denoiser")
    assert all(torch.equal(v, average[k]) for k, v in loaded.state_dict().items())
    assert not all(torch.equal(v, checkpoints.latest(out / "checkpoints")["model"][k]) for k, v in average.items())
    small = export(out, tmp_path / "small")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (small, out / "denoiser")]
    assert sizes[0] < 0.7 * sizes[1]
    assert records.load(small / "record.json") == whole[1]
    for name, value in Denoiser.from_pretrained(small).state_dict().items():
        assert value.dtype == torch.float32 and torch.allclose(value, average[name], rtol=2e-3, atol=1e-4)


def test_tensorboard_gets_raw_and_weighted_terms(store, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(replace(TINY, steps=3, tensorboard=True), store, tmp_path / "run", progress=False)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"training/rec", "training/rec weighted", "training/total", "rate"} <= set(events.Tags()["scalars"])
    raw, weighted = (events.Scalars(name)[0].value for name in ("training/rec", "training/rec weighted"))
    assert weighted == pytest.approx(20 * raw, rel=1e-5)


def test_a_run_does_without_tensorboard(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.warns(UserWarning, match="TensorBoard is not installed"):
        record = train(replace(TINY, steps=3, tensorboard=True), store, tmp_path / "run", progress=False)
    assert record["curves"]["training/total"]["step"] == [3]


# --- settings --------------------------------------------------------------------------------------------------------


def test_settings_are_read_from_text_by_the_type_of_their_field():
    settings = {
        "steps": "7",
        "lr": "1e-3",
        "width": "32",
        "denoiser.blocks": "1",
        "weights.acc": "0",
        "tensorboard": "no",
    }
    config = config_for("recommended", profiles.get("laptop"), settings)
    assert (config.steps, config.lr, config.denoiser.width, config.denoiser.blocks) == (7, 1e-3, 32, 1)
    assert config.weights == {"acc": 0.0} and config.tensorboard is False
    assert config.batch == 32 and config.vertices == 78 and config.profile == "laptop"


def test_no_setting_of_the_training_hides_one_of_the_network():
    of_training, of_network = ({f.name for f in fields(kind)} for kind in (TrainConfig, DenoiserConfig))
    assert not of_training & of_network


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"step": "7"}, "Did you mean 'steps'"),
        ({"weights.rek": "1"}, "Did you mean 'rec'"),
        ({"steps": "many"}, "expected a value like"),
        ({"tensorboard": "perhaps"}, "expected a value like"),
        ({"batch": "0"}, "at least 1"),
        ({"batch": "32", "accumulation": "5"}, "equal shares"),
        ({"precision": "fp8"}, "fp32 or bf16"),
        ({"ema": "1.0"}, "ema < 1"),
        ({"epochs": "-1"}, "epochs -1.0: expected a number above 0"),
        ({"epochs": "inf"}, "epochs inf"),
        ({"epochs": "2", "steps": "9"}, "steps and epochs both say when a run ends"),
        ({"data_sampler": "balance"}, "expected shuffled or balanced"),
        ({"windows": "random"}, "expected first or tiled"),
        ({"denoiser.steps": "3"}, "no setting"),
    ],
)
def test_a_wrong_setting_is_named(settings, word):
    with pytest.raises(ConfigError, match=word):
        config_for("recommended", profiles.get("smoke"), settings)


def test_wider_networks_learn_more_slowly():
    rates = [config_for("recommended", profiles.get(name)).lr for name in ("smoke", "laptop", "full")]
    assert rates == [1e-3, 1e-3, 2.5e-4]


@pytest.mark.parametrize(
    ("preset", "epochs"), [(paper_arctic, 100), (paper_grab, 100), (paper_h2o, 200)], ids=["arctic", "grab", "h2o"]
)
def test_the_presets_of_the_real_sets_are_the_papers_training(preset, epochs):
    config = preset()
    assert (config.epochs, config.batch, config.lr, config.weight_decay) == (epochs, 32, 1e-4, 0.01)
    assert (config.ema, config.clip, config.data_sampler) == (0, 0, "balanced")
    assert {rate(replace(config, steps=500), step) for step in (0, 1, 250, 500)} == {1.0}  # no schedule
    assert config.denoiser == for_profile(profiles.get("full"), paper) and config.denoiser.width == 512
    assert (config.vertices, config.loss_points, config.stride) == (778, 1024, 1)


def test_a_real_sets_preset_takes_sizes_from_the_profile_and_everything_from_settings():
    config = config_for("paper_h2o", profiles.get("smoke"), {"steps": "20", "batch": "4"})
    assert config.denoiser == for_profile(profiles.get("smoke"), paper)
    assert (config.steps, config.epochs, config.batch, config.lr) == (20, 0, 4, 1e-4)
    assert config_for("paper_h2o", profiles.get("smoke"), {"epochs": "7.5"}).epochs == 7.5


def test_an_unknown_preset_is_named():
    with pytest.raises(ConfigError, match="Did you mean 'recommended'"):
        config_for("recomended", profiles.get("smoke"))


def test_the_config_survives_json(whole):
    stored = json.loads((whole[0] / "run.json").read_text())["config"]
    assert stored["denoiser"]["width"] == 16 and stored["weights"] == {}


# --- planted bugs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forgotten", ["optimizer", "average", "window"])
def test_a_checkpoint_that_forgets_something_is_caught(store, whole, tmp_path, monkeypatch, forgotten):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        at_step(patch, 7, lambda: os.kill(os.getpid(), signal.SIGINT))
        train(TINY, store, tmp_path / "run", progress=False)
    restore = Trainer.restore

    def forgetful(self):
        fresh = {
            "optimizer": self.optimizer.state_dict(),
            "average": {k: v.clone() for k, v in self.average.denoiser.state_dict().items()},
            "window": {},
        }
        restore(self)
        if forgotten == "window":
            self.window = {}
        elif forgotten == "average":
            self.average.denoiser.load_state_dict(fresh["average"])
        else:
            self.optimizer.load_state_dict(fresh["optimizer"])

    monkeypatch.setattr(Trainer, "restore", forgetful)
    train(TINY, store, tmp_path / "run", resume=True, progress=False)
    with pytest.raises(AssertionError):
        same_run(tmp_path / "run", whole[0])


def test_random_numbers_that_depend_on_the_process_are_caught(store, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(
        training.Feed,
        "draw",
        lambda self, step, n, frames, levels: (torch.randint(levels, (n,)), torch.randn(n, frames, 99)),
    )
    train(TINY, store, tmp_path / "run", progress=False)
    with pytest.raises(AssertionError):
        same_run(tmp_path / "run", whole[0])
