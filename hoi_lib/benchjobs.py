"""What ``hoi bench`` measures: one function per job, each giving :class:`~hoi_lib.timing.Figure`.

Every short cut is timed against the plain way of doing the same, at the paper's sizes, on an untrained network and on
requests made here. B batch, L frames, P object points, V vertices.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from hoi_lib.blocks import sinusoid
from hoi_lib.conditions import Conditions
from hoi_lib.denoiser import Denoiser, DenoiserConfig, Estimate, NoiseLevel, recommended
from hoi_lib.diffusion import Schedule, sample_ddim
from hoi_lib.encoders import TextEncoder, TextFeatures, load_encoder
from hoi_lib.errors import HoiError
from hoi_lib.experts import Routing, rows_of
from hoi_lib.generate import path_for, sample_for
from hoi_lib.geometry import nearest_pair, take
from hoi_lib.hand import load_hand, named_pose
from hoi_lib.motion import SIDES, Batch, collate, unpack_pose
from hoi_lib.objects import load_object
from hoi_lib.routing import Assignment, route_all
from hoi_lib.sampling import planned
from hoi_lib.selection import count
from hoi_lib.timing import Bar, Figure, Job, Pair, Patience, compare, difference

REQUESTS = (
    ("Pour the bottle with right hand.", "pour", "right", "bottle_medium"),
    ("Open the laptop with left hand.", "open", "left", "laptop_medium"),
    ("Lift the hammer with right hand.", "lift", "right", "hammer_medium"),
    ("Shake the can with left hand.", "shake", "left", "can_medium"),
)
SAME = {"cpu": 1e-5, "cuda": 1e-4}  # how far two ways of computing the same may differ; a GPU adds in any order


@dataclass(frozen=True)
class Sizes:
    """What is measured: the paper's network on four requests of five seconds; 32 of them on a GPU."""

    width: int = 512
    blocks: int = 8
    batch: int = 4
    frames: int = 150
    points: int = 1024
    vertices: int = 778
    steps: int = 50
    gpu_batch: int = 32


class Bench:
    """What the jobs share: sizes, patience, and one untrained network with its requests, made when first asked for."""

    def __init__(
        self,
        sizes: Sizes | None = None,
        patience: Patience | None = None,
        device: str = "cpu",
        config: DenoiserConfig | None = None,
    ):
        self.sizes, self.patience, self.device = sizes or Sizes(), patience or Patience(), torch.device(device)
        self.config = config or self._recommended()
        self.same = SAME[self.device.type]

    @cached_property
    def encoder(self) -> TextEncoder:
        """The default text encoder, with its cache."""
        return load_encoder("minilm")

    def _recommended(self) -> DenoiserConfig:
        sizes = self.sizes
        return recommended(sizes.width, sizes.blocks, points=sizes.points, point_width=min(256, 2 * sizes.width))

    @cached_property
    def denoiser(self) -> Denoiser:
        """An untrained network, the same at every call of the program."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Denoiser(self.config).eval().to(self.device)

    @cached_property
    def batch(self) -> Batch:
        """The requests in turn, a hand held at the object's place in each."""
        count = self.sizes.gpu_batch if self.device.type == "cuda" else self.sizes.batch
        return requests(count, self.sizes.frames, self.sizes.points).to(self.device)

    @cached_property
    def noise(self) -> Tensor:
        """Where sampling starts (B, L, 99)."""
        return torch.randn(self.batch.pose.shape, generator=torch.Generator().manual_seed(0)).to(self.device)

    @cached_property
    def levels(self) -> Tensor:
        """A different noise level for every sample, spread over all of them, so that they take different experts."""
        return torch.linspace(5, 995, len(self.batch), device=self.device).long()

    @cached_property
    @torch.no_grad()
    def conditions(self) -> Conditions:
        """What the network knows of the requests."""
        return self.denoiser.prepare(self.batch, self.encoder)

    @cached_property
    def words(self) -> float:
        """Tokens of a refined text, padding included, as the cross-attentions work on them."""
        lengths = [h.keys.shape[2] for group in self.conditions.heard[0] for h in group if h.keys is not None]
        return sum(lengths) / max(1, len(lengths))


def requests(count: int, frames: int, points: int) -> Batch:
    """``count`` samples of ``frames`` valid frames: the requests in turn, a closed hand at each object's place."""
    samples = []
    for text, verb, side, name in (REQUESTS[i % len(REQUESTS)] for i in range(count)):
        model = load_object(name)
        samples.append(sample_for(text, side, model, path_for(verb, model, side), points))
    batch = collate(samples, frames)
    held = torch.stack([named_pose("fist", SIDES[side]) for side in batch.side.tolist()])
    pose = held[:, None].repeat(1, frames, 1)
    pose[..., :3] = batch.object_pose[..., :3] - batch.wrist_rest[:, None]
    return replace(batch, pose=pose, valid=torch.ones_like(batch.valid))


