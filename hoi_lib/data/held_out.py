"""The held-out set: recorded truth on the twenty shapes that no training ever shows, as a stranger's mesh would be.

Staged by the same code as the synthetic set, with the test subject's hand, so that the evaluator reads it like any
other store. Its grasps are solved once and kept beside the library, in a file of their own:
``python -m hoi_lib.data.held_out`` solves them anew (some minutes) and writes ``hoi_lib/assets/grasps/held_out.npz``.
"""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np
import torch

from hoi_lib.data import library, store
from hoi_lib.data.repertoire import Skill, skills
from hoi_lib.data.splits import subjects_of
from hoi_lib.data.staging import ClipSpec, make_clip
from hoi_lib.data.store import ClipStore
from hoi_lib.data.workers import run
from hoi_lib.hand import load_hand
from hoi_lib.motion import MotionClip
from hoi_lib.objects import HELD_OUT_SEEDS, load_object

VERSION = 1  # counts changes of what is generated
ASSET = library.ASSET.with_name("held_out.npz")
SHAPES = tuple(f"shape_{seed}" for seed in HELD_OUT_SEEDS)
NUMBERS = 1_000_000  # clips are counted from here: no draw is one of the synthetic set's
CLIPS = 5  # per shape: two by each hand alone, and one by both together


def plan(seed: int = 0, shapes: tuple[str, ...] = SHAPES) -> list[ClipSpec]:
    """What the :data:`CLIPS` clips of each shape show.

    The verbs that suit any object take turns over the shapes; the ways to do them, and which hand begins, are drawn.
    """
    rng = np.random.default_rng([seed, 2])
    known = [skill for skill in skills() if skill.category == "object"]
    alone = {verb: [s for s in known if s.verb == verb and s.other is None] for verb in {s.verb: None for s in known}}
    both = [s for s in known if s.other is not None]
    (subject,), verbs, specs = subjects_of("test"), list(alone), []
    for shape in shapes:
        left = rng.permutation([False, True, False, True])
        for side in left:
            ways = alone[verbs[(len(specs) - len(specs) // CLIPS) % len(verbs)]]
            specs.append(_spec(len(specs), seed, subject, ways[rng.integers(len(ways))], shape, bool(side)))
        specs.append(_spec(len(specs), seed, subject, both[rng.integers(len(both))], shape, bool(rng.random() < 0.5)))
    return specs


def _spec(number: int, seed: int, subject: str, skill: Skill, shape: str, left: bool) -> ClipSpec:
    name = f"{subject}_{number:05d}_{skill.verb.replace(' ', '_')}_{shape}"
    return ClipSpec(name, (seed, NUMBERS + number), subject, skill, shape, left)


def make_clips(specs: list[ClipSpec]) -> list[MotionClip]:
    """Stage the clips of one shape: the work of one process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model, known = load_object(specs[0].object), grasps({specs[0].object}, progress=False)
        return [make_clip(spec, known, model) for spec in specs]
    finally:
        torch.set_num_threads(threads)


def grasps(shapes: set[str], progress: bool = True, workers: int | None = None) -> library.Library:
    """Grasps of the held-out ``shapes``: those that are shipped or, for another hand or shape, solved and cached."""
    known = _shipped()
    return known if all(known.fits(shape) for shape in shapes) else library.load(shapes, progress, workers)


@lru_cache(maxsize=1)
def _shipped() -> library.Library:
    return library.read(ASSET, load_hand("right"))


def build(
    out: str | os.PathLike,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
    shapes: tuple[str, ...] = SHAPES,
) -> ClipStore:
    """Build the held-out set in the folder ``out`` and open it: :data:`CLIPS` clips of each of ``shapes``.

    The same seed gives the same bytes, whatever the number of ``workers`` (all cores by default). The folder appears
    when all is done, or not at all. All clips belong to the test split.
    """
    store.prepare(out)
    specs = plan(seed, shapes)
    grasps(set(shapes), progress, workers)
    jobs = [[spec for spec in specs if spec.object == shape] for shape in shapes]
    clips = [clip for part in run(make_clips, jobs, workers, progress, "staging clips") for clip in part]
    extra = {"generator": VERSION, "hand": load_hand("right").content_hash}
    return store.write(out, clips, load_object, source="held-out", profile="held-out", seed=seed, extra=extra)


def main() -> None:
    """Solve the grasps of all held-out shapes and write the asset."""
    library.save(library.solve_many(list(SHAPES)), ASSET, load_hand("right"))
    print(f"{ASSET}: {ASSET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
