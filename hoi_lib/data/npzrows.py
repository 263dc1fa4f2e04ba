"""One array of a large .npz file, read row by row: what is in memory is one row, however many there are.

``numpy.load`` reads an array of an archive as a whole, which for a data set in one file is gigabytes. Here the bytes of
a row are found in the file. An array that was compressed is unpacked once into a nameless temporary file.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from hoi_lib.data import raw

LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field
BLOCK = 1 << 20


class Rows:
    """The array ``key`` of an .npz file as a sequence of its rows along the first axis.

    ``shape`` and ``dtype`` are those of the whole array. The first row that is asked for costs one pass over the array,
    which holds it against the archive's checksum. Raises :class:`RawDataError` for a damaged archive, another kind of
    array, and a length that does not fit its bytes.
    """

    def __init__(self, path: str | os.PathLike, key: str):
        self.path, self.key = Path(path), key
        self._file = None
        try:
            with zipfile.ZipFile(path) as archive:
                self._info = archive.getinfo(f"{key}.npy")
                with archive.open(self._info) as member:
                    self.shape, self.dtype, self._skip = _header(member)
        except (*raw.DAMAGE, RuntimeError) as error:
            raise self._damaged(error) from error
        if self.dtype.kind not in "iuf" or not self.shape:
            raise self._damaged(f"holds {self.dtype} {self.shape}, expected rows of numbers")
        self._row = int(np.prod(self.shape[1:], dtype=object)) * self.dtype.itemsize
        if self._info.file_size != self._skip + self.shape[0] * self._row:
            raise self._damaged(f"{self._info.file_size} bytes do not hold {self.dtype} {self.shape}")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        """Row ``index`` as stored, a copy in memory."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        try:
            if self._file is None:
                self._file, self._start = self._opened()
            self._file.seek(self._start + index * self._row)
            content = self._file.read(self._row)
        except (*raw.DAMAGE, RuntimeError) as error:
            raise self._damaged(error) from error
        if len(content) != self._row:
            raise self._damaged("is cut off")
        return np.frombuffer(content, self.dtype).reshape(self.shape[1:])

    def _opened(self) -> tuple:
        """A file whose bytes from a place onwards are the rows, after a pass over all of them."""
        stored = self._info.compress_type == zipfile.ZIP_STORED
        unpacked = None if stored else tempfile.TemporaryFile(prefix="hoi-")  # noqa: SIM115 - stays open
        with zipfile.ZipFile(self.path) as archive, archive.open(self._info) as member:
            if unpacked is not None:
                shutil.copyfileobj(member, unpacked, BLOCK)
                return unpacked, self._skip
            while member.read(BLOCK):  # its end compares the checksum
                pass
        file = open(self.path, "rb")  # noqa: SIM115 - stays open
        file.seek(self._info.header_offset)
        signature, name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        if signature != b"PK\3\4":
            raise zipfile.BadZipFile("an entry of the archive is not where its directory says")
        return file, self._info.header_offset + LOCAL_HEADER.size + name + extra + self._skip

    def _damaged(self, reason: object) -> Exception:
        if isinstance(reason, FileNotFoundError):
            return raw.damaged(self.path, reason)
        if isinstance(reason, KeyError):
            return raw.damaged(self.path, f"lacks {self.key}")
        return raw.damaged(self.path, f"{self.key}: {reason}")


def _header(member: zipfile.ZipExtFile) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and length in bytes of the header of an .npy file."""
    version = np.lib.format.read_magic(member)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"an .npy file of version {version}")
    shape, fortran, dtype = read[version](member)
    if fortran and len(shape) > 1:
        raise ValueError("its columns, not its rows, stand one after another")
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(f"a shape of {shape}")
    return shape, dtype, member.tell()


def keys(path: str | os.PathLike) -> set[str]:
    """Names of the arrays in an .npz file; :class:`RawDataError` where it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except raw.DAMAGE as error:
        raise raw.damaged(path, error) from error
