"""The evaluator, held against motions whose scores are known: the truth, the truth moved, the truth shaken."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_store import recorded_store, tiny_store, use_word_hashes

from hoi_lib import evaluate as evaluation
from hoi_lib import metrics, records
from hoi_lib.data.samples import SampleSet
from hoi_lib.denoiser import Denoiser, hollow
from hoi_lib.errors import CheckpointError, ConfigError, StoreError
from hoi_lib.evaluate import evaluate, format_table, mean_hands, weights_hash
from hoi_lib.hand import load_hand
from hoi_lib.losses import posed_hands
from hoi_lib.motion import collate, pack_pose, unpack_pose, world_to_object

NETWORK = hollow(width=16, blocks=1, heads=2, points=16, point_width=8)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny_store(tmp_path_factory.mktemp("evaluate") / "store", clips=6)


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(0)
    return Denoiser(NETWORK).eval()


@pytest.fixture(autouse=True)
def no_language_model(monkeypatch):
    use_word_hashes(monkeypatch.setattr)


def scores_of(monkeypatch, store, denoiser, motion, **options):
    """Metrics of an evaluation whose model returns ``motion(batch)``."""
    monkeypatch.setattr(evaluation, "sample_batch", lambda _, batch, *rest: motion(batch))
    record = evaluate(denoiser, store, **{"split": "train", "steps": 2, "progress": False} | options)
    return {name: entry["value"] for name, entry in record["metrics"].items()}


def truth(batch):
    return batch.pose


def moved(batch):
    return torch.cat([batch.pose[..., :1] + 0.01, batch.pose[..., 1:]], -1)


def shaken(batch):
    noise = torch.randn(batch.pose.shape[:2] + (3,), generator=torch.Generator().manual_seed(0))
    return torch.cat([batch.pose[..., :3] + 0.001 * noise, batch.pose[..., 3:]], -1)


def spoilt_padding(batch):
    return torch.where(batch.valid[..., None], batch.pose, batch.pose + 5.0)


# --- what is measured ------------------------------------------------------------------------------------------------


def test_the_truth_has_no_error_and_its_own_contact(store, denoiser, monkeypatch):
    found = scores_of(monkeypatch, store, denoiser, truth)
    assert found["mpjpe"] == found["mpvpe"] == found["mpjpe_root"] == 0
    assert found["pskl_real_generated"] == found["pskl_generated_real"] == 0
    for name in evaluation.OF_TRUTH:
        assert found[name] == found[f"truth/{name}"]
    assert found["cr"] < found["cr_contact"]  # the approach is part of the clip and not of the contact phase
    assert found["cr_1024"] < found["cr"]  # sampled points miss touches


def test_one_centimetre_of_shift_costs_ten_millimetres(store, denoiser, monkeypatch):
    found = scores_of(monkeypatch, store, denoiser, moved)
    assert found["mpjpe"] == pytest.approx(10, abs=1e-4) and found["mpvpe"] == pytest.approx(10, abs=1e-4)
    assert found["mpjpe_root"] == pytest.approx(0, abs=1e-4)
    assert found["pskl_real_generated"] < 1e-3


def test_shaking_shows_in_the_spectra_and_hardly_in_the_position(store, denoiser, monkeypatch):
    found = scores_of(monkeypatch, store, denoiser, shaken)
    assert found["pskl_real_generated"] > 0.1 and found["pskl_generated_real"] > 0.1
    assert found["mpjpe"] < 3


def test_padding_counts_nowhere(store, denoiser, monkeypatch):
    assert scores_of(monkeypatch, store, denoiser, spoilt_padding) == scores_of(monkeypatch, store, denoiser, truth)


def test_numbers_agree_with_a_plain_loop_over_clips(store, denoiser, monkeypatch):
    found = scores_of(monkeypatch, store, denoiser, moved)
    hands = {side: load_hand(side) for side in ("left", "right")}
    near, deep, n, by_verb = 0, 0, 0, {}
    for sample in (SampleSet(store.subset("train"))[i] for i in range(len(SampleSet(store.subset("train"))))):
        batch = collate([sample])
        vertices = posed_hands(moved(batch), batch.betas, batch.side, hands)[1][0].double()
        transl, rotation = batch.object_pose[0, :, :3].double(), evaluation._track(sample).rotation
        local = (vertices - transl[:, None]).numpy() @ rotation
        signed = store.object(sample.object_name).signed_distance(local)
        touching, inside = np.abs(signed).min(1) <= 0.005, signed.min(1) < -0.01
        near, deep, n = near + touching.sum(), deep + inside.sum(), n + len(signed)
        by_verb.setdefault(sample.verb, []).extend(touching)
    assert found["cr"] == pytest.approx(near / n) and found["pen"] == pytest.approx(deep / n)
    for verb, touching in by_verb.items():
        assert found[f"verb/{verb}/cr"] == pytest.approx(np.mean(touching))


# --- baselines -------------------------------------------------------------------------------------------------------


def test_the_mean_hand_rests_in_its_frame_and_is_a_pose(store):
    known = SampleSet(store.subset("train"))
    samples = [known[i] for i in range(len(known))]
    baselines = mean_hands(store.subset("train"), samples)
    for sample, carried, still in zip(samples, baselines["mean_object/"], baselines["mean_world/"], strict=True):
        batch = collate([replace(sample, pose=carried)])
        local = world_to_object(batch.pose, batch.object_pose, batch.wrist_rest)[0]
        assert torch.allclose(local, local[:1].expand_as(local), atol=1e-5)
        assert torch.equal(still, still[:1].expand_as(still))
        assert torch.allclose(pack_pose(*unpack_pose(still)), still, atol=1e-6)
    right = [s for s in samples if s.side == 1]
    mean = torch.cat([s.pose for s in right])[:, :3].mean(0)
    number = next(i for i, s in enumerate(samples) if s.side == 1)
    assert torch.allclose(baselines["mean_world/"][number][0, :3], mean, atol=1e-5)


def test_a_side_that_training_never_shows_takes_the_other_ones_mean(store):
    train = store.subset("train").where(lambda row: "left" not in row["hands"])
    samples = [SampleSet(store)[i] for i in range(2)]
    assert {s.side for s in samples} == {0, 1}
    left, right = mean_hands(train, samples)["mean_world/"]
    assert torch.isfinite(left).all() and torch.allclose(left[0], right[0])


# --- the record ------------------------------------------------------------------------------------------------------


def test_seeds_give_a_mean_with_its_spread(store, denoiser, tmp_path):
    options = {"split": "test", "steps": 2, "progress": False}
    both = evaluate(denoiser, store, seed=[0, 1], out=tmp_path / "both.json", **options)
    assert records.load(tmp_path / "both.json") == both
    single = [evaluate(denoiser, store, seed=s, **options) for s in (0, 1)]
    values = [records.value(r, "metrics.mpjpe") for r in single]
    assert values[0] != values[1]
    assert records.value(both, "metrics.mpjpe") == pytest.approx(np.mean(values))
    assert records.value(both, "metrics.mpjpe.spread") == pytest.approx(np.std(values, ddof=1))
    assert single[0]["metrics"]["mpjpe"]["spread"] is None and "one seed" in single[0]["notes"][0]


def test_the_same_seed_gives_the_same_record(store, denoiser):
    runs = [evaluate(denoiser, store, steps=2, progress=False)["metrics"] for _ in range(2)]
    assert runs[0] == runs[1]


def test_the_record_counts_what_was_measured(store, denoiser):
    record = evaluate(denoiser, store, "train", steps=2, limit=3, progress=False)
    lengths = [len(s.pose) for s in evaluation.chosen_samples(store, "train", 16, 3)]
    assert record["data"]["samples"] == 3 and record["metrics"]["cr"]["n"] == sum(lengths)
    assert record["metrics"]["pskl_real_generated"]["n"] == 3
    assert record["metrics"]["mpjpe"]["unit"] == "mm" and record["metrics"]["cr"]["unit"] == ""
    assert record["checkpoint_sha256"] == weights_hash(denoiser)
    everything = evaluation.chosen_samples(store, "train", 16)
    assert len(evaluation.chosen_samples(store, "train", 16, 10_000)) == len(everything)


def test_a_saved_run_scores_like_the_denoiser_it_came_from(store, denoiser, tmp_path):
    denoiser.save_pretrained(tmp_path / "run" / "denoiser")
    here = evaluate(denoiser, store, steps=2, progress=False)
    saved = evaluate(tmp_path / "run", store, steps=2, progress=False)
    assert here["metrics"] == saved["metrics"]
    assert saved["checkpoint_sha256"] == records.file_hash(tmp_path / "run" / "denoiser" / "model.safetensors")


def test_the_table_shows_model_truth_and_baselines(store, denoiser, monkeypatch):
    monkeypatch.setattr(evaluation, "sample_batch", lambda _, batch, *rest: moved(batch))
    record = evaluate(denoiser, store, "train", steps=2, progress=False)
    lines = format_table(record).splitlines()
    assert all(word in lines[0] for word in ("model", "truth", "mean hand, object", "mean hand, world"))
    row = next(line for line in lines if line.startswith("MPJPE ↓"))
    assert "10.0 mm" in row and "–" in row
    assert any(line.startswith("pour") for line in lines)
    assert len({len(line) for line in lines[:4]}) == 1


def test_what_cannot_be_evaluated_is_named(store, denoiser, tmp_path):
    with pytest.raises(StoreError, match="no hand in the split 'test'"):
        evaluate(denoiser, store.subset("train"), "test", progress=False)
    with pytest.raises(ConfigError, match="no split is called 'exam'"):
        evaluate(denoiser, store, "exam", progress=False)
    with pytest.raises(ConfigError, match="limit 0"):
        evaluate(denoiser, store, limit=0, progress=False)
    with pytest.raises(CheckpointError):
        evaluate(tmp_path, store, progress=False)
    assert list(Path(tmp_path).iterdir()) == []


# --- recorded sets ---------------------------------------------------------------------------------------------------


def test_without_labels_the_contact_phase_is_left_out_and_nothing_else(tmp_path, store, denoiser):
    options = {"split": "test", "steps": 2, "progress": False}
    labelled = evaluate(denoiser, store, **options)["metrics"]
    record = evaluate(denoiser, recorded_store(tmp_path / "store", clips=6), **options)
    assert set(labelled) - set(record["metrics"]) == {name for name in labelled if name.endswith("_contact")} != set()
    lines = format_table(record).splitlines()
    assert any(line.startswith("CR ↑") for line in lines) and not any("contact phase" in line for line in lines)


def test_an_empty_validation_split_says_what_to_do_instead(tmp_path, denoiser):
    recorded = recorded_store(tmp_path / "store")
    with pytest.raises(StoreError, match="no hand in the split 'val'") as caught:
        evaluate(denoiser, recorded, "val", progress=False)
    assert "Measure --split test" in caught.value.mend and "--val s05" in caught.value.mend


def test_windows_are_the_first_150_frames_and_tiled_ones_measure_what_lies_beyond(denoiser, tmp_path):
    long = tiny_store(tmp_path / "long", clips=2, change=lambda clip: stretched(clip, 200))
    options = {"split": "train", "steps": 2, "progress": False}
    first, tiled = (evaluate(denoiser, long, windows=w, **options) for w in ("first", "tiled"))
    hands = first["data"]["samples"]
    assert first["metrics"]["cr"]["n"] == 150 * hands and first["config"]["windows"] == "first"
    assert tiled["metrics"]["cr"]["n"] == 200 * hands and tiled["data"]["samples"] == 2 * hands
    assert tiled["data"]["clips"] == first["data"]["clips"]


def stretched(clip, frames):
    """The clip with its last frame held up to ``frames``."""

    def held(x):
        return np.concatenate([x, np.repeat(x[-1:], frames - len(x), 0)])

    hands = {
        side: replace(hand, transl=held(hand.transl), rotations=held(hand.rotations), valid=held(hand.valid))
        for side, hand in clip.hands.items()
    }
    moved = replace(clip.object, transl=held(clip.object.transl), rotation=held(clip.object.rotation))
    return replace(clip, hands=hands, object=moved, labels=None)


# --- planted bugs ----------------------------------------------------------------------------------------------------

RIGHT = {"contact_ratio": metrics.contact_ratio, "mpjpe": metrics.mpjpe, "pskl_j": metrics.pskl_j}


@pytest.mark.parametrize(
    ("attribute", "broken", "check"),
    [
        ("mpjpe", lambda *a, **k: RIGHT["mpjpe"](*a, **k) / 1000, test_one_centimetre_of_shift_costs_ten_millimetres),
        (
            "contact_ratio",
            lambda distance, valid: RIGHT["contact_ratio"](1000 * distance, valid),
            test_numbers_agree_with_a_plain_loop_over_clips,
        ),
        (
            "contact_ratio",
            lambda distance, valid: RIGHT["contact_ratio"](distance, np.ones_like(valid)),
            test_numbers_agree_with_a_plain_loop_over_clips,
        ),
        (
            "mpjpe",
            lambda made, real, valid, root=None: RIGHT["mpjpe"](made, real, valid, root=0),
            test_one_centimetre_of_shift_costs_ten_millimetres,
        ),
    ],
)
def test_classic_bugs_turn_a_check_red(store, denoiser, monkeypatch, attribute, broken, check):
    monkeypatch.setattr(metrics, attribute, broken)
    with pytest.raises(AssertionError):
        check(store, denoiser, monkeypatch)


def test_swapped_directions_are_caught(store, denoiser, monkeypatch):
    monkeypatch.setattr(metrics, "pskl_j", lambda *a, **k: RIGHT["pskl_j"](*a, **k)[::-1])
    swapped = scores_of(monkeypatch, store, denoiser, shaken)
    monkeypatch.setattr(metrics, "pskl_j", RIGHT["pskl_j"])
    right = scores_of(monkeypatch, store, denoiser, shaken)
    assert swapped["pskl_real_generated"] == right["pskl_generated_real"] != right["pskl_real_generated"]
    assert right["pskl_generated_real"] > right["pskl_real_generated"]  # what shakes, the truth finds less surprising
