"""Numpy's own files, read without trusting them.

A pickle is a program. This one may rebuild arrays, numbers, text and plain containers: every instruction is looked at
before the first is carried out, every name that it asks for is looked up in a short table of stand-ins of our own, and
an array is made from its stated type and shape only where they fit the bytes that are there. So a damaged file can ask
neither for code nor for memory.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import warnings
from collections.abc import Callable, Iterable

import numpy as np


class Refused(ValueError):
    """Bytes that are no whole array, or that ask for what no array needs; its text is the reason."""


def parse(content: bytes) -> object:
    """The array in the bytes of an .npy file; what a 0-d object array holds comes out of it.

    Raises :class:`Refused` where the bytes are not one whole array or ask for more than arrays, numbers, text and
    containers, and whatever numpy and pickle raise where they make no sense at all.
    """
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    headers: dict[tuple[int, int], Callable] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in headers:
        raise Refused(f"an .npy file of version {version}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, on headers written by Python 2
        shape, fortran, dtype = headers[version](file)
    if dtype.kind == "O":
        return _objects(content[file.tell() :], shape)
    if dtype.hasobject or dtype.names is not None:
        raise Refused(f"holds records of {dtype}")
    count, there = _size(shape), len(content) - file.tell()
    if count * dtype.itemsize != there:
        raise Refused(f"{there} bytes of numbers, {dtype} {tuple(shape)} needs {count * dtype.itemsize}")
    flat = np.frombuffer(content, dtype, count, file.tell()) if count else np.zeros(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _objects(pickled: bytes, shape: tuple) -> object:
    """What an object array holds: the thing itself where it is 0-d, else an array of things."""
    array = unpickle(pickled)
    if not isinstance(array, np.ndarray) or array.dtype.kind != "O" or array.shape != tuple(shape):
        raise Refused("its pickle is not the array that its header states")
    return array.item() if array.ndim == 0 else array


def _size(shape: Iterable[object]) -> int:
    """Number of entries of a stated shape, in exact integers."""
    count = 1
    for length in shape:
        if not isinstance(length, int) or isinstance(length, bool) or length < 0:
            raise Refused(f"a shape of {tuple(shape)}")
        count *= length
    return count


# ------------------------------------------------------------------------------------------------------ the unpickler

# what it takes to rebuild arrays, numbers, text and containers, in protocols 0 to 4
_OPCODES = re.compile(
    r"PROTO|FRAME|STOP|MARK|POP|POP_MARK|DUP|MEMOIZE|(LONG_)?(BIN)?(PUT|GET)|NONE|NEWTRUE|NEWFALSE"
    r"|(BIN)?(INT|FLOAT)|BININT[12]|LONG[14]?|(SHORT_)?(BIN)?STRING|(SHORT_)?BINBYTES8?|(SHORT_)?(BIN)?UNICODE8?"
    r"|(EMPTY_)?(LIST|TUPLE|DICT)|TUPLE[123]|APPENDS?|SETITEMS?|(STACK_)?GLOBAL|REDUCE|BUILD"
)
_KINDS = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|[US]\d{1,6}|O8?)")


class _Type:
    """Stands for a ``numpy.dtype`` while a pickle is read."""

    def __init__(self, letters: str, align: object = False, copy: object = False):
        if not isinstance(letters, str) or not _KINDS.fullmatch(letters):
            raise Refused(f"an array of {letters!r}")
        self.dtype = np.dtype(letters)

    def __setstate__(self, state: tuple) -> None:
        order, *structure = state[1:5]
        if order not in ("<", ">", "=", "|") or any(part is not None for part in structure):
            raise Refused(f"an array of the type {state!r}")
        self.dtype = self.dtype if order == "|" else self.dtype.newbyteorder(order)


class _Pending:
    """Stands for an array until its content is known; :func:`_resolved` puts the array in its place."""

    array: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, fortran, data = state
        count, dtype = _size(shape), kind.dtype
        if dtype.kind == "O":
            if not isinstance(data, list) or len(data) != count:
                raise Refused(f"objects that do not fill their array {tuple(shape)}")
            self.array = np.empty(count, object)
            for i, item in enumerate(data):
                self.array[i] = item
        else:
            data = data.encode("latin1") if isinstance(data, str) else data
            if not isinstance(data, bytes) or len(data) != count * dtype.itemsize:
                raise Refused(f"numbers that do not fill their array {tuple(shape)}")
            self.array = np.frombuffer(data, dtype) if data else np.zeros(count, dtype)
        self.array = self.array.reshape(shape, order="F" if fortran else "C")


class _Function:
    """A function that a pickle may call and, unlike a function of Python's own, not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *arguments: object) -> object:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise Refused("its pickle changes what it may only call")


