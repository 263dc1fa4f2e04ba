"""Downloaded data sets: what every reader offers, and how their files are opened without trusting them.

A set's :class:`Reader` turns its folder, as downloaded, into :class:`~hoi_lib.motion.MotionClip` records, one
sequence at a time. Files go through the functions of this module: a pickle inside a numpy file may rebuild arrays,
numbers, text and plain containers and nothing else, no length that a file states is believed before it is compared
with the bytes that are there, and every kind of damage ends in one :class:`RawDataError` that names file and reason.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import tokenize
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path, PurePosixPath

import numpy as np

from hoi_lib.data.numpyfile import Refused, parse, unpickle
from hoi_lib.errors import ConfigError, RawDataError
from hoi_lib.motion import MotionClip
from hoi_lib.objects import ObjectModel

READERS = {
    "arctic": "hoi_lib.data.arctic:Arctic",
    "grab": "hoi_lib.data.grab:Grab",
    "h2o": "hoi_lib.data.h2o:H2O",
    "text2hoi": "hoi_lib.data.text2hoi:Text2HOI",
    "own": "hoi_lib.data.own:Own",
}
CHAPTER = "chapter 4, “Real data”"
AGAIN = "Download this file again."
MEMBER_LIMIT = 8 << 30  # bytes of one array in an archive
Shape = tuple[int | None, ...]


class PartlyRead(RawDataError):
    """Part of a sequence could not be read; ``clips`` are those of the rest."""

    def __init__(self, what: str, clips: list[MotionClip]):
        super().__init__(what, None, CHAPTER)
        self.clips = clips


class Reader(ABC):
    """The sequences of one downloaded data set.

    Made from the folder and the set's options; making it checks the layout, cheaply, and raises
    :class:`RawDataError` where no known one is found. Readers are made anew in every process.
    """

    name: str  # "arctic"
    splits: dict[str, tuple[str, ...]]  # subjects of "train", "val" and "test"; "val" may be empty
    version: int = 1  # counts changes of what is read: sequences kept by an older one are read again

    @abstractmethod
    def sequences(self) -> list[str]:
        """Sorted names of everything there is to read ("s01/box_grab_01"), damaged or not; no file is opened."""

    @abstractmethod
    def read(self, sequence: str) -> list[MotionClip]:
        """The clips of one sequence with float64 arrays, names unique over the set; none where the set's own rules
        skip it. Raises :class:`RawDataError`, whose text starts with a path, where a file is damaged or missing; as
        :class:`PartlyRead` it brings what could be read all the same."""

    @abstractmethod
    def object(self, name: str) -> ObjectModel:
        """The model of one object, the same for every clip; raises :class:`RawDataError`."""

    @property
    @abstractmethod
    def objects(self) -> tuple[str, ...]:
        """Names of the objects that :meth:`object` knows, sorted."""

    @property
    @abstractmethod
    def notes(self) -> dict:
        """What a store's manifest tells of where its clips come from: format variant, options. Plain JSON values."""

    @property
    def cautions(self) -> list[str]:
        """What is not there and changes every clip, in words for whoever builds: nothing unless a reader says so."""
        return []

    def files(self, sequence: str) -> list[Path]:
        """The files and folders that :meth:`read` depends on for this sequence, there or not.

        A finished sequence is not read again while their sizes and times stay the same; a folder stands for the
        files directly in it. An empty list means that nothing is known: the sequence is read at every start.
        """
        return []


