"""Build the book: prepare the data, execute the chapters, write _build/html. Ends with the minutes it took.

The execution cache of Jupyter Book knows a notebook by its cells only. So a stamp of the library, the profile and the
versions lies beside it, and when that changes the whole build starts anew. Chapters that are not in the cache run side
by side (JOBS, two unless told) before Sphinx asks for them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
STAMP = BUILD / "stamp.txt"
TIMEOUT = 300  # seconds a cell


def stamp() -> str:
    """A hash of everything that can change what a cell prints, apart from the cell."""
    digest = hashlib.sha256()
    watched = [p for p in sorted((ROOT / "hoi_lib").rglob("*")) if p.is_file() and "__pycache__" not in p.parts]
    for path in [*watched, *sorted((ROOT / "book" / "records").glob("*.json")), ROOT / "requirements.txt"]:
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(path.read_bytes())
    digest.update(f"{os.environ.get('HOI_PROFILE', 'smoke')} {sys.version}".encode())
    return digest.hexdigest()


def drop_stale_build() -> None:
    """Delete the build when the library, the records or the profile are not those it was made with."""
    now = stamp()
    if BUILD.exists() and (not STAMP.exists() or STAMP.read_text() != now):
        print("- the library, a record or the profile changed: every chapter is executed again", flush=True)
        shutil.rmtree(BUILD)
    BUILD.mkdir(exist_ok=True)
    STAMP.write_text(now)


def prepare_data() -> None:
    """Make the synthetic set of this profile once, before several chapters ask for it at the same time."""
    from hoi_lib import data

    store = data.default()
    print(f"- data: {len(store)} clips in {store.folder}", flush=True)


def execute(jobs: int) -> None:
    """Execute the chapters that the cache does not hold. What fails is left to Sphinx, which says where and why."""
    from jupyter_cache import get_cache
    from jupyter_cache.executors import load_executor

    cache = get_cache(str(BUILD / ".jupyter_cache"))
    for record in cache.list_project_records():
        cache.remove_nb_from_project(record.pk)
    for path in chapters():
        cache.add_nb_to_project(str(path))
    waiting = cache.list_unexecuted()
    if not waiting:
        return
    print(f"- executing {len(waiting)} chapters, {jobs} at a time", flush=True)
    name = "local-parallel" if jobs > 1 else "local-serial"
    done = load_executor(name, cache).run_and_cache(timeout=TIMEOUT, allow_errors=False)
    for path in sorted(done.all(), key=lambda path: Path(path).stem):
        if path in done.succeeded:
            seconds = cache.match_cache_file(path).data["execution_seconds"]
            print(f"  {Path(path).stem:<24} {seconds / 60:4.1f} min", flush=True)
        else:
            print(f"  {Path(path).stem:<24} FAILED", flush=True)


def chapters() -> list[Path]:
    """The notebooks that _toc.yml names and that exist."""
    import yaml

    def files(node) -> list[str]:
        if isinstance(node, list):
            return [f for item in node for f in files(item)]
        if isinstance(node, dict):
            return [f for key, item in node.items() for f in ([item] if key == "file" else files(item))]
        return []

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [path for name in files(toc) if (path := ROOT / f"{name}.ipynb").exists()]


def main() -> int:
    """Build and report; the exit code is Sphinx's."""
    start = time.monotonic()
    jobs = int(os.environ.get("JOBS", "2"))
    os.environ["HOI_BOOK"] = "1"
    os.environ["HOI_PROFILE"] = os.environ.get("HOI_PROFILE", "smoke")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // jobs)))
    drop_stale_build()
    prepare_data()
    execute(jobs)
    os.environ.pop("OMP_NUM_THREADS")
    words = ["build", ".", "-n", "-W", "--keep-going"]
    print("+ jupyter-book", *words, flush=True)
    start_here = "import sys; sys.argv[0] = 'jupyter-book'; from jupyter_book.cli.main import main; main()"
    code = subprocess.run([sys.executable, "-c", start_here, *words], cwd=ROOT).returncode
    minutes = (time.monotonic() - start) / 60
    where = (BUILD / "html" / "index.html").relative_to(ROOT)
    print(f"\nbook: {'built, open ' + str(where) if code == 0 else 'FAILED'} ({minutes:.1f} min)")
    return code


if __name__ == "__main__":
    sys.exit(main())
