"""The training step and its parts, on the CPU and on a GPU, and what the geometric losses take in memory.

B batch, L frames, P object points, V vertices.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from dataclasses import replace

import psutil
import torch
from torch import Tensor

from hoi_lib import costs, records
from hoi_lib.benchjobs import Bench, Sizes, compiled, executor, half, nearest, sampling, with_compiled_parts
from hoi_lib.denoiser import Denoiser, Estimate, hollow
from hoi_lib.diffusion import Schedule
from hoi_lib.errors import HoiError
from hoi_lib.feed import Truth
from hoi_lib.hand import load_hand
from hoi_lib.interaction import posed_hands, true_fields
from hoi_lib.losses import BETWEEN, diffusion_loss
from hoi_lib.motion import SIDES, Batch
from hoi_lib.objective import Objective
from hoi_lib.sampling import sample_batch
from hoi_lib.timing import Bar, Figure, Job, Patience, alternate, seconds, spread_of
from hoi_lib.trainconfig import TrainConfig

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "4090": 165e12, "3090": 71e12}
"""FLOP/s of cards in bfloat16 with sums in float32, as their data sheets have them."""
STEP_MS, LOSS_SHARE, SAMPLING_S, MEMORY_GB = 25.0, 0.5, 1.5, 2.0  # the bars; the first three are an H100's


class Answered(Denoiser):
    """A network that has answered already: what the losses do with an estimate can then be watched by itself."""

    def __init__(self, coordinates: str, batch: Batch):
        super().__init__(hollow(16, 1, 2, hidden=16, points=32, point_width=16, coordinates=coordinates))
        self.to(batch.pose.device)
        self.answer = torch.nn.Parameter(self.to_model(batch).clone())

    def prepare(self, *_: object) -> None:
        """Nothing needs to be prepared."""

    def estimate(self, *_: object) -> Estimate:
        """The answer, with a gradient."""
        return Estimate(self.answer, self.answer.new_zeros(()))


class Step:
    """A training step of the bench's network on its requests: all of it, and its parts one by one.

    ``known`` says that true hands and their distance fields were worked out beforehand, as the trainer's feed does.
    """

    def __init__(self, bench: Bench, precision: str = "fp32", model: Denoiser | None = None, known: bool = True):
        self.bench, self.model, self.half = bench, model or bench.denoiser, precision == "bf16"
        self.schedule, self.hands = Schedule.cosine(), {side: load_hand(side) for side in SIDES}
        self.precision, self.truth = precision, Truth()
        if known:
            self.truth = self._truth(self.objective(self.model))

    def objective(self, model: Denoiser, **weights: float) -> Objective:
        """All losses of a network on the bench's device; ``weights`` replaces those of Eq. 16."""
        bench, sizes = self.bench, self.bench.sizes
        config = TrainConfig(
            model.config,
            batch=len(bench.batch),
            precision=self.precision,
            vertices=sizes.vertices,
            loss_points=sizes.points,
            weights=weights,
        )
        ids = torch.arange(sizes.vertices)
        return Objective(model, config, bench.encoder, self.schedule, self.hands, ids).to(bench.device)

    def jobs(self) -> dict[str, Job]:
        """ "network": forwards and backwards; "hands": posing them, and Eqs. 11 and 15, from a given estimate;
        "losses": the same with Eqs. 12–14; "all": the whole step up to the gradient."""
        answered = Answered(self.bench.config.coordinates, self.bench.batch)
        return {
            "network": self._network,
            "hands": self._gradient(self.objective(answered, **dict.fromkeys(BETWEEN, 0.0))),
            "losses": self._gradient(self.objective(answered)),
            "all": self._gradient(self.objective(self.model)),
        }

    def training(self) -> Job:
        """Every loss, its gradient, the clipped step of the optimiser: what the trainer does between two batches."""
        optimizer = torch.optim.AdamW(self.model.parameters(), 1e-4, fused=self.bench.device.type == "cuda")
        gradient = self._gradient(self.objective(self.model))

        def job() -> None:
            gradient()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()

        return job

    @torch.no_grad()
    def _truth(self, objective: Objective) -> Truth:
        batch, hands = self.bench.batch, dict(objective.hands.items())
        posed = posed_hands(batch.pose, batch.betas, batch.side, hands, objective.vertex_ids)
        return Truth(0, posed, true_fields(batch, hands, count=self.bench.sizes.points))

    def _network(self) -> Tensor:
        bench, model = self.bench, self.model
        model.zero_grad(set_to_none=True)
        x0, conditions = model.to_model(bench.batch), model.prepare(bench.batch, bench.encoder)
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=self.half):
            noised = self.schedule.noised(x0, bench.levels, bench.noise)
            out = model.estimate(noised, bench.levels, conditions, bench.batch.valid)
        loss = diffusion_loss(out.x0.float(), x0, bench.batch.valid) + 0.01 * out.balance.float()
        loss.backward()
        return loss

    def _gradient(self, objective: Objective) -> Job:
        bench = self.bench

        def job() -> Tensor:
            objective.denoiser.zero_grad(set_to_none=True)
            terms, _ = objective(bench.batch, self.truth, bench.levels, bench.noise)
            terms["total"].backward()
            return terms["total"]

        return job


