"""Folders that hold one small text file of numbers per frame: read fast, joined by the frame number in the name.

A set of this kind has hundreds of thousands of files, so that opening them is the work: names come from one listing,
files are opened beside it, and a file's bytes become numbers in one call. A file that is not there leaves a gap in its
own folder; whatever is read from the folders beside it stays with its own frame.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from hoi_lib.data import raw

NAME = re.compile(r"(\d{6})\.txt")
LARGEST = 1 << 16  # bytes of a file of a few numbers


@dataclass(frozen=True, eq=False)
class FrameFiles:
    """The numbers in one folder: ``frames`` (N,) in rising order and the ``rows`` (N, C) of their files."""

    folder: Path
    frames: Int[np.ndarray, "N"]
    rows: Float[np.ndarray, "N C"]

    def file(self, frame: int) -> Path:
        """The file of a frame, there or not."""
        return self.folder / f"{frame:06d}.txt"

    def refuse(self, wrong: Bool[np.ndarray, "N"], reason: str, mend: str | None = raw.AGAIN) -> None:
        """Raise :class:`RawDataError` for the first file whose row is ``wrong``, if there is one."""
        if wrong.any():
            raise raw.damaged(self.file(int(self.frames[wrong.argmax()])), reason, mend)

    def refuse_infinite(self, matters: Bool[np.ndarray, "N"] | None = None, columns: slice = slice(None)) -> None:
        """Raise :class:`RawDataError` where one of the ``columns`` is no finite number in a row that ``matters``."""
        wrong = ~np.isfinite(self.rows[:, columns]).all(1)
        self.refuse(wrong if matters is None else wrong & matters, "holds a value that is no finite number")

    def spread(self, span: range) -> tuple[Float[np.ndarray, "L C"], Bool[np.ndarray, "L"]]:
        """One row for every frame of ``span``, zeros where there is no file, and where there is one."""
        inside = (self.frames >= span.start) & (self.frames < span.stop)
        place = self.frames[inside] - span.start
        rows, there = np.zeros((len(span), self.rows.shape[1])), np.zeros(len(span), bool)
        rows[place], there[place] = self.rows[inside], True
        return rows, there


def read_folder(folder: Path, count: int, hint: str = "") -> FrameFiles:
    """All files ``000000.txt`` … of a folder, ``count`` numbers each; other names are passed over.

    Raises :class:`RawDataError` for a folder without such files and for a file that is unreadable or holds another
    number of numbers; ``hint`` is added to that message. Whether the numbers are finite is for the caller to ask.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if NAME.fullmatch(entry.name))
    except OSError as error:
        raise raw.damaged(folder, error) from error
    if not names:
        raise raw.damaged(folder, "holds no files such as 000000.txt")
    rows = np.empty((len(names), count))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how numpy reports text that is no number
        for row, name in zip(rows, names, strict=True):
            row[:] = _numbers(folder, name, count, hint)
    return FrameFiles(folder, np.array([int(name[:6]) for name in names]), rows)


def span_of(tables: Sequence[FrameFiles], gaps: float) -> range:
    """The frames from the first to the last that any of the folders has.

    Raises :class:`RawDataError`, naming the folder and the first missing file, where more than the share ``gaps`` of
    them is missing in one.
    """
    span = range(min(int(t.frames[0]) for t in tables), 1 + max(int(t.frames[-1]) for t in tables))
    for table in tables:
        missing = len(span) - len(table.frames)
        if missing > gaps * len(span):
            late = np.flatnonzero(table.frames != np.arange(len(table.frames)) + span.start)
            first = span.start + int(late[0] if len(late) else len(table.frames))
            raise raw.damaged(table.folder, f"{missing} of {len(span)} frames are missing, the first {first:06d}.txt")
    return span


def last_known(known: Bool[np.ndarray, "L"]) -> Int[np.ndarray, "L"]:
    """For each frame the last one up to it that is ``known``, or the first known one before that: what is held."""
    index = np.where(known, np.arange(len(known)), -1)
    held = np.maximum.accumulate(index)
    return np.where(held < 0, known.argmax(), held)


def _numbers(folder: Path, name: str, count: int, hint: str) -> Float[np.ndarray, "C"]:
    path = f"{folder}/{name}"
    try:
        with open(path, "rb", buffering=0) as file:
            content = file.read(LARGEST)
        numbers = np.fromstring(content, sep=" ") if content.strip() else np.zeros(0)
    except (OSError, ValueError, DeprecationWarning) as error:
        reason = error if isinstance(error, OSError) else "not a file of numbers"
        raise raw.damaged(path, reason) from error
    if len(numbers) != count:
        raise raw.damaged(path, f"holds {len(numbers)} numbers, expected {count}{hint}" if len(numbers) else "empty")
    return numbers
