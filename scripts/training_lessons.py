"""Short runs for chapter 15: one that is right, three with a planted bug, and what a step costs at four batch sizes.

    python scripts/training_lessons.py [--data data/laptop] [--only bugs|cost]

Ten minutes on one thread. Writes ``book/records/planted_curves.json`` and ``book/records/step_cost.json``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time

import torch
from accelerate import Accelerator

from hoi_lib import data, profiles, records
from hoi_lib.costs import step_cost
from hoi_lib.routing import ActionNoiseRouter
from hoi_lib.runs import data_of
from hoi_lib.train import Trainer, config_for, train

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {
    "steps": "250",
    "frames": "40",
    "warmup": "20",
    "ema": "0.98",
    "threads": "1",
    "log_every": "10",
    "validate_every": "20",
    "evaluation": "0",
    "tensorboard": "false",
}
KEPT = ("training/total", "training/diff", "training/balance", "validation/total", "validation/diff", "routing/hand")
BATCHES, ROUNDS, FRAMES = (4, 8, 16, 32), 12, 60  # no clip is shorter: batches of every size hold equally long ones


def detached_router(run: Trainer) -> None:
    """No gradient reaches a router."""
    for module in run.model.modules():
        if isinstance(module, ActionNoiseRouter):
            module.requires_grad_(False)


def still_average(run: Trainer) -> None:
    """The running average stays at the initial weights."""
    run._average = lambda: None


def one_batch(run: Trainer) -> None:
    """Every step sees the samples, the levels and the noise of step 0."""
    run._share = lambda share, first=run._share: at_step(run, 0, first, share)


BUGS = {
    "right": lambda run: None,
    "router": detached_router,
    "average": still_average,
    "batch": one_batch,
}


def at_step(run: Trainer, step: int, call, *words):
    """What ``call`` gives when the run believes that it is at ``step``."""
    run.step, here = step, run.step
    try:
        return call(*words)
    finally:
        run.step = here


def planted(store, seed: int = 0) -> records.Record:
    """Train once for each of :data:`BUGS`, and keep the curves."""
    config, curves, metrics, start = config_for("recommended", profiles.get("smoke"), SETTINGS), {}, {}, perf_counter()
    for name, plant in BUGS.items():

        def watch(run: Trainer, plant=plant) -> None:
            if run.step == 0:
                plant(run)
                run.validate()

        with tempfile.TemporaryDirectory() as folder:
            run = train(replace(config, seed=seed), store, Path(folder) / "run", progress=False, watch=watch)
        curves |= {f"{name}/{key}": run["curves"][key] for key in KEPT}
        metrics |= {f"{name}/{key}": run["metrics"][f"loss/{key}"] for key in KEPT[:5]}
        print(name, {key: [round(run["curves"][key]["value"][i], 3) for i in (0, 5, -1)] for key in KEPT}, flush=True)
    return records.new(
        "planted bugs, training",
        config=run["config"],
        seeds=[seed],
        data=run["data"],
        metrics=metrics,
        curves=curves,
        wall_time_s=perf_counter() - start,
        sameness="bitwise",
        notes=[
            "one seed; the sizes and the data of the smoke profile, 250 steps; validation uses the averaged weights"
        ],
    )


def cost(store) -> records.Record:
    """Time training steps of the laptop network at several batch sizes, in turn."""
    start, runs = perf_counter(), {}
    for batch in BATCHES:
        settings = {"batch": str(batch), "frames": str(FRAMES), "validation": "1", "tensorboard": "false"}
        config = config_for("recommended", profiles.get("laptop"), settings)
        runs[batch] = Trainer(config, store, Path("unused"), Accelerator(), False)
        runs[batch].update()  # the step that the clock then sees again: its distance fields are known
    taken: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    for _ in range(ROUNDS):
        for batch, run in runs.items():
            began = process_time()
            run.update()
            taken[batch].append(process_time() - began)
    paper = {b: step_cost(run.config.denoiser, b, FRAMES).network for b, run in runs.items()}
    return records.new(
        "cost of a training step",
        config={
            "preset": "recommended",
            "profile": "laptop",
            "frames": FRAMES,
            "batches": list(BATCHES),
            "rounds": ROUNDS,
        },
        seeds=[0],
        data=data_of(store),
        metrics={
            f"seconds/{b}": records.metric(statistics.median(t), len(t), "s", statistics.stdev(t))
            for b, t in taken.items()
        }
        | {f"gigaflop/{b}": records.metric(flop / 1e9, 1, "GFLOP") for b, flop in paper.items()},
        wall_time_s=perf_counter() - start,
        sameness="statistical",
        notes=[
            "seconds of one core, which is wall time where nothing else runs; medians over rounds in turn",
            "the same step each time, its distance fields known; every clip is cut to 60 frames",
        ],
    )


def main() -> None:
    """Write both records, or one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=ROOT / "data" / "laptop", type=Path)
    parser.add_argument("--only", choices=("bugs", "cost"))
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    if wanted.only != "cost":
        records.write(planted(data.default("smoke")), ROOT / "book" / "records" / "planted_curves.json")
    if wanted.only != "bugs":
        records.write(cost(data.load(wanted.data)), ROOT / "book" / "records" / "step_cost.json")


if __name__ == "__main__":
    main()
