"""Execute chapters and store what the tests compare: the text under cells tagged ``keep_output``, and nothing else.

    python scripts/store_outputs.py book/foundations/01_diffusion.ipynb [more …]

Every other output, every time stamp and every widget state is dropped; ids stay. A stored output carries its cell's
execution count, because nbval does not look at an output whose cell was never run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def strip(book: nbformat.NotebookNode) -> None:
    """Drop in place everything that is not to be committed."""
    for number, cell in enumerate(book.cells):
        for key in ("execution", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        kept = "keep_output" in cell.metadata.get("tags", [])
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"] if kept else []
        cell.execution_count = number if kept else None
        for output in cell.outputs:
            output.pop("execution_count", None)
            if output.output_type == "execute_result":
                output.execution_count = number
    book.metadata.pop("widgets", None)
    book.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book.metadata["language_info"] = {"name": "python"}


def main(paths: list[str]) -> int:
    """Execute, strip and write each notebook."""
    if not paths:
        print(__doc__)
        return 2
    for path in map(Path, paths):
        book = nbformat.read(path, as_version=4)
        where = {"metadata": {"path": path.resolve().parent}}
        NotebookClient(book, timeout=600, kernel_name="python3", resources=where).execute()
        strip(book)
        nbformat.write(book, path)
        print(f"{path}: {sum(bool(c.get('outputs')) for c in book.cells)} outputs stored")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
