"""``hoi bench``: what the library's short cuts save, what a training step spends, and how large the networks are.

Every ratio is measured in one process with the plain and the fast way in turn; a figure with a bar says whether it
keeps it. The jobs themselves are in :mod:`hoi_lib.benchjobs` and :mod:`hoi_lib.benchsteps`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from tqdm import tqdm

from hoi_lib import benchjobs, benchsteps, costs, profiles, records
from hoi_lib.benchjobs import Bench, Sizes
from hoi_lib.denoiserconfig import ROWS, DenoiserConfig, ablated, paper, recommended, release
from hoi_lib.errors import ConfigError
from hoi_lib.timing import Bar, Figure, Patience

LONG = ("compile", "memory")
"""Jobs that ``--quick`` leaves out."""

PRESETS = {"paper": paper, "release": release, "recommended": recommended}
SOURCES = {"paper": Bar(76, 83), "release": Bar(130.3, 132.9)}
"""Millions of trainable parameters that the sources imply: the sizes that the paper prints, and the 131.6 of the
published code to within 1 %."""
ENCODERS = {"encoder": "clip", "level_encoder": "longclip", "text_dim": 512, "level_dim": 512}  # the sources' own


@dataclass(frozen=True)
class Table:
    """One printed table: a title, the names of its columns, and its rows as text."""

    title: str
    header: list[str]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class Report:
    """What was measured: figures, the sizes behind them, seconds that it took, and the machine before and after."""

    figures: tuple[Figure, ...]
    sizes: Sizes
    wall_time_s: float
    before: str
    after: str


def run(only: Sequence[str] = (), quick: bool = False, progress: bool = True, bench: Bench | None = None) -> Report:
    """Measure the jobs named in ``only``, or all of them.

    ``quick`` takes fewer rounds and a fifth of the sampling steps and leaves out :data:`LONG`, unless they are named.
    ``bench`` brings sizes of its own. Raises :class:`ConfigError` for a name that no job has, and :class:`HoiError`
    where two ways of computing the same disagree.
    """
    chosen = selected(only, quick)
    bench = bench or (Bench(Sizes(steps=10), Patience(2, 5)) if quick else Bench())
    before, start = surroundings(), time.perf_counter()
    figures: list[Figure] = []
    with tqdm(chosen, desc="measuring", file=sys.stderr, disable=not progress or None, leave=False) as bar:
        for name in bar:
            bar.set_postfix_str(name)
            figures += JOBS[name](bench)
    return Report(tuple(figures), bench.sizes, time.perf_counter() - start, before, surroundings())


def selected(only: Sequence[str], quick: bool) -> list[str]:
    """The names of the jobs to run, in their order."""
    if unknown := set(only) - set(JOBS):
        raise ConfigError(f"nothing to measure is called {sorted(unknown)[0]!r}: expected {', '.join(JOBS)}.")
    left_out = LONG if quick else ()
    return [name for name in JOBS if name in only or (not only and name not in left_out)]


def parameters(bench: Bench | None = None) -> list[Figure]:
    """Millions of trainable parameters of the three readings, held against what their sources imply."""
    figures = []
    for name, preset in PRESETS.items():
        note = ""
        if name in SOURCES:
            same = costs.totals(costs.breakdown(preset(**ENCODERS)))
            idle = f", {same.idle / 1e6:.1f} of them idle" if same.idle else ""
            note = f"{same.parameters / 1e6:.1f} M with the source's text encoders{idle}"
        millions = costs.parameters(preset()) / 1e6
        figures.append(
            Figure(f"parameters/{name}", f"{name}(), trainable", millions, "M", bar=SOURCES.get(name), note=note)
        )
    return figures


JOBS: dict[str, Callable[[Bench], list[Figure]]] = {
    "executor": benchjobs.executor,
    "sampling": benchjobs.sampling,
    "text": benchjobs.text,
    "routing": benchjobs.routing,
    "hand": benchjobs.hand,
    "nearest": benchjobs.nearest,
    "bf16": benchjobs.half,
    "compile": benchjobs.compiled,
    "step": benchsteps.step,
    "memory": benchsteps.memory,
    "gpu": benchsteps.gpu,
    "parameters": parameters,
}
"""Everything that can be measured, by the name that ``--only`` takes."""


# --- tables ----------------------------------------------------------------------------------------------------------


def tables(figures: Sequence[Figure]) -> list[Table]:
    """The figures as tables, in the order in which they were measured; the networks' parts beside their parameters."""
    ratios = [f for f in figures if f.unit == "×" and not f.key.startswith("gpu")]
    counts = [f for f in figures if f.key.startswith("parameters/")]
    others = [f for f in figures if f not in ratios and f not in counts]
    found = []
    if ratios:
        header = ["short cut: plain way / fast way", "plain", "fast", "ratio", "", "bar", "", ""]
        found.append(Table("Ratios, in one process, in turn", header, [_ratio_row(f) for f in ratios]))
    for title, key in (("A training step", "step/"), ("Memory", "memory"), ("On a GPU", "gpu")):
        rows = [_row(f) for f in others if f.key.startswith(key)]
        if rows:
            found.append(Table(title, ["what", "value", "", "bar", "", ""], rows))
    if counts:
        found.append(Table("Parameters", ["network", "value", "", "bar", "", ""], [_row(f) for f in counts]))
        found += [parts_table(name, preset()) for name, preset in PRESETS.items()]
        found.append(ablation_table(paper()))
    return found


