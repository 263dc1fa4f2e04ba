"""Every test runs with the shapes and types of ``hoi_lib`` checked, with few threads and without a network."""

import os
import pkgutil
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("ACCELERATE_USE_CPU", "true")

import jaxtyping
import pytest

PACKAGE = Path(__file__).parents[1] / "hoi_lib"


def _checkable(name: str) -> bool:
    """Warp compiles the source of its kernels and structs: those modules have to stay as they are written."""
    source = PACKAGE / f"{name}.py"
    return not source.exists() or "import warp" not in source.read_text(encoding="utf-8")


names = [module.name for module in pkgutil.iter_modules([str(PACKAGE)])]
jaxtyping.install_import_hook([f"hoi_lib.{name}" for name in names if _checkable(name)], "beartype.beartype")


@pytest.fixture
def hoi(capsys):
    """Run ``hoi`` in this process; returns (exit code, standard output, standard error)."""

    from hoi_lib import cli

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run
