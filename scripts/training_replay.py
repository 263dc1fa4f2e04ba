"""Train a small network, keep its weights at a few steps, and sample the same noise with each, for chapter 15.

    python scripts/training_replay.py [--data data/laptop] [--out runs/replay]

Half an hour on one thread. It may be stopped at any moment and started again: it goes on where it was. Writes
``book/records/training_replay.json`` and ``book/assets/training_replay.npz``, the motions of two validation clips.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from hoi_lib import data, profiles, records
from hoi_lib.encoders import load_encoder
from hoi_lib.evaluate import Judge, chosen_samples, weights_hash
from hoi_lib.motion import collate
from hoi_lib.runs import data_of
from hoi_lib.sampling import load_denoiser, sample_batch
from hoi_lib.train import Trainer, config_for, train
from hoi_lib.training_figures import packed

ROOT = Path(__file__).resolve().parents[1]
STEPS = (0, 10, 30, 100, 200, 400, 700, 1200, 2400)
SETTINGS = {"width": "64", "blocks": "3", "batch": "16", "loss_points": "128", "steps": str(STEPS[-1]), "threads": "1"}
QUIET = {"checkpoint_every": "100", "validate_every": "200", "evaluation": "0", "tensorboard": "false"}
HANDS, SEED, BATCH = 15, 0, 15
KEPT = {"mpjpe": "mm", "cr_contact": "", "pen_contact": "", "pskl_real_generated": "nats"}
SHOWN = ("squeeze", "pour")  # verbs; a squeeze is the first hand of the validation subject


def snapshots(folder: Path):
    """A watch for :func:`train` that validates and stores the averaged weights at each of ``STEPS``."""

    def watch(trainer: Trainer) -> None:
        if trainer.step in STEPS:
            if trainer.step not in trainer.curves.get("validation/total", {"step": []})["step"]:
                trainer.validate()
            trainer.average.denoiser.save_pretrained(folder / f"{trainer.step:06d}")

    return watch


def motions(weights: Path, samples: list) -> list[torch.Tensor]:
    """One world pose (L, 99) per sample, always from the same noise."""
    denoiser, made = load_denoiser(weights), []
    encoder = load_encoder(denoiser.config.encoder)
    for start in range(0, len(samples), BATCH):
        batch = collate(samples[start : start + BATCH])
        poses = sample_batch(denoiser, batch, encoder, generator=torch.Generator().manual_seed(SEED + start))
        made += [pose[: len(s.pose)] for pose, s in zip(poses, samples[start:], strict=False)]
    return made


def shown(samples: list) -> list[int]:
    """Which of the samples the asset keeps: the first of each verb of ``SHOWN``."""
    return [next(i for i, s in enumerate(samples) if s.verb == verb) for verb in SHOWN]


def write_asset(path: Path, samples: list, poses: dict[int, list[torch.Tensor]]) -> None:
    """Everything that :class:`hoi_lib.training_figures.Replay` draws."""
    arrays = {"steps": np.array(list(poses))}
    for row in shown(samples):
        sample, small = samples[row], {}
        for name, pose in ({"truth": sample.pose} | {str(step): made[row] for step, made in poses.items()}).items():
            small[name] = packed(pose.numpy())
        small |= {"betas": sample.betas.numpy(), "object_pose": sample.object_pose.numpy(), "side": sample.side}
        small |= {"contact": sample.contact.numpy(), "object": sample.object_name, "caption": sample.caption}
        arrays |= {f"{sample.verb}/{name}": np.asarray(array) for name, array in small.items()}
    np.savez_compressed(path, **arrays)


def main() -> None:
    """Train, sample, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=ROOT / "data" / "laptop", type=Path)
    parser.add_argument("--out", default=ROOT / "runs" / "replay", type=Path)
    wanted = parser.parse_args()
    store, kept = data.load(wanted.data), wanted.out.with_name(wanted.out.name + "_snapshots")
    config = config_for("recommended", profiles.get("laptop"), SETTINGS | QUIET)
    run = train(config, store, wanted.out, resume=True, watch=snapshots(kept))

    torch.set_num_threads(1)
    samples = chosen_samples(store, "val", config.denoiser.points, HANDS)
    judge, curves, poses = Judge(samples, store, progress=False), dict(run["curves"]), {}
    metrics = {name: run["metrics"][name] for name in ("loss/training/total", "loss/validation/total")}
    for step in STEPS:
        poses[step] = motions(kept / f"{step:06d}", samples)
        found = judge.scores(judge.measure(poses[step], "replay"))
        print(step, {name: round(found[name].value, 4) for name in KEPT}, flush=True)
        for name, unit in KEPT.items():
            curve = curves.setdefault(f"replay/{name}", {"step": [], "value": []})
            curve["step"].append(step)
            curve["value"].append(found[name].value)
            metrics[f"{name}/{step}"] = records.metric(found[name].value, found[name].n, unit)
    write_asset(ROOT / "book" / "assets" / "training_replay.npz", samples, poses)
    record = records.new(
        "training replay, validation",
        config=run["config"] | {"snapshots": list(STEPS), "hands": HANDS},
        seeds=[config.seed],
        data=data_of(store) | {"split": "val", "samples": len(samples)},
        metrics=metrics,
        curves=curves,
        wall_time_s=run["wall_time_s"],
        sameness="close",
        checkpoint=weights_hash(kept / f"{STEPS[-1]:06d}"),
        rule=run["rule"],
        notes=[
            "one seed; averaged weights; every snapshot samples from the same noise",
            "a network of width 64 with 3 blocks, not the one that ships",
            "wall time of the training alone, on a machine with other work",
        ],
    )
    records.write(record, ROOT / "book" / "records" / "training_replay.json")


if __name__ == "__main__":
    main()
