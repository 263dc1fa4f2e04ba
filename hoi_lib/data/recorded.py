"""Rows of the check for recorded sets: what was published, what must hold, and what is worth knowing.

A recording keeps no promise of contact or comfort, so that most of its figures are noted, not judged. What must hold
is what a loader can break: splits by subject, 30 frames a second, metres, rotations, numbers that are finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hoi_lib.data.figures import Row
from hoi_lib.data.fingers import ANATOMY
from hoi_lib.data.published import PUBLISHED
from hoi_lib.data.raw import READERS
from hoi_lib.data.splits import leaks
from hoi_lib.data.store import ClipStore
from hoi_lib.motion import FPS

if TYPE_CHECKING:
    from hoi_lib.data.quality import Measured

WORDS = {"text_keys": "captions", "pairs": "pairs of verb and object"}


def is_recorded(store: ClipStore) -> bool:
    """True for a store that was read from recordings, one's own included."""
    return store.source in READERS or store.source in PUBLISHED


def table_rows(store: ClipStore) -> list[Row]:
    """Counts beside the published ones, splits, frame rate and lengths, from the clip table alone."""
    table = store.table
    parts = {split: {r["subject"] for r in store.subset(split).table} for split in store.splits}
    shared = set().union(*(leaks(a, b) for x, a in parts.items() for y, b in parts.items() if x < y))
    rates, lengths = sorted({r["fps"] for r in table}), [r["frames"] for r in table]
    nobody = sum(not r["hands"] for r in table)
    return [
        Row("clips, all files intact", str(len(table)), "> 0", len(table) > 0),
        *_published_rows(store),
        Row("sequences left out as unreadable", str(len(store.skipped)), "0", None if store.skipped else True),
        Row("subjects in more than one split", str(len(shared)), "0", not shared),
        *[Row(f"clips for {split}", str(len(store.subset(split))), "", None) for split in store.splits],
        Row("frames a second", ", ".join(map(str, rates)), str(FPS), rates == [FPS]),
        Row("frames per clip", f"{min(lengths)}–{max(lengths)}", "≥ 2", min(lengths) >= 2),
        Row("clips without a hand", str(nobody), "0", nobody == 0),
    ]


def counts(store: ClipStore) -> dict[str, int]:
    """What a store holds of everything that has a published count, under the names of :class:`Published`."""
    table = store.table
    return {
        "clips": len(table),
        "text_keys": len({r["caption"].lower() for r in table}),
        "verbs": len({r["verb"] for r in table}),
        "pairs": len({(r["verb"], r["category"]) for r in table}),
        "subjects": len(store.subjects),
        "objects": len(store.objects),
    }


def _published_rows(store: ClipStore) -> list[Row]:
    """A count that differs is noted and not a fault: part of a set is a set, too."""
    if store.source not in PUBLISHED:
        return []
    found, rows = counts(store), []
    for name, figure, _ in PUBLISHED[store.source].rows():
        if name in found:
            same = found[name] == figure
            rows.append(Row(WORDS.get(name, name), str(found[name]), f"published {figure}", True if same else None))
    return rows


def geometry_rows(measured: Sequence[Measured]) -> list[Row]:
    """Contact, depth, joints and wrists of the recording itself: the ceiling of every table made from it."""
    distance, depth = (np.concatenate([getattr(m, k) for m in measured]) for k in ("distance", "depth"))
    beyond = np.array([m.beyond > ANATOMY for m in measured])
    acceleration = np.median([m.acceleration for m in measured])
    lowest = 1000 * np.quantile([m.lowest for m in measured], 0.01)
    rough = np.median([m.rough for m in measured])
    return [
        Row("contact ratio, all frames", f"{(distance < 0.005).mean():.3f}", "", None),
        Row("frames deeper than 10 mm", f"{(depth > 0.01).mean():.4f}", "", None),
        *shapeless_rows(measured),
        Row("hands with a joint beyond its range", f"{beyond.mean():.3f}", "", None),
        Row("peak wrist acceleration, usual (m/s²)", f"{acceleration:.1f}", "", None),
        Row("lowest vertex, 1st percentile (mm)", f"{lowest:.0f}", "", None),
        Row("acceleration power above 10 Hz, usual", f"{rough:.4f}", "", None),
    ]


def shapeless_rows(measured: Sequence[Measured]) -> list[Row]:
    """Contact and depth of the same numbers read with zero betas, as several code bases read them: wrists move then.

    Noted, not promised; both are of every fifth measured frame.
    """
    distance, depth = (np.concatenate([getattr(m, f"shapeless_{k}") for m in measured]) for k in ("distance", "depth"))
    return [
        Row("contact ratio with zero betas", f"{(distance < 0.005).mean():.3f}", "", None),
        Row("frames deeper than 10 mm with zero betas", f"{(depth > 0.01).mean():.4f}", "", None),
    ]
