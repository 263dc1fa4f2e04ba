"""Measure the shipped network on recorded hands with few and many calls, for the curve of the chapter on sampling.

    python scripts/sampling_steps.py [--hands 60] [--out book/records/laptop_calls.json]

Every setting starts from the same noise. Needs ``data/laptop`` (``hoi data build synthetic --profile laptop``); about
three minutes on a quiet core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

import torch

from hoi_lib import data, records
from hoi_lib.diffusion import Schedule, sample_ddim
from hoi_lib.encoders import load_encoder
from hoi_lib.evaluate import Judge, chosen_samples, weights_hash
from hoi_lib.motion import collate
from hoi_lib.runs import data_of
from hoi_lib.sampling import SHIPPED, load_denoiser, planned

ROOT = Path(__file__).resolve().parents[1]
CALLS = {0.0: (1, 2, 3, 5, 10, 20, 50), 1.0: (2, 5, 10, 20, 50)}  # by η
KEPT = {"cr_contact": "", "cr_clean_contact": "", "pen": "", "mpjpe": "mm", "pskl_real_generated": "nats"}
BATCH, SEED = 30, 0


@torch.no_grad()
def motions(denoiser, samples, calls: int, eta: float) -> list[torch.Tensor]:
    """One world pose (L, 99) per sample; the noise of a sample does not depend on ``calls`` or ``eta``."""
    encoder, schedule = load_encoder(denoiser.config.encoder), Schedule.of(denoiser.config.schedule)
    by_length = sorted(range(len(samples)), key=lambda i: len(samples[i].pose))
    poses = {}
    for start in range(0, len(samples), BATCH):
        chosen = by_length[start : start + BATCH]
        batch = collate([samples[i] for i in chosen])
        random = torch.Generator().manual_seed(1000 * SEED + start)
        noise = torch.randn(batch.pose.shape, generator=random)
        denoise = planned(denoiser, batch, encoder, schedule.spaced(calls))
        x0 = sample_ddim(denoise, noise, schedule, calls, eta, generator=random)
        made = denoiser.to_world(x0, batch)
        poses |= {i: pose[: len(samples[i].pose)] for i, pose in zip(chosen, made, strict=True)}
    return [poses[i] for i in range(len(samples))]


def main() -> None:
    """Write the record: a curve over the number of calls for each metric and η."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hands", type=int, default=60)
    parser.add_argument("--out", default="book/records/laptop_calls.json")
    wanted = parser.parse_args()
    start, denoiser, store = perf_counter(), load_denoiser(), data.load(ROOT / "data" / "laptop")
    samples = chosen_samples(store, "test", denoiser.config.points, wanted.hands)
    judge, curves, metrics = Judge(samples, store, progress=False), {}, {}
    for eta, counts in CALLS.items():
        for calls in counts:
            found = judge.scores(judge.measure(motions(denoiser, samples, calls, eta), "calls"))
            print(eta, calls, {name: round(found[name].value, 4) for name in KEPT}, flush=True)
            for name, unit in KEPT.items():
                curve = curves.setdefault(f"{name}/eta_{eta:.0f}", {"step": [], "value": []})
                curve["step"].append(calls)
                curve["value"].append(found[name].value)
                metrics[f"{name}/eta_{eta:.0f}/{calls}"] = records.metric(found[name].value, found[name].n, unit)
    record = records.new(
        "calls of the shipped network, test",
        config={"split": "test", "sampler": "ddim", "spacing": "t", "limit": wanted.hands, "batch": BATCH},
        seeds=[SEED],
        data=data_of(store) | {"split": "test", "samples": len(samples)},
        metrics=metrics,
        curves=curves,
        wall_time_s=perf_counter() - start,
        sameness="close",
        checkpoint=weights_hash(SHIPPED),
        notes=["one seed; every number of calls starts from the same noise"],
    )
    records.write(record, wanted.out)


if __name__ == "__main__":
    main()
