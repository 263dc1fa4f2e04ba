"""What a check of a data set prints: one row per figure."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One figure: what it is, what was measured, what was promised, and whether the promise is kept; ``ok`` is None
    for a figure that is worth noting and promised by nobody. ``detail`` explains a miss in a sentence."""

    name: str
    value: str
    bound: str
    ok: bool | None
    detail: str = ""

    @property
    def verdict(self) -> str:
        """The last word of a row: "met", "MISSED" or "noted"."""
        return "noted" if self.ok is None else "met" if self.ok else "MISSED"