@_Function
def _start_array(kind: object, shape: object, letter: object) -> _Pending:
    if kind != "ndarray":
        raise Refused(f"an array of the class {kind!r}")
    return _Pending()


@_Function
def _scalar(kind: _Type, data: bytes | str) -> object:
    data = data.encode("latin1") if isinstance(data, str) else data
    if kind.dtype.kind == "O" or len(data) != kind.dtype.itemsize:
        raise Refused(f"a number of {kind.dtype} in {len(data)} bytes")
    return np.frombuffer(data, kind.dtype, 1)[0]


@_Function
def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes into an old protocol."""
    if encoding != "latin1":
        raise Refused(f"bytes in {encoding!r}")
    return text.encode("latin1")


_NAMES: dict[tuple[str, str], object] = {("numpy", "ndarray"): "ndarray", ("numpy", "dtype"): _Type}
_NAMES[("_codecs", "encode")] = _encode
for _core in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _NAMES[(_core, "_reconstruct")] = _start_array
    _NAMES[(_core, "scalar")] = _scalar


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows the names in ``_NAMES`` and no other; none of them is numpy's own code."""

    def find_class(self, module: str, name: str) -> object:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise Refused(f"its pickle asks for {module}.{name}: refused, nothing was run") from None


def unpickle(content: bytes) -> object:
    """The value of a pickle that holds arrays, numbers, text and containers.

    Every instruction is looked at before the first is carried out, so that no stated length can ask for memory.
    """
    for opcode, argument, position in pickletools.genops(content):
        if not _OPCODES.fullmatch(opcode.name):
            raise Refused(f"its pickle holds {opcode.name} at byte {position}: refused, nothing was run")
        if "PUT" in opcode.name and int(argument) > len(content):
            raise Refused(f"its pickle numbers {argument} values in {len(content)} bytes")
    return _resolved(_Unpickler(io.BytesIO(content), encoding="latin1").load(), {}, 0)


def _resolved(value: object, known: dict[int, object], depth: int) -> object:
    """``value`` with arrays for what stands for them, in containers of up to eight levels.

    ``known`` holds by identity what is resolved already, so that what a pickle names many times is gone through once.
    """
    if depth > 8:
        raise Refused("its pickle holds containers in containers without end")
    if value is None or isinstance(value, str | bytes | bool | int | float | np.generic):
        return value
    if id(value) not in known:
        known[id(value)] = _resolve(value, lambda item: _resolved(item, known, depth + 1))
    return known[id(value)]


def _resolve(value: object, inner: Callable[[object], object]) -> object:
    """One container or array, what is in it resolved by ``inner``."""
    if isinstance(value, _Pending):
        if value.array is None:
            raise Refused("its pickle leaves an array without content")
        if value.array.dtype.kind != "O":
            return value.array
        array = np.empty(value.array.shape, object)
        for place in np.ndindex(array.shape):
            array[place] = inner(value.array[place])
        return array
    if isinstance(value, dict):
        return {key: inner(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(inner(item) for item in value)
    raise Refused(f"its pickle holds a {type(value).__name__}")
