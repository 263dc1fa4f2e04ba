"""Measuring on a machine that does other things too: ways in turn, medians, and what a figure is held against.

Ratios travel between machines, milliseconds do not: both are kept, only the ratio is a claim.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hoi_lib.errors import HoiError

Job = Callable[[], object]
"""One way of doing something; what it returns, a tensor or several, is compared with what another way returns."""


@dataclass(frozen=True)
class Bar:
    """Bounds on a figure: ``least`` and ``most``, either of which may be missing."""

    least: int | float | None = None
    most: int | float | None = None

    def met(self, value: int | float) -> bool:
        """True where ``value`` keeps both bounds."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        if self.least is None or self.most is None:
            return f"≤ {self.most:g}" if self.least is None else f"≥ {self.least:g}"
        return f"{self.least:g} to {self.most:g}"


@dataclass(frozen=True)
class Figure:
    """One measured number. ``key`` names it in a record, ``what`` in a table; ``value`` None says that it could not be
    measured here, and ``note`` why. ``spread`` is the standard deviation over ``n`` rounds; ``plain`` and ``fast`` are
    the median milliseconds behind a ratio."""

    key: str
    what: str
    value: float | None
    unit: str = "×"
    spread: float | None = None
    n: int = 1
    bar: Bar | None = None
    plain: float | None = None
    fast: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """ "✓" or "falls short" where there is a bar and a value, else nothing."""
        if self.bar is None or self.value is None:
            return ""
        return "✓" if self.bar.met(self.value) else "falls short"


@dataclass(frozen=True)
class Patience:
    """How long to measure: ``repeats`` rounds, fewer (but two) when ``seconds`` have passed."""

    repeats: int = 5
    seconds: int | float = 30


@dataclass(frozen=True)
class Pair:
    """A plain and a fast way of doing the same. ``agree`` is how far their results may differ, None where they are not
    compared; ``bar`` holds for the ratio."""

    what: str
    plain: Job
    fast: Job
    bar: Bar | None = None
    agree: float | None = None
    note: str = ""


def compare(key: str, pair: Pair, patience: Patience) -> Figure:
    """How many times faster the fast way of a pair is: the median over rounds of plain time over fast time.

    Both ways run once beforehand; raises :class:`HoiError` if their results differ by more than ``pair.agree``.
    """
    results = pair.plain(), pair.fast()
    notes = [pair.note] if pair.note else []
    if pair.agree is not None:
        apart = difference(*results)
        if not apart <= pair.agree:
            raise HoiError(
                f"{pair.what}: both ways must give the same to {pair.agree:g}, and they differ by {apart:.2g}.",
                "A short cut of the library is broken on this machine: please report it.",
            )
        notes.append(f"apart {apart:.1g}")
    del results
    plain, fast = alternate([pair.plain, pair.fast], patience)
    ratios = [slow / quick for slow, quick in zip(plain, fast, strict=True)]
    return replace(
        spread_of(key, pair.what, ratios, "×", pair.bar, ", ".join(notes)),
        plain=1e3 * statistics.median(plain),
        fast=1e3 * statistics.median(fast),
    )


def alternate(jobs: Sequence[Job], patience: Patience) -> list[list[float]]:
    """Seconds that each of ``jobs`` took in every round; each second round runs backwards, so that a machine that slows
    down slows all of them alike."""
    taken: list[list[float]] = [[] for _ in jobs]
    begin = time.perf_counter()
    for number in range(patience.repeats):
        if number >= 2 and time.perf_counter() - begin > patience.seconds:
            break
        order = range(len(jobs)) if number % 2 == 0 else reversed(range(len(jobs)))
        for i in order:
            taken[i].append(seconds(jobs[i]))
    return taken


def seconds(job: Job) -> float:
    """Wall time of one run, the GPU's work included."""
    _wait()
    start = time.perf_counter()
    job()
    _wait()
    return time.perf_counter() - start


def spread_of(
    key: str, what: str, values: Sequence[float], unit: str, bar: Bar | None = None, note: str = ""
) -> Figure:
    """The median of repeated values as a :class:`Figure`, with their spread."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Figure(key, what, statistics.median(values), unit, spread, len(values), bar, note=note)


def difference(a: object, b: object) -> float:
    """Largest absolute difference between two tensors, or two equally long sequences of them; NaN if any is."""
    if isinstance(a, Tensor):
        return float((a.detach().float() - b.detach().float()).abs().max())
    apart = [difference(x, y) for x, y in zip(a, b, strict=True)]
    return float(torch.tensor(apart).max())


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
