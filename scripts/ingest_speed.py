"""Measure ``hoi data build`` on a tree as large as ARCTIC: clips per second and core, and peak memory.

    python scripts/ingest_speed.py                    # 4 597 clips, about 500 MB in a temporary folder
    python scripts/ingest_speed.py --clips 300 --workers 2

Ends with exit code 1 when a bound is missed. Clips per second of processor time are what one undisturbed core does;
those of wall time depend on what else the machine is doing.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fixtures import large  # noqa: E402

from hoi_lib.data import ingest  # noqa: E402
from hoi_lib.data.workers import cores  # noqa: E402

SPEED, MEMORY = 20.0, 1500.0  # clips per second and core, megabytes


class Memory:
    """Peak memory in megabytes of this process and its children together, each shared page counted once."""

    def __init__(self, every: float = 0.2):
        self.peak, self._every, self._stop = 0.0, every, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._every):
            self.peak = max(self.peak, sum(map(share, family(os.getpid()))))


def family(pid: int) -> list[int]:
    """A process and its children."""
    try:
        children = Path(f"/proc/{pid}/task").glob("*/children")
        return [pid, *(int(child) for file in children for child in file.read_text().split())]
    except OSError:
        return [pid]


def share(pid: int) -> float:
    """Proportional memory of a process in megabytes; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def processor() -> float:
    """Seconds that this process and its ended children have kept processors busy."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def measure(folder: Path, clips: int, workers: int) -> tuple[float, float]:
    """Write the tree, build it, print the figures; returns clips per processor second and peak memory in megabytes."""
    sequences = large.write(folder / "raw", clips, progress=True)
    size = sum(path.stat().st_size for path in (folder / "raw").rglob("*") if path.is_file())
    print(f"written: {clips} clips in {sequences} sequences, {size / 1e6:.0f} MB", flush=True)
    before, start = processor(), time.perf_counter()
    with Memory() as memory:
        report = ingest.build("arctic", folder / "raw", folder / "store", workers=workers, progress=sys.stderr.isatty())
    wall, busy = time.perf_counter() - start, processor() - before
    assert (report.clips, report.skipped) == (clips, []), report.skipped[:3]
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"wall time          {wall:8.1f} s with {workers} processes: {clips / wall / workers:.1f} clips/s and process"
    )
    print(f"processor time     {busy:8.1f} s: {clips / busy:.1f} clips/s and core (at least {SPEED:g})")
    print(f"memory, all        {memory.peak:8.0f} MB (at most {MEMORY:g}), largest child {largest:.0f} MB")
    return clips / busy, memory.peak


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=large.CLIPS)
    parser.add_argument("--workers", type=int, default=min(4, cores()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        speed, memory = measure(Path(folder), options.clips, options.workers)
    return int(speed < SPEED or memory > MEMORY)


if __name__ == "__main__":
    sys.exit(main())
