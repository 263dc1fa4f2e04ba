"""CLIP and Long-CLIP: the frozen text towers that MoEG-HOI uses, from a hub name, a folder or a file.

n tokens, D width of the tower (512 for ViT-B/32), E = 512 the width of the space that texts share with pictures. Both
give the projected state of every token, and as ``pooled`` that of the last one, the end of the text; neither is
normalised. Weights come in two layouts, that of ``transformers`` and that of the two papers' own code; both are read
strictly, so that a file that lacks a tensor is refused and never filled up with random numbers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor

from hoi_lib.errors import TextError
from hoi_lib.textfeatures import CHAPTER, TextEncoder, file_hash, quiet_transformers

KEPT = 20  # positions that Long-CLIP leaves as they are: those that CLIP's short captions trained well
STRETCH = 4
CONFIG = "config.json"
TOKENIZER = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
HEAD = 64  # width of an attention head in every published CLIP
POSITIONS = "text_model.embeddings.position_embedding"

# the papers' own names of a block's tensors, and those of transformers
BLOCK = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}  # fmt: skip


class Clip(TextEncoder):
    """CLIP's text tower (Radford et al., 2021), ViT-B/32: 512 numbers, texts cut at 77 tokens.

    ``source`` is a folder in the layout of ``transformers``, a file of weights with its tokenizer beside it, or a name
    on the Hugging Face hub, looked for in the local hub cache first (``HF_HUB_OFFLINE`` keeps it there); by default
    the variable ``HOI_CLIP``, else the published weights.
    """

    name, dim = "clip", 512
    positions, variable, published = 77, "HOI_CLIP", "openai/clip-vit-base-patch32"
    files: tuple[str, ...] = WEIGHTS

    def __init__(self, cache: str | os.PathLike | None = None, source: str | os.PathLike | None = None):
        super().__init__(cache)
        self.source = self.source_of(source)

    @classmethod
    def source_of(cls, source: str | os.PathLike | None = None) -> str:
        """Where the weights come from: the argument, else the variable, else the published name; paths absolute."""
        chosen = str(source or os.environ.get(cls.variable) or cls.published)
        path = Path(chosen).expanduser()
        return str(path.resolve()) if path.exists() else chosen

    @cached_property
    def version(self) -> str:
        """Hash of weights, tokenizer and configuration: it names the cache of the features."""
        weights, config, words = self._files
        return file_hash(weights, *([config] if config else []), *words)[:16]

    def read(self, text: str) -> Float[np.ndarray, "n1 E"]:
        """The projected state of the text's end, then that of each token from the start mark to the end mark."""
        tokenizer, tower = self._parts
        tokens = tokenizer(text, truncation=True, max_length=self.positions, return_tensors="pt")
        with torch.no_grad():
            states = tower.text_projection(tower.text_model(tokens["input_ids"]).last_hidden_state[0])
        return torch.cat([states[-1:], states]).numpy()

    def fit_positions(self, table: Float[Tensor, "n D"]) -> Float[Tensor, "m D"]:
        """The table of positions as this encoder uses it; raises :class:`TextError` for another length."""
        if len(table) != self.positions:
            raise TextError(
                f"{self.source}: holds {len(table)} positions, {self.name} has {self.positions}.",
                f"Set {self.variable} to weights of {self.name}.",
                CHAPTER,
            )
        return table

    @cached_property
    def _files(self) -> tuple[Path, Path | None, list[Path]]:
        """Weights, configuration (the papers' own layout has none) and the files of the tokenizer."""
        path, folder = Path(self.source), _folder(self.source, self.files)
        weights = path if path.is_file() else next((folder / n for n in self.files if (folder / n).is_file()), None)
        if weights is None:
            self._missing(f"{folder} holds none of {', '.join(self.files)}")
        config = folder / CONFIG
        return weights, config if config.is_file() else None, self._words(folder)

    def _words(self, folder: Path) -> list[Path]:
        """The tokenizer's files in ``folder``; raises :class:`TextError` if it has none."""
        found = [folder / name for name in TOKENIZER if (folder / name).is_file()]
        names = {path.name for path in found}
        if not ({"tokenizer.json"} <= names or {"vocab.json", "merges.txt"} <= names):
            self._missing(f"{folder} holds no tokenizer (tokenizer.json, or vocab.json and merges.txt)")
        return found

    def _missing(self, what: str) -> NoReturn:
        raise TextError(
            f"the text encoder {self.name} is not on this machine: {what}.",
            f"Run once with a network: hf download {self.published}; or set {self.variable} to a folder that has it.",
            CHAPTER,
        )

    @cached_property
    def _parts(self) -> tuple:
        """Tokenizer and tower, loaded once; raises :class:`TextError` if they are missing or damaged."""
        weights, config, words = self._files
        try:
            with quiet_transformers() as transformers:
                tokenizer = transformers.CLIPTokenizerFast.from_pretrained(words[0].parent, local_files_only=True)
                tower = self._tower(read_weights(weights), config)
        except ImportError:
            raise TextError(
                f"the text encoder {self.name} needs transformers.", "Run: pip install transformers", CHAPTER
            ) from None
        except TextError:
            raise
        except Exception as error:  # safetensors, tokenizers, pickle and zipfile each raise their own kinds
            raise TextError(
                f"{weights}: the text encoder {self.name} cannot be loaded ({_in_short(error)}).",
                f"Get it again, or set {self.variable} to another source.",
                CHAPTER,
            ) from error
        return tokenizer, tower

    def _tower(self, state: dict[str, Tensor], config_file: Path | None) -> torch.nn.Module:
        """The tower with these weights, in single precision; every tensor must be there."""
        import transformers

        own = "positional_embedding" in state
        state = {key: value.float() for key, value in (rename(state) if own else state).items()}
        table = join_positions(state.pop(f"{POSITIONS}.weight"), state.pop(f"{POSITIONS}_res", None))
        state[f"{POSITIONS}.weight"] = self.fit_positions(table)
        projection, words = state["text_projection.weight"], state["text_model.embeddings.token_embedding.weight"]
        if len(projection) != self.dim:
            raise TextError(
                f"{self.source}: gives {len(projection)} numbers a token, expected {self.dim}.",
                "Use the weights of ViT-B/32.",
                CHAPTER,
            )
        shapes = {
            "vocab_size": len(words),
            "projection_dim": self.dim,
            "max_position_embeddings": self.positions,
            "bos_token_id": len(words) - 2,
            "eos_token_id": len(words) - 1,
        }
        if own or config_file is None:
            config = transformers.CLIPTextConfig(**shapes, **shapes_of(state))
        else:
            config = transformers.CLIPTextConfig.from_pretrained(config_file.parent, **shapes)
        tower = transformers.CLIPTextModelWithProjection(config).float()
        tower.load_state_dict(state)
        return tower.eval().requires_grad_(False)


