"""``python -m hoi_lib`` is ``hoi``."""

from hoi_lib.cli import main

main()
