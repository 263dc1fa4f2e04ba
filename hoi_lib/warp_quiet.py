"""warp-lang without its greeting: the one place where the library starts it."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType


@lru_cache(maxsize=1)
def start_warp() -> ModuleType:
    """The module ``warp``, initialised, saying nothing of its version or of a missing GPU driver."""
    import warp as wp

    wp.config.quiet = True  # up to 1.12
    wp.config.log_level = 30  # from 1.13: warnings only
    with _native_silence():
        wp.init()
    return wp


@contextmanager
def _native_silence():
    """Send what C code writes to the error stream nowhere: a notebook would show it in red."""
    sys.stderr.flush()
    keep, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(keep, 2)
        os.close(keep)
        os.close(sink)
