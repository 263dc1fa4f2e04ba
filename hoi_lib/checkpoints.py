"""Checkpoints that survive: written whole or not at all, the last two kept, a damaged one passed over.

A checkpoint is one file ``step-00001200.pt``, a torch archive of tensors and plain values that
``torch.load(weights_only=True)`` opens (nothing in it is ever executed). The archive's own check sums tell a damaged
file from a whole one.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from hoi_lib.errors import CheckpointError
from hoi_lib.records import atomic

State = dict[str, Any]
DAMAGE = (  # what zipfile and torch raise for a file that is no whole checkpoint
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    pickle.UnpicklingError,
    RuntimeError,
    ValueError,
    KeyError,
    EOFError,
    NotImplementedError,
)


def save(folder: str | Path, step: int, state: State, keep: int = 2) -> Path:
    """Write ``state`` as the checkpoint of ``step`` and drop all but the last ``keep``.

    The older ones go only after the new one is on the disk. A disk that refuses raises
    :class:`~hoi_lib.errors.OutputError` and leaves every older checkpoint as it was.
    """
    folder = Path(folder)
    path = folder / f"step-{step:08d}.pt"
    with atomic(path) as temporary:
        _write(state, temporary)
    for old in found(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def found(folder: str | Path) -> list[Path]:
    """The checkpoint files of a folder, oldest first."""
    names = (path for path in Path(folder).glob("step-*.pt") if re.fullmatch(r"step-\d+\.pt", path.name))
    return sorted(names, key=lambda path: int(path.stem.removeprefix("step-")))


def load(path: str | Path) -> State:
    """Read one checkpoint to the CPU; :class:`CheckpointError` if it is missing, cut short or changed."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is None:
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint.") from None
    except DAMAGE:
        pass
    raise CheckpointError(f"{path}: the file is damaged.", "Delete it; --resume then takes the one before it.")


def latest(folder: str | Path) -> State | None:
    """The newest checkpoint that is whole, or None if there is none at all.

    A damaged file is passed over with a warning that names it. If every file is damaged, :class:`CheckpointError`.
    """
    paths = found(folder)
    for path in reversed(paths):
        try:
            return load(path)
        except CheckpointError as error:
            warnings.warn(f"{error.what} Trying the one before it.", stacklevel=2)
    if paths:
        raise CheckpointError(
            f"{folder}: none of its {len(paths)} checkpoints can be read.", "Start the run again without --resume."
        )
    return None


def _write(state: State, path: Path) -> None:
    """torch.save that reports a full disk as the OSError it is, not as torch's own RuntimeError."""
    with open(path, "wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None