def shares(bench: Bench, precision: str = "fp32", prefix: str = "step") -> list[Figure]:
    """What a training step spends on the network, on posing hands, and on hand and object together."""
    jobs = Step(bench, precision).jobs()
    ways = [jobs[name] for name in ("network", "hands", "losses")]
    for way in ways:
        way()
    network, hands, losses = alternate(ways, bench.patience)
    parts = {
        "network": ("network", network),
        "hands": ("posing the hands, Eqs. 11 and 15", hands),
        "object": ("hand and object, Eqs. 12–14", [max(0.0, x - y) for x, y in zip(losses, hands, strict=True)]),
    }
    whole = [sum(round_) for round_ in zip(*(taken for _, taken in parts.values()), strict=True)]
    figures = [spread_of(f"{prefix}/all", "all of it, up to the gradient", [1e3 * x for x in whole], "ms")]
    for key, (what, taken) in parts.items():
        share = [100 * x / y for x, y in zip(taken, whole, strict=True)]
        figures.append(spread_of(f"{prefix}/{key}", what, share, "%", note=f"{1e3 * statistics.median(taken):.3g} ms"))
    return figures


def step(bench: Bench) -> list[Figure]:
    """The parts of a training step on the CPU."""
    return shares(bench)


# --- on a GPU ---


def gpu(bench: Bench) -> list[Figure]:
    """What a CUDA device is held to: the step, the losses' part of it, sampling, and how near they come to its
    arithmetic; then the short cuts again, without bars."""
    if not torch.cuda.is_available():
        return [Figure("gpu", "training step and sampling on a GPU", None, note="not here: torch sees no CUDA device")]
    there = Bench(bench.sizes, bench.patience, "cuda")
    found = [*_gpu_steps(there), _gpu_sampling(there)]
    for job in (executor, sampling, nearest, compiled, half):
        found += [replace(figure, key=f"gpu/{figure.key}", bar=None) for figure in job(there)]
    return found


def _gpu_steps(bench: Bench) -> list[Figure]:
    """Training in bfloat16, as it is and with its parts compiled, against the arithmetic that it needs."""
    plain = _repeated(bench, Step(bench, "bf16").training())
    found = [spread_of("gpu/step", f"training step, B {len(bench.batch)}, bf16", plain, "ms", Bar(most=STEP_MS))]
    found.append(_compiled_step(bench))
    parts = {f.key: f for f in shares(bench, "bf16", "gpu/part")}
    geometric = parts["gpu/part/hands"].value + parts["gpu/part/object"].value
    losses = Figure("gpu/losses", "geometric losses' part of it", geometric, "%", bar=Bar(most=100 * LOSS_SHARE))
    forward = _repeated(bench, torch.no_grad()(lambda: _half_forward(bench)))
    rate, source = _peak()
    needed = {
        "training": (costs.step_cost(bench.config, len(bench.batch), bench.sizes.frames, bench.words).network, plain),
        "forward": (costs.forward_flop(bench.config, len(bench.batch), bench.sizes.frames, bench.words), forward),
    }
    bounds = [
        spread_of(
            f"gpu/bound/{name}",
            f"{name}: of the arithmetic's lower bound",
            [100 * 1e3 * flop / rate / ms for ms in taken],
            "%",
            note=f"{1e3 * flop / rate:.2f} ms at {rate / 1e12:.0f} TFLOP/s ({source})",
        )
        for name, (flop, taken) in needed.items()
    ]
    return [*found, losses, *parts.values(), *bounds, _gpu_memory(bench)]


