"""Numbers inserted from records: the right value, readable, and a clear word when something is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
from hoi_records import insert, slug  # noqa: E402

from hoi_lib import records  # noqa: E402

RUN = {
    "metrics": {"cr": {"value": 0.8764, "n": 8, "spread": None, "unit": ""}},
    "wall_time_s": 71.5,
    "seeds": [0, 1],
    "config": {"gap": -0.0123},
    "name": "run",
}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("run:metrics.cr", "0.876"),
        ("run:metrics.cr | .1%", "87.6%"),
        ("run:metrics.cr.n", "8"),
        ("run : wall_time_s | .0f s", "72\u00a0s"),
        ("run:config.gap | *1000 .1f mm", "\u221212.3\u00a0mm"),
        ("run:seeds", "[0, 1]"),
    ],
)
def test_a_value_comes_formatted(text, expected):
    assert insert({"run": RUN}, text) == ("run", expected)


@pytest.mark.parametrize(
    "text, words",
    [
        ("other:metrics.cr", "'other' is not in book/records; there are: run"),
        ("run:metrics.fid", "metrics.fid"),
        ("run:name | .2f", "does not fit the format '.2f'"),
        ("run metrics", "expected NAME:path"),
    ],
)
def test_what_is_missing_is_named(text, words):
    with pytest.raises(ValueError, match=words):
        insert({"run": RUN}, text)


def test_every_committed_record_is_valid_and_has_an_anchor_of_its_own():
    found = records.book(ROOT / "book" / "records")
    assert len({slug(name) for name in found}) == len(found)