def reader_for(name: str, folder: str | os.PathLike, /, **options: object) -> Reader:
    """The reader of the set ``name`` on a downloaded folder: a key of :data:`READERS`, or "module:Class" of your own.

    Raises :class:`ConfigError` for an unknown set or option and :class:`RawDataError` for a folder of another layout.
    """
    target = READERS.get(name, name)
    if ":" not in target:
        raise ConfigError(f"no data set is called {name!r}: expected one of {', '.join(READERS)}.", None, CHAPTER)
    module, kind = target.split(":")
    folder = Path(folder)
    if not folder.is_dir():
        raise RawDataError(f"{folder}: no such folder", f"--raw names the downloaded {name} folder.", CHAPTER)
    make = getattr(import_module(module), kind)
    try:
        return make(folder, **options)
    except TypeError as error:
        if not re.search("unexpected keyword argument|multiple values for argument", str(error)):
            raise
        option = re.search(r"argument '(\w+)'", str(error))
        raise ConfigError(f"{name} has no option {option[1] if option else options!r}.", None, CHAPTER) from error


def choice(option: str, value: str, known: Iterable[str]) -> str:
    """``value`` if it is one of ``known``; raises :class:`ConfigError` that names the option and what it may be."""
    if value not in known:
        raise ConfigError(f"{option}={value!r}: expected {' or '.join(known)}.", None, CHAPTER)
    return value


# ---------------------------------------------------------------------------------------------------------- opening

# what numpy, json, zipfile and pickle raise when they meet bytes that are not what they should be
DAMAGE = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError)
DAMAGE += (RecursionError, SyntaxError, tokenize.TokenError, NotImplementedError)
DAMAGE += (pickle.UnpicklingError, zipfile.BadZipFile, zlib.error)


def damaged(path: str | os.PathLike, reason: object, mend: str | None = AGAIN) -> RawDataError:
    """The error for a file that is missing or not what its format says, ready to raise; ``reason`` a text or error."""
    if isinstance(reason, FileNotFoundError):
        return RawDataError(f"{path}: missing", mend, CHAPTER)
    if isinstance(reason, MemoryError | RecursionError):
        reason = "states a size that cannot be"
    if isinstance(reason, OSError) and reason.strerror:
        reason = reason.strerror
    text = " ".join(str(reason).split())[:200] or type(reason).__name__
    return RawDataError(f"{path}: {text}", mend, CHAPTER)


def folders(path: Path) -> list[str]:
    """Names of the folders in ``path``, sorted; none where it is not there."""
    try:
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise damaged(path, error, None) from error


def read_bytes(path: str | os.PathLike) -> bytes:
    """The content of a file that is there and not empty, else :class:`RawDataError`."""
    try:
        content = Path(path).read_bytes()
    except (OSError, MemoryError, ValueError) as error:
        raise damaged(path, error) from error
    if not content:
        raise damaged(path, "empty file")
    return content


def read_text(path: str | os.PathLike) -> str:
    """The content of a UTF-8 text file that is there and not empty, else :class:`RawDataError`."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise damaged(path, f"not a text file: byte {error.start} is no UTF-8") from error


def load_npy(path: str | os.PathLike) -> np.ndarray | dict | list | str | int | float:
    """The array in an ``.npy`` file; what a 0-d object array holds (a dictionary, in ARCTIC) comes out of it.

    Raises :class:`RawDataError` for a file that is missing, truncated, too long or no numpy file, and for a pickle
    that asks for more than arrays, numbers, text and containers: nothing it names is run.
    """
    content = read_bytes(path)
    try:
        return parse(content)
    except Refused as error:
        raise damaged(path, error) from error
    except DAMAGE as error:
        raise damaged(path, f"no readable numpy file ({_short(error)})") from error


def load_pickle(path: str | os.PathLike) -> object:
    """What a pickle holds that names nothing but arrays, numbers, text and containers; else :class:`RawDataError`."""
    content = read_bytes(path)
    try:
        return unpickle(content)
    except Refused as error:
        raise damaged(path, error) from error
    except DAMAGE as error:
        raise damaged(path, f"no readable pickle ({_short(error)})") from error


def load_npz(path: str | os.PathLike, keys: Iterable[str] | None = None) -> dict[str, object]:
    """The arrays of an ``.npz`` file, or those called ``keys``, by name; objects as in :func:`load_npy`.

    Raises :class:`RawDataError` for a damaged archive, a checksum that does not hold, and a key that is not there.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            stored = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            wanted = list(stored) if keys is None else list(keys)
            if missing := [key for key in wanted if key not in stored]:
                raise Refused(f"lacks {', '.join(missing)}")
            return {key: _member(archive, stored[key], key) for key in wanted}
    except (Refused, FileNotFoundError) as error:
        raise damaged(path, error) from error
    except (*DAMAGE, RuntimeError) as error:  # RuntimeError: an entry that claims to be encrypted
        raise damaged(path, f"no readable .npz file ({_short(error)})") from error


