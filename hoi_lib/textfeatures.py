"""What every text encoder shares: its features, their mask, and the caches that keep a language model out of the step.

N sentences, n tokens of the longest one, E feature width. Features stay in memory and in a small database on disk
(``HOI_CACHE`` or ``~/.cache/hoi_lib``), named after the encoder and the hash of its weights, so that two different
weights never share one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

CHAPTER = "chapter 4, “Captions”"


@dataclass(frozen=True)
class TextFeatures:
    """What an encoder says about N sentences; ``mask`` is False where a shorter sentence is padded."""

    pooled: Float[Tensor, "N E"]
    states: Float[Tensor, "N n E"]
    mask: Bool[Tensor, "N n"]

    def to(self, device: torch.device | str) -> TextFeatures:
        """The same features on ``device``."""
        return TextFeatures(self.pooled.to(device), self.states.to(device), self.mask.to(device))


class TextEncoder(ABC):
    """Sentences in, :class:`TextFeatures` out. ``name`` and ``version`` tell one encoder's features from another's.

    A subclass says how one sentence is read (:meth:`read`) and how wide its features are (``dim``, known before any
    weights are loaded); caching is done here. ``cache`` is the folder of the database, or None to keep features in
    memory alone.
    """

    name: str
    version: str
    dim: int

    def __init__(self, cache: str | os.PathLike | None = None):
        self._known: dict[str, np.ndarray] = {}
        self._cache = Path(cache) if cache else None

    @cached_property
    def _store(self) -> FeatureStore | None:
        """The database, opened late: the version of some encoders is the hash of a large file."""
        path = self._cache and self._cache / f"text_{self.name}_{self.version}.sqlite"
        return FeatureStore(path, self.dim) if path else None

    @abstractmethod
    def read(self, text: str) -> Float[np.ndarray, "n1 E"]:
        """The features of one sentence: the pooled vector first, then one row per token."""

    def encode(self, texts: Sequence[str]) -> TextFeatures:
        """Features of each sentence, on the CPU, in the order given; each distinct sentence is read only once.

        A sentence is read on its own, so that its numbers never depend on its neighbours. Raises
        :class:`TextError` if the encoder itself is missing or damaged.
        """
        self._learn(texts)
        return self._stacked([self._known[text] for text in texts])

    def compute(self, texts: Sequence[str]) -> TextFeatures:
        """The same as :meth:`encode`, read afresh and remembered nowhere."""
        return self._stacked([self.read(text) for text in texts])

    def _stacked(self, features: Sequence[np.ndarray]) -> TextFeatures:
        if not features:
            return TextFeatures(torch.zeros(0, self.dim), torch.zeros(0, 0, self.dim), torch.zeros(0, 0).bool())
        rows = [torch.from_numpy(x) for x in features]
        lengths = torch.tensor([len(x) - 1 for x in rows])
        states = pad_sequence([x[1:] for x in rows], batch_first=True)
        pooled = torch.stack([x[0] for x in rows])
        return TextFeatures(pooled, states, torch.arange(states.shape[1]) < lengths[:, None])

    def _learn(self, texts: Sequence[str]) -> None:
        """Make every sentence known: from memory, else from disk, else by reading it."""
        unknown = [text for text in dict.fromkeys(texts) if text not in self._known]
        if unknown and self._store:
            self._known |= self._store.get(unknown)
            unknown = [text for text in unknown if text not in self._known]
        if unknown:
            fresh = {text: self.read(text) for text in unknown}
            self._known |= fresh
            if self._store:
                self._store.put(fresh)


class FeatureStore:
    """Feature rows of sentences in one SQLite file that many processes may share.

    It is a convenience and never stands in the way: a damaged file is thrown away, and where the folder is
    read-only, full or missing, nothing is stored.
    """

    def __init__(self, path: Path, dim: int):
        self.path, self.dim = path, dim

    def get(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """The stored rows of those sentences that are known and whole."""
        found: dict[str, np.ndarray] = {}

        def read(database: sqlite3.Connection) -> None:
            for text in texts:
                row = database.execute("SELECT rows, digest FROM features WHERE text = ?", (text,)).fetchone()
                if row and row[1] == _digest(row[0]) and len(row[0]) % (4 * self.dim) == 0:
                    found[text] = np.frombuffer(row[0], np.float32).reshape(-1, self.dim).copy()

        if self.path.is_file():
            self._visit(read)
        return found

    def put(self, features: dict[str, np.ndarray]) -> None:
        """Store rows; all of them or, if the process dies in between, none."""
        blobs = {text: np.ascontiguousarray(rows, np.float32).tobytes() for text, rows in features.items()}

        def write(database: sqlite3.Connection) -> None:
            database.execute("CREATE TABLE IF NOT EXISTS features (text TEXT PRIMARY KEY, rows BLOB, digest TEXT)")
            rows = [(text, blob, _digest(blob)) for text, blob in blobs.items()]
            database.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", rows)
            database.commit()

        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._visit(write)

    def _visit(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Open the file for ``work``; trouble ends the visit quietly, and a damaged file is removed."""
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=10)) as database:
                work(database)
        except sqlite3.OperationalError:
            pass  # locked, read-only, full, or not there: go on without
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError):
                self.path.unlink()


def _digest(blob: bytes) -> str:
    return hashlib.blake2b(blob, digest_size=8).hexdigest()


def cache_home() -> Path:
    """The folder that keeps what was computed once: ``HOI_CACHE`` or ``~/.cache/hoi_lib``."""
    return Path(os.environ.get("HOI_CACHE") or Path.home() / ".cache" / "hoi_lib")


def file_hash(*paths: Path) -> str:
    """SHA-256 over the content of files, in hexadecimal; the same files in another order give another hash."""
    sha = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                sha.update(chunk)
    return sha.hexdigest()


@contextlib.contextmanager
def quiet_transformers() -> Iterator[ModuleType]:
    """The transformers library without progress bars and notes; its settings are put back afterwards."""
    import transformers
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield transformers
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
