"""Errors that teach: what came, what was expected, how to mend it, and which chapter explains it."""

from __future__ import annotations


class HoiError(Exception):
    """A mistake in the input that the user can mend.

    ``what`` says what came and what was expected, ``mend`` how to put it right, ``chapter`` where the book explains
    it. The command line prints the message after ``hoi:`` and ends with exit code 2.
    """

    def __init__(self, what: str, mend: str | None = None, chapter: str | None = None):
        self.what, self.mend, self.chapter = what, mend, chapter
        hint = " ".join(filter(None, [mend, f"See {chapter}." if chapter else None]))
        super().__init__(f"{what}\n     {hint}" if hint else what)


class MeshError(HoiError):
    """A mesh file is missing, empty, not finite, or not a surface."""


class TrajectoryError(HoiError):
    """An object trajectory has the wrong length, shape, or holds something that is no rotation."""


class HandFileError(HoiError):
    """A MANO file is missing, incomplete, or a pickle that names a class it must not."""


class StoreError(HoiError):
    """A data folder is missing, incomplete or damaged."""


class RawDataError(HoiError):
    """A file of a downloaded data set that is missing, damaged, or not what the format of its set says."""


class CheckpointError(HoiError):
    """A checkpoint is missing, damaged, or does not fit the model."""


class TextError(HoiError):
    """A sentence that cannot be used, or a text encoder that is not there."""


class ConfigError(HoiError):
    """A setting that does not exist or cannot have this value."""


class RecordError(HoiError):
    """A run record that is missing or does not fit its schema."""


class OutputError(HoiError):
    """A result that cannot be written: read-only folder, full disk."""