def load_text_numbers(path: str | os.PathLike, count: int | None = None) -> np.ndarray:
    """The numbers (N,) float64 of a text file, separated by white space; exactly ``count`` of them where given.

    Raises :class:`RawDataError` for a file that is missing, empty, holds a word or a value that is not finite.
    """
    text = read_text(path)
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError as error:
        raise damaged(path, f"not a file of numbers ({_short(error)})") from error
    if count is not None and len(numbers) != count:
        raise damaged(path, f"holds {len(numbers)} numbers, expected {count}")
    if not np.isfinite(numbers).all() or "_" in text or not text.isascii():
        raise damaged(path, "holds a value that is no finite number")
    return numbers


def load_json(path: str | os.PathLike) -> object:
    """The content of a JSON file, else :class:`RawDataError`; NaN and infinities are refused."""
    text = read_text(path)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except DAMAGE as error:
        raise damaged(path, f"no readable JSON ({_short(error)})") from error


def expect(
    path: str | os.PathLike,
    what: str,
    array: object,
    shape: Shape,
    finite: bool = True,
    within: float | int | None = None,
) -> np.ndarray:
    """``array`` as float64 of the expected ``shape`` (None: any length above 0), or :class:`RawDataError`.

    ``what`` names it in the message; ``finite`` asks for finite numbers, ``within`` for magnitudes up to that bound
    in the unit of the file: a translation of 800 is no metre.
    """
    try:
        array = np.asarray(array)
    except DAMAGE as error:
        raise damaged(path, f"{what} is no array ({_short(error)})") from error
    fits = array.ndim == len(shape) and all(
        n == m if m is not None else n > 0 for n, m in zip(array.shape, shape, strict=True)
    )
    if array.dtype.kind not in "iuf" or not fits:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
        raise damaged(path, f"{what} is {array.dtype} {array.shape}, expected numbers {wanted}")
    array = array.astype(np.float64)
    if finite and not np.isfinite(array).all():
        raise damaged(path, f"{what} holds {int((~np.isfinite(array)).sum())} values that are not finite")
    if within is not None and array.size and not np.nanmax(np.abs(array)) <= within:
        raise damaged(path, f"{what} reaches {np.nanmax(np.abs(array)):.6g}, expected at most {within:g}", None)
    return array


def inside(root: str | os.PathLike, name: str) -> Path:
    """``root / name`` for a relative path that a file's content or an archive names and that stays within ``root``.

    Raises :class:`RawDataError` for an absolute path, a drive, a step upwards or a name that no file can have.
    """
    parts = PurePosixPath(str(name).replace("\\", "/"))
    if not parts.parts or parts.is_absolute() or ".." in parts.parts or re.search(r"[\x00-\x1f:]", str(name)):
        raise RawDataError(f"{root}: the path {str(name)!r} leads out of this folder: refused", None, CHAPTER)
    return Path(root, *parts.parts)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str) -> object:
    if info.file_size > MEMBER_LIMIT:
        raise Refused(f"{key} states {info.file_size} bytes")
    with archive.open(info) as file:
        content = file.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise Refused(f"{key} is cut off")
    try:
        return parse(content)
    except Refused as error:
        raise Refused(f"{key}: {error}") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _short(error: BaseException) -> str:
    """The first line of an error, or its kind."""
    if isinstance(error, MemoryError | RecursionError):
        return "it states a size that cannot be"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
