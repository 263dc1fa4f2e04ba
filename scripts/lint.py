"""``make lint``: ruff, then the book's own rules. Notes are printed and don't fail; everything else does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from rules import coverage, library, notebooks, pages, prose

ROOT = Path(__file__).resolve().parents[1]


def ruff(*words: str) -> int:
    """Run ruff, showing the command; returns its exit code."""
    print("+ ruff", *words, flush=True)
    return subprocess.run([sys.executable, "-m", "ruff", *words], cwd=ROOT).returncode


def main() -> int:
    """Run all rules and print what they found."""
    failed = ruff("check", ".") + ruff("format", "--check", ".")
    findings = [f for module in (library, notebooks, prose, coverage, pages) for f in module.check(ROOT)]
    for finding in sorted(findings, key=lambda f: (not f.note, str(f.path))):
        print(("note  " if finding.note else "fault ") + str(finding))
    faults = sum(not f.note for f in findings)
    print(f"lint: {faults} faults, {len(findings) - faults} notes, ruff {'failed' if failed else 'clean'}")
    return bool(failed or faults)


if __name__ == "__main__":
    sys.exit(main())
