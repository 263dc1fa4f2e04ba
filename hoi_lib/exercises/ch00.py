"""Checks of chapter 0, "How to use this book"."""

from __future__ import annotations

from typing import Any

from hoi_lib.exercises import exercise, require

GRADES = ("bitwise", "close", "statistical")


@exercise(
    "sameness_grades",
    chapter="00",
    hint="Ask of each change: same bytes, same to rounding, or same on average over many draws?",
    wrong=[{"same seed": "bitwise", "other thread count": "bitwise", "other seed": "close"}],
)
def sameness_grades(answer: dict[str, Any]) -> None:
    """Which grade of "same" survives each of three changes?"""
    require(set(answer.values()) <= set(GRADES), f"each grade is one of {', '.join(GRADES)}")
    require(answer["same seed"] == "bitwise", "the same code, seed and machine repeat every byte")
    require(answer["other thread count"] == "close", "another order of the same sum changes only the last digits")
    require(answer["other seed"] == "statistical", "another seed draws other numbers from the same distribution")
