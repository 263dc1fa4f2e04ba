"""Grades of sameness: each is found where it holds by construction, and none is given away."""

from __future__ import annotations

import numpy as np
import pytest

from hoi_lib.sameness import GRADES, grade

DRAWS = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)


def test_the_same_bytes_are_bitwise_the_same():
    assert grade(DRAWS, DRAWS.copy()) == "bitwise"


def test_one_flipped_bit_is_close_and_not_bitwise():
    other = DRAWS.copy()
    other.view(np.uint32)[7, 1] ^= 1
    assert grade(DRAWS, other) == "close"


def test_the_same_numbers_in_another_type_are_close():
    assert grade(DRAWS, DRAWS.astype(np.float64)) == "close"


def test_a_sum_in_another_order_is_close():
    columns = DRAWS.sum(0), DRAWS[::-1].sum(0)
    assert grade(*columns) in GRADES[:2]


def test_other_draws_of_one_distribution_are_statistically_the_same():
    other = np.random.default_rng(1).normal(size=DRAWS.shape)
    assert grade(DRAWS, other) == "statistical"


def test_a_shift_of_half_a_deviation_is_different():
    other = np.random.default_rng(1).normal(size=DRAWS.shape) + [0, 0, 0.5]
    assert grade(DRAWS, other) == "different"


def test_a_single_number_has_no_statistics():
    assert grade(1.0, 1.1) == "different"
    assert grade([1.0], [1.1]) == "different"


def test_zero_and_not_quite_zero_are_different():
    assert grade(np.zeros(3), np.full(3, 1e-9)) == "different"


def test_false_alarms_are_rare():
    rng = np.random.default_rng(2)
    grades = [grade(rng.normal(size=(50, 4)), rng.normal(size=(50, 4))) for _ in range(300)]
    assert grades.count("statistical") >= 295


@pytest.mark.parametrize("pair, words", [((np.zeros(2), np.zeros(3)), "shape"), (([np.nan], [0.0]), "finite")])
def test_what_cannot_be_compared_is_refused(pair, words):
    with pytest.raises(ValueError, match=words):
        grade(*pair)
