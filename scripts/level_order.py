"""Measure the shipped network when its expert groups hear the wrong texts, for the chapter on text refinement.

    python scripts/level_order.py [--out book/records] [--hands 0] [--seeds 5]

Three records of the same recorded hands of the validation subject, the same noise and the same weights: the texts in
order, the three levels rotated, and the texts of another verb. Everything else that the network is told stays right.
Needs ``data/laptop`` (``hoi data build synthetic --profile laptop``); about half an hour on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from hoi_lib import data, records
from hoi_lib.encoders import load_encoder
from hoi_lib.evaluate import LABELS, UNITS, Judge, chosen_samples, weights_hash
from hoi_lib.feed import generator
from hoi_lib.motion import collate
from hoi_lib.refiner import refine
from hoi_lib.refinerstudy import of_another_verb, rotated
from hoi_lib.runs import data_of
from hoi_lib.sampling import SHIPPED, load_denoiser, sample_batch

ROOT = Path(__file__).resolve().parents[1]
BATCH, SPLIT = 32, "val"
HEARD = {
    "levels_in_order": (refine, "each group hears its own level"),
    "levels_rotated": (rotated(refine), "hand hears finger, finger hears joint, joint hears hand"),
    "levels_of_another_verb": (of_another_verb(refine), "each group hears its own level, of a verb six further down"),
}


def motions(denoiser, samples, seed: int) -> list[torch.Tensor]:
    """One world pose (L, 99) per sample, in the batches and from the noise of ``hoi evaluate``."""
    encoder, by_length = (
        load_encoder(denoiser.config.encoder),
        sorted(range(len(samples)), key=lambda i: len(samples[i].pose)),
    )
    poses = {}
    for number, start in enumerate(range(0, len(samples), BATCH)):
        chosen = by_length[start : start + BATCH]
        made = sample_batch(denoiser, collate([samples[i] for i in chosen]), encoder, None, generator(seed, 2, number))
        poses |= {i: pose[: len(samples[i].pose)] for i, pose in zip(chosen, made, strict=True)}
    return [poses[i] for i in range(len(samples))]


def tables(found: dict[str, list], reference: dict[str, list]) -> tuple[dict, dict]:
    """Metrics and curves over the seeds; "difference/…" is what a seed's value adds to that of the same seed in order.

    ``found`` and ``reference`` map a metric to one score per seed.
    """
    metrics, curves = {}, {}
    for name, scores in found.items():
        values = np.array([score.value for score in scores])
        apart = values - [score.value for score in reference[name]]
        for key, series in ((name, values), *([(f"difference/{name}", apart)] if found is not reference else [])):
            spread = float(series.std(ddof=1)) if len(series) > 1 else None
            metrics[key] = records.metric(series.mean(), scores[0].n, UNITS.get(name, ""), spread)
            curves[f"{key}/seeds"] = {"step": list(range(len(series))), "value": series.tolist()}
    return metrics, curves


def main() -> None:
    """Write the three records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "book" / "records")
    parser.add_argument("--hands", type=int, default=0, help="spread over the split; 0 takes all")
    parser.add_argument("--seeds", type=int, default=5)
    wanted = parser.parse_args()
    denoiser, store, seeds = load_denoiser(), data.load(ROOT / "data" / "laptop"), list(range(wanted.seeds))
    samples = chosen_samples(store, SPLIT, denoiser.config.points, wanted.hands or None, denoiser.config.betas)
    judge, found = Judge(samples, store, progress=False), {arm: {} for arm in HEARD}
    clips, seconds = len({sample.clip_name for sample in samples}), dict.fromkeys(HEARD, 0.0)
    for seed in seeds:
        for arm, (refiner, _) in HEARD.items():
            start, denoiser.refiner = perf_counter(), refiner
            scores = judge.scores(judge.measure(motions(denoiser, samples, seed), arm))
            seconds[arm] += perf_counter() - start
            for name in set(LABELS) & set(scores):
                found[arm].setdefault(name, []).append(scores[name])
            print(seed, arm, {name: round(scores[name].value, 4) for name in ("cr", "pen", "mpjpe")}, flush=True)
    for arm, (_, told) in HEARD.items():
        metrics, curves = tables(found[arm], found["levels_in_order"])
        record = records.new(
            arm,
            config={"split": SPLIT, "heard": told, "steps": denoiser.config.sampling_steps, "batch": BATCH},
            seeds=seeds,
            data=data_of(store) | {"split": SPLIT, "clips": clips, "samples": len(samples)},
            metrics={name: metrics[name] for name in sorted(metrics)},
            curves={name: curves[name] for name in sorted(curves)},
            wall_time_s=seconds[arm],
            sameness="close",
            checkpoint=weights_hash(SHIPPED),
            notes=[
                f"{told}; caption and verb stay right",
                "spread: standard deviation over seeds; difference: from the same hands and noise with texts in order",
            ],
        )
        records.write(record, wanted.out / f"{arm}.json")


if __name__ == "__main__":
    main()
