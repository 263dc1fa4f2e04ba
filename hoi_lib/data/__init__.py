"""Data: clips of hands and objects, from the synthetic set or from real ones, behind one store.

>>> from hoi_lib import data
>>> store = data.default()             # the synthetic set of the current profile, built once
>>> clip = store.subset("train")[0]    # a MotionClip
>>> sample = data.SampleSet(store)[0]  # one hand as tensors
"""

from __future__ import annotations

import os
from pathlib import Path

from hoi_lib import profiles
from hoi_lib.data.samples import SampleSet, sample_of
from hoi_lib.data.splits import SPLITS, split_of
from hoi_lib.data.store import ClipStore, load
from hoi_lib.errors import StoreError

__all__ = ["SPLITS", "ClipStore", "SampleSet", "cache_folder", "check", "default", "load", "sample_of", "split_of"]


def cache_folder(profile: str | None = None, seed: int = 0) -> Path:
    """Where the synthetic set of a profile is kept: ``HOI_CACHE`` or ``~/.cache/hoi_lib``, one folder per hand."""
    from hoi_lib.data import synthetic
    from hoi_lib.hand import load_hand

    home = Path(os.environ.get("HOI_CACHE") or Path("~/.cache/hoi_lib").expanduser())
    name = profiles.get(profile).name if profile else profiles.profile.name
    return home / "data" / f"synthetic_{name}_{seed}_v{synthetic.VERSION}_{load_hand().content_hash[:8]}"


def default(profile: str | None = None, progress: bool = True) -> ClipStore:
    """The synthetic set of the current profile; built at the first call, opened from the cache afterwards.

    A cached set that is damaged is built again.
    """
    from hoi_lib.data import synthetic

    folder = cache_folder(profile)
    try:
        return load(folder)
    except StoreError:
        return synthetic.build(folder, profile, progress=progress)


def check(folder: str | os.PathLike, progress: bool = True) -> list:
    """Measure the quality of a store: rows (name, value, bound, ok, detail); see :mod:`hoi_lib.data.quality`."""
    from hoi_lib.data import quality

    return quality.measure(folder, progress)
