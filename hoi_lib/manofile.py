"""MANO files: the pickle as downloaded, read without trusting it, and the .npz that the library runs on.

A pickle is a program. This one may only rebuild arrays: every name it asks for is looked up in a short table of
numpy's own constructors and of stand-ins for scipy's sparse matrices and the two chumpy classes, and any other name is
refused before anything is called. Neither scipy's nor chumpy's classes are ever made.
"""

from __future__ import annotations

import io
import os
import pickle
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from hoi_lib.errors import HandFileError, OutputError
from hoi_lib.standin_skeleton import PARENTS

CHAPTER = "chapter 3, “The files”"
SHAPES = {
    "v_template": (778, 3),
    "f": (1538, 3),
    "shapedirs": (778, 3, 10),
    "posedirs": (778, 3, 135),
    "J_regressor": (16, 778),
    "weights": (778, 16),
    "kintree_table": (2, 16),
    "hands_components": (45, 45),
    "hands_mean": (45,),
}
PLACES = (".", "mano", "models", "mano_v1_2/models", "mano/models", "mano/mano_v1_2/models")
OPTIONAL = ("hands_coeffs", "J", "bs_style", "bs_type")


# ---------------------------------------------------------------------------------------------------- the unpickler


class Record:
    """What stands where a pickle names a foreign class: it keeps the state and does nothing."""

    def __init__(self, *args):
        self.args = args

    def __setstate__(self, state):
        self.__dict__.update(state if isinstance(state, dict) else {"state": state})


class Sparse(Record):
    """A scipy.sparse matrix in compressed columns or rows, of any age of scipy."""


class Chumpy(Record):
    """``chumpy.ch.Ch`` (an array in ``x``) or ``chumpy.reordering.Select`` (entries ``idxs`` of ``a``)."""


def _reconstruct(kind, shape, letter):
    """An empty numpy array, whose content the pickle's next step fills in."""
    if kind != "ndarray" or tuple(shape) not in ((0,), ()):
        raise pickle.UnpicklingError(f"an array that starts as {kind!r} of shape {shape!r}")
    return np.ndarray(shape, np.dtype(letter))


def _instance(kind, base, state):
    """How pickle protocols 0 and 1 make an object without calling its class."""
    if not (isinstance(kind, type) and issubclass(kind, Record)) or state is not None:
        raise pickle.UnpicklingError(f"an object of {kind!r} with a base of its own")
    return kind()