def _ratio_row(figure: Figure) -> tuple[str, ...]:
    times = ("", "") if figure.plain is None else (_time(figure.plain), _time(figure.fast))
    return (figure.what, *times, *_row(figure)[1:])


def _time(ms: float) -> str:
    return f"{ms / 1e3:.3g} s" if ms >= 1e3 else f"{ms:.3g} ms"


def _row(figure: Figure) -> tuple[str, ...]:
    value = ""
    if figure.value is not None:
        value = f"{figure.value:.{4 if figure.value >= 100 else 3}g} {figure.unit}".replace(" ×", "×")
    spread = "" if figure.spread is None else f"± {figure.spread:.2g} (n {figure.n})"
    bar = "" if figure.bar is None else str(figure.bar)
    return figure.what, value, spread, bar, figure.verdict, figure.note


def parts_table(name: str, config: DenoiserConfig) -> Table:
    """What a network is made of: parameters, those that work for one sample, those that can never learn, and the
    multiply-adds of a sample of 150 frames."""
    parts = costs.breakdown(config)
    rows = [
        (p.name, *(f"{n / 1e6:.2f} M" for n in (p.parameters, p.active, p.idle)), f"{p.macs / 1e9:.2f} G")
        for p in (*parts, costs.totals(parts))
    ]
    return Table(f"{name}(), by part", ["part", "trainable", "active", "idle", "MACs"], rows)


def ablation_table(base: DenoiserConfig) -> Table:
    """The rows of the paper's Tables 2 and 3 as networks: parameters, and those that work for one sample."""
    rows = []
    for name, config in {"full": base, **{row: ablated(row, base) for row in ROWS}}.items():
        whole = costs.totals(costs.breakdown(config))
        rows.append(
            (name, f"{whole.parameters / 1e6:.2f} M", f"{whole.active / 1e6:.2f} M", f"{whole.macs / 1e9:.2f} G")
        )
    return Table("Ablations of paper(), Tables 2 and 3", ["row", "trainable", "active", "MACs"], rows)


# --- where and when --------------------------------------------------------------------------------------------------


def surroundings() -> str:
    """One line on what the figures were measured with: threads, the machine's load, and its GPU if it has one."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{torch.get_num_threads()} threads, load {_load():.1f}, {device}"


def _load() -> float:
    """Processes that ran or waited over the last minute; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def record(report: Report) -> records.Record:
    """A run record of what was measured, with each bar's verdict among the notes."""
    figures = report.figures
    absent = [f"{f.key}: {f.note}" for f in figures if f.value is None]
    judged = [f"{f.key}: {f.verdict} ({f.bar})" for f in figures if f.verdict]
    return records.new(
        "bench",
        config=asdict(report.sizes),
        seeds=[0],
        data={"fingerprint": "requests made by hoi_lib.benchjobs", "profile": profiles.profile.name},
        metrics={f.key: records.metric(f.value, f.n, f.unit, f.spread) for f in figures if f.value is not None},
        wall_time_s=report.wall_time_s,
        sameness="statistical",
        notes=[f"before: {report.before}", f"after: {report.after}", *judged, *absent],
    )
