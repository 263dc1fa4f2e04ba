"""Run by the first line of every chapter: makes the library around this file importable, with what it needs.

Nothing is installed where `make setup` was run. In a bare Jupyter, VS Code or Colab, only those packages are installed
that are missing or too old, so that a machine keeps its own torch; the tools that build and test the book are left out.
In a session of a reader's own, a claim that fails after a change is then told instead of stopping the chapter.
"""

import importlib
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = ("maths and learning", "geometry", "pictures")  # of requirements.txt: what a chapter imports


def wanted(text: str) -> list[str]:
    """The lines of requirements.txt that stand under one of the ``SECTIONS``."""
    lines, inside = [], False
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#"):
            inside = line.lstrip("# ").startswith(SECTIONS)
        elif inside:
            lines.append(line)
    return lines


def missing(lines: list[str], version=metadata.version) -> list[str]:
    """Those requirements whose package is not installed, or is older than asked for."""
    from packaging.requirements import Requirement  # every Jupyter brings it

    def met(line: str) -> bool:
        requirement = Requirement(line)
        least = [part for part in requirement.specifier if not part.operator.startswith("<")]  # newer may stay
        try:
            return all(part.contains(version(requirement.name), prereleases=True) for part in least)
        except metadata.PackageNotFoundError:
            return False

    return [line for line in lines if not met(line)]


def main() -> None:
    """Install what is missing, put the clone on the path, and let failed claims speak in a reader's session."""
    lacking = missing(wanted((ROOT / "requirements.txt").read_text(encoding="utf-8")))
    if lacking:
        print(f"installing {len(lacking)} missing packages: {', '.join(lacking)}", flush=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", *lacking], check=True)
        importlib.invalidate_caches()
    if not util.find_spec("hoi_lib"):
        sys.path.insert(0, str(ROOT))
    importlib.import_module("hoi_lib.claims").soften()


main()
