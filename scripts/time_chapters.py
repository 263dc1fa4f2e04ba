"""Time every chapter alone, with its memory, and write ``book/records/chapters_<profile>.json``.

Each chapter runs in a kernel of its own on one, two and four cores (as far as the machine has them). The badge row and
chapter 0 read the result. Run it on a quiet machine after a change that moves the minutes:

    python scripts/time_chapters.py [chapter …]

With chapters named, only those are measured anew and the others keep their figures.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import nbformat
import psutil
from build_book import ROOT, chapters, prepare_data
from nbclient import NotebookClient

from hoi_lib import data, records
from hoi_lib.profiles import profile

CORES = (1, 2, 4)
REFERENCE = 2  # cores of continuous integration: its figures carry the plain names


class Watch(threading.Thread):
    """Samples the memory of this process's children until it is told to stop; ``peak`` in megabytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self._over = 0.0, threading.Event()

    def run(self) -> None:
        """Look every tenth of a second."""
        me = psutil.Process()
        while not self._over.wait(0.1):
            total = 0
            for child in me.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak = max(self.peak, total / 2**20)

    def stop(self) -> float:
        """Stop looking and return the peak."""
        self._over.set()
        self.join()
        return self.peak


def measure(path: Path, cores: int) -> tuple[float, float]:
    """Seconds and peak megabytes of one chapter on so many cores."""
    everything = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(everything)[:cores])
    os.environ["OMP_NUM_THREADS"] = str(cores)
    book = nbformat.read(path, as_version=4)
    watch, start = Watch(), time.monotonic()
    watch.start()
    try:
        where = {"metadata": {"path": path.parent}}
        NotebookClient(book, timeout=600, kernel_name="python3", resources=where).execute()
    finally:
        os.sched_setaffinity(0, everything)
        peak = watch.stop()
    return time.monotonic() - start, peak


def main(names: list[str]) -> int:
    """Measure the named chapters (default: all) and write the record."""
    os.environ["HOI_BOOK"] = "1"
    target = ROOT / "book" / "records" / f"chapters_{profile.name}.json"
    metrics = records.load(target)["metrics"] if target.exists() else {}
    known = {path.stem for path in chapters()}
    metrics = {key: entry for key, entry in metrics.items() if key.split("/")[0] in known}
    prepare_data()
    start = time.monotonic()
    for path in chapters():
        if names and path.stem not in names:
            continue
        for cores in [c for c in CORES if c <= len(os.sched_getaffinity(0))]:
            seconds, peak = measure(path, cores)
            kind = "seconds" if cores == REFERENCE else f"seconds_{cores}"
            metrics[f"{path.stem}/{kind}"] = records.metric(round(seconds, 2), 1, "s")
            if cores == REFERENCE:
                metrics[f"{path.stem}/memory"] = records.metric(round(peak), 1, "MB")
            print(f"{path.stem:<24} {cores} cores  {seconds:6.1f} s  {peak:6.0f} MB", flush=True)
    store = data.default()
    record = records.new(
        target.stem,
        config={"cores": list(CORES), "reference_cores": REFERENCE},
        seeds=[0],
        data={"fingerprint": store.fingerprint, "profile": profile.name},
        metrics=dict(sorted(metrics.items())),
        wall_time_s=time.monotonic() - start,
        sameness="statistical",
        notes=["Seconds of one chapter in a fresh kernel, its imports included, with the data made beforehand."],
    )
    print(f"wrote {records.write(record, target).relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
