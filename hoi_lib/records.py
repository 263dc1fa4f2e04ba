"""Run records: one JSON file says what was run, on what, with which result, and how exactly it can be had again.

A record is a plain dictionary. :func:`new` fills in where it came from, :func:`validate` holds it against the schema
below, :func:`write` puts it on disk in one piece, :func:`load` and :func:`value` read it. The numbers in the book come
from the records in ``book/records``.

``metrics`` maps a name ("cr", or "cr/pour" for a part of the set) to ``{value, n, spread, unit}``: n is how many
frames, clips or samples were averaged, spread the standard deviation over seeds (null with one seed). ``curves`` maps a
name to ``{step: [...], value: [...]}``. ``sameness`` is the grade in which a second run gives the same numbers:
"bitwise" (same machine kind and versions), "close" (a small tolerance) or "statistical" (within the spread).
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from hoi_lib import __version__
from hoi_lib.errors import OutputError, RecordError

SCHEMA = "hoi-record/1"
SAMENESS = ("bitwise", "close", "statistical")
PACKAGES = ("torch", "numpy", "scipy", "smplx", "accelerate", "safetensors", "transformers", "trimesh", "warp-lang")
ROOT = Path(__file__).resolve().parents[1]
CHAPTER = "chapter 0, “How to use this book”"

Record = dict[str, Any]


def new(
    name: str,
    *,
    config: Mapping[str, Any],
    seeds: Sequence[int],
    data: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
    wall_time_s: float,
    sameness: str,
    command: str | None = None,
    curves: Mapping[str, Mapping[str, list]] | None = None,
    checkpoint: str | None = None,
    extractor: str | None = None,
    rule: str | None = None,
    notes: Sequence[str] = (),
) -> Record:
    """A validated record of a run that has just ended here.

    ``data`` holds at least ``fingerprint`` and ``profile``; ``checkpoint`` and ``extractor`` are SHA-256 of the weights
    that were measured and of the FID features; ``rule`` says how the checkpoint was chosen. Raises
    :class:`RecordError` when a part does not fit the schema.
    """
    record = {
        "schema": SCHEMA,
        "name": name,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command or _command(),
        "config": dict(config),
        "seeds": list(seeds),
        "code": code(),
        "packages": packages(),
        "hardware": hardware(),
        "wall_time_s": round(wall_time_s, 3),
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "data": dict(data),
        "checkpoint_sha256": checkpoint,
        "extractor_sha256": extractor,
        "rule": rule,
        "sameness": sameness,
        "metrics": {key: dict(metric) for key, metric in metrics.items()},
        "curves": {key: dict(curve) for key, curve in (curves or {}).items()},
        "notes": list(notes),
    }
    return validate(record)


def metric(value: float, n: int, unit: str = "", spread: float | None = None) -> dict[str, Any]:
    """One entry of ``metrics``."""
    return {"value": float(value), "n": int(n), "spread": None if spread is None else float(spread), "unit": unit}


# --- schema ----------------------------------------------------------------------------------------------------------


def validate(source: str | Path | Mapping[str, Any]) -> Record:
    """Hold a record (or the file it is in) against the schema and return it.

    Raises :class:`RecordError` that names the record, the field, what was expected and what came.
    """
    if isinstance(source, (str, Path)):
        return load(source)
    name = source.get("name", "record")
    if source.get("schema") != SCHEMA:
        raise RecordError(
            f"{name}: schema {source.get('schema')!r}: this version reads {SCHEMA!r}.",
            "Update hoi_lib, or make the record again with its command.",
            CHAPTER,
        )
    for field, (check, expected) in _FIELDS.items():
        if field not in source:
            raise RecordError(f"{name}: field {field!r} is missing, expected {expected}.", chapter=CHAPTER)
        _expect(name, field, source[field], check(source[field]), expected)
    unknown = sorted(set(source) - set(_FIELDS) - {"schema"})
    if unknown:
        raise RecordError(f"{name}: field {unknown[0]!r} is not in {SCHEMA}.", chapter=CHAPTER)
    for key in ("commit", "dirty", "version"):
        _expect(name, f"code.{key}", source["code"], key in source["code"], "an entry")
    for key in ("fingerprint", "profile"):
        _expect(name, f"data.{key}", source["data"].get(key), _text(source["data"].get(key)), "a text")
    for key, entry in source["metrics"].items():
        _check_metric(name, f"metrics.{key}", entry)
    for key, entry in source["curves"].items():
        _check_curve(name, f"curves.{key}", entry)
    return dict(source)


def _check_metric(record: str, field: str, entry: Any) -> None:
    fits = isinstance(entry, Mapping) and set(entry) == {"value", "n", "spread", "unit"}
    _expect(record, field, entry, fits, "an object with value, n, spread and unit")
    _expect(record, f"{field}.value", entry["value"], _number(entry["value"]), "a finite number")
    _expect(record, f"{field}.n", entry["n"], _whole(entry["n"]) and entry["n"] > 0, "a whole number above 0")
    spread = entry["spread"]
    _expect(record, f"{field}.spread", spread, spread is None or (_number(spread) and spread >= 0), "null or ≥ 0")
    _expect(record, f"{field}.unit", entry["unit"], isinstance(entry["unit"], str), "a text (empty for a ratio)")


def _check_curve(record: str, field: str, entry: Any) -> None:
    fits = isinstance(entry, Mapping) and set(entry) == {"step", "value"}
    fits = fits and all(isinstance(entry[k], list) and all(map(_number, entry[k])) for k in ("step", "value"))
    fits = fits and len(entry["step"]) == len(entry["value"])
    _expect(record, field, entry, fits, "{step: [...], value: [...]} of finite numbers, equally long")


def _expect(record: str, field: str, value: Any, fits: bool, expected: str) -> None:
    if not fits:
        raise RecordError(f"{record}: field {field!r}: expected {expected}, got {_short(value)}.", chapter=CHAPTER)


def _text(x: Any) -> bool:
    return isinstance(x, str) and bool(x)


def _number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)


def _whole(x: Any) -> bool:
    return isinstance(x, int) and not isinstance(x, bool)


def _hash(x: Any) -> bool:
    return x is None or (isinstance(x, str) and re.fullmatch(r"[0-9a-f]{64}", x) is not None)


def _date(x: Any) -> bool:
    try:
        return datetime.fromisoformat(x).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _mapping(x: Any) -> bool:
    return isinstance(x, Mapping) and all(isinstance(k, str) for k in x)


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_text, "a text"),
    "created": (_date, "a date and time with its offset, ISO 8601"),
    "command": (_text, "the command line that made it"),
    "config": (_mapping, "an object"),
    "seeds": (lambda x: isinstance(x, list) and bool(x) and all(map(_whole, x)), "a list of whole numbers"),
    "code": (_mapping, "an object with commit, dirty and version"),
    "packages": (lambda x: _mapping(x) and all(map(_text, x.values())), "an object of versions"),
    "hardware": (_mapping, "an object"),
    "wall_time_s": (lambda x: _number(x) and x >= 0, "seconds"),
    "peak_memory_mb": (lambda x: _number(x) and x > 0, "megabytes"),
    "data": (_mapping, "an object with fingerprint and profile"),
    "checkpoint_sha256": (_hash, "64 hexadecimal digits or null"),
    "extractor_sha256": (_hash, "64 hexadecimal digits or null"),
    "rule": (lambda x: x is None or _text(x), "a text or null"),
    "sameness": (lambda x: x in SAMENESS, " or ".join(SAMENESS)),
    "metrics": (_mapping, "an object"),
    "curves": (_mapping, "an object"),
    "notes": (lambda x: isinstance(x, list) and all(map(_text, x)), "a list of texts"),
}


# --- reading and writing ---------------------------------------------------------------------------------------------


def load(path: str | Path) -> Record:
    """Read and validate a record; a file that is missing, no JSON, or off the schema raises :class:`RecordError`."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}).", "Check the path.", CHAPTER) from None
    except ValueError as error:
        raise RecordError(f"{path}: is not JSON ({error}).", "Make the record again.", CHAPTER) from None
    try:
        _expect(path.stem, "record", content, isinstance(content, dict), "an object")
        return validate(content)
    except RecordError as error:
        raise RecordError(f"{path}: {error.what}", error.mend, error.chapter) from None


