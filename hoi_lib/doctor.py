"""What ``hoi doctor`` looks at: is everything here, and what does a missing part cost?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

from hoi_lib.errors import HoiError

Row = tuple[str, str, str]


def examine() -> list[Row]:
    """Rows (part, state, verdict); the verdict is "ok", a word on what its absence costs, or "BROKEN"."""
    parts: list[tuple[str, Callable[[], tuple[str, str]]]] = [
        ("python", lambda: (platform.python_version(), "ok")),
        ("torch", _torch),
        ("hand", _hand),
        ("text encoder", _encoder),
        ("clip", lambda: _texts("clip", "HOI_CLIP")),
        ("longclip", lambda: _texts("longclip", "HOI_LONGCLIP")),
        ("language model", _chat),
        ("checkpoint", _checkpoint),
        ("cache", _cache),
        ("meshes", lambda: _package("trimesh", "no generate and no book")),
        ("distances", lambda: _package("warp-lang", "no evaluation and no data build")),
        ("book", lambda: _package("jupyter-book", "no make book")),
        ("browser", _browser),
    ]
    return [(name, *_safely(look)) for name, look in parts]


def _safely(look: Callable[[], tuple[str, str]]) -> tuple[str, str]:
    try:
        return look()
    except (HoiError, ImportError, OSError, RuntimeError) as error:
        return str(error).splitlines()[0], "BROKEN"


def _torch() -> tuple[str, str]:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return f"{torch.__version__} on {device}", "ok"


def _hand() -> tuple[str, str]:
    from hoi_lib.hand import load_hand

    folder = os.environ.get("HOI_MANO_DIR")
    load_hand("right"), load_hand("left")
    return (f"MANO from {folder}" if folder else "the stand-in (set HOI_MANO_DIR for real MANO)"), "ok"


def _encoder() -> tuple[str, str]:
    from hoi_lib.encoders import load_encoder

    features = load_encoder("minilm").encode(["Pour the bottle."])
    return f"minilm, {features.pooled.shape[-1]} numbers a sentence", "ok"


def _texts(name: str, variable: str) -> tuple[str, str]:
    source = os.environ.get(variable)
    return (f"{name} from {source}", "ok") if source else (f"{variable} is not set", f"no {name}: minilm reads texts")


def _chat() -> tuple[str, str]:
    keys = [name for name in ("DEEPSEEK_API_KEY", "OPENAI_API_KEY", "HOI_LLM_KEY") if os.environ.get(name)]
    return (f"a key in {keys[0]}", "ok") if keys else ("no key is set", "no hoi refine --with llm: rules write texts")


def _checkpoint() -> tuple[str, str]:
    from hoi_lib.sampling import load_denoiser

    denoiser = load_denoiser()
    count = sum(p.numel() for p in denoiser.parameters())
    return f"shipped denoiser, {count / 1e6:.2f} M parameters", "ok"


def _cache() -> tuple[str, str]:
    folder = Path(os.environ.get("HOI_CACHE", Path.home() / ".cache" / "hoi_lib"))
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if not os.access(existing, os.W_OK):
        return f"{folder} is read-only", "slower: nothing is kept between runs"
    return f"{folder}, {free:.0f} GB free", "ok" if free > 1 else "little room: set HOI_CACHE"


def _package(name: str, cost: str) -> tuple[str, str]:
    try:
        return f"{name} {importlib.metadata.version(name)}", "ok"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} is not installed", cost


def _browser() -> tuple[str, str]:
    found = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    return (found, "ok") if found else ("no chromium", "browser tests are left out")
