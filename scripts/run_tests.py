"""Run every check in turn and print one summary: lint, unit tests, the book's build, its pages, its notebooks.

Nothing stops at the first failure; the exit code says whether anything failed. What did not run is in the summary.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.book.browser import ABSENT, find_chromium  # noqa: E402

PAGES = "tests/book/test_pages.py"


def steps(jobs: str) -> dict[str, list[str]]:
    """Name and command of every step, in order."""
    pytest = [sys.executable, "-m", "pytest", "-n", jobs, "--dist", "loadfile", "-rfEs"]
    notebooks = [str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("book/*/*.ipynb"))]
    nbval = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300", "--durations=8", *notebooks]
    return {
        "lint": [sys.executable, "scripts/lint.py"],
        "unit tests": [*pytest, "--durations=10", "tests", f"--ignore={PAGES}"],
        "book": [sys.executable, "scripts/build_book.py"],
        "pages": [sys.executable, "-m", "pytest", "-rfEs", PAGES],
        "notebooks": [*pytest, *nbval],
    }


def run(command: list[str]) -> tuple[bool, str, float]:
    """Run one step, showing what it prints: (passed, last line that counts something, minutes)."""
    print(f"\n+ {' '.join(['python', *command[1:]])}", flush=True)
    start, last = time.monotonic(), ""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if ABSENT in line:  # said once, in the summary, and not for every test
            continue
        print(line, end="", flush=True)
        if re.search(r"\d+ (passed|failed|errors?|skipped)|^lint:|^book:", line):
            last = line.strip(" =\n")
    return process.wait() == 0, last, (time.monotonic() - start) / 60


def main() -> int:
    """Run all steps and print the summary."""
    start = time.monotonic()
    jobs = os.environ.get("JOBS", "2")
    os.environ.setdefault("HOI_PROFILE", "smoke")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(jobs))))
    results = {name: run(command) for name, command in steps(jobs).items()}
    print("\n" + "-" * 100)
    for name, (passed, last, minutes) in results.items():
        print(f"{'ok  ' if passed else 'FAIL'}  {name:<12} {minutes:5.1f} min   {last}")
    if find_chromium() is None:
        print(f"note  {ABSENT}")
    failed = [name for name, (passed, *_) in results.items() if not passed]
    total = (time.monotonic() - start) / 60
    print(f"test: {'all green' if not failed else 'FAILED: ' + ', '.join(failed)} ({total:.1f} min)")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
