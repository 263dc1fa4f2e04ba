"""The embedded set: ten people, twelve kinds of objects in three sizes, random shapes, twelve verbs.

:func:`plan` decides what each clip shows, :func:`build` stages all of them in parallel and writes a store. A clip
depends on the seed and on its number alone, so the number of processes changes nothing.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch

from hoi_lib import profiles
from hoi_lib.data import library, store
from hoi_lib.data.library import SHAPES, mirror_axis
from hoi_lib.data.people import PEOPLE
from hoi_lib.data.repertoire import SKILLS, Skill, skills
from hoi_lib.data.splits import SPLITS
from hoi_lib.data.staging import ClipSpec, make_clip
from hoi_lib.data.store import ClipStore
from hoi_lib.data.workers import run
from hoi_lib.hand import load_hand
from hoi_lib.motion import MotionClip
from hoi_lib.objects import CATEGORIES, load_object

VERSION = 1  # counts changes of what is generated
SHAPE_SHARE = 0.15  # of the clips show a random shape
BATCH = 32  # clips of one object that a process makes at a time


def plan(clips: int, seed: int = 0) -> list[ClipSpec]:
    """What each of ``clips`` clips shows.

    Verbs take turns, and within a verb its kinds of objects, so that small sets hold all of them; subjects take turns
    so that every split has its share; sizes, ways, sides and random shapes are drawn.
    """
    rng = np.random.default_rng([seed, 1])
    ways: dict[tuple[str, str], list[Skill]] = defaultdict(list)
    for skill in skills():
        ways[skill.verb, skill.category].append(skill)
    queues = {verb: _endless([c for c in row if c != "object"], rng) for verb, row in SKILLS.items()}
    people, verbs = _endless(_everybody(), rng), _endless(list(SKILLS), rng)
    specs, seen = [], defaultdict(int)
    for number in range(clips):
        verb, subject = next(verbs), next(people)
        shaped = number >= 2 * len(SKILLS) and "object" in SKILLS[verb] and rng.random() < SHAPE_SHARE * 12 / 8
        category = "object" if shaped else _next_kind(queues[verb], seen, number < 4 * len(SKILLS))
        seen[category] += 1
        skill = ways[verb, category][rng.integers(len(ways[verb, category]))]
        name = (
            SHAPES[rng.integers(len(SHAPES))]
            if shaped
            else f"{category}_{('small', 'medium', 'large')[rng.integers(3)]}"
        )
        left = bool(rng.random() > PEOPLE[subject].right)
        specs.append(
            ClipSpec(
                f"{subject}_{number:05d}_{verb.replace(' ', '_')}_{name}", (seed, number), subject, skill, name, left
            )
        )
    return specs


def _everybody() -> list[str]:
    return [s for subjects in SPLITS.values() for s in subjects]


def _endless(items: list[str], rng: np.random.Generator) -> Iterator[str]:
    """All items in random order, again and again."""
    while True:
        yield from (items[i] for i in rng.permutation(len(items)))


def _next_kind(queue: Iterator[str], seen: dict[str, int], scarce: bool) -> str:
    """The next kind of object of a verb; while clips are ``scarce``, the one of the next two that fewer clips show."""
    first = next(queue)
    return min((first, next(queue)), key=lambda kind: seen[kind]) if scarce else first


def make_clips(specs: list[ClipSpec]) -> list[MotionClip]:
    """Stage clips of one object: the work of one process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = load_object(specs[0].object)
        grasps = library.load((), progress=False)
        return [make_clip(spec, grasps, model) for spec in specs]
    finally:
        torch.set_num_threads(threads)


def build(
    out: str | os.PathLike,
    profile: profiles.Profile | str | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
    clips: int | None = None,
) -> ClipStore:
    """Build the synthetic set of a profile (or of ``clips`` clips) in the folder ``out`` and open it.

    The same seed gives the same bytes, whatever the number of ``workers`` (all cores by default). Grasps come from the
    library; those that it lacks are solved first. The folder appears when all is done, or not at all.
    """
    chosen = profiles.get(profile) if isinstance(profile, str) else profile or profiles.profile
    store.prepare(out)
    specs = plan(clips or chosen.clips, seed)
    library.load({spec.object for spec in specs}, progress, workers)
    batches = _batches(specs)
    staged: dict[str, MotionClip] = {}
    for part in run(make_clips, batches, workers, progress, "staging clips"):
        staged |= {clip.name: clip for clip in part}
    hand = load_hand("right")
    extra = {"generator": VERSION, "hand": hand.content_hash}
    ordered = [staged[spec.name] for spec in specs]
    return store.write(out, ordered, load_object, source="synthetic", profile=chosen.name, seed=seed, extra=extra)


def _batches(specs: list[ClipSpec]) -> list[list[ClipSpec]]:
    by_object = defaultdict(list)
    for spec in specs:
        by_object[spec.object].append(spec)
    return [group[i : i + BATCH] for group in by_object.values() for i in range(0, len(group), BATCH)]


__all__ = ["CATEGORIES", "VERSION", "build", "make_clips", "mirror_axis", "plan"]