# --- short cuts, each against the plain way ---


def executor(bench: Bench) -> list[Figure]:
    """The chosen experts alone against all of them, in a routing in balance: one forward pass, and one with its
    backward pass."""
    model = bench.denoiser

    def forward(name: str) -> Job:
        level = balanced(bench, name)
        return torch.no_grad()(lambda: _estimate(bench, level).x0)

    def training(name: str) -> Job:
        level = balanced(bench, name)

        def job() -> list[Tensor]:
            model.zero_grad(set_to_none=True)
            loss = _estimate(bench, level).x0.square().mean()
            loss.backward()
            return [loss, *(p.grad for p in model.parameters() if p.grad is not None)]

        return job

    pairs = {
        "executor/forward": Pair(
            "forward pass: all experts / the chosen", forward("dense"), forward("fast"), Bar(1.5), bench.same
        ),
        "executor/training": Pair(
            "forward and backward: all experts / the chosen", training("dense"), training("fast"), Bar(1.5), bench.same
        ),
    }
    return [compare(key, pair, bench.patience) for key, pair in pairs.items()]


def _estimate(bench: Bench, level: NoiseLevel) -> Estimate:
    return bench.denoiser.estimate(bench.noise, bench.levels, bench.conditions, bench.batch.valid, level)


@torch.no_grad()
def balanced(bench: Bench, executor: str) -> NoiseLevel:
    """Every expert of a group with the same share of samples and blocks, so that no luck of an untrained router is
    measured: sample b takes expert (b + n + g) mod M of group g in block n, weighted evenly over the groups."""
    config = bench.config
    groups, experts = len(config.groups), len(config.experts)
    sample, block, group = torch.meshgrid(
        *(torch.arange(n) for n in (len(bench.batch), config.blocks, groups)), indexing="ij"
    )
    mask = torch.nn.functional.one_hot((sample + block + group) % experts, experts).bool().to(bench.device)
    gate = mask.float() / groups
    stats = [count(mask[:, n], gate[:, n]) for n in range(config.blocks)]
    assignments = [Assignment(mask[:, n], gate[:, n], gate.new_zeros(()), stats[n]) for n in range(config.blocks)]
    routing = [Routing(a, r) for a, r in zip(assignments, rows_of(assignments, executor), strict=True)]
    return NoiseLevel(bench.denoiser.time(sinusoid(bench.levels, config.width)), routing)


def text(bench: Bench) -> list[Figure]:
    """A sentence read by the language model against one that was read before."""
    sentences = [request[0] for request in REQUESTS]
    pair = Pair(
        "four sentences: read / remembered",
        lambda: bench.encoder.compute(sentences).pooled,
        lambda: bench.encoder.encode(sentences).pooled,
        agree=bench.same,
    )
    return [compare("text", pair, bench.patience)]


class Anew(TextEncoder):
    """An encoder that remembers nothing."""

    def __init__(self, encoder: TextEncoder):
        super().__init__()
        self.encoder, self.name, self.version, self.dim = encoder, encoder.name, encoder.version, encoder.dim

    def read(self, text: str) -> np.ndarray:
        """The features of one sentence, read again."""
        return self.encoder.read(text)

    def encode(self, texts: Sequence[str]) -> TextFeatures:
        """Features of the sentences, each read again."""
        return self.compute(texts)


