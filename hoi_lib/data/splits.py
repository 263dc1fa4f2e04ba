"""Which subject belongs to which split: a test hand is one that no training step has seen.

The rule is the one of Text2HOI on ARCTIC: whole subjects are held out, so objects and captions may return, hands not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hoi_lib.errors import ConfigError

SPLITS = {
    "train": ("s01", "s02", "s04", "s05", "s06", "s07", "s08", "s09"),
    "val": ("s03",),
    "test": ("s10",),
}
SUBJECTS = tuple(sorted(s for subjects in SPLITS.values() for s in subjects))


def subjects_of(split: str, splits: Mapping[str, Iterable[str]] = SPLITS) -> tuple[str, ...]:
    """Subjects of ``"train"``, ``"val"`` or ``"test"``, none where ``splits`` has an empty one.

    ``splits`` are those of the synthetic set unless given. Raises :class:`ConfigError` for any other name.
    """
    if split not in SPLITS:
        raise ConfigError(
            f"no split is called {split!r}: expected {', '.join(SPLITS)}.",
            "Splits are made by subject.",
            "chapter 4, “Splits”",
        )
    return tuple(splits.get(split, ()))


def split_of(subject: str) -> str:
    """The split that ``subject`` belongs to; raises :class:`ConfigError` for a subject that no split lists."""
    for split, subjects in SPLITS.items():
        if subject in subjects:
            return split
    raise ConfigError(f"subject {subject!r} is in no split: expected one of {', '.join(SUBJECTS)}.")


def leaks(train: Iterable[str], held_out: Iterable[str]) -> set[str]:
    """Subjects that stand on both sides; a split is sound when this is empty."""
    return set(train) & set(held_out)
