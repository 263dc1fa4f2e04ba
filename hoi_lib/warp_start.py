"""Where the library starts warp-lang: without its greeting, with compiled kernels in a folder that can be written."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType


@lru_cache(maxsize=1)
def start_warp() -> ModuleType:
    """The module ``warp``, initialised, saying nothing of its version or of a missing GPU driver.

    Compiled kernels are kept in ``WARP_CACHE_PATH``, else below ``HOI_CACHE`` or ``~/.cache/hoi_lib``, else in a
    temporary folder.
    """
    import warp as wp

    wp.config.quiet = True  # up to 1.12
    wp.config.log_level = 30  # from 1.13 on: warnings only
    if "WARP_CACHE_PATH" not in os.environ and wp.config.kernel_cache_dir is None:
        wp.config.kernel_cache_dir = str(_cache_folder())  # warp adds its version
    with _native_silence():
        wp.init()
    return wp


def _cache_folder() -> Path:
    home = Path(os.environ.get("HOI_CACHE") or Path("~/.cache/hoi_lib").expanduser())
    for folder in (home / "warp", Path(tempfile.gettempdir()) / f"hoi_lib_{os.getuid()}" / "warp"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="hoi_lib_warp_"))


@contextmanager
def _native_silence() -> Iterator[None]:
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