def sampling(bench: Bench) -> list[Figure]:
    """Sampling with a plan against a sampler that treats every step as if it were alone."""
    steps, few = bench.sizes.steps, max(2, bench.sizes.steps // 10)
    pairs = {
        "sampling/planned": Pair(
            f"DDIM-{steps}: conditions and routers at every step / planned",
            alone(bench, bench.encoder, steps),
            ahead(bench, steps),
            Bar(1.3),
            bench.same,
        ),
        "sampling/as_released": Pair(
            f"DDIM-{few}: texts read at every step too, as released / planned",
            alone(bench, Anew(bench.encoder), few),
            ahead(bench, few),
            agree=bench.same,
        ),
    }
    return [compare(key, pair, bench.patience) for key, pair in pairs.items()]


def alone(bench: Bench, encoder: TextEncoder, steps: int) -> Job:
    """DDIM as one would write it down: at every step the conditions, the texts' keys and values, the routers."""
    model, batch, schedule = bench.denoiser, bench.batch, Schedule.cosine()

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return model(x, t, model.prepare(batch, encoder), batch.valid)

    return lambda: sample_ddim(denoise, bench.noise, schedule, steps)


def ahead(bench: Bench, steps: int) -> Job:
    """DDIM as the library does it, what it prepares beforehand included."""
    model, batch, schedule = bench.denoiser, bench.batch, Schedule.cosine()
    levels = schedule.spaced(steps)
    return lambda: sample_ddim(planned(model, batch, bench.encoder, levels), bench.noise, schedule, steps)


def routing(bench: Bench) -> list[Figure]:
    """All routers asked for a batch against the same read from a table, at every level that a sampler visits."""
    model, verbs = bench.denoiser, [request[1] for request in REQUESTS]
    levels = Schedule.cosine().spaced(bench.sizes.steps)
    table = model.routing_table(verbs, bench.encoder, levels)
    index = torch.tensor([verbs.index(verb) for verb in bench.batch.verb], device=bench.device)
    with torch.no_grad():
        times = model.time(sinusoid(torch.tensor(levels, device=bench.device), bench.config.width))

    def gates(assignments: list[Assignment]) -> Tensor:
        return torch.stack([a.gate for a in assignments])

    @torch.no_grad()
    def asked() -> list[Tensor]:
        action = bench.conditions.action
        return [gates(route_all(model.routers, action, time.expand(len(action), -1))) for time in times]

    def looked_up() -> list[Tensor]:
        return [gates(table.look_up(index, torch.full_like(index, t))) for t in range(len(levels))]

    pair = Pair(f"{len(levels)} decisions of all routers: asked / from a table", asked, looked_up, agree=bench.same)
    return [compare("routing", pair, bench.patience)]


def hand(bench: Bench) -> list[Figure]:
    """Posing a hand for its joints alone, forwards and backwards, against posing all of it."""
    model = load_hand("right")
    poses = named_pose("fist", "right").expand(bench.sizes.batch * bench.sizes.frames, 99)
    transl, rotations = unpack_pose(poses)

    def gradient(joints: Callable[[Tensor], Tensor]) -> Job:
        def job() -> Tensor:
            leaf = rotations.clone().requires_grad_()
            joints(leaf).square().sum().backward()
            return leaf.grad

        return job

    pair = Pair(
        "joints and their gradient: whole hand / joints only",
        gradient(lambda R: model.from_matrices(R, transl).joints),
        gradient(lambda R: model.joints(R, transl)),
        agree=1e-4,  # a sum over 21 joints, not a length
    )
    return [compare("hand", pair, bench.patience)]


def nearest(bench: Bench) -> list[Figure]:
    """Nearest neighbours in both directions, the whole matrix of distances against the library's blocks."""
    gen = torch.Generator().manual_seed(0)
    clouds = (torch.rand(32, n, 3, generator=gen) * 0.2 for n in (bench.sizes.points, bench.sizes.vertices))
    a, b = (cloud.to(bench.device) for cloud in clouds)

    def apart(to_b: Tensor, to_a: Tensor) -> tuple[Tensor, Tensor]:
        return (a - take(b, to_b)).norm(dim=-1), (b - take(a, to_a)).norm(dim=-1)

    def matrix() -> tuple[Tensor, Tensor]:
        square = (a[:, :, None] - b[:, None]).square().sum(-1)
        return apart(square.argmin(2), square.argmin(1))

    pair = Pair(
        "nearest neighbours of 32 frames: whole matrix / blocks",
        matrix,
        lambda: apart(*nearest_pair(a, b)),
        agree=bench.same,
    )
    return [compare("nearest", pair, bench.patience)]


def compiled(bench: Bench) -> list[Figure]:
    """The network as it is against its parts compiled, where a compiler works."""
    what = "forward pass: as it is / parts compiled"
    try:
        model = with_compiled_parts(bench.denoiser)
        pair = Pair(what, _forward(bench, bench.denoiser), _forward(bench, model), agree=1e-4)
        return [compare("compile", pair, bench.patience)]
    except HoiError:
        raise
    except Exception as error:  # torch raises a dozen kinds where the compiler, or Triton, is missing or refuses
        return [Figure("compile", what, None, note=f"not here: {type(error).__name__}, no working compiler")]


def with_compiled_parts(denoiser: Denoiser) -> Denoiser:
    """A copy whose attentions, guidances and experts are compiled. Who works on which sample stays outside: it differs
    from step to step, and every new division would be compiled anew."""
    model = copy.deepcopy(denoiser)
    for block in model.blocks:
        block.attention.compile()
        for group in getattr(block.feedforward, "groups", ()):
            for part in (*group.guides, *group.experts):
                part.compile(dynamic=True)
    return model


def half(bench: Bench) -> list[Figure]:
    """The network in float32 against bfloat16, forwards; training in bfloat16 is for GPUs."""
    plain = _forward(bench, bench.denoiser)

    def bf16() -> Tensor:
        with torch.autocast(bench.device.type, torch.bfloat16):
            return plain().float()

    note = f"other numbers: apart {difference(plain(), bf16()):.1g}"
    return [compare("bf16", Pair("forward pass: float32 / bfloat16", plain, bf16, note=note), bench.patience)]


def _forward(bench: Bench, model: Denoiser) -> Job:
    return torch.no_grad()(lambda: model(bench.noise, bench.levels, bench.conditions, bench.batch.valid))
