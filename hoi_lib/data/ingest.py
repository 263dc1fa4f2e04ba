"""From a downloaded folder to a store: every sequence read once, in parallel, whatever becomes of it.

Each process reads sequences and leaves each as a piece in ``.<out>.partial`` beside the store to be, or says why it
could not. A build that was stopped goes on from the pieces that still fit: same reader, same options, same sizes and
times of the files; what failed is tried again. When all sequences have been dealt with, the pieces are laid end to end
into the store, in the order of the sequences, so neither the number of processes nor an interruption changes a byte;
memory holds a piece at a time.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from hoi_lib.data import pieces, store
from hoi_lib.data.pieces import Piece
from hoi_lib.data.raw import CHAPTER, PartlyRead, Reader, reader_for
from hoi_lib.data.splits import leaks
from hoi_lib.data.store import ClipStore
from hoi_lib.data.workers import run
from hoi_lib.errors import ConfigError, HoiError, OutputError, RawDataError
from hoi_lib.objects import ObjectModel
from hoi_lib.records import atomic

VERSION = 1  # counts changes of what is kept of a sequence
PLAN = "build.json"


@dataclass(frozen=True)
class Report:
    """What a build came to: the ``store``, how many ``clips`` and ``sequences``, the ``skipped`` ones among them as
    (sequence, reason), paths below the raw folder, and ``doubts`` about what was read."""

    store: ClipStore
    clips: int
    sequences: int
    skipped: list[tuple[str, str]]
    doubts: list[str]


@dataclass(frozen=True)
class Source:
    """What a process needs to make the reader: the set's name, the downloaded folder, its options."""

    name: str
    folder: Path
    options: tuple[tuple[str, object], ...] = ()


