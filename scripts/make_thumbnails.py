"""Cut the small pictures of the chapter cards out of the executed chapters: ``book/assets/chapter_NN.webp``.

Takes each chapter's first picture, its signature figure, from the build's cache. Run it after ``make book`` when a
signature figure has changed.
"""

from __future__ import annotations

import base64
import io
import sys

from build_book import BUILD, ROOT, chapters
from jupyter_cache import get_cache
from PIL import Image

WIDTH, HEIGHT = 720, 384


def first_picture(notebook) -> Image.Image | None:
    """The first PNG among the outputs of an executed notebook."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            png = output.get("data", {}).get("image/png")
            if png:
                return Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    return None


def main() -> int:
    """Write one thumbnail per chapter and say which."""
    cache = get_cache(str(BUILD / ".jupyter_cache"))
    for path in chapters():
        record = cache.match_cache_file(str(path))
        picture = first_picture(cache.get_cache_bundle(record.pk).nb)
        if picture is None:
            print(f"{path.stem}: no picture")
            continue
        picture.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        target = ROOT / "book" / "assets" / f"chapter_{path.stem.split('_')[0]}.webp"
        picture.save(target, "webp", quality=82, method=6)
        print(f"{target.relative_to(ROOT)}: {picture.width} × {picture.height}, {target.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
