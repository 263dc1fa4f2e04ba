"""The three sizes in which everything runs: ``smoke``, ``laptop``, ``full``.

``HOI_PROFILE`` chooses one, once, when this module is imported. Cells and tests read fields of the profile and never
branch on its name, so that the same cells run in a minute on a laptop and for an hour on a GPU.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from hoi_lib.errors import ConfigError


@dataclass(frozen=True)
class Profile:
    """Sizes of data, network and training. ``steps`` counts optimiser steps; ``points`` are what the network sees of an
    object; the losses see ``vertices`` of the hand and ``loss_points`` of the object, and those between the two every
    ``stride``-th frame (``full`` thins nothing)."""

    name: str
    clips: int  # synthetic clips
    width: int  # D
    blocks: int
    heads: int
    steps: int
    batch: int
    points: int
    vertices: int
    loss_points: int
    stride: int
    sampling_steps: int  # DDIM
    evaluation_clips: int  # samples generated for an evaluation; 0 means the whole split


PROFILES = {
    "smoke": Profile("smoke", 48, 32, 2, 4, 20, 8, 128, 78, 128, 4, 10, 8),
    "laptop": Profile("laptop", 1000, 128, 4, 4, 3000, 32, 256, 78, 256, 16, 50, 0),
    "full": Profile("full", 6000, 512, 8, 4, 30000, 32, 1024, 778, 1024, 1, 50, 0),
}


def get(name: str) -> Profile:
    """Return the profile called ``name``; raises :class:`ConfigError` for any other name than the three."""
    try:
        return PROFILES[name]
    except KeyError:
        raise ConfigError(
            f"no profile is called {name!r}: expected {', '.join(PROFILES)}.",
            "Set HOI_PROFILE or --profile to one of them.",
            "chapter 0, “Profiles”",
        ) from None


profile = get(os.environ.get("HOI_PROFILE", "smoke"))