def _compiled_step(bench: Bench) -> Figure:
    what = "the same with the network's parts compiled"
    try:
        step = Step(bench, "bf16", with_compiled_parts(bench.denoiser))
        return spread_of("gpu/step_compiled", what, _repeated(bench, step.training()), "ms")
    except Exception as error:  # as in compiled(): torch raises a dozen kinds
        return Figure("gpu/step_compiled", what, None, "ms", note=f"not here: {type(error).__name__}")


def _half_forward(bench: Bench) -> torch.Tensor:
    with torch.autocast(bench.device.type, torch.bfloat16):
        return bench.denoiser(bench.noise, bench.levels, bench.conditions, bench.batch.valid)


def _gpu_memory(bench: Bench) -> Figure:
    """Peak of a training step with every loss over that of the network alone."""
    jobs, peaks = Step(bench, "bf16").jobs(), []
    for name in ("network", "all"):
        torch.cuda.reset_peak_memory_stats()
        jobs[name]()
        peaks.append(torch.cuda.max_memory_allocated())
    more = max(0, peaks[1] - peaks[0]) / 2**30
    return Figure("gpu/memory", "memory of the losses beyond the network", more, "GB", bar=Bar(most=MEMORY_GB))


def _gpu_sampling(bench: Bench) -> Figure:
    """Every request from noise to world poses."""

    def job() -> torch.Tensor:
        gen = torch.Generator().manual_seed(0)
        return sample_batch(bench.denoiser, bench.batch, bench.encoder, bench.sizes.steps, gen)

    taken = [ms / 1e3 for ms in _repeated(bench, job)]
    what = f"DDIM-{bench.sizes.steps} of {len(bench.batch)} clips"
    return spread_of("gpu/sampling", what, taken, "s", Bar(most=SAMPLING_S))


def _repeated(bench: Bench, job: Job) -> list[float]:
    """Milliseconds of a job on a GPU, after three runs that nobody times; many rounds, for they are short."""
    for _ in range(3):
        job()
    return [1e3 * x for x in alternate([job], Patience(4 * bench.patience.repeats, bench.patience.seconds))[0]]


def _peak(size: int = 8192) -> tuple[float, str]:
    """FLOP/s of this card in bfloat16: its data sheet's, or for a card not listed what a large product reaches."""
    name = torch.cuda.get_device_name()
    for card, rate in PEAKS.items():
        if card in name:
            return rate, f"data sheet of the {card}"
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    a @ b
    return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(5)), "reached by a large product"


# --- memory on the CPU ---


def memory(bench: Bench) -> list[Figure]:
    """Peak memory of all geometric losses beyond the network's, in a process of its own that knows nothing beforehand:
    true hands and distance fields are worked out too."""
    sizes = bench.sizes
    numbers = [str(n) for n in (sizes.gpu_batch, sizes.frames, sizes.points, sizes.vertices)]
    command = [sys.executable, "-m", "hoi_lib.benchsteps", *numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise HoiError(f"the process that measures memory failed: {last}", "Leave it out with --quick.")
    what = f"memory of the geometric losses, B {numbers[0]}, {numbers[1]} frames, {numbers[2]} points"
    return [Figure("memory", what, float(done.stdout) / 2**30, "GB", bar=Bar(most=MEMORY_GB))]


def losses_peak(batch: int, frames: int, points: int, vertices: int) -> float:
    """Bytes by which this process grows, at its highest, during one step of all losses, forwards and backwards.

    There is no network: the estimate is given, and what is measured is the losses' alone.
    """
    before = 0.0
    for count, length in ((2, 3), (batch, frames)):  # the first one loads what is loaded once
        sizes = Sizes(batch=count, frames=length, points=points, vertices=vertices)
        job = Step(Bench(sizes, config=hollow(16, 1, 2)), known=False).jobs()["losses"]
        before = float(psutil.Process().memory_info().rss)
        job()
    return records.peak_memory_mb() * 2**20 - before


if __name__ == "__main__":
    print(losses_peak(*(int(n) for n in sys.argv[1:5])))