def write(record: Mapping[str, Any], path: str | Path) -> Path:
    """Validate and write a record in one piece: a reader sees the old file or the new one, never half of it.

    Raises :class:`RecordError` for a record off the schema and :class:`OutputError` where the disk refuses.
    """
    text = json.dumps(validate(record), indent=1, ensure_ascii=False, allow_nan=False)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return Path(path)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``; what the block writes there is synced and renamed to ``path`` when it ends.

    If the block fails, ``path`` is as it was and nothing is left beside it. :class:`OSError` (full disk, read-only
    folder) becomes :class:`OutputError`.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        yield Path(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}).",
            "Free space on the disk or choose another folder.",
        ) from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def value(record: Mapping[str, Any], key: str) -> Any:
    """Look up ``key`` in a record: "wall_time_s", "config.batch", "metrics.cr.n"; "metrics.cr" is the metric's value.

    Raises :class:`RecordError` that names the record, the key and what there is instead.
    """
    found: Any = record
    parts = key.split(".")
    for part in parts:
        if not isinstance(found, Mapping) or part not in found:
            choice = ", ".join(found) if isinstance(found, Mapping) else "nothing below it"
            raise RecordError(
                f"record {record.get('name')!r} has no {key!r}: at {part!r} there is {choice}.", None, CHAPTER
            )
        found = found[part]
    return found["value"] if len(parts) == 2 and parts[0] == "metrics" else found


def book(folder: str | Path | None = None) -> dict[str, Record]:
    """Every record of the book by its file's name (without .json), validated; ``book/records`` unless told."""
    folder = Path(folder) if folder else ROOT / "book" / "records"
    return {path.stem: load(path) for path in sorted(folder.glob("*.json"))}


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    digest = sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


# --- where a run came from -------------------------------------------------------------------------------------------


def code() -> dict[str, Any]:
    """Commit and state of the working tree (null outside a checkout) and version of the library."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changes is None else bool(changes), "version": __version__}


def packages() -> dict[str, str]:
    """Versions of Python and of the installed packages that can change a number."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores this process may use, threads torch uses, memory, and the GPU if there is one."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": platform.system(),
        "cpu": _processor(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def peak_memory_mb() -> float:
    """Most memory this process has held, in megabytes; on a GPU the most that torch has allocated there."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return re.search(r"model name\s*:\s*(.+)", text)[1].strip()
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """What git says about the checkout this file lies in, or None if it lies in none."""
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name or "python", *sys.argv[1:]])


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 60 else f"{text[:57]}..."