def _encode(text, encoding="latin1"):
    """How Python 3 writes bytes into an old protocol."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding!r}")
    return text.encode("latin1")


def _scalar(dtype, data):
    """One number; never an object."""
    return np.frombuffer(data, dtype, 1)[0]


def _buffer(data, dtype, shape, order):
    """How protocol 5 writes a contiguous array."""
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _allowed() -> dict[tuple[str, str], object]:
    """(module, name) → what stands for it, made anew for every file so that no file can change it for the next."""
    table: dict[tuple[str, str], object] = {("numpy", "ndarray"): "ndarray", ("numpy", "dtype"): np.dtype}
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = _reconstruct
        table[f"{core}.multiarray", "scalar"] = _scalar
        table[f"{core}.numeric", "_frombuffer"] = _buffer
    for letters in ("csc", "csr"):
        record = type(f"{letters}_matrix", (Sparse,), {"layout": letters})
        for module in ("scipy.sparse", f"scipy.sparse.{letters}", f"scipy.sparse._{letters}"):
            table[module, f"{letters}_matrix"] = record
            table[module, f"{letters}_array"] = record
    table["chumpy.ch", "Ch"] = type("Ch", (Chumpy,), {})
    table["chumpy.reordering", "Select"] = type("Select", (Chumpy,), {})
    for module in ("copy_reg", "copyreg"):
        table[module, "_reconstructor"] = _instance
    for module in ("__builtin__", "builtins"):
        table |= {(module, "set"): set, (module, "slice"): slice, (module, "object"): "object"}
    table["_codecs", "encode"] = _encode
    return table


class Unpickler(pickle.Unpickler):
    """An unpickler that knows the names in :func:`_allowed` and no other."""

    def __init__(self, file: io.BufferedIOBase):
        super().__init__(file, encoding="latin1")
        self._table = _allowed()

    def find_class(self, module: str, name: str) -> object:
        """The stand-in for ``module.name``; raises :class:`HandFileError` for a name that no MANO file needs."""
        try:
            return self._table[module, name]
        except KeyError:
            raise HandFileError(
                f"the pickle asks for {module}.{name}, which no MANO file needs: refused, nothing was run",
                "Download MANO_RIGHT.pkl and MANO_LEFT.pkl again from mano.is.tue.mpg.de.",
                CHAPTER,
            ) from None


def _plain(value: object) -> object:
    """Arrays and numbers for what the pickle held: sparse matrices made dense, chumpy objects evaluated."""
    if isinstance(value, Sparse):
        return _dense(value)
    if isinstance(value, Chumpy):
        state = value.__dict__
        if "x" in state:
            return np.asarray(_plain(state["x"]))
        picked = np.ravel(_plain(state["a"]))[np.asarray(_plain(state["idxs"]), np.int64)]
        return picked.reshape([int(n) for n in state["preferred_shape"]])
    return value


def _dense(matrix: Sparse) -> np.ndarray:
    from scipy.sparse import csc_matrix, csr_matrix

    state = matrix.__dict__
    shape = state.get("_shape", state.get("shape"))
    kind = csc_matrix if matrix.layout == "csc" else csr_matrix
    made = kind(tuple(np.asarray(state[k]) for k in ("data", "indices", "indptr")), shape=shape)
    made.check_format(full_check=True)
    return made.toarray()


# ----------------------------------------------------------------------------------------------------------- reading


def find(folder: str | Path, side: str) -> Path:
    """The MANO file of one side in a folder or where the download unpacks to below it, .npz before .pkl;
    :class:`HandFileError` when the folder or the file is not there."""
    folder, stem = Path(folder), f"MANO_{side.upper()}"
    mend = "HOI_MANO_DIR must name the folder with MANO_RIGHT and MANO_LEFT, .npz or .pkl; unset it for the stand-in."
    if not folder.is_dir():
        raise HandFileError(f"{folder}: no such folder", mend, CHAPTER)
    for place in (folder / inner for inner in PLACES):
        for suffix in (".npz", ".pkl"):
            if (file := place / f"{stem}{suffix}").is_file():
                return file
    raise HandFileError(f"{folder}: neither {stem}.npz nor {stem}.pkl is in it", mend, CHAPTER)


# what numpy, scipy and pickle raise when they meet bytes that are no MANO file
_DAMAGE = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError)
_DAMAGE += (RecursionError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error)


def read(path: str | Path) -> dict[str, np.ndarray]:
    """A MANO file, .npz or .pkl, as plain arrays with the keys and shapes of :data:`SHAPES`, checked.

    Floats come as float64, ``f`` and ``kintree_table`` as uint32. Raises :class:`HandFileError`.
    """
    path = Path(path)
    try:
        raw = _read_npz(path) if path.suffix == ".npz" else _read_pickle(path)
    except HandFileError as error:
        raise HandFileError(f"{path}: {error.what}", error.mend, error.chapter) from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise HandFileError(f"{path}: not a MANO file, or damaged ({reason})", None, CHAPTER) from error
    return _checked(raw, path)


def _read_npz(path: Path) -> dict[str, object]:
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def _read_pickle(path: Path) -> dict[str, object]:
    with open(path, "rb") as file:
        content = Unpickler(file).load()
    if not isinstance(content, dict):
        raise HandFileError(f"holds a {type(content).__name__}, expected a dictionary", None, CHAPTER)
    return {key: _plain(content[key]) for key in (*SHAPES, *OPTIONAL) if key in content}


def _checked(raw: dict[str, object], path: Path) -> dict[str, np.ndarray]:
    """The arrays in MANO's number types, each of the right shape and finite."""
    if missing := [key for key in SHAPES if key not in raw]:
        raise HandFileError(f"{path}: lacks {', '.join(missing)}", "Expected MANO_RIGHT or MANO_LEFT.", CHAPTER)
    data: dict[str, np.ndarray] = {}
    for key, shape in SHAPES.items():
        value = np.asarray(raw[key])
        if key == "shapedirs" and value.ndim == 3:
            value = value[..., :10]
        if value.shape != shape or value.dtype.kind not in "iuf":
            raise HandFileError(
                f"{path}: {key} is {value.dtype} {value.shape}, expected numbers {shape}", None, CHAPTER
            )
        data[key] = value.astype(np.uint32) if key in ("f", "kintree_table") else value.astype(np.float64)
        if not np.isfinite(data[key]).all():
            raise HandFileError(f"{path}: {key} holds values that are not finite", None, CHAPTER)
    if data["f"].max() >= SHAPES["v_template"][0]:
        raise HandFileError(f"{path}: a face names vertex {data['f'].max()}, there are 778", None, CHAPTER)
    if tuple(data["kintree_table"][0, 1:]) != PARENTS[1:]:
        raise HandFileError(f"{path}: the joints are chained in another order than MANO's", None, CHAPTER)
    for key in OPTIONAL:
        if key in raw and (value := np.asarray(raw[key])).dtype.kind in "iufUS":
            data[key] = value
    return data


def convert(source: str | Path, target: str | Path) -> Path:
    """Read the downloaded pickle ``source`` and write it as ``target`` (.npz), whole or not at all; returns the path.

    Raises :class:`HandFileError` for the input and :class:`OutputError` when the target cannot be written.
    """
    target = Path(target)
    data = read(source)
    write_npz(target, data)
    return target


def write_npz(path: Path, data: dict[str, np.ndarray]) -> None:
    """Write arrays to an .npz under a temporary name in the same folder, then rename it; :class:`OutputError`."""
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with open(handle, "wb") as file:
            np.savez_compressed(file, **data)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except OSError as error:
        if part is not None:
            Path(part).unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})", "Choose another folder.") from error
