"""Train a denoiser: a plain loop on Hugging Face accelerate, the same code on a CPU, a GPU and many GPUs.

A run folder holds ``run.json`` (config and data), ``checkpoints/`` (the last two), ``tensorboard/`` and, at the end,
``denoiser/`` (the averaged weights) and ``record.json``. What a step sees depends on the seed and the step's number
alone (:mod:`hoi_lib.feed`), so a run that was stopped, even by ``kill -9``, goes on bit for bit on the CPU, given the
same number of threads. ``accelerate launch -m hoi_lib train …`` shares every batch among the GPUs; the batch stays the
same.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor
from tqdm import tqdm

from hoi_lib import checkpoints, records
from hoi_lib.data.samples import SampleSet
from hoi_lib.data.store import ClipStore
from hoi_lib.denoiser import Denoiser
from hoi_lib.diffusion import Schedule
from hoi_lib.encoders import load_encoder
from hoi_lib.errors import CheckpointError, ConfigError, StoreError
from hoi_lib.feed import Feed, Truth, generator, steps_per_epoch
from hoi_lib.hand import HandModel, load_hand
from hoi_lib.losses import BETWEEN, LOSSES
from hoi_lib.metrics import spread_vertices
from hoi_lib.motion import SIDES, Batch
from hoi_lib.objective import Objective
from hoi_lib.records import Record
from hoi_lib.refiner import refiner_for
from hoi_lib.runs import Stop, data_of, open_run, stop_signals, summary_writer
from hoi_lib.sampling import load_denoiser, weights_file
from hoi_lib.trainconfig import CHAPTER, TrainConfig, config_for, plain, rate, with_settings

__all__ = ["TrainConfig", "Trainer", "config_for", "export", "rate", "settled", "train", "with_settings"]

RULE = "{} weights after the last step; no choice among checkpoints"


def train(
    config: TrainConfig,
    store: ClipStore,
    out: str | Path,
    resume: bool = False,
    progress: bool = True,
    watch: Callable[[Trainer], object] | None = None,
) -> Record:
    """Train on the training subjects of ``store`` and leave a run folder; returns the run's record.

    A store without a validation subject trains without validation losses and metrics, and the record says so.
    ``resume`` goes on from the newest whole checkpoint in ``out`` (from the start if there is none); the config must be
    the run's own, save for threads and how often it writes. Ctrl-C and SIGTERM save a checkpoint before they end the
    run. ``watch`` sees the :class:`Trainer` before every step and after the last. Raises :class:`ConfigError` for a
    config that does not fit the run or the data, :class:`OutputError` if ``out`` cannot be written or already holds a
    run, :class:`CheckpointError` if no checkpoint can be read, and :class:`StoreError` if there is no training hand.
    """
    idle = config.denoiser.cross_attention == "pooled"  # queries and keys that no step reaches
    parallel, config = DistributedDataParallelKwargs(find_unused_parameters=idle), settled(config, store)
    out, threads, accelerator = Path(out), torch.get_num_threads(), Accelerator(kwargs_handlers=[parallel])
    if accelerator.is_main_process:
        open_run(config, store, out, resume)
    accelerator.wait_for_everyone()
    try:
        if config.threads:
            torch.set_num_threads(config.threads)
        with torch.random.fork_rng(), stop_signals() as stop:
            run = Trainer(config, store, out, accelerator, progress)
            if resume:
                run.restore()
            run.fit(stop, watch)
            return run.finish()
    finally:
        torch.set_num_threads(threads)


def settled(config: TrainConfig, store: ClipStore) -> TrainConfig:
    """The config with its ``steps`` worked out from its epochs and the training hands of ``store``.

    Raises :class:`StoreError` if there is no hand to train on.
    """
    hands = len(SampleSet(store.subset("train"), frames=config.frames, windows=config.windows))
    if not hands:
        raise StoreError(f"{store.folder}: no hand to train on.", "Build a larger set.", CHAPTER)
    if not config.epochs:
        return config
    return replace(config, steps=max(1, round(config.epochs * steps_per_epoch(hands, config.batch))))


def export(run: str | Path, path: str | Path, half: bool = True) -> Path:
    """Copy the denoiser of a run and its record to ``path`` for shipping; ``half`` stores float16, half the size.

    The folder loads with :meth:`Denoiser.from_pretrained`. Raises :class:`CheckpointError` or :class:`OutputError`.
    """
    folder = Path(run)
    denoiser = Denoiser.from_pretrained(folder / "denoiser" if (folder / "denoiser").is_dir() else folder)
    denoiser.save_pretrained(path, half=half)
    if (folder / "record.json").exists():
        records.write(records.load(folder / "record.json"), Path(path) / "record.json")
    return Path(path)


class Trainer:
    """One run: the network and its running average, the optimiser, the step counter and the curves."""

    def __init__(self, config: TrainConfig, store: ClipStore, out: Path, accelerator: Accelerator, progress: bool):
        self.config, self.store, self.out, self.accelerator = config, store, out, accelerator
        self.main = accelerator.is_main_process
        self.progress = progress and self.main
        torch.manual_seed(config.seed)
        model = Denoiser(config.denoiser)
        if config.refined:
            model.refiner = refiner_for("file", config.refined)
        hands = {side: load_hand(side) for side in SIDES}
        kept = torch.from_numpy(spread_vertices(hands["right"].template.numpy(), config.vertices)[0]).sort().values
        self.feed = self._feed("train", hands, kept)
        self.validation = self._feed("val", hands, kept, config.validation)
        if config.init:
            _begin_with(model, config.init)
        else:
            model.fit_normaliser(self.feed.batch(rows)[0] for rows in self.feed.chunks(256))
        parts = (load_encoder(config.denoiser.encoder), Schedule.of(config.denoiser.schedule), hands, kept)
        fused = torch.optim.AdamW(model.parameters(), config.lr, weight_decay=config.weight_decay, fused=True)
        self.objective, self.optimizer = accelerator.prepare(Objective(model, config, *parts), fused)
        self.levels = parts[1].steps
        self.model = accelerator.unwrap_model(self.objective).denoiser
        self.average = (
            Objective(deepcopy(self.model).requires_grad_(False), config, *parts).eval().to(accelerator.device)
        )
        self.step, self.elapsed, self.started = 0, 0.0, perf_counter()
        self.curves: dict[str, dict[str, list]] = {}
        self.window: dict[str, Tensor] = {}
        self.writer = summary_writer(out / "tensorboard") if config.tensorboard and self.main else None

    def fit(self, stop: Stop, watch: Callable[[Trainer], object] | None = None) -> None:
        """Run the steps that are left; saves and leaves when ``stop`` is asked for."""
        config, watch = self.config, watch or (lambda _: None)
        if not self.step:
            self.weigh()
        with tqdm(total=config.steps, initial=self.step, desc="training", disable=not self.progress or None) as bar:
            while self.step < config.steps:
                watch(self)
                self.update()
                self.step += 1
                bar.update()
                if self.step % config.log_every == 0 or self.step == config.steps:
                    bar.set_postfix_str(f"loss {self.log():.4f}")
                if self.step % config.validate_every == 0 or self.step == config.steps:
                    self.validate()
                    self.weigh()
                if self.step % config.checkpoint_every == 0 or self.step == config.steps or stop.requested:
                    self.save()
                if stop.requested:
                    bar.write(f"stopped at step {self.step}; --resume goes on from there")
                    stop.leave()
        watch(self)

    def update(self) -> None:
        """One optimiser step on one batch, in as many shares as there are processes times ``accumulation``."""
        config, accelerator = self.config, self.accelerator
        self._set_rate()
        for micro in range(config.accumulation):
            share = micro * accelerator.num_processes + accelerator.process_index
            torch.manual_seed(generator(config.seed, 2, self.step, share).initial_seed())  # dropout
            inputs = self._share(share)
            last = micro == config.accumulation - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self.objective):
                terms, load = self.objective(*inputs)
                accelerator.backward(terms["total"] / config.accumulation)
            self._remember(terms, load)
        if config.clip:
            accelerator.clip_grad_norm_(self.model.parameters(), config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._average()

    def _share(self, share: int) -> tuple:
        """The inputs of the objective for one share of the step's batch, whose shares are all of one size."""
        config, parts = self.config, self.accelerator.num_processes * self.config.accumulation
        indices = self.feed.indices(self.step)
        if len(indices) < parts:
            raise ConfigError(f"{len(indices)} samples cannot be shared among {parts}.", "Use a larger batch.", CHAPTER)
        indices = indices[: len(indices) // parts * parts]
        frames = max(self.feed.lengths[i] for i in indices)
        t, noise = self.feed.draw(self.step, len(indices), frames, self.levels)
        mine = slice(share, None, parts)
        batch, truth = self.feed.batch(indices[mine], frames, self.feed.offset(self.step))
        dice = generator(config.seed, 3, self.step, share)
        return *_on(self.accelerator.device, batch, truth, t[mine], noise[mine]), dice

    def weigh(self) -> None:
        """Put on the curves how much each term pulls on the weights, on a share of the batch that comes next."""
        objective = self.accelerator.unwrap_model(self.objective)
        shares = objective.gradient_shares(*self._share(self.accelerator.process_index))
        if self.main:
            self._curve({f"share/{name}": value for name, value in shares.items()})

    @torch.no_grad()
    def validate(self) -> None:
        """Losses of the averaged weights on held-out samples, always with the same noise and evenly spread levels;
        nothing without a validation subject."""
        if not (self.main and self.validation):
            return
        device, total, count = self.accelerator.device, {}, 0
        for number, rows in enumerate(self.validation.chunks(self.config.batch)):
            batch, truth = self.validation.batch(rows)
            _, noise = self.validation.draw(number, len(rows), batch.pose.shape[1], self.levels)
            t = torch.arange(len(rows)) * self.levels // len(rows)
            terms, _ = self.average(*_on(device, batch, truth, t, noise))
            count += len(rows)
            for name, value in terms.items():
                total[name] = total.get(name, 0.0) + len(rows) * float(value)
        self._curve({f"validation/{name}": value / count for name, value in total.items()})

    def log(self) -> float:
        """Put the mean terms since the last call on the curves; returns the total.

        Raises :class:`ConfigError` when it is not a finite number: the run then stays where its last checkpoint is.
        """
        load = self.window.pop("load", None)
        sums = torch.stack(list(self.window.values()))
        means = dict(zip(self.window, self.accelerator.reduce(sums, "mean").tolist(), strict=True))
        steps = means.pop("steps")
        means = {f"training/{name}": value / steps for name, value in means.items()}
        self.window = {}
        if not math.isfinite(means["training/total"]):
            raise ConfigError(
                f"the loss is not a finite number at step {self.step}.", "Lower lr, or keep clip above 0.", CHAPTER
            )
        if load is not None:
            means |= self._largest_shares(self.accelerator.reduce(load, "sum"))
        self._curve(means)
        return means["training/total"]

    def _largest_shares(self, load_NGM: Tensor) -> dict[str, float]:
        """Per group the share of the samples that the busiest expert takes, mean over blocks: 1/M when even, 1 when one
        expert does everything."""
        share_NG = load_NGM.amax(-1) / load_NGM.sum(-1)
        return {f"routing/{g}": x for g, x in zip(self.config.denoiser.groups, share_NG.mean(0).tolist(), strict=True)}

    def save(self) -> None:
        """Write a checkpoint of everything that the next step depends on."""
        if self.main:
            state = {
                "step": self.step,
                "elapsed": self.elapsed + perf_counter() - self.started,
                "model": self.model.state_dict(),
                "average": self.average.denoiser.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "curves": self.curves,
                "window": self.window,
            }
            checkpoints.save(self.out / "checkpoints", self.step, state)
        self.accelerator.wait_for_everyone()

    def restore(self) -> None:
        """Go back to the newest checkpoint that is whole; does nothing if there is none."""
        state = checkpoints.latest(self.out / "checkpoints")
        if state is None:
            return
        try:
            self.model.load_state_dict(state["model"])
            self.average.denoiser.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.elapsed, self.curves = state["step"], state["elapsed"], state["curves"]
            self.window = {name: x.to(self.accelerator.device) for name, x in state["window"].items()}
            if self.writer is not None:
                self.writer = summary_writer(self.out / "tensorboard", self.step)
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{self.out}: the checkpoint does not fit this network ({str(error).splitlines()[0]}).",
                "Start the run again in another folder.",
            ) from None

    def finish(self) -> Record:
        """Write the averaged network and the run's record, with a small evaluation on the validation subject."""
        folder = self.out / "denoiser"
        if self.main:
            self.average.denoiser.save_pretrained(folder)
        self.accelerator.wait_for_everyone()
        found = {}
        for name, curve in self.curves.items():
            group, _, term = name.partition("/")
            unit = LOSSES[term].unit if term in LOSSES else ""
            count = len(self.validation if group == "validation" else self.feed)
            label = f"loss/{name}" if group in ("training", "validation") else name
            found[label] = records.metric(curve["value"][-1], count, unit)
        if self.main and self.validation and self.config.evaluation:
            found |= self._evaluation()
        gpu = self.accelerator.device.type != "cpu"
        record = records.new(
            self.out.name,
            config=plain(self.config),
            seeds=[self.config.seed],
            data=data_of(self.store) | {"samples": len(self.feed), "validation_samples": len(self.validation)},
            metrics=found,
            wall_time_s=self.elapsed + perf_counter() - self.started,
            sameness="statistical" if gpu or self.accelerator.num_processes > 1 else "bitwise",
            curves=self.curves,
            checkpoint=records.file_hash(folder / "model.safetensors"),
            rule=RULE.format("averaged (EMA)" if self.config.ema else "the"),
            notes=self._notes(),
        )
        if self.main:
            records.write(record, self.out / "record.json")
        return record

    def _evaluation(self) -> dict[str, dict]:
        from hoi_lib.evaluate import evaluate

        record = evaluate(
            self.average.denoiser,
            self.store,
            "val",
            limit=self.config.evaluation,
            progress=self.progress,
        )
        return {f"validation/{name}": entry for name, entry in record["metrics"].items()}

    def _notes(self) -> list[str]:
        config = self.config
        shown = f"losses see {config.vertices} of 778 vertices, {config.loss_points} of 1024 points"
        begun = (
            [f"began with {config.init}, {records.file_hash(weights_file(config.init))[:12]}…"] if config.init else []
        )
        if config.stride > 1:
            shown += f", and every {config.stride}th frame for Eqs. 12–14"
        metrics = f"validation/…: one seed, at most {config.evaluation} samples of the validation subject"
        return [*begun, shown, metrics if self.validation else "the data hold no validation subject: none was measured"]

    def _feed(self, split: str, hands: dict[str, HandModel], vertex_ids: Tensor, limit: int | None = None) -> Feed:
        config, network = self.config, self.config.denoiser
        points = max(network.points, config.loss_points)
        samples = SampleSet(self.store.subset(split), points, config.frames, network.betas, config.windows)
        count = len(samples) if limit is None else min(limit, len(samples))
        chosen = [samples[i * len(samples) // count] for i in range(count)]
        looks = any(config.weights.get(name, LOSSES[name].weight) for name in BETWEEN)
        kept = (config.loss_points if looks else 0, config.stride, self.accelerator.device, config.data_sampler)
        return Feed(chosen, config.batch, config.seed, hands, vertex_ids, *kept)

    def _set_rate(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * rate(self.config, self.step)

    @torch.no_grad()
    def _average(self) -> None:
        """Move the running average; it follows quickly at first, so that no step of the start lingers."""
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.denoiser.parameters(), self.model.parameters(), strict=True)
        for slow, fast in pairs:
            slow.lerp_(fast, 1 - keep)

    def _remember(self, terms: dict[str, Tensor], load: Tensor | None) -> None:
        counted = {"steps": torch.ones_like(terms["total"])} | ({} if load is None else {"load": load})
        for name, value in {**terms, **counted}.items():
            self.window[name] = self.window.get(name, 0) + value.detach()

    def _curve(self, means: dict[str, float]) -> None:
        for name, value in means.items():
            curve = self.curves.setdefault(name, {"step": [], "value": []})
            curve["step"].append(self.step)
            curve["value"].append(value)
        if self.writer is not None:
            self._write_scalars(means)

    def _write_scalars(self, means: dict[str, float]) -> None:
        """TensorBoard scalars: every raw term, its weighted share, and the learning rate."""
        for name, value in means.items():
            self.writer.add_scalar(name, value, self.step)
            weight = self.average.weights.get(name.rpartition("/")[2])
            if weight is not None:
                self.writer.add_scalar(f"{name} weighted", weight * value, self.step)
        self.writer.add_scalar("rate", self.config.lr * rate(self.config, self.step - 1), self.step)


def _begin_with(model: Denoiser, run: str) -> None:
    """Give ``model`` the weights of a run or an exported checkpoint; :class:`ConfigError` if it is another network."""
    try:
        model.load_state_dict(load_denoiser(run).state_dict())
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ConfigError(
            f"init {run}: another network than the one to be trained ({reason}).",
            "Give the preset and the settings that it was trained with.",
            CHAPTER,
        ) from None


def _on(device: torch.device, batch: Batch, truth: Truth, t: Tensor, noise: Tensor) -> tuple:
    """The inputs of an :class:`Objective` on a device."""
    return batch.to(device), truth.to(device), t.to(device), noise.to(device)