@dataclass
class _Harvest:
    """What the pieces hold, without their frames."""

    paths: dict[str, Path] = field(default_factory=dict)
    objects: dict[str, set[str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def build(
    reader_name: str,
    raw_folder: str | os.PathLike,
    out: str | os.PathLike,
    *,
    workers: int | None = None,
    progress: bool = True,
    options: dict[str, object] | None = None,
    val: Iterable[str] = (),
) -> Report:
    """Read the set ``reader_name`` from ``raw_folder`` into a store at ``out``.

    ``options`` go to the reader; ``val`` names subjects to take out of training for validation; ``workers`` are
    processes, all cores by default. A sequence that cannot be read is skipped and told on standard error (while
    ``progress``), in the report and in the store. Raises :class:`RawDataError` where the folder has another layout or
    nothing in it can be read, :class:`ConfigError` for an unknown set, option or subject, and :class:`OutputError`.
    """
    out, source = Path(out), Source(reader_name, Path(raw_folder), tuple(sorted((options or {}).items())))
    _reader.cache_clear()
    reader = _reader(source)
    splits = _splits(reader, tuple(val))
    store.prepare(out)
    sequences = reader.sequences()
    partial = out.parent / f".{out.name}.partial"
    _open_partial(partial, source, reader)
    harvest = _read_all(source, sequences, partial, workers, progress)
    models = _load_models(source, harvest, workers, progress)
    if not harvest.paths:
        shutil.rmtree(partial, ignore_errors=True)
        first = next(iter(harvest.skipped.values()), "there are none")
        raise RawDataError(
            f"{source.folder}: none of {len(sequences)} sequences gives a clip; first: {first}", None, CHAPTER
        )
    skipped = sorted(harvest.skipped.items())
    doubts = [*reader.cautions, *(doubt for doubt in map(doubt_of, models.values()) if doubt)]
    for doubt in doubts if progress else ():
        _say(f"note: {doubt}")
    extra = {"notes": reader.notes, "skipped": skipped, "doubts": doubts}
    written = store.write(
        out,
        _pieces(harvest.paths.values()),
        models.__getitem__,
        source=reader.name,
        profile=reader.name,
        seed=0,
        extra=extra,
        splits=splits,
    )
    if not skipped:  # else what could be read is kept for the build that follows the mending
        shutil.rmtree(partial, ignore_errors=True)
    return Report(written, len(written), len(sequences), skipped, doubts)


def _pieces(paths: Iterable[Path]) -> Iterator[Piece]:
    return map(pieces.load, paths)


def _splits(reader: Reader, val: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The reader's splits with the subjects ``val`` moved from training to validation."""
    splits = {split: tuple(reader.splits.get(split, ())) for split in ("train", "val", "test")}
    if unknown := sorted(set(val) - set(splits["train"])):
        raise ConfigError(
            f"{', '.join(unknown)}: no training subject of {reader.name}, so none that can validate.",
            f"Choose among {', '.join(splits['train'])}.",
            CHAPTER,
        )
    splits["train"] = tuple(s for s in splits["train"] if s not in val)
    splits["val"] += tuple(s for s in val if s not in splits["val"])
    if val and not splits["train"]:
        raise ConfigError(f"{', '.join(val)}: no subject would be left to train on.", "Name fewer with --val.", CHAPTER)
    if shared := leaks(splits["test"], splits["train"] + splits["val"]):
        raise ConfigError(f"{', '.join(sorted(shared))}: tested on and learned from.", None, CHAPTER)
    return splits


# ------------------------------------------------------------------------------------------------------- the sequences


@functools.lru_cache(maxsize=1)
def _reader(source: Source) -> Reader:
    """The one reader of this process."""
    return reader_for(source.name, source.folder, **dict(source.options))


def _open_partial(partial: Path, source: Source, reader: Reader) -> None:
    """Make sure that the pieces in ``partial``, if any, were made by this reader with these options."""
    plan = {
        "version": [VERSION, reader.version],
        "source": [source.name, str(source.folder.resolve()), {k: str(v) for k, v in source.options}],
        "notes": reader.notes,
    }
    text = json.dumps(plan, sort_keys=True)
    path = partial / PLAN
    try:
        if partial.exists() and not (path.is_file() and path.read_text(encoding="utf-8") == text):
            shutil.rmtree(partial)
        partial.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{partial}: cannot be written ({error.strerror or error}).", "Remove it.") from error
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _read_all(source: Source, sequences: list[str], partial: Path, workers: int | None, progress: bool) -> _Harvest:
    """See to it that every sequence has a piece or a reason, and collect them in the order of the sequences."""
    reader, heads = _reader(source), {}
    for sequence in sequences:
        head = pieces.load_head(_path(partial, sequence))
        if head and not head["reason"] and head["key"] and head["key"] == _key(reader.files(sequence)):
            heads[sequence] = {name: head[name] for name in ("reason", "clips", "objects")}
    waiting = [(source, sequence, partial) for sequence in sequences if sequence not in heads]
    if progress and heads:
        _say(f"{len(heads)} of {len(sequences)} sequences were read before")
    for sequence, head in run(read_sequence, waiting, workers, progress, f"reading {source.name}"):
        heads[sequence] = head
        if progress and head["reason"]:
            _say(f"skipped {sequence}: {head['reason']}")
    harvest, names = _Harvest(), set()
    for sequence in sequences:
        head = heads[sequence]
        reason = head["reason"]
        if twice := names.intersection(head["clips"]):
            reason = f"{sequence}: a clip is called {sorted(twice)[0]!r} like one before"
        if reason:
            harvest.skipped[sequence] = reason
        if head["clips"] and not twice:
            names.update(head["clips"])
            harvest.paths[sequence] = _path(partial, sequence)
            harvest.objects[sequence] = set(head["objects"])
    return harvest


def read_sequence(job: tuple[Source, str, Path]) -> tuple[str, dict]:
    """Read one sequence and keep it as a piece: the work of one process. Returns the sequence and the piece's head.

    Whatever is wrong with the sequence becomes a reason; only a piece that cannot be written raises.
    """
    source, sequence, partial = job
    reader = _reader(source)
    key, reason, piece = _key(reader.files(sequence)), None, pieces.pack([])
    try:
        piece, reason = _read(reader, sequence)
        reason = reason and _relative(reason, source.folder)
    except HoiError as error:
        reason = _relative(error.what, source.folder)
    except Exception as error:  # no sequence stops the others, whatever is in it
        reason = _relative(f"{sequence}: cannot be read ({type(error).__name__}: {error})", source.folder)
    names = {"clips": [row["name"] for row in piece.rows], "objects": sorted({row["object"] for row in piece.rows})}
    head = {"sequence": sequence, "key": key, "reason": reason} | names
    if piece.rows or not reason:
        pieces.save(_path(partial, sequence), piece, head)
    return sequence, head


def _read(reader: Reader, sequence: str) -> tuple[Piece, str | None]:
    """The clips of one sequence, each sound and with an object that can be read, and why some are missing, if any."""
    try:
        clips, missing = reader.read(sequence), None
    except PartlyRead as part:
        clips, missing = part.clips, part.what
    for clip in clips:
        if fault := pieces.fault_of(clip):
            raise RawDataError(f"{sequence}: {fault}")
        reader.object(clip.object.name)
    return pieces.pack(clips), missing


def _relative(text: str, folder: Path) -> str:
    """A reason on one line, with paths counted from the raw folder, so that a store doesn't depend on its place."""
    return " ".join(text.replace(f"{folder}{os.sep}", "").split())


def _path(partial: Path, sequence: str) -> Path:
    return partial / f"{hashlib.sha256(sequence.encode()).hexdigest()[:24]}.npz"


def _key(files: Iterable[Path]) -> str:
    """What changes when one of ``files`` does: names, sizes and times; of a folder, those of what is directly in it.

    Empty where there are no files to go by.
    """
    found = [entry for path in files for entry in ([path, *sorted(path.iterdir())] if path.is_dir() else [path])]
    return hashlib.sha256(json.dumps([_stat(path) for path in found]).encode()).hexdigest() if found else ""


def _stat(path: Path) -> list:
    try:
        seen = path.stat()
    except OSError:
        return [str(path)]
    return [str(path), seen.st_size, seen.st_mtime_ns]


def _say(line: str) -> None:
    """A line on standard error, above the progress bar."""
    tqdm.write(line, file=sys.stderr)


# --------------------------------------------------------------------------------------------------------- the objects


def _load_models(source: Source, harvest: _Harvest, workers: int | None, progress: bool) -> dict[str, ObjectModel]:
    """Every object that clips use, sampled; sequences whose object cannot be are skipped."""
    names = sorted(set().union(*harvest.objects.values()))
    models: dict[str, ObjectModel] = {}
    for name, model in run(load_model, [(source, name) for name in names], workers, progress, "sampling objects"):
        if isinstance(model, ObjectModel):
            models[name] = model
            continue
        for sequence in [s for s in harvest.paths if name in harvest.objects[s]]:
            harvest.skipped[sequence] = model
            del harvest.paths[sequence]
            if progress:
                _say(f"skipped {sequence}: {model}")
    return models


def load_model(job: tuple[Source, str]) -> tuple[str, ObjectModel | str]:
    """Load and sample one object: the work of one process. Returns its name, and the model or why there is none."""
    source, name = job
    try:
        model = _reader(source).object(name)
        return (name, model) if model.points.shape == (1024, 3) else (name, f"object {name}: no surface to sample")
    except HoiError as error:
        return name, _relative(error.what, source.folder)
    except Exception as error:  # as with sequences
        return name, _relative(f"object {name}: cannot be sampled ({type(error).__name__}: {error})", source.folder)


def doubt_of(model: ObjectModel) -> str | None:
    """What makes one ask whether an object's mesh file is whole: vertices that no face uses. None where all is well."""
    loose = len(model.vertices) - len(np.unique(model.faces))
    if not loose:
        return None
    return f"object {model.name}: {loose} of {len(model.vertices)} vertices belong to no face; is its mesh file whole?"
