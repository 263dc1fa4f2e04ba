"""Jobs in child processes come back in order, and their errors come back too."""

import pytest

from hoi_lib.data.splits import split_of
from hoi_lib.data.workers import run
from hoi_lib.errors import HoiError


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers):
    assert list(run(split_of, ["s03", "s10", "s01", "s02"], workers, progress=False)) == [
        "val",
        "test",
        "train",
        "train",
    ]


def test_an_error_in_a_child_is_raised_here_with_its_message():
    with pytest.raises(HoiError, match="s99"):
        list(run(split_of, ["s01", "s99", "s02"], 2, progress=False))


def test_no_jobs_start_nothing():
    assert list(run(split_of, [], progress=False)) == []
