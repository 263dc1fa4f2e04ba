"""Numpy files that grow: rows go to disk as they come, so that a table of any length costs no memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Column:
    """An ``.npy`` file that grows row by row; whole, with its length in its header, once it is closed."""

    rows: int  # written so far

    def __init__(self, path: Path, width: int | None, dtype: type):
        self.rows, self._width, self._dtype = 0, () if width is None else (width,), np.dtype(dtype)
        self._file = open(path, "wb")  # noqa: SIM115
        self._write_header()

    def append(self, rows: NDArray) -> None:
        """Write rows (N, …) behind those before."""
        rows = np.ascontiguousarray(rows, self._dtype).reshape(len(rows), *self._width)
        self._file.write(rows.data)
        self.rows += len(rows)

    def __enter__(self) -> Column:
        return self

    def __exit__(self, *_) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        """Numpy pads its headers so that the number of rows may grow in place."""
        description = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.rows, *self._width),
        }
        np.lib.format.write_array_header_1_0(self._file, description)