class LongClip(Clip):
    """Long-CLIP's text tower (Zhang et al., 2024), base size: 512 numbers, texts cut at 248 tokens.

    ``source`` is the published ``longclip-B.pt``, a folder that holds it, a folder in the layout of ``transformers``,
    or a name on the hub; by default the variable ``HOI_LONGCLIP``, else the published weights. The published file
    comes without a tokenizer: that of :class:`Clip` is used. Weights with CLIP's 77 positions are taken as well: they
    are stretched as Long-CLIP is before its training.
    """

    name, positions, variable, published = "longclip", 248, "HOI_LONGCLIP", "BeichenZhang/LongCLIP-B"
    files = (*WEIGHTS, "longclip-B.pt")

    def fit_positions(self, table: Float[Tensor, "n D"]) -> Float[Tensor, "m D"]:
        """The table itself, or CLIP's, stretched."""
        return super().fit_positions(stretch_positions(table) if len(table) == Clip.positions else table)

    def _words(self, folder: Path) -> list[Path]:
        try:
            return super()._words(folder)
        except TextError:
            source = Clip.source_of()
            path = Path(source)
            return Clip()._words(
                path if path.is_dir() else path.parent if path.is_file() else from_hub(source, TOKENIZER)
            )


def stretch_positions(table: Float[Tensor, "n D"], kept: int = KEPT) -> Float[Tensor, "m D"]:
    """Stretch a table of position embeddings as Long-CLIP does: 77 rows become 248.

    The first ``kept`` rows stay; from there on there are four rows for each one, on the straight line between it and
    the next. The last ones lie beyond the table's end and follow the line of its last two rows. m = 4 n − 3 kept.

    >>> stretch_positions(torch.arange(77.0)[:, None])[[19, 20, 21, 24, 247], 0]
    tensor([19.0000, 20.0000, 20.2500, 21.0000, 76.7500])
    """
    if len(table) < kept + 2:
        raise TextError(f"a table of {len(table)} positions cannot be stretched: at least {kept + 2} are needed.")
    row = torch.arange(STRETCH * len(table) - (STRETCH - 1) * kept, device=table.device)
    place = torch.where(row < kept, row, kept + (row - kept) / STRETCH).to(table.dtype)
    below = place.floor().clamp(max=len(table) - 2)
    weight, below = (place - below)[:, None], below.long()
    return (1 - weight) * table[below] + weight * table[below + 1]


