"""What the library's short cuts save: each row times a plain and a fast way in turn, in one process on this machine.

Ratios travel between machines, milliseconds do not: both are shown, only the ratio is a claim.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from hoi_lib.denoiser import Denoiser, recommended
from hoi_lib.diffusion import Schedule, sample_ddim
from hoi_lib.encoders import load_encoder
from hoi_lib.generate import path_for, sample_for
from hoi_lib.hand import load_hand, named_pose
from hoi_lib.motion import collate, unpack_pose
from hoi_lib.objects import load_object

Job = Callable[[], object]
SENTENCE = "Pour the bottle with right hand."


def run(repeats: int = 7) -> list[tuple[str, str, str, str]]:
    """Rows (what, plain, fast, ratio) for every short cut, each the median of ``repeats`` alternating runs."""
    return [(name, *_compare(plain, fast, repeats)) for name, (plain, fast) in jobs().items()]


def jobs() -> dict[str, tuple[Job, Job]]:
    """The pairs to compare: name → (plain way, fast way), both giving the same result."""
    return {
        "sentence: encode anew / from the cache": _text(),
        "hand: all vertices / joints only, with gradient": _hand(),
        "DDIM-10: conditions at every step / once": _sampling(),
    }


def _compare(plain: Job, fast: Job, repeats: int) -> tuple[str, str, str]:
    times = {plain: [], fast: []}
    plain(), fast()  # warm up
    for _ in range(repeats):
        for job in (plain, fast):
            start = time.perf_counter()
            job()
            times[job].append(time.perf_counter() - start)
    slow, quick = (statistics.median(times[job]) * 1e3 for job in (plain, fast))
    return f"{slow:.1f} ms", f"{quick:.2f} ms", f"{slow / quick:.1f}×"


def _text() -> tuple[Job, Job]:
    encoder = load_encoder("minilm")
    return lambda: encoder.compute([SENTENCE]), lambda: encoder.encode([SENTENCE])


def _hand() -> tuple[Job, Job]:
    hand = load_hand("right")
    transl, rotations = unpack_pose(named_pose("fist", "right").expand(600, 99))

    def gradient(positions: Callable[[torch.Tensor], torch.Tensor]) -> Job:
        def job() -> None:
            leaf = rotations.clone().requires_grad_()
            positions(leaf).square().sum().backward()

        return job

    return (
        gradient(lambda R: hand.from_matrices(R, transl).vertices),
        gradient(lambda R: hand.joints(R, transl)),
    )


def _sampling() -> tuple[Job, Job]:
    denoiser, encoder = Denoiser(recommended()).eval(), load_encoder("minilm")
    model = load_object("bottle_medium")
    batch = collate([sample_for(SENTENCE, "right", model, path_for("pour", model), denoiser.config.points)] * 4)
    noise = torch.randn(batch.pose.shape, generator=torch.Generator().manual_seed(0))
    schedule = Schedule.cosine()

    def plain() -> torch.Tensor:
        return sample_ddim(
            lambda x, t: denoiser(x, t, denoiser.prepare(batch, encoder), batch.valid), noise, schedule, steps=10
        )

    def planned() -> torch.Tensor:
        with torch.no_grad():
            conditions = denoiser.prepare(batch, encoder)
        return sample_ddim(lambda x, t: denoiser(x, t, conditions, batch.valid), noise, schedule, steps=10)

    return plain, planned
