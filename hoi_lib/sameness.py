"""Three grades of "the same result", from strict to loose: bitwise, close, statistical.

*Bitwise*: every byte equal; what the same code gives on the same kind of machine with the same versions, threads and
seed. *Close*: equal to rounding; sums in another order, another processor. *Statistical*: other draws from the same
distribution; another seed. A run record declares which of them a second run will reach, and :func:`grade` says which
one it did.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hoi_lib.records import SAMENESS

GRADES = SAMENESS
DIFFERENT = "different"
Numbers = np.ndarray | float | Sequence


def grade(first: Numbers, second: Numbers, rtol: float = 1e-4, errors: float = 4.0) -> str:
    """The best grade of sameness between two results of one shape: an entry of :data:`GRADES`, or "different".

    *close* means that no number differs by more than ``rtol`` times the root mean square of the first result.
    *statistical* takes the first axis as independent draws, standardises nothing, and asks that no mean over it differs
    by more than ``errors`` standard errors of the difference; with fewer than two draws nothing can be said, and the
    answer is "different". Raises ``ValueError`` for results of different shapes or with numbers that are not finite.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape:
        raise ValueError(f"shapes {a.shape} and {b.shape}: only results of one shape can be compared")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a result holds numbers that are not finite")
    if a.dtype == b.dtype and a.tobytes() == b.tobytes():
        return "bitwise"
    a, b = a.astype(np.float64), b.astype(np.float64)
    scale = np.sqrt(np.mean(a**2))
    if np.abs(a - b).max() <= rtol * scale:
        return "close"
    return "statistical" if _same_means(a, b, errors) else DIFFERENT


def _same_means(a: np.ndarray, b: np.ndarray, errors: float) -> bool:
    draws = len(a) if a.ndim else 0
    if draws < 2:
        return False
    error = np.sqrt((a.var(0, ddof=1) + b.var(0, ddof=1)) / draws)
    return bool((np.abs(a.mean(0) - b.mean(0)) <= errors * error + 1e-12).all())
