"""Marks that tie a test to the printed equation that it checks: the equation index is made from them."""

import pytest


def equation(paper, number):
    """Mark a test as a check of a printed equation, for instance ``@equation("MoEG-HOI", 5)``; marks can be stacked.

    Both arguments have to be written out as literals: :mod:`hoi_lib.equations` reads them without running the test.
    """
    if not isinstance(paper, str) or not isinstance(number, int):
        raise TypeError(f"equation({paper!r}, {number!r}): expected the paper's name and the equation's number.")
    return pytest.mark.equation(paper, number)
