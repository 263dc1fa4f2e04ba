"""Plant classic bugs one at a time and require that the tests see each of them (``make mutations``).

The bugs stand in ``tests/mutations/planted_bugs.py``. Each is planted in a copy of the package in a temporary folder
and the tests that it names run there; a bug that no test sees is a hole in the tests. Before that the same tests have
to be green on a copy without a bug. Words on the command line choose bugs by a part of their names.

Exit code 0: all caught; 1: some were not; 2: the list is stale, or a test is red without any bug.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "mutations"))
from planted_bugs import BUGS, Bug  # noqa: E402

TIMEOUT = 1800  # seconds for the tests of one bug
LINKED = ("assets",)  # folders of the package that no bug touches: linked, not copied


@dataclass(frozen=True)
class Hunt:
    """What came of one bug: the test that failed first (None: none did), and how long it took."""

    bug: Bug
    caught_by: str | None
    seconds: float
    said: str


def planted(bug: Bug, root: Path | None = None) -> str:
    """The bug's file with the bug in it; :class:`ValueError` if the old text does not occur exactly once."""
    text = ((root or ROOT) / bug.file).read_text(encoding="utf-8")
    count = text.count(bug.old)
    if count != 1 or bug.old == bug.new:
        raise ValueError(f"{bug.name}: its text occurs {count} times in {bug.file}: {bug.old.splitlines()[0].strip()}")
    return text.replace(bug.old, bug.new)


def stale(bugs: Iterable[Bug], root: Path | None = None) -> list[str]:
    """Why the list does not fit the code: texts that are gone or not unique, tests that are gone, broken syntax."""
    root, found = root or ROOT, []
    for bug in bugs:
        try:
            compile(planted(bug, root), bug.file, "exec")
        except (ValueError, SyntaxError, OSError) as error:
            found.append(str(error))
        found += [f"{bug.name}: there is no {t}" for t in bug.tests if not (root / t.partition("::")[0]).exists()]
    return found


def copy(folder: Path, bug: Bug | None = None) -> None:
    """Put the package and the tests into ``folder``, with one bug if there is one."""
    skip = shutil.ignore_patterns("__pycache__", *LINKED)
    shutil.copytree(ROOT / "hoi_lib", folder / "hoi_lib", ignore=skip)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in LINKED:
        (folder / "hoi_lib" / name).symlink_to(ROOT / "hoi_lib" / name)
    if bug:
        (folder / bug.file).write_text(planted(bug), encoding="utf-8")


def run(folder: Path, tests: Iterable[str]) -> subprocess.CompletedProcess:
    """Run tests on the copy in ``folder``, which comes before any installed package; stop at the first failure."""
    flags = ["-x", "-q", "--tb=line", "-rfE", "-p", "no:cacheprovider"]
    settings = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", *flags, *tests]
    try:
        return subprocess.run(
            command, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "no end within the time limit", "")


def hunt(bug: Bug) -> Hunt:
    """Plant one bug and run its tests."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hoi-bug-") as folder:
        copy(Path(folder), bug)
        done = run(Path(folder), bug.tests)
    failed = re.search(r"^FAILED (.+?)(?: - .*)?$", done.stdout, re.M)
    return Hunt(bug, failed[1] if failed else None, time.monotonic() - start, done.stdout + done.stderr)


def red_without_a_bug(bugs: Iterable[Bug], jobs: int) -> list[str]:
    """Tests that the list names and that fail on the code as it is, with what they said."""
    tests = sorted({test for bug in bugs for test in bug.tests})
    with tempfile.TemporaryDirectory(prefix="hoi-clean-") as folder, ThreadPoolExecutor(jobs) as pool:
        copy(Path(folder))
        results = list(pool.map(lambda test: run(Path(folder), [test]), tests))
    return [f"{test}:\n{r.stdout[-1500:]}" for test, r in zip(tests, results, strict=True) if r.returncode]


def main(words: list[str]) -> int:
    """Hunt all bugs, or those whose names hold one of ``words``, and print what caught them."""
    start, jobs = time.monotonic(), int(os.environ.get("JOBS", "2"))
    bugs = [bug for bug in BUGS if not words or any(word in bug.name for word in words)]
    if wrong := stale(bugs):
        print("The list no longer fits the code:", *wrong, sep="\n  ")
        return 2
    if wrong := red_without_a_bug(bugs, jobs):
        print("Red without any bug:", *wrong, sep="\n  ")
        return 2
    width = max(len(bug.name) for bug in bugs)
    with ThreadPoolExecutor(jobs) as pool:
        missed = []
        for done in pool.map(hunt, bugs):
            verdict = f"caught by {done.caught_by}" if done.caught_by else "MISSED"
            print(f"{done.bug.name:<{width}}  {verdict}  ({done.seconds:.0f} s)", flush=True)
            if not done.caught_by:
                missed.append(done)
    for done in missed:
        print(f"\n{done.bug.name}, planted in {done.bug.file}: {done.bug.lesson}\n{done.said[-1500:]}")
    minutes = (time.monotonic() - start) / 60
    print(f"mutations: {len(bugs)} planted, {len(bugs) - len(missed)} caught ({minutes:.1f} min)")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
