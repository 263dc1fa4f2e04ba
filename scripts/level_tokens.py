"""Count the tokens of refined texts with CLIP's own tokenizer beside the built-in one, for the chapter on refinement.

    python scripts/level_tokens.py FOLDER [--out book/records/level_tokens.json]

FOLDER holds CLIP's vocab.json and merges.txt, or its tokenizer.json (``hf download openai/clip-vit-base-patch32``).
Counted are the texts by rules of every caption of the vocabulary and the longer ones that were written for the book.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product
from pathlib import Path
from time import perf_counter

from transformers import AutoTokenizer, CLIPTokenizerFast

from hoi_lib import records
from hoi_lib.clipencoders import Clip
from hoi_lib.encoders import _minilm_folder
from hoi_lib.motion import SIDES
from hoi_lib.refiner import LEVELS, read_refinements, refine
from hoi_lib.refinerstudy import EXAMPLES
from hoi_lib.text import CATEGORIES, HANDS, VERBS, captions

ROOT = Path(__file__).resolve().parents[1]


def texts() -> dict[str, list[str]]:
    """The distinct texts of both kinds, level by level."""
    asked = [captions(*words).imperative for words in product(VERBS, CATEGORIES, HANDS)]
    kinds = {
        "rules": {refine(caption, side) for caption, side in product(asked, SIDES)},
        "long": set(read_refinements(EXAMPLES).values()),
    }
    return {
        f"{kind}/{level}": sorted({getattr(x, level) for x in found})
        for kind, found in kinds.items()
        for level in LEVELS
    }


def main() -> None:
    """Write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", default=ROOT / "book" / "records" / "level_tokens.json")
    wanted, start = parser.parse_args(), perf_counter()
    tokenizers = {
        "clip": CLIPTokenizerFast.from_pretrained(wanted.folder, local_files_only=True),
        "minilm": AutoTokenizer.from_pretrained(_minilm_folder(), local_files_only=True),
    }
    count: dict[str, Callable[[str], int]] = {
        name: (lambda text, t=tokenizer: len(t(text)["input_ids"])) for name, tokenizer in tokenizers.items()
    }
    metrics = {}
    for kind, found in texts().items():
        lengths = {name: [tokens(text) for text in found] for name, tokens in count.items()}
        for name, numbers in lengths.items():
            metrics[f"{kind}/{name}/beyond_77"] = records.metric(sum(n > Clip.positions for n in numbers), len(found))
            metrics[f"{kind}/{name}/longest"] = records.metric(max(numbers), len(found), "tokens")
        apart = max(abs(a - b) for a, b in zip(*lengths.values(), strict=True))
        metrics[f"{kind}/largest_difference"] = records.metric(apart, len(found), "tokens")
    record = records.new(
        "tokens of refined texts",
        config={"limit": Clip.positions, "clip_vocabulary": len(tokenizers["clip"])},
        seeds=[0],
        data={"fingerprint": records.file_hash(EXAMPLES), "profile": "any"},
        metrics=metrics,
        wall_time_s=perf_counter() - start,
        sameness="bitwise",
        command="scripts/level_tokens.py CLIP",
        notes=["start and end marks count; no chance is involved"],
    )
    records.write(record, wanted.out)
    print("\n".join(f"{name:32} {entry['value']:.0f} of {entry['n']}" for name, entry in metrics.items()))


if __name__ == "__main__":
    main()