def join_positions(
    first: Float[Tensor, "n D"], rest: Float[Tensor, "n D"] | None, kept: int = KEPT
) -> Float[Tensor, "n D"]:
    """One table from Long-CLIP's two: rows up to ``kept`` from the one it froze, the others from the one it trained."""
    return first if rest is None else torch.cat([first[:kept], rest[kept:]])


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a text tower from the names of CLIP's and Long-CLIP's own code to those of ``transformers``."""
    renamed = {
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        f"{POSITIONS}.weight": state["positional_embedding"],
        "text_model.final_layer_norm.weight": state["ln_final.weight"],
        "text_model.final_layer_norm.bias": state["ln_final.bias"],
        "text_projection.weight": state["text_projection"].T.contiguous(),
    }
    if "positional_embedding_res" in state:
        renamed[f"{POSITIONS}_res"] = state["positional_embedding_res"]
    for key, value in state.items():
        if not (match := re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)", key)):
            continue
        layer, part, kind = f"text_model.encoder.layers.{match[1]}", match[2], match[3]
        if part == "attn.in_proj":
            for letter, piece in zip("qkv", value.chunk(3), strict=True):
                renamed[f"{layer}.self_attn.{letter}_proj.{kind}"] = piece
        else:
            renamed[f"{layer}.{BLOCK[part]}.{kind}"] = value
    return renamed


def shapes_of(state: dict[str, Tensor]) -> dict[str, int]:
    """Width, depth, heads and hidden width of a tower, from the shapes of its tensors."""
    layers = {key.split(".")[3] for key in state if key.startswith("text_model.encoder.layers.")}
    hidden, width = state["text_model.encoder.layers.0.mlp.fc1.weight"].shape
    return {
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, width // HEAD),
    }


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of the text tower in a file of weights, pictures left out; nothing in the file is ever run."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in _of_text(file.keys())}
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError("it holds no table of tensors")
    state = {str(key).removeprefix("module."): value for key, value in state.items()}
    return {key: state[key] for key in _of_text(state)}


def _of_text(keys: Iterable[str]) -> list[str]:
    """Names of the text tower's tensors, in either layout."""
    own = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.")
    return [
        key for key in keys if key.startswith(("text_model.", "text_projection", *own)) and "position_ids" not in key
    ]


def from_hub(repository: str, weights: Iterable[str] = ()) -> Path:
    """The folder of a repository in the local hub cache: tokenizer, configuration and the first file of ``weights``.

    What is there already needs no network; the rest is downloaded unless ``HF_HUB_OFFLINE`` is set. Raises
    :class:`TextError` if ``repository`` is neither a folder nor a name on the hub, or cannot be had.
    """
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    if not HUB_NAME.fullmatch(repository):
        raise TextError(f"{repository}: no such file or folder.", "Give a folder of weights or a hub name.", CHAPTER)
    for name in weights or TOKENIZER[:2]:
        if isinstance(cached := try_to_load_from_cache(repository, name), str):
            return Path(cached).parent
    try:
        there = HfApi().list_repo_files(repository)
        chosen = [name for name in weights if name in there][:1]
        wanted = [name for name in (*chosen, CONFIG, *TOKENIZER) if name in there]
        if not wanted:
            raise FileNotFoundError("it holds no text tower")
        return [Path(hf_hub_download(repository, name)).parent for name in wanted][0]
    except Exception as error:  # every version of the hub's client has its own kinds
        raise TextError(
            f"{repository} is not on this machine and cannot be downloaded ({_in_short(error)}).",
            f"Run once with a network: hf download {repository}; or set HOI_CLIP and HOI_LONGCLIP to local files.",
            CHAPTER,
        ) from error


def _folder(source: str, weights: Iterable[str] = ()) -> Path:
    """The folder of a source: itself, the one that holds the file, or the one in the hub cache."""
    path = Path(source)
    return path if path.is_dir() else path.parent if path.is_file() else from_hub(source, weights)


def _in_short(error: Exception) -> str:
    """What an error says, in one line of at most 200 characters."""
    said = f"no tensor {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return " ".join(said.split())[:200].rstrip(".")
