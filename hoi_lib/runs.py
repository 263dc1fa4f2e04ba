"""The folder of a training run, and how a run is asked to stop."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hoi_lib import records
from hoi_lib.data.store import ClipStore
from hoi_lib.denoiserconfig import DenoiserConfig
from hoi_lib.errors import CheckpointError, ConfigError, OutputError
from hoi_lib.trainconfig import CHAPTER, TrainConfig, plain

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FREE = ("threads", "checkpoint_every", "log_every", "validate_every", "tensorboard")  # may change on resuming


class Stop:
    """Remembers that the run was asked to stop, and leaves when a checkpoint is safe."""

    def __init__(self) -> None:
        self.requested: int | None = None

    def leave(self) -> NoReturn:
        """Raise what the signal would have raised: KeyboardInterrupt, or SystemExit(143) for SIGTERM."""
        if self.requested == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.requested)


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn the first Ctrl-C or SIGTERM into a request; the second one acts at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, _frame: object) -> None:
        stop.requested = number
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def open_run(config: TrainConfig, store: ClipStore, out: Path, resume: bool) -> None:
    """Write ``run.json`` into a new run folder, or hold this call against the one that is there."""
    path = out / "run.json"
    here = {"config": plain(config), "data": data_of(store)}
    if not path.exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputError(f"{out}: is not an empty folder and holds no run.", "Choose another --out.", CHAPTER)
        with records.atomic(path) as temporary:
            temporary.write_text(json.dumps(here, indent=1), encoding="utf-8")
        return
    if not resume:
        raise OutputError(f"{out}: already holds a run.", "Pass --resume to go on with it, or choose another --out.")
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        changed = _differences(_completed(there), here)
    except (OSError, ValueError, TypeError, AttributeError):
        raise CheckpointError(f"{path}: cannot be read.", "Start the run again in another folder.", CHAPTER) from None
    if changed:
        raise ConfigError(
            f"{out}: the run has another {', '.join(changed)}.", "Resume it with its own settings and data.", CHAPTER
        )


def _completed(run: Mapping) -> dict:
    """The content of a ``run.json`` with the defaults of fields that the config did not have when it was written."""
    config = _defaults(TrainConfig) | run["config"]
    return {**run, "config": {**config, "denoiser": _defaults(DenoiserConfig) | config["denoiser"]}}


def _defaults(kind: type) -> dict:
    """Default values of a config's fields, as JSON would bring them back."""
    return json.loads(json.dumps({f.name: f.default for f in fields(kind) if f.default is not MISSING}))


def _differences(a: dict, b: dict, prefix: str = "") -> list[str]:
    """Keys whose values differ, save those that may."""
    found = []
    for key in sorted(set(a) | set(b)):
        if isinstance(a.get(key), dict) and isinstance(b.get(key), dict):
            found += _differences(a[key], b[key], f"{prefix}{key}.")
        elif a.get(key) != b.get(key) and key not in FREE:
            found.append(f"{prefix}{key}")
    return found


def summary_writer(folder: Path, step: int = 0) -> SummaryWriter | None:
    """A TensorBoard writer that goes on at ``step``, or None with a warning where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        warnings.warn("TensorBoard is not installed: curves go into the record alone.", stacklevel=2)
        return None
    return SummaryWriter(folder, purge_step=step)


def data_of(store: ClipStore) -> dict[str, object]:
    """What a record says about the data of a run."""
    return {"fingerprint": store.fingerprint, "profile": store.profile, "clips": len(store)}
