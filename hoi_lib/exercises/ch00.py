"""Checks of chapter 0, "How to use this book"."""

from __future__ import annotations

from typing import Any

from hoi_lib.exercises import exercise, require
from hoi_lib.sameness import DIFFERENT, GRADES, grade

ASKED = "metrics.verb/pour/mpjpe"  # of the record laptop_test


@exercise(
    "numbers_in_a_clip",
    chapter="00",
    hint="Five seconds are 150 frames. One hand in one frame is 3 numbers and 16 rotations of 6 numbers each.",
    wrong=[14_850, 99, 28_800, 2_970],
)
def numbers_in_a_clip(answer: Any) -> None:
    """How many numbers does the model produce for five seconds of two hands?"""
    require(answer != 14_850, "there are two hands")
    require(answer != 28_800, "the place of the wrist needs 3 numbers a frame, too")
    require(answer != 2_970, "there are 30 frames in a second")
    require(answer == 29_700, "frames × hands × numbers of one hand in one frame")


@exercise(
    "record_behind_a_number",
    chapter="00",
    hint="records.book() gives every record by name; loop over record['metrics'] and compare value and unit.",
    wrong=[
        {"record": "laptop_test", "key": "metrics.mpjpe"},
        {"record": "laptop_val", "key": ASKED},
        {"record": "laptop_test", "key": "verb/pour/mpjpe"},
    ],
)
def record_behind_a_number(answer: Any) -> None:
    """In which record, and under which key, stands the number on the page?"""
    from hoi_lib import records

    found = records.book()
    name, key = str(answer["record"]).removesuffix(".json"), str(answer["key"])
    require(name in found, f"there is no record {name!r}; there are {', '.join(found)}")
    require(key.startswith("metrics."), "the key begins at the top of the record, with “metrics.”")
    entry = found[name]["metrics"].get(key.removeprefix("metrics."))
    require(entry is not None, f"{name!r} holds nothing under {key!r}")
    asked = found["laptop_test"]["metrics"][ASKED.removeprefix("metrics.")]
    require(entry["value"] == asked["value"] and entry["unit"] == asked["unit"], "another number stands there")


@exercise(
    "broken_seed",
    chapter="00",
    hint="torch.randn without generator= draws from the global generator, whose state moves on with every call.",
    wrong=[
        {"function": lambda seed: seed * _numbers(), "grade": "statistical"},
        {"function": lambda seed: _drawn(seed), "grade": "bitwise"},
        {"function": lambda seed: _drawn(None), "grade": "bitwise"},
    ],
)
def broken_seed(answer: Any) -> None:
    """Which grade of the same survives in a function that ignores its seed?"""
    function, survives = answer["function"], answer["grade"]
    require(survives in (*GRADES, DIFFERENT), f"the grade is one of {', '.join((*GRADES, DIFFERENT))}")
    first, second = _plain(function(0)), _plain(function(0))
    require(first.shape == (400,), "one distance for each of 400 hands")
    got = grade(first, second)
    require(got != "bitwise", "the function still obeys its seed: two calls gave the same bytes")
    require(got == "statistical", f"two calls gave results that are {got}: the distribution changed, too")
    require(survives == got, "run it twice with one seed and compare with grade()")


@exercise(
    "paired_draws",
    chapter="00",
    hint="What makes two reaches differ most is the pose. Can both hands make the same 20 poses?",
    wrong=[lambda: _numbers()[:20], lambda: _numbers(), lambda: 0 * _numbers()[:20]],
)
def paired_draws(answer: Any) -> None:
    """How can 20 draws show that a hand reaches 6 mm farther?"""
    import numpy as np

    gaps = _plain(answer())
    require(gaps.shape == (20,), "20 differences, one for each pair of hands")
    require(not np.allclose(gaps, 0), "the two hands have to differ in their shape")
    error = gaps.std(ddof=1) / np.sqrt(len(gaps))
    require(gaps.mean() > 0, "longer minus ordinary, so the differences are mostly above zero")
    require(gaps.mean() > 4 * error, "the differences scatter too much: compare the hands in the same poses")
    require(3 < gaps.mean() < 10, "in millimetres, the mean difference is about 6")


def _plain(result: Any) -> Any:
    """Tensor or list as a float64 array."""
    import numpy as np

    return np.asarray(result, np.float64)


def _numbers() -> Any:
    """400 random numbers of no meaning."""
    return _drawn(None)


def _drawn(seed: int | None) -> Any:
    """400 numbers from a seed, or from nowhere in particular."""
    import numpy as np

    return 120 + 30 * np.random.default_rng(seed).normal(size=400)
