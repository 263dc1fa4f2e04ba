"""Change one cell of a chapter as coursework would, run the whole chapter again, and say whether it still runs.

    python scripts/try_changes.py [WORD …]      only changes whose chapter or description holds a word

A width, a schedule, a loss weight, a verb, an object: whoever changes one must not have to touch another cell. Each
change is made in a copy in memory; no notebook is written.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]


class Change(NamedTuple):
    """In ``chapter``, the one cell that holds ``old`` gets ``new`` in its place."""

    chapter: str
    what: str
    old: str
    new: str


CHANGES = (
    Change(
        "01_diffusion",
        "a schedule: noise that ends at 0.05",
        "linear(end=0.02)",
        "linear(end=0.05)",
    ),
    Change(
        "01_diffusion",
        "a motion: a later, weaker grasp",
        "start=0.15, hold=0.55, depth=1.0",
        "start=0.25, hold=0.6, depth=0.7",
    ),
    Change(
        "03_hand",
        "a pose: point",
        'named_pose("pinch")',
        'named_pose("point")',
    ),
    Change(
        "04_data",
        "a verb and an object: shake a bottle",
        'row["verb"] == "pour", row["category"] == "mug"',
        'row["verb"] == "shake", row["category"] == "bottle"',
    ),
    Change(
        "05_object_encoder",
        "objects: a phone and a ball",
        'kinds = ["mug", "hammer", "bottle", "bowl", "pliers", "laptop"]',
        'kinds = ["phone", "hammer", "ball", "bowl", "pliers", "notebook"]',
    ),
    Change(
        "06_refinement",
        "verbs: all but the last",
        "verbs = sorted(VERBS, key=lambda verb: VERB_RULES[verb][3])",
        "verbs = sorted(VERBS, key=lambda verb: VERB_RULES[verb][3])[:-1]",
    ),
    Change(
        "07_embeddings",
        "training: half the steps",
        "heard, steps=800) for name, each in codes",
        "heard, steps=400) for name, each in codes",
    ),
    Change(
        "08_denoiser",
        "a verb: shake",
        'row["verb"] == "pour"',
        'row["verb"] == "shake"',
    ),
    Change(
        "08_denoiser",
        "a width: 48",
        "for_profile(profile, hollow)",
        "for_profile(profile, hollow, width=48)",
    ),
    Change(
        "09_mixture_of_experts",
        "widths: experts of 3, 2 and 1 times 32",
        "(2 * profile.width, profile.width, profile.width // 2)",
        "(96, 64, 32)",
    ),
    Change(
        "09_mixture_of_experts",
        "a balance weight: 0.05 for 0.03",
        "0.03, 0.1, 0.3], list(range(16))",
        "0.05, 0.1, 0.3], list(range(16))",
    ),
    Change(
        "10_expert_groups",
        "a verb and an object: lift a bottle",
        'row["verb"] == "pour", row["category"] == "mug"',
        'row["verb"] == "lift", row["category"] == "bottle"',
    ),
    Change(
        "10_expert_groups",
        "a width: 320",
        "recommended(width=256)",
        "recommended(width=320)",
    ),
    Change(
        "11_router",
        "verbs: all but the last",
        'sorted({row["verb"] for row in default().table})',
        'sorted({row["verb"] for row in default().table})[:-1]',
    ),
    Change(
        "11_router",
        "an object: a hammer",
        'load_object("bottle_medium")',
        'load_object("hammer_medium")',
    ),
    Change(
        "12_reconstruction",
        "a noise level: 300",
        "torch.full((4,), 600)",
        "torch.full((4,), 300)",
    ),
    Change(
        "13_interaction",
        "a loss weight: contact twice as strong",
        '"contact": {"con": 20.0}',
        '"contact": {"con": 40.0}',
    ),
    Change(
        "13_interaction",
        "an object: the last that is held",
        'batch.object_name.index("can_medium")',
        "len(batch.object_name) - 1",
    ),
    Change(
        "14_total",
        "loss weights: contact 5, penetration 10",
        "chosen = dict(shipped)",
        'chosen = {**shipped, "con": 5.0, "pen": 10.0}',
    ),
    Change(
        "14_total",
        "weights of Eq. 15: three others",
        "(0.02, 0.1, 0.5, 2.0, 20.0)",
        "(0.05, 1.0, 40.0)",
    ),
    Change(
        "15_training",
        "a learning rate and more steps",
        'few = {"steps": "8",',
        'few = {"lr": "3e-4", "steps": "12",',
    ),
    Change(
        "15_training",
        "a width: 48",
        'few = {"steps": "8",',
        'few = {"denoiser.width": "48", "steps": "8",',
    ),
    Change(
        "16_sampling",
        "objects: three other shapes",
        '("shape_1000002", "shape_1000001", "shape_1000004")',
        '("shape_1000005", "shape_1000003", "shape_1000008")',
    ),
    Change(
        "16_sampling",
        "calls: 20",
        "CALLS = profile.sampling_steps",
        "CALLS = 20",
    ),
)


def attempt(change: Change) -> tuple[Change, str, int, float]:
    """What stopped the chapter, "" if nothing did; how many of its claims it said no longer hold; seconds."""
    start = time.monotonic()
    path = next(ROOT.glob(f"book/*/{change.chapter}.ipynb"))
    book = nbformat.read(path, as_version=4)
    cells = [c for c in book.cells if c.cell_type == "code" and change.old in c.source]
    if len(cells) != 1:
        return change, f"{len(cells)} cells hold {change.old!r}, expected one", 0, 0.0
    cells[0].source = cells[0].source.replace(change.old, change.new)
    fault, where = "", {"metadata": {"path": path.parent}}
    try:
        NotebookClient(book, timeout=300, kernel_name="python3", resources=where).execute()
    except CellExecutionError as error:
        outputs = [[o.output_type for o in c.get("outputs", [])] for c in book.cells]
        broken = next(i for i, kinds in enumerate(outputs) if "error" in kinds)
        fault = f"cell {broken}: {error.ename}: {error.evalue}"
    said = "".join(o.get("text", "") for c in book.cells for o in c.get("outputs", []))
    return change, fault, said.count("No longer true here"), time.monotonic() - start


def main(words: list[str]) -> int:
    """Try all changes, or those that hold one of the words; 1 if a chapter was stopped."""
    os.environ.setdefault("HOI_PROFILE", "smoke")
    os.environ["JPY_SESSION_NAME"] = "a reader's session"
    chosen = [c for c in CHANGES if not words or any(w in c.chapter or w in c.what for w in words)]
    if not chosen:
        print(
            f"no change holds {', '.join(words)}: expected a part of a chapter's name or of a change, such as 'width'"
        )
        return 2
    stopped = 0
    with ThreadPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
        for change, fault, claims, seconds in pool.map(attempt, chosen):
            stopped += bool(fault)
            end = fault or f"{claims} claims told" if claims or fault else ""
            row = f"{'FAIL' if fault else 'ok  '}  {change.chapter:<22}  {change.what:<38}  {seconds:4.0f} s  {end}"
            print(row.rstrip(), flush=True)
    print(f"changes: {len(chosen) - stopped} of {len(chosen)} chapters ran to their end")
    return bool(stopped)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
